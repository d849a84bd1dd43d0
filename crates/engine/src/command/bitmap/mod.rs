//! Bitmaps: strings as arrays of bits, the most significant bit of a byte first.
//!
//! * `bit.rs`: single bits, their number and their places
//! * `combine.rs`: bit by bit operations on whole strings
//! * `field.rs`: BITFIELD, and what its arguments mean
//! * `integer.rs`: the integers of BITFIELD and their overflows

mod bit;
mod combine;
mod field;
mod integer;

use std::ops::Range;

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::argument::{Argument, one_of, optional, token};
use super::{Args, Command, Ctx, Group, STRING_GAP_MAX, acl};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    bit::SETBIT,
    bit::GETBIT,
    bit::BITCOUNT,
    bit::BITPOS,
    combine::BITOP,
    field::BITFIELD,
    field::BITFIELD_RO,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Bitmap, acl: acl::BITMAP, ..Command::ROW };

/// The unit of a range.
const UNIT: Argument = {
    const UNITS: &[Argument] = &[token("BYTE"), token("BIT")];
    optional(one_of("unit", UNITS))
};

const OFFSET_ERROR: ErrorReply =
    ErrorReply::fixed("ERR bit offset is not an integer or out of range");

/// Parses the offset of a bit. Those of the numbers of BITFIELD are multiplied by a number's `width` if a `#` precedes them.
fn parse_offset(ctx: &Ctx<'_>, text: &[u8], width: Option<u32>) -> Result<u64, ErrorReply> {
    let (text, by) = match (text.strip_prefix(b"#"), width) {
        (Some(digits), Some(width)) => (digits, i64::from(width)),
        _ => (text, 1),
    };
    let offset = parse_i64(text).and_then(|number| number.checked_mul(by));
    let offset = offset.and_then(|offset| u64::try_from(offset).ok());
    offset.filter(|offset| offset >> 3 < ctx.string_bytes_max()).ok_or(OFFSET_ERROR)
}

/// Returns how many bytes a string of `old` bytes has at least if it has the bit at an offset.
fn grown_len(old: usize, last_bit: u64) -> Result<usize, ErrorReply> {
    let len = (last_bit >> 3) + 1;
    let len = Some(len).filter(|len| len.saturating_sub(old as u64) <= STRING_GAP_MAX);
    len.and_then(|len| usize::try_from(len).ok()).ok_or(OFFSET_ERROR)
}

/// A range of bits as the arguments of BITCOUNT and BITPOS give it.
#[derive(Clone, Copy, Debug)]
struct Given {
    start: i64,
    end: Option<i64>,
    is_bits: bool,
}

impl Given {
    /// Parses `start [end [unit]]` at an index; none if there is nothing.
    fn parse(args: &Args<'_>, at: usize) -> Result<Option<Given>, ErrorReply> {
        if args.len() > at + 3 {
            return Err(ErrorReply::Syntax);
        }
        if args.len() == at {
            return Ok(None);
        }
        let start = args.integer(at)?;
        let is_bits = args.is(at + 2, "BIT");
        if args.len() == at + 3 && !is_bits && !args.is(at + 2, "BYTE") {
            return Err(ErrorReply::Syntax);
        }
        let end = if args.len() > at + 1 { Some(args.integer(at + 1)?) } else { None };
        Ok(Some(Given { start, end, is_bits }))
    }

    /// Returns the bits of a string of `len` bytes; none of them if the range is empty.
    fn of(self, len: usize) -> Range<u64> {
        let per_unit = if self.is_bits { 1 } else { 8 };
        let units = i64::try_from(len as u64 * 8 / per_unit).unwrap_or(i64::MAX);
        let from_start = |at: i64| if at < 0 { at.saturating_add(units).max(0) } else { at };
        let (start, end) = (from_start(self.start), from_start(self.end.unwrap_or(-1)));
        let end = end.min(units - 1);
        if start > end { 0..0 } else { start as u64 * per_unit..(end as u64 + 1) * per_unit }
    }
}

#[cfg(test)]
mod tests {
    use super::Given;

    #[test]
    fn ranges_of_any_numbers_are_within_the_string() {
        let given = |start, end, is_bits| Given { start, end, is_bits };
        for (range, expected) in [
            (given(0, Some(-1), false), 0..24),
            (given(0, None, false), 0..24),
            (given(1, None, false), 8..24),
            (given(-2, Some(-2), false), 8..16),
            (given(3, None, false), 0..0),
            (given(1, Some(0), false), 0..0),
            (given(5, Some(5), true), 5..6),
            (given(-1, Some(-1), true), 23..24),
            (given(-100, Some(100), true), 0..24),
            (given(i64::MIN, Some(i64::MAX), true), 0..24),
            (given(i64::MIN, Some(i64::MIN), false), 0..8),
            (given(i64::MAX, Some(i64::MAX), true), 0..0),
            (given(i64::MAX, Some(i64::MIN), true), 0..0),
        ] {
            assert_eq!(range.of(3), expected, "{range:?}");
        }
        for range in [given(0, None, false), given(-1, Some(-1), true), given(0, Some(0), true)] {
            assert_eq!(range.of(0), 0..0, "{range:?}");
        }
    }
}
