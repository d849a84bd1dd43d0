//! SAVE, BGSAVE and save points: when a snapshot to the dump file begins, and what its end means.

use russet_protocol::ErrorReply;

use super::fill::StreamPosition;
use super::snapshot::{Purpose, Snapshot, Snapshots};
use crate::config::Config;
use crate::core::{Core, Order};
use crate::ids::JobId;
use crate::io::{Level, SnapshotEvent, SnapshotTarget};
use crate::keyspace::Keyspace;

/// After a failed save, save points wait this long before they try again, in seconds.
const RETRY_SECS: u64 = 5;

/// Snapshots under way, and the dump file's life.
#[derive(Debug, Default)]
pub struct Saves {
    /// Snapshots under way, those for replicas included.
    pub snapshots: Snapshots,
    /// BGSAVE SCHEDULE, or a save point that must wait for a free walk.
    pub is_wanted: bool,
    /// Unix seconds of the last good save; at first those of the start.
    pub last_secs: i64,
    /// Monotonic microseconds of the last good save; at first those of the start.
    last_us: u64,
    /// The save that began last.
    last_job: Option<JobId>,
    /// Monotonic microseconds of the last try.
    last_try_us: u64,
    /// The last save failed.
    pub last_failed: bool,
    /// How long the last save took, seconds; none before there was one.
    pub last_took_secs: Option<u64>,
    /// The most bytes that the last save had copied and not encoded yet.
    pub last_ahead_peak: u64,
    /// The keyspace's count of changes that is on disk.
    pub saved_dirty: u64,
    /// Saves that ended well since the start.
    pub count: u64,
    /// The dump file was last written for replicas only.
    pub(crate) dump_is_for_sync: bool,
}

impl Saves {
    /// The save under way.
    pub fn current(&self) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.purpose == Purpose::Save)
    }

    /// The save that began last, whether it is over or not.
    pub(crate) fn newest(&self) -> Option<JobId> {
        self.last_job
    }

    /// Whether writes are refused because saves fail.
    pub fn refuses_writes(&self, config: &Config) -> bool {
        self.last_failed && config.stop_writes_on_bgsave_error && !config.save.0.is_empty()
    }

    /// Changes that are not on disk.
    pub fn unsaved_changes(&self, data: &Keyspace) -> u64 {
        data.dirty.saturating_sub(self.saved_dirty)
    }

    /// What is on disk is as of now.
    pub(crate) fn saved_now(&mut self, core: &Core) {
        self.last_secs = core.now.wall_secs();
        self.last_us = core.now.mono_us;
    }

    /// Starts a save to the dump file.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        place: Option<StreamPosition>,
    ) -> Result<JobId, ErrorReply> {
        if self.current().is_some() {
            return Err(ErrorReply::err("Background save already in progress"));
        }
        self.last_try_us = core.now.mono_us;
        let target = SnapshotTarget::File { path: core.dump_file() };
        let job = self.snapshots.begin(core, data, Purpose::Save, target, place);
        let job = job.ok_or_else(|| {
            ErrorReply::err("two snapshots are running already: try again when one has ended")
        })?;
        self.is_wanted = false;
        // A save for replicas says so afterwards.
        self.dump_is_for_sync = false;
        self.last_job = Some(job);
        Ok(job)
    }

    /// BGSAVE, and save points.
    pub(crate) fn begin_in_background(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        place: Option<StreamPosition>,
    ) -> Result<(), ErrorReply> {
        let job = self.begin(core, data, place)?;
        core.log(Level::Notice, format!("Background saving started by walker {}", job.0));
        Ok(())
    }

    /// A save was given up: whoever waited for it learns of it.
    pub(crate) fn give_up(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId, why: &str) {
        self.snapshots.abort(core, data, job);
        core.order(Order::SaveEnded { job, result: Err(why.to_owned()) });
    }

    /// Gives up all snapshots: the data that they are of is gone.
    pub(crate) fn give_up_all(&mut self, core: &mut Core, data: &mut Keyspace, why: &str) {
        let running: Vec<JobId> = self.snapshots.iter().map(|snapshot| snapshot.job).collect();
        running.into_iter().for_each(|job| self.give_up(core, data, job, why));
    }

    /// Gives up a snapshot that writes have outrun.
    pub(crate) fn outrun(&mut self, core: &mut Core, data: &mut Keyspace, job: JobId) {
        core.output(crate::io::Output::SnapshotAbort { job });
        let why = "writes outran the snapshot: too many copied bytes wait to be written";
        self.event(core, data, job, SnapshotEvent::Failed(why.to_owned()));
    }

    /// News of a snapshot from its writer.
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
        if let Err(why) = &result {
            core.log(Level::Warning, format!("Write error saving DB on disk: {why}"));
        }
        match snapshot.purpose {
            Purpose::Save => self.ended(core, &snapshot, result),
            Purpose::Sync => core.order(Order::SyncEnded { job, result: result.map(|_| ()) }),
        }
    }

    /// A save came to its end.
    fn ended(&mut self, core: &mut Core, snapshot: &Snapshot, result: Result<u64, String>) {
        let took_us = core.now.mono_us.saturating_sub(snapshot.began_us);
        self.last_took_secs = Some(took_us / 1_000_000);
        self.last_failed = result.is_err();
        self.last_ahead_peak = snapshot.ahead_peak;
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

    /// Whether a save is to begin now: a save point is reached, or one was put off. Logs why.
    pub(crate) fn is_due(&self, core: &mut Core, data: &Keyspace) -> bool {
        if self.current().is_some() {
            return false;
        }
        // The wall clock may jump, even by years: it must not keep a save from beginning.
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

    /// The save that is due begins, or is put off.
    pub(crate) fn begin_due(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        place: Option<StreamPosition>,
    ) {
        if let Err(error) = self.begin_in_background(core, data, place) {
            self.is_wanted = true;
            core.log(Level::Verbose, format!("Save is put off: {error}"));
        }
    }
}
