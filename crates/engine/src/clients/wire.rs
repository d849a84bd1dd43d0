//! The transport state of a connection, independent of the node: query buffer, parser and outbox.

use russet_protocol::RequestParser;

use super::outbox::Outbox;

/// A query buffer, its parser and an outbox.
#[derive(Debug, Default)]
pub struct Wire {
    /// Received bytes; those before `start` are consumed.
    pub(crate) query: Vec<u8>,
    pub(crate) start: usize,
    /// Length of `query` when bytes were last counted.
    counted: usize,
    /// Whether reading is suspended because enough unserved bytes have been received.
    is_ahead: bool,
    pub(crate) parser: RequestParser,
    /// Output bytes.
    pub outbox: Outbox,
}

/// Size of a read, and the initial size of a query buffer.
pub(super) const READ_BYTES: usize = 16 * 1024;

impl Wire {
    /// Returns the number of pending bytes; none while they are lent to the running batch.
    pub fn pending(&self) -> usize {
        self.query.len().saturating_sub(self.start)
    }

    /// Returns the memory that requests take, in bytes: the query buffer and the table of the
    /// arguments of an incomplete request, which may be longer than the request.
    pub(super) fn request_bytes(&self) -> usize {
        self.query.capacity() + self.parser.memory_bytes()
    }

    /// Returns what counts for the limit of the query buffer.
    #[inline]
    pub(super) fn limited_bytes(&self) -> usize {
        self.pending() + self.parser.memory_bytes()
    }

    /// Returns the pending bytes.
    pub(crate) fn pending_bytes(&self) -> &[u8] {
        &self.query[self.start..]
    }

    /// Returns how many bytes were appended since the last count.
    #[inline]
    pub(super) fn count_new(&mut self) -> u64 {
        let counted = std::mem::replace(&mut self.counted, self.query.len());
        self.query.len().saturating_sub(counted) as u64
    }

    /// Returns the spare capacity of the query buffer.
    pub fn spare(&self) -> usize {
        self.query.capacity() - self.query.len()
    }

    /// Consumes the first `len` pending bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.query.len() {
            self.query.clear();
            self.start = 0;
        }
    }

    /// Whether reading must be suspended: enough requests are waiting.
    ///
    /// A client that is not ready has only an incomplete request, whose rest must be read.
    #[inline]
    pub(super) fn exceeds_read_ahead(&mut self, is_ready: bool, most: usize) -> bool {
        let ahead_max = if self.is_ahead { most / 8 } else { most };
        self.is_ahead = is_ready && self.pending() >= ahead_max;
        self.is_ahead
    }

    /// Makes room for one read.
    #[inline]
    pub(super) fn make_room(&mut self) {
        if self.start > 0 && self.spare() < READ_BYTES {
            self.query.drain(..self.start);
            self.start = 0;
        }
        if self.spare() < READ_BYTES {
            // A long argument is read in larger pieces, limited by what has arrived, not by its
            // claimed length.
            let awaited = self.parser.awaited_len().unwrap_or(0).saturating_sub(self.query.len());
            let room = awaited.clamp(READ_BYTES, READ_BYTES.max(self.query.len()).min(1 << 20));
            self.query.reserve(room);
        }
        self.counted = self.query.len();
    }
}
