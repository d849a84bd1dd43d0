//! CONFIG: reads and changes settings while the server runs.

use russet_protocol::ErrorReply;

use super::help::{container, help};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, flag as f};
use crate::config::SetError;
use crate::io::Request;

const ADMIN: u64 = f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE;

/// What most rows of the family share.
const ROW: Command = Command {
    name: "config",
    since: "2.0.0",
    group: Group::Server,
    arity: -2,
    flags: ADMIN,
    acl: 0,
    keys: &[],
    syntax: "",
    summary: "Reads and changes settings.",
    complexity: "Depends on the subcommand",
    subcommands: &[],
    run: container,
};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command { flags: 0, subcommands: SUBCOMMANDS, ..ROW }];

const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "config|get",
        arity: -3,
        syntax: "parameter [parameter ...]",
        summary: "Gives the values of the settings whose names match any of the patterns.",
        complexity: "O(N) in the number of patterns",
        run: get,
        ..ROW
    },
    Command {
        name: "config|set",
        arity: -4,
        syntax: "parameter value [parameter value ...]",
        summary: "Changes settings: all of those given, or none.",
        complexity: "O(N) in the number of settings",
        run: set,
        ..ROW
    },
    Command {
        name: "config|resetstat",
        arity: 2,
        summary: "Sets the counters that INFO shows back to zero.",
        complexity: "O(1)",
        run: resetstat,
        ..ROW
    },
    Command {
        name: "config|rewrite",
        since: "2.8.0",
        arity: 2,
        summary: "Brings the configuration file in line with the settings in force.",
        complexity: "O(1)",
        run: rewrite,
        ..ROW
    },
    Command {
        name: "config|help",
        since: "5.0.0",
        arity: 2,
        flags: f::LOADING | f::STALE,
        summary: "Lists the subcommands.",
        complexity: "O(1)",
        run: help,
        ..ROW
    },
];

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).collect();
    let found = ctx.node.config.get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(Flow::Done)
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(ErrorReply::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = args.from(2).step_by(2).zip(args.from(3).step_by(2)).collect();
    let context = ctx.node.set_context(ctx.client);
    let changes = ctx.node.config.set(&pairs, context).map_err(|error| match error {
        SetError::Loading => ErrorReply::Loading,
        error => ErrorReply::err(error),
    })?;
    match ctx.node.begin_settings_change(changes) {
        Some(request) => Ok(Flow::Ask(request)),
        None => {
            reply.ok();
            Ok(Flow::Done)
        }
    }
}

fn resetstat(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.node.stats.reset();
    ctx.node.keyspace.stats = Default::default();
    ctx.node.repl.stats = Default::default();
    reply.ok();
    Ok(Flow::Done)
}

fn rewrite(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    if ctx.node.boot.config_file.is_none() {
        return Err(ErrorReply::fixed("ERR The server is running without a config file"));
    }
    Ok(Flow::Ask(Request::RewriteConfig(Box::new(ctx.node.config.clone()))))
}
