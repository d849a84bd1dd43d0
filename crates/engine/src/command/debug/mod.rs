//! DEBUG: what tests and the search for defects need.
//!
//! DEBUG is refused unless `enable-debug-command` allows it. As in Redis, clients see one command:
//! its subcommands have rows for lookup and HELP, but no names, statistics or arity errors of their
//! own.

mod bus;
mod data;
mod digest;
mod protocol;

use russet_ds::glob::{self, Case};
use russet_protocol::ErrorReply;

use super::argument::{double, one_of, optional, repeated, string, token};
use super::slowlog::shown;
use super::{Args, Command, Ctx, Flow, Group, Outcome, Protection, Reply, flag as f, help};
use crate::busy::Activity;
use crate::clients::Waiting;
use crate::io::Level;
use crate::persist::loading::ExistingKeys;
use crate::timers::Timer;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[DEBUG];

const DEBUG: Command = Command {
    name: "debug",
    since: "1.0.0",
    group: Group::Server,
    arity: -2,
    flags: f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE | f::PRIVATE_SUBCOMMANDS,
    summary: "Inspects the server and makes it misbehave, for tests.",
    complexity: "Depends on the subcommand",
    subcommands: &[
        CHANGE_REPL_ID,
        bus::CLOSE_CLUSTER_LINK_ON_PACKET_DROP,
        bus::CLUSTERLINK,
        data::DIGEST,
        data::DIGEST_VALUE,
        bus::DROP_CLUSTER_PACKET_FILTER,
        ERROR,
        data::HTSTATS,
        data::HTSTATS_KEY,
        LOG,
        data::OBJECT,
        PAUSE_CRON,
        data::POPULATE,
        protocol::PROTOCOL,
        LOADAOF,
        RELOAD,
        REPLICATE,
        SET_ACTIVE_EXPIRE,
        SET_SKIP_CHECKSUM_VALIDATION,
        SLEEP,
        STRINGMATCH_TEST,
        HELP,
    ],
    protection: Some(Protection {
        directive: "enable-debug-command",
        allowed: |config| config.enable_debug_command,
    }),
    run: debug,
    ..Command::ROW
};

const HELP: Command = Command { name: "debug|help", ..help::ROW };

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut rows = ctx.command.subcommands.iter();
    match rows.find(|row| args.is(1, row.word()) && row.takes(args.len())) {
        Some(row) => {
            ctx.command = row;
            (row.run)(ctx, &args.of(row), reply)
        }
        None => Err(wrong_use(args)),
    }
}

/// The error of a subcommand that does not exist, or not with that many arguments.
fn wrong_use(args: &Args<'_>) -> ErrorReply {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    let given = &args[1][..args[1].len().min(128)];
    ErrorReply::quoting(before, given, "'. Try DEBUG HELP.")
}

/// Reads the argument as C's `atoi` does: text that is not a number is 0.
fn is_on(args: &Args<'_>) -> bool {
    crate::config::grammar::parse_lenient_integer(&args[2]).unwrap_or(0) != 0
}

const SET_ACTIVE_EXPIRE: Command = Command {
    name: "debug|set-active-expire",
    arity: 3,
    arguments: &[one_of("enabled", &[token("0"), token("1")])],
    summary: "Turns the active removal of expired keys off or on. Off, a key is removed when it is accessed.",
    run: set_active_expire,
    ..Command::ROW
};

fn set_active_expire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.parts.active_expire = is_on(args);
    reply.ok();
    Ok(Flow::Done)
}

const SET_SKIP_CHECKSUM_VALIDATION: Command = Command {
    name: "debug|set-skip-checksum-validation",
    arity: 3,
    arguments: &[one_of("enabled", &[token("0"), token("1")])],
    summary: "Skips (1) or verifies (0) the checksums of files and of RESTORE's payloads.",
    run: set_skip_checksum_validation,
    ..Command::ROW
};

fn set_skip_checksum_validation(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    ctx.core.skips_checksums = is_on(args);
    reply.ok();
    Ok(Flow::Done)
}

const PAUSE_CRON: Command = Command {
    name: "debug|pause-cron",
    arity: 3,
    arguments: &[one_of("enabled", &[token("0"), token("1")])],
    summary: "Pauses (1) or resumes (0) periodic tasks.",
    run: pause_cron,
    ..Command::ROW
};

fn pause_cron(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.parts.cron_paused = is_on(args);
    reply.ok();
    Ok(Flow::Done)
}

const SLEEP: Command = Command {
    name: "debug|sleep",
    arity: 3,
    arguments: &[double("seconds")],
    summary: "Blocks the server for a time.",
    run: sleep,
    ..Command::ROW
};

fn sleep(ctx: &mut Ctx<'_>, args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    ctx.parts.slowlog.sleep_began(ctx.core, shown(ctx.command, args));
    let seconds: f64 = args.text(2).trim().parse().unwrap_or(0.0);
    // The cast turns a negative number or NaN into 0, and caps one that is too large.
    let micros = (seconds * 1e6) as u64;
    let end_us = ctx.core.now.mono_us.saturating_add(micros);
    ctx.parts.busy.begin(Activity::Sleep, Some(ctx.session()?));
    ctx.core.timers.set(Timer::Sleep, end_us);
    ctx.block(Waiting::Node, None)
}

const LOADAOF: Command = Command {
    name: "debug|loadaof",
    arity: 2,
    summary: "Writes the append-only file, removes all keys and loads it.",
    run: loadaof,
    ..Command::ROW
};

fn loadaof(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    if ctx.parts.loading.is_loading() {
        return Err(ErrorReply::Loading);
    }
    let handle = ctx.session()?;
    ctx.parts.busy.begin(Activity::Reload, Some(handle));
    ctx.parts.loading.aof_wanted = Some(handle);
    ctx.block(Waiting::Node, None)
}

const RELOAD: Command = Command {
    name: "debug|reload",
    arity: -2,
    arguments: &[optional(token("NOSAVE")), optional(token("NOFLUSH")), optional(token("MERGE"))],
    summary: "Saves the data unless NOSAVE is given, empties the keyspace unless NOFLUSH is given, and loads the dump file. With NOFLUSH, a key that exists is an error unless MERGE is given: then the value in the file replaces it.",
    run: reload,
    ..Command::ROW
};

fn reload(ctx: &mut Ctx<'_>, args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let (mut save, mut flush, mut merge) = (true, true, false);
    for at in 2..args.len() {
        if args.is(at, "NOSAVE") {
            save = false;
        } else if args.is(at, "NOFLUSH") {
            flush = false;
        } else if args.is(at, "MERGE") {
            merge = true;
        } else {
            return Err(ErrorReply::fixed(
                "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
            ));
        }
    }
    if ctx.parts.loading.is_loading() {
        return Err(ErrorReply::Loading);
    }
    let existing = match (flush, merge) {
        (true, _) => ExistingKeys::Remove,
        (false, false) => ExistingKeys::Keep,
        (false, true) => ExistingKeys::Replace,
    };
    let handle = ctx.session()?;
    ctx.parts.busy.begin(Activity::Reload, Some(handle));
    ctx.parts.loading.begin_reload(ctx.core, ctx.data, handle, existing, save);
    ctx.block(Waiting::Node, None)
}

const ERROR: Command = Command {
    name: "debug|error",
    arity: 3,
    arguments: &[string("message")],
    summary: "Replies the given error.",
    run: error,
    ..Command::ROW
};

fn error(_ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.error(&ErrorReply::Quoting(args[2].to_vec()));
    Ok(Flow::Done)
}

const LOG: Command = Command {
    name: "debug|log",
    arity: 3,
    arguments: &[string("message")],
    summary: "Writes a message to the log.",
    run: log,
    ..Command::ROW
};

fn log(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text = args.text(2);
    ctx.core.log(Level::Warning, format!("DEBUG LOG: {text}"));
    reply.ok();
    Ok(Flow::Done)
}

const CHANGE_REPL_ID: Command = Command {
    name: "debug|change-repl-id",
    arity: 2,
    summary: "Changes the replication ID, so that replicas cannot resume.",
    run: change_repl_id,
    ..Command::ROW
};

fn change_repl_id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text = "Changing replication IDs after receiving DEBUG change-repl-id";
    ctx.core.log(Level::Notice, text);
    ctx.parts.master.stream.change_id(&mut ctx.core.ids);
    reply.ok();
    Ok(Flow::Done)
}

const REPLICATE: Command = Command {
    name: "debug|replicate",
    arity: -3,
    arguments: &[string("command"), optional(repeated(string("arg")))],
    summary: "Sends a command to the replicas without running it here.",
    run: replicate,
    ..Command::ROW
};

fn replicate(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let command: Vec<&[u8]> = args.from(2).collect();
    ctx.effect(&command);
    reply.ok();
    Ok(Flow::Done)
}

/// Number of patterns that DEBUG STRINGMATCH-TEST tries.
const MATCH_ROUNDS: usize = 20_000;

const STRINGMATCH_TEST: Command = Command {
    name: "debug|stringmatch-test",
    arity: 2,
    summary: "Matches random glob patterns with random strings.",
    run: stringmatch_test,
    ..Command::ROW
};

fn stringmatch_test(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    const LETTERS: &[u8] = b"**??[]^-\\abc";
    let mut draw = |len_max: u64| -> Vec<u8> {
        let len = ctx.core.rng.draw() % len_max;
        let letters = LETTERS.len() as u64;
        (0..len).map(|_| LETTERS[(ctx.core.rng.draw() % letters) as usize]).collect()
    };
    for _ in 0..MATCH_ROUNDS {
        let (pattern, text) = (draw(32), draw(32));
        std::hint::black_box(glob::matches(&pattern, &text, Case::Sensitive));
    }
    reply.simple("Apparently Redis did not crash: test passed");
    Ok(Flow::Done)
}
