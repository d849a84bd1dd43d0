//! Strings.

use russet_protocol::ErrorReply;

use super::keyspec::{KeySpec, key_flag as k};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::keyspace::Expiry;

/// The family's rows.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "get",
        since: "1.0.0",
        group: Group::String,
        arity: 2,
        flags: f::READONLY | f::FAST,
        acl: acl::STRING,
        keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
        syntax: "key",
        summary: "Gives the value of a string.",
        complexity: "O(1)",
        subcommands: &[],
        run: get,
    },
    Command {
        name: "set",
        since: "1.0.0",
        group: Group::String,
        arity: -3,
        flags: f::WRITE | f::DENYOOM,
        acl: acl::STRING,
        keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE | k::VARIABLE_FLAGS)],
        syntax: "key value [NX | XX] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | PXAT unix-time-milliseconds | KEEPTTL]",
        summary: "Sets the value of a string, whatever was there before.",
        complexity: "O(1)",
        subcommands: &[],
        run: set,
    },
];

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.string(args.key(1))? {
        Some(text) => reply.text(text),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(ErrorReply::Syntax);
    }
    ctx.edit(args.key(1)).set_string(&args[2], Expiry::Clear);
    reply.ok();
    Ok(Flow::Done)
}
