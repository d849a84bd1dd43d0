//! SLOWLOG: commands that took long.

use russet_protocol::ErrorReply;

use super::argument::{int, optional};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, flag as f, help};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[SLOWLOG];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

/// The flags of all subcommands but HELP.
const ADMIN: u64 = f::ADMIN | f::LOADING | f::STALE;

/// How many entries GET returns unless it is told.
const COUNT: i64 = 10;

const SLOWLOG: Command = Command {
    name: "slowlog",
    since: "2.2.12",
    arity: -2,
    summary: "Lists commands that took long.",
    complexity: "Depends on the subcommand",
    subcommands: &[GET, LEN, RESET, HELP],
    ..ROW
};

const HELP: Command =
    Command { name: "slowlog|help", since: "6.2.0", group: Group::Server, ..help::ROW };

const GET: Command = Command {
    name: "slowlog|get",
    since: "2.2.12",
    arity: -2,
    flags: ADMIN,
    arguments: &[optional(int("count"))],
    summary: "Returns the latest entries, 10 by default and all with -1: number, time, microseconds, arguments, address and \
              name of the client.",
    complexity: "O(N) with N entries",
    run: get,
    ..ROW
};

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = match args.len() {
        2 => Some(COUNT),
        3 => args.integer(2).ok().filter(|count| *count >= -1),
        _ => return Err(help::wrong_use(ctx, args)),
    };
    let too_small = || ErrorReply::err("count should be greater than or equal to -1");
    let count = count.ok_or_else(too_small)?;
    let log = &ctx.parts.slowlog;
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(log.len());
    reply.array(count);
    for entry in log.iter().take(count) {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.at_s);
        reply.integer(entry.took_us as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.peer.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(Flow::Done)
}

const LEN: Command = Command {
    name: "slowlog|len",
    since: "2.2.12",
    arity: 2,
    flags: ADMIN,
    summary: "Returns the number of entries.",
    run: len,
    ..ROW
};

fn len(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.parts.slowlog.len());
    Ok(Flow::Done)
}

const RESET: Command = Command {
    name: "slowlog|reset",
    since: "2.2.12",
    arity: 2,
    flags: ADMIN,
    summary: "Removes all entries.",
    complexity: "O(N) with N entries",
    run: reset,
    ..ROW
};

fn reset(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.parts.slowlog.clear();
    reply.ok();
    Ok(Flow::Done)
}

/// Maximum number of arguments of an entry, the note about the others included.
const ARGS_MAX: usize = 32;

/// Maximum bytes of an argument, without the note about the others.
const ARG_BYTES_MAX: usize = 128;

/// What is shown instead of a secret.
pub(crate) const REDACTED: &[u8] = b"(redacted)";

/// Returns what the log keeps of a command's arguments: a bounded part, and no secrets.
pub(crate) fn shown(command: &Command, args: &Args<'_>) -> Vec<Vec<u8>> {
    let kept = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let text = |(at, arg): (usize, &[u8])| {
        if command.is_secret(args, at) {
            return REDACTED.to_vec();
        }
        let mut text = arg[..arg.len().min(ARG_BYTES_MAX)].to_vec();
        if arg.len() > ARG_BYTES_MAX {
            let more = arg.len() - ARG_BYTES_MAX;
            text.extend(format!("... ({more} more bytes)").into_bytes());
        }
        text
    };
    let mut texts: Vec<Vec<u8>> = args.iter().take(kept).enumerate().map(text).collect();
    if args.len() > kept {
        let more = args.len() - kept;
        texts.push(format!("... ({more} more arguments)").into_bytes());
    }
    texts
}
