//! Ids of connections, background jobs, requests and commands.

/// A connection, for node and driver. Handles are unique: a reused index has a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// Index in the node's table of connections; small, so that a driver may index an array by it.
    pub index: u32,
    /// Number of earlier connections with this index.
    pub generation: u32,
}

/// A snapshot being written, a file being read or a script that runs. Assigned by the node, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A request to the driver that will be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A row of the command table, subcommands included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);
