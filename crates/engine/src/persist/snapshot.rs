//! Running snapshots, which copy the keyspace in slices for an encoding thread.
//!
//! A snapshot is a walk (see [`crate::keyspace::walk`]) with a target: the dump file, or the
//! replicas of a full synchronization. The node copies, another thread encodes; bytes in between
//! are counted, and the walk pauses when there are too many. Pre-images of written keys are counted
//! too, but cannot wait: a snapshot that falls too far behind is aborted with an error.

use std::collections::VecDeque;

use super::aof::batch::BaseSettings;
use super::aof::batch::WriterSettings;
use super::aof::manifest::BaseFormat;
use super::fill::StreamPosition;
use crate::core::Core;
use crate::ids::JobId;
use crate::injected::Bug;
use crate::io::{Host, Output, SnapshotTarget};
use crate::keyspace::walk::{Slice, WALKS_MAX};
use crate::keyspace::{Db, Keyspace};
use crate::rdb::{RdbSettings, SizeHint};
use crate::types::file_version;

/// Microseconds of a slice while clients are waiting.
const BUSY_SLICE_US: u64 = 60;

/// Microseconds of a slice while no client is waiting.
const IDLE_SLICE_US: u64 = 200;

/// The walk pauses while this many bytes are not encoded yet.
const AHEAD_MAX: u64 = 4 << 20;

/// Limit of copied and not yet encoded bytes if the memory is not known.
const COPIES_BYTES_DEFAULT: u64 = 4 << 30;

/// Minimum of the limit: well above what the walk copies before it pauses.
const COPIES_BYTES_LEAST: u64 = 32 << 20;

/// The purpose of a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The dump file: SAVE, BGSAVE, save points, SHUTDOWN, DEBUG RELOAD.
    Save,
    /// A diskless full synchronization of replicas.
    Sync,
    /// The base of the append-only file.
    AofBase(BaseFormat),
}

/// A running snapshot.
#[derive(Debug)]
pub struct Snapshot {
    /// Its job.
    pub job: JobId,
    /// Its purpose.
    pub purpose: Purpose,
    /// Monotonic microseconds at its start.
    pub began_us: u64,
    /// Keys at its start.
    pub keys: usize,
    /// Keys encoded so far and, for a file, written.
    pub keys_done: usize,
    /// The chunks passed on and not encoded yet: bytes passed on up to the end of each, and its keys.
    given: VecDeque<(u64, usize)>,
    /// The walk pauses while this many bytes are not encoded yet.
    ahead_max: u64,
    /// The keyspace's count of changes at its start.
    pub dirty: u64,
    /// The walk, until it ends.
    is_walking: bool,
    given_bytes: u64,
    consumed_bytes: u64,
    /// Copied bytes that the walk has not passed on yet.
    held_bytes: u64,
    /// Peak of copied and not yet encoded bytes.
    pub ahead_peak: u64,
}

impl Snapshot {
    /// Whether the walk is still copying data.
    pub fn is_walking(&self) -> bool {
        self.is_walking
    }

    /// Returns the bytes passed on and not encoded yet.
    fn given_ahead(&self) -> u64 {
        self.given_bytes.saturating_sub(self.consumed_bytes)
    }

    /// Returns the bytes copied and not encoded yet.
    pub fn ahead_bytes(&self) -> u64 {
        self.given_ahead() + self.held_bytes
    }

    /// Whether the encoder keeps up with the walk.
    fn may_walk(&self) -> bool {
        self.is_walking && self.given_ahead() < self.ahead_max
    }

    /// Counts bytes that were encoded, and the keys of the chunks that are complete with them.
    fn consumed(&mut self, bytes: u64) {
        self.consumed_bytes = self.consumed_bytes.saturating_add(bytes);
        while let Some((_, keys)) = self.given.pop_front_if(|(end, _)| *end <= self.consumed_bytes)
        {
            self.keys_done += keys;
        }
    }

    /// Updates the counts of the walk.
    fn note_held(&mut self, bytes: usize) {
        self.held_bytes = bytes as u64;
        self.ahead_peak = self.ahead_peak.max(self.ahead_bytes());
    }

    fn walk(&mut self, core: &mut Core, data: &mut Keyspace, end_us: u64, host: &mut dyn Host) {
        let is_base = matches!(self.purpose, Purpose::AofBase(_));
        if is_base && self.ahead_peak == 0 && core.injected(Bug::TwiceWithBase) {
            data.end_walk(self.job);
            data.begin_walk(self.job);
        }
        while self.may_walk() {
            let mut buckets = 0_u32;
            // The clock is read only every eighth bucket.
            let mut used_up = || {
                buckets += 1;
                buckets.is_multiple_of(8) && host.ticks_us() >= end_us
            };
            match data.walk_slice(self.job, &mut used_up) {
                Slice::Chunk(chunk) => {
                    self.given_bytes += chunk.len_bytes() as u64;
                    self.given.push_back((self.given_bytes, chunk.entries()));
                    core.output(Output::SnapshotChunk { job: self.job, chunk });
                    if host.ticks_us() >= end_us {
                        return;
                    }
                }
                Slice::Pause => return,
                Slice::End => {
                    self.is_walking = false;
                    data.end_walk(self.job);
                    core.output(Output::SnapshotEnd { job: self.job });
                }
            }
        }
    }
}

/// The running snapshots, limited by the number of walks.
#[derive(Debug, Default)]
pub struct Snapshots {
    list: Vec<Snapshot>,
}

impl Snapshots {
    /// Iterates over the snapshots.
    pub fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        self.list.iter()
    }

    /// Returns the number of snapshots.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether no snapshot is running.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether no further snapshot can begin now.
    pub fn is_full(&self) -> bool {
        self.iter().filter(|snapshot| snapshot.is_walking).count() >= WALKS_MAX
    }

    /// Returns the snapshot of a job.
    pub fn get(&self, job: JobId) -> Option<&Snapshot> {
        self.iter().find(|snapshot| snapshot.job == job)
    }

    /// Starts a snapshot. Returns none if the maximum is running. `position`: the replication position
    /// of the data.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        purpose: Purpose,
        target: SnapshotTarget,
        position: Option<StreamPosition>,
    ) -> Option<JobId> {
        let job = core.next_job();
        if !data.begin_walk(job) {
            return None;
        }
        let dbs = data.dbs().filter(|(_, db)| !db.is_empty());
        let size_hint = |(number, db): (u32, &Db)| SizeHint {
            db: number,
            keys: db.len() as u64,
            expires: db.len_with_expiry() as u64,
        };
        let elements_expire = data.dbs().any(|(_, db)| db.len_with_expiring_elements() > 0);
        let is_base = matches!(purpose, Purpose::AofBase(_));
        let is_of_commands = purpose == Purpose::AofBase(BaseFormat::Aof);
        let writer = WriterSettings {
            checksums: core.config.aof_checksum,
            timestamps: core.config.aof_timestamp_enabled,
        };
        let commands = BaseSettings { writer, secs: core.now.wall_secs() };
        let settings = RdbSettings {
            version: file_version(elements_expire),
            size_hints: dbs.map(size_hint).collect(),
            compression: core.config.rdbcompression,
            checksum: core.config.rdbchecksum || (is_base && core.config.aof_checksum),
            commands: is_of_commands.then_some(commands),
            sync_as_written: match is_base {
                true => core.config.aof_rewrite_incremental_fsync,
                false => core.config.rdb_save_incremental_fsync,
            },
            key_delay: core.config.rdb_key_save_delay,
        };
        self.list.push(Snapshot {
            job,
            purpose,
            began_us: core.now.mono_us,
            keys: data.dbs().map(|(_, db)| db.len()).sum(),
            keys_done: 0,
            given: VecDeque::new(),
            // Slowed down, the walk waits for each chunk, as it would with many keys.
            ahead_max: if settings.key_delay == 0 { AHEAD_MAX } else { 1 },
            dirty: data.dirty,
            is_walking: true,
            given_bytes: 0,
            consumed_bytes: 0,
            held_bytes: 0,
            ahead_peak: 0,
        });
        let aux = aux_fields(core, data, purpose, position);
        core.output(Output::SnapshotBegin { job, target, settings, aux });
        Some(job)
    }

    /// Returns the number of copied and not yet encoded bytes above which a snapshot is aborted: its
    /// share of the memory that the data leaves free, of which one share remains for everything else.
    /// The walk pauses long before, so most of the bytes are pre-images of written keys.
    pub fn copies_bytes_max(&self, core: &Core, data: &Keyspace) -> u64 {
        let memory = core.stats.process.memory_limit_bytes;
        if memory == 0 {
            return COPIES_BYTES_DEFAULT;
        }
        let free = memory.saturating_sub(data.allocated_bytes() as u64);
        (free / (self.len() as u64 + 1)).max(COPIES_BYTES_LEAST)
    }

    /// Handles bytes consumed by the encoder.
    pub(crate) fn consumed(&mut self, job: JobId, bytes: u64) {
        if let Some(snapshot) = self.list.iter_mut().find(|snapshot| snapshot.job == job) {
            snapshot.consumed(bytes);
        }
    }

    /// Removes a finished snapshot.
    pub(crate) fn remove(&mut self, data: &mut Keyspace, job: JobId) -> Option<Snapshot> {
        let at = self.list.iter().position(|snapshot| snapshot.job == job)?;
        data.end_walk(job);
        Some(self.list.remove(at))
    }

    /// Aborts a snapshot.
    pub(crate) fn abort(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId) {
        if self.remove(data, job).is_some() {
            core.output(Output::SnapshotAbort { job });
        }
    }

    /// Whether a walk can continue now. `is_throttled`: whether the receivers of a snapshot are
    /// full.
    pub(crate) fn has_work(&self, is_throttled: impl Fn(&Snapshot) -> bool) -> bool {
        self.list.iter().any(|snapshot| snapshot.may_walk() && !is_throttled(snapshot))
    }

    /// Runs a slice of each walk. Returns the snapshots that cannot keep up with writes and must be
    /// aborted.
    pub(crate) fn walk(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        host: &mut dyn Host,
        clients_wait: bool,
        is_throttled: impl Fn(&Snapshot) -> bool,
    ) -> Vec<JobId> {
        let slice_us = if clients_wait { BUSY_SLICE_US } else { IDLE_SLICE_US };
        for snapshot in &mut self.list {
            let end_us = host.ticks_us() + slice_us;
            if !is_throttled(snapshot) {
                snapshot.walk(core, data, end_us, host);
            }
            snapshot.note_held(data.walk_held_bytes(snapshot.job));
        }
        let most = self.copies_bytes_max(core, data);
        let beyond = |snapshot: &&Snapshot| snapshot.ahead_bytes() > most;
        self.list.iter().filter(beyond).map(|snapshot| snapshot.job).collect()
    }
}

/// Returns the auxiliary fields of the file. Those of replication describe the current position.
fn aux_fields(
    core: &Core,
    data: &Keyspace,
    purpose: Purpose,
    position: Option<StreamPosition>,
) -> Vec<(&'static str, String)> {
    let mut aux = vec![
        ("redis-ver", crate::REDIS_VERSION.to_owned()),
        ("redis-bits", "64".to_owned()),
        ("ctime", core.now.wall_secs().to_string()),
        ("used-mem", data.allocated_bytes().to_string()),
    ];
    if let Some(StreamPosition { id, offset, db, open_slots }) = position {
        let is_hidden = purpose == Purpose::Sync && core.injected(Bug::MissingSelect);
        aux.push(("repl-stream-db", if is_hidden { 0 } else { db }.to_string()));
        aux.push(("repl-id", id));
        aux.push(("repl-offset", offset.to_string()));
        if !open_slots.is_empty() {
            aux.push(("cluster-slot-states", open_slots));
        }
    }
    let is_base = matches!(purpose, Purpose::AofBase(_));
    aux.push(("aof-base", if is_base { "1" } else { "0" }.to_owned()));
    aux
}
