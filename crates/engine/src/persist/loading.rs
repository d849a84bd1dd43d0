//! Loading of the dump file at the start and by DEBUG RELOAD.
//!
//! What the reader delivers waits in a queue. Each turn loads small slices of it until its time is
//! used up, so the node can reply with `LOADING` errors meanwhile:
//!
//! ```text
//!   reader ──Bytes──▶ ┌──────┬──────┬──────┐
//!      ▲              │ ███░ │      │      │ ──slice──▶ loader ──▶ keyspace
//!      └──ReadMore─── └──────┴──────┴──────┘
//! ```
//!
//! At the start the keys go directly into the empty keyspace. A reload fills a second one, which replaces
//! the first only when the file is complete: a bad file never replaces good data.

use std::collections::VecDeque;

use russet_protocol::ErrorReply;

use super::aof::load::AofLoad;
use super::fill::{Fill, Filler, SLICE_BYTES, StreamPosition, duplicated, reserve_max};
use super::progress::Progress;
use super::rdb_load::{Fed, LoadSettings, RdbLoader};
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::io::{FileEvent, Garbage, Host, Level, Output};
use crate::keyspace::Keyspace;

/// The purpose of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Start,
    Reload { client: Handle, existing: ExistingKeys },
}

/// How DEBUG RELOAD handles existing keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExistingKeys {
    /// They are removed.
    Remove,
    /// They are kept, and none of them may be in the file (NOFLUSH).
    Keep,
    /// They are kept unless the file replaces them (NOFLUSH MERGE).
    Replace,
}

/// A file being loaded.
#[derive(Debug)]
pub struct Load {
    job: JobId,
    purpose: Purpose,
    loader: RdbLoader,
    /// Events of the file that have not been handled yet.
    events: VecDeque<FileEvent>,
    /// Bytes of the first event that have been loaded.
    taken: usize,
    /// The keyspace filled by a reload.
    fresh: Option<Box<Keyspace>>,
    /// State of filling the keyspace.
    fill: Fill,
    progress: Progress,
    is_finished: bool,
}

/// A DEBUG RELOAD before its load.
#[derive(Debug)]
struct Reload {
    /// The client.
    client: Handle,
    /// How existing keys are handled.
    existing: ExistingKeys,
    /// The save that it waits for; none: its own save waits for another to end.
    job: Option<JobId>,
}

/// The state of loading.
#[derive(Debug, Default)]
pub struct Loading {
    load: Option<Load>,
    /// The append-only file being loaded.
    pub(crate) aof: Option<Box<AofLoad>>,
    /// The client of a DEBUG LOADAOF that waits until all of the file is written.
    pub(crate) aof_wanted: Option<Handle>,
    reload: Option<Reload>,
    /// The replication position in the dump file.
    position: StreamPosition,
    /// Duration of the load at the start, microseconds.
    pub took_us: u64,
}

impl Loading {
    /// Returns the progress of the running load.
    pub fn progress(&self) -> Option<&Progress> {
        let aof = self.aof.as_ref().map(|aof| &aof.progress);
        self.load.as_ref().map(|load| &load.progress).or(aof)
    }

    /// Returns the append-only file being loaded.
    pub fn aof(&self) -> Option<&AofLoad> {
        self.aof.as_deref()
    }

    /// Whether a load is running.
    pub fn is_loading(&self) -> bool {
        self.load.is_some() || self.aof.is_some()
    }

    /// Whether the initial load is running: the data is incomplete.
    pub fn is_loading_at_start(&self) -> bool {
        self.aof.as_ref().is_some_and(|load| load.client.is_none())
            || self.load.as_ref().is_some_and(|load| load.purpose == Purpose::Start)
    }

    /// Starts loading the append-only file, or the dump file, into the empty keyspace.
    pub(crate) fn begin_at_start(&mut self, core: &mut Core) {
        match core.config.appendonly {
            true => self.aof = Some(AofLoad::begin(core, None)),
            false => self.begin_dump_at_start(core),
        }
    }

    /// Starts loading the dump file into the empty keyspace.
    pub(crate) fn begin_dump_at_start(&mut self, core: &mut Core) {
        self.begin(core, Purpose::Start, None);
    }

    /// Takes the replication position of the loaded file.
    pub(crate) fn take_position(&mut self) -> StreamPosition {
        std::mem::take(&mut self.position)
    }

    fn begin(&mut self, core: &mut Core, purpose: Purpose, fresh: Option<Box<Keyspace>>) {
        let job = core.next_job();
        let mut fill = Fill::default();
        fill.allow_duplicates =
            matches!(purpose, Purpose::Reload { existing: ExistingKeys::Replace, .. });
        self.load = Some(Load {
            job,
            purpose,
            loader: RdbLoader::new(LoadSettings::of(core)),
            events: VecDeque::new(),
            taken: 0,
            fresh,
            fill,
            progress: Progress::begin(core, 0),
            is_finished: false,
        });
        let path = core.dump_file();
        core.output(Output::Read { job, path });
    }

    /// Starts a DEBUG RELOAD of a blocked client: an optional save, then a load.
    pub(crate) fn begin_reload(
        &mut self,
        core: &mut Core,
        data: &Keyspace,
        client: Handle,
        existing: ExistingKeys,
        saves_first: bool,
    ) {
        let reload = Reload { client, existing, job: None };
        if saves_first {
            self.reload = Some(reload);
            core.order(Order::SaveForReload);
        } else {
            self.load_for(core, data, &reload);
        }
    }

    /// Whether a reload waits for its save to start.
    pub(crate) fn wants_save(&self) -> bool {
        self.reload.as_ref().is_some_and(|reload| reload.job.is_none())
    }

    /// Handles the start of the save of a reload, or its failure to start.
    pub(crate) fn save_began(&mut self, core: &mut Core, job: Result<JobId, String>) {
        let Some(reload) = self.reload.as_mut() else { return };
        match job {
            Ok(job) => reload.job = Some(job),
            Err(why) => {
                let client = reload.client;
                self.reload = None;
                self.reload_ended(core, client, Err(why));
            }
        }
    }

    /// Handles the end of a save, which a reload may wait for.
    pub(crate) fn saved(
        &mut self,
        core: &mut Core,
        data: &Keyspace,
        job: JobId,
        result: &Result<u64, String>,
    ) {
        let Some(reload) = self.reload.take_if(|reload| reload.job == Some(job)) else {
            core.order(Order::SaveForReload);
            return;
        };
        match result {
            Ok(_) => self.load_for(core, data, &reload),
            Err(why) => self.reload_ended(core, reload.client, Err(why.clone())),
        }
    }

    fn load_for(&mut self, core: &mut Core, data: &Keyspace, reload: &Reload) {
        let fresh = Box::new(data.empty_like());
        let purpose = Purpose::Reload { client: reload.client, existing: reload.existing };
        self.begin(core, purpose, Some(fresh));
    }

    /// Queues an event of the file being loaded.
    pub(crate) fn file_event(&mut self, job: JobId, event: FileEvent) {
        if let Some(aof) = &mut self.aof {
            return aof.file_event(job, event);
        }
        if let Some(load) = self.load.as_mut().filter(|load| load.job == job) {
            load.events.push_back(event);
        }
    }

    /// Whether there is something to load.
    pub(crate) fn has_work(&self, core: &Core) -> bool {
        let has_work = |load: &Load| !load.events.is_empty() && load.progress.is_ready(core);
        self.load.as_ref().is_some_and(has_work)
            || self.aof.as_ref().is_some_and(|aof| aof.has_work())
    }

    /// Loads at least one slice of what has been read, and further ones until `until_us` on the
    /// host's clock.
    pub(crate) fn run(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        host: &mut dyn Host,
        until_us: u64,
    ) {
        while let Some(event) = self.load.as_mut().and_then(|load| load.events.pop_front()) {
            self.handle(core, data, event);
            let is_ready = self.load.as_ref().is_none_or(|load| load.progress.is_ready(core));
            if !is_ready || host.ticks_us() >= until_us {
                break;
            }
        }
    }

    /// Sets the timer of a load that waits, again when it was due.
    pub(crate) fn wait(&self, core: &mut Core) {
        if let Some(load) = &self.load {
            load.progress.wait(core);
        }
    }

    fn handle(&mut self, core: &mut Core, data: &mut Keyspace, event: FileEvent) {
        let Some(load) = &mut self.load else { return };
        match event {
            FileEvent::Opened(total) => {
                load.progress.total_bytes = total;
                load.fill.reserve_max = reserve_max(Some(total));
            }
            FileEvent::Bytes(bytes) => {
                if let Err(why) = load.feed_slice(core, data, &mut self.position, bytes) {
                    core.output(Output::ReadStop { job: load.job });
                    self.ended(core, data, Err(why));
                }
            }
            FileEvent::End if load.is_finished => self.ended(core, data, Ok(())),
            FileEvent::End => {
                let at = load.progress.loaded_bytes;
                let why =
                    format!("Unexpected EOF reading RDB file at offset {at}: it is truncated");
                self.ended(core, data, Err(why));
            }
            FileEvent::Missing if load.purpose == Purpose::Start => {
                self.load = None;
                core.order(Order::LoadedAtStart);
            }
            FileEvent::Missing => self.ended(core, data, Err("there is no dump file".to_owned())),
            FileEvent::Failed(why) => self.ended(core, data, Err(why)),
        }
    }

    fn ended(&mut self, core: &mut Core, data: &mut Keyspace, result: Result<(), String>) {
        let Some(load) = self.load.take() else { return };
        let took_us = core.now.mono_us.saturating_sub(load.progress.began_us);
        if result.is_ok() {
            load.fill.count(core);
        }
        match (load.purpose, result) {
            (Purpose::Start, Ok(())) => {
                self.took_us = took_us;
                let seconds = took_us as f64 / 1e6;
                core.log(Level::Notice, format!("DB loaded from disk: {seconds:.3} seconds"));
                core.order(Order::LoadedAtStart);
            }
            (Purpose::Start, Err(why)) => {
                let name = core.dump_file();
                core.log(Level::Warning, format!("{name}: {why}"));
                core.log(Level::Warning, "Terminating server after rdb file reading failure.");
                let text = "Fatal error loading the DB, check server logs. Exiting.";
                core.order(Order::Stop(text.to_owned()));
            }
            (Purpose::Reload { client, existing }, Ok(())) => {
                let result = load.fresh.map_or(Ok(()), |fresh| merge(core, data, *fresh, existing));
                self.reload_ended(core, client, result);
            }
            (Purpose::Reload { client, .. }, Err(why)) => {
                let keys = load.fresh.as_ref().map_or(0, |fresh| fresh.keys());
                core.free(Garbage::new(keys, load.fresh));
                self.reload_ended(core, client, Err(why));
            }
        }
    }

    fn reload_ended(&mut self, core: &mut Core, client: Handle, result: Result<(), String>) {
        self.position = StreamPosition::default();
        if let Err(why) = &result {
            core.log(Level::Warning, format!("DEBUG RELOAD failed: {why}"));
        }
        let error = ErrorReply::err("Error trying to load the RDB dump, check server logs.");
        core.order(Order::Reloaded { client, result: result.map_err(|_| error) });
    }
}

impl Load {
    /// Loads a slice of a piece of the file. What remains of the piece is the next event.
    fn feed_slice(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: &mut StreamPosition,
        bytes: Vec<u8>,
    ) -> Result<(), String> {
        let end = bytes.len().min(self.taken + SLICE_BYTES);
        self.feed(core, data, position, &bytes[self.taken..end])?;
        self.taken = end;
        if end < bytes.len() {
            self.events.push_front(FileEvent::Bytes(bytes));
        } else {
            self.taken = 0;
            core.output(Output::ReadMore { job: self.job });
        }
        Ok(())
    }

    fn feed(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        position: &mut StreamPosition,
        bytes: &[u8],
    ) -> Result<(), String> {
        if self.is_finished {
            return Ok(());
        }
        self.fill.drop_expired = !core.is_replica;
        let (now_ms, clock) = (data.now_ms, data.clock);
        let keyspace = self.fresh.as_deref_mut().unwrap_or(data);
        (keyspace.now_ms, keyspace.clock) = (now_ms, clock);
        let filler = Filler::new(keyspace, &core.config, position, &mut self.fill);
        let fed = filler.feed(&mut self.loader, bytes);
        self.progress.note(core, &mut self.fill);
        self.progress.loaded_bytes += bytes.len() as u64;
        self.progress.delay(core, self.fill.keys);
        let fed = fed?;
        self.is_finished = matches!(fed, Fed::Done { .. });
        Ok(())
    }
}

/// Moves the keys of a complete reload into the keyspace.
fn merge(
    core: &mut Core,
    data: &mut Keyspace,
    fresh: Keyspace,
    existing: ExistingKeys,
) -> Result<(), String> {
    if existing == ExistingKeys::Keep
        && let Some((db, key)) = data.common_key(&fresh)
    {
        core.free(Garbage::new(fresh.keys(), fresh));
        return Err(duplicated(&key, db));
    }
    match existing {
        ExistingKeys::Remove => data.replace_all(fresh),
        ExistingKeys::Keep | ExistingKeys::Replace => data.merge(fresh),
    }
    core.log(Level::Notice, "DB reloaded by DEBUG RELOAD");
    Ok(())
}
