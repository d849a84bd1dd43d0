//! Worlds whose nodes are a cluster: masters of slots and their replicas, clients that follow redirections, and users who move
//! slots and order failovers while faults happen.
//!
//! ```text
//!   node0 … nodeN    data nodes in cluster mode, which find each other by the files that they begin with
//!   agents           clients (`cluster_user.rs`) and those who move slots (`cluster_mover.rs`, `cluster_fixer.rs`): each
//!                    asks one thing at a time
//!
//!   cluster_bus.rs      what leaves on the bus: votes; what is read there: who has heard of whom
//!   cluster_check.rs    what must hold at every moment, from the wire, the logs, the disks and the nodes' views
//!   cluster_keys.rs     what clients were promised of each key, and what a failover may lose of it
//!   cluster_heal.rs     when nothing fails any more, all nodes come to agree
//! ```
//!
//! Keys are named after *tags*, hash tags in slots that lie far from each other. Whatever is checked of slots is checked of these.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use russet_cluster::bus::NodeFlags;
use russet_cluster::nodes::NodeKey;
use russet_cluster::{NodeId, Route};
use russet_protocol::slot::slot_of;

use crate::chance::Chance;
use crate::cluster_agent::Agent;
use crate::cluster_mover::Mover;
use crate::cluster_user::User;
use crate::disk::Disk;
use crate::plan::Plan;
use crate::{cluster_bus, cluster_check, cluster_keys, cluster_start};

/// How many tags keys have.
pub(crate) const TAGS: usize = 16;

/// Nodes have started by then, and serve soon.
pub(crate) const CLUSTER_START_US: u64 = 3_000_000;

/// What is known of a cluster from outside.
#[derive(Debug, Default)]
pub(crate) struct ClusterWatch {
    /// The name of each node, which it has for ever.
    pub ids: Vec<NodeId>,
    /// The clients, and those who move slots.
    pub agents: Vec<Agent>,
    /// What was promised of keys.
    pub keys: cluster_keys::Keys,
    /// Whom a voter has voted for in an epoch.
    pub votes: BTreeMap<(usize, u64), usize>,
    /// Who has won an epoch, by the voters that count for the winner.
    pub winners: BTreeMap<(u64, BTreeSet<NodeId>), BTreeSet<NodeId>>,
    /// When a node last read something of another, and when the last long silence before that ended.
    pub heard: BTreeMap<(usize, usize), cluster_bus::Heard>,
    /// Messages that are sent in part, by connection and direction.
    pub sent: BTreeMap<(crate::net::ConnId, usize), cluster_bus::Begun>,
    /// Messages that are read in part.
    pub read: BTreeMap<(crate::net::ConnId, usize), cluster_bus::Begun>,
    /// Who served each tag with the greatest epoch, and since when.
    pub served: BTreeMap<usize, cluster_check::Served>,
    /// What each node was last seen to believe of tags.
    pub views: BTreeMap<usize, View>,
    /// Since when each node has taken its master for failed.
    pub failed_us: BTreeMap<usize, u64>,
    /// Nodes that ask for votes.
    pub electing: BTreeSet<usize>,
    /// Nodes that an operator has told to take over.
    pub told: BTreeSet<usize>,
    /// Whose slots have last changed by an order, of an operator or of its master, and when.
    pub ordered: Option<(usize, u64)>,
    /// Tags that somebody moves, or did not move to the end.
    pub moving: BTreeSet<usize>,
    /// Tags that were ever moved: views may go back for them.
    pub moved: BTreeSet<usize>,
    /// An operator has forced a failover: for some time two nodes may have the same slots, and writes are lost.
    pub is_forced: bool,
    /// Until when two nodes may serve reads of a tag, since one has handed it over.
    pub handed_over_us: BTreeMap<usize, u64>,
    /// When each tag last got a new master without the old one's consent. A write that was on its way may be lost.
    pub promoted_us: BTreeMap<usize, u64>,
    /// When all was as it must become.
    pub well_since_us: Option<u64>,
}

/// What a node believes of each tag.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// Who has it.
    pub owners: [Option<Seen>; TAGS],
    /// Where the node sends those who ask for it.
    pub routes: [Option<Route>; TAGS],
}

/// An owner of a slot, as a node was seen to know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub key: NodeKey,
    pub id: NodeId,
    /// What it got the slot with.
    pub epoch: u64,
}

/// The slot of a tag. All calls are followed by a look at all tags.
pub(crate) fn slot_of_tag(tag: usize) -> u16 {
    static SLOTS: LazyLock<[u16; TAGS]> =
        LazyLock::new(|| std::array::from_fn(|tag| slot_of(tag_text(tag).as_bytes())));
    SLOTS[tag]
}

/// A tag, as keys have it between braces.
pub(crate) fn tag_text(tag: usize) -> String {
    format!("t{tag}")
}

impl ClusterWatch {
    /// What is known before anything happens, with the nodes' first files on their disks.
    pub fn begin<'a>(
        plan: &Plan,
        disks: impl Iterator<Item = &'a mut Disk>,
        chance: &mut Chance,
    ) -> ClusterWatch {
        let Some(cluster) = &plan.cluster else { return ClusterWatch::default() };
        let users = (0..cluster.users).map(|n| Agent::user(User::new(n)));
        let movers = (0..cluster.movers).map(|n| Agent::mover(Mover::new(n == 0)));
        let agents = users.chain(movers).collect();
        ClusterWatch {
            ids: cluster_start::write_first(plan, disks, chance),
            agents,
            ..Default::default()
        }
    }

    /// The node with a name.
    pub fn node(&self, id: &NodeId) -> Option<usize> {
        self.ids.iter().position(|known| known == id)
    }
}

/// Whether a node has these flags in somebody's view.
pub(crate) fn is(node: &russet_cluster::nodes::Node, flags: NodeFlags) -> bool {
    node.flags.has(flags)
}
