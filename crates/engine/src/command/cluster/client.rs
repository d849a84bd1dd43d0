//! What a client of a cluster says of itself: ASKING, READONLY, READWRITE.

use super::machine;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f};

/// What the rows share.
const ROW: Command = Command { arity: 1, acl: acl::CONNECTION, ..super::ROW };

pub(super) const ASKING: Command = Command {
    name: "asking",
    flags: f::FAST | f::KEEPS_ASKING,
    summary: "Lets the next command use a slot that is being imported.",
    run: asking,
    ..ROW
};

fn asking(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    ctx.client()?.is_asking = true;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const READONLY: Command = Command {
    name: "readonly",
    flags: f::LOADING | f::STALE | f::FAST,
    summary: "Lets this connection read from a replica of a cluster.",
    run: readonly,
    ..ROW
};

fn readonly(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_reads_replica(ctx, reply, true)
}

pub(super) const READWRITE: Command = Command {
    name: "readwrite",
    flags: f::LOADING | f::STALE | f::FAST,
    summary: "Ends the effect of READONLY.",
    run: readwrite,
    ..ROW
};

fn readwrite(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    set_reads_replica(ctx, reply, false)
}

fn set_reads_replica(ctx: &mut Ctx<'_>, reply: &mut Reply<'_>, value: bool) -> Outcome {
    machine(ctx)?;
    ctx.client()?.reads_replica = value;
    reply.ok();
    Ok(Flow::Done)
}
