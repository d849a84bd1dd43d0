//! Events of keys, for keyspace notifications, and later for blocked clients, tracking and
//! statistics of slots.
//!
//! Every change goes through the write guard, which reports its kind here. Watchers are marked
//! immediately. Events are collected in a buffer, if they are enabled, which the node takes after
//! each command.
//!
//! The order is that of Redis: the creation of a key causes `new` before the event of the command. A
//! command that sets a value with an expiry causes `set`, then `expire`; one that removes the last
//! element of a value causes the element's event, then `del`.

use super::{Key, Keyspace};
use crate::types::{Type, type_of};

/// The class of an event, selected by a letter of `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Commands for all types: DEL, EXPIRE, RENAME.
    Generic = b'g',
    /// Strings.
    String = b'$',
    /// Lists.
    List = b'l',
    /// Sets.
    Set = b's',
    /// Hashes.
    Hash = b'h',
    /// Sorted sets.
    SortedSet = b'z',
    /// Streams.
    Stream = b't',
    /// Expired keys.
    Expired = b'x',
    /// Evicted keys.
    Evicted = b'e',
    /// Reads of missing keys; not included in `A`.
    KeyMiss = b'm',
    /// Created keys; not included in `A`.
    New = b'n',
}

impl Class {
    /// Returns its letter in `notify-keyspace-events`.
    pub const fn letter(self) -> u8 {
        self as u8
    }
}

/// Defines the kinds of events: name in notifications, and class.
macro_rules! kinds {
    ($($kind:ident $name:literal $class:ident;)*) => {
        /// The kind of an event.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum EventKind { $(#[doc = $name] $kind,)* }

        impl EventKind {
            /// All kinds.
            pub const ALL: &[EventKind] = &[$(EventKind::$kind,)*];

            /// Returns its name in notifications.
            pub const fn name(self) -> &'static str {
                match self { $(EventKind::$kind => $name,)* }
            }

            /// Returns its class.
            pub const fn class(self) -> Class {
                match self { $(EventKind::$kind => Class::$class,)* }
            }
        }
    };
}

kinds! {
    New            "new"            New;
    KeyMiss        "keymiss"        KeyMiss;
    Expired        "expired"        Expired;

    Del            "del"            Generic;
    Expire         "expire"         Generic;
    Persist        "persist"        Generic;
    RenameFrom     "rename_from"    Generic;
    RenameTo       "rename_to"      Generic;
    MoveFrom       "move_from"      Generic;
    MoveTo         "move_to"        Generic;
    CopyTo         "copy_to"        Generic;
    Restore        "restore"        Generic;

    Set            "set"            String;
    SetRange       "setrange"       String;
    Append         "append"         String;
    SetBit         "setbit"         String;
    PfAdd          "pfadd"          String;
    IncrBy         "incrby"         String;
    IncrByFloat    "incrbyfloat"    String;

    LPush          "lpush"          List;
    RPush          "rpush"          List;
    LPop           "lpop"           List;
    RPop           "rpop"           List;
    LInsert        "linsert"        List;
    LSet           "lset"           List;
    LRem           "lrem"           List;
    LTrim          "ltrim"          List;
    SortStore      "sortstore"      List;

    SAdd           "sadd"           Set;
    SRem           "srem"           Set;
    SPop           "spop"           Set;
    SInterStore    "sinterstore"    Set;
    SUnionStore    "sunionstore"    Set;
    SDiffStore     "sdiffstore"     Set;

    XAdd           "xadd"           Stream;
    XTrim          "xtrim"          Stream;
    XDel           "xdel"           Stream;
    XSetId         "xsetid"         Stream;
    XGroupCreate   "xgroup-create"  Stream;
    XGroupSetId    "xgroup-setid"   Stream;
    XGroupDestroy  "xgroup-destroy" Stream;
    XGroupCreateConsumer "xgroup-createconsumer" Stream;
    XGroupDelConsumer "xgroup-delconsumer" Stream;
    ZAdd           "zadd"           SortedSet;
    ZIncr          "zincr"          SortedSet;
    ZRem           "zrem"           SortedSet;
    ZRemRangeByRank  "zremrangebyrank"  SortedSet;
    ZRemRangeByScore "zremrangebyscore" SortedSet;
    ZRemRangeByLex "zremrangebylex" SortedSet;
    ZPopMin        "zpopmin"        SortedSet;
    ZPopMax        "zpopmax"        SortedSet;
    ZRangeStore    "zrangestore"    SortedSet;
    ZUnionStore    "zunionstore"    SortedSet;
    ZInterStore    "zinterstore"    SortedSet;
    ZDiffStore     "zdiffstore"     SortedSet;

    GeoSearchStore "geosearchstore" SortedSet;
    GeoRadiusStore "georadiusstore" SortedSet;

    HSet           "hset"           Hash;
    HDel           "hdel"           Hash;
    HIncrBy        "hincrby"        Hash;
    HIncrByFloat   "hincrbyfloat"   Hash;
    HExpire        "hexpire"        Hash;
    HPersist       "hpersist"       Hash;
    HExpired       "hexpired"       Hash;
}

impl EventKind {
    /// Whether the key does not exist after it.
    pub const fn removes(self) -> bool {
        use EventKind as E;
        matches!(self, E::Del | E::Expired | E::RenameFrom | E::MoveFrom)
    }

    /// Whether the key counts as created, even if a value was replaced.
    pub(super) const fn creates(self) -> bool {
        use EventKind as E;
        matches!(self, E::RenameTo | E::MoveTo | E::CopyTo | E::Restore)
    }
}

/// An event of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its kind.
    pub kind: EventKind,
    /// Number of the database.
    pub db: u32,
    /// Slot of the key.
    pub slot: u16,
    /// Type of the value after it; none if the key does not exist.
    pub ty: Option<&'static Type>,
    /// The key.
    pub key: Box<[u8]>,
}

/// The buffer of events.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Whether events are collected.
    enabled: bool,
    list: Vec<Event>,
}

impl Events {
    /// Collects the event of a read of a missing key.
    #[inline]
    pub(super) fn record_miss(&mut self, db: u32, key: Key<'_>) {
        if self.enabled {
            self.push(db, key, EventKind::KeyMiss, None);
        }
    }

    #[cold]
    fn push(&mut self, db: u32, key: Key<'_>, kind: EventKind, ty: Option<&'static Type>) {
        self.list.push(Event { kind, db, slot: key.slot(), ty, key: key.bytes.into() });
    }
}

impl Keyspace {
    /// Enables or disables the collection of events.
    pub fn set_events_enabled(&mut self, enabled: bool) {
        self.events.enabled = enabled;
        if !enabled {
            self.events.list = Vec::new();
        }
    }

    /// Whether there are events for [`Keyspace::take_events`].
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.list.is_empty()
    }

    /// Takes the events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events.list)
    }

    /// Reports a change of a key: marks its watchers and those that wait for it, and collects the event.
    #[inline]
    pub(super) fn key_changed(&mut self, db: u32, key: Key<'_>, kind: EventKind) {
        if !self.watch.is_empty() {
            self.watch.touch(db, key.bytes, kind.removes());
        }
        if !self.awaited.is_empty() {
            self.awaited.touch(db, key.bytes);
        }
        self.event(db, key, kind);
    }

    /// Marks the watchers of a key that was changed without an event.
    pub(super) fn key_touched(&mut self, db: u32, key: Key<'_>) {
        self.watch.touch(db, key.bytes, false);
    }

    /// Collects an event, if events are enabled.
    #[inline]
    pub(super) fn event(&mut self, db: u32, key: Key<'_>, kind: EventKind) {
        if self.events.enabled {
            let ty = self.db(db).get(key).map(|entry| type_of(entry.kind()));
            self.events.push(db, key, kind, ty);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::EventKind;
    use crate::config::words::KeyspaceEvents;

    #[test]
    fn names_are_unique_and_classes_can_be_selected() {
        let names: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            assert_ne!(KeyspaceEvents::bit(kind.class().letter()), 0, "{}", kind.name());
        }
    }
}
