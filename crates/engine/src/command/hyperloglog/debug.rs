//! PFDEBUG and PFSELFTEST.

use std::fmt::Write;

use russet_ds::hyperloglog::{
    self, Adder, DENSE_BYTES, Form, HyperLogLog, Place, REGISTERS, Registers,
};
use russet_protocol::ErrorReply;

use super::{ROW, corrupt, of};
use crate::command::argument::{key, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry, Key};
use crate::types::payload;
use crate::types::string::{KIND_RAW, Text};

pub(super) const PFDEBUG: Command = Command {
    name: "pfdebug",
    since: "2.8.9",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::ADMIN | f::FROM_MASTER,
    keys: &[KeySpec::one(2, k::RW | k::ACCESS)],
    arguments: &[string("subcommand"), key("key", 0)],
    summary: "Shows the registers, the runs or the form of a HyperLogLog, or makes it dense.",
    complexity: "O(N) for N registers",
    run: pfdebug,
    ..ROW
};

fn pfdebug(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(2);
    let missing = || ErrorReply::err("The specified key does not exist");
    let sketch = of(ctx.peek_as(key, Text::of)?.ok_or_else(missing)?)?;
    if args.is(1, "GETREG") {
        let mut registers = Registers::default();
        sketch.merge_into(&mut registers).map_err(corrupt)?;
        // Redis stores what it decoded.
        make_dense(ctx, key)?;
        reply.array(REGISTERS);
        registers.iter().for_each(|register| reply.integer(i64::from(register)));
    } else if args.is(1, "DECODE") {
        if sketch.form() != Form::Sparse {
            return Err(ErrorReply::err("HLL encoding is not sparse"));
        }
        reply.bulk(decoded(sketch)?.as_bytes());
    } else if args.is(1, "ENCODING") {
        reply.simple(match sketch.form() {
            Form::Dense => "dense",
            Form::Sparse => "sparse",
        });
    } else if args.is(1, "TODENSE") {
        let is_changed = make_dense(ctx, key)?;
        reply.integer(i64::from(is_changed));
    } else {
        return Err(ErrorReply::quoting("ERR Unknown PFDEBUG subcommand '", &args[1], "'"));
    }
    Ok(Flow::Done)
}

/// Makes a HyperLogLog dense. Returns whether it was sparse.
fn make_dense(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<bool, ErrorReply> {
    let Some(text) = ctx.peek_as(key, Text::of)? else { return Ok(false) };
    let sketch = of(text)?;
    if sketch.form() == Form::Dense {
        return Ok(false);
    }
    let dense = sketch.to_dense().map_err(corrupt)?;
    if text.bytes().len() > DENSE_BYTES {
        // A sparse one may be longer if the limit is. Redis causes no event either way.
        ctx.edit(key).set(KIND_RAW, payload(&dense), Expiry::Keep, EventKind::PfAdd);
    } else {
        ctx.change_bytes(key, DENSE_BYTES, None, |bytes| (bytes.copy_from_slice(&dense), 1))?;
    }
    Ok(true)
}

/// Returns the runs as text.
fn decoded(sketch: HyperLogLog<'_>) -> Result<String, ErrorReply> {
    let mut text = String::new();
    for run in sketch.runs() {
        let run = run.map_err(corrupt)?;
        let separator = if text.is_empty() { "" } else { " " };
        let written = match (run.value, run.is_long()) {
            (0, false) => write!(text, "{separator}z:{}", run.len),
            (0, true) => write!(text, "{separator}Z:{}", run.len),
            (value, _) => write!(text, "{separator}v:{value},{}", run.len),
        };
        written.expect("text is written to memory");
    }
    Ok(text)
}

pub(super) const PFSELFTEST: Command = Command {
    name: "pfselftest",
    since: "2.8.9",
    arity: 1,
    flags: f::ADMIN,
    summary: "Tests estimates and both forms of HyperLogLogs with a hundred thousand elements.",
    complexity: "O(1), some ten milliseconds",
    run: pfselftest,
    ..ROW
};

/// The greatest number of elements of the test.
const TESTED: u64 = 100_000;

/// Errors of so many standard deviations do not happen by chance.
const DEVIATIONS: f64 = 6.0;

fn pfselftest(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let seed = ctx.core.rng.draw();
    let sparse_max = usize::try_from(ctx.core.config.hll_sparse_max_bytes).unwrap_or(usize::MAX);
    let failed = |what: String| ErrorReply::err(format_args!("TESTFAILED {what}"));
    let adder = |bytes| Adder::new(bytes, sparse_max).ok_or_else(|| failed("no HLL".to_owned()));
    let mut dense = hyperloglog::empty();
    dense = HyperLogLog::of(&dense)
        .map_or(Ok(dense.clone()), |sketch| sketch.to_dense())
        .map_err(corrupt)?;
    let mut sparse = adder(hyperloglog::empty())?;
    let deviation = 1.04 / (REGISTERS as f64).sqrt();
    let mut checked_at = 1;
    for number in 1..=TESTED {
        let place = Place::of(&(number ^ seed).to_le_bytes());
        hyperloglog::add_to_dense(&mut dense, place);
        sparse.add(place).map_err(corrupt)?;
        if number < checked_at {
            continue;
        }
        checked_at *= 10;
        let bytes = sparse.into_bytes();
        let estimate = |bytes: &[u8]| HyperLogLog::of(bytes).map(HyperLogLog::estimate);
        let (one, other) = (estimate(&dense), estimate(&bytes));
        let (Some(Ok(one)), true) = (one, one == other) else {
            return Err(failed("dense/sparse disagree".to_owned()));
        };
        let error = one.abs_diff(number);
        // Of ten elements, two may share a register.
        let most = (deviation * DEVIATIONS * number as f64).ceil().max(1.0);
        if error as f64 > most {
            return Err(failed(format!("Too big error. card:{number} abserr:{error}")));
        }
        sparse = adder(bytes)?;
    }
    reply.ok();
    Ok(Flow::Done)
}
