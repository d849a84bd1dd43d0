//! A full synchronization by file: a save writes the dump file, which is then read and sent.
//!
//! ```text
//!   the save ──▶ dump file ──▶ reader ──piece──▶ outboxes of its replicas
//!                                ▲                  │
//!                                └──── ReadMore ────┘  when all of them have room
//! ```
//!
//! Several files may be read at once, each for its replicas: a slow one does not delay later ones.
//! The file must be the one of that save, since the stream continues from its offset.

use super::master::{Master, Replica};
use crate::clients::Clients;
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::io::{FileEvent, Level, Output};
use crate::keyspace::Keyspace;
use crate::persist::fill::StreamPosition;
use crate::persist::saves::Saves;

/// A full synchronization by file.
#[derive(Debug)]
pub(super) struct FileSync {
    /// Job of the snapshot that writes the file, used in gates and stages.
    snapshot: JobId,
    /// The working directory at the start of the save, and the file's name: both may change before
    /// it is read.
    dir: Vec<u8>,
    name: String,
    /// Job of the reading, after the save.
    reading: Option<JobId>,
    /// Size of the file, once it is open and announced to replicas.
    announced: Option<u64>,
    /// Bytes read.
    read: u64,
    /// Number of pieces read without having requested another one.
    unrequested: usize,
}

impl Master {
    /// Starts the save of a full synchronization by file.
    pub(super) fn begin_file_sync(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        saves: &mut Saves,
        position: Option<StreamPosition>,
    ) -> Option<JobId> {
        let (dir, name) = (core.config.dir.clone(), core.dump_file());
        let snapshot = saves.begin(core, data, position).ok()?;
        saves.dump_is_for_sync = true;
        self.by_file.push(FileSync {
            snapshot,
            dir,
            name,
            reading: None,
            announced: None,
            read: 0,
            unrequested: 0,
        });
        Some(snapshot)
    }

    /// Whether nothing of this synchronization has been sent yet.
    pub(super) fn file_sync_is_unannounced(&self, snapshot: JobId) -> bool {
        let mut syncs = self.by_file.iter();
        syncs.any(|sync| sync.snapshot == snapshot && sync.announced.is_none())
    }

    /// Whether a file has yet to be opened: another save would replace it.
    pub(super) fn file_sync_opens(&self) -> bool {
        self.by_file.iter().any(|sync| sync.reading.is_some() && sync.announced.is_none())
    }

    /// Handles the end of a save: starts reading its file if replicas wait for it.
    pub(crate) fn file_sync_saved(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        snapshot: JobId,
        result: &Result<u64, String>,
    ) {
        let Some(at) = self.by_file.iter().position(|sync| sync.snapshot == snapshot) else {
            return;
        };
        let sharing: Vec<Handle> = self.in_transfer(snapshot).collect();
        if result.is_err() || sharing.is_empty() {
            self.by_file.remove(at);
            for handle in sharing {
                let who = self.replica(handle).map(Replica::name).unwrap_or_default();
                let text = format!("Full resync of replica {who} failed: its file was not saved");
                core.log(Level::Warning, text);
                clients.close(core, handle);
            }
            return;
        }
        let reading = core.next_job();
        let sync = &mut self.by_file[at];
        sync.reading = Some(reading);
        let path = if sync.dir == core.config.dir {
            sync.name.clone()
        } else {
            format!("{}/{}", String::from_utf8_lossy(&sync.dir), sync.name)
        };
        core.output(Output::Read { job: reading, path });
    }

    /// Handles an event of a file that is being sent. Returns the event if it belongs to another
    /// file.
    pub(crate) fn file_event(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        saves: &Saves,
        job: JobId,
        event: FileEvent,
    ) -> Option<FileEvent> {
        let Some(at) = self.by_file.iter().position(|sync| sync.reading == Some(job)) else {
            return Some(event);
        };
        let sync = &mut self.by_file[at];
        let snapshot = sync.snapshot;
        let is_complete = sync.announced == Some(sync.read);
        match event {
            // A later save may have replaced the file by one of another offset.
            FileEvent::Opened(_) if saves.newest() != Some(snapshot) => {
                self.file_sync_failed(core, clients, at, true, "another save has begun");
            }
            FileEvent::Opened(len) => {
                sync.announced = Some(len);
                self.sync_bytes(core, clients, snapshot, format!("${len}\r\n").into_bytes());
                core.order(Order::ScheduleFullSync);
            }
            FileEvent::Bytes(bytes) => {
                sync.read += bytes.len() as u64;
                sync.unrequested += 1;
                if sync.announced.is_none_or(|len| sync.read > len) {
                    let why = "the file is longer than it was";
                    self.file_sync_failed(core, clients, at, true, why);
                } else {
                    self.sync_bytes(core, clients, snapshot, bytes);
                    self.continue_file_syncs(core, clients);
                }
            }
            FileEvent::End if is_complete => {
                self.by_file.remove(at);
                self.sync_ended(core, clients, snapshot, &Ok(()));
            }
            FileEvent::End => {
                let why = "the file is shorter than it was";
                self.file_sync_failed(core, clients, at, false, why);
            }
            FileEvent::Missing => {
                self.file_sync_failed(core, clients, at, false, "the file is gone");
            }
            FileEvent::Failed(why) => self.file_sync_failed(core, clients, at, false, &why),
        }
        None
    }

    fn file_sync_failed(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        at: usize,
        reads_on: bool,
        why: &str,
    ) {
        let sync = self.by_file.remove(at);
        if let Some(job) = sync.reading.filter(|_| reads_on) {
            core.output(Output::ReadStop { job });
        }
        core.log(Level::Warning, format!("Read error sending DB to replica: {why}"));
        self.sync_ended(core, clients, sync.snapshot, &Err(why.to_owned()));
    }

    /// Requests the next pieces of files whose replicas' outboxes all have space.
    pub(super) fn continue_file_syncs(&mut self, core: &mut Core, clients: &Clients) {
        let mut syncs = std::mem::take(&mut self.by_file);
        let before = syncs.len();
        syncs.retain_mut(|sync| self.continue_file_sync(core, clients, sync));
        let fewer = syncs.len() < before;
        self.by_file = syncs;
        if fewer {
            core.order(Order::ScheduleFullSync);
        }
    }

    /// Returns false if no replica needs the file any more.
    fn continue_file_sync(&self, core: &mut Core, clients: &Clients, sync: &mut FileSync) -> bool {
        let Some(job) = sync.reading else { return true };
        if self.in_transfer(sync.snapshot).next().is_none() {
            core.output(Output::ReadStop { job });
            return false;
        }
        if !self.some_outbox_is_full(clients, sync.snapshot) {
            for _ in 0..std::mem::take(&mut sync.unrequested) {
                core.output(Output::ReadMore { job });
            }
        }
        true
    }
}
