//! Checksums as text: 16 hexadecimal digits, in the manifest and in batch lines.

use crate::config::grammar;
use crate::rdb::format::Checksum;

/// Digits of a checksum.
const CHECKSUM_DIGITS: usize = 16;

/// Returns the CRC-64 of RDB files.
pub(super) fn checksum_of(bytes: &[u8]) -> u64 {
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
