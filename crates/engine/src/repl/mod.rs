//! Replication: a stream of effects, and its master and replica sides.
//!
//! * [`stream`] encodes effects as a stream of bytes and keeps the latest in a backlog
//!   (`backlog.rs`); [`psync`] decides between partial and full synchronizations.
//! * [`master`] is the master side. It owns the replicas: full synchronizations (`full_sync.rs`), by
//!   stream or by dump file (`file_sync.rs`), acknowledgements (`acks.rs`), pings and timeouts (`cron.rs`).
//! * [`following`] is the replica side: the link to the master and its states (`link.rs`), from the
//!   handshake (`handshake.rs`) and a full synchronization (`resync.rs`, `payload.rs`) to its stream
//!   (`upstream.rs`). The stream is applied and passed on unchanged, so that all replicas of a chain
//!   share one history and one offset.
//! * [`failover`] hands the role of a master over to one of its replicas.

pub(crate) mod acks;
pub mod backlog;
mod cron;
pub mod failover;
mod file_sync;
pub mod following;
mod full_sync;
mod handshake;
pub mod link;
pub mod master;
mod payload;
pub mod psync;
mod resync;
pub mod stream;
mod upstream;
