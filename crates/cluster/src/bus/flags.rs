//! Flags in messages.

use std::ops::{BitOr, BitOrAssign};

/// Flags of a node, as its sender sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeFlags(pub u16);

impl NodeFlags {
    /// A master.
    pub const MASTER: NodeFlags = NodeFlags(1);
    /// A replica.
    pub const REPLICA: NodeFlags = NodeFlags(1 << 1);
    /// It does not answer.
    pub const PFAIL: NodeFlags = NodeFlags(1 << 2);
    /// A majority of masters says that it is down.
    pub const FAIL: NodeFlags = NodeFlags(1 << 3);
    /// The node itself.
    pub const MYSELF: NodeFlags = NodeFlags(1 << 4);
    /// The first messages have not been exchanged.
    pub const HANDSHAKE: NodeFlags = NodeFlags(1 << 5);
    /// Its address is not known.
    pub const NO_ADDRESS: NodeFlags = NodeFlags(1 << 6);
    /// It is to be sent a MEET.
    pub const MEET: NodeFlags = NodeFlags(1 << 7);
    /// A master that replicas of other masters may be moved to: it has had replicas, or has taken the slots of one that had.
    pub const MIGRATE_TO: NodeFlags = NodeFlags(1 << 8);
    /// A replica that never takes over.
    pub const NO_FAILOVER: NodeFlags = NodeFlags(1 << 9);
    /// It understands extensions.
    pub const EXTENSIONS: NodeFlags = NodeFlags(1 << 10);
    /// It understands light headers.
    pub const LIGHT_HEADERS: NodeFlags = NodeFlags(1 << 11);

    /// Whether all of these are set.
    pub fn has(self, flags: NodeFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets or clears flags.
    pub fn set(&mut self, flags: NodeFlags, value: bool) {
        match value {
            true => self.0 |= flags.0,
            false => self.0 &= !flags.0,
        }
    }
}

impl BitOr for NodeFlags {
    type Output = NodeFlags;

    fn bitor(self, other: NodeFlags) -> NodeFlags {
        NodeFlags(self.0 | other.0)
    }
}

impl BitOrAssign for NodeFlags {
    fn bitor_assign(&mut self, other: NodeFlags) {
        self.0 |= other.0;
    }
}

/// Flags of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageFlags(pub u8);

impl MessageFlags {
    /// The sender is a master whose clients are paused for a manual failover.
    pub const PAUSED: MessageFlags = MessageFlags(1);
    /// A vote is asked for although the master is up.
    pub const FORCE_ACK: MessageFlags = MessageFlags(1 << 1);
    /// The sender understands extensions; what follows gossip are extensions. Only in PING, PONG and MEET.
    pub const EXTENSIONS: MessageFlags = MessageFlags(1 << 2);

    /// Whether these are set.
    pub fn has(self, flags: MessageFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Sets or clears flags.
    pub fn set(&mut self, flags: MessageFlags, value: bool) {
        match value {
            true => self.0 |= flags.0,
            false => self.0 &= !flags.0,
        }
    }
}
