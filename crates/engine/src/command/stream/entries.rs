//! Ranges, deleting, and the counters of a stream.

use russet_protocol::ErrorReply;

use super::{End, ROW, parse_count, parse_end, parse_id, parse_ids, reply_entry};
use crate::command::argument::{after, int, key, optional, repeated, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::stream::{Direction, EntryLog, Stream, StreamId};

pub(super) const XLEN: Command = Command {
    name: "xlen",
    since: "5.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of entries of a stream.",
    run: xlen,
    ..ROW
};

fn xlen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let stream = ctx.read_as(args.key(1), Stream::of)?;
    reply.integer(stream.map_or(0, |stream| stream.log.len() as i64));
    Ok(Flow::Done)
}

pub(super) const XRANGE: Command = Command {
    name: "xrange",
    since: "5.0.0",
    arity: -4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        string("start"),
        string("end"),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Returns the entries of a stream from one ID to another.",
    complexity: "O(log N + M) with N entries of which M are returned",
    run: |ctx, args, reply| range(ctx, args, reply, Direction::Forwards),
    ..ROW
};

pub(super) const XREVRANGE: Command = Command {
    name: "xrevrange",
    arguments: &[
        key("key", 0),
        string("end"),
        string("start"),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Returns the entries of a stream from one ID back to another.",
    run: |ctx, args, reply| range(ctx, args, reply, Direction::Backwards),
    ..XRANGE
};

fn range(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    direction: Direction,
) -> Outcome {
    let (start_at, end_at) = if direction == Direction::Forwards { (2, 3) } else { (3, 2) };
    let start = parse_end(&args[start_at], End::Start)?;
    let end = parse_end(&args[end_at], End::End)?;
    let (mut count, mut at) = (None, 4);
    while at < args.len() {
        if !args.is(at, "COUNT") || at + 1 == args.len() {
            return Err(ErrorReply::Syntax);
        }
        count = Some(parse_count(args, at + 1)?);
        at += 2;
    }
    match ctx.read_as(args.key(1), Stream::of)? {
        None => reply.array(0),
        Some(_) if count == Some(0) => reply.null_array(),
        Some(stream) => reply_range(reply, &stream.log, (start, end), direction, count),
    }
    Ok(Flow::Done)
}

/// Replies with the entries from one ID to another, at most `count` of them.
pub(super) fn reply_range(
    reply: &mut Reply<'_>,
    log: &EntryLog,
    (start, end): (StreamId, StreamId),
    direction: Direction,
    count: Option<u64>,
) {
    let (mark, mut len) = (reply.open_array(), 0);
    log.each_between(start, end, direction, &mut |entry| {
        reply_entry(reply, entry);
        len += 1;
        !reply.is_cut() && count.is_none_or(|count| (len as u64) < count)
    });
    reply.close_array(mark, len);
}

pub(super) const XDEL: Command = Command {
    name: "xdel",
    since: "5.0.0",
    arity: -3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), repeated(string("ID"))],
    summary: "Deletes entries of a stream by their IDs, and returns their number.",
    complexity: "O(N) with N IDs",
    run: xdel,
    ..ROW
};

fn xdel(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    if ctx.peek_as(key, Stream::of)?.is_none() {
        reply.integer(0);
        return Ok(Flow::Done);
    }
    let ids = parse_ids(args, 2)?;
    let deleted = ctx.change::<Stream, usize>(key, |stream| {
        let deleted = ids.iter().filter(|id| stream.log.delete(**id)).count();
        Change::of(deleted, deleted as u64, &[EventKind::XDel])
    })?;
    reply.count(deleted);
    Ok(Flow::Done)
}

pub(super) const XSETID: Command = Command {
    name: "xsetid",
    since: "5.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        string("last-id"),
        optional(after("ENTRIESADDED", int("entries-added"))),
        optional(after("MAXDELETEDID", string("max-deleted-id"))),
    ],
    summary: "Sets the last ID of a stream, and what it knows of earlier entries. For replication.",
    run: xsetid,
    ..ROW
};

/// What XSETID sets.
struct Counters {
    last_id: StreamId,
    entries_added: Option<u64>,
    max_deleted_id: StreamId,
}

impl Counters {
    fn parse(args: &Args<'_>) -> Result<Counters, ErrorReply> {
        let last_id = parse_id(&args[2])?;
        let (mut entries_added, mut max_deleted_id) = (None, StreamId::MIN);
        let mut at = 3;
        while at < args.len() {
            if at + 1 == args.len() {
                return Err(ErrorReply::Syntax);
            } else if args.is(at, "ENTRIESADDED") {
                let added = u64::try_from(args.integer(at + 1)?);
                let added = added.map_err(|_| ErrorReply::err("entries_added must be positive"));
                entries_added = Some(added?);
            } else if args.is(at, "MAXDELETEDID") {
                max_deleted_id = parse_id(&args[at + 1])?;
                if last_id < max_deleted_id {
                    return Err(ErrorReply::err(
                        "The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    ));
                }
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 2;
        }
        Ok(Counters { last_id, entries_added, max_deleted_id })
    }

    /// Whether they fit the entries of a stream.
    fn check(&self, log: &EntryLog) -> Result<(), ErrorReply> {
        let why = if self.last_id < log.max_deleted_id {
            "The ID specified in XSETID is smaller than current max_deleted_entry_id"
        } else if log.last_entry_id().is_some_and(|id| self.last_id < id) {
            "The ID specified in XSETID is smaller than the target stream top item"
        } else if !log.is_empty() && self.entries_added.is_some_and(|added| added < log.len()) {
            "The entries_added specified in XSETID is smaller than the target stream length"
        } else {
            return Ok(());
        };
        Err(ErrorReply::err(why))
    }
}

fn xsetid(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let counters = Counters::parse(args)?;
    let key = args.key(1);
    let stream = ctx.peek_as(key, Stream::of)?.ok_or(ErrorReply::NoSuchKey)?;
    counters.check(&stream.log)?;
    ctx.change::<Stream, ()>(key, |stream| {
        stream.log.last_id = counters.last_id;
        if let Some(added) = counters.entries_added {
            stream.log.entries_added = added;
        }
        if counters.max_deleted_id != StreamId::MIN {
            stream.log.max_deleted_id = counters.max_deleted_id;
        }
        Change::of((), 1, &[EventKind::XSetId])
    })?;
    reply.ok();
    Ok(Flow::Done)
}
