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
//! Replies go into `tail`, a plain vector, which the driver usually writes with one call. Large or
//! shared data (a block of the replication stream, a snapshot's bytes) is reference-counted.
//!
//! A mark holds the absolute offset from which bytes wait for a gate. Marks are separate from the
//! pieces, so that one can be set after its bytes were written: only then is it known what a reply
//! must wait for. Bytes behind a gate are sent when its event occurs; if the event fails, they are
//! never sent and the connection is closed.
//!
//! A value that is lent several times takes its memory once, and so it counts once for the limits.
//!
//! What begins a synchronization is *exempt* from the output buffer limits of replicas, which apply to
//! the stream behind it: a full one's payload, which has its own limit, and the blocks of the backlog
//! of a partial one.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::sync::Arc;

use russet_ds::SharedBytes;

use crate::ids::{JobId, RequestId};
use crate::io::LARGE_BYTES;
use crate::shared::Shared;

/// An event that must occur before the bytes behind the gate may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The outbox contains all bytes of this snapshot, before the gate.
    Snapshot(JobId),
    /// The world has carried out this request.
    Request(RequestId),
    /// The save that follows a FLUSHALL has ended.
    Flush,
    /// The append-only file holds this batch as safely as `appendfsync` promises.
    Batch(u64),
}

/// Maximum length of a write: the kernel copies it, and on loopback delivers it, within the turn.
const WRITE_BYTES_MAX: usize = 256 * 1024;

/// Minimum length of a long tail.
const LONG_TAIL_BYTES: usize = 64 * 1024;

/// Minimum length of a message that is shared among its receivers; copying a shorter one is
/// cheaper.
const SHARED_MESSAGE_BYTES: usize = 1024;

/// Memory that each lent value takes beside its bytes: its piece, and one for the bytes before it.
pub(crate) const LENT_OVERHEAD: usize = 2 * size_of::<Piece>() + 16;

#[derive(Debug)]
enum Piece {
    Bytes(Vec<u8>),
    Shared(Arc<Shared>),
    Lent(SharedBytes),
    Exempt(Arc<Shared>),
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

/// Bytes from this offset on wait for this gate.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: u64,
    gate: Gate,
}

/// The output of a connection.
#[derive(Debug, Default)]
pub struct Outbox {
    pieces: VecDeque<Piece>,
    /// Written bytes of the first piece, or of `tail` if there is none.
    sent: usize,
    /// The buffer for new replies.
    pub(crate) tail: Vec<u8>,
    /// Bytes in `pieces`.
    queued_bytes: usize,
    /// Exempt bytes in `pieces`.
    exempt_bytes: usize,
    /// Bytes in `pieces` that others may own too.
    shared_bytes: usize,
    /// Values in `pieces` that are shared with the keyspace.
    lent: usize,
    /// How often each of them is in `pieces`, by address.
    lent_times: BTreeMap<usize, usize>,
    /// Bytes of values in `pieces` that are in them more than once already.
    repeated_bytes: usize,
    /// Total bytes sent: the absolute offset of the first byte.
    left: u64,
    /// Closed gates, by offset.
    marks: VecDeque<Mark>,
    /// A large piece that was sent, to be freed elsewhere.
    spent: Option<Piece>,
}

impl Outbox {
    /// Returns all pending bytes, including those behind gates.
    ///
    /// While a reply is being written, the tail is lent to it and does not count.
    pub fn len(&self) -> usize {
        (self.queued_bytes + self.tail.len()).saturating_sub(self.sent)
    }

    /// Returns the absolute end offset.
    pub fn end(&self) -> u64 {
        self.left + self.len() as u64
    }

    /// Returns the bytes before the first closed gate.
    pub fn open_len(&self) -> usize {
        match self.marks.front() {
            Some(mark) => usize::try_from(mark.at - self.left).unwrap_or(usize::MAX),
            None => self.len(),
        }
    }

    /// Returns the bytes subject to the limits of the connection's class.
    pub fn limited_len(&self) -> usize {
        let uncounted = self.exempt_bytes + self.repeated_bytes;
        self.len().saturating_sub(uncounted) + self.lent * LENT_OVERHEAD
    }

    /// Whether nothing is pending.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the memory usage, for CLIENT LIST and the client's limits.
    pub fn memory_bytes(&self) -> usize {
        self.queued_bytes + self.tail.capacity() + self.lent * LENT_OVERHEAD
    }

    /// Returns the part of the memory usage that others may own too.
    pub fn shared_bytes(&self) -> usize {
        self.shared_bytes
    }

    /// Iterates over the values that are shared with the keyspace.
    pub fn lent(&self) -> impl Iterator<Item = &SharedBytes> {
        let pieces = if self.lent > 0 { self.pieces.len() } else { 0 };
        self.pieces.iter().take(pieces).filter_map(|piece| match piece {
            Piece::Lent(bytes) => Some(bytes),
            _ => None,
        })
    }

    /// Returns the bytes in the tail (`obl` of CLIENT LIST).
    ///
    /// While a reply is being written, the tail is lent to it and does not count.
    pub fn tail_len(&self) -> usize {
        let sent = if self.pieces.is_empty() { self.sent } else { 0 };
        self.tail.len().saturating_sub(sent)
    }

    /// Returns the capacity of the tail (`rbs` of CLIENT LIST).
    pub fn tail_capacity(&self) -> usize {
        self.tail.capacity()
    }

    /// Returns the number of pieces (`oll` of CLIENT LIST).
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Appends shared bytes.
    pub fn push_shared(&mut self, bytes: Arc<Shared>) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.shared_bytes += bytes.len();
        self.pieces.push_back(Piece::Shared(bytes));
    }

    /// Appends shared bytes that are exempt from limits.
    pub fn push_exempt(&mut self, bytes: Arc<Shared>) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.exempt_bytes += bytes.len();
        self.shared_bytes += bytes.len();
        self.pieces.push_back(Piece::Exempt(bytes));
    }

    /// Appends a message to several clients: shared if it is long, else copied.
    pub fn push_message(&mut self, message: Arc<Shared>) {
        if message.len() >= SHARED_MESSAGE_BYTES {
            self.push_shared(message);
        } else {
            self.tail.extend_from_slice(&message);
        }
    }

    /// Appends the bytes of a value, shared with the keyspace.
    pub fn push_lent(&mut self, bytes: SharedBytes) {
        if bytes.is_empty() {
            return;
        }
        self.seal_tail();
        self.queued_bytes += bytes.len();
        self.shared_bytes += bytes.len();
        self.lent += 1;
        let times = self.lent_times.entry(bytes.as_ptr().addr()).or_default();
        self.repeated_bytes += if *times > 0 { bytes.len() } else { 0 };
        *times += 1;
        self.pieces.push_back(Piece::Lent(bytes));
    }

    /// Closes a gate: bytes appended from now on wait for it.
    pub fn close_gate(&mut self, gate: Gate) {
        self.seal_tail();
        self.mark(self.end(), gate);
    }

    /// Closes a gate at an absolute offset that has not been sent. Marks are set in the order of
    /// their offsets.
    pub fn mark(&mut self, at: u64, gate: Gate) {
        debug_assert!(self.left <= at && self.marks.back().is_none_or(|last| last.at <= at));
        self.marks.push_back(Mark { at, gate });
    }

    /// Closes the gate of a batch at an offset that has not been sent, unless the bytes there wait for
    /// it already. Returns whether it did. An offset that has been sent is taken for the first that
    /// has not.
    pub(crate) fn mark_batch(&mut self, at: u64, batch: u64) -> bool {
        let at = at.max(self.left);
        // The marks before the offset hold these bytes too.
        let index = self.marks.iter().rposition(|mark| mark.at <= at).map_or(0, |last| last + 1);
        let waits = |mark: &Mark| matches!(mark.gate, Gate::Batch(other) if other >= batch);
        if self.marks.iter().take(index).any(waits) {
            return false;
        }
        self.marks.insert(index, Mark { at, gate: Gate::Batch(batch) });
        true
    }

    /// Opens the gates of all batches up to this one.
    pub(crate) fn open_batches(&mut self, upto: u64) {
        self.marks.retain(|mark| !matches!(mark.gate, Gate::Batch(batch) if batch <= upto));
    }

    /// Opens a gate and returns the offset where it was.
    pub(crate) fn remove_gate(&mut self, gate: Gate) -> Option<u64> {
        let index = self.marks.iter().position(|mark| mark.gate == gate)?;
        self.marks.remove(index).map(|mark| mark.at)
    }

    /// Inserts exempt bytes before a closed gate; does nothing if it is open.
    pub fn insert_before(&mut self, gate: Gate, bytes: Arc<Shared>) {
        let Some(index) = self.marks.iter().position(|mark| mark.gate == gate) else { return };
        if bytes.is_empty() {
            return;
        }
        let mut offset = self.left - self.sent as u64;
        let at = self.marks[index].at;
        // The tail was sealed when the gate was closed, so a piece ends at its offset.
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
        self.shared_bytes += bytes.len();
        self.pieces.insert(place.unwrap_or(self.pieces.len()), Piece::Exempt(bytes));
    }

    /// Whether a gate is closed.
    pub fn has_gate(&self, gate: Gate) -> bool {
        self.marks.iter().any(|mark| mark.gate == gate)
    }

    /// Opens a gate: its event has occurred.
    pub fn open_gate(&mut self, gate: Gate) {
        self.marks.retain(|mark| mark.gate != gate);
    }

    /// Seals a long tail of a slow reader: growing it would copy all of it.
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

    /// Whether there are bytes that may be sent now.
    #[inline]
    pub fn has_open_bytes(&self) -> bool {
        match self.marks.front() {
            Some(mark) => mark.at > self.left,
            None => !self.is_empty(),
        }
    }

    /// Fills `slices` with bytes that may be sent, for a vectored write, and returns how many it
    /// filled. There may be more: a write is bounded.
    pub fn open_slices<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let (mut skip, mut open) = (self.sent, self.open_len().min(WRITE_BYTES_MAX));
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

    /// Consumes `written` open bytes.
    pub fn consume(&mut self, written: usize) {
        self.left += written as u64;
        self.sent += written;
        while let Some(piece) = self.pieces.front() {
            let len = piece.bytes().len();
            if self.sent < len {
                return;
            }
            match piece {
                Piece::Bytes(_) => {}
                Piece::Shared(_) => self.shared_bytes -= len,
                Piece::Lent(bytes) => {
                    (self.shared_bytes, self.lent) = (self.shared_bytes - len, self.lent - 1);
                    let address = bytes.as_ptr().addr();
                    match self.lent_times.get_mut(&address) {
                        Some(times) if *times > 1 => {
                            *times -= 1;
                            self.repeated_bytes -= len;
                        }
                        _ => drop(self.lent_times.remove(&address)),
                    }
                }
                Piece::Exempt(_) => {
                    self.shared_bytes -= len;
                    self.exempt_bytes -= len;
                }
            }
            self.sent -= len;
            self.queued_bytes -= len;
            // A write is shorter than a large piece, so there is one at most.
            self.spent =
                self.pieces.pop_front().filter(|_| len >= LARGE_BYTES).or(self.spent.take());
        }
        if self.sent == self.tail.len() {
            self.sent = 0;
            self.tail.clear();
            if self.tail.capacity() > LONG_TAIL_BYTES {
                let tail = std::mem::take(&mut self.tail);
                if tail.capacity() >= LARGE_BYTES {
                    self.spent = Some(Piece::Bytes(tail));
                }
            }
        }
    }

    /// Frees the tail's memory if it is empty and has more than this.
    pub(crate) fn free_spare(&mut self, bytes_max: usize) {
        if self.tail.is_empty() && self.tail.capacity() > bytes_max {
            self.tail = Vec::new();
        }
    }

    /// Takes a large piece that was sent, which takes long to free.
    #[inline]
    pub(crate) fn take_spent(&mut self) -> Option<impl Any + Send> {
        self.spent.take()
    }

    /// Discards everything, and returns it.
    pub fn clear(&mut self) -> Outbox {
        std::mem::take(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Meter;

    #[test]
    fn pending_output_of_slow_readers_is_not_moved_again() {
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

    fn shared(bytes: Vec<u8>) -> Arc<Shared> {
        Meter::default().share(bytes)
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
    fn bytes_are_sent_in_order_and_not_before_their_gate() {
        for step in 1..9 {
            let mut outbox = Outbox::default();
            let gate = Gate::Snapshot(JobId(7));
            outbox.tail.extend_from_slice(b"reply ");
            outbox.push_shared(shared(b"shared ".to_vec()));
            outbox.tail.extend_from_slice(b"more ");
            outbox.close_gate(gate);
            outbox.push_shared(shared(b"stream ".to_vec()));
            outbox.tail.extend_from_slice(b"tail");
            let mut out = drain(&mut outbox, step);
            assert_eq!(out, b"reply shared more ");
            outbox.insert_before(gate, shared(b"snapshot ".to_vec()));
            outbox.insert_before(gate, shared(b"bytes ".to_vec()));
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
    fn a_value_that_is_lent_several_times_counts_once() {
        let (value, other) = (SharedBytes::new(&[1; 20_000]), SharedBytes::new(&[2; 30_000]));
        for step in [7_000, 20_000, 1 << 20] {
            let mut outbox = Outbox::default();
            for _ in 0..10 {
                outbox.push_lent(value.clone());
                outbox.push_lent(other.clone());
            }
            assert_eq!(outbox.len(), 500_000);
            assert_eq!(outbox.limited_len(), 50_000 + 20 * LENT_OVERHEAD);
            assert_eq!(drain(&mut outbox, step).len(), 500_000);
            assert_eq!((outbox.limited_len(), outbox.lent_times.len()), (0, 0));
        }
    }

    #[test]
    fn a_gate_may_be_set_after_its_bytes() {
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
