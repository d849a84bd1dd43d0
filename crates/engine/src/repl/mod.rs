//! Replication: one stream of effects, and those who follow it.
//!
//! A master turns effects into a stream of bytes, keeps its recent past in a backlog and gives it to replicas
//! (`master.rs`, with `file_sync.rs`, `acks.rs` and `tending.rs`). A replica follows its master's stream, applies
//! it, and passes the same bytes on to its own replicas, so that a whole chain has one history and one count of
//! bytes (`replica.rs`, with `handshake.rs`, `payload.rs` and `stream.rs`). `psync.rs` decides who may go on where
//! it stopped.

mod acks;
pub mod backlog;
pub(crate) mod file_sync;
mod handshake;
pub mod master;
mod payload;
pub mod psync;
pub mod replica;
mod stream;
mod tending;

use std::sync::Arc;

use crate::config::Config;
use crate::io::Handle;
use crate::node::Node;
use crate::persist::fill::StreamPosition;
use crate::rng::Rng;
use backlog::Backlog;
use psync::Histories;
use replica::MasterLink;

/// What replication counts, for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplStats {
    /// Full synchronisations given.
    pub full: u64,
    /// Partial ones given.
    pub partial_ok: u64,
    /// Partial ones asked for and refused.
    pub partial_err: u64,
}

/// State of replication, both ways.
#[derive(Debug)]
pub struct Repl {
    /// The histories that our data belongs to.
    pub histories: Histories,
    /// Bytes of the stream so far: `master_repl_offset`.
    offset: i64,
    /// The stream's recent past; made when the first replica comes.
    pub backlog: Option<Backlog>,
    /// Database that the stream has selected; none: the next effect must select its own.
    selected: Option<u32>,
    /// Bytes of the stream since it last went out.
    open: Vec<u8>,
    replicas: Vec<Handle>,
    /// Monotonic microseconds since which there is no replica.
    pub(crate) none_since_us: Option<u64>,
    /// The master that we follow, if we do.
    pub master: Option<MasterLink>,
    /// What the loaded dump file said of its place.
    pub(crate) loaded_position: StreamPosition,
    /// The dump file was last written for replicas only.
    pub(crate) dump_is_for_sync: bool,
    /// Full synchronisations by file that are saved or read.
    pub(crate) by_file: Vec<file_sync::FileSync>,
    /// Counters.
    pub stats: ReplStats,
    /// Monotonic microseconds of the last PING in the stream.
    pub(crate) last_ping_us: u64,
    /// A replica that goes on: from where, until its reply stands.
    pub(crate) resume_from: Option<(Handle, i64)>,
    /// Bytes that our master's stream brought for a transaction that is not complete.
    pub(crate) partial_transaction: Vec<u8>,
    /// Somebody wants replicas to acknowledge; they are asked at the turn's end.
    pub(crate) acks_wanted: bool,
    /// A replica has acknowledged something in this turn.
    pub(crate) acks_came: bool,
    /// What the log knows of requests of our master's that failed.
    pub(crate) failures_told: stream::FailuresTold,
}

impl Repl {
    /// A master without replicas, with a new history.
    pub fn new(rng: &mut Rng) -> Repl {
        Repl {
            histories: Histories::new(rng.hex40()),
            offset: 0,
            backlog: None,
            selected: None,
            open: Vec::new(),
            replicas: Vec::new(),
            none_since_us: None,
            master: None,
            loaded_position: StreamPosition::default(),
            dump_is_for_sync: false,
            by_file: Vec::new(),
            stats: ReplStats::default(),
            last_ping_us: 0,
            resume_from: None,
            partial_transaction: Vec::new(),
            acks_wanted: false,
            acks_came: false,
            failures_told: Default::default(),
        }
    }

    /// `master_repl_offset`.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Whether we follow a master.
    pub fn is_replica(&self) -> bool {
        self.master.is_some()
    }

    /// Connections of our replicas.
    pub fn replicas(&self) -> &[Handle] {
        &self.replicas
    }

    /// Whether there is anything that its timer must look after.
    pub(crate) fn needs_tending(&self) -> bool {
        self.master.is_some() || !self.replicas.is_empty() || self.none_since_us.is_some()
    }

    /// Whether we follow a master, have lost it, and must not answer with what may be old.
    pub fn is_stale(&self, config: &Config) -> bool {
        !config.replica_serve_stale_data && self.master.as_ref().is_some_and(|m| !m.is_online())
    }

    /// Appends to the stream.
    fn feed(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.offset += bytes.len() as i64;
    }

    fn feed_effect(&mut self, db: u32, bytes: &[u8]) {
        self.select(db);
        self.feed(bytes);
    }

    fn select(&mut self, db: u32) {
        if self.selected != Some(db) {
            let mut select = Vec::new();
            russet_protocol::reply::push_command(
                &mut select,
                &[&b"SELECT"[..], db.to_string().as_bytes()],
            );
            self.feed(&select);
            self.selected = Some(db);
        }
    }

    /// Database that the stream has selected at our offset.
    pub fn stream_db(&self) -> u32 {
        match &self.master {
            Some(master) => master.selected_db,
            None => self.selected.unwrap_or(0),
        }
    }

    /// Where the data stands in the stream, to be kept in a dump file; none if nothing follows it.
    pub(crate) fn position_for_snapshot(&self) -> Option<(u32, String, i64)> {
        let known = self.backlog.is_some() || self.is_replica();
        known.then(|| (self.stream_db(), self.histories.id.clone(), self.offset))
    }

    /// Starts to keep the stream.
    fn begin_backlog(&mut self, size_max: usize) {
        self.flush_pending_into_nothing();
        self.backlog = Some(Backlog::new(self.offset + 1, size_max));
    }

    /// Without a backlog nobody wants the bytes of this turn.
    fn flush_pending_into_nothing(&mut self) {
        self.open.clear();
    }
}

impl Node {
    /// The gathered effects go into the stream.
    pub(crate) fn flush_effects(&mut self) {
        self.flush_effects_as(self.effects.len() > 1);
    }

    /// [`Node::flush_effects`] of effects that have nothing to do with each other: no replica need see them at once.
    pub(crate) fn flush_effects_apart(&mut self) {
        self.flush_effects_as(false);
    }

    fn flush_effects_as(&mut self, several: bool) {
        if self.effects.is_empty() {
            return;
        }
        let repl = &mut self.repl;
        let mut first = true;
        self.effects.drain(|db, bytes| {
            if first && several {
                repl.feed(b"*1\r\n$5\r\nMULTI\r\n");
            }
            first = false;
            repl.feed_effect(db, bytes);
        });
        if several {
            repl.feed(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }

    /// The stream's new bytes go to the backlog and into every replica's outbox.
    pub(crate) fn flush_stream(&mut self) {
        if self.repl.open.is_empty() {
            return;
        }
        let bytes = Arc::new(std::mem::take(&mut self.repl.open));
        for index in 0..self.repl.replicas.len() {
            let handle = self.repl.replicas[index];
            let Some(client) = self.clients.get_mut(handle) else { continue };
            if client.follows_stream() {
                client.wire.outbox.push_shared(bytes.clone());
                self.mark_dirty(handle);
            }
        }
        for handle in self.repl.replicas.clone() {
            self.enforce_output_limit(handle);
        }
        let bytes = self.planted_skip(bytes);
        if let Some(backlog) = &mut self.repl.backlog {
            backlog.append(bytes);
        }
    }

    /// Whether effects must be encoded at all.
    pub(crate) fn update_listening(&mut self) {
        self.effects.listening = self.repl.backlog.is_some() && !self.repl.is_replica();
    }
}
