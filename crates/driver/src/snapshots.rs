//! The snapshot writer: encodes chunks immediately, to a file or as bytes for the node.

use std::collections::{BTreeMap, VecDeque};

use russet_engine::io::{Input, JobId, SnapshotEvent, SnapshotTarget};
use russet_engine::persist::encoder::SnapshotEncoder;
use russet_engine::rdb::RdbSettings;
use russet_engine::rdb::chunk::Chunk;

use crate::Files;

/// The snapshot writer.
#[derive(Default)]
pub struct Snapshots {
    /// Whether bytes and results are held until [`crate::Driver::deliver_saves`].
    pub held: bool,
    /// Whether consumed chunks are not reported.
    pub hangs: bool,
    /// The errors of the next snapshots.
    pub errors: VecDeque<String>,
    /// The error of all other snapshots; none: success.
    pub fails_with: Option<String>,
    /// Whether those that have begun were to be synced as they are written.
    pub syncs_as_written: Vec<bool>,
    pub(crate) held_events: VecDeque<Input>,
    writers: BTreeMap<JobId, Writer>,
}

struct Writer {
    encoder: SnapshotEncoder,
    target: SnapshotTarget,
    /// Encoded bytes; of a stream only those not reported yet.
    bytes: Vec<u8>,
    /// Total length of a stream.
    len: u64,
}

impl Writer {
    /// Takes the encoded bytes of a stream.
    fn streamed(&mut self) -> Option<SnapshotEvent> {
        if self.target != SnapshotTarget::Stream || self.bytes.is_empty() {
            return None;
        }
        self.len += self.bytes.len() as u64;
        Some(SnapshotEvent::Bytes(std::mem::take(&mut self.bytes)))
    }
}

impl Snapshots {
    pub(crate) fn begin(
        &mut self,
        job: JobId,
        target: SnapshotTarget,
        settings: RdbSettings,
        aux: &[(&'static str, String)],
        inputs: &mut VecDeque<Input>,
    ) {
        self.syncs_as_written.push(settings.sync_as_written);
        let mut writer =
            Writer { encoder: SnapshotEncoder::new(settings), target, bytes: Vec::new(), len: 0 };
        let aux: Vec<(&str, &[u8])> = aux.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        writer.encoder.begin(&aux, &mut writer.bytes);
        let event = writer.streamed();
        self.writers.insert(job, writer);
        self.report(job, event, inputs);
    }

    pub(crate) fn chunk(&mut self, job: JobId, chunk: &Chunk, inputs: &mut VecDeque<Input>) {
        let writer = self.writers.get_mut(&job).expect("a chunk belongs to a snapshot that began");
        writer.encoder.chunk(chunk, &mut writer.bytes);
        let event = writer.streamed();
        self.report(job, event, inputs);
        if !self.hangs {
            let event = SnapshotEvent::Consumed(chunk.len_bytes() as u64);
            inputs.push_back(Input::Snapshot { job, event });
        }
    }

    pub(crate) fn end(&mut self, job: JobId, files: &mut Files, inputs: &mut VecDeque<Input>) {
        let mut writer = self.writers.remove(&job).expect("a snapshot that ends has begun");
        writer.encoder.finish(&mut writer.bytes);
        let event = writer.streamed();
        self.report(job, event, inputs);
        let event = match (self.errors.pop_front().or(self.fails_with.clone()), writer.target) {
            (Some(why), _) => SnapshotEvent::Failed(why),
            (None, SnapshotTarget::Stream) => SnapshotEvent::Done(writer.len),
            (None, SnapshotTarget::File { path }) => {
                let len = writer.bytes.len() as u64;
                files.insert(path, writer.bytes);
                SnapshotEvent::Done(len)
            }
        };
        self.report(job, Some(event), inputs);
    }

    pub(crate) fn abort(&mut self, job: JobId, inputs: &mut VecDeque<Input>) {
        self.writers.remove(&job);
        for events in [inputs, &mut self.held_events] {
            events.retain(|i| !matches!(i, Input::Snapshot { job: of, .. } if *of == job));
        }
    }

    fn report(&mut self, job: JobId, event: Option<SnapshotEvent>, inputs: &mut VecDeque<Input>) {
        let events = if self.held { &mut self.held_events } else { inputs };
        events.extend(event.map(|event| Input::Snapshot { job, event }));
    }
}
