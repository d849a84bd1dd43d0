//! SAVE, BGSAVE and save points: when a snapshot to the dump file begins, and what its end means.

use russet_protocol::ErrorReply;

use super::snapshot::{Purpose, Snapshot};
use crate::client::Waiting;
use crate::config::Config;
use crate::io::{Handle, JobId, Level, SnapshotTarget};
use crate::node::Node;

/// After a failed save, save points wait this long before they try again, in seconds.
const RETRY_SECS: u64 = 5;

/// State of persistence.
#[derive(Debug, Default)]
pub struct Persist {
    /// Snapshots under way, two at most.
    pub snapshots: Vec<Snapshot>,
    /// A snapshot with more bytes of copies than this is given up.
    pub copies_bytes_max: u64,
    /// A file being loaded.
    pub load: Option<super::load::Load>,
    /// BGSAVE SCHEDULE, or a save point that must wait for a free walk.
    pub save_wanted: bool,
    /// Unix seconds of the last good save; at first those of the start.
    pub last_save_secs: i64,
    /// Monotonic microseconds of the last good save; at first those of the start.
    pub(crate) last_save_us: u64,
    /// The save that began last.
    pub(crate) last_save_job: Option<JobId>,
    /// Monotonic microseconds of the last try.
    pub(crate) last_try_us: u64,
    /// The last save failed.
    pub last_save_failed: bool,
    /// How long the last save took, seconds; -1 before there was one.
    pub last_save_took_secs: Option<u64>,
    /// The most bytes that the last save had copied and not encoded yet.
    pub last_save_ahead_peak: u64,
    /// The keyspace's count of changes that is on disk.
    pub saved_dirty: u64,
    /// Saves that ended well since the start.
    pub saves: u64,
    /// Keys read from the dump file at the start.
    pub keys_loaded: u64,
    /// Keys in it that were past their time.
    pub keys_expired_in_file: u64,
    /// Microseconds that the last load took.
    pub load_took_us: u64,
    /// SHUTDOWN under way.
    pub shutdown: Option<super::shutdown::Shutdown>,
    /// DEBUG RELOAD waits for its save.
    pub reload: Option<super::load::Reload>,
}

impl Persist {
    /// The save under way.
    pub fn save(&self) -> Option<&Snapshot> {
        self.snapshots.iter().find(|snapshot| snapshot.purpose == Purpose::Save)
    }

    /// Whether a file is being loaded.
    pub fn is_loading(&self) -> bool {
        self.load.is_some()
    }

    /// Whether writes are refused because saves fail.
    pub fn refuses_writes(&self, config: &Config) -> bool {
        self.last_save_failed && config.stop_writes_on_bgsave_error && !config.save.0.is_empty()
    }
}

impl Node {
    /// Changes that are not on disk.
    pub fn unsaved_changes(&self) -> u64 {
        self.keyspace.dirty.saturating_sub(self.persist.saved_dirty)
    }

    /// Name of the dump file, within the working folder.
    pub(crate) fn dump_file(&self) -> String {
        String::from_utf8_lossy(&self.config.dbfilename).into_owned()
    }

    /// Starts a save to the dump file.
    pub(crate) fn begin_save(&mut self) -> Result<JobId, ErrorReply> {
        if self.persist.save().is_some() {
            return Err(ErrorReply::err("Background save already in progress"));
        }
        self.persist.last_try_us = self.now.mono_us;
        let path = self.dump_file();
        let job = self.begin_snapshot(Purpose::Save, SnapshotTarget::File { path });
        let job = job.ok_or_else(|| {
            ErrorReply::err("two snapshots are running already: try again when one has ended")
        })?;
        self.persist.save_wanted = false;
        // Whoever saves for replicas only says so.
        self.repl.dump_is_for_sync = false;
        self.persist.last_save_job = Some(job);
        Ok(job)
    }

    /// BGSAVE, and save points.
    pub(crate) fn begin_background_save(&mut self) -> Result<(), ErrorReply> {
        let job = self.begin_save()?;
        let job = job.0;
        self.log(Level::Notice, format!("Background saving started by walker {job}"));
        Ok(())
    }

    /// What is on disk is as of now.
    pub(crate) fn saved_now(&mut self) {
        self.persist.last_save_secs = self.now.wall_secs();
        self.persist.last_save_us = self.now.mono_us;
    }

    /// A save came to its end.
    pub(crate) fn save_ended(&mut self, snapshot: Snapshot, result: Result<u64, String>) {
        let took_us = self.now.mono_us.saturating_sub(snapshot.began_us);
        self.persist.last_save_took_secs = Some(took_us / 1_000_000);
        self.persist.last_save_failed = result.is_err();
        self.persist.last_save_ahead_peak = snapshot.ahead_peak;
        if result.is_ok() {
            self.saved_now();
            self.persist.saved_dirty = snapshot.dirty;
            self.persist.saves += 1;
            self.log(Level::Notice, "DB saved on disk");
            self.log(Level::Notice, "Background saving terminated with success");
        } else {
            self.log(Level::Warning, "Background saving error");
        }
        self.wake_savers(snapshot.job, &result);
        self.reload_saved(snapshot.job, &result);
        self.file_sync_saved(snapshot.job, &result);
        self.shutdown_saved(result);
    }

    /// A save was given up: whoever waited for it is told.
    pub(crate) fn save_given_up(&mut self, job: JobId, why: &str) {
        self.abort_snapshot(job);
        let result = Err(why.to_owned());
        self.wake_savers(job, &result);
        self.reload_saved(job, &result);
        self.file_sync_saved(job, &result);
    }

    /// Those who wait for a save learn what became of it.
    fn wake_savers(&mut self, job: JobId, result: &Result<u64, String>) {
        let waiting = |node: &Node, handle: Handle| {
            let client = node.clients.get(handle)?;
            let blocked = client.blocked.as_ref()?;
            matches!(blocked.waiting, Waiting::Snapshot(j) if j == job).then_some(())
        };
        for handle in self.clients.handles() {
            if waiting(self, handle).is_none() {
                continue;
            }
            match result {
                Ok(_) => self.with_reply(handle, |_, reply| reply.ok()),
                Err(why) => self.reply_error(handle, &ErrorReply::err(why)),
            }
            self.resume(handle);
            self.go_on_with_exec(handle);
        }
    }

    /// Looks whether a save point is reached.
    pub(crate) fn check_save_points(&mut self) {
        if self.persist.save().is_some() || self.persist.is_loading() {
            return;
        }
        // The wall clock may jump, even by years: it must not keep a save from beginning.
        let secs_since = |then_us| self.now.mono_us.saturating_sub(then_us) / 1_000_000;
        let changes = self.unsaved_changes();
        let since_save = secs_since(self.persist.last_save_us);
        let may_retry =
            !self.persist.last_save_failed || secs_since(self.persist.last_try_us) > RETRY_SECS;
        let reached = self
            .config
            .save
            .0
            .iter()
            .find(|point| changes >= point.changes && since_save > point.seconds && may_retry);
        if let Some((seconds, least)) = reached.map(|point| (point.seconds, point.changes)) {
            self.log(Level::Notice, format!("{least} changes in {seconds} seconds. Saving..."));
        } else if !self.persist.save_wanted {
            return;
        }
        if let Err(error) = self.begin_background_save() {
            self.persist.save_wanted = true;
            self.log(Level::Verbose, format!("Save is put off: {error}"));
        }
    }
}
