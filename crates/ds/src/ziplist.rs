//! Ziplists: small collections of stock servers before version 7, in their RDB files; reading only.
//!
//! ```text
//!  0            4            8         10                            len - 1
//! ┌────────────┬────────────┬─────────┬─────────┬─── … ───┬─────────┬──────┐
//! │ total u32  │ tail u32   │ count   │ element │         │ element │ 0xff │
//! └────────────┴────────────┴─────────┴─────────┴─── … ───┴─────────┴──────┘
//!
//!  element   length of the one before: a byte up to 253, or fe and a u32; then
//!            00llllll  bytes                    a string of up to 63 bytes
//!            01llllll llllllll  bytes           a string of up to 16383 bytes, big endian
//!            80 llllllll×4  bytes               a longer string, big endian
//!            c0, d0, e0, f0, fe  bytes          an integer of 16, 32, 64, 24, 8 bits
//!            1111xxxx                           the integer xxxx - 1, of 0 to 12
//! ```
//!
//! Numbers without another note are little endian. `tail` is the offset of the last element; a
//! count of 65535 means "unknown".

use crate::listpack::{Element, Malformed};

const HEADER_BYTES: usize = 10;
const COUNT_UNKNOWN: usize = 0xffff;
const END: u8 = 0xff;
const LONG_PREVIOUS: u8 = 0xfe;

/// Emits all elements in order. Returns an error if the bytes are malformed, possibly after
/// emitting some elements.
pub fn each<'a>(bytes: &'a [u8], sink: &mut dyn FnMut(Element<'a>)) -> Result<(), Malformed> {
    let [a, b, c, d, e, f, g, h, low, high, ..] = *bytes else { return Err(Malformed) };
    let total = u32::from_le_bytes([a, b, c, d]) as usize;
    let tail = u32::from_le_bytes([e, f, g, h]) as usize;
    let claimed = usize::from(u16::from_le_bytes([low, high]));
    if total != bytes.len() || total <= HEADER_BYTES || bytes.last() != Some(&END) {
        return Err(Malformed);
    }
    let end = total - 1;
    let (mut at, mut previous, mut last, mut count) = (HEADER_BYTES, 0, HEADER_BYTES, 0);
    while at < end {
        let (element, len) = read(&bytes[at..end], previous).ok_or(Malformed)?;
        sink(element);
        (last, previous, count) = (at, len, count + 1);
        at += len;
    }
    let counted = claimed == COUNT_UNKNOWN || claimed == count;
    if counted && tail == last { Ok(()) } else { Err(Malformed) }
}

/// Returns the element at the start of `rest` and its size. `previous`: the size of the element
/// before it.
fn read(rest: &[u8], previous: usize) -> Option<(Element<'_>, usize)> {
    let (claimed, head) = match *rest {
        [LONG_PREVIOUS, a, b, c, d, ..] => (u32::from_le_bytes([a, b, c, d]) as usize, 5),
        [len @ 0..LONG_PREVIOUS, ..] => (usize::from(len), 1),
        _ => return None,
    };
    if claimed != previous {
        return None;
    }
    let body = &rest[head..];
    let text =
        |head: usize, len: usize| Some((Element::Text(body.get(head..head + len)?), head + len));
    let (element, len) = match *body {
        [first @ 0..0x40, ..] => text(1, usize::from(first))?,
        [first @ 0x40..0x80, low, ..] => {
            text(2, usize::from(first & 0x3f) << 8 | usize::from(low))?
        }
        [0x80, a, b, c, d, ..] => text(5, u32::from_be_bytes([a, b, c, d]) as usize)?,
        [0xc0, a, b, ..] => (Element::Int(i64::from(i16::from_le_bytes([a, b]))), 3),
        [0xd0, a, b, c, d, ..] => (Element::Int(i64::from(i32::from_le_bytes([a, b, c, d]))), 5),
        [0xe0, a, b, c, d, e, f, g, h, ..] => {
            (Element::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h])), 9)
        }
        [0xf0, a, b, c, ..] => (Element::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4),
        [0xfe, a, ..] => (Element::Int(i64::from(a as i8)), 2),
        [first @ 0xf1..=0xfd, ..] => (Element::Int(i64::from(first & 0xf) - 1), 1),
        _ => return None,
    };
    Some((element, head + len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(bytes: &[u8]) -> Result<Vec<Element<'_>>, Malformed> {
        let mut elements = Vec::new();
        each(bytes, &mut |element| elements.push(element)).map(|()| elements)
    }

    /// Creates a ziplist of encoded elements without their backward lengths.
    fn of(bodies: &[&[u8]]) -> Vec<u8> {
        let (mut bytes, mut previous, mut tail) = (vec![0; HEADER_BYTES], 0_usize, HEADER_BYTES);
        for body in bodies {
            tail = bytes.len();
            match u8::try_from(previous) {
                Ok(len) if len < LONG_PREVIOUS => bytes.push(len),
                _ => {
                    bytes.push(LONG_PREVIOUS);
                    bytes.extend_from_slice(&(previous as u32).to_le_bytes());
                }
            }
            bytes.extend_from_slice(body);
            previous = bytes.len() - tail;
        }
        bytes.push(END);
        let total = bytes.len() as u32;
        bytes[..4].copy_from_slice(&total.to_le_bytes());
        bytes[4..8].copy_from_slice(&(tail as u32).to_le_bytes());
        bytes[8..10].copy_from_slice(&(bodies.len() as u16).to_le_bytes());
        bytes
    }

    #[test]
    fn the_published_example() {
        let bytes = b"\x0f\0\0\0\x0c\0\0\0\x02\0\x00\xf3\x02\xf6\xff";
        assert_eq!(read_all(bytes), Ok(vec![Element::Int(2), Element::Int(5)]));
    }

    #[test]
    fn every_form() {
        let long = [b'x'; 300];
        let bytes = of(&[
            b"\x00",
            b"\x03abc",
            &[b"\x41\x2c", &long[..]].concat(),
            &[b"\x80\0\0\x01\x2c", &long[..]].concat(),
            b"\xc0\xff\xff",
            b"\xd0\0\0\0\x80",
            b"\xe0\0\0\0\0\0\0\0\x80",
            b"\xf0\xff\xff\x7f",
            b"\xf0\0\0\x80",
            b"\xfe\x80",
            b"\xf1",
            b"\xfd",
        ]);
        let expected = vec![
            Element::Text(b""),
            Element::Text(b"abc"),
            Element::Text(&long),
            Element::Text(&long),
            Element::Int(-1),
            Element::Int(i64::from(i32::MIN)),
            Element::Int(i64::MIN),
            Element::Int(8_388_607),
            Element::Int(-8_388_608),
            Element::Int(-128),
            Element::Int(0),
            Element::Int(12),
        ];
        assert_eq!(read_all(&bytes), Ok(expected));
    }

    #[test]
    fn what_is_no_ziplist_is_refused() {
        assert_eq!(read_all(&of(&[])), Ok(vec![]));
        let good = of(&[b"\x03abc", b"\xf3"]);
        assert!(read_all(&good).is_ok());
        for len in 0..good.len() {
            assert_eq!(read_all(&good[..len]), Err(Malformed), "cut at {len}");
        }
        for (at, byte, what) in [
            (0, 99, "total"),
            (4, 10, "tail"),
            (8, 3, "count"),
            (10, 1, "the length before the first"),
            (11, 0x20, "a string's length"),
            (15, 4, "the length before"),
            (16, 0x81, "no such form"),
            (good.len() - 1, 0, "no end"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(read_all(&bad), Err(Malformed), "{what}");
        }
    }
}
