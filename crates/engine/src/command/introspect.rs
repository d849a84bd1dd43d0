//! What the server tells about itself and its commands: INFO and COMMAND.

use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::info::{self, View};

/// The family's rows.
pub const COMMANDS: &[Command] = &[Command {
    name: "info",
    since: "1.0.0",
    group: Group::Server,
    arity: -1,
    flags: f::LOADING | f::STALE,
    acl: acl::DANGEROUS,
    keys: &[],
    syntax: "[section [section ...]]",
    summary: "Tells what the server is, does and has counted.",
    complexity: "O(1)",
    subcommands: &[],
    run: info,
}];

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let sections = info::selected(args.from(1));
    let text = info::text(&View::new(ctx.node), &sections);
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}
