//! A cluster on machines, its clients and its observer: faults, and waiting for what should follow from them.

use std::time::{Duration, Instant};

use russet_e2e::Program;

use super::deployment::{COUNT, Deployment, MASTERS, NODE_TIMEOUT, Shard, within};
use super::observer::Observer;
use super::route::Nodes;
use crate::partitions::network::{Network, Site};
use crate::partitions::report::{Measured, longest_gap};
use crate::partitions::rounds;
use crate::partitions::writer::Writer;
use crate::sh::Result;

/// How long a step may take: a failover, or to agree after healing. Stock nodes retry an election after four timeouts.
pub const BOUND: Duration = Duration::from_secs(60);

/// How long a fault lasts at least: by then a master that is cut off has stopped, ours or stock.
pub const FAULT_MIN: Duration = NODE_TIMEOUT.saturating_mul(3);

/// The machine of clients.
pub const CLIENT: usize = COUNT;

/// Machines with everything on them.
pub struct Lab {
    // In the order of dropping.
    /// One for each shard, on a machine of their own; they know all nodes.
    clients: Vec<Writer>,
    /// One beside each node, which asks that node first and writes to the shard to which it belongs at the start.
    locals: Vec<Writer>,
    observer: Observer,
    /// The processes.
    pub deployment: Deployment,
    /// The machines.
    pub network: Network,
    /// Whether the programs promise that a slot has one master that serves it.
    is_exclusive: bool,
    violations: Vec<String>,
}

impl rounds::Lab for Lab {
    fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }

    fn logs(&self) -> String {
        self.deployment.logs()
    }
}

impl Lab {
    /// Creates machines and starts all programs, and waits until they have come to rest.
    pub fn start(programs: &[Program; COUNT], is_exclusive: bool) -> Result<Lab> {
        let network = Network::new(u8::try_from(COUNT).unwrap_or(u8::MAX) + 1)?;
        let sites: Vec<Site> = (0..COUNT).map(|machine| network.site(machine).clone()).collect();
        let deployment = Deployment::start(programs, &sites, "")?;
        let observer = Observer::start(&deployment)?;
        let addresses = deployment.addresses();
        let client = |shard| {
            let key = deployment.key_in(shard, "client")?;
            Ok(Writer::start(network.site(CLIENT), &key, Nodes::new(addresses.clone())))
        };
        let clients = (0..MASTERS).map(client).collect::<Result<_>>()?;
        let beside = |machine: usize| {
            let key = deployment.key_in(machine % MASTERS, &format!("local{machine}"))?;
            let nodes = Nodes::new(vec![addresses[machine]]);
            Ok(Writer::start(network.site(machine), &key, nodes))
        };
        let locals = (0..COUNT).map(beside).collect::<Result<_>>()?;
        let violations = vec![];
        let lab = Lab { clients, locals, observer, deployment, network, is_exclusive, violations };
        lab.settle()?;
        Ok(lab)
    }

    /// Waits until all agree, replicas have the data of their masters, and a client writes to each of these. Returns the
    /// shards.
    pub fn settle(&self) -> Result<[Shard; MASTERS]> {
        let start = Instant::now();
        within(BOUND, || {
            let shards = self.deployment.settled()?;
            for (shard, client) in shards.iter().zip(&self.clients) {
                let master = self.deployment.nodes[shard.master].address();
                if !client.has_written(start, master) {
                    return Err(format!("a client does not write to {master}"));
                }
            }
            Ok(shards)
        })
    }

    /// Isolates these machines from all others, not from each other.
    pub fn part(&mut self, apart: &[usize]) -> Result {
        let drop_from = |machine: usize| {
            let address = self.network.site(machine).address;
            format!("ip saddr {address} drop")
        };
        let rules_of = |machine: usize| {
            let is_apart = apart.contains(&machine);
            let others = (0..=CLIENT).filter(move |other| apart.contains(other) != is_apart);
            (machine, others.map(drop_from).collect())
        };
        let rules: Vec<(usize, Vec<String>)> = (0..=CLIENT).map(rules_of).collect();
        self.filter_at_once(apart, &rules)
    }

    /// Sets packet filters, which takes a while for each. Meanwhile these machines are cut off: otherwise a client would
    /// reach a master that its replica does not reach any more.
    pub fn filter_at_once(&mut self, apart: &[usize], filters: &[(usize, Vec<String>)]) -> Result {
        apart.iter().try_for_each(|machine| self.network.cut(*machine))?;
        for (machine, rules) in filters {
            self.network.filter(*machine, &rules.iter().map(String::as_str).collect::<Vec<_>>())?;
        }
        apart.iter().try_for_each(|machine| self.network.heal(*machine))
    }

    /// Waits until another node than `old` has acknowledged a write of the shard after `start`, for as long as that is due.
    /// Returns how long after `start` that was.
    pub fn other_master(
        &self,
        shard: usize,
        old: usize,
        start: Instant,
        bound: Duration,
    ) -> Option<Duration> {
        let old = self.deployment.nodes[old].address();
        let end = start + bound;
        loop {
            if let Some(at) = self.clients[shard].first_by_other(start, old) {
                return Some(at.duration_since(start));
            }
            if Instant::now() > end {
                return None;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends a round: heals everything, waits until all agree, and looks up what was acknowledged.
    pub fn finish(&mut self, shard: usize, failover: Option<Duration>) -> Result<Measured> {
        self.network.heal_all()?;
        let healed = Instant::now();
        within(BOUND, || self.deployment.agreed())?;
        let agreed = healed.elapsed();
        let shards = self.settle()?;
        let mut measured = Measured { failover, agreed, ..Measured::default() };
        let mut elsewhere = Duration::ZERO;
        for (index, client) in self.clients.iter_mut().enumerate() {
            let (acknowledged, lost) = take(client, &self.deployment, shards[index])?;
            let gap = longest_gap(&acknowledged);
            if index == shard {
                measured.outage = gap;
            } else {
                elsewhere = elsewhere.max(gap);
            }
            measured.client = [measured.client[0] + acknowledged.len(), measured.client[1] + lost];
        }
        measured.outage_elsewhere = Some(elsewhere);
        for (machine, client) in self.locals.iter_mut().enumerate() {
            let (acknowledged, lost) = take(client, &self.deployment, shards[machine % MASTERS])?;
            measured.local = [measured.local[0] + acknowledged.len(), measured.local[1] + lost];
        }
        let overlap = self.observer.take_overlap();
        measured.overlap = Some(overlap);
        if self.is_exclusive && !overlap.is_zero() {
            self.violations.push(format!("two masters served a slot for {overlap:.3?}"));
        }
        Ok(measured)
    }
}

/// What a client wrote, looked up at the master.
fn take(
    client: &mut Writer,
    deployment: &Deployment,
    shard: Shard,
) -> Result<(Vec<crate::partitions::writer::Acknowledged>, usize)> {
    client.take(&mut deployment.nodes[shard.master].endpoint.connect()?)
}
