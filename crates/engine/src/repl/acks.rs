//! Acknowledgements of replicas, for WAIT, `min-replicas-to-write` and SHUTDOWN.
//!
//! Thousands of clients may WAIT at once. Regardless of their number, acknowledgements are
//! requested once at the end of a turn; and regardless of how many replicas acknowledge in a turn,
//! waiting clients are checked once.

use super::master::{Master, Replica, ReplicaStage};
use crate::clients::{Clients, Waiting};
use crate::core::{Answer, Core, Order};
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

    /// Adds a client in WAIT for `offset`.
    pub(crate) fn wait(&mut self, offset: i64, handle: Handle) {
        self.waiters.insert((offset, handle));
        self.request_acks();
    }

    /// Removes a client from WAIT.
    pub(crate) fn stop_waiting(&mut self, waiting: Waiting, handle: Handle) {
        if let Waiting::Acks { offset, .. } = waiting {
            self.waiters.remove(&(offset, handle));
        }
    }

    /// Whether any client is in WAIT.
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// Requests and checks acknowledgements at the end of a turn.
    pub(crate) fn process_acks(&mut self, core: &mut Core, clients: &Clients) {
        if std::mem::take(&mut self.acks_received) {
            self.wake_waiters(core, clients);
        }
        let wanted = std::mem::take(&mut self.acks_requested);
        if wanted && !self.replicas.is_empty() && !core.is_replica {
            self.stream.append_command(&[b"REPLCONF", b"GETACK", b"*"]);
        }
    }

    /// Unblocks clients whose offset has been acknowledged, in the order of offsets.
    fn wake_waiters(&mut self, core: &mut Core, clients: &Clients) {
        let mut acked: Vec<i64> = self.online().map(|replica| replica.acked).collect();
        acked.sort_unstable();
        let Some(&furthest) = acked.last() else { return };
        for &(offset, handle) in self.waiters.iter().take_while(|&&(offset, _)| offset <= furthest)
        {
            let Some(Waiting::Acks { replicas, .. }) = clients.waiting(handle) else { continue };
            let have = acked.len() - acked.partition_point(|&at| at < offset);
            if have >= replicas {
                core.order(Order::Answer(handle, Answer::Count(have)));
            }
        }
    }
}
