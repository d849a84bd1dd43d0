//! Ranges of hashes: going through one, emptying one, giving back room; not what a range stands for.
//!
//! Callers may put what belongs together side by side, by hashes that begin alike: the keys of a
//! cluster's slot, say. What is done here takes time by what lies in the range, not by the size
//! of the table. A range has its ends included, so that it may reach the end of all hashes; and as
//! with a scan, a position in it is a hash and stays valid whatever happens in between.

use super::entry_ref::EntryRef;
use super::owned::OwnedEntry;
use super::payload::Value;
use super::resize::{Item, collect};
use super::segment::home_index;
use super::{HashOf, Table};

impl<V: Value> Table<V> {
    /// [`Table::scan`] of the hashes from `from` up to and including `last`: emits those of the
    /// bucket in which `from` falls and answers where to go on; `None` at the end.
    pub fn scan_range(
        &self,
        from: u64,
        last: u64,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(EntryRef<'_, V>),
    ) -> Option<u64> {
        let cell = self.directory.locate(from);
        if cell.is_empty() {
            return None;
        }
        let segment = cell.segment();
        let index = home_index(from, segment.depth(), segment.class().homes);
        let next = segment.lower_bound(index + 1);
        let begins_inside = segment.lower_bound(index).is_some_and(|low| low >= from);
        let is_inside = begins_inside && next.map_or(u64::MAX, |next| next - 1) <= last;
        segment.each_of_home(index, hash_of, &mut |entry| {
            if is_inside || (from..=last).contains(&hash_of(entry.key())) {
                // SAFETY: a live entry of this table, borrowed with it.
                sink(unsafe { EntryRef::new(entry) });
            }
        });
        next.filter(|next| *next <= last)
    }

    /// Removes the entries with hashes from `from` up to and including `last` that lie in one
    /// segment, that of `from`, and hands them over; answers where to go on, `None` when nothing
    /// of the range is left. That is some hundreds of entries, and one segment to put together.
    ///
    /// Whoever has a walk running visits with [`crate::Scope::Segment`] and `from` before each
    /// call, as before any other change.
    pub fn drain_range(
        &mut self,
        from: u64,
        last: u64,
        hash_of: HashOf<'_>,
        sink: &mut dyn FnMut(OwnedEntry<V>),
    ) -> Option<u64> {
        let cell = self.directory.locate(from);
        if cell.is_empty() {
            return None;
        }
        let segment = cell.segment();
        let next = segment.lower_bound(segment.homes()).filter(|next| *next <= last);
        let (gone, kept): (Vec<Item>, Vec<Item>) = collect(segment, hash_of)
            .into_iter()
            .partition(|item| (from..=last).contains(&item.hash));
        if gone.len() == self.len {
            self.drain(sink);
            return None;
        }
        if !gone.is_empty() {
            let smaller = self.reassemble(segment, &kept);
            gone.iter().for_each(|item| self.forget(item));
            self.settle(smaller, hash_of);
        }
        for item in gone {
            // SAFETY: neither the table nor its counts refer to the entry any more.
            sink(unsafe { OwnedEntry::new(item.entry) });
        }
        next
    }

    /// Takes an entry that is in no segment any more off the table's counts.
    fn forget(&mut self, item: &Item) {
        let expiries = item.entry.expiries();
        self.len -= 1;
        self.bytes -= item.entry.size();
        self.block_bytes -= item.entry.block_bytes::<V>();
        self.expiring -= usize::from(expiries.own());
        self.inner_expiring -= usize::from(expiries.inner());
    }

    /// Gives back room that the segment of `from` and its neighbour do not need: what
    /// [`Table::reserve`] has made for entries that did not come, and what
    /// [`Table::drain_range`] has left beside segments that a walk had not seen. Answers where to
    /// go on; `None` at the end.
    ///
    /// Walks that go on are not disturbed: what they have seen in part stays as it is.
    pub fn trim(&mut self, from: u64, hash_of: HashOf<'_>) -> Option<u64> {
        let cell = self.directory.locate(from);
        if cell.is_empty() {
            return None;
        }
        if self.len == 0 {
            self.clear();
            return None;
        }
        let segment = self.settle(cell.segment(), hash_of);
        segment.lower_bound(segment.homes())
    }
}
