//! The master's side: replicas that attach, get everything or go on, and follow the stream.
//!
//! A replica's way, as its state names it:
//!
//! ```text
//!   PSYNC ──▶ continue ───────────────────────────────────────────────▶ Online
//!     │                                                                  ▲
//!     └─────▶ WaitSnapshot ──▶ Transfer(job) ──▶ WaitAck ────────────────┘
//!             shares the next    snapshot's        loads what it got; the
//!             snapshot           bytes             stream waits at a gate
//! ```
//!
//! From the moment a snapshot begins, the stream goes into the replica's outbox behind a gate, and the
//! snapshot's bytes before it. A replica that reads up to an end mark (diskless) would
//! lose what came in the same read, so the gate opens with its first acknowledgement; one that was told a
//! length gets the stream right behind.

use std::sync::Arc;

use super::psync::{self, Decision, NO_ID, Reason};
use crate::client::{Client, Role, Waiting};
use crate::io::{Endpoints, FileEvent, Handle, JobId, Level, Output, Request, SnapshotTarget};
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
    /// Monotonic microseconds of its last acknowledgement.
    pub acked_us: u64,
    /// Its payload ends with this mark.
    end_mark: Option<String>,
    /// It came with SYNC, which knows no reply line.
    old_sync: bool,
}

/// A full synchronisation that reads the dump file just written.
#[derive(Debug)]
pub struct FileSync {
    /// Number of the snapshot that wrote it; gates and stages go by it.
    snapshot: JobId,
    /// Number of the reading.
    reading: JobId,
    /// A piece was read and no replica has room for the next.
    stalled: bool,
}

/// A replica whose outbox holds more than this is given no more of the payload for now.
const OUTBOX_ENOUGH: usize = 8 << 20;

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
            ReplicaStage::Transfer(_) => "send_bulk",
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
    fn schedule_full_sync(&mut self) {
        let waiting = self.waiting_for_snapshot();
        if waiting.is_empty() || self.full_sync_runs() {
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

    fn full_sync_runs(&self) -> bool {
        let transfers = |h: &Handle| {
            let state = self.clients.get(*h).and_then(Client::replica);
            state.is_some_and(|state| matches!(state.stage, ReplicaStage::Transfer(_)))
        };
        self.repl.replicas.iter().any(transfers)
    }

    /// Takes a snapshot for all replicas that wait.
    pub(crate) fn begin_full_sync(&mut self) {
        self.timers.stop(Timer::SyncDelay);
        let waiting = self.waiting_for_snapshot();
        if waiting.is_empty() || self.full_sync_runs() || self.persist.is_loading() {
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
            self.begin_save().ok()
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

    fn in_transfer(&self, job: JobId) -> Vec<Handle> {
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

    /// All bytes of a full synchronisation stand in the outboxes.
    pub(crate) fn sync_ended(&mut self, job: JobId, result: Result<(), String>) {
        for handle in self.in_transfer(job) {
            if result.is_err() {
                self.close(handle);
                continue;
            }
            let Some(client) = self.clients.get_mut(handle) else { continue };
            let rdb_only = client.announced.rdb_only;
            let (ip, port) = client.replica_address();
            let Some(state) = client.replica_mut() else { continue };
            let mark = state.end_mark.take();
            state.stage = match mark {
                Some(_) => ReplicaStage::WaitAck(job),
                None => ReplicaStage::Online,
            };
            let gate = Gate::Snapshot(job);
            match mark {
                Some(mark) => {
                    client.wire.outbox.push_before(gate, Arc::new(mark.into_bytes()));
                }
                None => client.wire.outbox.open(gate),
            }
            self.mark_dirty(handle);
            let how = "Synchronization with replica";
            self.log(Level::Notice, format!("{how} {ip}:{port} succeeded"));
            if rdb_only {
                self.close_after_reply(handle);
            }
        }
        self.schedule_full_sync();
    }

    /// A save ended that replicas wait for: its file is read and sent.
    pub(crate) fn file_sync_saved(&mut self, snapshot: JobId, result: &Result<u64, String>) {
        let waiting = self.in_transfer(snapshot);
        let Ok(size) = result else {
            waiting.into_iter().for_each(|handle| self.close(handle));
            return;
        };
        if waiting.is_empty() {
            return;
        }
        self.sync_bytes(snapshot, format!("${size}\r\n").into_bytes());
        self.last_job += 1;
        let reading = JobId(self.last_job);
        if let Some(before) = self.repl.by_file.take() {
            // Everybody who wanted that one is gone.
            self.output(Output::ReadStop { job: before.reading });
        }
        self.repl.by_file = Some(FileSync { snapshot, reading, stalled: false });
        self.output(Output::Read { job: reading, path: self.dump_file() });
    }

    /// News of the file that is being sent. False if it is another file.
    pub(crate) fn file_sync_event(&mut self, job: JobId, event: &mut FileEvent) -> bool {
        let Some(sync) = self.repl.by_file.as_ref().filter(|sync| sync.reading == job) else {
            return false;
        };
        let snapshot = sync.snapshot;
        match event {
            FileEvent::Opened(_) => {}
            FileEvent::Bytes(bytes) => {
                self.sync_bytes(snapshot, std::mem::take(bytes));
                if let Some(sync) = &mut self.repl.by_file {
                    sync.stalled = true;
                }
                self.go_on_with_file_sync();
            }
            FileEvent::End => {
                self.repl.by_file = None;
                self.sync_ended(snapshot, Ok(()));
            }
            FileEvent::Missing => {
                self.repl.by_file = None;
                self.sync_ended(snapshot, Err("the dump file is gone".to_owned()));
            }
            FileEvent::Failed(why) => {
                self.repl.by_file = None;
                let why = std::mem::take(why);
                self.log(Level::Warning, format!("Read error sending DB to replica: {why}"));
                self.sync_ended(snapshot, Err(why));
            }
        }
        true
    }

    /// Asks for the next piece of the file when the replicas have room for it.
    pub(crate) fn go_on_with_file_sync(&mut self) {
        let Some((snapshot, reading)) =
            self.repl.by_file.as_ref().filter(|s| s.stalled).map(|s| (s.snapshot, s.reading))
        else {
            return;
        };
        let full = |&h: &Handle| {
            self.clients.get(h).is_some_and(|c| c.wire.outbox.open_len() > OUTBOX_ENOUGH)
        };
        let sharing = self.in_transfer(snapshot);
        if sharing.is_empty() {
            self.repl.by_file = None;
            self.output(Output::ReadStop { job: reading });
            self.schedule_full_sync();
        } else if !sharing.iter().any(full) {
            if let Some(sync) = &mut self.repl.by_file {
                sync.stalled = false;
            }
            self.output(Output::ReadMore { job: reading });
        }
    }

    /// REPLCONF ACK.
    pub(crate) fn replica_acked(&mut self, handle: Handle, offset: i64, on_disk: Option<i64>) {
        let now_us = self.now.mono_us;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let Some(state) = client.replica_mut() else { return };
        state.acked = state.acked.max(offset);
        state.acked_on_disk = on_disk.unwrap_or(state.acked_on_disk).max(state.acked_on_disk);
        state.acked_us = now_us;
        if let ReplicaStage::WaitAck(job) = state.stage {
            state.stage = ReplicaStage::Online;
            client.wire.outbox.open(Gate::Snapshot(job));
            self.mark_dirty(handle);
        }
        self.wake_waiters();
        self.check_shutdown(false);
    }

    /// How many replicas have acknowledged everything up to `offset`.
    pub fn replicas_at(&self, offset: i64) -> usize {
        let states = self.repl.replicas.iter().filter_map(|&h| self.clients.get(h)?.replica());
        states.filter(|s| s.stage == ReplicaStage::Online && s.acked >= offset).count()
    }

    /// How many replicas lack something.
    pub(crate) fn lagging_replicas(&self) -> usize {
        let offset = self.repl.offset;
        let states = self.repl.replicas.iter().filter_map(|&h| self.clients.get(h)?.replica());
        states.filter(|s| s.stage == ReplicaStage::Online && s.acked < offset).count()
    }

    /// How many replicas answer within `min-replicas-max-lag`.
    pub fn good_replicas(&self) -> usize {
        let lag_max = self.config.min_replicas_max_lag as u64;
        let now_us = self.now.mono_us;
        let states = self.repl.replicas.iter().filter_map(|&h| self.clients.get(h)?.replica());
        let good =
            |s: &&ReplicaState| s.stage == ReplicaStage::Online && s.lag_secs(now_us) <= lag_max;
        states.filter(good).count()
    }

    /// Whether writes may be taken as far as `min-replicas-to-write` goes.
    pub(crate) fn enough_replicas(&self) -> bool {
        let least = self.config.min_replicas_to_write as usize;
        least == 0 || self.config.min_replicas_max_lag == 0 || self.good_replicas() >= least
    }

    /// Asks all replicas to acknowledge now.
    pub(crate) fn ask_for_acks(&mut self) {
        let asks = !self.repl.replicas.is_empty() && !self.repl.is_replica();
        if asks {
            let args = [&b"REPLCONF"[..], b"GETACK", b"*"];
            let mut bytes = Vec::new();
            russet_protocol::reply::push_command(&mut bytes, &args);
            self.repl.feed(&bytes);
        }
    }

    /// Those who WAIT for what has now been acknowledged go on.
    pub(crate) fn wake_waiters(&mut self) {
        let waiters: Vec<Handle> = self.ack_waiters.iter().copied().collect();
        for handle in waiters {
            let blocked = self.clients.get(handle).and_then(|client| client.blocked.as_ref());
            let Some(Waiting::Acks { offset, replicas }) = blocked.map(|b| &b.waiting) else {
                continue;
            };
            let have = self.replicas_at(*offset);
            if have >= *replicas {
                self.with_reply(handle, |_, reply| reply.count(have));
                self.resume(handle);
            }
        }
    }

    /// A replica's connection is gone.
    pub(crate) fn replica_lost(&mut self, handle: Handle, state: ReplicaState) {
        self.repl.replicas.retain(|&h| h != handle);
        if self.repl.replicas.is_empty() {
            self.repl.none_since_us = Some(self.now.mono_us);
        }
        self.log(Level::Notice, "Connection with replica lost.");
        if let ReplicaStage::Transfer(job) = state.stage
            && self.in_transfer(job).is_empty()
        {
            let streams =
                self.persist.snapshots.iter().any(|s| s.job == job && s.purpose == Purpose::Sync);
            if streams {
                self.abort_snapshot(job);
            }
            self.go_on_with_file_sync();
            self.schedule_full_sync();
        }
        // An end that waited for this replica has one less to wait for.
        self.check_shutdown(false);
    }

    /// All replicas must come again: what they follow has changed its name or its content.
    pub(crate) fn disconnect_replicas(&mut self) {
        for handle in self.repl.replicas.clone() {
            self.close(handle);
        }
    }

    /// Housekeeping, once a second: pings, replicas that fell silent, a backlog that nobody needs.
    pub(crate) fn tend_replicas(&mut self) {
        let now_us = self.now.mono_us;
        let is_master = !self.repl.is_replica();
        let period_us = self.config.repl_ping_replica_period.max(1) as u64 * 1_000_000;
        if is_master
            && !self.repl.replicas.is_empty()
            && now_us.saturating_sub(self.repl.last_ping_us) >= period_us
            && !self.pause.is_on(self.now)
        {
            self.repl.last_ping_us = now_us;
            self.repl.feed(b"*1\r\n$4\r\nPING\r\n");
        }
        let timeout_us = self.config.repl_timeout.max(1) as u64 * 1_000_000;
        for handle in self.repl.replicas.clone() {
            let Some(client) = self.clients.get_mut(handle) else { continue };
            let (ip, port) = client.replica_address();
            let mute = now_us.saturating_sub(client.last_interaction_us) > timeout_us;
            let Some(state) = client.replica_mut() else { continue };
            let silent = now_us.saturating_sub(state.acked_us) > timeout_us;
            match state.stage {
                // A line end keeps the link alive while there is nothing to send yet.
                ReplicaStage::WaitSnapshot => {
                    state.acked_us = now_us;
                    client.wire.outbox.tail.push(b'\n');
                    self.mark_dirty(handle);
                }
                ReplicaStage::Transfer(job) => {
                    let by_file = state.end_mark.is_none();
                    if by_file && client.wire.outbox.open_len() == 0 && self.repl.by_file.is_none()
                    {
                        self.sync_bytes_to(handle, job, b"\n".to_vec());
                    } else if mute {
                        self.log(
                            Level::Warning,
                            format!("Disconnecting timedout replica (full sync): {ip}:{port}"),
                        );
                        self.close(handle);
                    }
                }
                ReplicaStage::Online if silent => {
                    self.log(
                        Level::Warning,
                        format!("Disconnecting timedout replica (streaming sync): {ip}:{port}"),
                    );
                    self.close(handle);
                }
                // It loads: a line end now and then says so.
                ReplicaStage::WaitAck(_) if silent && mute => {
                    self.log(
                        Level::Warning,
                        format!("Disconnecting timedout replica (full sync): {ip}:{port}"),
                    );
                    self.close(handle);
                }
                ReplicaStage::Online | ReplicaStage::WaitAck(_) => {}
            }
        }
        self.let_backlog_go();
        self.go_on_with_file_sync();
        self.schedule_full_sync();
        self.remove_sync_file();
    }

    /// `rdb-del-sync-files`: a server that keeps nothing on disk doesn't keep what it wrote for its replicas either.
    fn remove_sync_file(&mut self) {
        let is_wanted = self.config.rdb_del_sync_files && self.config.save.0.is_empty();
        let is_used = self.full_sync_runs() || self.persist.save().is_some();
        if !self.repl.dump_is_for_sync || !is_wanted || is_used {
            return;
        }
        self.repl.dump_is_for_sync = false;
        let text = "Removing the RDB file used to feed replicas in a persistence-less instance";
        self.log(Level::Notice, text);
        self.request(Request::RemoveFile(self.dump_file()));
    }

    fn sync_bytes_to(&mut self, handle: Handle, job: JobId, bytes: Vec<u8>) {
        if let Some(client) = self.clients.get_mut(handle) {
            client.wire.outbox.push_before(Gate::Snapshot(job), Arc::new(bytes));
            self.mark_dirty(handle);
        }
    }

    fn let_backlog_go(&mut self) {
        let ttl_us = self.config.repl_backlog_ttl.saturating_mul(1_000_000);
        let since = self.repl.none_since_us;
        let idle = since.is_some_and(|since| self.now.mono_us.saturating_sub(since) > ttl_us);
        if ttl_us > 0 && idle && !self.repl.is_replica() && self.repl.backlog.is_some() {
            // What is written from now on is kept nowhere, so it is another history.
            self.repl.backlog = None;
            self.repl.histories.id = self.rng.hex40();
            self.repl.histories.forget_former();
            self.update_listening();
            let secs = ttl_us / 1_000_000;
            self.log(
                Level::Notice,
                format!(
                    "Replication backlog freed after {secs} seconds without connected replicas."
                ),
            );
        }
    }
}
