//! Scores, ranks and counts.

use russet_protocol::ErrorReply;

use super::ROW;
use super::limits::Range;
use crate::command::argument::{double, key, optional, repeated, string, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::zset::ZsetRef;

pub(super) const ZCARD: Command = Command {
    name: "zcard",
    since: "1.2.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of members of a sorted set.",
    run: zcard,
    ..ROW
};

fn zcard(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.read_as(args.key(1), ZsetRef::of)?.map_or(0, ZsetRef::len);
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const ZCOUNT: Command = Command {
    name: "zcount",
    since: "2.0.0",
    arity: 4,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), double("min"), double("max")],
    summary: "Returns the number of members with scores between two limits.",
    complexity: "O(log N) with N members",
    run: |ctx, args, reply| count(ctx, args, reply, Range::of_scores(&args[2], &args[3])?),
    ..ZCARD
};

pub(super) const ZLEXCOUNT: Command = Command {
    name: "zlexcount",
    since: "2.8.9",
    arguments: &[key("key", 0), string("min"), string("max")],
    summary: "Returns the number of members between two texts, if all have the same score.",
    run: |ctx, args, reply| count(ctx, args, reply, Range::of_texts(&args[2], &args[3])?),
    ..ZCOUNT
};

fn count(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, range: Range<'_>) -> Outcome {
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    reply.count(zset.map_or(0, |zset| range.ranks(zset).len()));
    Ok(Flow::Done)
}

pub(super) const ZSCORE: Command = Command {
    name: "zscore",
    since: "1.2.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), string("member")],
    summary: "Returns the score of a member.",
    complexity: "O(log N) with N members",
    run: zscore,
    ..ROW
};

fn zscore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    match zset.and_then(|zset| zset.score(&args[2])) {
        Some(score) => reply.double(score),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const ZMSCORE: Command = Command {
    name: "zmscore",
    since: "6.2.0",
    arity: -3,
    arguments: &[key("key", 0), repeated(string("member"))],
    summary: "Returns the scores of members.",
    complexity: "O(log N) for each of them, with N members in the sorted set",
    run: zmscore,
    ..ZSCORE
};

fn zmscore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    reply.array(args.len() - 2);
    for member in args.from(2) {
        match zset.and_then(|zset| zset.score(member)) {
            Some(score) => reply.double(score),
            None => reply.null(),
        }
    }
    Ok(Flow::Done)
}

pub(super) const ZRANK: Command = Command {
    name: "zrank",
    since: "2.0.0",
    arity: -3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), string("member"), optional(token("WITHSCORE"))],
    summary: "Returns the number of members in front of a member, and its score.",
    complexity: "O(log N) with N members",
    run: |ctx, args, reply| rank(ctx, args, reply, |before, _| before),
    ..ROW
};

pub(super) const ZREVRANK: Command = Command {
    name: "zrevrank",
    summary: "Returns the number of members behind a member, and its score.",
    run: |ctx, args, reply| rank(ctx, args, reply, |before, len| len - 1 - before),
    ..ZRANK
};

/// Replies with a rank, which is made of the number of members in front of the member and that of all.
fn rank(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    rank_of: fn(usize, usize) -> usize,
) -> Outcome {
    if args.len() > 4 {
        return Err(ErrorReply::WrongArity(ctx.command.name.to_owned()));
    }
    let with_score = args.len() == 4;
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(ErrorReply::Syntax);
    }
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    let found = zset.and_then(|zset| Some((zset.rank(&args[2])?, zset.len())));
    match found {
        None if with_score => reply.null_array(),
        None => reply.null(),
        Some(((before, score), len)) => {
            if with_score {
                reply.array(2);
            }
            reply.count(rank_of(before, len));
            if with_score {
                reply.double(score);
            }
        }
    }
    Ok(Flow::Done)
}
