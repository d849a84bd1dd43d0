//! Acknowledgements of replicas, for WAIT, WAITAOF, CLUSTER SETSLOT, `min-replicas-to-write` and SHUTDOWN; for WAITAOF
//! also our own disk's.
//!
//! Thousands of clients may WAIT at once. Regardless of their number, acknowledgements are
//! requested once at the end of a turn; and regardless of how many replicas acknowledge in a turn,
//! waiting clients are checked once.

use std::collections::BTreeMap;

use russet_protocol::ErrorReply;

use super::master::{Master, Replica, ReplicaStage};
use crate::clients::{Awaited, Clients, Waiting};
use crate::core::{Answer, ClusterOrder, Core, Order};
use crate::ids::Handle;

impl Master {
    /// Handles REPLCONF ACK.
    pub(crate) fn acknowledged(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        handle: Handle,
        offset: i64,
        on_disk: Option<i64>,
    ) {
        let now_us = core.now.mono_us;
        let Some(replica) = self.replica_mut(handle) else { return };
        replica.acked = replica.acked.max(offset);
        replica.acked_on_disk = on_disk.unwrap_or(replica.acked_on_disk).max(replica.acked_on_disk);
        replica.acked_us = now_us;
        if let ReplicaStage::WaitAck(job) = replica.stage {
            replica.go_online(clients, job);
        }
        self.acks_received = true;
        core.order(Order::CheckShutdown);
    }

    /// Handles a newline of a replica, sent to keep the link alive during loading.
    pub(crate) fn newline_received(&mut self, handle: Handle, now_us: u64) {
        if let Some(replica) = self.replica_mut(handle) {
            replica.acked_us = now_us;
        }
    }

    fn online(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.stage == ReplicaStage::Online)
    }

    /// Returns the number of replicas that have acknowledged `offset`.
    pub fn replicas_at(&self, offset: i64) -> usize {
        self.online().filter(|replica| replica.acked >= offset).count()
    }

    /// Returns the number of lagging replicas.
    pub fn lagging_replicas(&self) -> usize {
        let offset = self.stream.offset();
        self.online().filter(|replica| replica.acked < offset).count()
    }

    /// Returns the number of replicas within `min-replicas-max-lag`. One that still loads its payload
    /// has nothing of the data: it counts from its first acknowledgement on.
    pub fn good_replicas(&self, core: &Core) -> usize {
        let lag_max = core.config.min_replicas_max_lag as u64;
        let now_us = core.now.mono_us;
        let is_good =
            |replica: &&Replica| replica.acked >= 0 && replica.lag_secs(now_us) <= lag_max;
        self.online().filter(is_good).count()
    }

    /// Whether there are enough good replicas for `min-replicas-to-write`.
    #[inline]
    pub(crate) fn has_enough_replicas(&self, core: &Core) -> bool {
        let least = core.config.min_replicas_to_write as usize;
        least == 0 || core.config.min_replicas_max_lag == 0 || self.good_replicas(core) >= least
    }

    /// Requests acknowledgements from all replicas at the end of this turn.
    pub(crate) fn request_acks(&mut self) {
        self.acks_requested = true;
    }

    /// Adds a client in WAIT, WAITAOF or CLUSTER SETSLOT.
    pub(crate) fn wait(&mut self, awaited: &Awaited, handle: Handle) {
        if awaited.on_disk.is_some() {
            self.disk_waiters.insert(handle);
        } else {
            self.waiters.insert((awaited.offset, handle));
        }
        self.request_acks();
    }

    /// Returns how many replicas carry out CLUSTER SETSLOT, and have all of the stream up to an offset.
    fn slot_replicas(&self, offset: i64) -> usize {
        let takes_slots = |replica: &&Replica| replica.announced.takes_slots();
        self.online().filter(takes_slots).filter(|replica| replica.acked >= offset).count()
    }

    /// Returns how far the replicas are, by their addresses.
    pub(crate) fn acknowledged_by_address(&self) -> BTreeMap<(String, u16), u64> {
        let place = |replica: &Replica| {
            let (host, port) = replica.address();
            ((host.to_owned(), port), u64::try_from(replica.acked).unwrap_or(0))
        };
        self.online().map(place).collect()
    }

    /// Sends a command about a slot to the replicas. Returns what to wait for; none if no replica carries it out.
    pub(crate) fn send_slot_step(&mut self, args: &[&[u8]]) -> Option<Awaited> {
        let replicas = self.slot_replicas(i64::MIN);
        if replicas == 0 {
            return None;
        }
        self.stream.append_command(args);
        Some(Awaited { offset: self.stream.offset(), replicas, on_disk: None })
    }

    /// Removes a client from WAIT, WAITAOF or CLUSTER SETSLOT.
    pub(crate) fn stop_waiting(&mut self, waiting: Waiting, handle: Handle) {
        if let Waiting::Acks(Awaited { offset, .. }) | Waiting::SlotAcks(Awaited { offset, .. }) =
            waiting
        {
            self.waiters.remove(&(offset, handle));
            self.disk_waiters.remove(&handle);
        }
    }

    /// Whether any client is in WAIT or WAITAOF.
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty() || !self.disk_waiters.is_empty()
    }

    /// Returns who has what a client waits for. `synced`: the last batch of our append-only file that is on disk; none
    /// without such a file.
    pub(crate) fn acks(&self, awaited: &Awaited, synced: Option<u64>) -> Acks {
        let Awaited { offset, on_disk, .. } = *awaited;
        match on_disk {
            None => Acks { here: false, replicas: self.replicas_at(offset) },
            Some(on_disk) => Acks {
                here: synced.is_some_and(|synced| synced >= on_disk.batch),
                replicas: self.online().filter(|one| one.acked_on_disk >= offset).count(),
            },
        }
    }

    /// Requests and checks acknowledgements at the end of a turn.
    pub(crate) fn process_acks(
        &mut self,
        core: &mut Core,
        clients: &Clients,
        synced: Option<u64>,
        is_failing_over: bool,
    ) {
        let is_any = std::mem::take(&mut self.acks_received);
        if is_any {
            self.wake_waiters(core, clients);
        }
        if is_any || self.synced_seen != synced {
            self.synced_seen = synced;
            self.wake_disk_waiters(core, clients);
        }
        let wanted = std::mem::take(&mut self.acks_requested);
        // A failover asks by itself: the stream must not grow with each WAIT.
        if wanted && !self.replicas.is_empty() && !core.is_replica && !is_failing_over {
            self.ask_for_acks();
        }
    }

    /// Asks all replicas for acknowledgements, in the stream. Returns the offset behind the request.
    pub(super) fn ask_for_acks(&mut self) -> i64 {
        self.stream.append_command(&[b"REPLCONF", b"GETACK", b"*"]);
        self.stream.offset()
    }

    /// Unblocks clients whose offset has been acknowledged, in the order of offsets.
    fn wake_waiters(&mut self, core: &mut Core, clients: &Clients) {
        let mut acked: Vec<i64> = self.online().map(|replica| replica.acked).collect();
        acked.sort_unstable();
        let Some(&furthest) = acked.last() else { return };
        for &(offset, handle) in self.waiters.iter().take_while(|&&(offset, _)| offset <= furthest)
        {
            let awaited = match clients.waiting(handle) {
                Some(Waiting::Acks(awaited)) => awaited,
                Some(Waiting::SlotAcks(awaited)) => {
                    if self.slot_replicas(offset) >= awaited.replicas {
                        core.order(Order::Cluster(ClusterOrder::SetSlot(handle)));
                    }
                    continue;
                }
                _ => continue,
            };
            let have = acked.len() - acked.partition_point(|&at| at < offset);
            if have >= awaited.replicas {
                core.order(Order::Answer(handle, Answer::Count(have)));
            }
        }
    }

    /// Unblocks clients in WAITAOF whose writes are on enough disks, or never will be on ours.
    fn wake_disk_waiters(&mut self, core: &mut Core, clients: &Clients) {
        for &handle in &self.disk_waiters {
            let Some(Waiting::Acks(awaited)) = clients.waiting(handle) else { continue };
            let acks = self.acks(&awaited, self.synced_seen);
            if acks.are_enough(&awaited) {
                core.order(Order::Answer(handle, acks.answer(&awaited)));
            } else if self.synced_seen.is_none() && awaited.needs_this_disk() {
                core.order(Order::Answer(handle, Answer::Error(NO_AOF)));
            }
        }
    }
}

/// The error of WAITAOF without an append-only file.
pub(crate) const NO_AOF: ErrorReply = ErrorReply::fixed(
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
);

/// Who has a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Acks {
    /// WAITAOF: whether it is on our disk.
    here: bool,
    /// Number of replicas that have it, WAITAOF: on disk.
    replicas: usize,
}

impl Acks {
    /// Whether these are enough for what is awaited.
    pub(crate) fn are_enough(&self, awaited: &Awaited) -> bool {
        self.replicas >= awaited.replicas && (self.here || !awaited.needs_this_disk())
    }

    /// Returns the reply of WAIT or WAITAOF.
    pub(crate) fn answer(&self, awaited: &Awaited) -> Answer {
        match awaited.on_disk {
            None => Answer::Count(self.replicas),
            Some(_) => Answer::OnDisk(self.here, self.replicas),
        }
    }
}
