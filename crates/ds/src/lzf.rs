//! LZF, the compression of strings in RDB files.
//!
//! ```text
//!  000LLLLL                      literal run: the next L + 1 bytes
//!  LLLooooo oooooooo             copy L + 2 bytes (L 1..6) from offset o + 1 back
//!  111ooooo LLLLLLLL oooooooo    copy L + 9 bytes from offset o + 1 back
//! ```
//!
//! Offsets reach 8192 bytes back and may overlap the output. The compressor is greedy with a table
//! of recent positions; its output only depends on its input.

/// Maximum length of a copy: 2 + 7 + 255.
const COPY_MAX: usize = 264;
/// Maximum length of a literal run.
const RUN_MAX: usize = 32;
/// Maximum distance of a copy.
const REACH: usize = 1 << 13;
const TABLE_BITS_MAX: u32 = 14;
const TABLE_BITS_MIN: u32 = 6;

/// A compressor with its working memory of 64 KiB.
pub struct Compressor {
    /// The last position of three bytes plus one, by their hash.
    table: Vec<u32>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor::new()
    }
}

impl Compressor {
    /// Creates a compressor.
    #[must_use]
    pub fn new() -> Compressor {
        Compressor { table: vec![0; 1 << TABLE_BITS_MAX] }
    }

    /// Compresses `input`, appends it to `out` and returns true; or leaves `out` unchanged and
    /// returns false if the result would exceed `limit` bytes.
    pub fn compress(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
        let begin = out.len();
        if u32::try_from(input.len()).is_err() {
            return false;
        }
        let done = self.compress_within(input, begin.saturating_add(limit), out);
        if !done {
            out.truncate(begin);
        }
        done
    }

    fn compress_within(&mut self, input: &[u8], end: usize, out: &mut Vec<u8>) -> bool {
        // Small inputs clear and use only a small part of the table.
        let bits = input.len().next_power_of_two().ilog2().clamp(TABLE_BITS_MIN, TABLE_BITS_MAX);
        let table = &mut self.table[..1 << bits];
        table.fill(0);
        let (mut at, mut literals) = (0, 0);
        while at + 3 <= input.len() {
            let slot = &mut table[hash(&input[at..], bits)];
            let seen = std::mem::replace(slot, at as u32 + 1) as usize;
            if seen == 0 || at - (seen - 1) > REACH || input[seen - 1..][..3] != input[at..][..3] {
                at += 1;
                continue;
            }
            let len = common(input, seen - 1, at);
            put_literals(&input[literals..at], out);
            put_copy(at - seen, len, out);
            if out.len() > end {
                return false;
            }
            // The last positions of the copy are the most likely to be used again.
            for inner in (at + len - 2..at + len).filter(|inner| inner + 3 <= input.len()) {
                table[hash(&input[inner..], bits)] = inner as u32 + 1;
            }
            at += len;
            literals = at;
        }
        put_literals(&input[literals..], out);
        out.len() <= end
    }
}

/// Returns the index of three bytes in a table of `2^bits`.
fn hash(bytes: &[u8], bits: u32) -> usize {
    let word = u32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// Returns the number of equal bytes at `from` and `at`, limited to that of a copy.
fn common(input: &[u8], from: usize, at: usize) -> usize {
    let most = COPY_MAX.min(input.len() - at);
    input[from..].iter().zip(&input[at..at + most]).take_while(|(a, b)| a == b).count()
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(RUN_MAX) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// `offset` is the distance minus one, `len` 3 to 264.
fn put_copy(offset: usize, len: usize, out: &mut Vec<u8>) {
    let len = len - 2;
    let high = (offset >> 8) as u8;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.push(7 << 5 | high);
        out.push((len - 7) as u8);
    }
    out.push(offset as u8);
}

/// The input is not valid LZF of the expected length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid LZF compressed string")
    }
}

impl std::error::Error for Corrupt {}

/// Decompresses `input`, which must result in exactly `len` bytes.
///
/// # Errors
/// [`Corrupt`] in all other cases, and if the result does not fit into memory. Nothing is allocated
/// for a length that is impossible for the input's length.
pub fn decompress(input: &[u8], len: usize) -> Result<Vec<u8>, Corrupt> {
    // Three bytes decompress to at most COPY_MAX.
    if len > input.len().saturating_mul(COPY_MAX / 3) {
        return Err(Corrupt);
    }
    let mut out = Vec::new();
    out.try_reserve_exact(len).map_err(|_| Corrupt)?;
    let mut rest = input;
    while let [control, tail @ ..] = rest {
        let control = usize::from(*control);
        if control < RUN_MAX {
            let (run, tail) = tail.split_at_checked(control + 1).ok_or(Corrupt)?;
            if run.len() > len - out.len() {
                return Err(Corrupt);
            }
            out.extend_from_slice(run);
            rest = tail;
        } else {
            let (copy, low, tail) = match (control >> 5, tail) {
                (7, [more, low, tail @ ..]) => (7 + usize::from(*more), *low, tail),
                (short, [low, tail @ ..]) if short < 7 => (short, *low, tail),
                _ => return Err(Corrupt),
            };
            let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
            if copy + 2 > len - out.len() || distance > out.len() {
                return Err(Corrupt);
            }
            copy_back(&mut out, distance, copy + 2);
            rest = tail;
        }
    }
    if out.len() == len { Ok(out) } else { Err(Corrupt) }
}

/// Appends `len` bytes from `distance` back, which may overlap the appended bytes.
fn copy_back(out: &mut Vec<u8>, distance: usize, mut len: usize) {
    let from = out.len() - distance;
    while len > 0 {
        // The bytes between `from` and the end double in each round.
        let step = len.min(out.len() - from);
        out.extend_from_within(from..from + step);
        len -= step;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(input: &[u8]) -> usize {
        let mut out = vec![1, 2, 3];
        assert!(Compressor::new().compress(input, usize::MAX, &mut out));
        assert_eq!(out[..3], [1, 2, 3]);
        assert_eq!(decompress(&out[3..], input.len()).as_deref(), Ok(input));
        out.len() - 3
    }

    /// Small numbers with a period, so that there are repetitions.
    fn noise(len: usize, mut state: u64, alphabet: u64) -> Vec<u8> {
        (0..len)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                ((state >> 33) % alphabet) as u8
            })
            .collect()
    }

    #[test]
    fn round_trips() {
        for len in (0..600).chain([5000, 20_000, 100_000]) {
            for alphabet in [1, 2, 4, 30, 256] {
                round_trip(&noise(len, len as u64, alphabet));
            }
        }
    }

    #[test]
    fn compresses_what_repeats() {
        assert!(round_trip(&[b'a'; 10_000]) < 200);
        assert!(round_trip(&b"hello world, ".repeat(100)) < 60);
    }

    #[test]
    fn refuses_to_grow_and_leaves_the_output_alone() {
        let mut out = b"kept".to_vec();
        let input = noise(1000, 7, 256);
        assert!(!Compressor::new().compress(&input, input.len() - 4, &mut out));
        assert_eq!(out, b"kept");
    }

    #[test]
    fn reads_each_kind_of_item() {
        assert_eq!(decompress(b"\x02abc\x20\x02", 6).as_deref(), Ok(b"abcabc".as_slice()));
        assert_eq!(decompress(b"\x00a\xe0\x01\x00", 11).as_deref(), Ok([b'a'; 11].as_slice()));
    }

    #[test]
    fn corrupt_input_is_refused() {
        let cases: [(&[u8], usize); 9] = [
            (b"", 1),
            (b"\x02ab", 3),
            (b"\x00a", 2),
            (b"\x01ab", 1),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\xe0\x01", 11),
            (b"\x00a\xe0", 11),
            (b"\x00a", 1 << 40),
        ];
        for (input, len) in cases {
            assert_eq!(decompress(input, len), Err(Corrupt), "{input:?}");
        }
    }

    #[test]
    fn any_bytes_end_without_panic() {
        for seed in 0..20_000 {
            let input = noise(seed as usize % 60, seed, 256);
            if let Ok(out) = decompress(&input, seed as usize % 300) {
                assert_eq!(out.len(), seed as usize % 300);
            }
        }
    }
}
