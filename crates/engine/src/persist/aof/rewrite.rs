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
//! When a rewrite is due is decided in [`super::rewrites`], how the manifest is replaced and what if that fails is in
//! [`super::replace`].

use super::append::{AppendLog, AppendTail, End};
use super::batch::{BatchWriter, FileEnd};
use super::files::{Aof, Status, TurnEnd, filename, path_of, settings};
use super::manifest::{BaseFormat, MANIFEST_BYTES_MAX, Manifest, manifest_name};
use super::replace::Replacing;
use crate::clients::Clients;
use crate::config::apply::append_folder;
use crate::config::value::AppendFsync;
use crate::core::Core;
use crate::ids::{JobId, RequestId};
use crate::io::{AppendEvent, FileEvent, Level, Output, Request, SnapshotTarget};
use crate::keyspace::Keyspace;
use crate::persist::saves::Saves;
use crate::persist::snapshot::Purpose;

/// Bytes of the next file that are collected before they are handed over, while nothing waits for them.
const CHUNK_BYTES: usize = 256 << 10;

/// How far a rewrite is.
#[derive(Debug)]
pub(super) enum Step {
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
    Replacing(Replacing),
}

impl Step {
    /// Whether the manifest may be replaced at any time.
    fn is_at_end(&self) -> bool {
        matches!(self, Step::Levelling | Step::Replacing(_))
    }
}

/// What will take the place of the present files.
#[derive(Debug)]
pub(super) struct Next {
    pub(super) step: Step,
    pub(super) manifest: Manifest,
    /// Whether the present files stay, and only the incremental file is new.
    pub(super) is_added: bool,
    /// The incremental file. There is none if only a base is wanted.
    pub(super) log: Option<AppendLog>,
    /// Its path and that of the base, once they are made.
    pub(super) paths: Vec<String>,
    /// The form of the base.
    format: BaseFormat,
    pub(super) base_bytes: u64,
    /// Monotonic microseconds at its start.
    pub(super) began_us: u64,
}

impl Next {
    /// Returns the incremental file, if a process that starts may soon find it in place of the present one.
    pub(super) fn required(&self) -> Option<&AppendLog> {
        self.log.as_ref().filter(|_| self.step.is_at_end())
    }

    /// The same, to hand something over.
    pub(super) fn required_mut(&mut self) -> Option<&mut AppendLog> {
        self.log.as_mut().filter(|_| self.step.is_at_end())
    }

    /// Returns the job of the base that is being written.
    pub(super) fn base_job(&self) -> Option<JobId> {
        match self.step {
            Step::Base(job) => Some(job),
            _ => None,
        }
    }

    /// Syncs what was handed over, and tries again to write what could not be written.
    pub(super) fn sync(&mut self, core: &mut Core) {
        if let Some(log) = &mut self.log {
            log.retry(core);
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
            format: match core.config.aof_use_rdb_preamble {
                true => BaseFormat::Rdb,
                false => BaseFormat::Aof,
            },
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
        let is_replacing = matches!(next.step, Step::Replacing(_));
        let why = match event {
            event if is_replacing => {
                log.event(event);
                self.note_refusal(core);
                return self.note_safe(clients);
            }
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
        let mut manifest = next.manifest.clone();
        let path = path_of(core, &manifest.next_base(&filename(core), next.format));
        manifest.retire_incremental(usize::from(next.log.is_some()));
        let target = SnapshotTarget::File { path: path.clone() };
        let Some(job) =
            saves.snapshots.begin(core, data, Purpose::AofBase(next.format), target, None)
        else {
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
                    next.replace_manifest(core);
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
        let is_always = self.policy() == AppendFsync::Always;
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
        let number = clients.durable.last_handed_over();
        let is_first = matches!(next.step, Step::Syncing(None));
        if is_first || (is_always && next.step.is_at_end()) {
            log.commit(core, tail, number, offset);
        } else {
            log.hand_over(core, tail, number, offset);
        }
        if is_first {
            next.step = Step::Syncing(Some(log.file_bytes()));
        }
    }
}
