//! Nodes and epochs: who belongs to the cluster, who replicates whom.

use std::net::IpAddr;

use russet_cluster::{CommandError, Reset, Takeover};
use russet_protocol::ErrorReply;

use super::{CHANGES, at_most, call, change, end, has_keys, machine, wrong_use};
use crate::cluster::new_id;
use crate::command::argument::{block, int, one_of, optional, string, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::config::BUS_PORT_OFFSET;
use crate::core::{ClusterOrder, Order};

pub(super) const MEET: Command = Command {
    name: "cluster|meet",
    arity: -4,
    arguments: &[string("ip"), int("port"), optional(int("cluster-bus-port"))],
    summary: "Lets this node and another one, and all that they know, be one cluster.",
    run: meet,
    ..CHANGES
};

fn meet(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    at_most(args, 5)?;
    let port = args
        .integer(3)
        .map_err(|_| ErrorReply::quoting("ERR Invalid base port specified: ", &args[3], ""))?;
    let bus_port = match args.get(4) {
        None => port.saturating_add(BUS_PORT_OFFSET.into()),
        Some(word) => args
            .integer(4)
            .map_err(|_| ErrorReply::quoting("ERR Invalid bus port specified: ", word, ""))?,
    };
    let number = |port: i64| u16::try_from(port).ok().filter(|port| *port != 0);
    let ip = args.text(2).parse::<IpAddr>().ok();
    let Some(((ip, port), bus_port)) = ip.zip(number(port)).zip(number(bus_port)) else {
        let before = [b"ERR Invalid node address specified: ", &args[2], b":"].concat();
        let before = String::from_utf8_lossy(&before).into_owned();
        return Err(ErrorReply::quoting(&before, &args[3], ""));
    };
    change(ctx, reply, |machine, now| {
        machine.meet(now, &ip.to_string(), port, bus_port);
        Ok(())
    })
}

pub(super) const FORGET: Command = Command {
    name: "cluster|forget",
    arity: 3,
    arguments: &[string("node-id")],
    summary: "Removes a node from the table of this node, which does not take it back for a while.",
    run: forget,
    ..CHANGES
};

fn forget(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(ctx, reply, |machine, now| machine.forget(now, &args[2]))
}

pub(super) const REPLICATE: Command = Command {
    name: "cluster|replicate",
    arity: -3,
    arguments: &[one_of(
        "args",
        &[string("node-id"), block("no-one", &[token("NO"), token("ONE")])],
    )],
    summary: "Makes this node a replica of a master, or of none: then it is an empty master.",
    run: replicate,
    ..CHANGES
};

fn replicate(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    at_most(args, 4)?;
    if args.len() == 4 {
        if !(args.is(2, "NO") && args.is(3, "ONE")) {
            return Err(wrong_use(args));
        }
        let shard = new_id(ctx.core);
        return leave_master(ctx, reply, |machine, now| {
            machine.replicate_no_one(now, shard);
            Ok(())
        });
    }
    let has_keys = has_keys(ctx);
    change(ctx, reply, |machine, now| machine.replicate(now, &args[2], has_keys))
}

/// Does what makes a replica a master of its own: its keys were its master's.
fn leave_master(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    leave: impl FnOnce(&mut russet_cluster::Cluster, russet_cluster::Now) -> Result<(), CommandError>,
) -> Outcome {
    let was_replica = machine(ctx)?.is_replica();
    call(ctx, leave)?;
    if was_replica {
        ctx.core.order(Order::Cluster(ClusterOrder::DropAll));
    }
    end(ctx, reply, |reply| reply.ok())
}

pub(super) const RESET: Command = Command {
    name: "cluster|reset",
    arity: -2,
    flags: f::ADMIN | f::STALE | f::NOSCRIPT,
    arguments: &[optional(one_of("reset-type", &[token("HARD"), token("SOFT")]))],
    summary: "Lets this node forget all others and its slots; HARD: also its name and epochs.",
    complexity: "O(N) for N nodes",
    run: reset,
    ..CHANGES
};

fn reset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    at_most(args, 3)?;
    let how = match args.len() {
        2 => Reset::Soft,
        _ if args.is(2, "HARD") => Reset::Hard,
        _ if args.is(2, "SOFT") => Reset::Soft,
        _ => return Err(ErrorReply::Syntax),
    };
    let (id, shard, has_keys) = (new_id(ctx.core), new_id(ctx.core), has_keys(ctx));
    leave_master(ctx, reply, |machine, now| machine.reset(now, how, has_keys, id, shard))
}

pub(super) const FAILOVER: Command = Command {
    name: "cluster|failover",
    arity: -2,
    arguments: &[optional(one_of("options", &[token("FORCE"), token("TAKEOVER")]))],
    summary: "Lets this replica take the place of its master.",
    run: failover,
    ..CHANGES
};

fn failover(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    at_most(args, 3)?;
    let how = match args.len() {
        2 => Takeover::Coordinated,
        _ if args.is(2, "FORCE") => Takeover::Forced,
        _ if args.is(2, "TAKEOVER") => Takeover::Unasked,
        _ => return Err(ErrorReply::Syntax),
    };
    change(ctx, reply, |machine, now| machine.failover(now, how))
}

pub(super) const SET_CONFIG_EPOCH: Command = Command {
    name: "cluster|set-config-epoch",
    arity: 3,
    arguments: &[int("config-epoch")],
    summary: "Sets the epoch of a node that knows no other.",
    run: set_config_epoch,
    ..CHANGES
};

fn set_config_epoch(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    let epoch = args.integer(2)?;
    let epoch = u64::try_from(epoch)
        .map_err(|_| ErrorReply::err(format_args!("Invalid config epoch specified: {epoch}")))?;
    change(ctx, reply, |machine, now| machine.set_config_epoch(now, epoch))
}

pub(super) const BUMPEPOCH: Command = Command {
    name: "cluster|bumpepoch",
    arity: 2,
    summary: "Gives this node the highest epoch of the cluster, unless it has it.",
    run: bump_epoch,
    ..CHANGES
};

fn bump_epoch(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (is_new, epoch) = call(ctx, |machine, now| Ok(machine.bump_config_epoch(now)))?;
    let word = if is_new { "BUMPED" } else { "STILL" };
    end(ctx, reply, |reply| reply.simple(&format!("{word} {epoch}")))
}

pub(super) const SAVECONFIG: Command = Command {
    name: "cluster|saveconfig",
    arity: 2,
    summary: "Writes what this node knows of the cluster to disk.",
    complexity: "O(N) for N nodes",
    run: save_config,
    ..CHANGES
};

fn save_config(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(ctx, reply, |machine, now| {
        machine.save(now);
        Ok(())
    })
}

pub(super) const COUNT_FAILURE_REPORTS: Command = Command {
    name: "cluster|count-failure-reports",
    arity: 3,
    flags: f::ADMIN | f::STALE,
    arguments: &[string("node-id")],
    summary: "Returns how many masters report that a node does not answer.",
    complexity: "O(N) for N reports",
    run: count_failure_reports,
    ..CHANGES
};

fn count_failure_reports(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = call(ctx, |machine, now| machine.count_failure_reports(now, &args[2]))?;
    reply.count(count);
    Ok(Flow::Done)
}
