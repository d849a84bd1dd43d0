//! Reads files for the node, each on its own thread, with a bounded read-ahead.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};

use russet_engine::io::{FileEvent, Input, JobId};

use crate::completions::Reporter;
use crate::sys::error_text;

/// Bytes read at once.
const BLOCK_BYTES: usize = 256 * 1024;
/// Blocks read ahead of the node.
const BLOCKS_AHEAD: usize = 4;

/// The files being read.
pub struct FileReader {
    reporter: Reporter,
    jobs: BTreeMap<JobId, Job>,
}

/// A file being read.
struct Job {
    /// Allows one more block.
    credits: Sender<()>,
}

impl FileReader {
    /// Creates a reader that reports to `reporter`.
    pub fn new(reporter: Reporter) -> FileReader {
        FileReader { reporter, jobs: BTreeMap::new() }
    }

    /// Starts reading a file. A relative path is resolved now, before the working directory may
    /// change.
    pub fn read(&mut self, job: JobId, path: &str) {
        let path = std::path::absolute(path).unwrap_or_else(|_| PathBuf::from(path));
        let (sender, credits) = channel();
        self.jobs.insert(job, Job { credits: sender });
        let reporter = self.reporter.clone();
        let work = Work { job, reporter: reporter.clone(), credits };
        let thread = std::thread::Builder::new().name("russet-read".into());
        if let Err(error) = thread.spawn(move || work.run(&path)) {
            let event = FileEvent::Failed(error_text(&error));
            reporter.input(Input::File { job, event });
        }
    }

    /// Notes that the node has consumed a block.
    pub fn more(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get(&job) {
            let _ = job.credits.send(());
        }
    }

    /// Stops reading a file.
    pub fn stop(&mut self, job: JobId) {
        self.jobs.remove(&job);
    }

    /// Whether the node still expects this event; the last event ends the job.
    pub fn admit(&mut self, job: JobId, event: &FileEvent) -> bool {
        match event {
            FileEvent::Opened(_) | FileEvent::Bytes(_) => self.jobs.contains_key(&job),
            FileEvent::End | FileEvent::Missing | FileEvent::Failed(_) => {
                self.jobs.remove(&job).is_some()
            }
        }
    }
}

/// The reading thread. It ends at the end of the file, or when the sender of its credits is
/// dropped.
struct Work {
    job: JobId,
    reporter: Reporter,
    credits: Receiver<()>,
}

struct Stopped;

impl Work {
    fn run(self, path: &std::path::Path) {
        let last = match self.deliver(path) {
            Ok(Err(Stopped)) => return,
            Ok(Ok(())) => FileEvent::End,
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileEvent::Missing,
            Err(error) => FileEvent::Failed(error_text(&error)),
        };
        self.report(last);
    }

    fn report(&self, event: FileEvent) {
        self.reporter.input(Input::File { job: self.job, event });
    }

    fn deliver(&self, path: &std::path::Path) -> io::Result<Result<(), Stopped>> {
        // Without O_NONBLOCK, opening a FIFO waits for a writer.
        let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let about = file.metadata()?;
        if !about.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        self.report(FileEvent::Opened(about.len()));
        let mut ahead = 0;
        loop {
            if !self.take_credits(&mut ahead) {
                return Ok(Err(Stopped));
            }
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            (&mut file).take(BLOCK_BYTES as u64).read_to_end(&mut block)?;
            if block.is_empty() {
                return Ok(Ok(()));
            }
            ahead += 1;
            self.report(FileEvent::Bytes(block));
        }
    }

    /// Waits while the read-ahead is exhausted; returns false to stop.
    fn take_credits(&self, ahead: &mut usize) -> bool {
        loop {
            match self.credits.try_recv() {
                Ok(()) => *ahead = ahead.saturating_sub(1),
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) if *ahead < BLOCKS_AHEAD => return true,
                Err(TryRecvError::Empty) => match self.credits.recv() {
                    Ok(()) => *ahead = ahead.saturating_sub(1),
                    Err(_) => return false,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;
    use crate::completions::{Completion, Completions};

    /// Waits for the next events.
    fn events(completions: &Completions) -> Vec<FileEvent> {
        let fd = completions.fd();
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        completions
            .take()
            .map(|c| match c {
                Completion::Input(Input::File { job: JobId(3), event }) => event,
                other => panic!("unexpected {other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_file_is_delivered_whole_with_bounded_read_ahead() {
        let dir = crate::testing::directory("file-reader");
        let path = dir.path().join("data");
        let bytes: Vec<u8> = (0..12 * BLOCK_BYTES + 5).map(|i| (i / 1000) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let completions = Completions::new().unwrap();
        let mut reader = FileReader::new(completions.reporter());
        reader.read(JobId(3), path.to_str().unwrap());
        let (mut got, mut undigested, mut opened) = (Vec::new(), 0, false);
        'all: loop {
            for event in events(&completions) {
                assert!(reader.admit(JobId(3), &event));
                match event {
                    FileEvent::Opened(len) => {
                        opened = true;
                        assert_eq!(len, bytes.len() as u64);
                    }
                    FileEvent::Bytes(block) => {
                        got.extend(block);
                        undigested += 1;
                        assert!(undigested <= BLOCKS_AHEAD);
                    }
                    FileEvent::End => break 'all,
                    other => panic!("{other:?}"),
                }
            }
            if undigested == BLOCKS_AHEAD {
                (0..undigested).for_each(|_| reader.more(JobId(3)));
                undigested = 0;
            }
        }
        assert!(opened && got == bytes);
        assert!(!reader.admit(JobId(3), &FileEvent::End), "the job is over");
        let _ = completions.fd().as_fd();
    }

    #[test]
    fn read_errors_are_reported() {
        let dir = crate::testing::directory("file-reader-missing");
        let completions = Completions::new().unwrap();
        let mut reader = FileReader::new(completions.reporter());
        reader.read(JobId(3), dir.path().join("none").to_str().unwrap());
        assert!(matches!(events(&completions)[..], [FileEvent::Missing]));
        reader.read(JobId(3), dir.path().to_str().unwrap());
        match &events(&completions)[..] {
            [FileEvent::Failed(why)] => assert_eq!(why, "not a regular file"),
            other => panic!("{other:?}"),
        }
    }
}
