//! Expiration times of fields.
//!
//! Effects are absolute: HPEXPIREAT of the fields whose expiry was set, or HDEL if it has passed.

use russet_protocol::ErrorReply;

use super::{ROW, change, hidden_before, read, visible};
use crate::command::argument::{Argument, after, block, int, key, repeated, string, unix_time};
use crate::command::expiration::{CONDITION, Condition, Rounding, TimeForm};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::hash::EXPIRY_MAX;

/// The argument FIELDS with the number of fields.
pub(super) const FIELDS: Argument =
    after("FIELDS", block("fields", &[int("numfields"), repeated(string("field"))]));

/// The common fields of rows that set an expiry.
const SETS: Command = Command {
    arity: -6,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    complexity: "O(N) with N fields",
    ..ROW
};

pub(super) const HEXPIRE: Command = Command {
    name: "hexpire",
    since: "7.4.0",
    arguments: &[key("key", 0), int("seconds"), CONDITION, FIELDS],
    summary: "Sets fields to expire after a number of seconds.",
    run: hexpire,
    ..SETS
};

fn hexpire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::Seconds, reply)
}

pub(super) const HPEXPIRE: Command = Command {
    name: "hpexpire",
    since: "7.4.0",
    arguments: &[key("key", 0), int("milliseconds"), CONDITION, FIELDS],
    summary: "Sets fields to expire after a number of milliseconds.",
    run: hpexpire,
    ..SETS
};

fn hpexpire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::Milliseconds, reply)
}

pub(super) const HEXPIREAT: Command = Command {
    name: "hexpireat",
    since: "7.4.0",
    arguments: &[key("key", 0), unix_time("unix-time-seconds"), CONDITION, FIELDS],
    summary: "Sets fields to expire at a Unix time in seconds.",
    run: hexpireat,
    ..SETS
};

fn hexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::UnixSeconds, reply)
}

pub(super) const HPEXPIREAT: Command = Command {
    name: "hpexpireat",
    since: "7.4.0",
    arguments: &[key("key", 0), unix_time("unix-time-milliseconds"), CONDITION, FIELDS],
    summary: "Sets fields to expire at a Unix time in milliseconds.",
    run: hpexpireat,
    ..SETS
};

fn hpexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::UnixMilliseconds, reply)
}

/// Parses the fields after FIELDS and their number, up to the last argument.
pub(super) fn fields<'a>(
    args: &Args<'a>,
    at: usize,
) -> Result<impl Iterator<Item = &'a [u8]> + Clone + use<'a>, ErrorReply> {
    count_fields(args, at, 1)?;
    Ok(args.from(at + 2).collect::<Vec<_>>().into_iter())
}

/// Checks FIELDS and its number, and that this number of fields, of `words` arguments each, follow.
pub(super) fn count_fields(args: &Args<'_>, at: usize, words: usize) -> Result<usize, ErrorReply> {
    if !args.is(at, "FIELDS") {
        return Err(ErrorReply::fixed(
            "ERR Mandatory argument FIELDS is missing or not at the right position",
        ));
    }
    let count = args.integer(at + 1).ok().and_then(|count| usize::try_from(count).ok());
    let count = count
        .filter(|&count| count > 0)
        .ok_or(ErrorReply::fixed("ERR Parameter `numFields` should be greater than 0"))?;
    if count.checked_mul(words) != Some(args.len().saturating_sub(at + 2)) {
        return Err(ErrorReply::fixed(
            "ERR The `numfields` parameter must match the number of arguments",
        ));
    }
    Ok(count)
}

/// Returns the absolute time of an argument in Unix milliseconds.
pub(super) fn time(
    ctx: &Ctx<'_>,
    args: &Args<'_>,
    at: usize,
    form: TimeForm,
) -> Result<i64, ErrorReply> {
    let time = args.integer(at)?;
    if time < 0 {
        return Err(ErrorReply::fixed("ERR invalid expire time, must be >= 0"));
    }
    let at_ms = form.to_unix_ms(time, ctx.now_ms());
    at_ms.filter(|&at_ms| at_ms <= EXPIRY_MAX).ok_or(ErrorReply::InvalidExpire(ctx.command.name))
}

const NO_FIELD: i64 = -2;
const NO_EXPIRY: i64 = -1;
const NOT_ALLOWED: i64 = 0;
const SET: i64 = 1;
const DELETED: i64 = 2;

fn set_expiry(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: TimeForm,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut condition = Condition::default();
    let has_one = condition.add(args, 3);
    let names = fields(args, 3 + usize::from(has_one))?;
    let at_ms = time(ctx, args, 2, form)?;
    let is_past = ctx.is_expired(at_ms);
    let before = hidden_before(ctx.data);
    let mut changed: Vec<&[u8]> = Vec::new();
    let results = change(ctx, args.key(1), names.clone(), |hash| {
        let one = |name| {
            let Some(field) = visible(hash, name, before) else { return NO_FIELD };
            if !condition.allows(field.expiry, at_ms) {
                return NOT_ALLOWED;
            }
            changed.push(name);
            if is_past {
                hash.remove(name);
                return DELETED;
            }
            hash.set_expiry(name, Some(at_ms));
            SET
        };
        let results: Vec<i64> = names.clone().map(one).collect();
        let event = if is_past { &[EventKind::HExpired] } else { &[EventKind::HExpire] };
        Change::of(results, changed.len() as u64, event)
    })?;
    propagate_expiry(ctx, args.key(1).bytes, &changed, at_ms, is_past);
    reply.array(results.len());
    results.into_iter().for_each(|result| reply.integer(result));
    Ok(Flow::Done)
}

/// Propagates a new expiry of fields, or their deletion if it has passed.
pub(super) fn propagate_expiry(
    ctx: &mut Ctx<'_>,
    key: &[u8],
    names: &[&[u8]],
    at_ms: i64,
    is_past: bool,
) {
    if names.is_empty() {
        return;
    }
    let (mut at, mut count) = (itoa::Buffer::new(), itoa::Buffer::new());
    let (at, count) = (at.format(at_ms).as_bytes(), count.format(names.len()).as_bytes());
    let head: &[&[u8]] =
        if is_past { &[b"HDEL", key] } else { &[b"HPEXPIREAT", key, at, b"FIELDS", count] };
    ctx.effect(&[head, names].concat());
}

pub(super) const HPERSIST: Command = Command {
    name: "hpersist",
    since: "7.4.0",
    arity: -5,
    flags: f::WRITE | f::FAST,
    arguments: &[key("key", 0), FIELDS],
    summary: "Clears the expiration times of fields.",
    run: hpersist,
    ..SETS
};

fn hpersist(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let names = fields(args, 2)?;
    let before = hidden_before(ctx.data);
    let mut changed: Vec<&[u8]> = Vec::new();
    let results = change(ctx, args.key(1), names.clone(), |hash| {
        let one = |name| {
            let Some(field) = visible(hash, name, before) else { return NO_FIELD };
            if field.expiry.is_none() {
                return NO_EXPIRY;
            }
            hash.set_expiry(name, None);
            changed.push(name);
            SET
        };
        let results: Vec<i64> = names.clone().map(one).collect();
        Change::of(results, changed.len() as u64, &[EventKind::HPersist])
    })?;
    propagate_persist(ctx, args.key(1).bytes, &changed);
    reply.array(results.len());
    results.into_iter().for_each(|result| reply.integer(result));
    Ok(Flow::Done)
}

/// Propagates that the expiry of fields was cleared.
pub(super) fn propagate_persist(ctx: &mut Ctx<'_>, key: &[u8], names: &[&[u8]]) {
    if names.is_empty() {
        return;
    }
    let mut count = itoa::Buffer::new();
    let count = count.format(names.len()).as_bytes();
    ctx.effect(&[&[b"HPERSIST", key, b"FIELDS", count], names].concat());
}

/// The common fields of rows that return an expiry.
const RETURNS_EXPIRY: Command = Command {
    arity: -5,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), FIELDS],
    complexity: "O(N) with N fields",
    ..ROW
};

pub(super) const HTTL: Command = Command {
    name: "httl",
    since: "7.4.0",
    summary: "Returns the number of seconds until each field expires.",
    run: httl,
    ..RETURNS_EXPIRY
};

fn httl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::Seconds, reply)
}

pub(super) const HPTTL: Command = Command {
    name: "hpttl",
    since: "7.4.0",
    summary: "Returns the number of milliseconds until each field expires.",
    run: hpttl,
    ..RETURNS_EXPIRY
};

fn hpttl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::Milliseconds, reply)
}

pub(super) const HEXPIRETIME: Command = Command {
    name: "hexpiretime",
    since: "7.4.0",
    summary: "Returns the Unix time in seconds at which each field expires.",
    run: hexpiretime,
    ..RETURNS_EXPIRY
};

fn hexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::UnixSeconds, reply)
}

pub(super) const HPEXPIRETIME: Command = Command {
    name: "hpexpiretime",
    since: "7.4.0",
    summary: "Returns the Unix time in milliseconds at which each field expires.",
    run: hpexpiretime,
    ..RETURNS_EXPIRY
};

fn hpexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::UnixMilliseconds, reply)
}

/// Replies with the expiration time of each field, rounded up to the unit.
fn reply_expiry(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: TimeForm,
    reply: &mut Reply<'_>,
) -> Outcome {
    let names = fields(args, 2)?;
    let now_ms = ctx.now_ms();
    let hash = read(ctx, args.key(1))?;
    reply.array(args.len() - 4);
    for name in names {
        reply.integer(match hash.get(name).map(|field| field.expiry) {
            None => NO_FIELD,
            Some(None) => NO_EXPIRY,
            Some(Some(at_ms)) => form.of_unix_ms(at_ms, now_ms, Rounding::Up),
        });
    }
    Ok(Flow::Done)
}
