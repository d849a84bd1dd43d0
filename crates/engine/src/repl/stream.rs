//! The replication stream: effects encoded as bytes, with their offset and backlog.
//!
//! It is a sink of the journal with its own SELECT state. A replica's stream consists of its
//! master's bytes, passed on unchanged, so that a chain of replicas shares one history and one
//! offset.

use std::collections::VecDeque;
use std::sync::Arc;

use russet_protocol::reply::push_command;

use super::backlog::Backlog;
use super::psync::ReplicationIds;
use crate::core::Core;
use crate::injected::Bug;
use crate::journal::{EXEC, Journal, MULTI, Origin, Sink, Unit};
use crate::mode::Mode;
use crate::persist::fill::StreamPosition;
use crate::rng::Ids;
use crate::shared::Shared;

/// Maximum length of a block with a large backlog. A longer command spans several, so that the backlog need not keep all of
/// it: a replica that was closed for the length of its output could only be closed for it again.
const BLOCK_BYTES_MAX: usize = 256 * 1024;

/// The same with the smallest one.
const BLOCK_BYTES_MIN: usize = 16 * 1024;

/// The replication stream.
#[derive(Debug)]
pub struct Stream {
    /// The replication ids of the data.
    pub ids: ReplicationIds,
    /// The replication offset: `master_repl_offset`.
    offset: i64,
    /// The backlog, created for the first replica.
    pub backlog: Option<Backlog>,
    /// Selected database; none: the next effect must select its own.
    selected: Option<u32>,
    /// Bytes not sent to replicas yet, in blocks; all but the last are full.
    open: VecDeque<Vec<u8>>,
    /// Whether local effects go into the stream: this node is a master.
    is_local: bool,
}

impl Sink for Stream {
    fn listens(&self, origin: Origin) -> bool {
        origin == Origin::Local && self.is_local && self.backlog.is_some()
    }

    fn unit(&mut self, unit: &Unit<'_>) {
        if unit.is_atomic {
            self.append(MULTI);
        }
        for (db, command) in unit.iter() {
            self.select(db);
            self.append(command);
        }
        if unit.is_atomic {
            self.append(EXEC);
        }
    }
}

impl Stream {
    /// Creates a stream with a new history and no backlog. In a cluster it does not begin at 0, which is the offset of
    /// replicas that have no data yet: clients would not be told of those of an empty master.
    pub fn new(ids: &mut Ids, mode: Mode) -> Stream {
        Stream {
            ids: ReplicationIds::new(ids.hex40()),
            offset: i64::from(mode == Mode::Cluster),
            backlog: None,
            selected: None,
            open: VecDeque::new(),
            is_local: true,
        }
    }

    /// Returns `master_repl_offset`.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Appends bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as i64;
        let mut rest = bytes;
        let most = self.block_bytes_max();
        while !rest.is_empty() {
            let block = self.open_block(rest.len());
            let room = most.saturating_sub(block.len());
            let (first, later) = rest.split_at(room.min(rest.len()));
            block.extend_from_slice(first);
            rest = later;
        }
    }

    /// Returns the maximum length of a block: the backlog keeps whole blocks, and a small one should not keep much more than its
    /// size.
    #[inline]
    fn block_bytes_max(&self) -> usize {
        let size = self.backlog.as_ref().map_or(BLOCK_BYTES_MAX, Backlog::size_max);
        size.clamp(BLOCK_BYTES_MIN, BLOCK_BYTES_MAX)
    }

    /// Returns the last block, with room for at least a byte. `bytes`: the length of what is appended.
    #[inline]
    fn open_block(&mut self, bytes: usize) -> &mut Vec<u8> {
        let most = self.block_bytes_max();
        if self.open.back().is_none_or(|last| last.len() >= most) {
            self.open.push_back(Vec::with_capacity(bytes.min(most)));
        }
        let last = self.open.len() - 1;
        &mut self.open[last]
    }

    /// Appends a command that changes no data: PING, REPLCONF GETACK.
    pub(super) fn append_command(&mut self, args: &[&[u8]]) {
        let block = self.open_block(0);
        let before = block.len();
        push_command(block, args);
        let appended = block.len() - before;
        self.offset += appended as i64;
    }

    fn select(&mut self, db: u32) {
        if self.selected != Some(db) {
            self.append_command(&[b"SELECT", db.to_string().as_bytes()]);
            self.selected = Some(db);
        }
    }

    /// Returns the database selected in a master's own stream.
    pub(crate) fn selected_db(&self) -> u32 {
        self.selected.unwrap_or(0)
    }

    /// Makes the next effect select its database again, for a new replica.
    pub(super) fn clear_selection(&mut self) {
        self.selected = None;
    }

    /// Sets whether local effects go into the stream, and so whether the journal must encode them.
    pub(super) fn set_local(&mut self, journal: &mut Journal, is_local: bool) {
        self.is_local = is_local;
        self.update_listening(journal);
    }

    fn update_listening(&self, journal: &mut Journal) {
        journal.set_stream_listens(self.listens(Origin::Local));
    }

    /// Takes the next block of the bytes appended since all were taken, to be sent to replicas, and
    /// adds it to the backlog.
    pub(super) fn take_new(&mut self, core: &Core) -> Option<Arc<Shared>> {
        let bytes = core.shared.share(self.open.pop_front()?);
        if let Some(backlog) = &mut self.backlog {
            let skips = core.injected(Bug::SkippedBacklogByte) && bytes.len() % 7 == 3;
            backlog.append(if skips { bytes.copy_from(1) } else { bytes.clone() });
        }
        Some(bytes)
    }

    /// Creates a new backlog; earlier bytes are not in it.
    pub(super) fn begin_backlog(&mut self, core: &Core, journal: &mut Journal) {
        self.open.clear();
        self.backlog = Some(Backlog::new(self.offset + 1, core.config.repl_backlog_size as usize));
        self.update_listening(journal);
    }

    /// Creates the backlog if there is none.
    pub(super) fn ensure_backlog(&mut self, core: &Core, journal: &mut Journal) {
        if self.backlog.is_none() {
            self.begin_backlog(core, journal);
        }
    }

    /// Frees the backlog. Writes from now on are not stored, so a new history starts.
    pub(super) fn drop_backlog(&mut self, core: &mut Core, journal: &mut Journal) {
        self.backlog = None;
        self.change_id(&mut core.ids);
        self.update_listening(journal);
    }

    /// Starts a new history, which rules out partial synchronizations with the old one.
    pub fn change_id(&mut self, ids: &mut Ids) {
        self.ids.id = ids.hex40();
        self.ids.clear_previous();
    }

    /// Sets the position of the stream after a full synchronization or from a dump file.
    pub(super) fn restart_at(&mut self, core: &Core, journal: &mut Journal, offset: i64) {
        self.offset = offset;
        self.begin_backlog(core, journal);
    }

    /// Returns the replication position to store in a dump file; none without a backlog.
    /// `upstream_db`: the database selected in the master's stream, if there is a master.
    pub(crate) fn position(&self, upstream_db: Option<u32>) -> Option<StreamPosition> {
        let is_known = self.backlog.is_some() || upstream_db.is_some();
        is_known.then(|| StreamPosition {
            id: self.ids.id.clone(),
            offset: self.offset,
            db: upstream_db.unwrap_or(self.selected_db()),
            open_slots: String::new(),
        })
    }
}
