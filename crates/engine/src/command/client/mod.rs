//! CLIENT: inspects and controls connections.

mod kill;
mod list;

use russet_protocol::ErrorReply;

use super::connection::{bad_name, is_printable};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f, help};
use crate::call::Caller;
use crate::clients::Waiting;
use crate::command::argument::{after, int, one_of, optional, string, token};
use crate::core::{Answer, Order};
use crate::pause::{PauseMode, PauseReason};
pub(crate) use list::describe;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[CLIENT];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Connection, acl: acl::CONNECTION, ..Command::ROW };

const CLIENT: Command = Command {
    name: "client",
    since: "2.4.0",
    arity: -2,
    flags: f::SENTINEL,
    acl: 0,
    summary: "Inspects and controls client connections.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        ID,
        list::INFO,
        list::LIST,
        kill::KILL,
        SETNAME,
        GETNAME,
        SETINFO,
        REPLY,
        PAUSE,
        UNPAUSE,
        UNBLOCK,
        NO_EVICT,
        NO_TOUCH,
        GETREDIR,
        TRACKINGINFO,
        HELP,
    ],
    ..ROW
};

const HELP: Command = Command {
    name: "client|help",
    since: "5.0.0",
    group: Group::Connection,
    acl: acl::CONNECTION,
    ..help::ROW
};

const PLAIN: u64 = f::NOSCRIPT | f::LOADING | f::STALE;
const ADMIN: u64 = PLAIN | f::ADMIN;

const ID: Command = Command {
    name: "client|id",
    since: "5.0.0",
    arity: 2,
    flags: PLAIN,
    summary: "Returns the ID of this connection.",
    run: id,
    ..ROW
};

fn id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(i64::try_from(ctx.client()?.id).unwrap_or(i64::MAX));
    Ok(Flow::Done)
}

const SETNAME: Command = Command {
    name: "client|setname",
    since: "2.6.9",
    arity: 3,
    flags: PLAIN,
    arguments: &[string("connection-name")],
    summary: "Sets the name of this connection. An empty name clears it.",
    run: setname,
    ..ROW
};

fn setname(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !is_printable(&args[2]) {
        return Err(bad_name());
    }
    ctx.client()?.name = args[2].to_vec();
    reply.ok();
    Ok(Flow::Done)
}

const GETNAME: Command = Command {
    name: "client|getname",
    since: "2.6.9",
    arity: 2,
    flags: PLAIN,
    summary: "Returns the name of this connection.",
    run: getname,
    ..ROW
};

fn getname(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = &ctx.client()?.name;
    if name.is_empty() {
        reply.null()
    } else {
        reply.bulk(name)
    }
    Ok(Flow::Done)
}

const SETINFO: Command = Command {
    name: "client|setinfo",
    since: "7.2.0",
    arity: 4,
    flags: PLAIN,
    arguments: &[one_of(
        "attr",
        &[after("lib-name", string("libname")), after("lib-ver", string("libver"))],
    )],
    summary: "Sets the name or version of the library that this connection uses.",
    run: setinfo,
    ..ROW
};

fn setinfo(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (attribute, value) = (&args[2], &args[3]);
    let known = args.is(2, "LIB-NAME") || args.is(2, "LIB-VER");
    if !known {
        return Err(ErrorReply::quoting("ERR Unrecognized option '", attribute, "'"));
    }
    if !is_printable(value) {
        let after = " cannot contain spaces, newlines or special characters.";
        return Err(ErrorReply::quoting("ERR ", attribute, after));
    }
    let me = ctx.client()?;
    let place = if args.is(2, "LIB-NAME") { &mut me.lib_name } else { &mut me.lib_version };
    *place = value.to_vec();
    reply.ok();
    Ok(Flow::Done)
}

const REPLY: Command = Command {
    name: "client|reply",
    since: "3.2.0",
    arity: 3,
    flags: PLAIN,
    arguments: &[one_of("action", &[token("ON"), token("OFF"), token("SKIP")])],
    summary: "Turns replies to this connection on or off, or skips the next one.",
    run: reply_mode,
    ..ROW
};

/// Changes the mode at once, or when the running EXEC ends: its reply is sent whole or not at all.
fn reply_mode(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_queued = ctx.call.caller == Caller::Exec;
    let mode = &mut ctx.client()?.reply_mode;
    let is_on = args.is(2, "ON");
    if args.is(2, "SKIP") {
        mode.skip_next |= !mode.off;
    } else if !is_on && !args.is(2, "OFF") {
        return Err(ErrorReply::Syntax);
    } else if is_queued {
        mode.off_after_exec = Some(!is_on);
    } else {
        mode.off = !is_on;
        mode.skip &= !is_on;
    }
    if is_on {
        reply.ok();
        return Ok(Flow::Done);
    }
    ctx.no_reply(reply)
}

const PAUSE: Command = Command {
    name: "client|pause",
    since: "3.0.0",
    arity: -3,
    flags: ADMIN,
    arguments: &[int("timeout"), optional(one_of("mode", &[token("WRITE"), token("ALL")]))],
    summary: "Suspends all commands of clients, or those that write, for some milliseconds.",
    run: pause,
    ..ROW
};

fn pause(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mode = match args.len() {
        3 => PauseMode::All,
        4 if args.is(3, "WRITE") => PauseMode::Write,
        4 if args.is(3, "ALL") => PauseMode::All,
        4 => return Err(ErrorReply::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(wrong_use(args)),
    };
    let (_, end_us) = args.timeout(2, ctx.core.now)?;
    ctx.parts.pause.begin(ctx.core, PauseReason::Client, mode, end_us);
    reply.ok();
    Ok(Flow::Done)
}

const UNPAUSE: Command = Command {
    name: "client|unpause",
    since: "6.2.0",
    arity: 2,
    flags: ADMIN,
    summary: "Resumes the clients that CLIENT PAUSE suspended.",
    complexity: "O(N) for N suspended clients",
    run: unpause,
    ..ROW
};

fn unpause(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.parts.pause.end(ctx.core, PauseReason::Client);
    reply.ok();
    Ok(Flow::Done)
}

const UNBLOCK: Command = Command {
    name: "client|unblock",
    since: "5.0.0",
    arity: -3,
    flags: ADMIN,
    arguments: &[
        int("client-id"),
        optional(one_of("unblock-type", &[token("TIMEOUT"), token("ERROR")])),
    ],
    summary: "Unblocks a client that waits in a blocking command.",
    complexity: "O(1)",
    run: unblock,
    ..ROW
};

fn unblock(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let by_error = match args.len() {
        3 => false,
        4 if args.is(3, "TIMEOUT") => false,
        4 if args.is(3, "ERROR") => true,
        4 => {
            return Err(ErrorReply::fixed("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
        }
        _ => return Err(wrong_use(args)),
    };
    let id = args.integer(2)?;
    let target = u64::try_from(id).ok().and_then(|id| ctx.parts.clients.by_id(id));
    let waits = target.and_then(|client| Some((client.handle, client.blocked.as_ref()?)));
    // Clients that wait for a pause, a save or a shutdown cannot be unblocked.
    let Some((handle, waiting)) = waits.map(|(handle, blocked)| (handle, blocked.waiting)) else {
        reply.integer(0);
        return Ok(Flow::Done);
    };
    let answer = match waiting {
        Waiting::Acks(_) | Waiting::SlotAcks(_) | Waiting::Keys if by_error => {
            Answer::Error(ErrorReply::fixed("UNBLOCKED client unblocked via CLIENT UNBLOCK"))
        }
        Waiting::Acks(awaited) => {
            ctx.parts.master.acks(&awaited, ctx.parts.aof.synced_batch()).answer(&awaited)
        }
        Waiting::SlotAcks(_) => Answer::Error(ErrorReply::NoReplicas),
        Waiting::Keys => Answer::NullArray,
        _ => {
            reply.integer(0);
            return Ok(Flow::Done);
        }
    };
    ctx.core.order(Order::Answer(handle, answer));
    reply.integer(1);
    Ok(Flow::Done)
}

/// Parses `ON` or `OFF`.
fn switch(args: &Args<'_>, index: usize) -> Result<bool, ErrorReply> {
    match (args.is(index, "ON"), args.is(index, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(ErrorReply::Syntax),
    }
}

const NO_EVICT: Command = Command {
    name: "client|no-evict",
    since: "7.0.0",
    arity: 3,
    flags: ADMIN,
    arguments: &[one_of("enabled", &[token("ON"), token("OFF")])],
    summary: "Excludes this connection from client eviction, or includes it again.",
    run: no_evict,
    ..ROW
};

fn no_evict(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.client()?.no_evict = switch(args, 2)?;
    reply.ok();
    Ok(Flow::Done)
}

const NO_TOUCH: Command = Command {
    name: "client|no-touch",
    since: "7.2.0",
    arity: 3,
    flags: PLAIN | f::NOT_SENTINEL,
    arguments: &[one_of("enabled", &[token("ON"), token("OFF")])],
    summary: "Controls whether this connection's commands count as use of the keys they read.",
    run: no_touch,
    ..ROW
};

fn no_touch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.client()?.no_touch = switch(args, 2)?;
    reply.ok();
    Ok(Flow::Done)
}

const GETREDIR: Command = Command {
    name: "client|getredir",
    since: "6.0.0",
    arity: 2,
    flags: PLAIN,
    summary: "Returns the ID of the connection that gets this one's invalidation messages.",
    run: getredir,
    ..ROW
};

fn getredir(_ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(-1);
    Ok(Flow::Done)
}

const TRACKINGINFO: Command = Command {
    name: "client|trackinginfo",
    since: "6.2.0",
    arity: 2,
    flags: PLAIN,
    summary: "Describes how the server tracks keys for this connection.",
    run: trackinginfo,
    ..ROW
};

/// Reports that nothing is tracked, since there is no CLIENT TRACKING yet.
fn trackinginfo(_ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(Flow::Done)
}

/// The error for a subcommand with too many arguments.
fn wrong_use(args: &Args<'_>) -> ErrorReply {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    ErrorReply::quoting(before, &args[1], "'. Try CLIENT HELP.")
}
