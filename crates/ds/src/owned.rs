//! Entries that have left their table: owned, `Send`, freed where they are dropped.

use std::marker::PhantomData;

use crate::entry::{Payload, RawEntry};

/// An entry that has left its table; dropping it frees it, on whatever thread.
pub struct OwnedEntry<V> {
    raw: RawEntry,
    value: PhantomData<Box<V>>,
}

// SAFETY: an OwnedEntry is the only owner of plain bytes and at most one Box<V>.
unsafe impl<V: Send> Send for OwnedEntry<V> {}
// SAFETY: shared access reads plain bytes and gives out &V.
unsafe impl<V: Sync> Sync for OwnedEntry<V> {}

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

    /// Whether the value is an object of the caller, so that freeing it may take long.
    #[must_use]
    pub fn is_boxed(&self) -> bool {
        self.raw.is_boxed()
    }

    /// Bytes of the entry's allocation, without what a boxed value owns.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw.size()
    }

    /// The boxed value, if it is one; the rest is freed.
    #[must_use]
    pub fn into_boxed(self) -> Option<Box<V>> {
        let raw = self.raw;
        std::mem::forget(self);
        // SAFETY: `self` owned the entry and is forgotten, so it is freed once.
        unsafe {
            let value = raw.take_box::<V>();
            raw.forget();
            value
        }
    }
}

impl<V> Drop for OwnedEntry<V> {
    fn drop(&mut self) {
        // SAFETY: the value owns the entry.
        unsafe { self.raw.free::<V>() }
    }
}
