//! The half of a connection that moves bytes: it needs no node to be read, parsed or written.

use russet_protocol::RequestParser;

use super::outbox::Outbox;

/// A query buffer, its parser and an outbox.
#[derive(Debug, Default)]
pub struct Wire {
    /// Bytes that arrived; those before `start` are done with.
    pub(crate) query: Vec<u8>,
    pub(crate) start: usize,
    /// Length of `query` when bytes were last counted.
    counted: usize,
    /// So much has arrived that nothing is read until some of it is served.
    is_ahead: bool,
    pub(crate) parser: RequestParser,
    /// Bytes to leave.
    pub outbox: Outbox,
}

/// Bytes that are read at once at most, and the size of a query buffer to begin with.
pub(super) const READ_BYTES: usize = 16 * 1024;

impl Wire {
    /// Bytes that arrived and are not done with; none while they are lent to the batch that runs.
    pub fn pending(&self) -> usize {
        self.query.len().saturating_sub(self.start)
    }

    /// The pending bytes.
    pub(crate) fn pending_bytes(&self) -> &[u8] {
        &self.query[self.start..]
    }

    /// How many bytes were appended to the query buffer since it was lent out or last counted.
    #[inline]
    pub(super) fn count_new(&mut self) -> u64 {
        let counted = std::mem::replace(&mut self.counted, self.query.len());
        self.query.len().saturating_sub(counted) as u64
    }

    /// Bytes that the query buffer can take before it grows.
    pub fn spare(&self) -> usize {
        self.query.capacity() - self.query.len()
    }

    /// Forgets the first `len` pending bytes.
    pub(crate) fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.query.len() {
            self.query.clear();
            self.start = 0;
        }
    }

    /// Whether nothing more is to be read: requests wait for their turn, and enough of them have arrived.
    ///
    /// Whoever is not in the queue of ready clients has at most the beginning of a request, and the rest must come.
    #[inline]
    pub(super) fn reads_too_far_ahead(&mut self, is_ready: bool, most: usize) -> bool {
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
            // A long body that is under way is read in larger pieces, but never by its claim alone.
            let awaited = self.parser.awaited_len().unwrap_or(0).saturating_sub(self.query.len());
            let room = awaited.clamp(READ_BYTES, READ_BYTES.max(self.query.len()).min(1 << 20));
            self.query.reserve(room);
        }
        self.counted = self.query.len();
    }
}
