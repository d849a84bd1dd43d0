//! The master's side: replicas that attach, get everything or go on, and follow the stream.
//!
//! A replica's way, as its state names it:
//!
//! ```text
//!   PSYNC ──▶ continue ───────────────────────────────────────────────▶ Online
//!     │                                                                  ▲
//!     │                                                       by file    │
//!     └─────▶ WaitSnapshot ──▶ Transfer(job) ──▶ Draining ──┬────────────┤
//!             shares the next    snapshot's        its last │  diskless  │
//!             snapshot           bytes             bytes    └▶ WaitAck ──┘
//!                                                  leave       loads what it got
//! ```
//!
//! From the moment a snapshot begins, the stream goes into the replica's outbox behind a gate, and the
//! snapshot's bytes before it. A replica that reads up to an end mark (diskless) would
//! lose what came in the same read, so the gate opens with its first acknowledgement; one that was told a
//! length gets the stream when the payload has left.
//!
//! Its acknowledgements are timed from where it can send some: while a payload is on its way, which may take
//! longer than any timeout, a replica is judged by whether it takes bytes.

use std::sync::Arc;

use super::psync::{self, Decision, NO_ID, Reason};
use crate::client::{Client, Role};
use crate::io::{Endpoints, Handle, JobId, Level, Output, SnapshotTarget};
use crate::node::Node;
use crate::outbox::Gate;
use crate::persist::snapshot::{Purpose, Snapshot};
use crate::planted::Bug;
use crate::timers::Timer;

/// What a connection announced with REPLCONF.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Port that it listens on.
    pub port: u16,
    /// Address under which it wants to be known.
    pub ip: Option<String>,
    /// It understands a payload that ends with a mark.
    pub eof: bool,
    /// It understands `+CONTINUE <id>`.
    pub psync2: bool,
    /// It wants the data and then nothing more (redis-cli --rdb).
    pub rdb_only: bool,
    /// Version it announced.
    pub version: Option<String>,
}

/// Where a replica stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaStage {
    /// It shares the next full synchronisation.
    WaitSnapshot,
    /// It is being sent this one, as a stream or by file.
    Transfer(JobId),
    /// All of this one stands in its outbox and has yet to leave.
    Draining(JobId),
    /// It has got this one and has yet to say that it loaded it.
    WaitAck(JobId),
    /// It follows the stream.
    Online,
}

/// A replica of ours.
#[derive(Debug)]
pub struct ReplicaState {
    /// Where it stands.
    pub stage: ReplicaStage,
    /// Last offset that it acknowledged.
    pub acked: i64,
    /// Last offset that it has on disk, if it said so.
    pub acked_on_disk: i64,
    /// Monotonic microseconds at which it last acknowledged something, or sent a sign of life.
    pub acked_us: u64,
    /// Monotonic microseconds at which it last took bytes, or had none to take.
    pub(crate) progress_us: u64,
    /// Its payload ends with this mark.
    pub(super) end_mark: Option<String>,
    /// It came with SYNC, which knows no reply line.
    pub(super) old_sync: bool,
}

/// A replica whose outbox holds more than this is given no more of the payload for now.
pub(super) const OUTBOX_ENOUGH: usize = 8 << 20;

impl Client {
    /// Whether the stream's bytes go into its outbox (behind a gate, perhaps).
    pub(crate) fn follows_stream(&self) -> bool {
        match &self.role {
            Role::Replica(state) => {
                state.stage != ReplicaStage::WaitSnapshot && !self.announced.rdb_only
            }
            Role::Client | Role::MasterLink => false,
        }
    }

    /// Its state as a replica, if it is one.
    pub fn replica(&self) -> Option<&ReplicaState> {
        match &self.role {
            Role::Replica(state) => Some(state),
            Role::Client | Role::MasterLink => None,
        }
    }

    pub(crate) fn replica_mut(&mut self) -> Option<&mut ReplicaState> {
        match &mut self.role {
            Role::Replica(state) => Some(state),
            Role::Client | Role::MasterLink => None,
        }
    }

    /// Bytes of output that its class's limits are about: of a replica's, those of the stream. The payload before
    /// them has its own bound.
    pub(crate) fn limited_output(&self) -> usize {
        let outbox = &self.wire.outbox;
        match self.replica() {
            Some(state) if state.stage != ReplicaStage::Online => {
                outbox.len().saturating_sub(outbox.open_len())
            }
            _ => outbox.len(),
        }
    }

    /// How INFO and log lines name it.
    pub fn replica_address(&self) -> (String, u16) {
        let ip = match (&self.announced.ip, &self.ends) {
            (Some(ip), _) => ip.clone(),
            (None, Endpoints::Tcp { peer, .. }) => peer.ip().to_canonical().to_string(),
            (None, Endpoints::Unix(path)) => path.clone(),
        };
        (ip, self.announced.port)
    }
}

impl ReplicaState {
    /// The name of its stage in INFO.
    pub fn stage_name(&self) -> &'static str {
        match self.stage {
            ReplicaStage::WaitSnapshot => "wait_bgsave",
            ReplicaStage::Transfer(_) | ReplicaStage::Draining(_) => "send_bulk",
            ReplicaStage::WaitAck(_) | ReplicaStage::Online => "online",
        }
    }

    /// Whole seconds since it last spoke.
    pub fn lag_secs(&self, now_us: u64) -> u64 {
        now_us.saturating_sub(self.acked_us) / 1_000_000
    }
}

impl Node {
    /// PSYNC or SYNC. The reply line, if it is known now; the rest is done by `replica_attached`.
    pub(crate) fn attach_replica(
        &mut self,
        handle: Handle,
        id: &str,
        offset: Option<i64>,
        old_sync: bool,
    ) -> Option<String> {
        // What this turn wrote goes in first: it may push the byte that is asked for out of the backlog.
        self.flush_stream();
        let decision = psync::decide(&self.repl.histories, self.repl.backlog.as_ref(), id, offset);
        let offset = match (decision, offset) {
            (Decision::Continue, Some(offset)) => {
                Some(offset + i64::from(self.planted(Bug::PsyncOffByOne)))
            }
            _ => None,
        };
        if self.repl.backlog.is_none() {
            self.begin_history_for_first_replica();
        }
        self.repl.none_since_us = None;
        let now_us = self.now.mono_us;
        let client = self.clients.get_mut(handle)?;
        let (ip, port) = client.replica_address();
        let stage =
            if offset.is_some() { ReplicaStage::Online } else { ReplicaStage::WaitSnapshot };
        client.role = Role::Replica(Box::new(ReplicaState {
            stage,
            acked: 0,
            acked_on_disk: 0,
            acked_us: now_us,
            progress_us: now_us,
            end_mark: None,
            old_sync,
        }));
        let psync2 = client.announced.psync2;
        self.repl.replicas.push(handle);
        if self.config.repl_disable_tcp_nodelay {
            self.output(Output::Gather(handle));
        }
        self.timers.set_if_idle(Timer::Replication, now_us + 1_000_000);
        let asked = decision == Decision::Full(Reason::Asked);
        if let Some(offset) = offset {
            self.repl.stats.partial_ok += 1;
            self.log(
                Level::Notice,
                format!("Partial resynchronization request from {ip}:{port} accepted. Sending {} bytes of backlog starting from offset {offset}.", self.repl.offset + 1 - offset),
            );
            self.repl.resume_from = Some((handle, offset));
            let id = &self.repl.histories.id;
            return Some(if psync2 { format!("CONTINUE {id}") } else { "CONTINUE".to_owned() });
        }
        if !asked {
            self.repl.stats.partial_err += 1;
        }
        self.log(Level::Notice, format!("Full resync requested by replica {ip}:{port}"));
        None
    }

    /// The reply to PSYNC stands in the outbox: what follows it is put behind.
    pub(crate) fn replica_attached(&mut self, handle: Handle) {
        if let Some((_, offset)) = self.repl.resume_from.take_if(|(h, _)| *h == handle) {
            let blocks = self.repl.backlog.as_ref().map(|b| b.since(offset)).unwrap_or_default();
            if let Some(client) = self.clients.get_mut(handle) {
                blocks.into_iter().for_each(|block| client.wire.outbox.push_shared(block));
            }
            self.mark_dirty(handle);
            return;
        }
        self.schedule_full_sync();
    }

    /// Nobody followed the stream so far, so its past is lost: what begins now is another history.
    fn begin_history_for_first_replica(&mut self) {
        if !self.repl.is_replica() {
            self.repl.histories.id = self.rng.hex40();
            self.repl.histories.forget_former();
            self.repl.selected = None;
        }
        self.repl.begin_backlog(self.config.repl_backlog_size as usize);
        let (id, offset) = (self.repl.histories.id.clone(), self.repl.offset);
        self.log(
            Level::Notice,
            format!("Replication backlog created, my new replication IDs are '{id}' and '{NO_ID}', offset {offset}"),
        );
        self.update_listening();
    }

    /// Replicas that wait for a full synchronisation.
    fn waiting_for_snapshot(&self) -> Vec<Handle> {
        let waits = |h: &&Handle| {
            let state = self.clients.get(**h).and_then(Client::replica);
            state.is_some_and(|state| state.stage == ReplicaStage::WaitSnapshot)
        };
        self.repl.replicas.iter().filter(waits).copied().collect()
    }

    /// Starts the next full synchronisation now, or after the delay in which others may join.
    pub(crate) fn schedule_full_sync(&mut self) {
        let waiting = self.waiting_for_snapshot();
        if waiting.is_empty() || !self.may_begin_full_sync() {
            return;
        }
        let enough = self.config.repl_diskless_sync_max_replicas as usize;
        let delay_us = self.config.repl_diskless_sync_delay as u64 * 1_000_000;
        if !self.config.repl_diskless_sync
            || delay_us == 0
            || (enough > 0 && waiting.len() >= enough)
        {
            self.begin_full_sync();
        } else if !self.timers.is_set(Timer::SyncDelay) {
            self.log(Level::Notice, "Delay next BGSAVE for diskless SYNC");
            self.timers.set(Timer::SyncDelay, self.now.mono_us + delay_us);
        }
    }

    /// Whoever asks too early is not forgotten: what stands in the way here schedules anew when it ends.
    fn may_begin_full_sync(&self) -> bool {
        // Only a snapshot under way keeps others waiting. What stands in outboxes or in a file that is
        // open may take its time.
        let under_way = |h: &Handle| match self.clients.get(*h).and_then(Client::replica) {
            Some(ReplicaState { stage: ReplicaStage::Transfer(job), .. }) => {
                self.persist.snapshots.iter().any(|snapshot| snapshot.job == *job)
            }
            _ => false,
        };
        let runs = self.repl.replicas.iter().any(under_way);
        !runs && !self.file_sync_opens() && !self.is_leaving()
    }

    /// Takes a snapshot for all replicas that wait.
    pub(crate) fn begin_full_sync(&mut self) {
        self.timers.stop(Timer::SyncDelay);
        let waiting = self.waiting_for_snapshot();
        if waiting.is_empty() || !self.may_begin_full_sync() || self.persist.is_loading() {
            return;
        }
        if self.clients.iter().any(|client| client.transaction.running) {
            // In the middle of an EXEC the data is ahead of the stream.
            self.timers.set_if_idle(Timer::SyncDelay, self.now.mono_us + 1000);
            return;
        }
        self.flush_stream();
        // The replica starts with no database selected.
        if !self.repl.is_replica() && !self.planted(Bug::MissingSelect) {
            self.repl.selected = None;
        }
        let all_eof =
            waiting.iter().filter_map(|&h| self.clients.get(h)).all(|client| client.announced.eof);
        let diskless = self.config.repl_diskless_sync && all_eof;
        let began = if diskless {
            self.begin_snapshot(Purpose::Sync, SnapshotTarget::Stream)
        } else {
            self.begin_file_sync()
        };
        let Some(job) = began else {
            // Another snapshot runs; when it ends this is tried again.
            self.timers.set_if_idle(Timer::SyncDelay, self.now.mono_us + 100_000);
            return;
        };
        self.repl.dump_is_for_sync = !diskless;
        let how = if diskless { "replicas sockets" } else { "disk" };
        self.log(Level::Notice, format!("Starting BGSAVE for SYNC with target: {how}"));
        for handle in waiting {
            self.attach_to_snapshot(handle, job, diskless);
        }
    }

    fn attach_to_snapshot(&mut self, handle: Handle, job: JobId, diskless: bool) {
        let mark = self.rng.hex40();
        let (id, offset) = (self.repl.histories.id.clone(), self.repl.offset);
        self.repl.stats.full += 1;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let Some(state) = client.replica_mut() else { return };
        state.stage = ReplicaStage::Transfer(job);
        let old_sync = state.old_sync;
        state.end_mark = diskless.then(|| mark.clone());
        let outbox = &mut client.wire.outbox;
        if !old_sync {
            outbox.tail.extend_from_slice(format!("+FULLRESYNC {id} {offset}\r\n").as_bytes());
        }
        if diskless {
            outbox.tail.extend_from_slice(format!("$EOF:{mark}\r\n").as_bytes());
        }
        outbox.push_gate(Gate::Snapshot(job));
        self.mark_dirty(handle);
    }

    pub(super) fn in_transfer(&self, job: JobId) -> Vec<Handle> {
        let gets = |h: &&Handle| {
            let state = self.clients.get(**h).and_then(Client::replica);
            state.is_some_and(|state| state.stage == ReplicaStage::Transfer(job))
        };
        self.repl.replicas.iter().filter(gets).copied().collect()
    }

    /// Bytes of a snapshot, or of the file it became, for those replicas that share it.
    pub(crate) fn sync_bytes(&mut self, job: JobId, bytes: Vec<u8>) {
        let bytes = Arc::new(bytes);
        for handle in self.in_transfer(job) {
            if let Some(client) = self.clients.get_mut(handle) {
                client.wire.outbox.push_before(Gate::Snapshot(job), bytes.clone());
                self.mark_dirty(handle);
            }
        }
    }

    /// Whether the replicas of a full synchronisation have as many bytes waiting as is good.
    pub(crate) fn sync_is_throttled(&self, snapshot: &Snapshot) -> bool {
        snapshot.purpose == Purpose::Sync
            && self.in_transfer(snapshot.job).iter().any(|&h| {
                self.clients.get(h).is_some_and(|c| c.wire.outbox.open_len() > OUTBOX_ENOUGH)
            })
    }

    /// All bytes of a full synchronisation stand in the outboxes, or there will be no more.
    pub(crate) fn sync_ended(&mut self, job: JobId, result: Result<(), String>) {
        for handle in self.in_transfer(job) {
            if result.is_err() {
                self.close(handle);
                continue;
            }
            let Some(client) = self.clients.get_mut(handle) else { continue };
            let Some(state) = client.replica_mut() else { continue };
            state.stage = ReplicaStage::Draining(job);
            if let Some(mark) = state.end_mark.clone() {
                let mark = Arc::new(mark.into_bytes());
                client.wire.outbox.push_before(Gate::Snapshot(job), mark);
            }
            self.mark_dirty(handle);
            self.replica_took(handle, 0);
        }
        self.schedule_full_sync();
    }

    /// A replica's connection took bytes of its outbox.
    pub(crate) fn replica_took(&mut self, handle: Handle, bytes: usize) {
        let now_us = self.now.mono_us;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let waits = client.wire.outbox.has_open_bytes();
        let Some(state) = client.replica_mut() else { return };
        if bytes > 0 {
            state.progress_us = now_us;
        }
        match state.stage {
            ReplicaStage::Transfer(_) if bytes > 0 => self.go_on_with_file_syncs(),
            ReplicaStage::Draining(job) if !waits => self.payload_left(handle, job),
            _ => {}
        }
    }

    /// A replica's payload has been written, all of it: from now on it can be expected to answer.
    fn payload_left(&mut self, handle: Handle, job: JobId) {
        let now_us = self.now.mono_us;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let rdb_only = client.announced.rdb_only;
        let (ip, port) = client.replica_address();
        let Some(state) = client.replica_mut() else { return };
        state.acked_us = now_us;
        if state.end_mark.take().is_some() {
            state.stage = ReplicaStage::WaitAck(job);
        } else {
            state.stage = ReplicaStage::Online;
            client.wire.outbox.open(Gate::Snapshot(job));
            self.mark_dirty(handle);
        }
        let text = format!("Synchronization with replica {ip}:{port} succeeded");
        self.log(Level::Notice, text);
        if rdb_only {
            self.close_after_reply(handle);
        }
    }
}
