//! A master's housekeeping: pings, replicas that fall silent or leave, a backlog that nobody needs.

use std::sync::Arc;

use super::master::{ReplicaStage, ReplicaState};
use crate::io::{Handle, JobId, Level};
use crate::node::Node;
use crate::outbox::Gate;
use crate::persist::snapshot::Purpose;

impl Node {
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
