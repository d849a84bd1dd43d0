//! Adding, removing and asking for members.

use russet_ds::listpack::Element as Member;

use super::{ROW, reply_all};
use crate::command::argument::{key, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::set::{Set, SetRef};

pub(super) const SADD: Command = Command {
    name: "sadd",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[key("key", 0), repeated(string("member"))],
    summary: "Adds members to a set, and returns the number of new ones.",
    complexity: "O(N) with N members",
    run: sadd,
    ..ROW
};

fn sadd(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let added = ctx.change::<Set, usize>(args.key(1), |set| {
        set.prepare(Member::Text(&args[2]), args.len() - 2);
        let added = args.from(2).filter(|member| set.add(Member::Text(member))).count();
        Change::of(added, added as u64, &[EventKind::SAdd])
    })?;
    reply.count(added);
    Ok(Flow::Done)
}

pub(super) const SREM: Command = Command {
    name: "srem",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), repeated(string("member"))],
    summary: "Removes members from a set, and returns their number. Deletes the key with the last one.",
    complexity: "O(N) with N members",
    run: srem,
    ..ROW
};

fn srem(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let removed = ctx.change::<Set, usize>(args.key(1), |set| {
        let removed = args.from(2).filter(|member| set.remove(Member::Text(member))).count();
        Change::of(removed, removed as u64, &[EventKind::SRem])
    })?;
    reply.count(removed);
    Ok(Flow::Done)
}

pub(super) const SMOVE: Command = Command {
    name: "smove",
    since: "1.0.0",
    arity: 4,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE), KeySpec::one(2, k::RW | k::INSERT)],
    arguments: &[key("source", 0), key("destination", 1), string("member")],
    summary: "Moves a member from one set to another.",
    run: smove,
    ..ROW
};

fn smove(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let member = Member::Text(&args[3]);
    let has_member = |set: Option<SetRef<'_>>| set.is_some_and(|set| set.contains(member));
    let (source, destination) = (args.key(1), args.key(2));
    let Some(set) = ctx.peek_as(source, SetRef::of)? else {
        reply.integer(0);
        return Ok(Flow::Done);
    };
    let is_there = has_member(Some(set));
    ctx.peek_as(destination, SetRef::of)?;
    if is_there && source.bytes != destination.bytes {
        ctx.change::<Set, ()>(source, |set| {
            Change::of((), u64::from(set.remove(member)), &[EventKind::SRem])
        })?;
        ctx.change::<Set, ()>(destination, |set| {
            set.prepare(member, 1);
            Change::of((), u64::from(set.add(member)), &[EventKind::SAdd])
        })?;
    }
    reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

pub(super) const SCARD: Command = Command {
    name: "scard",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of members.",
    run: scard,
    ..ROW
};

fn scard(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.read_as(args.key(1), SetRef::of)?.map_or(0, SetRef::len);
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const SISMEMBER: Command = Command {
    name: "sismember",
    since: "1.0.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0), string("member")],
    summary: "Checks whether a set has a member.",
    run: sismember,
    ..ROW
};

fn sismember(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let set = ctx.read_as(args.key(1), SetRef::of)?;
    let is_there = set.is_some_and(|set| set.contains(Member::Text(&args[2])));
    reply.integer(i64::from(is_there));
    Ok(Flow::Done)
}

pub(super) const SMISMEMBER: Command = Command {
    name: "smismember",
    since: "6.2.0",
    arity: -3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), repeated(string("member"))],
    summary: "Checks which of the given members a set has.",
    complexity: "O(N) with N members",
    run: smismember,
    ..ROW
};

fn smismember(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let set = ctx.read_as(args.key(1), SetRef::of)?;
    reply.array(args.len() - 2);
    for member in args.from(2) {
        let is_there = set.is_some_and(|set| set.contains(Member::Text(member)));
        reply.integer(i64::from(is_there));
    }
    Ok(Flow::Done)
}

pub(super) const SMEMBERS: Command = Command {
    name: "smembers",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns all members.",
    complexity: "O(N) with N members",
    run: smembers,
    ..ROW
};

fn smembers(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.read_as(args.key(1), SetRef::of)? {
        Some(set) => reply_all(reply, set),
        None => reply.set(0),
    }
    Ok(Flow::Done)
}
