//! Ranges of hashes: iterating, removing, freeing reserved memory.
//!
//! Callers may group keys by hashes with equal top bits: the keys of a cluster's slot, for example.
//! The operations here take time proportional to the content of the range, not to the size of the
//! table. Ranges include both ends, so that they can cover the highest hash; as for a scan, a
//! position is a hash and stays valid during changes.

use super::entry_ref::EntryRef;
use super::owned::OwnedEntry;
use super::payload::Value;
use super::resize::{Item, collect};
use super::segment::home_index;
use super::{HashOf, Table};

impl<V: Value> Table<V> {
    /// Scans the hashes from `from` up to and including `last` like [`Table::scan`]: emits those in
    /// the bucket of `from` and returns the next position, none at the end.
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

    /// Removes the entries with hashes from `from` up to and including `last` in the segment of
    /// `from`, and passes them to `sink`. Returns the next position, none at the end of the range.
    /// That is some hundreds of entries and at most one segment to rebuild.
    ///
    /// If walks are running, the caller must visit with [`crate::Scope::Segment`] and `from` before
    /// each call, as before any other change.
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

    /// Updates the table's counts for an entry that was removed from its segment.
    fn forget(&mut self, item: &Item) {
        let expiries = item.entry.expiries();
        self.len -= 1;
        self.bytes -= item.entry.size();
        self.block_bytes -= item.entry.block_bytes::<V>();
        self.expiring -= usize::from(expiries.own());
        self.inner_expiring -= usize::from(expiries.inner());
    }

    /// Frees memory that the segment of `from` and its neighbour do not need: memory from
    /// [`Table::reserve`] for keys that were not inserted, and from [`Table::drain_range`] beside
    /// segments that a walk had not visited. Returns the next position, none at the end.
    ///
    /// Running walks are not affected: partly visited segments are not changed.
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
