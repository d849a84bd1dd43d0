//! Growing, splitting, merging and shrinking segments.
//!
//! A segment without space for a new entry is replaced by the first option that fits: the same size
//! (if removals have left free slots that the stash did not use), the next sizes up to 4096 bytes,
//! or two segments, split by the first bit in which the hashes differ. All of these are one
//! operation: collect the entries (prefetched, since each key must be hashed), and place them
//! again.
//!
//! A segment that is less than half full merges with its buddy if both together are a small part of
//! a full-size segment, and otherwise becomes smaller. The thresholds are far apart, so that
//! inserting and removing the same key does not resize each time.
//!
//! **Snapshots.** A resized segment counts as visited by a walker only if all its sources were, in
//! the same epoch. If walks are running, the caller visits with [`crate::Scope::Resize`] first.

use super::bucket::{SLOTS, WALKERS};
use super::directory::{BITS_MAX, Cell, Directory};
use super::entry::{Expiries, RawEntry};
use super::expiry_heap::NEVER;
use super::payload::Value;
use super::segment::{CLASS_MAX, CLASSES, Class, DEPTH_MAX, Epochs, NO_EPOCHS, Seg, home_index};
use super::{HashOf, Table};

/// How to shrink a segment that has lost an entry.
pub(crate) enum Plan {
    Keep,
    Merge(Seg),
    /// Move it to a smaller class.
    Shrink,
}

/// How much of a segment a walker has visited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Visited {
    Nothing,
    Part,
    Everything,
}

/// An entry on its way to another segment.
#[derive(Clone, Copy)]
pub(crate) struct Item {
    pub(crate) hash: u64,
    pub(crate) entry: RawEntry,
}

impl<V: Value> Table<V> {
    /// Reserves memory for this number of entries in an empty table, so that they are inserted
    /// without resizes; has no effect on other tables.
    ///
    /// With good hashes, the segments end up as full as those of a table that has grown. Unused
    /// memory costs some 8 bytes per entry until the table is cleared. It is allocated at once, an
    /// allocation for each few hundred entries, so callers must limit the number.
    pub fn reserve(&mut self, entries: usize) {
        let full = usize::from(CLASSES[CLASS_MAX].comfortable) * 4 / 5;
        if !self.directory.is_empty() || entries <= full {
            return;
        }
        let bits = entries.div_ceil(full).next_power_of_two().trailing_zeros() as u8;
        let bits = bits.min(BITS_MAX);
        let class = smallest_class(entries >> bits);
        let mut directory = Directory::new();
        directory
            .spread(bits, &mut |prefix, depth| self.empty_segment(class, depth, prefix, NO_EPOCHS));
        self.directory = directory;
    }

    /// Inserts an entry whose key is not in the table.
    pub(crate) fn insert(&mut self, hash: u64, entry: RawEntry, hash_of: HashOf<'_>) {
        self.len += 1;
        self.bytes += entry.size();
        self.block_bytes += entry.block_bytes::<V>();
        let cell = self.directory.locate(hash);
        let segment = if cell.is_empty() { self.first_segment() } else { cell.segment() };
        if segment.place(hash, entry) || self.overflows(segment, hash, entry, hash_of) {
            segment.set_used(segment.used() + 1);
            self.note_expiries(segment, Expiries::NONE, entry.expiries(), entry.expiry());
        } else if entry.expiries().own() {
            // The resized segment has counted its entries.
            self.expiring += 1;
        }
    }

    fn first_segment(&mut self) -> Seg {
        let segment = self.empty_segment(0, 0, 0, self.epochs);
        self.directory.set_root(Cell::of_segment(segment));
        segment
    }

    /// Creates an empty segment that is already visited in the given epochs.
    fn empty_segment(&mut self, class: usize, depth: u8, prefix: u64, epochs: Epochs) -> Seg {
        let segment = Seg::alloc(class, depth, prefix);
        segment.set_epochs(epochs);
        for (w, _) in epochs.into_iter().enumerate().filter(|(_, epoch)| *epoch != 0) {
            segment.mark_all(w, true);
        }
        self.bytes += segment.bytes();
        self.slots_max = self.slots_max.max(segment.class().slots() as u32);
        segment.set_list_index(self.segments.len() as u32);
        self.segments.push(segment);
        segment
    }

    /// Makes space for an entry by a resize that includes it, and returns false; or adds it to the
    /// overflow list, if no resize can help, and returns true.
    #[cold]
    fn overflows(&mut self, segment: Seg, hash: u64, entry: RawEntry, hash_of: HashOf<'_>) -> bool {
        if segment.used() >= segment.retry_at() {
            let mut items = collect(segment, hash_of);
            items.push(Item { hash, entry });
            if let Some(class) = class_to_grow(segment, &items) {
                let (depth, prefix) = (segment.depth(), segment.prefix());
                let new = self.assemble(&items, class, depth, prefix, visited_in(segment));
                let old = Cell::of_segment(segment);
                self.directory.replace(prefix, old, Cell::of_segment(new));
                self.discard(segment);
                return false;
            }
            if let Some(at) = first_difference(&items) {
                self.split(segment, &items, at);
                return false;
            }
            segment.set_retry_at(segment.used().saturating_mul(2));
        }
        let before = segment.bytes();
        segment.push_overflow(hash, entry);
        self.bytes += segment.bytes() - before;
        let places = segment.class().slots() + segment.overflow().len();
        self.slots_max = self.slots_max.max(places as u32);
        true
    }

    /// Splits a segment by bit `at` (0 is the top bit).
    fn split(&mut self, segment: Seg, items: &[Item], at: u8) {
        let bit = 1u64 << (63 - at);
        let prefix = items[0].hash & !(bit | (bit - 1));
        let (high, low): (Vec<Item>, Vec<Item>) =
            items.iter().partition(|item| item.hash & bit != 0);
        let epochs = visited_in(segment);
        let depth = at + 1;
        let low_class = class_for(&low, depth).unwrap_or(CLASS_MAX);
        let high_class = class_for(&high, depth).unwrap_or(CLASS_MAX);
        let low = self.assemble(&low, low_class, depth, prefix, epochs);
        let high = self.assemble(&high, high_class, depth, prefix | bit, epochs);
        let mut directory = std::mem::replace(&mut self.directory, Directory::new());
        directory.split(segment.depth(), low, high, &mut |prefix, depth| {
            self.empty_segment(0, depth, prefix, epochs)
        });
        self.directory = directory;
        self.discard(segment);
    }

    /// Creates a segment with the given entries, counts them and adds it to the heap.
    fn assemble(
        &mut self,
        items: &[Item],
        class: usize,
        depth: u8,
        prefix: u64,
        epochs: Epochs,
    ) -> Seg {
        let segment = self.empty_segment(class, depth, prefix, epochs);
        let mut earliest: Option<i64> = None;
        let (mut expiring, mut inner_expiring) = (0, 0);
        let before = segment.bytes();
        for item in items {
            if !segment.place(item.hash, item.entry) {
                segment.push_overflow(item.hash, item.entry);
            }
            let expiries = item.entry.expiries();
            if expiries == Expiries::NONE {
                continue;
            }
            expiring += u32::from(expiries.own());
            inner_expiring += u32::from(expiries.inner());
            for at in [item.entry.expiry(), item.entry.inner_expiry::<V>()].into_iter().flatten() {
                earliest = Some(earliest.map_or(at, |earliest| earliest.min(at)));
            }
        }
        segment.set_used(items.len() as u32);
        segment.set_expiring(expiring);
        segment.set_inner_expiring(inner_expiring);
        if expiring > 0 || inner_expiring > 0 {
            self.expiry_heap.lower(segment, earliest.unwrap_or(NEVER));
        }
        self.bytes += segment.bytes() - before;
        let places = segment.class().slots() + segment.overflow().len();
        self.slots_max = self.slots_max.max(places as u32);
        segment
    }

    /// Frees a segment after its entries and its place in the directory were replaced.
    fn discard(&mut self, segment: Seg) {
        self.expiry_heap.remove(segment);
        self.unlist(segment);
        self.bytes -= segment.bytes();
        // SAFETY: neither directory nor heap nor list refers to the segment any more.
        unsafe { segment.free() };
    }

    /// Removes a segment from the list; the last one takes its index.
    fn unlist(&mut self, segment: Seg) {
        let index = segment.list_index();
        let Some(last) = self.segments.pop() else { unreachable!("the segment is listed") };
        if last != segment {
            last.set_list_index(index);
            self.segments.set(index as usize, last);
        }
    }

    /// Returns how [`Table::shrink`] would shrink a segment with `used` entries left.
    pub(crate) fn removal_plan(&self, segment: Seg, used: u32) -> Plan {
        // Not at each removal, since a plan may turn out to be impossible.
        if used.is_multiple_of(4) { self.plan(segment, used) } else { Plan::Keep }
    }

    fn plan(&self, segment: Seg, used: u32) -> Plan {
        if used > u32::from(segment.class().comfortable) * 4 / 10 {
            return Plan::Keep;
        }
        if let Some(buddy) = self.buddy(segment) {
            let both = used.saturating_add(buddy.used());
            if both <= u32::from(CLASSES[CLASS_MAX].comfortable) * 6 / 10 {
                return Plan::Merge(buddy);
            }
        }
        let target = smallest_class(used as usize);
        if target < segment.class_index() { Plan::Shrink } else { Plan::Keep }
    }

    /// Returns the segment with the same prefix except for the last bit, if it is not split
    /// further.
    fn buddy(&self, segment: Seg) -> Option<Seg> {
        let depth = segment.depth();
        let bit = 1u64.checked_shl(64 - u32::from(depth))?;
        let cell = self.directory.locate(segment.prefix() ^ bit);
        (cell.depth() == depth).then(|| cell.segment())
    }

    /// Shrinks a segment that has lost an entry, if that is worthwhile.
    pub(crate) fn shrink(&mut self, segment: Seg, hash_of: HashOf<'_>) {
        if self.len == 0 {
            // A few segments without a buddy to merge with are left.
            return self.clear();
        }
        match self.removal_plan(segment, segment.used()) {
            Plan::Keep => {}
            Plan::Merge(buddy) => {
                if self.merge(segment, buddy, hash_of).is_none() {
                    self.make_smaller(segment, hash_of);
                }
            }
            Plan::Shrink => {
                self.make_smaller(segment, hash_of);
            }
        }
    }

    /// Merges a segment with few entries repeatedly, or makes it smaller. Returns the resulting
    /// segment. Segments that a running walk has visited partly, and buddies of which it has
    /// visited only one, are not changed.
    pub(crate) fn settle(&mut self, mut segment: Seg, hash_of: HashOf<'_>) -> Seg {
        if self.is_partly_visited(segment) {
            return segment;
        }
        loop {
            match self.plan(segment, segment.used()) {
                Plan::Keep => return segment,
                Plan::Merge(buddy) if self.visited_alike(segment, buddy) => {
                    match self.merge(segment, buddy, hash_of) {
                        Some(merged) => segment = merged,
                        None => return self.make_smaller(segment, hash_of),
                    }
                }
                Plan::Merge(_) | Plan::Shrink => return self.make_smaller(segment, hash_of),
            }
        }
    }

    /// Moves a segment's entries to a smaller class if possible. Returns the resulting segment.
    fn make_smaller(&mut self, segment: Seg, hash_of: HashOf<'_>) -> Seg {
        if smallest_class(segment.used() as usize) >= segment.class_index() {
            return segment;
        }
        let items = collect(segment, hash_of);
        if class_for(&items, segment.depth()).is_none_or(|class| class >= segment.class_index()) {
            return segment;
        }
        self.reassemble(segment, &items)
    }

    /// Replaces a segment by a new one with these entries, which are all or some of its own.
    pub(crate) fn reassemble(&mut self, segment: Seg, items: &[Item]) -> Seg {
        let (depth, prefix) = (segment.depth(), segment.prefix());
        let class = class_for(items, depth).unwrap_or(CLASS_MAX);
        let new = self.assemble(items, class, depth, prefix, visited_in(segment));
        self.directory.replace(prefix, Cell::of_segment(segment), Cell::of_segment(new));
        self.discard(segment);
        new
    }

    /// Merges two segments, if one can contain their entries without an overflow list, which is
    /// impossible if too many bits of their hashes are equal.
    fn merge(&mut self, segment: Seg, buddy: Seg, hash_of: HashOf<'_>) -> Option<Seg> {
        let (low, high) =
            if segment.prefix() < buddy.prefix() { (segment, buddy) } else { (buddy, segment) };
        let mut items = collect(low, hash_of);
        items.append(&mut collect(high, hash_of));
        let depth = low.depth() - 1;
        let class = class_for(&items, depth)?;
        let (low_epochs, high_epochs) = (visited_in(low), visited_in(high));
        let both = |w: usize| if low_epochs[w] == high_epochs[w] { low_epochs[w] } else { 0 };
        let merged = self.assemble(&items, class, depth, low.prefix(), std::array::from_fn(both));
        self.directory.merge(merged);
        self.discard(low);
        self.discard(high);
        Some(merged)
    }

    /// Returns how much of a segment a walker has visited in its latest epoch.
    fn visited(&self, segment: Seg, w: usize) -> Visited {
        if self.epochs[w] == 0 || segment.epochs()[w] != self.epochs[w] {
            return Visited::Nothing;
        }
        if segment.all_visited(w) { Visited::Everything } else { Visited::Part }
    }

    pub(crate) fn is_partly_visited(&self, segment: Seg) -> bool {
        (0..WALKERS).any(|w| self.visited(segment, w) == Visited::Part)
    }

    /// Whether a merge would keep what each walker has visited.
    fn visited_alike(&self, segment: Seg, buddy: Seg) -> bool {
        (0..WALKERS).all(|w| {
            let visited = self.visited(segment, w);
            visited != Visited::Part && visited == self.visited(buddy, w)
        })
    }
}

/// Returns all entries of a segment with their hashes.
pub(crate) fn collect(segment: Seg, hash_of: HashOf<'_>) -> Vec<Item> {
    let mut items = Vec::with_capacity(segment.used() as usize + 1);
    segment.each(&mut |entry| items.push(Item { hash: hash_of(entry.key()), entry }));
    items
}

/// Returns for each walker the epoch in which the whole segment is visited, or 0.
fn visited_in(segment: Seg) -> Epochs {
    let epochs = segment.epochs();
    let whole = |w: usize| epochs[w] != 0 && segment.all_visited(w);
    std::array::from_fn(|w| if whole(w) { epochs[w] } else { 0 })
}

/// Returns the first bit in which hashes differ, if a segment may be split by it.
fn first_difference(items: &[Item]) -> Option<u8> {
    let first = items.first()?.hash;
    let differing = items.iter().fold(0, |bits, item| bits | (item.hash ^ first));
    let at = differing.leading_zeros() as u8;
    (at < DEPTH_MAX).then_some(at)
}

/// Returns the smallest class that `used` entries fill to three quarters of its comfortable size.
fn smallest_class(used: usize) -> usize {
    let wanted = used + used / 8 + 1;
    CLASSES.iter().position(|class| usize::from(class.comfortable) >= wanted).unwrap_or(CLASS_MAX)
}

/// Returns the class for a new, merged or shrinking segment; none if every class would need an
/// overflow list.
fn class_for(items: &[Item], depth: u8) -> Option<usize> {
    (smallest_class(items.len())..=CLASS_MAX).find(|class| fits(items, depth, CLASSES[*class], 3))
}

/// Returns the class that gives a full segment space for some more entries; none if it must be
/// split.
fn class_to_grow(segment: Seg, items: &[Item]) -> Option<usize> {
    let depth = segment.depth();
    let class = segment.class_index();
    if class > 0 && fits(items, depth, CLASSES[class], 2) {
        return Some(class);
    }
    (class + 1..=CLASS_MAX).find(|class| fits(items, depth, CLASSES[*class], 4))
}

/// Whether the entries would fit and leave one `spare`-th of the stash free.
fn fits(items: &[Item], depth: u8, class: Class, spare: usize) -> bool {
    if items.len() > class.slots() {
        return false;
    }
    let mut counts = [0u16; 64];
    for item in items {
        counts[home_index(item.hash, depth, class.homes)] += 1;
    }
    let behind =
        counts.iter().map(|count| usize::from(*count).saturating_sub(SLOTS)).sum::<usize>();
    behind + class.stash_slots() / spare <= class.stash_slots()
}
