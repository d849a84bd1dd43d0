//! Removing members.

use super::ROW;
use super::limits::Range;
use crate::command::argument::{double, int, key, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::zset::{Zset, ZsetRef};

pub(super) const ZREM: Command = Command {
    name: "zrem",
    since: "1.2.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), repeated(string("member"))],
    summary: "Removes members, and returns how many there were. Deletes the key with the last one.",
    complexity: "O(log N) for each of them, with N members in the sorted set",
    run: zrem,
    ..ROW
};

fn zrem(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let removed = match ctx.peek_as(args.key(1), ZsetRef::of)? {
        None => 0,
        Some(_) => ctx.change::<Zset, usize>(args.key(1), |zset| {
            let removed = args.from(2).filter(|member| zset.remove(member)).count();
            Change::of(removed, removed as u64, &[EventKind::ZRem])
        })?,
    };
    reply.count(removed);
    Ok(Flow::Done)
}

pub(super) const ZREMRANGEBYRANK: Command = Command {
    name: "zremrangebyrank",
    since: "2.0.0",
    arity: 4,
    flags: f::WRITE,
    arguments: &[key("key", 0), int("start"), int("stop")],
    summary: "Removes the members between two ranks, both included, and returns their number.",
    complexity: "O(log N) for each of them, with N members in the sorted set",
    run: |ctx, args, reply| {
        let range = Range::of_ranks(args, 2)?;
        remove_range(ctx, args, reply, range, &[EventKind::ZRemRangeByRank])
    },
    ..ZREM
};

pub(super) const ZREMRANGEBYSCORE: Command = Command {
    name: "zremrangebyscore",
    since: "1.2.0",
    arguments: &[key("key", 0), double("min"), double("max")],
    summary: "Removes the members with scores between two limits, and returns their number.",
    run: |ctx, args, reply| {
        let range = Range::of_scores(&args[2], &args[3])?;
        remove_range(ctx, args, reply, range, &[EventKind::ZRemRangeByScore])
    },
    ..ZREMRANGEBYRANK
};

pub(super) const ZREMRANGEBYLEX: Command = Command {
    name: "zremrangebylex",
    since: "2.8.9",
    arguments: &[key("key", 0), string("min"), string("max")],
    summary: "Removes the members between two texts, and returns their number, if all have the same score.",
    run: |ctx, args, reply| {
        let range = Range::of_texts(&args[2], &args[3])?;
        remove_range(ctx, args, reply, range, &[EventKind::ZRemRangeByLex])
    },
    ..ZREMRANGEBYRANK
};

fn remove_range(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    range: Range<'_>,
    events: &'static [EventKind],
) -> Outcome {
    let zset = ctx.peek_as(args.key(1), ZsetRef::of)?;
    let ranks = zset.map_or(0..0, |zset| range.ranks(zset));
    let is_by_rank = zset.is_some_and(|zset| range.depends_on_form(zset));
    if is_by_rank && !ranks.is_empty() {
        let (first, last) = (ranks.start.to_string(), (ranks.end - 1).to_string());
        ctx.effect(&[b"ZREMRANGEBYRANK", &args[1], first.as_bytes(), last.as_bytes()]);
    }
    if !ranks.is_empty() {
        ctx.change::<Zset, ()>(args.key(1), |zset| {
            zset.remove_ranks(ranks.start, ranks.len());
            Change::of((), ranks.len() as u64, events)
        })?;
    }
    reply.count(ranks.len());
    Ok(Flow::Done)
}
