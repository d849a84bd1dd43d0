//! The protocol: requests and replies of RESP2 and RESP3, hash slots, error texts.
//!
//! Everything here is a pure function or a small state machine over bytes. This crate has no
//! keyspace, commands or sockets, so clients, servers, Sentinels and cluster buses can share it.

pub mod double;
pub mod error;
pub mod number;
pub mod reply;
pub mod reply_parser;
pub mod request;
pub mod slot;

pub use error::ErrorReply;
pub use reply::{Protocol, ReplyWriter};
pub use reply_parser::{ParsedReply, Reply, ReplyError, ReplyLimits, ReplyParser};
pub use request::{ArgRange, Limits, Parsed, RequestParser};
