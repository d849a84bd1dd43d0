//! Definitions of the RDB format: opcodes, encodings of lengths and integers, the checksum.
//! `docs/internals/rdb.md` draws a file.
//!
//! Sources are the public formats of Redis up to 7.2 and of Valkey 9. Details of later Redis
//! versions (12 and up) come from the documentation of third-party readers and are only used in
//! error messages.

use crc_fast::{CrcAlgorithm, Digest};

/// Opcodes, found in place of a value type.
pub mod opcode {
    /// Valkey 9.2: a replicated command inside a snapshot.
    pub const UPDATE: u8 = 242;
    /// Valkey 9: unfinished slot import. Redis 8.6: key metadata of modules.
    pub const SLOT_IMPORT_OR_KEY_META: u8 = 243;
    /// Slot, keys, keys with expiry: a hint for sizing tables.
    pub const SLOT_INFO: u8 = 244;
    /// Source of a function library.
    pub const FUNCTION2: u8 = 245;
    /// Function library in the format of release candidates of 7.0.
    pub const FUNCTION_PRE_GA: u8 = 246;
    /// Module data outside of any key.
    pub const MODULE_AUX: u8 = 247;
    /// Idle seconds of the next key.
    pub const IDLE: u8 = 248;
    /// Use counter of the next key.
    pub const FREQ: u8 = 249;
    /// Auxiliary field: a name and a string.
    pub const AUX: u8 = 250;
    /// Keys and keys with expiry of the selected database: a hint for sizing tables.
    pub const RESIZEDB: u8 = 251;
    /// Expiry of the next key, i64 little endian, milliseconds.
    pub const EXPIRETIME_MS: u8 = 252;
    /// Expiry of the next key, i32 little endian, seconds (files before version 3).
    pub const EXPIRETIME: u8 = 253;
    /// Database of the following keys.
    pub const SELECTDB: u8 = 254;
    /// End of the file; since version 5 followed by a checksum.
    pub const EOF: u8 = 255;
}

/// Tags of the annotated data that modules write.
pub mod module_opcode {
    /// End of the module's data.
    pub const EOF: u64 = 0;
    /// Signed integer, as a length.
    pub const SINT: u64 = 1;
    /// Unsigned integer, as a length.
    pub const UINT: u64 = 2;
    /// Four bytes.
    pub const FLOAT: u64 = 3;
    /// Eight bytes.
    pub const DOUBLE: u64 = 4;
    /// A string.
    pub const STRING: u64 = 5;
}

/// First file version with a checksum after EOF.
pub const VERSION_WITH_CHECKSUM: u32 = 5;
/// Latest supported version with the magic `REDIS` (Redis 8.8).
pub const REDIS_VERSION_MAX: u32 = 14;
/// First version with the magic `VALKEY` (Valkey 9.0).
pub const VALKEY_VERSION_MIN: u32 = 80;
/// Latest supported version with the magic `VALKEY` (Valkey 9.2).
pub const VALKEY_VERSION_MAX: u32 = 81;
/// Length of magic and version together.
pub const HEADER_BYTES: usize = 9;

/// The project that defined a file's version number, which determines the meaning of high type
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Magic `REDIS` and four digits.
    Redis,
    /// Magic `VALKEY` and three digits.
    Valkey,
}

/// The header of a file, of nine bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The magic.
    pub flavour: Flavour,
    /// The version number after the magic.
    pub version: u32,
}

impl Header {
    /// Parses magic and version; none if it is not an RDB header. The version is not validated.
    pub fn parse(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
        let (flavour, digits) = match bytes.strip_prefix(b"REDIS") {
            Some(digits) => (Flavour::Redis, digits),
            None => (Flavour::Valkey, bytes.strip_prefix(b"VALKEY")?),
        };
        if !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let version = digits.iter().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'));
        Some(Header { flavour, version })
    }

    /// Whether the version is supported.
    pub fn is_known(self) -> bool {
        match self.flavour {
            Flavour::Redis => (1..=REDIS_VERSION_MAX).contains(&self.version),
            Flavour::Valkey => (VALKEY_VERSION_MIN..=VALKEY_VERSION_MAX).contains(&self.version),
        }
    }
}

/// String encodings, found in place of a length (with the top two bits set).
pub mod string_encoding {
    /// One byte, signed.
    pub const INT8: u8 = 0;
    /// Two bytes, little endian, signed.
    pub const INT16: u8 = 1;
    /// Four bytes, little endian, signed.
    pub const INT32: u8 = 2;
    /// Compressed length, decompressed length, compressed bytes.
    pub const LZF: u8 = 3;
}

/// The top bits that mark an encoding instead of a length.
pub const ENCODED: u8 = 0xc0;
/// First byte of a 32-bit length (big endian).
pub const LEN_32: u8 = 0x80;
/// First byte of a 64-bit length (big endian).
pub const LEN_64: u8 = 0x81;

/// Maximum ratio of LZF: three compressed bytes decompress to at most 264.
pub const LZF_RATIO_MAX: u64 = 88;

/// Maximum length of a string, far above that of any real one, so that a damaged length is noticed
/// and sums of lengths do not overflow. It does not limit memory: that is allocated as bytes arrive,
/// and for a compressed string within the maximum ratio.
pub const STRING_BYTES_MAX: u64 = 1 << 40;

/// Appends a length in its shortest form.
#[inline]
pub fn put_len(len: u64, out: &mut Vec<u8>) {
    if len < 1 << 6 {
        out.push(len as u8);
    } else if len < 1 << 14 {
        out.extend_from_slice(&(len as u16 | 0x4000).to_be_bytes());
    } else if let Ok(len) = u32::try_from(len) {
        let [a, b, c, d] = len.to_be_bytes();
        out.extend_from_slice(&[LEN_32, a, b, c, d]);
    } else {
        out.push(LEN_64);
        out.extend_from_slice(&len.to_be_bytes());
    }
}

/// Appends the encoding of an integer if it fits into 32 bits. Returns whether it did.
#[inline]
pub fn put_encoded_int(value: i64, out: &mut Vec<u8>) -> bool {
    if let Ok(value) = i8::try_from(value) {
        out.extend_from_slice(&[ENCODED | string_encoding::INT8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        let [a, b] = value.to_le_bytes();
        out.extend_from_slice(&[ENCODED | string_encoding::INT16, a, b]);
    } else if let Ok(value) = i32::try_from(value) {
        let [a, b, c, d] = value.to_le_bytes();
        out.extend_from_slice(&[ENCODED | string_encoding::INT32, a, b, c, d]);
    } else {
        return false;
    }
    true
}

/// Parses a string of up to 11 bytes that is the canonical decimal text of an integer.
///
/// Every 32-bit number fits into 11 bytes, and larger ones have no integer encoding.
#[inline]
pub fn canonical_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [] => return None,
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if text.len() <= 11 => {}
        _ => return None,
    }
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value * 10 + i64::from(digit - b'0');
    }
    Some(if negative { -value } else { value })
}

/// The running CRC-64 (Jones, reflected, initial and final value 0) of a file.
#[derive(Clone, Debug)]
pub struct Checksum(Digest);

impl Checksum {
    /// Creates the checksum of no bytes.
    pub fn new() -> Checksum {
        Checksum(Digest::new(CrcAlgorithm::Crc64Redis))
    }

    /// Adds bytes.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.update(bytes);
        }
    }

    /// Returns the checksum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

impl Default for Checksum {
    fn default() -> Checksum {
        Checksum::new()
    }
}

/// Formats a key for log lines: quoted, escaped, limited to its first 64 bytes.
pub fn quoted(bytes: &[u8]) -> String {
    const SHOWN_BYTES_MAX: usize = 64;
    let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
    let dots = if shown.len() < bytes.len() { "..." } else { "" };
    format!("\"{}\"{dots}", shown.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_has_the_published_check_value() {
        let mut checksum = Checksum::new();
        checksum.update(b"1234");
        checksum.update(b"56789");
        assert_eq!(checksum.value(), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Checksum::new().value(), 0);
    }

    #[test]
    fn lengths_have_their_shortest_form() {
        let put = |len| {
            let mut out = Vec::new();
            put_len(len, &mut out);
            out
        };
        assert_eq!(put(0), [0]);
        assert_eq!(put(63), [0x3f]);
        assert_eq!(put(64), [0x40, 64]);
        assert_eq!(put(16_383), [0x7f, 0xff]);
        assert_eq!(put(16_384), [0x80, 0, 0, 0x40, 0]);
        assert_eq!(put(u64::from(u32::MAX)), [0x80, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(put(1 << 32), [0x81, 0, 0, 0, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn only_canonical_integers_are_parsed() {
        for (text, value) in [
            ("0", Some(0)),
            ("-1", Some(-1)),
            ("2147483647", Some(i64::from(i32::MAX))),
            ("-2147483648", Some(i64::from(i32::MIN))),
            ("99999999999", Some(99_999_999_999)),
            ("", None),
            ("-", None),
            ("-0", None),
            ("00", None),
            ("01", None),
            ("+1", None),
            (" 1", None),
            ("1 ", None),
            ("1a", None),
            ("-01", None),
            ("999999999999", None),
        ] {
            assert_eq!(canonical_int(text.as_bytes()), value, "{text:?}");
        }
    }

    #[test]
    fn headers() {
        let known = |bytes| Header::parse(bytes).map(Header::is_known);
        assert_eq!(known(b"REDIS0001"), Some(true));
        assert_eq!(known(b"REDIS0014"), Some(true));
        assert_eq!(known(b"VALKEY080"), Some(true));
        assert_eq!(known(b"REDIS0000"), Some(false));
        assert_eq!(known(b"REDIS0080"), Some(false));
        assert_eq!(known(b"VALKEY011"), Some(false));
        assert_eq!(known(b"REDIS001a"), None);
        assert_eq!(known(b"REDIX0010"), None);
    }

    #[test]
    fn keys_are_quoted_for_log_lines() {
        assert_eq!(quoted(b"a\n\"\xff"), r#""a\n\"\xff""#);
        assert_eq!(quoted(&[b'x'; 100]), format!("\"{}\"...", "x".repeat(64)));
    }
}
