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
//! it, the writers of that turn would wait for the disk under `everysec`.
//!
//! **Wake-ups.** A queue wakes a thread only if one sleeps, none was woken already, and there is something to do for
//! it; what was queued while it wrote is taken at once. A report wakes the event loop only if it has taken all former
//! ones (`completions.rs`). So under load a turn costs one wake-up in either direction, however many clients wrote in it.
//! The threads keep the nice value of the event loop, whose clients wait for them.
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
}

impl AppendFiles {
    /// Creates the set of files, which report to `reporter`.
    pub fn new(reporter: Reporter) -> AppendFiles {
        AppendFiles { reporter, files: BTreeMap::new() }
    }

    /// Queues a step.
    pub fn step(&mut self, job: JobId, step: AppendStep) {
        match step {
            AppendStep::Open { path, len, sure } => {
                // A relative path is resolved now, before the working directory may change.
                let path = std::path::absolute(&path).unwrap_or_else(|_| PathBuf::from(path));
                self.start(job, path, move |path| Ok((append_disk::open(path, len, sure)?, len)));
            }
            step => {
                // One that could not be opened has reported that.
                if let Some(file) = self.files.get(&job) {
                    file.add(step);
                }
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
        files.values().for_each(|file| file.add(AppendStep::Close { seal: Vec::new() }));
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

/// What is to be done with a file, and who does it.
#[derive(Default)]
struct State {
    /// What was not written, in order.
    queue: VecDeque<Item>,
    /// Bytes written since the file was opened: its length in whole `Write`s.
    written: u64,
    /// Bytes of those that are on disk.
    synced: u64,
    is_writing: bool,
    is_syncing: bool,
    /// Everything written is to be synced.
    wants_sync: bool,
    /// A sync has failed: there is none any more.
    has_failed_sync: bool,
    /// A write has failed: the queue waits for a retry.
    is_stuck: bool,
    /// There may be a part of a write behind the file's end, which could not be cut off.
    is_torn: bool,
    /// No further step comes.
    is_closing: bool,
    /// What the file ends with if all of it is on disk.
    seal: Vec<u8>,
    threads: Threads,
}

/// The threads of a file.
#[derive(Default)]
struct Threads {
    running: usize,
    asleep: usize,
    /// One was woken and has not looked yet.
    is_called: bool,
}

/// A step that waits for those before it.
enum Item {
    Write(Vec<u8>),
    Sync,
}

impl Item {
    fn bytes(&self) -> &[u8] {
        match self {
            Item::Write(bytes) => bytes,
            Item::Sync => &[],
        }
    }
}

impl State {
    fn can_write(&self) -> bool {
        !self.queue.is_empty() && !self.is_writing && !self.is_stuck
    }

    fn can_sync(&self) -> bool {
        self.wants_sync && !self.is_syncing
    }

    /// Has a sync that waits behind a failed write cover what was written: it cannot wait until there is space again.
    fn sync_written(&mut self) {
        let is_any = self.queue.iter().any(|item| matches!(item, Item::Sync));
        self.wants_sync |= is_any && !self.has_failed_sync && self.synced < self.written;
    }

    /// Takes the syncs that wait for no write.
    fn pass_syncs(&mut self) {
        while !self.is_writing && matches!(self.queue.front(), Some(Item::Sync)) {
            self.queue.pop_front();
            self.wants_sync |= !self.has_failed_sync;
        }
    }

    /// Whether everything is on disk and the file has yet to say so.
    fn may_be_sealed(&self) -> bool {
        !self.seal.is_empty() && self.synced == self.written && !self.has_failed_sync
    }

    /// Whether no thread has anything left to do.
    fn is_over(&self) -> bool {
        self.is_closing && self.threads.running == 0
    }
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
    fn add(&self, step: AppendStep) {
        let mut state = self.lock();
        if state.is_closing {
            return;
        }
        match step {
            AppendStep::Open { .. } => {}
            AppendStep::Write(bytes) => state.queue.push_back(Item::Write(bytes)),
            AppendStep::Sync => {
                state.queue.push_back(Item::Sync);
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
                    state.queue.push_back(Item::Sync);
                    state.seal = seal;
                }
                self.work.notify_all();
            }
        }
        self.call(&mut state);
    }

    /// Wakes a thread up if there is something to do, and none will look anyway.
    fn call(&self, state: &mut State) {
        let is_any = state.can_write() || state.can_sync();
        if is_any && state.threads.asleep > 0 && !state.threads.is_called {
            state.threads.is_called = true;
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
        std::mem::swap(&mut state.queue, batch);
        state.is_writing = true;
        let (end, is_torn) = (len + state.written, state.is_torn);
        drop(state);

        let outcome = write_batch(disk.as_ref(), batch, end, is_torn);
        let wants_sync = batch.drain(..outcome.items).filter(|i| matches!(i, Item::Sync)).count();

        let mut state = self.lock();
        state.is_writing = false;
        state.is_torn = outcome.is_torn;
        state.written += outcome.bytes;
        state.wants_sync |= wants_sync > 0 && !state.has_failed_sync;
        let written = (outcome.bytes > 0).then_some(AppendEvent::Written(state.written));
        let failed = outcome.error.map(|error| AppendEvent::WriteFailed(error_text(&error)));
        if failed.is_some() && state.is_closing {
            // This was the last attempt.
            batch.clear();
            state.queue.clear();
        } else if failed.is_some() {
            state.is_stuck = true;
            while let Some(item) = batch.pop_back() {
                state.queue.push_front(item);
            }
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
        } else {
            self.call(&mut state);
        }
        drop(state);
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
        let event = match result {
            Ok(()) => {
                state.synced = covered;
                AppendEvent::Synced(covered)
            }
            Err(error) => {
                state.has_failed_sync = true;
                state.wants_sync = false;
                AppendEvent::SyncFailed(error_text(&error))
            }
        };
        self.report(state, [event]);
    }
}

/// What has become of a batch.
struct Outcome {
    /// Steps done, from the first on.
    items: usize,
    /// Bytes of those.
    bytes: u64,
    /// Why the others were not.
    error: Option<std::io::Error>,
    /// There may be a part of the next one in the file.
    is_torn: bool,
}

/// Writes a batch at the end of a file. If that fails, whole steps stay in the file and nothing else.
fn write_batch(disk: &dyn Disk, batch: &VecDeque<Item>, end: u64, is_torn: bool) -> Outcome {
    if is_torn && let Err(error) = disk.cut(end) {
        return Outcome { items: 0, bytes: 0, error: Some(error), is_torn };
    }
    // The kernel would take no bytes of empty buffers, as of a file that takes no more.
    let bytes = batch.iter().map(Item::bytes).filter(|bytes| !bytes.is_empty());
    let mut slices: Vec<IoSlice<'_>> = bytes.map(IoSlice::new).collect();
    let (written, error) = append_disk::write_all(disk, &mut slices, end);
    if error.is_none() {
        return Outcome { items: batch.len(), bytes: written, error, is_torn: false };
    }
    let (mut items, mut bytes) = (0, 0);
    for item in batch {
        let behind = bytes + item.bytes().len() as u64;
        if behind > written {
            break;
        }
        (items, bytes) = (items + 1, behind);
    }
    let is_torn = disk.cut(end + bytes).is_err();
    Outcome { items, bytes, error, is_torn }
}
