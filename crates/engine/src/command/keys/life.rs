//! The existence, type and deletion of keys.

use super::ROW;
use crate::command::argument::{key, repeated};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::type_of;

pub(super) const DEL: Command = Command {
    name: "del",
    since: "1.0.0",
    arity: -2,
    flags: f::WRITE,
    keys: &[KeySpec::rest(1, 1, k::RM | k::DELETE)],
    arguments: &[repeated(key("key", 0))],
    summary: "Deletes keys.",
    complexity: "O(N) for N keys",
    run: del,
    ..ROW
};

pub(super) const UNLINK: Command = Command {
    name: "unlink",
    since: "4.0.0",
    arity: -2,
    flags: f::WRITE | f::FAST,
    keys: &[KeySpec::rest(1, 1, k::RM | k::DELETE)],
    arguments: &[repeated(key("key", 0))],
    summary: "Deletes keys and frees their values in the background.",
    complexity: "O(N) for N keys",
    run: del,
    ..ROW
};

/// Deletes keys. DEL and UNLINK are the same, since large values are always freed in the
/// background.
fn del(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.call.db;
    let mut removed = 0;
    for at in 1..args.len() {
        let key = args.key(at);
        // An expired key is removed as such and not counted.
        ctx.data.expire_if_needed(db, key);
        removed += usize::from(ctx.edit(key).remove(EventKind::Del));
    }
    reply.count(removed);
    Ok(Flow::Done)
}

pub(super) const EXISTS: Command = Command {
    name: "exists",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::rest(1, 1, k::RO)],
    arguments: &[repeated(key("key", 0))],
    summary: "Counts how many of the given keys exist. A key given twice counts twice.",
    complexity: "O(N) for N keys",
    run: exists,
    ..ROW
};

fn exists(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let found =
        (1..args.len()).filter(|&at| ctx.read_without_touch(args.key(at)).is_some()).count();
    reply.count(found);
    Ok(Flow::Done)
}

pub(super) const TOUCH: Command = Command {
    name: "touch",
    since: "3.2.1",
    arity: -2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::rest(1, 1, k::RO)],
    arguments: &[repeated(key("key", 0))],
    summary: "Marks keys as just used and counts how many of them exist.",
    complexity: "O(N) for N keys",
    run: touch,
    ..ROW
};

fn touch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.call.db;
    let keyspace = &mut *ctx.data;
    // TOUCH updates access times even under CLIENT NO-TOUCH.
    keyspace.no_touch = false;
    let found = (1..args.len()).filter(|&at| keyspace.read(db, args.key(at)).is_some()).count();
    reply.count(found);
    Ok(Flow::Done)
}

pub(super) const TYPE: Command = Command {
    name: "type",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the type of the value that a key holds.",
    run: type_of_key,
    ..ROW
};

fn type_of_key(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.simple(
        ctx.read_without_touch(args.key(1)).map_or("none", |found| type_of(found.kind()).name),
    );
    Ok(Flow::Done)
}
