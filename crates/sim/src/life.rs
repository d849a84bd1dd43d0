//! How processes begin and end.

use russet_engine::io::{Input, Signal};

use crate::files::DUMP;
use crate::net::Owner;
use crate::node;
use crate::process::{Inbox, Loading};
use crate::world::{Event, Phase, World};

impl World {
    /// A process begins a life.
    pub(crate) fn start_process(&mut self, node: usize) {
        if self.processes[node].is_up() {
            return;
        }
        let seed = [(); 4].map(|()| self.chance.bits());
        let mono_offset_us = self.chance.below(1 << 40);
        let process = &mut self.processes[node];
        process.incarnation += 1;
        process.mono_offset_us = mono_offset_us;
        process.busy_until = self.now;
        process.idle_since_us = self.now;
        process.idle_turns = 0;
        process.was_flooded = false;
        process.exited = None;
        process.seen = Default::default();
        process.disk_place = None;
        let now = process.now(self.now);
        self.read_configuration(node);
        let cluster = self.cluster_start(node);
        let loads_aof = self.find_append_only(node);
        let process = &mut self.processes[node];
        let dump = process.disk.read(DUMP).filter(|_| !loads_aof);
        process.loading = dump.map(|file| Loading {
            file,
            began_ms: now.wall_ms(),
            by_replica: process.config.replicaof.is_some(),
        });
        let start = node::Start {
            config: &process.config,
            seed,
            pid: node as u32 + 100,
            by_slot: self.plan.by_slot,
            read_ahead_bytes: self.plan.read_ahead_bytes,
            payload_ahead_bytes: self.plan.payload_ahead_bytes,
            // A ledger is one too.
            mirrors: self.plan.mirrors && process.durability.ledger.is_none(),
            ledger: process.durability.ledger.clone(),
            injected: self.injected,
            cluster,
        };
        let machine = match process.guest {
            _ if process.is_sentinel => self.sentinel_starts(node, seed, now),
            Some(guest) => Some(guest(seed, now)),
            None => Some(node::start(start, now)),
        };
        self.processes[node].machine = machine;
        self.cluster_begins(node);
        self.tell(|| format!("node{node} starts"));
        self.check_file(node);
        self.drain(node);
        self.wake(node);
    }

    /// Everything of a process that is not on its disk is gone.
    pub(crate) fn crash(&mut self, node: usize) {
        if !self.processes[node].is_up() {
            return;
        }
        self.coverage.crashes += 1;
        let data = self.processes[node].data();
        let walking = data.is_some_and(|data| data.is_walking());
        self.coverage.crashes_in_walk += u64::from(walking);
        let inside = data.is_some_and(|data| data.is_inside_value());
        self.coverage.crashes_in_value += u64::from(inside);
        self.coverage.crashes_in_save += u64::from(data.is_some_and(|data| data.is_saving()));
        let power = self.chance.percent(50);
        self.tell(|| format!("node{node} is killed, power lost: {power}, walking: {walking}"));
        self.count_crash_steps(node);
        self.note_end(node, power);
        self.kill_appenders(node);
        self.end_process(node, power);
        if power {
            let mut chance = self.chance.fork();
            let loss = self.processes[node].disk.lose_power(&mut chance);
            self.coverage.torn_tails += u64::from(loss.torn);
            self.coverage.lost_renames += u64::from(loss.names);
        }
        let delay = self.chance.skewed(50_000, self.plan.restart_us);
        self.queue.push(self.now + delay, Event::Start(node));
    }

    /// In which steps of its append-only file a process is killed.
    fn count_crash_steps(&mut self, node: usize) {
        let process = &self.processes[node];
        if process.durability.ledger.is_none() {
            return;
        }
        let mut in_folder = process.writers.values().map(|writer| writer.is_for_base(process));
        let is_base = in_folder.any(|is| is);
        let is_load =
            process.durability.is_loading && process.data().is_some_and(|d| d.is_loading());
        let is_replacing = process.jobs.front().is_some_and(|job| job.is_replacement());
        let is_removing = process.jobs.front().is_some_and(|job| job.is_removal());
        let is_opening = process.appenders.values().any(|appender| appender.is_opening());
        let is_behind = process.appenders.values().any(|appender| appender.is_behind());
        let c = &mut self.coverage;
        for (count, is) in [
            (&mut c.crashes_in_base, is_base),
            (&mut c.crashes_in_load, is_load),
            (&mut c.crashes_in_manifest, is_replacing),
            (&mut c.crashes_in_removal, is_removing),
            (&mut c.crashes_in_open, is_opening),
            (&mut c.crashes_in_append, is_behind && !is_opening),
        ] {
            *count += u64::from(is);
        }
    }

    /// Some processes are killed in a step of their append-only file.
    pub(crate) fn maybe_crash_in_step(&mut self, node: usize) {
        self.maybe_crash_within(node, 1, 3000);
    }

    /// … so many times as often, within this time.
    pub(crate) fn maybe_crash_within(&mut self, node: usize, weight: u64, us: u64) {
        let permille = self.plan.crash_in_step_permille * weight;
        if permille > 0 && self.phase == Phase::Chaos && self.chance.below(1000) < permille {
            let incarnation = self.processes[node].incarnation;
            let at = self.now + self.chance.between(1, us.max(1));
            self.queue.push(at, Event::Crash { node, incarnation });
        }
    }

    /// A process came to its own end.
    pub(crate) fn left(&mut self, node: usize, code: i32) {
        self.tell(|| format!("node{node} leaves with {code}"));
        self.note_end(node, false);
        if self.finish_appenders(node) && code == 0 {
            self.note_clean_end(node);
        }
        self.end_process(node, false);
        if code != 0 && !self.may_refuse(node) {
            self.fail(format!("node{node} left with status {code}"));
        }
        let delay = self.chance.skewed(50_000, 5_000_000);
        self.queue.push(self.now + delay, Event::Start(node));
    }

    fn end_process(&mut self, node: usize, silently: bool) {
        self.cluster_ends(node);
        let Some(machine) = self.processes[node].machine.take() else { return };
        if let Some(beliefs) = machine.beliefs() {
            self.sentinel_ends(node, &beliefs);
        }
        self.coverage.add_machine(machine.as_ref());
        let process = &mut self.processes[node];
        // The file may say what the operator said last, or what it said at first.
        if self.chance.percent(70)
            && let Some(data) = machine.data()
        {
            process.config.replicaof = data.replicaof();
            process.config.appendonly = data.wants_append_only();
        }
        process.inbox.clear();
        process.readable.clear();
        process.paused.clear();
        process.writable.clear();
        process.writers.clear();
        process.appenders.clear();
        process.jobs.clear();
        process.readers.clear();
        process.begun.clear();
        process.loading = None;
        process.crash_after_turns = None;
        process.loop_at = u64::MAX;
        process.tenure = 0;
        process.heard_us.clear();
        process.unanswered.clear();
        process.least_replicas = Default::default();
        process.paused_until_us = 0;
        process.saved = None;
        process.seen = Default::default();
        let incarnation = process.incarnation;
        process.conns.clear();
        self.forget_failover(node);
        if let Some(operator) = self.clients.get_mut(self.plan.clients + node) {
            operator.orders.clear();
        }
        for conn in 0..self.conns.len() {
            for end in 0..2 {
                let Owner::Node { node: n, incarnation: i, .. } = self.conns[conn].owners[end]
                else {
                    continue;
                };
                if (n, i) != (node, incarnation) {
                    continue;
                }
                if silently {
                    // Its peer learns of it when it asks, or never.
                    self.conns[conn].owners[end] = Owner::Nobody;
                    let at = self.now + self.chance.skewed(1_000_000, 40_000_000);
                    self.queue.push(at, Event::Reset(conn));
                } else {
                    self.close_end(conn, end);
                }
            }
        }
    }

    pub(crate) fn terminate(&mut self, node: usize) {
        if self.processes[node].is_up() {
            self.coverage.terminations += 1;
            self.tell(|| format!("node{node} gets SIGTERM"));
            self.deliver(node, Inbox::Input(Input::Signal(Signal::Terminate)));
        }
    }

    /// Some processes are told to end while an EXEC waits for an answer.
    pub(crate) fn maybe_end_amid_exec(&mut self, node: usize) {
        let process = &self.processes[node];
        let waits = process.data().is_some_and(|data| data.is_within_exec());
        if waits && self.phase == Phase::Chaos && self.chance.percent(30) {
            let item = Inbox::Input(Input::Signal(Signal::Terminate));
            let (at, incarnation) = (self.now + self.chance.skewed(1, 20_000), process.incarnation);
            self.coverage.ends_amid_exec += 1;
            self.queue.push(at, Event::Deliver { node, incarnation, item });
        }
    }
}
