//! XINFO: what a stream, its groups and consumers are like.

use russet_protocol::ErrorReply;

use super::entries::reply_range;
use super::{HELP, ROW, no_such_group, reply_entry, reply_id};
use crate::command::argument::{after, block, int, key, optional, string, token};
use crate::command::help::wrong_use;
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::stream::{Consumer, Direction, EntryLog, Group, Stream, StreamId};

pub(super) const XINFO: Command = Command {
    name: "xinfo",
    since: "5.0.0",
    arity: -2,
    acl: 0,
    summary: "Describes streams and their consumer groups.",
    complexity: "Depends on the subcommand",
    subcommands: &[CONSUMERS, GROUPS, Command { name: "xinfo|help", ..HELP }, STREAM],
    ..ROW
};

const GROUPS: Command = Command {
    name: "xinfo|groups",
    since: "5.0.0",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Describes the consumer groups of a stream.",
    complexity: "O(N) with N groups",
    run: groups,
    ..ROW
};

fn groups(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let stream = ctx.read_as(args.key(2), Stream::of)?.ok_or(ErrorReply::NoSuchKey)?;
    reply.array(stream.groups.len());
    for (name, group) in &stream.groups {
        reply.map(6);
        reply.bulk(b"name");
        reply.bulk(name);
        number(reply, "consumers", group.consumers().len() as i64);
        number(reply, "pending", group.pending().len() as i64);
        id(reply, "last-delivered-id", group.last_id);
        progress(reply, &stream.log, group);
    }
    Ok(Flow::Done)
}

const CONSUMERS: Command = Command {
    name: "xinfo|consumers",
    arity: 4,
    arguments: &[key("key", 0), string("group")],
    summary: "Describes the consumers of a group.",
    complexity: "O(N) with N consumers",
    run: consumers,
    ..GROUPS
};

fn consumers(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name, now_ms) = (args.key(2), &args[3], ctx.now_ms());
    let stream = ctx.read_as(key, Stream::of)?.ok_or(ErrorReply::NoSuchKey)?;
    let group = stream.groups.get(name).ok_or_else(|| no_such_group(key.bytes, name))?;
    reply.array(group.consumers().len());
    for (name, consumer) in group.consumers() {
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(name);
        number(reply, "pending", consumer.pending().len() as i64);
        number(reply, "idle", now_ms.saturating_sub(consumer.seen_ms).max(0));
        let inactive = consumer.active_ms.map_or(-1, |active| now_ms.saturating_sub(active));
        number(reply, "inactive", inactive);
    }
    Ok(Flow::Done)
}

const STREAM: Command = Command {
    name: "xinfo|stream",
    arity: -3,
    arguments: &[
        key("key", 0),
        optional(block("full-block", &[token("FULL"), optional(after("COUNT", int("count")))])),
    ],
    summary: "Describes a stream, and on request its first entries, its groups and what is pending.",
    complexity: "O(1), or O(N) with N entries, groups and consumers that are returned",
    run: stream,
    ..GROUPS
};

/// Entries that FULL returns of each kind, if it is not told otherwise.
const COUNT_DEFAULT: u64 = 10;

fn stream(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.read_as(args.key(2), Stream::of)?.ok_or(ErrorReply::NoSuchKey)?;
    let count = match args.len() {
        3 => None,
        4 if args.is(3, "FULL") => Some(COUNT_DEFAULT),
        6 if args.is(3, "FULL") && args.is(4, "COUNT") => {
            Some(u64::try_from(args.integer(5)?).unwrap_or(COUNT_DEFAULT))
        }
        _ => return Err(wrong_use(ctx, args)),
    };
    let Some(stream) = ctx.peek_as(args.key(2), Stream::of)? else { return Ok(Flow::Done) };
    let log = &stream.log;
    reply.map(if count.is_some() { 9 } else { 10 });
    number(reply, "length", log.len() as i64);
    number(reply, "radix-tree-keys", log.nodes() as i64);
    // With a root.
    number(reply, "radix-tree-nodes", log.nodes() as i64 + 1);
    id(reply, "last-generated-id", log.last_id);
    id(reply, "max-deleted-entry-id", log.max_deleted_id);
    number(reply, "entries-added", log.entries_added as i64);
    id(reply, "recorded-first-entry-id", log.first_id);
    match count {
        None => brief(reply, stream),
        Some(count) => full(reply, stream, Some(count).filter(|count| *count > 0)),
    }
    Ok(Flow::Done)
}

fn brief(reply: &mut Reply<'_>, stream: &Stream) {
    number(reply, "groups", stream.groups.len() as i64);
    for (name, from, direction) in [
        ("first-entry", StreamId::MIN, Direction::Forwards),
        ("last-entry", StreamId::MAX, Direction::Backwards),
    ] {
        reply.bulk(name.as_bytes());
        match stream.log.next_entry(from, direction) {
            Some(entry) => reply_entry(reply, &entry),
            None => reply.null(),
        }
    }
}

/// Describes all that there is, up to a number of entries of each kind.
fn full(reply: &mut Reply<'_>, stream: &Stream, count: Option<u64>) {
    reply.bulk(b"entries");
    let all = (StreamId::MIN, StreamId::MAX);
    reply_range(reply, &stream.log, all, Direction::Forwards, count);
    reply.bulk(b"groups");
    reply.array(stream.groups.len());
    let most = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    for (name, group) in &stream.groups {
        reply.map(7);
        reply.bulk(b"name");
        reply.bulk(name);
        id(reply, "last-delivered-id", group.last_id);
        progress(reply, &stream.log, group);
        number(reply, "pel-count", group.pending().len() as i64);
        reply.bulk(b"pending");
        reply.array(group.pending().len().min(most));
        for (id, pending) in group.pending().iter().take(most) {
            reply.array(4);
            reply_id(reply, *id);
            reply.bulk(&pending.consumer);
            reply.integer(pending.delivered_ms);
            reply.integer(pending.deliveries as i64);
        }
        reply.bulk(b"consumers");
        reply.array(group.consumers().len());
        for (name, consumer) in group.consumers() {
            reply.map(5);
            reply.bulk(b"name");
            reply.bulk(name);
            full_consumer(reply, group, consumer, most);
        }
    }
}

fn full_consumer(reply: &mut Reply<'_>, group: &Group, consumer: &Consumer, most: usize) {
    number(reply, "seen-time", consumer.seen_ms);
    number(reply, "active-time", consumer.active_ms.unwrap_or(-1));
    number(reply, "pel-count", consumer.pending().len() as i64);
    reply.bulk(b"pending");
    reply.array(consumer.pending().len().min(most));
    for (id, ()) in consumer.pending().iter().take(most) {
        let pending = group.pending().get(id);
        reply.array(3);
        reply_id(reply, *id);
        reply.integer(pending.map_or(0, |pending| pending.delivered_ms));
        reply.integer(pending.map_or(0, |pending| pending.deliveries as i64));
    }
}

/// Describes how far a group is.
fn progress(reply: &mut Reply<'_>, log: &EntryLog, group: &Group) {
    let numbers =
        [("entries-read", group.entries_read.map(|read| read as i64)), ("lag", group.lag(log))];
    for (name, value) in numbers {
        match value {
            Some(value) => number(reply, name, value),
            None => {
                reply.bulk(name.as_bytes());
                reply.null();
            }
        }
    }
}

fn number(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn id(reply: &mut Reply<'_>, name: &str, id: StreamId) {
    reply.bulk(name.as_bytes());
    reply_id(reply, id);
}
