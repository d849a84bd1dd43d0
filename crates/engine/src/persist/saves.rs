//! SAVE, BGSAVE and save points: when a snapshot of the dump file starts, and how its end is
//! handled.

use russet_protocol::ErrorReply;

use super::fill::StreamPosition;
use super::snapshot::{Purpose, Snapshot, Snapshots};
use crate::config::Config;
use crate::core::{Core, Order};
use crate::ids::JobId;
use crate::injected::Bug;
use crate::io::{Level, SnapshotEvent, SnapshotTarget};
use crate::keyspace::Keyspace;

/// Delay of save points after a failed save, in seconds.
const RETRY_SECS: u64 = 5;

/// The save that follows a FLUSHALL, whose clients wait for its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum AfterFlush {
    /// None is due.
    #[default]
    None,
    /// It has yet to begin.
    Due,
    /// It is running.
    Running(JobId),
}

/// Running snapshots and the state of saves.
#[derive(Debug, Default)]
pub struct Saves {
    /// Running snapshots, including those for replicas.
    pub snapshots: Snapshots,
    /// Whether a save is scheduled: by BGSAVE SCHEDULE, or a save point that waits for another
    /// snapshot.
    pub is_wanted: bool,
    /// Unix seconds of the last successful save; initially of the start.
    pub last_secs: i64,
    /// Monotonic microseconds of the last successful save; initially of the start.
    last_us: u64,
    /// The last started save.
    last_job: Option<JobId>,
    /// The last save that BGSAVE or a save point started.
    in_background: Option<JobId>,
    /// `last_failed` when the last save started.
    failed_before: bool,
    /// Monotonic microseconds of the last attempt.
    last_try_us: u64,
    /// Whether the last save failed.
    pub last_failed: bool,
    /// Duration of the last save in seconds; none before the first.
    pub last_took_secs: Option<u64>,
    /// Peak of copied and not yet encoded bytes of the last save.
    pub last_ahead_peak: u64,
    /// The save that follows a FLUSHALL.
    after_flush: AfterFlush,
    /// The count of changes that is on disk.
    pub saved_dirty: u64,
    /// Successful saves since the start.
    pub count: u64,
    /// Whether the dump file was last written only for replicas.
    pub(crate) dump_is_for_sync: bool,
}

impl Saves {
    /// Returns the running save.
    pub fn current(&self) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.purpose == Purpose::Save)
    }

    /// Returns the last started save, running or not.
    pub(crate) fn newest(&self) -> Option<JobId> {
        self.last_job
    }

    /// Whether writes are refused because the last save failed.
    pub fn refuses_writes(&self, config: &Config) -> bool {
        self.last_failed && config.stop_writes_on_bgsave_error && !config.save.0.is_empty()
    }

    /// Returns the number of changes that are not on disk.
    pub fn unsaved_changes(&self, data: &Keyspace) -> u64 {
        data.dirty.saturating_sub(self.saved_dirty)
    }

    /// Sets the time of the last save.
    pub(crate) fn saved_now(&mut self, core: &Core) {
        self.last_secs = core.now.wall_secs();
        self.last_us = core.now.mono_us;
    }

    /// Starts a save of the dump file.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: Option<StreamPosition>,
    ) -> Result<JobId, ErrorReply> {
        if self.current().is_some() {
            return Err(ErrorReply::err("Background save already in progress"));
        }
        self.last_try_us = core.now.mono_us;
        self.failed_before = self.last_failed;
        let target = SnapshotTarget::File { path: core.dump_file() };
        let job = self.snapshots.begin(core, data, Purpose::Save, target, position);
        let job = job.ok_or_else(|| {
            ErrorReply::err("three snapshots are running already: try again when one has ended")
        })?;
        self.is_wanted = false;
        // A save for replicas sets it afterwards.
        self.dump_is_for_sync = false;
        self.last_job = Some(job);
        Ok(job)
    }

    /// Starts a save for BGSAVE or a save point.
    pub(crate) fn begin_in_background(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: Option<StreamPosition>,
    ) -> Result<(), ErrorReply> {
        let job = self.begin(core, data, position)?;
        self.in_background = Some(job);
        core.log(Level::Notice, format!("Background saving started by walker {}", job.0));
        Ok(())
    }

    /// Gives up the save that BGSAVE or a save point started, or the scheduled one (BGSAVE CANCEL). Returns the reply.
    pub(crate) fn cancel(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
    ) -> Result<&'static str, ErrorReply> {
        let running = self.current().map(|save| save.job);
        if let Some(job) = running.filter(|job| self.in_background == Some(*job)) {
            core.log(Level::Notice, "Background saving will be aborted due to user request");
            self.abort(core, data, job, "BGSAVE CANCEL gave it up");
            return Ok("Background saving cancelled");
        }
        if std::mem::take(&mut self.is_wanted) {
            core.log(
                Level::Notice,
                "Scheduled background saving will be cancelled due to user request",
            );
            return Ok("Scheduled background saving cancelled");
        }
        Err(ErrorReply::err("Background saving is currently not in progress or scheduled"))
    }

    /// Forgets that the last save failed. SHUTDOWN reports the failure of its own one, and the server goes on as before.
    pub(crate) fn forget_failure(&mut self) {
        self.last_failed = self.failed_before;
    }

    /// Handles a FLUSHALL: the running save, which has the deleted keys, is given up, and if there are
    /// save points the keyspace is saved at once, since the keys must not return. Returns whether that
    /// save follows: until it ends nobody may be told that the keys are gone.
    pub(crate) fn flushed(&mut self, core: &mut Core, data: &mut Keyspace) -> bool {
        if core.injected(Bug::FlushUnsaved) {
            return false;
        }
        if let Some(save) = self.current().filter(|save| save.dirty != data.dirty) {
            let job = save.job;
            core.log(Level::Notice, "The running save is given up: FLUSHALL deleted its keys");
            self.abort(core, data, job, "FLUSHALL deleted the keys that were being saved");
        }
        if core.config.save.0.is_empty() {
            return false;
        }
        self.after_flush = AfterFlush::Due;
        true
    }

    /// Whether a FLUSHALL waits for its save to begin.
    pub(crate) fn wants_save_after_flush(&self) -> bool {
        self.after_flush == AfterFlush::Due
    }

    /// Begins the save that follows a FLUSHALL. If one has begun since, that is it.
    pub(crate) fn begin_after_flush(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: Option<StreamPosition>,
    ) {
        let running = self.current().map(|save| save.job);
        let job = running.map_or_else(|| self.begin(core, data, position), Ok);
        if let Ok(job) = job {
            self.after_flush = AfterFlush::Running(job);
        }
    }

    /// Handles the end of a save. Returns whether it was the one that FLUSHALL waits for.
    pub(crate) fn ends_flush(&mut self, job: JobId) -> bool {
        let is_awaited = self.after_flush == AfterFlush::Running(job);
        if is_awaited {
            self.after_flush = AfterFlush::None;
        }
        is_awaited
    }

    /// Aborts a snapshot and reports its end as failed.
    pub(crate) fn abort(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId, why: &str) {
        if self.after_flush == AfterFlush::Running(job) {
            self.after_flush = AfterFlush::Due;
        }
        self.snapshots.abort(core, data, job);
        core.order(Order::SaveEnded { job, result: Err(why.to_owned()) });
    }

    /// Aborts all snapshots after their data was replaced.
    pub(crate) fn abort_all(&mut self, core: &mut Core, data: &mut Keyspace, why: &str) {
        let running: Vec<JobId> = self.snapshots.iter().map(|snapshot| snapshot.job).collect();
        running.into_iter().for_each(|job| self.abort(core, data, job, why));
    }

    /// Aborts a snapshot that cannot keep up with writes.
    pub(crate) fn abort_lagging(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId) {
        core.output(crate::io::Output::SnapshotAbort { job });
        let most = self.snapshots.copies_bytes_max(core, data) >> 20;
        let why = format!(
            "writes outran the snapshot: more than {most} MB that they overwrote, its share of the \
             free memory, wait to be written"
        );
        self.event(core, data, job, SnapshotEvent::Failed(why));
    }

    /// Handles an event of a snapshot's writer.
    pub(crate) fn event(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        job: JobId,
        event: SnapshotEvent,
    ) {
        let result = match event {
            SnapshotEvent::Consumed(bytes) => return self.snapshots.consumed(job, bytes),
            SnapshotEvent::Bytes(bytes) => return core.order(Order::SyncBytes { job, bytes }),
            SnapshotEvent::Done(size) => Ok(size),
            SnapshotEvent::Failed(why) => Err(why),
        };
        let Some(snapshot) = self.snapshots.remove(data, job) else { return };
        if let Err(why) = &result
            && !matches!(snapshot.purpose, Purpose::AofBase(_))
        {
            core.log(Level::Warning, format!("Write error saving DB on disk: {why}"));
        }
        match snapshot.purpose {
            Purpose::Save => self.ended(core, &snapshot, result),
            Purpose::AofBase(_) => {
                core.order(Order::AofBaseEnded { job, ahead_peak: snapshot.ahead_peak, result })
            }
            Purpose::Sync => core.order(Order::SyncEnded { job, result: result.map(|_| ()) }),
        }
    }

    /// Handles the end of a save.
    fn ended(&mut self, core: &mut Core, snapshot: &Snapshot, result: Result<u64, String>) {
        let took_us = core.now.mono_us.saturating_sub(snapshot.began_us);
        self.last_took_secs = Some(took_us / 1_000_000);
        self.last_failed = result.is_err();
        self.last_ahead_peak = snapshot.ahead_peak;
        if core.injected(Bug::FailedSaveCounts) {
            self.saved_dirty = snapshot.dirty;
        }
        if result.is_ok() {
            self.saved_now(core);
            self.saved_dirty = snapshot.dirty;
            self.count += 1;
            core.log(Level::Notice, "DB saved on disk");
            core.log(Level::Notice, "Background saving terminated with success");
        } else {
            core.log(Level::Warning, "Background saving error");
        }
        core.order(Order::SaveEnded { job: snapshot.job, result });
    }

    /// Whether a save must start now: a save point is reached, or a save is scheduled. Logs the
    /// reason.
    pub(crate) fn is_due(&self, core: &mut Core, data: &Keyspace) -> bool {
        if self.current().is_some() {
            return false;
        }
        // Uses monotonic time: a jump of the wall clock must not prevent a save.
        let now_us = core.now.mono_us;
        let secs_since = |then_us: u64| now_us.saturating_sub(then_us) / 1_000_000;
        let changes = self.unsaved_changes(data);
        let since_save = secs_since(self.last_us);
        let may_retry = !self.last_failed || secs_since(self.last_try_us) > RETRY_SECS;
        let mut points = core.config.save.0.iter();
        let reached = points
            .find(|point| changes >= point.changes && since_save > point.seconds && may_retry);
        if let Some((seconds, least)) = reached.map(|point| (point.seconds, point.changes)) {
            core.log(Level::Notice, format!("{least} changes in {seconds} seconds. Saving..."));
            return true;
        }
        self.is_wanted
    }

    /// Starts a due save, or postpones it.
    pub(crate) fn begin_due(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: Option<StreamPosition>,
    ) {
        if let Err(error) = self.begin_in_background(core, data, position) {
            self.is_wanted = true;
            core.log(Level::Verbose, format!("Save is put off: {error}"));
        }
    }
}
