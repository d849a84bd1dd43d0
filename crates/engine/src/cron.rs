//! What time does: timers, and the background work of a turn.

use crate::client::Waiting;
use crate::config::words::MasterAddress;
use crate::io::{Handle, Host, Level};
use crate::node::{Node, Standstill};
use crate::timers::Timer;

/// Entries that one slice of active expiry looks at with the least `active-expire-effort`; each further
/// step adds a quarter.
const EXPIRE_BUDGET: usize = 200;

/// With `dynamic-hz` a round has no more clients to look after, as far as the greatest pace goes.
const CLIENTS_PER_ROUND: usize = 200;

/// The greatest pace of rounds, per second.
const HZ_MAX: u32 = 500;

/// A timer that rings so late, microseconds, says that the process was not running (stopped, or DEBUG SLEEP).
const ABSENCE_US: u64 = 2_000_000;

/// Slices of active expiry in a turn.
const EXPIRE_SLICES: usize = 4;

impl Node {
    /// At the start of a node's life: what the configuration asks for.
    pub(crate) fn start(&mut self) {
        self.saved_now();
        if let Some(MasterAddress { host, port }) = self.config.replicaof.clone() {
            self.follow_at_start(String::from_utf8_lossy(&host).into_owned(), port);
        }
        if self.boot.load {
            self.load_at_start();
        } else {
            self.ready_to_serve();
        }
    }

    /// Runs every timer that is due.
    pub(crate) fn run_timers(&mut self, host: &mut dyn Host) {
        let now_us = self.now.mono_us;
        if matches!(self.standstill, Some(Standstill::Sleep(_))) {
            // As if the process slept: nothing else happens, and peers notice.
            if self.timers.take_due(Timer::Sleep, now_us) {
                self.sleep_over();
            }
            return;
        }
        if self.timers.next().is_none_or(|due| due > now_us) {
            return;
        }
        if self.timers.take_due(Timer::PauseEnd, now_us) {
            self.pause_ended();
        }
        if self.timers.take_due(Timer::Blocked, now_us) {
            self.give_up_waiting();
        }
        if self.timers.take_due(Timer::Shutdown, now_us) {
            self.check_shutdown(true);
        }
        if self.timers.take_due(Timer::SyncDelay, now_us) {
            self.begin_full_sync();
        }
        let replication_due = self.timers.due(Timer::Replication);
        if self.timers.take_due(Timer::Replication, now_us) {
            let late_us = now_us.saturating_sub(replication_due.unwrap_or(now_us));
            if late_us > ABSENCE_US {
                self.excuse_silence(late_us);
            }
            self.tend_replicas();
            self.tend_master_link();
            if self.repl.needs_tending() {
                self.timers.set(Timer::Replication, now_us + 1_000_000);
            }
        }
        if self.timers.take_due(Timer::Memory, now_us) {
            self.stats.process = host.process();
            let used = self.used_memory() as u64;
            self.stats.memory_peak = self.stats.memory_peak.max(used);
            self.timers.set(Timer::Memory, now_us + 1_000_000);
        }
        if self.timers.take_due(Timer::Cron, now_us) {
            self.cron();
            let period_us = 1_000_000 / u64::from(self.hz());
            self.timers.set(Timer::Cron, now_us + period_us);
        }
    }

    /// Rounds of housekeeping a second: `hz`, or with `dynamic-hz` as often doubled as the clients make it worth.
    pub fn hz(&self) -> u32 {
        let mut hz = self.config.hz.clamp(1, HZ_MAX);
        while self.config.dynamic_hz
            && hz < HZ_MAX
            && self.clients.len() / hz as usize > CLIENTS_PER_ROUND
        {
            hz = (hz * 2).min(HZ_MAX);
        }
        hz
    }

    /// While we did not run we could hear nobody: the time does not count as silence of theirs.
    fn excuse_silence(&mut self, late_us: u64) {
        let now_us = self.now.mono_us;
        let later = |then_us: u64| then_us.saturating_add(late_us).min(now_us);
        if let Some(master) = &mut self.repl.master {
            master.last_io_us = later(master.last_io_us);
        }
        for handle in self.repl.replicas().to_vec() {
            let Some(client) = self.clients.get_mut(handle) else { continue };
            client.last_interaction_us = later(client.last_interaction_us);
            if let Some(state) = client.replica_mut() {
                state.acked_us = later(state.acked_us);
                state.progress_us = later(state.progress_us);
            }
        }
    }

    fn cron(&mut self) {
        self.stats.sample(self.now.mono_us);
        if self.cron_paused {
            return;
        }
        self.expire_wanted = self.may_expire() && self.expire_due();
        self.check_save_points();
        self.check_clients();
        if self.repl.master.is_some() {
            self.timers.set_if_idle(Timer::Replication, self.now.mono_us);
        }
    }

    /// Only a master ends keys by itself, and not while it must not write.
    fn may_expire(&self) -> bool {
        !self.repl.is_replica()
            && self.active_expire
            && !self.persist.is_loading()
            && !self.pause.is_on(self.now)
            && self.standstill.is_none()
    }

    fn expire_due(&self) -> bool {
        self.keyspace.earliest_expiry().is_some_and(|at| at < self.keyspace.now_ms)
    }

    /// Whether a turn would find background work to do.
    pub(crate) fn has_background_work(&self) -> bool {
        self.expire_wanted || self.has_walk_to_do()
    }

    /// A slice of what goes on behind the clients' backs.
    pub(crate) fn background(&mut self, host: &mut dyn Host) {
        if self.expire_wanted {
            let began = host.ticks_us();
            self.expire_wanted = self.may_expire() && self.expire_some();
            self.stats.expire_us += host.ticks_us().saturating_sub(began);
        }
        if !self.persist.snapshots.is_empty() {
            self.walk_snapshots(host);
        }
    }

    fn expire_some(&mut self) -> bool {
        let steps = self.config.active_expire_effort.saturating_sub(1) as usize;
        let budget = EXPIRE_BUDGET + EXPIRE_BUDGET / 4 * steps;
        let mut more = true;
        for _ in 0..EXPIRE_SLICES {
            more = self.keyspace.expire_slice(budget);
            self.tell_expired();
            if !more {
                break;
            }
        }
        self.flush_effects_apart();
        self.break_transactions();
        more
    }

    /// Idle clients, and those whose buffers outgrew their limits.
    fn check_clients(&mut self) {
        let now_us = self.now.mono_us;
        let idle_us = u64::from(self.config.timeout) * 1_000_000;
        let mut idle_ones = Vec::new();
        let mut handles = Vec::new();
        // All of them about once a second, a share each time.
        let share = self.clients.places().div_ceil(self.hz() as usize).max(64);
        for client in self.clients.next_places(share) {
            let idle = now_us.saturating_sub(client.last_interaction_us);
            let is_plain = !client.is_replica() && !client.is_master_link();
            if idle_us > 0 && is_plain && client.blocked.is_none() && idle > idle_us {
                idle_ones.push(client.handle);
                continue;
            }
            handles.push(client.handle);
        }
        for handle in idle_ones {
            self.log(Level::Verbose, "Closing idle client");
            self.drop_without_flush(handle);
        }
        handles.into_iter().for_each(|handle| self.enforce_output_limit(handle));
    }

    /// Closes a connection whose output is over its class's limits.
    pub(crate) fn enforce_output_limit(&mut self, handle: Handle) {
        let now_us = self.now.mono_us;
        let limits = self.config.client_output_buffer_limit;
        let backlog_bytes = self.config.repl_backlog_size;
        let Some(client) = self.clients.get_mut(handle) else { return };
        let mut limit = if client.is_replica() { limits.replica } else { limits.normal };
        if client.is_replica() && limit.hard_bytes > 0 {
            // Who may go on with so many bytes of the backlog must not be closed for having been given them.
            limit.hard_bytes = limit.hard_bytes.max(backlog_bytes);
        }
        if client.outgrew(&limit, now_us) {
            let bytes = client.limited_output();
            let id = client.id;
            self.stats.output_limit_disconnections += 1;
            self.log(
                Level::Warning,
                format!(
                    "Client id={id} omem={bytes} scheduled to be closed ASAP for overcoming of \
                     output buffer limits."
                ),
            );
            self.drop_without_flush(handle);
        }
    }

    /// A client sent more than anybody may without making a request of it.
    pub(crate) fn query_buffer_full(&mut self, handle: Handle) {
        self.stats.query_buffer_limit_disconnections += 1;
        let id = self.clients.get(handle).map_or(0, |client| client.id);
        let why = format!("Closing client id={id} that reached max query buffer length");
        self.log(Level::Warning, why);
        self.drop_without_flush(handle);
    }

    /// Closes a connection that will not take what it is sent.
    fn drop_without_flush(&mut self, handle: Handle) {
        if let Some(client) = self.clients.get_mut(handle) {
            client.wire.outbox.clear();
        }
        self.close(handle);
    }

    /// Waiting clients whose time is over.
    fn give_up_waiting(&mut self) {
        while let Some(&(due, handle)) = self.deadlines.first()
            && due <= self.now.mono_us
        {
            self.deadlines.remove(&(due, handle));
            let waiting = self.clients.get(handle).and_then(|c| c.blocked.as_ref());
            if let Some(Waiting::Acks { offset, .. }) = waiting.map(|blocked| &blocked.waiting) {
                let have = self.replicas_at(*offset);
                self.with_reply(handle, |_, reply| reply.count(have));
            }
            self.resume(handle);
        }
        self.arm_deadlines();
    }

    pub(crate) fn arm_deadlines(&mut self) {
        match self.deadlines.first() {
            Some(&(due, _)) => self.timers.set(Timer::Blocked, due),
            None => self.timers.stop(Timer::Blocked),
        }
    }

    /// DEBUG SLEEP: nobody is served for so long.
    pub(crate) fn sleep(&mut self, client: Handle, micros: u64) {
        self.standstill = Some(Standstill::Sleep(client));
        self.block(client, Waiting::Node, None);
        self.timers.set(Timer::Sleep, self.now.mono_us.saturating_add(micros));
    }

    fn sleep_over(&mut self) {
        if let Some(Standstill::Sleep(client)) = self.standstill {
            self.standstill = None;
            self.with_reply(client, |_, reply| reply.ok());
            self.resume(client);
            self.go_on_with_exec(client);
        }
    }

    /// Bytes that the data and the buffers take, by our own account.
    pub fn used_memory(&self) -> usize {
        let backlog = self.repl.backlog.as_ref().map_or(0, |b| b.len());
        let clients: usize = self.clients.iter().map(crate::client::Client::memory_bytes).sum();
        let snapshots: u64 = self.persist.snapshots.iter().map(|s| s.ahead_bytes()).sum();
        self.keyspace.allocated_bytes() + backlog + clients + snapshots as usize
    }
}
