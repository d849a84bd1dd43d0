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
use super::error::AofError;
use super::files::{filename, path_of};
use super::manifest::{MANIFEST_BYTES_MAX, Manifest, manifest_name};
use super::read::{AofReader, RDB_ENDING, Verdict, starts_with_rdb};
use super::replace::write_manifest;
use crate::core::Core;
use crate::core::Order;
use crate::ids::{Handle, JobId, RequestId};
use crate::io::{FileEvent, Level, Output, Request};
use crate::persist::fill::Fill;
use crate::persist::progress::Progress;
use crate::persist::rdb_load::{LoadSettings, RdbLoader};
use crate::transaction::Transaction;

/// What the bytes of the current file are for.
#[derive(Debug)]
pub(crate) enum Source {
    /// The manifest.
    Manifest(Vec<u8>),
    /// The single file of Redis before 7, in the working directory: there was no manifest.
    Old,
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
    /// The client of DEBUG LOADAOF; none at the start.
    pub(crate) client: Option<Handle>,
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
    /// The request of the upgrade that is under way, and what follows it.
    upgrade: Option<(RequestId, Upgrade)>,
    /// Whether the old file has been moved.
    is_upgraded: bool,
    /// Bytes of the base, once it is loaded.
    pub(crate) base_bytes: u64,
    /// The progress, of which the files opened so far are the total.
    pub(crate) progress: Progress,
}

/// The next step of making the old single file the base.
#[derive(Clone, Copy, Debug)]
enum Upgrade {
    /// The manifest is written: the file is moved into the folder.
    Move,
    /// It is there: it is loaded.
    Load,
}

/// How the load goes on after the end of a file.
pub(crate) enum Ended {
    /// With the next file.
    Continues,
    /// Not at all: everything is loaded. The last file is continued here.
    Done(Box<FileEnd>),
    /// There is no append-only file.
    Missing,
    /// It fails.
    Failed(String),
}

impl AofLoad {
    /// Begins with the manifest. `client`: that of DEBUG LOADAOF.
    pub(crate) fn begin(core: &mut Core, client: Option<Handle>) -> Box<AofLoad> {
        let name = manifest_name(&String::from_utf8_lossy(&core.config.appendfilename));
        let mut load = AofLoad {
            client,
            job: JobId(0),
            events: VecDeque::new(),
            manifest: Manifest::default(),
            names: VecDeque::from([name]),
            source: Source::Manifest(Vec::new()),
            transaction: Transaction::default(),
            db: 0,
            fill: Fill::default(),
            upgrade: None,
            is_upgraded: false,
            base_bytes: 0,
            progress: Progress::begin(core, 0),
        };
        load.read(core);
        Box::new(load)
    }

    fn read(&mut self, core: &mut Core) {
        let Some(name) = self.names.front() else { return };
        self.job = core.next_job();
        let path = match self.source {
            Source::Old => name.clone(),
            _ => path_of(core, name),
        };
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
    pub(crate) fn opened(&mut self, core: &mut Core, len: u64) {
        match self.source {
            Source::Manifest(_) => {}
            Source::Old => self.begin_upgrade(core),
            _ => {
                self.progress.total_bytes = self.progress.total_bytes.saturating_add(len);
                self.source = Source::Unknown(Vec::new(), len);
            }
        }
    }

    /// Makes the old single file the base. The manifest comes first: until the file is moved, a process that starts finds a
    /// base that is missing, and looks for it in its old place.
    fn begin_upgrade(&mut self, core: &mut Core) {
        self.stop(core);
        self.job = JobId(0);
        self.events.clear();
        self.manifest.adopt_base(self.names.front().map_or("", String::as_str));
        let request = write_manifest(core, &self.manifest);
        self.upgrade = Some((request, Upgrade::Move));
        core.log(Level::Notice, "Upgrading the append-only file to the layout of several files");
    }

    fn move_old(&mut self, core: &mut Core) {
        self.job = JobId(0);
        let from = filename(core);
        let to = path_of(core, &from);
        self.upgrade = Some((core.request(Request::MoveFile { from, to }), Upgrade::Load));
    }

    /// Handles the answer to a request, which may be of an upgrade.
    pub(crate) fn answered(&mut self, core: &mut Core, id: RequestId, answer: &Result<(), String>) {
        let Some((_, then)) = self.upgrade.take_if(|(request, _)| *request == id) else { return };
        match (answer, then) {
            (Ok(()), Upgrade::Move) => self.move_old(core),
            (Ok(()), Upgrade::Load) => {
                self.is_upgraded = true;
                self.names = VecDeque::from([filename(core)]);
                self.source = Source::Unknown(Vec::new(), 0);
                self.read(core);
            }
            (Err(why), _) => {
                let name = filename(core);
                let folder = String::from_utf8_lossy(&core.config.appenddirname);
                let text = format!("{name} cannot be moved into the folder {folder}: {why}");
                core.order(Order::Stop(text));
            }
        }
    }

    /// Takes bytes of a file that has not shown what it is, or of the manifest. Returns the bytes to load, if it is known
    /// now what they are.
    pub(crate) fn identify(&mut self, core: &Core, bytes: &[u8], is_end: bool) -> Option<Vec<u8>> {
        // By its name it is one, whatever has become of it.
        let is_rdb = self.name().ends_with(RDB_ENDING);
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
                self.source = match starts_with_rdb(&first) || is_rdb {
                    true => Source::Rdb(Box::new(RdbLoader::new(LoadSettings::of(core))), len),
                    false => Source::Commands(Box::new(AofReader::new(0, len))),
                };
                Some(first)
            }
            Source::Old => None,
            Source::Rdb(..) | Source::Commands(_) => Some(bytes.to_vec()),
        }
    }

    /// Handles the end of the current file, all of whose bytes were loaded.
    pub(crate) fn ended(&mut self, core: &mut Core) -> Ended {
        let name = self.name().to_owned();
        let is_base = self.manifest.base().is_some_and(|base| base.name == name);
        // A base that a rewrite made was complete before the manifest named it; the old single file was appended to.
        let is_complete = is_base && name != filename(core);
        let may_be_torn = self.names.len() == 1 && !is_complete;
        let source = std::mem::replace(&mut self.source, Source::Unknown(Vec::new(), 0));
        let end = match source {
            Source::Manifest(text) => return self.manifest_read(core, &name, &text),
            Source::Old | Source::Unknown(..) => FileEnd::empty(),
            Source::Rdb(loader, _) => {
                let why = loader.end().err().map(|error| error.to_string()).unwrap_or_default();
                return Ended::Failed(format!("{name}: {why}"));
            }
            Source::Commands(reader) => match reader.end() {
                Verdict::Complete => reader.file_end(),
                Verdict::Truncated(error) if may_be_torn && core.config.aof_load_truncated => {
                    let at = reader.boundary();
                    let text = format!(
                        "!!! Warning: short read while loading the AOF file {name} ({error}) !!! AOF loaded anyway \
                         because aof-load-truncated is enabled; the file is cut off at offset {at}"
                    );
                    core.log(Level::Warning, text);
                    reader.file_end()
                }
                Verdict::Truncated(error) => {
                    let text = "Unexpected end of file reading the append only file";
                    let also = match may_be_torn {
                        true => ", or set 'aof-load-truncated' to yes",
                        false => "",
                    };
                    return Ended::Failed(refusal(text, &name, &error, &reader, also));
                }
                Verdict::Corrupt(error) => {
                    let text = "Bad file format reading the append only file";
                    return Ended::Failed(refusal(text, &name, &error, &reader, ""));
                }
            },
        };
        self.transaction = Transaction::default();
        if is_base {
            self.base_bytes = self.progress.loaded_bytes;
        }
        self.names.pop_front();
        if self.names.is_empty() {
            return Ended::Done(Box::new(end));
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
    pub(crate) fn missing(&mut self, core: &mut Core) -> Ended {
        let is_old_base = self.manifest.incremental().is_empty() && self.name() == filename(core);
        match self.source {
            Source::Manifest(_) => {
                self.source = Source::Old;
                self.names = VecDeque::from([filename(core)]);
                self.read(core);
                Ended::Continues
            }
            Source::Old => Ended::Missing,
            _ if is_old_base && !self.is_upgraded => {
                self.move_old(core);
                Ended::Continues
            }
            _ => Ended::Failed(format!(
                "{} is in the manifest, but cannot be opened: No such file or directory",
                self.name()
            )),
        }
    }
}

/// Says why a file is refused, what of it is good, and what an operator can do.
fn refusal(what: &str, name: &str, error: &AofError, reader: &AofReader, also: &str) -> String {
    let at = reader.boundary();
    format!(
        "{what} {name}: {error}. Its first {at} bytes are good, and nothing was changed. Make a backup of the folder, then \
         see what 'russet check-aof' says of the manifest and use its option --fix{also}"
    )
}
