//! Consumer groups: XGROUP, and acknowledging with XACK.

use russet_protocol::ErrorReply;

use super::{HELP, ROW, no_such_group, parse_id, parse_ids};
use crate::command::argument::{
    Argument, after, int, key, named, one_of, optional, repeated, string, token,
};
use crate::command::help::wrong_use;
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f};
use crate::keyspace::{Change, EventKind, Key};
use crate::types::stream::{Group, Name, Stream, StreamId};

pub(super) const XGROUP: Command = Command {
    name: "xgroup",
    since: "5.0.0",
    arity: -2,
    acl: 0,
    summary: "Manages the consumer groups of a stream.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        CREATE,
        CREATECONSUMER,
        DELCONSUMER,
        DESTROY,
        Command { name: "xgroup|help", ..HELP },
        SETID,
    ],
    ..ROW
};

const ID: Argument = one_of("id-selector", &[string("id"), named("new-id", token("$"))]);

const CREATE: Command = Command {
    name: "xgroup|create",
    since: "5.0.0",
    arity: -5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(2, k::RW | k::INSERT)],
    arguments: &[
        key("key", 0),
        string("group"),
        ID,
        optional(token("MKSTREAM")),
        optional(after("ENTRIESREAD", int("entries-read"))),
    ],
    summary: "Creates a consumer group, which gets the entries behind an ID.",
    run: create,
    ..ROW
};

/// The options behind the ID.
#[derive(Default)]
struct Options {
    makes_stream: bool,
    entries_read: Option<u64>,
}

impl Options {
    fn parse(ctx: &Ctx<'_>, args: &Args<'_>, creates: bool) -> Result<Options, ErrorReply> {
        let (mut options, mut at) = (Options::default(), 5);
        while at < args.len() {
            if creates && args.is(at, "MKSTREAM") {
                options.makes_stream = true;
                at += 1;
            } else if args.is(at, "ENTRIESREAD") && at + 1 < args.len() {
                options.entries_read = match args.integer(at + 1)? {
                    -1 => None,
                    read => Some(u64::try_from(read).map_err(|_| {
                        ErrorReply::err("value for ENTRIESREAD must be positive or -1")
                    })?),
                };
                at += 2;
            } else {
                return Err(wrong_use(ctx, args));
            }
        }
        Ok(options)
    }
}

const NO_KEY: ErrorReply = ErrorReply::fixed(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use \
     the MKSTREAM option to create an empty stream automatically.",
);

fn create(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(ctx, args, true)?;
    let (key, name) = (args.key(2), &args[3]);
    let stream = ctx.peek_as(key, Stream::of)?;
    if stream.is_none() && !options.makes_stream {
        return Err(NO_KEY);
    }
    let id = match &args[4] {
        b"$" => stream.map_or(StreamId::MIN, |stream| stream.log.last_id),
        id => parse_id(id)?,
    };
    if stream.is_some_and(|stream| stream.groups.get(name).is_some()) {
        return Err(ErrorReply::fixed("BUSYGROUP Consumer Group name already exists"));
    }
    ctx.change::<Stream, ()>(key, |stream| {
        stream.create();
        stream.groups.insert(Name::new(name), Group::new(id, options.entries_read));
        Change::of((), 1, &[EventKind::XGroupCreate])
    })?;
    reply.ok();
    Ok(Flow::Done)
}

const SETID: Command = Command {
    name: "xgroup|setid",
    since: "5.0.0",
    arity: -5,
    flags: f::WRITE,
    keys: &[KeySpec::one(2, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        string("group"),
        ID,
        optional(after(
            "ENTRIESREAD",
            named("entriesread", crate::command::argument::shown_as("entries-read", int(""))),
        )),
    ],
    summary: "Sets the last ID that was delivered to a group.",
    run: setid,
    ..ROW
};

/// Checks that there is a key with this group.
fn check_group(ctx: &mut Ctx<'_>, key: Key<'_>, name: &[u8]) -> Result<(), ErrorReply> {
    let stream = ctx.peek_as(key, Stream::of)?.ok_or(NO_KEY)?;
    match stream.groups.get(name) {
        Some(_) => Ok(()),
        None => Err(no_such_group(key.bytes, name)),
    }
}

fn setid(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(ctx, args, false)?;
    let (key, name) = (args.key(2), &args[3]);
    check_group(ctx, key, name)?;
    let id = match &args[4] {
        b"$" => None,
        b"-" => Some(StreamId::MIN),
        b"+" => Some(StreamId::MAX),
        id => Some(parse_id(id)?),
    };
    ctx.change::<Stream, ()>(key, |stream| {
        let id = id.unwrap_or(stream.log.last_id);
        stream.groups.change(name, |group| {
            (group.last_id, group.entries_read) = (id, options.entries_read);
        });
        Change::of((), 1, &[EventKind::XGroupSetId])
    })?;
    reply.ok();
    Ok(Flow::Done)
}

const DESTROY: Command = Command {
    name: "xgroup|destroy",
    since: "5.0.0",
    arity: 4,
    flags: f::WRITE,
    keys: &[KeySpec::one(2, k::RW | k::DELETE)],
    arguments: &[key("key", 0), string("group")],
    summary: "Removes a consumer group with what is pending for it.",
    complexity: "O(N) with N pending entries",
    run: destroy,
    ..ROW
};

fn destroy(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name) = (args.key(2), &args[3]);
    let stream = ctx.peek_as(key, Stream::of)?.ok_or(NO_KEY)?;
    if stream.groups.get(name).is_none() {
        reply.integer(0);
        return Ok(Flow::Done);
    }
    ctx.change::<Stream, ()>(key, |stream| {
        stream.groups.remove(name);
        Change::of((), 1, &[EventKind::XGroupDestroy])
    })?;
    reply.integer(1);
    Ok(Flow::Done)
}

const CREATECONSUMER: Command = Command {
    name: "xgroup|createconsumer",
    since: "6.2.0",
    arity: 5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(2, k::RW | k::INSERT)],
    arguments: &[key("key", 0), string("group"), string("consumer")],
    summary: "Creates a consumer in a group. Returns 0 if there is one with its name.",
    run: createconsumer,
    ..ROW
};

fn createconsumer(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name, consumer) = (args.key(2), &args[3], &args[4]);
    check_group(ctx, key, name)?;
    let now_ms = ctx.now_ms();
    let is_new = ctx.change::<Stream, bool>(key, |stream| {
        let is_new = stream.groups.change(name, |group| {
            group.consumers().get(consumer).is_none() && group.see(consumer, now_ms).1
        });
        let is_new = is_new.unwrap_or(false);
        Change::of(is_new, u64::from(is_new), &[EventKind::XGroupCreateConsumer])
    })?;
    reply.integer(i64::from(is_new));
    Ok(Flow::Done)
}

const DELCONSUMER: Command = Command {
    name: "xgroup|delconsumer",
    since: "5.0.0",
    arity: 5,
    flags: f::WRITE,
    keys: &[KeySpec::one(2, k::RW | k::DELETE)],
    arguments: &[key("key", 0), string("group"), string("consumer")],
    summary: "Removes a consumer of a group with its pending entries, and returns their number.",
    complexity: "O(N) with N pending entries",
    run: delconsumer,
    ..ROW
};

fn delconsumer(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name, consumer) = (args.key(2), &args[3], &args[4]);
    check_group(ctx, key, name)?;
    let pending = ctx.change::<Stream, usize>(key, |stream| {
        let removed = stream.groups.change(name, |group| group.remove_consumer(consumer)).flatten();
        let count = u64::from(removed.is_some());
        Change::of(removed.unwrap_or(0), count, &[EventKind::XGroupDelConsumer])
    })?;
    reply.count(pending);
    Ok(Flow::Done)
}

pub(super) const XACK: Command = Command {
    name: "xack",
    since: "5.0.0",
    arity: -4,
    flags: f::WRITE | f::FAST,
    acl: acl::STREAM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), string("group"), repeated(string("ID"))],
    summary: "Acknowledges pending entries of a group, and returns their number.",
    complexity: "O(N) with N IDs",
    run: xack,
    ..ROW
};

fn xack(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, name) = (args.key(1), &args[2]);
    let stream = ctx.read_as(key, Stream::of)?;
    if stream.is_none_or(|stream| stream.groups.get(name).is_none()) {
        reply.integer(0);
        return Ok(Flow::Done);
    }
    let ids = parse_ids(args, 3)?;
    let acknowledged = ctx.change::<Stream, usize>(key, |stream| {
        let acknowledged = stream.groups.change(name, |group| {
            ids.iter().filter(|id| group.acknowledge(**id).is_some()).count()
        });
        let acknowledged = acknowledged.unwrap_or(0);
        Change::of(acknowledged, acknowledged as u64, &[])
    })?;
    reply.count(acknowledged);
    Ok(Flow::Done)
}
