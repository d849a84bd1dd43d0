//! Whole databases: DBSIZE, SWAPDB, FLUSHDB, FLUSHALL.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::call::Caller;
use crate::clients::Waiting;
use crate::command::argument::{int, one_of, optional, token};
use crate::command::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::mode::Mode;

pub(super) const DBSIZE: Command = Command {
    name: "dbsize",
    since: "1.0.0",
    group: Group::Server,
    arity: 1,
    flags: f::READONLY | f::FAST,
    summary: "Returns the number of keys in the database.",
    run: dbsize,
    ..ROW
};

fn dbsize(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.data.db(ctx.call.db).len());
    Ok(Flow::Done)
}

pub(super) const SWAPDB: Command = Command {
    name: "swapdb",
    since: "4.0.0",
    group: Group::Server,
    arity: 3,
    flags: f::WRITE | f::FAST,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    arguments: &[int("index1"), int("index2")],
    summary: "Swaps two databases, so that each has the other's number.",
    complexity: "O(N) for N clients that watch keys of either database",
    run: swapdb,
    ..ROW
};

fn swapdb(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.boot.mode == Mode::Cluster {
        return Err(ErrorReply::err("SWAPDB is not allowed in cluster mode"));
    }
    let first = index(args, 1, "invalid first DB index")?;
    let second = index(args, 2, "invalid second DB index")?;
    let count = ctx.data.count();
    let number = |index: i32| {
        u32::try_from(index)
            .ok()
            .filter(|&index| index < count)
            .ok_or_else(|| ErrorReply::err("DB index is out of range"))
    };
    let (first, second) = (number(first)?, number(second)?);
    ctx.data.swap(first, second);
    reply.ok();
    Ok(Flow::Done)
}

fn index(args: &Args<'_>, at: usize, otherwise: &str) -> Result<i32, ErrorReply> {
    let index = args.integer(at).ok().and_then(|index| i32::try_from(index).ok());
    index.ok_or_else(|| ErrorReply::err(otherwise))
}

pub(super) const FLUSHDB: Command = Command {
    name: "flushdb",
    since: "1.0.0",
    group: Group::Server,
    arity: -1,
    flags: f::WRITE,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    arguments: &[optional(one_of("flush-type", &[token("ASYNC"), token("SYNC")]))],
    summary: "Deletes all keys of the current database.",
    complexity: "O(1), since values are freed in the background",
    run: flushdb,
    ..ROW
};

fn flushdb(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let only = Some(ctx.call.db);
    flush(ctx, args, only)?;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const FLUSHALL: Command = Command {
    name: "flushall",
    since: "1.0.0",
    group: Group::Server,
    arity: -1,
    flags: f::WRITE,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    arguments: &[optional(one_of("flush-type", &[token("ASYNC"), token("SYNC")]))],
    summary: "Deletes all keys of all databases.",
    complexity: "O(1), since values are freed in the background",
    run: flushall,
    ..ROW
};

fn flushall(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    flush(ctx, args, None)?;
    let is_saved = ctx.parts.saves.flushed(ctx.core, ctx.data);
    if is_saved && ctx.call.caller == Caller::Client {
        return ctx.block(Waiting::Flush, None);
    }
    // In EXEC the reply waits too, together with those behind it.
    reply.ok();
    Ok(Flow::Done)
}

/// Detaches whole databases and frees them in the background. That takes no time, so SYNC and ASYNC
/// are the same.
fn flush(ctx: &mut Ctx<'_>, args: &Args<'_>, only: Option<u32>) -> Result<(), ErrorReply> {
    let known = args.len() == 1 || (args.len() == 2 && (args.is(1, "SYNC") || args.is(1, "ASYNC")));
    if !known {
        return Err(ErrorReply::Syntax);
    }
    ctx.data.flush(only);
    // Propagated even if nothing was deleted, since a replica may have keys that the master lacks.
    let words: Vec<&[u8]> = args.iter().collect();
    ctx.effect(&words);
    Ok(())
}
