//! A command's run, whoever asked for it: a client, its EXEC, our master's stream.

use russet_protocol::Protocol;

use crate::ids::Handle;

/// On whose behalf a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// A client's.
    Client,
    /// A client's, as part of EXEC.
    Exec,
    /// Our master's: its stream of effects.
    Master,
}

/// Everything about a run that is not the command: a call, not a connection.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    /// On whose behalf.
    pub caller: Caller,
    /// The connection that called, if one did. The master's stream, an append-only file and scripts have none.
    pub session: Option<Handle>,
    /// The selected database; SELECT changes it for the calls that follow.
    pub db: u32,
    /// In which protocol it is replied.
    pub protocol: Protocol,
}
