//! Giving pending entries to another consumer: XCLAIM and XAUTOCLAIM.

use russet_protocol::ErrorReply;

use super::effects::{GroupEffect, propagate};
use super::{End, ROW, no_key_or_group, parse_end, parse_id, reply_entry, reply_id};
use crate::command::argument::{after, int, key, optional, repeated, string, token, unix_time};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Caller, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::stream::{EntryLog, Group, Name, Pending, Stream, StreamId};

pub(super) const XCLAIM: Command = Command {
    name: "xclaim",
    since: "5.0.0",
    arity: -6,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        string("group"),
        string("consumer"),
        string("min-idle-time"),
        repeated(string("ID")),
        optional(after("IDLE", int("ms"))),
        optional(after("TIME", unix_time("unix-time-milliseconds"))),
        optional(after("RETRYCOUNT", int("count"))),
        optional(token("FORCE")),
        optional(token("JUSTID")),
        optional(after("LASTID", string("lastid"))),
    ],
    summary: "Gives pending entries to a consumer, and returns them.",
    complexity: "O(N log M) with N IDs, and M pending entries of the group",
    run: xclaim,
    ..ROW
};

pub(super) const XAUTOCLAIM: Command = Command {
    name: "xautoclaim",
    since: "6.2.0",
    arity: -6,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[
        key("key", 0),
        string("group"),
        string("consumer"),
        string("min-idle-time"),
        string("start"),
        optional(after("COUNT", int("count"))),
        optional(token("JUSTID")),
    ],
    summary: "Gives entries that have been pending for a while to a consumer, and returns them.",
    complexity: "O(N log M) with N entries up to ten times COUNT, and M pending entries of the group",
    run: xautoclaim,
    ..ROW
};

/// Entries that XAUTOCLAIM returns if it is not told otherwise.
const COUNT_DEFAULT: u64 = 100;

/// Entries that XAUTOCLAIM looks at for each that it may return.
const ATTEMPTS: u64 = 10;

/// Maximum count of XAUTOCLAIM.
const COUNT_MAX: i64 = i64::MAX / 16;

fn integer_or(args: &Args<'_>, at: usize, why: &'static str) -> Result<i64, ErrorReply> {
    args.integer(at).map_err(|_| ErrorReply::err(why))
}

/// How XCLAIM gives entries to a consumer.
struct Options {
    min_idle_ms: i64,
    ids: Vec<StreamId>,
    /// When they were delivered.
    delivered_ms: i64,
    deliveries: Option<u64>,
    force: bool,
    just_id: bool,
    last_id: StreamId,
    /// Whether an entry that is not there can be pending: so it is in the base of an append-only file. Where masters tell of
    /// deliveries they tell the last ID too.
    keeps_missing: bool,
}

impl Options {
    fn parse(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Options, ErrorReply> {
        let now_ms = ctx.now_ms();
        let min_idle_ms = integer_or(args, 4, "Invalid min-idle-time argument for XCLAIM")?.max(0);
        let ids: Vec<StreamId> = args.from(5).map_while(|text| parse_id(text).ok()).collect();
        let mut at = 5 + ids.len();
        let mut options = Options {
            min_idle_ms,
            ids,
            delivered_ms: now_ms,
            deliveries: None,
            force: false,
            just_id: false,
            last_id: StreamId::MIN,
            keeps_missing: ctx.call.caller == Caller::Master,
        };
        let mut given_ms = None;
        while at < args.len() {
            let (option, value) = (at, at + 1);
            let has_value = value < args.len();
            at = value + 1;
            if args.is(option, "IDLE") && has_value {
                let why = "Invalid IDLE option argument for XCLAIM";
                given_ms = Some(now_ms.wrapping_sub(integer_or(args, value, why)?));
            } else if args.is(option, "TIME") && has_value {
                let why = "Invalid TIME option argument for XCLAIM";
                given_ms = Some(integer_or(args, value, why)?);
            } else if args.is(option, "RETRYCOUNT") && has_value {
                let why = "Invalid RETRYCOUNT option argument for XCLAIM";
                options.deliveries = u64::try_from(integer_or(args, value, why)?).ok();
            } else if args.is(option, "LASTID") && has_value {
                options.last_id = parse_id(&args[value])?;
                options.keeps_missing = false;
            } else {
                at = value;
                match () {
                    () if args.is(option, "FORCE") => options.force = true,
                    () if args.is(option, "JUSTID") => options.just_id = true,
                    () => {
                        let before = "ERR Unrecognized XCLAIM option '";
                        return Err(ErrorReply::quoting(before, &args[option], "'"));
                    }
                }
            }
        }
        // The clock of a master may be ahead of this one, but not that of a client.
        let is_sane = |ms: i64| ctx.call.caller == Caller::Master || (0..=now_ms).contains(&ms);
        options.delivered_ms = given_ms.filter(|ms| is_sane(*ms)).unwrap_or(now_ms);
        Ok(options)
    }
}

/// A group from which entries are given to a consumer.
struct Claim<'a, 'r> {
    log: &'a EntryLog,
    group: &'a mut Group,
    consumer: Name,
    now_ms: i64,
    just_id: bool,
    effects: &'a mut Vec<GroupEffect>,
    reply: &'a mut Reply<'r>,
    claimed: usize,
}

impl Claim<'_, '_> {
    /// Removes an entry that may be pending and is no longer there.
    fn remove_deleted(&mut self, id: StreamId) {
        let (removed, last_id) = (self.group.acknowledge(id), self.group.last_id);
        self.effects.extend(removed.map(|old| GroupEffect::Claim(id, old, last_id)));
    }

    /// Gives an entry to the consumer.
    fn give(&mut self, id: StreamId, delivered_ms: i64, deliveries: u64) {
        let consumer = self.consumer.clone();
        let pending = Pending { consumer, delivered_ms, deliveries };
        self.group.deliver(id, pending.clone());
        match self.log.get(id).filter(|_| !self.just_id) {
            Some(entry) => reply_entry(self.reply, &entry),
            None => reply_id(self.reply, id),
        }
        self.claimed += 1;
        self.effects.push(GroupEffect::Claim(id, pending, self.group.last_id));
    }

    /// Returns how often an entry is delivered with this time.
    fn next_count(&self, before: u64) -> u64 {
        if self.just_id { before } else { before.saturating_add(1) }
    }

    /// Returns the number of changes.
    fn end(self, is_new: bool) -> u64 {
        if self.claimed > 0 {
            self.group.note_active(&self.consumer, self.now_ms);
        }
        let is_named = |effect: &GroupEffect| matches!(effect, GroupEffect::Claim(_, pending, _) if pending.consumer == self.consumer);
        let count = self.effects.len() as u64;
        if is_new && !self.effects.iter().any(is_named) {
            self.effects.insert(0, GroupEffect::Consumer(self.consumer));
        }
        count + u64::from(is_new)
    }
}

const fn events(is_new: bool) -> &'static [EventKind] {
    if is_new { &[EventKind::XGroupCreateConsumer] } else { &[] }
}

fn xclaim(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name, now_ms) = (args.key(1), &args[2], ctx.now_ms());
    let group = ctx.read_as(key, Stream::of)?.and_then(|stream| stream.groups.get(name));
    group.ok_or_else(|| no_key_or_group(key.bytes, name))?;
    let options = Options::parse(ctx, args)?;
    let mut effects = Vec::new();
    ctx.change::<Stream, ()>(key, |stream| {
        let Stream { log, groups } = &mut **stream;
        let changed = groups.change(name, |group| {
            let is_ahead = options.last_id > group.last_id;
            group.last_id = group.last_id.max(options.last_id);
            let (consumer, is_new) = group.see(&args[3], now_ms);
            let mark = reply.open_array();
            let (effects, just_id) = (&mut effects, options.just_id);
            let mut claim =
                Claim { log, group, consumer, now_ms, just_id, effects, reply, claimed: 0 };
            for id in &options.ids {
                claim_one(&mut claim, *id, &options);
            }
            if is_ahead && claim.effects.is_empty() {
                claim.effects.push(GroupEffect::position(claim.group));
            }
            claim.reply.close_array(mark, claim.claimed);
            (claim.end(is_new), is_new)
        });
        let (count, is_new) = changed.unwrap_or_default();
        Change::of((), count, events(is_new))
    })?;
    ctx.no_effect();
    propagate(ctx, key.bytes, name, &effects);
    Ok(Flow::Done)
}

fn claim_one(claim: &mut Claim<'_, '_>, id: StreamId, options: &Options) {
    let is_kept = options.keeps_missing && options.force && options.just_id;
    if !is_kept && claim.log.get(id).is_none() {
        claim.remove_deleted(id);
        return;
    }
    let before = claim.group.pending().get(&id);
    let deliveries = match before {
        Some(pending) => {
            let idle_ms = claim.now_ms.saturating_sub(pending.delivered_ms);
            if options.min_idle_ms > 0 && idle_ms < options.min_idle_ms {
                return;
            }
            pending.deliveries
        }
        None if options.force => 1,
        None => return,
    };
    let deliveries = options.deliveries.unwrap_or_else(|| claim.next_count(deliveries));
    claim.give(id, options.delivered_ms, deliveries);
}

fn xautoclaim(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let why = "Invalid min-idle-time argument for XAUTOCLAIM";
    let min_idle_ms = integer_or(args, 4, why)?.max(0);
    let start = parse_end(&args[5], End::Start)?;
    let (mut count, mut just_id, mut at) = (COUNT_DEFAULT, false, 6);
    while at < args.len() {
        if args.is(at, "COUNT") && at + 1 < args.len() {
            let given = args.integer(at + 1).ok().filter(|given| (1..=COUNT_MAX).contains(given));
            count = given.ok_or_else(|| ErrorReply::err("COUNT must be > 0"))? as u64;
            at += 1;
        } else if args.is(at, "JUSTID") {
            just_id = true;
        } else {
            return Err(ErrorReply::Syntax);
        }
        at += 1;
    }
    let (key, name, now_ms) = (args.key(1), &args[2], ctx.now_ms());
    let group = ctx.read_as(key, Stream::of)?.and_then(|stream| stream.groups.get(name));
    group.ok_or_else(|| no_key_or_group(key.bytes, name))?;
    let mut effects = Vec::new();
    ctx.change::<Stream, ()>(key, |stream| {
        let Stream { log, groups } = &mut **stream;
        let changed = groups.change(name, |group| {
            let (consumer, is_new) = group.see(&args[3], now_ms);
            reply.array(3);
            let mark = reply.open_array();
            let effects = &mut effects;
            let mut claim =
                Claim { log, group, consumer, now_ms, just_id, effects, reply, claimed: 0 };
            let (next, deleted) = claim_idle(&mut claim, start, min_idle_ms, count);
            let claimed = claim.claimed;
            claim.reply.close_array(mark, claimed);
            insert_id(claim.reply, mark, next.unwrap_or_default());
            claim.reply.array(deleted.len());
            deleted.iter().for_each(|id| reply_id(claim.reply, *id));
            (claim.end(is_new), is_new)
        });
        let (count, is_new) = changed.unwrap_or_default();
        Change::of((), count, events(is_new))
    })?;
    ctx.no_effect();
    propagate(ctx, key.bytes, name, &effects);
    Ok(Flow::Done)
}

/// Puts an ID in front of what was written behind a mark.
fn insert_id(reply: &mut Reply<'_>, mark: usize, id: StreamId) {
    let written = reply.out.len();
    reply_id(reply, id);
    if !reply.is_cut() {
        let len = reply.out.len() - written;
        reply.out[mark..].rotate_right(len);
    }
}

/// Gives entries from an ID on to the consumer that have been pending for long enough. Returns the ID to continue with, none at
/// the end, and the IDs of pending entries that were deleted.
fn claim_idle(
    claim: &mut Claim<'_, '_>,
    start: StreamId,
    min_idle_ms: i64,
    count: u64,
) -> (Option<StreamId>, Vec<StreamId>) {
    let (mut attempts, mut left) = (count.saturating_mul(ATTEMPTS), count);
    let (mut deleted, mut from) = (Vec::new(), Some(start));
    loop {
        let next = from.and_then(|from| claim.group.pending().iter_from(&from).next());
        let Some((id, pending)) = next else { return (None, deleted) };
        let (id, delivered_ms, deliveries) = (*id, pending.delivered_ms, pending.deliveries);
        if attempts == 0 || left == 0 {
            return (Some(id), deleted);
        }
        attempts -= 1;
        from = id.next();
        if claim.log.get(id).is_none() {
            claim.remove_deleted(id);
            deleted.push(id);
            left -= 1;
        } else if min_idle_ms == 0 || claim.now_ms.saturating_sub(delivered_ms) >= min_idle_ms {
            let deliveries = claim.next_count(deliveries);
            claim.give(id, claim.now_ms, deliveries);
            left -= 1;
        }
    }
}
