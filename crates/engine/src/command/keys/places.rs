//! Moving and copying keys: RENAME, MOVE, COPY.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{after, int, key, optional, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry};
use crate::mode::Mode;
use crate::types::Value;

const SAME: ErrorReply = ErrorReply::fixed("ERR source and destination objects are the same");

pub(super) const RENAME: Command = Command {
    name: "rename",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE), KeySpec::one(2, k::OW | k::UPDATE)],
    arguments: &[key("key", 0), key("newkey", 1)],
    summary: "Renames a key, replacing any key that has the new name.",
    run: rename,
    ..ROW
};

fn rename(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    rename_key(ctx, args, false)?;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const RENAMENX: Command = Command {
    name: "renamenx",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE), KeySpec::one(2, k::OW | k::INSERT)],
    arguments: &[key("key", 0), key("newkey", 1)],
    summary: "Renames a key unless the new name is taken.",
    run: renamenx,
    ..ROW
};

fn renamenx(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let renamed = rename_key(ctx, args, true)?;
    reply.integer(i64::from(renamed));
    Ok(Flow::Done)
}

/// Renames a key. False if it had the new name before, or another key has it and `only_new` is set.
fn rename_key(ctx: &mut Ctx<'_>, args: &Args<'_>, only_new: bool) -> Result<bool, ErrorReply> {
    let (db, source, target) = (ctx.call.db, args.key(1), args.key(2));
    let keyspace = &mut ctx.data;
    if keyspace.peek(db, source).is_none() {
        return Err(ErrorReply::NoSuchKey);
    }
    if source.bytes == target.bytes || (keyspace.peek(db, target).is_some() && only_new) {
        return Ok(false);
    }
    let events = [EventKind::RenameFrom, EventKind::RenameTo];
    Ok(keyspace.edit(db, source).move_to(db, target, events))
}

pub(super) const MOVE: Command = Command {
    name: "move",
    since: "1.0.0",
    arity: 3,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), int("db")],
    summary: "Moves a key to another database.",
    run: move_key,
    ..ROW
};

fn move_key(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (source, key) = (ctx.call.db, args.key(1));
    let count = ctx.data.count();
    if ctx.core.boot.mode == Mode::Cluster && count == 1 {
        return Err(ErrorReply::err("MOVE is not allowed in cluster mode"));
    }
    let target = args.db_index(2, count)?;
    if source == target {
        return Err(SAME);
    }
    let keyspace = &mut ctx.data;
    let free = keyspace.peek(source, key).is_some() && keyspace.peek(target, key).is_none();
    let events = [EventKind::MoveFrom, EventKind::MoveTo];
    let moved = free && keyspace.edit(source, key).move_to(target, key, events);
    reply.integer(i64::from(moved));
    Ok(Flow::Done)
}

pub(super) const COPY: Command = Command {
    name: "copy",
    since: "6.2.0",
    arity: -3,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS), KeySpec::one(2, k::OW | k::UPDATE)],
    arguments: &[
        key("source", 0),
        key("destination", 1),
        optional(after("DB", int("destination-db"))),
        optional(token("REPLACE")),
    ],
    summary: "Copies the value and expiration time of a key to another key.",
    complexity: "O(1) for a string, O(N) for a collection of N elements",
    run: copy,
    ..ROW
};

fn copy(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (source_db, source, target) = (ctx.call.db, args.key(1), args.key(2));
    let (mut target_db, mut replace) = (source_db, false);
    let mut at = 3;
    while at < args.len() {
        if args.is(at, "REPLACE") {
            replace = true;
        } else if args.is(at, "DB") && at + 1 < args.len() {
            target_db = args.db_index(at + 1, ctx.data.count())?;
            at += 1;
        } else {
            return Err(ErrorReply::Syntax);
        }
        at += 1;
    }
    if source_db == target_db && source.bytes == target.bytes {
        return Err(SAME);
    }
    let keyspace = &mut ctx.data;
    let found = keyspace.read(source_db, source).is_some();
    // A target that is to be replaced is looked up too: it may have expired.
    let taken = found && keyspace.peek(target_db, target).is_some() && !replace;
    let entry = keyspace.peek(source_db, source).filter(|_| !taken);
    let copy = entry.map(|entry| (Value::copy_of(&entry), entry.expiry()));
    reply.integer(i64::from(copy.is_some()));
    if let Some((value, expiry)) = copy {
        let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
        keyspace.edit(target_db, target).set_value(value, expiry, EventKind::CopyTo);
    }
    Ok(Flow::Done)
}
