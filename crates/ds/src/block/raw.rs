//! The allocation itself: header, layouts, references; not who owns one.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::size::class_size;

/// The capacity that says that a block holds a value.
pub(super) const VALUE: usize = usize::MAX;

/// More references than this are a leak that would in the end free a block in use.
pub(super) const REFERENCES_MAX: usize = isize::MAX as usize;

/// What precedes the bytes or the value.
#[repr(C)]
pub(super) struct Header {
    pub(super) references: AtomicUsize,
    /// Bytes: how many there are. Value: what it owns elsewhere, in bytes.
    pub(super) len: usize,
    /// Bytes: how many there may be. Value: `VALUE`.
    pub(super) capacity: usize,
}

/// Where the bytes begin.
pub(super) const BYTES_AT: usize = size_of::<Header>();
pub(super) const ALIGN: usize = align_of::<Header>();

/// There is not enough memory, or address space, for so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not enough memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// The layout of a block of bytes.
pub(super) fn bytes_layout(capacity: usize) -> Result<Layout, OutOfMemory> {
    let size = BYTES_AT.checked_add(capacity).ok_or(OutOfMemory)?;
    Layout::from_size_align(size, ALIGN).map_err(|_| OutOfMemory)
}

/// The largest capacity of the size class that has room for `len` bytes.
pub(super) fn class_capacity(len: usize) -> usize {
    class_size(len.saturating_add(BYTES_AT)) - BYTES_AT
}

/// The layout of a block with a `V`, and where that begins.
pub(super) fn value_layout<V>() -> (Layout, usize) {
    match Layout::new::<Header>().extend(Layout::new::<V>()) {
        Ok((layout, at)) => (layout.pad_to_align(), at),
        Err(_) => unreachable!("a V exists, so it fits the address space"),
    }
}

/// The address of a block. Copying it copies no ownership.
///
/// Invariant: it points at a live block; each owner stands for one of its references, and who
/// gives up the last one frees it. While there is more than one reference, or a borrow, the block
/// is only read, but for the count. The methods below rely on this.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RawBlock(pub(super) NonNull<Header>);

impl RawBlock {
    /// A block of no bytes with one reference and this capacity.
    pub(super) fn try_new(capacity: usize, zeroed: bool) -> Result<RawBlock, OutOfMemory> {
        let layout = bytes_layout(capacity)?;
        // SAFETY: the layout's size is at least that of the header.
        let ptr = unsafe { if zeroed { alloc_zeroed(layout) } else { alloc(layout) } };
        let ptr = NonNull::new(ptr).ok_or(OutOfMemory)?.cast::<Header>();
        let header = Header { references: AtomicUsize::new(1), len: 0, capacity };
        // SAFETY: new memory, large enough and aligned.
        unsafe { ptr.write(header) };
        Ok(RawBlock(ptr))
    }

    #[inline]
    pub(super) fn references<'a>(self) -> &'a AtomicUsize {
        // SAFETY: the type's invariant. The count is only accessed as an atomic.
        unsafe { &(*self.0.as_ptr()).references }
    }

    #[inline]
    pub(super) fn len(self) -> usize {
        // SAFETY: the type's invariant.
        unsafe { (*self.0.as_ptr()).len }
    }

    /// # Safety
    /// The caller holds the only reference; of bytes, `len` are initialised.
    pub(super) unsafe fn set_len(self, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.as_ptr()).len = len }
    }

    #[inline]
    pub(super) fn capacity(self) -> usize {
        // SAFETY: the type's invariant.
        unsafe { (*self.0.as_ptr()).capacity }
    }

    #[inline]
    pub(super) fn holds_value(self) -> bool {
        self.capacity() == VALUE
    }

    pub(super) fn data(self) -> *mut u8 {
        // SAFETY: the bytes begin within or right behind the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(BYTES_AT) }
    }

    /// # Safety
    /// The block holds bytes and is not changed for `'a`.
    #[inline]
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: `len` initialised bytes, and the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }

    /// # Safety
    /// The block holds a `V`.
    #[inline]
    pub(super) unsafe fn value<V>(self) -> *mut V {
        let (_, at) = value_layout::<V>();
        // SAFETY: the caller's promise; the value lies at this place of the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(at).cast() }
    }

    /// Counts another owner.
    #[inline]
    pub(super) fn retain(self) {
        // Relaxed: whoever counts up has a reference already, so the block cannot go meanwhile.
        if self.references().fetch_add(1, Ordering::Relaxed) >= REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// Whether there is more than one owner.
    #[inline]
    pub(super) fn is_shared(self) -> bool {
        // Acquire: what other owners read before they let go happens before our changes.
        self.references().load(Ordering::Acquire) != 1
    }

    /// Gives up a reference; true if it was the last one, so that the caller must free the block.
    #[inline]
    #[must_use]
    pub(super) fn release(self) -> bool {
        if self.references().fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // What all others did with the block happens before it is freed.
        fence(Ordering::Acquire);
        true
    }

    /// # Safety
    /// The block holds bytes, and the last reference has been given up.
    pub(super) unsafe fn free_bytes(self) {
        // SAFETY: the layout that it was allocated or moved with, see `try_new` and `try_grow`.
        unsafe {
            let layout = Layout::from_size_align_unchecked(BYTES_AT + self.capacity(), ALIGN);
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }

    /// Moves to a larger allocation, with the bytes; on failure nothing has changed.
    ///
    /// # Safety
    /// The block holds bytes, the caller holds the only reference, and uses the result instead.
    pub(super) unsafe fn try_grow(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
        let new = bytes_layout(capacity)?;
        // SAFETY: the old layout is that of the allocation; the new size is not zero and was
        // checked by `bytes_layout`.
        let ptr = unsafe {
            let old = Layout::from_size_align_unchecked(BYTES_AT + self.capacity(), ALIGN);
            realloc(self.0.as_ptr().cast(), old, new.size())
        };
        let moved = NonNull::new(ptr).ok_or(OutOfMemory)?.cast::<Header>();
        // SAFETY: the header has moved with the rest.
        unsafe { (*moved.as_ptr()).capacity = capacity };
        Ok(RawBlock(moved))
    }

    /// A block of the same bytes with another capacity, and one reference.
    ///
    /// # Safety
    /// The block holds bytes, no more than `capacity`.
    pub(super) unsafe fn try_copy(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
        let copy = RawBlock::try_new(capacity, false)?;
        // SAFETY: a new allocation with room for the bytes, which are then initialised.
        unsafe {
            copy.data().copy_from_nonoverlapping(self.data(), self.len());
            copy.set_len(self.len());
        }
        Ok(copy)
    }
}

/// Ends the process as failed allocations do that have no one to report to.
pub(super) fn unwrap_allocation<T>(result: Result<T, OutOfMemory>, capacity: usize) -> T {
    match result {
        Ok(value) => value,
        Err(OutOfMemory) => match bytes_layout(capacity) {
            Ok(layout) => handle_alloc_error(layout),
            Err(OutOfMemory) => panic!("{capacity} bytes exceed the address space"),
        },
    }
}

/// `len` bytes and an eighth to spare.
pub(super) fn with_spare(len: usize) -> usize {
    len.saturating_add(len / 8)
}
