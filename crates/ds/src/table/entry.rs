//! An entry: a key with its value, expiry and clock, in one allocation.
//!
//! ```text
//!  0      1       2          5       6         8
//! ┌──────┬───────┬──────────┬───────┬─────────┬───────────────┬──────────┬───────┬─────────────┐
//! │ kind │ flags │ clock 24 │ key   │ value   │ wide lengths  │ expiry   │ key   │ value bytes │
//! │  8   │   8   │          │ len 8 │ len 16  │ 0 or 8 + 8    │ 0, 6, 8  │ bytes │ or block (6)│
//! └──────┴───────┴──────────┴───────┴─────────┴───────────────┴──────────┴───────┴─────────────┘
//! ```
//!
//! The first eight bytes are a little-endian word that determines the layout. A 16-byte key with a
//! 16-byte value takes 8 + 16 + 16 = 40 bytes, and 46 (class 48) with a TTL.
//!
//! * `kind` is a tag of the caller, which this crate does not interpret.
//! * A key longer than 255 bytes or a value longer than 65535 sets `WIDE`: the short lengths are
//!   zero and two 64-bit lengths follow the word.
//! * An expiry in `0..2^48` ms takes six bytes, any other `i64` eight (`EXPIRY_WIDE`), so that no
//!   precision is lost.
//! * With `BLOCK` the value is the 48-bit address of a [`Block`], of which the entry owns a
//!   reference, and the value length is zero.
//! * With `INNER` the value has inner expiries (of a hash's fields, for example), which
//!   [`Value::inner_expiry`] returns. The mark takes no memory.
//!
//! The allocation's size is always a size class ([`class_size`]), computed from the word alone. So
//! a value may be overwritten in place by one of another length if the class stays the same, and
//! the layout at deallocation is the one of the allocation.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;

use super::payload::{NewPayload, Payload, Value};
use crate::block::{Block, BlockRef};
use crate::size::class_size;

const EXPIRY: u8 = 1;
const EXPIRY_WIDE: u8 = 2;
const BLOCK: u8 = 4;
const WIDE: u8 = 8;
const INNER: u8 = 16;

/// Number of bytes before the key without wide lengths, by the two expiry flags.
const KEY_AT: [usize; 4] = [8, 14, 16, 16];
/// Number of bytes of the wide lengths.
const WIDE_BYTES: usize = 16;
/// Number of bytes of a stored address.
const ADDRESS_BYTES: usize = 6;
/// Addresses have at most 48 bits on every supported machine.
const ADDRESS_MASK: u64 = (1 << 48) - 1;
/// Alignment of entries: that of the header word.
const ALIGN: usize = 8;

/// The flags of an entry's expiries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Expiries(u8);

impl Expiries {
    pub(crate) const NONE: Expiries = Expiries(0);

    /// The entry's own expiry.
    #[inline(always)]
    pub(crate) fn own(self) -> bool {
        self.0 & (EXPIRY | EXPIRY_WIDE) != 0
    }

    /// Inner expiries of the value.
    #[inline(always)]
    pub(crate) fn inner(self) -> bool {
        self.0 & INNER != 0
    }
}

/// The layout from the header word and the wide lengths.
#[derive(Clone, Copy)]
struct Head {
    flags: u8,
    key_at: usize,
    key_len: usize,
    value_len: usize,
}

impl Head {
    fn new(key_len: usize, value_len: usize, is_block: bool, expiry: Option<i64>) -> Head {
        let mut flags = match expiry {
            None => 0,
            Some(at) if (0..1 << 48).contains(&at) => EXPIRY,
            Some(_) => EXPIRY_WIDE,
        };
        if is_block {
            flags |= BLOCK;
        }
        if key_len > usize::from(u8::MAX) || value_len > usize::from(u16::MAX) {
            flags |= WIDE;
        }
        Head { flags, key_at: key_at(flags), key_len, value_len }
    }

    #[inline(always)]
    fn value_at(&self) -> usize {
        self.key_at + self.key_len
    }

    #[inline(always)]
    fn value_bytes(&self) -> usize {
        if self.flags & BLOCK != 0 { ADDRESS_BYTES } else { self.value_len }
    }

    /// Returns the size of the allocation, rounded to its class.
    #[inline(always)]
    fn size(&self) -> usize {
        class_size(self.value_at().saturating_add(self.value_bytes()))
    }
}

#[inline(always)]
fn key_at(flags: u8) -> usize {
    KEY_AT[usize::from(flags & 3)] + if flags & WIDE != 0 { WIDE_BYTES } else { 0 }
}

/// The address of an entry. Copying it does not copy ownership.
///
/// Invariant: it points to a live entry created by [`RawEntry::new`] for the table's `V`; the owner
/// (a bucket slot or an `OwnedEntry`) frees it once; nobody keeps a copy beyond that. Writers hold
/// the owner exclusively. The methods below rely on this.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawEntry(NonNull<u8>);

impl RawEntry {
    pub(crate) fn new<V>(
        key: &[u8],
        kind: u8,
        payload: NewPayload<'_, V>,
        expiry: Option<i64>,
        clock: u32,
    ) -> RawEntry {
        let (value_len, is_block) = match &payload {
            NewPayload::Inline(bytes) => (bytes.len(), false),
            NewPayload::Block(_) => (0, true),
        };
        let head = Head::new(key.len(), value_len, is_block, expiry);
        let entry = RawEntry::allocate(&head);
        entry.write_head(&head, kind, clock, expiry);
        // SAFETY: the allocation has key_at + key_len + value_bytes bytes and is new, so it does
        // not overlap the arguments.
        unsafe {
            std::ptr::copy_nonoverlapping(key.as_ptr(), entry.at(head.key_at), key.len());
            match payload {
                NewPayload::Inline(bytes) => {
                    std::ptr::copy_nonoverlapping(
                        bytes.as_ptr(),
                        entry.at(head.value_at()),
                        bytes.len(),
                    );
                }
                NewPayload::Block(block) => entry.write_block(&head, block),
            }
        }
        entry
    }

    fn allocate(head: &Head) -> RawEntry {
        let size = head.size();
        let Ok(layout) = Layout::from_size_align(size, ALIGN) else {
            panic!("an entry of {size} bytes exceeds the address space");
        };
        // SAFETY: the layout's size is at least 8.
        let ptr = unsafe { alloc(layout) };
        let Some(ptr) = NonNull::new(ptr) else { handle_alloc_error(layout) };
        assert!(
            ptr.as_ptr().expose_provenance() as u64 <= ADDRESS_MASK,
            "addresses above 48 bits are not supported"
        );
        RawEntry(ptr)
    }

    fn write_head(self, head: &Head, kind: u8, clock: u32, expiry: Option<i64>) {
        let wide = head.flags & WIDE != 0;
        let mut word = u64::from(kind) | u64::from(head.flags) << 8;
        word |= u64::from(clock & 0xff_ffff) << 16;
        if !wide {
            word |= (head.key_len as u64) << 40 | (head.value_len as u64) << 48;
        }
        self.set_word(word);
        // SAFETY: wide lengths and expiry are between the word and key_at.
        unsafe {
            if wide {
                self.at(8).cast::<[u8; 8]>().write((head.key_len as u64).to_le_bytes());
                self.at(16).cast::<[u8; 8]>().write((head.value_len as u64).to_le_bytes());
            }
        }
        if let Some(at) = expiry {
            self.write_expiry(head, at);
        }
    }

    /// Writes the expiry at its place in the layout of `head`.
    fn write_expiry(self, head: &Head, at: i64) {
        let bytes = at.to_le_bytes();
        let len = if head.flags & EXPIRY != 0 { 6 } else { 8 };
        // SAFETY: the expiry is the last field before the key and has `len` bytes there.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(head.key_at - len), len);
        }
    }

    /// Makes the entry an owner of `block`; a previous block is not released.
    fn write_block<V>(self, head: &Head, block: Block<V>) {
        let address = block.into_address();
        assert!(address <= ADDRESS_MASK, "addresses above 48 bits are not supported");
        // SAFETY: with BLOCK set, six bytes of address are at value_at.
        unsafe {
            std::ptr::copy_nonoverlapping(
                address.to_le_bytes().as_ptr(),
                self.at(head.value_at()),
                ADDRESS_BYTES,
            );
        }
    }

    fn block_address(self, head: &Head) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: with BLOCK set, six bytes of address are at value_at.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.at(head.value_at()),
                bytes.as_mut_ptr(),
                ADDRESS_BYTES,
            );
        }
        u64::from_le_bytes(bytes)
    }

    /// # Safety
    /// `offset` must lie within the allocation.
    #[inline(always)]
    unsafe fn at(self, offset: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.as_ptr().add(offset) }
    }

    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        self.0.as_ptr().expose_provenance() as u64
    }

    /// # Safety
    /// `address` must come from [`RawEntry::address`] of a live entry.
    #[inline(always)]
    pub(crate) unsafe fn from_address(address: u64) -> RawEntry {
        let ptr = std::ptr::with_exposed_provenance_mut(address as usize);
        // SAFETY: the address of an allocation is not null.
        RawEntry(unsafe { NonNull::new_unchecked(ptr) })
    }

    #[inline(always)]
    fn word(self) -> u64 {
        // SAFETY: the type's invariant; entries are aligned to 8.
        u64::from_le(unsafe { self.0.cast::<u64>().read() })
    }

    #[inline(always)]
    fn set_word(self, word: u64) {
        // SAFETY: the type's invariant; entries are aligned to 8.
        unsafe { self.0.cast::<u64>().write(word.to_le()) }
    }

    #[inline(always)]
    fn head(self) -> Head {
        let word = self.word();
        let flags = (word >> 8) as u8;
        if flags & WIDE != 0 {
            return self.wide_head(flags);
        }
        Head {
            flags,
            key_at: KEY_AT[usize::from(flags & 3)],
            key_len: (word >> 40) as usize & 0xff,
            value_len: (word >> 48) as usize,
        }
    }

    #[cold]
    fn wide_head(self, flags: u8) -> Head {
        // SAFETY: with WIDE set, two 8-byte lengths follow the word.
        let (key_len, value_len) =
            unsafe { (self.at(8).cast::<[u8; 8]>().read(), self.at(16).cast::<[u8; 8]>().read()) };
        Head {
            flags,
            key_at: key_at(flags),
            key_len: u64::from_le_bytes(key_len) as usize,
            value_len: u64::from_le_bytes(value_len) as usize,
        }
    }

    /// Whether this is the entry of `key`.
    #[inline(always)]
    pub(crate) fn key_is(self, key: &[u8]) -> bool {
        let head = self.head();
        // SAFETY: key_len bytes are at key_at, and `key` has the same length.
        head.key_len == key.len()
            && unsafe { bytes_equal(self.at(head.key_at), key.as_ptr(), key.len()) }
    }

    /// Returns the key. The caller ensures that the entry lives long enough.
    #[inline]
    pub(crate) fn key<'a>(self) -> &'a [u8] {
        let head = self.head();
        // SAFETY: key_len initialised bytes are at key_at while the entry lives.
        unsafe { std::slice::from_raw_parts(self.at(head.key_at), head.key_len) }
    }

    #[inline]
    pub(crate) fn kind(self) -> u8 {
        self.word() as u8
    }

    pub(crate) fn set_kind(self, kind: u8) {
        self.set_word(self.word() & !0xff | u64::from(kind));
    }

    #[inline]
    pub(crate) fn clock(self) -> u32 {
        (self.word() >> 16) as u32 & 0xff_ffff
    }

    #[inline]
    pub(crate) fn set_clock(self, clock: u32) {
        let word = self.word() & !(0xff_ffff << 16);
        self.set_word(word | u64::from(clock & 0xff_ffff) << 16);
    }

    #[inline]
    pub(crate) fn has_expiry(self) -> bool {
        (self.word() >> 8) as u8 & (EXPIRY | EXPIRY_WIDE) != 0
    }

    /// Returns the kinds of its expiries.
    #[inline(always)]
    pub(crate) fn expiries(self) -> Expiries {
        Expiries((self.word() >> 8) as u8 & (EXPIRY | EXPIRY_WIDE | INNER))
    }

    /// Sets or clears the mark of inner expiries.
    pub(crate) fn mark_inner(self, inner: bool) {
        let mark = u64::from(INNER) << 8;
        let word = self.word() & !mark;
        self.set_word(if inner { word | mark } else { word });
    }

    /// Returns the earliest inner expiry of a marked entry.
    pub(crate) fn inner_expiry<V: Value>(self) -> Option<i64> {
        if !self.expiries().inner() {
            return None;
        }
        V::inner_expiry(self.kind(), self.payload::<V>())
    }

    #[inline]
    pub(crate) fn expiry(self) -> Option<i64> {
        if !self.has_expiry() {
            return None;
        }
        let head = self.head();
        let len = if head.flags & EXPIRY != 0 { 6 } else { 8 };
        let mut bytes = [0; 8];
        // SAFETY: the expiry is the last field before the key.
        unsafe {
            std::ptr::copy_nonoverlapping(self.at(head.key_at - len), bytes.as_mut_ptr(), len);
        }
        Some(i64::from_le_bytes(bytes))
    }

    #[inline]
    pub(crate) fn payload<'a, V>(self) -> Payload<'a, V> {
        let head = self.head();
        if head.flags & BLOCK != 0 {
            // SAFETY: the entry is an owner of a Block<V> with this address.
            let block = unsafe { BlockRef::from_address(self.block_address(&head)) };
            return Payload::Block(block);
        }
        // SAFETY: value_len initialised bytes are at value_at while the entry lives.
        Payload::Inline(unsafe {
            std::slice::from_raw_parts(self.at(head.value_at()), head.value_len)
        })
    }

    /// # Safety
    /// The caller holds the entry exclusively for `'a`.
    pub(crate) unsafe fn inline_mut<'a>(self) -> Option<&'a mut [u8]> {
        let head = self.head();
        if head.flags & BLOCK != 0 {
            return None;
        }
        // SAFETY: as for `payload`, and the caller's promise.
        Some(unsafe { std::slice::from_raw_parts_mut(self.at(head.value_at()), head.value_len) })
    }

    /// Puts a block in place of the one that [`RawEntry::take_block`] has taken.
    pub(crate) fn put_block<V>(self, block: Block<V>) {
        let head = self.head();
        debug_assert!(head.flags & BLOCK != 0);
        self.write_block(&head, block);
    }

    /// Returns the size of the allocation, rounded to its class, without its block.
    #[inline]
    pub(crate) fn size(self) -> usize {
        self.head().size()
    }

    #[inline]
    pub(crate) fn is_block(self) -> bool {
        (self.word() >> 8) as u8 & BLOCK != 0
    }

    /// Overwrites an inline value by another one without expiries and in the same size class.
    /// Returns false, without a change, in all other cases.
    #[inline(always)]
    pub(crate) fn overwrite_plain(self, kind: u8, value: &[u8], clock: u32) -> bool {
        let word = self.word();
        let plain = (word >> 8) as u8 == 0;
        let key_len = (word >> 40) as usize & 0xff;
        let old_len = (word >> 48) as usize;
        let fits = value.len() == old_len
            || value.len() <= usize::from(u16::MAX)
                && class_size(8 + key_len + value.len()) == class_size(8 + key_len + old_len);
        if !(plain && fits) {
            return false;
        }
        let clock = u64::from(clock & 0xff_ffff) << 16;
        self.set_word(
            u64::from(kind) | clock | (key_len as u64) << 40 | (value.len() as u64) << 48,
        );
        // SAFETY: the class has space for 8 + key_len + value.len() bytes; `value` cannot point
        // into this entry, which the caller holds exclusively.
        unsafe {
            std::ptr::copy_nonoverlapping(value.as_ptr(), self.at(8 + key_len), value.len());
        }
        true
    }

    /// Overwrites the value in place if the key does not move and the class stays; the expiry may
    /// change within its form, and a mark of inner expiries is cleared. Returns false, without a
    /// change, if that is impossible.
    pub(crate) fn overwrite_in_place(
        self,
        kind: u8,
        value: &[u8],
        expiry: Option<i64>,
        clock: u32,
    ) -> bool {
        let old = self.head();
        let new = Head::new(old.key_len, value.len(), false, expiry);
        if old.flags & !INNER != new.flags || old.size() != new.size() {
            return false;
        }
        self.write_head(&new, kind, clock, expiry);
        // SAFETY: the class has space for the new value; `value` cannot point into this entry,
        // which the caller holds exclusively.
        unsafe {
            std::ptr::copy_nonoverlapping(value.as_ptr(), self.at(new.value_at()), value.len());
        }
        true
    }

    /// Changes the expiry within its form. Returns false if the form would change.
    pub(crate) fn set_expiry_in_place(self, expiry: Option<i64>) -> bool {
        let old = self.head();
        let new = Head::new(old.key_len, old.value_len, old.flags & BLOCK != 0, expiry);
        if old.flags & !INNER != new.flags {
            return false;
        }
        if let Some(at) = expiry {
            self.write_expiry(&old, at);
        }
        true
    }

    /// Creates an allocation with the same key, kind, clock, value and mark but another expiry. The
    /// old one must then be passed to [`RawEntry::forget`], since the new one owns its block.
    pub(crate) fn moved_with_expiry(self, expiry: Option<i64>) -> RawEntry {
        let old = self.head();
        let mut new = Head::new(old.key_len, old.value_len, old.flags & BLOCK != 0, expiry);
        new.flags |= old.flags & INNER;
        let entry = RawEntry::allocate(&new);
        entry.write_head(&new, self.kind(), self.clock(), expiry);
        // SAFETY: key and value are adjacent in both, with the same lengths.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.at(old.key_at),
                entry.at(new.key_at),
                old.key_len + old.value_bytes(),
            );
        }
        entry
    }

    /// Takes the block out. Afterwards the entry may only be passed to [`RawEntry::forget`], or get
    /// another block by [`RawEntry::put_block`].
    ///
    /// # Safety
    /// `V` is the table's, the caller holds the entry exclusively, and nothing reads its payload
    /// before it has another.
    pub(crate) unsafe fn take_block<V>(self) -> Option<Block<V>> {
        let head = self.head();
        // SAFETY: the entry owns a reference of a Block<V>, which is moved out.
        (head.flags & BLOCK != 0).then(|| unsafe { Block::from_address(self.block_address(&head)) })
    }

    /// Frees the allocation without releasing a block.
    ///
    /// # Safety
    /// The caller owns the entry and nothing uses it afterwards.
    pub(crate) unsafe fn forget(self) {
        // SAFETY: the size is the class of the allocation, which all changes in place keep.
        unsafe {
            dealloc(self.0.as_ptr(), Layout::from_size_align_unchecked(self.size(), ALIGN));
        }
    }

    /// Frees the allocation and releases a block.
    ///
    /// # Safety
    /// As for [`RawEntry::forget`], and `V` is the table's.
    pub(crate) unsafe fn free<V>(self) {
        // SAFETY: the caller's promise.
        unsafe {
            drop(self.take_block::<V>());
            self.forget();
        }
    }

    /// Returns the memory of its block in bytes.
    #[inline(always)]
    pub(crate) fn block_bytes<V>(self) -> usize {
        if self.is_block() { self.behind::<V>() } else { 0 }
    }

    #[cold]
    fn behind<V>(self) -> usize {
        match self.payload::<V>() {
            Payload::Inline(_) => 0,
            Payload::Block(block) => block.allocated_bytes(),
        }
    }

    /// Prefetches the entry's cache lines.
    #[inline(always)]
    pub(crate) fn prefetch(self) {
        super::bucket::prefetch(self.0.as_ptr());
        // A 40-byte entry often spans two lines; otherwise the hint costs nothing.
        super::bucket::prefetch(self.0.as_ptr().wrapping_add(39));
    }
}

/// Compares `len` bytes; short keys without a call.
///
/// # Safety
/// Both sides must be readable for `len` bytes.
#[inline(always)]
unsafe fn bytes_equal(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: all reads are within 0..len on both sides: two overlapping words cover a length
    // between one and two words.
    unsafe {
        match len {
            8..=16 => {
                let word = |from: *const u8| from.cast::<[u8; 8]>().read();
                let begin = u64::from_ne_bytes(word(a)) ^ u64::from_ne_bytes(word(b));
                let (a, b) = (a.add(len - 8), b.add(len - 8));
                let end = u64::from_ne_bytes(word(a)) ^ u64::from_ne_bytes(word(b));
                begin | end == 0
            }
            4..8 => {
                let word = |from: *const u8| from.cast::<[u8; 4]>().read();
                let begin = u32::from_ne_bytes(word(a)) ^ u32::from_ne_bytes(word(b));
                let (a, b) = (a.add(len - 4), b.add(len - 4));
                let end = u32::from_ne_bytes(word(a)) ^ u32::from_ne_bytes(word(b));
                begin | end == 0
            }
            _ => std::slice::from_raw_parts(a, len) == std::slice::from_raw_parts(b, len),
        }
    }
}
