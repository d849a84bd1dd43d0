//! What happened to keys, for whoever wants to know: keyspace notifications, and later blocked clients, tracking and
//! the statistics of slots.
//!
//! Every change goes through the write guard, which says here what kind of change it was. Watchers are told at
//! once; others read the buffer that the node empties after each command, and that stays empty while nobody is interested.
//!
//! The order is Redis': a key that is created is `new` first, then comes what the command did to it. A command that both
//! sets a value and its expiry tells `set`, then `expire`; one that removes the last element tells of the element, then `del`.

use super::{Key, Keyspace};
use crate::types::{Type, type_of};

/// The class of an event: what `notify-keyspace-events` chooses by, a letter each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Commands that know no type: DEL, EXPIRE, RENAME.
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
    /// Keys that expire.
    Expired = b'x',
    /// Keys that are evicted.
    Evicted = b'e',
    /// Reads that find no key. Not among those that `A` stands for.
    KeyMiss = b'm',
    /// Keys that are created. Not among those that `A` stands for.
    New = b'n',
}

impl Class {
    /// The letter in `notify-keyspace-events`.
    pub const fn letter(self) -> u8 {
        self as u8
    }
}

/// A row for each kind of event: its name as notifications spell it, its class.
macro_rules! kinds {
    ($($kind:ident $name:literal $class:ident;)*) => {
        /// What happened to a key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum EventKind { $(#[doc = $name] $kind,)* }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[EventKind] = &[$(EventKind::$kind,)*];

            /// The name in notifications.
            pub const fn name(self) -> &'static str {
                match self { $(EventKind::$kind => $name,)* }
            }

            /// The class.
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
    IncrBy         "incrby"         String;
    IncrByFloat    "incrbyfloat"    String;

    HSet           "hset"           Hash;
    HDel           "hdel"           Hash;
    HIncrBy        "hincrby"        Hash;
    HIncrByFloat   "hincrbyfloat"   Hash;
    HExpire        "hexpire"        Hash;
    HPersist       "hpersist"       Hash;
    HExpired       "hexpired"       Hash;
}

impl EventKind {
    /// Whether the key is gone after it.
    pub const fn removes(self) -> bool {
        use EventKind as E;
        matches!(self, E::Del | E::Expired | E::RenameFrom | E::MoveFrom)
    }

    /// Whether what it puts under a name counts as new, even if it replaces a value.
    pub(super) const fn creates(self) -> bool {
        use EventKind as E;
        matches!(self, E::RenameTo | E::MoveTo | E::CopyTo | E::Restore)
    }
}

/// Something that happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What.
    pub kind: EventKind,
    /// Number of the database.
    pub db: u32,
    /// Slot of the key.
    pub slot: u16,
    /// Type of what stood there after it, if anything did.
    pub ty: Option<&'static Type>,
    /// The key.
    pub key: Box<[u8]>,
}

/// The events since they were last taken.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// Whether anybody wants them.
    wanted: bool,
    list: Vec<Event>,
}

impl Events {
    /// A read found no key.
    #[inline]
    pub(super) fn missed(&mut self, db: u32, key: Key<'_>) {
        if self.wanted {
            self.push(db, key, EventKind::KeyMiss, None);
        }
    }

    #[cold]
    fn push(&mut self, db: u32, key: Key<'_>, kind: EventKind, ty: Option<&'static Type>) {
        self.list.push(Event { kind, db, slot: key.slot(), ty, key: key.bytes.into() });
    }
}

impl Keyspace {
    /// Says whether anybody wants to know of events. If not, none are gathered.
    pub fn want_events(&mut self, wanted: bool) {
        self.events.wanted = wanted;
        if !wanted {
            self.events.list = Vec::new();
        }
    }

    /// Whether [`Keyspace::take_events`] has something.
    #[inline]
    pub fn has_events(&self) -> bool {
        !self.events.list.is_empty()
    }

    /// The events since the last call, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events.list)
    }

    /// A key changed: its watchers are told, and whoever wants events.
    #[inline]
    pub(super) fn key_changed(&mut self, db: u32, key: Key<'_>, kind: EventKind) {
        if !self.watch.is_empty() {
            self.watch.touch(db, key.bytes, kind.removes());
        }
        self.event(db, key, kind);
    }

    /// Gathers an event, if anybody wants them.
    #[inline]
    pub(super) fn event(&mut self, db: u32, key: Key<'_>, kind: EventKind) {
        if self.events.wanted {
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
    fn names_are_unique_and_classes_can_be_chosen() {
        let names: BTreeSet<&str> = EventKind::ALL.iter().map(|kind| kind.name()).collect();
        assert_eq!(names.len(), EventKind::ALL.len());
        for kind in EventKind::ALL {
            assert_ne!(KeyspaceEvents::bit(kind.class().letter()), 0, "{}", kind.name());
        }
    }
}
