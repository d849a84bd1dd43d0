//! Entries that have left their table: owned, `Send`, freed where they are dropped.

use std::marker::PhantomData;

use super::entry::RawEntry;
use super::payload::{Payload, Value};
use crate::block::Block;

/// An entry that has left its table; dropping it frees it, on whatever thread.
pub struct OwnedEntry<V> {
    raw: RawEntry,
    value: PhantomData<Block<V>>,
}

// SAFETY: an OwnedEntry is the only owner of plain bytes and one owner of at most one Block<V>.
unsafe impl<V: Send + Sync> Send for OwnedEntry<V> {}
// SAFETY: shared access reads plain bytes and gives out what &Block<V> does.
unsafe impl<V: Send + Sync> Sync for OwnedEntry<V> {}

impl<V> OwnedEntry<V> {
    /// # Safety
    /// The entry must be of a table of `V` and nothing else may refer to it.
    pub(crate) unsafe fn new(raw: RawEntry) -> OwnedEntry<V> {
        OwnedEntry { raw, value: PhantomData }
    }

    /// The caller's tag.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw.kind()
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.raw.key()
    }

    /// When it expires, in Unix milliseconds.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw.expiry()
    }

    /// The 24-bit access clock.
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw.clock()
    }

    /// The value.
    #[must_use]
    pub fn payload(&self) -> Payload<'_, V> {
        self.raw.payload()
    }

    /// Whether there is a block behind the entry, so that freeing it may take long.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.raw.is_block()
    }

    /// Bytes of the entry's allocation, without a block behind it.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw.size()
    }

    /// The block, if there is one; the rest is freed.
    #[must_use]
    pub fn into_block(self) -> Option<Block<V>> {
        let raw = self.raw;
        std::mem::forget(self);
        // SAFETY: `self` owned the entry and is forgotten, so it is freed once.
        unsafe {
            let block = raw.take_block::<V>();
            raw.forget();
            block
        }
    }
}

impl<V: Value> OwnedEntry<V> {
    /// The earliest time at which something within the value expires by itself, if the entry is
    /// marked as having such. Whoever puts the value under another key marks that entry too.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw.inner_expiry::<V>()
    }
}

impl<V> Drop for OwnedEntry<V> {
    fn drop(&mut self) {
        // SAFETY: the value owns the entry.
        unsafe { self.raw.free::<V>() }
    }
}
