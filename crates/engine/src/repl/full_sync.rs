//! Full synchronizations: a snapshot for all replicas that wait for one, as a stream or by file
//! (`file_sync.rs`).
//!
//! From the start of a snapshot the stream is added to the replica's outbox behind a gate, and the
//! snapshot's bytes before it. A replica that reads up to an end mark (diskless) would lose stream
//! bytes of the same read, so the gate opens with its first acknowledgement; with an announced
//! length it opens when the payload has been sent.
//!
//! A replica cannot acknowledge during the payload, which may take longer than any timeout;
//! meanwhile its timeout depends on whether it reads bytes, and how many if the payload waits for it:
//! other replicas of the same snapshot and of the next one wait too, and old data is kept.

use super::master::{Master, Replica, ReplicaStage};
use super::stream::Stream;
use crate::clients::{Clients, Gate};
use crate::core::{Core, Order};
use crate::ids::{Handle, JobId};
use crate::injected::Bug;
use crate::io::{Level, SnapshotTarget};
use crate::keyspace::Keyspace;
use crate::persist::fill::StreamPosition;
use crate::persist::saves::Saves;
use crate::persist::snapshot::{Purpose, Snapshot};
use crate::timers::Timer;

/// Maximum number of payload bytes in a replica's outbox, unless the driver sets another.
pub(super) const PAYLOAD_AHEAD_BYTES: usize = 8 << 20;

/// Least rate, in bytes a second, at which a replica must read a payload that waits for it.
pub(super) const READ_RATE_MIN: u64 = 16 * 1024;

impl Master {
    /// Returns the number of replicas that wait for a full synchronization.
    fn waiting_for_snapshot(&self) -> usize {
        let waits = |replica: &&Replica| replica.stage == ReplicaStage::WaitSnapshot;
        self.replicas.iter().filter(waits).count()
    }

    /// Whether the next full synchronization can start now: replicas wait for it, it is possible,
    /// and the delay for more replicas has passed. Otherwise sets the timer.
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

    /// Whether a full synchronization can start. If not, it is scheduled again when it can.
    fn may_begin_full_sync(&self, saves: &Saves) -> bool {
        // Only a running snapshot delays others, not payloads in outboxes or an open file.
        let is_running = |replica: &Replica| match replica.stage {
            ReplicaStage::Transfer(job) => saves.snapshots.get(job).is_some(),
            _ => false,
        };
        !self.replicas.iter().any(is_running) && !self.file_sync_opens()
    }

    /// Starts a snapshot for all waiting replicas. `position`: the replication position of the data.
    pub(crate) fn begin_full_sync(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        data: &mut Keyspace,
        saves: &mut Saves,
        position: impl FnOnce(&Stream) -> Option<StreamPosition>,
    ) {
        core.timers.stop(Timer::SyncDelay);
        if self.waiting_for_snapshot() == 0 || !self.may_begin_full_sync(saves) {
            return;
        }
        self.flush_stream(core, clients);
        // The replica starts with no database selected.
        if !core.is_replica && !core.injected(Bug::MissingSelect) {
            self.stream.clear_selection();
        }
        let mut waiting = self.replicas.iter().filter(|r| r.stage == ReplicaStage::WaitSnapshot);
        let diskless =
            core.config.repl_diskless_sync && waiting.all(|replica| replica.announced.eof);
        let position = position(&self.stream);
        let began = if diskless {
            saves.snapshots.begin(core, data, Purpose::Sync, SnapshotTarget::Stream, position)
        } else {
            self.begin_file_sync(core, data, saves, position)
        };
        let Some(job) = began else {
            // Another snapshot is running; retried when it ends.
            core.timers.set_if_idle(Timer::SyncDelay, core.now.mono_us + 100_000);
            return;
        };
        let how = if diskless { "replicas sockets" } else { "disk" };
        core.log(Level::Notice, format!("Starting BGSAVE for SYNC with target: {how}"));
        for replica in &mut self.replicas {
            if replica.stage == ReplicaStage::WaitSnapshot {
                self.stats.full += 1;
                replica.begin_transfer(core, clients, &self.stream, job, diskless);
            }
        }
    }

    /// Returns the replicas that share a full synchronization.
    pub(super) fn in_transfer(&self, job: JobId) -> impl Iterator<Item = Handle> {
        let shares = move |replica: &&Replica| replica.stage == ReplicaStage::Transfer(job);
        self.replicas.iter().filter(shares).map(|replica| replica.handle)
    }

    /// Adds bytes of a snapshot or its file to the outboxes of its replicas.
    pub(crate) fn sync_bytes(
        &mut self,
        core: &Core,
        clients: &mut Clients,
        job: JobId,
        bytes: Vec<u8>,
    ) {
        let bytes = core.shared.share(bytes);
        for handle in self.in_transfer(job) {
            if let Some(outbox) = clients.outbox(handle) {
                outbox.insert_before(Gate::Snapshot(job), bytes.clone());
                clients.mark_dirty(handle);
            }
        }
    }

    /// Whether the outboxes of its replicas have reached the payload limit.
    pub(crate) fn is_throttled(&self, clients: &Clients, snapshot: &Snapshot) -> bool {
        snapshot.purpose == Purpose::Sync && self.some_outbox_is_full(clients, snapshot.job)
    }

    pub(super) fn some_outbox_is_full(&self, clients: &Clients, job: JobId) -> bool {
        self.in_transfer(job).any(|handle| self.outbox_is_full(clients, handle))
    }

    /// Whether an outbox has reached the payload limit: the full synchronization waits for its
    /// replica.
    pub(super) fn outbox_is_full(&self, clients: &Clients, handle: Handle) -> bool {
        let client = clients.get(handle);
        client.is_some_and(|client| client.wire.outbox.open_len() > self.payload_ahead_bytes)
    }

    /// Handles the end of a snapshot: all its bytes are in the outboxes, or it has failed.
    pub(crate) fn sync_ended(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        job: JobId,
        result: &Result<(), String>,
    ) {
        let sharing: Vec<Handle> = self.in_transfer(job).collect();
        for handle in sharing {
            let Some(replica) = self.replica_mut(handle) else { continue };
            if let Err(why) = result {
                let who = replica.name();
                core.log(Level::Warning, format!("Full resync of replica {who} failed: {why}"));
                clients.close(core, handle);
                continue;
            }
            replica.stage = ReplicaStage::Draining(job);
            let mark = replica.end_mark.clone().map(String::into_bytes);
            if let (Some(mark), Some(outbox)) = (mark, clients.outbox(handle)) {
                outbox.insert_before(Gate::Snapshot(job), core.shared.share(mark));
            }
            clients.mark_dirty(handle);
            self.bytes_written(core, clients, handle, 0);
        }
        core.order(Order::ScheduleFullSync);
    }

    /// Handles bytes written to a replica.
    pub(crate) fn bytes_written(
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
            let allowed_us = bytes as u64 * 1_000_000 / READ_RATE_MIN;
            replica.held_up_us = replica.held_up_us.saturating_sub(allowed_us);
        }
        match replica.stage {
            ReplicaStage::Transfer(_) if bytes > 0 => self.continue_file_syncs(core, clients),
            ReplicaStage::Draining(job) if !waits => replica.payload_sent(core, clients, job),
            _ => {}
        }
    }
}

impl Replica {
    /// Adds a replica to a full synchronization that starts.
    fn begin_transfer(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        stream: &Stream,
        job: JobId,
        diskless: bool,
    ) {
        let mark = core.ids.hex40();
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

    /// Handles the end of a replica's payload: from now on it is expected to acknowledge.
    fn payload_sent(&mut self, core: &mut Core, clients: &mut Clients, job: JobId) {
        self.acked_us = core.now.mono_us;
        if self.end_mark.take().is_some() && !core.injected(Bug::EarlyStream) {
            self.stage = ReplicaStage::WaitAck(job);
        } else {
            self.go_online(clients, job);
        }
        let text = format!("Synchronization with replica {} succeeded", self.name());
        core.log(Level::Notice, text);
        if self.announced.rdb_only {
            clients.close_after_reply(core, self.handle);
        }
    }

    /// Makes a replica online: the stream behind its payload is sent.
    pub(super) fn go_online(&mut self, clients: &mut Clients, job: JobId) {
        self.stage = ReplicaStage::Online;
        if let Some(outbox) = clients.outbox(self.handle) {
            outbox.open_gate(Gate::Snapshot(job));
            clients.mark_dirty(self.handle);
        }
    }
}
