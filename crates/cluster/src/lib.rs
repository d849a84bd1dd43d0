//! Cluster: 16384 hash slots over many masters that find each other, agree on which of them are down, and let replicas
//! take over, without a coordinator.
//!
//! [`Cluster`] is a deterministic value without sockets, files, threads or clocks, and knows nothing of keys. Its driver
//! calls [`handle`](Cluster::handle) with an event and the time, or one of its commands; then it takes all outputs with
//! [`poll_output`](Cluster::poll_output), and calls it again with [`Input::Tick`] at [`next_due`](Cluster::next_due). The
//! same inputs give the same outputs.
//!
//! ```text
//!   other nodes   PING, PONG, FAIL, votes, claims ◀──▶ Cluster ─▶ nodes.conf, before a vote or a claim leaves    disk
//!   operators     MEET, SETSLOT, FAILOVER ───────────▶         ─▶ follow this node, be a master, drop these keys  node
//!   clients       is slot 866 served here? ──────────▶
//! ```
//!
//! **What it guarantees.** In an epoch a master votes once, also across restarts, so an epoch has at most one winner. A slot
//! belongs to whoever claims it with the highest epoch, and all nodes come to the same result. A master that a majority of
//! the masters has not heard of for the node timeout stops serving before the others put a replica in its place. What it
//! cannot guarantee: replication is asynchronous, so what a master acknowledged and no replica had received when it died
//! is lost.

pub mod bus;
mod explain;
mod id_index;
mod injected;
mod io;
mod machine;
mod node_id;
pub mod nodes;
pub mod nodes_file;
mod rng;
mod settings;
mod slots;

pub use injected::{BUGS, Bug};
pub use io::{Data, Input, Level, LinkId, Now, Output, Route};
pub use machine::{
    Boot, Cluster, CommandError, Direction, LinkView, OpenSlot, Reset, SlotRange, SlotStep, Stats,
    Successor, Takeover,
};
pub use node_id::NodeId;
pub use rng::Rng;
pub use russet_journal::{Entry, clock};
pub use settings::{Announced, Settings};
pub use slots::SlotBitmap;
