//! Strings as numbers: 64-bit integers, and floating-point numbers with the precision of x87
//! extended doubles.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::ROW;
use crate::command::argument::{double, int, key};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry};
use crate::types::long_double::LongDouble;
use crate::types::payload;
use crate::types::string::{KIND_INT, Text, kind_of_text};

pub(super) const INCR: Command = Command {
    name: "incr",
    since: "1.0.0",
    arity: 2,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0)],
    summary: "Increments the integer value of a key by one.",
    run: incr,
    ..ROW
};

fn incr(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, 1, reply)
}

pub(super) const DECR: Command = Command {
    name: "decr",
    since: "1.0.0",
    arity: 2,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0)],
    summary: "Decrements the integer value of a key by one.",
    run: decr,
    ..ROW
};

fn decr(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    add(ctx, args, -1, reply)
}

pub(super) const INCRBY: Command = Command {
    name: "incrby",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), int("increment")],
    summary: "Increments the integer value of a key by the given amount.",
    run: incrby,
    ..ROW
};

fn incrby(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = args.integer(2)?;
    add(ctx, args, by, reply)
}

pub(super) const DECRBY: Command = Command {
    name: "decrby",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), int("decrement")],
    summary: "Decrements the integer value of a key by the given amount.",
    run: decrby,
    ..ROW
};

fn decrby(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by = args.integer(2)?;
    let by = by.checked_neg().ok_or_else(|| ErrorReply::err("decrement would overflow"))?;
    add(ctx, args, by, reply)
}

fn add(ctx: &mut Ctx<'_>, args: &Args<'_>, by: i64, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let (value, expiry) = match ctx.peek_as(key, Text::of)? {
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

pub(super) const INCRBYFLOAT: Command = Command {
    name: "incrbyfloat",
    since: "2.6.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), double("increment")],
    summary: "Increments the floating-point value of a key by the given amount.",
    run: incrbyfloat,
    ..ROW
};

fn incrbyfloat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let (value, expiry) = match ctx.peek_as(key, Text::of)? {
        Some(text) => (LongDouble::parse(text.bytes()).ok_or(ErrorReply::NotFloat)?, Expiry::Keep),
        None => (LongDouble::ZERO, Expiry::Clear),
    };
    let by = LongDouble::parse(&args[2]).ok_or(ErrorReply::NotFloat)?;
    let sum =
        value.plus(by).ok_or_else(|| ErrorReply::err("increment would produce NaN or Infinity"))?;
    let text = sum.to_text();
    ctx.edit(key).set(kind_of_text(&text), payload(&text), expiry, EventKind::IncrByFloat);
    // Replicas are sent the sum, since another machine may round otherwise.
    ctx.effect(&[b"SET", key.bytes, &text, b"KEEPTTL"]);
    reply.bulk(&text);
    Ok(Flow::Done)
}
