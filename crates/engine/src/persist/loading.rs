//! Loading: the dump file at the start, and DEBUG RELOAD.
//!
//! Bytes arrive piece by piece, so the node answers `LOADING` meanwhile instead of being deaf. At the start the keys go
//! straight into the empty keyspace. A reload fills a second one, which takes the first one's
//! place only when the file has turned out whole: a bad file never replaces good data.

use super::fill::{Fill, Filler, StreamPosition, keys_expected};
use super::rdb_load::{Fed, LoadSettings, RdbLoader};
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::io::{FileEvent, Garbage, Level, Output};
use crate::keyspace::Keyspace;

/// What a file is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Start,
    Reload { client: Handle, onto: Onto },
}

/// What DEBUG RELOAD does with the keys that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Onto {
    /// They go.
    Nothing,
    /// They stay, and none of them may be in the file (NOFLUSH).
    Others,
    /// They stay, but for those that are in the file (NOFLUSH MERGE).
    Any,
}

/// A file being loaded.
#[derive(Debug)]
pub struct Load {
    job: JobId,
    purpose: Purpose,
    loader: RdbLoader,
    /// Where a reload puts its keys until it is over.
    fresh: Option<Box<Keyspace>>,
    /// Length of the file.
    pub total_bytes: u64,
    /// How far its content has been put into the keyspace.
    fill: Fill,
    /// Bytes digested.
    pub loaded_bytes: u64,
    /// Wall clock seconds at its start.
    pub began_secs: i64,
    began_us: u64,
    is_finished: bool,
}

/// DEBUG RELOAD between its save and its load.
#[derive(Debug)]
struct Reload {
    /// Who called it.
    client: Handle,
    /// What becomes of the keys that are there.
    onto: Onto,
    /// The save that it waits for; none: for another to end before its own begins.
    job: Option<JobId>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Loading {
    load: Option<Load>,
    reload: Option<Reload>,
    /// What the dump file said of its place in a replication stream.
    position: StreamPosition,
    /// Keys read from the dump file at the start.
    pub keys_loaded: u64,
    /// Keys in it that were past their time.
    pub keys_expired: u64,
    /// Microseconds that the load at the start took.
    pub took_us: u64,
}

/// What a loader may accept.
pub(crate) fn load_settings(core: &Core) -> LoadSettings {
    LoadSettings {
        string_bytes_max: core.config.proto_max_bulk_len,
        checksum: core.config.rdbchecksum,
    }
}

impl Loading {
    /// The file being loaded.
    pub fn current(&self) -> Option<&Load> {
        self.load.as_ref()
    }

    /// Whether a file is being loaded.
    pub fn is_loading(&self) -> bool {
        self.load.is_some()
    }

    /// Whether the data is being loaded for the first time: there is nothing whole yet.
    pub fn is_loading_at_start(&self) -> bool {
        self.load.as_ref().is_some_and(|load| load.purpose == Purpose::Start)
    }

    /// Starts to load the dump file into the empty keyspace.
    pub(crate) fn begin_at_start(&mut self, core: &mut Core) {
        self.begin(core, Purpose::Start, None);
    }

    /// What the file that was loaded said of its place in a replication stream.
    pub(crate) fn take_position(&mut self) -> StreamPosition {
        std::mem::take(&mut self.position)
    }

    fn begin(&mut self, core: &mut Core, purpose: Purpose, fresh: Option<Box<Keyspace>>) {
        let job = core.next_job();
        self.load = Some(Load {
            job,
            purpose,
            loader: RdbLoader::new(load_settings(core)),
            fresh,
            total_bytes: 0,
            fill: Fill::default(),
            loaded_bytes: 0,
            began_secs: core.now.wall_secs(),
            began_us: core.now.mono_us,
            is_finished: false,
        });
        let path = core.dump_file();
        core.output(Output::Read { job, path });
    }

    /// DEBUG RELOAD, whose client waits: saves, if it is to, and loads the dump file.
    pub(crate) fn begin_reload(
        &mut self,
        core: &mut Core,
        data: &Keyspace,
        client: Handle,
        onto: Onto,
        saves_first: bool,
    ) {
        let reload = Reload { client, onto, job: None };
        if saves_first {
            self.reload = Some(reload);
            core.order(Order::SaveForReload);
        } else {
            self.load_for(core, data, &reload);
        }
    }

    /// Whether a reload waits for its save to begin.
    pub(crate) fn wants_save(&self) -> bool {
        self.reload.as_ref().is_some_and(|reload| reload.job.is_none())
    }

    /// The save that a reload waits for has begun, or could not.
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

    /// A save ended that DEBUG RELOAD may have waited for.
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
        let purpose = Purpose::Reload { client: reload.client, onto: reload.onto };
        self.begin(core, purpose, Some(fresh));
    }

    /// News of a file, if it is the one being loaded.
    pub(crate) fn file_event(
        &mut self,
        core: &mut Core,
        data: &mut Keyspace,
        job: JobId,
        event: FileEvent,
    ) {
        let Some(load) = self.load.as_mut().filter(|load| load.job == job) else { return };
        match event {
            FileEvent::Opened(total) => {
                load.total_bytes = total;
                load.fill.keys_max = keys_expected(Some(total));
            }
            FileEvent::Bytes(bytes) => match load.digest(core, data, &mut self.position, &bytes) {
                Ok(()) => core.output(Output::ReadMore { job }),
                Err(why) => {
                    core.output(Output::ReadStop { job });
                    self.ended(core, data, Err(why));
                }
            },
            FileEvent::End if load.is_finished => self.ended(core, data, Ok(())),
            FileEvent::End => {
                let at = load.loaded_bytes;
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
        let took_us = core.now.mono_us.saturating_sub(load.began_us);
        match (load.purpose, result) {
            (Purpose::Start, Ok(())) => {
                self.took_us = took_us;
                let Fill { keys, expired, .. } = load.fill;
                (self.keys_loaded, self.keys_expired) = (keys, expired);
                let text =
                    format!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
                core.log(Level::Notice, text);
                let seconds = took_us as f64 / 1e6;
                core.log(Level::Notice, format!("DB loaded from disk: {seconds:.3} seconds"));
                core.order(Order::LoadedAtStart);
            }
            (Purpose::Start, Err(why)) => {
                let name = core.dump_file();
                core.log(Level::Warning, format!("{name}: {why}"));
                let text = "Fatal error loading the DB, check server logs. Exiting.";
                core.log(Level::Warning, text);
                core.output(Output::Exit(1));
            }
            (Purpose::Reload { client, onto }, Ok(())) => {
                let put = load.fresh.map_or(Ok(()), |fresh| put_onto(core, data, *fresh, onto));
                self.reload_ended(core, client, put);
            }
            (Purpose::Reload { client, .. }, Err(why)) => {
                core.output(Output::Garbage(Garbage(Box::new(load.fresh))));
                self.reload_ended(core, client, Err(why));
            }
        }
    }

    fn reload_ended(&mut self, core: &mut Core, client: Handle, result: Result<(), String>) {
        self.position = StreamPosition::default();
        if let Err(why) = &result {
            core.log(Level::Warning, format!("DEBUG RELOAD failed: {why}"));
        }
        core.order(Order::Reloaded { client, is_ok: result.is_ok() });
    }
}

impl Load {
    fn digest(
        &mut self,
        core: &Core,
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
        let mut filler = Filler::new(keyspace, &core.config, position, &mut self.fill);
        let fed = self.loader.feed(bytes, &mut filler);
        filler.finish();
        self.loaded_bytes += bytes.len() as u64;
        match fed {
            Ok(Fed::NeedMore) => Ok(()),
            Ok(Fed::Done { .. }) => {
                self.is_finished = true;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// The keys of a file that turned out whole take their place.
fn put_onto(
    core: &mut Core,
    data: &mut Keyspace,
    fresh: Keyspace,
    onto: Onto,
) -> Result<(), String> {
    if onto == Onto::Others
        && let Some((db, key)) = data.common_key(&fresh)
    {
        let key = String::from_utf8_lossy(&key).into_owned();
        core.output(Output::Garbage(Garbage(Box::new(fresh))));
        return Err(format!("RDB has duplicated key '{key}' in DB {db}"));
    }
    match onto {
        Onto::Nothing => data.replace_all(fresh),
        Onto::Others | Onto::Any => data.merge(fresh),
    }
    core.log(Level::Notice, "DB reloaded by DEBUG RELOAD");
    Ok(())
}
