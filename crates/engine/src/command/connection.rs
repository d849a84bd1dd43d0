//! Connections: who speaks, how, and to which database.

use russet_protocol::ErrorReply;

use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "ping",
        since: "1.0.0",
        group: Group::Connection,
        arity: -1,
        flags: f::FAST,
        acl: acl::CONNECTION,
        keys: &[],
        syntax: "[message]",
        summary: "Answers PONG, or the message.",
        complexity: "O(1)",
        subcommands: &[],
        run: ping,
    },
    Command {
        name: "select",
        since: "1.0.0",
        group: Group::Connection,
        arity: 2,
        flags: f::LOADING | f::STALE | f::FAST,
        acl: acl::CONNECTION,
        keys: &[],
        syntax: "index",
        summary: "Goes to another database.",
        complexity: "O(1)",
        subcommands: &[],
        run: select,
    },
];

fn ping(_ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        1 => reply.simple("PONG"),
        2 => reply.bulk(&args[1]),
        _ => return Err(ErrorReply::WrongArity("ping".to_owned())),
    }
    Ok(Flow::Done)
}

fn select(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let index = args.integer(1)?;
    let count = ctx.node.keyspace.count();
    let db = u32::try_from(index)
        .ok()
        .filter(|&db| db < count)
        .ok_or_else(|| ErrorReply::err("DB index is out of range"))?;
    ctx.me().db = db;
    reply.ok();
    Ok(Flow::Done)
}
