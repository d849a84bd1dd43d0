//! The node: Redis' semantics as a deterministic value, without sockets, files, threads or clocks.
//!
//! Start at [`io`] for the contract with whoever drives it, then [`node`].

pub mod client;
pub mod command;
pub mod config;
mod connection;
mod cron;
mod dispatch;
pub mod docs;
pub mod effects;
pub mod info;
pub mod io;
pub mod keyspace;
pub mod node;
pub mod outbox;
pub mod pause;
pub mod persist;
pub mod planted;
pub mod rdb;
pub mod repl;
pub mod rng;
mod serve;
mod settings;
pub mod stats;
pub mod timers;
mod transaction;
pub mod types;

pub use node::{Boot, Node};

/// The version of Redis whose replies we give.
pub const REDIS_VERSION: &str = "7.2.4";

/// Our own version.
pub const RUSSET_VERSION: &str = env!("CARGO_PKG_VERSION");
