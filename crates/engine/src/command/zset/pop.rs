//! Removing the members with the lowest or highest scores.

use russet_protocol::{ErrorReply, Protocol};

use super::ROW;
use crate::command::argument::{after, int, key, one_of, optional, repeated, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::list::ends::Wanted;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind, Key};
use crate::types::zset::{End, Popped, Zset, ZsetRef};

pub(super) const ZPOPMIN: Command = Command {
    name: "zpopmin",
    since: "5.0.0",
    arity: -2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[key("key", 0), optional(int("count"))],
    summary: "Removes the members with the lowest scores and returns them. Deletes the key with the last one.",
    complexity: "O(log N) for each of them, with N members in the sorted set",
    run: |ctx, args, reply| pop(ctx, args, reply, End::Min),
    ..ROW
};

pub(super) const ZPOPMAX: Command = Command {
    name: "zpopmax",
    summary: "Removes the members with the highest scores and returns them. Deletes the key with the last one.",
    run: |ctx, args, reply| pop(ctx, args, reply, End::Max),
    ..ZPOPMIN
};

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, end: End) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::Syntax);
    }
    let count = match args.len() {
        3 => {
            let count = args.integer(2).ok().and_then(|count| usize::try_from(count).ok());
            let why = "value is out of range, must be positive";
            Some(count.ok_or_else(|| ErrorReply::err(why))?)
        }
        _ => None,
    };
    let popped = take(ctx, args.key(1), end, count.unwrap_or(1))?;
    // Without a count it is a pair in RESP3 too.
    let is_nested = count.is_some() && reply.protocol == Protocol::Resp3;
    reply.array(if is_nested { popped.len() } else { popped.len() * 2 });
    for (member, score) in &popped {
        if is_nested {
            reply.array(2);
        }
        reply.bulk(member);
        reply.double(*score);
    }
    Ok(Flow::Done)
}

/// Removes up to this number of members from an end of a sorted set, and returns them, the outermost first; none if there is no
/// sorted set.
pub(super) fn take(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
) -> Result<Vec<Popped>, ErrorReply> {
    if ctx.peek_as(key, ZsetRef::of)?.is_none() {
        return Ok(Vec::new());
    }
    ctx.change::<Zset, Vec<Popped>>(key, |zset| {
        let popped = zset.pop(end, count);
        let count = popped.len() as u64;
        let events: &[EventKind] = match end {
            End::Min => &[EventKind::ZPopMin],
            End::Max => &[EventKind::ZPopMax],
        };
        Change::of(popped, count, events)
    })
}

pub(super) const ZMPOP: Command = Command {
    name: "zmpop",
    since: "7.0.0",
    arity: -4,
    flags: f::WRITE,
    keys: &[KeySpec::counted(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[
        int("numkeys"),
        repeated(key("key", 0)),
        one_of("where", &[token("MIN"), token("MAX")]),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Removes members from an end of the first of some sorted sets that exists, and returns them with its key.",
    complexity: "O(K + M log N) with K keys, and M of N members",
    run: zmpop,
    ..ROW
};

fn zmpop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Wanted { keys, side, count } = Wanted::parse_with(args, 1, parse_end)?;
    for at in keys {
        if pop_with_key(ctx, reply, args.key(at), side, count)? {
            return Ok(Flow::Done);
        }
    }
    reply.null_array();
    Ok(Flow::Done)
}

/// The command that pops at an end.
pub(super) const fn pop_word(end: End) -> &'static [u8] {
    match end {
        End::Min => b"ZPOPMIN",
        End::Max => b"ZPOPMAX",
    }
}

pub(super) fn parse_end(args: &Args<'_>, at: usize) -> Result<End, ErrorReply> {
    if args.is(at, "MIN") {
        Ok(End::Min)
    } else if args.is(at, "MAX") {
        Ok(End::Max)
    } else {
        Err(ErrorReply::Syntax)
    }
}

/// Removes members from an end of a sorted set, and replies with its key and a pair for each, as ZMPOP does; the effect names how
/// many there were. Returns false, without a reply, if there is no sorted set.
pub(super) fn pop_with_key(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    key: Key<'_>,
    end: End,
    count: usize,
) -> Result<bool, ErrorReply> {
    let popped = take(ctx, key, end, count)?;
    if popped.is_empty() {
        return Ok(false);
    }
    reply.array(2);
    reply.bulk(key.bytes);
    reply.array(popped.len());
    for (member, score) in &popped {
        reply.array(2);
        reply.bulk(member);
        reply.double(*score);
    }
    ctx.effect(&[pop_word(end), key.bytes, popped.len().to_string().as_bytes()]);
    Ok(true)
}
