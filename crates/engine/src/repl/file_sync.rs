//! A full synchronisation by file: a save writes the dump file, then the file is read and sent.
//!
//! ```text
//!   the save ──▶ dump file ──▶ reader ──piece──▶ outboxes of those who share it
//!                                ▲                  │
//!                                └──── ReadMore ────┘  when all of them have room
//! ```
//!
//! Several may be read at once, each for those who share it: a slow one keeps no later one waiting. What
//! is sent must be the file of that very save, since the stream goes on from that save's moment.

use super::master::OUTBOX_ENOUGH;
use crate::io::{FileEvent, Handle, JobId, Level, Output};
use crate::node::Node;

/// A full synchronisation that goes by way of the dump file.
#[derive(Debug)]
pub struct FileSync {
    /// Number of the snapshot that writes the file; gates and stages go by it.
    snapshot: JobId,
    /// The working folder when the save began, and the file's name: both may change before it is read.
    dir: Vec<u8>,
    name: String,
    /// Number of the reading, once the save is over.
    reading: Option<JobId>,
    /// Length of the file, once it is open; replicas have been told.
    announced: Option<u64>,
    /// Bytes that were read.
    read: u64,
    /// Pieces that were read and for which no further one was asked.
    owed: usize,
}

impl Node {
    /// Starts the save that a full synchronisation by file begins with.
    pub(super) fn begin_file_sync(&mut self) -> Option<JobId> {
        let (dir, name) = (self.config.dir.clone(), self.dump_file());
        let snapshot = self.begin_save().ok()?;
        self.repl.by_file.push(FileSync {
            snapshot,
            dir,
            name,
            reading: None,
            announced: None,
            read: 0,
            owed: 0,
        });
        Some(snapshot)
    }

    /// Whether replicas that share a synchronisation by file have been told nothing of it yet.
    pub(super) fn file_sync_is_silent(&self, snapshot: JobId) -> bool {
        let mut syncs = self.repl.by_file.iter();
        syncs.any(|sync| sync.snapshot == snapshot && sync.announced.is_none())
    }

    /// Whether a file that is to be sent has yet to be opened: a save that ends before would put another in its place.
    pub(super) fn file_sync_opens(&self) -> bool {
        self.repl.by_file.iter().any(|sync| sync.reading.is_some() && sync.announced.is_none())
    }

    /// A save ended that replicas may wait for: its file is read and sent.
    pub(crate) fn file_sync_saved(&mut self, snapshot: JobId, result: &Result<u64, String>) {
        let Some(at) = self.repl.by_file.iter().position(|sync| sync.snapshot == snapshot) else {
            return;
        };
        let sharing = self.in_transfer(snapshot);
        if result.is_err() || sharing.is_empty() {
            self.repl.by_file.remove(at);
            sharing.into_iter().for_each(|handle| self.close(handle));
            return;
        }
        self.last_job += 1;
        let reading = JobId(self.last_job);
        let sync = &mut self.repl.by_file[at];
        sync.reading = Some(reading);
        let path = if sync.dir == self.config.dir {
            sync.name.clone()
        } else {
            format!("{}/{}", String::from_utf8_lossy(&sync.dir), sync.name)
        };
        self.output(Output::Read { job: reading, path });
    }

    /// News of a file that is being sent. False if it is another file.
    pub(crate) fn file_sync_event(&mut self, job: JobId, event: &mut FileEvent) -> bool {
        let newest_save = self.persist.last_save_job;
        let Some(at) = self.repl.by_file.iter().position(|sync| sync.reading == Some(job)) else {
            return false;
        };
        let sync = &mut self.repl.by_file[at];
        let snapshot = sync.snapshot;
        let whole = sync.announced == Some(sync.read);
        match event {
            // A later save may have put its own file there, and that one is of another moment.
            FileEvent::Opened(_) if newest_save != Some(snapshot) => {
                self.file_sync_failed(at, true, "another save has begun");
            }
            FileEvent::Opened(len) => {
                sync.announced = Some(*len);
                self.sync_bytes(snapshot, format!("${len}\r\n").into_bytes());
                self.schedule_full_sync();
            }
            FileEvent::Bytes(bytes) => {
                sync.read += bytes.len() as u64;
                sync.owed += 1;
                if sync.announced.is_none_or(|len| sync.read > len) {
                    self.file_sync_failed(at, true, "the file is longer than it was");
                } else {
                    self.sync_bytes(snapshot, std::mem::take(bytes));
                    self.go_on_with_file_syncs();
                }
            }
            FileEvent::End if whole => {
                self.repl.by_file.remove(at);
                self.sync_ended(snapshot, Ok(()));
            }
            FileEvent::End => self.file_sync_failed(at, false, "the file is shorter than it was"),
            FileEvent::Missing => self.file_sync_failed(at, false, "the file is gone"),
            FileEvent::Failed(why) => {
                let why = std::mem::take(why);
                self.file_sync_failed(at, false, &why);
            }
        }
        true
    }

    fn file_sync_failed(&mut self, at: usize, reads_on: bool, why: &str) {
        let sync = self.repl.by_file.remove(at);
        if let Some(job) = sync.reading.filter(|_| reads_on) {
            self.output(Output::ReadStop { job });
        }
        self.log(Level::Warning, format!("Read error sending DB to replica: {why}"));
        self.sync_ended(sync.snapshot, Err(why.to_owned()));
    }

    /// Asks for the next pieces of those files whose replicas all have room for them.
    pub(crate) fn go_on_with_file_syncs(&mut self) {
        let mut syncs = std::mem::take(&mut self.repl.by_file);
        let before = syncs.len();
        syncs.retain_mut(|sync| self.go_on_with_file_sync(sync));
        let fewer = syncs.len() < before;
        self.repl.by_file = syncs;
        if fewer {
            self.schedule_full_sync();
        }
    }

    /// False if nobody wants the file any more.
    fn go_on_with_file_sync(&mut self, sync: &mut FileSync) -> bool {
        let Some(job) = sync.reading else { return true };
        let full = |&h: &Handle| {
            self.clients.get(h).is_some_and(|c| c.wire.outbox.open_len() > OUTBOX_ENOUGH)
        };
        let sharing = self.in_transfer(sync.snapshot);
        if sharing.is_empty() {
            self.output(Output::ReadStop { job });
            return false;
        }
        if !sharing.iter().any(full) {
            for _ in 0..std::mem::take(&mut sync.owed) {
                self.output(Output::ReadMore { job });
            }
        }
        true
    }
}
