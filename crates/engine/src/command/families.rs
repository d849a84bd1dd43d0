//! The families of commands. Only this file depends on all files of rows; users of a row do not need
//! its table ([`CommandTable`]).

use super::{
    Command, CommandTable, bitmap, client, cluster, config, connection, debug, geo, hash,
    hyperloglog, introspect, keys, list, memory, monitor, pubsub, replication, sentinel, server,
    set, slowlog, stream, string, transaction, zset,
};
use crate::mode::Mode;

/// All families. One line adds a family; its rows add its commands.
pub static FAMILIES: &[&[Command]] = &[
    string::COMMANDS,
    bitmap::COMMANDS,
    hyperloglog::COMMANDS,
    hash::COMMANDS,
    list::COMMANDS,
    set::COMMANDS,
    stream::COMMANDS,
    zset::COMMANDS,
    geo::COMMANDS,
    keys::COMMANDS,
    transaction::COMMANDS,
    connection::COMMANDS,
    introspect::COMMANDS,
    client::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    memory::COMMANDS,
    monitor::COMMANDS,
    pubsub::COMMANDS,
    replication::COMMANDS,
    server::COMMANDS,
    slowlog::COMMANDS,
    sentinel::COMMANDS,
    cluster::COMMANDS,
];

impl CommandTable {
    /// The commands that a node of this mode has.
    pub fn of(mode: Mode) -> CommandTable {
        CommandTable::new(FAMILIES, Some(mode))
    }
}

/// All commands, whatever the mode: for documentation.
impl Default for CommandTable {
    fn default() -> CommandTable {
        CommandTable::new(FAMILIES, None)
    }
}
