//! The expiry heap: which segment has something to expire, and finding it there; not the removal.
//!
//! An entry may have an expiry of its own, and things within its value may have theirs, of which
//! the value knows the earliest ([`Value::inner_expiry`]); here both are the same.
//!
//! Each segment with expiring entries hangs in one binary heap per table, by a lower bound of its
//! earliest expiry; the segment's header knows its place in the heap. An insert or a new expiry
//! can only lower the bound; removals leave it alone; a sweep, which looks at every entry of the
//! segment anyway, sets it anew. So finding the next segment costs nothing, keys with a TTL cost no
//! memory of their own beyond 16 bytes per segment, and a table without TTLs has no heap.
//!
//! A segment just swept rests for [`SWEEP_GAP_MS`]: otherwise keys that expire one
//! after another would each cost a look at the whole segment.

use super::Table;
use super::chunked::Chunked;
use super::entry::Expiries;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::segment::{NOT_IN_HEAP, Seg};

/// The least time between two sweeps of a segment, unless a new key expires earlier.
const SWEEP_GAP_MS: i64 = 64;

/// When nothing is to be swept.
pub(crate) const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy)]
struct Item {
    sweep_ms: i64,
    segment: Seg,
}

/// A heap of segments, earliest first.
///
/// Invariant: `items[i].segment.heap_index() == i`; a segment that is not here says `NOT_IN_HEAP`. Those
/// and only those segments are here that have expiring entries, of either kind.
pub(crate) struct ExpiryHeap {
    items: Chunked<Item>,
}

impl ExpiryHeap {
    pub(crate) const fn new() -> ExpiryHeap {
        ExpiryHeap { items: Chunked::new() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.items.bytes()
    }

    pub(crate) fn first(&self) -> Option<(i64, Seg)> {
        if self.items.len() == 0 {
            return None;
        }
        let item = self.items.get(0);
        Some((item.sweep_ms, item.segment))
    }

    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn segment(&self, index: usize) -> Seg {
        self.items.get(index).segment
    }

    /// Hands over the segments that are swept before a time.
    fn each_before(&self, sweep_ms: i64, sink: &mut dyn FnMut(Seg)) {
        let mut open = vec![0];
        while let Some(index) = open.pop() {
            if index >= self.items.len() {
                continue;
            }
            let item = self.items.get(index);
            if item.sweep_ms < sweep_ms {
                sink(item.segment);
                open.extend([2 * index + 1, 2 * index + 2]);
            }
        }
    }

    /// Has a segment swept no later than `sweep_ms`.
    pub(crate) fn lower(&mut self, segment: Seg, sweep_ms: i64) {
        let index = match segment.heap_index() {
            NOT_IN_HEAP => {
                self.items.push(Item { sweep_ms, segment });
                self.items.len() - 1
            }
            _ if segment.sweep_ms() <= sweep_ms => return,
            index => index as usize,
        };
        self.sift_up(index, Item { sweep_ms, segment });
    }

    /// Sets when a segment in the heap is swept next.
    fn set(&mut self, segment: Seg, sweep_ms: i64) {
        self.remove(segment);
        self.lower(segment, sweep_ms);
    }

    /// Takes a segment out, if it is in.
    pub(crate) fn remove(&mut self, segment: Seg) {
        let index = segment.heap_index();
        if index == NOT_IN_HEAP {
            return;
        }
        segment.set_heap_index(NOT_IN_HEAP);
        let Some(last) = self.items.pop() else { unreachable!("the segment has a place") };
        let index = index as usize;
        if index < self.items.len() {
            // The last item takes the free place and sinks or rises from there.
            let index = self.sift_down(index, last);
            self.sift_up(index, last);
        }
    }

    /// Forgets all segments, which may be gone already.
    pub(crate) fn clear(&mut self) {
        self.items.clear();
    }

    fn put(&mut self, index: usize, item: Item) {
        item.segment.set_heap_index(index as u32);
        item.segment.set_sweep_ms(item.sweep_ms);
        self.items.set(index, item);
    }

    fn sift_up(&mut self, mut index: usize, item: Item) {
        while index > 0 {
            let parent = (index - 1) / 2;
            let above = self.items.get(parent);
            if above.sweep_ms <= item.sweep_ms {
                break;
            }
            self.put(index, above);
            index = parent;
        }
        self.put(index, item);
    }

    fn sift_down(&mut self, mut index: usize, item: Item) -> usize {
        loop {
            let left = 2 * index + 1;
            if left >= self.items.len() {
                break;
            }
            let (mut child, mut below) = (left, self.items.get(left));
            if left + 1 < self.items.len() {
                let right = self.items.get(left + 1);
                if right.sweep_ms < below.sweep_ms {
                    (child, below) = (left + 1, right);
                }
            }
            if item.sweep_ms <= below.sweep_ms {
                break;
            }
            self.put(index, below);
            index = child;
        }
        self.put(index, item);
        index
    }
}

/// What of an entry has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// All of it: the key's own time has come.
    Key,
    /// Something within its value. The key has no expiry, or a later one.
    Inner,
}

/// What [`Table::expire_step`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpireStep {
    /// Entries looked at.
    pub looked: usize,
    /// Entries reported as expired, or as having something expired within.
    pub reported: usize,
    /// Whether more segments' time has come.
    pub more: bool,
}

impl<V: Value> Table<V> {
    /// When [`Table::expire_step`] has something to look at, in Unix milliseconds: a lower bound
    /// of the earliest expiry, except that a segment rests for a few tens of milliseconds after
    /// a sweep. `None` if there will be nothing.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.expiry_heap.first().map(|(sweep_ms, _)| sweep_ms).filter(|sweep_ms| *sweep_ms != NEVER)
    }

    /// A lower bound of the earliest expiry, of those that [`Table::expire_step`] did not report.
    #[must_use]
    pub fn expires_from(&self) -> Option<i64> {
        self.earliest_expiry().map(|sweep_ms| sweep_ms.saturating_sub(SWEEP_GAP_MS))
    }

    /// The number of entries whose own expiry is before a time, except those that
    /// [`Table::expire_step`] reported. Looks only at segments in which there may be some.
    #[must_use]
    pub fn count_expired(&self, before_ms: i64) -> usize {
        let mut count = 0;
        self.expiry_heap.each_before(before_ms.saturating_add(SWEEP_GAP_MS), &mut |segment| {
            segment.each(&mut |entry| {
                count += usize::from(entry.expiry().is_some_and(|at| at < before_ms));
            });
        });
        count
    }

    /// Looks through segments whose time has come and reports entries with an expiry before
    /// `now_ms`, of their own or within.
    ///
    /// Nothing is removed: the caller removes what has expired, in its own way, and calls
    /// [`crate::EntryMut::set_inner_expiry`] where something remains. What it leaves is not
    /// reported again unless [`Table::expire_again`] asks for it. Stops when
    /// `budget` entries have been looked at, at the end of the segment at hand (a few hundred
    /// entries); the next call goes on.
    pub fn expire_step(
        &mut self,
        now_ms: i64,
        budget: usize,
        sink: &mut dyn FnMut(EntryRef<'_, V>, Expired),
    ) -> ExpireStep {
        let mut step = ExpireStep::default();
        while let Some((sweep_ms, segment)) = self.expiry_heap.first() {
            step.more = sweep_ms < now_ms;
            if !step.more || step.looked >= budget {
                break;
            }
            self.sweep(segment, now_ms, &mut step, sink);
            step.more = false;
        }
        step
    }

    fn sweep(
        &mut self,
        segment: Seg,
        now_ms: i64,
        step: &mut ExpireStep,
        sink: &mut dyn FnMut(EntryRef<'_, V>, Expired),
    ) {
        let mut next: Option<i64> = None;
        segment.each(&mut |entry| {
            step.looked += 1;
            if entry.expiries() == Expiries::NONE {
                return;
            }
            let (own, inner) = (entry.expiry(), entry.inner_expiry::<V>());
            let is_past = |at: Option<i64>| at.is_some_and(|at| at < now_ms);
            let expired = if is_past(own) {
                Some(Expired::Key)
            } else {
                is_past(inner).then_some(Expired::Inner)
            };
            if let Some(expired) = expired {
                step.reported += 1;
                // SAFETY: a live entry of this table, which nobody changes meanwhile.
                sink(unsafe { EntryRef::new(entry) }, expired);
            }
            // What has been reported counts no longer; but a key outlives what is within.
            let left = if expired == Some(Expired::Key) { [None, None] } else { [own, inner] };
            for at in left.into_iter().flatten().filter(|at| *at >= now_ms) {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        });
        // NEVER if all was reported: the segment stays in the heap as long as it has expiring
        // entries, since random choices among those rely on it.
        let rested = now_ms.saturating_add(SWEEP_GAP_MS);
        self.expiry_heap.set(segment, next.map_or(NEVER, |at| at.max(rested)));
    }

    /// Makes [`Table::expire_step`] look again at the neighbourhood of a hash, because something
    /// that it reported could not be removed.
    pub fn expire_again(&mut self, hash: u64) {
        let cell = self.directory.locate(hash);
        if !cell.is_empty() && has_expiries(cell.segment()) {
            self.expiry_heap.lower(cell.segment(), i64::MIN);
        }
    }
}

fn has_expiries(segment: Seg) -> bool {
    segment.expiring() > 0 || segment.inner_expiring() > 0
}
