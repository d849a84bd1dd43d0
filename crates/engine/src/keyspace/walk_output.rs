//! What a walk hands on: chunks, in an order in which they make a file.
//!
//! Records of compact values may come in any order, so walker and writers fill a chunk for each database side by side. A
//! large value is a run of records that nothing may interrupt, and it may need many chunks:
//!
//! ```text
//!   open, by database   ▭ ▭ ▭          compact values, of walker and writers
//!   full                █ █            those that are full
//!   run                 █ █ ▭          the large value under way; while it is, only these are handed on
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::rdb::chunk::{Chunk, FULL_BYTES};

/// Room that a chunk of the walker's own has from the start: a bucket's entries may reach over its end. One that writers
/// begin, with old images of another database, starts small and grows.
const CHUNK_ROOM: usize = FULL_BYTES + FULL_BYTES / 8;

/// Who fills a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Walker,
    Writer,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Chunks that are not full, by the number of their database.
    open: BTreeMap<u32, Chunk>,
    full: Vec<Chunk>,
    /// Chunks of a large value that must follow each other, the first ones.
    run: VecDeque<Chunk>,
    /// The chunk in which the large value under way goes on.
    last: Option<Chunk>,
    /// Whether its begin stands in a chunk before that one.
    spilled: bool,
    /// Memory of `full` and `run`.
    bytes: usize,
}

impl Output {
    /// The chunk that takes compact values of the database that had this number.
    pub(super) fn chunk(&mut self, number: u32, by: By) -> &mut Chunk {
        if self.open.get(&number).is_some_and(Chunk::is_full)
            && let Some(chunk) = self.open.remove(&number)
        {
            self.push_full(chunk);
        }
        let room = if by == By::Walker { CHUNK_ROOM } else { 0 };
        self.open.entry(number).or_insert_with(|| Chunk::new(number, room))
    }

    fn push_full(&mut self, chunk: Chunk) {
        self.bytes += chunk.memory_bytes();
        self.full.push(chunk);
    }

    fn push_run(&mut self, chunk: Chunk) {
        self.spilled = true;
        self.bytes += chunk.memory_bytes();
        self.run.push_back(chunk);
    }

    /// Begins a large value in the database that had this number: the chunk for its first record.
    pub(super) fn begin_value(&mut self, number: u32) -> &mut Chunk {
        self.spilled = false;
        let chunk = self.open.remove(&number);
        self.last.insert(chunk.unwrap_or_else(|| Chunk::new(number, CHUNK_ROOM)))
    }

    /// The chunk that takes the next elements of the large value under way.
    pub(super) fn value_chunk(&mut self) -> &mut Chunk {
        let last = self.last.take().expect("a large value has begun");
        let chunk = if last.is_full() {
            let next = Chunk::new(last.db(), CHUNK_ROOM);
            self.push_run(last);
            next
        } else {
            last
        };
        self.last.insert(chunk)
    }

    /// Takes chunks of elements of the large value under way.
    pub(super) fn extend_value(&mut self, parts: Vec<Chunk>) {
        for part in parts {
            let last = self.value_chunk();
            if part.len_bytes() <= FULL_BYTES / 8 {
                last.extend(part);
                continue;
            }
            // The part keeps its place: what came before it leaves first.
            let Some(last) = self.last.take() else { continue };
            let number = last.db();
            self.last = Some(if last.is_empty() {
                last
            } else {
                self.push_run(last);
                Chunk::new(number, CHUNK_ROOM)
            });
            self.push_run(part);
        }
    }

    /// The large value under way has had its last record.
    pub(super) fn end_value(&mut self) {
        let Some(last) = self.last.take() else { return };
        if self.spilled || last.is_full() {
            self.push_run(last);
        } else if let Some(writers) = self.open.insert(last.db(), last) {
            self.push_full(writers);
        }
    }

    /// The next chunk to be handed on. With `all`, one that is not full if there is no other.
    pub(super) fn next(&mut self, all: bool) -> Option<Chunk> {
        let next = match self.run.pop_front() {
            None if self.last.is_some() => None,
            None => self.full.pop(),
            first => first,
        };
        if let Some(chunk) = next {
            self.bytes -= chunk.memory_bytes();
            return Some(chunk);
        }
        while all && let Some((_, chunk)) = self.open.pop_first() {
            if !chunk.is_empty() {
                return Some(chunk);
            }
        }
        None
    }

    /// Memory of copies that have not been handed on.
    pub(super) fn held_bytes(&self) -> usize {
        let open = self.open.values().chain(&self.last);
        self.bytes + open.map(Chunk::memory_bytes).sum::<usize>()
    }
}
