//! What goes wrong, and what operators do meanwhile.

use crate::net::{ConnId, Owner};
use crate::plan::{PORT, address, host_name};
use crate::process::Inbox;
use crate::world::{Event, Phase, World};

use russet_engine::io::{Input, Signal};

impl World {
    /// Draws the next fault.
    pub(crate) fn next_fault(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        let node = self.chance.index(self.processes.len());
        match self.chance.below(100) {
            0..=17 => self.cut_some_link(),
            18..=29 => self.block_some_link(),
            30..=35 => self.suspend(node),
            36..=43 => self.crash(node),
            44..=47 => self.terminate(node),
            48..=53 => self.order(node, &["BGSAVE"]),
            54..=57 => self.order_something(node),
            58..=69 => self.rearrange(node),
            70..=77 => self.promote_somebody(),
            78..=82 => {
                let size = self.chance.skewed(1 << 14, 1 << 20).to_string();
                self.order(node, &["CONFIG", "SET", "repl-backlog-size", &size]);
            }
            83..=86 => self.jump_clock(node),
            87..=90 => self.trouble_disk(node),
            91..=95 => self.slow_some_link(),
            _ => {
                let client = self.chance.index(self.plan.clients);
                self.clients[client].burst = self.chance.skewed(5, 100);
            }
        }
        let next = self.now + self.chance.skewed(self.plan.fault_us / 10, self.plan.fault_us * 2);
        self.queue.push(next, Event::Fault);
    }

    /// Tells the operator of a node what to say.
    pub(crate) fn order(&mut self, node: usize, words: &[&str]) {
        if !self.processes[node].is_up() || node >= self.plan.data_nodes() {
            return;
        }
        let operator = self.plan.clients + node;
        if self.clients[operator].orders.len() > 5 {
            return;
        }
        self.tell(|| format!("operator to node{node}: {}", words.join(" ")));
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.clients[operator].orders.push_back(words);
        self.client_acts_at(operator, self.now);
    }

    /// Operators do other things too.
    fn order_something(&mut self, node: usize) {
        let number = |world: &mut World, low, high| world.chance.skewed(low, high).to_string();
        let pause = number(self, 1, 4000);
        let replicas = number(self, 0, 1);
        let orders: &[&[&str]] = match self.chance.below(16) {
            0 => &[&["SAVE"]],
            1 => &[&["BGSAVE", "SCHEDULE"]],
            2 | 3 => &[&["DEBUG", "RELOAD"]],
            4 => &[&["SHUTDOWN"]],
            5 => &[&["SHUTDOWN", "NOSAVE"]],
            6 => &[&["SHUTDOWN", "SAVE", "NOW"]],
            7 => &[&["SHUTDOWN"], &["SHUTDOWN", "ABORT"]],
            8 => &[&["CLIENT", "PAUSE", &pause]],
            9 => &[&["CLIENT", "PAUSE", &pause, "WRITE"]],
            10 => &[&["CLIENT", "PAUSE", "100000"], &["CLIENT", "UNPAUSE"]],
            11 => &[&["CLIENT", "KILL", "TYPE", "replica"]],
            12 => &[&["CLIENT", "KILL", "TYPE", "master"]],
            13 => &[&["CONFIG", "SET", "min-replicas-to-write", &replicas]],
            14 => &[&["DEBUG", "SLEEP", "0.3"], &["PING"]],
            // The data is ahead of the stream in the middle of a transaction.
            _ => &[
                &["MULTI"],
                &["INCR", "operator"],
                &["BGSAVE", "SCHEDULE"],
                &["INCR", "operator"],
                &["EXEC"],
            ],
        };
        // A transaction that loses its end would swallow all that follows.
        let operator = self.clients.get(self.plan.clients + node);
        let free = operator.is_some_and(|operator| operator.orders.is_empty());
        for order in orders.iter().filter(|_| free) {
            self.order(node, order);
        }
    }

    /// Connections between nodes that are open.
    fn node_conns(&self) -> Vec<ConnId> {
        let mut found = Vec::new();
        for process in &self.processes {
            found.extend(process.conns.values().filter(|&&(_, end)| end == 0).map(|c| c.0));
        }
        found
    }

    fn cut_some_link(&mut self) {
        let conns = self.node_conns();
        if conns.is_empty() {
            return;
        }
        let conn = *self.chance.pick(&conns);
        if self.chance.percent(30) {
            self.tell(|| format!("connection {conn} breaks"));
            self.reset(conn);
        } else {
            self.arm_cut(conn);
        }
    }

    fn arm_cut(&mut self, conn: ConnId) {
        let after = self.chance.skewed(0, 5000) as usize;
        self.tell(|| format!("connection {conn} will break after {after} more bytes"));
        self.conns[conn].pipes[1].cut_after = Some(after);
    }

    /// Some new replication links are doomed from the start.
    pub(crate) fn maybe_arm_cut(&mut self, conn: ConnId) {
        if self.phase == Phase::Chaos && self.chance.percent(self.plan.cut_percent) {
            let after = 100 + self.chance.skewed(0, 20_000) as usize;
            self.conns[conn].pipes[1].cut_after = Some(after);
        }
    }

    fn block_some_link(&mut self) {
        let hosts = self.links.len();
        let (from, to) = (self.chance.index(hosts), self.chance.index(hosts));
        if from == to {
            return;
        }
        self.coverage.partitions += 1;
        let us = self.chance.skewed(50_000, 25_000_000);
        let both = self.chance.percent(60);
        self.tell(|| format!("link {from} -> {to} is blocked, both ways: {both}"));
        for (from, to) in [(from, to), (to, from)].into_iter().take(1 + usize::from(both)) {
            self.links[from][to].blocked = true;
            self.queue.push(self.now + us, Event::Unblock { from, to });
        }
    }

    fn slow_some_link(&mut self) {
        let hosts = self.links.len();
        let (from, to) = (self.chance.index(hosts), self.chance.index(hosts));
        let link = &mut self.links[from][to];
        link.delay_us = self.chance.skewed(20, 300_000);
        link.jitter_us = self.chance.skewed(0, 100_000);
        link.bytes_per_ms = self.chance.skewed(20, 100_000);
    }

    fn suspend(&mut self, node: usize) {
        let us = self.chance.skewed(10_000, 12_000_000);
        self.tell(|| format!("node{node} is suspended for {us} us"));
        self.processes[node].busy_until = self.now + us;
    }

    fn jump_clock(&mut self, node: usize) {
        self.coverage.clock_jumps += 1;
        let us = self.chance.skewed(1000, 100_000_000) as i64;
        let us = if self.chance.percent(50) { us } else { -us };
        self.tell(|| format!("node{node}'s wall clock jumps by {us} us"));
        self.processes[node].wall_offset_us += us;
    }

    fn trouble_disk(&mut self, node: usize) {
        let disk = &mut self.processes[node].disk;
        match self.chance.percent(60) {
            true => {
                disk.failing = Some(*self.chance.pick(&["No space left on device", "I/O error"]))
            }
            false => disk.slowness = self.chance.skewed(2, 100),
        }
        let us = self.chance.skewed(100_000, 15_000_000);
        self.queue.push(self.now + us, Event::DiskHeals(node));
    }

    fn rearrange(&mut self, node: usize) {
        let to = self.chance.index(self.plan.data_nodes());
        if to == node {
            return;
        }
        self.coverage.replicaofs += 1;
        self.order(node, &["REPLICAOF", &host_name(to), &PORT.to_string()]);
    }

    fn promote_somebody(&mut self) {
        let replicas: Vec<usize> =
            (0..self.processes.len()).filter(|&n| self.processes[n].seen.is_replica).collect();
        if replicas.is_empty() {
            return;
        }
        let node = *self.chance.pick(&replicas);
        self.order(node, &["REPLICAOF", "NO", "ONE"]);
        // As in a failover, the others may follow the new master.
        if self.chance.percent(60) {
            for other in 0..self.plan.data_nodes() {
                if other != node && self.chance.percent(70) {
                    self.order(other, &["REPLICAOF", &host_name(node), &PORT.to_string()]);
                }
            }
        }
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
        self.coverage.crashes_in_save += u64::from(data.is_some_and(|data| data.is_saving()));
        let power = self.chance.percent(50);
        self.tell(|| format!("node{node} is killed, power lost: {power}, walking: {walking}"));
        self.end_process(node, power);
        if power {
            let mut chance = self.chance.fork();
            let torn = self.processes[node].disk.lose_power(&mut chance);
            self.coverage.torn_tails += u64::from(torn);
        }
        let delay = self.chance.skewed(50_000, 15_000_000);
        self.queue.push(self.now + delay, Event::Start(node));
    }

    /// A process came to its own end.
    pub(crate) fn left(&mut self, node: usize, code: i32) {
        self.tell(|| format!("node{node} leaves with {code}"));
        self.end_process(node, false);
        if code != 0 {
            self.fail(format!("node{node} left with status {code}"));
        }
        let delay = self.chance.skewed(50_000, 5_000_000);
        self.queue.push(self.now + delay, Event::Start(node));
    }

    fn end_process(&mut self, node: usize, silently: bool) {
        let process = &mut self.processes[node];
        let Some(machine) = process.machine.take() else { return };
        self.coverage.commands += machine.commands();
        // The file may say what the operator said last, or what it said at first.
        if self.chance.percent(70)
            && let Some(data) = machine.data()
        {
            process.config.replicaof = data.replicaof();
        }
        process.inbox.clear();
        process.readable.clear();
        process.paused.clear();
        process.writable.clear();
        process.writers.clear();
        process.readers.clear();
        process.begun.clear();
        process.loading = None;
        process.crash_after_turns = None;
        process.loop_at = u64::MAX;
        process.tenure = 0;
        process.seen = Default::default();
        let incarnation = process.incarnation;
        process.conns.clear();
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

    fn terminate(&mut self, node: usize) {
        if self.processes[node].is_up() {
            self.coverage.terminations += 1;
            self.tell(|| format!("node{node} gets SIGTERM"));
            self.deliver(node, Inbox::Input(Input::Signal(Signal::Terminate)));
        }
    }

    /// Faults end: everything carries, every node runs, operators arrange them as a tree.
    pub(crate) fn heal(&mut self) {
        let nodes = self.processes.len();
        for from in 0..=nodes {
            for to in 0..=nodes {
                self.unblock(from, to);
                self.links[from][to] = self.plan.link;
                self.links[from][to].bytes_per_ms = self.plan.link.bytes_per_ms.max(200);
            }
        }
        for conn in &mut self.conns {
            conn.pipes.iter_mut().for_each(|pipe| pipe.cut_after = None);
        }
        let data_nodes = self.plan.data_nodes();
        let up: Vec<usize> = (0..data_nodes).filter(|&n| self.processes[n].is_up()).collect();
        let root = if up.is_empty() { 0 } else { *self.chance.pick(&up) };
        let mut placed = vec![root];
        for node in (0..data_nodes).filter(|&node| node != root) {
            let parent = *self.chance.pick(&placed);
            self.arrangement[node] = Some(parent);
            placed.push(node);
        }
        for node in 0..nodes {
            let process = &mut self.processes[node];
            process.disk.failing = None;
            process.disk.slowness = 1;
            process.busy_until = process.busy_until.min(self.now);
            process.config.replicaof = self.arrangement[node].map(address);
            self.wake(node);
            self.queue.push(self.now + 1, Event::Start(node));
        }
        for client in 0..self.clients.len() {
            self.client_gives_up(client);
            let c = &mut self.clients[client];
            c.orders.clear();
            c.is_slow = false;
            if !c.is_operator {
                c.target = root;
            }
        }
        self.tell(|| format!("all faults end; node{root} is to be the master"));
        self.phase = Phase::Healed { since_us: self.now, root };
        self.queue.push(self.now + 1_000_000, Event::Verify);
    }
}
