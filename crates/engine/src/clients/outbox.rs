//! A connection's output: a FIFO of bytes, with gate marks beside them.
//!
//! ```text
//!   absolute offset  left              at                             end
//!                    ▼                 ▼                              ▼
//!                    ┌────────┬────────┬──────────────┬───────────────┐
//!                    │ bytes  │ shared │ bytes        │ tail          │
//!                    └────────┴────────┴──────────────┴───────────────┘
//!                      the shell       ╫ mark: (at, gate)
//!                      writes up to ───╜
//! ```
//!
//! Replies go into `tail`, a plain vector, and on the common path the shell writes it with one call. What is large or has
//! several readers (a block of the replication stream, a snapshot's bytes) goes in by reference count.
//!
//! A mark says from which absolute offset on bytes wait for a gate. It stands beside the pieces, so that it may be set
//! when the bytes are already there: what a reply has to wait for is known after it was written. What stands behind a gate
//! leaves when the event that it names has come, and never if that event fails: the connection is then closed.
//!
//! Bytes of a full synchronisation's payload are *exempt*: the limits of the replica's class are about the stream behind
//! them, and the payload has a bound of its own.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::Arc;

use russet_ds::SharedBytes;

use crate::ids::{JobId, RequestId};

/// What must have happened before the bytes behind it may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// All bytes of this snapshot stand in the outbox, before the gate.
    Snapshot(JobId),
    /// The world has carried out this request.
    Request(RequestId),
}

/// From this length on, a tail is long.
const LONG_TAIL_BYTES: usize = 64 * 1024;

/// From this length on, a message is shared among its receivers. Below, a copy costs less than a piece.
const SHARED_MESSAGE_BYTES: usize = 1024;

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Shared(Arc<Vec<u8>>),
    Lent(SharedBytes),
    Exempt(Arc<Vec<u8>>),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Bytes(bytes) => bytes,
            Piece::Shared(bytes) | Piece::Exempt(bytes) => bytes,
            Piece::Lent(bytes) => bytes,
        }
    }
}

/// From this offset on bytes wait for this gate.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    gate: Gate,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece (of `tail` if there is none) that have been written.
    sent: usize,
    /// Where replies are appended.
    pub(crate) tail: Vec<u8>,
    /// Bytes in `pieces`.
    queued_bytes: usize,
    /// Those of them that the limits of the connection's class are not about.
    exempt_bytes: usize,
    /// Bytes that have left since the connection began: the absolute offset of the first byte here.
    left: u64,
    /// Closed gates, by offset.
    marks: VecDeque<Mark>,
}

impl Outbox {
    /// Bytes that wait, behind gates too.
    ///
    /// While a reply is being written, what the tail holds is lent to it and does not count.
    pub fn len(&self) -> usize {
        (self.queued_bytes + self.tail.len()).saturating_sub(self.sent)
    }

    /// Absolute offset behind the last byte.
    pub fn end(&self) -> u64 {
        self.left + self.len() as u64
    }

    /// Bytes that stand before the first closed gate.
    pub fn open_len(&self) -> usize {
        match self.marks.front() {
            Some(mark) => usize::try_from(mark.at - self.left).unwrap_or(usize::MAX),
            None => self.len(),
        }
    }

    /// Bytes that the limits of the connection's class are about.
    pub fn limited_len(&self) -> usize {
        self.len().saturating_sub(self.exempt_bytes)
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

    /// Appends a message that other clients may be sent too: shared if it is long, copied if not.
    pub fn push_message(&mut self, message: Arc<Vec<u8>>) {
        if message.len() >= SHARED_MESSAGE_BYTES {
            self.push_shared(message);
        } else {
            self.tail.extend_from_slice(&message);
        }
    }

    /// Appends the bytes of a value, which the keyspace lends.
    pub fn push_lent(&mut self, bytes: SharedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.pieces.push_back(Piece::Lent(bytes));
    }

    /// Closes a gate: what is appended from now on waits for it.
    pub fn close_gate(&mut self, gate: Gate) {
        self.seal_tail();
        self.mark(self.end(), gate);
    }

    /// Bytes from this absolute offset on, which have not left, wait for a gate. Marks are set in the order of their
    /// offsets.
    pub fn mark(&mut self, at: u64, gate: Gate) {
        debug_assert!(self.left <= at && self.marks.back().is_none_or(|last| last.at <= at));
        self.marks.push_back(Mark { at, gate });
    }

    /// Inserts exempt bytes just before a gate that is still closed; nothing if it is not.
    pub fn insert_before(&mut self, gate: Gate, bytes: Arc<Vec<u8>>) {
        let Some(index) = self.marks.iter().position(|mark| mark.gate == gate) else { return };
        if bytes.is_empty() {
            return;
        }
        let mut offset = self.left - self.sent as u64;
        let at = self.marks[index].at;
        // The tail was sealed when the gate was closed, so a piece ends where it stands.
        let place = self.pieces.iter().position(|piece| {
            let here = offset >= at;
            offset += piece.bytes().len() as u64;
            here
        });
        for mark in self.marks.iter_mut().skip(index) {
            mark.at += bytes.len() as u64;
        }
        self.queued_bytes += bytes.len();
        self.exempt_bytes += bytes.len();
        self.pieces.insert(place.unwrap_or(self.pieces.len()), Piece::Exempt(bytes));
    }

    /// Opens a gate: its event has come.
    pub fn open_gate(&mut self, gate: Gate) {
        self.marks.retain(|mark| mark.gate != gate);
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
    #[inline]
    pub fn has_open_bytes(&self) -> bool {
        match self.marks.front() {
            Some(mark) => mark.at > self.left,
            None => !self.is_empty(),
        }
    }

    /// Fills `slices` with bytes that may leave, for one vectored write; says how many it filled.
    pub fn open_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let (mut skip, mut open) = (self.sent, self.open_len());
        let tail = (!self.tail.is_empty()).then_some(self.tail.as_slice());
        for bytes in self.pieces.iter().map(Piece::bytes).chain(tail) {
            if open == 0 || filled == slices.len() {
                break;
            }
            let bytes = &bytes[skip..];
            let bytes = &bytes[..bytes.len().min(open)];
            slices[filled] = IoSlice::new(bytes);
            (skip, filled) = (0, filled + 1);
            open -= bytes.len();
        }
        filled
    }

    /// Takes note that the first `written` open bytes have left.
    pub fn consume(&mut self, written: usize) {
        self.left += written as u64;
        self.sent += written;
        while let Some(piece) = self.pieces.front() {
            let len = piece.bytes().len();
            if self.sent < len {
                return;
            }
            if matches!(piece, Piece::Exempt(_)) {
                self.exempt_bytes -= len;
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
            assert!(all.len() <= outbox.open_len());
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
            outbox.close_gate(gate);
            outbox.push_shared(Arc::new(b"stream ".to_vec()));
            outbox.tail.extend_from_slice(b"tail");
            let mut out = drain(&mut outbox, step);
            assert_eq!(out, b"reply shared more ");
            outbox.insert_before(gate, Arc::new(b"snapshot ".to_vec()));
            outbox.insert_before(gate, Arc::new(b"bytes ".to_vec()));
            assert_eq!(outbox.limited_len(), b"stream tail".len());
            out.extend(drain(&mut outbox, step));
            assert_eq!(out, b"reply shared more snapshot bytes ");
            outbox.open_gate(gate);
            out.extend(drain(&mut outbox, step));
            assert_eq!(out, b"reply shared more snapshot bytes stream tail");
            assert!(outbox.is_empty());
            assert_eq!((outbox.len(), outbox.limited_len(), outbox.end()), (0, 0, 44));
        }
    }

    #[test]
    fn a_gate_may_be_set_when_its_bytes_are_there() {
        let (mut outbox, gate) = (Outbox::default(), Gate::Snapshot(JobId(1)));
        outbox.tail.extend_from_slice(b"free ");
        let at = outbox.end();
        outbox.tail.extend_from_slice(b"bound");
        outbox.mark(at, gate);
        assert_eq!(drain(&mut outbox, 2), b"free ");
        assert!(!outbox.has_open_bytes());
        outbox.open_gate(gate);
        assert_eq!(drain(&mut outbox, 2), b"bound");
    }
}
