//! Transactions: MULTI, EXEC and what watches over them. How EXEC runs its queue stands in
//! `crate::transaction`.

use russet_protocol::ErrorReply;

use super::keyspec::{KeySpec, key_flag as k};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        since: "1.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
        acl: acl::TRANSACTION,
        keys: &[],
        syntax: "",
        summary: "Begins a transaction: what follows is queued.",
        complexity: "O(1)",
        subcommands: &[],
        run: multi,
    },
    Command {
        name: "exec",
        since: "1.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: f::NOSCRIPT | f::LOADING | f::STALE | f::SKIP_SLOWLOG | f::IN_MULTI,
        acl: acl::TRANSACTION,
        keys: &[],
        syntax: "",
        summary: "Runs what a transaction queued.",
        complexity: "Depends on the queued commands",
        subcommands: &[],
        run: exec,
    },
    Command {
        name: "discard",
        since: "2.0.0",
        group: Group::Transactions,
        arity: 1,
        flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
        acl: acl::TRANSACTION,
        keys: &[],
        syntax: "",
        summary: "Ends a transaction without running what it queued.",
        complexity: "O(N) with N queued commands",
        subcommands: &[],
        run: discard,
    },
    Command {
        name: "watch",
        since: "2.2.0",
        group: Group::Transactions,
        arity: -2,
        flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY | f::IN_MULTI,
        acl: acl::TRANSACTION,
        keys: &[KeySpec::rest(1, 1, k::RO)],
        syntax: "key [key ...]",
        summary: "Makes the next transaction depend on these keys staying as they are.",
        complexity: "O(1) for each key",
        subcommands: &[],
        run: watch,
    },
    Command {
        name: "unwatch",
        since: "2.2.0",
        group: Group::Transactions,
        arity: 1,
        flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::ALLOW_BUSY,
        acl: acl::TRANSACTION,
        keys: &[],
        syntax: "",
        summary: "Forgets the keys being watched.",
        complexity: "O(1)",
        subcommands: &[],
        run: unwatch,
    },
];

fn multi(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let transaction = &mut ctx.me().transaction;
    if transaction.open {
        return Err(ErrorReply::err("MULTI calls can not be nested"));
    }
    transaction.open = true;
    reply.ok();
    Ok(Flow::Done)
}

fn exec(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let handle = ctx.client;
    let expired = ctx.node.watched_key_expired(handle);
    let transaction = &mut ctx.me().transaction;
    if !transaction.open {
        return Err(ErrorReply::err("EXEC without MULTI"));
    }
    let (refused, broken) = (transaction.refused, transaction.broken || expired);
    if refused || broken {
        ctx.node.discard_transaction(handle);
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

fn discard(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !ctx.me().transaction.open {
        return Err(ErrorReply::err("DISCARD without MULTI"));
    }
    let handle = ctx.client;
    ctx.node.discard_transaction(handle);
    reply.ok();
    Ok(Flow::Done)
}

fn watch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let transaction = &ctx.me().transaction;
    if transaction.open {
        return Err(ErrorReply::err("WATCH inside MULTI is not allowed"));
    }
    // A transaction that is broken already stays so whatever else is watched.
    if !transaction.broken {
        let (handle, db) = (ctx.client, ctx.db);
        for at in 1..args.len() {
            ctx.node.watch(handle, db, args.key(at));
        }
    }
    reply.ok();
    Ok(Flow::Done)
}

fn unwatch(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let handle = ctx.client;
    ctx.node.unwatch_all(handle);
    reply.ok();
    Ok(Flow::Done)
}
