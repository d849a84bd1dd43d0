//! Uniformly random entries; not which of them to evict.
//!
//! Rejection sampling. A segment is drawn from the list of all, then a place out of as many as the
//! largest segment has; if an entry is there it is accepted, which makes all entries equally
//! likely, whatever hashes look like. A few tries do. After a bounded number of tries (odd shapes:
//! few entries in many segments) an entry is counted out instead, which is as uniform and takes
//! time in the number of segments.
//!
//! Among entries with an expiry it is a segment of the expiry heap that is drawn first, and
//! accepted by its count of such entries; then places in it, until one holds such an entry. So
//! where most keys expire a draw reads a bucket or two, and where few do it still reads no more
//! than headers until it has found a segment.

use super::Table;
use super::entry::RawEntry;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::segment::Seg;

const TRIES: usize = 128;
/// A try among expiring entries reads one segment header.
const TRIES_EXPIRING: usize = 2048;
/// Places that are tried in a segment before its entries are counted out, which reads them all.
const TRIES_IN_SEGMENT: usize = 32;

/// A number below `end` from 64 random bits; the bias is below `end / 2^64`.
fn below(bits: u64, end: usize) -> usize {
    ((u128::from(bits) * end as u128) >> 64) as usize
}

/// The entry in place `place` of a segment: buckets' slots first, then the overflow list.
fn entry_at(segment: Seg, place: usize) -> Option<RawEntry> {
    let slots = segment.class().slots();
    if place >= slots {
        return segment.overflow().get(place - slots).copied();
    }
    let (index, slot) = (place / super::bucket::SLOTS, place % super::bucket::SLOTS);
    let bucket = segment.bucket(index);
    (bucket.used().0 & 1 << slot != 0).then(|| bucket.entry(slot))
}

/// The entry number `n` of those in a segment that `wanted` accepts.
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

/// A uniformly random one among the `count` entries of a segment that `wanted` accepts.
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
    /// A uniformly random entry. `r` gives 64 random bits per call.
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

    /// A uniformly random entry among those with an expiry.
    #[must_use]
    pub fn random_with_expiry(&self, r: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_, V>> {
        if self.expiring == 0 {
            return None;
        }
        let expires = |entry: RawEntry| entry.has_expiry();
        // The heap holds exactly the segments with expiring entries.
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
