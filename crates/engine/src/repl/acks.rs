//! What replicas acknowledge, and who asks for it: WAIT, `min-replicas-to-write`, SHUTDOWN.
//!
//! Thousands may WAIT at once. However many ask in a turn, replicas are asked once, at its end; and
//! however many replicas answer in a turn, those who wait are looked through once.

use super::master::{ReplicaStage, ReplicaState};
use crate::client::Waiting;
use crate::io::Handle;
use crate::node::Node;
use crate::outbox::Gate;

impl Node {
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
        self.repl.acks_came = true;
        self.check_shutdown(false);
    }

    fn online_replicas(&self) -> impl Iterator<Item = &ReplicaState> {
        let states = self.repl.replicas.iter().filter_map(|&h| self.clients.get(h)?.replica());
        states.filter(|state| state.stage == ReplicaStage::Online)
    }

    /// How many replicas have acknowledged everything up to `offset`.
    pub fn replicas_at(&self, offset: i64) -> usize {
        self.online_replicas().filter(|state| state.acked >= offset).count()
    }

    /// How many replicas lack something.
    pub(crate) fn lagging_replicas(&self) -> usize {
        let offset = self.repl.offset;
        self.online_replicas().filter(|state| state.acked < offset).count()
    }

    /// How many replicas answer within `min-replicas-max-lag`.
    pub fn good_replicas(&self) -> usize {
        let lag_max = self.config.min_replicas_max_lag as u64;
        let now_us = self.now.mono_us;
        self.online_replicas().filter(|state| state.lag_secs(now_us) <= lag_max).count()
    }

    /// Whether writes may be taken as far as `min-replicas-to-write` goes.
    pub(crate) fn enough_replicas(&self) -> bool {
        let least = self.config.min_replicas_to_write as usize;
        least == 0 || self.config.min_replicas_max_lag == 0 || self.good_replicas() >= least
    }

    /// Asks all replicas, at the end of this turn, to acknowledge at once.
    pub(crate) fn ask_for_acks(&mut self) {
        self.repl.acks_wanted = true;
    }

    /// The end of a turn, as far as acknowledgements go.
    pub(crate) fn settle_acks(&mut self) {
        if std::mem::take(&mut self.repl.acks_came) {
            self.wake_waiters();
        }
        let wanted = std::mem::take(&mut self.repl.acks_wanted);
        if wanted && !self.repl.replicas.is_empty() && !self.repl.is_replica() {
            let args = [&b"REPLCONF"[..], b"GETACK", b"*"];
            let mut bytes = Vec::new();
            russet_protocol::reply::push_command(&mut bytes, &args);
            self.repl.feed(&bytes);
        }
    }

    /// Those who WAIT for what has now been acknowledged go on, in the order of their offsets.
    fn wake_waiters(&mut self) {
        let mut acked: Vec<i64> = self.online_replicas().map(|state| state.acked).collect();
        acked.sort_unstable();
        let Some(&furthest) = acked.last() else { return };
        let behind = |&&(offset, _): &&(i64, Handle)| offset <= furthest;
        let waiters: Vec<(i64, Handle)> =
            self.ack_waiters.iter().take_while(behind).copied().collect();
        for (offset, handle) in waiters {
            let blocked = self.clients.get(handle).and_then(|client| client.blocked.as_ref());
            let Some(Waiting::Acks { replicas, .. }) = blocked.map(|b| &b.waiting) else {
                continue;
            };
            let have = acked.len() - acked.partition_point(|&at| at < offset);
            if have >= *replicas {
                self.with_reply(handle, |_, reply| reply.count(have));
                self.resume(handle);
            }
        }
    }
}
