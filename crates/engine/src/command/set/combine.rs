//! Unions, intersections and differences, as a reply or as the value of a key. A key that does not exist is a set without
//! members.

use russet_ds::listpack::Element as Member;
use russet_protocol::ErrorReply;

use super::{ROW, reply_all, reply_member};
use crate::command::argument::{after, int, key, optional, repeated};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry};
use crate::types::set::{Set, SetMut, SetRef};
use crate::types::{BuildContext, Editable};

const READ: KeySpec = KeySpec::rest(1, 1, k::RO | k::ACCESS);
const READ_FROM_SECOND: KeySpec = KeySpec::rest(2, 1, k::RO | k::ACCESS);

pub(super) const SINTER: Command = Command {
    name: "sinter",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[READ],
    arguments: &[repeated(key("key", 0))],
    summary: "Returns the members that all of some sets have.",
    complexity: "O(N*M) with M sets, the smallest of which has N members",
    run: sinter,
    ..ROW
};

fn sinter(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sets = ctx.read_all_as(args, 1..args.len(), SetRef::of)?;
    let mut found = Vec::new();
    intersect(&sets, &mut |member| found.push(member));
    reply.set(found.len());
    found.into_iter().for_each(|member| reply_member(reply, member));
    Ok(Flow::Done)
}

pub(super) const SINTERCARD: Command = Command {
    name: "sintercard",
    since: "7.0.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::counted(1, k::RO | k::ACCESS)],
    arguments: &[int("numkeys"), repeated(key("key", 0)), optional(after("LIMIT", int("limit")))],
    summary: "Returns the number of members that all of some sets have, up to a limit.",
    complexity: "O(N*M) with M sets, the smallest of which has N members",
    run: sintercard,
    ..ROW
};

fn sintercard(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let keys = args.integer(1).ok().filter(|keys| *keys > 0);
    let keys = keys.ok_or_else(|| ErrorReply::err("numkeys should be greater than 0"))?;
    let end = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(2));
    let too_many = || ErrorReply::err("Number of keys can't be greater than number of args");
    let end = end.filter(|end| *end <= args.len()).ok_or_else(too_many)?;
    let limit = parse_limit(args, end)?;
    let sets = ctx.read_all_as(args, 2..end, SetRef::of)?;
    let mut count = 0;
    if let Some((first, rest)) = by_size(&sets) {
        first.each_while(&mut |member| {
            count += usize::from(rest.iter().all(|set| set.contains(member)));
            count < limit
        });
    }
    reply.count(count);
    Ok(Flow::Done)
}

/// Parses the options behind the keys; without a limit it is the largest.
fn parse_limit(args: &Args<'_>, mut at: usize) -> Result<usize, ErrorReply> {
    let mut limit = 0;
    while at < args.len() {
        if !args.is(at, "LIMIT") || at + 1 >= args.len() {
            return Err(ErrorReply::Syntax);
        }
        let given = args.integer(at + 1).ok().and_then(|limit| usize::try_from(limit).ok());
        limit = given.ok_or_else(|| ErrorReply::err("LIMIT can't be negative"))?;
        at += 2;
    }
    Ok(if limit == 0 { usize::MAX } else { limit })
}

pub(super) const SINTERSTORE: Command = Command {
    name: "sinterstore",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE), READ_FROM_SECOND],
    arguments: &[key("destination", 0), repeated(key("key", 1))],
    summary: "Stores the members that all of some sets have in a set, and returns their number.",
    complexity: "O(N*M) with M sets, the smallest of which has N members",
    run: sinterstore,
    ..ROW
};

fn sinterstore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(ctx, args, reply, EventKind::SInterStore, |sets, stored| {
        intersect(sets, &mut |member| {
            stored.add(member);
        });
    })
}

pub(super) const SUNION: Command = Command {
    name: "sunion",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[READ],
    arguments: &[repeated(key("key", 0))],
    summary: "Returns the members that any of some sets has.",
    complexity: "O(N) with N members of all sets",
    run: sunion,
    ..ROW
};

fn sunion(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    show(ctx, args, reply, unite)
}

pub(super) const SUNIONSTORE: Command = Command {
    name: "sunionstore",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE), READ_FROM_SECOND],
    arguments: &[key("destination", 0), repeated(key("key", 1))],
    summary: "Stores the members that any of some sets has in a set, and returns their number.",
    complexity: "O(N) with N members of all sets",
    run: sunionstore,
    ..ROW
};

fn sunionstore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(ctx, args, reply, EventKind::SUnionStore, unite)
}

pub(super) const SDIFF: Command = Command {
    name: "sdiff",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[READ],
    arguments: &[repeated(key("key", 0))],
    summary: "Returns the members that the first of some sets has and none of the others.",
    complexity: "O(N) with N members of all sets",
    run: sdiff,
    ..ROW
};

fn sdiff(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    show(ctx, args, reply, subtract)
}

pub(super) const SDIFFSTORE: Command = Command {
    name: "sdiffstore",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE), READ_FROM_SECOND],
    arguments: &[key("destination", 0), repeated(key("key", 1))],
    summary: "Stores the members that the first of some sets has and none of the others in a set, and returns their number.",
    complexity: "O(N) with N members of all sets",
    run: sdiffstore,
    ..ROW
};

fn sdiffstore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    store(ctx, args, reply, EventKind::SDiffStore, subtract)
}

/// Puts what sets are combined to into a set.
type Combine = fn(&[Option<SetRef<'_>>], &mut SetMut<'_>);

/// Replies with what sets are combined to.
fn show(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, combine: Combine) -> Outcome {
    let result = combined(ctx, args, 1, combine)?;
    reply_all(reply, result.view());
    Ok(Flow::Done)
}

/// Stores what sets are combined to at the first key. Nothing is left there if that has no members.
fn store(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    event: EventKind,
    combine: Combine,
) -> Outcome {
    let result = combined(ctx, args, 2, combine)?;
    reply.count(result.len());
    let edit = ctx.overwrite(args.key(1));
    match Set::into_value(result) {
        Some(value) => edit.set_value(value, Expiry::Clear, event),
        None => {
            edit.remove(EventKind::Del);
        }
    }
    Ok(Flow::Done)
}

fn combined(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    first: usize,
    combine: Combine,
) -> Result<SetMut<'static>, ErrorReply> {
    let seed = ctx.data.hasher().seed();
    // The sets borrow the whole context.
    let mut result = Set::empty(&BuildContext { config: &ctx.core.config, seed });
    let sets = ctx.read_all_as(args, first..args.len(), SetRef::of)?;
    combine(&sets, &mut result);
    Ok(result)
}

/// Returns the smallest set and the others by size; none if a set has no members.
fn by_size<'a>(sets: &[Option<SetRef<'a>>]) -> Option<(SetRef<'a>, Vec<SetRef<'a>>)> {
    let mut sets: Vec<SetRef<'a>> = sets.iter().copied().collect::<Option<_>>()?;
    sets.sort_by_key(|set| set.len());
    let first = sets.remove(0);
    Some((first, sets))
}

/// Emits the members that all sets have.
fn intersect<'a>(sets: &[Option<SetRef<'a>>], sink: &mut dyn FnMut(Member<'a>)) {
    let Some((first, rest)) = by_size(sets) else { return };
    first.each(&mut |member| {
        if rest.iter().all(|set| set.contains(member)) {
            sink(member);
        }
    });
}

fn unite(sets: &[Option<SetRef<'_>>], result: &mut SetMut<'_>) {
    for set in sets.iter().flatten() {
        set.each(&mut |member| {
            result.add(member);
        });
    }
}

/// Adds what the first set has and no other one. If that means fewer steps, the members of the others are removed instead of
/// looked for.
fn subtract(sets: &[Option<SetRef<'_>>], result: &mut SetMut<'_>) {
    let Some((Some(first), rest)) = sets.split_first() else { return };
    let rest: Vec<SetRef<'_>> = rest.iter().copied().flatten().collect();
    let looks = first.len().saturating_mul(rest.len() + 1) / 2;
    let removals = rest.iter().fold(first.len(), |sum, set| sum.saturating_add(set.len()));
    if looks <= removals {
        return first.each(&mut |member| {
            if !rest.iter().any(|set| set.contains(member)) {
                result.add(member);
            }
        });
    }
    unite(&[Some(*first)], result);
    for set in rest {
        set.each(&mut |member| {
            result.remove(member);
        });
    }
}
