//! What a file consists of: commands, annotations, batches, one after another, and up to where it is good.
//!
//! Not here: where the bytes come from. A window holds everything of the file that is available from `offset` on; if that
//! does not decide what the next item is, more is asked for.

use super::foreign::is_continued;
use crate::persist::aof::batch::{BatchLine, Chain, FileEnd, LINE_PREFIX, TIMESTAMP_PREFIX};
use crate::persist::aof::checksum::ends_with_digits;
use crate::persist::aof::command::{CommandParser, Found};
use crate::persist::aof::error::AofErrorKind;

/// Maximum length of an annotation in bytes, as in Redis.
const ANNOTATION_BYTES_MAX: usize = 1024;

/// What is expected next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// A command or a line.
    Item,
    /// The bytes of a batch, all of them.
    Batch(BatchLine),
    /// The commands of a verified batch: the offset of its line, and the number of bytes left of it.
    Verified { line: u64, left: u64 },
}

/// What an item within the window is.
pub(super) enum Item {
    /// So many bytes of the window are needed.
    Need(usize),
    /// A command of this length; the parser has its arguments.
    Command(usize),
    /// The length of a timestamp, and its seconds.
    Timestamp(usize, i64),
    /// Something without a result of its own, of this length.
    Silent(usize),
    /// What is wrong at which offset of the window, and whether it may be the work of a lost write.
    Failed(AofErrorKind, usize, bool),
}

/// The state of reading a file.
#[derive(Debug)]
pub(super) struct Grammar {
    /// Length of the file.
    file_len: u64,
    /// Offset of the next item.
    pub(super) offset: u64,
    pub(super) phase: Phase,
    pub(super) parser: CommandParser,
    /// The chain up to `offset`; in a batch, up to its line.
    chain: Chain,
    /// The text of the current batch's line.
    line: Vec<u8>,
    /// The most bytes that a verified batch line knew to be on disk.
    synced: u64,
    /// Whether there was a batch.
    has_batches: bool,
    /// Whether there are commands since the last batch, or since the beginning: those of a stock server.
    has_plain: bool,
    /// The end of the last verified batch, or where reading began, and the checksum there.
    batch_end: (u64, u64),
    /// Offset of an open MULTI, and the chain up to it.
    transaction: Option<(u64, Chain)>,
    /// The argument of the last SELECT.
    pub(super) selected: Vec<u8>,
    /// Whether an item is not what it should be: nothing is read any more.
    pub(super) has_failed: bool,
}

impl Grammar {
    /// Begins at an offset of a file of this length.
    pub(super) fn new(offset: u64, file_len: u64) -> Grammar {
        Grammar {
            file_len,
            offset,
            phase: Phase::Item,
            parser: CommandParser::default(),
            chain: Chain::after(0),
            line: Vec::new(),
            synced: 0,
            has_batches: false,
            has_plain: false,
            batch_end: (offset, 0),
            transaction: None,
            selected: Vec::new(),
            has_failed: false,
        }
    }

    /// Returns the offset up to which the file is good: behind the last complete command outside of a transaction, the last
    /// verified batch whose commands were all returned, or the last annotation. A timestamp in front of a batch that is
    /// damaged or incomplete may be what is damaged, and is not good.
    pub(super) fn boundary(&self) -> u64 {
        match (self.phase, &self.transaction) {
            (Phase::Verified { line, .. }, _) => line,
            (_, Some((offset, _))) => *offset,
            _ if self.is_unverified() => self.batch_end.0,
            (Phase::Batch(line), None) => line.offset,
            (Phase::Item, None) => self.offset,
        }
    }

    /// Whether what stands behind the last batch would be verified by another one that is not good.
    fn is_unverified(&self) -> bool {
        let is_needed = matches!(self.phase, Phase::Batch(_)) || self.has_failed;
        is_needed && !self.has_plain
    }

    /// Whether the next item is within MULTI and EXEC.
    pub(super) fn is_in_transaction(&self) -> bool {
        self.transaction.is_some()
    }

    /// Returns where a writer continues the file, which is cut at the boundary unless it is complete.
    pub(super) fn file_end(&self) -> FileEnd {
        let chain = match &self.transaction {
            Some((_, chain)) => chain.clone(),
            None if self.is_unverified() => Chain::after(self.batch_end.1),
            None => self.chain.clone(),
        };
        let offset = self.boundary();
        // Nothing is known of what stock servers have appended.
        let synced = if self.has_batches { self.synced.min(offset) } else { offset };
        FileEnd { offset, synced, chain }
    }

    /// Finds out what the window begins with, which is everything that is available of the file from `offset` on.
    pub(super) fn item(&mut self, window: &[u8]) -> Item {
        match self.phase {
            Phase::Batch(line) => self.batch(line, window),
            Phase::Verified { line, left } => self.verified_command(line, left, window),
            Phase::Item => match window.first() {
                None => Item::Need(1),
                Some(b'*') => self.plain_command(window),
                Some(b'#') => self.annotation(window),
                Some(&byte) => {
                    let may_be_torn = byte == 0 || self.follows_batch();
                    Item::Failed(AofErrorKind::UnknownByte(byte), 0, may_be_torn)
                }
            },
        }
    }

    /// A command outside of batches.
    fn plain_command(&mut self, window: &[u8]) -> Item {
        let room = self.file_len.saturating_sub(self.offset);
        match self.parser.parse(window, room) {
            Found::Need(need) => Item::Need(need),
            Found::Beyond => Item::Failed(AofErrorKind::Beyond, 0, true),
            Found::Bad(at, what) => {
                Item::Failed(AofErrorKind::Malformed(what), at, self.follows_batch())
            }
            Found::Command(len) => match self.note(window) {
                Err(kind) => Item::Failed(kind, 0, false),
                Ok(()) => {
                    self.chain.add(&window[..len]);
                    self.has_plain = true;
                    Item::Command(len)
                }
            },
        }
    }

    /// Notes what a command means for the file: MULTI, EXEC and SELECT.
    fn note(&mut self, window: &[u8]) -> Result<(), AofErrorKind> {
        let args = self.parser.args();
        let text = |index: usize| args.get(index).map(|range| &window[range.start..range.end]);
        let name = text(0).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"MULTI") {
            if self.transaction.is_some() {
                return Err(AofErrorKind::UnexpectedMulti);
            }
            self.transaction = Some((self.offset, self.chain.clone()));
        } else if name.eq_ignore_ascii_case(b"EXEC") {
            self.transaction.take().ok_or(AofErrorKind::UnexpectedExec)?;
        } else if name.eq_ignore_ascii_case(b"SELECT") {
            self.selected.clear();
            self.selected.extend_from_slice(text(1).unwrap_or_default());
        }
        Ok(())
    }

    fn annotation(&mut self, window: &[u8]) -> Item {
        let start = &window[..window.len().min(ANNOTATION_BYTES_MAX)];
        let Some(end) = memchr::memchr(b'\n', start) else {
            return match start.len() < ANNOTATION_BYTES_MAX {
                true => Item::Need(start.len() + 1),
                false => Item::Failed(AofErrorKind::AnnotationTooLong, 0, self.may_be_torn(start)),
            };
        };
        let line = &start[..=end];
        if line.starts_with(LINE_PREFIX) {
            return self.batch_line(line);
        }
        if line.starts_with(TIMESTAMP_PREFIX) {
            let Some(seconds) = parse_timestamp(line) else {
                return Item::Failed(AofErrorKind::DamagedAnnotation, 0, self.may_be_torn(line));
            };
            self.chain.add(line);
            return Item::Timestamp(line.len(), seconds);
        }
        // Another kind, unless it stands where only ours do.
        let is_ours = self.follows_batch() || line.starts_with(b"#RS");
        if is_ours || ends_with_digits(line) || line.contains(&0) {
            return Item::Failed(AofErrorKind::DamagedAnnotation, 0, self.may_be_torn(line));
        }
        self.chain.add(line);
        Item::Silent(line.len())
    }

    /// Whether damage of this line may be the work of a lost write.
    fn may_be_torn(&self, line: &[u8]) -> bool {
        self.follows_batch() || line.contains(&0)
    }

    /// Whether a batch ends at `offset`, timestamps aside.
    fn follows_batch(&self) -> bool {
        self.has_batches && !self.has_plain
    }

    fn batch_line(&mut self, text: &[u8]) -> Item {
        let Some(line) = BatchLine::parse(text) else {
            return Item::Failed(AofErrorKind::DamagedAnnotation, 0, self.may_be_torn(text));
        };
        if line.offset != self.offset {
            return Item::Failed(AofErrorKind::Misplaced { claimed: line.offset }, 0, false);
        }
        if self.transaction.is_some() {
            return Item::Failed(AofErrorKind::BadBatch, 0, false);
        }
        self.line.clear();
        self.line.extend_from_slice(text);
        self.phase = Phase::Batch(line);
        Item::Silent(text.len())
    }

    fn batch(&mut self, line: BatchLine, window: &[u8]) -> Item {
        let len = usize::try_from(line.len).unwrap_or(usize::MAX);
        let Some(batch) = window.get(..len) else { return Item::Need(len) };
        let computed = self.chain.expected(&self.line, batch);
        if computed == line.checksum {
            self.chain = Chain::after(computed);
            self.synced = self.synced.max(line.synced.min(line.offset));
            self.batch_end = (self.offset + line.len, computed);
            self.end_batch(line.offset, line.len);
            return Item::Silent(0);
        }
        if is_continued(batch, &self.selected, true) {
            return Item::Failed(AofErrorKind::ForeignCommands, 0, false);
        }
        let expected = line.checksum;
        // If there are commands before it, they may be what is damaged.
        Item::Failed(AofErrorKind::WrongChecksum { expected, computed }, 0, !self.has_plain)
    }

    fn verified_command(&mut self, line: u64, left: u64, window: &[u8]) -> Item {
        let end = usize::try_from(left).unwrap_or(usize::MAX).min(window.len());
        let window = &window[..end];
        match self.parser.parse(window, left) {
            Found::Command(len) => {
                if let Err(kind) = self.note(window) {
                    return Item::Failed(kind, 0, false);
                }
                let left = left - len as u64;
                if left == 0 && self.transaction.is_some() {
                    return Item::Failed(AofErrorKind::BadBatch, 0, false);
                }
                self.end_batch(line, left);
                Item::Command(len)
            }
            Found::Bad(at, what) => Item::Failed(AofErrorKind::Malformed(what), at, false),
            Found::Need(_) | Found::Beyond => Item::Failed(AofErrorKind::BadBatch, 0, false),
        }
    }

    /// Goes on with the rest of the batch of this line, or behind it.
    fn end_batch(&mut self, line: u64, left: u64) {
        self.phase = if left == 0 { Phase::Item } else { Phase::Verified { line, left } };
        (self.has_batches, self.has_plain) = (true, false);
    }
}

fn parse_timestamp(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(TIMESTAMP_PREFIX)?.strip_suffix(b"\r\n")?;
    russet_protocol::number::parse_i64(digits)
}
