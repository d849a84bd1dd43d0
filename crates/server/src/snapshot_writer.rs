//! Threads that encode the chunks of a snapshot into an RDB file, or into bytes for replicas. Each
//! snapshot has its own thread, so that a slow disk does not delay other snapshots.
//!
//! A file is written under a temporary name, synced, renamed, and then its directory is synced:
//! after a crash there is the old file or the new one, complete. Files of the same path are renamed
//! in the order in which they were started: an aborted one, whose thread may notice late, never
//! replaces its successor. [`SnapshotWriter`] also knows which snapshots still run, so that no event of an
//! aborted one reaches the node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use russet_engine::io::{Input, JobId, SnapshotEvent, SnapshotTarget};
use russet_engine::persist::encoder::SnapshotEncoder;
use russet_engine::rdb::RdbSettings;
use russet_engine::rdb::chunk::Chunk;

use rustix::fs::{FlockOperation, flock};

use crate::completions::Reporter;
use crate::log;
use crate::sys;

/// If files are synced as they are written: how much may be unsynced.
const SYNC_WINDOW_BYTES: u64 = 4 << 20;
/// A larger encoding buffer is freed after use.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// Longest time of `rdb-key-save-delay` between two looks whether the snapshot was aborted.
const DELAY_STEP: Duration = Duration::from_millis(5);

/// Nice value of the writing threads.
const NICE: i32 = 10;

/// The running snapshots, owned by the event loop.
pub struct SnapshotWriter {
    reporter: Reporter,
    running: BTreeMap<JobId, Running>,
    /// The thread of the last file of each path.
    last_files: BTreeMap<PathBuf, JoinHandle<()>>,
    temps: Temps,
}

struct Running {
    /// None if the thread could not be started.
    sender: Option<Sender<Work>>,
    aborted: Arc<AtomicBool>,
}

/// The paths of the temporary files that exist, shared with the threads; none when the process
/// exits, from when on no thread creates one.
type Temps = Arc<Mutex<Option<BTreeSet<PathBuf>>>>;

/// A message to the thread; an aborted snapshot gets no more.
enum Work {
    Chunk(Chunk),
    End,
}

/// The temporary and the final path of a file.
struct Files {
    temp: PathBuf,
    path: PathBuf,
}

impl Files {
    fn new(path: &str, job: JobId) -> Files {
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        let temp = path.with_file_name(format!("temp-{}-{}.rdb", std::process::id(), job.0));
        Files { temp, path }
    }
}

impl SnapshotWriter {
    /// Creates a writer that reports to `reporter`.
    pub fn new(reporter: Reporter) -> SnapshotWriter {
        let temps = Arc::new(Mutex::new(Some(BTreeSet::new())));
        let running = BTreeMap::new();
        SnapshotWriter { reporter, running, last_files: BTreeMap::new(), temps }
    }

    /// Starts a snapshot.
    pub fn begin(
        &mut self,
        job: JobId,
        target: SnapshotTarget,
        settings: RdbSettings,
        aux: Vec<(&'static str, String)>,
    ) {
        let files = match target {
            SnapshotTarget::File { path } => Some(Files::new(&path, job)),
            SnapshotTarget::Stream => None,
        };
        let path = files.as_ref().map(|files| files.path.clone());
        self.last_files.retain(|_, thread| !thread.is_finished());
        let aborted = Arc::new(AtomicBool::new(false));
        let begin = Begin {
            job,
            reporter: self.reporter.clone(),
            files,
            settings,
            aux,
            aborted: aborted.clone(),
            temps: self.temps.clone(),
            before: path.as_ref().and_then(|path| self.last_files.remove(path)),
        };
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("russet-rdb".into());
        let sender = match thread.spawn(move || begin.run(receiver)) {
            Ok(thread) => {
                if let Some(path) = path {
                    self.last_files.insert(path, thread);
                }
                Some(sender)
            }
            Err(error) => {
                let event = SnapshotEvent::Failed(sys::error_text(&error));
                self.reporter.input(Input::Snapshot { job, event });
                None
            }
        };
        self.running.insert(job, Running { sender, aborted });
    }

    /// Adds the next chunk of a snapshot.
    pub fn chunk(&mut self, job: JobId, chunk: Chunk) {
        self.send(job, Work::Chunk(chunk));
    }

    /// Ends a snapshot: it has no more chunks.
    pub fn end(&mut self, job: JobId) {
        self.send(job, Work::End);
    }

    /// Aborts a snapshot; its pending chunks are skipped.
    pub fn abort(&mut self, job: JobId) {
        if let Some(running) = self.running.remove(&job) {
            running.aborted.store(true, Ordering::Release);
        }
    }

    /// Aborts all snapshots and removes all temporary files, before the process exits without
    /// waiting for their threads, which may be about to create one or to notice that they were
    /// aborted.
    pub fn abort_all(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.aborted.store(true, Ordering::Release);
        }
        let temps = self.temps.lock().ok().and_then(|mut temps| temps.take());
        for temp in temps.unwrap_or_default() {
            let _ = fs::remove_file(temp);
        }
    }

    /// Whether the node still expects this event; the last event ends the job.
    pub fn admit(&mut self, job: JobId, event: &SnapshotEvent) -> bool {
        match event {
            SnapshotEvent::Consumed(_) | SnapshotEvent::Bytes(_) => self.running.contains_key(&job),
            SnapshotEvent::Done(_) | SnapshotEvent::Failed(_) => {
                self.running.remove(&job).is_some()
            }
        }
    }

    fn send(&mut self, job: JobId, work: Work) {
        if let Some(sender) = self.running.get(&job).and_then(|running| running.sender.as_ref()) {
            // If the thread has failed, it has already reported that.
            let _ = sender.send(work);
        }
    }
}

/// The initial state of a thread.
struct Begin {
    job: JobId,
    reporter: Reporter,
    files: Option<Files>,
    settings: RdbSettings,
    aux: Vec<(&'static str, String)>,
    aborted: Arc<AtomicBool>,
    temps: Temps,
    /// The thread of the previous file of the same path.
    before: Option<JoinHandle<()>>,
}

/// A running snapshot, owned by its thread.
struct Job {
    id: JobId,
    reporter: Reporter,
    encoder: SnapshotEncoder,
    buffer: Vec<u8>,
    total_bytes: u64,
    /// `rdb-key-save-delay`.
    key_delay: i32,
    aborted: Arc<AtomicBool>,
    /// `None`: the bytes go to the node.
    file: Option<TempFile>,
}

impl Begin {
    fn run(mut self, work: Receiver<Work>) {
        // On Linux each thread has its own nice value. Serving clients has priority on a shared
        // core.
        let _ = rustix::process::setpriority_process(None, NICE);
        let before = self.before.take();
        let (reporter, id, aborted) = (self.reporter.clone(), self.job, self.aborted.clone());
        let result = self.start().and_then(|job| job.run(work, before));
        let event = match result {
            Ok(Some(size)) => SnapshotEvent::Done(size),
            Ok(None) => return,
            Err(why) => SnapshotEvent::Failed(why),
        };
        if !aborted.load(Ordering::Acquire) {
            reporter.input(Input::Snapshot { job: id, event });
        }
    }

    fn start(self) -> Result<Job, String> {
        let sync_as_written = self.settings.sync_as_written;
        let create = |files| TempFile::create(files, sync_as_written, self.temps.clone());
        let file = self.files.map(create);
        let file = file.transpose().map_err(|error| {
            format!("Failed opening the temp RDB file for saving: {}", sys::error_text(&error))
        })?;
        let mut job = Job {
            id: self.job,
            reporter: self.reporter,
            key_delay: self.settings.key_delay,
            encoder: SnapshotEncoder::new(self.settings),
            buffer: Vec::new(),
            total_bytes: 0,
            aborted: self.aborted,
            file,
        };
        let aux: Vec<(&str, &[u8])> = self.aux.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
        job.encoder.begin(&aux, &mut job.buffer);
        job.flush()?;
        Ok(job)
    }
}

impl Job {
    /// Encodes chunks until the end and returns the size; none if the snapshot was aborted, whose
    /// temporary file is removed with the job.
    fn run(
        mut self,
        work: Receiver<Work>,
        before: Option<JoinHandle<()>>,
    ) -> Result<Option<u64>, String> {
        for item in work {
            if self.is_aborted() {
                return Ok(None);
            }
            match item {
                Work::Chunk(chunk) => self.chunk(chunk)?,
                Work::End => return self.end(before),
            }
        }
        Ok(None)
    }

    fn is_aborted(&self) -> bool {
        self.aborted.load(Ordering::Acquire)
    }

    fn report(&self, event: SnapshotEvent) {
        self.reporter.input(Input::Snapshot { job: self.id, event });
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), String> {
        let (len, keys) = (chunk.len_bytes() as u64, chunk.entries());
        self.encoder.chunk(&chunk, &mut self.buffer);
        drop(chunk);
        self.delay(keys as u64);
        self.flush()?;
        self.report(SnapshotEvent::Consumed(len));
        Ok(())
    }

    /// Waits after the keys of a chunk, for tests, unless the snapshot is aborted.
    fn delay(&self, keys: u64) {
        let us = match self.key_delay {
            0 => return,
            us @ 1.. => keys.saturating_mul(u64::from(us.unsigned_abs())),
            keys_per_us => keys / u64::from(keys_per_us.unsigned_abs()),
        };
        let mut left = Duration::from_micros(us);
        while !left.is_zero() && !self.is_aborted() {
            let step = left.min(DELAY_STEP);
            std::thread::sleep(step);
            left -= step;
        }
    }

    /// Writes the encoded bytes to the file, or sends them to the node.
    fn flush(&mut self) -> Result<(), String> {
        self.total_bytes += self.buffer.len() as u64;
        let Some(file) = &mut self.file else {
            let bytes = std::mem::take(&mut self.buffer);
            self.report(SnapshotEvent::Bytes(bytes));
            return Ok(());
        };
        let written = file.write(&self.buffer);
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        written.map_err(|error| {
            format!("Write error while saving DB to the disk: {}", sys::error_text(&error))
        })
    }

    fn end(mut self, before: Option<JoinHandle<()>>) -> Result<Option<u64>, String> {
        self.encoder.finish(&mut self.buffer);
        self.flush()?;
        if let Some(mut file) = self.file.take() {
            file.sync()?;
            // The previous file was aborted, or this one would not have been started.
            before.map(JoinHandle::join);
            if self.is_aborted() {
                return Ok(None);
            }
            file.publish()?;
        }
        Ok(Some(self.total_bytes))
    }
}

/// A temporary file, removed when it is dropped unless it was published.
struct TempFile {
    file: File,
    files: Files,
    sync_as_written: bool,
    written: u64,
    /// Offset up to which write-back was started.
    started: u64,
    /// Offset up to which write-back is complete.
    waited: u64,
    published: bool,
    temps: Temps,
}

impl TempFile {
    fn create(files: Files, sync_as_written: bool, temps: Temps) -> io::Result<TempFile> {
        // Held until the file exists: afterwards, an exit removes it.
        let mut lock = temps.lock().map_err(|_| io::Error::other("a thread has crashed"))?;
        let known = lock.as_mut().ok_or_else(|| io::Error::other("the server exits"))?;
        // A crashed process with the same id may have left one. Links are not followed.
        match fs::remove_file(&files.temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o644).open(&files.temp)?;
        // Marks the file as in use for `remove_leftovers` of other servers.
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        known.insert(files.temp.clone());
        drop(lock);
        Ok(TempFile {
            file,
            files,
            sync_as_written,
            written: 0,
            started: 0,
            waited: 0,
            published: false,
            temps,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.sync_as_written && self.written - self.started >= SYNC_WINDOW_BYTES {
            // Starts writing back this window and waits for the previous one, so that the disk
            // works while we encode.
            sys::write_back(self.file.as_fd(), self.started, self.written - self.started, false);
            if self.started > 0 {
                sys::write_back(self.file.as_fd(), self.waited, self.started - self.waited, true);
            }
            self.waited = self.started;
            self.started = self.written;
        }
        Ok(())
    }

    /// Syncs the file to disk.
    fn sync(&mut self) -> Result<(), String> {
        let say =
            |e| format!("Write error while saving DB to the disk(fsync): {}", sys::error_text(&e));
        self.file.sync_all().map_err(say)
    }

    /// Renames the file to its final path.
    fn publish(mut self) -> Result<(), String> {
        let say = |what: &str, error: io::Error| format!("{what}: {}", sys::error_text(&error));
        fs::rename(&self.files.temp, &self.files.path)
            .map_err(|e| say("Error moving temp DB file on the final destination", e))?;
        self.published = true;
        let directory = self.files.path.parent().unwrap_or(Path::new("/"));
        sync_directory(directory).map_err(|e| say("Failed to fsync directory after renaming", e))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.files.temp);
        }
        if let Ok(mut temps) = self.temps.lock()
            && let Some(temps) = &mut *temps
        {
            temps.remove(&self.files.temp);
        }
    }
}

/// Removes temporary files of servers that were killed during a save.
///
/// A server that still writes one holds a lock on it, so those of other running servers stay, also
/// of servers in other PID namespaces.
pub fn remove_leftovers(directory: &Path) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|name| is_temp_name(name)) else { continue };
        let Ok(file) = File::options().write(true).custom_flags(OPEN_FLAGS).open(entry.path())
        else {
            continue;
        };
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
            && fs::remove_file(entry.path()).is_ok()
        {
            log::notice(&format!("Removed the unfinished temporary file '{name}'."));
        }
    }
}

/// Removes the temporary files of this process, before it exits without waiting for their threads.
pub fn remove_own_files(directory: &Path) {
    let own = format!("temp-{}-", std::process::id());
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_temp_name(name) && name.starts_with(&own)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Does not follow links or block on a FIFO.
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// Whether a name is `temp-<pid>-<job>.rdb`; those of Redis have one number.
fn is_temp_name(name: &str) -> bool {
    let numbers = name.strip_prefix("temp-").and_then(|rest| rest.strip_suffix(".rdb"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    numbers
        .and_then(|numbers| numbers.split_once('-'))
        .is_some_and(|(process, job)| is_number(process) && is_number(job))
}

/// Makes a rename in a directory durable. Ignores file systems that do not support this.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory).and_then(|f| f.sync_all()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
#[path = "snapshot_writer_tests.rs"]
mod tests;
