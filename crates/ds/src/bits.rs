//! Arrays of bits within bytes: counting, searching, combining, and numbers of any width.
//!
//! Bits are numbered from the most significant one of the first byte:
//!
//! ```text
//!   byte   0                 1
//!   bit    0 1 2 3 4 5 6 7   8 9 10 11 …
//! ```
//!
//! Loops work on words of 64 bits in arrays of a fixed size, which compilers turn into vector instructions without
//! being told which ones there are.

use std::ops::Range;

/// An operation on each bit of several arrays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Whether all bits are set.
    And,
    /// Whether any bit is set.
    Or,
    /// Whether an odd number of bits is set.
    Xor,
    /// Whether the bit of the only array is not set.
    Not,
}

/// Returns a bit; those beyond the end are not set.
#[inline]
#[must_use]
pub fn get(bytes: &[u8], at: u64) -> bool {
    let byte = usize::try_from(at >> 3).ok().and_then(|at| bytes.get(at));
    byte.is_some_and(|byte| byte & mask_of(at) != 0)
}

/// Sets or clears a bit, and returns what it was.
///
/// # Panics
/// If it is beyond the end.
#[inline]
pub fn set(bytes: &mut [u8], at: u64, is_set: bool) -> bool {
    let byte = &mut bytes[(at >> 3) as usize];
    let was_set = *byte & mask_of(at) != 0;
    if is_set {
        *byte |= mask_of(at);
    } else {
        *byte &= !mask_of(at);
    }
    was_set
}

fn mask_of(at: u64) -> u8 {
    0x80 >> (at & 7)
}

/// Words that are counted or combined together.
const LANES: usize = 4;
type Words = [u64; LANES];
const WORDS_BYTES: usize = LANES * 8;

/// Blocks of words that are added up before any bit is counted.
const BLOCKS: usize = 16;

/// Counts the bits that are set.
///
/// Counting the bits of a word takes a dozen instructions where the processor has none for it. So 16 words are first
/// added up bit by bit, as full adders do it: three words become one of sums and one of carries, with five operations
/// for all 64 bits. After 16 words there are four words of sums, with weights of 1, 2, 4 and 8, which go on to the next
/// 16, and one word of carries with a weight of 16: the only one to be counted.
#[must_use]
pub fn count(bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(BLOCKS * WORDS_BYTES);
    let [mut ones, mut twos, mut fours, mut eights] = [[0; LANES]; 4];
    let mut total = 0;
    for chunk in &mut chunks {
        let words: [Words; BLOCKS] = std::array::from_fn(|at| load(&chunk[at * WORDS_BYTES..]));
        let eights_of = |words: &[Words], ones: &mut Words, twos: &mut Words, fours: &mut Words| {
            let pair = |at: usize, ones: &mut Words| add(ones, &words[at], &words[at + 1]);
            let (a, b) = (pair(0, ones), pair(2, ones));
            let first = add(twos, &a, &b);
            let (a, b) = (pair(4, ones), pair(6, ones));
            let second = add(twos, &a, &b);
            add(fours, &first, &second)
        };
        let (low, high) = words.split_at(BLOCKS / 2);
        let first = eights_of(low, &mut ones, &mut twos, &mut fours);
        let second = eights_of(high, &mut ones, &mut twos, &mut fours);
        total += ones_of(&add(&mut eights, &first, &second));
    }
    total *= 16;
    total += 8 * ones_of(&eights) + 4 * ones_of(&fours) + 2 * ones_of(&twos) + ones_of(&ones);
    let mut rest = chunks.remainder().chunks_exact(8);
    total += rest.by_ref().map(|word| u64::from(load_word(word).count_ones())).sum::<u64>();
    total + rest.remainder().iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// Adds two words to `sum` bit by bit, and returns the carries.
#[inline]
fn add(sum: &mut Words, a: &Words, b: &Words) -> Words {
    std::array::from_fn(|at| {
        let half = sum[at] ^ a[at];
        let carry = (sum[at] & a[at]) | (half & b[at]);
        sum[at] = half ^ b[at];
        carry
    })
}

#[inline]
fn ones_of(words: &Words) -> u64 {
    words.iter().map(|word| u64::from(word.count_ones())).sum()
}

#[inline]
fn load(bytes: &[u8]) -> Words {
    std::array::from_fn(|at| load_word(&bytes[at * 8..at * 8 + 8]))
}

#[inline]
fn load_word(bytes: &[u8]) -> u64 {
    u64::from_ne_bytes(bytes.try_into().expect("a word has eight bytes"))
}

/// Counts the set bits of a range, which may extend beyond the end.
#[must_use]
pub fn count_range(bytes: &[u8], range: Range<u64>) -> u64 {
    let Some((first, whole, last)) = split(bytes, range) else { return 0 };
    let edge = |(at, mask): (usize, u8)| u64::from((bytes[at] & mask).count_ones());
    edge(first) + count(&bytes[whole]) + last.map_or(0, edge)
}

/// Returns the first bit of a range that is set or, respectively, clear. Bits beyond the end are not looked at.
#[must_use]
pub fn find(bytes: &[u8], range: Range<u64>, is_set: bool) -> Option<u64> {
    let (first, whole, last) = split(bytes, range)?;
    let flip = if is_set { 0 } else { 0xff };
    let edge = |(at, mask): (usize, u8)| {
        let found = (bytes[at] ^ flip) & mask;
        (found != 0).then(|| at as u64 * 8 + u64::from(found.leading_zeros()))
    };
    let within = || {
        let at = whole.start + find_byte_other_than(&bytes[whole.clone()], flip)?;
        edge((at, 0xff))
    };
    edge(first).or_else(within).or_else(|| edge(last?))
}

/// Returns the index of the first byte that is not `byte`, which is 0 or 255.
fn find_byte_other_than(bytes: &[u8], byte: u8) -> Option<usize> {
    const CHUNK: usize = 2 * WORDS_BYTES;
    let word = u64::from_ne_bytes([byte; 8]);
    let differs = |chunk: &[u8]| {
        let words = chunk.chunks_exact(8).map(load_word);
        words.fold(0, |differs, other| differs | (other ^ word)) != 0
    };
    let skipped = bytes.chunks_exact(CHUNK).take_while(|chunk| !differs(chunk)).count() * CHUNK;
    let found = bytes[skipped..].iter().position(|other| *other != byte)?;
    Some(skipped + found)
}

/// A byte and the bits of it that are meant.
type Edge = (usize, u8);

/// Splits a range into its first byte, whole bytes, and its last byte if that is another one; none if it is empty.
fn split(bytes: &[u8], range: Range<u64>) -> Option<(Edge, Range<usize>, Option<Edge>)> {
    let end = range.end.min(bytes.len() as u64 * 8);
    if range.start >= end {
        return None;
    }
    let last_bit = end - 1;
    let (first, last) = ((range.start >> 3) as usize, (last_bit >> 3) as usize);
    let first_mask = 0xff_u8 >> (range.start & 7);
    let last_mask = 0xff_u8 << (7 - (last_bit & 7));
    Some(match first == last {
        true => ((first, first_mask & last_mask), first..first, None),
        false => ((first, first_mask), first + 1..last, Some((last, last_mask))),
    })
}

/// Bytes of the result that are computed together, so that they stay in the cache.
const COMBINED: usize = 16 * 1024;

/// Combines arrays, and emits the result piece by piece. It is as long as the longest of them; the others are as if zeros
/// followed.
pub fn combine(operation: Operation, sources: &[&[u8]], sink: &mut dyn FnMut(&[u8])) {
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let mut buffer = [0; COMBINED];
    for start in (0..len).step_by(COMBINED) {
        let result = &mut buffer[..COMBINED.min(len - start)];
        let part = |source: &'_ [u8]| start.min(source.len())..(start + COMBINED).min(source.len());
        for (index, source) in sources.iter().enumerate() {
            let source = &source[part(source)];
            match index {
                0 => {
                    let (copied, zeros) = result.split_at_mut(source.len());
                    copied.copy_from_slice(source);
                    zeros.fill(0);
                }
                _ => apply(operation, result, source),
            }
        }
        if operation == Operation::Not {
            result.iter_mut().for_each(|byte| *byte = !*byte);
        }
        sink(result);
    }
}

/// Combines a part of the result with that of another array, which may be shorter.
fn apply(operation: Operation, result: &mut [u8], source: &[u8]) {
    let (both, alone) = result.split_at_mut(source.len());
    let pairs = both.iter_mut().zip(source);
    match operation {
        Operation::And => {
            pairs.for_each(|(result, byte)| *result &= byte);
            alone.fill(0);
        }
        Operation::Or => pairs.for_each(|(result, byte)| *result |= byte),
        Operation::Xor => pairs.for_each(|(result, byte)| *result ^= byte),
        Operation::Not => {}
    }
}

/// The bytes that a number of 64 bits may touch.
const FIELD_BYTES: usize = 9;

/// Returns the number in `width` bits (1 to 64) from `at` on, the most significant one first. Bits beyond the end are
/// not set.
#[must_use]
pub fn field(bytes: &[u8], at: u64, width: u32) -> u64 {
    let mut window = [0; 16];
    let start = usize::try_from(at >> 3).unwrap_or(usize::MAX).min(bytes.len());
    let len = FIELD_BYTES.min(bytes.len() - start);
    window[..len].copy_from_slice(&bytes[start..start + len]);
    let bits = u128::from_be_bytes(window) << (at & 7);
    (bits >> (128 - width)) as u64
}

/// Stores the low `width` bits (1 to 64) of a number from `at` on.
///
/// # Panics
/// If they are beyond the end.
pub fn set_field(bytes: &mut [u8], at: u64, width: u32, value: u64) {
    let start = (at >> 3) as usize;
    let end = ((at + u64::from(width) - 1) >> 3) as usize;
    let touched = &mut bytes[start..=end];
    let mut window = [0; 16];
    window[..touched.len()].copy_from_slice(touched);
    let shift = 128 - width - (at & 7) as u32;
    let mask = (u128::MAX >> (128 - width)) << shift;
    let bits = (u128::from_be_bytes(window) & !mask) | ((u128::from(value) << shift) & mask);
    touched.copy_from_slice(&bits.to_be_bytes()[..touched.len()]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random.
    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    #[test]
    fn ranges_are_counted_and_searched_bit_by_bit() {
        for len in [0, 1, 2, 7, 9, 64, 511, 512, 513, 1024, 3001] {
            let bytes = noise(len, len as u64);
            let bits: Vec<bool> = (0..len as u64 * 8).map(|at| get(&bytes, at)).collect();
            let ranges =
                [(0, len * 8), (1, len * 8), (3, 5), (8, 16), (len * 4, len * 8 - len / 3)];
            for (start, end) in
                ranges.into_iter().chain([(len * 8, len * 8 + 9), (5, 5), (0, usize::MAX)])
            {
                let range = start as u64..end as u64;
                let within = start.min(bits.len())..end.min(bits.len()).max(start.min(bits.len()));
                let ones = bits[within.clone()].iter().filter(|bit| **bit).count();
                assert_eq!(count_range(&bytes, range.clone()), ones as u64, "{len} {range:?}");
                for wanted in [false, true] {
                    let found = bits[within.clone()].iter().position(|bit| *bit == wanted);
                    let found = found.map(|at| (at + start) as u64);
                    assert_eq!(find(&bytes, range.clone(), wanted), found, "{len} {range:?}");
                }
            }
        }
        assert_eq!(count(&[0xff; 5000]), 40_000);
    }

    #[test]
    fn a_single_bit_is_found_anywhere() {
        for at in [0, 1, 63, 64, 511, 512, 513, 1000, 7999] {
            let mut bytes = vec![0; 1000];
            set(&mut bytes, at, true);
            assert_eq!(find(&bytes, 0..8000, true), Some(at));
            assert_eq!(find(&bytes, at + 1..8000, true), None);
            let flipped: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
            assert_eq!(find(&flipped, 0..8000, false), Some(at));
            assert_eq!(find(&flipped, 0..at, false), None);
            assert!(set(&mut bytes, at, false) && count(&bytes) == 0);
        }
    }

    #[test]
    fn arrays_of_several_lengths_are_combined_byte_by_byte() {
        let sources = [noise(40_000, 1), noise(39_999, 2), noise(3, 3), noise(16_384, 4), vec![]];
        let at = |source: &[u8], at: usize| source.get(at).copied().unwrap_or(0);
        for count in 1..=sources.len() {
            for operation in [Operation::And, Operation::Or, Operation::Xor, Operation::Not] {
                let sources: Vec<&[u8]> =
                    sources[..count].iter().map(|source| &source[..]).collect();
                let mut result = Vec::new();
                combine(operation, &sources, &mut |part| result.extend_from_slice(part));
                assert_eq!(result.len(), 40_000);
                for (index, byte) in result.iter().enumerate() {
                    let bytes = sources.iter().map(|source| at(source, index));
                    let expected = match operation {
                        Operation::And => bytes.fold(0xff, |a, b| a & b),
                        Operation::Or => bytes.fold(0, |a, b| a | b),
                        Operation::Xor => bytes.fold(0, |a, b| a ^ b),
                        Operation::Not => !at(sources[0], index),
                    };
                    assert_eq!(*byte, expected, "{operation:?} of {count} at {index}");
                }
            }
        }
        combine(Operation::Or, &[], &mut |_| unreachable!("there is no result"));
        combine(Operation::Not, &[b"", b""], &mut |_| unreachable!("there is no result"));
    }

    #[test]
    fn numbers_of_any_width_change_no_bit_beside_them() {
        let before = noise(24, 9);
        for width in 1..=64 {
            for at in 0..=(24 * 8 - u64::from(width)) {
                let mut bytes = before.clone();
                let value = u64::from_be_bytes([0xa5, 0x3c, 0x96, 0x0f, 0xf0, 0x69, 0xc3, 0x5a]);
                set_field(&mut bytes, at, width, value);
                assert_eq!(field(&bytes, at, width), value & (u64::MAX >> (64 - width)));
                let within = at..at + u64::from(width);
                let beside = (0..24 * 8).filter(|bit| !within.contains(bit));
                assert!(beside.into_iter().all(|bit| get(&bytes, bit) == get(&before, bit)));
            }
        }
        assert_eq!(field(&[0xff], 4, 8), 0xf0);
        assert_eq!(field(&[0xff], u64::MAX, 64), 0);
    }
}
