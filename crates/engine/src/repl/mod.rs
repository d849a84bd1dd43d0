//! Replication: a stream of effects, and its master and replica sides.
//!
//! * [`stream`] turns effects into a stream of bytes and keeps its recent past (`backlog.rs`); [`psync`] decides who may
//!   go on where it stopped.
//! * [`master`] is the one direction: replicas of ours, which it owns. It attaches them, gives them everything
//!   (`file_sync.rs`: by way of the dump file), counts what they acknowledge (`acks.rs`), and notices who falls silent
//!   (`cron.rs`).
//! * [`following`] is the other: the link to our master, from connecting (`handshake.rs`) over the payload of a full
//!   synchronization (`payload.rs`) to its stream (`upstream.rs`), which is applied and passed on, so that a whole chain
//!   has one history and one count of bytes.

mod acks;
pub mod backlog;
mod cron;
mod file_sync;
pub mod following;
mod handshake;
pub mod master;
mod payload;
pub mod psync;
pub mod stream;
mod upstream;
