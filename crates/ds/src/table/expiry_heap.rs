//! The expiry heap: finds segments with expired entries, without removing those.
//!
//! An entry may have its own expiry, and its value may have inner expiries, of which the value
//! knows the earliest ([`Value::inner_expiry`]); both are treated alike here.
//!
//! Each segment with expiring entries is in a binary heap of the table, ordered by a lower bound of
//! its earliest expiry; the segment's header has its heap index. Inserts and new expiries can only
//! lower the bound; removals do not change it; a sweep, which examines all entries of the segment,
//! recomputes it. So finding the next segment costs nothing, TTLs need only 16 bytes per segment,
//! and a table without TTLs has no heap.
//!
//! After a sweep, a segment is not swept again for [`SWEEP_GAP_MS`]: otherwise keys that expire one
//! after another would each cost a sweep of the whole segment.

use super::Table;
use super::chunked::Chunked;
use super::entry::Expiries;
use super::entry_ref::EntryRef;
use super::payload::Value;
use super::segment::{NOT_IN_HEAP, Seg};

/// Minimum time between two sweeps of a segment, unless a new key expires earlier.
const SWEEP_GAP_MS: i64 = 64;

/// No sweep.
pub(crate) const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy)]
struct Item {
    sweep_ms: i64,
    segment: Seg,
}

/// A heap of segments, ordered by the time of the next sweep.
///
/// Invariant: `items[i].segment.heap_index() == i`; other segments have `NOT_IN_HEAP`. The heap
/// contains exactly the segments with expiring entries of either kind.
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

    /// Emits the segments with a sweep before a time.
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

    /// Ensures that a segment is swept no later than `sweep_ms`.
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

    /// Sets the next sweep of a segment in the heap.
    fn set(&mut self, segment: Seg, sweep_ms: i64) {
        self.remove(segment);
        self.lower(segment, sweep_ms);
    }

    /// Removes a segment, if it is in the heap.
    pub(crate) fn remove(&mut self, segment: Seg) {
        let index = segment.heap_index();
        if index == NOT_IN_HEAP {
            return;
        }
        segment.set_heap_index(NOT_IN_HEAP);
        let Some(last) = self.items.pop() else { unreachable!("the segment has a place") };
        let index = index as usize;
        if index < self.items.len() {
            // The last item takes the free place and is sifted from there.
            let index = self.sift_down(index, last);
            self.sift_up(index, last);
        }
    }

    /// Removes all segments, which may be freed already.
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

/// The expired part of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// The whole entry, by its own expiry.
    Key,
    /// A part of its value, by an inner expiry. The key has no expiry, or a later one.
    Inner,
}

/// The result of [`Table::expire_step`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpireStep {
    /// Number of entries examined.
    pub looked: usize,
    /// Number of entries reported.
    pub reported: usize,
    /// Whether more segments are due.
    pub more: bool,
}

impl<V: Value> Table<V> {
    /// Returns when [`Table::expire_step`] has work, in Unix milliseconds: a lower bound of the
    /// earliest expiry, except that a segment pauses for some tens of milliseconds after a sweep.
    /// None if nothing expires.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.expiry_heap.first().map(|(sweep_ms, _)| sweep_ms).filter(|sweep_ms| *sweep_ms != NEVER)
    }

    /// Returns a lower bound of the earliest expiry, except of those that [`Table::expire_step`]
    /// has reported.
    #[must_use]
    pub fn expires_from(&self) -> Option<i64> {
        self.earliest_expiry().map(|sweep_ms| sweep_ms.saturating_sub(SWEEP_GAP_MS))
    }

    /// Returns the number of entries whose own expiry is before a time, except those that
    /// [`Table::expire_step`] has reported. Only examines segments that may have some.
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

    /// Examines due segments and reports entries with an expiry before `now_ms`, their own or an
    /// inner one.
    ///
    /// Nothing is removed: the caller removes what has expired, and calls
    /// [`crate::EntryMut::set_inner_expiry`] if parts remain. Entries that it keeps are not
    /// reported again, except after [`Table::expire_again`]. Stops at the end of a segment (a few
    /// hundred entries) after `budget` entries were examined; the next call continues.
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
            // Reported expiries are ignored from now on; but a key outlives its inner expiries.
            let left = if expired == Some(Expired::Key) { [None, None] } else { [own, inner] };
            for at in left.into_iter().flatten().filter(|at| *at >= now_ms) {
                next = Some(next.map_or(at, |next| next.min(at)));
            }
        });
        // NEVER if all were reported: the segment stays in the heap while it has expiring entries,
        // since random sampling relies on it.
        let rested = now_ms.saturating_add(SWEEP_GAP_MS);
        self.expiry_heap.set(segment, next.map_or(NEVER, |at| at.max(rested)));
    }

    /// Lets [`Table::expire_step`] examine the segment of a hash again, because something that it
    /// reported could not be removed.
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
