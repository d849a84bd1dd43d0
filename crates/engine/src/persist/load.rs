//! Loading: the dump file at the start, and DEBUG RELOAD.
//!
//! Bytes arrive piece by piece, so the node answers `LOADING` meanwhile instead of being deaf. At the start the keys go
//! straight into the empty keyspace. A reload fills a second one, which takes the first one's
//! place only when the file has turned out whole: a bad file never replaces good data.

use russet_protocol::ErrorReply;

use crate::client::Waiting;
use crate::io::{FileEvent, Handle, JobId, Level, Output};
use crate::keyspace::{Expiry, Keyspace};
use crate::node::{Node, Standstill};
use crate::persist::Access;
use crate::persist::rdb_load::{Fed, LoadSettings, LoadedValue, RdbLoader, RdbSink, Refusal};

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
    /// Bytes digested.
    pub loaded_bytes: u64,
    /// Wall clock seconds at its start.
    pub began_secs: i64,
    began_us: u64,
    counts: Counts,
    db: u32,
    finished: bool,
}

/// DEBUG RELOAD between its save and its load.
#[derive(Debug)]
pub struct Reload {
    /// Who called it.
    pub client: Handle,
    /// What becomes of the keys that are there.
    pub onto: Onto,
    /// The save that it waits for; none: for another to end before its own begins.
    pub job: Option<JobId>,
}

#[derive(Debug, Default)]
struct Counts {
    keys: u64,
    expired: u64,
}

/// What a file may say about replication: where its data stands in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Replication id.
    pub id: String,
    /// Offset.
    pub offset: i64,
    /// Database that the stream had selected.
    pub db: u32,
}

/// Puts what a loader finds into a keyspace.
pub(crate) struct Filler<'a> {
    pub keyspace: &'a mut Keyspace,
    pub db: u32,
    /// Keys past their time are left out; a replica keeps them until its master speaks.
    pub drop_expired: bool,
    pub keys: u64,
    pub expired: u64,
    pub position: &'a mut StreamPosition,
}

impl RdbSink for Filler<'_> {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"repl-id" => self.position.id = text(),
            b"repl-offset" => self.position.offset = text().parse().unwrap_or(0),
            b"repl-stream-db" => self.position.db = text().parse().unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    fn resize(&mut self, _keys: u64, _expires: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        let count = self.keyspace.count();
        self.db = u32::try_from(db).ok().filter(|&db| db < count).ok_or_else(|| {
            Refusal(format!(
                "FATAL: Data file was created with a Redis server configured to handle more than \
                 {count} databases."
            ))
        })?;
        Ok(())
    }

    fn entry(
        &mut self,
        key: &[u8],
        value: LoadedValue<'_>,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        // A file that stands in a history (its head says so) holds what replicas of that history hold, who
        // may go on with us: keys past their time then end by deletes that they are told of.
        let drops = self.drop_expired && self.position.id.is_empty();
        if drops && expiry.is_some_and(|at| self.keyspace.is_past(at)) {
            self.expired += 1;
            return Ok(());
        }
        let key = self.keyspace.hasher().key(key);
        let LoadedValue::String(bytes) = value;
        self.keyspace
            .edit(self.db, key)
            .set_string(&bytes, expiry.map_or(Expiry::Clear, Expiry::At));
        self.keys += 1;
        Ok(())
    }
}

impl Node {
    /// Starts to load the dump file into the empty keyspace.
    pub(crate) fn load_at_start(&mut self) {
        self.begin_load(Purpose::Start, None);
    }

    /// What a loader may accept.
    pub(crate) fn load_settings(&self) -> LoadSettings {
        LoadSettings {
            string_bytes_max: self.config.proto_max_bulk_len,
            checksum: self.config.rdbchecksum,
        }
    }

    fn begin_load(&mut self, purpose: Purpose, fresh: Option<Box<Keyspace>>) {
        self.last_job += 1;
        let job = JobId(self.last_job);
        self.persist.load = Some(Load {
            job,
            purpose,
            loader: RdbLoader::new(self.load_settings()),
            fresh,
            total_bytes: 0,
            loaded_bytes: 0,
            began_secs: self.now.wall_secs(),
            began_us: self.now.mono_us,
            counts: Counts::default(),
            db: 0,
            finished: false,
        });
        self.output(Output::Read { job, path: self.dump_file() });
    }

    /// DEBUG RELOAD: saves, if it is to, and loads the dump file. Nobody is served meanwhile.
    pub(crate) fn begin_reload(&mut self, client: Handle, onto: Onto, save: bool) {
        self.standstill = Some(Standstill::Reload(client));
        self.block(client, Waiting::Node, None);
        let reload = Reload { client, onto, job: None };
        if save {
            self.persist.reload = Some(reload);
            self.save_for_reload();
        } else {
            self.reload(&reload);
        }
    }

    /// Begins the save, if none is under way that must end first.
    fn save_for_reload(&mut self) {
        if self.persist.save().is_some() {
            return;
        }
        let job = self.begin_save();
        let Some(reload) = self.persist.reload.as_mut() else { return };
        let client = reload.client;
        match job {
            Ok(job) => reload.job = Some(job),
            Err(error) => {
                self.persist.reload = None;
                self.reload_ended(client, Err(error.to_string()));
            }
        }
    }

    fn reload(&mut self, reload: &Reload) {
        let fresh = Box::new(self.keyspace.empty_like());
        let purpose = Purpose::Reload { client: reload.client, onto: reload.onto };
        self.begin_load(purpose, Some(fresh));
    }

    /// A save ended that DEBUG RELOAD may have waited for.
    pub(crate) fn reload_saved(&mut self, job: JobId, result: &Result<u64, String>) {
        let Some(reload) = self.persist.reload.take_if(|reload| reload.job == Some(job)) else {
            if self.persist.reload.as_ref().is_some_and(|reload| reload.job.is_none()) {
                self.save_for_reload();
            }
            return;
        };
        match result {
            Ok(_) => self.reload(&reload),
            Err(why) => self.reload_ended(reload.client, Err(why.clone())),
        }
    }

    /// News of a file.
    pub(crate) fn file_event(&mut self, job: JobId, mut event: FileEvent) {
        if self.file_sync_event(job, &mut event) {
            return;
        }
        let Some(load) = self.persist.load.as_mut().filter(|load| load.job == job) else { return };
        match event {
            FileEvent::Opened(total) => load.total_bytes = total,
            FileEvent::Bytes(bytes) => match self.digest(&bytes) {
                Ok(()) => self.output(Output::ReadMore { job }),
                Err(why) => {
                    self.output(Output::ReadStop { job });
                    self.load_ended(Err(why));
                }
            },
            FileEvent::End if load.finished => self.load_ended(Ok(())),
            FileEvent::End => {
                let at = load.loaded_bytes;
                let why =
                    format!("Unexpected EOF reading RDB file at offset {at}: it is truncated");
                self.load_ended(Err(why));
            }
            FileEvent::Missing if load.purpose == Purpose::Start => {
                self.persist.load = None;
                self.ready_to_serve();
            }
            FileEvent::Missing => self.load_ended(Err("there is no dump file".to_owned())),
            FileEvent::Failed(why) => self.load_ended(Err(why)),
        }
    }

    fn digest(&mut self, bytes: &[u8]) -> Result<(), String> {
        let Some(load) = self.persist.load.as_mut() else { return Ok(()) };
        if load.finished {
            return Ok(());
        }
        let drop_expired = !self.repl.is_replica();
        let (now_ms, clock) = (self.keyspace.now_ms, self.keyspace.clock);
        let keyspace = load.fresh.as_deref_mut().unwrap_or(&mut self.keyspace);
        (keyspace.now_ms, keyspace.clock) = (now_ms, clock);
        let mut filler = Filler {
            keyspace,
            db: load.db,
            drop_expired,
            keys: 0,
            expired: 0,
            position: &mut self.repl.loaded_position,
        };
        let fed = load.loader.feed(bytes, &mut filler);
        load.db = filler.db;
        load.counts.keys += filler.keys;
        load.counts.expired += filler.expired;
        load.loaded_bytes += bytes.len() as u64;
        match fed {
            Ok(Fed::NeedMore) => Ok(()),
            Ok(Fed::Done { .. }) => {
                load.finished = true;
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn load_ended(&mut self, result: Result<(), String>) {
        let Some(load) = self.persist.load.take() else { return };
        let took_us = self.now.mono_us.saturating_sub(load.began_us);
        match (load.purpose, result) {
            (Purpose::Start, Ok(())) => {
                self.persist.keys_loaded = load.counts.keys;
                self.persist.keys_expired_in_file = load.counts.expired;
                self.persist.load_took_us = took_us;
                self.persist.saved_dirty = self.keyspace.dirty;
                let (keys, expired) = (load.counts.keys, load.counts.expired);
                let text =
                    format!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
                self.log(Level::Notice, text);
                let seconds = took_us as f64 / 1e6;
                self.log(Level::Notice, format!("DB loaded from disk: {seconds:.3} seconds"));
                self.adopt_loaded_position();
                self.ready_to_serve();
            }
            (Purpose::Start, Err(why)) => {
                let name = self.dump_file();
                let text = format!(
                    "Fatal error loading the DB, check server logs. {name}: {why}. Exiting."
                );
                self.log(Level::Warning, text);
                self.output(Output::Exit(1));
            }
            (Purpose::Reload { client, onto }, Ok(())) => {
                let put = load.fresh.map_or(Ok(()), |fresh| self.put_onto(*fresh, onto));
                self.reload_ended(client, put);
            }
            (Purpose::Reload { client, .. }, Err(why)) => self.reload_ended(client, Err(why)),
        }
    }

    /// The keys of a file that turned out whole take their place.
    fn put_onto(&mut self, fresh: Keyspace, onto: Onto) -> Result<(), String> {
        if onto == Onto::Others
            && let Some((db, key)) = self.keyspace.common_key(&fresh)
        {
            let key = String::from_utf8_lossy(&key).into_owned();
            return Err(format!("RDB has duplicated key '{key}' in DB {db}"));
        }
        match onto {
            Onto::Nothing => self.keyspace.replace_all(fresh),
            Onto::Others | Onto::Any => self.keyspace.merge(fresh),
        }
        self.persist.saved_dirty = self.keyspace.dirty;
        self.log(Level::Notice, "DB reloaded by DEBUG RELOAD");
        Ok(())
    }

    fn reload_ended(&mut self, client: Handle, result: Result<(), String>) {
        self.standstill = None;
        self.repl.loaded_position = StreamPosition::default();
        match result {
            Ok(()) => self.with_reply(client, |_, reply| reply.ok()),
            Err(why) => {
                self.log(Level::Warning, format!("DEBUG RELOAD failed: {why}"));
                let text = "Error trying to load the RDB dump, check server logs.";
                self.reply_error(client, &ErrorReply::err(text));
            }
        }
        self.resume(client);
        self.go_on_with_exec(client);
    }

    /// Loading, if there was any, is over: clients may come.
    pub(crate) fn ready_to_serve(&mut self) {
        self.persist.last_save_secs = self.now.wall_secs();
        if self.config.port != 0 {
            self.log(Level::Notice, "Ready to accept connections tcp");
        }
        if !self.config.unixsocket.is_empty() {
            self.log(Level::Notice, "Ready to accept connections unix");
        }
        self.begin_replication();
    }
}
