//! Large values during snapshots: pre-images for the walks that have not finished a value.
//!
//! A walk visits a large value part by part; a part is a bucket of its table of elements. Before a
//! change, the pre-image of the affected part is copied for each walk that has not visited it.
//! These copies are kept until the walk reaches the value in the file.
//!
//! Changes of a large value receive its [`Walkers`] and call [`Walkers::before_change`] for the
//! affected elements before they change them. Mostly there are no walks, and the cost is a
//! comparison.

use russet_ds::{EntryRef, HashOf, Payload, Scope, Table, WALKERS};

use crate::rdb::chunk::{Chunk, ChunkValue};

/// A copy of a large value that shares memory with it, for a walk: made when the walk finds the value, and gone through later.
pub trait Frozen: std::fmt::Debug + Send {
    /// Emits the next part. Returns whether there are more.
    fn emit(&mut self, chunk: &mut Chunk) -> bool;
}

/// A walk, for tables of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walker {
    /// The index of the walker, below [`WALKERS`].
    pub index: usize,
    /// Its epoch.
    pub epoch: u32,
}

/// A walk that has not finished a value, with the pre-images for it.
#[derive(Debug)]
pub struct PendingWalk {
    epoch: u32,
    /// Whether it has visited some of the elements.
    pub is_inside: bool,
    /// Number of the database in the file.
    db: u32,
    chunks: Vec<Chunk>,
    /// Memory of the chunks that are full, in bytes.
    full_bytes: usize,
    /// Memory of all chunks when it was last counted, in bytes.
    counted_bytes: usize,
}

impl PendingWalk {
    /// Creates a walk of this epoch, without pre-images. `db`: the database in its file.
    pub fn new(epoch: u32, db: u32) -> PendingWalk {
        let chunks = Vec::new();
        PendingWalk { epoch, is_inside: false, db, chunks, full_bytes: 0, counted_bytes: 0 }
    }

    /// Returns the chunk for the next element.
    fn chunk(&mut self) -> &mut Chunk {
        if self.chunks.last().is_none_or(Chunk::is_full) {
            self.full_bytes += self.chunks.last().map_or(0, Chunk::memory_bytes);
            self.chunks.push(Chunk::new(self.db, 0));
        }
        self.chunks.last_mut().expect("one was pushed if there was none")
    }

    /// Counts the memory of the pre-images. Returns the previous and the current number of bytes.
    /// Only the last chunk is looked at: while a walk waits for a slow replica there are thousands.
    pub fn count_bytes(&mut self) -> (usize, usize) {
        let bytes = self.full_bytes + self.chunks.last().map_or(0, Chunk::memory_bytes);
        (std::mem::replace(&mut self.counted_bytes, bytes), bytes)
    }

    /// Returns the last counted memory of the pre-images in bytes.
    pub fn counted_bytes(&self) -> usize {
        self.counted_bytes
    }

    /// Takes the pre-images, and their counted memory in bytes.
    pub fn take_parts(&mut self) -> (Vec<Chunk>, usize) {
        self.full_bytes = 0;
        (std::mem::take(&mut self.chunks), std::mem::take(&mut self.counted_bytes))
    }
}

/// The walks that have not finished a value, by the index of the walker.
pub type PendingWalks = [Option<PendingWalk>; WALKERS];

/// The walks through a value, which its changes must respect.
#[derive(Debug, Default)]
pub struct Walkers<'a>(Option<&'a mut PendingWalks>);

impl<'a> Walkers<'a> {
    /// Returns the walkers of a value that a walk has not finished.
    pub fn new(pending: &'a mut PendingWalks) -> Walkers<'a> {
        Walkers(Some(pending))
    }

    /// Copies the pre-images of all elements that a change of the element with this hash may move
    /// or change, for walks that have not visited them. Must be called before each insertion,
    /// removal and change of an element.
    #[inline]
    pub fn before_change(&mut self, table: &mut Table<()>, hash: u64, hash_of: HashOf<'_>) {
        if let Some(pending) = self.0.as_deref_mut() {
            hand_over(pending, table, hash, hash_of);
        }
    }
}

#[cold]
fn hand_over(pending: &mut PendingWalks, table: &mut Table<()>, hash: u64, hash_of: HashOf<'_>) {
    let scope = if table.write_resizes(hash) { Scope::Resize } else { Scope::Bucket };
    for (index, walk) in pending.iter_mut().enumerate() {
        let Some(walk) = walk else { continue };
        let epoch = walk.epoch;
        let mut sink = |element: EntryRef<'_, ()>| push_element(walk.chunk(), &element);
        table.visit(index, epoch, hash, scope, hash_of, &mut sink);
    }
}

/// Continues a walk through a table of elements: emits the bucket of `position`, unless its
/// pre-image was copied before. Returns the next position, none at the end. A walk starts at 0.
pub fn walk_elements(
    table: &mut Table<()>,
    walker: Walker,
    position: u64,
    hash_of: HashOf<'_>,
    chunk: &mut Chunk,
) -> Option<u64> {
    let Walker { index, epoch } = walker;
    table.walk(index, epoch, position, hash_of, &mut |element| push_element(chunk, &element))
}

/// Copies an element into a chunk; long values are shared.
fn push_element(chunk: &mut Chunk, element: &EntryRef<'_, ()>) {
    let value = match element.payload() {
        Payload::Inline(bytes) => ChunkValue::Bytes(bytes),
        Payload::Block(block) => match block.share_bytes() {
            Some(bytes) => ChunkValue::Shared(bytes),
            // A block of `()` can only contain bytes.
            None => ChunkValue::Bytes(&[]),
        },
    };
    chunk.element(element.key(), value, element.expiry());
}
