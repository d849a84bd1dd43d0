//! Which segment has something to expire, and finding it there; not the removal.
//!
//! Each segment with expiring entries hangs in one binary heap per table, by a lower bound of its
//! earliest expiry; the segment's header knows its place in the heap. An insert or a new expiry
//! can only lower the bound; removals leave it alone; a sweep, which looks at every entry of the
//! segment anyway, sets it anew. So finding a due segment costs nothing, keys with a TTL cost no
//! memory of their own beyond 16 bytes per segment, and a table without TTLs has no heap.
//!
//! A segment just swept is not due again for [`SWEEP_GAP_MS`]: otherwise keys that expire one
//! after another would each cost a look at the whole segment.

use crate::entry::EntryRef;
use crate::segment::{NOT_DUE, Seg};
use crate::size::class_size;
use crate::table::Table;

/// The least time between two sweeps of a segment, unless a new key expires earlier.
const SWEEP_GAP_MS: i64 = 64;

/// Due at no time.
const NEVER: i64 = i64::MAX;

#[derive(Clone, Copy)]
struct Item {
    due_ms: i64,
    segment: Seg,
}

/// A heap of segments, earliest first.
///
/// Invariant: `items[i].segment.due_index() == i`; a segment that is not here says `NOT_DUE`. Those
/// and only those segments are here that have expiring entries.
pub(crate) struct Due {
    items: Vec<Item>,
}

impl Due {
    pub(crate) const fn new() -> Due {
        Due { items: Vec::new() }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self.items.capacity() {
            0 => 0,
            capacity => class_size(capacity * size_of::<Item>()),
        }
    }

    pub(crate) fn first(&self) -> Option<(i64, Seg)> {
        self.items.first().map(|item| (item.due_ms, item.segment))
    }

    pub(crate) fn count(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn segment(&self, index: usize) -> Seg {
        self.items[index].segment
    }

    /// Makes a segment due no later than `due_ms`.
    pub(crate) fn lower(&mut self, segment: Seg, due_ms: i64) {
        let index = match segment.due_index() {
            NOT_DUE => {
                self.items.push(Item { due_ms, segment });
                self.items.len() - 1
            }
            _ if segment.due_ms() <= due_ms => return,
            index => index as usize,
        };
        self.sift_up(index, Item { due_ms, segment });
    }

    /// Sets when a segment in the heap is due next.
    fn set(&mut self, segment: Seg, due_ms: i64) {
        self.remove(segment);
        self.lower(segment, due_ms);
    }

    /// Takes a segment out, if it is in.
    pub(crate) fn remove(&mut self, segment: Seg) {
        let index = segment.due_index();
        if index == NOT_DUE {
            return;
        }
        segment.set_due_index(NOT_DUE);
        let Some(last) = self.items.pop() else { unreachable!("the segment has a place") };
        let index = index as usize;
        if index < self.items.len() {
            // The last item takes the free place and sinks or rises from there.
            let index = self.sift_down(index, last);
            self.sift_up(index, last);
        }
        if self.items.is_empty() {
            self.items = Vec::new();
        }
    }

    /// Forgets all segments, which may be gone already.
    pub(crate) fn clear(&mut self) {
        self.items = Vec::new();
    }

    fn put(&mut self, index: usize, item: Item) {
        item.segment.set_due_index(index as u32);
        item.segment.set_due_ms(item.due_ms);
        self.items[index] = item;
    }

    fn sift_up(&mut self, mut index: usize, item: Item) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.items[parent].due_ms <= item.due_ms {
                break;
            }
            self.put(index, self.items[parent]);
            index = parent;
        }
        self.put(index, item);
    }

    fn sift_down(&mut self, mut index: usize, item: Item) -> usize {
        loop {
            let mut child = 2 * index + 1;
            if child >= self.items.len() {
                break;
            }
            let right = child + 1;
            if right < self.items.len() && self.items[right].due_ms < self.items[child].due_ms {
                child = right;
            }
            if item.due_ms <= self.items[child].due_ms {
                break;
            }
            self.put(index, self.items[child]);
            index = child;
        }
        self.put(index, item);
        index
    }
}

/// What [`Table::expire_step`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpireStep {
    /// Entries looked at.
    pub looked: usize,
    /// Entries reported as expired.
    pub reported: usize,
    /// Whether more segments are due now.
    pub more: bool,
}

impl<V: Send> Table<V> {
    /// When [`Table::expire_step`] has something to look at, in Unix milliseconds: a lower bound
    /// of the earliest expiry, except that a segment rests for a few tens of milliseconds after
    /// a sweep. `None` if there will be nothing.
    #[must_use]
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.due.first().map(|(due_ms, _)| due_ms).filter(|due_ms| *due_ms != NEVER)
    }

    /// Looks through segments that are due and reports entries whose expiry is before `now_ms`.
    ///
    /// Nothing is removed: the caller removes every reported key through its own door. A key that
    /// it leaves is not reported again unless [`Table::expire_again`] asks for it. Stops when
    /// `budget` entries have been looked at, at the end of the segment at hand (a few hundred
    /// entries); the next call goes on.
    pub fn expire_step(
        &mut self,
        now_ms: i64,
        budget: usize,
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> ExpireStep {
        let mut step = ExpireStep::default();
        while let Some((due_ms, segment)) = self.due.first() {
            step.more = due_ms < now_ms;
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
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) {
        let mut next: Option<i64> = None;
        segment.each(&mut |entry| {
            step.looked += 1;
            match entry.expiry() {
                None => {}
                Some(at) if at < now_ms => {
                    step.reported += 1;
                    // SAFETY: a live entry of this table, which nobody changes meanwhile.
                    sink(unsafe { EntryRef::new(entry) });
                }
                Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
            }
        });
        // NEVER if all was reported: the segment stays in the heap as long as it has expiring
        // entries, since random choices among those rely on it.
        let rested = now_ms.saturating_add(SWEEP_GAP_MS);
        self.due.set(segment, next.map_or(NEVER, |at| at.max(rested)));
    }

    /// Makes [`Table::expire_step`] look again at the neighbourhood of a hash, because a key that
    /// it reported could not be removed.
    pub fn expire_again(&mut self, hash: u64) {
        let cell = self.directory.locate(hash);
        if !cell.is_empty() && cell.segment().expiring() > 0 {
            self.due.lower(cell.segment(), i64::MIN);
        }
    }
}
