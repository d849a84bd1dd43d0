//! What the world runs: any machine with the contract of [`russet_engine::io`], and what checks want to see of one that holds
//! data.
//!
//! The world's loop, network, disks and faults know [`Machine`] only. `node.rs` implements both traits for a data node, and is
//! the only file that knows what one is made of; a machine of another kind, which holds no data, implements [`Machine`] alone.

use russet_engine::clients::outbox::Outbox;
use russet_engine::config::value::AppendFsync;
use russet_engine::config::words::MasterAddress;
use russet_engine::io::{Endpoints, Handle, Host, Input, Now, Output, Service};

use crate::model::Model;

/// The contract, as the driver sees it.
pub trait Machine {
    /// One event.
    fn handle(&mut self, now: Now, input: Input);

    /// A bounded amount of work.
    fn turn(&mut self, now: Now, host: &mut dyn Host);

    /// The next request to the world.
    fn poll_output(&mut self, now: Now) -> Output;

    /// A connection comes; refused with these bytes.
    fn accept(&mut self, now: Now, service: Service, ends: Endpoints) -> Result<Handle, Vec<u8>>;

    /// Where to put what arrives; none if nothing is to be read now.
    fn read_buffer(&mut self, handle: Handle) -> Option<&mut Vec<u8>>;

    /// Bytes were put there.
    fn received(&mut self, now: Now, handle: Handle);

    /// Connections with something new to write.
    fn take_dirty(&mut self, into: &mut Vec<Handle>);

    /// What a connection has to write.
    fn outbox(&mut self, handle: Handle) -> Option<&mut Outbox>;

    /// So many bytes of it were written.
    fn written(&mut self, handle: Handle, bytes: usize);

    /// Whether it knows a connection; what it does not know it has closed.
    fn knows(&self, handle: Handle) -> bool;

    /// How many commands it has run.
    fn commands(&self) -> u64 {
        0
    }

    /// What checks look at, if it holds data.
    fn data(&self) -> Option<&dyn DataNode> {
        None
    }

    /// What it believes, if it is a node of a cluster.
    fn cluster(&self) -> Option<&russet_cluster::Cluster> {
        None
    }

    /// What it believes, if it is a Sentinel.
    fn beliefs(&self) -> Option<Beliefs> {
        let mut beliefs = Beliefs::default();
        self.observe_beliefs(&mut beliefs).then_some(beliefs)
    }

    /// Brings what it believed before up to date; false if it is no Sentinel.
    fn observe_beliefs(&self, _beliefs: &mut Beliefs) -> bool {
        false
    }
}

/// What a Sentinel believes.
#[derive(Clone, Debug, Default)]
pub struct Beliefs {
    /// Its id.
    pub id: String,
    /// Whether nothing is judged after a pause.
    pub is_tilted: bool,
    /// What it believes of each master.
    pub masters: Vec<Belief>,
}

/// What a Sentinel believes of a master.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Belief {
    /// The master's name.
    pub name: String,
    /// Where it is.
    pub host: String,
    /// Epoch of this configuration.
    pub config_epoch: u64,
    /// Greatest epoch in which it voted.
    pub leader_epoch: u64,
    /// How many Sentinels must agree that the master is down, itself included.
    pub quorum: usize,
    /// How many Sentinels it knows, itself included.
    pub sentinels: usize,
    /// Whether it finds the master down.
    pub is_down: bool,
    /// Epoch and phase of its failover.
    pub failover: Option<(u64, &'static str)>,
}

/// A machine that holds data and replicates it.
pub trait DataNode {
    /// Two counts; at least one differs after any change of the data.
    fn changes(&self) -> (u64, u64);

    /// Whether it loads a file or a payload in place of its data.
    fn is_loading(&self) -> bool;

    /// Whether an EXEC waits in its middle: the data is ahead of the stream, and nobody is served.
    fn is_within_exec(&self) -> bool;

    /// Whether it has keys of a slot of a cluster.
    fn has_keys_in(&self, slot: u16) -> bool;

    /// Whether it follows a master.
    fn is_replica(&self) -> bool;

    /// Whether it hands its role over.
    fn failover(&self) -> FailoverStage;

    /// Whether a snapshot is under way.
    fn is_saving(&self) -> bool;

    /// Bytes loaded of the file or payload that is being loaded.
    fn loaded_bytes(&self) -> u64;

    /// Whether one still walks the data.
    fn is_walking(&self) -> bool;

    /// Whether a walk is in the middle of a large value.
    fn is_inside_value(&self) -> bool;

    /// What it has counted since it started.
    fn counts(&self) -> Counts;

    /// Which stream its data is made by, and up to where.
    fn place(&self) -> Place<'_>;

    /// The database that it believes to be selected there.
    fn selected_db(&self) -> u32;

    /// Whether it would continue the stream for a replica that has this history, and lacks the byte at this offset.
    fn continues(&self, id: &str, offset: i64) -> bool;

    /// What it keeps of that stream.
    fn backlog(&self) -> Option<Backlog>;

    /// The bytes kept, from this offset on.
    fn stream_since(&self, offset: i64) -> Vec<u8>;

    /// The digest of its data, keys past their time included.
    fn digest(&self) -> u64;

    /// Its data.
    fn model(&self) -> Model;

    /// The digest of what its journal's effects make, as a second sink was given them, or what is wrong with them; none while
    /// there is no such sink or nothing to compare with.
    fn mirrored(&self) -> Option<Result<u64, String>>;

    /// Where that differs from its data, in words.
    fn mirror_difference(&self) -> Option<String>;

    /// The master that it follows.
    fn upstream(&self) -> Option<Upstream<'_>>;

    /// Whether a connection is its link to its master and has brought only a part of something: a payload, a command, a
    /// transaction.
    fn is_mid_frame(&self, handle: Handle) -> bool;

    /// Whether it is such a link, and has brought only some elements of a large value in a payload.
    fn is_mid_value(&self, handle: Handle) -> bool;

    /// The master that its configuration names.
    fn replicaof(&self) -> Option<MasterAddress>;

    /// How many changes it says are not in its last save.
    fn unsaved_changes(&self) -> u64;

    /// So many seconds after a save such a number of changes leads to the next one; none if it never does.
    fn save_point_secs(&self, changes: u64) -> Option<u64>;

    /// Whether a connection waits for something else than its turn: a pause, replicas, a save, the end of an EXEC.
    fn is_held(&self, handle: Handle) -> bool;

    /// How long a replica may be silent, microseconds.
    fn replica_timeout_us(&self) -> u64;

    /// How many replicas a write needs, and how many seconds they may lag.
    fn least_replicas(&self) -> (u32, u32);

    /// Whether its configuration wants an append-only file.
    fn wants_append_only(&self) -> bool;

    /// What it says of its append-only file, if it has one open.
    fn append(&self) -> Option<Append>;

    /// Whether replicas that take long are let go.
    fn limits_replicas(&self) -> bool;
}

/// Counts of a node for a run's coverage.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Elements of values removed since they had expired.
    pub expired_elements: u64,
    /// Collections that became large ones.
    pub converted: u64,
    /// Large values of which elements changed while a walk was in their middle, and was given what they had been.
    pub changed_in_walk: u64,
    /// Those that got another key then.
    pub moved_in_walk: u64,
    /// Those that were removed then.
    pub removed_in_walk: u64,
    /// Those whose key got another value then.
    pub replaced_in_walk: u64,
    /// FAILOVERs after which the target was master.
    pub failovers: u64,
    /// … of those, with FORCE and after the timeout.
    pub forced_failovers: u64,
    /// FAILOVERs that ended with their time.
    pub late_failovers: u64,
    /// FAILOVERs that an operator ended.
    pub aborted_failovers: u64,
    /// FAILOVERs that the target refused.
    pub refused_failovers: u64,
    /// FAILOVERs for which no replica was left.
    pub lost_failovers: u64,
}

/// How far a FAILOVER is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverStage {
    /// There is none.
    #[default]
    None,
    /// It waits for a replica that has the whole stream.
    Waits,
    /// It is a replica, and asks its master to be one.
    Asks,
}

/// A place in a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The history's name.
    pub id: &'a str,
    /// Offset of the last byte of its stream that the data has.
    pub offset: i64,
    /// The history that went before, as it claims.
    pub second_id: &'a str,
    /// The first offset that is not that one's any more; -1 if there is none.
    pub second_offset: i64,
}

/// What a node keeps of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Backlog {
    /// Offset of the first byte kept.
    pub first: i64,
    /// Offset of the next byte to come.
    pub next: i64,
    /// It has forgotten something, since there is no room for more.
    pub is_full: bool,
}

/// A link to a master.
#[derive(Clone, Copy, Debug)]
pub struct Upstream<'a> {
    /// The master's host.
    pub host: &'a str,
    /// The stream is followed.
    pub is_online: bool,
    /// What the link waits for otherwise.
    pub state: &'a str,
}

/// What a node says of its append-only file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Append {
    /// Replies wait for it.
    pub is_relied_on: bool,
    /// What they wait for.
    pub fsync: AppendFsync,
    /// The last write failed.
    pub is_stuck: bool,
    /// A sync has failed.
    pub has_failed_sync: bool,
    /// Not all of it is on disk.
    pub is_behind: bool,
}
