//! Adding, estimating, merging.

use std::ops::Range;

use russet_ds::hyperloglog::{
    self, Adder, DENSE_BYTES, Form, HyperLogLog, Place, Registers, add_to_dense, set_cached,
};
use russet_protocol::ErrorReply;

use super::{ROW, corrupt, of};
use crate::command::argument::{key, optional, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Caller, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry, Key};
use crate::types::payload;
use crate::types::string::{KIND_RAW, Text};

pub(super) const PFADD: Command = Command {
    name: "pfadd",
    since: "2.8.9",
    arity: -2,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[key("key", 0), optional(repeated(string("element")))],
    summary: "Adds elements to a HyperLogLog, and returns whether that changed it.",
    complexity: "O(1) for each element",
    run: pfadd,
    ..ROW
};

fn pfadd(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let sparse_max = sparse_max(ctx);
    let places = || args.from(2).map(Place::of);
    let count = match ctx.peek_as(key, Text::of)? {
        None => {
            let created = added(hyperloglog::empty(), places(), sparse_max)?;
            let (mut bytes, raised) = created;
            hyperloglog::set_outdated(&mut bytes);
            store(ctx, key, &bytes, raised + 1);
            raised + 1
        }
        Some(text) => {
            let old = of(text)?;
            let is_raised = places()
                .try_fold(false, |is_raised, place| Ok(is_raised || old.is_raised_by(place)?));
            match (is_raised.map_err(corrupt)?, old.form()) {
                (false, _) => 0,
                (true, Form::Dense) => {
                    ctx.change_bytes(key, DENSE_BYTES, EventKind::PfAdd, |bytes| {
                        let raised = places().filter(|place| add_to_dense(bytes, *place)).count();
                        (raised as u64, raised as u64)
                    })?
                }
                (true, Form::Sparse) => {
                    let (bytes, raised) = added(text.bytes().to_vec(), places(), sparse_max)?;
                    store(ctx, key, &bytes, raised);
                    raised
                }
            }
        }
    };
    reply.integer(i64::from(count > 0));
    Ok(Flow::Done)
}

fn sparse_max(ctx: &Ctx<'_>) -> usize {
    usize::try_from(ctx.core.config.hll_sparse_max_bytes).unwrap_or(usize::MAX)
}

/// Adds elements to a copy. Returns its bytes and how many raised a register.
fn added(
    bytes: Vec<u8>,
    mut places: impl Iterator<Item = Place>,
    sparse_max: usize,
) -> Result<(Vec<u8>, u64), ErrorReply> {
    let mut adder = Adder::new(bytes, sparse_max).ok_or(hyperloglog::Corrupt).map_err(corrupt)?;
    let raised = places.try_fold(0, |raised, place| Ok(raised + u64::from(adder.add(place)?)));
    let raised = raised.map_err(corrupt)?;
    Ok((adder.into_bytes(), raised))
}

/// Stores a HyperLogLog; so many changes were made to it.
fn store(ctx: &mut Ctx<'_>, key: Key<'_>, bytes: &[u8], changes: u64) {
    ctx.edit(key).set(KIND_RAW, payload(bytes), Expiry::Keep, EventKind::PfAdd);
    ctx.data.dirty += changes.saturating_sub(1);
}

pub(super) const PFCOUNT: Command = Command {
    name: "pfcount",
    since: "2.8.9",
    arity: -2,
    flags: f::READONLY | f::MAY_REPLICATE,
    keys: &[KeySpec::rest(1, 1, k::RW | k::ACCESS)],
    arguments: &[repeated(key("key", 0))],
    summary: "Estimates the number of different elements of one or several HyperLogLogs together.",
    complexity: "O(1) for one HyperLogLog that did not change since the last time; O(N) with a large constant for N of them",
    run: pfcount,
    ..ROW
};

fn pfcount(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let estimate = match args.len() {
        2 => estimate_one(ctx, args.key(1))?,
        len => merged(&read_all(ctx, args, 1..len)?)?.0.estimate(),
    };
    // A client may have stored any number.
    reply.integer(estimate as i64);
    Ok(Flow::Done)
}

/// Estimates one, which keeps the estimate. That is a change that a master propagates. A replica makes none of its own: its data
/// are those of its master.
fn estimate_one(ctx: &mut Ctx<'_>, key: Key<'_>) -> Result<u64, ErrorReply> {
    let Some(text) = ctx.string(key)? else { return Ok(0) };
    let sketch = of(text)?;
    if let Some(cached) = sketch.cached() {
        return Ok(cached);
    }
    let estimate = sketch.estimate().map_err(corrupt)?;
    let len = text.bytes().len();
    if !ctx.core.is_replica || ctx.call.caller == Caller::Master {
        ctx.change_bytes(key, len, None, |bytes| (set_cached(bytes, estimate), 1))?;
    }
    Ok(estimate)
}

pub(super) const PFMERGE: Command = Command {
    name: "pfmerge",
    since: "2.8.9",
    arity: -2,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::INSERT), KeySpec::rest(2, 1, k::RO | k::ACCESS)],
    arguments: &[key("destkey", 0), optional(repeated(key("sourcekey", 1)))],
    summary: "Adds the elements of HyperLogLogs to another one.",
    complexity: "O(N) with a large constant for N HyperLogLogs",
    run: pfmerge,
    ..ROW
};

fn pfmerge(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sparse_max = sparse_max(ctx);
    let texts = read_all(ctx, args, 1..args.len())?;
    let (registers, is_any_dense) = merged(&texts)?;
    let old = texts[0].map_or_else(hyperloglog::empty, |text| text.bytes().to_vec());
    let mut bytes = match HyperLogLog::of(&old) {
        Some(target) if is_any_dense => target.with_registers(&registers),
        _ => {
            let places = registers.iter().enumerate().filter(|(_, rank)| *rank > 0);
            let places = places.map(|(register, rank)| Place { register, rank });
            added(old, places, sparse_max)?.0
        }
    };
    hyperloglog::set_outdated(&mut bytes);
    store(ctx, args.key(1), &bytes, 1);
    reply.ok();
    Ok(Flow::Done)
}

/// Reads several strings, none where there is no key.
fn read_all<'a>(
    ctx: &'a mut Ctx<'_>,
    args: &Args<'_>,
    keys: Range<usize>,
) -> Result<Vec<Option<Text<'a>>>, ErrorReply> {
    // A key of another type is an error in its turn: what is wrong with those before it is told first.
    let texts = ctx.read_all_as(args, keys, |entry| Some(Text::of(entry)))?;
    let mut found = Vec::with_capacity(texts.len());
    for text in texts {
        let text = text.map(|text| text.ok_or(ErrorReply::WrongType)).transpose()?;
        text.map(of).transpose()?;
        found.push(text);
    }
    Ok(found)
}

/// Returns the greatest of all registers, and whether any HyperLogLog is dense.
fn merged(texts: &[Option<Text<'_>>]) -> Result<(Registers, bool), ErrorReply> {
    let (mut registers, mut is_any_dense) = (Registers::default(), false);
    for text in texts.iter().flatten() {
        let sketch = of(*text)?;
        is_any_dense |= sketch.form() == Form::Dense;
        sketch.merge_into(&mut registers).map_err(corrupt)?;
    }
    Ok((registers, is_any_dense))
}
