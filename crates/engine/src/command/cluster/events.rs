//! CLUSTER EVENTS: the journal of this node.

use russet_cluster::clock;

use super::{CHANGES, at_most, machine};
use crate::command::argument::{int, optional};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};

/// Entries that are returned without a count.
const COUNT_DEFAULT: i64 = 100;

pub(super) const EVENTS: Command = Command {
    name: "cluster|events",
    since: "8.1.0",
    arity: -2,
    flags: f::ADMIN | f::LOADING | f::STALE,
    arguments: &[optional(int("count"))],
    summary: "Returns the journal: what this node saw and did of failovers, votes and slots, and why.",
    complexity: "O(N) for N entries",
    run: events,
    ..CHANGES
};

fn events(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    at_most(args, 3)?;
    let machine = machine(ctx)?;
    let count = match args.len() {
        3 => args.integer_within(2, 0, i64::MAX)?,
        _ => COUNT_DEFAULT,
    };
    let entries = machine.events();
    let skipped = entries.len().saturating_sub(usize::try_from(count).unwrap_or(usize::MAX));
    reply.array(entries.len() - skipped);
    for entry in entries.skip(skipped) {
        reply.map(4);
        reply.bulk(b"time");
        reply.bulk(clock(entry.wall_ms).as_bytes());
        reply.bulk(b"epoch");
        reply.integer(i64::try_from(entry.epoch).unwrap_or(i64::MAX));
        reply.bulk(b"event");
        reply.bulk(entry.event.as_bytes());
        reply.bulk(b"text");
        reply.bulk(entry.text.as_bytes());
    }
    Ok(Flow::Done)
}
