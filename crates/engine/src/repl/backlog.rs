//! The replication backlog, in blocks shared with replicas.
//!
//! ```text
//!   first_offset                                     offset of the last byte
//!   ▼                                                ▼
//!   ┌──────────────┬───────────┬──────┬──────────────┐
//!   │ Arc<block>   │ Arc<block>│ …    │ Arc<block>   │      each is shared with the outboxes of
//!   └──────────────┴───────────┴──────┴──────────────┘      replicas that have not received it yet
//!     the oldest are dropped when the backlog is full
//! ```
//!
//! Offsets count from 1, the first byte of the replication history. A byte is stored once,
//! regardless of how many replicas wait for it.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::shared::Shared;

/// Blocks are filled up to this size before a new one is started.
const BLOCK_BYTES: usize = 16 * 1024;

/// The replication backlog.
#[derive(Debug)]
pub struct Backlog {
    blocks: VecDeque<Arc<Shared>>,
    /// Offset of the first byte, or of the next one if the backlog is empty.
    first_offset: i64,
    len: usize,
    size_max: usize,
}

impl Backlog {
    /// Creates an empty backlog whose next byte has offset `next_offset`.
    pub fn new(next_offset: i64, size_max: usize) -> Backlog {
        Backlog { blocks: VecDeque::new(), first_offset: next_offset, len: 0, size_max }
    }

    /// Returns the offset of the first byte.
    pub fn first_offset(&self) -> i64 {
        self.first_offset
    }

    /// Returns the offset of the next byte.
    pub fn next_offset(&self) -> i64 {
        self.first_offset + self.len as i64
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether the backlog is empty.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the minimum number of bytes to keep.
    pub fn size_max(&self) -> usize {
        self.size_max
    }

    /// Applies a change of `repl-backlog-size`.
    pub fn resize(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.trim();
    }

    /// Appends bytes of the stream.
    pub fn append(&mut self, bytes: Arc<Shared>) {
        self.len += bytes.len();
        // A block that all replicas have received is not shared and can be extended.
        match self.blocks.back_mut().and_then(Arc::get_mut) {
            Some(last) if last.len() + bytes.len() <= BLOCK_BYTES => {
                last.extend(&bytes);
            }
            _ => self.blocks.push_back(bytes),
        }
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(oldest) = self.blocks.front() {
            if self.len - oldest.len() < self.size_max {
                return;
            }
            self.len -= oldest.len();
            self.first_offset += oldest.len() as i64;
            self.blocks.pop_front();
        }
    }

    /// Whether a partial synchronization can start at `offset`.
    pub fn holds(&self, offset: i64) -> bool {
        (self.first_offset..=self.next_offset()).contains(&offset)
    }

    /// Returns the bytes from `offset` on.
    pub fn since(&self, offset: i64) -> Vec<Arc<Shared>> {
        let mut skip = usize::try_from(offset - self.first_offset).unwrap_or(0);
        let mut out = Vec::new();
        for block in &self.blocks {
            if skip >= block.len() {
                skip -= block.len();
            } else if skip > 0 {
                out.push(block.copy_from(skip));
                skip = 0;
            } else {
                out.push(block.clone());
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Meter;

    #[test]
    fn keeps_the_latest_bytes_and_returns_any_suffix() {
        let stream: Vec<u8> = (0..100_000_u32).map(|i| (i * 7 % 251) as u8).collect();
        let mut backlog = Backlog::new(1, 10_000);
        let (meter, mut held) = (Meter::default(), Vec::new());
        for (i, piece) in stream.chunks(777).enumerate() {
            let piece = meter.share(piece.to_vec());
            if i % 3 == 0 {
                held.push(piece.clone());
            }
            backlog.append(piece);
        }
        assert_eq!(backlog.next_offset(), 100_001);
        assert!(backlog.len() >= 10_000, "at least the size is kept");
        assert!(backlog.len() <= 10_000 + BLOCK_BYTES, "and not much more");
        assert!(!backlog.holds(backlog.first_offset() - 1));
        assert!(backlog.holds(100_001) && !backlog.holds(100_002));
        for offset in [backlog.first_offset(), 95_000, 99_999, 100_001] {
            let got: Vec<u8> = backlog.since(offset).iter().flat_map(|b| b.to_vec()).collect();
            assert_eq!(got, stream[offset as usize - 1..]);
        }
    }
}
