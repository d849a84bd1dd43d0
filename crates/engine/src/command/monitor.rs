//! MONITOR.

use russet_protocol::ErrorReply;

use super::{Command, Ctx, Flow, Group, Outcome, Reply, flag as f};
use crate::call::Caller;
use crate::command::Args;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[MONITOR];

const MONITOR: Command = Command {
    name: "monitor",
    since: "1.0.0",
    group: Group::Server,
    arity: 1,
    flags: f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE,
    summary: "Sends each executed command to this connection from now on, until RESET. Passwords are not shown.",
    run: monitor,
    ..Command::ROW
};

fn monitor(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.call.caller != Caller::Client {
        return Err(ErrorReply::err("MONITOR isn't allowed for DENY BLOCKING client"));
    }
    let (handle, me) = (ctx.session()?, ctx.client()?);
    if me.is_replica() || me.is_monitor {
        // Redis does not answer.
        return Ok(Flow::Done);
    }
    ctx.parts.monitors.add(&mut ctx.parts.clients, handle);
    reply.ok();
    Ok(Flow::Done)
}
