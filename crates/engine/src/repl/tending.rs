//! A master's housekeeping: pings, replicas that fall silent or leave, a backlog that nobody needs.

use std::sync::Arc;

use super::master::{ReplicaStage, ReplicaState};
use crate::io::{Handle, JobId, Level, Request};
use crate::node::Node;
use crate::outbox::Gate;
use crate::pause::PauseReason;
use crate::persist::snapshot::Purpose;

impl Node {
    /// A replica's connection is gone.
    pub(crate) fn replica_lost(&mut self, handle: Handle, state: ReplicaState) {
        self.repl.replicas.retain(|&h| h != handle);
        if self.repl.replicas.is_empty() {
            self.repl.none_since_us = Some(self.now.mono_us);
        }
        self.log(Level::Notice, "Connection with replica lost.");
        if let ReplicaStage::Transfer(job) = state.stage {
            let streams =
                self.persist.snapshots.iter().any(|s| s.job == job && s.purpose == Purpose::Sync);
            if streams && self.in_transfer(job).is_empty() {
                self.abort_snapshot(job);
            }
            // The others may have waited for this one.
            self.go_on_with_file_syncs();
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
            && self.pause.of(PauseReason::Shutdown).is_none()
        {
            self.repl.last_ping_us = now_us;
            self.repl.feed(b"*1\r\n$4\r\nPING\r\n");
        }
        for handle in self.repl.replicas.clone() {
            self.tend_replica(handle);
        }
        self.let_backlog_go();
        self.go_on_with_file_syncs();
        self.schedule_full_sync();
        self.remove_sync_file();
    }

    /// `rdb-del-sync-files`: a server that keeps nothing on disk doesn't keep what it wrote for its replicas either.
    fn remove_sync_file(&mut self) {
        let is_wanted = self.config.rdb_del_sync_files && self.config.save.0.is_empty();
        let is_used = !self.repl.by_file.is_empty() || self.persist.save().is_some();
        if !self.repl.dump_is_for_sync || !is_wanted || is_used {
            return;
        }
        self.repl.dump_is_for_sync = false;
        let text = "Removing the RDB file used to feed replicas in a persistence-less instance";
        self.log(Level::Notice, text);
        self.request(Request::RemoveFile(self.dump_file()));
    }

    fn tend_replica(&mut self, handle: Handle) {
        let now_us = self.now.mono_us;
        let timeout_us = self.config.repl_timeout.max(1) as u64 * 1_000_000;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let (ip, port) = client.replica_address();
        let waits = client.wire.outbox.has_open_bytes();
        let Some(state) = client.replica_mut() else { return };
        if !waits {
            state.progress_us = now_us;
        }
        // Others may wait for it, so it must take what it is given; that it talks is not enough.
        let stuck = now_us.saturating_sub(state.progress_us) > timeout_us;
        // Who came with SYNC is not known to acknowledge anything.
        let silent = now_us.saturating_sub(state.acked_us) > timeout_us && !state.old_sync;
        let lost = match state.stage {
            // A line end keeps the link alive while there is nothing to send yet.
            ReplicaStage::WaitSnapshot => {
                client.wire.outbox.tail.push(b'\n');
                self.mark_dirty(handle);
                return;
            }
            ReplicaStage::Transfer(job) if !stuck => {
                if self.file_sync_is_silent(job) {
                    self.sync_bytes_to(handle, job, b"\n".to_vec());
                }
                return;
            }
            ReplicaStage::Transfer(_) => "full sync",
            ReplicaStage::Draining(_) if stuck => "full sync",
            ReplicaStage::WaitAck(_) if silent => "full sync",
            ReplicaStage::Online if silent => "streaming sync",
            _ => return,
        };
        let text = format!("Disconnecting timedout replica ({lost}): {ip}:{port}");
        self.log(Level::Warning, text);
        self.close(handle);
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
