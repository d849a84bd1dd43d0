//! What can be wrong with an append-only file, with texts for log lines.

use std::fmt;

use super::command::Malformed;

/// What is wrong at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AofErrorKind {
    /// The file ends within a command, a line or a batch.
    Ends,
    /// The file ends before the EXEC of a MULTI.
    EndsInTransaction,
    /// A command claims more bytes than the file has.
    Beyond,
    /// A command is malformed.
    Malformed(Malformed),
    /// A byte that begins neither a command nor an annotation.
    UnknownByte(u8),
    /// MULTI after MULTI.
    UnexpectedMulti,
    /// EXEC without MULTI.
    UnexpectedExec,
    /// An annotation without an end.
    AnnotationTooLong,
    /// An annotation of a known kind whose text is damaged.
    DamagedAnnotation,
    /// A batch line that belongs to another place: something before it was removed or inserted.
    Misplaced {
        /// The offset in the line.
        claimed: u64,
    },
    /// A batch, its line, or something since the batch before has changed.
    WrongChecksum {
        /// The checksum in the line.
        expected: u64,
        /// The checksum of the bytes.
        computed: u64,
    },
    /// A batch that is not complete, and then commands of another server: it cut off the rest and went on.
    ForeignCommands,
    /// A batch, although its checksum is right, does not consist of whole commands and transactions.
    BadBatch,
}

impl fmt::Display for AofErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AofErrorKind::Ends => "the file ends within a command or batch",
            AofErrorKind::EndsInTransaction => "Reached EOF before reading EXEC for MULTI",
            AofErrorKind::Beyond => {
                "Unexpected end of file: a command is longer than what is left of it"
            }
            AofErrorKind::Malformed(Malformed::Byte { expected: b'\r' | b'\n', found }) => {
                return write!(f, "Expected \\r\\n, got: {found:02x}");
            }
            AofErrorKind::Malformed(Malformed::Byte { expected, found }) => {
                let (expected, found) = (expected.escape_ascii(), found.escape_ascii());
                return write!(f, "Expected prefix '{expected}', got: '{found}'");
            }
            AofErrorKind::Malformed(Malformed::Number) => "a number or length that is none",
            AofErrorKind::UnknownByte(byte) => {
                let byte = byte.escape_ascii();
                return write!(f, "'{byte}' begins neither a command nor an annotation");
            }
            AofErrorKind::UnexpectedMulti => "Unexpected MULTI",
            AofErrorKind::UnexpectedExec => "Unexpected EXEC",
            AofErrorKind::AnnotationTooLong => "an annotation longer than 1024 bytes",
            AofErrorKind::DamagedAnnotation => "a damaged annotation",
            AofErrorKind::Misplaced { claimed } => {
                return write!(f, "a batch that was written at offset {claimed}");
            }
            AofErrorKind::WrongChecksum { expected, computed } => {
                return write!(
                    f,
                    "the checksum of a batch is {computed:016x} instead of {expected:016x}"
                );
            }
            AofErrorKind::ForeignCommands => {
                "a batch is incomplete, and another server appended commands to it"
            }
            AofErrorKind::BadBatch => "a batch ends within a command or transaction",
        })
    }
}

/// An error at an offset of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AofError {
    /// Offset from the beginning of the file in bytes.
    pub offset: u64,
    /// What is wrong.
    pub kind: AofErrorKind,
}

impl fmt::Display for AofError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "offset {}: {}", self.offset, self.kind)
    }
}
