//! Numbers in fields.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::{ROW, change, hidden_before, visible};
use crate::command::argument::{double, int, key, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::long_double::LongDouble;

pub(super) const HINCRBY: Command = Command {
    name: "hincrby",
    since: "2.0.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), string("field"), int("increment")],
    summary: "Increments the integer value of a field.",
    run: hincrby,
    ..ROW
};

fn hincrby(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = args.integer(3)?;
    let before = hidden_before(ctx.data);
    let sum = change(ctx, args.key(1), args.from(2).take(1), |hash| {
        let (old, expiry) = match visible(hash, &args[2], before) {
            None => (Ok(0), None),
            Some(field) => {
                let value = parse_i64(&field.value_text());
                let error = ErrorReply::fixed("ERR hash value is not an integer");
                (value.ok_or(error), field.expiry)
            }
        };
        let sum = old.and_then(|old| old.checked_add(by).ok_or(ErrorReply::Overflow));
        if let Ok(sum) = sum {
            let mut digits = itoa::Buffer::new();
            hash.set(&args[2], digits.format(sum).as_bytes(), expiry);
        }
        Change::of(sum.clone(), u64::from(sum.is_ok()), &[EventKind::HIncrBy])
    })??;
    reply.integer(sum);
    Ok(Flow::Done)
}

pub(super) const HINCRBYFLOAT: Command = Command {
    name: "hincrbyfloat",
    since: "2.6.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), string("field"), double("increment")],
    summary: "Increments the floating-point value of a field.",
    run: hincrbyfloat,
    ..ROW
};

fn hincrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = LongDouble::parse(&args[3]).ok_or(ErrorReply::NotFloat)?;
    if !by.is_finite() {
        return Err(ErrorReply::fixed("ERR value is NaN or Infinity"));
    }
    let before = hidden_before(ctx.data);
    let (key, name) = (args.key(1), &args[2]);
    let (text, expiry) = change(ctx, key, args.from(2).take(1), |hash| {
        let (old, expiry) = match visible(hash, name, before) {
            None => (Ok(LongDouble::ZERO), None),
            Some(field) => {
                let value = LongDouble::parse(&field.value_text());
                (value.ok_or(ErrorReply::fixed("ERR hash value is not a float")), field.expiry)
            }
        };
        let error = ErrorReply::fixed("ERR increment would produce NaN or Infinity");
        let text = old.and_then(|old| old.plus(by).ok_or(error)).map(LongDouble::to_text);
        if let Ok(text) = &text {
            hash.set(name, text, expiry);
        }
        let count = u64::from(text.is_ok());
        Change::of(text.map(|text| (text, expiry)), count, &[EventKind::HIncrByFloat])
    })??;
    // The sum is propagated, since another machine may round differently.
    ctx.effect(&[b"HSET", key.bytes, name, &text]);
    if let Some(at) = expiry {
        let mut digits = itoa::Buffer::new();
        let at = digits.format(at).as_bytes();
        ctx.effect(&[b"HPEXPIREAT", key.bytes, at, b"FIELDS", b"1", name]);
    }
    reply.bulk(&text);
    Ok(Flow::Done)
}
