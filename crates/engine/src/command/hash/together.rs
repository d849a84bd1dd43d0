//! Values and expiration times at once: HGETDEL, HGETEX, HSETEX.

use std::collections::BTreeSet;

use russet_protocol::ErrorReply;

use super::expiry::{FIELDS, count_fields, fields, propagate_expiry, propagate_persist, time};
use super::{ROW, change, hidden_before, read, reply_value, visible};
use crate::command::argument::{after, block, int, key, one_of, optional, repeated, string, token};
use crate::command::expiration::{EX, EXAT, PX, PXAT, TimeForm};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::hash::HashMut;

pub(super) const HGETDEL: Command = Command {
    name: "hgetdel",
    since: "8.0.0",
    arity: -5,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[key("key", 0), FIELDS],
    summary: "Returns the values of fields and deletes them. Deletes the key with the last one.",
    complexity: "O(N) with N fields",
    run: hgetdel,
    ..ROW
};

fn hgetdel(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let names = fields(args, 2)?;
    let hash = read(ctx, args.key(1))?;
    reply.array(names.clone().count());
    // A field that is given twice exists only once.
    let mut seen = BTreeSet::new();
    for name in names.clone() {
        let value = hash.get(name).filter(|_| seen.insert(name));
        reply_value(reply, value);
    }
    let mut deleted: Vec<&[u8]> = Vec::new();
    change(ctx, args.key(1), names.clone(), |hash| {
        deleted.extend(names.filter(|name| hash.remove(name)));
        Change::of((), deleted.len() as u64, &[EventKind::HDel])
    })?;
    if !deleted.is_empty() {
        ctx.effect(&[&[b"HDEL", args.key(1).bytes], &deleted[..]].concat());
    }
    Ok(Flow::Done)
}

fn reply_values<'n>(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    names: impl Iterator<Item = &'n [u8]> + Clone,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let hash = read(ctx, args.key(1))?;
    reply.array(names.clone().count());
    names.for_each(|name| reply_value(reply, hash.get(name)));
    Ok(())
}

/// How expiration times of the fields change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Time {
    /// They are cleared with a new value, and kept without one.
    Default,
    At(i64),
    Keep,
    Persist,
}

/// Parses an optional time at an index. Returns it and the number of its arguments.
fn parse_time(
    ctx: &Ctx<'_>,
    args: &Args<'_>,
    at: usize,
) -> Result<Option<(Time, usize)>, ErrorReply> {
    let Some(form) = TimeForm::named(args, at) else { return Ok(None) };
    if at + 1 >= args.len() {
        return Err(ErrorReply::Syntax);
    }
    Ok(Some((Time::At(time(ctx, args, at + 1, form)?), 2)))
}

pub(super) const HGETEX: Command = Command {
    name: "hgetex",
    since: "8.0.0",
    arity: -5,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(one_of("expiration", &[EX, PX, EXAT, PXAT, token("PERSIST")])),
        FIELDS,
    ],
    summary: "Returns the values of fields and sets or clears their expiration times.",
    complexity: "O(N) with N fields",
    run: hgetex,
    ..ROW
};

fn hgetex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut at, mut given) = (2, Time::Default);
    while at < args.len() && !args.is(at, "FIELDS") {
        let (one, words) = match parse_time(ctx, args, at)? {
            Some(found) => found,
            None if args.is(at, "PERSIST") => (Time::Persist, 1),
            None => return Err(ErrorReply::quoting("ERR unknown argument: ", &args[at], "")),
        };
        if given != Time::Default {
            return Err(ErrorReply::fixed(
                "ERR Only one of EX, PX, EXAT, PXAT or PERSIST arguments can be specified",
            ));
        }
        (given, at) = (one, at + words);
    }
    let names = fields(args, at)?;
    reply_values(ctx, args, names.clone(), reply)?;
    let before = hidden_before(ctx.data);
    let at_ms = if let Time::At(at_ms) = given { Some(at_ms) } else { None };
    let is_past = at_ms.is_some_and(|at_ms| ctx.is_expired(at_ms));
    if given == Time::Default {
        return Ok(Flow::Done);
    }
    let mut changed: Vec<&[u8]> = Vec::new();
    change(ctx, args.key(1), names.clone(), |hash| {
        for name in names {
            let Some(field) = visible(hash, name, before) else { continue };
            if at_ms.is_none() && field.expiry.is_none() {
                continue;
            }
            match is_past {
                true => hash.remove(name),
                false => hash.set_expiry(name, at_ms),
            };
            changed.push(name);
        }
        let event = match at_ms {
            None => &[EventKind::HPersist],
            Some(_) if is_past => &[EventKind::HExpired],
            Some(_) => &[EventKind::HExpire],
        };
        Change::of((), changed.len() as u64, event)
    })?;
    match at_ms {
        Some(at_ms) => propagate_expiry(ctx, args.key(1).bytes, &changed, at_ms, is_past),
        None => propagate_persist(ctx, args.key(1).bytes, &changed),
    }
    Ok(Flow::Done)
}

pub(super) const HSETEX: Command = Command {
    name: "hsetex",
    since: "8.0.0",
    arity: -6,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(one_of("condition", &[token("FNX"), token("FXX")])),
        optional(one_of("expiration", &[EX, PX, EXAT, PXAT, token("KEEPTTL")])),
        after(
            "FIELDS",
            block(
                "fields",
                &[int("numfields"), repeated(block("data", &[string("field"), string("value")]))],
            ),
        ),
    ],
    summary: "Sets fields to values and sets their expiration times.",
    complexity: "O(N) with N fields",
    run: hsetex,
    ..ROW
};

/// The options of HSETEX before the fields.
struct SetOptions {
    time: Time,
    /// Whether all fields must exist, or none.
    exist: Option<bool>,
    /// The index of FIELDS.
    at: usize,
}

impl SetOptions {
    fn parse(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<SetOptions, ErrorReply> {
        let mut options = SetOptions { time: Time::Default, exist: None, at: 2 };
        while options.at < args.len() && !args.is(options.at, "FIELDS") {
            let at = options.at;
            if args.is(at, "FNX") || args.is(at, "FXX") {
                if options.exist.is_some() {
                    return Err(ErrorReply::fixed(
                        "ERR Only one of FXX or FNX arguments can be specified",
                    ));
                }
                options.exist = Some(args.is(at, "FXX"));
                options.at += 1;
                continue;
            }
            let (one, words) = match parse_time(ctx, args, at)? {
                Some(found) => found,
                None if args.is(at, "KEEPTTL") => (Time::Keep, 1),
                None => return Err(ErrorReply::quoting("ERR unknown argument: ", &args[at], "")),
            };
            if options.time != Time::Default {
                return Err(ErrorReply::fixed(
                    "ERR Only one of EX, PX, EXAT, PXAT or KEEPTTL arguments can be specified",
                ));
            }
            options.time = one;
            options.at += words;
        }
        Ok(options)
    }
}

fn hsetex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = SetOptions::parse(ctx, args)?;
    let count = count_fields(args, options.at, 2)?;
    let pairs = options.at + 2;
    let names = || args.from(pairs).step_by(2);
    let before = hidden_before(ctx.data);
    let at_ms = if let Time::At(at_ms) = options.time { Some(at_ms) } else { None };
    let is_past = at_ms.is_some_and(|at_ms| ctx.is_expired(at_ms));
    let key = args.key(1);
    let mut deleted: Vec<&[u8]> = Vec::new();
    let is_set = change(ctx, key, names(), |hash| {
        let expiry =
            |hash: &HashMut<'_>, name: &[u8]| visible(hash, name, before).map(|field| field.expiry);
        let allows = |exist: bool| names().all(|name| expiry(hash, name).is_some() == exist);
        if !options.exist.is_none_or(allows) {
            return Change::none(false);
        }
        if is_past {
            deleted.extend(names().filter(|name| hash.remove(name)));
            return Change::of(true, deleted.len() as u64, &[EventKind::HExpired]);
        }
        hash.prepare(count, args.from(pairs));
        for at in (pairs..args.len()).step_by(2) {
            let new = match options.time {
                Time::Keep => expiry(hash, &args[at]).flatten(),
                _ => at_ms,
            };
            hash.set(&args[at], &args[at + 1], new);
        }
        let events: &[EventKind] = match at_ms {
            Some(_) => &[EventKind::HSet, EventKind::HExpire],
            None => &[EventKind::HSet],
        };
        Change::of(true, count as u64, events)
    })?;
    reply.integer(i64::from(is_set));
    if is_set && is_past {
        if !deleted.is_empty() {
            ctx.effect(&[&[b"HDEL", key.bytes], &deleted[..]].concat());
        }
    } else if is_set {
        propagate_set(ctx, args, options.time, pairs);
    }
    Ok(Flow::Done)
}

/// Propagates HSETEX without its fulfilled conditions and with an absolute time.
fn propagate_set(ctx: &mut Ctx<'_>, args: &Args<'_>, time: Time, pairs: usize) {
    let mut digits = itoa::Buffer::new();
    let mut words: Vec<&[u8]> = vec![b"HSETEX", args.key(1).bytes];
    match time {
        Time::At(at_ms) => words.extend([&b"PXAT"[..], digits.format(at_ms).as_bytes()]),
        Time::Keep => words.push(b"KEEPTTL"),
        Time::Default | Time::Persist => {}
    }
    words.extend(args.from(pairs - 2));
    ctx.effect(&words);
}
