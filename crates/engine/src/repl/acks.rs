//! What replicas acknowledge, and who asks for it: WAIT, `min-replicas-to-write`, SHUTDOWN.

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
}
