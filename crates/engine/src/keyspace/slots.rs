//! Slots: ranges of the hash, with statistics of each.
//!
//! A slot is the unit that a cluster moves between its masters. In cluster mode it is the CRC16 of
//! the key or of its hash tag, and forms the top bits of the hash that orders the table:
//!
//! ```text
//!    63        50 49                                      0
//!   ┌────────────┬─────────────────────────────────────────┐
//!   │ slot       │ the keyed hash's top 50 bits            │
//!   └────────────┴─────────────────────────────────────────┘
//!
//!   hashes   0 ──────────────────────────────────────────────────▶ 2^64
//!   slots    │  0  │  1  │  2  │               …              │ 16383 │
//! ```
//!
//! So one table contains all slots in order, the keys of a slot are adjacent, and iteration in hash
//! order (SCAN, snapshots) proceeds slot by slot. The directory of segments is a tree, so it stays
//! small even if a hash tag puts all keys into one slot. In standalone mode the hash is the keyed
//! hash itself, whose top bits are then the slot; nothing depends on it.

use russet_ds::EntryRef;
use russet_protocol::slot::SLOTS;

use super::{Db, EventKind, Keyspace};
use crate::types::Object;

/// Number of bits of the hash below the slot.
pub(super) const BITS_BELOW: u32 = u64::BITS - SLOTS.trailing_zeros();

/// Statistics of a slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotStats {
    /// Number of keys.
    pub keys: u32,
}

/// Statistics of the slots of a database; empty until the first key is inserted.
#[derive(Debug, Default)]
pub(super) struct SlotTable(Vec<SlotStats>);

impl SlotTable {
    /// Returns the statistics of a slot, mutably.
    #[inline]
    pub(super) fn of(&mut self, slot: u16) -> &mut SlotStats {
        if self.0.is_empty() {
            self.0.resize(usize::from(SLOTS), SlotStats::default());
        }
        &mut self.0[usize::from(slot)]
    }

    /// Returns its memory in bytes.
    pub(super) fn allocated_bytes(&self) -> usize {
        self.0.len() * size_of::<SlotStats>()
    }
}

impl Db {
    /// Returns the statistics of a slot; zero in standalone mode.
    pub fn slot(&self, slot: u16) -> SlotStats {
        let slots = self.slots.as_ref().map_or(&[][..], |slots| &slots.0);
        slots.get(usize::from(slot)).copied().unwrap_or_default()
    }
}

impl Keyspace {
    /// Emits up to `max` keys of a slot, in hash order.
    pub fn keys_in_slot(
        &self,
        db: u32,
        slot: u16,
        max: usize,
        sink: &mut dyn FnMut(EntryRef<'_, Object>),
    ) {
        let mut left = max.min(self.db(db).slot(slot).keys as usize);
        let mut next = Some(first_hash(slot));
        while left > 0
            && let Some(from) = next
        {
            next = self.scan_slot(db, slot, from, &mut |entry| {
                if left > 0 {
                    left -= 1;
                    sink(entry);
                }
            });
        }
    }

    /// Removes all keys of a slot and calls `removed` for each. Takes time proportional to their
    /// number.
    pub fn flush_slot(&mut self, db: u32, slot: u16, removed: &mut dyn FnMut(&[u8])) {
        let mut next = Some(first_hash(slot));
        while self.db(db).slot(slot).keys > 0
            && let Some(from) = next
        {
            let mut found: Vec<Box<[u8]>> = Vec::new();
            next = self.scan_slot(db, slot, from, &mut |entry| found.push(entry.key().into()));
            for key in &found {
                self.edit(db, self.hasher.key(key)).remove(EventKind::Del);
                removed(key);
            }
        }
    }

    /// Emits the keys of a slot in the bucket of the hash `from`. Returns the position of the next
    /// bucket, if it contains a part of the slot.
    fn scan_slot(
        &self,
        db: u32,
        slot: u16,
        from: u64,
        sink: &mut dyn FnMut(EntryRef<'_, Object>),
    ) -> Option<u64> {
        let hash_of = |key: &[u8]| self.hasher.hash(key);
        self.db(db).table.scan_range(from, last_hash(slot), &hash_of, sink)
    }
}

/// Returns the lowest hash of a slot.
fn first_hash(slot: u16) -> u64 {
    u64::from(slot) << BITS_BELOW
}

/// Returns the highest hash of a slot.
fn last_hash(slot: u16) -> u64 {
    first_hash(slot) | ((1 << BITS_BELOW) - 1)
}

/// Returns the slot in the top bits of a hash.
#[inline]
pub(super) fn slot_of_hash(hash: u64) -> u16 {
    (hash >> BITS_BELOW) as u16
}
