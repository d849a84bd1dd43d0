//! Due timers, and the background work of a turn.

use russet_protocol::ErrorReply;

use super::Node;
use super::serve::TURN_US;
use crate::busy::Activity;
use crate::clients::{LinkOwner, Waiting};
use crate::cluster::Cluster;
use crate::core::{Answer, Order};
use crate::expiry;
use crate::io::Host;
use crate::migrate::Migrate;
use crate::parts::Parts;
use crate::repl::following::FAILOVER_RETRY_US;
use crate::sentinel::Sentinel;
use crate::timers::Timer;

/// A timer that is this late, in microseconds, shows that the process was not running (stopped, or
/// DEBUG SLEEP).
const ABSENCE_US: u64 = 2_000_000;

impl Node {
    /// Runs all due timers.
    pub(super) fn run_timers(&mut self, host: &mut dyn Host) {
        let now_us = self.core.now.mono_us;
        if self.parts.busy.is(Activity::Sleep) {
            // Like a sleeping process: nothing else happens, and peers notice.
            if !self.core.timers.take_due(Timer::Sleep, now_us) {
                return;
            }
            self.sleep_ended();
        }
        if self.core.timers.next().is_none_or(|due| due > now_us) {
            return;
        }
        if self.core.timers.take_due(Timer::PauseEnd, now_us) {
            self.parts.pause.ended(&mut self.core);
        }
        if self.core.timers.take_due(Timer::Blocked, now_us) {
            self.time_out_clients();
        }
        if self.core.timers.take_due(Timer::Shutdown, now_us) {
            self.parts.shutdown.check(&mut self.core, &self.parts.master, true);
        }
        // The end of the turn looks at the time of a failover.
        self.core.timers.take_due(Timer::Failover, now_us);
        if self.core.timers.take_due(Timer::SyncDelay, now_us) {
            self.carry_out_orders();
            self.begin_full_sync();
        }
        let replication_due = self.core.timers.due(Timer::Replication);
        if self.core.timers.take_due(Timer::Replication, now_us) {
            self.replication_cron(now_us.saturating_sub(replication_due.unwrap_or(now_us)));
        }
        if self.core.timers.take_due(Timer::Append, now_us) {
            self.parts.aof.cron(&mut self.core, &mut self.journal.tail);
        }
        if self.core.timers.take_due(Timer::Sentinel, now_us) {
            // Nobody is found silent whose reply is here already.
            for link in self.parts.clients.ready_links(LinkOwner::Sentinel) {
                self.with_sentinel(|sentinel, world| sentinel.received(world, link));
            }
            self.with_sentinel(Sentinel::tick);
        }
        if self.core.timers.take_due(Timer::Cluster, now_us) {
            // Before any command: a process that was stopped may have been replaced.
            for link in self.parts.clients.ready_links(LinkOwner::Bus) {
                self.with_cluster(|cluster, world| cluster.received(world, link));
            }
            self.with_cluster(Cluster::tick);
            self.drop_lost_slots();
            self.redirect_blocked();
        }
        if self.core.timers.take_due(Timer::HandOver, now_us) {
            self.with_cluster(Cluster::hand_over_due);
        }
        if self.core.timers.take_due(Timer::Migrate, now_us) {
            self.with_migrate(Migrate::tick);
        }
        if self.core.timers.take_due(Timer::Load, now_us) {
            let Parts { loading, following, clients, .. } = &mut self.parts;
            loading.wait(&mut self.core);
            if let Some(link) = following.master().and_then(|master| master.link) {
                clients.mark_ready_if_pending(link);
            }
        }
        if self.core.timers.take_due(Timer::Memory, now_us) {
            self.sample_memory(host);
            self.core.timers.set(Timer::Memory, now_us + 1_000_000);
        }
        if self.core.timers.take_due(Timer::Cron, now_us) {
            self.cron();
            let period_us = 1_000_000 / u64::from(self.parts.hz(&self.core));
            self.core.timers.set(Timer::Cron, now_us + period_us);
        }
        self.carry_out_orders();
    }

    fn sample_memory(&mut self, host: &mut dyn Host) {
        let counted = self.used_memory() as u64;
        let stats = &mut self.core.stats;
        stats.process = host.process();
        if stats.startup_bytes.is_none() {
            let startup = stats.process.allocated_bytes.saturating_sub(counted);
            stats.startup_bytes = Some(startup);
        }
        let used = self.used_memory() as u64;
        self.core.stats.memory_peak = self.core.stats.memory_peak.max(used);
    }

    fn sleep_ended(&mut self) {
        if let Some(client) = self.parts.busy.end(Activity::Sleep) {
            let Parts { slowlog, clients, .. } = &mut self.parts;
            slowlog.sleep_ended(&self.core, clients, client);
            self.core.order(Order::Answer(client, Answer::Ok));
        }
        self.carry_out_orders();
    }

    /// Unblocks clients whose timeout has passed.
    fn time_out_clients(&mut self) {
        let Node { core, parts, .. } = self;
        while let Some(handle) = parts.clients.take_timed_out(core) {
            core.order(match parts.clients.waiting(handle) {
                Some(Waiting::Acks(awaited)) => {
                    let acks = parts.master.acks(&awaited, parts.aof.synced_batch());
                    Order::Answer(handle, acks.answer(&awaited))
                }
                Some(Waiting::SlotAcks(_)) => {
                    Order::Answer(handle, Answer::Error(ErrorReply::NoReplicas))
                }
                Some(Waiting::Keys) => Order::Answer(handle, Answer::NullArray),
                _ => Order::Resume(handle),
            });
        }
    }

    /// Runs the replication cron of the link to the master.
    fn replication_cron(&mut self, late_us: u64) {
        let Node { core, journal, parts, .. } = self;
        let Parts { clients, master, following, saves, pause, .. } = parts;
        if late_us > ABSENCE_US {
            following.extend_timeouts(core.now.mono_us, late_us);
            master.extend_timeouts(clients, core.now.mono_us, late_us);
        }
        master.cron(core, clients, journal, saves, pause);
        self.carry_out_orders();
        self.following_cron();
        self.carry_out_orders();
        if self.parts.master.needs_cron() || self.core.is_replica {
            // Meanwhile nobody takes writes.
            let is_urgent = self.parts.failover.is_in_progress();
            let period_us = if is_urgent { FAILOVER_RETRY_US } else { 1_000_000 };
            self.core.timers.set(Timer::Replication, self.core.now.mono_us + period_us);
        }
    }

    pub(super) fn following_cron(&mut self) {
        let Node { core, parts, .. } = self;
        let Parts { clients, following, loading, .. } = parts;
        following.cron(core, clients, loading.is_loading());
    }

    fn cron(&mut self) {
        self.core.stats.sample(self.core.now.mono_us);
        if self.parts.cron_paused {
            return;
        }
        let Node { core, parts, .. } = self;
        parts.shutdown.act_on_signal(core, &mut parts.pause, &mut parts.master);
        self.expire_wanted = self.may_expire() && expiry::is_due(&self.core, &self.data);
        if !self.parts.loading.is_loading() {
            self.data.trim_slice();
        }
        self.check_save_points();
        let hz = self.parts.hz(&self.core);
        self.parts.clients.cron(&mut self.core, hz);
        if self.core.is_replica {
            self.core.timers.set_if_idle(Timer::Replication, self.core.now.mono_us);
        }
    }

    fn check_save_points(&mut self) {
        // A snapshot must not contain an incomplete EXEC.
        if self.parts.loading.is_loading() || self.parts.busy.is_mid_change() {
            return;
        }
        let position = self.stream_position();
        let Node { core, data, parts, .. } = self;
        if parts.saves.is_due(core, data) {
            parts.saves.begin_due(core, data, position);
        }
    }

    /// Whether keys may be expired actively: not while writes are paused.
    fn may_expire(&self) -> bool {
        let Parts { loading, pause, busy, active_expire, .. } = &self.parts;
        *active_expire && !loading.is_loading() && !pause.is_on(self.core.now) && !busy.holds_all()
    }

    /// Whether there is background work.
    pub(super) fn has_background_work(&self) -> bool {
        let Parts { clients, master, saves, loading, .. } = &self.parts;
        self.expire_wanted
            || loading.has_work(&self.core)
            || (!saves.snapshots.is_empty()
                && saves.snapshots.has_work(|snapshot| master.is_throttled(clients, snapshot)))
    }

    /// Runs a slice of background work.
    pub(super) fn background(&mut self, host: &mut dyn Host, began_us: u64) {
        if self.parts.loading.has_work(&self.core) {
            let Node { core, data, parts, .. } = self;
            parts.loading.run(core, data, host, began_us + TURN_US);
            self.replay(host, began_us + TURN_US);
        }
        if self.expire_wanted {
            self.expire_wanted = self.may_expire() && self.expire_some(host);
        }
        if !self.parts.saves.snapshots.is_empty() {
            self.walk_snapshots(host);
        }
    }

    fn expire_some(&mut self, host: &mut dyn Host) -> bool {
        let began_us = host.ticks_us();
        let Node { core, data, journal, parts, .. } = self;
        let more = expiry::slice(core, data, journal);
        journal.flush_apart(&mut parts.master.stream);
        self.break_transactions();
        self.core.stats.expire_us += host.ticks_us().saturating_sub(began_us);
        more
    }

    fn walk_snapshots(&mut self, host: &mut dyn Host) {
        let Node { core, data, parts, .. } = self;
        let Parts { clients, master, saves, .. } = parts;
        let clients_wait = clients.ready_len() > 0;
        let is_throttled = |snapshot: &_| master.is_throttled(clients, snapshot);
        for job in saves.snapshots.walk(core, data, host, clients_wait, is_throttled) {
            saves.abort_lagging(core, data, job);
        }
    }
}
