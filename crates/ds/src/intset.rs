//! Intsets: sets of integers as a sorted array, the format of stock servers for small ones in memory and in RDB files.
//!
//! ```text
//!  0           4           8
//! ┌───────────┬───────────┬─────────┬─────────┬─── … ───┬─────────┐
//! │ width u32 │ count u32 │ integer │ integer │         │ integer │   ascending
//! └───────────┴───────────┴─────────┴─────────┴─── … ───┴─────────┘
//! ```
//!
//! `width` is the number of bytes of each integer: 2, 4 or 8, as the widest one ever added needs. Everything is little endian.
//!
//! Reading functions accept any bytes, and treat what is missing as not there. [`check`] validates bytes; functions that
//! change a set require valid ones.

use crate::listpack::Malformed;

const HEADER_BYTES: usize = 8;

/// The bytes of a set without integers.
pub const EMPTY: [u8; HEADER_BYTES] = [2, 0, 0, 0, 0, 0, 0, 0];

/// Maximum number of integers, as in stock servers.
pub const LEN_MAX: usize = 1 << 30;

/// Returns the number of integers in bytes that were not created here, or an error if they are not a set.
pub fn check(bytes: &[u8]) -> Result<usize, Malformed> {
    let Some((header, integers)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(Malformed);
    };
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let (width, count) =
        (u32::from_le_bytes(word(0)) as usize, u32::from_le_bytes(word(4)) as usize);
    let is_sized = matches!(width, 2 | 4 | 8) && count.checked_mul(width) == Some(integers.len());
    if !is_sized || count > LEN_MAX {
        return Err(Malformed);
    }
    let is_ascending = iter(bytes).zip(iter(bytes).skip(1)).all(|(one, next)| one < next);
    if is_ascending { Ok(count) } else { Err(Malformed) }
}

/// Returns the number of integers.
#[must_use]
pub fn len(bytes: &[u8]) -> usize {
    bytes.len().saturating_sub(HEADER_BYTES) / width(bytes)
}

/// Whether there are no integers.
#[must_use]
pub fn is_empty(bytes: &[u8]) -> bool {
    len(bytes) == 0
}

/// Returns the integer at an index.
#[must_use]
pub fn get(bytes: &[u8], index: usize) -> Option<i64> {
    let width = width(bytes);
    let at = index.checked_mul(width)?.checked_add(HEADER_BYTES)?;
    let stored = bytes.get(at..at.checked_add(width)?)?;
    Some(match *stored {
        [a, b] => i64::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i64::from(i32::from_le_bytes([a, b, c, d])),
        [a, b, c, d, e, f, g, h] => i64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => return None,
    })
}

/// Iterates over the integers, ascending.
pub fn iter(bytes: &[u8]) -> impl ExactSizeIterator<Item = i64> + Clone + '_ {
    (0..len(bytes)).map(|index| get(bytes, index).unwrap_or_default())
}

/// Whether an integer is there.
#[must_use]
pub fn contains(bytes: &[u8], value: i64) -> bool {
    width_of(value) <= width(bytes) && find(bytes, value).is_ok()
}

/// Adds an integer. Returns false if it is there.
pub fn insert(bytes: &mut Vec<u8>, value: i64) -> bool {
    if width_of(value) > width(bytes) {
        widen(bytes, width_of(value));
    }
    let Err(index) = find(bytes, value) else { return false };
    let width = width(bytes);
    let at = HEADER_BYTES + index * width;
    let end = bytes.len();
    bytes.resize(end + width, 0);
    bytes.copy_within(at..end, at + width);
    bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    set_count(bytes);
    true
}

/// Removes an integer. Returns false if it is not there.
pub fn remove(bytes: &mut Vec<u8>, value: i64) -> bool {
    if width_of(value) > width(bytes) {
        return false;
    }
    let Ok(index) = find(bytes, value) else { return false };
    let width = width(bytes);
    let at = HEADER_BYTES + index * width;
    bytes.drain(at..at + width);
    set_count(bytes);
    true
}

/// Returns the index of an integer, or the one that it would have.
fn find(bytes: &[u8], value: i64) -> Result<usize, usize> {
    let (mut low, mut high) = (0, len(bytes));
    // Integers are often added in order.
    if high > 0 && get(bytes, high - 1).is_some_and(|last| last < value) {
        return Err(high);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        match get(bytes, middle).unwrap_or_default().cmp(&value) {
            std::cmp::Ordering::Equal => return Ok(middle),
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
        }
    }
    Err(low)
}

fn width(bytes: &[u8]) -> usize {
    match bytes.first() {
        Some(4) => 4,
        Some(8) => 8,
        _ => 2,
    }
}

fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

fn widen(bytes: &mut Vec<u8>, width: usize) {
    let mut wide = Vec::with_capacity(HEADER_BYTES + (len(bytes) + 1) * width);
    wide.extend_from_slice(&EMPTY);
    wide[0] = width as u8;
    for value in iter(bytes) {
        wide.extend_from_slice(&value.to_le_bytes()[..width]);
    }
    *bytes = wide;
    set_count(bytes);
}

fn set_count(bytes: &mut [u8]) {
    let count = len(bytes) as u32;
    bytes[HEADER_BYTES / 2..HEADER_BYTES].copy_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn it_has_the_bytes_of_stock_servers() {
        let mut bytes = EMPTY.to_vec();
        assert!(insert(&mut bytes, 5) && insert(&mut bytes, -1) && !insert(&mut bytes, 5));
        assert_eq!(bytes, [2, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 5, 0]);
        assert!(insert(&mut bytes, 40_000));
        assert_eq!(bytes[..12], [4, 0, 0, 0, 3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(insert(&mut bytes, i64::MIN) && remove(&mut bytes, -1) && !remove(&mut bytes, -1));
        assert_eq!(iter(&bytes).collect::<Vec<_>>(), [i64::MIN, 5, 40_000]);
        assert_eq!((check(&bytes), bytes[0]), (Ok(3), 8));
    }

    #[test]
    fn it_is_the_set_that_std_has() {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % below
        };
        for _ in 0..50 {
            let (mut bytes, mut model) = (EMPTY.to_vec(), BTreeSet::new());
            for _ in 0..300 {
                let value = match draw(20) {
                    0 => i64::from(i16::MIN) - draw(3) as i64,
                    1 => i64::from(i32::MAX) + draw(3) as i64,
                    _ => draw(100) as i64 - 50,
                };
                assert_eq!(contains(&bytes, value), model.contains(&value));
                match draw(3) {
                    0 => assert_eq!(remove(&mut bytes, value), model.remove(&value)),
                    _ => assert_eq!(insert(&mut bytes, value), model.insert(value)),
                }
                assert!(iter(&bytes).eq(model.iter().copied()));
                assert_eq!(check(&bytes), Ok(model.len()));
            }
        }
    }

    #[test]
    fn other_bytes_are_refused_and_read_without_harm() {
        let valid = [2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0];
        assert_eq!(check(&valid), Ok(2));
        let mut cases: Vec<Vec<u8>> = (0..valid.len()).map(|len| valid[..len].to_vec()).collect();
        for (at, byte) in [(0, 3), (0, 4), (1, 1), (4, 1), (7, 0x80), (8, 2), (8, 3), (11, 0x80)] {
            let mut bytes = valid.to_vec();
            bytes[at] = byte;
            cases.push(bytes);
        }
        cases.push([valid.as_slice(), &[0]].concat());
        for bytes in cases {
            assert_eq!(check(&bytes), Err(Malformed), "{bytes:?}");
            assert_eq!(iter(&bytes).count(), len(&bytes));
            assert!(!contains(&bytes, 7));
        }
    }
}
