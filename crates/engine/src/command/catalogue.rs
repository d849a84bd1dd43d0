//! Facts about the commands of Redis 7.2, including those that Russet lacks: a line of
//! `redis-7.2.tsv` for each.
//!
//! COMMAND takes tips and deprecations from it, docs/commands.md lists the missing commands, the log
//! names those that clients send, and a test compares every row with its line. Nothing that a
//! command does depends on it.

use std::sync::LazyLock;

/// A command or subcommand of Redis 7.2.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name. That of a subcommand begins with its container's.
    pub name: &'static str,
    /// The version that introduced it.
    pub since: &'static str,
    /// Its group.
    pub group: &'static str,
    /// Its arity.
    pub arity: i32,
    /// Its flags.
    pub flags: &'static str,
    /// Its ACL categories beside those that follow from the flags.
    pub acl: &'static str,
    /// Its key specs: `begin:find:flags`.
    pub keys: &'static str,
    /// Hints for clients and proxies.
    pub tips: &'static str,
    /// The version that deprecated it; empty if none did.
    pub deprecated_since: &'static str,
    /// Only servers are meant to send it.
    pub is_internal: bool,
}

const LINES: &str = include_str!("redis-7.2.tsv");

/// The successors of deprecated commands that exist here, as COMMAND DOCS names them.
const INSTEAD: &[(&str, &str)] = &[
    ("brpoplpush", "`BLMOVE` with the `RIGHT` and `LEFT` arguments"),
    ("georadius", "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` argument"),
    ("georadius_ro", "`GEOSEARCH` with the `BYRADIUS` argument"),
    (
        "georadiusbymember",
        "`GEOSEARCH` and `GEOSEARCHSTORE` with the `BYRADIUS` and `FROMMEMBER` arguments",
    ),
    ("georadiusbymember_ro", "`GEOSEARCH` with the `BYRADIUS` and `FROMMEMBER` arguments"),
    ("getset", "`SET` with the `!GET` argument"),
    ("hmset", "`HSET` with multiple field-value pairs"),
    ("psetex", "`SET` with the `PX` argument"),
    ("quit", "just closing the connection"),
    ("rpoplpush", "`LMOVE` with the `RIGHT` and `LEFT` arguments"),
    ("setex", "`SET` with the `EX` argument"),
    ("setnx", "`SET` with the `NX` argument"),
    ("slaveof", "`REPLICAOF`"),
    ("substr", "`GETRANGE`"),
    ("zrangebylex", "`ZRANGE` with the `BYLEX` argument"),
    ("zrangebyscore", "`ZRANGE` with the `BYSCORE` argument"),
    ("zrevrange", "`ZRANGE` with the `REV` argument"),
    ("zrevrangebylex", "`ZRANGE` with the `REV` and `BYLEX` arguments"),
    ("zrevrangebyscore", "`ZRANGE` with the `REV` and `BYSCORE` arguments"),
];

/// Iterates over all of them in the order of their names.
pub fn known() -> impl Iterator<Item = Known> {
    LINES.lines().filter(|line| !line.starts_with('#')).map(read)
}

/// Finds a command by its name.
pub fn find(name: &str) -> Option<Known> {
    known().find(|known| known.name == name)
}

/// Finds the name of a command as a client sends it, in constant space and little time: for names
/// that are no commands, clients decide how often.
pub fn find_name(sent: &[u8]) -> Option<&'static str> {
    static NAMES: LazyLock<Vec<&str>> = LazyLock::new(|| known().map(|known| known.name).collect());
    let sent_bytes = || sent.iter().map(u8::to_ascii_lowercase);
    let found = NAMES.binary_search_by(|name| name.bytes().cmp(sent_bytes()));
    found.ok().map(|at| NAMES[at])
}

/// Returns the successor of a deprecated command.
pub fn replaced_by(name: &str) -> Option<&'static str> {
    INSTEAD.iter().find(|(old, _)| *old == name).map(|(_, new)| *new)
}

fn read(line: &'static str) -> Known {
    let mut cells = line.split('\t');
    let mut next = || cells.next().unwrap_or_default();
    Known {
        name: next(),
        since: next(),
        group: next(),
        arity: next().parse().unwrap_or(0),
        flags: next(),
        acl: next(),
        keys: next(),
        tips: next(),
        deprecated_since: next(),
        is_internal: next() == "syscmd",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandTable;

    #[test]
    fn all_lines_are_parsed() {
        let mut last = "";
        for known in known() {
            assert!(known.name > last, "{} is out of order", known.name);
            assert!(known.arity != 0 && known.since.contains('.'), "{}", known.name);
            last = known.name;
        }
        assert_eq!(known().count(), 392);
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        for known in known() {
            let sent = known.name.to_ascii_uppercase();
            assert_eq!(find_name(sent.as_bytes()), Some(known.name));
        }
        for sent in [&b""[..], b"lpus", b"lpushy", b"\xff", &[b'x'; 1 << 20]] {
            assert_eq!(find_name(sent), None);
        }
    }

    #[test]
    fn deprecated_commands_that_exist_here_name_a_successor() {
        for row in CommandTable::default().all() {
            let deprecated = find(row.name).is_some_and(|known| !known.deprecated_since.is_empty());
            assert_eq!(deprecated, replaced_by(row.name).is_some(), "{}", row.name);
        }
    }
}
