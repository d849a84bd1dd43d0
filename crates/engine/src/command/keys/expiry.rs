//! Times to live.
//!
//! A key ends when the clock is past its expiry. What replicas are told is always absolute: PEXPIREAT, or a removal
//! if the time has come already.

use russet_protocol::ErrorReply;

use crate::command::{Args, Ctx, Flow, Outcome, Reply};
use crate::keyspace::EventKind;
use crate::planted::Bug;

/// What the time that is given counts from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Base {
    Now,
    UnixEpoch,
}

pub(super) fn expire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, Base::Now, 1000, reply)
}

pub(super) fn pexpire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, Base::Now, 1, reply)
}

pub(super) fn expireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, Base::UnixEpoch, 1000, reply)
}

pub(super) fn pexpireat(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_expiry(ctx, args, Base::UnixEpoch, 1, reply)
}

/// On which terms an expiry is set.
#[derive(Clone, Copy, Default)]
struct Condition {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Condition {
    fn parse(args: &Args<'_>) -> Result<Condition, ErrorReply> {
        let mut condition = Condition::default();
        for at in 3..args.len() {
            let known = [
                ("NX", &mut condition.nx),
                ("XX", &mut condition.xx),
                ("GT", &mut condition.gt),
                ("LT", &mut condition.lt),
            ];
            match known.into_iter().find(|(word, _)| args.is(at, word)) {
                Some((_, given)) => *given = true,
                None => {
                    return Err(ErrorReply::quoting("ERR Unsupported option ", &args[at], ""));
                }
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

    /// No expiry counts as one that never comes.
    fn allows(self, old: Option<i64>, new: i64) -> bool {
        let refused = (self.nx && old.is_some())
            || (self.xx && old.is_none())
            || (self.gt && old.is_none_or(|old| new <= old))
            || (self.lt && old.is_some_and(|old| new >= old));
        !refused
    }
}

fn set_expiry(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    base: Base,
    unit_ms: i64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let condition = Condition::parse(args)?;
    let base_ms = if base == Base::Now { ctx.now_ms() } else { 0 };
    let at_ms = args
        .integer(2)?
        .checked_mul(unit_ms)
        .and_then(|ms| ms.checked_add(base_ms))
        .ok_or(ErrorReply::InvalidExpire(ctx.command.name))?;
    let (db, key) = (ctx.db, args.key(1));
    let found = ctx.node.keyspace.peek(db, key);
    if !found.is_some_and(|entry| condition.allows(entry.expiry(), at_ms)) {
        reply.integer(0);
        return Ok(Flow::Done);
    }
    if ctx.is_over(at_ms) {
        ctx.edit(key).remove(EventKind::Del);
        let word = ctx.removal_word();
        ctx.effect(&[word, key.bytes]);
    } else {
        ctx.edit(key).set_expiry(Some(at_ms));
        if !(base == Base::Now && ctx.node.planted(Bug::RelativeExpiry)) {
            let mut digits = itoa::Buffer::new();
            ctx.effect(&[b"PEXPIREAT", key.bytes, digits.format(at_ms).as_bytes()]);
        }
    }
    reply.integer(1);
    Ok(Flow::Done)
}

pub(super) fn persist(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (db, key) = (ctx.db, args.key(1));
    let ends = ctx.node.keyspace.peek(db, key).is_some_and(|entry| entry.expiry().is_some());
    if ends {
        ctx.edit(key).set_expiry(None);
    }
    reply.integer(i64::from(ends));
    Ok(Flow::Done)
}

pub(super) fn ttl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(ctx, args, Base::Now, 1000, reply)
}

pub(super) fn pttl(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(ctx, args, Base::Now, 1, reply)
}

pub(super) fn expiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(ctx, args, Base::UnixEpoch, 1000, reply)
}

pub(super) fn pexpiretime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    tell(ctx, args, Base::UnixEpoch, 1, reply)
}

/// -2 without a key, -1 without an expiry, else the time, rounded to the unit.
fn tell(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    base: Base,
    unit_ms: i64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let now_ms = ctx.now_ms();
    reply.integer(match ctx.glance(args.key(1)).map(|found| found.expiry()) {
        None => -2,
        Some(None) => -1,
        Some(Some(at)) => {
            let ms = if base == Base::Now { at.saturating_sub(now_ms).max(0) } else { at };
            ms.saturating_add(unit_ms / 2) / unit_ms
        }
    });
    Ok(Flow::Done)
}
