//! The node: Redis' semantics as a deterministic value, without sockets, files, threads or clocks.
//!
//! Start at [`io`], the contract with the driver, then [`node`].

pub mod blocking;
pub mod busy;
pub mod call;
pub mod clients;
pub mod cluster;
pub mod command;
pub mod config;
pub mod core;
pub mod docs;
pub mod effects;
mod expiry;
pub mod ids;
pub mod info;
pub mod injected;
pub mod io;
pub mod journal;
pub mod journal_file;
pub mod keyspace;
pub mod migrate;
pub mod mode;
pub mod monitors;
pub mod node;
mod notify;
pub mod parts;
mod pause;
pub mod persist;
pub mod pubsub;
pub mod rdb;
pub mod repl;
pub mod rng;
pub mod sentinel;
pub mod settings;
pub mod shared;
pub mod slot_stats;
pub mod slowlog;
pub mod stats;
pub mod timers;
pub mod transaction;
pub mod types;
mod watching;

pub use node::{Boot, Node};

/// The version of Redis whose replies we give.
pub const REDIS_VERSION: &str = "7.2.4";

/// Our own version.
pub const RUSSET_VERSION: &str = env!("CARGO_PKG_VERSION");
