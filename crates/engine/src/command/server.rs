//! The server as a whole: INFO, saving, shutdown, the time.

use russet_protocol::ErrorReply;

use super::argument::{one_of, optional, repeated, string, token};
use super::{Args, Caller, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::clients::Waiting;
use crate::info::{self, View};
use crate::io::Level;
use crate::parts::Parts;
use crate::persist::shutdown::ShutdownOptions;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[INFO, TIME, SAVE, BGSAVE, BGREWRITEAOF, LASTSAVE, SHUTDOWN];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

const INFO: Command = Command {
    name: "info",
    since: "1.0.0",
    arity: -1,
    flags: f::LOADING | f::STALE | f::SENTINEL,
    acl: acl::DANGEROUS,
    arguments: &[optional(repeated(string("section")))],
    summary: "Returns the state, the limits and the counters of the server.",
    run: info,
    ..ROW
};

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sections = info::selected(ctx.core.boot.mode, args.from(1));
    let text = info::text(
        &View::new((ctx.core, ctx.data, ctx.journal), ctx.parts, ctx.commands.names()),
        &sections,
    );
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}

const TIME: Command = Command {
    name: "time",
    since: "2.6.0",
    arity: 1,
    flags: f::LOADING | f::STALE | f::FAST,
    summary: "Returns the server's time as Unix seconds and microseconds.",
    run: time,
    ..ROW
};

fn time(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wall_us = ctx.core.now.wall_us;
    reply.array(2);
    reply.bulk_integer(wall_us.div_euclid(1_000_000));
    reply.bulk_integer(wall_us.rem_euclid(1_000_000));
    Ok(Flow::Done)
}

const SAVE: Command = Command {
    name: "save",
    since: "1.0.0",
    arity: 1,
    flags: f::ADMIN | f::NOSCRIPT | f::NO_ASYNC_LOADING | f::NO_MULTI,
    summary: "Saves the data to the dump file and replies when it is on disk.",
    complexity: "O(N) for N keys",
    run: save,
    ..ROW
};

fn save(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let place = ctx.stream_position();
    let job = ctx.parts.saves.begin(ctx.core, ctx.data, place)?;
    ctx.block(Waiting::Snapshot(job), None)
}

const BGSAVE: Command = Command {
    name: "bgsave",
    since: "1.0.0",
    arity: -1,
    flags: f::ADMIN | f::NOSCRIPT | f::NO_ASYNC_LOADING,
    arguments: &[optional(token("SCHEDULE"))],
    summary: "Starts saving the data to the dump file in the background.",
    run: bgsave,
    ..ROW
};

fn bgsave(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let schedule = match args.len() {
        1 => false,
        2 if args.is(1, "SCHEDULE") => true,
        2 if args.is(1, "CANCEL") => {
            reply.simple(ctx.parts.saves.cancel(ctx.core, ctx.data)?);
            return Ok(Flow::Done);
        }
        _ => return Err(ErrorReply::Syntax),
    };
    if ctx.parts.saves.current().is_some() {
        return Err(ErrorReply::fixed("ERR Background save already in progress"));
    }
    // In the middle of EXEC the data is ahead of what replicas were told.
    let in_exec = ctx.call.caller == Caller::Exec;
    let place = ctx.stream_position();
    if !in_exec && ctx.parts.saves.begin_in_background(ctx.core, ctx.data, place).is_ok() {
        reply.simple("Background saving started");
        return Ok(Flow::Done);
    }
    if !schedule && !in_exec {
        return Err(ErrorReply::fixed(
            "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE \
             SCHEDULE in order to schedule a BGSAVE whenever possible.",
        ));
    }
    ctx.parts.saves.is_wanted = true;
    ctx.core.log(Level::Notice, "Background saving scheduled");
    reply.simple("Background saving scheduled");
    Ok(Flow::Done)
}

const BGREWRITEAOF: Command = Command {
    name: "bgrewriteaof",
    since: "1.0.0",
    arity: 1,
    flags: f::ADMIN | f::NOSCRIPT | f::NO_ASYNC_LOADING,
    summary: "Starts rewriting the append-only file in the background.",
    run: bgrewriteaof,
    ..ROW
};

fn bgrewriteaof(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let begins = ctx.parts.aof.rewrite(&ctx.parts.saves)? && ctx.call.caller != Caller::Exec;
    reply.simple(match begins {
        true => "Background append only file rewriting started",
        false => "Background append only file rewriting scheduled",
    });
    Ok(Flow::Done)
}

const LASTSAVE: Command = Command {
    name: "lastsave",
    since: "1.0.0",
    arity: 1,
    flags: f::LOADING | f::STALE | f::FAST,
    acl: acl::ADMIN | acl::DANGEROUS,
    summary: "Returns the Unix time of the last successful save.",
    run: lastsave,
    ..ROW
};

fn lastsave(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(ctx.parts.saves.last_secs);
    Ok(Flow::Done)
}

const SHUTDOWN: Command = Command {
    name: "shutdown",
    since: "1.0.0",
    arity: -1,
    flags: f::ADMIN
        | f::NOSCRIPT
        | f::LOADING
        | f::STALE
        | f::NO_MULTI
        | f::ALLOW_BUSY
        | f::SENTINEL,
    arguments: &[
        optional(one_of("save-selector", &[token("NOSAVE"), token("SAVE")])),
        optional(token("NOW")),
        optional(token("FORCE")),
        optional(token("ABORT")),
        optional(token("FAILOVER")),
    ],
    summary: "Shuts the server down once replicas have caught up and the data is saved.",
    complexity: "O(N) for N keys if the data is saved, O(1) otherwise",
    run: shutdown,
    ..ROW
};

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
        } else if args.is(at, "FAILOVER") {
            options.failover = true;
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
    if options.now && options.failover {
        return Err(ErrorReply::Syntax);
    }
    let blocked = ctx.block(Waiting::Shutdown, None)?;
    let Parts { shutdown, pause, master, .. } = ctx.parts;
    shutdown.begin(ctx.core, pause, master, options);
    Ok(blocked)
}

fn abort_shutdown(ctx: &mut Ctx<'_>, reply: &mut Reply<'_>) -> Outcome {
    let failed = ErrorReply::fixed("ERR Errors trying to SHUTDOWN. Check logs.");
    let Parts { shutdown, clients, pause, .. } = ctx.parts;
    if !shutdown.cancel(ctx.core, clients, pause, &failed) {
        return Err(ErrorReply::fixed("ERR No shutdown in progress."));
    }
    ctx.core.log(Level::Notice, "Shutdown manually aborted.");
    reply.ok();
    Ok(Flow::Done)
}
