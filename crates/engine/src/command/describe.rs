//! A row as COMMAND and documentation show it: its syntax, and the names that Redis gives to its
//! flags, its ACL categories, its group, and to what happens to its keys.

use super::keyspec::key_flag;
use super::{Args, Command, Group, KeySpec, acl, argument, flag};

/// Flags, in the order of COMMAND INFO.
const FLAGS: &[(u64, &str)] = &[
    (flag::WRITE, "write"),
    (flag::READONLY, "readonly"),
    (flag::DENYOOM, "denyoom"),
    (flag::ADMIN, "admin"),
    (flag::PUBSUB, "pubsub"),
    (flag::NOSCRIPT, "noscript"),
    (flag::BLOCKING, "blocking"),
    (flag::LOADING, "loading"),
    (flag::STALE, "stale"),
    (flag::SKIP_MONITOR, "skip_monitor"),
    (flag::SKIP_SLOWLOG, "skip_slowlog"),
    (flag::ASKING, "asking"),
    (flag::FAST, "fast"),
    (flag::NO_AUTH, "no_auth"),
    (flag::NO_ASYNC_LOADING, "no_async_loading"),
    (flag::NO_MULTI, "no_multi"),
    (flag::MOVABLEKEYS, "movablekeys"),
    (flag::ALLOW_BUSY, "allow_busy"),
];

/// ACL categories, in the order of COMMAND INFO.
const CATEGORIES: &[(u64, &str)] = &[
    (acl::KEYSPACE, "keyspace"),
    (acl::READ, "read"),
    (acl::WRITE, "write"),
    (acl::SET, "set"),
    (acl::SORTEDSET, "sortedset"),
    (acl::LIST, "list"),
    (acl::HASH, "hash"),
    (acl::STRING, "string"),
    (acl::BITMAP, "bitmap"),
    (acl::HYPERLOGLOG, "hyperloglog"),
    (acl::GEO, "geo"),
    (acl::STREAM, "stream"),
    (acl::PUBSUB, "pubsub"),
    (acl::ADMIN, "admin"),
    (acl::FAST, "fast"),
    (acl::SLOW, "slow"),
    (acl::BLOCKING, "blocking"),
    (acl::DANGEROUS, "dangerous"),
    (acl::CONNECTION, "connection"),
    (acl::TRANSACTION, "transaction"),
    (acl::SCRIPTING, "scripting"),
];

/// Flags of keys, in the order of COMMAND INFO.
const KEY_FLAGS: &[(u32, &str)] = &[
    (key_flag::RO, "RO"),
    (key_flag::RW, "RW"),
    (key_flag::OW, "OW"),
    (key_flag::RM, "RM"),
    (key_flag::ACCESS, "access"),
    (key_flag::UPDATE, "update"),
    (key_flag::INSERT, "insert"),
    (key_flag::DELETE, "delete"),
    (key_flag::NOT_KEY, "not_key"),
    (key_flag::INCOMPLETE, "incomplete"),
    (key_flag::VARIABLE_FLAGS, "variable_flags"),
];

/// Finds an ACL category by its name, whatever its case.
pub fn category(name: &[u8]) -> Option<u64> {
    let found = CATEGORIES.iter().find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes()));
    found.map(|(bit, _)| *bit)
}

/// Returns the names of a key's flags.
pub fn key_flag_names(flags: u32) -> Vec<&'static str> {
    KEY_FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
}

impl Command {
    /// Returns its arguments as people write them: `key value [NX | XX]`.
    pub fn syntax(&self) -> String {
        argument::syntax(self.arguments)
    }

    /// Returns all tokens of its arguments.
    pub fn tokens(&self) -> Vec<&'static str> {
        argument::tokens(self.arguments)
    }

    /// Returns its flags as COMMAND INFO shows them.
    pub fn flag_names(&self) -> Vec<&'static str> {
        let movable = if self.key_range().1 { flag::MOVABLEKEYS } else { 0 };
        let flags = self.flags | movable;
        FLAGS.iter().filter(|(bit, _)| flags & bit != 0).map(|(_, name)| *name).collect()
    }

    /// Returns its ACL categories: those that the row states and those that follow from its flags.
    pub fn categories(&self) -> u64 {
        let mut categories = self.acl;
        let has = |flag| self.has(flag);
        let follow = [
            (has(flag::WRITE), acl::WRITE),
            (has(flag::READONLY) && self.acl & acl::SCRIPTING == 0, acl::READ),
            (has(flag::ADMIN), acl::ADMIN | acl::DANGEROUS),
            (has(flag::PUBSUB), acl::PUBSUB),
            (has(flag::FAST), acl::FAST),
            (!has(flag::FAST), acl::SLOW),
            (has(flag::BLOCKING), acl::BLOCKING),
        ];
        for (_, category) in follow.iter().filter(|(follows, _)| *follows) {
            categories |= category;
        }
        categories
    }

    /// Returns the names of its ACL categories.
    pub fn category_names(&self) -> Vec<&'static str> {
        let categories = self.categories();
        CATEGORIES.iter().filter(|(bit, _)| categories & bit != 0).map(|(_, name)| *name).collect()
    }

    /// Returns the first key, last key and step of COMMAND INFO, which predate key specs, and
    /// whether they describe less than the key specs do.
    pub fn key_range(&self) -> ((i64, i64, i64), bool) {
        let incomplete = |spec: &KeySpec| {
            spec.is_counted || spec.hidden.is_some() || spec.flags & key_flag::INCOMPLETE != 0
        };
        match self.keys {
            [] => ((0, 0, 0), false),
            [one] if one.is_counted => ((0, 0, 0), true),
            [one] => ((one.first as i64, i64::from(one.last), one.step as i64), incomplete(one)),
            [first, rest @ ..] => {
                // Adjacent specs form one range.
                let mut last = first.last;
                let mut less = incomplete(first);
                for spec in rest {
                    if spec.hidden.is_some() {
                        less = true;
                        continue;
                    }
                    let is_next = last >= 0 && spec.first as i32 == last + 1;
                    let follows = spec.step == 1 && !spec.is_counted && is_next;
                    less |= !follows || incomplete(spec);
                    last = if follows { spec.last } else { last };
                }
                ((first.first as i64, i64::from(last), 1), less)
            }
        }
    }

    /// Returns the index and flags of each key among these arguments.
    pub fn keys_of(&self, args: &Args<'_>) -> Vec<(usize, u32)> {
        if let Some(find) = self.find_keys {
            // They differ in their place only.
            let flags = self.keys.first().map_or(0, |spec| spec.flags);
            return find(args).map(|index| (index, flags)).collect();
        }
        let mut found = Vec::new();
        for spec in self.key_specs() {
            let flags = self.key_flags.map_or(spec.flags, |now| now(args));
            found.extend(spec.indexes(args).map(|index| (index, flags)));
        }
        found
    }

    /// Returns the index of each key among these arguments.
    pub fn key_indexes(&self, args: &Args<'_>) -> impl Iterator<Item = usize> {
        let found = self.find_keys.map(|find| find(args));
        let specs = if found.is_some() { 0 } else { usize::MAX };
        let by_specs = self.key_specs().take(specs).flat_map(move |spec| spec.indexes(args));
        found.into_iter().flatten().chain(by_specs)
    }

    /// Whether the argument at an index is a secret.
    pub(crate) fn is_secret(&self, args: &Args<'_>, at: usize) -> bool {
        self.secrets.is_some_and(|secrets| secrets(args, at))
    }

    /// Whether it also reads keys that no argument names.
    pub(crate) fn reads_derived_keys(&self) -> bool {
        self.keys.iter().any(|spec| spec.hidden.is_some())
    }

    fn key_specs(&self) -> impl Iterator<Item = &KeySpec> {
        self.keys.iter().filter(|spec| spec.flags & key_flag::NOT_KEY == 0)
    }
}

impl Group {
    /// Its name in COMMAND DOCS.
    pub fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Hash => "hash",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Scripting => "scripting",
            Group::Hyperloglog => "hyperloglog",
            Group::Cluster => "cluster",
            Group::Sentinel => "sentinel",
            Group::Geo => "geo",
            Group::Stream => "stream",
            Group::Bitmap => "bitmap",
        }
    }
}
