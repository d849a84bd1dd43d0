//! A node, as this one knows it.

use std::collections::BTreeMap;

use super::NodeKey;
use crate::bus::NodeFlags;
use crate::io::LinkId;
use crate::node_id::NodeId;
use crate::slots::SlotBitmap;

/// Where a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Address {
    /// IP address, or a host name; empty: not known.
    pub ip: String,
    /// Port for clients; 0: none.
    pub port: u16,
    /// Port for clients with TLS; 0: none.
    pub tls_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
}

/// What a node says of itself in extensions. Empty: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Host name.
    pub hostname: String,
    /// Name for people.
    pub human: String,
    /// IPv4 address for clients.
    pub client_ipv4: String,
    /// IPv6 address for clients.
    pub client_ipv6: String,
}

/// A node.
///
/// What a message reads and changes of each node that it names is in the first two cache lines: a message names a tenth of
/// all nodes, at random.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Node {
    /// What is known of it.
    pub flags: NodeFlags,
    pub(super) slot_count: u16,
    /// The master of a replica, if that is known.
    pub master: Option<NodeKey>,
    /// Since when it owes an answer.
    pub ping_sent_ms: Option<u64>,
    /// When it last answered, or was said to have answered; none: never.
    pub pong_ms: Option<u64>,
    /// Its name.
    pub id: NodeId,
    /// The connection to it.
    pub link: Option<LinkId>,
    /// Where it is.
    pub address: Address,
    /// Masters that say that it does not answer, and when they last said so.
    pub reports: BTreeMap<NodeKey, u64>,
    /// When anything last came from it.
    pub heard_ms: u64,
    /// When the newest message was sent to it that it has answered, as far as that is known.
    pub answered_ms: Option<u64>,
    /// When it was last answered without being told that it is down: so long it may think that this node wants it to serve.
    pub assured_ms: u64,
    /// Whether it said in its last answer that this node is down.
    pub denies_us: bool,
    /// Whether it claims slots of another master with the epoch of that one.
    pub is_contested: bool,
    /// The newest epoch that it has told of: it never tells of an older one again, if its file is not.
    pub told_epoch: u64,
    /// The epoch of its slots, by what it or its replicas say.
    pub config_epoch: u64,
    /// The epoch with which it was last heard to have its slots. A replica tells its master's epoch, and not the slots.
    pub claimed_epoch: u64,
    pub(super) slots: SlotBitmap,
    /// Its position in the replication stream.
    pub offset: u64,
    /// The connection from it.
    pub inbound: Option<LinkId>,
    /// When a connection to it was last asked for.
    pub tried_ms: u64,
    /// When it was added.
    pub created_ms: u64,
    /// When it was marked FAIL.
    pub failed_ms: u64,
    /// When a vote was last given to one of its replicas, and to which.
    pub voted: Option<(u64, NodeId)>,
    /// Since when it has had no working replica.
    pub orphaned_ms: Option<u64>,
    /// Its shard: it, its master and that one's replicas.
    pub shard: NodeId,
    /// What it says of itself.
    pub names: Names,
    /// In a handshake with a node that others have told of: its name. At its address there may be somebody else by now, who
    /// belongs to another cluster.
    pub expected: Option<NodeId>,
}

impl Node {
    /// Creates a node.
    pub fn new(id: NodeId, shard: NodeId, flags: NodeFlags, now_ms: u64) -> Node {
        Node {
            id,
            shard,
            flags,
            address: Address::default(),
            names: Names::default(),
            master: None,
            told_epoch: 0,
            claimed_epoch: 0,
            config_epoch: 0,
            slots: SlotBitmap::default(),
            slot_count: 0,
            offset: 0,
            created_ms: now_ms,
            tried_ms: 0,
            ping_sent_ms: None,
            pong_ms: None,
            answered_ms: None,
            denies_us: false,
            is_contested: false,
            heard_ms: now_ms,
            assured_ms: now_ms,
            failed_ms: 0,
            voted: None,
            orphaned_ms: None,
            link: None,
            inbound: None,
            reports: BTreeMap::new(),
            expected: None,
        }
    }

    /// Whether it has a flag.
    pub fn is(&self, flag: NodeFlags) -> bool {
        self.flags.has(flag)
    }

    /// Whether it is a master.
    pub fn is_master(&self) -> bool {
        self.is(NodeFlags::MASTER)
    }

    /// Whether it is a replica.
    pub fn is_replica(&self) -> bool {
        self.is(NodeFlags::REPLICA)
    }

    /// Whether it votes: a master that has slots.
    pub fn votes(&self) -> bool {
        self.is_master() && self.slot_count > 0
    }

    /// Whether it is suspected or known to be down.
    pub fn is_failing(&self) -> bool {
        self.is(NodeFlags::PFAIL) || self.is(NodeFlags::FAIL)
    }

    /// Whether others may be told of it.
    pub fn is_known(&self) -> bool {
        !self.is(NodeFlags::HANDSHAKE) && !self.is(NodeFlags::NO_ADDRESS)
    }

    /// Its slots.
    pub fn slots(&self) -> &SlotBitmap {
        &self.slots
    }

    /// How many slots it has.
    pub fn slot_count(&self) -> u16 {
        self.slot_count
    }

    /// Returns its name and the one for people, as lines of the log have them: without the latter its address, since
    /// nobody knows by heart whose name the 40 digits are.
    pub fn label(&self) -> String {
        let Address { ip, port, .. } = &self.address;
        match (self.names.human.is_empty(), ip.is_empty()) {
            (true, false) => format!("{} ({ip}:{port})", self.id),
            _ => format!("{} ({})", self.id, self.names.human),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_has_what_people_know_a_node_by() {
        let id = NodeId::parse(&[b'a'; 40]).unwrap();
        let mut node = Node::new(id, id, NodeFlags::MASTER, 0);
        assert_eq!(node.label(), format!("{id} ()"));
        node.address = Address { ip: "10.0.0.1".to_owned(), port: 6379, ..Address::default() };
        assert_eq!(node.label(), format!("{id} (10.0.0.1:6379)"));
        node.names.human = "a".to_owned();
        assert_eq!(node.label(), format!("{id} (a)"));
    }
}
