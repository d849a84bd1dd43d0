//! The server itself: saving, ending, the time.

use russet_protocol::ErrorReply;

use super::{Args, Caller, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::client::Waiting;
use crate::io::Level;
use crate::persist::shutdown::ShutdownOptions;

/// What most rows of the family share.
const ROW: Command = Command {
    name: "",
    since: "1.0.0",
    group: Group::Server,
    arity: 0,
    flags: 0,
    acl: 0,
    keys: &[],
    syntax: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: time,
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "time",
        since: "2.6.0",
        arity: 1,
        flags: f::LOADING | f::STALE | f::FAST,
        summary: "Tells the server's wall clock: seconds and microseconds.",
        ..ROW
    },
    Command {
        name: "save",
        arity: 1,
        flags: f::ADMIN | f::NOSCRIPT | f::NO_ASYNC_LOADING | f::NO_MULTI,
        summary: "Writes the dump file and answers when it is on disk.",
        complexity: "O(N) in the number of keys of all databases",
        run: save,
        ..ROW
    },
    Command {
        name: "bgsave",
        arity: -1,
        flags: f::ADMIN | f::NOSCRIPT | f::NO_ASYNC_LOADING,
        syntax: "[SCHEDULE]",
        summary: "Starts to write the dump file and answers at once.",
        run: bgsave,
        ..ROW
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: f::LOADING | f::STALE | f::FAST,
        acl: acl::ADMIN | acl::DANGEROUS,
        summary: "Tells the Unix time of the last good save.",
        run: lastsave,
        ..ROW
    },
    Command {
        name: "shutdown",
        arity: -1,
        flags: f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE | f::NO_MULTI | f::ALLOW_BUSY,
        syntax: "[NOSAVE | SAVE] [NOW] [FORCE] [ABORT]",
        summary: "Ends the server when replicas have caught up and data is saved.",
        complexity: "O(N) in the number of keys if data is saved, else O(1)",
        run: shutdown,
        ..ROW
    },
];

fn time(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wall_us = ctx.node.now.wall_us;
    reply.array(2);
    reply.bulk_integer(wall_us.div_euclid(1_000_000));
    reply.bulk_integer(wall_us.rem_euclid(1_000_000));
    Ok(Flow::Done)
}

fn save(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let job = ctx.node.begin_save()?;
    let handle = ctx.client;
    ctx.node.block(handle, Waiting::Snapshot(job), None);
    Ok(Flow::Blocked)
}

fn bgsave(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let schedule = match args.len() {
        1 => false,
        2 if args.is(1, "SCHEDULE") => true,
        _ => return Err(ErrorReply::Syntax),
    };
    if ctx.node.persist.save().is_some() {
        return Err(ErrorReply::fixed("ERR Background save already in progress"));
    }
    // In the middle of EXEC the data is ahead of what replicas were told.
    let in_exec = ctx.caller == Caller::Exec;
    if !in_exec && ctx.node.begin_background_save().is_ok() {
        reply.simple("Background saving started");
        return Ok(Flow::Done);
    }
    if !schedule && !in_exec {
        return Err(ErrorReply::fixed(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
             SCHEDULE in order to schedule a BGSAVE whenever possible.",
        ));
    }
    ctx.node.persist.save_wanted = true;
    ctx.node.log(Level::Notice, "Background saving scheduled");
    reply.simple("Background saving scheduled");
    Ok(Flow::Done)
}

fn lastsave(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(ctx.node.persist.last_save_secs);
    Ok(Flow::Done)
}

fn shutdown(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut options = ShutdownOptions::default();
    let (mut abort, mut others) = (false, false);
    for at in 1..args.len() {
        let save =
            if args.is(at, "SAVE") { Some(true) } else { args.is(at, "NOSAVE").then_some(false) };
        if save.is_some() {
            if options.save.is_some_and(|before| Some(before) != save) {
                return Err(ErrorReply::Syntax);
            }
            options.save = save;
        } else if args.is(at, "NOW") {
            options.now = true;
        } else if args.is(at, "FORCE") {
            options.force = true;
        } else if args.is(at, "ABORT") {
            abort = true;
            continue;
        } else {
            return Err(ErrorReply::Syntax);
        }
        others = true;
    }
    if abort {
        return if others { Err(ErrorReply::Syntax) } else { abort_shutdown(ctx, reply) };
    }
    let handle = ctx.client;
    ctx.node.block(handle, Waiting::Shutdown, None);
    ctx.node.begin_shutdown(options)?;
    Ok(Flow::Blocked)
}

fn abort_shutdown(ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Outcome {
    let failed = ErrorReply::fixed("ERR Errors trying to SHUTDOWN. Check logs.");
    if !ctx.node.undo_shutdown(&failed) {
        return Err(ErrorReply::fixed("ERR No shutdown in progress."));
    }
    ctx.node.log(Level::Notice, "Shutdown manually aborted.");
    reply.ok();
    Ok(Flow::Done)
}
