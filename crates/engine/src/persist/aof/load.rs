//! Loading of the append-only file at the start: which file is being read, and what its end means.
//!
//! ```text
//!   manifest ──▶ base (RDB, or commands, or commands behind an RDB file) ──▶ incremental file ──▶ … ──▶ the last one
//!                                                                               only this may be cut off ──┘
//! ```
//!
//! The node runs the commands (`node/replay.rs`); here is everything else.

use std::collections::VecDeque;

use super::batch::FileEnd;
use super::manifest::{Manifest, manifest_name};
use super::read::{AofReader, Verdict, starts_with_rdb};
use crate::core::Core;
use crate::ids::JobId;
use crate::io::{FileEvent, Level, Output};
use crate::persist::fill::Fill;
use crate::persist::loading::load_settings;
use crate::persist::rdb_load::RdbLoader;
use crate::transaction::Transaction;

/// A manifest is not longer than this many bytes.
const MANIFEST_BYTES_MAX: usize = 1 << 20;

/// What the bytes of the current file are for.
#[derive(Debug)]
pub(crate) enum Source {
    /// The manifest.
    Manifest(Vec<u8>),
    /// A file that has not shown what it is: its first bytes, and its length.
    Unknown(Vec<u8>, u64),
    /// An RDB file. Commands may follow it.
    Rdb(Box<RdbLoader>, u64),
    /// Commands.
    Commands(Box<AofReader>),
}

/// The append-only file being loaded.
#[derive(Debug)]
pub struct AofLoad {
    job: JobId,
    events: VecDeque<FileEvent>,
    /// The manifest, once it is read.
    pub(crate) manifest: Manifest,
    /// The names of the files to load, the current one first.
    names: VecDeque<String>,
    /// What the current file's bytes are for.
    pub(crate) source: Source,
    /// The commands since MULTI.
    pub(crate) transaction: Transaction,
    /// The selected database.
    pub(crate) db: u32,
    /// State of filling the keyspace.
    pub(crate) fill: Fill,
    /// Bytes of all files so far.
    pub loaded_bytes: u64,
    /// Monotonic microseconds at its start.
    pub(crate) began_us: u64,
}

/// How the load goes on after the end of a file.
pub(crate) enum Ended {
    /// With the next file.
    Continues,
    /// Not at all: everything is loaded. The last file is continued here.
    Done(FileEnd),
    /// There is no append-only file.
    Missing,
    /// It fails.
    Failed(String),
}

impl AofLoad {
    /// Begins with the manifest.
    pub(crate) fn begin(core: &mut Core) -> Box<AofLoad> {
        let name = manifest_name(&String::from_utf8_lossy(&core.config.appendfilename));
        let mut load = AofLoad {
            job: JobId(0),
            events: VecDeque::new(),
            manifest: Manifest::default(),
            names: VecDeque::from([name]),
            source: Source::Manifest(Vec::new()),
            transaction: Transaction::default(),
            db: 0,
            fill: Fill::default(),
            loaded_bytes: 0,
            began_us: core.now.mono_us,
        };
        load.read(core);
        Box::new(load)
    }

    fn read(&mut self, core: &mut Core) {
        let Some(name) = self.names.front() else { return };
        self.job = core.next_job();
        let path = super::files::path_of(core, name);
        core.output(Output::Read { job: self.job, path });
    }

    /// Queues an event of the file being read.
    pub(crate) fn file_event(&mut self, job: JobId, event: FileEvent) {
        if self.job == job {
            self.events.push_back(event);
        }
    }

    /// Whether there is something to load.
    pub(crate) fn has_work(&self) -> bool {
        !self.events.is_empty()
    }

    /// Takes the next event.
    pub(crate) fn next_event(&mut self) -> Option<FileEvent> {
        self.events.pop_front()
    }

    /// Puts the rest of a piece back.
    pub(crate) fn put_back(&mut self, bytes: Vec<u8>) {
        self.events.push_front(FileEvent::Bytes(bytes));
    }

    /// Asks for the next piece.
    pub(crate) fn more(&self, core: &mut Core) {
        core.output(Output::ReadMore { job: self.job });
    }

    /// Stops reading.
    pub(crate) fn stop(&self, core: &mut Core) {
        core.output(Output::ReadStop { job: self.job });
    }

    /// The name of the current file.
    pub(crate) fn name(&self) -> &str {
        self.names.front().map_or("", String::as_str)
    }

    /// Handles the opening of the current file.
    pub(crate) fn opened(&mut self, len: u64) {
        if !matches!(self.source, Source::Manifest(_)) {
            self.source = Source::Unknown(Vec::new(), len);
        }
    }

    /// Takes bytes of a file that has not shown what it is, or of the manifest. Returns the bytes to load, if it is known
    /// now what they are.
    pub(crate) fn identify(&mut self, core: &Core, bytes: &[u8], is_end: bool) -> Option<Vec<u8>> {
        match &mut self.source {
            Source::Manifest(text) => {
                let room = (MANIFEST_BYTES_MAX + 1).saturating_sub(text.len());
                text.extend_from_slice(&bytes[..bytes.len().min(room)]);
                None
            }
            Source::Unknown(first, len) => {
                first.extend_from_slice(bytes);
                if first.len() < 5 && !is_end {
                    return None;
                }
                let (first, len) = (std::mem::take(first), *len);
                self.source = match starts_with_rdb(&first) {
                    true => Source::Rdb(Box::new(RdbLoader::new(load_settings(core))), len),
                    false => Source::Commands(Box::new(AofReader::new(0, len))),
                };
                Some(first)
            }
            Source::Rdb(..) | Source::Commands(_) => Some(bytes.to_vec()),
        }
    }

    /// Handles the end of the current file, all of whose bytes were loaded.
    pub(crate) fn ended(&mut self, core: &mut Core) -> Ended {
        let name = self.name().to_owned();
        let is_last = self.names.len() == 1;
        let source = std::mem::replace(&mut self.source, Source::Unknown(Vec::new(), 0));
        let end = match source {
            Source::Manifest(text) => return self.manifest_read(core, &name, &text),
            Source::Unknown(..) => FileEnd::empty(),
            Source::Rdb(..) => {
                return Ended::Failed(format!("{name}: unexpected end of the RDB file"));
            }
            Source::Commands(reader) => match reader.end() {
                Verdict::Complete => reader.file_end(),
                Verdict::Truncated(error) if is_last && core.config.aof_load_truncated => {
                    let at = reader.boundary();
                    let text = format!(
                        "!!! Warning: short read while loading the AOF file {name} ({error}) !!! AOF loaded anyway \
                         because aof-load-truncated is enabled; the file is cut off at offset {at}"
                    );
                    core.log(Level::Warning, text);
                    reader.file_end()
                }
                Verdict::Truncated(error) | Verdict::Corrupt(error) => {
                    return Ended::Failed(format!("{name}: {error}"));
                }
            },
        };
        self.transaction = Transaction::default();
        self.names.pop_front();
        if self.names.is_empty() {
            return Ended::Done(end);
        }
        self.read(core);
        Ended::Continues
    }

    fn manifest_read(&mut self, core: &mut Core, name: &str, text: &[u8]) -> Ended {
        if text.len() > MANIFEST_BYTES_MAX {
            return Ended::Failed(format!("{name}: longer than {MANIFEST_BYTES_MAX} bytes"));
        }
        match Manifest::parse(text) {
            Ok(manifest) => self.manifest = manifest,
            Err(error) => return Ended::Failed(format!("{name}: {error}")),
        }
        self.names = self.manifest.files().map(|file| file.name.clone()).collect();
        self.read(core);
        Ended::Continues
    }

    /// Handles a file that does not exist.
    pub(crate) fn missing(&self) -> Ended {
        match self.source {
            Source::Manifest(_) => Ended::Missing,
            _ => Ended::Failed(format!("{}: the manifest names it, and it does not exist", self.name())),
        }
    }
}
