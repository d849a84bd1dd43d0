//! Expiration times.
//!
//! A key expires when the clock is past its expiration time. Commands propagate absolute times:
//! PEXPIREAT, or a deletion if the time has passed already.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{int, key, unix_time};
use crate::command::expiration::{CONDITION, Condition, Rounding, TimeForm};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::injected::Bug;
use crate::keyspace::EventKind;

pub(super) const EXPIRE: Command = Command {
    name: "expire",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), int("seconds"), CONDITION],
    summary: "Sets a key to expire after a number of seconds.",
    run: expire,
    ..ROW
};

fn expire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::Seconds, reply)
}

pub(super) const PEXPIRE: Command = Command {
    name: "pexpire",
    since: "2.6.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), int("milliseconds"), CONDITION],
    summary: "Sets a key to expire after a number of milliseconds.",
    run: pexpire,
    ..ROW
};

fn pexpire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::Milliseconds, reply)
}

pub(super) const EXPIREAT: Command = Command {
    name: "expireat",
    since: "1.2.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), unix_time("unix-time-seconds"), CONDITION],
    summary: "Sets a key to expire at a Unix time in seconds.",
    run: expireat,
    ..ROW
};

fn expireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::UnixSeconds, reply)
}

pub(super) const PEXPIREAT: Command = Command {
    name: "pexpireat",
    since: "2.6.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), unix_time("unix-time-milliseconds"), CONDITION],
    summary: "Sets a key to expire at a Unix time in milliseconds.",
    run: pexpireat,
    ..ROW
};

fn pexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, TimeForm::UnixMilliseconds, reply)
}

/// Parses the conditions, of which some exclude each other.
fn condition(args: &Args<'_>) -> Result<Condition, ErrorReply> {
    let mut condition = Condition::default();
    for at in 3..args.len() {
        if !condition.add(args, at) {
            return Err(ErrorReply::quoting("ERR Unsupported option ", &args[at], ""));
        }
    }
    if condition.nx && (condition.xx || condition.gt || condition.lt) {
        return Err(ErrorReply::err(
            "NX and XX, GT or LT options at the same time are not compatible",
        ));
    }
    if condition.gt && condition.lt {
        return Err(ErrorReply::err("GT and LT options at the same time are not compatible"));
    }
    Ok(condition)
}

fn set_expiry(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: TimeForm,
    reply: &mut Reply<'_>,
) -> Outcome {
    let condition = condition(args)?;
    let at_ms = form.to_unix_ms(args.integer(2)?, ctx.now_ms());
    let at_ms = at_ms.ok_or(ErrorReply::InvalidExpire(ctx.command.name))?;
    let (db, key) = (ctx.call.db, args.key(1));
    let found = ctx.data.peek(db, key);
    if !found.is_some_and(|entry| condition.allows(entry.expiry(), at_ms)) {
        reply.integer(0);
        return Ok(Flow::Done);
    }
    if ctx.is_expired(at_ms) {
        ctx.edit(key).remove(EventKind::Del);
        let word = ctx.delete_command();
        ctx.effect(&[word, key.bytes]);
    } else {
        ctx.edit(key).set_expiry(Some(at_ms));
        if !(form.is_relative() && ctx.core.injected(Bug::RelativeExpiry)) {
            let mut digits = itoa::Buffer::new();
            ctx.effect(&[b"PEXPIREAT", key.bytes, digits.format(at_ms).as_bytes()]);
        }
    }
    reply.integer(1);
    Ok(Flow::Done)
}

pub(super) const PERSIST: Command = Command {
    name: "persist",
    since: "2.2.0",
    arity: 2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0)],
    summary: "Clears the expiration time of a key.",
    run: persist,
    ..ROW
};

fn persist(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (db, key) = (ctx.call.db, args.key(1));
    let ends = ctx.data.peek(db, key).is_some_and(|entry| entry.expiry().is_some());
    if ends {
        ctx.edit(key).set_expiry(None);
    }
    reply.integer(i64::from(ends));
    Ok(Flow::Done)
}

pub(super) const TTL: Command = Command {
    name: "ttl",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of seconds until a key expires.",
    run: ttl,
    ..ROW
};

fn ttl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::Seconds, reply)
}

pub(super) const PTTL: Command = Command {
    name: "pttl",
    since: "2.6.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of milliseconds until a key expires.",
    run: pttl,
    ..ROW
};

fn pttl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::Milliseconds, reply)
}

pub(super) const EXPIRETIME: Command = Command {
    name: "expiretime",
    since: "7.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns the Unix time in seconds at which a key expires.",
    run: expiretime,
    ..ROW
};

fn expiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::UnixSeconds, reply)
}

pub(super) const PEXPIRETIME: Command = Command {
    name: "pexpiretime",
    since: "7.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns the Unix time in milliseconds at which a key expires.",
    run: pexpiretime,
    ..ROW
};

fn pexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply_expiry(ctx, args, TimeForm::UnixMilliseconds, reply)
}

/// Replies the expiration time, rounded to the unit; -2 if the key does not exist, -1 if it does
/// not expire.
fn reply_expiry(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    form: TimeForm,
    reply: &mut Reply<'_>,
) -> Outcome {
    let now_ms = ctx.now_ms();
    reply.integer(match ctx.read_without_touch(args.key(1)).map(|found| found.expiry()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at_ms)) => form.of_unix_ms(at_ms, now_ms, Rounding::Nearest),
    });
    Ok(Flow::Done)
}
