//! Reading fields and values.

use super::{ROW, read, reply_text, reply_value};
use crate::command::argument::{key, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};

pub(super) const HGET: Command = Command {
    name: "hget",
    since: "2.0.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), string("field")],
    summary: "Returns the value of a field.",
    run: hget,
    ..ROW
};

fn hget(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = read(ctx, args.key(1))?;
    reply_value(reply, hash.get(&args[2]));
    Ok(Flow::Done)
}

pub(super) const HMGET: Command = Command {
    name: "hmget",
    since: "2.0.0",
    arity: -3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), repeated(string("field"))],
    summary: "Returns the values of fields.",
    complexity: "O(N) with N fields",
    run: hmget,
    ..ROW
};

fn hmget(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = read(ctx, args.key(1))?;
    reply.array(args.len() - 2);
    for name in args.from(2) {
        reply_value(reply, hash.get(name));
    }
    Ok(Flow::Done)
}

pub(super) const HGETALL: Command = Command {
    name: "hgetall",
    since: "2.0.0",
    arity: 2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns all fields and values.",
    complexity: "O(N) with N fields",
    run: hgetall,
    ..ROW
};

fn hgetall(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = read(ctx, args.key(1))?;
    reply.map(hash.len());
    hash.each(&mut |field| {
        reply_text(reply, field.name);
        reply_text(reply, field.value);
    });
    Ok(Flow::Done)
}

pub(super) const HKEYS: Command = Command {
    name: "hkeys",
    since: "2.0.0",
    arity: 2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns all fields.",
    complexity: "O(N) with N fields",
    run: hkeys,
    ..ROW
};

fn hkeys(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = read(ctx, args.key(1))?;
    reply.array(hash.len());
    hash.each(&mut |field| reply_text(reply, field.name));
    Ok(Flow::Done)
}

pub(super) const HVALS: Command = Command {
    name: "hvals",
    since: "2.0.0",
    arity: 2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns all values.",
    complexity: "O(N) with N fields",
    run: hvals,
    ..ROW
};

fn hvals(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = read(ctx, args.key(1))?;
    reply.array(hash.len());
    hash.each(&mut |field| reply_text(reply, field.value));
    Ok(Flow::Done)
}

pub(super) const HLEN: Command = Command {
    name: "hlen",
    since: "2.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of fields.",
    run: hlen,
    ..ROW
};

fn hlen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = read(ctx, args.key(1))?.len();
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const HSTRLEN: Command = Command {
    name: "hstrlen",
    since: "3.2.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0), string("field")],
    summary: "Returns the length of the value of a field.",
    run: hstrlen,
    ..ROW
};

fn hstrlen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let field = read(ctx, args.key(1))?.get(&args[2]);
    reply.count(field.map_or(0, |field| field.value.text_len()));
    Ok(Flow::Done)
}

pub(super) const HEXISTS: Command = Command {
    name: "hexists",
    since: "2.0.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0), string("field")],
    summary: "Checks whether a field exists.",
    run: hexists,
    ..ROW
};

fn hexists(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let exists = read(ctx, args.key(1))?.get(&args[2]).is_some();
    reply.integer(i64::from(exists));
    Ok(Flow::Done)
}
