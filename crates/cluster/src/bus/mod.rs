//! The bus: messages between nodes, byte for byte those of stock servers.
//!
//! Nodes talk over TCP, by default at the port for clients plus 10000. A connection carries messages one after the other,
//! each with its length; there are no replies but messages that happen to answer. Numbers are big-endian, what is unused
//! is zero, and text is zero-terminated in fields of fixed length. Each message but a light one begins with a header that
//! says everything about its sender, its slots included, so that whatever is sent spreads news:
//!
//! ```text
//!     0  4  "RCmb"
//!     4  4  length of the message, this header included
//!     8  2  version: 1
//!    10  2  port for clients
//!    12  2  type: PING 0, PONG 1, MEET 2, FAIL 3, PUBLISH 4, AUTH_REQUEST 5, AUTH_ACK 6, UPDATE 7,
//!           MFSTART 8, MODULE 9, PUBLISHSHARD 10
//!    14  2  number of entries of gossip: only PING, PONG, MEET
//!    16  8  current epoch
//!    24  8  config epoch: of a replica, its master's
//!    32  8  replication offset
//!    40 40  name of the sender
//!    80  …  2048 bytes of slots, a bit for each: of a replica, its master's
//!  2128 40  name of the master, zeros if the sender is one
//!  2168 46  address that the sender announces, zeros: the one that it connects from
//!  2214  2  number of extensions: only if the flags have 4
//!  2216 30  unused
//!  2246  2  second port for clients (TLS, or the one without)
//!  2248  2  port of the bus
//!  2250  2  flags of the node
//!  2252  1  0: the cluster is up, 1: it is down
//!  2253  1  flags of the message: 1 clients are paused, 2 vote although the master is up, 4 extensions
//!  2254  2  unused
//!  2256  …  what the type demands
//! ```
//!
//! Behind it, AUTH_REQUEST, AUTH_ACK and MFSTART have nothing, FAIL the name of the failing node (40), UPDATE a config
//! epoch (8), the name of the node whose it is (40) and its slots (2048), MODULE the module (8), a length (4), a type (1)
//! and that many bytes. PUBLISH and PUBLISHSHARD have the lengths of channel and message (4, 4) and both. PING, PONG and
//! MEET differ in their type only; they have entries of gossip, then extensions:
//!
//! ```text
//!  entry of gossip                                   extension
//!     0 40  name                                        0  4  length, this header included: a multiple of 8
//!    40  4  when it was sent a PING, seconds            4  2  type
//!    44  4  when it answered, seconds                   6  2  unused
//!    48 46  address                                     8  …  0 host name            text
//!    94  2  port for clients                                  1 name for people      text
//!    96  2  port of the bus                                   2 forgotten node       name (40), seconds (8)
//!    98  2  flags                                             3 shard                name (40)
//!   100  2  second port for clients                           4 address for clients  text, IPv4
//!   102  2  unused                                            5 address for clients  text, IPv6
//! ```
//!
//! A node with much traffic of PUBLISH would repeat its 2 KiB of slots with each. Nodes whose flags say that they
//! understand it are sent a light header instead; the sender is the node that the connection belongs to:
//!
//! ```text
//!     0  4  "RCmb"
//!     4  4  length of the message
//!     8  2  version: 1
//!    10  2  unused
//!    12  2  type | 0x8000: PUBLISH or PUBLISHSHARD
//!    14  2  unused
//!    16  …  lengths of channel and message (4, 4), channel, message
//! ```
//!
//! To receive, split bytes by [`next_frame`] and [`decode`] each frame; an error of the former closes the connection, one of
//! the latter passes over a message. To send, call the writer of a message: it appends to a buffer.
//!
//! With a bus secret, messages have proofs: [`Seal`].
//!
//! Not here: who may say what. A decoded message is well-formed, not true.
//!
//! Sources: `cluster_legacy.h` of Valkey after 8.0, and messages recorded from it and from Redis 7.0 (`fixtures`).

mod decode;
mod encode;
mod flags;
mod frame;
mod layout;
mod message;
mod seal;
#[cfg(test)]
mod tests;

pub use decode::{BusError, Received, decode};
pub use encode::{
    write_auth_ack, write_auth_request, write_fail, write_mf_start, write_ping, write_publish,
    write_publish_light, write_update,
};
pub use flags::{MessageFlags, NodeFlags};
pub use frame::{FRAME_LEN_MAX, FrameError, LONG_FRAME_LEN_MAX, NextFrame, next_frame, type_of};
pub use message::{
    Extensions, Forgotten, GossipEntry, Header, Message, Ping, PingKind, Publish, SlotsUpdate,
};
pub use seal::{NONCE_LEN, NextSealed, Seal, SealError};
