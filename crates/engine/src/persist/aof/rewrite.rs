//! A rewrite: how the append-only file gets new files, and when.
//!
//! The new files are made beside the present ones and take their place with one rename, that of the manifest:
//!
//! ```text
//!   effects ──┬──▶ present incremental file ──────────────────────────────────┤ closed, history
//!             └──▶ next incremental file ─────────────────────────────────────▶ the present one
//!   Opening ── Base ───────────────── Syncing ────── Levelling ── Replacing ──│
//!   create     walk of the data as    the next file  a reply      manifest,   replies wait for the next
//!   the file   it is at this moment   to the disk    needs both   folder      file alone
//! ```
//!
//! From `Base` on each effect goes to both files. Redis makes the new incremental file a part of the present ones at once
//! instead, behind the old one: then a loss of power may leave the new one with content and the old one without its end,
//! the disk's own order being what it is. Here nothing relies on the next files before the manifest, and if they fail they
//! are removed and nothing has changed. Shortly before and while the manifest is replaced, a batch is safe when it is safe
//! in both files, since a process that starts then may find either.
//!
//! So a rewrite is also the way back from a failed sync: it does not need the old file's bytes.
//!
//! Names are not used twice while a manifest that has them may be on disk ([`Manifest::skip_names_of`]).
//!
//! When a rewrite is due is decided in [`super::rewrites`].

use super::append::{AppendLog, AppendTail, End};
use super::batch::{BatchWriter, FileEnd};
use super::files::{Aof, Status, TurnEnd, filename, path_of, settings};
use super::manifest::{BaseFormat, MANIFEST_BYTES_MAX, Manifest, manifest_name};
use crate::clients::Clients;
use crate::config::apply::append_folder;
use crate::config::value::AppendFsync;
use crate::core::{Core, Order};
use crate::ids::{JobId, RequestId};
use crate::io::{AppendEvent, FileEvent, Level, Output, Request, Rewrite, SnapshotTarget};
use crate::keyspace::Keyspace;
use crate::persist::saves::Saves;
use crate::persist::snapshot::Purpose;

/// Bytes of the next file that are collected before they are handed over, while nothing waits for them.
const CHUNK_BYTES: usize = 256 << 10;

/// How far a rewrite is.
#[derive(Debug)]
enum Step {
    /// The folder is created and locked.
    Locking(RequestId),
    /// The manifest that is there is read.
    Reading(JobId, Vec<u8>),
    /// The incremental file is created.
    Opening,
    /// The snapshot can begin.
    Ready,
    /// The base is written.
    Base(JobId),
    /// So many bytes of the incremental file are being synced; none: not handed over yet.
    Syncing(Option<u64>),
    /// What is safe in the present file becomes so in the next one.
    Levelling,
    /// The manifest is replaced.
    Replacing(RequestId),
}

/// What will take the place of the present files.
#[derive(Debug)]
pub(super) struct Next {
    step: Step,
    manifest: Manifest,
    /// Whether the present files stay, and only the incremental file is new.
    is_added: bool,
    /// The incremental file. There is none if only a base is wanted.
    log: Option<AppendLog>,
    /// Its path and that of the base, once they are made.
    paths: Vec<String>,
    base_bytes: u64,
    /// Monotonic microseconds at its start.
    pub(super) began_us: u64,
}

impl Next {
    /// Returns the last batch that is safe in the next file, if replies have to wait for that.
    pub(super) fn required(&self, policy: AppendFsync) -> Option<u64> {
        let is_required = matches!(self.step, Step::Levelling | Step::Replacing(_));
        self.log.as_ref().filter(|_| is_required).map(|log| log.safe_batch(policy))
    }

    /// Returns the job of the base that is being written.
    pub(super) fn base_job(&self) -> Option<JobId> {
        match self.step {
            Step::Base(job) => Some(job),
            _ => None,
        }
    }

    /// Syncs what was handed over.
    pub(super) fn sync(&mut self, core: &mut Core) {
        if let Some(log) = &mut self.log {
            log.sync(core);
        }
    }
}

/// From the beginning to the base.
impl Aof {
    pub(super) fn begin_next(&mut self, core: &mut Core) {
        let mut next = Next {
            step: Step::Opening,
            manifest: Manifest::default(),
            is_added: self.is_loaded,
            log: None,
            paths: Vec::new(),
            base_bytes: 0,
            began_us: core.now.mono_us,
        };
        match &self.manifest {
            Some(manifest) => self.open_next(core, &mut next, manifest.clone()),
            None => {
                let folder = Request::AppendFolder(Some(append_folder(&core.config)));
                next.step = Step::Locking(core.request(folder));
            }
        }
        self.next = Some(Box::new(next));
    }

    /// Creates the next incremental file. `manifest`: the one on disk.
    fn open_next(&self, core: &mut Core, next: &mut Next, manifest: Manifest) {
        next.manifest = manifest;
        if self.status == Status::Off {
            next.step = Step::Ready;
            return;
        }
        let name = next.manifest.next_incremental(&filename(core));
        let path = path_of(core, &name);
        next.log = Some(AppendLog::open(core, End::Next, path.clone(), 0, 0));
        next.paths.push(path);
        next.step = Step::Opening;
    }

    /// Handles an event of the manifest that is read. Returns whether it is one.
    pub(crate) fn file_event(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        job: JobId,
        event: &FileEvent,
    ) -> bool {
        let Some(next) = &mut self.next else { return false };
        let Step::Reading(reading, text) = &mut next.step else { return false };
        if *reading != job {
            return false;
        }
        let result = match event {
            FileEvent::Opened(_) => return true,
            FileEvent::Bytes(bytes) if text.len() + bytes.len() <= MANIFEST_BYTES_MAX => {
                text.extend_from_slice(bytes);
                core.output(Output::ReadMore { job });
                return true;
            }
            FileEvent::Bytes(_) => {
                core.output(Output::ReadStop { job });
                Err(format!("longer than {MANIFEST_BYTES_MAX} bytes"))
            }
            FileEvent::End => Manifest::parse(text).map_err(|error| error.to_string()),
            FileEvent::Missing => Ok(Manifest::default()),
            FileEvent::Failed(why) => Err(why.clone()),
        };
        match result {
            Ok(manifest) => {
                self.manifest = Some(manifest.clone());
                if let Some(mut next) = self.next.take() {
                    self.open_next(core, &mut next, manifest);
                    self.next = Some(next);
                }
            }
            Err(why) => {
                let name = manifest_name(&filename(core));
                self.next_failed(core, tail, format!("{name}: {why}"));
            }
        }
        true
    }

    /// Handles an event of the next incremental file.
    pub(super) fn next_event(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        job: JobId,
        event: AppendEvent,
    ) {
        let Some(next) = &mut self.next else { return };
        let Some(log) = next.log.as_mut().filter(|log| log.job == job) else { return };
        let why = match event {
            AppendEvent::Opened => {
                next.step = Step::Ready;
                return;
            }
            AppendEvent::OpenFailed(why) => format!("it cannot be opened: {why}"),
            AppendEvent::WriteFailed(why) => format!("it cannot be written: {why}"),
            AppendEvent::SyncFailed(why) => format!("it cannot be synced: {why}"),
            event => {
                log.event(event);
                return self.note_safe(clients);
            }
        };
        self.next_failed(core, tail, format!("the next incremental file: {why}"));
        self.note_safe(clients);
    }

    /// Begins the base: a snapshot of the data as it is now. Effects go to the next incremental file from now on.
    fn begin_base(
        &mut self,
        core: &mut Core,
        (data, saves): (&mut Keyspace, &mut Saves),
        clients: &mut Clients,
        tail: &mut AppendTail,
        offset: i64,
    ) {
        let Some(next) = &mut self.next else { return };
        let format = match core.config.aof_use_rdb_preamble {
            true => BaseFormat::Rdb,
            false => BaseFormat::Aof,
        };
        let mut manifest = next.manifest.clone();
        let path = path_of(core, &manifest.next_base(&filename(core), format));
        manifest.retire_incremental(usize::from(next.log.is_some()));
        let target = SnapshotTarget::File { path: path.clone() };
        let Some(job) = saves.snapshots.begin(core, data, Purpose::AofBase, target, None) else {
            return;
        };
        next.manifest = manifest;
        next.paths.push(path);
        next.step = Step::Base(job);
        if let Some(log) = &mut next.log {
            log.begin_behind(clients.durable.last_handed_over(), offset);
            tail.begin(End::Next, BatchWriter::new(settings(&core.config), FileEnd::empty()));
        }
        let text = format!("Background append only file rewriting started by walker {}", job.0);
        core.log(Level::Notice, text);
    }
}

/// From the base to the end.
impl Aof {
    /// Does the next step, if it can be done now.
    pub(super) fn advance(
        &mut self,
        core: &mut Core,
        (data, saves): (&mut Keyspace, &mut Saves),
        clients: &mut Clients,
        tail: &mut AppendTail,
        at: TurnEnd,
    ) {
        let policy = self.policy();
        let Some(next) = &mut self.next else { return };
        match next.step {
            Step::Ready if next.is_added => {
                tail.begin(End::Next, BatchWriter::new(settings(&core.config), FileEnd::empty()));
                next.step = Step::Levelling;
                self.advance(core, (data, saves), clients, tail, at);
            }
            Step::Ready if !at.is_mid_change => {
                self.begin_base(core, (data, saves), clients, tail, at.offset);
            }
            Step::Syncing(Some(needed))
                if next.log.as_ref().is_none_or(|log| log.synced_len() >= needed) =>
            {
                next.step = Step::Levelling;
                self.advance(core, (data, saves), clients, tail, at);
            }
            Step::Levelling if self.forgetting.is_none() => {
                let is_relied_on = self.status == Status::On;
                let safe = next.log.as_ref().map(|log| log.safe_batch(policy));
                if !is_relied_on || safe.is_none_or(|safe| safe >= clients.durable.safe()) {
                    next.step = Step::Replacing(write_manifest(core, &next.manifest));
                }
            }
            _ => {}
        }
    }

    /// Handles the end of the base's snapshot.
    pub(crate) fn base_ended(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        job: JobId,
        result: &Result<u64, String>,
    ) {
        let Some(next) = self.next.as_mut().filter(|next| next.base_job() == Some(job)) else {
            return;
        };
        match result {
            Ok(bytes) => {
                (next.base_bytes, next.step) = (*bytes, Step::Syncing(None));
                core.log(Level::Notice, "Background AOF rewrite terminated with success");
            }
            Err(why) => self.next_failed(core, tail, format!("the base cannot be written: {why}")),
        }
    }

    /// Hands over the effects for the next file: large pieces first, near the end each turn's.
    pub(super) fn hand_over_next(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        offset: i64,
        is_present_handed_over: bool,
    ) {
        let policy = self.policy();
        let Some(next) = &mut self.next else { return };
        let pending = tail.pending_bytes(End::Next);
        let is_due = match next.step {
            Step::Syncing(None) => true,
            Step::Syncing(_) | Step::Levelling | Step::Replacing(_) => {
                pending > 0 || is_present_handed_over
            }
            _ => pending >= CHUNK_BYTES,
        };
        if !is_due {
            return;
        }
        let Some(log) = &mut next.log else {
            if let Step::Syncing(None) = next.step {
                next.step = Step::Syncing(Some(0));
            }
            return;
        };
        if self.log.is_none() {
            clients.durable.hand_over();
        }
        log.hand_over(core, tail, clients.durable.last_handed_over(), offset);
        if let Step::Syncing(None) = next.step {
            next.step = Step::Syncing(Some(log.file_bytes()));
            log.sync(core);
        } else if next.required(policy).is_some() && policy == AppendFsync::Always {
            next.sync(core);
        }
    }

    /// The next files are the present ones from now on.
    fn take_over(&mut self, core: &mut Core, clients: &mut Clients, tail: &mut AppendTail) {
        let Some(next) = self.next.take() else { return };
        let Next { manifest, log, base_bytes, began_us, is_added, .. } = *next;
        self.manifest = Some(manifest);
        if !is_added {
            (self.older_bytes, self.base_bytes) = (base_bytes, base_bytes);
        }
        self.is_loaded = false;
        if let Some(mut log) = log {
            log.promote();
            tail.promote();
            if let Some(old) = self.log.replace(log) {
                old.close(core);
            }
            self.note_refusal(core);
            self.rely(core, clients);
        }
        self.rewrites.succeeded(self.size(), core.now.mono_us.saturating_sub(began_us));
        if !is_added {
            core.log(Level::Notice, "Background AOF rewrite finished successfully");
        }
        self.remove_history(core);
    }

    /// Handles the answer to a request.
    pub(crate) fn answered(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        id: RequestId,
        answer: &Result<(), String>,
    ) {
        self.history_answered(core, id, answer);
        let Some(next) = &mut self.next else { return };
        let (Step::Locking(request) | Step::Replacing(request)) = next.step else { return };
        if request != id {
            return;
        }
        let is_replaced = matches!(next.step, Step::Replacing(_));
        match answer {
            Ok(()) if is_replaced => self.take_over(core, clients, tail),
            Ok(()) => {
                let job = core.next_job();
                let path = path_of(core, &manifest_name(&filename(core)));
                core.output(Output::Read { job, path });
                next.step = Step::Reading(job, Vec::new());
            }
            Err(why) => {
                let what = if is_replaced { "the manifest cannot be replaced" } else { "folder" };
                self.next_failed(core, tail, format!("{what}: {why}"));
                self.note_safe(clients);
            }
        }
    }

    /// Whether the manifest is being replaced.
    pub(super) fn is_replacing(&self) -> bool {
        self.next.as_ref().is_some_and(|next| matches!(next.step, Step::Replacing(_)))
    }

    /// Gives the next files up because of a failure.
    fn next_failed(&mut self, core: &mut Core, tail: &mut AppendTail, why: String) {
        self.drop_next(core, tail);
        let is_first = self.status == Status::Starting && self.rewrites.is_first();
        let what = if self.status == Status::Starting { "begun" } else { "rewritten" };
        core.log(Level::Warning, format!("The append-only file cannot be {what}: {why}"));
        self.rewrites.failed(why, core.now.mono_us);
        self.note_refusal(core);
        if is_first {
            core.order(Order::AofFailed);
        }
    }

    /// Gives the next files up.
    pub(super) fn drop_next(&mut self, core: &mut Core, tail: &mut AppendTail) {
        let Some(next) = self.next.take() else { return };
        tail.end(End::Next);
        if let Some(log) = next.log {
            log.close(core);
        }
        if let Step::Base(job) = next.step {
            core.order(Order::AbortSnapshot(job));
        }
        if let Step::Replacing(_) = next.step {
            // The manifest on disk may be either one, now or later: no file of it is removed or used again.
            if let Some(manifest) = &mut self.manifest {
                manifest.skip_names_of(&next.manifest);
            }
            return;
        }
        for path in next.paths {
            core.request(Request::RemoveFile(path));
        }
    }
}

/// Writes a manifest in place of the one on disk.
pub(super) fn write_manifest(core: &mut Core, manifest: &Manifest) -> RequestId {
    let path = path_of(core, &manifest_name(&filename(core)));
    let text = manifest.format(core.config.aof_checksum);
    core.request(Request::ReplaceFile { path, rewrite: Rewrite::public(text) })
}
