//! Running snapshots: from the keyspace, in slices, to whoever encodes and writes them.
//!
//! A snapshot is a walk (see [`crate::keyspace::walk`]) with a destination: the dump file, or the replicas of a full
//! synchronisation. The node copies, another thread encodes; what lies between them is counted, and the walk
//! waits when too much does. Pre-images that writers hand over are counted too, and cannot wait: a
//! snapshot that falls so far behind that memory is at stake is given up with an error.

use super::fill::StreamPosition;
use crate::core::Core;
use crate::ids::JobId;
use crate::injected::Bug;
use crate::io::{Host, Output, SnapshotTarget};
use crate::keyspace::walk::Slice;
use crate::keyspace::{Db, Keyspace};
use crate::rdb::{RdbSettings, SizeHint};

/// Microseconds that a turn gives to the walk when clients are waiting.
const BUSY_SLICE_US: u64 = 60;

/// The same when nobody waits.
const IDLE_SLICE_US: u64 = 200;

/// The walk rests while this many bytes are not encoded yet.
const AHEAD_MAX: u64 = 16 << 20;

/// A snapshot with more bytes of copies not encoded yet is given up. The walk rests long before, so most of them are
/// old images that writers had to hand over.
const COPIES_BYTES_MAX: u64 = 4 << 30;

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The dump file: SAVE, BGSAVE, save points, SHUTDOWN, DEBUG RELOAD.
    Save,
    /// Replicas that need a full synchronisation, straight to their links.
    Sync,
}

/// A snapshot under way.
#[derive(Debug)]
pub struct Snapshot {
    /// Its number.
    pub job: JobId,
    /// What it is for.
    pub purpose: Purpose,
    /// Monotonic microseconds at its start.
    pub began_us: u64,
    /// Keys at its start.
    pub keys: usize,
    /// Keys copied so far.
    pub keys_done: usize,
    /// The keyspace's count of changes at its start.
    pub dirty: u64,
    /// The walk has not ended.
    is_walking: bool,
    given_bytes: u64,
    consumed_bytes: u64,
    /// Bytes of copies that the walk has yet to hand on.
    held_bytes: u64,
    /// The most bytes that were copied and not encoded yet.
    pub ahead_peak: u64,
}

impl Snapshot {
    /// Whether the walk has not ended: some of the data has yet to be copied.
    pub fn is_walking(&self) -> bool {
        self.is_walking
    }

    /// Bytes that were handed on and are not encoded yet.
    fn given_ahead(&self) -> u64 {
        self.given_bytes.saturating_sub(self.consumed_bytes)
    }

    /// Bytes that are copied and not encoded yet.
    pub fn ahead_bytes(&self) -> u64 {
        self.given_ahead() + self.held_bytes
    }

    /// Whether the walk could go on now, as far as the encoder is concerned.
    fn may_walk(&self) -> bool {
        self.is_walking && self.given_ahead() < AHEAD_MAX
    }

    /// Takes note of what the walk holds.
    fn note_held(&mut self, bytes: usize) {
        self.held_bytes = bytes as u64;
        self.ahead_peak = self.ahead_peak.max(self.ahead_bytes());
    }

    fn walk(&mut self, core: &mut Core, data: &mut Keyspace, end_us: u64, host: &mut dyn Host) {
        while self.may_walk() {
            let mut buckets = 0_u32;
            // The counter is cheap, not free: it is read each eighth bucket.
            let mut used_up = || {
                buckets += 1;
                buckets.is_multiple_of(8) && host.ticks_us() >= end_us
            };
            match data.walk_slice(self.job, &mut used_up) {
                Slice::Chunk(chunk) => {
                    self.given_bytes += chunk.len_bytes() as u64;
                    self.keys_done += chunk.entries();
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

/// The snapshots under way, as many as there may be walks.
#[derive(Debug)]
pub struct Snapshots {
    list: Vec<Snapshot>,
    /// A snapshot with more bytes of copies than this is given up.
    pub copies_bytes_max: u64,
}

impl Default for Snapshots {
    fn default() -> Snapshots {
        Snapshots { list: Vec::new(), copies_bytes_max: COPIES_BYTES_MAX }
    }
}

impl Snapshots {
    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Snapshot> {
        self.list.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The one of this number.
    pub fn get(&self, job: JobId) -> Option<&Snapshot> {
        self.iter().find(|snapshot| snapshot.job == job)
    }

    /// Starts a snapshot. None if as many run as may. `place`: where the data stands in the replication stream.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        purpose: Purpose,
        target: SnapshotTarget,
        place: Option<StreamPosition>,
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
        let settings = RdbSettings {
            size_hints: dbs.map(size_hint).collect(),
            compression: core.config.rdbcompression,
            checksum: core.config.rdbchecksum,
            ..RdbSettings::default()
        };
        self.list.push(Snapshot {
            job,
            purpose,
            began_us: core.now.mono_us,
            keys: data.dbs().map(|(_, db)| db.len()).sum(),
            keys_done: 0,
            dirty: data.dirty,
            is_walking: true,
            given_bytes: 0,
            consumed_bytes: 0,
            held_bytes: 0,
            ahead_peak: 0,
        });
        let aux = aux_fields(core, data, purpose, place);
        core.output(Output::SnapshotBegin { job, target, settings, aux });
        Some(job)
    }

    /// The encoder has dealt with so many bytes of chunks.
    pub(crate) fn consumed(&mut self, job: JobId, bytes: u64) {
        if let Some(snapshot) = self.list.iter_mut().find(|snapshot| snapshot.job == job) {
            snapshot.consumed_bytes += bytes;
        }
    }

    /// A snapshot is over, one way or the other.
    pub(crate) fn remove(&mut self, data: &mut Keyspace, job: JobId) -> Option<Snapshot> {
        let at = self.list.iter().position(|snapshot| snapshot.job == job)?;
        data.end_walk(job);
        Some(self.list.remove(at))
    }

    /// Gives up a snapshot.
    pub(crate) fn abort(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId) {
        if self.remove(data, job).is_some() {
            core.output(Output::SnapshotAbort { job });
        }
    }

    /// Whether a walk could go on now. `is_throttled`: whether those who get a snapshot have enough for now.
    pub(crate) fn has_work(&self, is_throttled: impl Fn(&Snapshot) -> bool) -> bool {
        self.list.iter().any(|snapshot| snapshot.may_walk() && !is_throttled(snapshot))
    }

    /// A slice of each walk. Answers the snapshots that writes have outrun: they must be given up.
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
        let beyond = |snapshot: &&Snapshot| snapshot.ahead_bytes() > self.copies_bytes_max;
        self.list.iter().filter(beyond).map(|snapshot| snapshot.job).collect()
    }
}

/// The facts at the head of the file. Replication's are those of this moment.
fn aux_fields(
    core: &Core,
    data: &Keyspace,
    purpose: Purpose,
    place: Option<StreamPosition>,
) -> Vec<(&'static str, String)> {
    let mut aux = vec![
        ("redis-ver", crate::REDIS_VERSION.to_owned()),
        ("redis-bits", "64".to_owned()),
        ("ctime", core.now.wall_secs().to_string()),
        ("used-mem", data.allocated_bytes().to_string()),
    ];
    if let Some(StreamPosition { id, offset, db }) = place {
        let is_hidden = purpose == Purpose::Sync && core.injected(Bug::MissingSelect);
        aux.push(("repl-stream-db", if is_hidden { 0 } else { db }.to_string()));
        aux.push(("repl-id", id));
        aux.push(("repl-offset", offset.to_string()));
    }
    aux.push(("aof-base", "0".to_owned()));
    aux
}
