//! The families of commands. Only this file depends on all files of rows; users of a row do not need
//! its table ([`CommandTable`]).

use super::{
    Command, CommandTable, client, cluster, config, connection, debug, hash, introspect, keys,
    memory, pubsub, replication, server, string, transaction,
};

/// All families. One line adds a family; its rows add its commands.
pub static FAMILIES: &[&[Command]] = &[
    string::COMMANDS,
    hash::COMMANDS,
    keys::COMMANDS,
    transaction::COMMANDS,
    connection::COMMANDS,
    introspect::COMMANDS,
    client::COMMANDS,
    config::COMMANDS,
    debug::COMMANDS,
    memory::COMMANDS,
    pubsub::COMMANDS,
    replication::COMMANDS,
    server::COMMANDS,
    cluster::COMMANDS,
];

impl Default for CommandTable {
    fn default() -> CommandTable {
        CommandTable::new(FAMILIES)
    }
}
