//! A full synchronisation by file: a save writes the dump file, then the file is read and sent.
//!
//! ```text
//!   the save ──▶ dump file ──▶ reader ──piece──▶ outboxes of those who share it
//!                                ▲                  │
//!                                └──── ReadMore ────┘  when all of them have room
//! ```

use super::master::OUTBOX_ENOUGH;
use crate::io::{FileEvent, Handle, JobId, Level, Output};
use crate::node::Node;

/// A full synchronisation that reads the dump file just written.
#[derive(Debug)]
pub struct FileSync {
    /// Number of the snapshot that wrote it; gates and stages go by it.
    snapshot: JobId,
    /// Number of the reading.
    reading: JobId,
    /// A piece was read and no replica has room for the next.
    stalled: bool,
}

impl Node {
    /// A save ended that replicas wait for: its file is read and sent.
    pub(crate) fn file_sync_saved(&mut self, snapshot: JobId, result: &Result<u64, String>) {
        let waiting = self.in_transfer(snapshot);
        let Ok(size) = result else {
            waiting.into_iter().for_each(|handle| self.close(handle));
            return;
        };
        if waiting.is_empty() {
            return;
        }
        self.sync_bytes(snapshot, format!("${size}\r\n").into_bytes());
        self.last_job += 1;
        let reading = JobId(self.last_job);
        if let Some(before) = self.repl.by_file.take() {
            // Everybody who wanted that one is gone.
            self.output(Output::ReadStop { job: before.reading });
        }
        self.repl.by_file = Some(FileSync { snapshot, reading, stalled: false });
        self.output(Output::Read { job: reading, path: self.dump_file() });
    }

    /// News of the file that is being sent. False if it is another file.
    pub(crate) fn file_sync_event(&mut self, job: JobId, event: &mut FileEvent) -> bool {
        let Some(sync) = self.repl.by_file.as_ref().filter(|sync| sync.reading == job) else {
            return false;
        };
        let snapshot = sync.snapshot;
        match event {
            FileEvent::Opened(_) => {}
            FileEvent::Bytes(bytes) => {
                self.sync_bytes(snapshot, std::mem::take(bytes));
                if let Some(sync) = &mut self.repl.by_file {
                    sync.stalled = true;
                }
                self.go_on_with_file_sync();
            }
            FileEvent::End => {
                self.repl.by_file = None;
                self.sync_ended(snapshot, Ok(()));
            }
            FileEvent::Missing => {
                self.repl.by_file = None;
                self.sync_ended(snapshot, Err("the dump file is gone".to_owned()));
            }
            FileEvent::Failed(why) => {
                self.repl.by_file = None;
                let why = std::mem::take(why);
                self.log(Level::Warning, format!("Read error sending DB to replica: {why}"));
                self.sync_ended(snapshot, Err(why));
            }
        }
        true
    }

    /// Asks for the next piece of the file when the replicas have room for it.
    pub(crate) fn go_on_with_file_sync(&mut self) {
        let Some((snapshot, reading)) =
            self.repl.by_file.as_ref().filter(|s| s.stalled).map(|s| (s.snapshot, s.reading))
        else {
            return;
        };
        let full = |&h: &Handle| {
            self.clients.get(h).is_some_and(|c| c.wire.outbox.open_len() > OUTBOX_ENOUGH)
        };
        let sharing = self.in_transfer(snapshot);
        if sharing.is_empty() {
            self.repl.by_file = None;
            self.output(Output::ReadStop { job: reading });
            self.schedule_full_sync();
        } else if !sharing.iter().any(full) {
            if let Some(sync) = &mut self.repl.by_file {
                sync.stalled = false;
            }
            self.output(Output::ReadMore { job: reading });
        }
    }
}
