//! Large values during snapshots: what those who change one owe to the walks that have not finished it.
//!
//! A walk goes through a large value part by part, a part being a bucket of its table of elements. Meanwhile the value may
//! change, so a change first hands over the part that it touches as that was, unless the walk has been there. The parts
//! that were handed over are held until the value's turn comes in the file.
//!
//! Whoever changes a large value is given the [`Walkers`] of it and calls [`Walkers::before_change`] for each element's place
//! before it changes that. There mostly are none, and it costs a comparison.

use russet_ds::{EntryRef, HashOf, Payload, Scope, Table, WALKERS};

use crate::rdb::chunk::{Chunk, ChunkValue};

/// A walk, as the tables of elements know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walker {
    /// Which of the walkers it is, below [`WALKERS`].
    pub index: usize,
    /// Its epoch.
    pub epoch: u32,
}

/// A walk that has not finished a value, with the parts that were handed over to it.
#[derive(Debug)]
pub struct PendingWalk {
    epoch: u32,
    /// Number of the database that the file will have them in.
    db: u32,
    chunks: Vec<Chunk>,
    /// Memory of the chunks when it was last counted.
    counted_bytes: usize,
}

impl PendingWalk {
    /// Returns a walk of this epoch, whose file will have the value in database `db`, without parts.
    pub fn new(epoch: u32, db: u32) -> PendingWalk {
        PendingWalk { epoch, db, chunks: Vec::new(), counted_bytes: 0 }
    }

    /// Returns the chunk that takes the next element.
    fn chunk(&mut self) -> &mut Chunk {
        let is_full = self.chunks.last().is_none_or(Chunk::is_full);
        if is_full {
            self.chunks.push(Chunk::new(self.db, 0));
        }
        self.chunks.last_mut().expect("one was pushed if there was none")
    }

    /// Counts the memory of the parts. Returns what it was when it was last counted, and what it is.
    pub fn count_bytes(&mut self) -> (usize, usize) {
        let bytes = self.chunks.iter().map(Chunk::memory_bytes).sum();
        (std::mem::replace(&mut self.counted_bytes, bytes), bytes)
    }

    /// Returns the memory of the parts when it was last counted.
    pub fn counted_bytes(&self) -> usize {
        self.counted_bytes
    }

    /// Takes the parts, and the memory that was counted of them.
    pub fn take_parts(&mut self) -> (Vec<Chunk>, usize) {
        (std::mem::take(&mut self.chunks), std::mem::take(&mut self.counted_bytes))
    }
}

/// The walks that have not finished a value, by the index of the walker.
pub type PendingWalks = [Option<PendingWalk>; WALKERS];

/// What a change of a value needs to know of the walks through it. See the module.
#[derive(Debug, Default)]
pub struct Walkers<'a>(Option<&'a mut PendingWalks>);

impl<'a> Walkers<'a> {
    /// Returns the walkers of a value that some walk has not finished.
    pub fn new(pending: &'a mut PendingWalks) -> Walkers<'a> {
        Walkers(Some(pending))
    }

    /// Hands over what the walks have not seen of the elements that a change of one with this hash may move or change. To
    /// be called before each insertion, removal and change of an element.
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

/// Goes on with a walk through a table of elements: hands over the bucket in which `position` falls, if it was not before,
/// and answers the next position; `None` at the end. A walk begins at 0.
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

/// Copies an element into a chunk; long bytes are shared.
fn push_element(chunk: &mut Chunk, element: &EntryRef<'_, ()>) {
    let value = match element.payload() {
        Payload::Inline(bytes) => ChunkValue::Bytes(bytes),
        Payload::Block(block) => match block.share_bytes() {
            Some(bytes) => ChunkValue::Shared(bytes),
            // A block of `()` holds nothing.
            None => ChunkValue::Bytes(&[]),
        },
    };
    chunk.element(element.key(), value, element.expiry());
}
