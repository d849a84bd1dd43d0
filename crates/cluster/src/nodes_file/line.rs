//! The line of a node, and how it is written.

use russet_protocol::number::push_u64;

use crate::bus::NodeFlags;
use crate::{NodeId, SlotBitmap};

/// Names of flags, in the order in which they are written.
pub(super) const FLAGS: [(NodeFlags, &str); 8] = [
    (NodeFlags::MYSELF, "myself"),
    (NodeFlags::MASTER, "master"),
    (NodeFlags::REPLICA, "slave"),
    (NodeFlags::PFAIL, "fail?"),
    (NodeFlags::FAIL, "fail"),
    (NodeFlags::HANDSHAKE, "handshake"),
    (NodeFlags::NO_ADDRESS, "noaddr"),
    (NodeFlags::NO_FAILOVER, "nofailover"),
];

/// What a node knows about a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Its name.
    pub id: NodeId,
    /// Its address, at most 45 bytes; empty if unknown, as that of a node itself before another node has told it.
    pub ip: String,
    /// The port of its clients, 0 if unknown. Of the two kinds of ports it is the one that `aux` lacks; see
    /// [`NodeLine::client_ports`].
    pub port: u16,
    /// The port of its bus, 0 if unknown.
    pub bus_port: u16,
    /// Its host name; not empty.
    pub hostname: Option<String>,
    /// What clients are not shown.
    pub aux: Aux,
    /// Its flags. Those without a name in the file are not written. At most one of `MASTER` and `REPLICA` is parsed, or none of
    /// a node that no message has come from.
    pub flags: NodeFlags,
    /// Its master. A replica that only gossip has told of has none yet.
    pub master: Option<NodeId>,
    /// When the ping was sent that it has not answered, in ms of the writer's clock; 0 if it has answered. Stock servers
    /// replace what is not 0 by the time of loading.
    pub ping_sent_ms: u64,
    /// When its last pong came, likewise.
    pub pong_received_ms: u64,
    /// Its configuration epoch; that of its master for a replica.
    pub config_epoch: u64,
    /// Whether there is a link to it. That is no longer so when the file is loaded.
    pub is_connected: bool,
    /// Its slots.
    pub slots: SlotBitmap,
    /// Slots that are moved to other nodes, in order. Only the node itself has some. No slot is in both lists.
    pub migrating: Vec<(u16, NodeId)>,
    /// Slots that are moved from other nodes to it, likewise.
    pub importing: Vec<(u16, NodeId)>,
}

/// Fields behind the host name, `name=value`, in the file since version 7.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aux {
    /// The shard of the node. All versions that write aux fields write it.
    pub shard_id: Option<NodeId>,
    /// A name for people, in logs only; not empty.
    pub nodename: Option<String>,
    /// The port for clients without TLS, if the port of the address is that for TLS. No released version has it in the file.
    pub tcp_port: Option<u16>,
    /// The port for clients with TLS, 0 if there is none.
    pub tls_port: Option<u16>,
    /// The IPv4 address for clients, as it was configured (since Valkey 8).
    pub client_ipv4: Option<String>,
    /// The IPv6 address for clients, likewise.
    pub client_ipv6: Option<String>,
}

impl NodeLine {
    /// Returns a node of which only the name is known.
    pub fn new(id: NodeId) -> NodeLine {
        NodeLine {
            id,
            ip: String::new(),
            port: 0,
            bus_port: 0,
            hostname: None,
            aux: Aux::default(),
            flags: NodeFlags::default(),
            master: None,
            ping_sent_ms: 0,
            pong_received_ms: 0,
            config_epoch: 0,
            is_connected: false,
            slots: SlotBitmap::default(),
            migrating: Vec::new(),
            importing: Vec::new(),
        }
    }

    /// Returns the ports for clients, without and with TLS; 0 if there is none. A file from before 7.2 has only one, and which
    /// that is depends on whether the bus uses TLS (`tls-cluster`).
    pub fn client_ports(&self, is_tls_cluster: bool) -> (u16, u16) {
        match (self.aux.tcp_port, self.aux.tls_port) {
            (Some(tcp), Some(tls)) => (tcp, tls),
            (None, Some(tls)) => (self.port, tls),
            (Some(tcp), None) => (tcp, self.port),
            (None, None) if is_tls_cluster => (0, self.port),
            (None, None) => (self.port, 0),
        }
    }

    /// Appends the line for the file, without its end.
    pub fn push_file(&self, out: &mut Vec<u8>) {
        self.push_address(out, &self.ip, self.port);
        if self.hostname.is_none() && self.aux != Aux::default() {
            out.push(b',');
        }
        self.aux.push(out);
        self.push_state(out);
    }

    /// Appends the line for a reply, without an end, with the address and port for this client. Those are `ip` and `port` of
    /// the node, or what it announces to clients over IPv4 or IPv6 (`client_ipv4`, `client_ipv6`) or with TLS.
    pub fn push_reply(&self, out: &mut Vec<u8>, ip: &str, port: u16) {
        self.push_address(out, ip, port);
        self.push_state(out);
    }

    /// Appends `id ip:port@cport[,hostname]`.
    fn push_address(&self, out: &mut Vec<u8>, ip: &str, port: u16) {
        out.extend_from_slice(self.id.as_bytes());
        out.push(b' ');
        out.extend_from_slice(ip.as_bytes());
        out.push(b':');
        push_u64(out, port.into());
        out.push(b'@');
        push_u64(out, self.bus_port.into());
        if let Some(hostname) = &self.hostname {
            out.push(b',');
            out.extend_from_slice(hostname.as_bytes());
        }
    }

    /// Appends all that follows the address.
    fn push_state(&self, out: &mut Vec<u8>) {
        out.push(b' ');
        push_flags(out, self.flags);
        out.push(b' ');
        match &self.master {
            Some(id) => out.extend_from_slice(id.as_bytes()),
            None => out.push(b'-'),
        }
        for number in [self.ping_sent_ms, self.pong_received_ms, self.config_epoch] {
            out.push(b' ');
            push_u64(out, number);
        }
        out.extend_from_slice(if self.is_connected { b" connected" } else { b" disconnected" });
        for range in self.slots.ranges() {
            out.push(b' ');
            push_u64(out, (*range.start()).into());
            if range.start() != range.end() {
                out.push(b'-');
                push_u64(out, (*range.end()).into());
            }
        }
        self.push_open_slots(out);
    }

    /// Appends slots on the move, in order: ` [slot->-id]` or ` [slot-<-id]`.
    fn push_open_slots(&self, out: &mut Vec<u8>) {
        let migrating = self.migrating.iter().map(|&(slot, id)| (slot, "->-", id));
        let importing = self.importing.iter().map(|&(slot, id)| (slot, "-<-", id));
        let mut open: Vec<_> = migrating.chain(importing).collect();
        open.sort_by_key(|&(slot, ..)| slot);
        for (slot, arrow, id) in open {
            out.extend_from_slice(b" [");
            push_u64(out, slot.into());
            out.extend_from_slice(arrow.as_bytes());
            out.extend_from_slice(id.as_bytes());
            out.push(b']');
        }
    }
}

impl Aux {
    /// Appends `,name=value` of each field.
    fn push(&self, out: &mut Vec<u8>) {
        let port = |port: Option<u16>| port.map(|port| port.to_string());
        let text = |text: &Option<String>| text.clone();
        let fields = [
            ("client-ipv6", text(&self.client_ipv6)),
            ("client-ipv4", text(&self.client_ipv4)),
            ("tls-port", port(self.tls_port)),
            ("tcp-port", port(self.tcp_port)),
            ("nodename", text(&self.nodename)),
            ("shard-id", self.shard_id.map(|id| id.to_string())),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                out.push(b',');
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                out.extend_from_slice(value.as_bytes());
            }
        }
    }
}

/// Appends the names of flags, separated by commas; `noflags` if there are none.
fn push_flags(out: &mut Vec<u8>, flags: NodeFlags) {
    let start = out.len();
    for (flag, name) in FLAGS {
        if flags.has(flag) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
        }
    }
    if out.len() == start {
        out.extend_from_slice(b"noflags");
    }
}
