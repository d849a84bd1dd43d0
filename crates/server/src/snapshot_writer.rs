//! The thread that turns a snapshot's chunks into an RDB file, or into bytes for replicas.
//!
//! A file is written under a temporary name, synced, renamed, and then its folder is synced: whatever
//! happens, the old file or the new one is there, whole. The loop's half of this module also knows
//! which snapshots still run, so that no news of an abandoned one reaches the node.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use russet_engine::io::{Input, JobId, SnapshotEvent, SnapshotTarget};
use russet_engine::persist::chunk::Chunk;
use russet_engine::persist::rdb_save::{RdbEncoder, RdbSettings};

use rustix::fs::{FlockOperation, flock};

use crate::completions::Reporter;
use crate::log;
use crate::sys;

/// With `rdb-save-incremental-fsync`: how much may wait to reach the disk.
const WINDOW_BYTES: u64 = 4 << 20;
/// An encoding buffer larger than this is not kept.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// The loop's half.
pub struct SnapshotWriter {
    reporter: Reporter,
    incremental_fsync: bool,
    sender: Option<Sender<Work>>,
    running: BTreeMap<JobId, Running>,
}

struct Running {
    abandoned: Arc<AtomicBool>,
    temp: Option<PathBuf>,
}

enum Work {
    Begin(Box<Begin>),
    Chunk(JobId, Chunk),
    End(JobId),
    Abort(JobId),
}

struct Begin {
    job: JobId,
    files: Option<Files>,
    settings: RdbSettings,
    aux: Vec<(&'static str, String)>,
    abandoned: Arc<AtomicBool>,
}

/// Where a file is written and what it is called at last.
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
    /// A writer that reports there. Its thread starts with the first snapshot.
    pub fn new(reporter: Reporter, incremental_fsync: bool) -> SnapshotWriter {
        SnapshotWriter { reporter, incremental_fsync, sender: None, running: BTreeMap::new() }
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
        let abandoned = Arc::new(AtomicBool::new(false));
        let temp = files.as_ref().map(|f| f.temp.clone());
        self.running.insert(job, Running { abandoned: abandoned.clone(), temp });
        self.send(Work::Begin(Box::new(Begin { job, files, settings, aux, abandoned })), job);
    }

    /// The next part of a snapshot.
    pub fn chunk(&mut self, job: JobId, chunk: Chunk) {
        self.send(Work::Chunk(job, chunk), job);
    }

    /// All parts were given.
    pub fn end(&mut self, job: JobId) {
        self.send(Work::End(job), job);
    }

    /// Forgets a snapshot; what of it waits for the thread is skipped.
    pub fn abort(&mut self, job: JobId) {
        if let Some(running) = self.running.remove(&job) {
            running.abandoned.store(true, Ordering::Release);
            self.send(Work::Abort(job), job);
        }
    }

    /// Removes the temporary files of all that runs: the process ends.
    pub fn abandon_all(&mut self) {
        for running in std::mem::take(&mut self.running).into_values() {
            running.abandoned.store(true, Ordering::Release);
            running.temp.map(fs::remove_file);
        }
    }

    /// Whether an event may still be given to the node; the last event ends the job.
    pub fn admit(&mut self, job: JobId, event: &SnapshotEvent) -> bool {
        match event {
            SnapshotEvent::Consumed(_) | SnapshotEvent::Bytes(_) => self.running.contains_key(&job),
            SnapshotEvent::Done(_) | SnapshotEvent::Failed(_) => {
                self.running.remove(&job).is_some()
            }
        }
    }

    fn send(&mut self, work: Work, job: JobId) {
        if self.sender.is_none() {
            let (sender, receiver) = channel();
            let worker = Worker::new(self.reporter.clone(), self.incremental_fsync);
            let thread = std::thread::Builder::new().name("russet-rdb".into());
            match thread.spawn(move || worker.run(receiver)) {
                Ok(_) => self.sender = Some(sender),
                Err(error) => {
                    let event = SnapshotEvent::Failed(sys::error_text(&error));
                    return self.reporter.input(Input::Snapshot { job, event });
                }
            }
        }
        if let Some(sender) = &self.sender {
            // The thread lives as long as this sender.
            let _ = sender.send(work);
        }
    }
}

/// The thread's half.
struct Worker {
    reporter: Reporter,
    incremental_fsync: bool,
    jobs: BTreeMap<JobId, Job>,
}

struct Job {
    encoder: RdbEncoder,
    buffer: Vec<u8>,
    total_bytes: u64,
    abandoned: Arc<AtomicBool>,
    /// `None`: the bytes go to the node.
    file: Option<TempFile>,
}

impl Worker {
    fn new(reporter: Reporter, incremental_fsync: bool) -> Worker {
        Worker { reporter, incremental_fsync, jobs: BTreeMap::new() }
    }

    fn run(mut self, work: Receiver<Work>) {
        for item in work {
            match item {
                Work::Begin(begin) => self.begin(*begin),
                Work::Chunk(job, chunk) => self.chunk(job, chunk),
                Work::End(job) => self.end(job),
                // Dropping it removes the temporary file.
                Work::Abort(job) => drop(self.jobs.remove(&job)),
            }
        }
    }

    fn report(&self, job: JobId, event: SnapshotEvent) {
        self.reporter.input(Input::Snapshot { job, event });
    }

    fn begin(&mut self, begin: Begin) {
        let Begin { job, files, settings, aux, abandoned } = begin;
        let file = match files.map(|f| TempFile::create(f, self.incremental_fsync)).transpose() {
            Ok(file) => file,
            Err(error) => {
                let why = format!(
                    "Failed opening the temp RDB file for saving: {}",
                    sys::error_text(&error)
                );
                return self.report(job, SnapshotEvent::Failed(why));
            }
        };
        let mut encoder = RdbEncoder::new(settings);
        let mut buffer = Vec::new();
        let aux: Vec<(&str, &[u8])> = aux.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
        encoder.begin(&aux, &mut buffer);
        self.jobs.insert(job, Job { encoder, buffer, total_bytes: 0, abandoned, file });
        self.push_out(job);
    }

    fn chunk(&mut self, id: JobId, chunk: Chunk) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.abandoned.load(Ordering::Acquire) {
            return;
        }
        let len = chunk.len_bytes() as u64;
        job.encoder.chunk(&chunk, &mut job.buffer);
        drop(chunk);
        if self.push_out(id) {
            self.report(id, SnapshotEvent::Consumed(len));
        }
    }

    /// Writes or sends what was encoded; false: that failed, and with it the snapshot.
    fn push_out(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        job.total_bytes += job.buffer.len() as u64;
        let Some(file) = &mut job.file else {
            let bytes = std::mem::take(&mut job.buffer);
            self.report(id, SnapshotEvent::Bytes(bytes));
            return true;
        };
        let written = file.write(&job.buffer);
        job.buffer.clear();
        if job.buffer.capacity() > BUFFER_KEPT_BYTES {
            job.buffer = Vec::new();
        }
        if let Err(error) = written {
            let why = sys::error_text(&error);
            self.fail(id, format!("Write error while saving DB to the disk: {why}"));
            return false;
        }
        true
    }

    fn end(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.encoder.finish(&mut job.buffer);
        if !self.push_out(id) {
            return;
        }
        let Some(job) = self.jobs.remove(&id) else { return };
        if job.abandoned.load(Ordering::Acquire) {
            return;
        }
        match job.file.map_or(Ok(()), TempFile::publish) {
            Ok(()) => self.report(id, SnapshotEvent::Done(job.total_bytes)),
            Err(why) => self.report(id, SnapshotEvent::Failed(why)),
        }
    }

    fn fail(&mut self, id: JobId, why: String) {
        self.jobs.remove(&id);
        self.report(id, SnapshotEvent::Failed(why));
    }
}

/// A file under its temporary name; dropping it removes it.
struct TempFile {
    file: File,
    files: Files,
    incremental_fsync: bool,
    written: u64,
    /// Up to here the kernel was told to write back.
    started: u64,
    /// Up to here it has.
    waited: u64,
    published: bool,
}

impl TempFile {
    fn create(files: Files, incremental_fsync: bool) -> io::Result<TempFile> {
        // A process with this number may have crashed here; nobody else's file or link is followed.
        match fs::remove_file(&files.temp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = File::options().write(true).create_new(true).mode(0o644).open(&files.temp)?;
        // Tells others that somebody lives who will rename or remove it (see `remove_leftovers`).
        let _ = flock(&file, FlockOperation::NonBlockingLockExclusive);
        Ok(TempFile {
            file,
            files,
            incremental_fsync,
            written: 0,
            started: 0,
            waited: 0,
            published: false,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.written += bytes.len() as u64;
        if self.incremental_fsync && self.written - self.started >= WINDOW_BYTES {
            // Starts this window and waits for the one before, so the disk works while we encode.
            sys::write_back(self.file.as_fd(), self.started, self.written - self.started, false);
            if self.started > 0 {
                sys::write_back(self.file.as_fd(), self.waited, self.started - self.waited, true);
            }
            self.waited = self.started;
            self.started = self.written;
        }
        Ok(())
    }

    /// Makes it durable and gives it its name.
    fn publish(mut self) -> Result<(), String> {
        let say = |what: &str, error: io::Error| format!("{what}: {}", sys::error_text(&error));
        self.file
            .sync_all()
            .map_err(|e| say("Write error while saving DB to the disk(fsync)", e))?;
        fs::rename(&self.files.temp, &self.files.path)
            .map_err(|e| say("Error moving temp DB file on the final destination", e))?;
        self.published = true;
        let folder = self.files.path.parent().unwrap_or(Path::new("/"));
        sync_folder(folder).map_err(|e| say("Failed to fsync directory after renaming", e))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.published {
            let _ = fs::remove_file(&self.files.temp);
        }
    }
}

/// Removes the temporary files of servers that were killed while they wrote them.
///
/// Whoever still writes one holds a lock on it, which ends with its process, so that another server in the
/// same folder keeps its own, also one whose process ids mean nothing here.
pub fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
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
            log::notice(&format!("Removed '{name}', which a server did not finish."));
        }
    }
}

/// Removes the temporary files of this process, which ends without the threads that write them.
pub fn remove_own_files(folder: &Path) {
    let own = format!("temp-{}-", std::process::id());
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| is_temp_name(name) && name.starts_with(&own)) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Neither follows a link nor waits for a FIFO's reader.
const OPEN_FLAGS: i32 = libc::O_NOFOLLOW | libc::O_NONBLOCK;

/// `temp-<process>-<job>.rdb`; Redis' own have one number.
fn is_temp_name(name: &str) -> bool {
    let numbers = name.strip_prefix("temp-").and_then(|rest| rest.strip_suffix(".rdb"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    numbers
        .and_then(|numbers| numbers.split_once('-'))
        .is_some_and(|(process, job)| is_number(process) && is_number(job))
}

/// Makes a rename in a folder durable. Some file systems know no such thing, and say so.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder).and_then(|f| f.sync_all()) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::completions::{Completion, Completions};
    use russet_engine::persist::chunk::{ChunkValue, Kind};

    const JOB: JobId = JobId(5);

    fn chunk(keys: usize) -> Chunk {
        let mut chunk = Chunk::new(0, 1024);
        for i in 0..keys {
            chunk.push(Kind::String, format!("key{i}").as_bytes(), None, ChunkValue::Bytes(b"v"));
        }
        chunk
    }

    fn writer() -> (Completions, SnapshotWriter) {
        let completions = Completions::new().unwrap();
        let writer = SnapshotWriter::new(completions.reporter(), true);
        (completions, writer)
    }

    /// All events up to the last one of the job.
    fn until_end(completions: &Completions) -> Vec<SnapshotEvent> {
        let mut events = Vec::new();
        while !matches!(events.last(), Some(SnapshotEvent::Done(_) | SnapshotEvent::Failed(_))) {
            let fd = completions.fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
            events.extend(completions.take().map(|c| match c {
                Completion::Input(Input::Snapshot { job: JOB, event }) => event,
                other => panic!("unexpected {other:?}"),
            }));
        }
        events
    }

    #[test]
    fn a_file_appears_whole_under_its_name() {
        let dir = crate::testing::folder("snapshot-file");
        let path = dir.path().join("dump.rdb");
        let (completions, mut writer) = writer();
        let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
        writer.begin(JOB, target, RdbSettings::default(), vec![("redis-ver", "7.2.4".into())]);
        let len = chunk(9).len_bytes() as u64;
        writer.chunk(JOB, chunk(9));
        writer.end(JOB);
        let events = until_end(&completions);
        let [SnapshotEvent::Consumed(n), SnapshotEvent::Done(size)] = events[..] else {
            panic!("{events:?}")
        };
        assert_eq!(n, len);
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.starts_with(b"REDIS00"));
        assert_eq!(bytes.len() as u64, size);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(writer.admit(JOB, &events[1]) && !writer.admit(JOB, &events[1]));
    }

    #[test]
    fn a_stream_carries_the_same_bytes_as_a_file() {
        let (completions, mut writer) = writer();
        writer.begin(JOB, SnapshotTarget::Stream, RdbSettings::default(), vec![]);
        writer.chunk(JOB, chunk(3));
        writer.end(JOB);
        let mut bytes = Vec::new();
        let events = until_end(&completions);
        for event in &events {
            if let SnapshotEvent::Bytes(part) = event {
                bytes.extend_from_slice(part);
            }
        }
        assert!(matches!(events.last(), Some(SnapshotEvent::Done(n)) if *n == bytes.len() as u64));
        assert!(bytes.starts_with(b"REDIS00"));
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_so() {
        let (completions, mut writer) = writer();
        let target = SnapshotTarget::File { path: "/nonexistent/dump.rdb".into() };
        writer.begin(JOB, target, RdbSettings::default(), vec![]);
        writer.chunk(JOB, chunk(1));
        let events = until_end(&completions);
        let [SnapshotEvent::Failed(why)] = &events[..] else { panic!("{events:?}") };
        assert!(why.ends_with(": No such file or directory"), "{why}");
    }

    #[test]
    fn only_files_that_nobody_writes_any_more_are_removed() {
        let dir = crate::testing::folder("leftovers");
        let names = ["temp-12-3.rdb", "temp-12.rdb", "temp-x-1.rdb", "dump.rdb"];
        for name in names {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let path = dir.path().join("other.rdb");
        let files = Files::new(path.to_str().unwrap(), JobId(77));
        let temp = files.temp.clone();
        let living = TempFile::create(files, false).unwrap();
        remove_leftovers(dir.path());
        let left = |name: &str| dir.path().join(name).exists();
        assert_eq!(names.map(left), [false, true, true, true]);
        assert!(temp.exists());
        living.publish().unwrap();
        assert!(path.exists());
    }

    #[test]
    fn nothing_is_left_of_an_abandoned_file() {
        let dir = crate::testing::folder("snapshot-abort");
        let path = dir.path().join("dump.rdb");
        let (completions, mut writer) = writer();
        let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
        writer.begin(JobId(1), target.clone(), RdbSettings::default(), vec![]);
        writer.chunk(JobId(1), chunk(1));
        writer.abort(JobId(1));
        assert!(!writer.admit(JobId(1), &SnapshotEvent::Consumed(1)));
        // The thread takes its work in order: when this one is done, the other is gone.
        writer.begin(JOB, target, RdbSettings::default(), vec![]);
        writer.end(JOB);
        while !completions.take().any(|c| {
            matches!(c, Completion::Input(Input::Snapshot { event: SnapshotEvent::Done(_), .. }))
        }) {
            let fd = completions.fd();
            poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        }
        let names: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["dump.rdb"]);
    }
}
