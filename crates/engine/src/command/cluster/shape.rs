//! The shape of the cluster, as operators and clients ask for it: INFO, NODES, SLOTS, SHARDS, LINKS.

use std::fmt::Write;

use russet_cluster::bus::NodeFlags;
use russet_cluster::nodes::{Node as ClusterNode, NodeKey};
use russet_cluster::nodes_file::NodeLine;
use russet_cluster::{Cluster as Machine, Stats};
use russet_protocol::ErrorReply;

use super::{CHANGES, ROW, machine};
use crate::clients::Client;
use crate::cluster::redirect::{client_ip, endpoint};
use crate::command::argument::string;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::config::value::ClusterEndpointType;

/// What the rows for clients share.
const SHOWS: Command = Command { arity: 2, flags: f::STALE, ..ROW };

pub(super) const MYID: Command = Command {
    name: "cluster|myid",
    summary: "Returns the name of this node.",
    run: my_id,
    ..SHOWS
};

fn my_id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(machine(ctx)?.my_id().as_bytes());
    Ok(Flow::Done)
}

pub(super) const MYSHARDID: Command = Command {
    name: "cluster|myshardid",
    since: "7.2.0",
    summary: "Returns the name of this node's shard.",
    run: my_shard_id,
    ..SHOWS
};

fn my_shard_id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(machine(ctx)?.nodes().me().shard.as_bytes());
    Ok(Flow::Done)
}

pub(super) const INFO: Command = Command {
    name: "cluster|info",
    summary: "Returns the state of the cluster in the view of this node.",
    run: info,
    ..SHOWS
};

fn info(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let machine = machine(ctx)?;
    let nodes = machine.nodes();
    let assigned = u64::from(nodes.assigned());
    let (suspected, failed) = machine.troubled_slots();
    let state = if machine.is_ok() { "ok" } else { "fail" };
    let mut text = format!("cluster_state:{state}\r\n");
    let numbers = [
        ("slots_assigned", assigned),
        ("slots_ok", assigned.saturating_sub(suspected + failed)),
        ("slots_pfail", suspected),
        ("slots_fail", failed),
        ("known_nodes", nodes.count() as u64),
        ("size", nodes.voters() as u64),
        ("current_epoch", machine.current_epoch()),
        ("my_epoch", machine.my_epoch()),
    ];
    for (name, number) in numbers {
        _ = write!(text, "cluster_{name}:{number}\r\n");
    }
    let stats: &Stats = machine.stats();
    push_messages(&mut text, "sent", &stats.sent);
    push_messages(&mut text, "received", &stats.received);
    let closed = stats.links_over_limit;
    _ = write!(text, "total_cluster_links_buffer_limit_exceeded:{closed}\r\n");
    if !ctx.core.config.cluster_bus_secret.is_empty() {
        _ = write!(text, "cluster_links_without_secret:{}\r\n", stats.links_unproved);
    }
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}

/// Types of messages in the order of their numbers.
const MESSAGES: [&str; 11] = [
    "ping",
    "pong",
    "meet",
    "fail",
    "publish",
    "auth-req",
    "auth-ack",
    "update",
    "mfstart",
    "module",
    "publishshard",
];

fn push_messages(text: &mut String, way: &str, counts: &[u64; 11]) {
    for (name, count) in MESSAGES.iter().zip(counts).filter(|(_, count)| **count > 0) {
        _ = write!(text, "cluster_stats_messages_{name}_{way}:{count}\r\n");
    }
    _ = write!(text, "cluster_stats_messages_{way}:{}\r\n", counts.iter().sum::<u64>());
}

pub(super) const NODES: Command = Command {
    name: "cluster|nodes",
    summary: "Returns a line for each node that this node knows, in the form of its state file.",
    complexity: "O(N) for N nodes",
    run: nodes,
    ..SHOWS
};

fn nodes(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_ipv6 = is_ipv6(ctx);
    let machine = machine(ctx)?;
    let mut text = Vec::new();
    for line in machine.lines() {
        push_line(&mut text, machine, &line, is_ipv6);
        text.push(b'\n');
    }
    reply.verbatim(&text);
    Ok(Flow::Done)
}

fn push_line(out: &mut Vec<u8>, machine: &Machine, line: &NodeLine, is_ipv6: bool) {
    let node = machine.find(line.id.as_bytes());
    let ip = node.map_or(line.ip.as_str(), |(_, node)| client_ip(node, is_ipv6));
    line.push_reply(out, ip, line.port);
}

/// Whether the calling client has connected to an IPv6 address.
fn is_ipv6(ctx: &mut Ctx<'_>) -> bool {
    ctx.client().is_ok_and(|client: &mut Client| client.ends.is_ipv6())
}

/// What the rows about the replicas of a master share.
const OF_MASTER: Command = Command {
    arity: 3,
    flags: f::ADMIN | f::STALE,
    arguments: &[string("node-id")],
    complexity: "O(N) for N replicas",
    run: replicas,
    ..CHANGES
};

pub(super) const REPLICAS: Command = Command {
    name: "cluster|replicas",
    since: "5.0.0",
    summary: "Returns the replicas of a master as lines of CLUSTER NODES.",
    ..OF_MASTER
};

pub(super) const SLAVES: Command = Command {
    name: "cluster|slaves",
    summary: "Returns the replicas of a master. The former name of CLUSTER REPLICAS.",
    ..OF_MASTER
};

fn replicas(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_ipv6 = is_ipv6(ctx);
    let machine = machine(ctx)?;
    let Some((key, node)) = machine.find(&args[2]) else {
        return Err(ErrorReply::quoting("ERR Unknown node ", &args[2], ""));
    };
    if node.is_replica() {
        return Err(ErrorReply::err("The specified node is not a master"));
    }
    let lines = machine.replica_lines(key);
    reply.array(lines.len());
    for line in lines {
        let mut text = Vec::new();
        push_line(&mut text, machine, &line, is_ipv6);
        reply.bulk(&text);
    }
    Ok(Flow::Done)
}

/// What is needed to show nodes to a client.
struct View<'a> {
    machine: &'a Machine,
    preferred: ClusterEndpointType,
    is_ipv6: bool,
    /// The position of this node in the replication stream, which its own table does not have.
    own_offset: u64,
}

impl<'a> View<'a> {
    fn of(ctx: &'a mut Ctx<'_>) -> Result<View<'a>, ErrorReply> {
        let is_ipv6 = is_ipv6(ctx);
        let own_offset = u64::try_from(ctx.parts.offset_of_data()).unwrap_or(0);
        let preferred = ctx.core.config.cluster_preferred_endpoint_type;
        let machine = machine(ctx)?;
        let own_offset = machine.offset_in_shard(own_offset);
        Ok(View { machine, preferred, is_ipv6, own_offset })
    }

    fn node(&self, key: NodeKey) -> &'a ClusterNode {
        &self.machine.nodes()[key]
    }

    fn offset(&self, node: &ClusterNode) -> u64 {
        if node.is(NodeFlags::MYSELF) { self.own_offset } else { node.offset }
    }

    /// Returns the replicas of a master that have data, in the order of their names.
    fn ready_replicas(&self, master: NodeKey) -> Vec<&'a ClusterNode> {
        let replicas = self.machine.nodes().replicas(master).map(|(_, node)| node);
        let is_ready = |node: &&ClusterNode| !node.is(NodeFlags::FAIL) && self.offset(node) > 0;
        let mut replicas: Vec<_> = replicas.filter(is_ready).collect();
        replicas.sort_by_key(|node| node.id);
        replicas
    }
}

pub(super) const SLOTS: Command = Command {
    name: "cluster|slots",
    flags: f::LOADING | f::STALE,
    summary: "Returns the ranges of slots, each with its master and replicas.",
    complexity: "O(N) for N nodes",
    run: slots,
    ..SHOWS
};

fn slots(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let view = View::of(ctx)?;
    let ranges = view.machine.slot_ranges();
    reply.array(ranges.len());
    for range in ranges {
        let replicas = view.ready_replicas(range.owner);
        reply.array(3 + replicas.len());
        reply.integer(range.first.into());
        reply.integer(range.last.into());
        write_slot_node(&view, view.node(range.owner), reply);
        replicas.into_iter().for_each(|node| write_slot_node(&view, node, reply));
    }
    Ok(Flow::Done)
}

/// Writes a node of CLUSTER SLOTS: the preferred endpoint, port, name, and the other endpoints.
fn write_slot_node(view: &View<'_>, node: &ClusterNode, reply: &mut Reply<'_>) {
    reply.array(4);
    match view.preferred {
        ClusterEndpointType::UnknownEndpoint => reply.null(),
        preferred => reply.bulk(endpoint(node, preferred, view.is_ipv6).as_bytes()),
    }
    reply.integer(node.address.port.into());
    reply.bulk(node.id.as_bytes());
    let ip =
        (view.preferred != ClusterEndpointType::Ip).then(|| ("ip", client_ip(node, view.is_ipv6)));
    let has_other_name =
        view.preferred != ClusterEndpointType::Hostname && !node.names.hostname.is_empty();
    let hostname = has_other_name.then_some(("hostname", node.names.hostname.as_str()));
    let others: Vec<(&str, &str)> = ip.into_iter().chain(hostname).collect();
    reply.map(others.len());
    for (kind, endpoint) in others {
        reply.bulk(kind.as_bytes());
        reply.bulk(endpoint.as_bytes());
    }
}

pub(super) const SHARDS: Command = Command {
    name: "cluster|shards",
    since: "7.0.0",
    flags: f::LOADING | f::STALE,
    summary: "Returns the shards, each with its slots and nodes.",
    complexity: "O(N) for N nodes",
    run: shards,
    ..SHOWS
};

fn shards(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let view = View::of(ctx)?;
    let shards = view.machine.shards();
    reply.array(shards.len());
    for (_, nodes) in shards {
        reply.map(2);
        reply.bulk(b"slots");
        let owner = nodes.iter().map(|key| view.node(*key)).find(|node| node.slot_count() > 0);
        let ranges: Vec<_> = owner.into_iter().flat_map(|node| node.slots().ranges()).collect();
        reply.array(ranges.len() * 2);
        for range in ranges {
            reply.integer((*range.start()).into());
            reply.integer((*range.end()).into());
        }
        reply.bulk(b"nodes");
        reply.array(nodes.len());
        nodes.into_iter().for_each(|key| write_shard_node(&view, view.node(key), reply));
    }
    Ok(Flow::Done)
}

/// A value of a node in CLUSTER SHARDS.
enum Value<'a> {
    Text(&'a str),
    Number(u64),
}

fn write_shard_node(view: &View<'_>, node: &ClusterNode, reply: &mut Reply<'_>) {
    let id = node.id.to_string();
    let offset = view.offset(node);
    let health = match node.is_replica() && offset == 0 {
        _ if node.is(NodeFlags::FAIL) => "fail",
        true => "loading",
        false => "online",
    };
    let port = |port: u16| (port != 0).then(|| Value::Number(port.into()));
    let hostname = node.names.hostname.as_str();
    let fields = [
        ("id", Some(Value::Text(&id))),
        ("port", port(node.address.port)),
        ("tls-port", port(node.address.tls_port)),
        ("ip", Some(Value::Text(client_ip(node, view.is_ipv6)))),
        ("endpoint", Some(Value::Text(endpoint(node, view.preferred, view.is_ipv6)))),
        ("hostname", Some(Value::Text(hostname)).filter(|_| !hostname.is_empty())),
        ("role", Some(Value::Text(if node.is_replica() { "replica" } else { "master" }))),
        ("replication-offset", Some(Value::Number(offset))),
        ("health", Some(Value::Text(health))),
    ];
    reply.map(fields.iter().filter(|(_, value)| value.is_some()).count());
    for (name, value) in fields {
        let Some(value) = value else { continue };
        reply.bulk(name.as_bytes());
        match value {
            Value::Text(text) => reply.bulk(text.as_bytes()),
            Value::Number(number) => reply.integer(i64::try_from(number).unwrap_or(i64::MAX)),
        }
    }
}

pub(super) const LINKS: Command = Command {
    name: "cluster|links",
    since: "7.0.0",
    summary: "Returns the connections of the bus to other nodes and from them.",
    complexity: "O(N) for N nodes",
    run: links,
    ..SHOWS
};

fn links(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let links = machine(ctx)?.link_views();
    reply.array(links.len());
    for link in links {
        let handle = ctx.parts.cluster.link_handle(link.link);
        let outbox = handle.and_then(|handle| ctx.parts.clients.get(handle));
        let waiting = outbox.map_or(0, |client| client.wire.outbox.len());
        reply.map(6);
        let texts = [
            ("direction", if link.is_outgoing { "to" } else { "from" }.to_owned()),
            ("node", link.node.to_string()),
        ];
        for (name, text) in texts {
            reply.bulk(name.as_bytes());
            reply.bulk(text.as_bytes());
        }
        reply.bulk(b"create-time");
        reply.integer(link.created_wall_ms);
        reply.bulk(b"events");
        reply.bulk(if waiting > 0 { b"rw" } else { b"r" });
        for name in ["send-buffer-allocated", "send-buffer-used"] {
            reply.bulk(name.as_bytes());
            reply.count(waiting);
        }
    }
    Ok(Flow::Done)
}
