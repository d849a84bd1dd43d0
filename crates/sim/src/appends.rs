//! The node's helpers that append to files. As in the shell, steps that wait together are done together, a sync runs beside
//! later writes, and what could not be written is kept.

use std::collections::{BTreeMap, VecDeque};

use russet_engine::io::{AppendEvent, AppendStep, Input, JobId};

use crate::durability::{Horizon, horizon};
use crate::jobs::RARE;
use crate::machine::DataNode;
use crate::process::Inbox;
use crate::world::{Event, World};

/// A file that is appended to.
#[derive(Default)]
pub struct Appender {
    /// Its name and number, once it is open.
    file: Option<(String, u64)>,
    /// Its length when it was opened.
    base: usize,
    /// Bytes written since then.
    written: usize,
    /// What was not done, in order.
    steps: VecDeque<AppendStep>,
    /// The next steps are about to be done.
    is_scheduled: bool,
    /// A write failed: the steps wait for a retry.
    is_stuck: bool,
    /// There may be a part of a write behind the end.
    is_torn: bool,
    /// Bytes of those that are synced.
    synced: usize,
    /// What is written is to be synced.
    wants_sync: bool,
    /// A sync of so many bytes runs, since this time.
    syncing: Option<(usize, u64)>,
    /// Its name, and its length with all that was given.
    given: (String, usize),
    /// What was given and is not synced.
    unsynced: VecDeque<Given>,
    /// What the file ends with if all of it is on disk.
    seal: Vec<u8>,
    /// It ends with its last sync.
    is_closing: bool,
    /// How long the last sync took.
    sync_took_us: u64,
    /// A sync failed: there is none any more, and the horizon stands here for the states up to the last that the node had
    /// executed when it heard of it.
    failed_at_us: Option<u64>,
    failed_state: Option<u64>,
}

/// Bytes that were given.
struct Given {
    /// Where they end in the file.
    end: usize,
    /// The state that they lead to.
    state: u64,
    /// The place in a history.
    place: Option<(String, i64)>,
}

/// Files that are appended to, by job.
pub type Appenders = BTreeMap<JobId, Appender>;

impl Appender {
    /// The latest time, without suspensions, before which everything is on disk if no sync fails. `awake_us`: the same of
    /// now.
    fn horizon_us(&self, awake_us: u64, now_us: u64) -> u64 {
        let running_us = self.syncing.map_or(0, |(_, began_us)| now_us - began_us);
        horizon(awake_us, running_us + self.sync_took_us)
    }

    /// Where the horizon is.
    pub fn horizon(&self, awake_us: u64, now_us: u64) -> Horizon {
        let at_us = self.horizon_us(awake_us, now_us);
        let state = self.failed_at_us.map_or(0, |_| self.failed_state.unwrap_or(u64::MAX));
        Horizon { at_us, stands_at_us: self.failed_at_us.unwrap_or(at_us), stands_for: state }
    }

    /// The node has heard that a sync failed.
    pub fn has_told(&mut self, state: u64) {
        self.failed_state.get_or_insert(state);
    }

    /// Whether it is not open yet.
    pub fn is_opening(&self) -> bool {
        self.file.is_none()
    }

    /// Whether bytes wait to be written, or to be synced.
    pub fn is_behind(&self) -> bool {
        !self.steps.is_empty() || self.wants_sync || self.syncing.is_some()
    }

    /// A sync that waits behind a failed write covers what is written.
    fn sync_written(&mut self) {
        let is_any = self.steps.iter().any(|step| matches!(step, AppendStep::Sync));
        let may = self.is_stuck && self.failed_at_us.is_none() && self.synced < self.written;
        self.wants_sync |= may && is_any;
    }

    fn end(&self) -> usize {
        self.base + self.written
    }

    /// How many of the next steps are writes and syncs, and the bytes of those writes.
    fn batch(&self) -> (usize, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut count = 0;
        for step in &self.steps {
            match step {
                AppendStep::Write(more) => bytes.extend_from_slice(more),
                AppendStep::Sync => {}
                _ => break,
            }
            count += 1;
        }
        (count, bytes)
    }

    /// Takes those of the next steps that are done with so many bytes.
    fn take_done(&mut self, count: usize, mut bytes: usize) {
        for _ in 0..count {
            match self.steps.front() {
                Some(AppendStep::Write(more)) if more.len() <= bytes => {
                    bytes -= more.len();
                    self.written += more.len();
                }
                Some(AppendStep::Sync) => self.wants_sync |= self.failed_at_us.is_none(),
                _ => return,
            }
            self.steps.pop_front();
        }
    }
}

/// The place of a node that keeps its stream.
pub fn place_of(data: &dyn DataNode) -> Option<(String, i64)> {
    data.backlog().map(|_| (data.place().id.to_owned(), data.place().offset))
}

impl World {
    /// A step for a file.
    pub(crate) fn append_step(&mut self, node: usize, job: JobId, step: AppendStep) {
        if let AppendStep::Commit(bytes) = step {
            self.append_step(node, job, AppendStep::Write(bytes));
            return self.append_step(node, job, AppendStep::Sync);
        }
        let process = &mut self.processes[node];
        let place = process.data().and_then(place_of);
        let file_name = match &step {
            AppendStep::Open { path, .. } => process.file_name(path),
            _ => String::new(),
        };
        let appenders = &mut process.appenders;
        let appender = match &step {
            AppendStep::Open { .. } => Some(appenders.entry(job).or_default()),
            _ => appenders.get_mut(&job),
        };
        // One that could not be opened is gone.
        let Some(appender) = appender else { return };
        match &step {
            AppendStep::Open { len, .. } => {
                process.durability.cut(&file_name, *len as usize);
                appender.given = (file_name, *len as usize);
            }
            AppendStep::Write(bytes) => appender.given.1 += bytes.len(),
            _ => {}
        }
        if matches!(step, AppendStep::Open { .. } | AppendStep::Write(_)) {
            process.durability.handed(&appender.given.0, appender.given.1);
            let (end, state) = (appender.given.1, process.durability.last());
            appender.unsynced.push_back(Given { end, state, place });
        }
        match step {
            AppendStep::Retry => appender.is_stuck = false,
            AppendStep::Close { seal } => {
                appender.is_stuck = false;
                appender.seal = seal;
                appender.steps.push_back(AppendStep::Close { seal: Vec::new() });
            }
            step => appender.steps.push_back(step),
        }
        appender.sync_written();
        self.schedule_append(node, job);
        self.schedule_append_sync(node, job);
    }

    fn schedule_append(&mut self, node: usize, job: JobId) {
        let delay = self.chance.skewed(5, 1000) * self.processes[node].disk.slowness;
        let process = &mut self.processes[node];
        let incarnation = process.incarnation;
        let Some(appender) = process.appenders.get_mut(&job) else { return };
        if !appender.is_scheduled && !appender.is_stuck && !appender.steps.is_empty() {
            appender.is_scheduled = true;
            let is_opening = appender.is_opening();
            self.queue.push(self.now + delay, Event::Append { node, incarnation, job });
            if is_opening {
                self.maybe_crash_within(node, RARE, delay);
            }
        }
    }

    /// The steps that wait are done.
    pub(crate) fn append(&mut self, node: usize, job: JobId) {
        self.maybe_crash_in_step(node);
        let Some(mut appender) = self.processes[node].appenders.remove(&job) else { return };
        appender.is_scheduled = false;
        let mut events = Vec::new();
        let stays = match appender.steps.front() {
            Some(AppendStep::Open { .. }) => self.append_open(node, &mut appender, &mut events),
            Some(AppendStep::Close { .. }) => {
                appender.steps.clear();
                appender.is_closing = true;
                appender.syncing.is_some() || appender.wants_sync
            }
            _ => {
                self.append_batch(node, &mut appender, &mut events);
                true
            }
        };
        if stays {
            self.processes[node].appenders.insert(job, appender);
            self.schedule_append(node, job);
            self.schedule_append_sync(node, job);
        }
        for event in events {
            self.deliver(node, Inbox::Input(Input::Append { job, event }));
        }
    }

    /// Opens a file. False if that failed.
    fn append_open(
        &mut self,
        node: usize,
        appender: &mut Appender,
        events: &mut Vec<AppendEvent>,
    ) -> bool {
        let Some(AppendStep::Open { path, len, sure }) = appender.steps.pop_front() else {
            return false;
        };
        let sure = usize::try_from(sure).unwrap_or(usize::MAX);
        let name = self.processes[node].file_name(&path);
        let base = usize::try_from(len).unwrap_or(usize::MAX);
        match self.processes[node].disk.open(&name, base, sure) {
            Ok(file) => {
                (appender.file, appender.base) = (Some((name, file)), base);
                events.push(AppendEvent::Opened);
                true
            }
            Err(why) => {
                events.push(AppendEvent::OpenFailed(why));
                false
            }
        }
    }

    /// Writes what waits; if that fails, whole writes stay in the file, or a part of one that cannot be cut off.
    fn append_batch(
        &mut self,
        node: usize,
        appender: &mut Appender,
        events: &mut Vec<AppendEvent>,
    ) {
        let Some((_, file)) = appender.file else { return };
        let (count, bytes) = appender.batch();
        let before = appender.written;
        let disk = &mut self.processes[node].disk;
        let ready = match appender.is_torn {
            true => disk.cut(file, appender.end()),
            false => Ok(()),
        };
        appender.is_torn &= ready.is_err();
        let torn = appender.is_torn;
        let failed = match ready.and_then(|()| disk.write(file, &bytes)) {
            Ok(()) => {
                appender.take_done(count, bytes.len());
                None
            }
            Err(why) if !torn && !bytes.is_empty() => {
                let part = self.chance.index(bytes.len());
                appender.take_done(count, part);
                let whole = appender.written - before;
                appender.is_torn = part > whole && self.chance.percent(20);
                let stays = if appender.is_torn { part } else { whole };
                self.processes[node].disk.write_part(file, &bytes[..stays]);
                Some(why)
            }
            Err(why) if torn => Some(why),
            // There was nothing to write.
            Err(_) => {
                appender.take_done(count, 0);
                None
            }
        };
        if appender.written > before {
            events.push(AppendEvent::Written(appender.written as u64));
        }
        if let Some(why) = failed {
            self.coverage.aof_failed_writes += 1;
            // A last attempt before the end is not repeated.
            appender.is_stuck =
                !appender.steps.iter().any(|step| matches!(step, AppendStep::Close { .. }));
            if !appender.is_stuck {
                appender.steps.retain(|step| matches!(step, AppendStep::Close { .. }));
            }
            appender.sync_written();
            events.push(AppendEvent::WriteFailed(why));
        }
    }

    fn schedule_append_sync(&mut self, node: usize, job: JobId) {
        let disk = &self.processes[node].disk;
        let (slowness, more_us) = (disk.slowness, disk.sync_us);
        let delay = self.chance.skewed(50, 10_000) * slowness + self.chance.skewed(0, more_us);
        let process = &mut self.processes[node];
        let incarnation = process.incarnation;
        let Some(appender) = process.appenders.get_mut(&job) else { return };
        if appender.wants_sync && appender.syncing.is_none() {
            appender.wants_sync = false;
            appender.syncing = Some((appender.written, self.now));
            self.queue.push(self.now + delay, Event::AppendSync { node, incarnation, job });
            self.maybe_crash_within(node, 1, delay);
        }
    }

    /// A sync ends.
    pub(crate) fn append_sync(&mut self, node: usize, job: JobId) {
        let process = &mut self.processes[node];
        let awake_us = self.now.saturating_sub(process.suspended_us);
        let Some(appender) = process.appenders.get_mut(&job) else { return };
        let horizon_us = appender.horizon_us(awake_us, self.now);
        let Some((covered, began_us)) = appender.syncing.take() else { return };
        appender.sync_took_us = self.now - began_us;
        let Some((_, file)) = appender.file else { return };
        let mut place = None;
        let event = match process.disk.sync_first(file, appender.base + covered) {
            Ok(()) => {
                appender.synced = covered;
                let end = appender.base + covered;
                while let Some(given) = appender.unsynced.pop_front_if(|given| given.end <= end) {
                    process.durability.synced = process.durability.synced.max(given.state);
                    place = given.place;
                }
                AppendEvent::Synced(covered as u64)
            }
            Err(why) => {
                (appender.failed_at_us, appender.wants_sync) = (Some(horizon_us), false);
                self.coverage.aof_failed_syncs += 1;
                AppendEvent::SyncFailed(why)
            }
        };
        if appender.is_closing && !appender.wants_sync {
            process.appenders.remove(&job);
        }
        self.note_on_disk(node, place);
        if matches!(event, AppendEvent::SyncFailed(_)) {
            // What comes now must not be relied on.
            self.maybe_crash_within(node, 30, 8_000_000);
        }
        self.schedule_append_sync(node, job);
        self.deliver(node, Inbox::Input(Input::Append { job, event }));
    }

    /// A process is killed: of what it was writing a part got into the file, torn at any byte.
    pub(crate) fn kill_appenders(&mut self, node: usize) {
        let process = &mut self.processes[node];
        for appender in process.appenders.values().filter(|appender| appender.is_scheduled) {
            let Some((_, file)) = appender.file else { continue };
            let (_, bytes) = appender.batch();
            if !bytes.is_empty() && !appender.is_torn && process.disk.failing.is_none() {
                let part = self.chance.index(bytes.len() + 1);
                process.disk.write_part(file, &bytes[..part]);
            }
        }
    }

    /// A process leaves: it waits until what it gave is written and synced, if the disk takes it. True if it did.
    pub(crate) fn finish_appenders(&mut self, node: usize) -> bool {
        let mut is_done = true;
        let process = &mut self.processes[node];
        for appender in process.appenders.values_mut() {
            let Some((_, file)) = appender.file else {
                is_done = false;
                continue;
            };
            let (count, bytes) = appender.batch();
            let ready = match appender.is_torn {
                true => process.disk.cut(file, appender.end()),
                false => Ok(()),
            };
            match ready.and_then(|()| process.disk.write(file, &bytes)) {
                Ok(()) => appender.take_done(count, bytes.len()),
                Err(_) => is_done = false,
            }
            if appender.wants_sync || appender.syncing.is_some() || !appender.seal.is_empty() {
                // Nobody hears of it any more.
                is_done &= process.disk.sync_first(file, appender.end()).is_ok();
            }
            let may_be_sealed = is_done && appender.failed_at_us.is_none();
            if may_be_sealed && process.disk.write(file, &appender.seal).is_ok() {
                let end = appender.end() + appender.seal.len();
                // Without it the file is as good as before.
                let _ = process.disk.sync_first(file, end);
            }
        }
        is_done
    }
}
