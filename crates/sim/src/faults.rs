//! What goes wrong, and what operators do meanwhile: rows with their odds, and what each does.

use crate::chance::Chance;
use crate::coverage::Worlds;
use crate::disk::{FULL, READ_ONLY};
use crate::machine::FailoverStage;
use crate::net::ConnId;
use crate::plan::{PORT, address, host_name};
use crate::world::{Event, Phase, World};

/// What writes fail with, and with the first one syncs too.
const ERRORS: [&str; 3] = ["I/O error", FULL, READ_ONLY];

/// Something that goes wrong, or that operators do meanwhile.
pub struct Fault {
    /// What a run's report calls it.
    pub name: &'static str,
    /// How often it happens, against the others, in worlds of each kind.
    pub weights: Weights,
    /// What it is about.
    pub kind: Kind,
    /// Makes it happen, to this process if to one.
    apply: fn(&mut World, usize),
}

/// How often a fault happens, against the others.
#[derive(Clone, Copy, Debug)]
pub struct Weights {
    /// In worlds of data nodes alone.
    pub data: u64,
    /// In worlds with Sentinels.
    pub sentinels: u64,
    /// In worlds with a cluster.
    pub cluster: u64,
}

impl Weights {
    /// The one for a kind of worlds.
    pub fn of(self, worlds: Worlds) -> u64 {
        match worlds {
            Worlds::Data => self.data,
            Worlds::Sentinels => self.sentinels,
            Worlds::Cluster => self.cluster,
        }
    }
}

/// What a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Connections and links.
    Network,
    /// Processes and their clocks.
    Process,
    /// Disks.
    Disk,
    /// What operators and clients do.
    People,
}

const KINDS: [Kind; 4] = [Kind::Network, Kind::Process, Kind::Disk, Kind::People];

/// All of them. A seed draws its own odds from the weights.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "connections cut",
        weights: Weights { data: 18, sentinels: 8, cluster: 6 },
        kind: Kind::Network,
        apply: |world, _| world.cut_some_link(),
    },
    Fault {
        name: "links blocked",
        weights: Weights { data: 12, sentinels: 14, cluster: 10 },
        kind: Kind::Network,
        apply: |world, _| world.block_some_link(),
    },
    Fault {
        name: "links slowed",
        weights: Weights { data: 5, sentinels: 4, cluster: 4 },
        kind: Kind::Network,
        apply: |world, _| world.slow_some_link(),
    },
    Fault {
        name: "processes suspended",
        weights: Weights { data: 6, sentinels: 4, cluster: 4 },
        kind: Kind::Process,
        apply: World::suspend,
    },
    Fault {
        name: "processes killed",
        weights: Weights { data: 8, sentinels: 10, cluster: 8 },
        kind: Kind::Process,
        apply: World::crash,
    },
    Fault {
        name: "processes told to end",
        weights: Weights { data: 4, sentinels: 3, cluster: 3 },
        kind: Kind::Process,
        apply: World::terminate,
    },
    Fault {
        name: "wall clocks set",
        weights: Weights { data: 4, sentinels: 2, cluster: 2 },
        kind: Kind::Process,
        apply: World::jump_clock,
    },
    Fault {
        name: "disks in trouble",
        weights: Weights { data: 4, sentinels: 8, cluster: 6 },
        kind: Kind::Disk,
        apply: World::trouble_disk,
    },
    Fault {
        name: "snapshots ordered",
        weights: Weights { data: 6, sentinels: 2, cluster: 2 },
        kind: Kind::Disk,
        apply: |world, node| world.order(node, "BGSAVE"),
    },
    Fault {
        name: "rewrites ordered",
        weights: Weights { data: 6, sentinels: 0, cluster: 0 },
        kind: Kind::Disk,
        apply: |world, node| world.order(node, "BGREWRITEAOF"),
    },
    Fault {
        name: "bits rotted",
        weights: Weights { data: 1, sentinels: 0, cluster: 0 },
        kind: Kind::Disk,
        apply: |world, node| world.processes[node].durability.is_to_rot = true,
    },
    Fault {
        name: "appendfsync set",
        weights: Weights { data: 2, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: World::set_appendfsync,
    },
    Fault {
        name: "append-only files switched",
        weights: Weights { data: 1, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: World::switch_append_only,
    },
    Fault {
        name: "other orders",
        weights: Weights { data: 4, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: World::order_something,
    },
    Fault {
        name: "replicas told to follow another",
        weights: Weights { data: 12, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: World::rearrange,
    },
    Fault {
        name: "replicas promoted",
        weights: Weights { data: 8, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.promote_somebody(),
    },
    Fault {
        name: "masters told to fail over",
        weights: Weights { data: 8, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.fail_over(),
    },
    Fault {
        name: "backlogs resized",
        weights: Weights { data: 5, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: |world, node| world.order(node, "CONFIG SET repl-backlog-size {65536..1048576}"),
    },
    Fault {
        name: "bursts of a client",
        weights: Weights { data: 4, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.hurry_some_client(),
    },
    Fault {
        name: "pipelines without end",
        weights: Weights { data: 2, sentinels: 0, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.flood_by_some_client(),
    },
    Fault {
        name: "processes stopped for long",
        weights: Weights { data: 0, sentinels: 8, cluster: 5 },
        kind: Kind::Process,
        apply: World::stop_for_long,
    },
    Fault {
        name: "wall clocks that leap",
        weights: Weights { data: 0, sentinels: 6, cluster: 3 },
        kind: Kind::Process,
        apply: World::leap_clock,
    },
    Fault {
        name: "hosts cut off",
        weights: Weights { data: 0, sentinels: 12, cluster: 10 },
        kind: Kind::Network,
        apply: World::cut_off,
    },
    Fault {
        name: "masters in trouble",
        weights: Weights { data: 0, sentinels: 16, cluster: 0 },
        kind: Kind::Process,
        apply: |world, _| world.trouble_master(),
    },
    Fault {
        name: "failovers ordered by users",
        weights: Weights { data: 0, sentinels: 8, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.order_failover(),
    },
    Fault {
        name: "Sentinels reset, set or told anew",
        weights: Weights { data: 0, sentinels: 10, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.order_of_sentinel(),
    },
    Fault {
        name: "replicas led astray",
        weights: Weights { data: 0, sentinels: 4, cluster: 0 },
        kind: Kind::People,
        apply: |world, _| world.lead_astray(),
    },
    Fault {
        name: "masters of slots in trouble",
        weights: Weights { data: 0, sentinels: 0, cluster: 16 },
        kind: Kind::Process,
        apply: |world, _| world.trouble_cluster_master(),
    },
    Fault {
        name: "clusters split",
        weights: Weights { data: 0, sentinels: 0, cluster: 10 },
        kind: Kind::Network,
        apply: |world, _| world.split_cluster(),
    },
    Fault {
        name: "replicas told to take over",
        weights: Weights { data: 0, sentinels: 0, cluster: 10 },
        kind: Kind::People,
        apply: |world, _| world.order_cluster_failover(),
    },
    Fault {
        name: "clusters rearranged",
        weights: Weights { data: 0, sentinels: 0, cluster: 6 },
        kind: Kind::People,
        apply: World::rearrange_cluster,
    },
];

/// What operators do beside that: requests that follow each other, with the weight of each list. `{1..9}` is a number drawn.
const ORDERS: &[(u64, &[&str])] = &[
    (1, &["SAVE"]),
    (1, &["BGSAVE SCHEDULE"]),
    (2, &["DEBUG RELOAD"]),
    (1, &["SHUTDOWN"]),
    (1, &["SHUTDOWN NOSAVE"]),
    (1, &["SHUTDOWN SAVE NOW"]),
    (1, &["SHUTDOWN", "SHUTDOWN ABORT"]),
    (1, &["CLIENT PAUSE {1..4000}"]),
    (1, &["CLIENT PAUSE {1..4000} WRITE"]),
    (1, &["CLIENT PAUSE 100000", "CLIENT UNPAUSE"]),
    (1, &["CLIENT KILL TYPE replica"]),
    (1, &["CLIENT KILL TYPE master"]),
    (1, &["CONFIG SET min-replicas-to-write {0..1}"]),
    (1, &["CONFIG SET hash-max-listpack-entries {1..200}"]),
    (1, &["DEBUG SLEEP 0.3", "PING"]),
    // The data is ahead of the stream in the middle of a transaction.
    (1, &["MULTI", "INCR twin:a", "BGSAVE SCHEDULE", "INCR twin:b", "EXEC"]),
    (1, &["MULTI", "INCR twin:a", "SAVE", "INCR twin:b", "EXEC"]),
    (2, &["MULTI", "INCR twin:a", "CONFIG REWRITE", "INCR twin:b", "EXEC"]),
    (
        2,
        &[
            "MULTI",
            "INCR twin:a",
            "CONFIG SET dir /data",
            "CONFIG SET dir /",
            "INCR twin:b",
            "EXEC",
        ],
    ),
    (2, &["MULTI", "INCR twin:a", "DEBUG SLEEP 0.3", "INCR twin:b", "EXEC"]),
];

/// Draws how often each fault happens in a seed, against the others, and whether faults are of one kind only.
///
/// Some worlds have every fault, in half of the others some come more often and some never, and in a few all are of one kind or
/// none is: what one fault would hide another must not.
pub fn draw_odds(chance: &mut Chance) -> (Vec<u64>, Option<Kind>) {
    let weights: Vec<u64> = FAULTS.iter().map(|fault| fault.weights.data).collect();
    let of_kind = |kind: Kind, wanted: bool| {
        let odds = FAULTS
            .iter()
            .map(|fault| fault.weights.data * u64::from((fault.kind == kind) == wanted));
        odds.collect::<Vec<_>>()
    };
    let kind = *chance.pick(&KINDS);
    match chance.below(20) {
        0..8 => (weights, None),
        8..11 => (of_kind(kind, false), None),
        11..13 => (of_kind(kind, true), Some(kind)),
        _ => {
            let mut lean = |w: &u64| if *w > 0 { w * chance.pick(&[0, 1, 1, 4]) } else { 0 };
            let leaning: Vec<u64> = weights.iter().map(&mut lean).collect();
            let none = leaning.iter().all(|&weight| weight == 0);
            (if none { weights } else { leaning }, None)
        }
    }
}

/// The same for worlds of another kind, in which faults are not of one kind only.
pub fn draw_odds_in(chance: &mut Chance, worlds: Worlds) -> Vec<u64> {
    let leans = chance.percent(50);
    let mut odds = Vec::new();
    for fault in FAULTS {
        let factor = if leans { *chance.pick(&[0, 1, 1, 4]) } else { 1 };
        odds.push(fault.weights.of(worlds) * factor);
    }
    odds
}

impl World {
    /// Draws the next fault.
    pub(crate) fn next_fault(&mut self) {
        if self.phase != Phase::Chaos {
            return;
        }
        let fault = self.chance.weighted(&self.plan.fault_odds);
        let node = self.chance.index(self.processes.len());
        self.coverage.faults[fault] += 1;
        (FAULTS[fault].apply)(self, node);
        let next = self.now + self.chance.skewed(self.plan.fault_us / 10, self.plan.fault_us * 2);
        self.queue.push(next, Event::Fault);
    }

    /// Gives the operator of a node a request to make, with the numbers in it drawn.
    pub(crate) fn order(&mut self, node: usize, line: &str) {
        if !self.processes[node].is_up() || node >= self.plan.operated() {
            return;
        }
        let operator = self.plan.clients + node;
        if self.clients[operator].orders.len() > 5 {
            return;
        }
        // What stands between quotes is one word, as it is; of the rest each is.
        let mut words: Vec<Vec<u8>> = Vec::new();
        for (index, part) in line.split('"').enumerate() {
            match index % 2 {
                0 => words.extend(part.split_whitespace().map(|word| self.fill_in(word))),
                _ => words.push(part.into()),
            }
        }
        self.tell(|| format!("operator to node{node}: {line}"));
        self.clients[operator].orders.push_back(words);
        self.client_acts_at(operator, self.now);
    }

    /// A word of an order: `{1..9}` stands for a number.
    fn fill_in(&mut self, word: &str) -> Vec<u8> {
        let range = word.strip_prefix('{').and_then(|word| word.strip_suffix('}'));
        let ends = range.and_then(|range| range.split_once(".."));
        let Some((low, high)) = ends else { return word.into() };
        let number = |text: &str| text.parse().expect("an order's range is of numbers");
        self.chance.skewed(number(low), number(high)).to_string().into()
    }

    /// Operators do other things too.
    fn order_something(&mut self, node: usize) {
        let weights: Vec<u64> = ORDERS.iter().map(|(weight, _)| *weight).collect();
        let (_, lines) = ORDERS[self.chance.weighted(&weights)];
        // It drops keys past their time, which stay in the append-only file until they are found there.
        let has_file = self.processes[node].durability.ledger.is_some();
        if has_file && lines.contains(&"DEBUG RELOAD") {
            return;
        }
        // A transaction that loses its end would swallow all that follows.
        let operator = self.clients.get(self.plan.clients + node);
        if operator.is_some_and(|operator| operator.orders.is_empty()) {
            lines.iter().for_each(|line| self.order(node, line));
        }
    }

    fn set_appendfsync(&mut self, node: usize) {
        if self.processes[node].durability.ledger.is_some() {
            let word = *self.chance.pick(&["always", "always", "everysec", "no"]);
            self.order(node, &format!("CONFIG SET appendfsync {word}"));
        }
    }

    /// Mostly off and on again.
    fn switch_append_only(&mut self, node: usize) {
        let process = &self.processes[node];
        let is_on = process.data().is_some_and(|data| data.wants_append_only());
        if process.durability.ledger.is_none() {
            return;
        }
        if is_on {
            self.order(node, "CONFIG SET appendonly no");
        }
        if !is_on || self.chance.percent(60) {
            self.order(node, "CONFIG SET appendonly yes");
        }
    }

    fn hurry_some_client(&mut self) {
        let client = self.chance.index(self.plan.clients);
        self.clients[client].burst = self.chance.skewed(5, 100);
    }

    fn flood_by_some_client(&mut self) {
        let client = self.chance.index(self.plan.clients);
        self.clients[client].flood = self.chance.skewed(100, 3000);
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
    pub(crate) fn maybe_arm_cut(&mut self, node: usize, conn: ConnId) {
        if self.phase == Phase::Chaos && self.chance.percent(self.plan.cut_percent) {
            // In a failover the reply to PSYNC matters more than what follows it.
            let is_failover = self.processes[node].failover == FailoverStage::Asks;
            let after = match is_failover {
                true => self.chance.between(0, 90),
                false => 100 + self.chance.skewed(0, 20_000),
            };
            self.conns[conn].pipes[1].cut_after = Some(after as usize);
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
        self.processes[node].suspended_us += us;
    }

    fn jump_clock(&mut self, node: usize) {
        let us = self.chance.skewed(1000, 100_000_000) as i64;
        let us = if self.chance.percent(50) { us } else { -us };
        self.tell(|| format!("node{node}'s wall clock jumps by {us} us"));
        self.note_wall_clock(node);
        let clients = self.clients.iter_mut().filter(|client| client.target == node);
        clients.for_each(|client| client.clock_is_set(self.now));
        self.processes[node].wall_offset_us += us;
    }

    fn trouble_disk(&mut self, node: usize) {
        let process = &mut self.processes[node];
        process.durability.had_trouble = true;
        let disk = &mut process.disk;
        match self.chance.below(22) {
            0..11 => disk.failing = Some(*self.chance.pick(&ERRORS)),
            11..15 => disk.slowness = self.chance.skewed(2, 100),
            15..17 => disk.sync_us += self.chance.skewed(100_000, 30_000_000),
            _ => disk.failing_syncs = 1,
        }
        let us = self.chance.skewed(100_000, 15_000_000);
        self.queue.push(self.now + us, Event::DiskHeals(node));
    }

    /// Tells a node to follow another, or nobody.
    pub(crate) fn follow(&mut self, node: usize, master: Option<usize>) {
        match master {
            Some(master) => self.order(node, &format!("REPLICAOF {} {PORT}", host_name(master))),
            None => self.order(node, "REPLICAOF NO ONE"),
        }
    }

    fn rearrange(&mut self, node: usize) {
        if self.plan.is_solo {
            return;
        }
        let to = self.chance.index(self.plan.data_nodes());
        if to == node {
            return;
        }
        self.coverage.replicaofs += 1;
        self.follow(node, Some(to));
    }

    fn promote_somebody(&mut self) {
        let replicas: Vec<usize> =
            (0..self.processes.len()).filter(|&n| self.processes[n].seen.is_replica).collect();
        if replicas.is_empty() {
            return;
        }
        let node = *self.chance.pick(&replicas);
        self.follow(node, None);
        // As in a failover, the others may follow the new master.
        if self.chance.percent(60) {
            for other in 0..self.plan.data_nodes() {
                if other != node && self.chance.percent(70) {
                    self.follow(other, Some(node));
                }
            }
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
            self.arrangement[node] = Some(parent).filter(|_| !self.plan.is_solo);
            placed.push(node);
        }
        for node in 0..nodes {
            let process = &mut self.processes[node];
            (process.disk.failing, process.disk.failing_syncs) = (None, 0);
            (process.disk.slowness, process.disk.sync_us) = (1, self.plan.sync_us);
            process.busy_until = process.busy_until.min(self.now);
            if self.plan.is_of_data_alone() {
                process.config.replicaof = self.arrangement[node].map(address);
            }
            self.wake(node);
            self.queue.push(self.now + 1, Event::Start(node));
        }
        for client in 0..self.clients.len() {
            self.client_gives_up(client);
            let c = &mut self.clients[client];
            c.orders.clear();
            c.is_slow = false;
            if !c.is_operator && self.plan.is_of_data_alone() {
                c.target = root;
            }
        }
        if !self.plan.is_of_data_alone() {
            self.break_half_open();
        }
        self.tell(|| format!("all faults end; node{root} is to be the master"));
        self.phase = Phase::Healed { since_us: self.now, root };
        self.complete_orders();
        self.queue.push(self.now + 1_000_000, Event::Verify);
    }
}
