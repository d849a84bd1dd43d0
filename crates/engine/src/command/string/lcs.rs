//! LCS: the longest common subsequence of two strings.
//!
//! The textbook table holds a length for every pair of prefixes, in four bytes per cell. Here a
//! cell is one bit: within a row a length either equals its left neighbour or exceeds it by one,
//! and a row of such bits is computed from the row above with a few operations on 64 cells at a
//! time (Crochemore et al. 2001, Hyyrö 2004).
//!
//! ```text
//!            b:  g  a  t  a  c          cell: 1 where the length grows by one
//!   a:  a        0  1  0  0  0          length of a row: the number of its ones
//!       t        0  1  1  0  0
//!       a        0  1  1  1  0
//! ```
//!
//! The matches are found by walking back from the last cell. Where the two bytes are equal, both
//! prefixes lose a byte. Otherwise a one means that the left cell is shorter and the cell above as
//! long, so the walk goes up; a zero means that it goes left. Stock servers walk the same way, so
//! of several solutions they report the same one.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{after, int, key, optional, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::string::Text;

/// The bytes per cell of the textbook table, whose size limits clients know.
const CELL_BYTES: u64 = 4;

/// The size of the textbook table beyond which LCS would take too long, whatever the configuration
/// allows.
const TABLE_BYTES_MAX: u64 = 1 << 32;

#[derive(Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    match_len_min: usize,
}

fn options(args: &Args<'_>) -> Result<Options, ErrorReply> {
    let mut options = Options::default();
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "IDX") {
            options.idx = true;
        } else if args.is(at, "LEN") {
            options.len = true;
        } else if args.is(at, "WITHMATCHLEN") {
            options.with_match_len = true;
        } else if args.is(at, "MINMATCHLEN") && at + 1 < args.len() {
            let min = args.integer(at + 1)?;
            options.match_len_min = usize::try_from(min.max(0)).unwrap_or(usize::MAX);
            at += 1;
        } else {
            return Err(ErrorReply::Syntax);
        }
        at += 1;
    }
    if options.len && options.idx {
        return Err(ErrorReply::err(
            "If you want both the length and indexes, please just use IDX.",
        ));
    }
    Ok(options)
}

pub(super) const LCS: Command = Command {
    name: "lcs",
    since: "7.0.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec { last: 2, ..KeySpec::one(1, k::RO | k::ACCESS) }],
    arguments: &[
        key("key1", 0),
        key("key2", 0),
        optional(token("LEN")),
        optional(token("IDX")),
        optional(after("MINMATCHLEN", int("min-match-len"))),
        optional(token("WITHMATCHLEN")),
    ],
    summary: "Finds the longest common subsequence of two strings.",
    complexity: "O(N*M) for strings of N and M bytes",
    run: lcs,
    ..ROW
};

fn lcs(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    // Both keys are looked up, whatever the first one holds: each may be missed or have expired.
    let lens = (read_len(ctx, args, 1), read_len(ctx, args, 2));
    let (a_len, b_len) = (lens.0?, lens.1?);
    let options = options(args)?;
    check_size(ctx, a_len, b_len)?;
    let (a, b) = (copy(ctx, args, 1), copy(ctx, args, 2));
    if options.len {
        let (_, len) = table(&a, &b, false)?;
        reply.count(len);
        return Ok(Flow::Done);
    }
    let (rows, len) = table(&a, &b, true)?;
    let runs = runs(&a, &b, &rows);
    if options.idx {
        write_runs(&runs, len, &options, reply);
    } else {
        let mut bytes = Vec::with_capacity(len);
        for run in runs.iter().rev() {
            bytes.extend_from_slice(&a[run.a..run.a + run.len]);
        }
        reply.bulk(&bytes);
    }
    Ok(Flow::Done)
}

/// Returns the length of a string, 0 if the key does not exist.
fn read_len(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
    let text = ctx
        .string(args.key(at))
        .map_err(|_| ErrorReply::err("The specified keys must contain string values"))?;
    Ok(text.map_or(0, |text| text.bytes().len()))
}

/// Copies a string, since the two are needed at once.
fn copy(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Vec<u8> {
    let text = ctx.data.peek(ctx.call.db, args.key(at)).and_then(|entry| Text::of(&entry));
    text.map_or(Vec::new(), |text| text.bytes().to_vec())
}

fn check_size(ctx: &Ctx<'_>, a: usize, b: usize) -> Result<(), ErrorReply> {
    let longest = u64::from(u32::MAX) - 1;
    let (a, b) = (a as u64, b as u64);
    if a >= longest || b >= longest {
        return Err(ErrorReply::err("String too long for LCS"));
    }
    // Both are below 2^32.
    let bytes = ((a + 1) * (b + 1)).saturating_mul(CELL_BYTES);
    if bytes > ctx.core.config.proto_max_bulk_len {
        return Err(ErrorReply::err(
            "Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    if bytes > TABLE_BYTES_MAX { Err(no_memory()) } else { Ok(()) }
}

fn no_memory() -> ErrorReply {
    ErrorReply::err("Insufficient memory, failed allocating transient memory for LCS")
}

/// Computes the rows of bits, all of them or only the last, and the length of the longest common
/// subsequence.
fn table(a: &[u8], b: &[u8], keep: bool) -> Result<(Rows, usize), ErrorReply> {
    let words = b.len().div_ceil(64);
    let places = Places::of(a, b, words)?;
    let mut bits = Vec::new();
    let kept = if keep { a.len().checked_mul(words).ok_or_else(no_memory)? } else { 0 };
    bits.try_reserve_exact(kept).map_err(|_| no_memory())?;
    let mut row = vec![0_u64; words];
    for &byte in a {
        next_row(&mut row, places.of_byte(byte));
        if keep {
            bits.extend_from_slice(&row);
        }
    }
    let len = row.iter().map(|word| word.count_ones() as usize).sum();
    Ok((Rows { bits, words }, len))
}

/// Computes the row below `row`, given the positions of its byte in `b`.
///
/// If ones are the ends of blocks, then each block keeps one end: the first match in it, or else
/// the old end. In the complement (`v`) the carries of a single addition do that.
fn next_row(row: &mut [u64], places: &[u64]) {
    let mut carry = false;
    for (word, places) in row.iter_mut().zip(places) {
        let v = !*word;
        let matched = v & places;
        let (sum, over) = v.overflowing_add(matched);
        let (sum, over_carry) = sum.overflowing_add(u64::from(carry));
        carry = over | over_carry;
        *word = !(sum | (v & !places));
    }
    // A carry may run past the last position. No match is ever there, so those bits stay zero.
}

/// For each byte value in `a`, a bit per position of `b`: set where `b` has that byte.
struct Places {
    /// For each byte value in `a`, the index of the first word of its bits.
    starts: [Option<u32>; 256],
    bits: Vec<u64>,
    words: usize,
}

impl Places {
    fn of(a: &[u8], b: &[u8], words: usize) -> Result<Places, ErrorReply> {
        let mut starts = [None; 256];
        let mut count = 0_u32;
        for &byte in a {
            if starts[usize::from(byte)].is_none() {
                starts[usize::from(byte)] = Some(count);
                count += 1;
            }
        }
        // At most 256 times 2^26 words, and never more than the rows of the table.
        let len = count as usize * words;
        let mut bits = Vec::new();
        bits.try_reserve_exact(len).map_err(|_| no_memory())?;
        bits.resize(len, 0);
        for (at, &byte) in b.iter().enumerate() {
            if let Some(start) = starts[usize::from(byte)] {
                bits[start as usize * words + at / 64] |= 1 << (at % 64);
            }
        }
        Ok(Places { starts, bits, words })
    }

    /// Returns the positions of a byte that occurs in `a`.
    fn of_byte(&self, byte: u8) -> &[u64] {
        let start = self.starts[usize::from(byte)].map_or(0, |start| start as usize * self.words);
        &self.bits[start..start + self.words]
    }
}

/// All rows of the table.
struct Rows {
    bits: Vec<u64>,
    words: usize,
}

impl Rows {
    fn is_one(&self, row: usize, column: usize) -> bool {
        self.bits[row * self.words + column / 64] >> (column % 64) & 1 == 1
    }
}

/// A run of bytes that both strings have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    a: usize,
    b: usize,
    len: usize,
}

/// Returns the runs of a longest common subsequence, last one first.
fn runs(a: &[u8], b: &[u8], rows: &Rows) -> Vec<Run> {
    let (mut i, mut j) = (a.len(), b.len());
    let mut runs: Vec<Run> = Vec::new();
    let mut joined = false;
    while i > 0 && j > 0 {
        if a[i - 1] == b[j - 1] {
            (i, j) = (i - 1, j - 1);
            match runs.last_mut().filter(|_| joined) {
                Some(run) => *run = Run { a: i, b: j, len: run.len + 1 },
                None => runs.push(Run { a: i, b: j, len: 1 }),
            }
            joined = true;
        } else {
            joined = false;
            if rows.is_one(i - 1, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
    }
    runs
}

fn write_runs(runs: &[Run], len: usize, options: &Options, reply: &mut Reply<'_>) {
    let wanted = || runs.iter().filter(|run| run.len >= options.match_len_min);
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(wanted().count());
    for run in wanted() {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.count(start);
            reply.count(start + run.len - 1);
        }
        if options.with_match_len {
            reply.count(run.len);
        }
    }
    reply.bulk(b"len");
    reply.count(len);
}

#[cfg(test)]
mod tests {
    use super::{Run, runs, table};
    use proptest::prelude::*;

    /// The definition, word for word: a length for each pair of prefixes.
    fn plain(a: &[u8], b: &[u8]) -> (Vec<Run>, usize) {
        let mut lens = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 1..=a.len() {
            for j in 1..=b.len() {
                lens[i][j] = if a[i - 1] == b[j - 1] {
                    lens[i - 1][j - 1] + 1
                } else {
                    lens[i - 1][j].max(lens[i][j - 1])
                };
            }
        }
        let (mut i, mut j, mut found) = (a.len(), b.len(), Vec::new());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                (i, j) = (i - 1, j - 1);
                found.push((i, j));
            } else if lens[i - 1][j] > lens[i][j - 1] {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        let mut runs: Vec<Run> = Vec::new();
        for (a, b) in found {
            match runs.last_mut().filter(|run| run.a == a + 1 && run.b == b + 1) {
                Some(run) => *run = Run { a, b, len: run.len + 1 },
                None => runs.push(Run { a, b, len: 1 }),
            }
        }
        (runs, lens[a.len()][b.len()])
    }

    proptest! {
        #[test]
        fn bits_match_the_definition(
            a in prop::collection::vec(0..4_u8, 0..200),
            b in prop::collection::vec(0..4_u8, 0..200),
        ) {
            let (rows, len) = table(&a, &b, true).expect("small");
            prop_assert_eq!((runs(&a, &b, &rows), len), plain(&a, &b));
            prop_assert_eq!(table(&a, &b, false).expect("small").1, len);
        }
    }
}
