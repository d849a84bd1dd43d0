//! LZF, the compression of strings in RDB files; not the RDB framing around it.
//!
//! ```text
//!  000LLLLL                      literal run: the next L + 1 bytes
//!  LLLooooo oooooooo             copy L + 2 bytes (L 1..6) from offset o + 1 back
//!  111ooooo LLLLLLLL oooooooo    copy L + 9 bytes from offset o + 1 back
//! ```
//!
//! Offsets reach 8192 bytes back and may overlap what they produce. The compressor is greedy with
//! one table of recent positions; its output depends on its input only.

/// Longest copy: 2 + 7 + 255.
const COPY_MAX: usize = 264;
/// Longest literal run.
const RUN_MAX: usize = 32;
/// Farthest copy.
const REACH: usize = 1 << 13;
const TABLE_BITS_MAX: u32 = 14;
const TABLE_BITS_MIN: u32 = 6;

/// A compressor with the memory that it needs between calls: 64 KiB.
pub struct Compressor {
    /// By hash of three bytes: where they were last seen, plus one.
    table: Vec<u32>,
}

impl Default for Compressor {
    fn default() -> Compressor {
        Compressor::new()
    }
}

impl Compressor {
    /// A compressor.
    #[must_use]
    pub fn new() -> Compressor {
        Compressor { table: vec![0; 1 << TABLE_BITS_MAX] }
    }

    /// Appends `input` compressed to `out` and answers true; or leaves `out` as it was and
    /// answers false, if that would take more than `limit` bytes.
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
        // A small input clears and uses a small part of the table.
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
            // The last positions of the copy are the likeliest to be wanted again.
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

/// Where three bytes go in a table of `2^bits`.
fn hash(bytes: &[u8], bits: u32) -> usize {
    let word = u32::from_le_bytes([0, bytes[0], bytes[1], bytes[2]]);
    (word.wrapping_mul(0x9e37_79b1) >> (32 - bits)) as usize
}

/// How many bytes at `from` and `at` agree, as far as one copy may go.
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

/// The input is not LZF of the length that it was said to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

impl std::fmt::Display for Corrupt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("invalid LZF compressed string")
    }
}

impl std::error::Error for Corrupt {}

/// Decompresses `input`, which must give exactly `len` bytes.
///
/// # Errors
/// [`Corrupt`] for anything else. Nothing is allocated for a length that so short an input cannot
/// give.
pub fn decompress(input: &[u8], len: usize) -> Result<Vec<u8>, Corrupt> {
    // Three bytes give at most COPY_MAX.
    if len > input.len().saturating_mul(COPY_MAX / 3) {
        return Err(Corrupt);
    }
    let mut out = Vec::with_capacity(len);
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

/// Appends `len` bytes from `distance` back, which may be among those just appended.
fn copy_back(out: &mut Vec<u8>, distance: usize, mut len: usize) {
    let from = out.len() - distance;
    while len > 0 {
        // What lies between `from` and the end doubles with each round.
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

    /// Small numbers with a period, so that there is something to find.
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
