//! Pushing and popping at the ends of lists.

use std::ops::Range;

use russet_protocol::ErrorReply;

use super::{ROW, parse_side, push_event, side};
use crate::command::argument::{after, int, key, optional, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind, Key};
use crate::types::list::{List, ListRef, Popped, Side};

pub(super) const LPUSH: Command = Command {
    name: "lpush",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[key("key", 0), repeated(string("element"))],
    summary: "Puts elements in front of a list, one after the other, and returns its length.",
    complexity: "O(N) with N elements",
    run: |ctx, args, reply| push(ctx, args, reply, Side::Left),
    ..ROW
};

pub(super) const RPUSH: Command = Command {
    name: "rpush",
    summary: "Appends elements to a list, and returns its length.",
    run: |ctx, args, reply| push(ctx, args, reply, Side::Right),
    ..LPUSH
};

pub(super) const LPUSHX: Command = Command {
    name: "lpushx",
    since: "2.2.0",
    summary: "Puts elements in front of a list if it exists, and returns its length.",
    run: |ctx, args, reply| push_if_exists(ctx, args, reply, Side::Left),
    ..LPUSH
};

pub(super) const RPUSHX: Command = Command {
    name: "rpushx",
    since: "2.2.0",
    summary: "Appends elements to a list if it exists, and returns its length.",
    run: |ctx, args, reply| push_if_exists(ctx, args, reply, Side::Right),
    ..LPUSH
};

fn push(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, side: Side) -> Outcome {
    let len = ctx.change::<List, usize>(args.key(1), |list| {
        list.prepare(args.from(2));
        args.from(2).for_each(|element| list.push(side, element));
        let events: &[EventKind] = match side {
            Side::Left => const { &[push_event(Side::Left)] },
            Side::Right => const { &[push_event(Side::Right)] },
        };
        Change::of(list.len(), args.len() as u64 - 2, events)
    })?;
    reply.count(len);
    Ok(Flow::Done)
}

fn push_if_exists(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    side: Side,
) -> Outcome {
    if ctx.peek_as(args.key(1), ListRef::of)?.is_some() {
        return push(ctx, args, reply, side);
    }
    reply.integer(0);
    Ok(Flow::Done)
}

pub(super) const LPOP: Command = Command {
    name: "lpop",
    since: "1.0.0",
    arity: -2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[key("key", 0), optional(int("count"))],
    summary: "Removes the first elements of a list and returns them. Deletes the key with the last one.",
    complexity: "O(N) with N elements that are returned",
    run: |ctx, args, reply| pop(ctx, args, reply, Side::Left),
    ..ROW
};

pub(super) const RPOP: Command = Command {
    name: "rpop",
    summary: "Removes the last elements of a list and returns them. Deletes the key with the last one.",
    run: |ctx, args, reply| pop(ctx, args, reply, Side::Right),
    ..LPOP
};

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, side: Side) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::WrongArity(ctx.command.name.to_owned()));
    }
    let count = match args.len() {
        3 => {
            let count = args.integer(2).ok().and_then(|count| usize::try_from(count).ok());
            let why = "value is out of range, must be positive";
            Some(count.ok_or_else(|| ErrorReply::err(why))?)
        }
        _ => None,
    };
    let is_there = ctx.peek_as(args.key(1), ListRef::of)?.is_some();
    match count {
        None => match take(ctx, args.key(1), side, 1)?.pop() {
            Some(element) => reply.bulk(&element),
            None => reply.null(),
        },
        Some(_) if !is_there => reply.null_array(),
        Some(count) => {
            let elements = take(ctx, args.key(1), side, count)?;
            reply.array(elements.len());
            elements.iter().for_each(|element| reply.bulk(element));
        }
    }
    Ok(Flow::Done)
}

/// Removes up to this number of elements from an end, and returns them.
pub(super) fn take(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    side: Side,
    count: usize,
) -> Result<Vec<Popped>, ErrorReply> {
    ctx.change::<List, Vec<Popped>>(key, |list| {
        let taken: Vec<Popped> = (0..count.min(list.len())).map_while(|_| list.pop(side)).collect();
        let count = taken.len() as u64;
        let events: &[EventKind] = match side {
            Side::Left => &[EventKind::LPop],
            Side::Right => &[EventKind::RPop],
        };
        Change::of(taken, count, events)
    })
}

pub(super) const LMPOP: Command = Command {
    name: "lmpop",
    since: "7.0.0",
    arity: -4,
    flags: f::WRITE,
    keys: &[KeySpec::counted(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[
        int("numkeys"),
        repeated(key("key", 0)),
        side("where"),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Removes elements from an end of the first of some lists that exists, and returns them with its key.",
    complexity: "O(N + M) with N keys and M elements that are returned",
    run: lmpop,
    ..ROW
};

fn lmpop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = Wanted::parse(args, 1)?;
    if !pop_first(ctx, args, reply, &wanted)? {
        reply.null_array();
    }
    Ok(Flow::Done)
}

/// Pops from the first list that exists. Returns false if there is none.
pub(super) fn pop_first(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    wanted: &Wanted,
) -> Result<bool, ErrorReply> {
    let Some(at) = first_list(ctx, args, wanted.keys.clone())? else { return Ok(false) };
    let key = args.key(at);
    let taken = take(ctx, key, wanted.side, wanted.count)?;
    reply.array(2);
    reply.bulk(key.bytes);
    reply.array(taken.len());
    taken.iter().for_each(|element| reply.bulk(element));
    ctx.effect(&[pop_word(wanted.side), key.bytes, taken.len().to_string().as_bytes()]);
    Ok(true)
}

/// Returns which of some keys is the first that exists; all up to it must be lists.
pub(super) fn first_list(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    mut keys: Range<usize>,
) -> Result<Option<usize>, ErrorReply> {
    let found = keys.find_map(|at| match ctx.peek_as(args.key(at), ListRef::of) {
        Ok(None) => None,
        Ok(Some(_)) => Some(Ok(at)),
        Err(error) => Some(Err(error)),
    });
    found.transpose()
}

/// The command that pops at an end.
pub(super) const fn pop_word(side: Side) -> &'static [u8] {
    match side {
        Side::Left => b"LPOP",
        Side::Right => b"RPOP",
    }
}

/// What LMPOP and ZMPOP take.
pub(in crate::command) struct Wanted<S = Side> {
    pub keys: Range<usize>,
    pub side: S,
    pub count: usize,
}

impl Wanted {
    /// Parses the arguments from the number of keys on.
    pub fn parse(args: &Args<'_>, at: usize) -> Result<Wanted, ErrorReply> {
        Wanted::parse_with(args, at, parse_side)
    }
}

impl<S> Wanted<S> {
    /// Parses the arguments from the number of keys on.
    pub fn parse_with(
        args: &Args<'_>,
        at: usize,
        parse_side: fn(&Args<'_>, usize) -> Result<S, ErrorReply>,
    ) -> Result<Wanted<S>, ErrorReply> {
        let keys = args.integer(at).ok().filter(|keys| *keys > 0);
        let keys = keys.ok_or_else(|| ErrorReply::err("numkeys should be greater than 0"))?;
        let first = at + 1;
        let end = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(first));
        let end = end.filter(|end| *end < args.len()).ok_or(ErrorReply::Syntax)?;
        let (side, mut count, mut at) = (parse_side(args, end)?, None, end + 1);
        while at < args.len() {
            if count.is_some() || !args.is(at, "COUNT") || at + 1 == args.len() {
                return Err(ErrorReply::Syntax);
            }
            let given = args.integer(at + 1).ok().and_then(|count| usize::try_from(count).ok());
            let given = given.filter(|count| *count > 0);
            count = Some(given.ok_or_else(|| ErrorReply::err("count should be greater than 0"))?);
            at += 2;
        }
        Ok(Wanted { keys: first..end, side, count: count.unwrap_or(1) })
    }
}
