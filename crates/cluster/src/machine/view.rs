//! What is shown to operators and clients.

use super::{Cluster, Stats};
use crate::bus::NodeFlags;
use crate::io::{Level, LinkId};
use crate::node_id::NodeId;
use crate::nodes::{Node, NodeKey};
use crate::nodes_file::NodeLine;

/// Slots without a gap that one master has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlotRange {
    /// The first slot.
    pub first: u16,
    /// The last one.
    pub last: u16,
    /// The master.
    pub owner: NodeKey,
}

/// A replica that can take this master's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// Its name.
    pub id: NodeId,
    /// The name with that for people.
    pub label: String,
    /// Host name or address.
    pub host: String,
    /// Port for clients.
    pub port: u16,
    /// Whether it takes over only if it is told to.
    pub is_reluctant: bool,
    /// How far its data was when it last said so.
    pub offset: u64,
}

/// A slot that is being moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenSlot {
    /// The slot.
    pub slot: u16,
    /// Whether it is moved to this node's shard, not away from it.
    pub is_importing: bool,
    /// The node at the other end.
    pub node: NodeId,
}

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkView {
    /// The connection.
    pub link: LinkId,
    /// Whether this node has opened it.
    pub is_outgoing: bool,
    /// The node at the other end.
    pub node: NodeId,
    /// Since when there is one, milliseconds since 1970.
    pub created_wall_ms: i64,
}

impl Cluster {
    /// Returns the newest epoch that this node knows.
    pub fn current_epoch(&self) -> u64 {
        self.current_epoch
    }

    /// Returns the epoch of this node's slots, or of its master's.
    pub fn my_epoch(&self) -> u64 {
        let me = self.nodes.me();
        me.master
            .filter(|_| me.is_replica())
            .map_or(me.config_epoch, |master| self.nodes[master].config_epoch)
    }

    /// Returns the epoch of the last vote.
    pub fn last_vote_epoch(&self) -> u64 {
        self.last_vote_epoch
    }

    /// Returns how many slots have an owner that is suspected, and how many one that is down.
    pub fn troubled_slots(&self) -> (u64, u64) {
        let count = |flag: NodeFlags| {
            let nodes = self.nodes.iter().filter(|(_, node)| node.is(flag));
            nodes.map(|(_, node)| u64::from(node.slot_count())).sum()
        };
        (count(NodeFlags::PFAIL), count(NodeFlags::FAIL))
    }

    /// Returns counts of messages.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Notes a connection that the driver closes, since so many bytes wait to be sent on it.
    pub fn link_over_limit(&mut self, link: LinkId, bytes: usize) {
        self.stats.links_over_limit += 1;
        let Some(link) = self.links.get(link) else { return };
        let direction = if link.is_inbound { "from" } else { "to" };
        let node = link.node.map_or_else(|| "a stranger".to_owned(), |key| self.nodes[key].label());
        let text = format!(
            "Closing the connection of the cluster bus {direction} {node}: {bytes} bytes wait to be sent, more than \
             'cluster-link-sendbuf-limit'"
        );
        self.log(Level::Warning, text);
    }

    /// Counts a connection that was closed since the peer did not prove that it has the bus secret.
    pub fn link_unproved(&mut self) {
        self.stats.links_unproved += 1;
    }

    /// Returns all nodes as lines of CLUSTER NODES, in the order of their names.
    pub fn lines(&self) -> Vec<NodeLine> {
        let mut keys = self.nodes.keys();
        keys.sort_by_key(|key| self.nodes[*key].id);
        keys.into_iter().map(|key| self.line(key)).collect()
    }

    /// Returns the lines of a master's replicas.
    pub fn replica_lines(&self, master: NodeKey) -> Vec<NodeLine> {
        self.nodes.replicas(master).map(|(key, _)| self.line(key)).collect()
    }

    /// Returns the replicas that can take this master's place, if it has slots.
    pub fn successors(&self) -> Vec<Successor> {
        let is_ready = |(_, node): &(NodeKey, &Node)| {
            !node.is_failing() && node.is_known() && self.nodes.me().votes()
        };
        let ready = self.nodes.replicas(self.nodes.my_key()).filter(is_ready);
        let successor = |(_, node): (NodeKey, &Node)| Successor {
            id: node.id,
            label: node.label(),
            host: node.address.ip.clone(),
            port: node.address.port,
            is_reluctant: node.is(NodeFlags::NO_FAILOVER),
            offset: node.offset,
        };
        ready.map(successor).collect()
    }

    /// Returns a node by the text of its name.
    pub fn find(&self, id: &[u8]) -> Option<(NodeKey, &Node)> {
        let key = self.nodes.find(&NodeId::parse(id)?)?;
        Some((key, &self.nodes[key]))
    }

    /// Returns the slots that have an owner, in order.
    pub fn slot_ranges(&self) -> Vec<SlotRange> {
        let mut ranges: Vec<SlotRange> = Vec::new();
        for slot in 0..russet_protocol::slot::SLOTS {
            let Some(owner) = self.nodes.owner(slot) else { continue };
            match ranges.last_mut() {
                Some(range) if range.owner == owner && range.last + 1 == slot => range.last = slot,
                _ => ranges.push(SlotRange { first: slot, last: slot, owner }),
            }
        }
        ranges
    }

    /// Returns the shards in the order of their names, each with its nodes, the master first.
    pub fn shards(&self) -> Vec<(NodeId, Vec<NodeKey>)> {
        let mut shards = std::collections::BTreeMap::<NodeId, Vec<NodeKey>>::new();
        let known = self.nodes.iter().filter(|(_, node)| !node.is(NodeFlags::HANDSHAKE));
        for (key, node) in known {
            shards.entry(node.shard).or_default().push(key);
        }
        let order = |key: &NodeKey| (!self.nodes[*key].is_master(), self.nodes[*key].id);
        shards.values_mut().for_each(|nodes| nodes.sort_by_key(order));
        shards.into_iter().collect()
    }

    /// Returns how far this node is in the history of its shard, if its data is so far: 0 with the data of another shard.
    pub fn offset_in_shard(&self, offset: u64) -> u64 {
        if self.has_foreign_data { 0 } else { offset }
    }

    /// Whether the owner of a slot has claimed it in its last message.
    pub fn is_claimed(&self, slot: u16) -> bool {
        self.nodes.owner(slot).is_some() && !self.unclaimed.contains(slot)
    }

    /// Returns the moves of slots that are under way.
    pub fn open_slots(&self) -> impl Iterator<Item = OpenSlot> {
        let importing = self.importing.iter().map(|(slot, key)| (*slot, true, *key));
        let migrating = self.migrating.iter().map(|(slot, key)| (*slot, false, *key));
        importing.chain(migrating).map(|(slot, is_importing, key)| OpenSlot {
            slot,
            is_importing,
            node: self.nodes[key].id,
        })
    }

    /// Whether this node is a master with slots that does not serve since it may have been replaced. Whoever moves a slot must not
    /// take for its keys what is here.
    pub fn may_be_replaced(&self) -> bool {
        self.nodes.me().votes() && self.standing.may_be_replaced()
    }

    /// Returns the node that a slot is moved to from this shard.
    pub fn migrating_to(&self, slot: u16) -> Option<NodeId> {
        self.migrating.get(&slot).map(|key| self.nodes[*key].id)
    }

    /// Returns connections with nodes.
    pub fn link_views(&self) -> Vec<LinkView> {
        let links = self.links.iter().filter(|(_, link)| link.is_open);
        let view = |(id, link): (LinkId, &super::links::Link)| {
            let node = &self.nodes[link.node?];
            let is_known = !node.is(NodeFlags::HANDSHAKE);
            is_known.then_some(LinkView {
                link: id,
                is_outgoing: !link.is_inbound,
                node: node.id,
                created_wall_ms: link.created_wall_ms,
            })
        };
        links.filter_map(view).collect()
    }

    /// Whether messages of a connection may be long: it belongs to a node of the cluster.
    pub fn is_link_known(&self, link: LinkId) -> bool {
        let node = self.links.get(link).and_then(|link| link.node);
        node.is_some_and(|key| !self.nodes[key].is(NodeFlags::HANDSHAKE))
    }

    /// Returns a number that says how healthy a node is: `online`, `fail` or `loading` in CLUSTER SHARDS.
    pub fn is_node_failing(&self, key: NodeKey) -> bool {
        self.node(key).is_failing()
    }
}
