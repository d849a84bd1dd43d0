//! Setting and deleting fields.

use russet_protocol::ErrorReply;

use super::{ROW, change, visible};
use crate::command::argument::{block, key, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::hash::HashMut;

pub(super) const HSET: Command = Command {
    name: "hset",
    since: "2.0.0",
    arity: -4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), repeated(block("data", &[string("field"), string("value")]))],
    summary: "Sets fields to values, and returns the number of new fields.",
    complexity: "O(N) with N fields",
    run: hset,
    ..ROW
};

fn hset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let created = set(ctx, args)?;
    reply.integer(created);
    Ok(Flow::Done)
}

pub(super) const HMSET: Command = Command {
    name: "hmset",
    since: "2.0.0",
    summary: "Sets fields to values.",
    run: hmset,
    ..HSET
};

fn hmset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set(ctx, args)?;
    reply.ok();
    Ok(Flow::Done)
}

/// Sets all pairs and returns the number of new fields.
fn set(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<i64, ErrorReply> {
    if !args.len().is_multiple_of(2) {
        return Err(ErrorReply::WrongArity(ctx.command.name.to_owned()));
    }
    let pairs = (args.len() - 2) / 2;
    change(ctx, args.key(1), args.from(2).step_by(2), |hash| {
        let mut created = 0;
        hash.prepare(pairs, args.from(2));
        for at in (2..args.len()).step_by(2) {
            created += i64::from(hash.set(&args[at], &args[at + 1], None));
        }
        Change::of(created, pairs as u64, &[EventKind::HSet])
    })
}

pub(super) const HSETNX: Command = Command {
    name: "hsetnx",
    since: "2.0.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[key("key", 0), string("field"), string("value")],
    summary: "Sets a field to a value if the field does not exist.",
    run: hsetnx,
    ..ROW
};

fn hsetnx(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hidden_before = super::hidden_before(ctx.data);
    let is_set = change(ctx, args.key(1), args.from(2).take(1), |hash| {
        if visible(hash, &args[2], hidden_before).is_some() {
            return Change::none(false);
        }
        hash.prepare(1, args.from(2));
        hash.set(&args[2], &args[3], None);
        Change::of(true, 1, &[EventKind::HSet])
    })?;
    reply.integer(i64::from(is_set));
    Ok(Flow::Done)
}

pub(super) const HDEL: Command = Command {
    name: "hdel",
    since: "2.0.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), repeated(string("field"))],
    summary: "Deletes fields, and returns their number. Deletes the key with the last one.",
    complexity: "O(N) with N fields",
    run: hdel,
    ..ROW
};

fn hdel(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let deleted = change(ctx, args.key(1), args.from(2), |hash| delete(hash, args.from(2)))?;
    reply.integer(deleted);
    Ok(Flow::Done)
}

/// Deletes fields and returns their number.
pub(super) fn delete<'n>(
    hash: &mut HashMut<'_>,
    names: impl Iterator<Item = &'n [u8]>,
) -> Change<i64> {
    let deleted = names.filter(|name| hash.remove(name)).count();
    Change::of(deleted as i64, deleted as u64, &[EventKind::HDel])
}
