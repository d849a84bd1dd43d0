//! The replication stream: a master's effects as bytes with one count, and their recent past.
//!
//! It is one sink of the journal, with a SELECT of its own. A replica's stream consists of its master's bytes, which are
//! passed on as they came, so that a whole chain has one history and one count.

use std::sync::Arc;

use russet_protocol::reply::push_command;

use super::backlog::Backlog;
use super::psync::ReplicationIds;
use crate::core::Core;
use crate::injected::Bug;
use crate::journal::{Journal, Origin, Sink, Unit};
use crate::persist::fill::StreamPosition;
use crate::rng::Rng;

/// See the module.
#[derive(Debug)]
pub struct Stream {
    /// The histories that our data belongs to.
    pub ids: ReplicationIds,
    /// Bytes of the stream so far: `master_repl_offset`.
    offset: i64,
    /// The stream's recent past; made when the first replica comes.
    pub backlog: Option<Backlog>,
    /// Database that the stream has selected; none: the next effect must select its own.
    selected: Option<u32>,
    /// Bytes of the stream since it last went out.
    open: Vec<u8>,
    /// Effects of our own go into it: we follow no master.
    is_local: bool,
}

impl Sink for Stream {
    fn listens(&self, origin: Origin) -> bool {
        origin == Origin::Local && self.is_local && self.backlog.is_some()
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        if unit.is_atomic {
            self.append(b"*1\r\n$5\r\nMULTI\r\n");
        }
        for (db, command) in unit.iter() {
            self.select(db);
            self.append(command);
        }
        if unit.is_atomic {
            self.append(b"*1\r\n$4\r\nEXEC\r\n");
        }
    }
}

impl Stream {
    /// A stream with a new history, that nobody follows.
    pub fn new(rng: &mut Rng) -> Stream {
        Stream {
            ids: ReplicationIds::new(rng.hex40()),
            offset: 0,
            backlog: None,
            selected: None,
            open: Vec::new(),
            is_local: true,
        }
    }

    /// `master_repl_offset`.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.offset += bytes.len() as i64;
    }

    /// Appends a command that changes no data: PING, REPLCONF GETACK.
    pub(super) fn append_command(&mut self, args: &[&[u8]]) {
        let before = self.open.len();
        push_command(&mut self.open, args);
        self.offset += (self.open.len() - before) as i64;
    }

    fn select(&mut self, db: u32) {
        if self.selected != Some(db) {
            self.append_command(&[b"SELECT", db.to_string().as_bytes()]);
            self.selected = Some(db);
        }
    }

    /// Database that a stream of our own has selected.
    pub(crate) fn selected_db(&self) -> u32 {
        self.selected.unwrap_or(0)
    }

    /// The next effect selects its database again: whoever comes now has none selected.
    pub(super) fn forget_selection(&mut self) {
        self.selected = None;
    }

    /// Whether effects of our own go into it, and whether the journal must encode them.
    pub(super) fn set_local(&mut self, journal: &mut Journal, is_local: bool) {
        self.is_local = is_local;
        self.update_listening(journal);
    }

    fn update_listening(&self, journal: &mut Journal) {
        journal.set_stream_listens(self.listens(Origin::Local));
    }

    /// What was appended since the last call, to be sent to replicas; the backlog has it too then.
    pub(super) fn take_new(&mut self, core: &Core) -> Option<Arc<Vec<u8>>> {
        if self.open.is_empty() {
            return None;
        }
        let bytes = Arc::new(std::mem::take(&mut self.open));
        if let Some(backlog) = &mut self.backlog {
            let skips = core.injected(Bug::SkippedBacklogByte) && bytes.len() % 7 == 3;
            backlog.append(if skips { Arc::new(bytes[1..].to_vec()) } else { bytes.clone() });
        }
        Some(bytes)
    }

    /// Starts to keep the stream: what was not kept so far is lost.
    pub(super) fn begin_backlog(&mut self, core: &Core, journal: &mut Journal) {
        self.open.clear();
        self.backlog = Some(Backlog::new(self.offset + 1, core.config.repl_backlog_size as usize));
        self.update_listening(journal);
    }

    /// Starts to keep the stream if it is not kept.
    pub(super) fn ensure_backlog(&mut self, core: &Core, journal: &mut Journal) {
        if self.backlog.is_none() {
            self.begin_backlog(core, journal);
        }
    }

    /// Nobody needs the past any more. What is written from now on is kept nowhere, so it is another history.
    pub(super) fn drop_backlog(&mut self, core: &mut Core, journal: &mut Journal) {
        self.backlog = None;
        self.change_id(&mut core.rng);
        self.update_listening(journal);
    }

    /// Another history begins: replicas cannot go on with the old one.
    pub fn change_id(&mut self, rng: &mut Rng) {
        self.ids.id = rng.hex40();
        self.ids.forget_former();
    }

    /// The stream stands at another place: a full synchronisation or a dump file says where.
    pub(super) fn restart_at(&mut self, core: &Core, journal: &mut Journal, offset: i64) {
        self.offset = offset;
        self.begin_backlog(core, journal);
    }

    /// Where the data stands in the stream, to be kept in a dump file; none if nothing follows it. `upstream_db`: the
    /// database that our master's stream has selected, if we follow one.
    pub(crate) fn position(&self, upstream_db: Option<u32>) -> Option<StreamPosition> {
        let is_known = self.backlog.is_some() || upstream_db.is_some();
        is_known.then(|| StreamPosition {
            id: self.ids.id.clone(),
            offset: self.offset,
            db: upstream_db.unwrap_or(self.selected_db()),
        })
    }
}
