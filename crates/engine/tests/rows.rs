//! The table of commands tests itself: each row is whole, agrees with itself and with Redis 7.2.

use std::collections::{BTreeMap, BTreeSet};

use russet_engine::command::describe::{category, key_flag_names};
use russet_engine::command::keyspec::key_flag;
use russet_engine::command::syntax::{Argument, Shape, arguments};
use russet_engine::command::{Command, CommandTable, catalogue, flag};

/// Every row with its container, if it has one.
fn rows() -> impl Iterator<Item = (&'static Command, Option<&'static Command>)> {
    CommandTable::all().flat_map(|row| {
        std::iter::once((row, None)).chain(row.subcommands.iter().map(move |sub| (sub, Some(row))))
    })
}

#[test]
fn each_row_is_whole() {
    let mut names = BTreeSet::new();
    for (row, container) in rows() {
        let name = row.name;
        assert!(names.insert(name), "{name} stands twice");
        assert!(name.len() <= 32 && name == name.to_ascii_lowercase(), "{name}");
        let prefix = container.map_or(String::new(), |container| format!("{}|", container.name));
        assert!(name.starts_with(&prefix) && !name[prefix.len()..].contains('|'), "{name}");
        assert!(container.is_none() || row.subcommands.is_empty(), "{name}: nested too deep");
        assert!(row.summary.ends_with('.') && row.summary.len() > 8, "{name}: {}", row.summary);
        let complexity = row.complexity;
        assert!(complexity.contains("O(") || complexity.starts_with("Depends on"), "{name}");
        let since: Vec<_> = row.since.split('.').map(str::parse::<u32>).collect();
        assert!(since.len() == 3 && since.iter().all(Result::is_ok), "{name}: {}", row.since);
        let least = 1 + usize::from(container.is_some());
        assert!(row.arity.unsigned_abs() as usize >= least, "{name}: arity {}", row.arity);
    }
}

#[test]
fn flags_do_not_contradict_each_other() {
    for (row, _) in rows() {
        let name = row.name;
        assert!(!(row.has(flag::WRITE) && row.has(flag::READONLY)), "{name} reads only and writes");
        assert!(!row.has(flag::DENYOOM) || row.has(flag::WRITE), "{name} takes memory by reading");
        assert!(!row.has(flag::NO_AUTH) || row.keys.is_empty(), "{name}: keys without rights");
        for spec in row.keys {
            let changes = spec.flags & (key_flag::RW | key_flag::OW | key_flag::RM) != 0;
            assert!(changes || spec.flags & key_flag::RO != 0, "{name}: a key without a use");
            assert!(!changes || !row.has(flag::READONLY), "{name} reads only and changes a key");
        }
    }
}

#[test]
fn keys_stand_within_the_arity() {
    for (row, _) in rows() {
        let least = row.arity.unsigned_abs() as usize;
        for spec in row.keys {
            assert!(spec.first >= 1 && spec.first < least, "{}: first key", row.name);
            let last = usize::try_from(spec.last).ok();
            assert!(last.is_none_or(|last| last >= spec.first && last < least), "{}", row.name);
            assert!(spec.step >= 1 && spec.indexes(least).count() >= 1, "{}", row.name);
        }
    }
}

/// The fewest words that an argument can be typed in.
fn words_min(argument: &Argument) -> usize {
    if argument.optional {
        return 0;
    }
    let token = usize::from(argument.token.is_some());
    let sum = |parts: &[Argument]| parts.iter().map(words_min).sum::<usize>();
    match &argument.shape {
        Shape::Token => 1,
        Shape::Value(_) => token + 1,
        Shape::Block(parts) => token + sum(parts),
        Shape::OneOf(parts) => token + parts.iter().map(words_min).min().unwrap_or(0),
    }
}

fn is_open(argument: &Argument) -> bool {
    let parts = match &argument.shape {
        Shape::Token | Shape::Value(_) => &[][..],
        Shape::Block(parts) | Shape::OneOf(parts) => parts,
    };
    argument.optional || argument.multiple || parts.iter().any(is_open)
}

/// Arities that say less than the syntax: handlers check the rest, as in Redis.
const LOOSE: &[&str] =
    &["debug", "replconf", "psync", "sync", "command|list", "client|kill", "client|reply"];

#[test]
fn every_syntax_can_be_taken_apart_and_fits_the_arity() {
    for (row, container) in rows() {
        let name = row.name;
        let arguments = arguments(row).unwrap_or_else(|error| panic!("{name}: {error}"));
        if !row.subcommands.is_empty() || LOOSE.contains(&name) {
            continue;
        }
        let least =
            1 + usize::from(container.is_some()) + arguments.iter().map(words_min).sum::<usize>();
        assert_eq!(least, row.arity.unsigned_abs() as usize, "{name}: {}", row.syntax);
        // An exact arity has no optional argument; the converse holds but for variants of equal length.
        assert!(row.arity < 0 || !arguments.iter().any(is_open), "{name}: {}", row.syntax);
    }
}

#[test]
fn rows_say_what_redis_says() {
    let mut wrong = Vec::new();
    for (row, _) in rows() {
        let name = row.name;
        let Some(known) = catalogue::find(name) else {
            wrong.push(format!("{name} is not in Redis 7.2"));
            continue;
        };
        let mut compare = |what: &str, ours: String, theirs: String| {
            if ours != theirs {
                wrong.push(format!("{name}: {what} is {ours:?}, in Redis {theirs:?}"));
            }
        };
        compare("since", row.since.to_owned(), known.since.to_owned());
        compare("group", row.group.name().to_owned(), known.group.to_owned());
        compare("arity", row.arity.to_string(), known.arity.to_string());
        let hidden = [(flag::MAY_REPLICATE, "may_replicate"), (flag::PROTECTED, "protected")];
        let mut flags: BTreeSet<&str> = row.flag_names().into_iter().collect();
        flags.extend(hidden.iter().filter(|(bit, _)| row.has(*bit)).map(|(_, name)| *name));
        flags.remove("movablekeys");
        let theirs: BTreeSet<&str> = known.flags.split_whitespace().collect();
        compare("flags", format!("{flags:?}"), format!("{theirs:?}"));
        // What follows from flags follows for them as well.
        let stated = known.acl.split_whitespace();
        let bits = stated.filter_map(|name| category(name.as_bytes())).fold(0, |a, b| a | b);
        let theirs = Command { acl: bits, ..copy(row) };
        compare("ACL", row.category_names().join(" "), theirs.category_names().join(" "));
        let keys: Vec<String> = row.keys.iter().map(spec_text).collect();
        compare("keys", keys.join(" "), sorted_flags(known.keys));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A row is no `Copy`, but all of its parts are.
fn copy(row: &Command) -> Command {
    Command { ..*row }
}

fn spec_text(spec: &russet_engine::command::KeySpec) -> String {
    let last = if spec.last < 0 { spec.last } else { spec.last - spec.first as i32 };
    let names = key_flag_names(spec.flags).join("+").to_ascii_lowercase();
    sorted_flags(&format!("{}:range({last},{},0):{names}", spec.first, spec.step))
}

/// The order of a key's flags means nothing.
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
fn the_table_finds_each_row_by_name_and_number() {
    let table = CommandTable::default();
    let mut numbers = BTreeMap::new();
    for (row, container) in rows() {
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
