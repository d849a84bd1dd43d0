//! The interface between the machine and its driver.

use std::net::IpAddr;

use crate::node_id::NodeId;
use crate::slots::SlotBitmap;

/// The time of two clocks, and how far the node's data is. The driver tells both with each event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a monotonic clock: all timers.
    pub mono_ms: u64,
    /// Milliseconds since 1970 of the wall clock, which may jump: only for what people read.
    pub wall_ms: i64,
    /// The node's data.
    pub data: Data,
}

/// How far the node's data is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// Position in the replication stream: as a master, what it has written; as a replica, what it has applied.
    pub offset: u64,
    /// Whether a replica's link to the master of the last [`Output::Follow`] is up, or has been, so that it has that one's
    /// data.
    pub is_connected: bool,
    /// For how long a replica has heard nothing of its master; none if it never has.
    pub silent_ms: Option<u64>,
}

/// A connection of the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// An event.
#[derive(Debug)]
pub enum Input<'a> {
    /// Somebody has connected.
    Accepted {
        /// The connection, numbered by the driver with [`Cluster::next_link`](crate::Cluster::next_link).
        link: LinkId,
        /// Our address, as the connection has it.
        local: Option<IpAddr>,
        /// The peer's address.
        peer: Option<IpAddr>,
    },
    /// A connection of ours is open.
    Connected {
        /// The connection.
        link: LinkId,
        /// Our address, as the connection has it.
        local: Option<IpAddr>,
        /// The peer's address.
        peer: Option<IpAddr>,
    },
    /// A connection could not be opened.
    NotConnected {
        /// The connection.
        link: LinkId,
        /// The error.
        error: String,
    },
    /// A connection is closed.
    Closed {
        /// The connection.
        link: LinkId,
    },
    /// A whole message.
    Message {
        /// The connection.
        link: LinkId,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The state of an [`Output::Save`] is on disk, or cannot be saved.
    Saved {
        /// The version of the state.
        version: u64,
        /// The error.
        result: Result<(), String>,
    },
    /// A deadline has passed.
    Tick,
}

/// The level of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For debugging.
    Debug,
    /// Rarely useful.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator must see.
    Warning,
}

/// What the machine wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a connection; [`Input::Connected`] or [`Input::NotConnected`] follows.
    Connect {
        /// The connection.
        link: LinkId,
        /// Host name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// Send bytes on an open connection.
    Send {
        /// The connection.
        link: LinkId,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Close a connection; nothing more comes from it.
    Close {
        /// The connection.
        link: LinkId,
    },
    /// Write the state to disk; [`Input::Saved`] follows.
    Save {
        /// Its version.
        version: u64,
        /// The text of the file.
        text: Vec<u8>,
    },
    /// Write the journal ([`Cluster::journal_text`](crate::Cluster::journal_text)) to its file soon. Nothing waits for it.
    SaveJournal,
    /// Replicate this node.
    Follow {
        /// Host name or address.
        host: String,
        /// Port for clients.
        port: u16,
    },
    /// Stop replicating: this node is a master.
    Promote,
    /// Delete the keys of slots that others have taken.
    DropKeys {
        /// The slots.
        slots: SlotBitmap,
    },
    /// The slots of this node have changed, or whether it serves: who waits for a key is looked at again.
    SlotsChanged,
    /// Deliver a message to subscribers.
    Publish {
        /// Whether it is for those of the shard only.
        is_sharded: bool,
        /// The channel.
        channel: Vec<u8>,
        /// The message.
        message: Vec<u8>,
    },
    /// Hold writes of clients, for a failover that a replica was asked to do.
    PauseWrites {
        /// For how long at most.
        ms: u64,
    },
    /// End the hold.
    ResumeWrites,
    /// Write a line to the log.
    Log {
        /// Its level.
        level: Level,
        /// The line.
        text: String,
    },
}

/// Where a command for a slot is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Here.
    Here,
    /// Here, and it is being moved: keys that are not here may be there already.
    Migrating {
        /// The node that takes it.
        to: NodeId,
    },
    /// Elsewhere, but it is being moved to this node, which serves a client that says ASKING.
    Importing {
        /// The node that has it.
        owner: NodeId,
    },
    /// This node is a replica of the one that serves it.
    Replicated {
        /// The node that has it.
        owner: NodeId,
    },
    /// Elsewhere.
    Elsewhere {
        /// The node that has it.
        owner: NodeId,
    },
    /// By nobody.
    Unassigned,
}
