//! CLIENT: connections look at themselves and at each other.
//!
//! The rows and the small subcommands are here; `list.rs` is how a connection is shown, `kill.rs` how others are ended.

mod kill;
mod list;

use russet_protocol::ErrorReply;

use super::connection::{bad_name, is_printable};
use super::help::{container, help};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::client::Waiting;
use crate::pause::{PauseMode, PauseReason};
pub(crate) use list::describe;

const PLAIN: u64 = f::NOSCRIPT | f::LOADING | f::STALE;
const ADMIN: u64 = PLAIN | f::ADMIN;

/// What most rows of the family share.
const ROW: Command = Command {
    name: "client",
    since: "2.4.0",
    group: Group::Connection,
    arity: 2,
    flags: PLAIN,
    acl: acl::CONNECTION,
    keys: &[],
    syntax: "",
    summary: "",
    complexity: "O(1)",
    subcommands: &[],
    run: container,
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command {
    arity: -2,
    flags: 0,
    acl: 0,
    summary: "Looks at connections and changes them.",
    complexity: "Depends on the subcommand",
    subcommands: SUBCOMMANDS,
    ..ROW
}];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "client|id",
        since: "5.0.0",
        summary: "Tells this connection's id.",
        run: id,
        ..ROW
    },
    Command {
        name: "client|info",
        since: "6.2.0",
        summary: "Shows this connection as CLIENT LIST would.",
        run: list::info,
        ..ROW
    },
    Command {
        name: "client|list",
        arity: -2,
        flags: ADMIN,
        syntax: "[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID client-id [client-id ...]]",
        summary: "Shows connections, a line each.",
        complexity: "O(N) in the number of connections",
        run: list::list,
        ..ROW
    },
    Command {
        name: "client|kill",
        arity: -3,
        flags: ADMIN,
        syntax: "<ip:port | <[ID client-id] | [TYPE <NORMAL | MASTER | SLAVE | REPLICA | PUBSUB>] | \
                 [USER username] | [ADDR ip:port] | [LADDR ip:port] | [SKIPME <YES | NO>] | \
                 [MAXAGE maxage]> ...>",
        summary: "Closes the connections that pass all of the filters.",
        complexity: "O(N) in the number of connections",
        run: kill::kill,
        ..ROW
    },
    Command {
        name: "client|setname",
        since: "2.6.9",
        arity: 3,
        syntax: "connection-name",
        summary: "Names this connection; an empty name takes the name away.",
        run: setname,
        ..ROW
    },
    Command {
        name: "client|getname",
        since: "2.6.9",
        summary: "Tells this connection's name.",
        run: getname,
        ..ROW
    },
    Command {
        name: "client|setinfo",
        since: "7.2.0",
        arity: 4,
        syntax: "<LIB-NAME libname | LIB-VER libver>",
        summary: "Tells which library this connection uses.",
        run: setinfo,
        ..ROW
    },
    Command {
        name: "client|reply",
        since: "3.2.0",
        arity: 3,
        syntax: "<ON | OFF | SKIP>",
        summary: "Chooses which replies this connection gets.",
        run: reply_mode,
        ..ROW
    },
    Command {
        name: "client|pause",
        since: "3.0.0",
        arity: -3,
        flags: ADMIN,
        syntax: "timeout [WRITE | ALL]",
        summary: "Holds back the commands of all clients, or those that write, for milliseconds.",
        run: pause,
        ..ROW
    },
    Command {
        name: "client|unpause",
        since: "6.2.0",
        flags: ADMIN,
        summary: "Ends what CLIENT PAUSE began.",
        complexity: "O(N) in the number of clients held back",
        run: unpause,
        ..ROW
    },
    Command {
        name: "client|unblock",
        since: "5.0.0",
        arity: -3,
        flags: ADMIN,
        syntax: "client-id [TIMEOUT | ERROR]",
        summary: "Makes a client that waits in a blocking command go on.",
        complexity: "O(N) in the number of connections",
        run: unblock,
        ..ROW
    },
    Command {
        name: "client|no-evict",
        since: "7.0.0",
        arity: 3,
        flags: ADMIN,
        syntax: "<ON | OFF>",
        summary: "Keeps this connection when memory for clients runs short.",
        run: no_evict,
        ..ROW
    },
    Command {
        name: "client|no-touch",
        since: "7.2.0",
        arity: 3,
        syntax: "<ON | OFF>",
        summary: "Lets this connection read keys without making them look used.",
        run: no_touch,
        ..ROW
    },
    Command {
        name: "client|getredir",
        since: "6.0.0",
        summary: "Tells which connection gets this one's invalidation messages: -1, none.",
        run: getredir,
        ..ROW
    },
    Command {
        name: "client|trackinginfo",
        since: "6.2.0",
        summary: "Tells how keys are tracked for this connection.",
        run: trackinginfo,
        ..ROW
    },
    Command {
        name: "client|help",
        since: "5.0.0",
        flags: f::LOADING | f::STALE,
        summary: "Lists the subcommands.",
        run: help,
        ..ROW
    },
];

fn id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(i64::try_from(ctx.me().id).unwrap_or(i64::MAX));
    Ok(Flow::Done)
}

fn setname(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !is_printable(&args[2]) {
        return Err(bad_name());
    }
    ctx.me().name = args[2].to_vec();
    reply.ok();
    Ok(Flow::Done)
}

fn getname(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let name = &ctx.me().name;
    if name.is_empty() {
        reply.null()
    } else {
        reply.bulk(name)
    }
    Ok(Flow::Done)
}

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
    let me = ctx.me();
    let place = if args.is(2, "LIB-NAME") { &mut me.lib_name } else { &mut me.lib_version };
    *place = value.to_vec();
    reply.ok();
    Ok(Flow::Done)
}

fn reply_mode(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mode = &mut ctx.me().reply_mode;
    if args.is(2, "ON") {
        (mode.off, mode.skip) = (false, false);
        reply.ok();
    } else if args.is(2, "OFF") {
        mode.off = true;
    } else if args.is(2, "SKIP") {
        mode.skip_next |= !mode.off;
    } else {
        return Err(ErrorReply::Syntax);
    }
    Ok(Flow::Done)
}

fn pause(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mode = match args.len() {
        3 => PauseMode::All,
        4 if args.is(3, "WRITE") => PauseMode::Write,
        4 if args.is(3, "ALL") => PauseMode::All,
        4 => return Err(ErrorReply::fixed("ERR CLIENT PAUSE mode must be WRITE or ALL")),
        _ => return Err(wrong_use(args)),
    };
    let (_, end_us) = args.timeout(2, ctx.node.now)?;
    ctx.node.pause_clients(PauseReason::Client, mode, end_us);
    reply.ok();
    Ok(Flow::Done)
}

fn unpause(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.node.unpause_clients(PauseReason::Client);
    reply.ok();
    Ok(Flow::Done)
}

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
    let target = u64::try_from(id).ok().and_then(|id| ctx.node.clients.by_id(id));
    let waits = target.and_then(|client| Some((client.handle, client.blocked.as_ref()?)));
    // What a pause, a save or the end of the server holds cannot be let go one by one.
    let Some((handle, Waiting::Acks { offset, .. })) = waits.map(|(h, b)| (h, &b.waiting)) else {
        reply.integer(0);
        return Ok(Flow::Done);
    };
    let have = ctx.node.replicas_at(*offset);
    if by_error {
        let text = "UNBLOCKED client unblocked via CLIENT UNBLOCK";
        ctx.node.reply_error(handle, &ErrorReply::fixed(text));
    } else {
        ctx.node.with_reply(handle, |_, reply| reply.count(have));
    }
    ctx.node.resume(handle);
    reply.integer(1);
    Ok(Flow::Done)
}

/// `ON` or `OFF` at an index.
fn switch(args: &Args<'_>, index: usize) -> Result<bool, ErrorReply> {
    match (args.is(index, "ON"), args.is(index, "OFF")) {
        (true, _) => Ok(true),
        (_, true) => Ok(false),
        _ => Err(ErrorReply::Syntax),
    }
}

fn no_evict(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.me().no_evict = switch(args, 2)?;
    reply.ok();
    Ok(Flow::Done)
}

fn no_touch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.me().no_touch = switch(args, 2)?;
    reply.ok();
    Ok(Flow::Done)
}

fn getredir(_ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.integer(-1);
    Ok(Flow::Done)
}

/// Nothing is tracked: there is no CLIENT TRACKING yet.
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

/// More arguments than a subcommand knows what to do with.
fn wrong_use(args: &Args<'_>) -> ErrorReply {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    ErrorReply::quoting(before, &args[1], "'. Try CLIENT HELP.")
}
