//! What a table and its entries take of memory, by size class; all of it but `shape` from counters.

use super::{Table, Value};

/// How a table is made up, for diagnostics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// Segments.
    pub segments: usize,
    /// Bytes of all segments.
    pub segment_bytes: usize,
    /// Places for entries in home and stash buckets.
    pub slots: usize,
    /// Entries in overflow lists; zero unless hashes collide.
    pub overflowed: usize,
    /// Bytes of the directory.
    pub directory_bytes: usize,
    /// Most bits by which the directory distinguishes segments.
    pub depth_max: u8,
}

impl<V> Table<V> {
    /// Bytes of directory, segments, entries and blocks by size class. A block that others hold
    /// too counts in full.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        let lists = self.segments.bytes() + self.expiry_heap.bytes();
        self.bytes + self.block_bytes + self.directory.bytes() + lists
    }
}

impl<V: Value> Table<V> {
    /// Bytes of a key's entry, of the block behind it, and of its share of the segment: what the
    /// segment takes, divided by the entries in it. So the bytes of all entries add up to those of
    /// the table, but for the directory and lists of segments, which are less than a tenth of a byte
    /// each. None if there is no such key.
    #[must_use]
    pub fn entry_bytes(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let (cell, found) = self.lookup(hash, key)?;
        let segment = cell.segment();
        let used = segment.used().max(1) as usize;
        let share = (segment.bytes() + used / 2) / used;
        Some(found.entry.size() + found.entry.block_bytes::<V>() + share)
    }

    /// How the table is made up. Looks at every segment.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let mut shape = Shape { directory_bytes: self.directory.bytes(), ..Shape::default() };
        self.directory.each(&mut |segment| {
            shape.segments += 1;
            shape.segment_bytes += segment.bytes();
            shape.slots += segment.class().slots();
            shape.overflowed += segment.overflow().len();
            shape.depth_max = shape.depth_max.max(segment.depth());
        });
        shape
    }
}
