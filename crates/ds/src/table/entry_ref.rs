//! Borrowed entries.

use std::marker::PhantomData;

use super::entry::RawEntry;
use super::payload::{Payload, Value};

/// A borrowed entry of a table.
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

    /// Returns the caller's tag.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw.kind()
    }

    /// Returns the key's bytes.
    #[inline]
    #[must_use]
    pub fn key(&self) -> &'a [u8] {
        self.raw.key()
    }

    /// Returns the expiry in Unix milliseconds.
    #[inline]
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw.expiry()
    }

    /// Returns the 24-bit access clock.
    #[inline]
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw.clock()
    }

    /// Returns the value.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> Payload<'a, V> {
        self.raw.payload()
    }

    /// Returns the size of the entry's allocation in bytes, without its block.
    #[inline]
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw.size()
    }
}

impl<V: Value> EntryRef<'_, V> {
    /// Returns the earliest inner expiry of the value, if the entry is marked as having any.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw.inner_expiry::<V>()
    }
}
