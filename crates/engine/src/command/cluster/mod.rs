//! CLUSTER, and what clients of a cluster say of themselves: ASKING, READONLY, READWRITE.
//!
//! What a command changes is decided by the machine of the cluster ([`russet_cluster`]), which knows nodes and slots but
//! no keys; so whoever needs to know whether there are any asks here and tells it. A change is answered when it is on disk.

mod client;
mod events;
mod nodes;
mod shape;
mod slot_stats;
mod slots;

use russet_cluster::{Cluster as Machine, CommandError, Now};
use russet_protocol::slot::SLOTS;
use russet_protocol::{ErrorReply, ReplyWriter};

use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, flag as f, help};
use crate::clients::Waiting;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[CLUSTER, client::ASKING, client::READONLY, client::READWRITE];

/// What the rows of the family share.
const ROW: Command = Command { since: "3.0.0", group: Group::Cluster, ..Command::ROW };

/// What the rows of commands for operators share.
const CHANGES: Command = Command { flags: f::ADMIN | f::STALE | f::NO_ASYNC_LOADING, ..ROW };

const CLUSTER: Command = Command {
    name: "cluster",
    arity: -2,
    summary: "Commands of cluster mode.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        slots::ADDSLOTS,
        slots::ADDSLOTSRANGE,
        nodes::BUMPEPOCH,
        nodes::COUNT_FAILURE_REPORTS,
        slots::COUNTKEYSINSLOT,
        slots::DELSLOTS,
        slots::DELSLOTSRANGE,
        events::EVENTS,
        nodes::FAILOVER,
        slots::FLUSHSLOTS,
        nodes::FORGET,
        slots::GETKEYSINSLOT,
        HELP,
        shape::INFO,
        slots::KEYSLOT,
        shape::LINKS,
        nodes::MEET,
        shape::MYID,
        shape::MYSHARDID,
        shape::NODES,
        shape::REPLICAS,
        nodes::REPLICATE,
        nodes::RESET,
        nodes::SAVECONFIG,
        nodes::SET_CONFIG_EPOCH,
        slots::SETSLOT,
        shape::SHARDS,
        shape::SLAVES,
        slot_stats::SLOT_STATS,
        shape::SLOTS,
    ],
    ..ROW
};

const HELP: Command = Command {
    name: "cluster|help",
    since: "5.0.0",
    group: Group::Cluster,
    run: help_in_cluster,
    ..help::ROW
};

fn help_in_cluster(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    (help::ROW.run)(ctx, args, reply)
}

/// Clients that try whether they talk to a cluster rely on this error.
const DISABLED: ErrorReply = ErrorReply::fixed("ERR This instance has cluster support disabled");

/// Returns the machine; an error without cluster mode, whatever the arguments are.
fn machine<'a>(ctx: &'a Ctx<'_>) -> Result<&'a Machine, ErrorReply> {
    ctx.parts.cluster.machine().ok_or(DISABLED)
}

/// Calls the machine.
fn call<T>(
    ctx: &mut Ctx<'_>,
    call: impl FnOnce(&mut Machine, Now) -> Result<T, CommandError>,
) -> Result<T, ErrorReply> {
    let Ctx { core, parts, .. } = ctx;
    let result = parts.with_cluster(core, |cluster, world| cluster.call(world, call));
    result.ok_or(DISABLED)?.map_err(ErrorReply::err)
}

/// Ends a command that has changed the state: the client waits until that is on disk.
fn end(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    write: impl FnOnce(&mut ReplyWriter<'_>),
) -> Outcome {
    let mut bytes = Vec::new();
    write(&mut ReplyWriter::new(&mut bytes, ctx.call.protocol));
    let client = ctx.session()?;
    if ctx.parts.cluster.end_command(client, &bytes) {
        reply.append(&bytes, false);
        return Ok(Flow::Done);
    }
    ctx.block(Waiting::State, None)
}

/// Calls the machine for a reply of `+OK`.
fn change(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    change: impl FnOnce(&mut Machine, Now) -> Result<(), CommandError>,
) -> Outcome {
    call(ctx, change)?;
    end(ctx, reply, |reply| reply.ok())
}

/// Whether this node has any keys.
fn has_keys(ctx: &Ctx<'_>) -> bool {
    ctx.data.dbs().any(|(_, db)| !db.is_empty())
}

/// Refuses more words than a subcommand takes.
fn at_most(args: &Args<'_>, words: usize) -> Result<(), ErrorReply> {
    if args.len() <= words { Ok(()) } else { Err(wrong_use(args)) }
}

fn wrong_use(args: &Args<'_>) -> ErrorReply {
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    ErrorReply::quoting(before, &args[1], "'. Try CLUSTER HELP.")
}

/// Parses an argument as a slot.
fn slot(args: &Args<'_>, index: usize) -> Result<u16, ErrorReply> {
    let number = args.integer(index).ok().and_then(|number| u16::try_from(number).ok());
    number.filter(|slot| *slot < SLOTS).ok_or(ErrorReply::fixed("ERR Invalid or out of range slot"))
}
