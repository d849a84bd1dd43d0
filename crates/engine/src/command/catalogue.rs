//! What is known of Redis 7.2's commands beside our rows: `redis-7.2.tsv`, a line for each.
//!
//! COMMAND tells tips and deprecations from it, documentation what is missing here, and a test
//! compares every row with its line. No handler and no decision depends on it.

/// A command or subcommand of Redis 7.2.
#[derive(Clone, Copy, Debug)]
pub struct Known {
    /// Its name, a subcommand's with its container's before it.
    pub name: &'static str,
    /// The version that brought it.
    pub since: &'static str,
    /// Its family.
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
    /// The version since which it should not be used any more; empty if it may.
    pub deprecated_since: &'static str,
    /// Servers use it among themselves.
    pub is_internal: bool,
}

const LINES: &str = include_str!("redis-7.2.tsv");

/// What to use instead of commands that are deprecated and exist here, in the words of COMMAND DOCS.
const INSTEAD: &[(&str, &str)] = &[
    ("getset", "`SET` with the `!GET` argument"),
    ("psetex", "`SET` with the `PX` argument"),
    ("quit", "just closing the connection"),
    ("setex", "`SET` with the `EX` argument"),
    ("setnx", "`SET` with the `NX` argument"),
    ("slaveof", "`REPLICAOF`"),
    ("substr", "`GETRANGE`"),
];

/// All of them, by name.
pub fn known() -> impl Iterator<Item = Known> {
    LINES.lines().filter(|line| !line.starts_with('#')).map(read)
}

/// One of them.
pub fn find(name: &str) -> Option<Known> {
    known().find(|known| known.name == name)
}

/// What to use instead of this command.
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
    fn every_line_is_read() {
        let mut last = "";
        for known in known() {
            assert!(known.name > last, "{} is out of order", known.name);
            assert!(known.arity != 0 && known.since.contains('.'), "{}", known.name);
            last = known.name;
        }
        assert_eq!(known().count(), 392);
    }

    #[test]
    fn deprecated_commands_that_exist_here_name_a_successor() {
        for row in CommandTable::all() {
            let deprecated = find(row.name).is_some_and(|known| !known.deprecated_since.is_empty());
            assert_eq!(deprecated, replaced_by(row.name).is_some(), "{}", row.name);
        }
    }
}
