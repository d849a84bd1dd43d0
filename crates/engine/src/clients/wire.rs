//! The transport state of a connection, independent of the node: query buffer, parser and outbox.

use russet_protocol::RequestParser;

use super::large::{Filling, Large};
use super::outbox::Outbox;

/// A query buffer, its parser and an outbox.
#[derive(Debug, Default)]
pub struct Wire {
    /// Received bytes; those before `start` are consumed.
    pub(crate) query: Vec<u8>,
    pub(crate) start: usize,
    /// Length of the buffer that is read into when bytes were last counted.
    counted: usize,
    /// Whether reading is suspended because enough unserved bytes have been received.
    is_ahead: bool,
    pub(crate) parser: RequestParser,
    /// A long argument of the first request that is being read.
    filling: Option<Box<Filling>>,
    /// The long arguments of the first request.
    pub(crate) large: Large,
    /// Output bytes.
    pub outbox: Outbox,
}

/// Size of a read, and the initial size of a query buffer.
pub(super) const READ_BYTES: usize = 16 * 1024;

impl Wire {
    /// Returns the number of pending bytes; none while they are lent to the running batch.
    pub fn pending(&self) -> usize {
        let pending = self.query.len().saturating_sub(self.start);
        if self.large.is_empty() { pending } else { pending + self.large_bytes() }
    }

    /// Returns the bytes of long arguments that have arrived.
    #[cold]
    fn large_bytes(&self) -> usize {
        self.large.len() + self.filling.as_ref().map_or(0, |filling| filling.bytes.len())
    }

    /// Returns the memory that requests take, in bytes: the query buffer and the table of the
    /// arguments of an incomplete request, which may be longer than the request.
    pub(super) fn request_bytes(&self) -> usize {
        let large = if self.large.is_empty() { 0 } else { self.large_bytes() };
        self.query.capacity() + large + self.parser.memory_bytes()
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
        let len = match &self.filling {
            Some(filling) => filling.bytes.len(),
            None => self.query.len(),
        };
        let counted = std::mem::replace(&mut self.counted, len);
        len.saturating_sub(counted) as u64
    }

    /// Returns the buffer to read into.
    #[inline]
    pub(super) fn read_buffer(&mut self) -> &mut Vec<u8> {
        match &mut self.filling {
            Some(filling) => &mut filling.bytes,
            None => &mut self.query,
        }
    }

    /// Detaches the awaited argument of the first request if it has at least this length and a part of it
    /// has arrived.
    pub(super) fn detach_large(&mut self, len_min: usize) {
        let Some((at, len)) = self.parser.awaited_argument() else { return };
        let begin = self.start + at;
        let arrived = self.query.get(begin..).unwrap_or_default();
        if len < len_min || arrived.len() < len_min / 4 || arrived.len() > len {
            return;
        }
        if let Some(filling) = Filling::new(len, arrived) {
            self.query.truncate(begin);
            self.parser.detach_awaited();
            self.large.places.push(at);
            self.filling = Some(Box::new(filling));
        }
    }

    /// Completes a long argument that has arrived. Returns false if bytes of it are still missing.
    #[inline]
    pub(super) fn has_all_of_large(&mut self) -> bool {
        match &self.filling {
            None => true,
            Some(filling) if !filling.is_complete() => false,
            Some(_) => self.finish_large(),
        }
    }

    #[cold]
    fn finish_large(&mut self) -> bool {
        if let Some(filling) = self.filling.take() {
            self.large.arguments.push(filling.finish(&mut self.query));
        }
        true
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
    }

    /// Counts bytes from the present length of the buffer on.
    #[inline]
    pub(super) fn begin_count(&mut self) {
        self.counted = self.read_buffer().len();
    }
}
