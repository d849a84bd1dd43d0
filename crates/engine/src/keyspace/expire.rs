//! Keys whose time has come: found expired by a command (lazily), or looked for (actively).
//!
//! There is no second table for expiries. Segments know their earliest one and tables keep them in a heap by
//! it, so the active side visits segments that have something due, not keys at random.

use russet_ds::{EntryRef, Expired};

use super::{EventKind, ExpiryPolicy, Key, Keyspace};
use crate::types::{Names, Object, ValueRef, encoding_of};

/// A key that expired, or elements of its value.
#[derive(Debug)]
pub struct Ended {
    /// Number of the database.
    pub db: u32,
    /// The key.
    pub key: Box<[u8]>,
    /// Not the key but these of its elements, and the command that removes them.
    pub elements: Option<(&'static [u8], Names)>,
}

impl Keyspace {
    /// Whether a key has expired, so that a command must act as if it were not there. A master removes it then.
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

    /// Whether a key is there though its time has come; nothing is removed.
    pub fn is_expired(&self, db: u32, key: Key<'_>) -> bool {
        self.db(db).get(key).and_then(|entry| entry.expiry()).is_some_and(|at| self.is_past(at))
    }

    /// Whether an expiry is past, for this turn's clock.
    pub fn is_past(&self, at: i64) -> bool {
        at < self.now_ms
    }

    fn expire(&mut self, db: u32, key: Key<'_>) {
        if self.edit(db, key).remove(EventKind::Expired) {
            self.stats.expired_keys += 1;
            // A key that ends is no change that anybody made.
            self.dirty -= 1;
            self.expired.push(Ended { db, key: key.bytes.into(), elements: None });
        }
    }

    /// Elements of a key's value have been removed since they had expired: that is reported, and gathered to be propagated.
    pub(crate) fn elements_expired(
        &mut self,
        db: u32,
        key: Key<'_>,
        word: &'static [u8],
        names: Names,
    ) {
        if names.is_empty() {
            return;
        }
        self.stats.expired_elements += names.len() as u64;
        self.key_changed(db, key, EventKind::HExpired);
        self.expired.push(Ended { db, key: key.bytes.into(), elements: Some((word, names)) });
    }

    /// Removes elements of a key's value that have expired, of a large one no more than a slice takes.
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
                let removed = edit.change_object(|object, walkers| {
                    let collection = object.collection_mut();
                    let names = collection.remove_expired(now_ms, budget, walkers);
                    (collection.is_empty(), names)
                });
                removed.unwrap_or_default()
            }
        };
        self.elements_expired(db, key, expiring.word, names);
        if is_empty {
            self.edit(db, key).remove(EventKind::Del);
        }
        // What expires is no change that anybody made.
        self.dirty = dirty;
    }

    /// The earliest time at which something may be due: a lower bound.
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.dbs().filter_map(|(_, db)| db.table.earliest_expiry()).min()
    }

    /// One slice of active expiry: looks at up to `budget` entries of one database, removes those that are due.
    /// True if more is due now. Slices go round the databases, so that one with much to expire holds up no other.
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
