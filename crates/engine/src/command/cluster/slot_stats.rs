//! CLUSTER SLOT-STATS: what each slot of this node's shard has and costs.

use russet_protocol::ErrorReply;
use russet_protocol::slot::SLOTS;

use super::slots::keys_in;
use super::{ROW, machine, slot, wrong_use};
use crate::command::argument::{after, block, int, one_of, optional, string, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};

pub(super) const SLOT_STATS: Command = Command {
    name: "cluster|slot-stats",
    since: "8.0.0",
    arity: -4,
    flags: f::STALE | f::LOADING,
    arguments: &[one_of(
        "filter",
        &[
            after("SLOTSRANGE", block("slotsrange", &[int("start-slot"), int("end-slot")])),
            after(
                "ORDERBY",
                block(
                    "orderby",
                    &[
                        string("metric"),
                        optional(after("LIMIT", int("limit"))),
                        optional(one_of("order", &[token("ASC"), token("DESC")])),
                    ],
                ),
            ),
        ],
    )],
    summary: "Returns how many keys each slot of this node's shard has.",
    complexity: "O(N*log(N)) for N slots",
    run: slot_stats,
    ..ROW
};

fn slot_stats(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    if args.len() == 5 && args.is(2, "SLOTSRANGE") {
        let (first, last) = (slot(args, 3)?, slot(args, 4)?);
        if first > last {
            let text =
                format_args!("Start slot number {first} is greater than end slot number {last}");
            return Err(ErrorReply::err(text));
        }
        let stats = stats(ctx, first, last)?;
        write(reply, &stats);
        return Ok(Flow::Done);
    }
    if !args.is(2, "ORDERBY") {
        return Err(wrong_use(args));
    }
    if !args.is(3, "key-count") {
        return Err(ErrorReply::err("Unrecognized sort metric for ORDERBY."));
    }
    let order = order(args)?;
    let mut stats = stats(ctx, 0, SLOTS - 1)?;
    // A stable sort: equal ones stay in the order of slots.
    match order.is_descending {
        true => stats.sort_by_key(|(_, keys)| std::cmp::Reverse(*keys)),
        false => stats.sort_by_key(|(_, keys)| *keys),
    }
    stats.truncate(order.limit);
    write(reply, &stats);
    Ok(Flow::Done)
}

struct Order {
    limit: usize,
    is_descending: bool,
}

/// Parses what follows the metric.
fn order(args: &Args<'_>) -> Result<Order, ErrorReply> {
    let (mut limit, mut is_descending) = (None, None);
    let mut at = 4;
    while at < args.len() {
        let is_again = if args.is(at, "LIMIT") && at + 1 < args.len() {
            at += 1;
            let wanted = args.integer(at)?;
            let wanted = usize::try_from(wanted)
                .ok()
                .filter(|limit| (1..=usize::from(SLOTS)).contains(limit));
            let wanted = wanted.ok_or(ErrorReply::fixed(
                "ERR Limit has to lie in between 1 and 16384 (maximum number of slots).",
            ))?;
            limit.replace(wanted).is_some()
        } else if args.is(at, "ASC") || args.is(at, "DESC") {
            is_descending.replace(args.is(at, "DESC")).is_some()
        } else {
            return Err(ErrorReply::Syntax);
        };
        if is_again {
            return Err(ErrorReply::err("Multiple filters of the same type are disallowed."));
        }
        at += 1;
    }
    Ok(Order {
        limit: limit.unwrap_or(usize::from(SLOTS)),
        is_descending: is_descending.unwrap_or(true),
    })
}

/// Returns the slots of this node's shard, with how many keys they have.
fn stats(ctx: &Ctx<'_>, first: u16, last: u16) -> Result<Vec<(u16, usize)>, ErrorReply> {
    let nodes = machine(ctx)?.nodes();
    let me = nodes.me();
    let master = me.master.filter(|_| me.is_replica()).unwrap_or(nodes.my_key());
    let slots = nodes[master].slots().iter().filter(|slot| (first..=last).contains(slot));
    Ok(slots.map(|slot| (slot, keys_in(ctx, slot))).collect())
}

fn write(reply: &mut Reply<'_>, stats: &[(u16, usize)]) {
    reply.array(stats.len());
    for (slot, keys) in stats {
        reply.array(2);
        reply.integer((*slot).into());
        reply.map(1);
        reply.bulk(b"key-count");
        reply.count(*keys);
    }
}
