//! The manifest: which files are the append-only file, and in which order they are loaded.
//!
//! ```text
//!   #RM:43f8c2d1a9e07b56                          Russet's checksum of everything below; stock servers skip the line
//!   file appendonly.aof.2.base.rdb seq 2 type b   at most one base: all data at one time, RDB or AOF
//!   file appendonly.aof.1.incr.aof seq 1 type h   history: part of the base by now, to be deleted
//!   file appendonly.aof.2.incr.aof seq 2 type i   incremental files: the commands since then, the last one grows
//! ```
//!
//! The grammar and its errors are those of Redis 7: words with the quotes of redis.conf, in pairs of name and value. Pairs
//! with other names are skipped (Redis 8 writes `startoffset` and `endoffset`), and so are lines that begin with `#`.
//! Stricter than stock: a sequence number is a positive decimal number, a file has a name in UTF-8 that is not `.` or
//! `..`, a name does not occur twice, since history is deleted, and there is at least one file.
//!
//! A manifest without the checksum is a stock server's. The checksum is the first line, so that a manifest that lost its
//! end is refused. Whoever edits a manifest removes that line.
//!
//! Not here: files. The caller writes a manifest as a temporary file, syncs, renames and syncs the folder.

use std::borrow::Cow;
use std::fmt;

use crate::config::grammar;
use crate::rdb::format::Checksum;

/// Maximum length of a line with its newline, in bytes, as in Redis.
const LINE_BYTES_MAX: usize = 1024;
/// Begins the line with the checksum.
const CHECKSUM_PREFIX: &[u8] = b"#RM:";
/// Digits of a checksum.
const CHECKSUM_DIGITS: usize = 16;
/// Higher sequence numbers are refused, so that the next ones never overflow.
const SEQUENCE_MAX: u64 = 1 << 62;

/// The name of the manifest of an append-only file (`appendfilename`).
pub fn manifest_name(filename: &str) -> String {
    format!("{filename}.manifest")
}

/// A file of the append-only file, in its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofFile {
    /// Its name, without a path.
    pub name: String,
    /// Its sequence number, from 1 on, counted for bases and incremental files separately.
    pub sequence: u64,
}

/// The format of a base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseFormat {
    /// An RDB file: `aof-use-rdb-preamble yes`.
    Rdb,
    /// Commands.
    Aof,
}

/// A manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    base: Option<AofFile>,
    history: Vec<AofFile>,
    incremental: Vec<AofFile>,
    base_sequence: u64,
    incremental_sequence: u64,
}

/// Why a manifest is refused. The texts without details are those of Redis, which scripts look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestErrorKind {
    /// It names no file.
    Empty,
    /// A line is longer than 1024 bytes.
    LineTooLong,
    /// The last line has no newline.
    LineCut,
    /// A line is empty, is no list of pairs, or lacks name, sequence number or type.
    InvalidFormat,
    /// A name contains a slash or backslash, or is `.` or `..`.
    PathInName,
    /// A second base.
    DuplicateBase,
    /// The sequence number of an incremental file is not higher than that of the one before.
    NotMonotonic,
    /// A type other than `b`, `h` and `i`.
    UnknownType,
    /// The same file twice.
    DuplicateName,
    /// The line with the checksum is damaged or not the first one.
    BadChecksumLine,
    /// The text is not the one that was written.
    WrongChecksum {
        /// The checksum in the file.
        expected: u64,
        /// The checksum of its lines.
        computed: u64,
    },
}

impl fmt::Display for ManifestErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ManifestErrorKind::Empty => "Found an empty AOF manifest",
            ManifestErrorKind::LineTooLong => "The AOF manifest file contains too long line",
            ManifestErrorKind::LineCut => "The last line of the AOF manifest file has no end",
            ManifestErrorKind::InvalidFormat => "Invalid AOF manifest file format",
            ManifestErrorKind::PathInName => "File can't be a path, just a filename",
            ManifestErrorKind::DuplicateBase => "Found duplicate base file information",
            ManifestErrorKind::NotMonotonic => "Found a non-monotonic sequence number",
            ManifestErrorKind::UnknownType => "Unknown AOF file type",
            ManifestErrorKind::DuplicateName => "Found the same file name twice",
            ManifestErrorKind::BadChecksumLine => "The checksum line is damaged",
            ManifestErrorKind::WrongChecksum { expected, computed } => {
                return write!(
                    f,
                    "The AOF manifest has changed since it was written: its checksum is {computed:016x} instead of \
                     {expected:016x}. If you have edited it, remove the line that begins with #RM:"
                );
            }
        })
    }
}

/// An error in a manifest. Its text fits into a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestError {
    /// The line, from 1 on, and its text without blanks at the ends; none if the error is not of a line.
    pub line: Option<(usize, Vec<u8>)>,
    /// What is wrong.
    pub kind: ManifestErrorKind,
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        match &self.line {
            Some((number, text)) => write!(f, ", at line {number}: '{}'", text.escape_ascii()),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Parses the text of a manifest.
    pub fn parse(text: &[u8]) -> Result<Manifest, ManifestError> {
        let whole = |kind| ManifestError { line: None, kind };
        check(text).map_err(whole)?;
        let mut manifest = Manifest::default();
        for (index, line) in text.split_inclusive(|&byte| byte == b'\n').enumerate() {
            manifest.add_line(line, index == 0).map_err(|kind| {
                let shown = &line[..line.len().min(LINE_BYTES_MAX)];
                ManifestError { line: Some((index + 1, grammar::trim(shown).to_vec())), kind }
            })?;
        }
        if manifest.files().chain(&manifest.history).next().is_none() {
            return Err(whole(ManifestErrorKind::Empty));
        }
        Ok(manifest)
    }

    fn add_line(&mut self, line: &[u8], is_first: bool) -> Result<(), ManifestErrorKind> {
        if line.len() > LINE_BYTES_MAX {
            return Err(ManifestErrorKind::LineTooLong);
        }
        if line.starts_with(b"#") {
            let is_ours = line.starts_with(CHECKSUM_PREFIX) || ends_with_digits(line);
            return match is_ours && !is_first {
                true => Err(ManifestErrorKind::BadChecksumLine),
                false => Ok(()),
            };
        }
        if !line.ends_with(b"\n") {
            return Err(ManifestErrorKind::LineCut);
        }
        let (file, file_type) = parse_file(line)?;
        self.add(file, file_type)
    }

    fn add(&mut self, file: AofFile, file_type: u8) -> Result<(), ManifestErrorKind> {
        let is_known = self.files().chain(&self.history).any(|known| known.name == file.name);
        match file_type {
            b'b' if self.base.is_some() => return Err(ManifestErrorKind::DuplicateBase),
            b'i' if file.sequence <= self.incremental_sequence => {
                return Err(ManifestErrorKind::NotMonotonic);
            }
            b'b' | b'h' | b'i' if is_known => return Err(ManifestErrorKind::DuplicateName),
            b'b' => {
                self.base_sequence = file.sequence;
                self.base = Some(file);
            }
            b'i' => {
                self.incremental_sequence = file.sequence;
                self.incremental.push(file);
            }
            b'h' => self.history.push(file),
            _ => return Err(ManifestErrorKind::UnknownType),
        }
        Ok(())
    }

    /// Returns the text. `checksum`: with Russet's first line.
    pub fn format(&self, checksum: bool) -> Vec<u8> {
        let mut lines = Vec::new();
        self.base.iter().for_each(|file| push_file(file, 'b', &mut lines));
        self.history.iter().for_each(|file| push_file(file, 'h', &mut lines));
        self.incremental.iter().for_each(|file| push_file(file, 'i', &mut lines));
        if !checksum {
            return lines;
        }
        let mut text = CHECKSUM_PREFIX.to_vec();
        text.extend_from_slice(format!("{:016x}\n", checksum_of(&lines)).as_bytes());
        text.append(&mut lines);
        text
    }

    /// Returns the base.
    pub fn base(&self) -> Option<&AofFile> {
        self.base.as_ref()
    }

    /// Returns the incremental files in the order in which they are loaded.
    pub fn incremental(&self) -> &[AofFile] {
        &self.incremental
    }

    /// Returns the files to load, in order: the base, then the incremental ones.
    pub fn files(&self) -> impl Iterator<Item = &AofFile> {
        self.base.iter().chain(&self.incremental)
    }

    /// Returns the files that may be deleted, once the manifest that calls them history is on disk.
    pub fn history(&self) -> &[AofFile] {
        &self.history
    }

    /// Makes an existing file of the old single-file layout the base.
    pub fn adopt_base(&mut self, name: &str) {
        self.base_sequence = 1;
        self.base = Some(AofFile { name: name.to_owned(), sequence: 1 });
    }

    /// Adds a new base, makes the previous one history, and returns the name. `filename`: `appendfilename`.
    pub fn next_base(&mut self, filename: &str, format: BaseFormat) -> String {
        if let Some(old) = self.base.take() {
            self.history.insert(0, old);
        }
        let ending = match format {
            BaseFormat::Rdb => "rdb",
            BaseFormat::Aof => "aof",
        };
        self.base_sequence += 1;
        let name = format!("{filename}.{}.base.{ending}", self.base_sequence);
        self.base = Some(AofFile { name: name.clone(), sequence: self.base_sequence });
        name
    }

    /// Adds a new incremental file behind the others and returns its name.
    pub fn next_incremental(&mut self, filename: &str) -> String {
        self.incremental_sequence += 1;
        let name = format!("{filename}.{}.incr.aof", self.incremental_sequence);
        self.incremental.push(AofFile { name: name.clone(), sequence: self.incremental_sequence });
        name
    }

    /// Makes all incremental files but the last `kept` ones history: the base contains their effects.
    pub fn retire_incremental(&mut self, kept: usize) {
        let retired = self.incremental.len().saturating_sub(kept);
        self.history.splice(0..0, self.incremental.drain(..retired));
    }

    /// Forgets the history: its files are deleted.
    pub fn clear_history(&mut self) {
        self.history.clear();
    }
}

/// Verifies the checksum of the first line, if it has one.
fn check(text: &[u8]) -> Result<(), ManifestErrorKind> {
    let line = text.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
    let Some(digits) = line.strip_prefix(CHECKSUM_PREFIX) else {
        return match line.starts_with(b"#") && ends_with_digits(line) {
            true => Err(ManifestErrorKind::BadChecksumLine),
            false => Ok(()),
        };
    };
    let digits = digits.strip_suffix(b"\n").ok_or(ManifestErrorKind::BadChecksumLine)?;
    let expected = parse_checksum(digits).ok_or(ManifestErrorKind::BadChecksumLine)?;
    let computed = checksum_of(&text[line.len()..]);
    match expected == computed {
        true => Ok(()),
        false => Err(ManifestErrorKind::WrongChecksum { expected, computed }),
    }
}

fn checksum_of(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.value()
}

/// Parses the digits of a checksum: lower case, and all of them.
pub(super) fn parse_checksum(digits: &[u8]) -> Option<u64> {
    let is_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if digits.len() != CHECKSUM_DIGITS || !digits.iter().all(is_hex) {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Whether a line ends with as many digits as a checksum: one of ours whose beginning is damaged.
pub(super) fn ends_with_digits(line: &[u8]) -> bool {
    let line = grammar::trim(line);
    line.len().checked_sub(CHECKSUM_DIGITS).is_some_and(|at| parse_checksum(&line[at..]).is_some())
}

/// Parses the line of a file. Returns the file and its type.
fn parse_file(line: &[u8]) -> Result<(AofFile, u8), ManifestErrorKind> {
    let invalid = ManifestErrorKind::InvalidFormat;
    if line.contains(&0) {
        return Err(invalid);
    }
    let words = grammar::split_words(grammar::trim(line)).unwrap_or_default();
    if words.len() < 6 || !words.len().is_multiple_of(2) {
        return Err(invalid);
    }
    let (mut name, mut sequence, mut file_type) = (None, None, None);
    for pair in words.chunks_exact(2) {
        let value = pair[1].as_slice();
        match pair[0].to_ascii_lowercase().as_slice() {
            b"file" => name = Some(parse_name(value)?),
            b"seq" => sequence = parse_sequence(value),
            b"type" => file_type = value.first().copied(),
            _ => {}
        }
    }
    match (name, sequence, file_type) {
        (Some(name), Some(sequence), Some(file_type)) => {
            Ok((AofFile { name, sequence }, file_type))
        }
        _ => Err(invalid),
    }
}

fn parse_name(value: &[u8]) -> Result<String, ManifestErrorKind> {
    if value.contains(&b'/') || value.contains(&b'\\') || matches!(value, b"." | b"..") {
        return Err(ManifestErrorKind::PathInName);
    }
    match std::str::from_utf8(value) {
        Ok(name) if !name.is_empty() && !name.contains('\0') => Ok(name.to_owned()),
        _ => Err(ManifestErrorKind::InvalidFormat),
    }
}

fn parse_sequence(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    (1..=SEQUENCE_MAX).contains(&number).then_some(number)
}

fn push_file(file: &AofFile, file_type: char, out: &mut Vec<u8>) {
    let name: Cow<'_, [u8]> = grammar::quote_if_needed(file.name.as_bytes());
    out.extend_from_slice(b"file ");
    out.extend_from_slice(&name);
    out.extend_from_slice(format!(" seq {} type {file_type}\n", file.sequence).as_bytes());
}

#[cfg(test)]
mod tests {
    use ManifestErrorKind::*;

    use super::*;

    const STOCK: &[u8] = b"file appendonly.aof.2.base.rdb seq 2 type b\n\
        file appendonly.aof.1.incr.aof seq 1 type h\n\
        file appendonly.aof.4.incr.aof seq 4 type i\n\
        file appendonly.aof.5.incr.aof seq 5 type i\n";

    fn error(text: &[u8]) -> ManifestErrorKind {
        Manifest::parse(text).unwrap_err().kind
    }

    #[test]
    fn the_text_of_a_stock_server_is_kept() {
        let manifest = Manifest::parse(STOCK).unwrap();
        assert_eq!(manifest.format(false), STOCK);
        let names: Vec<_> = manifest.files().map(|file| file.name.as_str()).collect();
        let expected =
            ["appendonly.aof.2.base.rdb", "appendonly.aof.4.incr.aof", "appendonly.aof.5.incr.aof"];
        assert_eq!(names, expected);
        assert_eq!(manifest.history()[0].sequence, 1);
    }

    #[test]
    fn lines_are_read_as_by_stock_servers() {
        for (text, result) in [
            (&b""[..], Some(Empty)),
            (b"# nothing\n", Some(Empty)),
            (b"\n", Some(InvalidFormat)),
            (b"file a seq 1 type i\n\n", Some(InvalidFormat)),
            (b"file a seq 1\n", Some(InvalidFormat)),
            (b"filx a seq 1 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type i more\n", Some(InvalidFormat)),
            (b"file 'a seq 1 type i\n", Some(InvalidFormat)),
            (b"file a seq 0 type i\n", Some(InvalidFormat)),
            (b"file a seq -1 type b\n", Some(InvalidFormat)),
            (b"file a seq 99999999999999999999 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type \"\"\n", Some(InvalidFormat)),
            (b"file a\0 seq 1 type b\n", Some(InvalidFormat)),
            (b"file \"a\\x00\" seq 1 type b\n", Some(InvalidFormat)),
            (b"file \"\\xff\" seq 1 type b\n", Some(InvalidFormat)),
            (b"file a seq 1 type x\n", Some(UnknownType)),
            (b"file d/a seq 1 type b\n", Some(PathInName)),
            (b"file .. seq 1 type b\n", Some(PathInName)),
            (b"file a seq 1 type b\nfile b seq 2 type b\n", Some(DuplicateBase)),
            (b"file a seq 2 type i\nfile b seq 1 type i\n", Some(NotMonotonic)),
            (b"file a seq 2 type i\nfile b seq 2 type i\n", Some(NotMonotonic)),
            (b"file a seq 1 type i\nfile a seq 1 type h\n", Some(DuplicateName)),
            (b"file a seq 1 type i", Some(LineCut)),
            (b"file a seq 1 type i\n# the end", None),
            (b"# made by hand\nfile a seq 1 type i\n", None),
            (b" FILE a SEQ 1 TYPE incr \r\n", None),
            (b"file a seq 1 type i startoffset 3 endoffset 5\n", None),
            (b"type i seq 1 file 'a b'\n", None),
        ] {
            assert_eq!(Manifest::parse(text).err().map(|e| e.kind), result, "{text:?}");
        }
    }

    #[test]
    fn lines_have_a_maximum_length() {
        let line = |len: usize| {
            let mut line = b"file ".to_vec();
            line.resize(len - " seq 1 type i\n".len(), b'a');
            line.extend_from_slice(b" seq 1 type i\n");
            line
        };
        assert!(Manifest::parse(&line(1024)).is_ok());
        assert_eq!(error(&line(1025)), LineTooLong);
        assert_eq!(error(&[b'#'; 1025]), LineTooLong);
    }

    #[test]
    fn errors_name_the_line() {
        let error = Manifest::parse(b"file a seq 1 type i\n\tfile b\n").unwrap_err();
        assert_eq!(error.to_string(), "Invalid AOF manifest file format, at line 2: 'file b'");
    }

    #[test]
    fn names_with_blanks_are_quoted() {
        let mut manifest = Manifest::default();
        let name = manifest.next_incremental(" file seq \n\n.aof ");
        let text = manifest.format(false);
        assert_eq!(text, b"file \" file seq \\n\\n.aof .1.incr.aof\" seq 1 type i\n");
        assert_eq!(Manifest::parse(&text).unwrap().incremental()[0].name, name);
    }

    #[test]
    fn a_rewrite_makes_old_files_history() {
        let mut manifest = Manifest::default();
        assert_eq!(manifest.next_base("a", BaseFormat::Rdb), "a.1.base.rdb");
        assert_eq!(manifest.next_incremental("a"), "a.1.incr.aof");
        assert_eq!(manifest.next_incremental("a"), "a.2.incr.aof");
        assert_eq!(manifest.next_incremental("a"), "a.3.incr.aof");
        assert_eq!(manifest.next_base("a", BaseFormat::Aof), "a.2.base.aof");
        manifest.retire_incremental(1);
        let text = "file a.2.base.aof seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
            file a.2.incr.aof seq 2 type h\nfile a.1.base.rdb seq 1 type h\n\
            file a.3.incr.aof seq 3 type i\n";
        assert_eq!(String::from_utf8(manifest.format(false)).unwrap(), text);
        manifest.clear_history();
        manifest.retire_incremental(0);
        assert_eq!(manifest.history().len(), 1);
        assert_eq!(manifest.next_incremental("a"), "a.4.incr.aof");
    }

    #[test]
    fn the_old_single_file_becomes_the_base() {
        let mut manifest = Manifest::default();
        manifest.adopt_base("appendonly.aof");
        assert_eq!(manifest.format(false), b"file appendonly.aof seq 1 type b\n");
        assert_eq!(
            manifest.next_base("appendonly.aof", BaseFormat::Rdb),
            "appendonly.aof.2.base.rdb"
        );
    }

    #[test]
    fn a_manifest_with_a_checksum_is_whole_or_refused() {
        let manifest = Manifest::parse(STOCK).unwrap();
        let text = manifest.format(true);
        assert_eq!(Manifest::parse(&text).as_ref(), Ok(&manifest));
        for end in 0..text.len() {
            assert!(Manifest::parse(&text[..end]).is_err(), "cut at {end}");
        }
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut damaged = text.clone();
                damaged[at] ^= 1 << bit;
                assert!(Manifest::parse(&damaged).is_err(), "bit {bit} of byte {at}");
            }
        }
        assert!(matches!(error(&[&text[..], b"# more\n"].concat()), WrongChecksum { .. }));
        assert_eq!(error(&[b"# first\n", &text[..]].concat()), BadChecksumLine);
    }
}
