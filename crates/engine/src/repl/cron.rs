//! The replication cron of a master, once a second: pings, timeouts of replicas, and freeing an
//! unused backlog.

use super::full_sync::READ_RATE_MIN;
use super::master::{Master, Replica, ReplicaStage};
use crate::clients::{Clients, Gate};
use crate::core::{Core, Order};
use crate::injected::Bug;
use crate::io::{Level, Request};
use crate::journal::Journal;
use crate::pause::{Pause, PauseReason};
use crate::persist::saves::Saves;

impl Master {
    /// Whether the timer is needed.
    pub(crate) fn needs_cron(&self) -> bool {
        !self.replicas.is_empty() || self.none_since_us.is_some()
    }

    /// Runs the cron.
    pub(crate) fn cron(
        &mut self,
        core: &mut Core,
        clients: &mut Clients,
        journal: &mut Journal,
        saves: &mut Saves,
        pause: &Pause,
    ) {
        let now_us = core.now.mono_us;
        let period_us = core.config.repl_ping_replica_period.max(1) as u64 * 1_000_000;
        if !core.is_replica
            && !self.replicas.is_empty()
            && now_us.saturating_sub(self.last_ping_us) >= period_us
            && pause.of(PauseReason::Shutdown).is_none()
            && pause.of(PauseReason::Cluster).is_none()
        {
            self.last_ping_us = now_us;
            self.stream.append_command(&[b"PING"]);
        }
        for index in 0..self.replicas.len() {
            self.check_replica(core, clients, index);
        }
        self.drop_idle_backlog(core, journal);
        self.continue_file_syncs(core, clients);
        core.order(Order::ScheduleFullSync);
        self.remove_sync_file(core, saves);
    }

    /// Excludes time in which this process did not run from timeouts.
    pub(crate) fn extend_timeouts(&mut self, clients: &mut Clients, now_us: u64, late_us: u64) {
        let later = |then_us: u64| then_us.saturating_add(late_us).min(now_us);
        for replica in &mut self.replicas {
            replica.acked_us = later(replica.acked_us);
            replica.progress_us = later(replica.progress_us);
            replica.checked_us = later(replica.checked_us);
            if let Some(client) = clients.get_mut(replica.handle) {
                client.last_interaction_us = later(client.last_interaction_us);
            }
        }
    }

    /// `rdb-del-sync-files`: removes the dump file written for replicas if persistence is disabled.
    fn remove_sync_file(&self, core: &mut Core, saves: &mut Saves) {
        let config = &core.config;
        let persists = config.appendonly || !config.save.0.is_empty();
        let is_wanted = config.rdb_del_sync_files && !persists;
        let is_used = !self.by_file.is_empty() || saves.current().is_some();
        if !saves.dump_is_for_sync || !is_wanted || is_used {
            return;
        }
        saves.dump_is_for_sync = false;
        let text = "Removing the RDB file used to feed replicas in a persistence-less instance";
        core.log(Level::Notice, text);
        let file = core.dump_file();
        core.request(Request::RemoveFile(file));
    }

    fn check_replica(&mut self, core: &mut Core, clients: &mut Clients, index: usize) {
        let (is_unannounced, is_shared) = match self.replicas[index].stage {
            ReplicaStage::Transfer(job) => {
                (self.file_sync_is_unannounced(job), self.in_transfer(job).nth(1).is_some())
            }
            _ => (false, false),
        };
        let handle = self.replicas[index].handle;
        let is_full = self.outbox_is_full(clients, handle);
        let replica = &mut self.replicas[index];
        replica.count_held_up(core.now.mono_us, is_full);
        let waits = clients.get(handle).is_some_and(|client| client.wire.outbox.has_open_bytes());
        if !waits {
            replica.progress_us = core.now.mono_us;
        }
        match replica.stage {
            // A newline keeps the link alive while there is nothing to send.
            ReplicaStage::WaitSnapshot => clients.send(core, handle, b"\n"),
            ReplicaStage::Transfer(job) if is_unannounced && !replica.is_stuck(core) => {
                if let Some(outbox) = clients.outbox(handle) {
                    let newline = core.shared.share(b"\n".to_vec());
                    outbox.insert_before(Gate::Snapshot(job), newline);
                    clients.mark_dirty(handle);
                }
            }
            _ => {}
        }
        if replica.is_too_slow(core, is_shared) {
            let (who, seconds) = (replica.name(), replica.held_up_us / 1_000_000);
            let text = format!(
                "Disconnecting replica {who}: for {seconds} seconds its full synchronization has \
                 waited for it to read at least {READ_RATE_MIN} bytes a second ('repl-timeout')"
            );
            core.log(Level::Warning, text);
            clients.close(core, handle);
        } else if let Some(lost) = replica.timed_out_in(core) {
            let (who, seconds) = (replica.name(), core.config.repl_timeout);
            let text = format!(
                "Disconnecting timedout replica ({lost}): {who} (no progress for {seconds} seconds, \
                 'repl-timeout')"
            );
            core.log(Level::Warning, text);
            clients.close(core, handle);
        }
    }

    fn drop_idle_backlog(&mut self, core: &mut Core, journal: &mut Journal) {
        let ttl_us = core.config.repl_backlog_ttl.saturating_mul(1_000_000);
        let now_us = core.now.mono_us;
        let idle = self.none_since_us.is_some_and(|since| now_us.saturating_sub(since) > ttl_us);
        if ttl_us > 0 && idle && !core.is_replica && self.stream.backlog.is_some() {
            self.stream.drop_backlog(core, journal);
            let secs = ttl_us / 1_000_000;
            let text = format!(
                "Replication backlog freed after {secs} seconds without connected replicas."
            );
            core.log(Level::Notice, text);
        }
    }
}

impl Replica {
    fn timeout_us(core: &Core) -> u64 {
        core.config.repl_timeout.max(1) as u64 * 1_000_000
    }

    /// Counts the time since the last check if a payload waits for this replica.
    fn count_held_up(&mut self, now_us: u64, is_full: bool) {
        let since_us = now_us.saturating_sub(std::mem::replace(&mut self.checked_us, now_us));
        if is_full && matches!(self.stage, ReplicaStage::Transfer(_)) {
            self.held_up_us += since_us;
        }
    }

    /// Whether its full synchronization has waited too long for it. Replicas that share it receive
    /// nothing meanwhile and would give up after the timeout themselves.
    fn is_too_slow(&self, core: &Core, is_shared: bool) -> bool {
        let allowed_us = Replica::timeout_us(core) / if is_shared { 2 } else { 1 };
        matches!(self.stage, ReplicaStage::Transfer(_)) && self.held_up_us > allowed_us
    }

    /// Other replicas may wait for it, so it must read its payload; sending something is not
    /// enough.
    fn is_stuck(&self, core: &Core) -> bool {
        core.now.mono_us.saturating_sub(self.progress_us) > Replica::timeout_us(core)
    }

    /// Returns the stage that timed out, if any.
    fn timed_out_in(&self, core: &Core) -> Option<&'static str> {
        // A replica that used SYNC may never acknowledge anything.
        let silent = core.now.mono_us.saturating_sub(self.acked_us) > Replica::timeout_us(core)
            && !self.old_sync;
        match self.stage {
            ReplicaStage::Transfer(_) | ReplicaStage::Draining(_) if self.is_stuck(core) => {
                Some("full sync")
            }
            ReplicaStage::WaitAck(_) if silent => Some("full sync"),
            ReplicaStage::Online if core.injected(Bug::KeptSilentReplica) => None,
            ReplicaStage::Online if silent => Some("streaming sync"),
            _ => None,
        }
    }
}
