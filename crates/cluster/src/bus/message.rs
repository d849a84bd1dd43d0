//! What messages hold, apart from their bytes.

use super::flags::{MessageFlags, NodeFlags};
use crate::node_id::NodeId;
use crate::slots::SlotBitmap;

/// What every message but a light one says of its sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub sender: NodeId,
    /// The newest epoch that it knows.
    pub current_epoch: u64,
    /// Of a master, the epoch of its slots; of a replica, that of its master's.
    pub config_epoch: u64,
    /// Position in the replication stream.
    pub offset: u64,
    /// Slots of a master, or of a replica's master.
    pub slots: SlotBitmap,
    /// The master of a replica.
    pub master: Option<NodeId>,
    /// The address or host name that it announces, if any.
    pub ip: Option<String>,
    /// Port for clients.
    pub port: u16,
    /// The other port for clients: TLS if `port` is not, and the other way round. 0: none.
    pub second_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
    /// Its flags.
    pub flags: NodeFlags,
    /// Whether the cluster is up in its view.
    pub is_cluster_ok: bool,
    /// Flags of this message.
    pub message_flags: MessageFlags,
}

/// Which of the three messages with gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingKind {
    /// Asks for a PONG.
    Ping,
    /// The answer to a PING or MEET, or news of the sender.
    Pong,
    /// Asks for a PONG, and to be accepted as a node.
    Meet,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// PING, PONG or MEET.
    Ping(Ping<'a>),
    /// A node is down.
    Fail(NodeId),
    /// A message of a client for the subscribers of all nodes, or of the shard's.
    Publish(Publish<'a>),
    /// A replica asks for a vote.
    AuthRequest,
    /// A vote.
    AuthAck,
    /// Somebody else has the receiver's slots, with a newer epoch.
    Update(SlotsUpdate),
    /// A replica asks its master to pause its clients.
    MfStart,
    /// A message between modules, which is passed over.
    Module,
}

/// A PING, PONG or MEET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping<'a> {
    /// Which.
    pub kind: PingKind,
    /// What the sender knows of other nodes.
    pub gossip: Vec<GossipEntry<'a>>,
    /// More about the sender.
    pub extensions: Extensions,
}

/// What a sender knows of another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipEntry<'a> {
    /// Its name.
    pub node: NodeId,
    /// When it was last sent a PING that is not answered yet, seconds since 1970; 0: it is answered.
    pub ping_sent_secs: u32,
    /// When it last answered, seconds since 1970.
    pub pong_received_secs: u32,
    /// Its address or host name; none if it is not known.
    pub ip: Option<&'a str>,
    /// Port for clients.
    pub port: u16,
    /// The other port for clients.
    pub second_port: u16,
    /// Port of the bus.
    pub bus_port: u16,
    /// Its flags.
    pub flags: NodeFlags,
}

/// More about the sender of a PING, PONG or MEET. What it does not say is none.
///
/// What was received has been checked: names for people and hosts have only characters that a line of `nodes.conf` can
/// hold, and addresses are addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Its host name.
    pub hostname: Option<String>,
    /// Its name for people.
    pub human_nodename: Option<String>,
    /// The nodes that it was told to forget.
    pub forgotten: Vec<Forgotten>,
    /// Its shard.
    pub shard: Option<NodeId>,
    /// Its IPv4 address for clients.
    pub client_ipv4: Option<String>,
    /// Its IPv6 address for clients.
    pub client_ipv6: Option<String>,
}

/// A node that its sender was told to forget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Its name.
    pub node: NodeId,
    /// For how long, in seconds.
    pub ttl_secs: u64,
}

/// A message of a client to subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// Whether it is for the subscribers of a shard only.
    pub is_sharded: bool,
    /// The channel.
    pub channel: &'a [u8],
    /// The message.
    pub message: &'a [u8],
}

/// The slots of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotsUpdate {
    /// The node.
    pub node: NodeId,
    /// The epoch of its slots.
    pub config_epoch: u64,
    /// Its slots.
    pub slots: SlotBitmap,
}
