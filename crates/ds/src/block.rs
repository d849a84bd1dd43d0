//! A counted allocation behind one pointer: bytes, or a value of the caller; not what refers to it.
//!
//! ```text
//!  0              8              16             24
//! ┌──────────────┬──────────────┬──────────────┬───────────────────────────────┐
//! │ references   │ length, or   │ capacity, or │ bytes up to the length, room  │
//! │              │ bytes owned  │ VALUE        │ up to the capacity; or a V    │
//! └──────────────┴──────────────┴──────────────┴───────────────────────────────┘
//! ```
//!
//! What is too big to stand inline in an entry is a [`Block`], and the entry holds its address. So
//! a long string is an entry and one block, and whoever else needs its bytes (a snapshot, a reply
//! on its way out, a copy under another key) takes a reference instead of a copy. Bytes that are
//! held more than once never change: who wants to change them copies them first.
//!
//! * [`Block`] is one owner among several, of bytes or of a `V`.
//! * [`SharedBytes`] is the same for a block of bytes, without naming `V`.
//! * [`BlockRef`] and [`BytesRef`] borrow from an owner, [`BytesMut`] borrows the only one.
//!
//! Capacities are such that the whole allocation is a size class ([`class_size`]), so no room that
//! the allocator gives is left unused. Bytes that grow get an eighth of spare room: a string that
//! is appended to is moved rarely, and one that is not has wasted little.
//!
//! The table adds a block's [`Block::allocated_bytes`] to its own. That is exact because neither
//! of the two figures that it comes from changes unless there is one owner, and the table gives
//! out access to that one only for a call that it surrounds ([`crate::EntryMut::edit_block`]).

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use crate::size::class_size;

/// The capacity that says that a block holds a value.
const VALUE: usize = usize::MAX;

/// More references than this are a leak that would in the end free a block in use.
const REFERENCES_MAX: usize = isize::MAX as usize;

/// What precedes the bytes or the value.
#[repr(C)]
struct Header {
    references: AtomicUsize,
    /// Bytes: how many there are. Value: what it owns elsewhere, in bytes.
    len: usize,
    /// Bytes: how many there may be. Value: `VALUE`.
    capacity: usize,
}

/// Where the bytes begin.
const BYTES_AT: usize = size_of::<Header>();
const ALIGN: usize = align_of::<Header>();

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
fn bytes_layout(capacity: usize) -> Result<Layout, OutOfMemory> {
    let size = BYTES_AT.checked_add(capacity).ok_or(OutOfMemory)?;
    Layout::from_size_align(size, ALIGN).map_err(|_| OutOfMemory)
}

/// The largest capacity of the size class that has room for `len` bytes.
fn class_capacity(len: usize) -> usize {
    class_size(len.saturating_add(BYTES_AT)) - BYTES_AT
}

/// The layout of a block with a `V`, and where that begins.
fn value_layout<V>() -> (Layout, usize) {
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
struct RawBlock(NonNull<Header>);

impl RawBlock {
    /// A block of no bytes with one reference and this capacity.
    fn try_new(capacity: usize, zeroed: bool) -> Result<RawBlock, OutOfMemory> {
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
    fn references<'a>(self) -> &'a AtomicUsize {
        // SAFETY: the type's invariant. The count is only accessed as an atomic.
        unsafe { &(*self.0.as_ptr()).references }
    }

    #[inline]
    fn len(self) -> usize {
        // SAFETY: the type's invariant.
        unsafe { (*self.0.as_ptr()).len }
    }

    /// # Safety
    /// The caller holds the only reference; of bytes, `len` are initialised.
    unsafe fn set_len(self, len: usize) {
        // SAFETY: the caller's promise.
        unsafe { (*self.0.as_ptr()).len = len }
    }

    #[inline]
    fn capacity(self) -> usize {
        // SAFETY: the type's invariant.
        unsafe { (*self.0.as_ptr()).capacity }
    }

    #[inline]
    fn holds_value(self) -> bool {
        self.capacity() == VALUE
    }

    fn data(self) -> *mut u8 {
        // SAFETY: the bytes begin within or right behind the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(BYTES_AT) }
    }

    /// # Safety
    /// The block holds bytes and is not changed for `'a`.
    #[inline]
    unsafe fn bytes<'a>(self) -> &'a [u8] {
        // SAFETY: `len` initialised bytes, and the caller's promise.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }

    /// # Safety
    /// The block holds a `V`.
    #[inline]
    unsafe fn value<V>(self) -> *mut V {
        let (_, at) = value_layout::<V>();
        // SAFETY: the caller's promise; the value lies at this place of the allocation.
        unsafe { self.0.as_ptr().cast::<u8>().add(at).cast() }
    }

    /// Counts another owner.
    #[inline]
    fn retain(self) {
        // Relaxed: whoever counts up has a reference already, so the block cannot go meanwhile.
        if self.references().fetch_add(1, Ordering::Relaxed) >= REFERENCES_MAX {
            std::process::abort();
        }
    }

    /// Whether there is more than one owner.
    #[inline]
    fn is_shared(self) -> bool {
        // Acquire: what other owners read before they let go happens before our changes.
        self.references().load(Ordering::Acquire) != 1
    }

    /// Gives up a reference; true if it was the last one, so that the caller must free the block.
    #[inline]
    #[must_use]
    fn release(self) -> bool {
        if self.references().fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        // What all others did with the block happens before it is freed.
        fence(Ordering::Acquire);
        true
    }

    /// # Safety
    /// The block holds bytes, and the last reference has been given up.
    unsafe fn free_bytes(self) {
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
    unsafe fn try_grow(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
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
    unsafe fn try_copy(self, capacity: usize) -> Result<RawBlock, OutOfMemory> {
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
fn unwrap_allocation<T>(result: Result<T, OutOfMemory>, capacity: usize) -> T {
    match result {
        Ok(value) => value,
        Err(OutOfMemory) => match bytes_layout(capacity) {
            Ok(layout) => handle_alloc_error(layout),
            Err(OutOfMemory) => panic!("{capacity} bytes exceed the address space"),
        },
    }
}

/// A counted allocation with bytes or a `V`. See the module.
pub struct Block<V> {
    raw: RawBlock,
    value: PhantomData<V>,
}

// SAFETY: as for `Arc<V>`: owners on several threads share &V, and the last one drops the V.
unsafe impl<V: Send + Sync> Send for Block<V> {}
// SAFETY: as above; &Block gives out &V and, by cloning, owners.
unsafe impl<V: Send + Sync> Sync for Block<V> {}

impl<V> Block<V> {
    /// A block with a value that owns so many bytes elsewhere (see [`Block::set_owned_bytes`]).
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

    /// A block with a copy of these bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Block<V> {
        unwrap_allocation(Block::try_from_parts(&[bytes]), bytes.len())
    }

    /// A block with a copy of all parts, one after the other.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn try_from_parts(parts: &[&[u8]]) -> Result<Block<V>, OutOfMemory> {
        let len = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()));
        let mut block = Block::try_with_capacity(len.ok_or(OutOfMemory)?)?;
        // SAFETY: a new block of bytes.
        let mut bytes = unsafe { BytesMut::new(&mut block.raw) };
        parts.iter().for_each(|part| bytes.extend_from_slice(part));
        Ok(block)
    }

    /// A block without bytes yet, with room for `capacity` and what more the size class has.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn try_with_capacity(capacity: usize) -> Result<Block<V>, OutOfMemory> {
        RawBlock::try_new(class_capacity(capacity), false).map(Block::from_raw)
    }

    /// A block of `len` bytes, which are zero when `fill` gets them. Memory that the allocator
    /// knows to be zero is not touched before.
    ///
    /// # Errors
    /// If there is not so much memory.
    pub fn try_filled(len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Block<V>, OutOfMemory> {
        let mut raw = RawBlock::try_new(class_capacity(len), true)?;
        // SAFETY: a new block, all of whose bytes are initialised.
        unsafe { raw.set_len(len) };
        let block = Block::from_raw(raw);
        // SAFETY: a block of bytes whose only owner is not used meanwhile.
        fill(&mut unsafe { BytesMut::new(&mut raw) });
        Ok(block)
    }

    /// An owner for a reference that is already counted.
    fn from_raw(raw: RawBlock) -> Block<V> {
        Block { raw, value: PhantomData }
    }

    /// The block's address; its reference is the caller's.
    pub(crate) fn into_address(self) -> u64 {
        ManuallyDrop::new(self).raw.0.as_ptr().expose_provenance() as u64
    }

    /// # Safety
    /// `address` must come from [`Block::into_address`] of a `Block<V>`, and the caller has its
    /// reference to give.
    pub(crate) unsafe fn from_address(address: u64) -> Block<V> {
        let ptr = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the address of an allocation is not null.
        Block::from_raw(RawBlock(unsafe { NonNull::new_unchecked(ptr) }))
    }

    /// The block for reading.
    #[inline]
    #[must_use]
    pub fn borrow(&self) -> BlockRef<'_, V> {
        BlockRef { raw: self.raw, life: PhantomData }
    }

    /// What it holds.
    #[inline]
    #[must_use]
    pub fn content(&self) -> Content<'_, V> {
        self.borrow().content()
    }

    /// The bytes, if it holds bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> Option<&[u8]> {
        self.borrow().as_bytes()
    }

    /// The value, if it holds one.
    #[inline]
    #[must_use]
    pub fn value(&self) -> Option<&V> {
        self.borrow().value()
    }

    /// Another owner of the bytes, if it holds bytes.
    #[must_use]
    pub fn share_bytes(&self) -> Option<SharedBytes> {
        self.borrow().share_bytes()
    }

    /// Whether there are other owners.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.raw.is_shared()
    }

    /// Bytes of memory: the allocation by size class, and what a value owns elsewhere. Other
    /// owners would give the same figure.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.borrow().allocated_bytes()
    }

    /// The value for change, if it holds one and has no other owner.
    #[must_use]
    pub fn get_mut(&mut self) -> Option<&mut V> {
        if !self.raw.holds_value() || self.raw.is_shared() {
            return None;
        }
        // SAFETY: a live V, whose only owner is borrowed exclusively.
        Some(unsafe { &mut *self.raw.value() })
    }

    /// Notes how many bytes the value owns elsewhere. False, and nothing done, if it holds no
    /// value or has other owners.
    pub fn set_owned_bytes(&mut self, bytes: usize) -> bool {
        let may = self.raw.holds_value() && !self.raw.is_shared();
        if may {
            // SAFETY: the only owner is borrowed exclusively, and it holds a value.
            unsafe { self.raw.set_len(bytes) };
        }
        may
    }

    /// The value itself, if it holds one and has no other owner; else the block.
    ///
    /// # Errors
    /// The block, as it was.
    pub fn into_value(self) -> Result<V, Block<V>> {
        if !self.raw.holds_value() || self.raw.is_shared() {
            return Err(self);
        }
        let raw = ManuallyDrop::new(self).raw;
        let (layout, _) = value_layout::<V>();
        // SAFETY: the only owner of a live V gives it away and frees the rest.
        unsafe {
            let value = raw.value::<V>().read();
            dealloc(raw.0.as_ptr().cast(), layout);
            Ok(value)
        }
    }

    /// The bytes for change, with room for `capacity` in all; none if it holds a value.
    ///
    /// If there are other owners, they keep the bytes as they are and this one gets a copy. If
    /// there was not enough room, there is some to spare now.
    ///
    /// # Errors
    /// If there is not so much memory. Nothing has changed then.
    pub fn try_bytes_mut(&mut self, capacity: usize) -> Result<Option<BytesMut<'_>>, OutOfMemory> {
        if self.raw.holds_value() {
            return Ok(None);
        }
        if self.raw.is_shared() {
            let wanted = match self.raw.len() {
                len if len < capacity => with_spare(capacity),
                len => len,
            };
            // SAFETY: it holds bytes, no more than the capacity.
            let copy = unsafe { self.raw.try_copy(class_capacity(wanted))? };
            *self = Block::from_raw(copy);
        }
        // SAFETY: it holds bytes and has no other owner.
        let mut bytes = unsafe { BytesMut::new(&mut self.raw) };
        bytes.try_reserve(capacity)?;
        Ok(Some(bytes))
    }
}

/// `len` bytes and an eighth to spare.
fn with_spare(len: usize) -> usize {
    len.saturating_add(len / 8)
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
            // SAFETY: it holds bytes, and the last reference is gone.
            return unsafe { self.raw.free_bytes() };
        }
        let (layout, _) = value_layout::<V>();
        // SAFETY: it holds a V, and the last reference is gone. If dropping the V unwinds, the
        // memory is leaked, which is sound.
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

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a, V> {
    /// Bytes.
    Bytes(BytesRef<'a>),
    /// A value of the caller.
    Value(&'a V),
}

/// A block that some owner lends.
pub struct BlockRef<'a, V> {
    raw: RawBlock,
    life: PhantomData<&'a V>,
}

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

    /// What it holds.
    #[inline]
    #[must_use]
    pub fn content(self) -> Content<'a, V> {
        if self.raw.holds_value() {
            // SAFETY: it holds a V, which is not changed while it is borrowed.
            Content::Value(unsafe { &*self.raw.value() })
        } else {
            Content::Bytes(BytesRef { raw: self.raw, life: PhantomData })
        }
    }

    /// The bytes, if it holds bytes.
    #[inline]
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self.content() {
            Content::Bytes(bytes) => Some(bytes.as_slice()),
            Content::Value(_) => None,
        }
    }

    /// The value, if it holds one.
    #[inline]
    #[must_use]
    pub fn value(self) -> Option<&'a V> {
        match self.content() {
            Content::Bytes(_) => None,
            Content::Value(value) => Some(value),
        }
    }

    /// Another owner of the bytes, if it holds bytes.
    #[must_use]
    pub fn share_bytes(self) -> Option<SharedBytes> {
        match self.content() {
            Content::Bytes(bytes) => Some(bytes.share()),
            Content::Value(_) => None,
        }
    }

    /// Another owner.
    #[must_use]
    pub fn to_owned(self) -> Block<V> {
        self.raw.retain();
        Block::from_raw(self.raw)
    }

    /// Whether there is more than one owner.
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

/// A block of bytes that some owner lends.
#[derive(Clone, Copy)]
pub struct BytesRef<'a> {
    raw: RawBlock,
    life: PhantomData<&'a [u8]>,
}

// SAFETY: like a `&SharedBytes`, which is `Send` because that is `Sync`.
unsafe impl Send for BytesRef<'_> {}
// SAFETY: as above.
unsafe impl Sync for BytesRef<'_> {}

// SAFETY: like a `&Block<V>`, which is `Send` because that is `Sync`.
unsafe impl<V: Send + Sync> Send for BlockRef<'_, V> {}
// SAFETY: as above.
unsafe impl<V: Send + Sync> Sync for BlockRef<'_, V> {}

impl<'a> BytesRef<'a> {
    /// The bytes, for as long as they are lent.
    #[inline]
    #[must_use]
    pub fn as_slice(self) -> &'a [u8] {
        // SAFETY: it holds bytes, which are not changed while they are lent.
        unsafe { self.raw.bytes() }
    }

    /// Another owner.
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

/// One owner of a block of bytes, which do not change as long as it is there.
pub struct SharedBytes {
    raw: RawBlock,
}

// SAFETY: as for `Arc<[u8]>`.
unsafe impl Send for SharedBytes {}
// SAFETY: as for `Arc<[u8]>`.
unsafe impl Sync for SharedBytes {}

impl SharedBytes {
    /// A copy of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> SharedBytes {
        SharedBytes { raw: ManuallyDrop::new(Block::<()>::from_bytes(bytes)).raw }
    }

    /// Bytes of memory of the block, by size class.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        class_size(BYTES_AT + self.raw.capacity())
    }

    /// Whether there are other owners.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.raw.is_shared()
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        // SAFETY: it holds bytes, which do not change while this owner is there: only `BytesMut`
        // changes bytes, and it needs the only owner exclusively.
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
            // SAFETY: it holds bytes, and the last reference is gone.
            unsafe { self.raw.free_bytes() }
        }
    }
}

impl fmt::Debug for SharedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The bytes of a block that has no other owner, for change. Growing may move them.
pub struct BytesMut<'a> {
    /// The owner's own pointer, so that it follows when the block moves.
    raw: &'a mut RawBlock,
}

impl<'a> BytesMut<'a> {
    /// # Safety
    /// The block holds bytes and has no other owner than the one whose pointer this is.
    unsafe fn new(raw: &'a mut RawBlock) -> BytesMut<'a> {
        BytesMut { raw }
    }

    /// How many bytes there may be before the block is moved.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.raw.capacity()
    }

    /// Makes room for `capacity` bytes in all, and some more if there was not enough.
    ///
    /// # Errors
    /// If there is not so much memory. Nothing has changed then.
    pub fn try_reserve(&mut self, capacity: usize) -> Result<(), OutOfMemory> {
        if capacity <= self.raw.capacity() {
            return Ok(());
        }
        // SAFETY: it holds bytes, and the only owner's pointer follows.
        *self.raw = unsafe { self.raw.try_grow(class_capacity(with_spare(capacity)))? };
        Ok(())
    }

    fn reserve(&mut self, capacity: usize) {
        unwrap_allocation(self.try_reserve(capacity), capacity);
    }

    /// Changes how many bytes there are; new ones are zero. Room is kept.
    pub fn resize(&mut self, len: usize) {
        let before = self.len();
        self.reserve(len);
        // SAFETY: there is room for `len` bytes, and all of them are initialised then.
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
        // SAFETY: there is room for `len` bytes; `more` is borrowed, so it is not in this block.
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
        // SAFETY: it holds bytes, borrowed with `self`.
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
