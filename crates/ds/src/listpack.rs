//! Listpacks: strings and integers in a contiguous buffer, the format of stock servers for small
//! collections in memory and in RDB files.
//!
//! ```text
//!  0            4         6                                       len - 1
//! ┌────────────┬─────────┬─────────┬─────────┬─── … ───┬─────────┬──────┐
//! │ total u32  │ count   │ element │ element │         │ element │ 0xff │
//! │            │ u16     │         │         │         │         │      │
//! └────────────┴─────────┴─────────┴─────────┴─── … ───┴─────────┴──────┘
//!
//!  element   0xxxxxxx                            the integer 0 to 127
//!            10llllll  bytes                     a string of up to 63 bytes
//!            110xxxxx xxxxxxxx                   a 13-bit integer, big endian
//!            1110llll llllllll  bytes            a string of up to 4095 bytes, big endian
//!            f0 llllllll×4  bytes                a longer string
//!            f1, f2, f3, f4  bytes               an integer of 16, 24, 32, 64 bits
//!            … followed by the length of all that, written so that it can be read backwards:
//!            seven bits a byte, highest first, the top bit set on all but the first
//! ```
//!
//! Everything without another note is little endian. A count of 65535 means "unknown". A text that
//! is the canonical form of an integer is stored as that integer, in the smallest form: so do stock
//! servers, and the bytes are interchangeable with theirs.
//!
//! Reading functions accept any bytes: malformed ones end early and never panic. [`check`]
//! validates bytes. Functions that change a listpack, and positions, require valid ones.

use std::borrow::Cow;
use std::fmt;

/// Number of bytes before the first element.
const HEADER_BYTES: usize = 6;
/// Offset of the count.
const COUNT_AT: usize = 4;
/// The last byte.
const END: u8 = 0xff;
/// The count of a listpack whose elements must be counted.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// Maximum length of the text of a 64-bit integer.
const INT_TEXT_MAX: usize = 20;
/// Maximum length of an encoded integer, including its first byte.
const INT_BYTES_MAX: usize = 9;
/// Maximum size of a listpack, as in stock servers.
const BYTES_MAX: usize = 1 << 30;

const STRING_6: u8 = 0x80;
const INT_13: u8 = 0xc0;
const STRING_12: u8 = 0xe0;
const STRING_32: u8 = 0xf0;
const INT_16: u8 = 0xf1;
const INT_24: u8 = 0xf2;
const INT_32: u8 = 0xf3;
const INT_64: u8 = 0xf4;

/// The bytes of an empty listpack.
pub const EMPTY: [u8; HEADER_BYTES + 1] = [HEADER_BYTES as u8 + 1, 0, 0, 0, 0, 0, END];

/// The bytes are not a valid listpack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed bytes")
    }
}

impl std::error::Error for Malformed {}

/// An element as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element<'a> {
    /// An integer, which stands for its decimal text.
    Int(i64),
    /// Any other text; from other sources possibly the text of an integer.
    Text(&'a [u8]),
}

/// A buffer for the text of an integer.
pub type Digits = [u8; INT_TEXT_MAX];

impl<'a> Element<'a> {
    /// Returns the form in which a text is stored.
    #[must_use]
    pub fn of(text: &'a [u8]) -> Element<'a> {
        integer(text).map_or(Element::Text(text), Element::Int)
    }

    /// Returns its text; an integer is formatted into `digits`.
    #[must_use]
    pub fn text<'t>(&self, digits: &'t mut Digits) -> &'t [u8]
    where
        'a: 't,
    {
        match *self {
            Element::Int(value) => print(value, digits),
            Element::Text(text) => text,
        }
    }

    /// Returns its text, which is borrowed unless it is an integer.
    #[must_use]
    pub fn to_text(self) -> Cow<'a, [u8]> {
        match self {
            Element::Text(text) => Cow::Borrowed(text),
            Element::Int(_) => Cow::Owned(self.text(&mut Digits::default()).to_vec()),
        }
    }

    /// Whether its text is this one.
    #[must_use]
    pub fn is_text(&self, text: &[u8]) -> bool {
        self.text(&mut Digits::default()) == text
    }

    /// Returns the integer that a text stands for, or itself.
    #[must_use]
    pub fn canonical(self) -> Element<'a> {
        match self {
            Element::Text(text) => Element::of(text),
            Element::Int(_) => self,
        }
    }

    /// Returns the length of its text.
    #[must_use]
    pub fn text_len(&self) -> usize {
        self.text(&mut Digits::default()).len()
    }

    /// Returns its size in a listpack in bytes.
    #[must_use]
    pub fn stored_bytes(&self) -> usize {
        let bytes = match *self {
            Element::Int(value) => encode_int(value).1,
            Element::Text(text) => string_head(text.len()).1 + text.len(),
        };
        bytes + back_len_bytes(bytes)
    }

    /// Writes it into as many bytes as it takes.
    fn write(&self, out: &mut [u8]) {
        let len = match *self {
            Element::Int(value) => {
                let (bytes, len) = encode_int(value);
                out[..len].copy_from_slice(&bytes[..len]);
                len
            }
            Element::Text(text) => {
                let (head, at) = string_head(text.len());
                out[..at].copy_from_slice(&head[..at]);
                out[at..at + text.len()].copy_from_slice(text);
                at + text.len()
            }
        };
        write_back_len(len, &mut out[len..]);
    }
}

/// Parses a text that is the canonical form of an integer.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', ..] if text.len() <= INT_TEXT_MAX => {}
        _ => return None,
    }
    // Accumulated as a negative number, whose range is larger.
    let mut value: i64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        value = value.checked_mul(10)?.checked_sub(i64::from(digit - b'0'))?;
    }
    if negative { Some(value) } else { value.checked_neg() }
}

fn print(value: i64, digits: &mut Digits) -> &[u8] {
    let mut at = INT_TEXT_MAX;
    let mut rest = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        at -= 1;
        digits[at] = b'-';
    }
    &digits[at..]
}

fn encode_int(value: i64) -> ([u8; INT_BYTES_MAX], usize) {
    let mut bytes = [0; INT_BYTES_MAX];
    let (first, len) = match value {
        0..=127 => (value as u8, 0),
        -4096..=4095 => {
            // The upper five bits are in the first byte.
            bytes[1] = value as u8;
            bytes[0] = INT_13 | (value >> 8) as u8 & 0x1f;
            return (bytes, 2);
        }
        -0x8000..=0x7fff => (INT_16, 2),
        -0x80_0000..=0x7f_ffff => (INT_24, 3),
        -0x8000_0000..=0x7fff_ffff => (INT_32, 4),
        _ => (INT_64, 8),
    };
    bytes[0] = first;
    bytes[1..=len].copy_from_slice(&value.to_le_bytes()[..len]);
    (bytes, len + 1)
}

fn string_head(len: usize) -> ([u8; 5], usize) {
    match len {
        0..64 => ([STRING_6 | len as u8, 0, 0, 0, 0], 1),
        64..4096 => ([STRING_12 | (len >> 8) as u8, len as u8, 0, 0, 0], 2),
        _ => {
            let [a, b, c, d] = (len as u32).to_le_bytes();
            ([STRING_32, a, b, c, d], 5)
        }
    }
}

/// Returns the number of bytes of the backward length of an element of this size, as in stock
/// servers. The limits are one less than what seven bits per byte allow.
const fn back_len_bytes(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Writes the length of an element into as many bytes as it takes.
fn write_back_len(len: usize, out: &mut [u8]) {
    for (at, byte) in out.iter_mut().rev().enumerate() {
        *byte = (len >> (7 * at)) as u8 & 0x7f | 0x80;
    }
    out[0] &= 0x7f;
}

/// Returns the backward length that ends at `end`, and its number of bytes.
fn read_back_len(bytes: &[u8], end: usize) -> Option<(usize, usize)> {
    let mut len = 0;
    for count in 0..5 {
        let byte = *bytes.get(end.checked_sub(count + 1)?)?;
        len |= usize::from(byte & 0x7f) << (7 * count);
        if byte & 0x80 == 0 {
            return Some((len, count + 1));
        }
    }
    None
}

/// Returns the element at a position and the next position.
#[inline]
fn read(bytes: &[u8], at: usize) -> Option<(Element<'_>, usize)> {
    let rest = bytes.get(at..)?;
    let (element, len) = match *rest {
        [first @ 0..0x80, ..] => (Element::Int(i64::from(first)), 1),
        [first @ STRING_6..INT_13, ..] => text_at(rest, 1, usize::from(first & 0x3f))?,
        [first @ INT_13..STRING_12, low, ..] => {
            let bits = i16::from(first & 0x1f) << 8 | i16::from(low);
            // Thirteen bits, with the sign in the highest.
            (Element::Int(i64::from(bits << 3 >> 3)), 2)
        }
        [first @ STRING_12..=0xef, low, ..] => {
            text_at(rest, 2, usize::from(first & 0xf) << 8 | usize::from(low))?
        }
        [STRING_32, a, b, c, d, ..] => text_at(rest, 5, u32::from_le_bytes([a, b, c, d]) as usize)?,
        [INT_16, a, b, ..] => (Element::Int(i64::from(i16::from_le_bytes([a, b]))), 3),
        [INT_24, a, b, c, ..] => {
            (Element::Int(i64::from(i32::from_le_bytes([0, a, b, c]) >> 8)), 4)
        }
        [INT_32, a, b, c, d, ..] => (Element::Int(i64::from(i32::from_le_bytes([a, b, c, d]))), 5),
        [INT_64, a, b, c, d, e, f, g, h, ..] => {
            (Element::Int(i64::from_le_bytes([a, b, c, d, e, f, g, h])), 9)
        }
        _ => return None,
    };
    Some((element, at + len + back_len_bytes(len)))
}

#[inline]
fn text_at(rest: &[u8], head: usize, len: usize) -> Option<(Element<'_>, usize)> {
    Some((Element::Text(rest.get(head..head + len)?), head + len))
}

fn total_bytes(bytes: &[u8]) -> Option<usize> {
    let [a, b, c, d, ..] = *bytes else { return None };
    Some(u32::from_le_bytes([a, b, c, d]) as usize)
}

fn count(bytes: &[u8]) -> Option<u16> {
    let [_, _, _, _, low, high, ..] = *bytes else { return None };
    Some(u16::from_le_bytes([low, high]))
}

/// Validates bytes as a listpack, including each element. Returns the number of elements.
pub fn check(bytes: &[u8]) -> Result<usize, Malformed> {
    let claimed = count(bytes).ok_or(Malformed)?;
    let is_whole = total_bytes(bytes) == Some(bytes.len());
    if !is_whole || bytes.len() < EMPTY.len() || bytes.last() != Some(&END) {
        return Err(Malformed);
    }
    let (mut at, mut elements) = (HEADER_BYTES, 0_usize);
    while at < bytes.len() - 1 {
        let (_, next) = read(bytes, at).ok_or(Malformed)?;
        let (len, len_bytes) = read_back_len(bytes, next).ok_or(Malformed)?;
        if next > bytes.len() - 1 || at + len + len_bytes != next {
            return Err(Malformed);
        }
        (at, elements) = (next, elements + 1);
    }
    if claimed != COUNT_UNKNOWN && usize::from(claimed) != elements {
        return Err(Malformed);
    }
    Ok(elements)
}

/// Returns the number of elements.
#[must_use]
pub fn len(bytes: &[u8]) -> usize {
    match count(bytes) {
        Some(COUNT_UNKNOWN) => iter(bytes).count(),
        count => usize::from(count.unwrap_or(0)),
    }
}

/// Whether there are no elements.
#[must_use]
pub fn is_empty(bytes: &[u8]) -> bool {
    first(bytes).is_none()
}

/// Returns the position of the first element.
#[must_use]
pub fn first(bytes: &[u8]) -> Option<usize> {
    bytes.get(HEADER_BYTES).is_some_and(|&byte| byte != END).then_some(HEADER_BYTES)
}

/// Returns the element at a position.
#[inline]
#[must_use]
pub fn get(bytes: &[u8], at: usize) -> Option<Element<'_>> {
    read(bytes, at).map(|(element, _)| element)
}

/// Returns the position after that of an element.
#[inline]
#[must_use]
pub fn next(bytes: &[u8], at: usize) -> Option<usize> {
    let (_, next) = read(bytes, at)?;
    bytes.get(next).is_some_and(|&byte| byte != END).then_some(next)
}

/// Returns the position before that of an element or the end.
#[must_use]
pub fn previous(bytes: &[u8], at: usize) -> Option<usize> {
    if at <= HEADER_BYTES {
        return None;
    }
    let (len, len_bytes) = read_back_len(bytes, at)?;
    at.checked_sub(len + len_bytes).filter(|&at| at >= HEADER_BYTES)
}

/// Returns the position of the element with an index; negative indexes count from the end.
#[must_use]
pub fn seek(bytes: &[u8], index: isize) -> Option<usize> {
    let mut at = if index < 0 { previous(bytes, end(bytes)) } else { first(bytes) };
    let steps = if index < 0 { index.unsigned_abs() - 1 } else { index.unsigned_abs() };
    for _ in 0..steps {
        at = if index < 0 { previous(bytes, at?) } else { next(bytes, at?) };
    }
    at
}

/// Returns the position after the last element, for [`insert`] to append.
#[must_use]
pub fn end(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(1)
}

/// Iterates over elements in order with their positions, in both directions.
#[must_use]
pub fn iter(bytes: &[u8]) -> Iter<'_> {
    Iter { bytes, front: HEADER_BYTES, back: end(bytes) }
}

/// Iterates over the elements from a position on.
#[must_use]
pub fn iter_from(bytes: &[u8], at: usize) -> Iter<'_> {
    Iter { bytes, front: at, back: end(bytes) }
}

/// An iterator over the elements of a listpack and their positions.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = (usize, Element<'a>);

    #[inline]
    fn next(&mut self) -> Option<(usize, Element<'a>)> {
        if self.front >= self.back {
            return None;
        }
        let at = self.front;
        let (element, next) = read(self.bytes, at)?;
        self.front = next;
        Some((at, element))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.front >= self.back {
            return None;
        }
        let at = previous(self.bytes, self.back)?;
        let (element, _) = read(self.bytes, at)?;
        self.back = at;
        Some((at, element))
    }
}

/// Bytes of the element that `rest` begins with, the length behind it included.
#[inline(always)]
fn span(rest: &[u8]) -> Option<usize> {
    let first = *rest.first()?;
    if first & 0xc0 == STRING_6 {
        // The most common form; one byte behind it has room for the length.
        return Some(usize::from(first & 0x3f) + 2);
    }
    read(rest, 0).map(|(_, next)| next)
}

/// Returns the position of the first element with this text, among every `stride`-th element from
/// position `from` on.
#[must_use]
pub fn find(bytes: &[u8], from: usize, text: &[u8], stride: usize) -> Option<usize> {
    let (wanted, end) = (integer(text), end(bytes));
    let mut rest = bytes.get(from..end)?;
    while let [first, behind @ ..] = rest {
        let is_wanted = match *first {
            first @ STRING_6..INT_13 => {
                usize::from(first & 0x3f) == text.len() && behind.get(..text.len())? == text
            }
            _ => match read(rest, 0)?.0 {
                Element::Int(value) => wanted == Some(value),
                Element::Text(stored) => stored == text,
            },
        };
        if is_wanted {
            return Some(end - rest.len());
        }
        for _ in 0..stride.max(1) {
            rest = rest.get(span(rest)?..)?;
        }
    }
    None
}

/// Whether a listpack may grow by this number of bytes within the limit of stock servers.
#[must_use]
pub fn has_room(bytes: &[u8], more: usize) -> bool {
    bytes.len().saturating_add(more) <= BYTES_MAX
}

/// Appends an element. Requires that [`has_room`] returned true for its size.
pub fn append(bytes: &mut Vec<u8>, element: Element<'_>) {
    let (at, stored) = (end(bytes), element.stored_bytes());
    bytes.resize(bytes.len() + stored, END);
    element.write(&mut bytes[at..at + stored]);
    grew(bytes, 1);
}

/// Inserts an element before the one at `at`, or at the [`end`]. Requires that [`has_room`]
/// returned true for its size.
pub fn insert(bytes: &mut Vec<u8>, at: usize, element: Element<'_>) {
    put(bytes, at..at, element);
    grew(bytes, 1);
}

/// Replaces the element at `at`. Requires that [`has_room`] returned true for its size.
pub fn replace(bytes: &mut Vec<u8>, at: usize, element: Element<'_>) {
    let next = skip(bytes, at, 1).0;
    put(bytes, at..next, element);
    grew(bytes, 0);
}

/// Removes up to `count` elements from `at` on.
pub fn delete(bytes: &mut Vec<u8>, at: usize, count: usize) {
    let (next, found) = skip(bytes, at, count);
    bytes.drain(at..next);
    let found = i32::try_from(found).expect("fewer elements than bytes, of which there are 2^30");
    grew(bytes, -found);
}

fn put(bytes: &mut Vec<u8>, range: std::ops::Range<usize>, element: Element<'_>) {
    let (stored, old) = (element.stored_bytes(), range.len());
    if stored < old {
        bytes.drain(range.start + stored..range.end);
    } else if stored > old {
        let (len, more) = (bytes.len(), stored - old);
        bytes.resize(len + more, 0);
        bytes.copy_within(range.end..len, range.end + more);
    }
    element.write(&mut bytes[range.start..range.start + stored]);
}

/// Skips up to `count` elements. Returns the position and the number of skipped elements.
fn skip(bytes: &[u8], at: usize, count: usize) -> (usize, usize) {
    let mut elements = iter_from(bytes, at);
    let found = elements.by_ref().take(count).count();
    (elements.front, found)
}

/// Updates the header after a change of the number of elements.
fn grew(bytes: &mut [u8], elements: i32) {
    let total = u32::try_from(bytes.len()).expect("callers ask has_room");
    bytes[..COUNT_AT].copy_from_slice(&total.to_le_bytes());
    if let Some(old) = count(bytes)
        && old != COUNT_UNKNOWN
    {
        let new = (i32::from(old) + elements).clamp(0, i32::from(COUNT_UNKNOWN)) as u16;
        bytes[COUNT_AT..HEADER_BYTES].copy_from_slice(&new.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Texts stored by stock servers of version 7.0 for [`STOCK_TEXTS`].
    const STOCK: &[u8] = b"\xda\0\0\0\x1a\0\x00\x01\x7f\x01\xc0\x80\x02\xdf\xff\x02\xd0\0\x02\xcf\xff\x02\
        \xf1\0\x10\x03\xf1\xff\xef\x03\xf1\xff\x7f\x03\xf2\0\x80\0\x04\xf1\0\x80\x03\xf2\xff\x7f\xff\x04\
        \xf2\xff\xff\x7f\x04\xf3\0\0\x80\0\x05\xf2\0\0\x80\x04\xf3\xff\xff\x7f\xff\x05\
        \xf3\xff\xff\xff\x7f\x05\xf4\0\0\0\x80\0\0\0\0\x09\xf3\0\0\0\x80\x05\
        \xf4\xff\xff\xff\x7f\xff\xff\xff\xff\x09\xf4\xff\xff\xff\xff\xff\xff\xff\x7f\x09\
        \xf4\0\0\0\0\0\0\0\x80\x09\x939223372036854775808\x14\x83007\x04\x80\x01\
        \xe0\x40yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\x42\xff";

    const STOCK_TEXTS: [&str; 26] = [
        "0",
        "127",
        "128",
        "-1",
        "-4096",
        "4095",
        "4096",
        "-4097",
        "32767",
        "32768",
        "-32768",
        "-32769",
        "8388607",
        "8388608",
        "-8388608",
        "-8388609",
        "2147483647",
        "2147483648",
        "-2147483648",
        "-2147483649",
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "007",
        "",
        "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    ];

    fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
        iter(bytes).map(|(_, element)| element.text(&mut Digits::default()).to_vec()).collect()
    }

    fn of(texts: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = EMPTY.to_vec();
        for text in texts {
            append(&mut bytes, Element::of(text));
        }
        bytes
    }

    #[test]
    fn the_bytes_are_those_of_stock_servers() {
        let expected = STOCK_TEXTS.map(|text| text.as_bytes().to_vec());
        assert_eq!(check(STOCK), Ok(expected.len()));
        assert_eq!(texts(STOCK), expected);
        assert_eq!(of(&expected), STOCK);
    }

    #[test]
    fn only_texts_that_print_back_are_integers() {
        for text in
            ["", "-", "-0", "00", "01", "-01", "+1", " 1", "1 ", "1.0", "9223372036854775808"]
        {
            assert_eq!(Element::of(text.as_bytes()), Element::Text(text.as_bytes()), "{text:?}");
        }
        let element = Element::of(b"-9223372036854775809");
        assert_eq!(element, Element::Text(b"-9223372036854775809"));
    }

    #[test]
    fn long_strings_and_their_lengths_backwards() {
        // Limits of the forms, and of the backward lengths.
        let lens =
            [63, 64, 125, 126, 4095, 4096, 16_377, 16_378, 16_379, 2_097_145, 2_097_146, 2_097_147];
        let long: Vec<Vec<u8>> = lens.iter().map(|&len| vec![b'x'; len]).collect();
        let bytes = of(&long);
        assert_eq!(check(&bytes), Ok(lens.len()));
        let backwards: Vec<usize> = iter(&bytes).rev().map(|(_, e)| e.text_len()).collect();
        assert_eq!(backwards, lens.iter().rev().copied().collect::<Vec<_>>());
    }

    #[test]
    fn more_elements_than_the_header_counts() {
        let many: Vec<Vec<u8>> = (0..65_540_u32).map(|i| i.to_string().into_bytes()).collect();
        let mut bytes = of(&many[..65_534]);
        assert_eq!(count(&bytes), Some(65_534));
        append(&mut bytes, Element::of(b"x"));
        append(&mut bytes, Element::of(b"y"));
        assert_eq!(
            (count(&bytes), len(&bytes), check(&bytes)),
            (Some(u16::MAX), 65_536, Ok(65_536))
        );
        delete(&mut bytes, HEADER_BYTES, 65_536);
        assert_eq!((len(&bytes), check(&bytes), bytes.len()), (0, Ok(0), EMPTY.len()));
    }

    #[test]
    fn what_is_no_listpack_is_refused() {
        let good = of(&[b"abc".to_vec(), b"5".to_vec()]);
        assert_eq!(check(&good), Ok(2));
        for len in 0..good.len() {
            assert_eq!(check(&good[..len]), Err(Malformed), "cut at {len}");
        }
        for (at, byte, what) in [
            (0, 99, "total"),
            (4, 3, "count"),
            (6, 0x84, "a string's length"),
            (6, 0xf5, "no such form"),
            (10, 5, "the length behind"),
            (11, 0xff, "an early end"),
            (good.len() - 1, 0, "no end"),
        ] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(check(&bad), Err(Malformed), "{what}");
        }
    }
}
