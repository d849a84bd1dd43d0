//! Entries removed from their table: owned, `Send`, freed on drop.

use std::marker::PhantomData;

use super::entry::RawEntry;
use super::payload::{Payload, Value};
use crate::block::Block;

/// An entry removed from its table, which any thread may drop.
pub struct OwnedEntry<V> {
    raw: RawEntry,
    value: PhantomData<Block<V>>,
}

// SAFETY: an OwnedEntry is the only owner of plain bytes and owns a reference of at most one
// Block<V>.
unsafe impl<V: Send + Sync> Send for OwnedEntry<V> {}
// SAFETY: shared access reads plain bytes and returns what &Block<V> does.
unsafe impl<V: Send + Sync> Sync for OwnedEntry<V> {}

impl<V> OwnedEntry<V> {
    /// # Safety
    /// The entry must be of a table of `V` and nothing else may refer to it.
    pub(crate) unsafe fn new(raw: RawEntry) -> OwnedEntry<V> {
        OwnedEntry { raw, value: PhantomData }
    }

    /// Returns the caller's tag.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw.kind()
    }

    /// Returns the key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.raw.key()
    }

    /// Returns the expiry in Unix milliseconds.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw.expiry()
    }

    /// Returns the 24-bit access clock.
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw.clock()
    }

    /// Returns the value.
    #[must_use]
    pub fn payload(&self) -> Payload<'_, V> {
        self.raw.payload()
    }

    /// Whether it has a block, so that freeing it may take long.
    #[must_use]
    pub fn is_block(&self) -> bool {
        self.raw.is_block()
    }

    /// Returns the size of the entry's allocation in bytes, without its block.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw.size()
    }

    /// Returns the block, if there is one, and frees the rest.
    #[must_use]
    pub fn into_block(self) -> Option<Block<V>> {
        let raw = self.raw;
        std::mem::forget(self);
        // SAFETY: `self` owned the entry and is not dropped, so it is freed once.
        unsafe {
            let block = raw.take_block::<V>();
            raw.forget();
            block
        }
    }
}

impl<V: Value> OwnedEntry<V> {
    /// Returns the earliest inner expiry of the value, if the entry is marked as having any. An
    /// entry that gets the value must be marked too.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw.inner_expiry::<V>()
    }
}

impl<V> Drop for OwnedEntry<V> {
    fn drop(&mut self) {
        // SAFETY: `self` owns the entry.
        unsafe { self.raw.free::<V>() }
    }
}
