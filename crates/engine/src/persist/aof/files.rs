//! The append-only file in the node: whether there is one, who relies on it, and what a failure means.
//!
//! At any time the manifest on disk names one complete file: a base, and incremental files of which effects are appended
//! to the last. A new one ([`super::rewrite`]) is made beside it and takes its place as a whole:
//!
//! ```text
//!   Off ──turn_on──▶ Starting ──the first manifest is on disk──▶ On ──turn_off──▶ Off
//!                       ▲                                        │
//!                       └──────── the data was replaced ─────────┘
//! ```
//!
//! Replies wait for the file only in `On`. [`super::append`] knows how far a file is written,
//! [`crate::clients::durable`] who waits for it.

use super::append::{AppendLog, AppendTail, End};
use super::batch::{BatchWriter, FileEnd, WriterSettings};
use super::history::Removal;
use super::manifest::Manifest;
use super::rewrite::Next;
use super::rewrites::Rewrites;
use crate::clients::Clients;
use crate::config::Config;
use crate::config::value::AppendFsync;
use crate::core::{Core, Order};
use crate::ids::{JobId, RequestId};
use crate::injected::Bug;
use crate::io::{AppendEvent, Level};
use crate::keyspace::Keyspace;
use crate::persist::saves::Saves;
use crate::timers::Timer;

/// How often a file is synced with `appendfsync everysec`, and a failed write is tried again.
pub(super) const PERIOD_US: u64 = 1_000_000;

/// Whether there is an append-only file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// There is none.
    #[default]
    Off,
    /// It does not have all data yet.
    Starting,
    /// It has all data: replies rely on it.
    On,
}

/// The end of a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnEnd {
    /// The replication offset.
    pub offset: i64,
    /// Whether no snapshot may begin.
    pub is_mid_change: bool,
}

/// The append-only file.
#[derive(Debug, Default)]
pub struct Aof {
    pub(super) status: Status,
    /// The manifest on disk, if it is known.
    pub(super) manifest: Option<Manifest>,
    /// The file that effects are appended to.
    pub(super) log: Option<AppendLog>,
    /// A file that was switched off and is not on disk yet.
    ending: Option<AppendLog>,
    /// What will take the place of the present files.
    pub(super) next: Option<Box<Next>>,
    /// When and how often that happens.
    pub rewrites: Rewrites,
    /// Whether the files have all data, and just none to append to.
    pub(super) is_loaded: bool,
    /// Bytes of the files before the last incremental one.
    pub(super) older_bytes: u64,
    /// Bytes of the base.
    pub(super) base_bytes: u64,
    /// The removal of history.
    pub(super) removal: Removal,
    /// The manifest without history that is being written.
    pub(super) forgetting: Option<RequestId>,
    /// What is promised at present: `appendfsync`, unless `no-appendfsync-on-rewrite` overrides it.
    policy: AppendFsync,
    /// Why writes are refused.
    pub(super) refusal: Option<String>,
}

/// Returns the path of a file of the append-only file.
pub(super) fn path_of(core: &Core, name: &str) -> String {
    format!("{}/{name}", String::from_utf8_lossy(&core.config.appenddirname))
}

pub(super) fn filename(core: &Core) -> String {
    String::from_utf8_lossy(&core.config.appendfilename).into_owned()
}

pub(super) fn settings(config: &Config) -> WriterSettings {
    WriterSettings { checksums: config.aof_checksum, timestamps: config.aof_timestamp_enabled }
}

/// Beginning and end.
impl Aof {
    /// Begins an append-only file of the data as it is now, or does nothing if there is one.
    pub(crate) fn turn_on(&mut self, core: &mut Core, clients: &mut Clients) {
        if self.status == Status::Off {
            self.give_up_ending(core, clients);
            self.status = Status::Starting;
            self.rewrites.want_first();
            core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
        }
    }

    /// Ends the append-only file. What was handed over is still written, and who waits for that waits.
    pub(crate) fn turn_off(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        offset: i64,
    ) {
        self.hand_over_all(core, clients, tail, offset);
        if self.next.is_some() {
            let text = "Giving up the running AOF rewrite: the append-only file is switched off";
            core.log(Level::Notice, text);
        }
        self.drop_next(core, tail);
        if let Some(mut log) = self.log.take() {
            log.sync(core);
            self.ending = Some(log);
        }
        tail.end(End::Present);
        (self.status, self.refusal, self.is_loaded) = (Status::Off, None, false);
        self.rewrites.forget();
        clients.durable.set_on(false);
        self.check_ending(core, clients);
    }

    /// Begins the file again: the data was replaced, or the files are in another folder.
    pub(crate) fn begin_again(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        is_elsewhere: bool,
    ) {
        if is_elsewhere {
            self.manifest = None;
        }
        if self.status == Status::Off {
            return;
        }
        self.drop_next(core, tail);
        tail.end(End::Present);
        if let Some(mut log) = self.log.take() {
            // Until the new file is there, a start finds this one.
            log.sync(core);
            log.close(core);
        }
        if !is_elsewhere {
            // What replies show of the former data is gone. In another folder they wait for the new file.
            self.give_up_ending(core, clients);
        }
        (self.status, self.is_loaded) = (Status::Starting, false);
        self.rewrites.want();
    }

    /// Hands over what is pending and closes all files: the process exits.
    pub(crate) fn finish(&mut self, core: &mut Core, clients: &mut Clients, tail: &mut AppendTail) {
        self.hand_over_all(core, clients, tail, 0);
        self.drop_next(core, tail);
        if let Some(log) = self.log.take() {
            log.seal(core, tail);
        }
    }

    /// Hands over what is pending, to each file that a start may find.
    fn hand_over_all(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        offset: i64,
    ) {
        let number = clients.durable.hand_over();
        let next = self.next.as_mut().and_then(|next| next.required_mut());
        for log in self.log.iter_mut().chain(next) {
            log.hand_over(core, tail, number, offset);
        }
    }

    /// Continues an append-only file that was loaded, behind the end of its last file.
    pub(crate) fn resume(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        clients: &mut Clients,
        loaded: Loaded,
    ) {
        let Loaded { manifest, end, bytes, base_bytes } = loaded;
        let last = manifest.incremental().last().map(|last| path_of(core, &last.name));
        self.manifest = Some(manifest);
        let Some(path) = last else {
            // A base alone: the old single file, or of BGREWRITEAOF without an append-only file.
            (self.older_bytes, self.base_bytes, self.is_loaded) = (bytes, base_bytes, true);
            return self.turn_on(core, clients);
        };
        let mut log = AppendLog::open(core, End::Present, path, end.offset, end.synced);
        log.begin_behind(clients.durable.last_handed_over(), 0);
        (self.older_bytes, self.base_bytes) = (bytes.saturating_sub(end.offset), base_bytes);
        self.log = Some(log);
        tail.begin(End::Present, BatchWriter::new(settings(&core.config), end));
        self.status = Status::Starting;
        core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
        // What the file had after the last rewrite is not on disk. Redis takes the base too.
        self.rewrites.count_from(base_bytes);
    }

    /// Handles that the file that was loaded is open, which also means that all of it is on disk.
    fn resumed(&mut self, core: &mut Core, clients: &mut Clients, tail: &mut AppendTail) {
        if let Some(log) = self.log.as_mut().filter(|_| self.status == Status::Starting) {
            // The line also separates what a stock server appended from what we append.
            tail.mark(log.synced_len());
            self.rely(core, clients);
            // The process before may have died between the rename of the manifest and the sync of the folder. The
            // opening has synced it.
            self.remove_history(core);
        }
    }

    /// From now on replies rely on the file.
    pub(super) fn rely(&mut self, core: &mut Core, clients: &mut Clients) {
        self.status = Status::On;
        clients.durable.set_on(true);
        self.note_safe(clients);
        core.order(Order::AofReady);
    }

    /// Sends what waits for a file that was switched off, if it is on disk or never will be.
    fn check_ending(&mut self, core: &mut Core, clients: &mut Clients) {
        let Some(log) = &self.ending else { return clients.nothing_waits() };
        if log.is_synced() || log.write_error.is_some() || log.sync_error.is_some() {
            self.give_up_ending(core, clients);
        }
    }

    fn give_up_ending(&mut self, core: &mut Core, clients: &mut Clients) {
        if let Some(log) = self.ending.take() {
            log.close(core);
        }
        clients.nothing_waits();
    }
}

/// What was loaded at the start.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The manifest on disk.
    pub manifest: Manifest,
    /// Where the last file is continued.
    pub end: FileEnd,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the base.
    pub base_bytes: u64,
}

/// Each turn.
impl Aof {
    /// Hands the effects of a turn over, and does the next step of a rewrite.
    pub(crate) fn end_turn(
        &mut self,
        core: &mut Core,
        (data, saves): (&mut Keyspace, &mut Saves),
        clients: &mut Clients,
        tail: &mut AppendTail,
        at: TurnEnd,
    ) {
        if self.status == Status::Off && self.next.is_none() && !self.rewrites.is_wanted() {
            return;
        }
        self.follow_policy(core, saves, clients);
        let mut is_handed_over = false;
        if let Some(log) = &mut self.log
            && (tail.pending_bytes(End::Present) > 0 || clients.durable.is_awaited())
        {
            let number = clients.durable.hand_over();
            match self.policy {
                AppendFsync::Always => log.commit(core, tail, number, at.offset),
                _ => log.hand_over(core, tail, number, at.offset),
            }
            is_handed_over = true;
            // A batch without bytes is as safe as those before it.
            self.note_safe(clients);
        }
        self.hand_over_next(core, clients, tail, at.offset, is_handed_over);
        if self.next.is_none() && self.rewrites.take_wanted() {
            self.begin_next(core);
        }
        if core.injected(Bug::MissingInBase)
            && self.next.as_ref().is_some_and(|n| n.base_job().is_some())
        {
            tail.begin(End::Next, BatchWriter::new(settings(&core.config), FileEnd::empty()));
        }
        self.advance(core, (data, saves), clients, tail, at);
    }

    fn follow_policy(&mut self, core: &mut Core, saves: &Saves, clients: &mut Clients) {
        let is_put_off = core.config.no_appendfsync_on_rewrite && !saves.snapshots.is_empty();
        let policy = if is_put_off { AppendFsync::No } else { core.config.appendfsync };
        if policy == self.policy {
            return;
        }
        self.policy = policy;
        if policy == AppendFsync::Always
            && let Some(log) = &mut self.log
        {
            log.sync(core);
        }
        self.note_safe(clients);
    }

    /// Returns what is promised at present.
    pub fn policy(&self) -> AppendFsync {
        self.policy
    }

    /// Sends what waits for batches that are safe.
    pub(super) fn note_safe(&mut self, clients: &mut Clients) {
        if self.status != Status::On {
            return;
        }
        if let Some(safe) = self.found_logs().map(|log| log.safe_batch(self.policy)).min() {
            clients.batch_is_safe(safe);
        }
    }

    /// Handles an event of a file.
    pub(crate) fn event(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        tail: &mut AppendTail,
        job: JobId,
        event: AppendEvent,
    ) {
        if let Some(log) = self.ending.as_mut().filter(|log| log.job == job) {
            log.event(event);
            return self.check_ending(core, clients);
        }
        let Some(log) = self.log.as_mut().filter(|log| log.job == job) else {
            return self.next_event(core, clients, tail, job, event);
        };
        if let AppendEvent::OpenFailed(why) = event {
            return core.order(Order::Stop(format!("Can't open the append-only file: {why}")));
        }
        if event == AppendEvent::Opened {
            return self.resumed(core, clients, tail);
        }
        log_event(core, log, &event);
        log.event(event);
        self.note_refusal(core);
        self.note_safe(clients);
    }

    /// Runs each second.
    pub(crate) fn cron(&mut self, core: &mut Core, tail: &mut AppendTail) {
        if let Some(log) = &self.ending {
            log.retry(core);
        }
        if let Some(log) = &mut self.log {
            log.retry(core);
            if self.policy != AppendFsync::No {
                log.sync(core);
                log.mark(tail);
            }
        }
        self.note_refusal(core);
        self.rewrite_cron(core);
        if self.status != Status::Off || self.ending.is_some() {
            core.timers.set(Timer::Append, core.now.mono_us + PERIOD_US);
        }
    }

    /// Applies changed options to what follows.
    pub(crate) fn settings_changed(&mut self, core: &Core, tail: &mut AppendTail) {
        tail.set_settings(settings(&core.config));
    }
}

/// State.
impl Aof {
    /// Whether there is an append-only file, and replies rely on it.
    pub fn status(&self) -> Status {
        self.status
    }

    /// Returns it if there is one, for INFO.
    pub(crate) fn shown(&self) -> Option<&Aof> {
        (self.status != Status::Off).then_some(self)
    }

    /// Whether the file does not hold all data yet.
    pub(crate) fn is_beginning(&self) -> bool {
        self.status == Status::Starting
    }

    /// Whether the file holds all data.
    pub fn is_relied_on(&self) -> bool {
        self.status == Status::On
    }

    /// Returns the incremental file.
    pub fn log(&self) -> Option<&AppendLog> {
        self.log.as_ref()
    }

    /// Whether all effects so far are written.
    pub(crate) fn is_written(&self, tail: &AppendTail) -> bool {
        let is_written = |log: &AppendLog| log.unwritten_bytes() == 0;
        tail.pending_bytes(End::Present) == 0 && self.log.as_ref().is_none_or(is_written)
    }

    /// Returns the bytes of all files that a start would load.
    pub fn size(&self) -> u64 {
        self.older_bytes + self.log.as_ref().map_or(0, AppendLog::file_bytes)
    }

    /// Returns the replication offset up to which everything is on disk; none without an append-only file. `now`: that of
    /// the data.
    pub(crate) fn synced_offset(&self, tail: &AppendTail, now: i64) -> Option<i64> {
        match self.status {
            Status::Off => return None,
            Status::Starting => return Some(0),
            // The files are being closed, and their last sync has not ended.
            Status::On if self.found_logs().next().is_none() => return Some(0),
            Status::On => {}
        }
        let is_level = tail.pending_bytes(End::Present) == 0;
        if is_level && self.found_logs().all(AppendLog::is_synced) {
            return Some(now);
        }
        self.found_logs().map(AppendLog::synced_offset).min()
    }

    /// Returns the last batch that is on disk; none without an append-only file.
    pub(crate) fn synced_batch(&self) -> Option<u64> {
        match (self.status, &self.log) {
            (Status::Off, _) => None,
            (Status::On, Some(_)) => {
                self.found_logs().map(|log| log.safe_batch(AppendFsync::Always)).min()
            }
            _ => Some(0),
        }
    }

    /// Returns the next file, if a process that starts may soon find it in place of the present one.
    fn next_required(&self) -> Option<&AppendLog> {
        self.next.as_ref().and_then(|next| next.required())
    }

    /// Returns the files of which a process that starts may find either.
    pub(super) fn found_logs(&self) -> impl Iterator<Item = &AppendLog> {
        self.log.iter().chain(self.next_required())
    }
}

/// Logs what an event of a file means.
fn log_event(core: &mut Core, log: &AppendLog, event: &AppendEvent) {
    let text = match event {
        AppendEvent::WriteFailed(why) if log.write_error.is_none() => {
            format!("Error writing to the AOF file: {why}")
        }
        AppendEvent::Written(_) if log.write_error.is_some() => {
            "AOF write error looks solved. The server can write again.".to_owned()
        }
        AppendEvent::SyncFailed(why) => format!(
            "Fail to fsync the AOF file: {why}. What was written since the last sync may be lost: no write is accepted \
             until a rewrite has everything on disk again"
        ),
        _ => return,
    };
    core.log(Level::Warning, text);
}
