//! Names of things that outlive a call: connections, background jobs, requests, commands.

/// A connection, as node and driver know it. Never reused: a place in the table is, with a new generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle {
    /// Place in the node's table of connections; small, so a driver may index an array by it.
    pub index: u32,
    /// How often that place had been taken before.
    pub generation: u32,
}

/// A snapshot being written or a file being read: numbered by the node, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// A request to the world whose answer somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A row of the command table, subcommands included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);
