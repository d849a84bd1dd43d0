//! The integers of BITFIELD: so many bits of a string, signed or not, and what becomes of a value that they cannot hold.
//!
//! A sum of two values is within 66 bits, so all of it is computed with 128.

use russet_ds::bits;
use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

/// How an integer is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    is_signed: bool,
    /// Its bits: 1 to 64 if it is signed, else to 63, since a reply is a signed number of 64 bits.
    pub(super) width: u32,
}

/// What becomes of a value that an integer cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overflow {
    /// Its high bits are lost.
    Wrap,
    /// It becomes the nearest value.
    Saturate,
    /// Nothing is stored.
    Fail,
}

impl Encoding {
    /// Parses `i16` or `u8`.
    pub(super) fn parse(text: &[u8]) -> Result<Encoding, ErrorReply> {
        const ERROR: ErrorReply = ErrorReply::fixed(
            "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
        );
        let (is_signed, digits) = match text {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return Err(ERROR),
        };
        let most = if is_signed { 64 } else { 63 };
        let width = parse_i64(digits).filter(|width| (1..=most).contains(width)).ok_or(ERROR)?;
        Ok(Encoding { is_signed, width: width as u32 })
    }

    /// Reads one at the bit `at` of a string, behind whose end all bits are zero.
    pub(super) fn read(self, bytes: &[u8], at: u64) -> i64 {
        self.wrapped(i128::from(bits::field(bytes, at, self.width)))
    }

    /// Stores a value that it can hold.
    pub(super) fn write(self, bytes: &mut [u8], at: u64, value: i64) {
        bits::set_field(bytes, at, self.width, value as u64);
    }

    /// Returns the value that is stored for another one; none if there is none.
    pub(super) fn fit(self, value: i128, overflow: Overflow) -> Option<i64> {
        let (min, max) = self.range();
        match overflow {
            _ if (min..=max).contains(&value) => Some(value as i64),
            Overflow::Wrap => Some(self.wrapped(value)),
            Overflow::Saturate => Some(value.clamp(min, max) as i64),
            Overflow::Fail => None,
        }
    }

    /// Returns a value that SET was given. For an unsigned integer it is one of 64 bits: so a negative one is beyond the
    /// largest, not below the smallest.
    pub(super) fn given(self, value: i64) -> i128 {
        if self.is_signed { i128::from(value) } else { i128::from(value as u64) }
    }

    fn range(self) -> (i128, i128) {
        match self.is_signed {
            true => (-(1 << (self.width - 1)), (1 << (self.width - 1)) - 1),
            false => (0, (1 << self.width) - 1),
        }
    }

    /// Keeps the low bits of a value.
    fn wrapped(self, value: i128) -> i64 {
        let unused = 128 - self.width;
        let value = match self.is_signed {
            true => (value << unused) >> unused,
            false => (((value as u128) << unused) >> unused) as i128,
        };
        value as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_limited_by_what_a_reply_can_say() {
        for (text, expected) in [
            ("i1", Some((true, 1))),
            ("i64", Some((true, 64))),
            ("u63", Some((false, 63))),
            ("u64", None),
            ("i65", None),
            ("i0", None),
            ("u-1", None),
            ("u", None),
            ("", None),
            ("I8", None),
            ("x8", None),
            ("u08", None),
            ("u9223372036854775808", None),
        ] {
            let encoding = Encoding::parse(text.as_bytes()).ok();
            assert_eq!(encoding.map(|it| (it.is_signed, it.width)), expected, "{text}");
        }
    }

    #[test]
    fn values_wrap_saturate_or_fail() {
        let min = i128::from(i64::MIN);
        for (encoding, value, wrapped, saturated) in [
            ("u8", 256, 0, 255),
            ("u8", -1, 255, 0),
            ("u1", 3, 1, 1),
            ("u63", 1 << 63, 0, i64::MAX),
            ("u63", min, 0, 0),
            ("i8", 128, -128, 127),
            ("i8", -129, 127, -128),
            ("i1", 1, -1, 0),
            ("i64", min * 2, 0, i64::MIN),
            ("i64", min - 1, i64::MAX, i64::MIN),
            ("i64", -min, i64::MIN, i64::MAX),
        ] {
            let parsed = Encoding::parse(encoding.as_bytes()).expect("an encoding");
            assert_eq!(parsed.fit(value, Overflow::Wrap), Some(wrapped), "{encoding} {value}");
            assert_eq!(
                parsed.fit(value, Overflow::Saturate),
                Some(saturated),
                "{encoding} {value}"
            );
            assert_eq!(parsed.fit(value, Overflow::Fail), None, "{encoding} {value}");
            let fits = parsed.fit(i128::from(wrapped), Overflow::Fail);
            assert_eq!(fits, Some(wrapped), "{encoding} {value}");
        }
    }
}
