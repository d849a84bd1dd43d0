//! The threads that turn a snapshot's chunks into an RDB file, or into bytes for replicas: one for each snapshot,
//! so that a slow disk under the one doesn't hold up the other.
//!
//! A file is written under a temporary name, synced, renamed, and then its folder is synced: whatever
//! happens, the old file or the new one is there, whole. Files get their names in the order in which they were begun:
//! an abandoned one, whose thread may be late to notice, never takes the place of its successor. The
//! loop's half of this module also knows which snapshots still run, so that no news of an abandoned one reaches the node.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use russet_engine::io::{Input, JobId, SnapshotEvent, SnapshotTarget};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::rdb::RdbSettings;
use russet_engine::rdb::chunk::Chunk;

use rustix::fs::{FlockOperation, flock};

use crate::completions::Reporter;
use crate::log;
use crate::sys;

/// With `rdb-save-incremental-fsync`: how much may wait to reach the disk.
const WINDOW_BYTES: u64 = 4 << 20;
/// An encoding buffer larger than this is not kept.
const BUFFER_KEPT_BYTES: usize = 4 << 20;

/// How much a writing thread stands back for others.
const NICE: i32 = 10;

/// The loop's half.
pub struct SnapshotWriter {
    reporter: Reporter,
    incremental_fsync: bool,
    running: BTreeMap<JobId, Running>,
    /// The thread that writes a file, or wrote the last one.
    last_file: Option<JoinHandle<()>>,
}

struct Running {
    /// None if there could be no thread.
    sender: Option<Sender<Work>>,
    abandoned: Arc<AtomicBool>,
    temp: Option<PathBuf>,
}

/// What the thread is given to do; nothing more comes when the snapshot is abandoned.
enum Work {
    Chunk(Chunk),
    End,
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
    /// A writer that reports there.
    pub fn new(reporter: Reporter, incremental_fsync: bool) -> SnapshotWriter {
        SnapshotWriter { reporter, incremental_fsync, running: BTreeMap::new(), last_file: None }
    }

    /// `rdb-save-incremental-fsync`, for files that are begun from now on.
    pub fn set_incremental_fsync(&mut self, wanted: bool) {
        self.incremental_fsync = wanted;
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
        let temp = files.as_ref().map(|f| f.temp.clone());
        let is_file = files.is_some();
        let abandoned = Arc::new(AtomicBool::new(false));
        let begin = Begin {
            job,
            reporter: self.reporter.clone(),
            files,
            incremental_fsync: self.incremental_fsync,
            settings,
            aux,
            abandoned: abandoned.clone(),
            before: if is_file { self.last_file.take() } else { None },
        };
        let (sender, receiver) = channel();
        let thread = std::thread::Builder::new().name("russet-rdb".into());
        let sender = match thread.spawn(move || begin.run(receiver)) {
            Ok(thread) => {
                if is_file {
                    self.last_file = Some(thread);
                }
                Some(sender)
            }
            Err(error) => {
                let event = SnapshotEvent::Failed(sys::error_text(&error));
                self.reporter.input(Input::Snapshot { job, event });
                None
            }
        };
        self.running.insert(job, Running { sender, abandoned, temp });
    }

    /// The next part of a snapshot.
    pub fn chunk(&mut self, job: JobId, chunk: Chunk) {
        self.send(job, Work::Chunk(chunk));
    }

    /// All parts were given.
    pub fn end(&mut self, job: JobId) {
        self.send(job, Work::End);
    }

    /// Forgets a snapshot; what of it waits for the thread is skipped.
    pub fn abort(&mut self, job: JobId) {
        if let Some(running) = self.running.remove(&job) {
            running.abandoned.store(true, Ordering::Release);
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

    fn send(&mut self, job: JobId, work: Work) {
        if let Some(sender) = self.running.get(&job).and_then(|running| running.sender.as_ref()) {
            // The thread may have failed and gone; it has said so.
            let _ = sender.send(work);
        }
    }
}

/// What a thread is started with.
struct Begin {
    job: JobId,
    reporter: Reporter,
    files: Option<Files>,
    incremental_fsync: bool,
    settings: RdbSettings,
    aux: Vec<(&'static str, String)>,
    abandoned: Arc<AtomicBool>,
    /// Who writes the file before this one, if this is one.
    before: Option<JoinHandle<()>>,
}

/// The thread's half.
struct Job {
    id: JobId,
    reporter: Reporter,
    encoder: RdbEncoder,
    buffer: Vec<u8>,
    total_bytes: u64,
    abandoned: Arc<AtomicBool>,
    /// `None`: the bytes go to the node.
    file: Option<TempFile>,
}

impl Begin {
    fn run(mut self, work: Receiver<Work>) {
        // On Linux each thread has its own. Whoever serves clients comes first where both want the same core.
        let _ = rustix::process::setpriority_process(None, NICE);
        let before = self.before.take();
        let (reporter, id, abandoned) = (self.reporter.clone(), self.job, self.abandoned.clone());
        let result = self.start().and_then(|job| job.run(work, before));
        let event = match result {
            Ok(Some(size)) => SnapshotEvent::Done(size),
            Ok(None) => return,
            Err(why) => SnapshotEvent::Failed(why),
        };
        if !abandoned.load(Ordering::Acquire) {
            reporter.input(Input::Snapshot { job: id, event });
        }
    }

    fn start(self) -> Result<Job, String> {
        let file = self.files.map(|files| TempFile::create(files, self.incremental_fsync));
        let file = file.transpose().map_err(|error| {
            format!("Failed opening the temp RDB file for saving: {}", sys::error_text(&error))
        })?;
        let mut job = Job {
            id: self.job,
            reporter: self.reporter,
            encoder: RdbEncoder::new(self.settings),
            buffer: Vec::new(),
            total_bytes: 0,
            abandoned: self.abandoned,
            file,
        };
        let aux: Vec<(&str, &[u8])> = self.aux.iter().map(|(k, v)| (*k, v.as_bytes())).collect();
        job.encoder.begin(&aux, &mut job.buffer);
        job.push_out()?;
        Ok(job)
    }
}

impl Job {
    /// Encodes all that comes. The size at the end; none if the snapshot was abandoned, whose temporary file
    /// goes with the job.
    fn run(
        mut self,
        work: Receiver<Work>,
        before: Option<JoinHandle<()>>,
    ) -> Result<Option<u64>, String> {
        for item in work {
            if self.is_abandoned() {
                return Ok(None);
            }
            match item {
                Work::Chunk(chunk) => self.chunk(chunk)?,
                Work::End => return self.end(before),
            }
        }
        Ok(None)
    }

    fn is_abandoned(&self) -> bool {
        self.abandoned.load(Ordering::Acquire)
    }

    fn report(&self, event: SnapshotEvent) {
        self.reporter.input(Input::Snapshot { job: self.id, event });
    }

    fn chunk(&mut self, chunk: Chunk) -> Result<(), String> {
        let len = chunk.len_bytes() as u64;
        self.encoder.chunk(&chunk, &mut self.buffer);
        drop(chunk);
        self.push_out()?;
        self.report(SnapshotEvent::Consumed(len));
        Ok(())
    }

    /// Writes or sends what was encoded.
    fn push_out(&mut self) -> Result<(), String> {
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
        self.push_out()?;
        if let Some(mut file) = self.file.take() {
            file.sync()?;
            // Its end was abandoned, or this one would not have begun.
            before.map(JoinHandle::join);
            if self.is_abandoned() {
                return Ok(None);
            }
            file.publish()?;
        }
        Ok(Some(self.total_bytes))
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

    /// Makes what was written durable.
    fn sync(&mut self) -> Result<(), String> {
        let say =
            |e| format!("Write error while saving DB to the disk(fsync): {}", sys::error_text(&e));
        self.file.sync_all().map_err(say)
    }

    /// Gives it its name.
    fn publish(mut self) -> Result<(), String> {
        let say = |what: &str, error: io::Error| format!("{what}: {}", sys::error_text(&error));
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
    use russet_engine::rdb::chunk::ChunkValue;
    use russet_engine::types::string::KIND_RAW;

    const JOB: JobId = JobId(5);

    fn chunk(keys: usize) -> Chunk {
        let mut chunk = Chunk::new(0, 1024);
        for i in 0..keys {
            let key = format!("key{i}");
            chunk.push(KIND_RAW, key.as_bytes(), None, ChunkValue::Bytes(b"v"));
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
        // Its successor gets its name after the thread of the abandoned one has ended.
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

    #[test]
    fn a_file_that_cannot_go_on_holds_up_no_stream() {
        let dir = crate::testing::folder("snapshot-slow-disk");
        // The disk is slow in the shape of a thread before it that does not end.
        let (hold, held) = channel::<()>();
        let (completions, mut writer) = writer();
        writer.last_file = Some(std::thread::spawn(move || held.iter().for_each(drop)));
        let path = dir.path().join("dump.rdb");
        let target = SnapshotTarget::File { path: path.to_str().unwrap().into() };
        writer.begin(JobId(1), target, RdbSettings::default(), vec![]);
        writer.end(JobId(1));
        writer.begin(JOB, SnapshotTarget::Stream, RdbSettings::default(), vec![]);
        writer.chunk(JOB, chunk(3));
        writer.end(JOB);
        assert!(matches!(until_end(&completions).last(), Some(SnapshotEvent::Done(_))));
        assert!(!path.exists());
        drop(hold);
        writer.last_file.take().unwrap().join().unwrap();
        assert!(path.exists());
    }
}
