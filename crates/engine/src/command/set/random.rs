//! Members at random: SPOP and SRANDMEMBER. Each member, and each choice of several, is equally likely.

use std::collections::BTreeSet;

use russet_ds::listpack::Element as Member;
use russet_protocol::ErrorReply;

use super::{ROW, reply_all, reply_member};
use crate::command::argument::{int, key, optional};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::sample::check_reply;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::rng::Rng;
use crate::types::set::{Set, SetRef};

/// Members that one SREM removes at most, in the effects of SPOP.
const EFFECT_MEMBERS_MAX: usize = 1024;

pub(super) const SPOP: Command = Command {
    name: "spop",
    since: "1.0.0",
    arity: -2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[key("key", 0), optional(int("count"))],
    summary: "Removes random members and returns them. Deletes the key with the last one.",
    complexity: "O(N) with N members that are returned",
    run: spop,
    ..ROW
};

fn spop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::Syntax);
    }
    let Some(count) = parse_pop_count(args)? else { return pop_one(ctx, args, reply) };
    let key = args.key(1);
    let Some(set) = ctx.peek_as(key, SetRef::of)? else {
        reply.set(0);
        return Ok(Flow::Done);
    };
    let len = set.len();
    if count >= len {
        reply_all(reply, set);
        let dirty = ctx.data.dirty;
        let mut edit = ctx.edit(key);
        edit.changed(EventKind::SPop);
        edit.remove(EventKind::Del);
        ctx.data.dirty = dirty + len as u64;
        let word: &[u8] = if ctx.core.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
        ctx.effect(&[word, key.bytes]);
        return Ok(Flow::Done);
    }
    let mut rng = ctx.core.rng.clone();
    let popped = ctx.change::<Set, Vec<Box<[u8]>>>(key, |set| {
        let popped = set.pop(count, &mut rng);
        Change::of(popped, count as u64, &[EventKind::SPop])
    })?;
    ctx.core.rng = rng;
    reply.set(popped.len());
    popped.iter().for_each(|member| reply.bulk(member));
    for members in popped.chunks(EFFECT_MEMBERS_MAX) {
        let members = members.iter().map(|member| &**member);
        let effect: Vec<&[u8]> = [b"SREM", key.bytes].into_iter().chain(members).collect();
        ctx.effect(&effect);
    }
    Ok(Flow::Done)
}

fn parse_pop_count(args: &Args<'_>) -> Result<Option<usize>, ErrorReply> {
    if args.len() < 3 {
        return Ok(None);
    }
    let count = args.integer(2).ok().and_then(|count| usize::try_from(count).ok());
    count.map(Some).ok_or_else(|| ErrorReply::err("value is out of range, must be positive"))
}

fn pop_one(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    let mut rng = ctx.core.rng.clone();
    let popped = ctx.change::<Set, Option<Box<[u8]>>>(key, |set| {
        let popped = set.pop(1, &mut rng).pop();
        let count = u64::from(popped.is_some());
        Change::of(popped, count, &[EventKind::SPop])
    })?;
    ctx.core.rng = rng;
    match popped {
        Some(member) => {
            reply.bulk(&member);
            ctx.effect(&[b"SREM", key.bytes, &member]);
        }
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const SRANDMEMBER: Command = Command {
    name: "srandmember",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), optional(int("count"))],
    summary: "Returns random members.",
    complexity: "O(N) with N members that are returned",
    run: srandmember,
    ..ROW
};

fn srandmember(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::Syntax);
    }
    let count = match args.len() {
        3 => Some(args.integer_within(2, -i64::MAX, i64::MAX)?),
        _ => None,
    };
    let bytes_max = ctx.core.config.proto_max_bulk_len;
    let entry = ctx.data.read(ctx.call.db, args.key(1));
    let set = entry.map(|entry| SetRef::of(&entry).ok_or(ErrorReply::WrongType)).transpose()?;
    let rng = &mut ctx.core.rng;
    match (set, count) {
        (None, None) => reply.null(),
        (None, Some(_)) => reply.array(0),
        (Some(set), None) => {
            if let Some(member) = set.random(&mut || rng.draw()) {
                reply_member(reply, member);
            }
        }
        (Some(set), Some(count)) if count < 0 => {
            return any(set, count.unsigned_abs(), bytes_max, rng, reply);
        }
        (Some(set), Some(count)) => {
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            distinct(set, count, rng, reply);
        }
    }
    Ok(Flow::Done)
}

/// Replies with this number of members, which may repeat.
fn any(
    set: SetRef<'_>,
    count: u64,
    bytes_max: u64,
    rng: &mut Rng,
    reply: &mut Reply<'_>,
) -> Outcome {
    let mut draw = || set.random(&mut || rng.draw());
    check_reply(count, bytes_max, &mut || Some(draw()?.text_len()))?;
    reply.array(count as usize);
    for _ in 0..count {
        let Some(member) = draw().filter(|_| !reply.is_cut()) else { break };
        reply_member(reply, member);
    }
    Ok(Flow::Done)
}

/// Replies with up to this number of different members.
fn distinct(set: SetRef<'_>, count: usize, rng: &mut Rng, reply: &mut Reply<'_>) {
    let len = set.len();
    reply.array(count.min(len));
    if count >= len {
        return set.each(&mut |member| reply_member(reply, member));
    }
    // Of a large set few are drawn, until they are different; else it is gone through once.
    if matches!(set, SetRef::Table(_)) && count <= len / 3 {
        let mut seen = BTreeSet::new();
        while seen.len() < count {
            let Some(member @ Member::Text(name)) = set.random(&mut || rng.draw()) else { break };
            if seen.insert(name) {
                reply_member(reply, member);
            }
        }
        return;
    }
    let chosen = rng.choose(count, len);
    let mut index = 0;
    set.each(&mut |member| {
        if chosen.contains(&index) {
            reply_member(reply, member);
        }
        index += 1;
    });
}
