//! MEMORY: what keys take of memory.

use russet_protocol::ErrorReply;

use super::argument::{after, int, key, optional};
use super::keyspec::{KeySpec, key_flag as k};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, flag as f, help};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[MEMORY];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, ..Command::ROW };

const MEMORY: Command = Command {
    name: "memory",
    since: "4.0.0",
    arity: -2,
    summary: "Reports what keys take of memory.",
    complexity: "Depends on the subcommand",
    subcommands: &[HELP, USAGE],
    ..ROW
};

const HELP: Command =
    Command { name: "memory|help", since: "4.0.0", group: Group::Server, ..help::ROW };

const USAGE: Command = Command {
    name: "memory|usage",
    since: "4.0.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0), optional(after("SAMPLES", int("count")))],
    summary: "Returns how many bytes a key takes with its value. Nothing is sampled: the count is exact.",
    run: usage,
    ..ROW
};

/// The bytes are counted where elements are added and removed, so `count` is validated and no more.
fn usage(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    for at in (3..args.len()).step_by(2) {
        if !args.is(at, "SAMPLES") || at + 1 == args.len() || args.integer(at + 1)? < 0 {
            return Err(ErrorReply::Syntax);
        }
    }
    match ctx.data.db(ctx.call.db).entry_bytes(args.key(2)) {
        Some(bytes) => reply.integer(bytes as i64),
        None => reply.null(),
    }
    Ok(Flow::Done)
}
