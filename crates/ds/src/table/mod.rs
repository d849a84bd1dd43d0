//! The table: maps keys with their hashes to entries, without interpreting values.
//!
//! ```text
//!  Table ─▶ directory ─▶ segment (≤ 4096 bytes) ─▶ bucket (64 bytes) ─▶ entry (key + value)
//!            1 cell per    header, home buckets,    9 fingerprints,      one allocation
//!            ~400 keys     stash buckets            9 addresses
//! ```
//!
//! **Everything is in hash order.** The directory is indexed by the top bits of the hash, a segment
//! covers a range of hashes, and its home buckets cover sub-ranges in order. So a position in the
//! table is a hash, which stays valid when the table grows, and scans and snapshots need no other
//! state (see `walk`).
//!
//! **No operation is expensive.** An insert or remove resizes at most one segment, or merges two
//! small ones: a few hundred entries, some microseconds, regardless of the size of the table.
//!
//! **The table does not hash.** Each operation takes the key's 64-bit hash, and those that may move
//! entries take `hash_of` for the hashes of others. The hash must be a pure function of the key and
//! constant for the life of the table. Bad hashes cost time but not correctness.
//!
//! Reading order: [`crate::block`] (values too large for an entry), `payload` and `entry` (the
//! bytes of an entry), `bucket` (a cache line), `segment` (a page of buckets), `directory` (from
//! hash to segment), this file (the operations), `edit` (changing an entry), `resize` (growth),
//! `walk` (scan and snapshot), `expiry_heap` (the next expiry), `range` (parts of the table),
//! `sample` (random entries), `memory` (memory usage).

mod bucket;
mod chunked;
mod directory;
mod edit;
mod entry;
mod entry_ref;
mod expiry_heap;
mod memory;
mod owned;
mod payload;
mod range;
mod resize;
mod sample;
mod segment;
mod walk;

use std::marker::PhantomData;

use crate::block::Block;
pub use bucket::WALKERS;
use bucket::{BEHIND, fingerprint};
use chunked::Chunked;
use directory::{Cell, Directory};
pub use edit::EntryMut;
use entry::{Expiries, RawEntry};
pub use entry_ref::EntryRef;
use expiry_heap::ExpiryHeap;
pub use expiry_heap::{ExpireStep, Expired};
pub use memory::Shape;
pub use owned::OwnedEntry;
pub use payload::{NewPayload, Payload, Value};
use resize::Plan;
use segment::{At, Epochs, Found, NO_EPOCHS, Seg};
pub use walk::Scope;

/// Computes the hash of a key, for operations that move entries.
pub type HashOf<'a> = &'a dyn Fn(&[u8]) -> u64;

/// A hash table of entries whose values are bytes or of type `V`.
pub struct Table<V> {
    pub(crate) directory: Directory,
    /// All segments, in no order; each knows its index. Random sampling starts here.
    pub(crate) segments: Chunked<Seg>,
    pub(crate) expiry_heap: ExpiryHeap,
    pub(crate) len: usize,
    pub(crate) expiring: usize,
    pub(crate) inner_expiring: usize,
    /// Bytes of segments and entries; directory and lists are added on demand.
    pub(crate) bytes: usize,
    /// Bytes of blocks referenced by entries.
    pub(crate) block_bytes: usize,
    /// The latest epoch of each walker. Segments of an empty table count as visited in it.
    pub(crate) epochs: Epochs,
    /// An upper bound of the number of slots in a segment.
    pub(crate) slots_max: u32,
    values: PhantomData<Block<V>>,
}

// SAFETY: the table owns its segments and entries, and a reference of their blocks; nothing is
// thread-bound.
unsafe impl<V: Send + Sync> Send for Table<V> {}
// SAFETY: operations through &Table only read, and return at most what &Block<V> does.
unsafe impl<V: Send + Sync> Sync for Table<V> {}

impl<V> Table<V> {
    /// Creates an empty table without allocating.
    #[must_use]
    pub const fn new() -> Table<V> {
        Table {
            directory: Directory::new(),
            segments: Chunked::new(),
            expiry_heap: ExpiryHeap::new(),
            len: 0,
            expiring: 0,
            inner_expiring: 0,
            bytes: 0,
            block_bytes: 0,
            epochs: NO_EPOCHS,
            slots_max: 0,
            values: PhantomData,
        }
    }

    /// Returns the number of entries.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the table is empty.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the number of entries with their own expiry.
    #[inline]
    #[must_use]
    pub fn len_with_expiry(&self) -> usize {
        self.expiring
    }

    /// Returns the number of entries whose values have inner expiries.
    #[inline]
    #[must_use]
    pub fn len_with_inner_expiry(&self) -> usize {
        self.inner_expiring
    }

    /// Removes all entries. Large tables should be dropped on another thread.
    pub fn clear(&mut self) {
        self.take_all(&mut |entry| {
            // SAFETY: the table owned the entry and no longer refers to it.
            unsafe { entry.free::<V>() }
        });
    }

    /// Removes all entries and passes each to `sink`.
    pub fn drain(&mut self, sink: &mut dyn FnMut(OwnedEntry<V>)) {
        self.take_all(&mut |entry| {
            // SAFETY: the table owned the entry and no longer refers to it.
            sink(unsafe { OwnedEntry::new(entry) });
        });
    }

    fn take_all(&mut self, sink: &mut dyn FnMut(RawEntry)) {
        self.expiry_heap.clear();
        self.segments.clear();
        (self.len, self.expiring, self.inner_expiring) = (0, 0, 0);
        (self.bytes, self.block_bytes) = (0, 0);
        self.slots_max = 0;
        self.directory.drain(&mut |segment| {
            segment.each(sink);
            // SAFETY: the directory no longer refers to the segment.
            unsafe { segment.free() };
        });
    }
}

impl<V> Default for Table<V> {
    fn default() -> Table<V> {
        Table::new()
    }
}

impl<V> Drop for Table<V> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Finds a key's entry and its place.
#[inline(always)]
fn find(cell: Cell, hash: u64, key: &[u8]) -> Option<Found> {
    let home = cell.home(hash);
    let wanted = fingerprint(hash);
    if let Some((slot, entry)) = home.find(wanted, key) {
        return Some(Found { entry, at: At::Slot(home, slot) });
    }
    let meta = home.meta();
    if meta & BEHIND == 0 {
        return None;
    }
    cell.segment().find_behind(meta, wanted, key)
}

impl<V: Value> Table<V> {
    #[inline(always)]
    fn lookup(&self, hash: u64, key: &[u8]) -> Option<(Cell, Found)> {
        let cell = self.directory.locate(hash);
        if cell.is_empty() {
            return None;
        }
        find(cell, hash, key).map(|found| (cell, found))
    }

    /// Returns the entry of a key.
    #[inline]
    #[must_use]
    pub fn get(&self, hash: u64, key: &[u8]) -> Option<EntryRef<'_, V>> {
        let (_, found) = self.lookup(hash, key)?;
        // SAFETY: a live entry of this table, borrowed with it.
        Some(unsafe { EntryRef::new(found.entry) })
    }

    /// Whether a key exists.
    #[inline]
    #[must_use]
    pub fn contains(&self, hash: u64, key: &[u8]) -> bool {
        self.lookup(hash, key).is_some()
    }

    /// Returns the entry of a key for changes.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &[u8]) -> Option<EntryMut<'_, V>> {
        let (cell, found) = self.lookup(hash, key)?;
        Some(EntryMut::new(self, cell.segment(), found))
    }

    /// Inserts a key or replaces its whole entry: kind, value, expiry (`None`: without) and clock
    /// (24 bits). A mark of inner expiries is cleared.
    ///
    /// Returns the old entry if it had a block, so that the caller can free it elsewhere. An old
    /// inline value is overwritten in place if the size class allows, otherwise freed. Compare
    /// [`Table::len`] to distinguish an insert from a replacement.
    #[inline]
    pub fn set(
        &mut self,
        hash: u64,
        key: &[u8],
        kind: u8,
        payload: NewPayload<'_, V>,
        expiry: Option<i64>,
        clock: u32,
        hash_of: HashOf<'_>,
    ) -> Option<OwnedEntry<V>> {
        if let Some((cell, found)) = self.lookup(hash, key) {
            if let NewPayload::Inline(value) = payload
                && expiry.is_none()
                && self.overwrite_plain(found.entry, kind, value, clock)
            {
                return None;
            }
            return EntryMut::new(self, cell.segment(), found)
                .overwrite(kind, payload, expiry, clock);
        }
        let entry = RawEntry::new(key, kind, payload, expiry, clock);
        self.insert(hash, entry, hash_of);
        None
    }

    #[inline(always)]
    fn overwrite_plain(&mut self, entry: RawEntry, kind: u8, value: &[u8], clock: u32) -> bool {
        entry.overwrite_plain(kind, value, clock)
    }

    /// Removes a key and returns its entry.
    pub fn remove(&mut self, hash: u64, key: &[u8], hash_of: HashOf<'_>) -> Option<OwnedEntry<V>> {
        let (cell, found) = self.lookup(hash, key)?;
        let segment = cell.segment();
        let before = segment.bytes();
        segment.unplace(found.at);
        self.bytes = self.bytes + segment.bytes() - before - found.entry.size();
        self.block_bytes -= found.entry.block_bytes::<V>();
        self.len -= 1;
        segment.set_used(segment.used() - 1);
        self.note_expiries(segment, found.entry.expiries(), Expiries::NONE, None);
        self.shrink(segment, hash_of);
        // SAFETY: no slot refers to the entry any more.
        Some(unsafe { OwnedEntry::new(found.entry) })
    }

    /// Updates counts and heap when the expiries of an entry of `segment` change. `earliest`: the
    /// earliest new one.
    #[inline]
    pub(crate) fn note_expiries(
        &mut self,
        segment: Seg,
        before: Expiries,
        after: Expiries,
        earliest: Option<i64>,
    ) {
        if before == after {
            if let Some(at) = earliest {
                self.expiry_heap.lower(segment, at);
            }
            return;
        }
        self.count_expiries(segment, before, after);
        if segment.expiring() == 0 && segment.inner_expiring() == 0 {
            self.expiry_heap.remove(segment);
        } else if let Some(at) = earliest {
            self.expiry_heap.lower(segment, at);
        }
    }

    fn count_expiries(&mut self, segment: Seg, before: Expiries, after: Expiries) {
        match (before.own(), after.own()) {
            (false, true) => {
                self.expiring += 1;
                segment.set_expiring(segment.expiring() + 1);
            }
            (true, false) => {
                self.expiring -= 1;
                segment.set_expiring(segment.expiring() - 1);
            }
            _ => {}
        }
        match (before.inner(), after.inner()) {
            (false, true) => {
                self.inner_expiring += 1;
                segment.set_inner_expiring(segment.inner_expiring() + 1);
            }
            (true, false) => {
                self.inner_expiring -= 1;
                segment.set_inner_expiring(segment.inner_expiring() - 1);
            }
            _ => {}
        }
    }

    /// Prefetches in three stages; first, the directory's cell.
    #[inline]
    pub fn prefetch_segment(&self, hash: u64) {
        self.directory.prefetch(hash);
    }

    /// Second stage: reads the cell and prefetches the home bucket.
    #[inline]
    pub fn prefetch_bucket(&self, hash: u64) {
        let cell = self.directory.locate(hash);
        if !cell.is_empty() {
            cell.home(hash).prefetch();
        }
    }

    /// Beside the second stage, for a key that will be inserted: reads the cell and prefetches the segment's header.
    #[inline]
    pub fn prefetch_room(&self, hash: u64) {
        let cell = self.directory.locate(hash);
        if !cell.is_empty() {
            cell.segment().prefetch_header();
        }
    }

    /// Third stage: reads the bucket and prefetches the entries with a matching fingerprint.
    #[inline]
    pub fn prefetch_entry(&self, hash: u64) {
        let cell = self.directory.locate(hash);
        if !cell.is_empty() {
            let home = cell.home(hash);
            for slot in home.matching(fingerprint(hash)) {
                home.entry(slot).prefetch();
            }
        }
    }

    /// Whether inserting or removing a key with this hash may move other entries. It may return
    /// true without need (for an overwrite, for instance), but never false wrongly.
    #[must_use]
    pub fn write_resizes(&self, hash: u64) -> bool {
        let cell = self.directory.locate(hash);
        if cell.is_empty() {
            return false;
        }
        let segment = cell.segment();
        !segment.has_room(hash)
            || !matches!(self.removal_plan(segment, segment.used().saturating_sub(1)), Plan::Keep)
    }

    /// Calls `sink` with every entry in hash order.
    pub fn for_each<'a>(&'a self, sink: &mut dyn FnMut(EntryRef<'a, V>)) {
        self.directory.each(&mut |segment| {
            // SAFETY: live entries of this table, borrowed with it.
            segment.each(&mut |entry| sink(unsafe { EntryRef::new(entry) }));
        });
    }
}
