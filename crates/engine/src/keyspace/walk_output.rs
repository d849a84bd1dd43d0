//! The output of a walk: chunks, in an order that makes a valid file.
//!
//! Records of compact values may have any order, so the walk and writes (with pre-images) fill one
//! chunk for each database. The records of a large value must not be interrupted by others, and may
//! need several chunks:
//!
//! ```text
//!   open, by database   ▭ ▭ ▭          compact values of the walk and of writes
//!   full                █ █            full chunks of compact values
//!   value chunks        █ █ ▭          the current large value; until it ends, only these are passed on
//! ```

use std::collections::{BTreeMap, VecDeque};

use crate::rdb::chunk::{Chunk, FULL_BYTES};

/// Initial capacity of a chunk started by the walk, with space for the entries of a bucket beyond
/// its limit. A chunk started by a write starts small and grows.
const CHUNK_CAPACITY: usize = FULL_BYTES + FULL_BYTES / 8;

/// The source of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Walker,
    Writer,
}

/// The output of a walk.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Chunks that are not full, by the number of their database.
    open: BTreeMap<u32, Chunk>,
    full: Vec<Chunk>,
    /// Completed chunks of a large value, which must stay adjacent.
    value_chunks: VecDeque<Chunk>,
    /// The open chunk of the current large value.
    current: Option<Chunk>,
    /// Whether the current large value began in an earlier chunk.
    spilled: bool,
    /// Memory of `full` and `value_chunks` in bytes.
    bytes: usize,
}

impl Output {
    /// Returns the open chunk for compact values of a database.
    pub(super) fn chunk(&mut self, number: u32, source: Source) -> &mut Chunk {
        if self.open.get(&number).is_some_and(Chunk::is_full)
            && let Some(chunk) = self.open.remove(&number)
        {
            self.push_full(chunk);
        }
        let capacity = if source == Source::Walker { CHUNK_CAPACITY } else { 0 };
        self.open.entry(number).or_insert_with(|| Chunk::new(number, capacity))
    }

    fn push_full(&mut self, chunk: Chunk) {
        self.bytes += chunk.memory_bytes();
        self.full.push(chunk);
    }

    fn push_value_chunk(&mut self, chunk: Chunk) {
        self.spilled = true;
        self.bytes += chunk.memory_bytes();
        self.value_chunks.push_back(chunk);
    }

    /// Begins a large value in a database. Returns the chunk for its first record.
    pub(super) fn begin_value(&mut self, number: u32) -> &mut Chunk {
        self.spilled = false;
        let chunk = self.open.remove(&number);
        self.current.insert(chunk.unwrap_or_else(|| Chunk::new(number, CHUNK_CAPACITY)))
    }

    /// Returns the chunk for the next elements of the current large value.
    pub(super) fn value_chunk(&mut self) -> &mut Chunk {
        let last = self.current.take().expect("a large value has begun");
        let chunk = if last.is_full() {
            let next = Chunk::new(last.db(), CHUNK_CAPACITY);
            self.push_value_chunk(last);
            next
        } else {
            last
        };
        self.current.insert(chunk)
    }

    /// Appends chunks with elements of the current large value.
    pub(super) fn extend_value(&mut self, parts: Vec<Chunk>) {
        for part in parts {
            let last = self.value_chunk();
            if part.len_bytes() <= FULL_BYTES / 8 {
                last.extend(part);
                continue;
            }
            // Earlier records must precede the part.
            let Some(last) = self.current.take() else { continue };
            let number = last.db();
            self.current = Some(if last.is_empty() {
                last
            } else {
                self.push_value_chunk(last);
                Chunk::new(number, CHUNK_CAPACITY)
            });
            self.push_value_chunk(part);
        }
    }

    /// Ends the current large value.
    pub(super) fn end_value(&mut self) {
        let Some(last) = self.current.take() else { return };
        if self.spilled || last.is_full() {
            self.push_value_chunk(last);
        } else if let Some(writers) = self.open.insert(last.db(), last) {
            self.push_full(writers);
        }
    }

    /// Returns the next chunk to pass on. With `all`, also chunks that are not full.
    pub(super) fn next(&mut self, all: bool) -> Option<Chunk> {
        let next = match self.value_chunks.pop_front() {
            None if self.current.is_some() => None,
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

    /// Returns the memory of all chunks in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        let open = self.open.values().chain(&self.current);
        self.bytes + open.map(Chunk::memory_bytes).sum::<usize>()
    }
}
