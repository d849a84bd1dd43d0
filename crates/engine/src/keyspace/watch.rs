//! Who watches which keys (WATCH): by database number and name, whether the key exists or not.

use std::collections::BTreeMap;

use super::{Db, KeyHasher};
use crate::io::Handle;

/// See the module.
#[derive(Debug, Default)]
pub struct WatchTable {
    keys: BTreeMap<(u32, Box<[u8]>), Vec<Handle>>,
    /// Watchers whose keys changed since they were last asked for.
    touched: Vec<Handle>,
}

impl WatchTable {
    /// Whether nobody watches anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// How many keys are watched.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// A client starts to watch a key. False if it did already.
    pub fn add(&mut self, client: Handle, db: u32, key: &[u8]) -> bool {
        let watchers = self.keys.entry((db, key.into())).or_default();
        let new = !watchers.contains(&client);
        if new {
            watchers.push(client);
        }
        new
    }

    /// A client stops watching a key.
    pub fn remove(&mut self, client: Handle, db: u32, key: &[u8]) {
        let place = (db, key.into());
        if let Some(watchers) = self.keys.get_mut(&place) {
            watchers.retain(|&w| w != client);
            if watchers.is_empty() {
                self.keys.remove(&place);
            }
        }
    }

    /// A key changed.
    pub fn touch(&mut self, db: u32, key: &[u8]) {
        if let Some(watchers) = self.keys.get(&(db, key.into())) {
            self.touched.extend_from_slice(&watchers);
        }
    }

    /// Those keys of a database that exist are about to change all at once.
    pub(super) fn touch_db(&mut self, number: u32, db: &Db, hasher: KeyHasher) {
        for ((_, key), watchers) in self.in_db(number) {
            if has(db, hasher, &key) {
                self.touched.extend_from_slice(&watchers);
            }
        }
    }

    /// Two databases are about to swap numbers: who watches a key that is in either is touched.
    pub(super) fn touch_swapped(&mut self, a: u32, b: u32, dbs: &[Db], hasher: KeyHasher) {
        for number in [a, b] {
            for ((_, key), watchers) in self.in_db(number) {
                if [a, b].iter().any(|&n| has(&dbs[n as usize], hasher, &key)) {
                    self.touched.extend_from_slice(&watchers);
                }
            }
        }
    }

    fn in_db(&self, number: u32) -> Vec<((u32, Box<[u8]>), Vec<Handle>)> {
        self.keys
            .range((number, Box::default())..(number + 1, Box::default()))
            .map(|(k, w)| (k.clone(), w.clone()))
            .collect()
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

fn has(db: &Db, hasher: KeyHasher, key: &[u8]) -> bool {
    let key = hasher.key(key);
    db.table(key.slot).is_some_and(|t| t.get(key.hash, key.bytes).is_some())
}
