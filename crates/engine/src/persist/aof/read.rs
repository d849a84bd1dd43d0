//! The reader: from the bytes of a file, in pieces of any size, to commands and timestamps, and a verdict.
//!
//! ```text
//!   stock   stock    ours                                          the file ends here: within a batch, say
//!   ┌──────┬────────┬─────────────────┬─────────────────┬────────────────┐
//!   │ *3…  │ #TS:…  │ #RS:…  *3… *3…  │ #RS:…  *1… *1…  │ #RS:…  *3… *   │
//!   └──────┴────────┴─────────────────┴─────────────────┴────────────────┘
//!   ▲      ▲        ▲                 ▲                 ▲
//!   └──────┴────────┴─────────────────┴─────────────────┴── boundaries: here the file may be cut
//! ```
//!
//! **What is returned when.** A command in a batch is returned after the whole batch was verified, so no damaged one ever
//! is. For that the reader keeps one batch, or one command, if it is not complete in the caller's slice; that memory grows
//! with received bytes. A command outside of batches has no checksum: it is returned when it is complete. Within MULTI and
//! EXEC commands are returned one by one, and the caller queues them: if EXEC is missing, none of them happened. So what a
//! caller has applied is always what the file holds up to [`AofReader::boundary`], and nothing has to be undone when the
//! verdict is to cut the file there. (If a batch follows bytes of a stock server, its checksum covers these too: damage of
//! them is found after they were returned. The verdict is then [`Verdict::Corrupt`], and the load as a whole fails.)
//!
//! **The verdict** ([`AofReader::end`]) on a file that is not complete:
//!
//! | where reading stopped | verdict |
//! |---|---|
//! | the file ends within a command, transaction, line or batch | truncated |
//! | zeros up to the end of the file | truncated: a file system lost what was to be there |
//! | damage of a batch or directly behind one, not on disk for all that later batch lines know | truncated: never synced |
//! | the same, but a later line knew it to be on disk | corrupt: rotten |
//! | a batch that a stock server cut within and appended to | corrupt: the rest is another server's data |
//! | anything else, in particular a format error between commands of a stock server | corrupt |
//!
//! A truncated file may be cut at the boundary and used (`aof-load-truncated yes`), a corrupt one not without its operator.
//! After damage the caller goes on feeding: the rest decides between the two. What cannot be known from the file: whether
//! it was cut exactly at a boundary.
//!
//! A file may begin without batches, written by a stock server, and go on with ours, or the other way round. Annotations of
//! other kinds are skipped, as stock servers do, except directly behind a batch.
//!
//! Not here: RDB preambles. [`starts_with_rdb`] tells; the RDB loader knows where it ends, and there this reader begins.

use russet_protocol::request::ArgRange;

use super::batch::{BatchLine, Chain, FileEnd, LINE_PREFIX, TIMESTAMP_PREFIX};
use super::command::{CommandParser, Found};
use super::error::{AofError, AofErrorKind};
use super::manifest::ends_with_digits;
use super::scan::Scan;

/// Maximum length of an annotation in bytes, as in Redis.
const ANNOTATION_BYTES_MAX: usize = 1024;
/// A larger buffer is freed when it is empty.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// Whether a file that begins with these bytes begins with an RDB file. At least five are needed.
pub fn starts_with_rdb(bytes: &[u8]) -> bool {
    bytes.starts_with(b"REDIS") || bytes.starts_with(b"VALKE")
}

/// A result of [`AofReader::next`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// The slice is used up.
    NeedMore,
    /// A command.
    Command {
        /// Its offset in the file.
        offset: u64,
        /// Its bytes.
        bytes: &'a [u8],
        /// Its arguments, relative to `bytes`; at least one.
        args: &'a [ArgRange],
    },
    /// What follows happened at this time or later.
    Timestamp {
        /// Its offset in the file.
        offset: u64,
        /// Seconds since 1970.
        seconds: i64,
        /// Whether the file may be cut here, as it is not within a transaction.
        is_boundary: bool,
    },
}

/// What a file is, at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Whole.
    Complete,
    /// Its end is missing or was never synced: it may be cut at the boundary.
    Truncated(AofError),
    /// It is damaged.
    Corrupt(AofError),
}

/// What is expected next.
#[derive(Clone, Copy, Debug)]
enum Phase {
    /// A command or a line.
    Item,
    /// The bytes of a batch, all of them.
    Batch(BatchLine),
    /// The commands of a verified batch, with the number of bytes left of it.
    Verified(u64),
}

#[derive(Debug)]
struct Failure {
    error: AofError,
    /// Whether it may be the work of a lost write.
    may_be_torn: bool,
    scan: Scan,
}

/// What an item within the window is.
enum Item {
    Need(usize),
    Command(usize),
    Timestamp(usize, i64),
    /// Something without a result of its own, of this length.
    Silent(usize),
    Failed(AofErrorKind, usize, bool),
}

/// A reader of one file.
#[derive(Debug)]
pub struct AofReader {
    /// Length of the file.
    file_len: u64,
    /// Offset of the next item.
    offset: u64,
    phase: Phase,
    parser: CommandParser,
    /// Received bytes that are not in the caller's slice any more, from `carry_at` on.
    carry: Vec<u8>,
    carry_at: usize,
    /// The chain up to `offset`; in a batch, up to its line.
    chain: Chain,
    /// The text of the current batch's line.
    line: Vec<u8>,
    /// Whether there was a batch.
    has_batches: bool,
    /// Whether there are commands since the last batch, or since the beginning: those of a stock server.
    has_plain: bool,
    /// Offset of an open MULTI, and the chain up to it.
    transaction: Option<(u64, Chain)>,
    /// Whether the parser still has the command that was returned last.
    is_returned: bool,
    /// The argument of the last SELECT.
    selected: Vec<u8>,
    lines: u64,
    failure: Option<Box<Failure>>,
}

impl AofReader {
    /// Creates a reader of a file of this length, from an offset on: 0, or the end of an RDB preamble.
    pub fn new(offset: u64, file_len: u64) -> AofReader {
        AofReader {
            file_len,
            offset,
            phase: Phase::Item,
            parser: CommandParser::default(),
            carry: Vec::new(),
            carry_at: 0,
            chain: Chain::after(0),
            line: Vec::new(),
            has_batches: false,
            has_plain: false,
            transaction: None,
            is_returned: false,
            selected: Vec::new(),
            lines: 0,
            failure: None,
        }
    }

    /// Returns the offset up to which the file is good: behind the last complete command outside of a transaction, the last
    /// verified batch or annotation.
    pub fn boundary(&self) -> u64 {
        match (&self.transaction, self.phase) {
            (Some((offset, _)), _) => *offset,
            (None, Phase::Batch(line)) => line.offset,
            (None, _) => self.offset,
        }
    }

    /// Returns the number of CR LF in commands so far, as `redis-check-aof` counts lines.
    pub fn lines(&self) -> u64 {
        self.lines + if self.is_returned { 0 } else { self.parser.lines() }
    }

    /// Whether the rest of the file is only read for the verdict.
    pub fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns the memory of kept bytes.
    pub fn buffered_bytes(&self) -> usize {
        self.carry.capacity()
    }

    /// Returns the next command or timestamp, and takes its bytes from the front of `input`. Until the result is
    /// [`Step::NeedMore`], the next call gets what is left of the same bytes.
    pub fn next<'s, 'i: 's>(&'s mut self, input: &mut &'i [u8]) -> Step<'s> {
        if std::mem::take(&mut self.is_returned) {
            self.parser.reset();
        }
        loop {
            if let Some(failure) = &mut self.failure {
                failure.scan.feed(input);
                *input = &[];
                return Step::NeedMore;
            }
            let in_carry = self.carry_at < self.carry.len();
            let item = if in_carry {
                let carry = std::mem::take(&mut self.carry);
                let item = self.item(&carry[self.carry_at..]);
                self.carry = carry;
                item
            } else {
                self.item(input)
            };
            let offset = self.offset;
            match item {
                Item::Need(need) => {
                    if !self.fetch(need, input) {
                        return Step::NeedMore;
                    }
                }
                Item::Failed(kind, at, may_be_torn) => {
                    let error = AofError { offset: offset + at as u64, kind };
                    self.fail(error, may_be_torn, input);
                }
                Item::Silent(len) => _ = self.take(len, in_carry, input),
                Item::Timestamp(len, seconds) => {
                    _ = self.take(len, in_carry, input);
                    let is_boundary = self.transaction.is_none();
                    return Step::Timestamp { offset, seconds, is_boundary };
                }
                Item::Command(len) => {
                    self.is_returned = true;
                    self.lines += self.parser.lines();
                    let from_input = self.take(len, in_carry, input);
                    let end = self.carry_at;
                    let bytes = from_input.unwrap_or_else(|| &self.carry[end - len..end]);
                    return Step::Command { offset, bytes, args: self.parser.args() };
                }
            }
        }
    }

    /// Returns the verdict on the file after all its bytes were fed.
    pub fn end(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            let error = failure.error.clone();
            let was_on_disk = failure.scan.synced() > self.boundary();
            let may_be_torn = failure.may_be_torn || failure.scan.is_zero();
            return match may_be_torn && !was_on_disk {
                true => Verdict::Truncated(error),
                false => Verdict::Corrupt(error),
            };
        }
        let rest = &self.carry[self.carry_at..];
        let error = |kind| AofError { offset: self.offset, kind };
        match self.phase {
            Phase::Batch(_) if is_continued(rest, &self.selected, false) => {
                Verdict::Corrupt(error(AofErrorKind::ForeignCommands))
            }
            Phase::Batch(_) | Phase::Verified(_) => Verdict::Truncated(error(AofErrorKind::Ends)),
            Phase::Item if !rest.is_empty() => Verdict::Truncated(error(AofErrorKind::Ends)),
            Phase::Item if self.transaction.is_some() => {
                Verdict::Truncated(error(AofErrorKind::EndsInTransaction))
            }
            Phase::Item => Verdict::Complete,
        }
    }

    /// Returns where a writer continues the file, which is cut at the boundary unless it is complete.
    pub fn file_end(&self) -> FileEnd {
        let chain = self.transaction.as_ref().map_or(&self.chain, |(_, chain)| chain);
        FileEnd { offset: self.boundary(), chain: chain.clone() }
    }

    /// Makes at least `need` bytes of the next item available in the carry. Returns false if the input does not have them.
    fn fetch(&mut self, need: usize, input: &mut &[u8]) -> bool {
        if self.carry_at == self.carry.len() {
            self.clear_carry();
        }
        let have = self.carry.len() - self.carry_at;
        let (more, rest) = input.split_at(need.saturating_sub(have).min(input.len()));
        self.carry.extend_from_slice(more);
        *input = rest;
        have + more.len() >= need
    }

    /// Consumes bytes. Returns them if they are the input's; otherwise they are before `carry_at`.
    fn take<'i>(&mut self, len: usize, in_carry: bool, input: &mut &'i [u8]) -> Option<&'i [u8]> {
        self.offset += len as u64;
        if in_carry {
            self.carry_at += len;
            return None;
        }
        let (taken, rest) = input.split_at(len);
        *input = rest;
        Some(taken)
    }

    fn clear_carry(&mut self) {
        self.carry_at = 0;
        self.carry.clear();
        if self.carry.capacity() > BUFFER_BYTES_KEPT {
            self.carry = Vec::new();
        }
    }

    fn fail(&mut self, error: AofError, may_be_torn: bool, input: &mut &[u8]) {
        // A damaged batch is complete here, and its length is right: nothing in it is a batch line.
        let damaged = match self.phase {
            Phase::Batch(line) => usize::try_from(line.len).unwrap_or(usize::MAX),
            _ => 0,
        };
        let carried = &self.carry[self.carry_at..];
        let in_carry = damaged.min(carried.len());
        let in_input = (damaged - in_carry).min(input.len());
        let mut scan = Scan::new(self.offset + (in_carry + in_input) as u64, error.offset);
        scan.feed(&carried[in_carry..]);
        scan.feed(&input[in_input..]);
        *input = &[];
        self.carry_at = self.carry.len();
        self.clear_carry();
        self.failure = Some(Box::new(Failure { error, may_be_torn, scan }));
    }

    /// Finds out what the window begins with, which is everything that is available of the file from `offset` on.
    fn item(&mut self, window: &[u8]) -> Item {
        match self.phase {
            Phase::Batch(line) => self.batch(line, window),
            Phase::Verified(left) => self.verified_command(left, window),
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
            self.phase = Phase::Verified(line.len);
            self.end_batch(line.len);
            return Item::Silent(0);
        }
        if is_continued(batch, &self.selected, true) {
            return Item::Failed(AofErrorKind::ForeignCommands, 0, false);
        }
        let expected = line.checksum;
        // If there are commands before it, they may be what is damaged.
        Item::Failed(AofErrorKind::WrongChecksum { expected, computed }, 0, !self.has_plain)
    }

    fn verified_command(&mut self, left: u64, window: &[u8]) -> Item {
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
                self.end_batch(left);
                Item::Command(len)
            }
            Found::Bad(at, what) => Item::Failed(AofErrorKind::Malformed(what), at, false),
            Found::Need(_) | Found::Beyond => Item::Failed(AofErrorKind::BadBatch, 0, false),
        }
    }

    /// Goes on with the rest of a batch, or behind it.
    fn end_batch(&mut self, left: u64) {
        self.phase = if left == 0 { Phase::Item } else { Phase::Verified(left) };
        (self.has_batches, self.has_plain) = (true, false);
    }
}

fn parse_timestamp(line: &[u8]) -> Option<i64> {
    let digits = line.strip_prefix(TIMESTAMP_PREFIX)?.strip_suffix(b"\r\n")?;
    russet_protocol::number::parse_i64(digits)
}

/// Whether a batch that is not what it was has been cut and continued by another server: then it contains an annotation,
/// selects the selected database again, or, although `is_whole`, ends within a command. A server begins with a SELECT.
fn is_continued(batch: &[u8], selected: &[u8], is_whole: bool) -> bool {
    let mut parser = CommandParser::default();
    let mut selected = selected.to_vec();
    // A writer's first SELECT, perhaps behind MULTI, may repeat what another one selected.
    let (mut at, mut may_select) = (0, true);
    while at < batch.len() {
        if batch[at] == b'#' {
            return true;
        }
        parser.reset();
        match parser.parse(&batch[at..], u64::MAX) {
            Found::Command(len) => {
                let text = |index: usize| match parser.args().get(index) {
                    Some(range) => &batch[at + range.start..at + range.end],
                    None => &[],
                };
                if text(0).eq_ignore_ascii_case(b"SELECT") {
                    if !may_select && text(1) == selected {
                        return true;
                    }
                    selected = text(1).to_vec();
                }
                may_select = at == 0 && text(0).eq_ignore_ascii_case(b"MULTI");
                at += len;
            }
            Found::Need(_) | Found::Beyond => return is_whole,
            Found::Bad(..) => return false,
        }
    }
    false
}
