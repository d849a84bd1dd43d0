//! OBJECT: inspects how values are stored.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::ROW;
use crate::command::argument::key;
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f, help};
use crate::types::encoding_of;
use crate::types::string::{KIND_INT, Text};

/// Stock servers share the integers from 0 to this among all keys that hold them.
const SHARED_INTEGERS: i64 = 10_000;

pub(super) const OBJECT: Command = Command {
    name: "object",
    since: "2.2.3",
    arity: -2,
    acl: 0,
    summary: "Inspects how the value of a key is stored.",
    complexity: "Depends on the subcommand",
    subcommands: &[ENCODING, FREQ, HELP, IDLETIME, REFCOUNT],
    ..ROW
};

pub(super) const HELP: Command =
    Command { name: "object|help", since: "6.2.0", acl: acl::KEYSPACE, ..help::ROW };

pub(super) const ENCODING: Command = Command {
    name: "object|encoding",
    since: "2.2.3",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the name of the encoding of a value.",
    run: encoding,
    ..ROW
};

fn encoding(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.inspect(args.key(2)) {
        Some(entry) => reply.bulk(encoding_of(entry.kind()).name.as_bytes()),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const REFCOUNT: Command = Command {
    name: "object|refcount",
    since: "2.2.3",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the reference count of a value.",
    run: refcount,
    ..ROW
};

fn refcount(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.inspect(args.key(2)) {
        Some(entry) => {
            let number = Text::of(&entry).filter(|_| entry.kind() == KIND_INT);
            let number = number.and_then(|text| parse_i64(text.bytes()));
            let is_shared = number.is_some_and(|number| (0..SHARED_INTEGERS).contains(&number));
            reply.integer(if is_shared { i64::from(i32::MAX) } else { 1 });
        }
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const IDLETIME: Command = Command {
    name: "object|idletime",
    since: "2.2.3",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the number of seconds since a key was last used. Not with an LFU policy.",
    run: idletime,
    ..ROW
};

fn idletime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let lfu = ctx.data.lfu.is_some();
    let now = ctx.data.clock;
    match ctx.inspect(args.key(2)).map(|entry| entry.clock()) {
        Some(_) if lfu => {
            return Err(ErrorReply::fixed(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        // The clock has 24 bits.
        Some(clock) => reply.integer(i64::from(now.wrapping_sub(clock) & 0xff_ffff)),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const FREQ: Command = Command {
    name: "object|freq",
    since: "4.0.0",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the logarithmic access counter of a key. Needs an LFU policy.",
    run: freq,
    ..ROW
};

fn freq(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_there = ctx.inspect(args.key(2)).is_some();
    let keyspace = &ctx.data;
    let entry = keyspace.db(ctx.call.db).get(args.key(2)).filter(|_| is_there);
    match entry.map(|entry| keyspace.use_count(&entry)) {
        Some(None) => {
            return Err(ErrorReply::fixed(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        Some(Some(count)) => reply.integer(i64::from(count)),
        None => reply.null(),
    }
    Ok(Flow::Done)
}
