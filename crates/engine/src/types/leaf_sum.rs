//! What a part of a tree of leaves has, for lists and sorted sets.

use russet_ds::tree::Summary;

/// What a part of a tree has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeafSum {
    /// Number of elements.
    pub elements: usize,
    /// Number of leaves.
    pub leaves: usize,
    /// Memory of the leaves in bytes.
    pub bytes: usize,
}

impl Summary for LeafSum {
    fn add(&mut self, next: &LeafSum) {
        self.elements += next.elements;
        self.leaves += next.leaves;
        self.bytes += next.bytes;
    }
}

/// Finds the leaf with the element at an index.
pub fn at(index: usize) -> impl FnMut(&LeafSum, &LeafSum) -> bool {
    move |before, part| index < before.elements + part.elements
}
