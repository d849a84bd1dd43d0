//! Whether a command runs here, or where else.
//!
//! ```text
//!   the keys' slot is …        and then                                    the client is told
//!   ─────────────────────────  ──────────────────────────────────────────  ──────────────────────
//!   not the same for all                                                   CROSSSLOT
//!   nobody's                                                               CLUSTERDOWN
//!   another node's             the client reads, and said READONLY to      –, or ASK or TRYAGAIN as
//!                              one of its replicas                         the node itself would say
//!                              it is imported, and the client said ASKING  –, or TRYAGAIN
//!                              else                                        MOVED
//!   this node's                it is migrated, and no key is here          ASK
//!                              … some are                                  TRYAGAIN
//!                              else                                        –
//! ```

use russet_cluster::nodes::Node as ClusterNode;
use russet_cluster::{Bug, Cluster as Machine, NodeId, Route};
use russet_protocol::ErrorReply;

use crate::config::Config;
use crate::config::value::ClusterEndpointType;

/// A command with keys, all of one slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// The slot.
    pub slot: u16,
    /// How many keys there are.
    pub keys: usize,
    /// How many of them exist here.
    pub present: usize,
    /// Whether it writes.
    pub writes: bool,
    /// Whether its keys are shard channels.
    pub is_channel: bool,
    /// Whether it moves keys to another node.
    pub migrates: bool,
    /// Whether the client said ASKING, or the command implies it.
    pub is_asking: bool,
    /// Whether the client said READONLY.
    pub reads_replica: bool,
    /// Whether the client has connected to an IPv6 address.
    pub is_ipv6: bool,
}

/// Says whether a command runs here, or the error that says where else.
pub(crate) fn decide(machine: &Machine, config: &Config, asked: &Asked) -> Result<(), ErrorReply> {
    let route = machine.route(asked.slot);
    if route == Route::Unassigned {
        return Err(ErrorReply::fixed("CLUSTERDOWN Hash slot not served"));
    }
    may_serve(machine, config, asked)?;
    if asked.migrates && matches!(route, Route::Migrating { .. } | Route::Importing { .. }) {
        return Ok(());
    }
    let missing = asked.keys - asked.present;
    let try_again =
        || Err(ErrorReply::fixed("TRYAGAIN Multiple keys request during rehashing of slot"));
    match route {
        Route::Unassigned | Route::Here => Ok(()),
        Route::Migrating { .. } if asked.is_channel || missing == 0 => Ok(()),
        Route::Migrating { .. } if asked.present > 0 => try_again(),
        Route::Migrating { to } => {
            let code = if machine.has_bug(Bug::AskAsMoved) { "MOVED" } else { "ASK" };
            Err(redirection(code, machine, config, asked, &to))
        }
        Route::Importing { .. } if asked.is_asking => {
            match asked.keys > 1 && missing > 0 && !asked.is_channel {
                true => try_again(),
                false => Ok(()),
            }
        }
        Route::Replicated { .. } if asked.is_channel && !asked.writes => Ok(()),
        Route::Replicated { .. } if asked.reads_replica && !asked.writes => {
            match machine.migrating_to(asked.slot) {
                Some(_) if missing > 0 && asked.present > 0 => try_again(),
                Some(to) if missing > 0 => Err(redirection("ASK", machine, config, asked, &to)),
                _ => Ok(()),
            }
        }
        Route::Importing { owner } | Route::Replicated { owner } | Route::Elsewhere { owner } => {
            Err(redirection("MOVED", machine, config, asked, &owner))
        }
    }
}

/// Whether anything is served, as far as the state of the cluster is concerned.
fn may_serve(machine: &Machine, config: &Config, asked: &Asked) -> Result<(), ErrorReply> {
    let down = Err(ErrorReply::fixed("CLUSTERDOWN The cluster is down"));
    if machine.is_ok() {
        return Ok(());
    }
    if asked.is_channel {
        return if config.cluster_allow_pubsubshard_when_down { Ok(()) } else { down };
    }
    match (config.cluster_allow_reads_when_down, asked.writes) {
        (false, _) => down,
        (true, true) => {
            Err(ErrorReply::fixed("CLUSTERDOWN The cluster is down and only accepts read commands"))
        }
        (true, false) => Ok(()),
    }
}

fn redirection(
    code: &str,
    machine: &Machine,
    config: &Config,
    asked: &Asked,
    to: &NodeId,
) -> ErrorReply {
    let Some((_, node)) = machine.find(to.as_bytes()) else {
        return ErrorReply::fixed("CLUSTERDOWN Hash slot not served");
    };
    let host = endpoint(node, config.cluster_preferred_endpoint_type, asked.is_ipv6);
    ErrorReply::Text(format!("{code} {} {host}:{}", asked.slot, node.address.port).into())
}

/// Returns the address of a node for clients, by `cluster-announce-client-ipv4` and the like.
pub(crate) fn client_ip(node: &ClusterNode, is_ipv6: bool) -> &str {
    let announced = if is_ipv6 { &node.names.client_ipv6 } else { &node.names.client_ipv4 };
    if announced.is_empty() { &node.address.ip } else { announced }
}

/// Returns what clients are told to connect to, by `cluster-preferred-endpoint-type`. Empty: the address that they
/// have used already.
pub(crate) fn endpoint(node: &ClusterNode, preferred: ClusterEndpointType, is_ipv6: bool) -> &str {
    match preferred {
        ClusterEndpointType::Ip => client_ip(node, is_ipv6),
        ClusterEndpointType::Hostname if node.names.hostname.is_empty() => "?",
        ClusterEndpointType::Hostname => &node.names.hostname,
        ClusterEndpointType::UnknownEndpoint => "",
    }
}
