//! The master side: replicas attach with a full or partial synchronization and follow the stream.
//!
//! The states of a replica:
//!
//! ```text
//!   PSYNC ──▶ continue ───────────────────────────────────────────────▶ Online
//!     │                                                                  ▲
//!     │                                                       by file    │
//!     └─────▶ WaitSnapshot ──▶ Transfer(job) ──▶ Draining ──┬────────────┤
//!             waits for the      receives the     the last  │  diskless  │
//!             next snapshot      snapshot         bytes are └▶ WaitAck ──┘
//!                                                 sent         loads the payload
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::file_sync::FileSync;
use super::full_sync::PAYLOAD_AHEAD_BYTES;
use super::psync::{self, Decision, NO_ID, Reason};
use super::stream::Stream;
use crate::clients::{Clients, Role};
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::injected::Bug;
use crate::io::{Level, Output};
use crate::journal::Journal;
use crate::persist::saves::Saves;
use crate::persist::snapshot::Purpose;
use crate::timers::Timer;

/// Replication counters for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReplicationStats {
    /// Full synchronizations.
    pub full: u64,
    /// Accepted partial synchronizations.
    pub partial_ok: u64,
    /// Refused partial synchronizations.
    pub partial_err: u64,
}

/// What a connection announced with REPLCONF before it becomes a replica.
#[derive(Clone, Debug, Default)]
pub struct Announced {
    /// Port that it listens on.
    pub port: u16,
    /// Announced address.
    pub ip: Option<String>,
    /// Whether it supports a payload with an end mark.
    pub eof: bool,
    /// Whether it supports `+CONTINUE <id>`.
    pub psync2: bool,
    /// Whether it carries out CLUSTER SETSLOT of its master's stream.
    pub setslot: bool,
    /// Whether it only wants a snapshot (redis-cli --rdb).
    pub rdb_only: bool,
    /// Announced version.
    pub version: Option<String>,
}

impl Announced {
    /// Whether it carries out CLUSTER SETSLOT of its master's stream, as Valkey does from 8.0 on.
    pub fn takes_slots(&self) -> bool {
        let major = self.version.as_deref().and_then(|version| version.split('.').next());
        self.setslot || major.and_then(|major| major.parse::<u32>().ok()).is_some_and(|it| it >= 8)
    }
}

/// The stage of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplicaStage {
    /// Waits for the next full synchronization.
    WaitSnapshot,
    /// Is being sent this snapshot, diskless or by file.
    Transfer(JobId),
    /// The whole snapshot is in its outbox and has not been sent completely.
    Draining(JobId),
    /// Has received this snapshot and has not acknowledged that it is loaded.
    WaitAck(JobId),
    /// Follows the stream.
    Online,
}

/// A replica.
#[derive(Debug)]
pub struct Replica {
    /// Its connection.
    pub handle: Handle,
    /// Its announcements.
    pub announced: Announced,
    /// Its peer address.
    peer_address: String,
    /// Its stage.
    pub stage: ReplicaStage,
    /// Its last acknowledged offset. After a full synchronization -1 until the first, which says that
    /// it has loaded its payload; one that resumes has its data.
    pub(super) acked: i64,
    /// Its last acknowledged offset on disk, if it reports one.
    pub acked_on_disk: i64,
    /// Monotonic microseconds of its last acknowledgement or newline.
    pub(super) acked_us: u64,
    /// Monotonic microseconds at which it last read bytes, or had none to read.
    pub(super) progress_us: u64,
    /// Microseconds for which it has held up its full synchronization, less those that the bytes it
    /// read may take.
    pub(super) held_up_us: u64,
    /// Monotonic microseconds of the last check of the cron.
    pub(super) checked_us: u64,
    /// The end mark of its payload.
    pub(super) end_mark: Option<String>,
    /// Whether it used SYNC, which has no reply line.
    pub(super) old_sync: bool,
    /// Offset of its partial synchronization, once the reply line is written.
    resume_from: Option<i64>,
}

/// Describes who closed a link, for the log: if it was this server, an earlier line says why.
pub(super) fn who_closed(by_peer: bool) -> &'static str {
    if by_peer {
        "The other side closed it, or the network failed."
    } else {
        "This server closed it."
    }
}

impl Replica {
    /// Returns its name in log lines, as Redis does.
    pub fn name(&self) -> String {
        match self.address() {
            (ip, 0) => format!("{ip}:<unknown-replica-port>"),
            (ip, port) if ip.contains(':') => format!("[{ip}]:{port}"),
            (ip, port) => format!("{ip}:{port}"),
        }
    }

    /// Returns its address for clients.
    pub fn address(&self) -> (&str, u16) {
        (self.announced.ip.as_deref().unwrap_or(&self.peer_address), self.announced.port)
    }

    /// Returns the name of its stage in INFO.
    pub fn stage_name(&self) -> &'static str {
        match self.stage {
            ReplicaStage::WaitSnapshot => "wait_bgsave",
            ReplicaStage::Transfer(_) | ReplicaStage::Draining(_) => "send_bulk",
            ReplicaStage::WaitAck(_) | ReplicaStage::Online => "online",
        }
    }

    /// Returns its last acknowledged offset; 0 before the first.
    pub fn acked_offset(&self) -> i64 {
        self.acked.max(0)
    }

    /// Returns the seconds since an online replica last sent something; 0 before it is online.
    pub fn lag_secs(&self, now_us: u64) -> u64 {
        match self.stage_name() {
            "online" => now_us.saturating_sub(self.acked_us) / 1_000_000,
            _ => 0,
        }
    }

    /// Whether it gets the stream's bytes, possibly behind a gate.
    fn follows_stream(&self) -> bool {
        self.stage != ReplicaStage::WaitSnapshot && !self.announced.rdb_only
    }
}

/// The master side of replication.
#[derive(Debug)]
pub struct Master {
    /// The stream that replicas follow.
    pub stream: Stream,
    pub(super) replicas: Vec<Replica>,
    /// Maximum number of payload bytes in a replica's outbox.
    pub(super) payload_ahead_bytes: usize,
    /// Announcements of connections that may become replicas.
    announced: BTreeMap<Handle, Announced>,
    /// Monotonic microseconds since when there is no replica.
    pub(super) none_since_us: Option<u64>,
    /// Running full synchronizations by file.
    pub(super) by_file: Vec<FileSync>,
    /// Counters.
    pub stats: ReplicationStats,
    /// Monotonic microseconds of the last PING in the stream.
    pub(super) last_ping_us: u64,
    /// Clients in WAIT, by offset.
    pub(super) waiters: BTreeSet<(i64, Handle)>,
    /// Clients in WAITAOF.
    pub(super) disk_waiters: BTreeSet<Handle>,
    /// The last batch of our append-only file that was on disk when they were looked at.
    pub(super) synced_seen: Option<u64>,
    /// Whether acknowledgements are requested at the end of the turn.
    pub(super) acks_requested: bool,
    /// Whether a replica has sent an acknowledgement in this turn.
    pub(super) acks_received: bool,
}

impl Master {
    /// Creates a master without replicas, with a new replication id.
    pub fn new(core: &mut Core) -> Master {
        Master {
            stream: Stream::new(&mut core.ids, core.boot.mode),
            payload_ahead_bytes: core.boot.payload_ahead_bytes.unwrap_or(PAYLOAD_AHEAD_BYTES),
            replicas: Vec::new(),
            announced: BTreeMap::new(),
            none_since_us: None,
            by_file: Vec::new(),
            stats: ReplicationStats::default(),
            last_ping_us: 0,
            waiters: BTreeSet::new(),
            disk_waiters: BTreeSet::new(),
            synced_seen: None,
            acks_requested: false,
            acks_received: false,
        }
    }

    /// Returns the replicas.
    pub fn replicas(&self) -> &[Replica] {
        &self.replicas
    }

    /// Returns the replica of a connection.
    pub fn replica(&self, handle: Handle) -> Option<&Replica> {
        self.replicas.iter().find(|replica| replica.handle == handle)
    }

    pub(super) fn replica_mut(&mut self, handle: Handle) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.handle == handle)
    }

    /// Returns the announcements of a connection, to add to them.
    pub(crate) fn announced_mut(&mut self, handle: Handle) -> &mut Announced {
        let replica = self.replicas.iter_mut().find(|replica| replica.handle == handle);
        match replica {
            Some(replica) => &mut replica.announced,
            None => self.announced.entry(handle).or_default(),
        }
    }

    /// Handles PSYNC or SYNC. Returns the reply line, if it is known now; [`Master::attached`] does
    /// the rest.
    pub(crate) fn attach(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        handle: Handle,
        (id, offset): (&str, Option<i64>),
        old_sync: bool,
    ) -> Option<String> {
        // Effects of this turn are added first: they may drop the requested byte from the backlog.
        self.flush_stream(core, clients);
        let decision = psync::decide(&self.stream.ids, self.stream.backlog.as_ref(), id, offset);
        let resume_from = match (decision, offset) {
            (Decision::Continue, Some(offset)) => {
                Some(offset + i64::from(core.injected(Bug::PsyncOffByOne)))
            }
            _ => None,
        };
        let (ids, had_backlog) = (self.stream.ids.clone(), self.stream.backlog.is_some());
        if !had_backlog {
            self.begin_history(core, journal);
        }
        self.none_since_us = None;
        let now_us = core.now.mono_us;
        let client = clients.get_mut(handle)?;
        client.role = Role::Replica;
        let replica = Replica {
            handle,
            announced: self.announced.remove(&handle).unwrap_or_default(),
            peer_address: client.peer_address(),
            stage: match resume_from {
                Some(_) => ReplicaStage::Online,
                None => ReplicaStage::WaitSnapshot,
            },
            acked: if resume_from.is_some() { 0 } else { -1 },
            acked_on_disk: 0,
            acked_us: now_us,
            progress_us: now_us,
            held_up_us: 0,
            checked_us: now_us,
            end_mark: None,
            old_sync,
            resume_from,
        };
        let (who, psync2) = (replica.name(), replica.announced.psync2);
        self.replicas.push(replica);
        if core.config.repl_disable_tcp_nodelay {
            core.output(Output::DisableNoDelay(handle));
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
        let Decision::Full(reason) = decision else { return None };
        if reason != Reason::Requested {
            self.stats.partial_err += 1;
        }
        let backlog = self.stream.backlog.as_ref().filter(|_| had_backlog);
        let request = (id, offset.unwrap_or_default());
        core.log(Level::Notice, reason.describe(&who, request, &ids, backlog));
        None
    }

    /// Continues after the reply to PSYNC was written to the outbox.
    pub(crate) fn attached(&mut self, core: &mut Core, clients: &mut Clients, handle: Handle) {
        let resume_from = self.replica_mut(handle).and_then(|replica| replica.resume_from.take());
        let Some(offset) = resume_from else {
            core.order(Order::ScheduleFullSync);
            return;
        };
        let blocks = self.stream.backlog.as_ref().map(|b| b.since(offset)).unwrap_or_default();
        if let Some(outbox) = clients.outbox(handle) {
            // The limit must not apply to them: the replica would request the same again.
            blocks.into_iter().for_each(|block| outbox.push_exempt(block));
            clients.mark_dirty(handle);
        }
    }

    /// Starts a new history for the first replica, since earlier bytes of the stream were not kept.
    fn begin_history(&mut self, core: &mut Core, journal: &mut Journal) {
        if !core.is_replica {
            self.stream.change_id(&mut core.ids);
            self.stream.clear_selection();
        }
        self.stream.begin_backlog(core, journal);
        let (id, offset) = (&self.stream.ids.id, self.stream.offset());
        let text = format!(
            "Replication backlog created, my new replication IDs are '{id}' and '{NO_ID}', offset {offset}"
        );
        core.log(Level::Notice, text);
    }

    /// Adds new bytes of the stream to the outboxes of all replicas.
    pub(crate) fn flush_stream(&mut self, core: &mut Core, clients: &mut Clients) {
        while let Some(block) = self.stream.take_new(core) {
            for replica in self.replicas.iter().filter(|replica| replica.follows_stream()) {
                clients.hold_behind_changes(replica.handle);
                clients.push_shared(core, replica.handle, block.clone());
            }
        }
    }
}

/// Disconnecting.
impl Master {
    /// Handles a closed connection, which may be a replica or a client in WAIT.
    pub(crate) fn on_close(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        saves: &Saves,
        handle: Handle,
        by_peer: bool,
    ) {
        self.announced.remove(&handle);
        let Some(at) = self.replicas.iter().position(|replica| replica.handle == handle) else {
            return;
        };
        let replica = self.replicas.remove(at);
        if self.replicas.is_empty() {
            self.none_since_us = Some(core.now.mono_us);
        }
        let (who, closed) = (replica.name(), who_closed(by_peer));
        core.log(Level::Notice, format!("Connection with replica {who} lost. {closed}"));
        if let ReplicaStage::Transfer(job) = replica.stage {
            let streams = saves.snapshots.get(job).is_some_and(|s| s.purpose == Purpose::Sync);
            if streams && self.in_transfer(job).next().is_none() {
                core.order(Order::AbortSnapshot(job));
            }
            // Other replicas may have waited for this one.
            self.continue_file_syncs(core, clients);
            core.order(Order::ScheduleFullSync);
        }
        // A shutdown may have waited for this replica.
        core.order(Order::CheckShutdown);
    }

    /// Disconnects all replicas after a change of the replication id or the data.
    pub(crate) fn disconnect_replicas(&self, core: &mut Core, clients: &mut Clients) {
        self.disconnect_replicas_but(core, clients, None);
    }

    /// Disconnects all replicas but one.
    pub(super) fn disconnect_replicas_but(
        &self,
        core: &mut Core,
        clients: &mut Clients,
        kept: Option<Handle>,
    ) {
        for replica in self.replicas.iter().filter(|replica| Some(replica.handle) != kept) {
            clients.close(core, replica.handle);
        }
    }

    /// Applies a change of the role, which decides whether local effects go into the stream.
    pub(crate) fn set_local(&mut self, journal: &mut Journal, is_local: bool) {
        self.stream.set_local(journal, is_local);
    }

    /// Applies a change of `repl-backlog-size`.
    pub(crate) fn resize_backlog(&mut self, core: &Core) {
        let size = usize::try_from(core.config.repl_backlog_size).unwrap_or(usize::MAX);
        if let Some(backlog) = &mut self.stream.backlog {
            backlog.resize(size);
        }
    }
}
