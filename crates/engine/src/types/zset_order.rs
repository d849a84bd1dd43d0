//! The order of a large sorted set: the scores of its members, with their ids, in leaves.
//!
//! ```text
//!   a leaf    row row row …        a row     score f64, little endian │ id, five bytes
//! ```

use russet_ds::size::class_size;
use russet_ds::tree::Leaf;

use super::leaf_sum::LeafSum;
use super::zset_members::{MemberId, give_back, make_room};

/// Size of a row in bytes.
const ROW: usize = size_of::<f64>() + MemberId::BYTES;

/// Maximum number of rows of a leaf.
const ROWS_MAX: usize = 128;

/// A score, and whose it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Row {
    /// The score.
    pub score: f64,
    /// Whose it is.
    pub id: MemberId,
}

impl Row {
    fn to_bytes(self) -> [u8; ROW] {
        let mut bytes = [0; ROW];
        bytes[..size_of::<f64>()].copy_from_slice(&self.score.to_le_bytes());
        bytes[size_of::<f64>()..].copy_from_slice(&self.id.to_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ROW]) -> Row {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m] = *bytes;
        let score = f64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Row { score, id: MemberId::from_bytes([i, j, k, l, m]) }
    }
}

/// Some rows in order.
#[derive(Clone, Debug, Default)]
pub struct OrderLeaf {
    bytes: Vec<u8>,
}

impl OrderLeaf {
    /// Creates a leaf with a row.
    pub fn of(row: Row) -> OrderLeaf {
        let mut leaf = OrderLeaf::default();
        leaf.put(0, row);
        leaf
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.bytes.len() / ROW
    }

    /// Returns the row at an index.
    pub fn get(&self, index: usize) -> Option<Row> {
        self.rows().get(index).map(Row::from_bytes)
    }

    fn rows(&self) -> &[[u8; ROW]] {
        self.bytes.as_chunks().0
    }

    /// Returns the number of rows in front of a place.
    pub fn place(&self, is_before: &mut dyn FnMut(&Row) -> bool) -> usize {
        self.rows().partition_point(|row| is_before(&Row::from_bytes(row)))
    }

    /// Whether another row would make it large.
    pub fn is_full(&self) -> bool {
        self.len() >= ROWS_MAX
    }

    /// Puts a row at an index.
    pub fn put(&mut self, index: usize, row: Row) {
        let (len, at) = (self.bytes.len(), index * ROW);
        make_room(&mut self.bytes, ROW);
        self.bytes.resize(len + ROW, 0);
        self.bytes.copy_within(at..len, at + ROW);
        self.bytes[at..at + ROW].copy_from_slice(&row.to_bytes());
    }

    /// Removes rows from an index on, and emits them.
    pub fn remove(&mut self, index: usize, count: usize, sink: &mut dyn FnMut(Row)) {
        let end = (index + count).min(self.len());
        self.rows()[index..end].iter().for_each(|row| sink(Row::from_bytes(row)));
        self.bytes.drain(index * ROW..end * ROW);
        give_back(&mut self.bytes);
    }
}

impl Leaf for OrderLeaf {
    type Summary = LeafSum;
    type Key = Row;

    fn summary(&self) -> LeafSum {
        LeafSum { elements: self.len(), leaves: 1, bytes: class_size(self.bytes.capacity()) }
    }

    fn update_key(&self, key: &mut Row) {
        if let Some(last) = self.rows().last() {
            *key = Row::from_bytes(last);
        }
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn is_large(&self) -> bool {
        self.len() > ROWS_MAX
    }

    fn is_small(&self) -> bool {
        self.len() < ROWS_MAX / 4
    }

    fn split(&mut self) -> OrderLeaf {
        let half = self.len().div_ceil(2) * ROW;
        let second = OrderLeaf { bytes: self.bytes[half..].to_vec() };
        self.bytes.truncate(half);
        give_back(&mut self.bytes);
        second
    }

    fn fits(&self, next: &OrderLeaf) -> bool {
        self.len() + next.len() <= ROWS_MAX
    }

    fn join(&mut self, next: &OrderLeaf) {
        make_room(&mut self.bytes, next.bytes.len());
        self.bytes.extend_from_slice(&next.bytes);
    }
}
