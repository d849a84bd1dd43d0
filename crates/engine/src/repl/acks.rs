//! What replicas acknowledge, and who asks for it: WAIT, `min-replicas-to-write`, SHUTDOWN.
//!
//! Thousands may WAIT at once. However many ask in a turn, replicas are asked once, at its end; and
//! however many replicas answer in a turn, those who wait are looked through once.

use super::master::{Master, Replica, ReplicaStage};
use crate::clients::{Clients, Waiting};
use crate::core::{Answer, Core, Order};
use crate::ids::Handle;

impl Master {
    /// REPLCONF ACK.
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
        self.acks_came = true;
        core.order(Order::CheckShutdown);
    }

    /// A replica sent a sign of life: so it does while it loads.
    pub(crate) fn saw_alive(&mut self, handle: Handle, now_us: u64) {
        if let Some(replica) = self.replica_mut(handle) {
            replica.acked_us = now_us;
        }
    }

    fn online(&self) -> impl Iterator<Item = &Replica> {
        self.replicas.iter().filter(|replica| replica.stage == ReplicaStage::Online)
    }

    /// How many replicas have acknowledged everything up to `offset`.
    pub fn replicas_at(&self, offset: i64) -> usize {
        self.online().filter(|replica| replica.acked >= offset).count()
    }

    /// How many replicas lack something.
    pub fn lagging_replicas(&self) -> usize {
        let offset = self.stream.offset();
        self.online().filter(|replica| replica.acked < offset).count()
    }

    /// How many replicas answer within `min-replicas-max-lag`.
    pub fn good_replicas(&self, core: &Core) -> usize {
        let lag_max = core.config.min_replicas_max_lag as u64;
        let now_us = core.now.mono_us;
        self.online().filter(|replica| replica.lag_secs(now_us) <= lag_max).count()
    }

    /// Whether writes may be taken as far as `min-replicas-to-write` goes.
    #[inline]
    pub(crate) fn has_enough_replicas(&self, core: &Core) -> bool {
        let least = core.config.min_replicas_to_write as usize;
        least == 0 || core.config.min_replicas_max_lag == 0 || self.good_replicas(core) >= least
    }

    /// Asks all replicas, at the end of this turn, to acknowledge at once.
    pub(crate) fn request_acks(&mut self) {
        self.acks_wanted = true;
    }

    /// WAIT: a client waits for replicas to have `offset`.
    pub(crate) fn wait(&mut self, offset: i64, handle: Handle) {
        self.waiters.insert((offset, handle));
        self.request_acks();
    }

    /// A client waits no more, for whatever reason.
    pub(crate) fn stopped_waiting(&mut self, waiting: Waiting, handle: Handle) {
        if let Waiting::Acks { offset, .. } = waiting {
            self.waiters.remove(&(offset, handle));
        }
    }

    /// Whether nobody waits for replicas.
    pub fn has_waiters(&self) -> bool {
        !self.waiters.is_empty()
    }

    /// The end of a turn, as far as acknowledgements go.
    pub(crate) fn settle_acks(&mut self, core: &mut Core, clients: &Clients) {
        if std::mem::take(&mut self.acks_came) {
            self.wake_waiters(core, clients);
        }
        let wanted = std::mem::take(&mut self.acks_wanted);
        if wanted && !self.replicas.is_empty() && !core.is_replica {
            self.stream.append_command(&[b"REPLCONF", b"GETACK", b"*"]);
        }
    }

    /// Those who WAIT for what has now been acknowledged go on, in the order of their offsets.
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
