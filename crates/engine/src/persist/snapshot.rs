//! Running snapshots: from the keyspace, in slices, to whoever encodes and writes them.
//!
//! A snapshot is a walk (see [`crate::keyspace::walk`]) with a destination: the dump file, or the replicas of a full
//! synchronisation. The node copies, another thread encodes; what lies between them is counted, and the walk
//! waits when too much does. Pre-images that writers hand over are counted too, and cannot wait: a
//! snapshot that falls so far behind that memory is at stake is given up with an error.

use crate::io::{Host, JobId, Level, Output, SnapshotEvent, SnapshotTarget};
use crate::keyspace::Db;
use crate::keyspace::walk::Slice;
use crate::node::Node;
use crate::planted::Bug;
use crate::rdb::{RdbSettings, SizeHint};

/// Microseconds that a turn gives to the walk when clients are waiting.
const BUSY_SLICE_US: u64 = 60;

/// The same when nobody waits.
const IDLE_SLICE_US: u64 = 200;

/// The walk rests while this many bytes are not encoded yet.
const AHEAD_MAX: u64 = 16 << 20;

/// A snapshot with more bytes of copies not encoded yet is given up. The walk rests long before, so most of them are
/// old images that writers had to hand over.
pub(crate) const COPIES_BYTES_MAX: u64 = 4 << 30;

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
    walking: bool,
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
        self.walking
    }

    /// Bytes that were handed on and are not encoded yet.
    fn given_ahead(&self) -> u64 {
        self.given_bytes.saturating_sub(self.consumed_bytes)
    }

    /// Bytes that are copied and not encoded yet.
    pub fn ahead_bytes(&self) -> u64 {
        self.given_ahead() + self.held_bytes
    }

    /// Takes note of what the walk holds.
    fn note_held(&mut self, bytes: usize) {
        self.held_bytes = bytes as u64;
        self.ahead_peak = self.ahead_peak.max(self.ahead_bytes());
    }
}

impl Node {
    /// Starts a snapshot. None if as many run as may.
    pub(crate) fn begin_snapshot(
        &mut self,
        purpose: Purpose,
        target: SnapshotTarget,
    ) -> Option<JobId> {
        self.last_job += 1;
        let job = JobId(self.last_job);
        if !self.keyspace.begin_walk(job) {
            return None;
        }
        let dbs = self.keyspace.dbs().filter(|(_, db)| !db.is_empty());
        let size_hint = |(number, db): (u32, &Db)| SizeHint {
            db: number,
            keys: db.len() as u64,
            expires: db.len_with_expiry() as u64,
        };
        let settings = RdbSettings {
            size_hints: dbs.map(size_hint).collect(),
            compression: self.config.rdbcompression,
            checksum: self.config.rdbchecksum,
            ..RdbSettings::default()
        };
        let aux = self.snapshot_aux(purpose);
        self.persist.snapshots.push(Snapshot {
            job,
            purpose,
            began_us: self.now.mono_us,
            keys: self.keyspace.dbs().map(|(_, db)| db.len()).sum(),
            keys_done: 0,
            dirty: self.keyspace.dirty,
            walking: true,
            given_bytes: 0,
            consumed_bytes: 0,
            held_bytes: 0,
            ahead_peak: 0,
        });
        self.output(Output::SnapshotBegin { job, target, settings, aux });
        Some(job)
    }

    /// The facts at the head of the file. Replication's are those of this moment.
    fn snapshot_aux(&self, purpose: Purpose) -> Vec<(&'static str, String)> {
        let mut aux = vec![
            ("redis-ver", crate::REDIS_VERSION.to_owned()),
            ("redis-bits", "64".to_owned()),
            ("ctime", self.now.wall_secs().to_string()),
            ("used-mem", self.keyspace.allocated_bytes().to_string()),
        ];
        // In the middle of an EXEC the data is ahead of the stream and has no place in it.
        let place = self.effects.is_empty().then(|| self.repl.position_for_snapshot()).flatten();
        if let Some((db, id, offset)) = place {
            let untold = purpose == Purpose::Sync && self.planted(Bug::MissingSelect);
            aux.push(("repl-stream-db", if untold { 0 } else { db }.to_string()));
            aux.push(("repl-id", id));
            aux.push(("repl-offset", offset.to_string()));
        }
        aux.push(("aof-base", "0".to_owned()));
        aux
    }

    /// Gives up a snapshot.
    pub(crate) fn abort_snapshot(&mut self, job: JobId) {
        if let Some(at) = self.persist.snapshots.iter().position(|s| s.job == job) {
            self.persist.snapshots.remove(at);
            self.keyspace.end_walk(job);
            self.output(Output::SnapshotAbort { job });
        }
    }

    /// Whether a walk could go on now.
    pub(crate) fn has_walk_to_do(&self) -> bool {
        let snapshots = &self.persist.snapshots;
        snapshots
            .iter()
            .any(|s| s.walking && s.given_ahead() < AHEAD_MAX && !self.sync_is_throttled(s))
    }

    /// A slice of each walk.
    pub(crate) fn walk_snapshots(&mut self, host: &mut dyn Host) {
        let slice_us = if self.ready.is_empty() { IDLE_SLICE_US } else { BUSY_SLICE_US };
        for index in 0..self.persist.snapshots.len() {
            let end = host.ticks_us() + slice_us;
            if !self.sync_is_throttled(&self.persist.snapshots[index]) {
                self.walk_one(index, end, host);
            }
            let snapshot = &mut self.persist.snapshots[index];
            snapshot.note_held(self.keyspace.walk_held_bytes(snapshot.job));
        }
        self.give_up_outrun_snapshots();
    }

    /// Ends the snapshots that writes have outrun.
    fn give_up_outrun_snapshots(&mut self) {
        let bytes_max = self.persist.copies_bytes_max;
        let snapshots = self.persist.snapshots.iter();
        let beyond = snapshots.filter(|s| s.ahead_bytes() > bytes_max).map(|s| s.job);
        for job in beyond.collect::<Vec<JobId>>() {
            self.output(Output::SnapshotAbort { job });
            let why = "writes outran the snapshot: too many copied bytes wait to be written";
            self.snapshot_event(job, SnapshotEvent::Failed(why.to_owned()));
        }
    }

    fn walk_one(&mut self, index: usize, end_us: u64, host: &mut dyn Host) {
        let snapshot = &mut self.persist.snapshots[index];
        let job = snapshot.job;
        while snapshot.walking && snapshot.given_ahead() < AHEAD_MAX {
            let mut buckets = 0_u32;
            // The counter is cheap, not free: it is read each eighth bucket.
            let mut used_up = || {
                buckets += 1;
                buckets.is_multiple_of(8) && host.ticks_us() >= end_us
            };
            match self.keyspace.walk_slice(job, &mut used_up) {
                Slice::Chunk(chunk) => {
                    snapshot.given_bytes += chunk.len_bytes() as u64;
                    snapshot.keys_done += chunk.entries();
                    self.outputs.push_back(Output::SnapshotChunk { job, chunk });
                    if host.ticks_us() >= end_us {
                        return;
                    }
                }
                Slice::Pause => return,
                Slice::End => {
                    snapshot.walking = false;
                    self.keyspace.end_walk(job);
                    self.outputs.push_back(Output::SnapshotEnd { job });
                }
            }
        }
    }

    /// News of a snapshot from its writer.
    pub(crate) fn snapshot_event(&mut self, job: JobId, event: SnapshotEvent) {
        let Some(at) = self.persist.snapshots.iter().position(|s| s.job == job) else { return };
        let purpose = self.persist.snapshots[at].purpose;
        match event {
            SnapshotEvent::Consumed(bytes) => {
                self.persist.snapshots[at].consumed_bytes += bytes;
            }
            SnapshotEvent::Bytes(bytes) => self.sync_bytes(job, bytes),
            SnapshotEvent::Done(size) => {
                let snapshot = self.persist.snapshots.remove(at);
                self.keyspace.end_walk(job);
                match purpose {
                    Purpose::Save => self.save_ended(snapshot, Ok(size)),
                    Purpose::Sync => self.sync_ended(job, Ok(())),
                }
            }
            SnapshotEvent::Failed(why) => {
                let snapshot = self.persist.snapshots.remove(at);
                self.keyspace.end_walk(job);
                self.log(Level::Warning, format!("Write error saving DB on disk: {why}"));
                match purpose {
                    Purpose::Save => self.save_ended(snapshot, Err(why)),
                    Purpose::Sync => self.sync_ended(job, Err(why)),
                }
            }
        }
    }
}
