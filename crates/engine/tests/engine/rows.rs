//! The table of commands: each row is complete, consistent, and agrees with Redis 7.2.

use std::collections::{BTreeMap, BTreeSet};

use russet_engine::command::argument::{Argument, Kind};
use russet_engine::command::describe::{category, key_flag_names};
use russet_engine::command::keyspec::{Keyword, key_flag};
use russet_engine::command::{Command, CommandTable, KeySpec, catalogue, flag};
use russet_engine::config::directive;
use russet_engine::mode::Mode;

/// Iterates over all rows, with the container of subcommands.
fn rows() -> impl Iterator<Item = (&'static Command, Option<&'static Command>)> {
    CommandTable::default().all().flat_map(|row| {
        std::iter::once((row, None)).chain(row.subcommands.iter().map(move |sub| (sub, Some(row))))
    })
}

/// Iterates over all rows that clients see as commands.
fn listed() -> impl Iterator<Item = (&'static Command, Option<&'static Command>)> {
    rows().filter(|(_, container)| container.is_none_or(|row| !row.has(flag::PRIVATE_SUBCOMMANDS)))
}

#[test]
fn each_row_is_complete() {
    let mut names = BTreeSet::new();
    for (row, container) in rows() {
        let name = row.name;
        assert!(names.insert(name), "{name} stands twice");
        let most = if container.is_some() { 40 } else { 32 };
        assert!(name.len() <= most && name == name.to_ascii_lowercase(), "{name}");
        let prefix = container.map_or(String::new(), |container| format!("{}|", container.name));
        assert!(name.starts_with(&prefix) && !name[prefix.len()..].contains('|'), "{name}");
        assert!(container.is_none() || row.subcommands.is_empty(), "{name}: nested too deep");
        assert!(row.summary.ends_with('.') && row.summary.len() > 8, "{name}: {}", row.summary);
        let least = 1 + usize::from(container.is_some());
        assert!(row.arity.unsigned_abs() as usize >= least, "{name}: arity {}", row.arity);
        let is_container = std::ptr::fn_addr_eq(row.run, Command::ROW.run);
        assert!(!is_container || !row.subcommands.is_empty(), "{name} has no function");
        let has_help = row.subcommands.iter().any(|sub| sub.word() == "help");
        assert!(has_help || row.subcommands.is_empty(), "{name} has no HELP");
        if let Some(protection) = row.protection {
            assert!(directive(protection.directive.as_bytes()).is_some(), "{name}");
        }
    }
    for (row, _) in listed() {
        let (name, complexity) = (row.name, row.complexity);
        assert!(complexity.contains("O(") || complexity.starts_with("Depends on"), "{name}");
        let since: Vec<_> = row.since.split('.').map(str::parse::<u32>).collect();
        assert!(since.len() == 3 && since.iter().all(Result::is_ok), "{name}: {}", row.since);
    }
}

#[test]
fn flags_do_not_contradict_each_other() {
    for (row, _) in rows() {
        let name = row.name;
        assert!(!(row.has(flag::WRITE) && row.has(flag::READONLY)), "{name} reads only and writes");
        assert!(!row.has(flag::DENYOOM) || row.has(flag::WRITE), "{name} takes memory by reading");
        assert!(!row.has(flag::NO_AUTH) || row.keys.is_empty(), "{name}: keys without rights");
        for spec in row.keys.iter().filter(|spec| spec.flags & key_flag::NOT_KEY == 0) {
            let changes = spec.flags & (key_flag::RW | key_flag::OW | key_flag::RM) != 0;
            assert!(changes || spec.flags & key_flag::RO != 0, "{name}: a key without a use");
            // PFCOUNT keeps what it estimated.
            let may_change = !row.has(flag::READONLY) || row.has(flag::MAY_REPLICATE);
            assert!(!changes || may_change, "{name} reads only and changes a key");
        }
    }
}

#[test]
fn keys_are_within_the_arity() {
    for (row, _) in listed() {
        let least = row.arity.unsigned_abs() as usize;
        // Keys behind a word are found by a function, but for a single one.
        let by_keyword = row.keys.iter().any(|spec| spec.keyword.is_some() && spec.last != 0);
        assert_eq!(row.find_keys.is_some(), by_keyword, "{}", row.name);
        let is_place = |spec: &&KeySpec| {
            let is_known = spec.keyword.is_none() && spec.hidden.is_none();
            spec.flags & key_flag::NOT_KEY == 0 && is_known
        };
        for spec in row.keys.iter().filter(is_place) {
            // PFMERGE may have no sources.
            let most = if spec.last < 0 && row.keys.len() > 1 { least } else { least - 1 };
            assert!(spec.first >= 1 && spec.first <= most, "{}: first key", row.name);
            let last = usize::try_from(spec.last).ok();
            assert!(last.is_none_or(|last| last >= spec.first && last < least), "{}", row.name);
            assert!(spec.step >= 1, "{}", row.name);
        }
    }
}

/// Returns the minimum number of words of an argument.
fn words_min(argument: &Argument) -> usize {
    if argument.optional {
        return 0;
    }
    let token = usize::from(argument.token.is_some());
    let parts = argument.parts().iter().map(words_min);
    match argument.kind {
        Kind::Token => 1,
        Kind::Block(_) => token + parts.sum::<usize>(),
        Kind::OneOf(_) => token + parts.min().unwrap_or(0),
        _ => token + 1,
    }
}

fn is_open(argument: &Argument) -> bool {
    argument.optional || argument.multiple || argument.parts().iter().any(is_open)
}

/// Commands whose arity is smaller than their arguments demand, or that state none of their
/// arguments, as in Redis. Their functions check the rest.
const LOOSE: &[&str] = &[
    "replconf",
    "psync",
    "sync",
    "command|list",
    "client|kill",
    "client|reply",
    "sentinel|simulate-failure",
];

#[test]
fn arguments_fit_the_arity() {
    for (row, container) in rows() {
        let name = row.name;
        if !row.subcommands.is_empty() || LOOSE.contains(&name) {
            continue;
        }
        let words = row.arguments.iter().map(words_min).sum::<usize>();
        let least = 1 + usize::from(container.is_some()) + words;
        assert_eq!(least, row.arity.unsigned_abs() as usize, "{name}: {}", row.syntax());
        // With an exact arity nothing is optional. The converse fails where alternatives have equal
        // lengths.
        assert!(row.arity < 0 || !row.arguments.iter().any(is_open), "{name}: {}", row.syntax());
    }
}

/// Returns the key specs that arguments refer to.
fn key_specs(arguments: &[Argument]) -> BTreeSet<usize> {
    let of = |argument: &Argument| match argument.kind {
        Kind::Key(spec) => BTreeSet::from([spec]),
        _ => key_specs(argument.parts()),
    };
    arguments.iter().flat_map(of).collect()
}

#[test]
fn arguments_and_key_specs_refer_to_the_same_keys() {
    for (row, _) in rows() {
        // Some keys that a spec cannot find are no arguments.
        let is_key = |spec: &KeySpec| spec.flags & key_flag::NOT_KEY == 0 && spec.hidden.is_none();
        let specs: BTreeSet<usize> =
            (0..row.keys.len()).filter(|&at| is_key(&row.keys[at])).collect();
        let mut named = key_specs(row.arguments);
        named.retain(|at| row.keys.get(*at).is_none_or(|spec| spec.hidden.is_none()));
        assert_eq!(named, specs, "{}", row.name);
        let variable = row.keys.iter().any(|spec| spec.flags & key_flag::VARIABLE_FLAGS != 0);
        assert_eq!(row.key_flags.is_some(), variable, "{}", row.name);
    }
}

#[test]
fn rows_agree_with_redis() {
    let mut wrong = Vec::new();
    for (row, _) in listed() {
        let name = row.name;
        let Some(known) = catalogue::find(name) else {
            if row.since.as_bytes() < &b"7.4"[..] {
                wrong.push(format!("{name} is not in Redis 7.2"));
            }
            continue;
        };
        let mut compare = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                wrong.push(format!("{name}: {what} is {ours:?}, in Redis {theirs:?}"));
            }
        };
        compare("since", row.since.to_owned(), known.since.to_owned());
        compare("group", row.group.name().to_owned(), known.group.to_owned());
        let arity = match name {
            "sentinel|failover" | "cluster|replicate" => OLD_ARITY,
            _ => row.arity,
        };
        compare("arity", arity.to_string(), known.arity.to_string());
        let mut flags: BTreeSet<&str> = row.flag_names().into_iter().collect();
        flags.extend(row.has(flag::MAY_REPLICATE).then_some("may_replicate"));
        flags.extend(row.protection.map(|_| "protected"));
        flags.remove("movablekeys");
        let theirs: BTreeSet<&str> = known.flags.split_whitespace().collect();
        compare("flags", format!("{flags:?}"), format!("{theirs:?}"));
        // Categories implied by flags apply to them as well.
        let stated = known.acl.split_whitespace();
        let bits = stated.filter_map(|name| category(name.as_bytes())).fold(0, |a, b| a | b);
        let theirs = Command { acl: bits, ..copy(row) };
        compare("ACL", row.category_names().join(" "), theirs.category_names().join(" "));
        let keys: Vec<String> = row.keys.iter().map(spec_text).collect();
        compare("keys", keys.join(" "), sorted_flags(known.keys));
        let mut theirs = redis_arguments(name).replace(KILL_FILTERS.0, KILL_FILTERS.1);
        if name == "hscan" {
            theirs.push_str(HSCAN_MORE);
        }
        match name {
            "zscan" => theirs.push_str(ZSCAN_MORE),
            "sentinel|failover" => theirs.push_str(FAILOVER_MORE),
            "shutdown" => theirs.push_str(SHUTDOWN_MORE),
            "cluster|setslot" => theirs.push_str(SETSLOT_MORE),
            "cluster|replicate" => theirs = REPLICATE_ARGUMENTS.to_owned(),
            _ => {}
        }
        for token in CRASHES.iter().filter(|_| name == "sentinel|simulate-failure") {
            let kind = format!("{}:pure-token", token.to_ascii_lowercase());
            theirs = theirs.replace(&kind, &format!("{kind}={token}"));
        }
        compare("arguments", arguments_text(row.arguments), theirs);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// HSCAN has an argument that Redis 7.2 does not have.
const HSCAN_MORE: &str = " novalues:pure-token=NOVALUES?";

/// ZSCAN has one of Valkey 8.
const ZSCAN_MORE: &str = " noscores:pure-token=NOSCORES?";

/// SENTINEL FAILOVER has an option that Redis 7.2 does not have.
const FAILOVER_MORE: &str = " coordinated:pure-token=COORDINATED?";
/// CLUSTER REPLICATE has one too: `NO ONE`.
const REPLICATE_ARGUMENTS: &str =
    "args:oneof(node-id:string no-one:block(no:pure-token=NO one:pure-token=ONE))";
/// The arity of the two without those options.
const OLD_ARITY: i32 = 3;

/// SHUTDOWN has an option of Valkey 9.
const SHUTDOWN_MORE: &str = " failover:pure-token=FAILOVER?";

/// CLUSTER SETSLOT has an option that Redis 7.2 does not have.
const SETSLOT_MORE: &str = " timeout:integer=TIMEOUT?";

/// Tokens of SENTINEL SIMULATE-FAILURE, which Redis does not spell.
const CRASHES: [&str; 3] = ["CRASH-AFTER-ELECTION", "CRASH-AFTER-PROMOTION", "HELP"];

/// CLIENT KILL has a filter that Redis 7.2 does not have.
const KILL_FILTERS: (&str, &str) = (
    "skipme:oneof=SKIPME?(yes:pure-token=YES no:pure-token=NO)",
    "skipme:oneof=SKIPME?(yes:pure-token=YES no:pure-token=NO) maxage:integer=MAXAGE?",
);

fn redis_arguments(name: &str) -> &'static str {
    let lines = include_str!("redis-7.2-arguments.tsv").lines();
    let found = lines.filter_map(|line| line.split_once('\t')).find(|(known, _)| *known == name);
    found.map_or("", |(_, arguments)| arguments)
}

/// Formats arguments in the notation of `redis-7.2-arguments.tsv`.
fn arguments_text(arguments: &[Argument]) -> String {
    arguments.iter().map(argument_text).collect::<Vec<_>>().join(" ")
}

fn argument_text(argument: &Argument) -> String {
    let (name, display) = (argument.name(), argument.display());
    let mut text = format!("{name}:{}", argument.kind.name());
    if let Some(token) = argument.token {
        text.push_str(&format!("={token}"));
    }
    if display != name {
        text.push_str(&format!("~{display}"));
    }
    if let Kind::Key(spec) = argument.kind {
        text.push_str(&format!("#{spec}"));
    }
    let marks =
        [(argument.optional, '?'), (argument.multiple, '*'), (argument.multiple_token, 't')];
    text.extend(marks.iter().filter(|(set, _)| *set).map(|(_, mark)| mark));
    if !argument.parts().is_empty() {
        text.push_str(&format!("({})", arguments_text(argument.parts())));
    }
    text
}

/// Copies a row, which is not `Copy` although all of its parts are.
fn copy(row: &Command) -> Command {
    Command { ..*row }
}

fn spec_text(spec: &KeySpec) -> String {
    let last = if spec.last < 0 { spec.last } else { spec.last - spec.first as i32 };
    let names = key_flag_names(spec.flags).join("+").to_ascii_lowercase();
    if spec.hidden.is_some() {
        return sorted_flags(&format!("?:?:{names}"));
    }
    let begin = match spec.keyword {
        Some(Keyword { word, from }) => format!("{word}@{from}"),
        None => (spec.first - usize::from(spec.is_counted)).to_string(),
    };
    if spec.is_counted {
        return sorted_flags(&format!("{begin}:keynum(0,1,{}):{names}", spec.step));
    }
    sorted_flags(&format!("{begin}:range({last},{},{}):{names}", spec.step, spec.limit))
}

/// Sorts the flags of keys, whose order has no meaning.
fn sorted_flags(specs: &str) -> String {
    let sorted = |spec: &str| match spec.rsplit_once(':') {
        None => spec.to_owned(),
        Some((place, flags)) => {
            let flags: BTreeSet<&str> = flags.split('+').collect();
            format!("{place}:{}", flags.into_iter().collect::<Vec<_>>().join("+"))
        }
    };
    specs.split_whitespace().map(sorted).collect::<Vec<_>>().join(" ")
}

#[test]
fn each_command_exists_in_a_mode() {
    let modes = [Mode::Standalone, Mode::Cluster, Mode::Sentinel];
    for (row, container) in rows() {
        let exists = modes.iter().any(|mode| row.exists_in(*mode));
        assert!(exists || container.is_some(), "{}", row.name);
        assert!(!row.has(flag::SENTINEL) || !row.has(flag::ONLY_SENTINEL), "{}", row.name);
    }
    let (server, sentinel) = (CommandTable::of(Mode::Standalone), CommandTable::of(Mode::Sentinel));
    for row in CommandTable::default().all() {
        let found = |table: &CommandTable| table.find(row.name.as_bytes()).is_some();
        let named = |table: &CommandTable| table.names().contains(&row.name);
        for (table, mode) in [(&server, Mode::Standalone), (&sentinel, Mode::Sentinel)] {
            assert_eq!(found(table), row.exists_in(mode), "{}", row.name);
            assert_eq!(named(table), row.exists_in(mode), "{}", row.name);
        }
    }
}

#[test]
fn the_table_finds_each_row_by_name_and_number() {
    let table = CommandTable::default();
    let mut numbers = BTreeMap::new();
    for (row, container) in listed() {
        let found = match container {
            None => table.find(row.name.to_ascii_uppercase().as_bytes()),
            Some(container) => container.subcommand(row.word().to_ascii_uppercase().as_bytes()),
        };
        assert!(found.is_some_and(|found| std::ptr::eq(found, row)), "{}", row.name);
        let number = table.number_of(row);
        assert!(std::ptr::eq(table.rows()[number], row), "{}", row.name);
        assert!(numbers.insert(number, row.name).is_none(), "{}: number {number}", row.name);
    }
}
