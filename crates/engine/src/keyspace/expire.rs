//! Expiry: keys are deleted when a command accesses them (lazy) or by slices of active expiry.
//!
//! There is no separate table of expiries. Each segment knows its earliest expiry, and a table has a
//! heap of its segments by it. So active expiry visits only segments with expired keys, instead of
//! random keys.

use russet_ds::{EntryRef, Expired};

use super::{EventKind, ExpiryPolicy, Key, Keyspace};
use crate::types::{Names, Object, ValueRef, encoding_of};

/// An expired key, or a key with expired elements.
#[derive(Debug)]
pub struct ExpiredKey {
    /// Number of the database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// The command that removes elements, and their names; none if the key itself has expired.
    pub elements: Option<(&'static [u8], Names)>,
}

impl Keyspace {
    /// Whether a key is expired and must be treated as missing. Deletes it, depending on the policy.
    #[inline]
    pub fn expire_if_needed(&mut self, db: u32, key: Key<'_>) -> bool {
        if self.policy == ExpiryPolicy::Ignore {
            return false;
        }
        let in_db = self.db(db);
        if in_db.len_with_expiry() == 0 {
            return false;
        }
        let expiry = in_db.get(key).and_then(|entry| entry.expiry());
        if expiry.is_none_or(|at| !self.is_past(at)) {
            return false;
        }
        if self.policy == ExpiryPolicy::Remove {
            self.expire(db, key);
        }
        true
    }

    /// Whether a key exists and is expired. It is not deleted.
    pub fn is_expired(&self, db: u32, key: Key<'_>) -> bool {
        self.db(db).get(key).and_then(|entry| entry.expiry()).is_some_and(|at| self.is_past(at))
    }

    /// Whether an expiry in Unix milliseconds has passed, by the clock of this turn.
    pub fn is_past(&self, at: i64) -> bool {
        at < self.now_ms
    }

    fn expire(&mut self, db: u32, key: Key<'_>) {
        if self.edit(db, key).remove(EventKind::Expired) {
            self.stats.expired_keys += 1;
            // Expiry does not count as a change.
            self.dirty -= 1;
            self.expired.push(ExpiredKey { db, key: key.bytes.into(), elements: None });
        }
    }

    /// Records the deletion of expired elements: as an event, and for propagation by `command`.
    pub(crate) fn elements_expired(
        &mut self,
        db: u32,
        key: Key<'_>,
        command: &'static [u8],
        names: Names,
    ) {
        if names.is_empty() {
            return;
        }
        self.stats.expired_elements += names.len() as u64;
        self.key_changed(db, key, EventKind::HExpired);
        self.expired.push(ExpiredKey {
            db,
            key: key.bytes.into(),
            elements: Some((command, names)),
        });
    }

    /// Deletes expired elements of a key's value, within `budget` if the value is large.
    fn expire_elements(&mut self, db: u32, key: Key<'_>, budget: usize) {
        let (now_ms, dirty) = (self.now_ms, self.dirty);
        let Some(entry) = self.db(db).get(key) else { return };
        let Some(expiring) = encoding_of(entry.kind()).expiring else { return };
        let compact = match ValueRef::of(&entry) {
            ValueRef::Bytes(bytes) => Some((expiring.remove)(bytes, now_ms)),
            ValueRef::Object(_) => None,
        };
        let mut edit = self.edit(db, key);
        let (is_empty, names) = match compact {
            Some((None, names)) => (true, names),
            Some((Some(value), names)) => {
                edit.store(value);
                (false, names)
            }
            None => {
                let removed = edit.change_object(|object, mut walkers| {
                    let collection = object.collection_mut();
                    let names = collection.remove_expired(now_ms, budget, &mut walkers);
                    (collection.is_empty(), names)
                });
                removed.unwrap_or_default()
            }
        };
        self.elements_expired(db, key, expiring.word, names);
        if is_empty {
            self.edit(db, key).remove(EventKind::Del);
        }
        // Expiry does not count as a change.
        self.dirty = dirty;
    }

    /// Returns a lower bound of the earliest expiry of all keys and elements, in Unix milliseconds.
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.dbs().filter_map(|(_, db)| db.table.earliest_expiry()).min()
    }

    /// Deletes up to `budget` expired keys that clients of this replica gave an expiry. Returns
    /// whether there are more.
    pub fn expire_own(&mut self, budget: usize) -> bool {
        for _ in 0..budget {
            let Some((db, key)) = self.own_expiries.take_due(self.now_ms) else { return false };
            let key = self.hasher.key(&key);
            if self.is_expired(db, key) {
                self.expire(db, key);
            }
        }
        self.own_expiries.earliest().is_some_and(|at| self.is_past(at))
    }

    /// Runs a slice of active expiry: examines up to `budget` entries of one database and deletes
    /// the expired ones. Returns whether there are more. Slices alternate between databases, so that
    /// one with many expired keys does not delay the others.
    pub fn expire_slice(&mut self, budget: usize) -> bool {
        let now_ms = self.now_ms;
        let mut due: Vec<(Box<[u8]>, Expired)> = Vec::new();
        for _ in 0..self.count() {
            let number = self.next_to_expire;
            self.next_to_expire = (number + 1) % self.count();
            let table = &mut self.db_mut(number).table;
            if table.earliest_expiry().is_none_or(|at| at >= now_ms) {
                continue;
            }
            let mut collect = |entry: EntryRef<'_, Object>, expired: Expired| {
                due.push((entry.key().into(), expired));
            };
            let step = table.expire_step(now_ms, budget, &mut collect);
            for (key, expired) in &due {
                let key = self.hasher.key(key);
                match expired {
                    Expired::Key => self.expire(number, key),
                    Expired::Inner => self.expire_elements(number, key, budget),
                }
            }
            if step.looked > 0 {
                break;
            }
        }
        self.earliest_expiry().is_some_and(|at| at < now_ms)
    }
}
