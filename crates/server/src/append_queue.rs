//! What is to be done with a file that is appended to, who does it, and what became of it.
//! Not in here: the threads, which are in `append_file.rs`. Nothing waits here.

use std::collections::VecDeque;
use std::io::IoSlice;

use russet_engine::io::AppendEvent;

use crate::append_disk::{self, Disk};
use crate::append_pace::Pace;

/// What is to be done with a file, and who does it.
#[derive(Default)]
pub struct State {
    /// What was not written, in order.
    pub queue: VecDeque<Item>,
    /// The queue may have something else than commits, or what could not be written.
    pub is_write_awaited: bool,
    /// When a thread that sleeps is woken.
    pub pace: Pace,
    /// Bytes written since the file was opened: its length in whole `Write`s.
    pub written: u64,
    /// Bytes of those that were reported as written.
    pub reported: u64,
    /// Bytes of those that are on disk.
    pub synced: u64,
    pub is_writing: bool,
    pub is_syncing: bool,
    /// Everything written is to be synced.
    pub wants_sync: bool,
    /// A sync has failed: there is none any more.
    pub has_failed_sync: bool,
    /// A write has failed: the queue waits for a retry.
    pub is_stuck: bool,
    /// There may be a part of a write behind the file's end, which could not be cut off.
    pub is_torn: bool,
    /// No further step comes.
    pub is_closing: bool,
    /// What the file ends with if all of it is on disk.
    pub seal: Vec<u8>,
    pub threads: Threads,
}

/// The threads of a file.
#[derive(Default)]
pub struct Threads {
    pub running: usize,
    pub asleep: usize,
    /// One was woken and has not looked yet.
    pub is_called: bool,
}

impl Threads {
    /// Whether one sleeps that was not woken.
    pub fn can_be_called(&self) -> bool {
        self.asleep > 0 && !self.is_called
    }
}

/// A step that waits for those before it.
pub enum Item {
    Write(Vec<u8>),
    Commit(Vec<u8>),
    Sync,
}

impl Item {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Item::Write(bytes) | Item::Commit(bytes) => bytes,
            Item::Sync => &[],
        }
    }

    pub fn is_synced(&self) -> bool {
        matches!(self, Item::Commit(_) | Item::Sync)
    }
}

impl State {
    pub fn can_write(&self) -> bool {
        !self.queue.is_empty() && !self.is_writing && !self.is_stuck && !self.waits_for_sync()
    }

    /// Whether all that is queued had better be written when the sync that runs has ended.
    pub fn waits_for_sync(&self) -> bool {
        self.is_syncing && !self.is_closing && !self.is_write_awaited
    }

    pub fn push(&mut self, item: Item) {
        self.is_write_awaited |= !matches!(item, Item::Commit(_));
        self.queue.push_back(item);
    }

    /// Takes all that is queued, in exchange for an empty queue. Returns whether its write is awaited.
    pub fn take(&mut self, batch: &mut VecDeque<Item>) -> bool {
        self.pace.awake();
        std::mem::swap(&mut self.queue, batch);
        std::mem::take(&mut self.is_write_awaited)
    }

    /// Puts back what could not be written.
    pub fn put_back(&mut self, batch: &mut VecDeque<Item>) {
        while let Some(item) = batch.pop_back() {
            self.queue.push_front(item);
        }
        self.is_write_awaited = true;
    }

    /// Takes the report of what was written, unless it was taken before.
    pub fn report_written(&mut self) -> Option<AppendEvent> {
        let is_new = self.reported < self.written;
        self.reported = self.written;
        is_new.then_some(AppendEvent::Written(self.written))
    }

    pub fn can_sync(&self) -> bool {
        self.wants_sync && !self.is_syncing
    }

    /// Has a sync that waits behind a failed write cover what was written: it cannot wait until there is space again.
    pub fn sync_written(&mut self) {
        let is_any = self.queue.iter().any(|item| matches!(item, Item::Sync));
        self.wants_sync |= is_any && !self.has_failed_sync && self.synced < self.written;
    }

    /// Takes the syncs that wait for no write.
    pub fn pass_syncs(&mut self) {
        while !self.is_writing && matches!(self.queue.front(), Some(Item::Sync)) {
            self.queue.pop_front();
            self.wants_sync |= !self.has_failed_sync;
        }
    }

    /// Whether everything is on disk and the file has yet to say so.
    pub fn may_be_sealed(&self) -> bool {
        !self.seal.is_empty() && self.synced == self.written && !self.has_failed_sync
    }

    /// Whether no thread has anything left to do.
    pub fn is_over(&self) -> bool {
        self.is_closing && self.threads.running == 0
    }
}

/// What has become of a batch.
pub struct Outcome {
    /// Steps done, from the first on.
    pub items: usize,
    /// Bytes of those.
    pub bytes: u64,
    /// Why the others were not.
    pub error: Option<std::io::Error>,
    /// There may be a part of the next one in the file.
    pub is_torn: bool,
}

/// Writes a batch at the end of a file. If that fails, whole steps stay in the file and nothing else.
pub fn write_batch(disk: &dyn Disk, batch: &VecDeque<Item>, end: u64, is_torn: bool) -> Outcome {
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
