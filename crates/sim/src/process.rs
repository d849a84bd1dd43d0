//! A process as the world holds it: the machine itself while it runs, its disk, its sockets, its clocks.

use std::collections::{BTreeMap, VecDeque};

use russet_engine::config::Config;
use russet_engine::io::{Handle, Host, Input, JobId, Now};

use crate::appends::Appenders;
use crate::client::Tenure;
use crate::disk::Disk;
use crate::durability::Durability;
use crate::files::{Reader, Writer};
use crate::jobs::Jobs;
use crate::machine::{DataNode, FailoverStage, Machine};
use crate::net::ConnId;
use crate::saves::Saved;
use crate::world::Guest;

/// What waits for the next round of a process' loop.
#[derive(Debug)]
pub enum Inbox {
    /// For the node.
    Input(Input),
    /// A connection to be accepted.
    Accept(ConnId),
}

/// What the checkers saw of a node when they last looked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Its history and how far it was; none without a backlog.
    pub place: Option<(String, i64)>,
    /// The history that went before, as it claims, and the first offset that is not that one's any more.
    pub second: (String, i64),
    /// It followed somebody.
    pub is_replica: bool,
    /// It loaded its dump file.
    pub is_loading: bool,
}

/// A snapshot that runs: what it must turn out to hold.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The data's digest at its begin, if nothing changed in that turn.
    pub digest: Option<u64>,
    /// Its place in a history.
    pub place: Option<(String, i64)>,
    /// The database that the stream had selected there.
    pub selected: u32,
}

/// A dump file that was written whole.
#[derive(Clone, Copy, Debug)]
pub struct Save {
    /// The hash of its bytes.
    pub hash: u64,
    /// When it was begun.
    pub began_us: u64,
    /// Whether it has no keys.
    pub is_empty: bool,
}

/// What a loading node must turn out to hold.
#[derive(Debug)]
pub struct Loading {
    /// The dump file when it began.
    pub file: Vec<u8>,
    /// Wall clock, milliseconds, when it began.
    pub began_ms: i64,
    /// It starts as a replica.
    pub by_replica: bool,
}

/// See the module.
#[derive(Default)]
pub struct Process {
    /// The machine, while the process runs.
    pub machine: Option<Box<dyn Machine>>,
    /// How its machine is started, if it is no data node.
    pub guest: Option<Guest>,
    /// Its machine is a Sentinel.
    pub is_sentinel: bool,
    /// Which life this is; what was meant for an earlier one is dropped.
    pub incarnation: u32,
    /// What the configuration file says.
    pub config: Config,
    /// Its disk.
    pub disk: Disk,
    /// What was promised of its append-only file.
    pub durability: Durability,
    /// Its sockets: the connection, and which end is ours.
    pub conns: BTreeMap<Handle, (ConnId, usize)>,
    /// What waits for the next round.
    pub inbox: VecDeque<Inbox>,
    /// Connections with something to read.
    pub readable: VecDeque<Handle>,
    /// Connections with something to read that the node wants to be read later.
    pub paused: Vec<Handle>,
    /// Connections that have room again.
    pub writable: VecDeque<Handle>,
    /// When the next round is due; `u64::MAX` if none is.
    pub loop_at: u64,
    /// It computes, or is suspended, until then.
    pub busy_until: u64,
    /// Where its monotonic clock began.
    pub mono_offset_us: u64,
    /// How far its wall clock is off.
    pub wall_offset_us: i64,
    /// Snapshots being encoded and written.
    pub writers: BTreeMap<JobId, Writer>,
    /// Files that are appended to.
    pub appenders: Appenders,
    /// Requests about files.
    pub jobs: Jobs,
    /// Files being read.
    pub readers: BTreeMap<JobId, Reader>,
    /// What the checkers saw.
    pub seen: Seen,
    /// Which place in a history its append-only file is known to have reached on disk, since the start.
    pub disk_place: Option<(String, i64)>,
    /// The stretch of its life as a master in which it is; 0 if it is none.
    pub tenure: Tenure,
    /// Snapshots that run.
    pub begun: BTreeMap<JobId, Begun>,
    /// The load that runs.
    pub loading: Option<Loading>,
    /// The dump files that were written whole, in order.
    pub saves: Vec<Save>,
    /// What the last of them holds, that was confirmed or loaded in this life.
    pub saved: Option<Saved>,
    /// So many of them are sure to have survived.
    pub durable_saves: usize,
    /// When a save failed the last time.
    pub save_failed_us: u64,
    /// When the last FLUSHALL was sent that it confirmed.
    pub flushed_us: u64,
    /// … and that it saved before it did.
    pub flush_saved_us: u64,
    /// Counts at the begin of the present call, to see whether it changed data.
    pub changes_before: (u64, u64),
    /// Replicas that it has let go in the present call.
    pub replicas_lost: u64,
    /// The last deadline it gave: `Some(0)` for at once.
    pub deadline: Option<u64>,
    /// Time in which it was suspended, in all its lives.
    pub suspended_us: u64,
    /// When it last heard of each other node's replica, without that time.
    pub heard_us: BTreeMap<usize, u64>,
    /// `min-replicas-to-write` and its lag in seconds, and since when.
    pub least_replicas: ((u32, u32), u64),
    /// Its clients are paused until then at least.
    pub paused_until_us: u64,
    /// How far a FAILOVER was when the checkers last looked.
    pub failover: FailoverStage,
    /// While it waits nothing may be written: operators have said nothing since it began.
    pub stands_still: bool,
    /// An operator has said FORCE in this life: what is lost then was not promised.
    pub is_forced: bool,
    /// An operator's orders may be carried out late until then.
    pub unsure_until_us: u64,
    /// Clients whose requests it has read whole, and turns since then in which it has sent them nothing.
    pub unanswered: BTreeMap<Handle, u64>,
    /// Turns in all its lives.
    pub turns: u64,
    /// Turns since `idle_since_us`, in which nothing came in and nothing changed.
    pub idle_turns: u64,
    /// Whether a client has sent it a long pipeline.
    pub was_flooded: bool,
    /// See `idle_turns`.
    pub idle_since_us: u64,
    /// What it had loaded of a file or payload at the end of its last turn.
    pub loaded_bytes: u64,
    /// It is killed after so many turns, if there are that many before the walk that runs has ended.
    pub crash_after_turns: Option<u64>,
    /// The process asked to leave.
    pub exited: Option<i32>,
    /// What it left with the last time, and how often in a row with an error.
    pub failed_starts: u32,
}

impl Process {
    /// Whether it runs.
    pub fn is_up(&self) -> bool {
        self.machine.is_some()
    }

    /// What checks look at, if it runs and holds data.
    pub fn data(&self) -> Option<&dyn DataNode> {
        self.machine.as_deref().and_then(|machine| machine.data())
    }

    /// What it believes, if it runs and is a node of a cluster.
    pub fn cluster(&self) -> Option<&russet_cluster::Cluster> {
        self.machine.as_deref().and_then(|machine| machine.cluster())
    }

    /// The name of a file on its disk: the working directory is the first folder, whatever it is called, and the one for
    /// append-only files is within it.
    pub fn file_name(&self, path: &str) -> String {
        let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folder = before.rsplit('/').next().unwrap_or(before);
        match folder.as_bytes() == self.config.appenddirname {
            true => format!("{folder}/{name}"),
            false => name.to_owned(),
        }
    }

    /// Its clocks.
    pub fn now(&self, now_us: u64) -> Now {
        Now {
            mono_us: now_us + self.mono_offset_us,
            wall_us: WALL_BASE_US + now_us as i64 + self.wall_offset_us,
        }
    }
}

/// Where wall clocks begin: in November 2023.
pub const WALL_BASE_US: i64 = 1_700_000_000_000_000;

/// A counter that goes on with each look, so that slices of work end.
pub struct VirtualHost {
    /// Its value, monotonic microseconds of the node.
    pub us: u64,
    /// What each look adds.
    pub tick_us: u64,
}

impl Host for VirtualHost {
    fn ticks_us(&mut self) -> u64 {
        self.us += self.tick_us;
        self.us
    }
}
