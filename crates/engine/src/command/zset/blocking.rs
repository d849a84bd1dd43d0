//! Commands that wait for members: BZPOPMIN, BZPOPMAX, BZMPOP.
//!
//! Each does what its form without B does, as soon as there is a member ([`crate::blocking`]), and is propagated as that form.

use super::pop::{ZMPOP, ZPOPMIN, parse_end, pop_with_key, pop_word, take};
use crate::command::argument::{after, double, int, key, one_of, optional, repeated, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::list::ends::Wanted;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::zset::{End, ZSET};

pub(super) const BZPOPMIN: Command = Command {
    name: "bzpopmin",
    since: "5.0.0",
    arity: -3,
    flags: ZPOPMIN.flags | f::BLOCKING,
    keys: &[KeySpec::before_last(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[repeated(key("key", 0)), double("timeout")],
    summary: "Removes the member with the lowest score of the first of some sorted sets that exists, and returns it with the key. Waits if there is none.",
    complexity: "O(log N) with N members in the sorted set",
    run: |ctx, args, reply| pop(ctx, args, reply, End::Min),
    ..ZPOPMIN
};

pub(super) const BZPOPMAX: Command = Command {
    name: "bzpopmax",
    summary: "Removes the member with the highest score of the first of some sorted sets that exists, and returns it with the key. Waits if there is none.",
    run: |ctx, args, reply| pop(ctx, args, reply, End::Max),
    ..BZPOPMIN
};

fn pop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, end: End) -> Outcome {
    let last = args.len() - 1;
    let deadline_us = args.blocking_seconds(last, ctx.core.now)?;
    for at in 1..last {
        let key = args.key(at);
        if let Some((member, score)) = take(ctx, key, end, 1)?.pop() {
            reply.array(3);
            reply.bulk(key.bytes);
            reply.bulk(&member);
            reply.double(score);
            ctx.effect(&[pop_word(end), key.bytes]);
            return Ok(Flow::Done);
        }
    }
    ctx.wait_for_type(args, reply, 1..last, &ZSET, deadline_us)
}

pub(super) const BZMPOP: Command = Command {
    name: "bzmpop",
    since: "7.0.0",
    arity: -5,
    flags: ZMPOP.flags | f::BLOCKING,
    keys: &[KeySpec::counted(2, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[
        double("timeout"),
        int("numkeys"),
        repeated(key("key", 0)),
        one_of("where", &[token("MIN"), token("MAX")]),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Removes members from an end of the first of some sorted sets that exists, and returns them with its key. Waits if there is none.",
    run: |ctx, args, reply| {
        let deadline_us = args.blocking_seconds(1, ctx.core.now)?;
        let Wanted { keys, side, count } = Wanted::parse_with(args, 2, parse_end)?;
        for at in keys.clone() {
            if pop_with_key(ctx, reply, args.key(at), side, count)? {
                return Ok(Flow::Done);
            }
        }
        ctx.wait_for_type(args, reply, keys, &ZSET, deadline_us)
    },
    ..ZMPOP
};
