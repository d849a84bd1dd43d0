//! Watched keys (WATCH), by database number and name, existing or not.
//!
//! An expired key that was not deleted yet counts as missing. So its deletion is not a change for a
//! client that started to watch it after its expiry; every other change is.

use std::collections::BTreeMap;

use super::{Db, KeyHasher};
use crate::io::Handle;

/// A client that watches a key.
#[derive(Clone, Copy, Debug)]
struct Watcher {
    client: Handle,
    /// Whether the key was expired at the time of WATCH and has not been deleted since.
    was_expired: bool,
}

/// The watched keys.
#[derive(Debug, Default)]
pub struct WatchTable {
    /// Watchers by database number and name. Lookups need no copy of the name. No map or list is
    /// empty.
    dbs: BTreeMap<u32, BTreeMap<Box<[u8]>, Vec<Watcher>>>,
    /// Watchers whose keys changed since [`WatchTable::take_touched`].
    touched: Vec<Handle>,
}

impl WatchTable {
    /// Whether no key is watched.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.dbs.is_empty()
    }

    /// Returns the number of watched keys.
    pub fn len(&self) -> usize {
        self.dbs.values().map(BTreeMap::len).sum()
    }

    /// Adds a watcher of a key, which may be expired. Returns false if the client watches it already.
    pub fn add(&mut self, client: Handle, db: u32, key: &[u8], was_expired: bool) -> bool {
        let watchers = self.dbs.entry(db).or_default().entry(key.into()).or_default();
        let new = watchers.iter().all(|watcher| watcher.client != client);
        if new {
            watchers.push(Watcher { client, was_expired });
        }
        new
    }

    /// Removes a watcher of a key.
    pub fn remove(&mut self, client: Handle, db: u32, key: &[u8]) {
        let Some(keys) = self.dbs.get_mut(&db) else { return };
        if let Some(watchers) = keys.get_mut(key) {
            watchers.retain(|watcher| watcher.client != client);
            if watchers.is_empty() {
                keys.remove(key);
            }
        }
        if keys.is_empty() {
            self.dbs.remove(&db);
        }
    }

    /// Whether a watched key was expired at the time of WATCH.
    pub fn was_expired(&self, client: Handle, db: u32, key: &[u8]) -> bool {
        let watchers = self.dbs.get(&db).and_then(|keys| keys.get(key));
        let mut watchers = watchers.into_iter().flatten();
        watchers.any(|watcher| watcher.client == client && watcher.was_expired)
    }

    /// Handles a change or the removal of a key.
    pub fn touch(&mut self, db: u32, key: &[u8], removed: bool) {
        let watchers = self.dbs.get_mut(&db).and_then(|keys| keys.get_mut(key));
        for watcher in watchers.into_iter().flatten() {
            if removed && watcher.was_expired {
                watcher.was_expired = false;
            } else {
                self.touched.push(watcher.client);
            }
        }
    }

    /// Handles the replacement of a database by another one, or its removal.
    pub(super) fn touch_all(
        &mut self,
        number: u32,
        old: &Db,
        new: Option<&Db>,
        hasher: KeyHasher,
        now_ms: i64,
    ) {
        for (key, watchers) in self.dbs.get_mut(&number).into_iter().flatten() {
            let before = state(old, hasher, key, now_ms);
            let after = new.map_or(State::Missing, |new| state(new, hasher, key, now_ms));
            if before == State::Missing && after == State::Missing {
                continue;
            }
            for watcher in watchers {
                let was_missing = watcher.was_expired || before == State::Missing;
                watcher.was_expired = after == State::Expired;
                if !was_missing || after == State::Exists {
                    self.touched.push(watcher.client);
                }
            }
        }
    }

    /// Takes the watchers whose keys changed since the last call.
    pub fn take_touched(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.touched)
    }

    /// Whether there are watchers for [`WatchTable::take_touched`].
    #[inline]
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }
}

/// The state of a watched key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    /// Expired and not deleted yet.
    Expired,
    Exists,
}

fn state(db: &Db, hasher: KeyHasher, key: &[u8], now_ms: i64) -> State {
    match db.get(hasher.key(key)) {
        None => State::Missing,
        Some(entry) if entry.expiry().is_some_and(|at| at < now_ms) => State::Expired,
        Some(_) => State::Exists,
    }
}
