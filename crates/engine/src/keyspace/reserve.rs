//! Reserves memory for keys before a load, and frees what was not needed.
//!
//! A file states its number of keys in advance, but not their distribution. A cluster's node may own
//! only a few slots: their part of the reserved memory is used and extended, the rest stays unused.

use super::Keyspace;

/// Segments examined by a slice; each takes up to some 20 microseconds.
const SEGMENTS: usize = 32;

impl Keyspace {
    /// Reserves memory for this number of keys in an empty database.
    pub(crate) fn reserve(&mut self, db: u32, keys: usize) {
        let db = self.db_mut(db);
        db.table.reserve(keys);
        db.trim_at = Some(0);
    }

    /// Frees a part of the reserved and unused memory. Must not be called during a load.
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
    fn unused_reserved_memory_is_freed() {
        for mode in [Mode::Standalone, Mode::Cluster] {
            let mut keyspace = Keyspace::new(2, Seed::new(7), mode);
            keyspace.reserve(1, 100_000);
            let reserved = keyspace.allocated_bytes();
            for number in 0..1000 {
                // All in one slot in cluster mode.
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
