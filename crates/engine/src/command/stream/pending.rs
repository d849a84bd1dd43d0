//! XPENDING: what was delivered and is not acknowledged.

use russet_protocol::ErrorReply;

use super::{End, ROW, no_key_or_group, parse_count, parse_end, reply_id};
use crate::command::argument::{after, block, int, key, optional, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::stream::{Group, Pending, Stream, StreamId};

pub(super) const XPENDING: Command = Command {
    name: "xpending",
    since: "5.0.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        string("group"),
        optional(block(
            "filters",
            &[
                optional(after("IDLE", int("min-idle-time"))),
                string("start"),
                string("end"),
                int("count"),
                optional(string("consumer")),
            ],
        )),
    ],
    summary: "Returns the number of pending entries of a group by consumer, or some of the entries.",
    complexity: "O(N) with N entries that are returned, or passed over for IDLE",
    run: xpending,
    ..ROW
};

/// Which entries to return.
struct Filters<'a> {
    min_idle_ms: i64,
    start: StreamId,
    end: StreamId,
    count: u64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Filters<'a> {
    fn parse(args: &Args<'a>) -> Result<Option<Filters<'a>>, ErrorReply> {
        match args.len() {
            3 => return Ok(None),
            6..=9 => {}
            _ => return Err(ErrorReply::Syntax),
        }
        let (mut at, mut min_idle_ms) = (3, 0);
        if args.is(3, "IDLE") {
            min_idle_ms = args.integer(4)?;
            if args.len() < 8 {
                return Err(ErrorReply::Syntax);
            }
            at = 5;
        }
        let count = parse_count(args, at + 2)?;
        let start = parse_end(&args[at], End::Start)?;
        let end = parse_end(&args[at + 1], End::End)?;
        Ok(Some(Filters { min_idle_ms, start, end, count, consumer: args.get(at + 3) }))
    }
}

fn xpending(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let filters = Filters::parse(args)?;
    let (key, name, now_ms) = (args.key(1), &args[2], ctx.now_ms());
    let group = ctx.read_as(key, Stream::of)?.and_then(|stream| stream.groups.get(name));
    let group = group.ok_or_else(|| no_key_or_group(key.bytes, name))?;
    match filters {
        None => summarize(reply, group),
        Some(filters) => list(reply, group, &filters, now_ms),
    }
    Ok(Flow::Done)
}

fn summarize(reply: &mut Reply<'_>, group: &Group) {
    let pending = group.pending();
    reply.array(4);
    reply.count(pending.len());
    let Some(((first, _), (last, _))) = pending.first().zip(pending.last()) else {
        reply.null();
        reply.null();
        reply.null_array();
        return;
    };
    reply_id(reply, *first);
    reply_id(reply, *last);
    let (mark, mut len) = (reply.open_array(), 0);
    for (name, consumer) in group.consumers() {
        if !consumer.pending().is_empty() {
            reply.array(2);
            reply.bulk(name);
            reply.bulk_integer(consumer.pending().len() as i64);
            len += 1;
        }
    }
    reply.close_array(mark, len);
}

fn list(reply: &mut Reply<'_>, group: &Group, filters: &Filters<'_>, now_ms: i64) {
    let (mark, mut len) = (reply.open_array(), 0);
    let mut emit = |id: StreamId, pending: &Pending| {
        let is_idle = filters.min_idle_ms == 0
            || now_ms.saturating_sub(pending.delivered_ms) >= filters.min_idle_ms;
        if id > filters.end || len as u64 >= filters.count {
            return false;
        }
        if is_idle {
            reply.array(4);
            reply_id(reply, id);
            reply.bulk(&pending.consumer);
            reply.integer(now_ms.saturating_sub(pending.delivered_ms).max(0));
            reply.integer(pending.deliveries as i64);
            len += 1;
        }
        true
    };
    match filters.consumer {
        None => _ = group.pending().iter_from(&filters.start).all(|(id, one)| emit(*id, one)),
        Some(name) => {
            let owned = group.consumers().get(name).map(|consumer| consumer.pending());
            let owned = owned.into_iter().flat_map(|owned| owned.iter_from(&filters.start));
            let mut owned = owned.filter_map(|(id, ())| group.pending().get_entry(id));
            _ = owned.all(|(id, one)| emit(*id, one));
        }
    }
    reply.close_array(mark, len);
}
