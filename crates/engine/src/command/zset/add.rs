//! Adding members and changing scores: ZADD and ZINCRBY.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{
    block, double, int, key, named, one_of, optional, repeated, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind, Key};
use crate::types::double::parse;
use crate::types::zset::{Zset, ZsetMut, ZsetRef};

pub(super) const ZADD: Command = Command {
    name: "zadd",
    since: "1.2.0",
    arity: -4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(one_of("condition", &[token("NX"), token("XX")])),
        optional(one_of("comparison", &[token("GT"), token("LT")])),
        optional(named("change", token("CH"))),
        optional(named("increment", token("INCR"))),
        repeated(block("data", &[double("score"), string("member")])),
    ],
    summary: "Adds members with their scores, or changes scores, and returns how many were added.",
    complexity: "O(log N) for each member, with N members in the sorted set",
    run: |ctx, args, reply| {
        let (options, first) = Options::parse(args)?;
        add(ctx, args, reply, options, first)
    },
    ..ROW
};

pub(super) const ZINCRBY: Command = Command {
    name: "zincrby",
    since: "1.2.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), int("increment"), string("member")],
    summary: "Adds to the score of a member, which is 0 if it is not there, and returns the result.",
    complexity: "O(log N) with N members in the sorted set",
    run: |ctx, args, reply| {
        let options = Options { adds_up: true, ..Options::default() };
        add(ctx, args, reply, options, 2)
    },
    ..ROW
};

/// The options of ZADD.
#[derive(Clone, Copy, Default)]
pub(in crate::command) struct Options {
    /// NX: only adds members.
    pub only_new: bool,
    /// XX: only changes scores.
    pub only_existing: bool,
    /// GT: no score becomes lower.
    only_greater: bool,
    /// LT: no score becomes higher.
    only_less: bool,
    /// CH: changed scores count too.
    pub counts_changes: bool,
    /// INCR: the score is added.
    adds_up: bool,
}

impl Options {
    /// Parses the options. Returns the index of the first score too.
    fn parse(args: &Args<'_>) -> Result<(Options, usize), ErrorReply> {
        let (mut options, mut at) = (Options::default(), 2);
        loop {
            let option = match at {
                at if args.is(at, "NX") => &mut options.only_new,
                at if args.is(at, "XX") => &mut options.only_existing,
                at if args.is(at, "GT") => &mut options.only_greater,
                at if args.is(at, "LT") => &mut options.only_less,
                at if args.is(at, "CH") => &mut options.counts_changes,
                at if args.is(at, "INCR") => &mut options.adds_up,
                _ => break,
            };
            *option = true;
            at += 1;
        }
        let rest = args.len() - at;
        let Options { only_new: nx, only_existing: xx, only_greater: gt, only_less: lt, .. } =
            options;
        if rest == 0 || !rest.is_multiple_of(2) {
            return Err(ErrorReply::Syntax);
        }
        if nx && xx {
            return Err(ErrorReply::err("XX and NX options at the same time are not compatible"));
        }
        if (gt && (nx || lt)) || (lt && nx) {
            let why = "GT, LT, and/or NX options at the same time are not compatible";
            return Err(ErrorReply::err(why));
        }
        if options.adds_up && rest > 2 {
            let why = "INCR option supports a single increment-element pair";
            return Err(ErrorReply::err(why));
        }
        Ok((options, at))
    }

    /// Returns the score that a member gets, by the one that it has; none if that remains.
    fn new_score(&self, old: Option<f64>, given: f64) -> Result<Option<f64>, ErrorReply> {
        let Some(old) = old else { return Ok(Some(given).filter(|_| !self.only_existing)) };
        if self.only_new {
            return Ok(None);
        }
        let score = if self.adds_up { old + given } else { given };
        if score.is_nan() {
            return Err(ErrorReply::err("resulting score is not a number (NaN)"));
        }
        let is_refused = (self.only_less && score >= old) || (self.only_greater && score <= old);
        Ok(Some(score).filter(|_| !is_refused))
    }
}

/// What ZADD has done.
#[derive(Default)]
pub(in crate::command) struct Done {
    added: u64,
    changed: u64,
    /// The last score that was set, also to what it was.
    last: Option<f64>,
}

impl Done {
    /// Whether anything has changed.
    pub fn is_change(&self) -> bool {
        self.added + self.changed > 0
    }
}

fn add(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    options: Options,
    first: usize,
) -> Outcome {
    let mut pairs = Vec::with_capacity((args.len() - first) / 2);
    for at in (first..args.len()).step_by(2) {
        let score = parse(&args[at]).ok_or(ErrorReply::NotFloat)?;
        pairs.push((&args[at + 1], score));
    }
    let done = add_pairs(ctx, args.key(1), &pairs, options)?;
    reply_added(reply, &done, options);
    Ok(Flow::Done)
}

/// Adds members with their scores, or changes scores.
pub(in crate::command) fn add_pairs(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    pairs: &[(&[u8], f64)],
    options: Options,
) -> Result<Done, ErrorReply> {
    let longest = pairs.iter().map(|(member, _)| member.len()).max().unwrap_or(0);
    if options.only_existing && ctx.peek_as(key, ZsetRef::of)?.is_none() {
        return Ok(Done::default());
    }
    ctx.change::<Zset, Result<Done, ErrorReply>>(key, |zset| {
        zset.prepare(pairs.len(), longest);
        match set_all(zset, pairs, options) {
            Err(error) => Change::none(Err(error)),
            Ok(done) => {
                let count = done.added + done.changed;
                let events: &[EventKind] =
                    if options.adds_up { &[EventKind::ZIncr] } else { &[EventKind::ZAdd] };
                Change::of(Ok(done), count, events)
            }
        }
    })?
}

/// Replies as ZADD does.
pub(in crate::command) fn reply_added(reply: &mut Reply<'_>, done: &Done, options: Options) {
    match (options.adds_up, done.last) {
        (true, Some(score)) => reply.double(score),
        (true, None) => reply.null(),
        (false, _) => {
            let changed = if options.counts_changes { done.changed } else { 0 };
            reply.count((done.added + changed) as usize);
        }
    }
}

/// Adds members and changes scores. Only with a single pair can it fail.
fn set_all(
    zset: &mut ZsetMut<'_>,
    pairs: &[(&[u8], f64)],
    options: Options,
) -> Result<Done, ErrorReply> {
    let mut done = Done::default();
    let is_plain = !options.only_new
        && !options.only_existing
        && !options.only_greater
        && !options.only_less
        && !options.adds_up;
    for (member, given) in pairs {
        let score = match is_plain {
            true => Some(*given),
            false => options.new_score(zset.view().score(member), *given)?,
        };
        let Some(score) = score else { continue };
        done.last = Some(score);
        match zset.set(member, score) {
            None => done.added += 1,
            Some(old) => done.changed += u64::from(old != score),
        }
    }
    Ok(done)
}
