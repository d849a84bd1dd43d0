//! Changing an entry in the table, with the counts that depend on it, without moving others.

use std::mem::ManuallyDrop;

use super::Table;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::owned::OwnedEntry;
use super::payload::{NewPayload, Payload, Value};
use super::segment::{Found, Seg};
use crate::block::Block;

/// A mutable entry in the table. Changes keep the table's counts of bytes and expiries, and the
/// earliest expiry of the segment, up to date.
pub struct EntryMut<'a, V> {
    table: &'a mut Table<V>,
    segment: Seg,
    found: Found,
}

impl<'a, V: Value> EntryMut<'a, V> {
    #[inline]
    pub(crate) fn new(table: &'a mut Table<V>, segment: Seg, found: Found) -> EntryMut<'a, V> {
        EntryMut { table, segment, found }
    }

    #[inline(always)]
    fn raw(&self) -> RawEntry {
        self.found.entry
    }

    /// Returns the caller's tag.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw().kind()
    }

    /// Returns the key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.raw().key()
    }

    /// Returns the expiry in Unix milliseconds.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw().expiry()
    }

    /// Returns the 24-bit access clock.
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw().clock()
    }

    /// Returns the value.
    #[must_use]
    pub fn payload(&self) -> Payload<'_, V> {
        self.raw().payload()
    }

    /// Returns the size of the entry's allocation in bytes, without its block.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw().size()
    }

    /// Returns the entry for reading.
    #[must_use]
    pub fn to_ref(&self) -> EntryRef<'_, V> {
        // SAFETY: a live entry of the table that `self` borrows.
        unsafe { EntryRef::new(self.raw()) }
    }

    /// Returns the entry for reading, for the lifetime of the table's borrow.
    #[must_use]
    pub fn into_ref(self) -> EntryRef<'a, V> {
        // SAFETY: a live entry of the table, whose exclusive borrow ends as a shared one.
        unsafe { EntryRef::new(self.raw()) }
    }

    /// Sets the caller's tag.
    pub fn set_kind(&mut self, kind: u8) {
        self.raw().set_kind(kind);
    }

    /// Sets the access clock (24 bits).
    #[inline]
    pub fn set_clock(&mut self, clock: u32) {
        self.raw().set_clock(clock);
    }

    /// Returns the inline value for changes that keep its length.
    #[must_use]
    pub fn inline_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: `self` borrows the table exclusively.
        unsafe { self.raw().inline_mut() }
    }

    /// Lends the block to `change` with all rights of an owner: to change its content if there is
    /// no other owner, to grow bytes, or to replace the block. Returns none, without calling
    /// `change`, if the value is inline.
    pub fn edit_block<R>(&mut self, change: impl FnOnce(&mut Block<V>) -> R) -> Option<R> {
        let entry = self.raw();
        // SAFETY: `self` borrows the table exclusively, and the block, or a replacement, is put
        // back before the entry is accessed: by `Lent`'s drop if `change` unwinds.
        let block = unsafe { entry.take_block::<V>()? };
        self.table.block_bytes -= block.allocated_bytes();
        let mut lent = Lent { table: self.table, entry, block: ManuallyDrop::new(block) };
        Some(change(&mut lent.block))
    }

    /// Sets or clears the expiry (Unix milliseconds, any `i64`).
    pub fn set_expiry(&mut self, expiry: Option<i64>) {
        let old = self.raw();
        let before = old.expiries();
        if !old.set_expiry_in_place(expiry) {
            self.put(old.moved_with_expiry(expiry));
            // SAFETY: the table refers to the new entry, which owns the block now.
            unsafe { old.forget() };
        }
        self.table.note_expiries(self.segment, before, self.raw().expiries(), expiry);
    }

    /// Returns the earliest inner expiry of the value, if the entry is marked as having any.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw().inner_expiry::<V>()
    }

    /// Marks the entry as having inner expiries, with a lower bound of the earliest one (Unix
    /// milliseconds), or clears the mark. Must be called again after each change or replacement of
    /// such a value.
    pub fn set_inner_expiry(&mut self, earliest: Option<i64>) {
        let entry = self.raw();
        let before = entry.expiries();
        entry.mark_inner(earliest.is_some());
        self.table.note_expiries(self.segment, before, entry.expiries(), earliest);
    }

    /// Replaces everything but the key; a mark of inner expiries is cleared. Returns the old entry
    /// if it had a block.
    pub(crate) fn overwrite(
        &mut self,
        kind: u8,
        payload: NewPayload<'_, V>,
        expiry: Option<i64>,
        clock: u32,
    ) -> Option<OwnedEntry<V>> {
        let before = self.raw().expiries();
        let old = self.write(kind, payload, expiry, clock);
        self.table.note_expiries(self.segment, before, self.raw().expiries(), expiry);
        old
    }

    fn write(
        &mut self,
        kind: u8,
        payload: NewPayload<'_, V>,
        expiry: Option<i64>,
        clock: u32,
    ) -> Option<OwnedEntry<V>> {
        let old = self.raw();
        if let NewPayload::Inline(value) = payload
            && old.overwrite_in_place(kind, value, expiry, clock)
        {
            return None;
        }
        let entry = RawEntry::new(old.key(), kind, payload, expiry, clock);
        self.table.block_bytes += entry.block_bytes::<V>();
        self.table.block_bytes -= old.block_bytes::<V>();
        self.put(entry);
        // SAFETY: only the table refers to the new entry.
        let old = unsafe { OwnedEntry::new(old) };
        old.is_block().then_some(old)
    }

    /// Replaces the allocation by another one; the caller must free the old one.
    fn put(&mut self, entry: RawEntry) {
        self.table.bytes = self.table.bytes + entry.size() - self.raw().size();
        self.segment.replace(self.found.at, entry);
        self.found.entry = entry;
    }
}

/// A block taken out of its entry, which is put back on drop.
struct Lent<'a, V> {
    table: &'a mut Table<V>,
    entry: RawEntry,
    block: ManuallyDrop<Block<V>>,
}

impl<V> Drop for Lent<'_, V> {
    fn drop(&mut self) {
        self.table.block_bytes += self.block.allocated_bytes();
        // SAFETY: the field is not used afterwards.
        self.entry.put_block(unsafe { ManuallyDrop::take(&mut self.block) });
    }
}
