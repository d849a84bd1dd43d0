//! Keys that blocked clients wait for, by database number and name, existing or not.
//!
//! The table says which of them have changed, and who waits for a key, in the order in which they began to. It knows only the type
//! that a client waits for: whether the client gets something, its command finds out ([`crate::blocking`]).

use std::collections::{BTreeMap, VecDeque};

use super::Keyspace;
use crate::io::Handle;
use crate::types::type_of;

/// The place of a client among all that wait: who began earlier is served earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(pub u64);

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The number of the type that the key must have.
    pub number: u8,
    /// Whether it is also told if the key has another type, or does not exist any more.
    pub or_gone: bool,
}

impl Wanted {
    /// Whether it is this type, none if the key does not exist.
    fn is(self, number: Option<u8>) -> bool {
        self.or_gone || number == Some(self.number)
    }
}

/// A key.
#[derive(Debug, Default)]
struct AwaitedKey {
    clients: BTreeMap<Place, (Handle, Wanted)>,
    /// Number of those that are told if it is gone.
    or_gone: usize,
    /// Whether it is in the queue of changed keys.
    has_changed: bool,
}

/// The keys. See the module.
#[derive(Debug, Default)]
pub struct AwaitedKeys {
    /// By database number and name, as in [`super::WatchTable`]. No map is empty.
    dbs: BTreeMap<u32, BTreeMap<Box<[u8]>, AwaitedKey>>,
    /// Keys that changed, in this order; nobody may wait for them any more.
    changed: VecDeque<(u32, Box<[u8]>)>,
}

impl AwaitedKeys {
    /// Whether nobody waits for any key.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.dbs.is_empty()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.dbs.values().map(BTreeMap::len).sum()
    }

    /// Returns the number of keys of which somebody is told that they are gone.
    pub fn len_or_gone(&self) -> usize {
        self.dbs.values().flat_map(BTreeMap::values).filter(|key| key.or_gone > 0).count()
    }

    /// Adds a client to a key, unless it is there.
    pub fn add(&mut self, db: u32, key: &[u8], place: Place, client: Handle, wanted: Wanted) {
        let awaited = self.dbs.entry(db).or_default().entry(key.into()).or_default();
        if awaited.clients.insert(place, (client, wanted)).is_none() {
            awaited.or_gone += usize::from(wanted.or_gone);
        }
    }

    /// Removes it, if it is there.
    pub fn remove(&mut self, db: u32, key: &[u8], place: Place) {
        let Some(keys) = self.dbs.get_mut(&db) else { return };
        if let Some(awaited) = keys.get_mut(key) {
            if let Some((_, wanted)) = awaited.clients.remove(&place) {
                awaited.or_gone -= usize::from(wanted.or_gone);
            }
            if awaited.clients.is_empty() {
                keys.remove(key);
            }
        }
        if keys.is_empty() {
            self.dbs.remove(&db);
        }
    }

    /// Handles a change of a key.
    pub fn touch(&mut self, db: u32, key: &[u8]) {
        let awaited = self.dbs.get_mut(&db).and_then(|keys| keys.get_mut(key));
        if let Some(awaited) = awaited.filter(|awaited| !awaited.has_changed) {
            awaited.has_changed = true;
            self.changed.push_back((db, key.into()));
        }
    }

    /// Handles the replacement of a database by another one, or its removal.
    pub(super) fn touch_all(&mut self, db: u32) {
        let keys = self.dbs.get_mut(&db);
        for (key, awaited) in keys.into_iter().flatten().filter(|(_, key)| !key.has_changed) {
            awaited.has_changed = true;
            self.changed.push_back((db, key.clone()));
        }
    }

    /// Whether there are keys for [`AwaitedKeys::take_changed`].
    #[inline]
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Takes the key that changed first.
    pub fn take_changed(&mut self) -> Option<(u32, Box<[u8]>)> {
        let (db, key) = self.changed.pop_front()?;
        if let Some(awaited) = self.dbs.get_mut(&db).and_then(|keys| keys.get_mut(&key)) {
            awaited.has_changed = false;
        }
        Some((db, key))
    }

    /// Returns the place of the last client that waits for a key.
    pub fn last(&self, db: u32, key: &[u8]) -> Option<Place> {
        Some(*self.dbs.get(&db)?.get(key)?.clients.last_key_value()?.0)
    }

    /// Returns the first client from a place on that waits for a key of this type, none if the key does not exist.
    pub fn next(
        &self,
        db: u32,
        key: &[u8],
        from: Place,
        number: Option<u8>,
    ) -> Option<(Place, Handle)> {
        let awaited = self.dbs.get(&db)?.get(key)?;
        if number.is_none() && awaited.or_gone == 0 {
            return None;
        }
        let mut clients = awaited.clients.range(from..);
        let found = clients.find(|(_, (_, wanted))| wanted.is(number));
        found.map(|(place, (client, _))| (*place, *client))
    }
}

impl Keyspace {
    /// Returns the number of a key's type, none if it does not exist or has expired.
    pub(crate) fn type_number(&self, db: u32, key: &[u8]) -> Option<u8> {
        let key = self.hasher.key(key);
        let entry = self.db(db).get(key).filter(|_| !self.is_expired(db, key));
        entry.map(|entry| type_of(entry.kind()).number)
    }
}
