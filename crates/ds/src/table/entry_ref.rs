//! Entries lent for reading.

use std::marker::PhantomData;

use super::entry::RawEntry;
use super::payload::{Payload, Value};

/// An entry that is read where it lies in the table.
pub struct EntryRef<'a, V> {
    raw: RawEntry,
    life: PhantomData<&'a V>,
}

impl<V> Clone for EntryRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for EntryRef<'_, V> {}

impl<'a, V> EntryRef<'a, V> {
    /// # Safety
    /// The entry must be of a table of `V` and stay unchanged for `'a`.
    #[inline(always)]
    pub(crate) unsafe fn new(raw: RawEntry) -> EntryRef<'a, V> {
        EntryRef { raw, life: PhantomData }
    }

    /// The caller's tag.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw.kind()
    }

    /// The key's bytes.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.raw.key()
    }

    /// When it expires, in Unix milliseconds.
    #[inline]
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw.expiry()
    }

    /// The 24-bit access clock.
    #[inline]
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw.clock()
    }

    /// The value.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Payload<'a, V> {
        self.raw.payload()
    }

    /// Bytes of the entry's allocation, without a block behind it.
    #[inline]
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw.size()
    }
}

impl<V: Value> EntryRef<'_, V> {
    /// The earliest time at which something within the value expires by itself, if the entry is
    /// marked as having such.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw.inner_expiry::<V>()
    }
}
