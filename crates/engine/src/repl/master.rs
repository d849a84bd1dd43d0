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

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::file_sync::FileSync;
use super::psync::{self, Decision, NO_ID, Reason};
use super::stream::Stream;
use crate::clients::{Clients, Gate, Role};
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::injected::Bug;
use crate::io::{Level, Output, SnapshotTarget};
use crate::journal::Journal;
use crate::keyspace::Keyspace;
use crate::persist::fill::StreamPosition;
use crate::persist::saves::Saves;
use crate::persist::snapshot::{Purpose, Snapshot};
use crate::rng::Rng;
use crate::timers::Timer;

/// What replication counts, for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplicationStats {
    /// Full synchronisations given.
    pub full: u64,
    /// Partial ones given.
    pub partial_ok: u64,
    /// Partial ones requested and refused.
    pub partial_err: u64,
}

/// What a connection announced with REPLCONF before it becomes a replica.
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
pub struct Replica {
    /// Its connection.
    pub handle: Handle,
    /// What it announced.
    pub announced: Announced,
    /// Address of its connection's far end.
    far_end: String,
    /// Where it stands.
    pub stage: ReplicaStage,
    /// Last offset that it acknowledged.
    pub acked: i64,
    /// Last offset that it has on disk, if it said so.
    pub acked_on_disk: i64,
    /// Monotonic microseconds at which it last acknowledged something, or sent a sign of life.
    pub(super) acked_us: u64,
    /// Monotonic microseconds at which it last took bytes, or had none to take.
    pub(super) progress_us: u64,
    /// Its payload ends with this mark.
    pub(super) end_mark: Option<String>,
    /// It came with SYNC, which knows no reply line.
    pub(super) old_sync: bool,
    /// It goes on from this offset, once the reply line stands.
    resume_from: Option<i64>,
}

/// A replica whose outbox holds more than this is given no more of the payload for now.
pub(super) const OUTBOX_ENOUGH: usize = 8 << 20;

impl Replica {
    /// How INFO and log lines name it.
    pub fn address(&self) -> (&str, u16) {
        (self.announced.ip.as_deref().unwrap_or(&self.far_end), self.announced.port)
    }

    /// The name of its stage in INFO.
    pub fn stage_name(&self) -> &'static str {
        match self.stage {
            ReplicaStage::WaitSnapshot => "wait_bgsave",
            ReplicaStage::Transfer(_) | ReplicaStage::Draining(_) => "send_bulk",
            ReplicaStage::WaitAck(_) | ReplicaStage::Online => "online",
        }
    }

    /// Whole seconds since an online replica last sent something; 0 before it is online.
    pub fn lag_secs(&self, now_us: u64) -> u64 {
        match self.stage_name() {
            "online" => now_us.saturating_sub(self.acked_us) / 1_000_000,
            _ => 0,
        }
    }

    /// Whether the stream's bytes go into its outbox (behind a gate, perhaps).
    fn follows_stream(&self) -> bool {
        self.stage != ReplicaStage::WaitSnapshot && !self.announced.rdb_only
    }
}

/// The one direction of replication. See the module.
#[derive(Debug)]
pub struct Master {
    /// The stream that replicas follow.
    pub stream: Stream,
    pub(super) replicas: Vec<Replica>,
    /// What connections announced that may become replicas.
    announced: BTreeMap<Handle, Announced>,
    /// Monotonic microseconds since which there is no replica.
    pub(super) none_since_us: Option<u64>,
    /// Full synchronisations by file that are saved or read.
    pub(super) by_file: Vec<FileSync>,
    /// Counters.
    pub stats: ReplicationStats,
    /// Monotonic microseconds of the last PING in the stream.
    pub(super) last_ping_us: u64,
    /// Clients in WAIT, by the offset that they wait for.
    pub(super) waiters: BTreeSet<(i64, Handle)>,
    /// Somebody wants replicas to acknowledge; they are asked at the turn's end.
    pub(super) acks_wanted: bool,
    /// A replica has acknowledged something in this turn.
    pub(super) acks_came: bool,
}

impl Master {
    /// A master without replicas, with a new history.
    pub fn new(rng: &mut Rng) -> Master {
        Master {
            stream: Stream::new(rng),
            replicas: Vec::new(),
            announced: BTreeMap::new(),
            none_since_us: None,
            by_file: Vec::new(),
            stats: ReplicationStats::default(),
            last_ping_us: 0,
            waiters: BTreeSet::new(),
            acks_wanted: false,
            acks_came: false,
        }
    }

    /// Our replicas.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// The replica behind a connection.
    pub fn replica(&self, handle: Handle) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.handle == handle)
    }

    pub(super) fn replica_mut(&mut self, handle: Handle) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.handle == handle)
    }

    /// What a connection has announced, to add to it.
    pub(crate) fn announced_mut(&mut self, handle: Handle) -> &mut Announced {
        let replica = self.replicas.iter_mut().find(|replica| replica.handle == handle);
        match replica {
            Some(replica) => &mut replica.announced,
            None => self.announced.entry(handle).or_default(),
        }
    }

    /// PSYNC or SYNC. The reply line, if it is known now; the rest is done by [`Master::attached`].
    pub(crate) fn attach(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        handle: Handle,
        (id, offset): (&str, Option<i64>),
        old_sync: bool,
    ) -> Option<String> {
        // What this turn wrote goes in first: it may push the requested byte out of the backlog.
        self.flush_stream(core, clients);
        let decision = psync::decide(&self.stream.ids, self.stream.backlog.as_ref(), id, offset);
        let resume_from = match (decision, offset) {
            (Decision::Continue, Some(offset)) => {
                Some(offset + i64::from(core.injected(Bug::PsyncOffByOne)))
            }
            _ => None,
        };
        if self.stream.backlog.is_none() {
            self.begin_history_for_first_replica(core, journal);
        }
        self.none_since_us = None;
        let now_us = core.now.mono_us;
        let client = clients.get_mut(handle)?;
        client.role = Role::Replica;
        let replica = Replica {
            handle,
            announced: self.announced.remove(&handle).unwrap_or_default(),
            far_end: client.far_end(),
            stage: match resume_from {
                Some(_) => ReplicaStage::Online,
                None => ReplicaStage::WaitSnapshot,
            },
            acked: 0,
            acked_on_disk: 0,
            acked_us: now_us,
            progress_us: now_us,
            end_mark: None,
            old_sync,
            resume_from,
        };
        let (ip, port) = replica.address();
        let (who, psync2) = (format!("{ip}:{port}"), replica.announced.psync2);
        self.replicas.push(replica);
        if core.config.repl_disable_tcp_nodelay {
            core.output(Output::Gather(handle));
        }
        core.timers.set_if_idle(Timer::Replication, now_us + 1_000_000);
        if let Some(offset) = resume_from {
            self.stats.partial_ok += 1;
            let bytes = self.stream.offset() + 1 - offset;
            core.log(
                Level::Notice,
                format!("Partial resynchronization request from {who} accepted. Sending {bytes} bytes of backlog starting from offset {offset}."),
            );
            let id = &self.stream.ids.id;
            return Some(if psync2 { format!("CONTINUE {id}") } else { "CONTINUE".to_owned() });
        }
        if decision != Decision::Full(Reason::Asked) {
            self.stats.partial_err += 1;
        }
        core.log(Level::Notice, format!("Full resync requested by replica {who}"));
        None
    }

    /// The reply to PSYNC stands in the outbox: what follows it is put behind.
    pub(crate) fn attached(&mut self, core: &mut Core, clients: &mut Clients, handle: Handle) {
        let resume_from = self.replica_mut(handle).and_then(|replica| replica.resume_from.take());
        let Some(offset) = resume_from else {
            core.order(Order::ScheduleFullSync);
            return;
        };
        let blocks = self.stream.backlog.as_ref().map(|b| b.since(offset)).unwrap_or_default();
        if let Some(outbox) = clients.outbox(handle) {
            // Checked as a whole, behind the last of them.
            blocks.into_iter().for_each(|block| outbox.push_shared(block));
            clients.grew(core, handle);
        }
    }

    /// Nobody followed the stream so far, so its past is lost: what begins now is another history.
    fn begin_history_for_first_replica(&mut self, core: &mut Core, journal: &mut Journal) {
        if !core.is_replica {
            self.stream.change_id(&mut core.rng);
            self.stream.forget_selection();
        }
        self.stream.begin_backlog(core, journal);
        let (id, offset) = (&self.stream.ids.id, self.stream.offset());
        let text = format!(
            "Replication backlog created, my new replication IDs are '{id}' and '{NO_ID}', offset {offset}"
        );
        core.log(Level::Notice, text);
    }

    /// The stream's new bytes go to the backlog and into every replica's outbox.
    pub(crate) fn flush_stream(&mut self, core: &mut Core, clients: &mut Clients) {
        let Some(bytes) = self.stream.take_new(core) else { return };
        for replica in self.replicas.iter().filter(|replica| replica.follows_stream()) {
            clients.push_shared(core, replica.handle, bytes.clone());
        }
    }

    /// How many replicas wait for a full synchronisation.
    fn waiting_for_snapshot(&self) -> usize {
        let waits = |replica: &&Replica| replica.stage == ReplicaStage::WaitSnapshot;
        self.replicas.iter().filter(waits).count()
    }

    /// Whether the next full synchronisation begins now: replicas wait for it, nothing stands in its way, and no others
    /// are waited for. If others are, a timer is set.
    pub(crate) fn wants_full_sync(&self, core: &mut Core, saves: &Saves) -> bool {
        let waiting = self.waiting_for_snapshot();
        if waiting == 0 || !self.may_begin_full_sync(saves) {
            return false;
        }
        let enough = core.config.repl_diskless_sync_max_replicas as usize;
        let delay_us = core.config.repl_diskless_sync_delay as u64 * 1_000_000;
        if !core.config.repl_diskless_sync || delay_us == 0 || (enough > 0 && waiting >= enough) {
            return true;
        }
        if !core.timers.is_set(Timer::SyncDelay) {
            core.log(Level::Notice, "Delay next BGSAVE for diskless SYNC");
            core.timers.set(Timer::SyncDelay, core.now.mono_us + delay_us);
        }
        false
    }

    /// Whoever requests one too early is not forgotten: what stands in the way here schedules anew when it ends.
    fn may_begin_full_sync(&self, saves: &Saves) -> bool {
        // Only a snapshot under way keeps others waiting. What stands in outboxes or in a file that is
        // open may take its time.
        let under_way = |replica: &Replica| match replica.stage {
            ReplicaStage::Transfer(job) => saves.snapshots.get(job).is_some(),
            _ => false,
        };
        !self.replicas.iter().any(under_way) && !self.file_sync_opens()
    }

    /// Takes a snapshot for all replicas that wait. `place`: where the data stands in the stream.
    pub(crate) fn begin_full_sync(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        data: &mut Keyspace,
        saves: &mut Saves,
        place: impl FnOnce(&Stream) -> Option<StreamPosition>,
    ) {
        core.timers.stop(Timer::SyncDelay);
        if self.waiting_for_snapshot() == 0 || !self.may_begin_full_sync(saves) {
            return;
        }
        self.flush_stream(core, clients);
        // The replica starts with no database selected.
        if !core.is_replica && !core.injected(Bug::MissingSelect) {
            self.stream.forget_selection();
        }
        let mut waiting = self.replicas.iter().filter(|r| r.stage == ReplicaStage::WaitSnapshot);
        let diskless =
            core.config.repl_diskless_sync && waiting.all(|replica| replica.announced.eof);
        let place = place(&self.stream);
        let began = if diskless {
            saves.snapshots.begin(core, data, Purpose::Sync, SnapshotTarget::Stream, place)
        } else {
            self.begin_file_sync(core, data, saves, place)
        };
        let Some(job) = began else {
            // Another snapshot runs; when it ends this is tried again.
            core.timers.set_if_idle(Timer::SyncDelay, core.now.mono_us + 100_000);
            return;
        };
        let how = if diskless { "replicas sockets" } else { "disk" };
        core.log(Level::Notice, format!("Starting BGSAVE for SYNC with target: {how}"));
        for replica in &mut self.replicas {
            if replica.stage == ReplicaStage::WaitSnapshot {
                self.stats.full += 1;
                replica.share(core, clients, &self.stream, job, diskless);
            }
        }
    }

    /// Handles of the replicas that share a full synchronisation.
    pub(super) fn in_transfer(&self, job: JobId) -> impl Iterator<Item = Handle> {
        let shares = move |replica: &&Replica| replica.stage == ReplicaStage::Transfer(job);
        self.replicas.iter().filter(shares).map(|replica| replica.handle)
    }

    /// Bytes of a snapshot, or of the file it became, for those replicas that share it.
    pub(crate) fn sync_bytes(&mut self, clients: &mut Clients, job: JobId, bytes: Vec<u8>) {
        let bytes = Arc::new(bytes);
        for handle in self.in_transfer(job) {
            if let Some(outbox) = clients.outbox(handle) {
                outbox.insert_before(Gate::Snapshot(job), bytes.clone());
                clients.mark_dirty(handle);
            }
        }
    }

    /// Whether the replicas of a full synchronisation have as many bytes waiting as is good.
    pub(crate) fn is_throttled(&self, clients: &Clients, snapshot: &Snapshot) -> bool {
        snapshot.purpose == Purpose::Sync && self.some_outbox_is_full(clients, snapshot.job)
    }

    pub(super) fn some_outbox_is_full(&self, clients: &Clients, job: JobId) -> bool {
        self.in_transfer(job).any(|handle| {
            clients.get(handle).is_some_and(|c| c.wire.outbox.open_len() > OUTBOX_ENOUGH)
        })
    }

    /// All bytes of a full synchronisation stand in the outboxes, or there will be no more.
    pub(crate) fn sync_ended(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        job: JobId,
        result: &Result<(), String>,
    ) {
        let sharing: Vec<Handle> = self.in_transfer(job).collect();
        for handle in sharing {
            if result.is_err() {
                clients.close(core, handle);
                continue;
            }
            let Some(replica) = self.replica_mut(handle) else { continue };
            replica.stage = ReplicaStage::Draining(job);
            let mark = replica.end_mark.clone().map(String::into_bytes);
            if let (Some(mark), Some(outbox)) = (mark, clients.outbox(handle)) {
                outbox.insert_before(Gate::Snapshot(job), Arc::new(mark));
            }
            clients.mark_dirty(handle);
            self.took(core, clients, handle, 0);
        }
        core.order(Order::ScheduleFullSync);
    }

    /// A replica's connection took bytes of its outbox.
    pub(crate) fn took(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        handle: Handle,
        bytes: usize,
    ) {
        let waits = clients.get(handle).is_some_and(|client| client.wire.outbox.has_open_bytes());
        let now_us = core.now.mono_us;
        let Some(replica) = self.replica_mut(handle) else { return };
        if bytes > 0 {
            replica.progress_us = now_us;
        }
        match replica.stage {
            ReplicaStage::Transfer(_) if bytes > 0 => self.go_on_with_file_syncs(core, clients),
            ReplicaStage::Draining(job) if !waits => replica.payload_left(core, clients, job),
            _ => {}
        }
    }
}

impl Replica {
    /// Gives it a share of the full synchronisation that begins.
    fn share(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        stream: &Stream,
        job: JobId,
        diskless: bool,
    ) {
        let mark = core.rng.hex40();
        self.stage = ReplicaStage::Transfer(job);
        let Some(outbox) = clients.outbox(self.handle) else { return };
        if !self.old_sync {
            let line = format!("+FULLRESYNC {} {}\r\n", stream.ids.id, stream.offset());
            outbox.tail.extend_from_slice(line.as_bytes());
        }
        if diskless {
            outbox.tail.extend_from_slice(format!("$EOF:{mark}\r\n").as_bytes());
        }
        outbox.close_gate(Gate::Snapshot(job));
        clients.mark_dirty(self.handle);
        self.end_mark = diskless.then_some(mark);
    }

    /// Its payload has been written, all of it: from now on it can be expected to answer.
    fn payload_left(&mut self, core: &mut Core, clients: &mut Clients, job: JobId) {
        self.acked_us = core.now.mono_us;
        if self.end_mark.take().is_some() {
            self.stage = ReplicaStage::WaitAck(job);
        } else {
            self.go_online(clients, job);
        }
        let (ip, port) = self.address();
        let text = format!("Synchronization with replica {ip}:{port} succeeded");
        core.log(Level::Notice, text);
        if self.announced.rdb_only {
            clients.close_after_reply(core, self.handle);
        }
    }

    /// It has its payload: the stream behind it may leave.
    pub(super) fn go_online(&mut self, clients: &mut Clients, job: JobId) {
        self.stage = ReplicaStage::Online;
        if let Some(outbox) = clients.outbox(self.handle) {
            outbox.open_gate(Gate::Snapshot(job));
            clients.mark_dirty(self.handle);
        }
    }
}

/// Going.
impl Master {
    /// A connection is gone: perhaps that of a replica, or of one who waits for replicas.
    pub(crate) fn on_close(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        saves: &Saves,
        handle: Handle,
    ) {
        self.announced.remove(&handle);
        let Some(at) = self.replicas.iter().position(|replica| replica.handle == handle) else {
            return;
        };
        let replica = self.replicas.remove(at);
        if self.replicas.is_empty() {
            self.none_since_us = Some(core.now.mono_us);
        }
        core.log(Level::Notice, "Connection with replica lost.");
        if let ReplicaStage::Transfer(job) = replica.stage {
            let streams = saves.snapshots.get(job).is_some_and(|s| s.purpose == Purpose::Sync);
            if streams && self.in_transfer(job).next().is_none() {
                core.order(Order::AbortSnapshot(job));
            }
            // The others may have waited for this one.
            self.go_on_with_file_syncs(core, clients);
            core.order(Order::ScheduleFullSync);
        }
        // An end that waited for this replica has one less to wait for.
        core.order(Order::CheckShutdown);
    }

    /// All replicas must come again: what they follow has changed its name or its content.
    pub(crate) fn disconnect_replicas(&self, core: &mut Core, clients: &mut Clients) {
        for replica in &self.replicas {
            clients.close(core, replica.handle);
        }
    }

    /// The role has changed: effects of our own go into the stream, or no longer.
    pub(crate) fn set_local(&mut self, journal: &mut Journal, is_local: bool) {
        self.stream.set_local(journal, is_local);
    }

    /// `repl-backlog-size` has changed.
    pub(crate) fn resize_backlog(&mut self, core: &Core) {
        let size = usize::try_from(core.config.repl_backlog_size).unwrap_or(usize::MAX);
        if let Some(backlog) = &mut self.stream.backlog {
            backlog.resize(size);
        }
    }
}
