//! CONFIG: reads and changes the configuration at runtime.

use russet_protocol::ErrorReply;

use super::argument::{block, repeated, string};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, flag as f, help};
use crate::config::{SetContext, SetError, is_sensitive};
use crate::io::{Request, Rewrite};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[CONFIG];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

const CONFIG: Command = Command {
    name: "config",
    since: "2.0.0",
    arity: -2,
    summary: "Reads and changes the configuration.",
    complexity: "Depends on the subcommand",
    subcommands: &[GET, SET, RESETSTAT, REWRITE, HELP],
    ..ROW
};

const HELP: Command =
    Command { name: "config|help", since: "5.0.0", group: Group::Server, ..help::ROW };

const ADMIN: u64 = f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE;

const GET: Command = Command {
    name: "config|get",
    since: "2.0.0",
    arity: -3,
    flags: ADMIN,
    arguments: &[repeated(string("parameter"))],
    summary: "Returns the parameters whose names match any of the patterns.",
    complexity: "O(N) for N patterns",
    run: get,
    ..ROW
};

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let patterns: Vec<&[u8]> = args.from(2).collect();
    let found = ctx.core.config.get(&patterns);
    reply.map(found.len());
    for (name, value) in found {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(Flow::Done)
}

const SET: Command = Command {
    name: "config|set",
    since: "2.0.0",
    arity: -4,
    flags: ADMIN,
    arguments: &[repeated(block("data", &[string("parameter"), string("value")]))],
    summary: "Changes parameters: all that are given, or none.",
    complexity: "O(N) for N parameters",
    secrets: Some(|args, at| at > 2 && at % 2 == 1 && args.get(at - 1).is_some_and(is_sensitive)),
    run: set,
    ..ROW
};

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() % 2 == 1 {
        return Err(ErrorReply::Syntax);
    }
    let pairs: Vec<(&[u8], &[u8])> = args.from(2).step_by(2).zip(args.from(3).step_by(2)).collect();
    let is_local = ctx.client()?.is_local();
    let context = SetContext { loading: ctx.parts.loading.is_loading(), is_local };
    let changes = ctx.core.config.set(&pairs, context).map_err(|error| match error {
        SetError::Loading => ErrorReply::Loading,
        error => ErrorReply::err(error),
    })?;
    match ctx.parts.settings.begin_change(ctx.core, changes) {
        Some(request) => Ok(Flow::Request(request)),
        None => {
            reply.ok();
            Ok(Flow::Done)
        }
    }
}

const RESETSTAT: Command = Command {
    name: "config|resetstat",
    since: "2.0.0",
    arity: 2,
    flags: ADMIN,
    summary: "Resets the counters that INFO reports.",
    run: resetstat,
    ..ROW
};

fn resetstat(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    ctx.core.stats.reset();
    ctx.data.stats = Default::default();
    ctx.parts.master.stats = Default::default();
    reply.ok();
    Ok(Flow::Done)
}

const REWRITE: Command = Command {
    name: "config|rewrite",
    since: "2.8.0",
    arity: 2,
    flags: ADMIN,
    summary: "Updates the configuration file to the parameters in force.",
    run: rewrite,
    ..ROW
};

fn rewrite(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let Some(path) = ctx.core.boot.config_file.clone() else {
        return Err(ErrorReply::fixed("ERR The server is running without a config file"));
    };
    let config = ctx.core.config.clone();
    let rewrite = Rewrite::new(move |old, read_others| config.rewrite(old, read_others));
    Ok(Flow::Request(Request::ReplaceFile { path, rewrite }))
}
