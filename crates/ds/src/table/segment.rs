//! A segment: a page of buckets with all entries of a range of hashes.
//!
//! ```text
//!  ┌────────┬────────┬────────┬─ … ─┬────────┬─────────┬─ … ─┐
//!  │ header │ home 0 │ home 1 │     │ home n │ stash 0 │     │   64 bytes each
//!  └────────┴────────┴────────┴─ … ─┴────────┴─────────┴─ … ─┘
//! ```
//!
//! A segment of depth d contains all keys whose hash starts with the d bits of its prefix. The
//! lower bits choose the home bucket by multiplication, in effect `(below × homes) >> 64`, so home
//! buckets are in hash order and their number need not be a power of two. That lets a segment grow
//! through the allocator's classes, from 128 bytes to 4096, in small steps.
//!
//! An entry whose home bucket is full goes to any stash bucket, which is marked by a bit in the
//! home's meta byte: lookups only search stash buckets that may contain an entry of that home. When
//! the stash is full too, the segment is resized (see `resize`). If that cannot help, because the
//! hashes do not differ in the used bits, the entry goes to an overflow list that is searched
//! linearly: correct, and slow only if 64-bit keyed hashes collide.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::HashOf;
use super::bucket::{BEHIND, Bucket, LINE, OVERFLOW, SLOTS, STASH_0, Slots, WALKERS, fingerprint};
use super::entry::RawEntry;
use crate::size::class_size;

/// Maximum depth: eight bits must remain to choose a home bucket.
pub(crate) const DEPTH_MAX: u8 = 56;

/// No epochs of walkers.
pub(crate) type Epochs = [u32; WALKERS];
pub(crate) const NO_EPOCHS: Epochs = [0; WALKERS];

/// The heap index of a segment that is not in the heap.
pub(crate) const NOT_IN_HEAP: u32 = u32::MAX;

/// A size of segments.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Class {
    pub(crate) homes: u8,
    pub(crate) stashes: u8,
    /// Number of entries that fit with a probability of 90 % (measured with random hashes).
    pub(crate) comfortable: u16,
}

impl Class {
    const fn new(homes: u8, stashes: u8, comfortable: u16) -> Class {
        Class { homes, stashes, comfortable }
    }

    pub(crate) const fn slots(&self) -> usize {
        SLOTS * (self.homes as usize + self.stashes as usize)
    }

    pub(crate) const fn stash_slots(&self) -> usize {
        SLOTS * self.stashes as usize
    }

    /// Returns the size of a segment of this class in bytes: the header and its buckets.
    pub(crate) const fn bytes(&self) -> usize {
        LINE * (1 + self.homes as usize + self.stashes as usize)
    }
}

/// The classes, smallest first; all are size classes of the allocator. Finer steps would save about
/// one byte per key and cost half as many more resizes per insert.
pub(crate) const CLASSES: [Class; 11] = [
    Class::new(1, 0, 9),    // 128 bytes
    Class::new(1, 1, 18),   // 192
    Class::new(2, 1, 27),   // 256
    Class::new(4, 1, 41),   // 384
    Class::new(5, 2, 60),   // 512
    Class::new(9, 2, 89),   // 768
    Class::new(12, 3, 124), // 1024
    Class::new(20, 3, 179), // 1536
    Class::new(27, 4, 240), // 2048
    Class::new(35, 4, 292), // 2560
    Class::new(58, 5, 455), // 4096
];

/// The largest class.
pub(crate) const CLASS_MAX: usize = CLASSES.len() - 1;

/// The header of a segment, in its first line.
#[repr(C, align(64))]
struct Header {
    /// The top `depth` bits of all hashes here, then zeros.
    prefix: u64,
    /// The next sweep, a lower bound of the earliest expiry; valid if `heap_index` is.
    sweep_ms: i64,
    /// Entries without a slot; mostly null.
    overflow: *mut Vec<RawEntry>,
    /// The epoch that the visited bits of the buckets refer to, for each walker; 0 for none.
    epochs: Epochs,
    /// Number of entries, including overflow.
    used: u32,
    /// Number of entries with their own expiry.
    expiring: u32,
    /// Number of entries with inner expiries.
    inner_expiring: u32,
    /// A resize is not tried below this number of entries, since the last one could not help.
    retry_at: u32,
    /// Index in the expiry heap, or `NOT_IN_HEAP`.
    heap_index: u32,
    /// Index in the table's list of segments.
    list_index: u32,
    depth: u8,
    class: u8,
}

const _: () = assert!(size_of::<Header>() == LINE);

/// The address of a segment. Copying it does not copy ownership.
///
/// Invariant: it points to a live segment created by [`Seg::alloc`]; the directory that refers to
/// it frees it once, and no copy is used beyond that. Writers hold the table exclusively; holders
/// of a shared reference only read. The methods below rely on this.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seg(NonNull<u8>);

/// The place of an entry within its segment.
#[derive(Clone, Copy)]
pub(crate) enum At {
    Slot(Bucket, usize),
    Overflow(usize),
}

/// An entry found by a lookup.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    pub(crate) entry: RawEntry,
    pub(crate) at: At,
}

/// Defines a getter and a setter for each field of the header.
macro_rules! fields {
    ($($get:ident, $set:ident: $kind:ty;)*) => { $(
        #[inline(always)]
        pub(crate) fn $get(self) -> $kind {
            // SAFETY: the type's invariant: a live, initialised header.
            unsafe { (*self.header()).$get }
        }

        #[inline(always)]
        pub(crate) fn $set(self, value: $kind) {
            // SAFETY: the type's invariant: a live header, held exclusively.
            unsafe { (*self.header()).$get = value }
        }
    )* };
}

impl Seg {
    fields! {
        used, set_used: u32;
        expiring, set_expiring: u32;
        inner_expiring, set_inner_expiring: u32;
        retry_at, set_retry_at: u32;
        heap_index, set_heap_index: u32;
        list_index, set_list_index: u32;
        sweep_ms, set_sweep_ms: i64;
        epochs, set_epochs: Epochs;
    }

    /// Allocates an empty segment.
    pub(crate) fn alloc(class: usize, depth: u8, prefix: u64) -> Seg {
        let layout = Seg::layout(class);
        // SAFETY: the layout's size is not zero.
        let ptr = unsafe { alloc_zeroed(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        let header = Header {
            prefix,
            sweep_ms: 0,
            overflow: std::ptr::null_mut(),
            epochs: NO_EPOCHS,
            used: 0,
            expiring: 0,
            inner_expiring: 0,
            retry_at: 0,
            heap_index: NOT_IN_HEAP,
            list_index: 0,
            depth,
            class: class as u8,
        };
        // SAFETY: the allocation is new, large enough and aligned to 64.
        unsafe { ptr.cast::<Header>().write(header) };
        Seg(ptr)
    }

    fn layout(class: usize) -> Layout {
        let Ok(layout) = Layout::from_size_align(CLASSES[class].bytes(), LINE) else {
            unreachable!("classes are small and 64 is a power of two")
        };
        layout
    }

    /// Frees the segment and its overflow list, but not its entries.
    ///
    /// # Safety
    /// The caller owns the segment and nothing uses it afterwards.
    pub(crate) unsafe fn free(self) {
        let layout = Seg::layout(self.class_index());
        // SAFETY: allocated by `alloc` with the same class; the list came from Box::into_raw.
        unsafe {
            let overflow = (*self.header()).overflow;
            if !overflow.is_null() {
                drop(Box::from_raw(overflow));
            }
            dealloc(self.0.as_ptr(), layout);
        }
    }

    #[inline(always)]
    fn header(self) -> *mut Header {
        self.0.as_ptr().cast()
    }

    /// Prefetches the line that an insertion reads and changes besides the bucket.
    #[inline(always)]
    pub(crate) fn prefetch_header(self) {
        super::bucket::prefetch(self.0.as_ptr().cast());
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// # Safety
    /// `address` must come from [`Seg::address`] of a live segment.
    #[inline(always)]
    pub(crate) unsafe fn from_address(address: u64) -> Seg {
        let ptr = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the address of an allocation is not null.
        Seg(unsafe { NonNull::new_unchecked(ptr) })
    }

    pub(crate) fn prefix(self) -> u64 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).prefix }
    }

    pub(crate) fn depth(self) -> u8 {
        // SAFETY: the type's invariant.
        unsafe { (*self.header()).depth }
    }

    pub(crate) fn class_index(self) -> usize {
        // SAFETY: the type's invariant.
        usize::from(unsafe { (*self.header()).class })
    }

    pub(crate) fn class(self) -> Class {
        CLASSES[self.class_index()]
    }

    pub(crate) fn homes(self) -> usize {
        usize::from(self.class().homes)
    }

    /// Iterates over all buckets, homes first.
    pub(crate) fn buckets(self) -> usize {
        let class = self.class();
        usize::from(class.homes) + usize::from(class.stashes)
    }

    /// Returns bucket `index`: homes from 0, then the stash.
    #[inline(always)]
    pub(crate) fn bucket(self, index: usize) -> Bucket {
        // SAFETY: callers pass an index below `buckets()`, so the line is within the segment.
        unsafe { Bucket::new(self.0.add(LINE * (index + 1)).cast()) }
    }

    fn stash(self, index: usize) -> Bucket {
        self.bucket(self.homes() + index)
    }

    /// Returns the home bucket of a hash of this segment.
    pub(crate) fn home(self, hash: u64) -> Bucket {
        self.bucket(home_index(hash, self.depth(), self.class().homes))
    }

    /// Returns the overflow list, which is mostly empty.
    pub(crate) fn overflow<'a>(self) -> &'a [RawEntry] {
        // SAFETY: null or a live list of this segment; callers drop the slice before they write.
        unsafe { (*self.header()).overflow.as_ref().map_or(&[], Vec::as_slice) }
    }

    /// Returns the memory of the segment and its overflow list in bytes.
    pub(crate) fn bytes(self) -> usize {
        // SAFETY: null or a live list of this segment.
        let list = unsafe { (*self.header()).overflow.as_ref() };
        let list = list.map_or(0, |list| {
            class_size(size_of::<Vec<RawEntry>>())
                + class_size(list.capacity() * size_of::<RawEntry>())
        });
        self.class().bytes() + list
    }

    /// Puts an entry into its home or the stash, without counting it. Returns false if both are
    /// full.
    pub(crate) fn place(self, hash: u64, entry: RawEntry) -> bool {
        let home = self.home(hash);
        if let Some(slot) = home.free_slot() {
            home.put(slot, fingerprint(hash), entry);
            return true;
        }
        for index in 0..usize::from(self.class().stashes) {
            let stash = self.stash(index);
            if let Some(slot) = stash.free_slot() {
                stash.put(slot, fingerprint(hash), entry);
                home.set_meta(home.meta() | STASH_0 << index);
                return true;
            }
        }
        false
    }

    /// Whether [`Seg::place`] would succeed.
    pub(crate) fn has_room(self, hash: u64) -> bool {
        self.home(hash).free_slot().is_some()
            || (0..usize::from(self.class().stashes))
                .any(|index| self.stash(index).free_slot().is_some())
    }

    /// Adds an entry to the overflow list, without counting it.
    pub(crate) fn push_overflow(self, hash: u64, entry: RawEntry) {
        let home = self.home(hash);
        home.set_meta(home.meta() | OVERFLOW);
        // SAFETY: null or a live list of this segment, held exclusively.
        unsafe {
            let header = &mut *self.header();
            if header.overflow.is_null() {
                header.overflow = Box::into_raw(Box::default());
            }
            (&mut *header.overflow).push(entry);
        }
    }

    /// Takes an entry out of its place, without counting it; the caller takes the ownership.
    pub(crate) fn unplace(self, at: At) {
        match at {
            At::Slot(bucket, slot) => bucket.clear(slot),
            // SAFETY: an index that a lookup found in the live list, held exclusively.
            At::Overflow(index) => unsafe {
                let list = &mut *(*self.header()).overflow;
                list.swap_remove(index);
                if list.is_empty() {
                    drop(Box::from_raw(list));
                    (*self.header()).overflow = std::ptr::null_mut();
                }
            },
        }
    }

    /// Replaces an entry by another one with the same key.
    pub(crate) fn replace(self, at: At, entry: RawEntry) {
        match at {
            At::Slot(bucket, slot) => bucket.set_entry(slot, entry),
            // SAFETY: an index that a lookup found in the live list, held exclusively.
            At::Overflow(index) => unsafe {
                let list = &mut *(*self.header()).overflow;
                list[index] = entry;
            },
        }
    }

    /// Returns the stash buckets marked in a meta byte.
    fn stashes_in(self, meta: u8) -> impl Iterator<Item = Bucket> {
        let there = (1u32 << self.class().stashes) - 1;
        let named = u32::from(meta & BEHIND) / u32::from(STASH_0);
        Slots(named & there).map(move |index| self.stash(index))
    }

    /// Searches the places beyond a home bucket: the stash buckets marked in its meta byte, and the
    /// overflow list.
    #[cold]
    #[inline(never)]
    pub(crate) fn find_behind(self, meta: u8, fingerprint: u8, key: &[u8]) -> Option<Found> {
        for stash in self.stashes_in(meta) {
            if let Some((slot, entry)) = stash.find(fingerprint, key) {
                return Some(Found { entry, at: At::Slot(stash, slot) });
            }
        }
        if meta & OVERFLOW != 0 {
            let index = self.overflow().iter().position(|entry| entry.key_is(key))?;
            return Some(Found { entry: self.overflow()[index], at: At::Overflow(index) });
        }
        None
    }

    /// Calls `sink` with each entry of home bucket `index`, wherever it is stored.
    pub(crate) fn each_of_home(
        self,
        index: usize,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(RawEntry),
    ) {
        let home = self.bucket(index);
        for slot in home.used() {
            sink(home.entry(slot));
        }
        let meta = home.meta();
        if meta & BEHIND == 0 {
            return;
        }
        let (depth, homes) = (self.depth(), self.class().homes);
        let mut behind = |entry: RawEntry| {
            if home_index(hash_of(entry.key()), depth, homes) == index {
                sink(entry);
            }
        };
        for stash in self.stashes_in(meta) {
            stash.used().for_each(|slot| behind(stash.entry(slot)));
        }
        if meta & OVERFLOW != 0 {
            self.overflow().iter().for_each(|entry| behind(*entry));
        }
    }

    /// Calls `sink` with each entry, after prefetching them.
    pub(crate) fn each(self, sink: &mut dyn FnMut(RawEntry)) {
        for index in 0..self.buckets() {
            let bucket = self.bucket(index);
            bucket.used().for_each(|slot| bucket.entry(slot).prefetch());
        }
        for index in 0..self.buckets() {
            let bucket = self.bucket(index);
            bucket.used().for_each(|slot| sink(bucket.entry(slot)));
        }
        self.overflow().iter().for_each(|entry| sink(*entry));
    }

    /// Whether walker `w` has visited all buckets in the epoch of the header.
    pub(crate) fn all_visited(self, w: usize) -> bool {
        (0..self.homes()).all(|index| self.bucket(index).meta() & 1 << w != 0)
    }

    /// Sets or clears walker `w`'s bit in all home buckets.
    pub(crate) fn mark_all(self, w: usize, visited: bool) {
        for index in 0..self.homes() {
            let bucket = self.bucket(index);
            let meta = bucket.meta() & !(1 << w);
            bucket.set_meta(meta | u8::from(visited) << w);
        }
    }

    /// Returns the lowest hash of home bucket `index`; none for the end of the hash space. With
    /// `index` equal to the number of homes it is the end of the segment.
    pub(crate) fn lower_bound(self, index: usize) -> Option<u64> {
        lower_bound(self.prefix(), self.depth(), self.class().homes, index)
    }
}

/// Returns the home bucket of a hash, which is monotone in the bits below the prefix.
#[inline(always)]
pub(crate) fn home_index(hash: u64, depth: u8, homes: u8) -> usize {
    debug_assert!(depth <= DEPTH_MAX);
    let below = (hash << (depth & 63)) >> 32;
    ((below * u64::from(homes)) >> 32) as usize
}

/// Returns the lowest hash with the given prefix for which [`home_index`] returns `index`.
fn lower_bound(prefix: u64, depth: u8, homes: u8, index: usize) -> Option<u64> {
    let homes = u64::from(homes);
    let index = index as u64;
    if index >= homes {
        // The end of the segment, which for depth 0 is the end of the hash space.
        let width = 1u64.checked_shl(64 - u32::from(depth))?;
        return prefix.checked_add(width);
    }
    // The smallest 32-bit `below` with (below * homes) >> 32 == index, shifted back by `depth`,
    // rounding up if bits are lost.
    let below = (index << 32).div_ceil(homes) << 32;
    let lost = below & ((1 << depth) - 1) != 0;
    Some(prefix + (below >> depth) + u64::from(lost))
}

#[cfg(test)]
mod tests {
    use super::super::bucket::STASHES_MAX;
    use super::*;

    #[test]
    fn classes_are_allocator_classes_that_grow() {
        for pair in CLASSES.windows(2) {
            assert!(pair[0].bytes() < pair[1].bytes());
            assert!(pair[0].comfortable < pair[1].comfortable);
        }
        for class in CLASSES {
            assert_eq!(class_size(class.bytes()), class.bytes());
            assert!(usize::from(class.stashes) <= STASHES_MAX && class.bytes() <= 4096);
        }
    }

    #[test]
    fn lower_bounds_invert_the_home_index() {
        for depth in [0u8, 1, 7, 31, 32, 33, 50, DEPTH_MAX] {
            let prefix = if depth == 0 { 0 } else { u64::MAX << (64 - depth) };
            for homes in CLASSES.map(|class| class.homes) {
                for index in 0..usize::from(homes) {
                    let Some(low) = lower_bound(prefix, depth, homes, index) else {
                        panic!("only the end has no bound")
                    };
                    assert_eq!(home_index(low, depth, homes), index, "{depth} {homes} {index}");
                    if index > 0 {
                        assert_eq!(home_index(low - 1, depth, homes), index - 1);
                    }
                }
                assert_eq!(lower_bound(prefix, depth, homes, usize::from(homes)), None);
            }
        }
        assert_eq!(lower_bound(0, 1, 3, 3), Some(1 << 63));
    }
}
