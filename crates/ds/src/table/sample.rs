//! Uniformly random entries.
//!
//! Rejection sampling: a random segment of the list, then a random place among as many as the
//! largest segment has; an entry there is accepted, which makes all entries equally likely
//! regardless of their hashes. Few tries are needed on average. After a bounded number of tries
//! (with few entries in many segments) an entry is chosen by counting instead, which is uniform too
//! and takes time proportional to the number of segments.
//!
//! Among entries with an expiry, a segment of the expiry heap is chosen first, and accepted
//! according to its number of such entries; then places in it, until one has such an entry. If most
//! keys expire, that reads a bucket or two; if few do, it only reads headers until it has found a
//! segment.

use super::Table;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::segment::Seg;

const TRIES: usize = 128;
/// A try among expiring entries reads one segment header.
const TRIES_EXPIRING: usize = 2048;
/// Maximum number of places to try in a segment before counting its entries, which reads them all.
const TRIES_IN_SEGMENT: usize = 32;

/// Returns a number below `end` from 64 random bits; the bias is below `end / 2^64`.
fn below(bits: u64, end: usize) -> usize {
    ((u128::from(bits) * end as u128) >> 64) as usize
}

/// Returns the entry at a place of a segment: slots of buckets first, then the overflow list.
fn entry_at(segment: Seg, place: usize) -> Option<RawEntry> {
    let slots = segment.class().slots();
    if place >= slots {
        return segment.overflow().get(place - slots).copied();
    }
    let (index, slot) = (place / super::bucket::SLOTS, place % super::bucket::SLOTS);
    let bucket = segment.bucket(index);
    (bucket.used().0 & 1 << slot != 0).then(|| bucket.entry(slot))
}

/// Returns the `n`-th entry of a segment that `wanted` accepts.
fn nth(segment: Seg, n: usize, wanted: &dyn Fn(RawEntry) -> bool) -> Option<RawEntry> {
    let mut left = n;
    let mut found = None;
    segment.each(&mut |entry| {
        if found.is_none() && wanted(entry) {
            if left == 0 {
                found = Some(entry);
            } else {
                left -= 1;
            }
        }
    });
    found
}

/// Returns a uniformly random one of the `count` entries of a segment that `wanted` accepts.
fn random_in(
    segment: Seg,
    count: u32,
    wanted: &dyn Fn(RawEntry) -> bool,
    r: &mut dyn FnMut() -> u64,
) -> Option<RawEntry> {
    let places = segment.class().slots() + segment.overflow().len();
    let drawn = (0..TRIES_IN_SEGMENT)
        .find_map(|_| entry_at(segment, below(r(), places)).filter(|entry| wanted(*entry)));
    drawn.or_else(|| nth(segment, below(r(), count as usize), wanted))
}

impl<V: Value> Table<V> {
    /// Returns a uniformly random entry. `r` returns 64 random bits per call.
    #[must_use]
    pub fn random(&self, r: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_, V>> {
        if self.len == 0 {
            return None;
        }
        for _ in 0..TRIES {
            let segment = self.segments.get(below(r(), self.segments.len()));
            if let Some(entry) = entry_at(segment, below(r(), self.slots_max as usize)) {
                // SAFETY: a live entry of this table, borrowed with it.
                return Some(unsafe { EntryRef::new(entry) });
            }
        }
        self.counted_out(below(r(), self.len), &|segment| segment.used(), &|_| true)
    }

    /// Returns a uniformly random entry among those with an expiry.
    #[must_use]
    pub fn random_with_expiry(&self, r: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_, V>> {
        if self.expiring == 0 {
            return None;
        }
        let expires = |entry: RawEntry| entry.has_expiry();
        // The heap contains exactly the segments with expiring entries.
        for _ in 0..TRIES_EXPIRING {
            let segment = self.expiry_heap.segment(below(r(), self.expiry_heap.count()));
            if below(r(), self.slots_max as usize) < segment.expiring() as usize {
                let found = random_in(segment, segment.expiring(), &expires, r);
                // SAFETY: a live entry of this table, borrowed with it.
                return found.map(|entry| unsafe { EntryRef::new(entry) });
            }
        }
        self.counted_out(below(r(), self.expiring), &|segment| segment.expiring(), &expires)
    }

    fn counted_out(
        &self,
        n: usize,
        count: &dyn Fn(Seg) -> u32,
        wanted: &dyn Fn(RawEntry) -> bool,
    ) -> Option<EntryRef<'_, V>> {
        let mut left = n;
        for index in 0..self.segments.len() {
            let segment = self.segments.get(index);
            let count = count(segment) as usize;
            if left < count {
                let found = nth(segment, left, wanted);
                // SAFETY: a live entry of this table, borrowed with it.
                return found.map(|entry| unsafe { EntryRef::new(entry) });
            }
            left -= count;
        }
        None
    }
}
