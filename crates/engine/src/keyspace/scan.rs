//! SCAN's positions.
//!
//! A cursor is a place in the order of hashes, not in a table: the least hash that has not been returned. The table grows,
//! splits and shrinks without changing that order, so whatever happens between two calls, a key that is
//! there all the time lies either before the cursor, and was returned, or behind it. In cluster mode hashes begin with the
//! slot (see [`super::slots`]), so a scan goes slot by slot.

use russet_ds::EntryRef;

use super::Keyspace;
use crate::types::Object;

impl Keyspace {
    /// Emits buckets from `cursor` on until `count` entries were emitted; the next cursor, 0 at the end.
    ///
    /// Work is bounded: empty buckets count too, ten for one.
    pub fn scan(
        &self,
        db: u32,
        cursor: u64,
        count: usize,
        sink: &mut dyn FnMut(EntryRef<'_, Object>),
    ) -> u64 {
        let (mut emitted, mut visited) = (0_usize, 0_usize);
        let table = self.db(db).table();
        let hash_of = |key: &[u8]| self.hasher.hash(key);
        let mut next = Some(cursor);
        while let Some(from) = next {
            visited += 1;
            next = table.scan(from, &hash_of, &mut |entry| {
                emitted += 1;
                sink(entry);
            });
            if emitted >= count || visited >= count.saturating_mul(10) {
                break;
            }
        }
        next.unwrap_or(0)
    }
}
