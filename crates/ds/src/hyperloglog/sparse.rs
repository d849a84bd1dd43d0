//! Sparse registers: runs of equal ones.
//!
//! ```text
//!   00nnnnnn             n + 1 registers of 0        (1 to 64)
//!   01nnnnnn nnnnnnnn    n + 1 registers of 0        (1 to 16384)
//!   1vvvvvnn             n + 1 registers of v + 1    (1 to 4 registers, 1 to 32)
//! ```
//!
//! Raising a register replaces its run by up to three: what is before it, itself, what is behind it. Then runs of values beside
//! each other that are equal now are joined if one run can hold them; only five steps from the run before the changed one on
//! are made, as stock servers do, so that the same elements give the same bytes.

use super::{Corrupt, Place, REGISTERS, Registers};

const LONG: u8 = 0x40;
const VALUE: u8 = 0x80;
const SHORT_ZEROS_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUES_MAX: usize = 4;

/// Steps in search of runs to join.
const JOIN_STEPS: usize = 5;

/// A run of equal registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Their value.
    pub value: u8,
    /// How many they are.
    pub len: usize,
    /// Its bytes.
    bytes: usize,
}

impl Run {
    /// Whether it has the long form.
    #[must_use]
    pub fn is_long(self) -> bool {
        self.bytes == 2
    }
}

/// Reads the run at an offset; none at the end.
#[inline]
fn run_at(body: &[u8], at: usize) -> Result<Option<Run>, Corrupt> {
    let Some(&first) = body.get(at) else { return Ok(None) };
    Ok(Some(if first & VALUE != 0 {
        let (value, len) = ((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1);
        Run { value, len, bytes: 1 }
    } else if first & LONG != 0 {
        let second = *body.get(at + 1).ok_or(Corrupt)?;
        let len = usize::from(u16::from_be_bytes([first & !LONG, second])) + 1;
        Run { value: 0, len, bytes: 2 }
    } else {
        Run { value: 0, len: usize::from(first) + 1, bytes: 1 }
    }))
}

/// Iterates over all runs.
pub(super) fn runs(body: &[u8]) -> impl Iterator<Item = Result<Run, Corrupt>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let run = run_at(body, at).transpose()?;
        at = run.map_or(body.len(), |run| at + run.bytes);
        Some(run)
    })
}

/// Raises registers to those of the runs.
pub(super) fn merge(body: &[u8], registers: &mut Registers) -> Result<(), Corrupt> {
    let mut first = 0;
    for run in runs(body) {
        let run = run?;
        let covered = registers.0.get_mut(first..first + run.len).ok_or(Corrupt)?;
        if run.value > 0 {
            covered.iter_mut().for_each(|register| *register = (*register).max(run.value));
        }
        first += run.len;
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// Where a search may begin: a run before those that can have changed since. Registers that are raised in order are found
/// without a search from the start.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hint {
    at: usize,
    first: usize,
}

/// The run of a register.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) run: Run,
    /// Its offset.
    at: usize,
    /// Its first register.
    first: usize,
    /// The run before it.
    before: Hint,
}

/// Finds the run of a register.
pub(super) fn find(body: &[u8], register: usize, from: Hint) -> Result<Found, Corrupt> {
    let Hint { mut at, mut first } = if from.first <= register { from } else { Hint::default() };
    let mut before = Hint { at, first };
    loop {
        let run = run_at(body, at)?.ok_or(Corrupt)?;
        if register < first + run.len {
            // Nothing is known of what is before the run where the search began.
            let is_known = at > before.at || at == 0;
            return if is_known {
                Ok(Found { run, at, first, before })
            } else {
                find(body, register, Hint::default())
            };
        }
        before = Hint { at, first };
        at += run.bytes;
        first += run.len;
        if first > REGISTERS {
            return Err(Corrupt);
        }
    }
}

/// What became of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// It is raised.
    Yes,
    /// It is not smaller.
    Not,
    /// Runs cannot express it, or they would be longer than allowed. Nothing has changed.
    NeedsDense,
}

/// Raises a register in the runs that begin at `start` of `bytes` and may have a length of `most` bytes.
pub(super) fn raise(
    bytes: &mut Vec<u8>,
    start: usize,
    place: Place,
    most: usize,
    hint: &mut Hint,
) -> Result<Raised, Corrupt> {
    if place.rank > VALUE_MAX {
        return Ok(Raised::NeedsDense);
    }
    let found = find(&bytes[start..], place.register, *hint)?;
    let Found { run, at, first, before } = found;
    if run.value >= place.rank {
        return Ok(Raised::Not);
    }
    let mut new = Vec::with_capacity(5);
    push_run(&mut new, run.value, place.register - first);
    push_run(&mut new, place.rank, 1);
    push_run(&mut new, run.value, first + run.len - 1 - place.register);
    let len = bytes.len() - start;
    if new.len() > run.bytes && len + new.len() - run.bytes > most {
        return Ok(Raised::NeedsDense);
    }
    bytes.splice(start + at..start + at + run.bytes, new);
    join(bytes, start, before.at);
    *hint = before;
    Ok(Raised::Yes)
}

/// Appends a run, if it has any registers.
fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, _) => push_zeros(out, len),
        _ => out.push(VALUE | (value - 1) << 2 | (len as u8 - 1)),
    }
}

/// Appends a run of registers of 0: 1 to 16384.
pub(super) fn push_zeros(out: &mut Vec<u8>, len: usize) {
    if len <= SHORT_ZEROS_MAX {
        return out.push(len as u8 - 1);
    }
    let [high, low] = (len as u16 - 1).to_be_bytes();
    out.extend([LONG | high, low]);
}

/// Joins equal runs of values from an offset on.
fn join(bytes: &mut Vec<u8>, start: usize, mut at: usize) {
    for _ in 0..JOIN_STEPS {
        let body = &bytes[start..];
        let Ok(Some(run)) = run_at(body, at) else { return };
        let next = run_at(body, at + run.bytes).ok().flatten();
        let joined = next.map(|next| run.len + next.len).filter(|len| {
            run.value > 0 && *len <= VALUES_MAX && next.is_some_and(|next| next.value == run.value)
        });
        match joined {
            None => at += run.bytes,
            Some(len) => {
                bytes.remove(start + at);
                bytes[start + at] = VALUE | (run.value - 1) << 2 | (len as u8 - 1);
            }
        }
    }
}
