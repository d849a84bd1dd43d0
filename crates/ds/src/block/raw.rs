//! The allocation of a block: header, layouts, references.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::size::class_size;

/// The capacity of a block with a value.
pub(super) const VALUE: usize = usize::MAX;

/// A bit of the capacity of bytes that were a vector, whose allocation has its layout. No capacity is as large.
const FROM_VEC: usize = 1 << (usize::BITS - 2);

/// Maximum number of references: more would be a leak that could overflow the count and free a
/// block in use.
pub(super) const REFERENCES_MAX: usize = isize::MAX as usize;

/// The header, followed by the bytes or the value.
#[repr(C)]
pub(super) struct Header {
    pub(super) references: AtomicUsize,
    /// Bytes: their length. Value: the bytes that it owns elsewhere.
    pub(super) len: usize,
    /// Bytes: their capacity, perhaps with `FROM_VEC`. Value: `VALUE`.
    pub(super) capacity: usize,
}

/// Offset of the bytes.
pub(super) const BYTES_AT: usize = size_of::<Header>();
pub(super) const ALIGN: usize = align_of::<Header>();

/// Memory or address space is insufficient.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutOfMemory;

impl fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not enough memory")
    }
}

impl std::error::Error for OutOfMemory {}

/// Returns the layout of a block of bytes.
pub(super) fn bytes_layout(capacity: usize) -> Result<Layout, OutOfMemory> {
    let size = BYTES_AT.checked_add(capacity).filter(|_| capacity < FROM_VEC).ok_or(OutOfMemory)?;
    Layout::from_size_align(size, ALIGN).map_err(|_| OutOfMemory)
}

/// Returns the maximum capacity of the size class for `len` bytes.
pub(super) fn class_capacity(len: usize) -> usize {
    class_size(len.saturating_add(BYTES_AT)) - BYTES_AT
}

/// Returns the layout of a block with a `V`, and the offset of the value.
pub(super) fn value_layout<V>() -> (Layout, usize) {
    match Layout::new::<Header>().extend(Layout::new::<V>()) {
        Ok((layout, at)) => (layout.pad_to_align(), at),
        Err(_) => unreachable!("a V exists, so it fits the address space"),
    }
}

/// The address of a block. Copying it does not copy ownership.
///
/// Invariant: it points to a live block; each owner has one of its references, and the release of
/// the last one frees it. While there are several references, or a borrow, the block is only read,
/// except the count. The methods below rely on this.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct RawBlock(pub(super) NonNull<Header>);

impl RawBlock {
    /// Allocates a block without bytes, with one reference and this capacity.
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
    fn marked_capacity(self) -> usize {
        // SAFETY: the type's invariant.
        unsafe { (*self.0.as_ptr()).capacity }
    }

    /// Returns the capacity of bytes.
    #[inline]
    pub(super) fn capacity(self) -> usize {
        self.marked_capacity() & !FROM_VEC
    }

    #[inline]
    pub(super) fn holds_value(self) -> bool {
        self.marked_capacity() == VALUE
    }

    /// Whether these bytes were a vector.
    fn is_from_vec(self) -> bool {
        self.marked_capacity() & FROM_VEC != 0
    }

    pub(super) fn data(self) -> *mut u8 {
        // SAFETY: the bytes start within or at the end of the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(BYTES_AT) }
    }

    /// # Safety
    /// The block contains bytes and is not changed for `'a`.
    #[inline]
    pub(super) unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: `len` initialised bytes, and the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }

    /// # Safety
    /// The block contains a `V`.
    #[inline]
    pub(super) unsafe fn value<V>(self) -> *mut V {
        let (_, at) = value_layout::<V>();
        // SAFETY: the caller's promise; the value is at this offset of the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(at).cast() }
    }

    /// Adds a reference.
    #[inline]
    pub(super) fn retain(self) {
        // Relaxed: the caller has a reference already, so the block cannot be freed meanwhile.
        if self.references().fetch_add(1, Ordering::Relaxed) >= REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// Returns the number of owners.
    pub(super) fn owners(self) -> usize {
        self.references().load(Ordering::Relaxed)
    }

    /// Whether there are several owners.
    #[inline]
    pub(super) fn is_shared(self) -> bool {
        // Acquire: reads of other owners before their release happen before our changes.
        self.references().load(Ordering::Acquire) != 1
    }

    /// Releases a reference. Returns whether it was the last one, so that the caller must free the
    /// block.
    #[inline]
    #[must_use]
    pub(super) fn release(self) -> bool {
        if self.references().fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // Everything that other owners did with the block happens before it is freed.
        fence(Ordering::Acquire);
        true
    }

    /// # Safety
    /// The block contains bytes, and the last reference was released.
    pub(super) unsafe fn free_bytes(self) {
        let align = if self.is_from_vec() { align_of::<u8>() } else { ALIGN };
        // SAFETY: the layout that it was allocated or moved with, see `try_new`, `from_vec` and `try_grow`.
        unsafe {
            let layout = Layout::from_size_align_unchecked(BYTES_AT + self.capacity(), align);
            dealloc(self.0.as_ptr().cast(), layout);
        }
    }

    /// Makes a block of a vector, whose first bytes are overwritten by the header; the others stay where they are.
    /// Fails, without a change, if its allocation is not suitable for that.
    pub(super) fn from_vec(mut bytes: Vec<u8>) -> Result<RawBlock, Vec<u8>> {
        let (len, capacity) = (bytes.len(), bytes.capacity());
        let Some(ptr) = NonNull::new(bytes.as_mut_ptr()).map(NonNull::cast::<Header>) else {
            return Err(bytes);
        };
        if len < BYTES_AT || capacity >= FROM_VEC || !ptr.is_aligned() {
            return Err(bytes);
        }
        std::mem::forget(bytes);
        let capacity = capacity - BYTES_AT;
        let header = Header {
            references: AtomicUsize::new(1),
            len: len - BYTES_AT,
            capacity: capacity | FROM_VEC,
        };
        // SAFETY: the vector's allocation, which nobody frees any more, is large enough and aligned, as checked above. The
        // bytes behind the header are initialised up to the vector's length.
        unsafe { ptr.write(header) };
        Ok(RawBlock(ptr))
    }

    /// Moves the bytes to a larger allocation; on failure nothing changes.
    ///
    /// # Safety
    /// The block contains bytes, the caller has the only reference, and uses the result instead.
    pub(super) unsafe fn try_grow(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
        if self.is_from_vec() {
            // SAFETY: it contains bytes, fewer than the capacity; nobody else has the only reference.
            unsafe {
                let copy = self.try_copy(capacity)?;
                self.free_bytes();
                return Ok(copy);
            }
        }
        let new = bytes_layout(capacity)?;
        // SAFETY: the old layout is that of the allocation; the new size is not zero and was
        // checked by `bytes_layout`.
        let ptr = unsafe {
            let old = Layout::from_size_align_unchecked(BYTES_AT + self.capacity(), ALIGN);
            realloc(self.0.as_ptr().cast(), old, new.size())
        };
        let moved = NonNull::new(ptr).ok_or(OutOfMemory)?.cast::<Header>();
        // SAFETY: the header was moved too.
        unsafe { (*moved.as_ptr()).capacity = capacity };
        Ok(RawBlock(moved))
    }

    /// Creates a block of the same bytes with another capacity and one reference.
    ///
    /// # Safety
    /// The block contains bytes, no more than `capacity`.
    pub(super) unsafe fn try_copy(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
        let copy = RawBlock::try_new(capacity, false)?;
        // SAFETY: a new allocation with space for the bytes, which are then initialised.
        unsafe {
            copy.data().copy_from_nonoverlapping(self.data(), self.len());
            copy.set_len(self.len());
        }
        Ok(copy)
    }
}

/// Aborts the process, like infallible allocations.
pub(super) fn unwrap_allocation<T>(result: Result<T, OutOfMemory>, capacity: usize) -> T {
    match result {
        Ok(value) => value,
        Err(OutOfMemory) => match bytes_layout(capacity) {
            Ok(layout) => handle_alloc_error(layout),
            Err(OutOfMemory) => panic!("{capacity} bytes exceed the address space"),
        },
    }
}

/// Returns `len` bytes and an eighth to spare.
pub(super) fn with_spare(len: usize) -> usize {
    len.saturating_add(len / 8)
}
