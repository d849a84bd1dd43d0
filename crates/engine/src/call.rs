//! A call of a command: by a client, by its EXEC or by the master's stream.

use russet_protocol::Protocol;

use crate::ids::Handle;

/// The caller of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client.
    Client,
    /// EXEC of a client.
    Exec,
    /// The master's stream of effects.
    Master,
}

/// The context of a call, independent of connections.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// The caller.
    pub caller: Caller,
    /// The calling connection; none for the master's stream, an append-only file and scripts.
    pub session: Option<Handle>,
    /// The selected database; SELECT changes it for later calls.
    pub db: u32,
    /// The protocol of the reply.
    pub protocol: Protocol,
}
