//! A bucket: a cache line with up to nine addresses of entries and their fingerprints.
//!
//! ```text
//!  0                 9      10                                                     64
//! ┌─────────────────┬──────┬────────┬────────┬────────┬─────────────────┬────────┐
//! │ 9 fingerprints  │ meta │ addr 0 │ addr 1 │ addr 2 │        …        │ addr 8 │
//! │ (0 = free slot) │      │ 48 bit │        │        │                 │        │
//! └─────────────────┴──────┴────────┴────────┴────────┴─────────────────┴────────┘
//!
//! meta   7 last       some member may be in stash bucket 4 or the segment's overflow list
//!        6…3 stash    bit 3 + j: some member may be in stash bucket j
//!        2…0 visited  by walkers 2 to 0, valid for the epochs in the segment's header
//! ```
//!
//! Stash bucket 4 and the overflow list share a bit: only the largest segments have the former, and
//! only those with colliding hashes the latter, so that unnecessary lookups in both are rare.
//!
//! A lookup compares all nine fingerprints with one SSE2 instruction and then follows about 1 +
//! 9/255 addresses. The address at 10 + 6·i is read as the word at 8 + 6·i shifted right by 16,
//! which stays within the line.

use std::ptr::NonNull;

use super::entry::RawEntry;

/// Number of slots in a bucket.
pub(crate) const SLOTS: usize = 9;
/// Size of a bucket in bytes.
pub(crate) const LINE: usize = 64;
/// Maximum number of concurrent walkers: a dump file, a full synchronization, a slot migration.
pub const WALKERS: usize = 3;
/// The meta bit of stash bucket 0.
pub(crate) const STASH_0: u8 = 1 << WALKERS;
/// Maximum number of stash buckets with bits in meta.
pub(crate) const STASHES_MAX: usize = 5;
/// The meta bit of the overflow list and of the last stash bucket.
pub(crate) const OVERFLOW: u8 = 1 << 7;
const _: () = assert!(OVERFLOW == STASH_0 << (STASHES_MAX - 1));
/// The meta bits of all places except the home bucket.
pub(crate) const BEHIND: u8 = !(STASH_0 - 1);

const META: usize = 9;
const ADDRESSES: usize = 10;
const ALL: u32 = (1 << SLOTS) - 1;

/// Memory of a cache line.
#[repr(C, align(64))]
pub(crate) struct Line([u8; LINE]);

/// A pointer to a bucket. Copying it does not copy ownership.
///
/// Invariant: it points to an initialised line of a live segment; nobody keeps it beyond the
/// segment's life; writers hold the table exclusively. The methods rely on this.
#[derive(Clone, Copy)]
pub(crate) struct Bucket(NonNull<Line>);

/// Returns the fingerprint of a hash: from its lowest 16 bits, never zero. Higher bits may choose
/// the home bucket, in deep segments too, which result from hashes with equal top bits.
#[inline(always)]
pub(crate) fn fingerprint(hash: u64) -> u8 {
    (((hash & 0xffff) * 255) >> 16) as u8 + 1
}

/// Prefetches a cache line at any address.
#[inline(always)]
pub(crate) fn prefetch(ptr: *const u8) {
    #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
    // SAFETY: a prefetch is a hint; it never faults.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(ptr.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
    let _ = ptr;
}

/// Iterates over the set bits of a slot mask.
#[derive(Clone, Copy)]
pub(crate) struct Slots(pub(crate) u32);

impl Iterator for Slots {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = self.0.trailing_zeros() as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

impl Bucket {
    /// # Safety
    /// The type's invariant.
    #[inline(always)]
    pub(crate) unsafe fn new(line: NonNull<Line>) -> Bucket {
        Bucket(line)
    }

    #[inline(always)]
    fn byte(self, at: usize) -> *mut u8 {
        debug_assert!(at < LINE);
        // SAFETY: `at` is below 64, within the line.
        unsafe { self.0.as_ptr().cast::<u8>().add(at) }
    }

    #[inline(always)]
    pub(crate) fn prefetch(self) {
        prefetch(self.0.as_ptr().cast());
    }

    /// Returns the slots whose fingerprint equals `wanted`.
    #[inline(always)]
    pub(crate) fn matching(self, wanted: u8) -> Slots {
        #[cfg(all(target_arch = "x86_64", target_feature = "sse2"))]
        {
            use std::arch::x86_64::{
                _mm_cmpeq_epi8, _mm_load_si128, _mm_movemask_epi8, _mm_set1_epi8,
            };
            // SAFETY: the first 16 bytes of an aligned, initialised line; SSE2 is compiled in.
            let mask = unsafe {
                let line = _mm_load_si128(self.0.as_ptr().cast());
                _mm_movemask_epi8(_mm_cmpeq_epi8(line, _mm_set1_epi8(wanted.cast_signed())))
            };
            Slots(mask.cast_unsigned() & ALL)
        }
        #[cfg(not(all(target_arch = "x86_64", target_feature = "sse2")))]
        {
            self.matching_portable(wanted)
        }
    }

    /// The same without SIMD.
    #[cfg(any(test, not(all(target_arch = "x86_64", target_feature = "sse2"))))]
    pub(crate) fn matching_portable(self, wanted: u8) -> Slots {
        let mut mask = 0;
        for slot in 0..SLOTS {
            // SAFETY: an initialised byte of the line.
            if unsafe { self.byte(slot).read() } == wanted {
                mask |= 1 << slot;
            }
        }
        Slots(mask)
    }

    /// Returns the used slots.
    #[inline(always)]
    pub(crate) fn used(self) -> Slots {
        Slots(!self.matching(0).0 & ALL)
    }

    /// Returns a free slot.
    #[inline(always)]
    pub(crate) fn free_slot(self) -> Option<usize> {
        self.matching(0).next()
    }

    /// Returns the entry in a used slot.
    #[inline(always)]
    pub(crate) fn entry(self, slot: usize) -> RawEntry {
        debug_assert!(slot < SLOTS);
        // SAFETY: bytes 8 + 6·slot .. 16 + 6·slot are within the line for slot < 9; a used slot
        // contains the address of a live entry.
        unsafe {
            let word = self.byte(ADDRESSES - 2 + 6 * slot).cast::<u64>().read_unaligned();
            RawEntry::from_address(u64::from_le(word) >> 16)
        }
    }

    /// Replaces the entry of a slot and keeps its fingerprint.
    pub(crate) fn set_entry(self, slot: usize, entry: RawEntry) {
        debug_assert!(slot < SLOTS);
        // SAFETY: six bytes at 10 + 6·slot are within the line.
        unsafe {
            let bytes = entry.address().to_le_bytes();
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.byte(ADDRESSES + 6 * slot), 6);
        }
    }

    /// Puts an entry into a free slot.
    pub(crate) fn put(self, slot: usize, fingerprint: u8, entry: RawEntry) {
        self.set_entry(slot, entry);
        // SAFETY: a byte of the line.
        unsafe { self.byte(slot).write(fingerprint) }
    }

    /// Frees a slot; the caller takes the ownership of the entry.
    pub(crate) fn clear(self, slot: usize) {
        debug_assert!(slot < SLOTS);
        // SAFETY: a byte of the line.
        unsafe { self.byte(slot).write(0) }
    }

    #[inline(always)]
    pub(crate) fn meta(self) -> u8 {
        // SAFETY: an initialised byte of the line.
        unsafe { self.byte(META).read() }
    }

    pub(crate) fn set_meta(self, meta: u8) {
        // SAFETY: a byte of the line.
        unsafe { self.byte(META).write(meta) }
    }

    /// Finds the entry of `key` in this bucket, with its slot.
    #[inline(always)]
    pub(crate) fn find(self, fingerprint: u8, key: &[u8]) -> Option<(usize, RawEntry)> {
        for slot in self.matching(fingerprint) {
            let entry = self.entry(slot);
            if entry.key_is(key) {
                return Some((slot, entry));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simd_and_portable_probes_agree() {
        let mut line = Box::new(Line([0; LINE]));
        for round in 0..=255u8 {
            for (at, byte) in line.0.iter_mut().enumerate() {
                *byte = (at as u8).wrapping_mul(round) % 7;
            }
            // SAFETY: the line is live and not accessed by others.
            let bucket = unsafe { Bucket::new(NonNull::from(&mut *line)) };
            for wanted in 0..8 {
                let simd = bucket.matching(wanted).collect::<Vec<_>>();
                assert_eq!(simd, bucket.matching_portable(wanted).collect::<Vec<_>>());
                assert!(simd.iter().all(|slot| *slot < SLOTS));
            }
        }
    }

    #[test]
    fn fingerprints_are_never_zero() {
        for hash in [0, 1, u64::MAX, 0xffff, 0xffff_ffff_ffff_0000] {
            assert_ne!(fingerprint(hash), 0);
        }
    }
}
