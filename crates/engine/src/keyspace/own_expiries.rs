//! The keys to which clients of a writable replica have given an expiry.
//!
//! A replica leaves expired keys to its master, which does not know about these. So the replica
//! removes them itself when they are due. A key is forgotten when it is removed, or when the master
//! or a client sets it again without such an expiry.

use std::collections::{BTreeMap, BTreeSet};

/// A key with the number of its database.
type Place = (u32, Box<[u8]>);

/// The keys, by their place and by their expiry in Unix milliseconds.
#[derive(Debug, Default)]
pub struct OwnExpiries {
    /// Whether the running command is that of a client of a replica.
    pub is_recording: bool,
    by_place: BTreeMap<Place, i64>,
    by_time: BTreeSet<(i64, Place)>,
}

impl OwnExpiries {
    /// Returns the number of keys.
    pub fn count(&self) -> usize {
        self.by_place.len()
    }

    /// Whether a change of an expiry has no effect here.
    #[inline]
    pub fn is_idle(&self) -> bool {
        !self.is_recording && self.by_place.is_empty()
    }

    /// Records a changed expiry, or that the key has none or is removed.
    #[cold]
    pub fn changed(&mut self, db: u32, key: &[u8], expiry: Option<i64>) {
        let place: Place = (db, key.into());
        if let Some(before) = self.by_place.remove(&place) {
            self.by_time.remove(&(before, place.clone()));
        }
        if let Some(at) = expiry.filter(|_| self.is_recording) {
            self.by_place.insert(place.clone(), at);
            self.by_time.insert((at, place));
        }
    }

    /// Returns the earliest expiry.
    pub fn earliest(&self) -> Option<i64> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// Takes the key with the earliest expiry if that is before `now_ms`.
    pub fn take_due(&mut self, now_ms: i64) -> Option<Place> {
        self.earliest().filter(|at| *at < now_ms)?;
        let (_, place) = self.by_time.pop_first()?;
        self.by_place.remove(&place);
        Some(place)
    }

    /// Exchanges the numbers of two databases.
    pub fn swap(&mut self, a: u32, b: u32) {
        let swapped = |db: u32| match db {
            db if db == a => b,
            db if db == b => a,
            db => db,
        };
        let all = std::mem::take(&mut self.by_place);
        self.by_place = all.into_iter().map(|((db, key), at)| ((swapped(db), key), at)).collect();
        self.by_time = self.by_place.iter().map(|(place, at)| (*at, place.clone())).collect();
    }

    /// Forgets all keys.
    pub fn clear(&mut self) {
        self.by_place.clear();
        self.by_time.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_one_expiry_and_is_due_once() {
        let mut own = OwnExpiries { is_recording: true, ..OwnExpiries::default() };
        for at in (0..100).rev() {
            own.changed(0, b"often", Some(at));
        }
        own.changed(1, b"other", Some(50));
        own.changed(2, b"removed", Some(5));
        own.changed(2, b"removed", None);
        own.swap(0, 1);
        assert_eq!((own.count(), own.earliest()), (2, Some(0)));
        assert_eq!(own.take_due(0), None, "it is due after its expiry");
        assert_eq!(own.take_due(60), Some((1, (*b"often").into())));
        assert_eq!(own.take_due(60), Some((0, (*b"other").into())));
        assert!(own.take_due(i64::MAX).is_none() && own.by_time.is_empty());
    }

    #[test]
    fn only_clients_of_a_replica_are_recorded() {
        let mut own = OwnExpiries::default();
        own.changed(0, b"key", Some(1));
        assert!(own.is_idle());
        own.is_recording = true;
        own.changed(0, b"key", Some(1));
        own.is_recording = false;
        assert!(!own.is_idle());
        own.changed(0, b"key", Some(2));
        assert!(own.is_idle(), "the master has set it");
    }
}
