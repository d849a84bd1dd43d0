//! DEBUG subcommands that break the bus of a cluster.

use russet_cluster::Direction;
use russet_protocol::ErrorReply;

use super::is_on;
use crate::command::argument::{block, int, one_of, string, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};

const DISABLED: ErrorReply =
    ErrorReply::fixed("ERR Debug option only available for cluster mode enabled setup!");

pub(super) const CLUSTERLINK: Command = Command {
    name: "debug|clusterlink",
    arity: 5,
    arguments: &[block(
        "kill",
        &[
            token("KILL"),
            one_of("direction", &[token("TO"), token("FROM"), token("ALL")]),
            string("node-id"),
        ],
    )],
    summary: "Closes the connection of the cluster bus to a node, from it, or both.",
    run: clusterlink,
    ..Command::ROW
};

fn clusterlink(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if !args.is(2, "KILL") {
        return Err(super::wrong_use(args));
    }
    let words = [("TO", Direction::To), ("FROM", Direction::From), ("ALL", Direction::All)];
    let direction = words.iter().find(|(word, _)| args.is(3, word)).map(|(_, which)| *which);
    let Ctx { core, parts, .. } = ctx;
    if parts.cluster.machine().is_none() {
        return Err(DISABLED);
    }
    let Some(direction) = direction else {
        return Err(ErrorReply::quoting("ERR Unknown direction ", &args[3], ""));
    };
    let killed = parts.with_cluster(core, |cluster, world| {
        cluster.call(world, |machine, now| machine.kill_links(now, &args[4], direction))
    });
    killed.ok_or(DISABLED)?.map_err(ErrorReply::err)?;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const DROP_CLUSTER_PACKET_FILTER: Command = Command {
    name: "debug|drop-cluster-packet-filter",
    arity: 3,
    arguments: &[int("packet-type")],
    summary: "Passes over messages of the cluster bus of this type, by its number. -1 ends that.",
    run: drop_cluster_packet_filter,
    ..Command::ROW
};

fn drop_cluster_packet_filter(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let kind = usize::try_from(args.integer(2)?).ok();
    let Ctx { core, parts, .. } = ctx;
    parts.with_cluster(core, |cluster, world| {
        cluster.call(world, |machine, _| machine.lose_messages(kind))
    });
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const CLOSE_CLUSTER_LINK_ON_PACKET_DROP: Command = Command {
    name: "debug|close-cluster-link-on-packet-drop",
    arity: 3,
    arguments: &[one_of("enabled", &[token("0"), token("1")])],
    summary: "Closes (1) or keeps (0) the connection of a message that DROP-CLUSTER-PACKET-FILTER passes over.",
    run: close_cluster_link_on_packet_drop,
    ..Command::ROW
};

fn close_cluster_link_on_packet_drop(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let closes = is_on(args);
    let Ctx { core, parts, .. } = ctx;
    parts.with_cluster(core, |cluster, world| {
        cluster.call(world, |machine, _| machine.close_on_loss(closes))
    });
    reply.ok();
    Ok(Flow::Done)
}
