//! Zipmaps: small hashes of stock servers before version 2.6, in their RDB files; reading only.
//!
//! ```text
//!  0       1                                                             len - 1
//! ┌───────┬────────┬───────┬────────┬──────┬───────┬────────┬───── … ───┬──────┐
//! │ count │ length │ field │ length │ free │ value │ unused │           │ 0xff │
//! └───────┴────────┴───────┴────────┴──────┴───────┴────────┴───── … ───┴──────┘
//!  length   a byte up to 253, or fe and a u32, little endian
//!  free     a byte: how many unused bytes follow the value
//! ```
//!
//! A count of 254 or more means "unknown".

use crate::listpack::Malformed;

const COUNT_UNKNOWN: u8 = 254;
const LONG: u8 = 0xfe;
const END: u8 = 0xff;

/// Emits all fields with their values in order. Returns an error if the bytes are malformed,
/// possibly after emitting some.
pub fn each<'a>(
    bytes: &'a [u8],
    sink: &mut dyn FnMut(&'a [u8], &'a [u8]),
) -> Result<(), Malformed> {
    let [claimed, ref rest @ .., END] = *bytes else { return Err(Malformed) };
    let (mut rest, mut count) = (rest, 0_usize);
    while !rest.is_empty() {
        let pair = (|| {
            let field_len = read_len(&mut rest)?;
            let field = rest.split_off(..field_len)?;
            let value_len = read_len(&mut rest)?;
            let free = usize::from(*rest.split_off_first()?);
            let value = rest.split_off(..value_len)?;
            rest.split_off(..free)?;
            Some((field, value))
        })();
        let (field, value) = pair.ok_or(Malformed)?;
        sink(field, value);
        count += 1;
    }
    let is_counted = claimed >= COUNT_UNKNOWN || usize::from(claimed) == count;
    if is_counted { Ok(()) } else { Err(Malformed) }
}

fn read_len(rest: &mut &[u8]) -> Option<usize> {
    match *rest.split_off_first()? {
        END => None,
        LONG => {
            let bytes = rest.split_off(..4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
        }
        len => Some(usize::from(len)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs<'a> = Vec<(&'a [u8], &'a [u8])>;

    fn read_all(bytes: &[u8]) -> Result<Pairs<'_>, Malformed> {
        let mut pairs = Vec::new();
        each(bytes, &mut |field, value| pairs.push((field, value))).map(|()| pairs)
    }

    #[test]
    fn the_published_example() {
        let bytes = b"\x02\x03foo\x03\x00bar\x05hello\x05\x00world\xff";
        let expected: Pairs<'_> = vec![(b"foo", b"bar"), (b"hello", b"world")];
        assert_eq!(read_all(bytes), Ok(expected));
    }

    #[test]
    fn unused_bytes_and_long_lengths() {
        let bytes = b"\xfe\xfe\x03\0\0\0foo\x02\x01hi!\x00\x00\x00\xff";
        let expected: Pairs<'_> = vec![(b"foo", b"hi"), (b"", b"")];
        assert_eq!(read_all(bytes), Ok(expected));
    }

    #[test]
    fn what_is_no_zipmap_is_refused() {
        let good = b"\x01\x03foo\x03\x00bar\xff";
        for len in 0..good.len() {
            assert_eq!(read_all(&good[..len]), Err(Malformed), "cut at {len}");
        }
        for (at, byte, what) in [
            (0, 2, "count"),
            (1, 9, "a field's length"),
            (5, 4, "a value's length"),
            (6, 1, "unused bytes"),
            (1, 0xff, "an early end"),
        ] {
            let mut bad = good.to_vec();
            bad[at] = byte;
            assert_eq!(read_all(&bad), Err(Malformed), "{what}");
        }
    }
}
