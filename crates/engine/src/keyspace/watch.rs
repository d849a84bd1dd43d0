//! Who watches which keys (WATCH): by database number and name, whether the key exists or not.
//!
//! A key that is past its time and still there is no key to anybody. So who began to watch it then is not told of its
//! removal, which changes nothing, but of all else.

use std::collections::BTreeMap;

use super::{Db, KeyHasher};
use crate::io::Handle;

/// One who watches a key.
#[derive(Clone, Copy, Debug)]
struct Watcher {
    client: Handle,
    /// The key was past its time when the watch began, and is still there.
    was_expired: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct WatchTable {
    /// By number, then by name, so that a write looks its key up without a copy. None is empty.
    dbs: BTreeMap<u32, BTreeMap<Box<[u8]>, Vec<Watcher>>>,
    /// Watchers whose keys changed since they were last asked for.
    touched: Vec<Handle>,
}

impl WatchTable {
    /// Whether nobody watches anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.dbs.is_empty()
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.dbs.values().map(BTreeMap::len).sum()
    }

    /// A client starts to watch a key, which may be past its time. False if it did already.
    pub fn add(&mut self, client: Handle, db: u32, key: &[u8], was_expired: bool) -> bool {
        let watchers = self.dbs.entry(db).or_default().entry(key.into()).or_default();
        let new = watchers.iter().all(|watcher| watcher.client != client);
        if new {
            watchers.push(Watcher { client, was_expired });
        }
        new
    }

    /// A client stops watching a key.
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

    /// Whether a key that a client watches was past its time when it began to.
    pub fn was_expired(&self, client: Handle, db: u32, key: &[u8]) -> bool {
        let watchers = self.dbs.get(&db).and_then(|keys| keys.get(key));
        let mut watchers = watchers.into_iter().flatten();
        watchers.any(|watcher| watcher.client == client && watcher.was_expired)
    }

    /// A key changed, or was removed.
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

    /// All keys of a database are about to give way to those of another, or to none.
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
                let was_nothing = watcher.was_expired || before == State::Missing;
                watcher.was_expired = after == State::Expired;
                if !was_nothing || after == State::There {
                    self.touched.push(watcher.client);
                }
            }
        }
    }

    /// Watchers whose keys changed since the last call.
    pub fn take_touched(&mut self) -> Vec<Handle> {
        std::mem::take(&mut self.touched)
    }

    /// Whether [`WatchTable::take_touched`] has something.
    #[inline]
    pub fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }
}

/// What a watcher may find under a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Missing,
    /// Past its time.
    Expired,
    There,
}

fn state(db: &Db, hasher: KeyHasher, key: &[u8], now_ms: i64) -> State {
    match db.get(hasher.key(key)) {
        None => State::Missing,
        Some(entry) if entry.expiry().is_some_and(|at| at < now_ms) => State::Expired,
        Some(_) => State::There,
    }
}
