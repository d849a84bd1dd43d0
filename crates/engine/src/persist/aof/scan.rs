//! The search behind damage: do batch lines prove that the damaged bytes were on disk, do whole commands follow?

use memchr::memmem;

use super::batch::{BatchLine, LINE_BYTES_MAX, LINE_PREFIX};
use super::resync::Resync;

/// Looks for batch lines and commands in bytes whose structure is lost.
#[derive(Debug)]
pub(super) struct Scan {
    /// The last bytes, which may begin a line.
    rest: Vec<u8>,
    /// Offset in the file of their first byte.
    offset: u64,
    damage: u64,
    /// The most bytes that a line knew to be on disk.
    synced: u64,
    is_zero: bool,
    commands: Resync,
}

impl Scan {
    /// Creates a search that begins at this offset of the file, with damage at another one.
    pub(super) fn new(offset: u64, damage: u64) -> Scan {
        Scan { rest: Vec::new(), offset, damage, synced: 0, is_zero: true, commands: Resync::new() }
    }

    /// Returns the most bytes of the file that any line found knew to be on disk.
    pub(super) fn synced(&self) -> u64 {
        self.synced
    }

    /// Whether all bytes from the damage on are zero: room that a file system added and never filled.
    pub(super) fn is_zero(&self) -> bool {
        self.is_zero
    }

    /// Whether the bytes end with whole commands of another server, which begin on a line of their own.
    pub(super) fn ends_with_commands(&self) -> bool {
        self.commands.ends_whole()
    }

    /// Looks at the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let before = self.damage.saturating_sub(self.offset + self.rest.len() as u64);
        let before = usize::try_from(before).unwrap_or(usize::MAX).min(bytes.len());
        self.is_zero &= bytes[before..].iter().all(|&byte| byte == 0);
        self.commands.feed(bytes);
        self.rest.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(found) = memmem::find(&self.rest[at..], LINE_PREFIX) {
            let start = at + found;
            let line = &self.rest[start..self.rest.len().min(start + LINE_BYTES_MAX)];
            match memchr::memchr(b'\n', line) {
                Some(end) => self.line(start, end + 1),
                None if line.len() < LINE_BYTES_MAX => return self.keep_from(start),
                None => {}
            }
            at = start + LINE_PREFIX.len();
        }
        self.keep_from(at.max(self.rest.len().saturating_sub(LINE_PREFIX.len() - 1)));
    }

    fn line(&mut self, start: usize, len: usize) {
        let offset = self.offset + start as u64;
        if let Some(line) = BatchLine::parse(&self.rest[start..start + len])
            && line.offset == offset
            && line.synced <= offset
        {
            self.synced = self.synced.max(line.synced);
        }
    }

    fn keep_from(&mut self, at: usize) {
        self.rest.drain(..at);
        self.offset += at as u64;
    }
}
