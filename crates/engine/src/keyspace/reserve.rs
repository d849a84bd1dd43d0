//! Memory for keys before they come, and giving back what was not needed.
//!
//! A load knows how many keys come and has memory made for them at once. Where they fall is not known: a cluster's
//! node may hold a few of the slots only, whose share of the memory is then used, and more made, while the rest lies idle.

use super::Keyspace;

/// Segments of a table that one slice looks at: mostly just that, some 20 microseconds each at worst.
const SEGMENTS: usize = 32;

impl Keyspace {
    /// Makes room for so many keys in an empty database.
    pub(crate) fn reserve(&mut self, db: u32, keys: usize) {
        let db = self.db_mut(db);
        db.table.reserve(keys);
        db.trim_at = Some(0);
    }

    /// Gives back a part of the room that was reserved and not used. Not to be called while a load goes on.
    pub(crate) fn trim_slice(&mut self) {
        let hasher = self.hasher;
        let hash_of = |key: &[u8]| hasher.hash(key);
        let Some(db) = self.dbs.iter_mut().find(|db| db.trim_at.is_some()) else { return };
        for _ in 0..SEGMENTS {
            let Some(from) = db.trim_at else { return };
            db.trim_at = db.table.trim(from, &hash_of);
        }
    }
}

#[cfg(test)]
mod tests {
    use russet_ds::hash::Seed;

    use super::super::{EventKind, Expiry, Keyspace};
    use crate::mode::Mode;

    #[test]
    fn room_that_no_keys_came_for_is_given_back() {
        for mode in [Mode::Standalone, Mode::Cluster] {
            let mut keyspace = Keyspace::new(2, Seed::new(7), mode);
            keyspace.reserve(1, 100_000);
            let reserved = keyspace.allocated_bytes();
            for number in 0..1000 {
                // All in one slot, if there are slots.
                let key = format!("{{tag}}:{number}");
                let key = keyspace.hasher().key(key.as_bytes());
                keyspace.edit(1, key).set_string(b"value", Expiry::Clear, EventKind::Set);
            }
            for _ in 0..100 {
                keyspace.trim_slice();
            }
            assert_eq!((keyspace.db(1).len(), keyspace.db(1).trim_at), (1000, None));
            let left = keyspace.allocated_bytes();
            assert!(left < reserved / 2 && left < 170_000, "{mode:?}: {reserved}, {left}");
        }
    }
}
