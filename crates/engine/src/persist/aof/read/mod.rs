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
//! | a command claims more bytes than the file has, but the file ends with whole commands | corrupt: the claim is wrong |
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

mod foreign;
mod grammar;

use russet_protocol::request::ArgRange;

use self::foreign::is_continued;
use self::grammar::{Grammar, Item, Phase};
use super::batch::FileEnd;
use super::error::{AofError, AofErrorKind};
use super::scan::Scan;

/// A larger buffer is freed when it is empty.
const BUFFER_BYTES_KEPT: usize = 1 << 20;

/// The end of the name of a base that is an RDB file.
pub const RDB_ENDING: &str = ".base.rdb";

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

#[derive(Debug)]
struct Failure {
    error: AofError,
    /// Offset of the command, line or batch that is damaged. The boundary may be before timestamps in front of it, which a
    /// sync may have covered although it did not cover what is damaged.
    damaged_from: u64,
    /// Whether it may be the work of a lost write.
    may_be_torn: bool,
    /// Whether it may be that if nothing but zeros follows. The bytes of a verified batch are those that were written.
    may_be_unfilled: bool,
    scan: Scan,
}

/// A reader of one file.
#[derive(Debug)]
pub struct AofReader {
    grammar: Grammar,
    /// Received bytes that are not in the caller's slice any more, from `carry_at` on.
    carry: Vec<u8>,
    carry_at: usize,
    /// Whether the parser still has the command that was returned last.
    is_returned: bool,
    lines: u64,
    failure: Option<Box<Failure>>,
}

impl AofReader {
    /// Creates a reader of a file of this length, from an offset on: 0, or the end of an RDB preamble.
    pub fn new(offset: u64, file_len: u64) -> AofReader {
        AofReader {
            grammar: Grammar::new(offset, file_len),
            carry: Vec::new(),
            carry_at: 0,
            is_returned: false,
            lines: 0,
            failure: None,
        }
    }

    /// Returns the offset up to which the file is good: behind the last complete command outside of a transaction, the last
    /// verified batch whose commands were all returned, or the last annotation. A timestamp in front of a batch that is
    /// damaged or incomplete may be what is damaged, and is not good.
    pub fn boundary(&self) -> u64 {
        self.grammar.boundary()
    }

    /// Returns where a writer continues the file, which is cut at the boundary unless it is complete.
    pub fn file_end(&self) -> FileEnd {
        self.grammar.file_end()
    }

    /// Returns the number of CR LF in commands so far, as `redis-check-aof` counts lines.
    pub fn lines(&self) -> u64 {
        self.lines + if self.is_returned { 0 } else { self.grammar.parser.lines() }
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
            self.grammar.parser.reset();
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
                let item = self.grammar.item(&carry[self.carry_at..]);
                self.carry = carry;
                item
            } else {
                self.grammar.item(input)
            };
            let offset = self.grammar.offset;
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
                    let is_boundary = !self.grammar.is_in_transaction();
                    return Step::Timestamp { offset, seconds, is_boundary };
                }
                Item::Command(len) => {
                    self.is_returned = true;
                    self.lines += self.grammar.parser.lines();
                    let from_input = self.take(len, in_carry, input);
                    let end = self.carry_at;
                    let bytes = from_input.unwrap_or_else(|| &self.carry[end - len..end]);
                    return Step::Command { offset, bytes, args: self.grammar.parser.args() };
                }
            }
        }
    }

    /// Returns the verdict on the file after all its bytes were fed.
    pub fn end(&self) -> Verdict {
        if let Some(failure) = &self.failure {
            let error = failure.error.clone();
            let was_on_disk = failure.scan.synced() > failure.damaged_from;
            let is_unfilled = failure.may_be_unfilled && failure.scan.is_zero();
            let may_be_torn = failure.may_be_torn || is_unfilled;
            let has_more = error.kind == AofErrorKind::Beyond && failure.scan.ends_with_commands();
            return match may_be_torn && !was_on_disk && !has_more {
                true => Verdict::Truncated(error),
                false => Verdict::Corrupt(error),
            };
        }
        let rest = &self.carry[self.carry_at..];
        let error = |kind| AofError { offset: self.grammar.offset, kind };
        match self.grammar.phase {
            Phase::Batch(_) if is_continued(rest, &self.grammar.selected, false) => {
                Verdict::Corrupt(error(AofErrorKind::ForeignCommands))
            }
            Phase::Batch(_) | Phase::Verified { .. } => {
                Verdict::Truncated(error(AofErrorKind::Ends))
            }
            Phase::Item if !rest.is_empty() => Verdict::Truncated(error(AofErrorKind::Ends)),
            Phase::Item if self.grammar.is_in_transaction() => {
                Verdict::Truncated(error(AofErrorKind::EndsInTransaction))
            }
            Phase::Item => Verdict::Complete,
        }
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
        self.grammar.offset += len as u64;
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
        let damaged = match self.grammar.phase {
            Phase::Batch(line) => usize::try_from(line.len).unwrap_or(usize::MAX),
            _ => 0,
        };
        let carried = &self.carry[self.carry_at..];
        let in_carry = damaged.min(carried.len());
        let in_input = (damaged - in_carry).min(input.len());
        let mut scan = Scan::new(self.grammar.offset + (in_carry + in_input) as u64, error.offset);
        scan.feed(&carried[in_carry..]);
        scan.feed(&input[in_input..]);
        *input = &[];
        self.carry_at = self.carry.len();
        self.clear_carry();
        let may_be_unfilled = !matches!(self.grammar.phase, Phase::Verified { .. });
        self.grammar.has_failed = true;
        let damaged_from = self.grammar.offset;
        let failure = Failure { error, damaged_from, may_be_torn, may_be_unfilled, scan };
        self.failure = Some(Box::new(failure));
    }
}
