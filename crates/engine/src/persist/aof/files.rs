//! The append-only file in the node: which files there are, when they are opened and closed, and what a failure means.
//!
//! A file of the append-only file becomes part of it by a new manifest, and no reply relies on a file before that
//! manifest is on disk:
//!
//! ```text
//!   begin ──▶ Open incremental ──▶ Opened ──────────┐
//!        └──▶ snapshot of the base ──▶ base on disk ─┴─▶ ReplaceFile manifest ──▶ Answer ──▶ replies wait for batches
//!             effects from here on go to the incremental file
//! ```
//!
//! [`super::append`] knows how far a file is written, [`crate::clients::durable`] who waits for it.

use super::append::{AppendLog, AppendTail};
use super::batch::{BatchWriter, FileEnd, WriterSettings};
use super::manifest::{BaseFormat, Manifest, manifest_name};
use crate::clients::Clients;
use crate::config::value::AppendFsync;
use crate::core::{Core, Order};
use crate::ids::{JobId, RequestId};
use crate::io::{AppendEvent, AppendStep, Level, Output, Request, Rewrite, SnapshotTarget};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::persist::saves::Saves;
use crate::persist::snapshot::Purpose;
use crate::timers::Timer;

/// How often a file is synced with `appendfsync everysec`, and a failed write is tried again.
const PERIOD_US: u64 = 1_000_000;

/// Bytes that may wait to be written. Beyond it writes are refused: a disk that is slower than the clients would else
/// delay their replies more and more, and fill the memory.
const UNWRITTEN_BYTES_MAX: u64 = 64 << 20;

/// The files that are about to become the append-only file.
#[derive(Debug)]
struct Next {
    /// The manifest that names them.
    manifest: Manifest,
    /// The snapshot of the base, until it is on disk.
    base: Option<JobId>,
    /// Whether the incremental file is open.
    is_open: bool,
    /// The request to replace the manifest, once both are there.
    request: Option<RequestId>,
}

/// The append-only file.
#[derive(Debug, Default)]
pub struct Aof {
    /// The manifest on disk.
    manifest: Manifest,
    /// The incremental file that effects are appended to.
    log: Option<AppendLog>,
    next: Option<Next>,
    /// Whether the file holds all data: replies rely on it.
    is_relied_on: bool,
}

/// Returns the path of a file of the append-only file.
pub(super) fn path_of(core: &Core, name: &str) -> String {
    format!("{}/{name}", String::from_utf8_lossy(&core.config.appenddirname))
}

fn filename(core: &Core) -> String {
    String::from_utf8_lossy(&core.config.appendfilename).into_owned()
}

fn settings(core: &Core) -> WriterSettings {
    WriterSettings { checksums: true, timestamps: core.config.aof_timestamp_enabled }
}

impl Aof {
    /// Begins an append-only file with a base of the data as it is now, or does nothing if there is one.
    pub(crate) fn begin(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        saves: &mut Saves,
        (journal, clients): (&mut Journal, &mut Clients),
    ) -> Result<(), String> {
        let mut manifest = self.manifest.clone();
        let base = manifest.next_base(&filename(core), BaseFormat::Rdb);
        let incremental = manifest.next_incremental(&filename(core));
        manifest.retire_incremental(1);
        let target = SnapshotTarget::File { path: path_of(core, &base) };
        let base = saves.snapshots.begin(core, data, Purpose::AofBase, target, None);
        let base = base.ok_or("two snapshots are running already: try again when one has ended")?;
        let path = path_of(core, &incremental);
        self.log = Some(AppendLog::open(core, path, 0, clients.durable.last_handed_over()));
        self.next = Some(Next { manifest, base: Some(base), is_open: false, request: None });
        journal.tail.begin(BatchWriter::new(settings(core), FileEnd::empty()));
        core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
        Ok(())
    }

    /// Ends the append-only file. What was handed over is still written.
    pub(crate) fn end(&mut self, core: &mut Core, clients: &mut Clients, journal: &mut Journal) {
        if let Some(log) = &mut self.log {
            log.hand_over(core, &mut journal.tail, clients.durable.hand_over());
            log.sync(core);
            core.output(Output::Append { job: log.job, step: AppendStep::Close });
        }
        journal.tail.end();
        (self.log, self.next, self.is_relied_on) = (None, None, false);
        core.timers.stop(Timer::Append);
        clients.nothing_waits();
    }

    /// Hands the effects of this turn over.
    pub(crate) fn hand_over(&mut self, core: &mut Core, clients: &mut Clients, tail: &mut AppendTail) {
        let Some(log) = &mut self.log else { return };
        if !tail.is_empty() || clients.durable.is_awaited() {
            log.hand_over(core, tail, clients.durable.hand_over());
        }
    }

    /// Handles an event of the incremental file.
    pub(crate) fn event(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        job: JobId,
        event: AppendEvent,
    ) {
        let Some(log) = self.log.as_mut().filter(|log| log.job == job) else { return };
        let had_failed = log.write_error.is_some();
        match &event {
            AppendEvent::Opened => {
                if let Some(next) = &mut self.next {
                    next.is_open = true;
                }
                return self.replace_manifest(core);
            }
            AppendEvent::OpenFailed(why) => {
                let text = format!("Can't open the append-only file: {why}");
                return core.order(Order::Stop(text));
            }
            AppendEvent::WriteFailed(why) if !had_failed => {
                core.log(Level::Warning, format!("Error writing to the AOF file: {why}"));
            }
            AppendEvent::Written(_) if had_failed => {
                let text = "AOF write error looks solved, Redis can write again.";
                core.log(Level::Warning, text);
            }
            AppendEvent::SyncFailed(why) => {
                let text = format!("Fail to fsync the AOF file: {why}. Nothing is acknowledged any more");
                core.log(Level::Warning, text);
            }
            _ => {}
        }
        log.event(event);
        tail.set_synced(log.synced_len());
        if self.is_relied_on {
            clients.batch_is_safe(log.safe_batch(core.config.appendfsync));
        }
    }

    /// Handles the end of the base's snapshot.
    pub(crate) fn base_ended(&mut self, core: &mut Core, job: JobId, result: &Result<u64, String>) {
        let Some(next) = self.next.as_mut().filter(|next| next.base == Some(job)) else { return };
        match result {
            Ok(_) => {
                next.base = None;
                self.replace_manifest(core);
            }
            Err(why) => {
                let text = format!("The base of the append-only file cannot be written: {why}");
                core.order(Order::AofFailed(text));
            }
        }
    }

    fn replace_manifest(&mut self, core: &mut Core) {
        let name = manifest_name(&filename(core));
        let path = path_of(core, &name);
        let Some(next) = &mut self.next else { return };
        if next.base.is_some() || !next.is_open {
            return;
        }
        let text = next.manifest.format(true);
        let rewrite = Rewrite::new(move |_, _| text.clone());
        next.request = Some(core.request(Request::ReplaceFile { path, rewrite }));
    }

    /// Handles the answer to a request. Returns whether replies rely on the file from now on.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        id: RequestId,
        answer: &Result<(), String>,
    ) -> bool {
        let Some(next) = self.next.take_if(|next| next.request == Some(id)) else { return false };
        if let Err(why) = answer {
            let text = format!("The manifest of the append-only file cannot be written: {why}");
            core.order(Order::AofFailed(text));
            return false;
        }
        self.manifest = next.manifest;
        self.remove_history(core);
        self.rely(core, clients);
        true
    }

    /// From now on replies rely on the file.
    fn rely(&mut self, core: &mut Core, clients: &mut Clients) {
        self.is_relied_on = true;
        clients.durable.set_on(true);
        if let Some(log) = &self.log {
            clients.batch_is_safe(log.safe_batch(core.config.appendfsync));
        }
        core.order(Order::AofReady);
    }

    /// Continues an append-only file that was loaded, behind the end of its last file.
    pub(crate) fn resume(
        &mut self,
        core: &mut Core,
        journal: &mut Journal,
        clients: &mut Clients,
        manifest: Manifest,
        end: FileEnd,
    ) {
        self.manifest = manifest;
        let Some(last) = self.manifest.incremental().last() else { return };
        let path = path_of(core, &last.name);
        self.log = Some(AppendLog::open(core, path, end.offset, clients.durable.last_handed_over()));
        journal.tail.begin(BatchWriter::new(settings(core), end));
        core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
        self.rely(core, clients);
    }

    /// Whether the file holds all data.
    pub fn is_relied_on(&self) -> bool {
        self.is_relied_on
    }

    /// Removes files that the manifest on disk calls history. If that fails they stay, without harm, and the next
    /// manifest still names them.
    fn remove_history(&mut self, core: &mut Core) {
        for file in self.manifest.history() {
            core.request(Request::RemoveFile(path_of(core, &file.name)));
        }
    }

    /// Runs each second.
    pub(crate) fn cron(&mut self, core: &mut Core) {
        let Some(log) = &mut self.log else { return };
        if log.write_error.is_some() {
            core.output(Output::Append { job: log.job, step: AppendStep::Retry });
        }
        if core.config.appendfsync != AppendFsync::No {
            log.sync(core);
        }
        core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
    }

    /// Returns why writes are refused, if they are.
    pub(crate) fn refusal(&self) -> Option<String> {
        let log = self.log.as_ref().filter(|_| self.is_relied_on)?;
        let failed = log.sync_error.as_ref().or(log.write_error.as_ref());
        let is_behind = log.unwritten_bytes() > UNWRITTEN_BYTES_MAX;
        let behind = || format!("{} MB wait to be written", log.unwritten_bytes() >> 20);
        failed.cloned().or_else(|| is_behind.then(behind))
    }

    /// Returns the incremental file.
    pub fn log(&self) -> Option<&AppendLog> {
        self.log.as_ref()
    }
}
