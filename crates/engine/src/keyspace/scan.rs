//! SCAN.
//!
//! A cursor is a position in hash order, independent of the table's structure: the lowest hash that
//! was not returned yet. Growing, splitting and shrinking a table do not change this order, so a key
//! that exists during the whole scan is either before the cursor, and was returned, or after it. In
//! cluster mode the top bits of a hash are the slot (see [`super::slots`]), so a scan proceeds slot
//! by slot.

use russet_ds::EntryRef;

use super::Keyspace;
use crate::types::Object;

impl Keyspace {
    /// Emits whole buckets from `cursor` on until at least `count` entries were emitted. Returns the
    /// next cursor, 0 at the end.
    ///
    /// Visits at most `10 * count` buckets, so that the work is bounded even if most are empty.
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
