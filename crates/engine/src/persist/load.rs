//! Loading: the dump file at the start, and DEBUG RELOAD.
//!
//! Bytes arrive piece by piece, so the node answers `LOADING` meanwhile instead of being deaf. At the start the keys go
//! straight into the empty keyspace. A reload fills a second one, which takes the first one's
//! place only when the file has turned out whole: a bad file never replaces good data.

use russet_protocol::ErrorReply;

use crate::client::Waiting;
use crate::io::{FileEvent, Garbage, Handle, JobId, Level, Output};
use crate::keyspace::Keyspace;
use crate::node::{Node, Standstill};
use crate::persist::fill::{Filler, StreamPosition, keys_expected};
use crate::persist::rdb_load::{Fed, LoadSettings, RdbLoader};

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
    /// For how many keys room may still be made before they come.
    keys_max: u64,
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

    /// Whether the data is being loaded for the first time: there is nothing whole yet.
    pub(crate) fn is_loading_at_start(&self) -> bool {
        self.persist.load.as_ref().is_some_and(|load| load.purpose == Purpose::Start)
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
            keys_max: 0,
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

    /// Begins the save that a reload waits for, if none is under way that must end first.
    pub(crate) fn save_for_reload(&mut self) {
        let waits = self.persist.reload.as_ref().is_some_and(|reload| reload.job.is_none());
        if !waits || self.persist.save().is_some() || self.is_leaving() {
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
            self.save_for_reload();
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
            FileEvent::Opened(total) => {
                load.total_bytes = total;
                load.keys_max = keys_expected(Some(total));
            }
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
        let position = &mut self.repl.loaded_position;
        let keys_max = &mut load.keys_max;
        let mut filler = Filler::new(keyspace, position, keys_max, load.db, drop_expired);
        let fed = load.loader.feed(bytes, &mut filler);
        let filled = filler.finish();
        load.db = filled.db;
        load.counts.keys += filled.keys;
        load.counts.expired += filled.expired;
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
                self.log(Level::Warning, format!("{name}: {why}"));
                let text = "Fatal error loading the DB, check server logs. Exiting.";
                self.log(Level::Warning, text);
                self.output(Output::Exit(1));
            }
            (Purpose::Reload { client, onto }, Ok(())) => {
                let put = load.fresh.map_or(Ok(()), |fresh| self.put_onto(*fresh, onto));
                self.reload_ended(client, put);
            }
            (Purpose::Reload { client, .. }, Err(why)) => {
                self.output(Output::Garbage(Garbage(Box::new(load.fresh))));
                self.reload_ended(client, Err(why));
            }
        }
    }

    /// The keys of a file that turned out whole take their place.
    fn put_onto(&mut self, fresh: Keyspace, onto: Onto) -> Result<(), String> {
        if onto == Onto::Others
            && let Some((db, key)) = self.keyspace.common_key(&fresh)
        {
            let key = String::from_utf8_lossy(&key).into_owned();
            self.output(Output::Garbage(Garbage(Box::new(fresh))));
            return Err(format!("RDB has duplicated key '{key}' in DB {db}"));
        }
        match onto {
            Onto::Nothing => self.keyspace.replace_all(fresh),
            Onto::Others | Onto::Any => self.keyspace.merge(fresh),
        }
        // Now, or it would break the transaction that a watcher opens after its next EXEC.
        self.break_transactions();
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
        self.saved_now();
        if self.config.port != 0 {
            self.log(Level::Notice, "Ready to accept connections tcp");
        }
        if !self.config.unixsocket.is_empty() {
            self.log(Level::Notice, "Ready to accept connections unix");
        }
        self.output(Output::Ready { waits_for_master: self.repl.is_replica() });
        self.begin_replication();
    }
}
