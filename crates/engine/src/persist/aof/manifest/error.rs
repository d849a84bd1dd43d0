//! Why a manifest is refused, with texts for log lines.

use std::fmt;

use super::text::LINE_BYTES_MAX;
use crate::config::grammar;

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
    /// Without a checksum: an incremental file is history, and no rewrite can have left the files like that.
    HistoryInUse,
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
            ManifestErrorKind::HistoryInUse => {
                "An incremental file is called history, although no rewrite has replaced it"
            }
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

impl ManifestError {
    /// Returns the error of a line, counted from 1.
    pub(super) fn at(number: usize, line: &[u8], kind: ManifestErrorKind) -> ManifestError {
        let shown = &line[..line.len().min(LINE_BYTES_MAX)];
        ManifestError { line: Some((number, grammar::trim(shown).to_vec())), kind }
    }
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
