//! LZF until the data structures' own lands; private to `persist`.

const TABLE: usize = 1 << 12;
const OFFSET_MAX: usize = 1 << 13;
const MATCH_MAX: usize = 264;

#[derive(Debug)]
pub struct Compressor;

impl Compressor {
    pub fn new() -> Compressor {
        Compressor
    }

    pub fn compress(&mut self, input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
        let mut packed = Vec::new();
        let fits = compress(input, limit, &mut packed);
        if fits {
            out.extend_from_slice(&packed);
        }
        fits
    }
}

#[derive(Debug)]
pub struct Corrupt;

pub fn decompress(packed: &[u8], len: usize) -> Result<Vec<u8>, Corrupt> {
    let mut out = Vec::new();
    if unpack(packed, len, &mut out) { Ok(out) } else { Err(Corrupt) }
}

/// Packs `input` into `out` if that takes at most `limit` bytes.
fn compress(input: &[u8], limit: usize, out: &mut Vec<u8>) -> bool {
    let mut seen = [0u32; TABLE];
    let mut literals = 0;
    let mut at = 0;
    while at + 2 < input.len() {
        let three = [input[at], input[at + 1], input[at + 2], 0];
        let slot = (u32::from_le_bytes(three).wrapping_mul(0x9e37_79b1) >> 20) as usize;
        let candidate = seen[slot] as usize;
        seen[slot] = at as u32 + 1;
        let matches = candidate > 0
            && at + 1 - candidate <= OFFSET_MAX
            && input[candidate - 1..candidate + 2] == three[..3];
        if !matches {
            at += 1;
            continue;
        }
        let from = candidate - 1;
        let room = (input.len() - at).min(MATCH_MAX);
        let len = (3..room).find(|&i| input[from + i] != input[at + i]).unwrap_or(room);
        put_literals(&input[literals..at], out);
        let offset = at - from - 1;
        let code = len - 2;
        if code < 7 {
            out.push((code << 5 | offset >> 8) as u8);
        } else {
            out.extend_from_slice(&[(7 << 5 | offset >> 8) as u8, (code - 7) as u8]);
        }
        out.push(offset as u8);
        at += len;
        literals = at;
        if out.len() > limit {
            return false;
        }
    }
    put_literals(&input[literals..], out);
    out.len() <= limit
}

fn put_literals(bytes: &[u8], out: &mut Vec<u8>) {
    for run in bytes.chunks(32) {
        out.push(run.len() as u8 - 1);
        out.extend_from_slice(run);
    }
}

/// Unpacks into `out`; `false` if it does not give exactly `len` bytes.
fn unpack(mut packed: &[u8], len: usize, out: &mut Vec<u8>) -> bool {
    out.reserve_exact(len);
    while let [control, rest @ ..] = packed {
        let control = usize::from(*control);
        if control < 32 {
            let Some((run, rest)) = rest.split_at_checked(control + 1) else { return false };
            out.extend_from_slice(run);
            packed = rest;
        } else {
            let (extra, rest) = match (control >> 5, rest) {
                (7, [extra, rest @ ..]) => (usize::from(*extra), rest),
                (7, []) => return false,
                (_, rest) => (0, rest),
            };
            let [low, rest @ ..] = rest else { return false };
            let back = ((control & 0x1f) << 8 | usize::from(*low)) + 1;
            let Some(from) = out.len().checked_sub(back) else { return false };
            for i in from..from + (control >> 5) + extra + 2 {
                out.push(out[i]);
            }
            packed = rest;
        }
        if out.len() > len {
            return false;
        }
    }
    out.len() == len
}
