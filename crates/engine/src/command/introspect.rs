//! COMMAND: describes the rows to client libraries.

use russet_ds::glob::{self, Case};
use russet_protocol::ErrorReply;

use super::argument::{Argument, Kind, after, one_of, optional, pattern, repeated, string};
use super::describe::{category, key_flag_names};
use super::keyspec::{Keyword, key_flag};
use super::{
    Args, Command, CommandTable, Ctx, Flow, Group, KeySpec, Outcome, Reply, acl, catalogue,
    flag as f, help,
};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[COMMAND];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

const COMMAND: Command = Command {
    name: "command",
    since: "2.8.13",
    arity: -1,
    flags: f::LOADING | f::STALE | f::SENTINEL,
    acl: acl::CONNECTION,
    summary: "Describes all commands to client libraries.",
    complexity: "O(N) for N commands",
    subcommands: &[COUNT, DOCS, GETKEYS, GETKEYSANDFLAGS, HELP, INFO, LIST],
    run: all,
    ..ROW
};

fn all(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(ctx.commands.all().count());
    ctx.commands.all().for_each(|row| describe(row, reply));
    Ok(Flow::Done)
}

const HELP: Command = Command {
    name: "command|help",
    since: "5.0.0",
    group: Group::Server,
    acl: acl::CONNECTION,
    ..help::ROW
};

const COUNT: Command = Command {
    name: "command|count",
    since: "2.8.13",
    arity: 2,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    summary: "Returns the number of commands.",
    run: count,
    ..ROW
};

fn count(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.commands.all().count());
    Ok(Flow::Done)
}

const INFO: Command = Command {
    name: "command|info",
    since: "2.8.13",
    arity: -2,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    arguments: &[optional(repeated(string("command-name")))],
    summary: "Describes the given commands, or all of them, to client libraries.",
    complexity: "O(N) for N commands",
    run: some,
    ..ROW
};

fn some(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 2 {
        return all(ctx, args, reply);
    }
    reply.array(args.len() - 2);
    for name in args.from(2) {
        match named(ctx.commands, name) {
            Some(row) => describe(row, reply),
            None => reply.null(),
        }
    }
    Ok(Flow::Done)
}

/// Finds the row of a command or, given `container|subcommand`, of a subcommand.
fn named(commands: &CommandTable, name: &[u8]) -> Option<&'static Command> {
    let mut words = name.split(|&byte| byte == b'|');
    let row = commands.find(words.next()?)?;
    match (words.next(), words.next()) {
        (None, _) => Some(row),
        (Some(word), None) => row.subcommand(word),
        (Some(_), Some(_)) => None,
    }
}

/// Writes the element of COMMAND INFO for a row.
fn describe(row: &'static Command, reply: &mut Reply<'_>) {
    let ((first, last, step), _) = row.key_range();
    reply.array(10);
    reply.bulk(row.name.as_bytes());
    reply.integer(i64::from(row.arity));
    statuses(&row.flag_names(), reply);
    [first, last, step].into_iter().for_each(|number| reply.integer(number));
    let categories = row.category_names();
    reply.set(categories.len());
    categories.iter().for_each(|name| reply.simple(&format!("@{name}")));
    let tips: Vec<&str> =
        catalogue::find(row.name).map_or("", |known| known.tips).split(' ').collect();
    let tips: Vec<&str> = tips.into_iter().filter(|tip| !tip.is_empty()).collect();
    reply.set(tips.len());
    tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(row.keys.len());
    row.keys.iter().for_each(|spec| describe_keys(spec, reply));
    match row.listed_subcommands() {
        [] => reply.set(0),
        rows => {
            reply.array(rows.len());
            rows.iter().for_each(|row| describe(row, reply));
        }
    }
}

fn statuses(names: &[&str], reply: &mut Reply<'_>) {
    reply.set(names.len());
    names.iter().for_each(|name| reply.simple(name));
}

fn describe_keys(spec: &KeySpec, reply: &mut Reply<'_>) {
    reply.map(3);
    reply.bulk(b"flags");
    statuses(&key_flag_names(spec.flags), reply);
    reply.bulk(b"begin_search");
    if spec.hidden.is_some() {
        typed(reply, "unknown", &[]);
        reply.bulk(b"find_keys");
        return typed(reply, "unknown", &[]);
    }
    match spec.keyword {
        None => {
            let first = spec.first - usize::from(spec.is_counted);
            typed(reply, "index", &[("index", first as i64)]);
        }
        Some(Keyword { word, from }) => {
            typed_with(reply, "keyword", Some(word), &[("startfrom", i64::from(from))]);
        }
    }
    reply.bulk(b"find_keys");
    if spec.is_counted {
        let numbers = [("keynumidx", 0), ("firstkey", 1), ("keystep", spec.step as i64)];
        return typed(reply, "keynum", &numbers);
    }
    // An end that counts from the front is reported as the distance from the first key.
    let last = i64::from(spec.last);
    let last = if last < 0 { last } else { last - spec.first as i64 };
    let (step, limit) = (spec.step as i64, i64::from(spec.limit));
    typed(reply, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
}

fn typed(reply: &mut Reply<'_>, kind: &str, numbers: &[(&str, i64)]) {
    typed_with(reply, kind, None, numbers);
}

fn typed_with(reply: &mut Reply<'_>, kind: &str, word: Option<&str>, numbers: &[(&str, i64)]) {
    reply.map(2);
    reply.bulk(b"type");
    reply.bulk(kind.as_bytes());
    reply.bulk(b"spec");
    reply.map(numbers.len() + usize::from(word.is_some()));
    pairs(word.map(|word| ("keyword", word)).as_slice(), reply);
    for (name, number) in numbers {
        reply.bulk(name.as_bytes());
        reply.integer(*number);
    }
}

const DOCS: Command = Command {
    name: "command|docs",
    since: "7.0.0",
    arity: -2,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    arguments: &[optional(repeated(string("command-name")))],
    summary: "Returns the documentation of commands and of their arguments.",
    complexity: "O(N) for N commands",
    run: docs,
    ..ROW
};

fn docs(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let rows: Vec<&'static Command> = match args.len() {
        2 => ctx.commands.all().collect(),
        _ => args.from(2).filter_map(|name| named(ctx.commands, name)).collect(),
    };
    reply.map(rows.len());
    rows.iter().for_each(|row| explain(row, reply));
    Ok(Flow::Done)
}

/// Writes the pair of COMMAND DOCS's map for a row.
fn explain(row: &'static Command, reply: &mut Reply<'_>) {
    let known = catalogue::find(row.name);
    let deprecated_since = known.map_or("", |known| known.deprecated_since);
    let internal = known.is_some_and(|known| known.is_internal);
    let mut flags = Vec::new();
    flags.extend((!deprecated_since.is_empty()).then_some("deprecated"));
    flags.extend(internal.then_some("syscmd"));
    let texts = [
        ("summary", row.summary),
        ("since", row.since),
        ("group", row.group.name()),
        ("complexity", row.complexity),
    ];
    let instead = [
        ("deprecated_since", deprecated_since),
        ("replaced_by", catalogue::replaced_by(row.name).unwrap_or_default()),
    ];
    let instead: Vec<(&str, &str)> =
        instead.into_iter().filter(|(_, text)| !text.is_empty()).collect();
    let subcommands = row.listed_subcommands();

    reply.bulk(row.name.as_bytes());
    let lists = [!flags.is_empty(), !row.arguments.is_empty(), !subcommands.is_empty()];
    reply.map(texts.len() + instead.len() + lists.into_iter().filter(|&there| there).count());
    pairs(&texts, reply);
    if !flags.is_empty() {
        reply.bulk(b"doc_flags");
        statuses(&flags, reply);
    }
    pairs(&instead, reply);
    if !row.arguments.is_empty() {
        reply.bulk(b"arguments");
        list_arguments(row.arguments, reply);
    }
    if !subcommands.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subcommands.len());
        subcommands.iter().for_each(|row| explain(row, reply));
    }
}

fn pairs(texts: &[(&str, &str)], reply: &mut Reply<'_>) {
    for (name, text) in texts {
        reply.bulk(name.as_bytes());
        reply.bulk(text.as_bytes());
    }
}

fn list_arguments(arguments: &[Argument], reply: &mut Reply<'_>) {
    reply.array(arguments.len());
    for argument in arguments {
        list_argument(argument, reply);
    }
}

fn list_argument(argument: &Argument, reply: &mut Reply<'_>) {
    let key_spec = match argument.kind {
        Kind::Key(spec) => Some(spec),
        _ => None,
    };
    let marks = [
        (argument.optional, "optional"),
        (argument.multiple, "multiple"),
        (argument.multiple_token, "multiple_token"),
    ];
    let marks: Vec<&str> = marks.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
    let (name, display, parts) = (argument.name(), argument.display(), argument.parts());
    let mut texts = vec![("name", &*name), ("type", argument.kind.name())];
    texts.extend(parts.is_empty().then_some(("display_text", &*display)));
    let token = argument.token.map(|token| ("token", token));
    let there = [key_spec.is_some(), token.is_some(), !marks.is_empty(), !parts.is_empty()];
    reply.map(texts.len() + there.into_iter().filter(|&there| there).count());
    pairs(&texts, reply);
    if let Some(spec) = key_spec {
        reply.bulk(b"key_spec_index");
        reply.count(spec);
    }
    pairs(token.as_slice(), reply);
    if !marks.is_empty() {
        reply.bulk(b"flags");
        statuses(&marks, reply);
    }
    if !parts.is_empty() {
        reply.bulk(b"arguments");
        list_arguments(parts, reply);
    }
}

const GETKEYS: Command = Command {
    name: "command|getkeys",
    since: "2.8.13",
    arity: -3,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    arguments: &[string("command"), optional(repeated(string("arg")))],
    summary: "Extracts the keys from a command line.",
    complexity: "O(N) for N arguments",
    run: get_keys,
    ..ROW
};

fn get_keys(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (command, keys) = find_keys(ctx, args)?;
    reply.array(keys.len());
    keys.iter().for_each(|(index, _)| reply.bulk(&command[*index]));
    Ok(Flow::Done)
}

const GETKEYSANDFLAGS: Command = Command {
    name: "command|getkeysandflags",
    since: "7.0.0",
    arity: -3,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    arguments: &[string("command"), optional(repeated(string("arg")))],
    summary: "Extracts the keys from a command line, with what the command does to each.",
    complexity: "O(N) for N arguments",
    run: get_keys_and_flags,
    ..ROW
};

fn get_keys_and_flags(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (command, keys) = find_keys(ctx, args)?;
    reply.array(keys.len());
    for (index, flags) in keys {
        reply.array(2);
        reply.bulk(&command[index]);
        statuses(&key_flag_names(flags), reply);
    }
    Ok(Flow::Done)
}

/// Returns the command that follows COMMAND GETKEYS, and the index and flags of each of its keys.
fn find_keys<'a>(
    ctx: &Ctx<'_>,
    args: &Args<'a>,
) -> Result<(Args<'a>, Vec<(usize, u32)>), ErrorReply> {
    let command = args.behind(2);
    let found = command.get(0).and_then(|name| ctx.commands.find(name));
    let row = found.and_then(|row| row.picked(&command));
    let row = row.ok_or_else(|| ErrorReply::err("Invalid command specified"))?;
    if row.keys.iter().all(|spec| spec.flags & key_flag::NOT_KEY != 0) {
        return Err(ErrorReply::err("The command has no key arguments"));
    }
    if !row.takes(command.len()) {
        return Err(ErrorReply::err("Invalid number of arguments specified for command"));
    }
    match row.keys_of(&command) {
        keys if keys.is_empty() => Err(ErrorReply::err("Invalid arguments specified for command")),
        keys => Ok((command, keys)),
    }
}

/// Which commands COMMAND LIST lists.
enum Filter<'a> {
    Nothing,
    Category(Option<u64>),
    Pattern(&'a [u8]),
}

const LIST: Command = Command {
    name: "command|list",
    since: "7.0.0",
    arity: -2,
    flags: f::LOADING | f::STALE,
    acl: acl::CONNECTION,
    arguments: &[optional(after(
        "FILTERBY",
        one_of(
            "filterby",
            &[
                after("MODULE", string("module-name")),
                after("ACLCAT", string("category")),
                after("PATTERN", pattern("pattern")),
            ],
        ),
    ))],
    summary: "Lists the names of all commands, or of those that pass a filter.",
    complexity: "O(N) for N commands",
    run: list,
    ..ROW
};

fn list(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let filter = match args.len() {
        2 => Filter::Pattern(b"*"),
        5 if args.is(2, "FILTERBY") && args.is(3, "MODULE") => Filter::Nothing,
        5 if args.is(2, "FILTERBY") && args.is(3, "ACLCAT") => Filter::Category(category(&args[4])),
        5 if args.is(2, "FILTERBY") && args.is(3, "PATTERN") => Filter::Pattern(&args[4]),
        _ => return Err(ErrorReply::Syntax),
    };
    let passes = |row: &&Command| match filter {
        Filter::Nothing => false,
        Filter::Category(bit) => bit.is_some_and(|bit| row.categories() & bit != 0),
        Filter::Pattern(pattern) => glob::matches(pattern, row.name.as_bytes(), Case::Ignored),
    };
    let rows: Vec<&Command> = ctx.commands.listed().filter(passes).collect();
    reply.array(rows.len());
    rows.iter().for_each(|row| reply.bulk(row.name.as_bytes()));
    Ok(Flow::Done)
}
