//! Adding entries and trimming: XADD and XTRIM.

use russet_protocol::ErrorReply;

use super::{ID_BYTES_MAX, INVALID_ID, ROW, parse_id, reply_id};
use crate::command::argument::{
    Argument, after, block, int, key, named, one_of, optional, repeated, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Caller, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::stream::{EntryLog, GivenId, Keep, Stream, StreamId, Trim};

/// Entries that approximate trimming removes at most, if it is not told otherwise and nodes have any number of them.
const LIMIT_DEFAULT: u64 = 10_000;

/// The same for nodes that may have very many.
const LIMIT_MAX: u64 = 1_000_000;

/// Nodes that approximate trimming removes at most.
const LIMIT_NODES: u64 = 100;

const TRIM: &[Argument] = &[
    one_of("strategy", &[token("MAXLEN"), token("MINID")]),
    optional(one_of("operator", &[named("equal", token("=")), named("approximately", token("~"))])),
    string("threshold"),
    optional(after("LIMIT", int("count"))),
];

pub(super) const XADD: Command = Command {
    name: "xadd",
    since: "5.0.0",
    arity: -5,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(token("NOMKSTREAM")),
        optional(block("trim", TRIM)),
        one_of("id-selector", &[named("auto-id", token("*")), string("id")]),
        repeated(block("data", &[string("field"), string("value")])),
    ],
    summary: "Adds an entry to a stream, and returns its ID. Trims the stream on request.",
    complexity: "O(1), and O(N) with N entries that are trimmed",
    run: xadd,
    ..ROW
};

pub(super) const XTRIM: Command = Command {
    name: "xtrim",
    since: "5.0.0",
    arity: -4,
    flags: f::WRITE,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), block("trim", TRIM)],
    summary: "Removes the first entries of a stream, and returns their number.",
    complexity: "O(N) with N entries that are removed",
    run: xtrim,
    ..ROW
};

/// What to add and to trim.
struct Wanted {
    no_mkstream: bool,
    /// The ID; none: by the clock.
    id: Option<GivenId>,
    /// The index of the ID, or of the end.
    id_at: usize,
    trim: Option<Trim>,
    /// The index of how much to keep.
    keep_at: usize,
}

impl Wanted {
    /// Parses the options from index 2 on, for XADD up to the ID.
    fn parse(ctx: &Ctx<'_>, args: &Args<'_>, adds: bool) -> Result<Wanted, ErrorReply> {
        let mut wanted = Wanted { no_mkstream: false, id: None, id_at: 0, trim: None, keep_at: 0 };
        let (mut at, mut limit) = (2, None);
        while at < args.len() {
            let more = args.len() - 1 - at;
            if adds && &args[at] == b"*" {
                break;
            } else if (args.is(at, "MAXLEN") || args.is(at, "MINID")) && more > 0 {
                at = wanted.parse_keep(args, at)?;
            } else if args.is(at, "LIMIT") && more > 0 {
                let given = u64::try_from(args.integer(at + 1)?);
                let why = "The LIMIT argument must be >= 0.";
                limit = Some(given.map_err(|_| ErrorReply::err(why))?);
                at += 1;
            } else if adds && args.is(at, "NOMKSTREAM") {
                wanted.no_mkstream = true;
            } else if adds {
                let text = Some(&args[at]).filter(|text| text.len() <= ID_BYTES_MAX);
                let id = text.and_then(StreamId::parse_given).ok_or(INVALID_ID)?;
                wanted.id = Some(id);
                break;
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 1;
        }
        wanted.id_at = at;
        wanted.set_limit(ctx, limit, adds)?;
        Ok(wanted)
    }

    /// Parses what to keep, and returns the index of its last argument.
    fn parse_keep(&mut self, args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
        if self.trim.is_some() {
            return Err(ErrorReply::fixed(
                "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
            ));
        }
        let has_operator = args.len() - 1 - at >= 2 && matches!(&args[at + 1], b"~" | b"=");
        let is_approximate = has_operator && &args[at + 1] == b"~";
        self.keep_at = at + 1 + usize::from(has_operator);
        let keep = if args.is(at, "MAXLEN") {
            let given = u64::try_from(args.integer(self.keep_at)?);
            let why = "The MAXLEN argument must be >= 0.";
            Keep::Last(given.map_err(|_| ErrorReply::err(why))?)
        } else {
            Keep::From(parse_id(&args[self.keep_at])?)
        };
        self.trim = Some(Trim { keep, is_approximate, limit: 0 });
        Ok(self.keep_at)
    }

    /// Decides how much may be trimmed at most.
    fn set_limit(
        &mut self,
        ctx: &Ctx<'_>,
        limit: Option<u64>,
        adds: bool,
    ) -> Result<(), ErrorReply> {
        let fail = |why: &'static str| Err(ErrorReply::fixed(why));
        let Some(trim) = &mut self.trim else {
            if limit.is_some_and(|limit| limit > 0) {
                return fail(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                );
            }
            if !adds {
                return fail("ERR syntax error, XTRIM must be called with a trimming strategy");
            }
            return Ok(());
        };
        // A master has replaced its arguments by what came of them.
        if ctx.call.caller == Caller::Master {
            return Ok(());
        }
        if limit.is_some() && !trim.is_approximate {
            return fail("ERR syntax error, LIMIT cannot be used without the special ~ option");
        }
        let by_nodes = ctx.core.config.stream_node_max_entries.saturating_mul(LIMIT_NODES);
        let by_default = if by_nodes == 0 { LIMIT_DEFAULT } else { by_nodes.min(LIMIT_MAX) };
        trim.limit = if trim.is_approximate { limit.unwrap_or(by_default) } else { 0 };
        Ok(())
    }

    /// Returns the arguments to propagate, in which the outcome takes the place of what was asked for; none if they are
    /// as they were.
    fn outcome(
        &self,
        args: &Args<'_>,
        log: &EntryLog,
        id: Option<StreamId>,
    ) -> Option<Vec<Box<[u8]>>> {
        let mut replaced: Vec<Box<[u8]>> = args.iter().map(Box::from).collect();
        let mut is_replaced = false;
        if let Some(Trim { keep, is_approximate: true, .. }) = self.trim {
            let kept = match keep {
                Keep::Last(_) => log.len().to_string(),
                Keep::From(_) => log.first_node_id().unwrap_or(StreamId::MAX).to_string(),
            };
            replaced[self.keep_at - 1] = Box::from(*b"=");
            replaced[self.keep_at] = kept.into_bytes().into();
            is_replaced = true;
        }
        if let Some(id) = id.filter(|_| !matches!(self.id, Some(GivenId::Whole(_)))) {
            replaced[self.id_at] = id.to_string().into_bytes().into();
            is_replaced = true;
        }
        is_replaced.then_some(replaced)
    }
}

fn propagate(ctx: &mut Ctx<'_>, replaced: Option<Vec<Box<[u8]>>>) {
    if let Some(args) = replaced {
        let args: Vec<&[u8]> = args.iter().map(|arg| &**arg).collect();
        ctx.effect(&args);
    }
}

/// Returns the ID of a new entry.
fn id_of_new(log: &EntryLog, given: Option<GivenId>, now_ms: i64) -> Result<StreamId, ErrorReply> {
    const TOO_SMALL: ErrorReply = ErrorReply::fixed(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    );
    let last = log.last_id;
    let next = last.next().ok_or(ErrorReply::fixed(
        "ERR The stream has exhausted the last possible ID, unable to add more items",
    ))?;
    let id = match given {
        None => {
            let ms = u64::try_from(now_ms).unwrap_or(0);
            if ms > last.ms { StreamId { ms, seq: 0 } } else { next }
        }
        Some(GivenId::Time(ms)) if ms == last.ms => {
            let seq = last.seq.checked_add(1).ok_or(TOO_SMALL)?;
            StreamId { ms, seq }
        }
        Some(GivenId::Time(ms)) => StreamId { ms, seq: 0 },
        Some(GivenId::Whole(id)) => id,
    };
    if id > last { Ok(id) } else { Err(TOO_SMALL) }
}

fn xadd(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = Wanted::parse(ctx, args, true)?;
    let fields: Vec<&[u8]> = args.from(wanted.id_at + 1).collect();
    if fields.len() < 2 || !fields.len().is_multiple_of(2) {
        return Err(ErrorReply::WrongArity(ctx.command.name.to_owned()));
    }
    if wanted.id == Some(GivenId::Whole(StreamId::MIN)) {
        return Err(ErrorReply::err("The ID specified in XADD must be greater than 0-0"));
    }
    let key = args.key(1);
    if wanted.no_mkstream && ctx.peek_as(key, Stream::of)?.is_none() {
        reply.null();
        return Ok(Flow::Done);
    }
    let now_ms = ctx.now_ms();
    let (id, replaced) = ctx.change::<Stream, _>(key, |stream| {
        let id = match id_of_new(&stream.log, wanted.id, now_ms) {
            Ok(id) => id,
            Err(error) => return Change::none(Err(error)),
        };
        let limits = stream.limits;
        if !stream.log.add(id, &fields, limits) {
            return Change::none(Err(ErrorReply::err("Elements are too large to be stored")));
        }
        stream.create();
        let trimmed = wanted.trim.map_or(0, |trim| stream.log.trim(&trim));
        let events: &[EventKind] = match trimmed {
            0 => &[EventKind::XAdd],
            _ => &[EventKind::XAdd, EventKind::XTrim],
        };
        let replaced = wanted.outcome(args, &stream.log, Some(id));
        Change::of(Ok((id, replaced)), 1, events)
    })??;
    reply_id(reply, id);
    propagate(ctx, replaced);
    Ok(Flow::Done)
}

fn xtrim(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = Wanted::parse(ctx, args, false)?;
    let key = args.key(1);
    let is_there = ctx.peek_as(key, Stream::of)?.is_some();
    let Some(trim) = wanted.trim.filter(|_| is_there) else {
        reply.integer(0);
        return Ok(Flow::Done);
    };
    let (trimmed, replaced) = ctx.change::<Stream, _>(key, |stream| {
        let trimmed = stream.log.trim(&trim);
        let replaced = wanted.outcome(args, &stream.log, None).filter(|_| trimmed > 0);
        Change::of((trimmed, replaced), trimmed, &[EventKind::XTrim])
    })?;
    reply.integer(trimmed as i64);
    propagate(ctx, replaced);
    Ok(Flow::Done)
}
