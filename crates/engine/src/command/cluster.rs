//! The commands of cluster clients. Cluster mode is not implemented yet, so they reply what a server
//! without it replies: clients that try whether they talk to a cluster rely on this error.

use russet_protocol::ErrorReply;

use super::{Args, Command, Ctx, Group, Outcome, Reply, acl, flag as f};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[ASKING, READONLY, READWRITE];

/// What the rows of the family share.
const ROW: Command = Command {
    since: "3.0.0",
    group: Group::Cluster,
    arity: 1,
    flags: f::FAST,
    acl: acl::CONNECTION,
    run: disabled,
    ..Command::ROW
};

const ASKING: Command = Command {
    name: "asking",
    summary: "Lets the next command use a slot that is being imported.",
    ..ROW
};

const READONLY: Command = Command {
    name: "readonly",
    flags: f::LOADING | f::STALE | f::FAST,
    summary: "Lets this connection read from a replica of a cluster.",
    ..ROW
};

const READWRITE: Command = Command {
    name: "readwrite",
    flags: f::LOADING | f::STALE | f::FAST,
    summary: "Ends the effect of READONLY.",
    ..ROW
};

fn disabled(_ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(ErrorReply::fixed("ERR This instance has cluster support disabled"))
}
