//! The threads of files that are appended to, and the queues from which they take their steps.
//! Not in here: the system calls, which are in `append_disk.rs`; when to write, sync and try again, which the node says.
//!
//! ```text
//!   event loop                       a file's threads: one, and a second from the first sync on
//!   ──────────                       ──────────
//!   Write, Write, Sync ──▶ queue ──▶ take all ─▶ one pwritev ─▶ Written ─▶ fdatasync ────────────▶ Synced
//!   Write, Sync        ──▶ queue ──────────────────────────────▶ the other one: pwritev ─▶ Written
//!                                                                                    (its sync is the next)
//! ```
//!
//! **Who syncs.** At any time at most one thread of a file writes and at most one syncs; a thread that is free takes
//! whatever is to be done and nobody does, a sync first. So there is no choice to make between a sync in place and
//! one handed over. With `appendfsync always` and a quick disk a single thread alternates between the two and no
//! thread is switched in between, which would cost some 5 µs and as much latency. If a sync takes longer than until
//! the next write, and be it the 30 s of a failing disk under `everysec`, the other thread has it written and
//! reported meanwhile. Syncs that are requested while one runs become one: the next.
//!
//! `Written` is reported before the sync that follows it, though that wakes the event loop once more: reported with
//! it, the writers of that turn would wait for the disk under `everysec`. Of a `Commit`, for which `always` stands, nobody
//! waits for the write: it waits for the sync that runs, so that one thread does both, and only its sync is reported.
//!
//! **Wake-ups.** A queue wakes a thread only if one sleeps, none was woken already, and there is something to do for
//! it; what was queued while it wrote is taken at once. While writes that no sync follows come in quick succession,
//! several of them share one wake-up (`append_pace.rs`). A report wakes the event loop only if it has taken all former ones
//! (`completions.rs`). The threads keep the nice value of the event loop, whose clients wait for them.
//!
//! **Failures.** If a write fails, the file is cut back to the last whole `Write`, and the rest stays in the queue until
//! `Retry`. If even cutting fails, it is done first then: the torn end is never followed by other bytes. A sync that
//! is queued behind is made of what is written, and once more when the rest is. After a failed
//! sync the kernel may have dropped what it could not write, and the next sync says nothing of it, so none is made
//! any more.
//!
//! **The end.** `Close` lets the threads do what is queued, with a last attempt if the file is stuck. When the process
//! exits, [`AppendFiles::finish`] does that for all files and waits, so that nothing is lost that the node gave before,
//! but not for ever: what a disk has not taken within the patience is lost and logged, since a supervisor would kill us
//! anyway, and an operator who replaces a disk wants the process to end.

use std::collections::{BTreeMap, VecDeque};
use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use russet_engine::io::{AppendEvent, AppendStep, Input, JobId};

use crate::append_disk::{self, Disk};
use crate::append_queue::{Item, State, Threads, write_batch};
use crate::completions::{Completion, Reporter};
use crate::log;
use crate::sys::error_text;

/// How long an exit waits for all files together: twice the slowest sync that a disk in trouble is expected to need,
/// and less than the 90 s after which systemd kills.
const EXIT_PATIENCE: Duration = Duration::from_secs(60);

/// The files, owned by the event loop. None is ever given up before its last step, so no event of them can be out of date.
pub struct AppendFiles {
    reporter: Reporter,
    files: BTreeMap<JobId, Arc<Shared>>,
    /// The earliest time at which a thread is to be woken, or an earlier one.
    due_us: Option<u64>,
}

impl AppendFiles {
    /// Creates the set of files, which report to `reporter`.
    pub fn new(reporter: Reporter) -> AppendFiles {
        AppendFiles { reporter, files: BTreeMap::new(), due_us: None }
    }

    /// Queues a step. `now_us`: monotonic microseconds.
    pub fn step(&mut self, job: JobId, step: AppendStep, now_us: u64) {
        match step {
            AppendStep::Open { path, len, sure } => {
                // A relative path is resolved now, before the working directory may change.
                let path = std::path::absolute(&path).unwrap_or_else(|_| PathBuf::from(path));
                self.start(job, path, move |path| Ok((append_disk::open(path, len, sure)?, len)));
            }
            step => {
                // One that could not be opened has reported that.
                if let Some(file) = self.files.get(&job) {
                    file.add(step, now_us);
                    self.due_us = self.due_us.or(file.lock().pace.due_us());
                }
            }
        }
    }

    /// Returns when [`AppendFiles::wake_due`] is to be called at the latest, in monotonic microseconds.
    pub fn due_us(&self) -> Option<u64> {
        self.due_us
    }

    /// Wakes the threads of files whose writes have waited long enough for others.
    pub fn wake_due(&mut self, now_us: u64) {
        if self.due_us.is_none_or(|due_us| due_us > now_us) {
            return;
        }
        self.due_us = None;
        for file in self.files.values() {
            let state = file.lock();
            match state.pace.due_us() {
                Some(due_us) if due_us <= now_us => file.call(state),
                due_us => self.due_us = [self.due_us, due_us].into_iter().flatten().min(),
            }
        }
    }

    /// Starts a file's thread, which opens it and learns where its end is.
    pub(crate) fn start<D: Disk + 'static>(
        &mut self,
        job: JobId,
        path: PathBuf,
        open: impl FnOnce(&Path) -> Result<(D, u64), String> + Send + 'static,
    ) {
        self.files.retain(|_, file| !file.lock().is_over());
        let file = Arc::new(Shared::new(job, path, self.reporter.clone()));
        self.files.insert(job, file.clone());
        let opening = file.clone();
        let started = thread().spawn(move || match open(&opening.path) {
            Ok((disk, len)) => {
                opening.report(opening.lock(), [AppendEvent::Opened]);
                opening.run(&(Arc::new(disk), len));
            }
            Err(why) => opening.give_up(why),
        });
        if let Err(error) = started {
            file.give_up(error_text(&error));
        }
    }

    /// Closes all files and waits until their steps are done, before the process exits.
    pub fn finish(&mut self) {
        self.finish_within(EXIT_PATIENCE);
    }

    pub(crate) fn finish_within(&mut self, patience: Duration) {
        let until = Instant::now().checked_add(patience);
        let files = std::mem::take(&mut self.files);
        files.values().for_each(|file| file.add(AppendStep::Close { seal: Vec::new() }, 0));
        for file in files.values() {
            let rest = until.map_or(patience, |until| until.duration_since(Instant::now()));
            let is_busy = |state: &mut State| !state.is_over();
            let waited = file.ended.wait_timeout_while(file.lock(), rest, is_busy);
            let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
            if !state.is_over() {
                let path = file.path.display();
                let what = if state.is_syncing { "sync" } else { "write" };
                let seconds = patience.as_secs();
                log::warning(&format!(
                    "The disk of '{path}' has not finished the last {what} within {seconds} s: exiting without it."
                ));
            }
        }
    }
}

fn thread() -> std::thread::Builder {
    std::thread::Builder::new().name("russet-aof".into())
}

/// A file that is open, and its length when it was opened.
type Open = (Arc<dyn Disk>, u64);

/// What the event loop and a file's threads share.
struct Shared {
    job: JobId,
    path: PathBuf,
    reporter: Reporter,
    state: Mutex<State>,
    /// A thread is to look for work.
    work: Condvar,
    /// The last thread has ended.
    ended: Condvar,
}

impl Shared {
    fn new(job: JobId, path: PathBuf, reporter: Reporter) -> Shared {
        let state = State::default();
        let state = State { threads: Threads { running: 1, ..state.threads }, ..state };
        let (work, ended) = (Condvar::new(), Condvar::new());
        Shared { job, path, reporter, state: Mutex::new(state), work, ended }
    }

    /// A panic with the lock held has ended the process.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a step other than the first.
    fn add(&self, step: AppendStep, now_us: u64) {
        let mut state = self.lock();
        if state.is_closing {
            return;
        }
        match step {
            AppendStep::Open { .. } => {}
            AppendStep::Write(bytes) => return self.add_write(state, Item::Write(bytes), now_us),
            AppendStep::Commit(bytes) => return self.add_write(state, Item::Commit(bytes), now_us),
            AppendStep::Sync => {
                state.push(Item::Sync);
                state.pass_syncs();
                if state.is_stuck {
                    state.sync_written();
                }
            }
            AppendStep::Retry => state.is_stuck = false,
            AppendStep::Close { seal } => {
                state.is_stuck = false;
                state.is_closing = true;
                if !seal.is_empty() {
                    state.push(Item::Sync);
                    state.seal = seal;
                }
                self.work.notify_all();
            }
        }
        self.call(state);
    }

    fn add_write(&self, mut state: MutexGuard<'_, State>, item: Item, now_us: u64) {
        let is_commit = matches!(item, Item::Commit(_));
        state.push(item);
        if is_commit {
            // What comes during its sync shares the next one.
            return self.call(state);
        }
        if !state.can_write() || !state.threads.can_be_called() {
            // One will look by itself.
            state.pace.awake();
        } else if state.pace.write(now_us) {
            self.call(state);
        }
    }

    /// Wakes a thread up if there is something to do, and none will look anyway; when the state is not locked, since the
    /// thread begins by locking it.
    fn call(&self, mut state: MutexGuard<'_, State>) {
        let is_any = state.can_write() || state.can_sync();
        if is_any && state.threads.can_be_called() {
            state.pace.woken();
            state.threads.is_called = true;
            drop(state);
            self.work.notify_one();
        }
    }

    /// Queues reports while the state is locked, so that they are in the order of its changes, and wakes the event loop
    /// when it is not, since it may add steps at once.
    fn report(&self, state: MutexGuard<'_, State>, events: impl IntoIterator<Item = AppendEvent>) {
        let mut is_any = false;
        for event in events {
            is_any = true;
            self.reporter.queue(Completion::Input(Input::Append { job: self.job, event }));
        }
        drop(state);
        if is_any {
            self.reporter.wake();
        }
    }

    /// Ends a file that cannot be opened.
    fn give_up(&self, why: String) {
        let mut state = self.lock();
        state.queue.clear();
        state.is_closing = true;
        state.threads.running = 0;
        self.ended.notify_all();
        self.report(state, [AppendEvent::OpenFailed(why)]);
    }

    /// The loop of a thread.
    fn run(self: &Arc<Shared>, open: &Open) {
        let mut batch = VecDeque::new();
        loop {
            let mut state = self.lock();
            state.pass_syncs();
            if state.can_sync() {
                self.sync(state, open);
            } else if state.can_write() {
                self.write(state, open, &mut batch);
            } else if state.is_closing {
                if state.threads.running == 1 && state.may_be_sealed() {
                    state = self.seal(state, open);
                }
                state.threads.running -= 1;
                if state.threads.running == 0 {
                    self.ended.notify_all();
                }
                return;
            } else {
                state.threads.asleep += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.threads.asleep -= 1;
                state.threads.is_called = false;
            }
        }
    }

    /// Appends the seal. If that fails, the file is as good as without it.
    fn seal<'s>(
        &'s self,
        mut state: MutexGuard<'s, State>,
        (disk, len): &Open,
    ) -> MutexGuard<'s, State> {
        let seal = std::mem::take(&mut state.seal);
        let end = len + state.written;
        drop(state);
        let (_, error) = append_disk::write_all(disk.as_ref(), &mut [IoSlice::new(&seal)], end);
        let _ = match error {
            None => append_disk::sync(disk.as_ref()),
            Some(_) => disk.cut(end),
        };
        self.lock()
    }

    /// Writes all that is queued.
    fn write(
        &self,
        mut state: MutexGuard<'_, State>,
        (disk, len): &Open,
        batch: &mut VecDeque<Item>,
    ) {
        let is_awaited = state.take(batch);
        state.is_writing = true;
        let (end, is_torn) = (len + state.written, state.is_torn);
        drop(state);

        let outcome = write_batch(disk.as_ref(), batch, end, is_torn);
        let done = batch.drain(..outcome.items);
        let wants_sync = done.filter(Item::is_synced).count() > 0;

        let mut state = self.lock();
        state.is_writing = false;
        state.is_torn = outcome.is_torn;
        state.written += outcome.bytes;
        state.wants_sync |= wants_sync && !state.has_failed_sync;
        let is_awaited = is_awaited || outcome.error.is_some() || state.has_failed_sync;
        let written = if is_awaited { state.report_written() } else { None };
        let failed = outcome.error.map(|error| AppendEvent::WriteFailed(error_text(&error)));
        if failed.is_some() && state.is_closing {
            // This was the last attempt.
            batch.clear();
            state.queue.clear();
        } else if failed.is_some() {
            state.is_stuck = true;
            state.put_back(batch);
            state.sync_written();
        }
        self.report(state, written.into_iter().chain(failed));
    }

    /// Syncs all that is written. Meanwhile another thread writes.
    fn sync(self: &Arc<Shared>, mut state: MutexGuard<'_, State>, open: &Open) {
        let covered = state.written;
        state.wants_sync = false;
        if covered == state.synced {
            return self.report(state, [AppendEvent::Synced(covered)]);
        }
        state.is_syncing = true;
        let is_alone = state.threads.running < 2 && !state.is_closing;
        if is_alone {
            state.threads.running += 1;
            drop(state);
        } else {
            self.call(state);
        }
        if is_alone {
            let (file, open) = (self.clone(), open.clone());
            if thread().spawn(move || file.run(&open)).is_err() {
                // Then writes wait for syncs; the next sync tries again.
                self.lock().threads.running -= 1;
            }
        }

        let result = append_disk::sync(open.0.as_ref());

        let mut state = self.lock();
        state.is_syncing = false;
        match result {
            Ok(()) => {
                state.synced = covered;
                state.reported = state.reported.max(covered);
                self.report(state, [AppendEvent::Synced(covered)]);
            }
            Err(error) => {
                (state.has_failed_sync, state.wants_sync) = (true, false);
                let failed = AppendEvent::SyncFailed(error_text(&error));
                let events = state.report_written().into_iter().chain([failed]);
                self.report(state, events);
            }
        }
    }
}
