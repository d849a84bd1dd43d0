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
    summary: "Returns how many keys each slot of this node's shard has and, with cluster-slot-stats-enabled, its time and bytes.",
    complexity: "O(N*log(N)) for N slots",
    run: slot_stats,
    ..ROW
};

/// What slots can be ordered by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    KeyCount,
    CpuUsec,
    NetworkBytesIn,
    NetworkBytesOut,
}

/// Their names, in the order in which they are shown. All but the first need `cluster-slot-stats-enabled`.
const METRICS: [(&str, Metric); 4] = [
    ("key-count", Metric::KeyCount),
    ("cpu-usec", Metric::CpuUsec),
    ("network-bytes-in", Metric::NetworkBytesIn),
    ("network-bytes-out", Metric::NetworkBytesOut),
];

/// Returns the metrics that there are.
fn metrics(ctx: &Ctx<'_>) -> &'static [(&'static str, Metric)] {
    if ctx.core.stats.slots.is_some() { &METRICS } else { &METRICS[..1] }
}

fn value(ctx: &Ctx<'_>, slot: u16, metric: Metric) -> u64 {
    let cost = || ctx.core.stats.slots.as_ref().map(|slots| slots.of(slot)).unwrap_or_default();
    match metric {
        Metric::KeyCount => keys_in(ctx, slot) as u64,
        Metric::CpuUsec => cost().cpu_us,
        Metric::NetworkBytesIn => cost().bytes_in,
        Metric::NetworkBytesOut => cost().bytes_out,
    }
}

fn slot_stats(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    if args.len() == 5 && args.is(2, "SLOTSRANGE") {
        let (first, last) = (slot(args, 3)?, slot(args, 4)?);
        if first > last {
            let text =
                format_args!("Start slot number {first} is greater than end slot number {last}");
            return Err(ErrorReply::err(text));
        }
        let slots = slots(ctx, first, last)?;
        write(ctx, reply, &slots);
        return Ok(Flow::Done);
    }
    if !args.is(2, "ORDERBY") {
        return Err(wrong_use(args));
    }
    let metric = metrics(ctx).iter().find(|(name, _)| args.is(3, name));
    let (_, metric) =
        metric.ok_or(ErrorReply::fixed("ERR Unrecognized sort metric for ORDERBY."))?;
    let order = order(args)?;
    let mut slots = slots(ctx, 0, SLOTS - 1)?;
    // A stable sort: equal ones stay in the order of slots.
    match order.is_descending {
        true => slots.sort_by_cached_key(|slot| std::cmp::Reverse(value(ctx, *slot, *metric))),
        false => slots.sort_by_cached_key(|slot| value(ctx, *slot, *metric)),
    }
    slots.truncate(order.limit);
    write(ctx, reply, &slots);
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

/// Returns the slots of this node's shard.
fn slots(ctx: &Ctx<'_>, first: u16, last: u16) -> Result<Vec<u16>, ErrorReply> {
    let nodes = machine(ctx)?.nodes();
    let me = nodes.me();
    let master = me.master.filter(|_| me.is_replica()).unwrap_or(nodes.my_key());
    let slots = nodes[master].slots().iter().filter(|slot| (first..=last).contains(slot));
    Ok(slots.collect())
}

fn write(ctx: &Ctx<'_>, reply: &mut Reply<'_>, slots: &[u16]) {
    let metrics = metrics(ctx);
    reply.array(slots.len());
    for slot in slots {
        reply.array(2);
        reply.integer((*slot).into());
        reply.map(metrics.len());
        for (name, metric) in metrics {
            reply.bulk(name.as_bytes());
            reply.integer(i64::try_from(value(ctx, *slot, *metric)).unwrap_or(i64::MAX));
        }
    }
}
