//! The file reader: delivers files in pieces, a few ahead of those that the node has consumed.

use std::collections::{BTreeMap, VecDeque};

use russet_engine::io::{FileEvent, Input, JobId};

use crate::Files;

/// Pieces that are delivered before the first is consumed.
const PIECES_AHEAD: usize = 3;

/// The file reader.
pub struct Reads {
    /// Whether events are held until [`crate::Driver::deliver_reads`].
    pub held: bool,
    /// Held events.
    pub held_events: VecDeque<Input>,
    /// Length of a piece in bytes.
    pub piece_bytes: usize,
    /// The error at the end of each file; none: success.
    pub fails_with: Option<String>,
    /// Paths of the files read.
    pub paths: Vec<String>,
    /// Number of further pieces that the node requested.
    pub more: usize,
    readers: BTreeMap<JobId, VecDeque<FileEvent>>,
}

impl Default for Reads {
    fn default() -> Reads {
        Reads {
            held: false,
            held_events: VecDeque::new(),
            piece_bytes: 64,
            fails_with: None,
            paths: Vec::new(),
            more: 0,
            readers: BTreeMap::new(),
        }
    }
}

impl Reads {
    pub(crate) fn begin(
        &mut self,
        job: JobId,
        path: &str,
        files: &Files,
        inputs: &mut VecDeque<Input>,
    ) {
        self.paths.push(path.to_owned());
        let Some(bytes) = files.get(path) else {
            inputs.push_back(Input::File { job, event: FileEvent::Missing });
            return;
        };
        let opened = FileEvent::Opened(bytes.len() as u64);
        let pieces = bytes.chunks(self.piece_bytes).map(|piece| FileEvent::Bytes(piece.to_vec()));
        let end = self.fails_with.clone().map_or(FileEvent::End, FileEvent::Failed);
        let events = std::iter::once(opened).chain(pieces).chain([end]);
        if self.held {
            self.held_events.extend(events.map(|event| Input::File { job, event }));
            return;
        }
        self.readers.insert(job, events.collect());
        // One more for the event that the file is open.
        (0..=PIECES_AHEAD).for_each(|_| self.deliver(job, inputs));
    }

    pub(crate) fn more(&mut self, job: JobId, inputs: &mut VecDeque<Input>) {
        self.more += 1;
        self.deliver(job, inputs);
    }

    pub(crate) fn stop(&mut self, job: JobId, inputs: &mut VecDeque<Input>) {
        self.readers.remove(&job);
        for events in [inputs, &mut self.held_events] {
            events.retain(|i| !matches!(i, Input::File { job: of, .. } if *of == job));
        }
    }

    fn deliver(&mut self, job: JobId, inputs: &mut VecDeque<Input>) {
        let Some(events) = self.readers.get_mut(&job) else { return };
        inputs.extend(events.pop_front().map(|event| Input::File { job, event }));
        if events.len() == 1 {
            // The end follows the last piece without a request.
            inputs.extend(events.pop_front().map(|event| Input::File { job, event }));
        }
        if events.is_empty() {
            self.readers.remove(&job);
        }
    }
}
