//! The append-only file as a sink of the journal, and how far it has come.
//!
//! ```text
//!   journal ──unit──▶ AppendTail ──batch, once a turn──▶ Output::Append ──▶ thread ──▶ disk
//!                                                                             │
//!   Clients::batch_is_safe ◀── Aof::event ◀──────── Written(bytes), Synced(bytes) ┘
//! ```
//!
//! [`AppendTail`] encodes effects as they happen. [`AppendLog`] hands them over, keeps the account of bytes and batches,
//! and says when a batch is safe. Who waits for it is decided in [`crate::clients::durable`], which files there are in
//! `aof.rs`.

use std::collections::VecDeque;

use super::batch::BatchWriter;
use crate::config::value::AppendFsync;
use crate::core::Core;
use crate::ids::JobId;
use crate::io::{AppendEvent, AppendStep, Output};
use crate::journal::{Origin, Sink, Unit};

/// The end of the append-only file: what was executed and is not handed over yet.
#[derive(Debug, Default)]
pub struct AppendTail {
    writer: Option<BatchWriter>,
    /// Unix seconds of the effects that follow.
    now_secs: i64,
}

impl AppendTail {
    /// Begins to encode effects for a file whose end the writer knows.
    pub(crate) fn begin(&mut self, writer: BatchWriter) {
        self.writer = Some(writer);
    }

    /// Encodes nothing any more.
    pub(crate) fn end(&mut self) {
        self.writer = None;
    }

    /// Whether effects are encoded.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some()
    }

    /// Sets the time of the effects that follow.
    pub(crate) fn set_time(&mut self, now_secs: i64) {
        self.now_secs = now_secs;
    }

    /// Notes that so many bytes of the file are on disk.
    pub(crate) fn set_synced(&mut self, bytes: u64) {
        if let Some(writer) = &mut self.writer {
            writer.set_synced(bytes);
        }
    }

    /// Whether nothing is pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.writer.as_ref().is_none_or(BatchWriter::is_empty)
    }

    /// Ends a batch and takes its bytes.
    fn take(&mut self) -> Vec<u8> {
        self.writer.as_mut().map(BatchWriter::take).unwrap_or_default()
    }
}

impl Sink for AppendTail {
    fn listens(&self, _: Origin) -> bool {
        self.is_on()
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        if let Some(writer) = &mut self.writer {
            writer.unit(unit, self.now_secs);
        }
    }
}

/// A batch that was handed over.
#[derive(Clone, Copy, Debug)]
struct Batch {
    number: u64,
    /// Bytes of the file up to its end, counted from the opening.
    end: u64,
}

/// A file that batches are handed to.
#[derive(Debug)]
pub struct AppendLog {
    /// Its job.
    pub job: JobId,
    /// Bytes that it had when it was opened.
    begin_bytes: u64,
    /// Bytes handed over since.
    given: u64,
    written: u64,
    synced: u64,
    /// Bytes that the last requested sync covers.
    sync_asked: u64,
    /// Batches of which not all is on disk.
    batches: VecDeque<Batch>,
    /// The last batch that is written, and the last that is synced.
    safe: [u64; 2],
    /// When a sync was last asked for, monotonic microseconds.
    sync_asked_us: u64,
    /// Why the last write failed, until one succeeds.
    pub write_error: Option<String>,
    /// Why a sync failed: nothing of this file is safe from then on.
    pub sync_error: Option<String>,
}

impl AppendLog {
    /// Opens a file and keeps this many bytes of it.
    pub(crate) fn open(core: &mut Core, path: String, len: u64, last_batch: u64) -> AppendLog {
        let job = core.next_job();
        core.output(Output::Append { job, step: AppendStep::Open { path, len } });
        AppendLog {
            job,
            begin_bytes: len,
            given: 0,
            written: 0,
            synced: 0,
            sync_asked: 0,
            batches: VecDeque::new(),
            safe: [last_batch; 2],
            sync_asked_us: core.now.mono_us,
            write_error: None,
            sync_error: None,
        }
    }

    /// Hands a batch over.
    pub(crate) fn hand_over(&mut self, core: &mut Core, tail: &mut AppendTail, number: u64) {
        if !tail.is_empty() {
            let bytes = tail.take();
            self.given += bytes.len() as u64;
            core.output(Output::Append { job: self.job, step: AppendStep::Write(bytes) });
        }
        self.batches.push_back(Batch { number, end: self.given });
        if core.config.appendfsync == AppendFsync::Always {
            self.sync(core);
        }
    }

    /// Asks for a sync of what was handed over, if there is anything new.
    pub(crate) fn sync(&mut self, core: &mut Core) {
        if self.sync_asked < self.given && self.sync_error.is_none() {
            (self.sync_asked, self.sync_asked_us) = (self.given, core.now.mono_us);
            core.output(Output::Append { job: self.job, step: AppendStep::Sync });
        }
    }

    /// Handles an event other than of its opening.
    pub(crate) fn event(&mut self, event: AppendEvent) {
        match event {
            AppendEvent::Written(bytes) => {
                self.written = bytes;
                self.write_error = None;
            }
            AppendEvent::Synced(bytes) => self.synced = bytes,
            AppendEvent::WriteFailed(why) => self.write_error = Some(why),
            AppendEvent::SyncFailed(why) => self.sync_error = Some(why),
            AppendEvent::Opened | AppendEvent::OpenFailed(_) => {}
        }
        self.written = self.written.max(self.synced);
        for batch in &self.batches {
            for (safe, bytes) in self.safe.iter_mut().zip([self.written, self.synced]) {
                if batch.end <= bytes {
                    *safe = batch.number;
                }
            }
        }
        let [_, synced] = self.safe;
        while self.batches.front().is_some_and(|batch| batch.number <= synced) {
            self.batches.pop_front();
        }
    }

    /// Returns the last batch that is as safe as `appendfsync` promises.
    pub(crate) fn safe_batch(&self, policy: AppendFsync) -> u64 {
        let [written, synced] = self.safe;
        match policy {
            AppendFsync::Always => synced,
            AppendFsync::Everysec | AppendFsync::No => written,
        }
    }

    /// Returns the length of the file with all that was handed over.
    pub fn len(&self) -> u64 {
        self.begin_bytes + self.given
    }

    /// Returns the length of the part that is on disk.
    pub(crate) fn synced_len(&self) -> u64 {
        self.begin_bytes + self.synced
    }

    /// Returns the bytes that were handed over and are not written.
    pub fn unwritten_bytes(&self) -> u64 {
        self.given - self.written
    }

    /// Returns the bytes that were handed over and are not on disk.
    pub fn unsynced_bytes(&self) -> u64 {
        self.given - self.synced
    }
}
