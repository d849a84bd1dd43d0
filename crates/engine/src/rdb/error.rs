//! Errors of RDB files, with texts for log lines.

use std::fmt;

use super::format::{self, HEADER_BYTES, Header};

/// The kind of an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RdbErrorKind {
    /// The file does not start with the magic.
    WrongSignature([u8; HEADER_BYTES]),
    /// The version is not supported.
    UnknownVersion(Header),
    /// The input ends within the named part.
    Truncated(&'static str),
    /// The first byte of a length is invalid.
    BadLength(u8),
    /// A string encoding was found in place of a length.
    EncodedLength(u8),
    /// An unknown string encoding.
    BadStringEncoding(u8),
    /// A string longer than the limit.
    StringTooLong {
        /// Its claimed length.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// The claimed length of a compressed string is beyond what its bytes can decompress to.
    BadCompressedLength {
        /// Compressed length in bytes.
        compressed: u64,
        /// Claimed decompressed length in bytes.
        claimed: u64,
    },
    /// A compressed string that does not decompress to its length.
    BadCompression,
    /// A known value type that is not implemented yet.
    UnsupportedType {
        /// The type's name.
        name: &'static str,
        /// Its encoding.
        encoding: &'static str,
        /// The type byte.
        code: u8,
        /// The key, quoted.
        key: String,
    },
    /// A byte that is neither a type nor an opcode.
    UnknownType(u8),
    /// A known opcode that is not supported.
    UnsupportedOpcode(u8, &'static str),
    /// Module data with an unknown tag.
    BadModuleData(u64),
    /// The checksum does not match.
    WrongChecksum {
        /// The checksum in the file.
        expected: u64,
        /// The checksum of its bytes.
        computed: u64,
    },
    /// The sink rejected the content.
    Refused(String),
}

/// An error at an offset of a file. Its text fits into a log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RdbError {
    /// Offset from the start of the file in bytes.
    pub offset: u64,
    /// The kind of error.
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
            BadCompressedLength { compressed, claimed } => {
                write!(f, "LZF string of {compressed} bytes cannot decompress to {claimed}")
            }
            BadCompression => write!(f, "invalid LZF compressed string"),
            UnsupportedType { name, encoding, code, key } => {
                write!(f, "cannot load type '{name}' ({encoding}, RDB type {code}) yet, key {key}")
            }
            UnknownType(byte) => write!(f, "unknown RDB type or opcode {byte}"),
            UnsupportedOpcode(byte, what) => write!(f, "cannot load {what} (RDB opcode {byte})"),
            BadModuleData(tag) => write!(f, "module data with unknown tag {tag}"),
            WrongChecksum { expected, computed } => {
                write!(f, "RDB CRC error: {expected:016x} in the file, {computed:016x} computed")
            }
            Refused(reason) => f.write_str(reason),
        }
    }
}
