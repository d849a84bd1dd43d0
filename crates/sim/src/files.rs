//! The node's helpers with files: one encodes and writes snapshots, one reads files. Both take their time, and fail.

use std::collections::VecDeque;

use russet_engine::io::{FileEvent, Input, JobId, SnapshotEvent, SnapshotTarget};
use russet_engine::persist::encoder::SnapshotEncoder;
use russet_engine::rdb::RdbSettings;
use russet_engine::rdb::chunk::Chunk;

use crate::digest;
use crate::node::renames_unsynced;
use crate::process::{Inbox, Process, Save};
use crate::world::{Event, World};

/// The name of the dump file.
pub const DUMP: &str = "dump.rdb";

/// What a snapshot is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The dump file: a save.
    Dump,
    /// Another file, to which others add.
    Base,
    /// A full synchronisation.
    Replicas,
}

/// What a writer does next.
enum Step {
    Chunk(Chunk),
    End,
    Sync,
    Rename,
    SyncFolder,
}

/// A snapshot being encoded, and written if it goes to a file.
pub struct Writer {
    encoder: SnapshotEncoder,
    target: SnapshotTarget,
    file: Option<u64>,
    began_us: u64,
    /// Whether it was given no keys.
    is_empty: bool,
    steps: VecDeque<Step>,
    /// Encoded bytes that have not left as an event.
    pending: Vec<u8>,
    /// All encoded bytes, for the checkers.
    whole: Vec<u8>,
    is_scheduled: bool,
}

impl Writer {
    /// Starts to encode.
    pub fn new(
        target: SnapshotTarget,
        settings: RdbSettings,
        aux: &[(&'static str, String)],
        began_us: u64,
    ) -> Writer {
        let mut encoder = SnapshotEncoder::new(settings);
        let mut pending = Vec::new();
        let aux: Vec<(&str, &[u8])> = aux.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        encoder.begin(&aux, &mut pending);
        Writer {
            encoder,
            target,
            file: None,
            began_us,
            is_empty: true,
            steps: VecDeque::new(),
            whole: Vec::new(),
            pending,
            is_scheduled: false,
        }
    }

    /// Whether it writes a file other than the dump file.
    pub fn is_for_base(&self, process: &Process) -> bool {
        match &self.target {
            SnapshotTarget::File { path } => process.file_name(path) != DUMP,
            SnapshotTarget::Stream => false,
        }
    }

    /// The name of the temporary file beside that of the target.
    fn temp(target: &SnapshotTarget, process: &Process, job: JobId) -> String {
        let SnapshotTarget::File { path } = target else { return String::new() };
        let name = process.file_name(path);
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let slash = if folder.is_empty() { "" } else { "/" };
        format!("{folder}{slash}temp-{}.rdb", job.0)
    }
}

/// A file being read.
pub struct Reader {
    bytes: Vec<u8>,
    at: usize,
    /// Pieces that may be sent before the node has asked for more.
    credit: u32,
    opened: bool,
    missing: bool,
    is_scheduled: bool,
}

/// Pieces of a file that go ahead of the node.
const READ_AHEAD: u32 = 2;

impl World {
    /// A chunk for a writer.
    pub(crate) fn writer_chunk(&mut self, node: usize, job: JobId, chunk: Chunk) {
        self.writer_step(node, job, Step::Chunk(chunk));
    }

    /// All chunks were given.
    pub(crate) fn writer_end(&mut self, node: usize, job: JobId) {
        self.writer_step(node, job, Step::End);
    }

    fn writer_step(&mut self, node: usize, job: JobId, step: Step) {
        if let Some(writer) = self.processes[node].writers.get_mut(&job) {
            writer.steps.push_back(step);
            self.schedule_writer(node, job);
        }
    }

    fn schedule_writer(&mut self, node: usize, job: JobId) {
        let slowness = self.processes[node].disk.slowness;
        let delay = self.chance.skewed(20, 3000) * slowness;
        let process = &mut self.processes[node];
        let incarnation = process.incarnation;
        let Some(writer) = process.writers.get_mut(&job) else { return };
        if !writer.is_scheduled && !writer.steps.is_empty() {
            writer.is_scheduled = true;
            self.queue.push(self.now + delay, Event::Write { node, incarnation, job });
        }
    }

    /// The node gave a snapshot up.
    pub(crate) fn writer_abort(&mut self, node: usize, job: JobId) {
        let process = &mut self.processes[node];
        process.begun.remove(&job);
        if let Some(writer) = process.writers.remove(&job) {
            let temp = Writer::temp(&writer.target, process, job);
            process.disk.remove(&temp);
        }
    }

    /// A writer does its next step.
    pub(crate) fn write(&mut self, node: usize, job: JobId) {
        let process = &mut self.processes[node];
        let Some(mut writer) = process.writers.remove(&job) else { return };
        writer.is_scheduled = false;
        let Some(step) = writer.steps.pop_front() else { return };
        let mut events = Vec::new();
        match self.write_step(node, job, &mut writer, step, &mut events) {
            Ok(true) => {}
            Ok(false) => {
                self.processes[node].writers.insert(job, writer);
                self.schedule_writer(node, job);
            }
            Err(why) => {
                self.coverage.failed_saves += 1;
                self.processes[node].save_failed_us = self.now;
                self.processes[node].begun.remove(&job);
                let process = &mut self.processes[node];
                let temp = Writer::temp(&writer.target, process, job);
                process.disk.remove(&temp);
                events.push(SnapshotEvent::Failed(why));
            }
        }
        for event in events {
            self.deliver(node, Inbox::Input(Input::Snapshot { job, event }));
        }
    }

    /// One step; true if it was the last.
    fn write_step(
        &mut self,
        node: usize,
        job: JobId,
        writer: &mut Writer,
        step: Step,
        events: &mut Vec<SnapshotEvent>,
    ) -> Result<bool, String> {
        let SnapshotTarget::File { path } = writer.target.clone() else {
            return Ok(self.stream_step(node, job, writer, step, events));
        };
        let process = &mut self.processes[node];
        let (temp, name) = (Writer::temp(&writer.target, process, job), process.file_name(&path));
        // Other files that are written in this way are no saves.
        let is_dump = name == DUMP;
        if !is_dump {
            self.maybe_crash_in_step(node);
        }
        let is_hasty = renames_unsynced(self.data_bug());
        let process = &mut self.processes[node];
        let disk = &mut process.disk;
        let file = match writer.file {
            Some(file) => file,
            None => disk.create(&temp)?,
        };
        writer.file = Some(file);
        match step {
            Step::Chunk(chunk) => {
                let len = chunk.len_bytes() as u64;
                writer.is_empty = false;
                writer.encoder.chunk(&chunk, &mut writer.pending);
                events.push(SnapshotEvent::Consumed(len));
            }
            Step::End => {
                writer.encoder.finish(&mut writer.pending);
                writer.steps.extend([Step::Sync, Step::Rename, Step::SyncFolder]);
            }
            Step::Sync if !is_dump && is_hasty => return Ok(false),
            Step::Sync => {
                disk.sync(file)?;
                return Ok(false);
            }
            Step::Rename => {
                disk.rename(&temp, &name)?;
                if !is_dump {
                    return Ok(false);
                }
                let hash = digest::of_bytes(0, &writer.whole);
                let save = Save { hash, began_us: writer.began_us, is_empty: writer.is_empty };
                self.processes[node].saves.push(save);
                self.check_published(node, save);
                return Ok(false);
            }
            Step::SyncFolder => {
                disk.sync_folder_of(&name)?;
                events.push(SnapshotEvent::Done(writer.whole.len() as u64));
                if is_dump {
                    let process = &mut self.processes[node];
                    process.durable_saves = process.saves.len();
                    self.coverage.saves += 1;
                }
                self.check_snapshot(
                    node,
                    job,
                    &writer.whole,
                    if is_dump { Use::Dump } else { Use::Base },
                );
                return Ok(true);
            }
        }
        self.processes[node].disk.write(file, &writer.pending)?;
        take_over(writer);
        Ok(false)
    }

    fn stream_step(
        &mut self,
        node: usize,
        job: JobId,
        writer: &mut Writer,
        step: Step,
        events: &mut Vec<SnapshotEvent>,
    ) -> bool {
        let mut last = false;
        match step {
            Step::Chunk(chunk) => {
                events.push(SnapshotEvent::Consumed(chunk.len_bytes() as u64));
                writer.encoder.chunk(&chunk, &mut writer.pending);
            }
            _ => {
                writer.encoder.finish(&mut writer.pending);
                last = true;
            }
        }
        let mut bytes = writer.pending.clone();
        take_over(writer);
        if last && self.chance.percent(20) {
            let rest = bytes.split_off(self.chance.index(bytes.len()));
            events.push(SnapshotEvent::Bytes(std::mem::replace(&mut bytes, rest)));
        }
        events.push(SnapshotEvent::Bytes(bytes));
        if last {
            events.push(SnapshotEvent::Done(writer.whole.len() as u64));
            self.check_snapshot(node, job, &writer.whole, Use::Replicas);
        }
        last
    }

    /// Starts to read a file.
    pub(crate) fn read_begin(&mut self, node: usize, job: JobId, path: &str) {
        let process = &mut self.processes[node];
        let bytes = process.disk.read(&process.file_name(path));
        let reader = Reader {
            missing: bytes.is_none(),
            bytes: bytes.unwrap_or_default(),
            at: 0,
            credit: READ_AHEAD,
            opened: false,
            is_scheduled: false,
        };
        process.readers.insert(job, reader);
        self.schedule_reader(node, job);
    }

    /// The node digested a piece.
    pub(crate) fn read_more(&mut self, node: usize, job: JobId) {
        if let Some(reader) = self.processes[node].readers.get_mut(&job) {
            reader.credit += 1;
            self.schedule_reader(node, job);
        }
    }

    fn schedule_reader(&mut self, node: usize, job: JobId) {
        let slowness = self.processes[node].disk.slowness;
        let delay = self.chance.skewed(20, 3000) * slowness;
        let process = &mut self.processes[node];
        let incarnation = process.incarnation;
        let Some(reader) = process.readers.get_mut(&job) else { return };
        if !reader.is_scheduled && reader.credit > 0 {
            reader.is_scheduled = true;
            self.queue.push(self.now + delay, Event::Read { node, incarnation, job });
        }
    }

    /// A reader sends what comes next.
    pub(crate) fn read(&mut self, node: usize, job: JobId) {
        let Some(reader) = self.processes[node].readers.get_mut(&job) else { return };
        reader.is_scheduled = false;
        let event = if reader.missing {
            FileEvent::Missing
        } else if !reader.opened {
            reader.opened = true;
            FileEvent::Opened(reader.bytes.len() as u64)
        } else if reader.at == reader.bytes.len() {
            FileEvent::End
        } else {
            let rest = &reader.bytes[reader.at..];
            let len =
                (self.chance.skewed(1, 64 << 10) as usize).max(rest.len() / 20).min(rest.len());
            reader.at += len;
            reader.credit -= 1;
            FileEvent::Bytes(rest[..len].to_vec())
        };
        let over = matches!(event, FileEvent::Missing | FileEvent::End);
        if self.processes[node].durability.is_loading {
            self.maybe_crash_in_step(node);
        }
        if over {
            self.processes[node].readers.remove(&job);
        } else {
            self.schedule_reader(node, job);
        }
        self.deliver(node, Inbox::Input(Input::File { job, event }));
    }
}

/// What was encoded has left.
fn take_over(writer: &mut Writer) {
    writer.whole.extend_from_slice(&writer.pending);
    writer.pending.clear();
}
