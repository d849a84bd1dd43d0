//! Commands that set or remove a whole string, with its expiration time.
//!
//! They propagate absolute times: `SET key value PXAT milliseconds`, `PEXPIREAT`, `DEL`.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{block, int, key, one_of, optional, repeated, string, token};
use crate::command::expiration::{EX, EXAT, PX, PXAT, TimeForm};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::injected::Bug;
use crate::keyspace::{EventKind, Expiry, Key};

/// The options of SET and GETEX.
#[derive(Clone, Copy, Debug, Default)]
struct Options {
    nx: bool,
    xx: bool,
    get: bool,
    keep_ttl: bool,
    persist: bool,
    /// The form of the expiration time, and the index of its argument.
    expiry: Option<(TimeForm, usize)>,
}

impl Options {
    /// Parses the options from index `from` on. An option may be repeated, but one that it excludes
    /// may not follow.
    fn parse(args: &Args<'_>, from: usize, is_set: bool) -> Result<Options, ErrorReply> {
        let mut options = Options::default();
        let mut at = from;
        while at < args.len() {
            let free = options.expiry.is_none();
            if is_set && args.is(at, "NX") && !options.xx {
                options.nx = true;
            } else if is_set && args.is(at, "XX") && !options.nx {
                options.xx = true;
            } else if is_set && args.is(at, "GET") {
                options.get = true;
            } else if is_set && args.is(at, "KEEPTTL") && free {
                options.keep_ttl = true;
            } else if !is_set && args.is(at, "PERSIST") && free {
                options.persist = true;
            } else {
                options.expiry = Some((options.form(args, at)?, at + 1));
                at += 1;
            }
            at += 1;
        }
        Ok(options)
    }

    /// Returns the form that the word at `at` names, if it is allowed here and a value follows.
    fn form(&self, args: &Args<'_>, at: usize) -> Result<TimeForm, ErrorReply> {
        let fits = |form: &TimeForm| self.expiry.is_none_or(|(before, _)| before == *form);
        TimeForm::named(args, at)
            .filter(fits)
            .filter(|_| !self.keep_ttl && !self.persist && at + 1 < args.len())
            .ok_or(ErrorReply::Syntax)
    }

    /// Returns the expiration time in Unix milliseconds. What is given must be positive.
    fn at_ms(&self, ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Option<i64>, ErrorReply> {
        let Some((form, index)) = self.expiry else { return Ok(None) };
        let given = Some(args.integer(index)?).filter(|&given| given > 0);
        let at_ms = given.and_then(|given| form.to_unix_ms(given, ctx.now_ms()));
        at_ms.map(Some).ok_or(ErrorReply::InvalidExpire(ctx.command.name))
    }

    fn is_relative(&self) -> bool {
        self.expiry.is_some_and(|(form, _)| form.is_relative())
    }
}

pub(super) const SET: Command = Command {
    name: "set",
    since: "1.0.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE | k::VARIABLE_FLAGS)],
    key_flags: Some(key_flags_of_set),
    arguments: &[
        key("key", 0),
        string("value"),
        optional(one_of("condition", &[token("NX"), token("XX")])),
        optional(token("GET")),
        optional(one_of("expiration", &[EX, PX, EXAT, PXAT, token("KEEPTTL")])),
    ],
    summary: "Sets a key to a string, whatever it held before.",
    run: set,
    ..ROW
};

/// With GET, SET reads the old value as well.
fn key_flags_of_set(args: &Args<'_>) -> u32 {
    match (3..args.len()).any(|index| args.is(index, "GET")) {
        true => k::RW | k::ACCESS | k::UPDATE,
        false => k::OW | k::UPDATE,
    }
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return set_with_options(ctx, args, reply);
    }
    super::store(ctx.overwrite(args.key(1)), args, 2, Expiry::Clear, EventKind::Set);
    reply.ok();
    Ok(Flow::Done)
}

fn set_with_options(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(args, 3, true)?;
    let at_ms = options.at_ms(ctx, args)?;
    let key = args.key(1);
    if options.get {
        get(ctx, key, reply)?;
    }
    let db = ctx.call.db;
    let exists = ctx.data.peek(db, key).is_some();
    if (options.nx && exists) || (options.xx && !exists) {
        if !options.get {
            reply.null();
        }
        return Ok(Flow::Done);
    }
    let expiry = match at_ms {
        Some(at) => Expiry::At(at),
        // An expired key that still exists has no expiration time to keep.
        None if options.keep_ttl && exists => Expiry::Keep,
        None => Expiry::Clear,
    };
    super::store(ctx.edit(key), args, 2, expiry, EventKind::Set);
    if !options.get {
        reply.ok();
    }
    match at_ms {
        Some(at) if !(options.is_relative() && ctx.core.injected(Bug::RelativeExpiry)) => {
            propagate_set(ctx, key, &args[2], at);
        }
        None if options.get => propagate_without_get(ctx, args),
        _ => {}
    }
    Ok(Flow::Done)
}

fn propagate_set(ctx: &mut Ctx<'_>, key: Key<'_>, value: &[u8], at_ms: i64) {
    let mut digits = itoa::Buffer::new();
    ctx.effect(&[b"SET", key.bytes, value, b"PXAT", digits.format(at_ms).as_bytes()]);
}

/// Propagates SET without GET, since replicas do not need the old value.
fn propagate_without_get(ctx: &mut Ctx<'_>, args: &Args<'_>) {
    let words: Vec<&[u8]> = (0..)
        .zip(args.iter())
        .filter(|(at, _)| *at < 3 || !args.is(*at, "GET"))
        .map(|(_, arg)| arg)
        .collect();
    ctx.effect(&words);
}

/// Replies with a string as GET does.
fn get(ctx: &mut Ctx<'_>, key: Key<'_>, reply: &mut Reply<'_>) -> Result<bool, ErrorReply> {
    let text = ctx.string(key)?;
    match text {
        Some(text) => reply.text(text),
        None => reply.null(),
    }
    Ok(text.is_some())
}

pub(super) const SETNX: Command = Command {
    name: "setnx",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::OW | k::INSERT)],
    arguments: &[key("key", 0), string("value")],
    summary: "Sets a key to a string unless the key exists.",
    run: setnx,
    ..ROW
};

fn setnx(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (db, key) = (ctx.call.db, args.key(1));
    let exists = ctx.data.peek(db, key).is_some();
    if !exists {
        super::store(ctx.edit(key), args, 2, Expiry::Clear, EventKind::Set);
    }
    reply.integer(i64::from(!exists));
    Ok(Flow::Done)
}

pub(super) const SETEX: Command = Command {
    name: "setex",
    since: "2.0.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE)],
    arguments: &[key("key", 0), int("seconds"), string("value")],
    summary: "Sets a key to a string that expires after a number of seconds.",
    run: setex,
    ..ROW
};

fn setex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_for(ctx, args, TimeForm::Seconds, reply)
}

pub(super) const PSETEX: Command = Command {
    name: "psetex",
    since: "2.6.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE)],
    arguments: &[key("key", 0), int("milliseconds"), string("value")],
    summary: "Sets a key to a string that expires after a number of milliseconds.",
    run: psetex,
    ..ROW
};

fn psetex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_for(ctx, args, TimeForm::Milliseconds, reply)
}

fn set_for(ctx: &mut Ctx<'_>, args: &Args<'_>, form: TimeForm, reply: &mut Reply<'_>) -> Outcome {
    let options = Options { expiry: Some((form, 2)), ..Options::default() };
    let (key, value) = (args.key(1), &args[3]);
    if let Some(at) = options.at_ms(ctx, args)? {
        super::store(ctx.overwrite(key), args, 3, Expiry::At(at), EventKind::Set);
        if !ctx.core.injected(Bug::RelativeExpiry) {
            propagate_set(ctx, key, value, at);
        }
    }
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const MSET: Command = Command {
    name: "mset",
    since: "1.0.1",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::rest(1, 2, k::OW | k::UPDATE)],
    arguments: &[repeated(block("data", &[key("key", 0), string("value")]))],
    summary: "Sets several keys to strings at once.",
    complexity: "O(N) for N keys",
    run: mset,
    ..ROW
};

fn mset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_pairs(ctx, args)?;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const MSETNX: Command = Command {
    name: "msetnx",
    since: "1.0.1",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::rest(1, 2, k::OW | k::INSERT)],
    arguments: &[repeated(block("data", &[key("key", 0), string("value")]))],
    summary: "Sets several keys to strings at once, or none if any of the keys exists.",
    complexity: "O(N) for N keys",
    run: msetnx,
    ..ROW
};

fn msetnx(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.call.db;
    if !args.len().is_multiple_of(2) {
        let exists = |at: usize| ctx.data.peek(db, args.key(at)).is_some();
        if (1..args.len()).step_by(2).any(exists) {
            reply.integer(0);
            return Ok(Flow::Done);
        }
    }
    set_pairs(ctx, args)?;
    reply.integer(1);
    Ok(Flow::Done)
}

fn set_pairs(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), ErrorReply> {
    if args.len().is_multiple_of(2) {
        return Err(ErrorReply::WrongArity(ctx.command.name.to_owned()));
    }
    for at in (1..args.len()).step_by(2) {
        super::store(ctx.overwrite(args.key(at)), args, at + 1, Expiry::Clear, EventKind::Set);
    }
    Ok(())
}

pub(super) const GETSET: Command = Command {
    name: "getset",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), string("value")],
    summary: "Sets a key to a string and returns the string that it held before.",
    run: getset,
    ..ROW
};

fn getset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, value) = (args.key(1), &args[2]);
    get(ctx, key, reply)?;
    super::store(ctx.edit(key), args, 2, Expiry::Clear, EventKind::Set);
    ctx.effect(&[b"SET", key.bytes, value]);
    Ok(Flow::Done)
}

pub(super) const GETDEL: Command = Command {
    name: "getdel",
    since: "6.2.0",
    arity: 2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE)],
    arguments: &[key("key", 0)],
    summary: "Returns the value of a string and deletes the key.",
    run: getdel,
    ..ROW
};

fn getdel(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let key = args.key(1);
    if get(ctx, key, reply)? && ctx.edit(key).remove(EventKind::Del) {
        ctx.effect(&[b"DEL", key.bytes]);
    }
    Ok(Flow::Done)
}

pub(super) const GETEX: Command = Command {
    name: "getex",
    since: "6.2.0",
    arity: -2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(one_of("expiration", &[EX, PX, EXAT, PXAT, token("PERSIST")])),
    ],
    summary: "Returns the value of a string after setting or clearing its expiration time.",
    run: getex,
    ..ROW
};

fn getex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(args, 2, false)?;
    let (db, key) = (ctx.call.db, args.key(1));
    let at_ms = options.at_ms(ctx, args);
    let Some(text) = ctx.string(key)? else {
        reply.null();
        return Ok(Flow::Done);
    };
    // The expiration time matters only if the key exists.
    let at_ms = at_ms?;
    reply.text(text);
    match at_ms {
        Some(at) if !options.is_relative() && ctx.is_expired(at) => {
            ctx.edit(key).remove(EventKind::Del);
            let word = ctx.delete_command();
            ctx.effect(&[word, key.bytes]);
        }
        Some(at) => {
            ctx.edit(key).set_expiry(Some(at));
            let mut digits = itoa::Buffer::new();
            ctx.effect(&[b"PEXPIREAT", key.bytes, digits.format(at).as_bytes()]);
        }
        None if options.persist => {
            let has = ctx.data.peek(db, key).is_some_and(|entry| entry.expiry().is_some());
            if has {
                ctx.edit(key).set_expiry(None);
                ctx.effect(&[b"PERSIST", key.bytes]);
            }
        }
        None => {}
    }
    Ok(Flow::Done)
}
