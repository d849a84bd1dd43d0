//! Sentinel: watches masters, agrees with others that one is down, elects a leader among them, and promotes a replica.
//!
//! [`Sentinel`] is a deterministic value without sockets, files, threads or clocks. Its driver calls
//! [`handle`](Sentinel::handle) with an event and the time, or one of its commands; then it takes all outputs with
//! [`poll_output`](Sentinel::poll_output), and calls it again with [`Input::Tick`] at
//! [`next_due`](Sentinel::next_due). The same inputs give the same outputs.
//!
//! ```text
//!   servers          PING, INFO, PUBLISH hello ▶┐  ┌▶ +sdown, +odown, +switch-master …     subscribers, log, scripts
//!   __sentinel__:hello ───────────────────────▶ Sentinel ─▶ state, before a vote or an epoch is told    disk
//!   other Sentinels  is-master-down-by-addr ◀──▶┘  └▶ SLAVEOF NO ONE, SLAVEOF host port    servers
//! ```
//!
//! **What it guarantees.** In an epoch a Sentinel votes once for each master, also across restarts, so an epoch has at most one
//! leader. A configuration has the epoch of the failover that made it, and everybody follows the newest. What it cannot
//! guarantee: a master that is alive but unreachable for a majority goes on serving the clients that still reach it, and
//! what they write meanwhile is lost when it becomes a replica (`min-replicas-to-write` bounds that).

mod address;
mod context;
mod explain;
mod hello;
mod info;
mod injected;
mod io;
mod link;
mod machine;
mod master;
mod peers;
mod periods;
mod scripts;
mod server;
pub mod settings;

pub use context::SimulatedFailures;
pub use injected::{BUGS, Bug};
pub use io::{Input, Level, LinkId, Now, Output, Programs, ScriptId, ScriptOutcome};
pub use link::HELLO_CHANNEL;
pub use machine::{Belief, Boot, End, Sentinel, Summary};
pub use russet_journal::FILE_MAX as JOURNAL_LEN_MAX;
pub use settings::{LineError, Settings};
