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

use super::batch::{BatchWriter, WriterSettings};
use crate::config::value::AppendFsync;
use crate::core::Core;
use crate::effects::{Origin, Sink, Unit};
use crate::ids::JobId;
use crate::injected::Bug;
use crate::io::{AppendEvent, AppendStep, Output};

/// The end of the append-only file: what was executed and is not handed over yet.
///
/// During a rewrite there are two ends, that of the present file and that of the one that will take its place.
#[derive(Debug, Default)]
pub struct AppendTail {
    writer: Option<BatchWriter>,
    next: Option<BatchWriter>,
    /// Unix seconds of the effects that follow.
    now_secs: i64,
}

/// One of the ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// That of the present file.
    Present,
    /// That of the file that will take its place.
    Next,
}

impl AppendTail {
    fn writer(&mut self, end: End) -> &mut Option<BatchWriter> {
        match end {
            End::Present => &mut self.writer,
            End::Next => &mut self.next,
        }
    }

    /// Begins to encode effects for a file whose end the writer knows.
    pub(super) fn begin(&mut self, end: End, writer: BatchWriter) {
        *self.writer(end) = Some(writer);
    }

    /// Encodes nothing for this end any more.
    pub(super) fn end(&mut self, end: End) {
        *self.writer(end) = None;
    }

    /// The next file is the present one from now on.
    pub(super) fn promote(&mut self) {
        self.writer = self.next.take();
    }

    /// Whether effects are encoded.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.writer.is_some() || self.next.is_some()
    }

    /// Sets the time of the effects that follow.
    pub(crate) fn set_time(&mut self, now_secs: i64) {
        self.now_secs = now_secs;
    }

    /// Sets how what follows is written.
    pub(super) fn set_settings(&mut self, settings: WriterSettings) {
        for writer in [&mut self.writer, &mut self.next].into_iter().flatten() {
            writer.set_settings(settings);
        }
    }

    /// Returns the bytes that are pending at this end.
    pub(super) fn pending_bytes(&self, end: End) -> usize {
        let writer = match end {
            End::Present => &self.writer,
            End::Next => &self.next,
        };
        writer.as_ref().map_or(0, BatchWriter::pending_bytes)
    }

    /// Writes down that so many bytes of the present file are on disk.
    pub(super) fn mark(&mut self, synced: u64) {
        if let Some(writer) = &mut self.writer {
            writer.set_synced(synced);
            writer.mark();
        }
    }

    /// Ends a batch and takes its bytes. `synced`: so many bytes of the file are on disk.
    fn take(&mut self, end: End, synced: u64) -> Vec<u8> {
        let Some(writer) = self.writer(end) else { return Vec::new() };
        writer.set_synced(synced);
        writer.take()
    }
}

impl Sink for AppendTail {
    fn listens(&self, _: Origin) -> bool {
        self.is_on()
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        for writer in [&mut self.writer, &mut self.next].into_iter().flatten() {
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
    /// The replication offset behind it.
    offset: i64,
    /// Monotonic microseconds when it was handed over.
    given_us: u64,
}

/// A file that batches are handed to.
#[derive(Debug)]
pub struct AppendLog {
    /// Its job.
    pub job: JobId,
    /// Which of the ends it continues.
    end: End,
    /// Bytes that it had when it was opened.
    begin_bytes: u64,
    /// Bytes handed over since.
    given: u64,
    written: u64,
    synced: u64,
    /// Bytes that the last requested sync covers.
    sync_asked: u64,
    /// Bytes up to the last mark.
    marked: u64,
    /// Batches of which not all is on disk.
    batches: VecDeque<Batch>,
    /// The last batch that is written, and the last that is synced.
    safe: [u64; 2],
    /// The replication offset up to which everything is on disk.
    synced_offset: i64,
    /// Syncs that were put off because one was still running.
    pub delayed_syncs: u64,
    /// Why the last write failed, until one succeeds.
    pub write_error: Option<String>,
    /// Why a sync failed: nothing of this file is safe from then on.
    pub sync_error: Option<String>,
}

impl AppendLog {
    /// Opens a file and keeps this many bytes of it. What it has of them from `sure` on may not be on disk.
    pub(super) fn open(core: &mut Core, end: End, path: String, len: u64, sure: u64) -> AppendLog {
        let job = core.next_job();
        let len = len.saturating_sub(u64::from(core.injected(Bug::CutTooFar)));
        core.output(Output::Append { job, step: AppendStep::Open { path, len, sure } });
        AppendLog {
            job,
            end,
            begin_bytes: len,
            given: 0,
            written: 0,
            synced: 0,
            sync_asked: 0,
            marked: 0,
            batches: VecDeque::new(),
            safe: [0; 2],
            synced_offset: 0,
            delayed_syncs: 0,
            write_error: None,
            sync_error: None,
        }
    }

    /// Notes that nothing of the batches up to this one is in this file, but in those before it.
    pub(super) fn begin_behind(&mut self, batch: u64, offset: i64) {
        (self.safe, self.synced_offset) = ([batch; 2], offset);
    }

    /// The file takes the place of the present one.
    pub(super) fn promote(&mut self) {
        self.end = End::Present;
    }

    /// Hands over what is pending as the batches up to this one, at this replication offset.
    pub(super) fn hand_over(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        number: u64,
        offset: i64,
    ) {
        self.give(core, tail, (number, offset), AppendStep::Write);
    }

    /// The same, and has it synced: with `appendfsync always`.
    pub(super) fn commit(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        number: u64,
        offset: i64,
    ) {
        if self.sync_error.is_some() || tail.pending_bytes(self.end) == 0 {
            self.hand_over(core, tail, number, offset);
            return self.sync(core);
        }
        self.delayed_syncs += u64::from(self.synced < self.sync_asked);
        self.give(core, tail, (number, offset), AppendStep::Commit);
        self.sync_asked = self.given;
    }

    fn give(
        &mut self,
        core: &mut Core,
        tail: &mut AppendTail,
        (number, offset): (u64, i64),
        step: fn(Vec<u8>) -> AppendStep,
    ) {
        let bytes = tail.take(self.end, self.synced_len());
        if !bytes.is_empty() {
            self.given += bytes.len() as u64;
            core.output(Output::Append { job: self.job, step: step(bytes) });
        }
        let given_us = core.now.mono_us;
        self.batches.push_back(Batch { number, end: self.given, offset, given_us });
        self.note_progress();
    }

    /// Asks for a sync of what was handed over, if there is anything new.
    pub(super) fn sync(&mut self, core: &mut Core) {
        if self.sync_asked < self.given && self.sync_error.is_none() {
            self.delayed_syncs += u64::from(self.synced < self.sync_asked);
            self.sync_asked = self.given;
            core.output(Output::Append { job: self.job, step: AppendStep::Sync });
        }
    }

    /// Writes down that all of the file is on disk, once for each time that it is.
    pub(super) fn mark(&mut self, tail: &mut AppendTail) {
        if self.is_synced() && self.marked < self.given && tail.pending_bytes(self.end) == 0 {
            tail.mark(self.synced_len());
            self.marked = self.given.saturating_add(tail.pending_bytes(self.end) as u64);
        }
    }

    /// Tries again to write what could not be written.
    pub(super) fn retry(&self, core: &mut Core) {
        if self.write_error.is_some() {
            core.output(Output::Append { job: self.job, step: AppendStep::Retry });
        }
    }

    /// Closes the file behind what was handed over.
    pub(super) fn close(self, core: &mut Core) {
        let step = AppendStep::Close { seal: Vec::new() };
        core.output(Output::Append { job: self.job, step });
    }

    /// Closes the file behind what was handed over, and has it say that all of that is on disk.
    pub(super) fn seal(self, core: &mut Core, tail: &mut AppendTail) {
        tail.mark(self.file_bytes());
        let seal = tail.take(self.end, self.file_bytes());
        core.output(Output::Append { job: self.job, step: AppendStep::Close { seal } });
    }

    /// Handles an event other than of its opening.
    pub(super) fn event(&mut self, event: AppendEvent) {
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
        self.note_progress();
    }

    /// Returns why it cannot be written or synced.
    pub(super) fn error(&self) -> Option<&str> {
        self.sync_error.as_deref().or(self.write_error.as_deref())
    }

    fn note_progress(&mut self) {
        let done = self.batches.partition_point(|batch| batch.end <= self.written);
        if let Some(batch) = done.checked_sub(1).map(|at| self.batches[at]) {
            self.safe[0] = batch.number;
        }
        while let Some(batch) = self.batches.front().filter(|batch| batch.end <= self.synced) {
            (self.safe[1], self.synced_offset) = (batch.number, batch.offset);
            self.batches.pop_front();
        }
        self.safe[0] = self.safe[0].max(self.safe[1]);
    }

    /// Returns the last batch that is as safe as `appendfsync` promises.
    pub(super) fn safe_batch(&self, policy: AppendFsync) -> u64 {
        let [written, synced] = self.safe;
        match policy {
            AppendFsync::Always => synced,
            AppendFsync::Everysec | AppendFsync::No => written,
        }
    }

    /// Returns how long the oldest batch has waited to be as safe as it should be, in microseconds: on disk, or with
    /// `appendfsync no` written.
    pub fn lag_us(&self, policy: AppendFsync, now_us: u64) -> u64 {
        let mut waiting = self.batches.iter();
        let first = match policy {
            AppendFsync::No => waiting.find(|batch| batch.end > self.written),
            AppendFsync::Always | AppendFsync::Everysec => waiting.next(),
        };
        first.map_or(0, |batch| now_us.saturating_sub(batch.given_us))
    }

    /// Returns the length of the file with all that was handed over.
    pub fn file_bytes(&self) -> u64 {
        self.begin_bytes + self.given
    }

    /// Returns the length of the part that is on disk.
    pub(super) fn synced_len(&self) -> u64 {
        self.begin_bytes + self.synced
    }

    /// Whether all that was handed over is on disk.
    pub fn is_synced(&self) -> bool {
        self.synced == self.given && self.sync_error.is_none()
    }

    /// Returns the replication offset up to which everything is on disk.
    pub(super) fn synced_offset(&self) -> i64 {
        self.synced_offset
    }

    /// Returns the bytes that were handed over and are not written.
    pub fn unwritten_bytes(&self) -> u64 {
        self.given - self.written
    }

    /// Whether a sync has been asked for and has not ended.
    pub fn is_syncing(&self) -> bool {
        self.synced < self.sync_asked && self.sync_error.is_none()
    }
}
