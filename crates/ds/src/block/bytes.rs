//! Blocks of bytes without the type parameter: borrowed, shared, and changed.

use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

use super::Block;
use super::raw::{BYTES_AT, OutOfMemory, RawBlock, class_capacity, unwrap_allocation, with_spare};
use crate::size::class_size;

/// A borrowed block of bytes.
#[derive(Clone, Copy)]
pub struct BytesRef<'a> {
    pub(super) raw: RawBlock,
    pub(super) life: PhantomData<&'a [u8]>,
}

// SAFETY: like a `&SharedBytes`, which is `Send` because that is `Sync`.
unsafe impl Send for BytesRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for BytesRef<'_> {}

impl<'a> BytesRef<'a> {
    /// Returns the bytes for the lifetime of the borrow.
    #[inline]
    #[must_use]
    pub fn as_slice(self) -> &'a [u8] {
        // SAFETY: it contains bytes, which do not change while they are borrowed.
        unsafe { self.raw.bytes() }
    }

    /// Creates another owner.
    #[must_use]
    pub fn share(self) -> SharedBytes {
        self.raw.retain();
        SharedBytes { raw: self.raw }
    }
}

impl Deref for BytesRef<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl fmt::Debug for BytesRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_slice().fmt(f)
    }
}

impl PartialEq for BytesRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl Eq for BytesRef<'_> {}

/// A shared owner of a block of bytes, which do not change while it exists.
pub struct SharedBytes {
    pub(super) raw: RawBlock,
}

// SAFETY: as for `Arc<[u8]>`.
unsafe impl Send for SharedBytes {}
// SAFETY: as for `Arc<[u8]>`.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// Creates a block with a copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> SharedBytes {
        SharedBytes { raw: ManuallyDrop::new(Block::<()>::from_bytes(bytes)).raw }
    }

    /// Takes the bytes of a vector from [`SharedBytes::HEADROOM`] on, which are not copied. Its first bytes are
    /// overwritten.
    ///
    /// # Panics
    /// If the vector is shorter than that.
    #[must_use]
    pub fn from_vec(bytes: Vec<u8>) -> SharedBytes {
        match RawBlock::from_vec(bytes) {
            Ok(raw) => SharedBytes { raw },
            Err(bytes) => SharedBytes::new(&bytes[SharedBytes::HEADROOM..]),
        }
    }

    /// Bytes of a vector before those that [`SharedBytes::from_vec`] takes.
    pub const HEADROOM: usize = BYTES_AT;

    /// Returns the memory of the block in bytes, by size class.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        class_size(BYTES_AT + self.raw.capacity())
    }

    /// Whether there are other owners.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.raw.is_shared()
    }

    /// Returns the number of owners, which other threads may change meanwhile.
    #[must_use]
    pub fn owners(&self) -> usize {
        self.raw.owners()
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: it contains bytes, which do not change while this owner exists: only `BytesMut`
        // changes bytes, and it needs exclusive access to the only owner.
        unsafe { self.raw.bytes() }
    }
}

impl Clone for SharedBytes {
    fn clone(&self) -> SharedBytes {
        self.raw.retain();
        SharedBytes { raw: self.raw }
    }
}

impl Drop for SharedBytes {
    fn drop(&mut self) {
        if self.raw.release() {
            // SAFETY: it contains bytes, and the last reference was released.
            unsafe { self.raw.free_bytes() }
        }
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Exclusive access to the bytes of a block without other owners. Growing may move them.
pub struct BytesMut<'a> {
    /// The owner's own pointer, which is updated when the block moves.
    raw: &'a mut RawBlock,
}

impl<'a> BytesMut<'a> {
    /// # Safety
    /// The block contains bytes and has no other owner than that of this pointer.
    pub(super) unsafe fn new(raw: &'a mut RawBlock) -> BytesMut<'a> {
        BytesMut { raw }
    }

    /// Returns the capacity in bytes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// Ensures a capacity in total; if the block must grow, it gets some spare capacity.
    ///
    /// # Errors
    /// If memory is insufficient. Nothing has changed then.
    pub fn try_reserve(&mut self, capacity: usize) -> Result<(), OutOfMemory> {
        if capacity <= self.raw.capacity() {
            return Ok(());
        }
        // SAFETY: it contains bytes, and the only owner's pointer is updated.
        *self.raw = unsafe { self.raw.try_grow(class_capacity(with_spare(capacity)))? };
        Ok(())
    }

    fn reserve(&mut self, capacity: usize) {
        unwrap_allocation(self.try_reserve(capacity), capacity);
    }

    /// Changes the length; new bytes are zero. The capacity is kept.
    pub fn resize(&mut self, len: usize) {
        let before = self.len();
        self.reserve(len);
        // SAFETY: the capacity is at least `len`, and all bytes up to it are initialised.
        unsafe {
            if len > before {
                self.raw.data().add(before).write_bytes(0, len - before);
            }
            self.raw.set_len(len);
        }
    }

    /// Appends bytes.
    pub fn extend_from_slice(&mut self, more: &[u8]) {
        let before = self.len();
        let len = before.saturating_add(more.len());
        self.reserve(len);
        // SAFETY: the capacity is sufficient; `more` is borrowed, so it is not in this block.
        unsafe {
            self.raw.data().add(before).copy_from_nonoverlapping(more.as_ptr(), more.len());
            self.raw.set_len(len);
        }
    }
}

impl Deref for BytesMut<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: it contains bytes, borrowed with `self`.
        unsafe { self.raw.bytes() }
    }
}

impl DerefMut for BytesMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: `len` initialised bytes, whose only owner is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.raw.data(), self.raw.len()) }
    }
}

impl fmt::Debug for BytesMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
