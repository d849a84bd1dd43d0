//! Shared by SCAN and its variants for collections: cursors, patterns, counts.

use russet_ds::glob::{Case, matches};
use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::Args;

/// The default of SCAN's COUNT.
pub const COUNT: usize = 10;

/// The pattern of KEYS or SCAN. `*` counts as none, so that it matches the empty key too.
#[derive(Clone, Copy)]
pub struct Pattern<'a>(Option<&'a [u8]>);

impl<'a> Pattern<'a> {
    /// The pattern that everything matches.
    pub fn any() -> Pattern<'a> {
        Pattern(None)
    }

    /// A pattern as it was given.
    pub fn new(pattern: &'a [u8]) -> Pattern<'a> {
        Pattern(Some(pattern).filter(|pattern| *pattern != b"*"))
    }

    /// Whether a name matches.
    pub fn fits(self, key: &[u8]) -> bool {
        self.0.is_none_or(|pattern| matches(pattern, key, Case::Sensitive))
    }
}

/// Parses the number after COUNT.
pub fn count(args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
    let given = usize::try_from(args.integer(at)?).ok().filter(|&given| given > 0);
    given.ok_or(ErrorReply::Syntax)
}

/// Parses a cursor as C's `strtoul` does: with a sign and leading zeros, and -1 as the largest.
pub fn cursor(text: &[u8]) -> Result<u64, ErrorReply> {
    let invalid = || ErrorReply::err("invalid cursor");
    if let Some(number) = parse_i64(text) {
        return Ok(number.cast_unsigned());
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    // An empty cursor is zero to `strtoul`.
    let is_number =
        digits.iter().all(u8::is_ascii_digit) && (text.is_empty() || !digits.is_empty());
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number).ok_or_else(invalid)?;
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().map_err(|_| invalid())? };
    Ok(if negative { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod tests {
    use super::cursor;

    #[test]
    fn cursors_are_parsed_as_in_c() {
        for (text, expected) in [
            ("0", 0),
            ("", 0),
            ("007", 7),
            ("+7", 7),
            ("-1", u64::MAX),
            ("-01", u64::MAX),
            ("18446744073709551615", u64::MAX),
            ("9223372036854775808", 1 << 63),
        ] {
            assert_eq!(cursor(text.as_bytes()), Ok(expected), "{text:?}");
        }
        for text in ["18446744073709551616", " 1", "1 ", "-", "+", "x", "1x", "--1"] {
            assert!(cursor(text.as_bytes()).is_err(), "{text:?}");
        }
    }
}
