//! Commands that count: integers of 64 bits, and fractions as the x87's extended doubles.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use crate::command::{Args, Ctx, Flow, Outcome, Reply};
use crate::keyspace::{EventKind, Expiry};
use crate::types::long_double::LongDouble;
use crate::types::string::{KIND_INT, kind_of_text, payload};

pub(super) fn incr(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, 1, reply)
}

pub(super) fn decr(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, -1, reply)
}

pub(super) fn incrby(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = args.integer(2)?;
    add(ctx, args, by, reply)
}

pub(super) fn decrby(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = args.integer(2)?;
    let by = by.checked_neg().ok_or_else(|| ErrorReply::err("decrement would overflow"))?;
    add(ctx, args, by, reply)
}

fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, by: i64, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let (value, expiry) = match super::old(ctx, key)? {
        Some(text) => (parse_i64(text.bytes()).ok_or(ErrorReply::NotInteger)?, Expiry::Keep),
        None => (0, Expiry::Clear),
    };
    let value = value.checked_add(by).ok_or(ErrorReply::Overflow)?;
    let mut digits = itoa::Buffer::new();
    let text = digits.format(value).as_bytes();
    ctx.edit(key).set(KIND_INT, payload(text), expiry, EventKind::IncrBy);
    reply.integer(value);
    Ok(Flow::Done)
}

pub(super) fn incrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let (value, expiry) = match super::old(ctx, key)? {
        Some(text) => (LongDouble::parse(text.bytes()).ok_or(ErrorReply::NotFloat)?, Expiry::Keep),
        None => (LongDouble::ZERO, Expiry::Clear),
    };
    let by = LongDouble::parse(&args[2]).ok_or(ErrorReply::NotFloat)?;
    let sum =
        value.plus(by).ok_or_else(|| ErrorReply::err("increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    ctx.edit(key).set(kind_of_text(&text), payload(&text), expiry, EventKind::IncrByFloat);
    // Other machines may count otherwise: they are told the sum.
    ctx.effect(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    reply.bulk(&text);
    Ok(Flow::Done)
}
