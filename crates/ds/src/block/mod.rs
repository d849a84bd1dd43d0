//! A block: a reference-counted allocation with bytes or a value of the caller.
//!
//! ```text
//!  0              8              16             24
//! ┌──────────────┬──────────────┬──────────────┬───────────────────────────────┐
//! │ references   │ length, or   │ capacity, or │ bytes up to the length, room  │
//! │              │ bytes owned  │ VALUE        │ up to the capacity; or a V    │
//! └──────────────┴──────────────┴──────────────┴───────────────────────────────┘
//! ```
//!
//! Values too large for an entry are in a [`Block`], whose address is in the entry. So a long
//! string is an entry and a block, and others that need its bytes (a snapshot, a reply, a copy
//! under another key) share the block instead of copying it. Shared bytes never change: they are
//! copied before a change.
//!
//! * [`Block`] is an owner of bytes or of a `V`, possibly one of several.
//! * [`SharedBytes`] is an owner of a block of bytes, without the type parameter `V`.
//! * [`BlockRef`] and [`BytesRef`] borrow from an owner, [`BytesMut`] borrows the only owner.
//!
//! Capacities are chosen so that the whole allocation is a size class ([`class_size`]) and no
//! memory is wasted. Growing bytes get an eighth of spare capacity: strings that are appended to
//! are moved rarely, and others waste little.
//!
//! The table includes a block's [`Block::allocated_bytes`] in its own count. That is exact because
//! its inputs only change while there is one owner, and the table gives access to that owner only
//! within a call ([`crate::EntryMut::edit_block`]).

mod bytes;
mod raw;

use std::alloc::{alloc, dealloc, handle_alloc_error};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::AtomicUsize;

use crate::size::class_size;
pub use bytes::{BytesMut, BytesRef, SharedBytes};
pub use raw::OutOfMemory;
use raw::{
    BYTES_AT, Header, RawBlock, VALUE, class_capacity, unwrap_allocation, value_layout, with_spare,
};

/// A reference-counted allocation of bytes or a `V`.
pub struct Block<V> {
    raw: RawBlock,
    value: PhantomData<V>,
}

// SAFETY: as for `Arc<V>`: owners on several threads share &V, and the last one drops the V.
unsafe impl<V: Send + Sync> Send for Block<V> {}
// SAFETY: as above; &Block gives access to &V and, by cloning, to owners.
unsafe impl<V: Send + Sync> Sync for Block<V> {}

impl<V> Block<V> {
    /// Creates a block with a value that owns this number of bytes elsewhere (see
    /// [`Block::set_owned_bytes`]).
    #[must_use]
    pub fn new(value: V, owned_bytes: usize) -> Block<V> {
        let (layout, _) = value_layout::<V>();
        // SAFETY: the layout's size is at least that of the header.
        let ptr = unsafe { alloc(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        let raw = RawBlock(ptr.cast());
        let header = Header { references: AtomicUsize::new(1), len: owned_bytes, capacity: VALUE };
        // SAFETY: new memory, large enough and aligned for both.
        unsafe {
            raw.0.write(header);
            raw.value::<V>().write(value);
        }
        Block::from_raw(raw)
    }

    /// Creates a block with a copy of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Block<V> {
        unwrap_allocation(Block::try_from_parts(&[bytes]), bytes.len())
    }

    /// Creates a block with a copy of all parts, concatenated.
    ///
    /// # Errors
    /// If memory is insufficient.
    pub fn try_from_parts(parts: &[&[u8]]) -> Result<Block<V>, OutOfMemory> {
        let len = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let mut block = Block::try_with_capacity(len.ok_or(OutOfMemory)?)?;
        // SAFETY: a new block of bytes.
        let mut bytes = unsafe { BytesMut::new(&mut block.raw) };
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(block)
    }

    /// Creates a block without bytes, with at least this capacity, rounded up to its size class.
    ///
    /// # Errors
    /// If memory is insufficient.
    pub fn try_with_capacity(capacity: usize) -> Result<Block<V>, OutOfMemory> {
        RawBlock::try_new(class_capacity(capacity), false).map(Block::from_raw)
    }

    /// Creates a block of `len` bytes, zeroed before `fill` is called. Memory that the allocator
    /// knows to be zero is not touched.
    ///
    /// # Errors
    /// If memory is insufficient.
    pub fn try_filled(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Block<V>, OutOfMemory> {
        let mut raw = RawBlock::try_new(class_capacity(len), true)?;
        // SAFETY: a new block, whose bytes are all initialised.
        unsafe { raw.set_len(len) };
        let block = Block::from_raw(raw);
        // SAFETY: a block of bytes whose only owner is not used meanwhile.
        fill(&mut unsafe { BytesMut::new(&mut raw) });
        Ok(block)
    }

    /// Creates an owner from a reference that is already counted.
    fn from_raw(raw: RawBlock) -> Block<V> {
        Block { raw, value: PhantomData }
    }

    /// Returns the block's address; the caller takes its reference.
    pub(crate) fn into_address(self) -> u64 {
        ManuallyDrop::new(self).raw.0.as_ptr().expose_provenance() as u64
    }

    /// # Safety
    /// `address` must come from [`Block::into_address`] of a `Block<V>`, and the caller must own
    /// its reference.
    pub(crate) unsafe fn from_address(address: u64) -> Block<V> {
        let ptr = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the address of an allocation is not null.
        Block::from_raw(RawBlock(unsafe { NonNull::new_unchecked(ptr) }))
    }

    /// Borrows the block.
    #[inline]
    #[must_use]
    pub fn borrow(&self) -> BlockRef<'_, V> {
        BlockRef { raw: self.raw, life: PhantomData }
    }

    /// Returns the content.
    #[inline]
    #[must_use]
    pub fn content(&self) -> Content<'_, V> {
        self.borrow().content()
    }

    /// Returns the bytes, if it contains bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.borrow().as_bytes()
    }

    /// Returns the value, if it contains one.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&V> {
        self.borrow().value()
    }

    /// Creates another owner of the bytes, if it contains bytes.
    #[must_use]
    pub fn share_bytes(&self) -> Option<SharedBytes> {
        self.borrow().share_bytes()
    }

    /// Whether there are other owners.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.raw.is_shared()
    }

    /// Returns the memory in bytes: the allocation by size class, and what a value owns elsewhere.
    /// It is the same for all owners.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.borrow().allocated_bytes()
    }

    /// Returns the value for changes, if it contains one and has no other owner.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut V> {
        if !self.raw.holds_value() || self.raw.is_shared() {
            return None;
        }
        // SAFETY: a live V, whose only owner is borrowed exclusively.
        Some(unsafe { &mut *self.raw.value() })
    }

    /// Sets the number of bytes that the value owns elsewhere. Returns false, without a change, if
    /// it contains no value or has other owners.
    pub fn set_owned_bytes(&mut self, bytes: usize) -> bool {
        let may = self.raw.holds_value() && !self.raw.is_shared();
        if may {
            // SAFETY: the only owner is borrowed exclusively, and it contains a value.
            unsafe { self.raw.set_len(bytes) };
        }
        may
    }

    /// Returns the value itself, if it contains one and has no other owner.
    ///
    /// # Errors
    /// The block, unchanged.
    pub fn into_value(self) -> Result<V, Block<V>> {
        if !self.raw.holds_value() || self.raw.is_shared() {
            return Err(self);
        }
        let raw = ManuallyDrop::new(self).raw;
        let (layout, _) = value_layout::<V>();
        // SAFETY: the only owner of a live V moves it out and frees the rest.
        unsafe {
            let value = raw.value::<V>().read();
            dealloc(raw.0.as_ptr().cast(), layout);
            Ok(value)
        }
    }

    /// Returns the bytes for changes, with at least this capacity; none if it contains a value.
    ///
    /// If there are other owners, this one gets a copy of the bytes. If the capacity was
    /// insufficient, the block gets some spare capacity.
    ///
    /// # Errors
    /// If memory is insufficient. Nothing has changed then.
    pub fn try_bytes_mut(&mut self, capacity: usize) -> Result<Option<BytesMut<'_>>, OutOfMemory> {
        if self.raw.holds_value() {
            return Ok(None);
        }
        if self.raw.is_shared() {
            let wanted = match self.raw.len() {
                len if len < capacity => with_spare(capacity),
                len => len,
            };
            // SAFETY: it contains bytes, no more than the capacity.
            let copy = unsafe { self.raw.try_copy(class_capacity(wanted))? };
            *self = Block::from_raw(copy);
        }
        // SAFETY: it contains bytes and has no other owner.
        let mut bytes = unsafe { BytesMut::new(&mut self.raw) };
        bytes.try_reserve(capacity)?;
        Ok(Some(bytes))
    }
}

impl<V> Clone for Block<V> {
    fn clone(&self) -> Block<V> {
        self.borrow().to_owned()
    }
}

impl<V> Drop for Block<V> {
    fn drop(&mut self) {
        if !self.raw.release() {
            return;
        }
        if !self.raw.holds_value() {
            // SAFETY: it contains bytes, and the last reference was released.
            return unsafe { self.raw.free_bytes() };
        }
        let (layout, _) = value_layout::<V>();
        // SAFETY: it contains a V, and the last reference was released. If dropping the V unwinds,
        // the memory is leaked, which is sound.
        unsafe {
            self.raw.value::<V>().drop_in_place();
            dealloc(self.raw.0.as_ptr().cast(), layout);
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for Block<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content().fmt(f)
    }
}

impl<V> From<SharedBytes> for Block<V> {
    fn from(bytes: SharedBytes) -> Block<V> {
        Block::from_raw(ManuallyDrop::new(bytes).raw)
    }
}

/// The content of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a, V> {
    /// Bytes.
    Bytes(BytesRef<'a>),
    /// A value of the caller.
    Value(&'a V),
}

/// A borrowed block.
pub struct BlockRef<'a, V> {
    raw: RawBlock,
    life: PhantomData<&'a V>,
}

// SAFETY: like a `&Block<V>`, which is `Send` because that is `Sync`.
unsafe impl<V: Send + Sync> Send for BlockRef<'_, V> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync> Sync for BlockRef<'_, V> {}

impl<V> Clone for BlockRef<'_, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for BlockRef<'_, V> {}

impl<'a, V> BlockRef<'a, V> {
    /// # Safety
    /// `address` must come from [`Block::into_address`] of a `Block<V>`, whose reference outlives
    /// `'a` and through which the block is not changed meanwhile.
    #[inline]
    pub(crate) unsafe fn from_address(address: u64) -> BlockRef<'a, V> {
        let ptr = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the address of an allocation is not null.
        BlockRef { raw: RawBlock(unsafe { NonNull::new_unchecked(ptr) }), life: PhantomData }
    }

    /// Returns the content.
    #[inline]
    #[must_use]
    pub fn content(self) -> Content<'a, V> {
        if self.raw.holds_value() {
            // SAFETY: it contains a V, which does not change while it is borrowed.
            Content::Value(unsafe { &*self.raw.value() })
        } else {
            Content::Bytes(BytesRef { raw: self.raw, life: PhantomData })
        }
    }

    /// Returns the bytes, if it contains bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.content() {
            Content::Bytes(bytes) => Some(bytes.as_slice()),
            Content::Value(_) => None,
        }
    }

    /// Returns the value, if it contains one.
    #[inline]
    #[must_use]
    pub fn value(self) -> Option<&'a V> {
        match self.content() {
            Content::Bytes(_) => None,
            Content::Value(value) => Some(value),
        }
    }

    /// Creates another owner of the bytes, if it contains bytes.
    #[must_use]
    pub fn share_bytes(self) -> Option<SharedBytes> {
        match self.content() {
            Content::Bytes(bytes) => Some(bytes.share()),
            Content::Value(_) => None,
        }
    }

    /// Creates another owner.
    #[must_use]
    pub fn to_owned(self) -> Block<V> {
        self.raw.retain();
        Block::from_raw(self.raw)
    }

    /// Whether there are several owners.
    #[must_use]
    pub fn is_shared(self) -> bool {
        self.raw.is_shared()
    }

    /// See [`Block::allocated_bytes`].
    #[must_use]
    pub fn allocated_bytes(self) -> usize {
        if self.raw.holds_value() {
            class_size(value_layout::<V>().0.size()).saturating_add(self.raw.len())
        } else {
            class_size(BYTES_AT + self.raw.capacity())
        }
    }
}

impl<V: fmt::Debug> fmt::Debug for BlockRef<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.content().fmt(f)
    }
}

impl<V: PartialEq> PartialEq for BlockRef<'_, V> {
    fn eq(&self, other: &Self) -> bool {
        self.content() == other.content()
    }
}

impl<V: Eq> Eq for BlockRef<'_, V> {}
