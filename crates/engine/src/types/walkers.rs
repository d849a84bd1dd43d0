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

/// Parts of a large value that were handed over, for one walk.
#[derive(Debug)]
pub struct Parts {
    /// Number of the database that the file will have them in.
    db: u32,
    chunks: Vec<Chunk>,
}

impl Parts {
    /// No parts yet.
    pub fn new(db: u32) -> Parts {
        Parts { db, chunks: Vec::new() }
    }

    /// The chunk that takes the next element.
    fn chunk(&mut self) -> &mut Chunk {
        let is_full = self.chunks.last().is_none_or(Chunk::is_full);
        if is_full {
            self.chunks.push(Chunk::new(self.db, 0));
        }
        self.chunks.last_mut().expect("one was pushed if there was none")
    }

    /// Memory of the chunks.
    pub fn memory_bytes(&self) -> usize {
        self.chunks.iter().map(Chunk::memory_bytes).sum()
    }

    /// Gives the chunks away.
    pub fn take(&mut self) -> Vec<Chunk> {
        std::mem::take(&mut self.chunks)
    }
}

/// The walks that have not finished a value. See the module.
#[derive(Debug, Default)]
pub struct Walkers<'a> {
    seats: [Option<(Walker, &'a mut Parts)>; WALKERS],
    any: bool,
}

impl<'a> Walkers<'a> {
    /// Adds a walk, with the parts that it was given.
    pub fn add(&mut self, walker: Walker, parts: &'a mut Parts) {
        self.seats[walker.index] = Some((walker, parts));
        self.any = true;
    }

    /// Hands over what the walks have not seen of the elements that a change of one with this hash may move or change. To
    /// be called before each insertion, removal and change of an element.
    #[inline]
    pub fn before_change(&mut self, table: &mut Table<()>, hash: u64, hash_of: HashOf<'_>) {
        if self.any {
            self.hand_over(table, hash, hash_of);
        }
    }

    #[cold]
    fn hand_over(&mut self, table: &mut Table<()>, hash: u64, hash_of: HashOf<'_>) {
        let scope = if table.write_resizes(hash) { Scope::Resize } else { Scope::Bucket };
        for (Walker { index, epoch }, parts) in self.seats.iter_mut().flatten() {
            let mut sink = |element: EntryRef<'_, ()>| push_element(parts.chunk(), &element);
            table.visit(*index, *epoch, hash, scope, hash_of, &mut sink);
        }
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
