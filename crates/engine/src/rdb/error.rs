//! What can be wrong with an RDB file, as values and as text for log lines.

use std::fmt;

use super::format::{self, HEADER_BYTES, Header};

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdbErrorKind {
    /// No magic at the start.
    WrongSignature([u8; HEADER_BYTES]),
    /// A version that is not opened.
    UnknownVersion(Header),
    /// The input ended within the named part.
    Truncated(&'static str),
    /// A byte that starts no length.
    BadLength(u8),
    /// A length was needed and an encoded string stands there.
    EncodedLength(u8),
    /// An encoding of strings that does not exist.
    BadStringEncoding(u8),
    /// A string longer than the limit.
    StringTooLong {
        /// Its claimed length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A compressed string that claims more than its bytes can give.
    BadCompressedLength {
        /// Bytes in the file.
        packed: u64,
        /// Bytes they claim to give.
        claimed: u64,
    },
    /// A compressed string that does not unpack to its length.
    BadCompression,
    /// A value type that exists but is not loaded yet.
    UnsupportedType {
        /// The type's name.
        name: &'static str,
        /// How it is encoded.
        encoding: &'static str,
        /// The byte in the file.
        code: u8,
        /// The key, quoted.
        key: String,
    },
    /// A byte that is neither a type nor an opcode.
    UnknownType(u8),
    /// An opcode that exists and cannot be loaded.
    UnsupportedOpcode(u8, &'static str),
    /// Module data that breaks its own grammar.
    BadModuleData(u64),
    /// The checksum at the end is not that of the bytes before it.
    WrongChecksum {
        /// What the file says.
        expected: u64,
        /// What its bytes give.
        computed: u64,
    },
    /// The sink did not take it.
    Refused(String),
}

/// Why a load ended, and where: its text fits a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbError {
    /// Bytes from the start of the file.
    pub offset: u64,
    /// What is wrong there.
    pub kind: RdbErrorKind,
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RDB offset {}: {}", self.offset, self.kind)
    }
}

impl std::error::Error for RdbError {}

impl fmt::Display for RdbErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use RdbErrorKind::*;
        match self {
            WrongSignature(bytes) => {
                write!(f, "wrong signature {}, not an RDB file", format::quoted(bytes))
            }
            UnknownVersion(Header { flavour, version }) => {
                write!(f, "can't handle {flavour:?} RDB format version {version}")
            }
            Truncated(part) => write!(f, "unexpected end of file in {part}"),
            BadLength(byte) => write!(f, "unknown length encoding 0x{byte:02x}"),
            EncodedLength(byte) => {
                write!(f, "a length was expected, found string encoding 0x{byte:02x}")
            }
            BadStringEncoding(kind) => write!(f, "unknown string encoding {kind}"),
            StringTooLong { bytes, bytes_max } => {
                write!(f, "string of {bytes} bytes is longer than the limit of {bytes_max}")
            }
            BadCompressedLength { packed, claimed } => {
                write!(f, "LZF string of {packed} bytes cannot unpack to {claimed}")
            }
            BadCompression => write!(f, "invalid LZF compressed string"),
            UnsupportedType { name, encoding, code, key } => {
                write!(f, "cannot load type '{name}' ({encoding}, RDB type {code}) yet, key {key}")
            }
            UnknownType(byte) => write!(f, "unknown RDB type or opcode {byte}"),
            UnsupportedOpcode(byte, what) => write!(f, "cannot load {what} (RDB opcode {byte})"),
            BadModuleData(tag) => write!(f, "module data with unknown tag {tag}"),
            WrongChecksum { expected, computed } => write!(
                f,
                "wrong checksum, the file says {expected:016x} and its bytes give {computed:016x}"
            ),
            Refused(reason) => f.write_str(reason),
        }
    }
}
