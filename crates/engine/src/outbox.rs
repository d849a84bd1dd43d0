//! A connection's output: a FIFO of bytes with gate marks.
//!
//! ```text
//!   open prefix                       behind a gate
//!   ┌───────────┬──────────┬──────────╫──────────────┬─────┐
//!   │ bytes     │ shared   │ bytes    ║ shared       │ tail│   the shell writes up to ╫
//!   └───────────┴──────────┴──────────╫──────────────┴─────┘
//!                                  Gate::Snapshot(job)
//! ```
//!
//! Replies go into `tail`, a plain vector, and on the common path the shell writes it with one call. What is
//! large or has several readers (a block of the replication stream, a snapshot's bytes) goes
//! in by reference count. What stands behind a gate leaves when the event it names has come,
//! and never if that event fails: the connection is then closed.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use russet_ds::SharedBytes;

use crate::io::JobId;

/// What must have happened before the bytes behind it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All bytes of this snapshot stand in the outbox, before the gate.
    Snapshot(JobId),
}

/// From this length on, a tail is long.
const LONG_TAIL_BYTES: usize = 64 * 1024;

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Shared(Arc<Vec<u8>>),
    Lent(SharedBytes),
    Gate(Gate),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
            Piece::Lent(bytes) => bytes,
            Piece::Gate(_) => &[],
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece (of `tail` if there is none) that have been written.
    sent: usize,
    /// Where replies are appended.
    pub(crate) tail: Vec<u8>,
    /// Bytes in `pieces`, for the limits.
    queued_bytes: usize,
}

impl Outbox {
    /// Bytes that wait, behind gates too.
    ///
    /// While a reply is being written, what the tail holds is lent to it and does not count.
    pub fn len(&self) -> usize {
        (self.queued_bytes + self.tail.len()).saturating_sub(self.sent)
    }

    /// Bytes that stand before the first gate.
    pub fn open_len(&self) -> usize {
        let before_gate = self.pieces.iter().take_while(|p| !matches!(p, Piece::Gate(_)));
        let gated = self.pieces.iter().any(|p| matches!(p, Piece::Gate(_)));
        let tail = if gated { 0 } else { self.tail.len() };
        (before_gate.map(|p| p.bytes().len()).sum::<usize>() + tail).saturating_sub(self.sent)
    }

    /// Nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory held, for CLIENT LIST and the client's limits.
    pub fn memory_bytes(&self) -> usize {
        self.queued_bytes + self.tail.capacity()
    }

    /// Bytes of the last replies, not handed to the list yet (`obl` of CLIENT LIST).
    ///
    /// While a reply is being written, what the tail holds is lent to it and does not count.
    pub fn tail_len(&self) -> usize {
        let sent = if self.pieces.is_empty() { self.sent } else { 0 };
        self.tail.len().saturating_sub(sent)
    }

    /// Bytes that the buffer of the last replies can take before it grows (`rbs` of CLIENT LIST).
    pub fn tail_capacity(&self) -> usize {
        self.tail.capacity()
    }

    /// How many pieces wait in the list (`oll` of CLIENT LIST).
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Appends bytes that others hold too.
    pub fn push_shared(&mut self, bytes: Arc<Vec<u8>>) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.pieces.push_back(Piece::Shared(bytes));
    }

    /// Appends the bytes of a value without copying them.
    pub fn push_lent(&mut self, bytes: SharedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.pieces.push_back(Piece::Lent(bytes));
    }

    /// Appends owned bytes without copying them.
    pub fn push_owned(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.pieces.push_back(Piece::Bytes(bytes));
    }

    /// Closes a gate: what is appended from now on waits for it.
    pub fn push_gate(&mut self, gate: Gate) {
        self.seal_tail();
        self.pieces.push_back(Piece::Gate(gate));
    }

    /// Inserts bytes just before a gate that is still closed.
    pub fn push_before(&mut self, gate: Gate, bytes: Arc<Vec<u8>>) {
        if let (Some(at), false) = (self.gate_at(gate), bytes.is_empty()) {
            self.queued_bytes += bytes.len();
            self.pieces.insert(at, Piece::Shared(bytes));
        }
    }

    /// Opens a gate: its event has come.
    pub fn open(&mut self, gate: Gate) {
        if let Some(at) = self.gate_at(gate) {
            self.pieces.remove(at);
        }
    }

    fn gate_at(&self, gate: Gate) -> Option<usize> {
        self.pieces.iter().position(|p| matches!(p, Piece::Gate(g) if *g == gate))
    }

    /// Ends a long tail that waits for a slow reader: appending to it would at some size move all of it.
    pub(crate) fn seal_waiting_tail(&mut self) {
        let waits = self.sent > 0 || !self.pieces.is_empty();
        if waits && self.tail.len() >= LONG_TAIL_BYTES {
            self.seal_tail();
        }
    }

    fn seal_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        self.queued_bytes += self.tail.len();
        self.pieces.push_back(Piece::Bytes(std::mem::take(&mut self.tail)));
    }

    /// Whether some byte may leave now.
    pub fn has_open_bytes(&self) -> bool {
        match self.pieces.front() {
            None => self.tail.len() > self.sent,
            Some(Piece::Gate(_)) => false,
            // A first piece that is written out is removed at once.
            Some(_) => true,
        }
    }

    /// Fills `slices` with the open prefix, for one vectored write; says how many it filled.
    pub fn open_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut skip = self.sent;
        for piece in &self.pieces {
            if matches!(piece, Piece::Gate(_)) || filled == slices.len() {
                return filled;
            }
            slices[filled] = IoSlice::new(&piece.bytes()[skip..]);
            skip = 0;
            filled += 1;
        }
        if filled < slices.len() && self.tail.len() > skip {
            slices[filled] = IoSlice::new(&self.tail[skip..]);
            filled += 1;
        }
        filled
    }

    /// Takes note that the first `written` open bytes have left.
    pub fn consume(&mut self, written: usize) {
        self.sent += written;
        while let Some(piece) = self.pieces.front() {
            let len = piece.bytes().len();
            if matches!(piece, Piece::Gate(_)) || self.sent < len {
                return;
            }
            self.sent -= len;
            self.queued_bytes -= len;
            self.pieces.pop_front();
        }
        if self.sent == self.tail.len() {
            self.sent = 0;
            self.tail.clear();
            if self.tail.capacity() > LONG_TAIL_BYTES {
                self.tail = Vec::new();
            }
        }
    }

    /// Throws everything away: the connection is going.
    pub fn clear(&mut self) {
        *self = Outbox::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_slow_reader_is_not_moved_again() {
        let mut outbox = Outbox::default();
        outbox.tail.resize(2 * LONG_TAIL_BYTES, b'a');
        outbox.seal_waiting_tail();
        assert_eq!(outbox.pieces(), 0, "it may leave at once");
        outbox.consume(1);
        outbox.seal_waiting_tail();
        assert_eq!(outbox.pieces(), 1);
        outbox.tail.push(b'b');
        outbox.seal_waiting_tail();
        assert_eq!((outbox.pieces(), outbox.len()), (1, 2 * LONG_TAIL_BYTES));
        let out = drain(&mut outbox, 50_000);
        assert_eq!(out.len(), 2 * LONG_TAIL_BYTES);
        assert!(out.ends_with(b"ab"));
    }

    fn drain(outbox: &mut Outbox, step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while outbox.has_open_bytes() {
            let mut slices = [IoSlice::new(&[]); 4];
            let n = outbox.open_slices(&mut slices);
            let all: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            let take = step.min(all.len());
            assert!(take > 0, "open bytes were promised");
            out.extend_from_slice(&all[..take]);
            outbox.consume(take);
        }
        out
    }

    #[test]
    fn bytes_leave_in_order_and_not_before_their_gate() {
        for step in 1..9 {
            let mut outbox = Outbox::default();
            let gate = Gate::Snapshot(JobId(7));
            outbox.tail.extend_from_slice(b"reply ");
            outbox.push_shared(Arc::new(b"shared ".to_vec()));
            outbox.tail.extend_from_slice(b"more ");
            outbox.push_gate(gate);
            outbox.push_owned(b"stream ".to_vec());
            outbox.tail.extend_from_slice(b"tail");
            let mut out = drain(&mut outbox, step);
            assert_eq!(out, b"reply shared more ");
            outbox.push_before(gate, Arc::new(b"snapshot ".to_vec()));
            outbox.push_before(gate, Arc::new(b"bytes ".to_vec()));
            out.extend(drain(&mut outbox, step));
            assert_eq!(out, b"reply shared more snapshot bytes ");
            outbox.open(gate);
            out.extend(drain(&mut outbox, step));
            assert_eq!(out, b"reply shared more snapshot bytes stream tail");
            assert!(outbox.is_empty());
            assert_eq!(outbox.len(), 0);
        }
    }
}
