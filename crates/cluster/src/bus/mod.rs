//! The bus: messages between nodes, byte for byte those of stock servers.

mod flags;
mod message;

pub use flags::{MessageFlags, NodeFlags};
pub use message::{
    Extensions, Forgotten, GossipEntry, Header, Message, Ping, PingKind, Publish, SlotsUpdate,
};
