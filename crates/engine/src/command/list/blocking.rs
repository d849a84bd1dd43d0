//! Commands that wait for elements: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.
//!
//! Each does what its form without B does, as soon as there is an element ([`crate::blocking`]), and is propagated as that form.

use super::between::{LMOVE, RPOPLPUSH, move_element};
use super::ends::{LMPOP, Wanted, first_list, pop_first, pop_word, take};
use super::{ROW, parse_side, side};
use crate::blocking::Awaits;
use crate::command::argument::{after, double, int, key, optional, repeated};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::Wanted as WantedType;
use crate::types::list::{LIST, ListRef, Side};

pub(super) const BLPOP: Command = Command {
    name: "blpop",
    since: "2.0.0",
    arity: -3,
    flags: f::WRITE | f::BLOCKING,
    keys: &[KeySpec::before_last(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[repeated(key("key", 0)), double("timeout")],
    summary: "Removes the first element of the first of some lists that exists, and returns it with its key. Waits if there is none.",
    complexity: "O(N) with N keys",
    run: |ctx, args, reply| pop(ctx, args, reply, Side::Left),
    ..ROW
};

pub(super) const BRPOP: Command = Command {
    name: "brpop",
    summary: "Removes the last element of the first of some lists that exists, and returns it with its key. Waits if there is none.",
    run: |ctx, args, reply| pop(ctx, args, reply, Side::Right),
    ..BLPOP
};

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, side: Side) -> Outcome {
    let last = args.len() - 1;
    let deadline_us = args.blocking_seconds(last, ctx.core.now)?;
    let Some(at) = first_list(ctx, args, 1..last)? else {
        return ctx.wait_for_type(args, reply, 1..last, &LIST, deadline_us);
    };
    let key = args.key(at);
    let taken = take(ctx, key, side, 1)?;
    reply.array(2);
    reply.bulk(key.bytes);
    taken.iter().for_each(|element| reply.bulk(element));
    ctx.effect(&[pop_word(side), key.bytes]);
    Ok(Flow::Done)
}

pub(super) const BLMPOP: Command = Command {
    name: "blmpop",
    since: "7.0.0",
    arity: -5,
    flags: f::WRITE | f::BLOCKING,
    keys: &[KeySpec::counted(2, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[
        double("timeout"),
        int("numkeys"),
        repeated(key("key", 0)),
        side("where"),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Removes elements from an end of the first of some lists that exists, and returns them with its key. Waits if there is none.",
    run: |ctx, args, reply| {
        let deadline_us = args.blocking_seconds(1, ctx.core.now)?;
        let wanted = Wanted::parse(args, 2)?;
        match pop_first(ctx, args, reply, &wanted)? {
            true => Ok(Flow::Done),
            false => ctx.wait_for_type(args, reply, wanted.keys, &LIST, deadline_us),
        }
    },
    ..LMPOP
};

pub(super) const BLMOVE: Command = Command {
    name: "blmove",
    arity: 6,
    flags: LMOVE.flags | f::BLOCKING,
    arguments: &[
        key("source", 0),
        key("destination", 1),
        side("wherefrom"),
        side("whereto"),
        double("timeout"),
    ],
    summary: "Moves an element from an end of one list to an end of another, and returns it. Waits if there is none.",
    run: |ctx, args, reply| {
        let (from, to) = (parse_side(args, 3)?, parse_side(args, 4)?);
        let deadline_us = args.blocking_seconds(5, ctx.core.now)?;
        wait_and_move(ctx, args, reply, (from, to), deadline_us)
    },
    ..LMOVE
};

pub(super) const BRPOPLPUSH: Command = Command {
    name: "brpoplpush",
    since: "2.2.0",
    arity: 4,
    flags: RPOPLPUSH.flags | f::BLOCKING,
    arguments: &[key("source", 0), key("destination", 1), double("timeout")],
    summary: "Moves the last element of one list to the front of another, and returns it. Waits if there is none.",
    run: |ctx, args, reply| {
        let deadline_us = args.blocking_seconds(3, ctx.core.now)?;
        wait_and_move(ctx, args, reply, (Side::Right, Side::Left), deadline_us)
    },
    ..RPOPLPUSH
};

fn wait_and_move(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    (from, to): (Side, Side),
    deadline_us: Option<u64>,
) -> Outcome {
    if ctx.peek_as(args.key(1), ListRef::of)?.is_none() {
        let wanted = WantedType { number: LIST.number, or_gone: false };
        if ctx.waits(args, Awaits { keys: 1..2, wanted, deadline_us })? {
            return Ok(Flow::Waits);
        }
        reply.null();
        return Ok(Flow::Done);
    }
    move_element(ctx, args, reply, from, to)?;
    match args.len() {
        4 => ctx.effect(&[b"RPOPLPUSH", &args[1], &args[2]]),
        _ => ctx.effect(&[b"LMOVE", &args[1], &args[2], &args[3], &args[4]]),
    }
    Ok(Flow::Done)
}
