//! Transactions: MULTI, EXEC, WATCH. EXEC's queue is run by `crate::node`'s `exec.rs`.

use russet_protocol::ErrorReply;

use super::argument::{key, repeated};
use super::keyspec::{KeySpec, key_flag as k};
use super::{Args, Caller, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::watching;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[MULTI, EXEC, DISCARD, WATCH, UNWATCH];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Transactions, acl: acl::TRANSACTION, ..Command::ROW };

const MULTI: Command = Command {
    name: "multi",
    since: "1.2.0",
    arity: 1,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
    summary: "Starts a transaction, so that the commands that follow are queued.",
    run: multi,
    ..ROW
};

fn multi(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let transaction = ctx.transaction()?;
    if transaction.open {
        return Err(ErrorReply::err("MULTI calls can not be nested"));
    }
    transaction.open = true;
    reply.ok();
    Ok(Flow::Done)
}

const EXEC: Command = Command {
    name: "exec",
    since: "1.2.0",
    arity: 1,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::SKIP_SLOWLOG | f::IN_MULTI | f::RUNS_QUEUE,
    summary: "Runs the queued commands of a transaction.",
    complexity: "Depends on the queued commands",
    run: exec,
    ..ROW
};

fn exec(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let expired = match ctx.call.session {
        Some(handle) => watching::has_expired(&ctx.parts.clients, ctx.data, handle),
        None => false,
    };
    let transaction = ctx.transaction()?;
    if !transaction.open {
        return Err(ErrorReply::err("EXEC without MULTI"));
    }
    let (refused, broken) = (transaction.refused, transaction.broken || expired);
    if refused || broken {
        ctx.discard_transaction();
        if refused {
            return Err(ErrorReply::ExecAbort);
        }
        reply.null_array();
        return Ok(Flow::Done);
    }
    reply.array(transaction.queue.len());
    transaction.running = true;
    Ok(Flow::Transaction)
}

const DISCARD: Command = Command {
    name: "discard",
    since: "2.0.0",
    arity: 1,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
    summary: "Ends a transaction without running its queued commands.",
    complexity: "O(N) for N queued commands",
    run: discard,
    ..ROW
};

fn discard(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !ctx.transaction()?.open {
        return Err(ErrorReply::err("DISCARD without MULTI"));
    }
    ctx.discard_transaction();
    reply.ok();
    Ok(Flow::Done)
}

const WATCH: Command = Command {
    name: "watch",
    since: "2.2.0",
    arity: -2,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
    keys: &[KeySpec::rest(1, 1, k::RO)],
    arguments: &[repeated(key("key", 0))],
    summary: "Watches keys, so that the next transaction fails if any of them changes.",
    complexity: "O(N) for N keys",
    run: watch,
    ..ROW
};

fn watch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let transaction = ctx.transaction()?;
    if transaction.open {
        return Err(ErrorReply::err("WATCH inside MULTI is not allowed"));
    }
    // Once a watched key has changed EXEC will fail, so further keys do not matter.
    if !transaction.broken {
        let (handle, db) = (ctx.session()?, ctx.call.db);
        for at in 1..args.len() {
            watching::watch(&mut ctx.parts.clients, ctx.data, handle, db, args.key(at));
        }
    }
    reply.ok();
    Ok(Flow::Done)
}

const UNWATCH: Command = Command {
    name: "unwatch",
    since: "2.2.0",
    arity: 1,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY,
    summary: "Stops watching all keys.",
    run: unwatch,
    ..ROW
};

fn unwatch(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let handle = ctx.session()?;
    watching::unwatch_all(&mut ctx.parts.clients, ctx.data, handle);
    reply.ok();
    Ok(Flow::Done)
}

impl Ctx<'_> {
    /// Discards the transaction of the caller and unwatches all keys.
    pub(super) fn discard_transaction(&mut self) {
        if self.call.caller == Caller::Master {
            if let Some(transaction) = self.parts.following.transaction_mut() {
                *transaction = Default::default();
            }
        } else if let Some(handle) = self.call.session {
            watching::discard_transaction(&mut self.parts.clients, self.data, handle);
        }
    }
}
