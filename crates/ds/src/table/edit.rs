//! Changing one entry that is in the table, with the counts that go with it; not moving others.

use std::mem::ManuallyDrop;

use super::Table;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::owned::OwnedEntry;
use super::payload::{NewPayload, Payload, Value};
use super::segment::{Found, Seg};
use crate::block::Block;

/// An entry that may be changed where it is. Everything here keeps the table's byte, expiry and
/// earliest-expiry figures.
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

    /// The caller's tag.
    #[must_use]
    pub fn kind(&self) -> u8 {
        self.raw().kind()
    }

    /// The key's bytes.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        self.raw().key()
    }

    /// When it expires, in Unix milliseconds.
    #[must_use]
    pub fn expiry(&self) -> Option<i64> {
        self.raw().expiry()
    }

    /// The 24-bit access clock.
    #[must_use]
    pub fn clock(&self) -> u32 {
        self.raw().clock()
    }

    /// The value.
    #[must_use]
    pub fn payload(&self) -> Payload<'_, V> {
        self.raw().payload()
    }

    /// Bytes of the entry's allocation, without a block behind it.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.raw().size()
    }

    /// The entry for reading.
    #[must_use]
    pub fn to_ref(&self) -> EntryRef<'_, V> {
        // SAFETY: a live entry of the table that `self` borrows.
        unsafe { EntryRef::new(self.raw()) }
    }

    /// The entry for reading, as long as the table was borrowed for.
    #[must_use]
    pub fn into_ref(self) -> EntryRef<'a, V> {
        // SAFETY: a live entry of the table, whose exclusive borrow ends as a shared one.
        unsafe { EntryRef::new(self.raw()) }
    }

    /// Changes the caller's tag.
    pub fn set_kind(&mut self, kind: u8) {
        self.raw().set_kind(kind);
    }

    /// Changes the access clock (24 bits).
    #[inline]
    pub fn set_clock(&mut self, clock: u32) {
        self.raw().set_clock(clock);
    }

    /// The inline value, for changes that keep its length.
    #[must_use]
    pub fn inline_mut(&mut self) -> Option<&mut [u8]> {
        // SAFETY: `self` borrows the table exclusively.
        unsafe { self.raw().inline_mut() }
    }

    /// Lends the block to `change`, with all an owner's rights: to change what it holds if there
    /// is no other owner, to let bytes grow, to put another block in its place. None, and `change`
    /// is not called, if the value is inline.
    pub fn edit_block<R>(&mut self, change: impl FnOnce(&mut Block<V>) -> R) -> Option<R> {
        let entry = self.raw();
        // SAFETY: `self` borrows the table exclusively, and what is taken is put back, or another
        // block instead, before anything else looks at the entry: by `Lent`'s drop if `change`
        // unwinds.
        let block = unsafe { entry.take_block::<V>()? };
        self.table.block_bytes -= block.allocated_bytes();
        let mut lent = Lent { table: self.table, entry, block: ManuallyDrop::new(block) };
        Some(change(&mut lent.block))
    }

    /// Sets or removes the expiry (Unix milliseconds, any `i64`).
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

    /// The earliest time at which something within the value expires by itself, if the entry is
    /// marked as having such.
    #[must_use]
    pub fn inner_expiry(&self) -> Option<i64> {
        self.raw().inner_expiry::<V>()
    }

    /// Marks the entry as one within whose value something expires by itself, at the given time at
    /// the earliest (Unix milliseconds), or as one without. Whoever changes such a value, or puts
    /// another in its place, must say it again.
    pub fn set_inner_expiry(&mut self, earliest: Option<i64>) {
        let entry = self.raw();
        let before = entry.expiries();
        entry.mark_inner(earliest.is_some());
        self.table.note_expiries(self.segment, before, entry.expiries(), earliest);
    }

    /// Changes the length of an inline value, filling with zeros. False if it is a
    /// block.
    pub fn resize_inline(&mut self, len: usize) -> bool {
        let old = self.raw();
        if old.is_block() {
            return false;
        }
        if !old.resize_in_place(len) {
            self.put(old.moved_with_len(len));
            // SAFETY: the table refers to the new entry; the old one has no block.
            unsafe { old.forget() };
        }
        true
    }

    /// Replaces kind and value; key, expiry and clock stay, a mark of inner expiries goes. Answers the old block, if it was one.
    pub fn replace_payload(&mut self, kind: u8, payload: NewPayload<'_, V>) -> Option<Block<V>> {
        let (expiry, clock) = (self.expiry(), self.clock());
        self.overwrite(kind, payload, expiry, clock).and_then(OwnedEntry::into_block)
    }

    /// Replaces everything but the key; a mark of inner expiries goes. Answers the old entry if there was a block behind it.
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
        // SAFETY: the table refers to the new entry only.
        let old = unsafe { OwnedEntry::new(old) };
        old.is_block().then_some(old)
    }

    /// Puts another allocation in the place of this one, which the caller must free.
    fn put(&mut self, entry: RawEntry) {
        self.table.bytes = self.table.bytes + entry.size() - self.raw().size();
        self.segment.replace(self.found.at, entry);
        self.found.entry = entry;
    }
}

/// A block that is out of its entry, and goes back when this is dropped.
struct Lent<'a, V> {
    table: &'a mut Table<V>,
    entry: RawEntry,
    block: ManuallyDrop<Block<V>>,
}

impl<V> Drop for Lent<'_, V> {
    fn drop(&mut self) {
        self.table.block_bytes += self.block.allocated_bytes();
        // SAFETY: nothing uses the field afterwards.
        self.entry.put_block(unsafe { ManuallyDrop::take(&mut self.block) });
    }
}
