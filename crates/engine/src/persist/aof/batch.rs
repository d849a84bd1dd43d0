//! Batches: what a node appends to an incremental file, with a checksum for what is written at once.
//!
//! ```text
//!   #TS:1795744230\r\n                            with aof-timestamp-enabled, once a second at most: the time of what follows
//!   #RS:8192:67:4096:5b3c:43f8c2d1a9e07b56\r\n    the batch line
//!   *2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n             ┐
//!   *3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n     │ the batch: 67 bytes, whole units of the journal
//!   *1\r\n$5\r\nMULTI\r\n …  *1\r\n$4\r\nEXEC\r\n  ┘ (one of several effects in MULTI and EXEC)
//! ```
//!
//! Stock servers and their tools skip lines that begin with `#`. The fields of the batch line:
//!
//! | field | meaning |
//! |---|---|
//! | `8192` | offset of the line in the file |
//! | `67` | length of the batch, which follows the line, in bytes |
//! | `4096` | so many bytes of the file were known to be on disk when the line was written |
//! | `5b3c` | CRC16 of the line before this field's colon |
//! | `43f8c2d1a9e07b56` | CRC-64 of the chain, see below |
//!
//! The CRC-64 covers, in this order: the checksum of the batch line before (8 bytes, little endian; 0 for the first), all
//! bytes since the end of that batch (timestamps, and whatever a stock server appended), this line up to and including its
//! last colon, and the batch. So each byte of the file is covered, and removing, repeating or swapping batches is found.
//!
//! Why in front and not behind: the reader then knows a batch that is not complete from commands that a stock server
//! appended, which nothing announces. The line has a checksum of its own, so its length can be trusted.
//!
//! Why the bytes on disk: a loss of power may lose any of the bytes that were not synced, also those in the middle. A
//! batch that is damaged while a later line says that it was on disk has rotted, and the file is refused; otherwise it
//! was never acknowledged as durable, and the file ends before it. See [`read`](super::read).
//!
//! A timestamp is never inside a batch, so that a file cut at one by `check-aof --truncate-to-timestamp`, stock's too,
//! ends with a whole batch.

use russet_protocol::number::push_u64;
use russet_protocol::reply::push_command;
use russet_protocol::slot::crc16;

use super::checksum::parse_checksum;
use crate::effects::Unit;
use crate::rdb::format::Checksum;

/// Begins a batch line.
pub(super) const LINE_PREFIX: &[u8] = b"#RS:";
/// Begins a timestamp.
pub(super) const TIMESTAMP_PREFIX: &[u8] = b"#TS:";
/// Maximum length of a batch line in bytes: three numbers of 20 digits, the checksums and what is between them.
pub(super) const LINE_BYTES_MAX: usize = 4 + 3 * 21 + 5 + 18;
/// Length of the digits and CR LF that end a batch line, which no checksum covers.
const LINE_END_BYTES: usize = 18;

/// The fields of a batch line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLine {
    /// Offset of the line in the file.
    pub offset: u64,
    /// Length of the batch in bytes.
    pub len: u64,
    /// Number of bytes of the file that were known to be on disk.
    pub synced: u64,
    /// The checksum of the chain up to the end of the batch.
    pub checksum: u64,
}

impl BatchLine {
    /// Parses a whole line with its CR LF; none unless it is exactly as it was written.
    pub fn parse(line: &[u8]) -> Option<BatchLine> {
        let fields = line.strip_suffix(b"\r\n")?.strip_prefix(LINE_PREFIX)?;
        let mut parts = fields.split(|&byte| byte == b':');
        let mut number = || parse_number(parts.next()?);
        let (offset, len, synced) = (number()?, number()?, number()?);
        let (own, chain) = (parts.next()?, parts.next()?);
        let covered = line.len().checked_sub(LINE_END_BYTES + 1 + own.len() + 1)?;
        if parts.next().is_some() || own != format!("{:04x}", crc16(&line[..covered])).as_bytes() {
            return None;
        }
        Some(BatchLine { offset, len, synced, checksum: parse_checksum(chain)? })
    }

    /// Appends the part of the line that its checksum covers.
    fn push_covered(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(LINE_PREFIX);
        push_u64(out, self.offset);
        for field in [self.len, self.synced] {
            out.push(b':');
            push_u64(out, field);
        }
        let own = crc16(&out[start..]);
        out.extend_from_slice(format!(":{own:04x}:").as_bytes());
    }
}

/// Parses a number in its shortest form.
fn parse_number(text: &[u8]) -> Option<u64> {
    let is_shortest = text == b"0" || !text.starts_with(b"0");
    if !is_shortest || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The checksum from the last batch line up to a place in the file.
#[derive(Clone, Debug)]
pub(super) struct Chain(Checksum);

impl Chain {
    /// Creates the chain behind a batch with this checksum, 0 for the beginning of a file.
    pub(super) fn after(checksum: u64) -> Chain {
        let mut chain = Checksum::new();
        chain.update(&checksum.to_le_bytes());
        Chain(chain)
    }

    /// Adds bytes between two batches.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the checksum of a batch with its line.
    fn checksum(&self, line_covered: &[u8], batch: &[u8]) -> u64 {
        let mut checksum = self.0.clone();
        checksum.update(line_covered);
        checksum.update(batch);
        checksum.value()
    }

    /// Returns what the checksum in a line of this text should be.
    pub(super) fn expected(&self, line: &[u8], batch: &[u8]) -> u64 {
        self.checksum(&line[..line.len().saturating_sub(LINE_END_BYTES)], batch)
    }
}

/// The end of a file, from which on a writer appends.
#[derive(Clone, Debug)]
pub struct FileEnd {
    /// Length of the file in bytes.
    pub offset: u64,
    /// So many of them are known to be on disk, as far as the file says anything of it.
    pub synced: u64,
    pub(super) chain: Chain,
}

impl FileEnd {
    /// Returns the end of an empty file.
    pub fn empty() -> FileEnd {
        FileEnd { offset: 0, synced: 0, chain: Chain::after(0) }
    }
}

/// Options of a writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriterSettings {
    /// Whether to write batch lines.
    pub checksums: bool,
    /// Whether to write timestamps (`aof-timestamp-enabled`).
    pub timestamps: bool,
}

/// How a base of commands is written.
#[derive(Clone, Copy, Debug)]
pub struct BaseSettings {
    /// The options of its writer.
    pub writer: WriterSettings,
    /// When its data was as it is in it, in seconds since 1970.
    pub secs: i64,
}

/// Encodes units of the journal as the bytes to append to one file.
#[derive(Debug)]
pub struct BatchWriter {
    settings: WriterSettings,
    /// Where `out` begins in the file.
    offset: u64,
    chain: Chain,
    /// Selected database; none: the next unit must select its own.
    selected: Option<u32>,
    /// The last timestamp, in seconds.
    timestamp: i64,
    /// Number of bytes of the file that are known to be on disk.
    synced: u64,
    /// Complete lines and batches.
    out: Vec<u8>,
    /// The open batch.
    batch: Vec<u8>,
}

impl BatchWriter {
    /// Creates a writer that continues a file.
    pub fn new(settings: WriterSettings, end: FileEnd) -> BatchWriter {
        BatchWriter {
            settings,
            offset: end.offset,
            chain: end.chain,
            selected: None,
            timestamp: i64::MIN,
            synced: 0,
            out: Vec::new(),
            batch: Vec::new(),
        }
    }

    /// Changes the options for what follows.
    pub fn set_settings(&mut self, settings: WriterSettings) {
        self.close();
        self.settings = settings;
    }

    /// Notes that so many bytes of the file are on disk.
    pub fn set_synced(&mut self, bytes: u64) {
        self.synced = self.synced.max(bytes);
    }

    /// Whether nothing waits to be taken.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty() && self.batch.is_empty()
    }

    /// Returns the number of bytes that wait to be taken, without the line of the open batch.
    pub fn pending_bytes(&self) -> usize {
        self.out.len() + self.batch.len()
    }

    /// Returns the length of the file with all that was taken so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Adds the effects of a unit, which happened at this time (seconds since 1970).
    pub fn unit(&mut self, unit: &Unit<'_>, now_secs: i64) {
        self.effects(unit.is_atomic, unit.iter(), now_secs);
    }

    /// Adds effects: databases and encoded commands. `is_atomic`: all of them or none.
    pub fn effects<'a>(
        &mut self,
        is_atomic: bool,
        effects: impl Iterator<Item = (u32, &'a [u8])>,
        now_secs: i64,
    ) {
        if self.settings.timestamps && now_secs > self.timestamp {
            self.close();
            self.push_timestamp(now_secs);
        }
        if is_atomic {
            self.batch.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        for (db, command) in effects {
            if self.selected != Some(db) {
                self.selected = Some(db);
                let mut digits = itoa::Buffer::new();
                push_command(&mut self.batch, &["SELECT", digits.format(db)]);
            }
            self.batch.extend_from_slice(command);
        }
        if is_atomic {
            self.batch.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }

    /// Adds a line without a batch, which tells that everything before it is on disk. Written when nothing has followed a
    /// sync for a while, and at the end: then damage of the last batch is known as such. Also before the first batch in a
    /// file that ends with a stock server's commands, to separate damage of these from a batch that was not written whole.
    pub fn mark(&mut self) {
        self.close();
        if self.settings.checksums {
            self.push_batch();
        }
    }

    /// Ends the open batch and returns all bytes to append.
    pub fn take(&mut self) -> Vec<u8> {
        self.close();
        self.offset += self.out.len() as u64;
        std::mem::take(&mut self.out)
    }

    /// Returns where another writer continues behind all that was taken.
    pub fn end(&self) -> FileEnd {
        debug_assert!(self.is_empty(), "all bytes must be taken");
        FileEnd { offset: self.offset, synced: self.synced, chain: self.chain.clone() }
    }

    fn push_timestamp(&mut self, seconds: i64) {
        self.timestamp = seconds;
        let start = self.out.len();
        self.out.extend_from_slice(format!("#TS:{seconds}\r\n").as_bytes());
        self.chain.add(&self.out[start..]);
    }

    /// Ends the open batch unless it is empty.
    fn close(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if self.settings.checksums {
            self.push_batch();
        } else {
            self.chain.add(&self.batch);
            self.out.append(&mut self.batch);
        }
    }

    fn push_batch(&mut self) {
        let start = self.out.len();
        let offset = self.offset + start as u64;
        let len = self.batch.len() as u64;
        let line = BatchLine { offset, len, synced: self.synced, checksum: 0 };
        self.out.reserve(LINE_BYTES_MAX + self.batch.len());
        line.push_covered(&mut self.out);
        let checksum = self.chain.checksum(&self.out[start..], &self.batch);
        self.out.extend_from_slice(format!("{checksum:016x}\r\n").as_bytes());
        self.out.append(&mut self.batch);
        self.chain = Chain::after(checksum);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Settings with everything.
    pub(crate) const ALL: WriterSettings = WriterSettings { checksums: true, timestamps: true };

    /// Adds a command.
    pub(crate) fn put(writer: &mut BatchWriter, db: u32, words: &[&str], now_secs: i64) {
        put_all(writer, &[(db, words)], now_secs);
    }

    /// Adds commands, more than one as a transaction.
    pub(crate) fn put_all(writer: &mut BatchWriter, commands: &[(u32, &[&str])], now_secs: i64) {
        let encoded: Vec<(u32, Vec<u8>)> = commands
            .iter()
            .map(|(db, words)| {
                let mut bytes = Vec::new();
                push_command(&mut bytes, words);
                (*db, bytes)
            })
            .collect();
        let effects = encoded.iter().map(|(db, bytes)| (*db, bytes.as_slice()));
        writer.effects(commands.len() > 1, effects, now_secs);
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn without_checksums_the_bytes_are_those_of_stock_servers() {
        let settings = WriterSettings { checksums: false, timestamps: true };
        let mut writer = BatchWriter::new(settings, FileEnd::empty());
        put(&mut writer, 0, &["set", "a", "1"], 7);
        put_all(&mut writer, &[(0, &["set", "b", "2"]), (12, &["set", "c", "3"])], 7);
        put(&mut writer, 12, &["del", "c"], 8);
        let expected = "#TS:7 *2 $6 SELECT $1 0 *3 $3 set $1 a $1 1 *1 $5 MULTI *3 $3 set $1 b $1 2 \
            *2 $6 SELECT $2 12 *3 $3 set $1 c $1 3 *1 $4 EXEC #TS:8 *2 $3 del $1 c ";
        assert_eq!(text(writer.take()), expected);
        assert!(writer.is_empty() && writer.take().is_empty());
    }

    #[test]
    fn a_batch_is_announced_by_its_line() {
        let mut writer = BatchWriter::new(ALL, FileEnd::empty());
        put(&mut writer, 0, &["set", "a", "1"], 7);
        put(&mut writer, 0, &["set", "a", "2"], 7);
        let first = writer.take();
        assert_eq!(writer.offset(), first.len() as u64);
        writer.set_synced(50);
        put(&mut writer, 0, &["set", "a", "3"], 7);
        put(&mut writer, 0, &["set", "a", "4"], 8);
        writer.mark();
        let second = writer.take();
        let lines = |bytes: &[u8]| -> Vec<BatchLine> {
            let lines = bytes.split_inclusive(|&byte| byte == b'\n');
            lines.filter(|line| line.starts_with(b"#R")).flat_map(BatchLine::parse).collect()
        };
        let [line] = lines(&first)[..] else { panic!("one batch") };
        assert_eq!((line.offset, line.len, line.synced), (7, 23 + 2 * 27, 0));
        let [third, fourth, mark] = lines(&second)[..] else { panic!("three lines") };
        assert_eq!((third.offset, third.len, third.synced), (first.len() as u64, 27, 50));
        assert_eq!((fourth.len, mark.len), (27, 0));
        let end = (first.len() + second.len()) as u64;
        assert_eq!((writer.offset(), mark.offset < end), (end, true));
    }

    #[test]
    fn a_line_is_parsed_only_as_it_was_written() {
        let line = BatchLine { offset: 8192, len: 67, synced: 4096, checksum: 0xfe };
        let mut bytes = Vec::new();
        line.push_covered(&mut bytes);
        bytes.extend_from_slice(b"00000000000000fe\r\n");
        assert_eq!(BatchLine::parse(&bytes), Some(line));
        let digits = bytes.len() - LINE_END_BYTES..bytes.len() - 2;
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let parsed = BatchLine::parse(&damaged);
                // The checksum of the chain is compared later.
                let is_other_checksum = parsed.is_some_and(|other| other.checksum != line.checksum);
                assert_eq!(parsed.is_some(), is_other_checksum, "{}", damaged.escape_ascii());
                assert!(parsed.is_none() || digits.contains(&at), "{}", damaged.escape_ascii());
            }
        }
        let longest = BatchLine { offset: u64::MAX, len: u64::MAX, synced: u64::MAX, checksum: 0 };
        bytes.clear();
        longest.push_covered(&mut bytes);
        assert!(bytes.len() + LINE_END_BYTES <= LINE_BYTES_MAX);
    }
}
