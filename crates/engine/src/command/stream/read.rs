//! XREAD and XREADGROUP.

use russet_protocol::{ErrorReply, Protocol};

use super::effects::{GroupEffect, propagate};
use super::entries::reply_range;
use super::{ROW, no_group, parse_count, parse_id, reply_entry, reply_id};
use crate::blocking::Awaits;
use crate::command::argument::{
    Argument, after, block, int, key, optional, repeated, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind, Wanted as Awaited};
use crate::transaction::Queued;
use crate::types::stream::{Direction, EntryLog, Group, Name, Pending, STREAM, Stream, StreamId};

const STREAMS: Argument =
    after("STREAMS", block("streams", &[repeated(key("key", 0)), repeated(string("ID"))]));

pub(super) const XREAD: Command = Command {
    name: "xread",
    since: "5.0.0",
    arity: -4,
    flags: f::READONLY | f::BLOCKING,
    keys: &[KeySpec::half_behind("STREAMS", 1, k::RO | k::ACCESS)],
    find_keys: Some(keys),
    arguments: &[
        optional(after("COUNT", int("count"))),
        optional(after("BLOCK", int("milliseconds"))),
        STREAMS,
    ],
    summary: "Returns the entries of streams that are behind an ID each.",
    complexity: "O(log N + M) for each stream of N entries, of which M are returned",
    run: xread,
    ..ROW
};

pub(super) const XREADGROUP: Command = Command {
    name: "xreadgroup",
    arity: -7,
    flags: f::WRITE | f::BLOCKING,
    keys: &[KeySpec::half_behind("STREAMS", 4, k::RO | k::ACCESS)],
    arguments: &[
        after("GROUP", block("group-block", &[string("group"), string("consumer")])),
        optional(after("COUNT", int("count"))),
        optional(after("BLOCK", int("milliseconds"))),
        optional(token("NOACK")),
        STREAMS,
    ],
    summary: "Delivers new entries of streams to a consumer of a group, or its pending ones again.",
    ..XREAD
};

/// Finds the keys behind STREAMS.
fn keys(args: &Args<'_>) -> std::ops::Range<usize> {
    let mut at = 1;
    while at < args.len() && !args.is(at, "STREAMS") {
        at += match () {
            () if args.is(at, "GROUP") => 3,
            () if args.is(at, "COUNT") || args.is(at, "BLOCK") => 2,
            () => 1,
        };
    }
    let first = (at + 1).min(args.len());
    let count = args.len() - first;
    if count.is_multiple_of(2) { first..first + count / 2 } else { 0..0 }
}

/// The ID that stands for what was not delivered to a group yet.
const NEW: StreamId = StreamId::MAX;

/// What to read.
struct Wanted<'a> {
    /// Maximum number of entries of a stream; 0: any.
    count: u64,
    /// When to stop waiting for entries, in monotonic microseconds, if ever; none: do not wait.
    block: Option<Option<u64>>,
    /// The group, and the consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    no_ack: bool,
    /// The index of the first key.
    keys_at: usize,
    /// The number of streams.
    streams: usize,
}

impl<'a> Wanted<'a> {
    fn parse(ctx: &Ctx<'_>, args: &Args<'a>) -> Result<Wanted<'a>, ErrorReply> {
        let reads_group = ctx.command.has(f::WRITE);
        let group_only = |option: &str| {
            ErrorReply::err(format_args!(
                "The {option} option is only supported by XREADGROUP. You called XREAD instead."
            ))
        };
        let mut wanted =
            Wanted { count: 0, block: None, group: None, no_ack: false, keys_at: 0, streams: 0 };
        let mut at = 1;
        while at < args.len() {
            let more = args.len() - at - 1;
            if args.is(at, "BLOCK") && more > 0 {
                let (timeout_ms, deadline_us) = args.timeout(at + 1, ctx.core.now)?;
                wanted.block = Some((timeout_ms > 0).then_some(deadline_us));
                at += 2;
            } else if args.is(at, "COUNT") && more > 0 {
                wanted.count = parse_count(args, at + 1)?;
                at += 2;
            } else if args.is(at, "STREAMS") && more > 0 {
                if !more.is_multiple_of(2) {
                    let (name, symbol) = (ctx.command.name, if reads_group { '>' } else { '$' });
                    return Err(ErrorReply::err(format_args!(
                        "Unbalanced '{name}' list of streams: for each stream key an ID or '{symbol}' must be specified."
                    )));
                }
                (wanted.keys_at, wanted.streams) = (at + 1, more / 2);
                break;
            } else if args.is(at, "GROUP") && more >= 2 {
                if !reads_group {
                    return Err(group_only("GROUP"));
                }
                wanted.group = args.get(at + 1).zip(args.get(at + 2));
                at += 3;
            } else if args.is(at, "NOACK") {
                if !reads_group {
                    return Err(group_only("NOACK"));
                }
                wanted.no_ack = true;
                at += 1;
            } else {
                return Err(ErrorReply::Syntax);
            }
        }
        if wanted.keys_at == 0 {
            return Err(ErrorReply::Syntax);
        }
        if reads_group && wanted.group.is_none() {
            return Err(ErrorReply::err("Missing GROUP option for XREADGROUP"));
        }
        Ok(wanted)
    }

    /// Returns the ID behind which to read a stream: the argument behind its key says it.
    fn from(
        &self,
        ctx: &mut Ctx<'_>,
        args: &Args<'_>,
        index: usize,
    ) -> Result<StreamId, ErrorReply> {
        let (key, given) =
            (args.key(self.keys_at + index), &args[self.keys_at + self.streams + index]);
        let stream = ctx.read_as(key, Stream::of)?;
        if let Some((group, _)) = self.group
            && stream.is_none_or(|stream| stream.groups.get(group).is_none())
        {
            let before = "NOGROUP No such key '";
            let after = "' in XREADGROUP with GROUP option";
            return Err(no_group(before, key.bytes, "' or consumer group '", group, after));
        }
        match given {
            b"$" | b"+" if self.group.is_some() => {
                let id = char::from(given[0]);
                Err(ErrorReply::err(format_args!(
                    "The {id} ID is meaningless in the context of XREADGROUP: you want to read the \
                     history of this consumer by specifying a proper ID, or use the > ID to get new \
                     messages. The {id} ID would just return an empty result set."
                )))
            }
            b"$" => Ok(stream.map_or(StreamId::MIN, |stream| stream.log.last_id)),
            // The last entry, that is what is behind the ID in front of it.
            b"+" => {
                let last = stream.map(|stream| stream.log.last_id);
                Ok(last.and_then(StreamId::previous).unwrap_or_default())
            }
            b">" if self.group.is_none() => Err(ErrorReply::fixed(
                "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> option.",
            )),
            b">" => Ok(NEW),
            id => parse_id(id),
        }
    }
}

fn xread(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let result = read(ctx, args, reply);
    // Groups are propagated as what has become of them.
    ctx.no_effect();
    result
}

fn read(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = Wanted::parse(ctx, args)?;
    let ids = (0..wanted.streams).map(|index| wanted.from(ctx, args, index));
    let ids: Vec<StreamId> = ids.collect::<Result<_, _>>()?;
    let (mark, mut served) = (reply.open_array(), 0);
    for (index, id) in ids.iter().copied().enumerate() {
        let at = wanted.keys_at + index;
        let is_served = match wanted.group {
            Some(names) => deliver(ctx, args, reply, at, names, id, &wanted)?,
            None => read_stream(ctx, args, reply, at, id, wanted.count)?,
        };
        served += usize::from(is_served);
    }
    if served > 0 {
        reply.close_map(mark, served);
        return Ok(Flow::Done);
    }
    if let Some(deadline_us) = wanted.block
        && wait(ctx, args, &wanted, &ids, deadline_us)?
    {
        return Ok(Flow::Waits);
    }
    reply.null_array();
    Ok(Flow::Done)
}

/// Waits for entries, from those on that are the last ones now. Who reads for a group is told if the group is gone. Returns false
/// where nothing waits.
fn wait(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    wanted: &Wanted<'_>,
    ids: &[StreamId],
    deadline_us: Option<u64>,
) -> Result<bool, ErrorReply> {
    let keys = wanted.keys_at..wanted.keys_at + wanted.streams;
    let or_gone = wanted.group.is_some();
    let texts: Vec<String> = ids.iter().map(StreamId::to_string).collect();
    let words = args.iter().enumerate().map(|(at, word)| match at.checked_sub(keys.end) {
        Some(index) if !or_gone => texts[index].as_bytes(),
        _ => word,
    });
    let request = Queued::of_words(ctx.commands.id_of(ctx.command), words);
    let awaited = Awaited { number: STREAM.number, or_gone };
    ctx.waits_with(args, request, Awaits { keys, wanted: awaited, deadline_us })
}

/// Begins the reply of a stream.
fn begin_stream(reply: &mut Reply<'_>, key: &[u8]) {
    if reply.protocol == Protocol::Resp2 {
        reply.array(2);
    }
    reply.bulk(key);
}

/// Replies with the entries of a stream behind an ID. Returns false if there are none.
fn read_stream(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    at: usize,
    id: StreamId,
    count: u64,
) -> Result<bool, ErrorReply> {
    let key = args.key(at);
    let Some(stream) = ctx.read_as(key, Stream::of)? else { return Ok(false) };
    let is_there = stream.log.last_entry_id().is_some_and(|last| last > id);
    if let Some(start) = id.next().filter(|_| is_there) {
        begin_stream(reply, key.bytes);
        let count = Some(count).filter(|count| *count > 0);
        reply_range(reply, &stream.log, (start, StreamId::MAX), Direction::Forwards, count);
    }
    Ok(is_there)
}

/// Delivers entries of a stream to a consumer. Returns false if there are none.
fn deliver(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    at: usize,
    (group_name, consumer): (&[u8], &[u8]),
    id: StreamId,
    wanted: &Wanted<'_>,
) -> Result<bool, ErrorReply> {
    let (key, now_ms) = (args.key(at), ctx.now_ms());
    if ctx.read_as(key, Stream::of)?.is_none() {
        return Ok(false);
    }
    let mut effects = Vec::new();
    let is_served = ctx.change::<Stream, bool>(key, |stream| {
        let Stream { log, groups } = &mut **stream;
        let served = groups.change(group_name, |group| {
            let has_new = log.last_entry_id().is_some_and(|last| last > group.last_id);
            let (name, is_new) = group.see(consumer, now_ms);
            let is_served = id != NEW || has_new;
            let mut delivery = Delivery { log, group, name, now_ms, effects: &mut effects };
            if is_served {
                begin_stream(reply, key.bytes);
                match id {
                    NEW => delivery.new_entries(reply, wanted.count, wanted.no_ack),
                    id => delivery.history(reply, id, wanted.count),
                }
            }
            if is_new {
                delivery.note_creation();
            }
            (is_served, is_new)
        });
        let (is_served, is_new) = served.unwrap_or_default();
        let count = u64::from(is_served) + u64::from(is_new);
        let events: &[EventKind] = if is_new { &[EventKind::XGroupCreateConsumer] } else { &[] };
        Change::of(is_served, count, events)
    })?;
    propagate(ctx, key.bytes, group_name, &effects);
    Ok(is_served)
}

/// Entries on their way to a consumer.
struct Delivery<'a> {
    log: &'a EntryLog,
    group: &'a mut Group,
    name: Name,
    now_ms: i64,
    effects: &'a mut Vec<GroupEffect>,
}

impl Delivery<'_> {
    /// A consumer to which something was delivered is created with it.
    fn note_creation(&mut self) {
        let is_named = self.effects.iter().any(|effect| matches!(effect, GroupEffect::Claim(..)));
        if !is_named {
            self.effects.insert(0, GroupEffect::Consumer(self.name.clone()));
        }
    }

    /// Delivers what the group did not get yet.
    fn new_entries(&mut self, reply: &mut Reply<'_>, count: u64, no_ack: bool) {
        let Delivery { log, group, name, now_ms, effects } = self;
        let Some(start) = group.last_id.next() else { return reply.array(0) };
        let (mark, mut len) = (reply.open_array(), 0);
        let mut advanced = false;
        log.each_between(start, StreamId::MAX, Direction::Forwards, &mut |entry| {
            advanced |= group.advance(log, entry.id);
            reply_entry(reply, entry);
            if !no_ack {
                let pending =
                    Pending { consumer: name.clone(), delivered_ms: *now_ms, deliveries: 1 };
                group.deliver(entry.id, pending.clone());
                effects.push(GroupEffect::Claim(entry.id, pending, group.last_id));
            }
            len += 1;
            count == 0 || (len as u64) < count
        });
        if len > 0 && !no_ack {
            group.note_active(name, *now_ms);
        }
        if advanced {
            effects.push(GroupEffect::position(group));
        }
        reply.close_array(mark, len);
    }

    /// Delivers pending entries of the consumer again, those behind an ID.
    fn history(&mut self, reply: &mut Reply<'_>, id: StreamId, count: u64) {
        let Delivery { log, group, name, now_ms, effects } = self;
        let (mark, mut len) = (reply.open_array(), 0);
        let pending = group.consumers().get(&**name).map(|consumer| consumer.pending().clone());
        let rest = id.next().and_then(|start| Some(pending.as_ref()?.iter_from(&start)));
        for (id, ()) in rest.into_iter().flatten() {
            match log.get(*id) {
                Some(entry) => {
                    reply_entry(reply, &entry);
                    if let Some(mut pending) = group.pending().get(id).cloned() {
                        pending.delivered_ms = *now_ms;
                        pending.deliveries = pending.deliveries.saturating_add(1);
                        group.deliver(*id, pending.clone());
                        effects.push(GroupEffect::Claim(*id, pending, group.last_id));
                    }
                }
                None => {
                    reply.array(2);
                    reply_id(reply, *id);
                    reply.null_array();
                }
            }
            len += 1;
            if count > 0 && len as u64 >= count {
                break;
            }
        }
        reply.close_array(mark, len);
    }
}
