//! DEBUG: what tests and those who look for a defect need, and nobody else.
//!
//! One row, as in Redis: its subcommands have no rows of their own but a table here. They are refused unless
//! `enable-debug-command` allows them.

mod data;
mod digest;
mod protocol;

use std::ops::RangeInclusive;

use russet_ds::glob::{self, Case};
use russet_protocol::ErrorReply;

use super::{Args, Command, Ctx, Flow, Group, Handler, Outcome, Reply, flag as f, help};
use crate::io::Level;
use crate::persist::load::Onto;

/// The family's row.
pub const COMMANDS: &[Command] = &[Command {
    name: "debug",
    since: "1.0.0",
    group: Group::Server,
    arity: -2,
    flags: f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE | f::PROTECTED,
    acl: 0,
    keys: &[],
    syntax: "",
    summary: "Looks inside the server and makes it misbehave, for tests.",
    complexity: "Depends on the subcommand",
    subcommands: &[],
    run: debug,
}];

/// A subcommand: its usage as HELP shows it, how many arguments it takes with both names, what it does.
struct Sub {
    usage: &'static str,
    argc: RangeInclusive<usize>,
    help: &'static str,
    run: Handler,
}

const MANY: usize = usize::MAX;

const SUBS: &[Sub] = &[
    Sub {
        usage: "CHANGE-REPL-ID",
        argc: 2..=2,
        help: "Begins another replication history: replicas cannot go on with the old one.",
        run: change_repl_id,
    },
    Sub {
        usage: "DIGEST",
        argc: 2..=2,
        help: "Gives 40 digits that are the same where all data is the same.",
        run: data::digest,
    },
    Sub {
        usage: "DIGEST-VALUE <key> [<key> ...]",
        argc: 2..=MANY,
        help: "Gives such digits for the values of keys.",
        run: data::digest_value,
    },
    Sub { usage: "ERROR <string>", argc: 3..=3, help: "Replies this error.", run: error },
    Sub {
        usage: "HTSTATS <dbid> [full]",
        argc: 3..=MANY,
        help: "Shows how a database's table is made up.",
        run: data::htstats,
    },
    Sub {
        usage: "HTSTATS-KEY <key> [full]",
        argc: 3..=MANY,
        help: "Shows how a value's table is made up.",
        run: data::htstats_key,
    },
    Sub { usage: "LOG <message>", argc: 3..=3, help: "Writes a line to the log.", run: log },
    Sub {
        usage: "OBJECT <key>",
        argc: 3..=4,
        help: "Shows how a value is kept.",
        run: data::object,
    },
    Sub {
        usage: "PAUSE-CRON <0|1>",
        argc: 3..=3,
        help: "1 stops the work that is done at intervals, 0 starts it again.",
        run: pause_cron,
    },
    Sub {
        usage: "POPULATE <count> [<prefix>] [<size>]",
        argc: 3..=5,
        help: "Makes keys <prefix>:0, <prefix>:1 and so on, here only and not in replicas.",
        run: data::populate,
    },
    Sub {
        usage: "PROTOCOL <type>",
        argc: 3..=3,
        help: "Replies a value of a type: string, integer, double, bignum, null, array, set, map, \
               attrib, push, verbatim, true, false.",
        run: protocol::protocol,
    },
    Sub {
        usage: "RELOAD [NOSAVE] [NOFLUSH] [MERGE]",
        argc: 2..=MANY,
        help: "Saves (unless NOSAVE) and loads the dump file in place of the data, or (NOFLUSH) \
               beside it: then no key may be in both, unless the file's win (MERGE).",
        run: reload,
    },
    Sub {
        usage: "REPLICATE <command> [<argument> ...]",
        argc: 3..=MANY,
        help: "Sends a command to the replicas that was not run here.",
        run: replicate,
    },
    Sub {
        usage: "SET-ACTIVE-EXPIRE <0|1>",
        argc: 3..=3,
        help: "0 leaves keys that are past their time until somebody asks for them.",
        run: set_active_expire,
    },
    Sub {
        usage: "SLEEP <seconds>",
        argc: 3..=3,
        help: "Serves nobody for so long; a fraction is fine.",
        run: sleep,
    },
    Sub {
        usage: "STRINGMATCH-TEST",
        argc: 2..=2,
        help: "Tries the glob matcher on patterns and texts drawn at random.",
        run: stringmatch_test,
    },
];

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.is(1, "HELP") && args.len() == 2 {
        let lines: Vec<String> = SUBS
            .iter()
            .flat_map(|sub| [sub.usage.to_owned(), format!("    {}", sub.help)])
            .collect();
        help::write(reply, "debug", lines.iter().map(String::as_str));
        return Ok(Flow::Done);
    }
    let named = |sub: &&Sub| args.is(1, sub.usage.split(' ').next().unwrap_or_default());
    match SUBS.iter().find(named).filter(|sub| sub.argc.contains(&args.len())) {
        Some(sub) => (sub.run)(ctx, args, reply),
        None => {
            let before = "ERR unknown subcommand or wrong number of arguments for '";
            let given = &args[1][..args[1].len().min(128)];
            Err(ErrorReply::quoting(before, given, "'. Try DEBUG HELP."))
        }
    }
}

/// A number as C reads one from the start of a text: what is none is 0.
fn is_on(args: &Args<'_>) -> bool {
    crate::config::grammar::parse_lenient_integer(&args[2]).unwrap_or(0) != 0
}

fn set_active_expire(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.node.active_expire = is_on(args);
    reply.ok();
    Ok(Flow::Done)
}

fn pause_cron(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.node.cron_paused = is_on(args);
    reply.ok();
    Ok(Flow::Done)
}

fn sleep(ctx: &mut Ctx<'_>, args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let seconds: f64 = args.text(2).trim().parse().unwrap_or(0.0);
    // What is negative or no number becomes 0, what is too long is cut to what fits.
    let micros = (seconds * 1e6) as u64;
    let handle = ctx.client;
    ctx.node.sleep(handle, micros);
    Ok(Flow::Blocked)
}

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
    if ctx.node.persist.is_loading() {
        return Err(ErrorReply::Loading);
    }
    let onto = match (flush, merge) {
        (true, _) => Onto::Nothing,
        (false, false) => Onto::Others,
        (false, true) => Onto::Any,
    };
    let handle = ctx.client;
    ctx.node.begin_reload(handle, onto, save);
    Ok(Flow::Blocked)
}

fn error(_ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.error(&ErrorReply::Quoting(args[2].to_vec()));
    Ok(Flow::Done)
}

fn log(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let text = args.text(2);
    ctx.node.log(Level::Warning, format!("DEBUG LOG: {text}"));
    reply.ok();
    Ok(Flow::Done)
}

fn change_repl_id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let node = &mut ctx.node;
    node.log(Level::Notice, "Changing replication IDs after receiving DEBUG change-repl-id");
    node.repl.histories.id = node.rng.hex40();
    node.repl.histories.forget_former();
    reply.ok();
    Ok(Flow::Done)
}

fn replicate(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let command: Vec<&[u8]> = args.from(2).collect();
    ctx.effect(&command);
    reply.ok();
    Ok(Flow::Done)
}

/// Rounds of DEBUG STRINGMATCH-TEST.
const MATCH_ROUNDS: usize = 20_000;

fn stringmatch_test(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    const LETTERS: &[u8] = b"**??[]^-\\abc";
    let mut draw = |len_max: u64| -> Vec<u8> {
        let len = ctx.node.rng.draw() % len_max;
        let letters = LETTERS.len() as u64;
        (0..len).map(|_| LETTERS[(ctx.node.rng.draw() % letters) as usize]).collect()
    };
    for _ in 0..MATCH_ROUNDS {
        let (pattern, text) = (draw(32), draw(32));
        std::hint::black_box(glob::matches(&pattern, &text, Case::Sensitive));
    }
    reply.simple("Apparently Redis did not crash: test passed");
    Ok(Flow::Done)
}
