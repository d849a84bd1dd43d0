//! SCAN's positions.
//!
//! A cursor is a place in the order of slots and, within one, of hashes; not a place in a table. Tables grow,
//! split and shrink without changing that order, so whatever happens between two calls, a
//! key that is there all the time lies either before the cursor, and was returned, or behind it.
//!
//! ```text
//!   standalone   63                                 0      cluster   63      50 49                  0
//!                ┌──────────────────────────────────┐                ┌─────────┬────────────────────┐
//!                │ least hash not yet returned      │                │ slot    │ top 50 bits of it  │
//!                └──────────────────────────────────┘                └─────────┴────────────────────┘
//! ```

use russet_ds::EntryRef;

use super::{Keyspace, SlotFunction};
use crate::types::Object;

/// Bits of the hash that a cursor keeps beside the slot.
const BOUND_BITS: u32 = 50;

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
        let (mut slot, mut bound) = self.split(cursor);
        let (mut emitted, mut visited) = (0_usize, 0_usize);
        let db = self.db(db);
        let hash_of = |key: &[u8]| self.hasher.hash(key);
        while usize::from(slot) < db.tables.len() {
            let next = db.table(slot).and_then(|table| {
                visited += 1;
                table.scan(bound, &hash_of, &mut |entry| {
                    emitted += 1;
                    sink(entry);
                })
            });
            match next {
                Some(next) => bound = next,
                None => (slot, bound) = (slot + 1, 0),
            }
            if emitted >= count || visited >= count.saturating_mul(10) {
                break;
            }
        }
        if usize::from(slot) >= db.tables.len() { 0 } else { self.join(slot, bound) }
    }

    fn split(&self, cursor: u64) -> (u16, u64) {
        match self.hasher.function {
            SlotFunction::HashPrefix => (0, cursor),
            SlotFunction::Crc16 => {
                ((cursor >> BOUND_BITS) as u16, cursor << (u64::BITS - BOUND_BITS))
            }
        }
    }

    fn join(&self, slot: u16, bound: u64) -> u64 {
        match self.hasher.function {
            SlotFunction::HashPrefix => bound,
            SlotFunction::Crc16 => {
                u64::from(slot) << BOUND_BITS | bound >> (u64::BITS - BOUND_BITS)
            }
        }
    }
}
