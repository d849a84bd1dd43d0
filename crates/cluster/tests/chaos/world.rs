//! A cluster drawn from a seed, and what time brings.

use russet_cluster::{Bug, Settings};

use crate::network::Network;

/// For how long there are faults, milliseconds.
const TROUBLE_MS: u64 = 25_000;

pub struct World {
    pub network: Network,
    /// Moves of slots under way.
    pub moves: Vec<crate::operator::Move>,
    /// Whether operators force failovers, after which two nodes may serve a slot for a moment.
    pub may_force: bool,
    /// Whether operators move slots, and change who is in the cluster.
    pub may_operate: bool,
    /// Whether the clocks of people jump.
    pub may_jump: bool,
    /// Names of nodes that do not exist any more.
    pub gone: Vec<russet_cluster::NodeId>,
    pub next_id: u64,
}

impl World {
    pub fn new(seed: u64, bug: Option<Bug>) -> World {
        let mut rng = crate::network::Rng::new(seed);
        let masters = 1 + rng.index(5);
        let count = (masters + rng.index(masters * 2 + 1)).clamp(3, 12);
        let settings = Settings {
            node_timeout_ms: [600, 1_000, 2_000][rng.index(3)],
            allow_replica_migration: rng.percent(70),
            require_full_coverage: rng.percent(70),
            replica_validity_factor: [0, 10][rng.index(2)],
            blacklist_ttl_ms: 3_000,
            ..Settings::default()
        };
        let mut network = Network::with_bug(count, settings, rng.draw(), bug);
        network.form(masters);
        let (may_force, may_operate) = (rng.percent(40), rng.percent(50));
        network.checks.may_both_serve = may_force;
        World {
            network,
            moves: Vec::new(),
            may_force,
            may_operate,
            may_jump: rng.percent(30),
            gone: Vec::new(),
            next_id: 100,
        }
    }

    /// Lets faults and orders happen.
    pub fn trouble(&mut self) {
        let end = self.network.now_ms + TROUBLE_MS;
        while self.network.now_ms < end && self.network.checks.problem.is_none() {
            let pause = match self.network.rng.percent(50) {
                true => self.network.rng.within(1..150),
                false => self.network.rng.within(100..2_500),
            };
            self.network.run(pause);
            self.go_on_moving();
            match self.network.rng.percent(if self.may_operate { 40 } else { 8 }) {
                true => self.operate(),
                false => self.fault(),
            }
        }
    }

    pub fn note(&mut self, text: String) {
        let now_ms = self.network.now_ms;
        self.network.story.push(format!("{now_ms} ---- {text}"));
    }

    /// A process that runs, if there is one.
    pub fn running(&mut self) -> Option<usize> {
        let processes = self.network.processes.iter().enumerate();
        let running = processes.filter(|(_, process)| process.is_alive && !process.is_suspended);
        let running: Vec<usize> = running.map(|(number, _)| number).collect();
        (!running.is_empty()).then(|| running[self.network.rng.index(running.len())])
    }

    pub fn count(&self) -> usize {
        self.network.processes.len()
    }
}
