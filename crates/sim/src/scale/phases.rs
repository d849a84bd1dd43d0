//! What is done with the nodes, and what it takes.

use russet_cluster::bus::NodeFlags;
use russet_cluster::{Bug, Cluster, Settings};

use super::network::{Events, Network, Traffic, address_of, number_of};
use super::{Meter, Options};

/// How often it is looked whether a phase is over, simulated milliseconds.
const LOOK_MS: u64 = 50;

/// A phase that takes longer has failed, simulated milliseconds.
const PHASE_MAX_MS: u64 = 300_000;

/// Before and while the steady state is measured, simulated milliseconds.
const SETTLE_MS: u64 = 15_000;
const STEADY_MS: u64 = 10_000;

/// Between the orders of `redis-cli --cluster create`, simulated milliseconds: what was ordered is saved by then.
const ORDERS_MS: u64 = 100;

/// One in so many masters dies.
const DEAD_ONE_IN: usize = 4;

/// How many masters there are.
pub fn masters(nodes: usize) -> usize {
    nodes.div_ceil(2)
}

/// What a run has shown. Times are simulated milliseconds since the phase began.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// Nodes.
    pub nodes: usize,
    /// Until every node knows every other, and whose the slots are.
    pub met_ms: u64,
    /// Until all know who replicates whom.
    pub arranged_ms: u64,
    /// Until all nodes say that the cluster is up.
    pub ok_ms: u64,
    /// What creation has cost.
    pub creation: Cost,
    /// What a time without events has cost.
    pub steady: Cost,
    /// Bytes allocated then.
    pub allocated_bytes: u64,
    /// Masters that died.
    pub dead: usize,
    /// Until all living nodes have marked all of them as FAIL.
    pub failed_ms: u64,
    /// Until all their replicas have taken over.
    pub replaced_ms: u64,
    /// Until all living nodes agree.
    pub agreed_ms: u64,
    /// What the deaths have cost.
    pub deaths: Cost,
    /// Until all nodes agree, after the dead have come back.
    pub returned_ms: u64,
    /// What their return has cost.
    pub restart: Cost,
}

/// What a phase has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Simulated milliseconds.
    pub ms: u64,
    /// Processor time of all nodes and the model, microseconds.
    pub cpu_us: u64,
    /// What was sent.
    pub traffic: Traffic,
    /// What happened.
    pub events: Events,
}

/// The beginning of a phase.
struct Begun {
    ms: u64,
    cpu_us: u64,
    traffic: Traffic,
    events: Events,
}

impl Begun {
    fn now(network: &Network, meter: &dyn Meter) -> Begun {
        Begun {
            ms: network.now_ms(),
            cpu_us: meter.cpu_us(),
            traffic: network.traffic,
            events: network.events,
        }
    }

    fn cost(&self, network: &Network, meter: &dyn Meter) -> Cost {
        Cost {
            ms: network.now_ms() - self.ms,
            cpu_us: meter.cpu_us() - self.cpu_us,
            traffic: network.traffic.since(&self.traffic),
            events: network.events.since(&self.events),
        }
    }
}

/// Runs all phases.
pub fn run(
    options: Options,
    bug: Option<Bug>,
    meter: &dyn Meter,
    print: &mut dyn FnMut(String),
) -> Result<Figures, String> {
    let mut figures = Figures { nodes: options.nodes, ..Figures::default() };
    let allocated_before = meter.allocated_bytes();
    let mut network = Network::new(options.nodes, Settings::default(), bug, options.seed);
    let rules = if bug.is_some() { "stock's rules" } else { "our rules" };
    let mut tell = |phase: &str, cost: &Cost| {
        let seconds = |us: u64| us as f64 / 1e6;
        print(format!(
            "  {rules}: {phase}: {:.1} simulated seconds, {} messages, {:.1} s of CPU",
            seconds(cost.ms * 1_000),
            cost.traffic.all_messages(),
            seconds(cost.cpu_us)
        ));
    };

    let begun = Begun::now(&network, meter);
    meet(&mut network, &mut figures)?;
    tell("meet", &begun.cost(&network, meter));
    arrange(&mut network, &mut figures, begun.ms)?;
    figures.creation = begun.cost(&network, meter);
    tell("create", &figures.creation);

    network.run(SETTLE_MS);
    let begun = Begun::now(&network, meter);
    network.run(STEADY_MS);
    figures.steady = begun.cost(&network, meter);
    figures.allocated_bytes = meter.allocated_bytes().saturating_sub(allocated_before);
    tell("steady", &figures.steady);

    let begun = Begun::now(&network, meter);
    let dead: Vec<usize> = (0..masters(options.nodes)).step_by(DEAD_ONE_IN).collect();
    figures.dead = dead.len();
    die(&mut network, &dead, &mut figures)?;
    figures.deaths = begun.cost(&network, meter);
    tell("deaths", &figures.deaths);

    network.run(SETTLE_MS);
    let begun = Begun::now(&network, meter);
    dead.iter().for_each(|&number| network.start(number));
    let mut views = Views::of(options.nodes);
    figures.returned_ms = until(&mut network, "return", &mut |network: &Network| {
        let returned = dead.iter().filter_map(|&number| network.cluster(number));
        returned.filter(|cluster| cluster.is_replica()).count() == dead.len()
            && views.is_reached(network)
    })?;
    figures.restart = begun.cost(&network, meter);
    tell("restart", &figures.restart);
    Ok(figures)
}

fn meet(network: &mut Network, figures: &mut Figures) -> Result<(), String> {
    let (nodes, masters) = (network.count(), masters(network.count()));
    for number in 0..nodes {
        let epoch = number as u64 + 1;
        let slots = slots_of(number, masters);
        network.order(number, |cluster, now| cluster.add_slots(now, &slots));
        network.order(number, |cluster, now| cluster.set_config_epoch(now, epoch));
    }
    network.run(ORDERS_MS);
    let started_ms = network.now_ms();
    let first = address_of(0).to_string();
    for number in 1..nodes {
        network.order(number, |cluster, now| cluster.meet(now, &first, 6379, 16379));
    }
    until(network, "meet", &mut Views::of(nodes))?;
    figures.met_ms = network.now_ms() - started_ms;
    Ok(())
}

fn arrange(network: &mut Network, figures: &mut Figures, started_ms: u64) -> Result<(), String> {
    let (nodes, masters) = (network.count(), masters(network.count()));
    for number in masters..nodes {
        let master = network.cluster(number - masters).map(Cluster::my_id);
        let master = master.ok_or("a node has ended")?;
        network.order(number, |cluster, now| cluster.replicate(now, master.as_bytes(), false));
    }
    let replicas = nodes - masters;
    let mut views = Views::of(nodes);
    until(network, "replicate", &mut |network: &Network| {
        let arranged = network.living().filter(|(_, cluster)| cluster.is_replica()).count();
        arranged == replicas && views.is_reached(network)
    })?;
    figures.arranged_ms = network.now_ms() - started_ms;
    until(network, "be up", &mut |network: &Network| {
        network.living().all(|(_, cluster)| cluster.is_ok())
    })?;
    figures.ok_ms = network.now_ms() - started_ms;
    Ok(())
}

/// The slots of a master, as evenly as possible; none of a replica.
fn slots_of(number: usize, masters: usize) -> Vec<u16> {
    let first = |number: usize| number * 16_384 / masters;
    match number < masters {
        true => (first(number)..first(number + 1)).map(|slot| slot as u16).collect(),
        false => Vec::new(),
    }
}

fn die(network: &mut Network, dead: &[usize], figures: &mut Figures) -> Result<(), String> {
    let started_ms = network.now_ms();
    let ids: Vec<_> =
        dead.iter().filter_map(|&number| network.cluster(number).map(Cluster::my_id)).collect();
    let masters = masters(network.count());
    dead.iter().for_each(|&number| network.end(number));
    let has_marked = |(_, cluster): (usize, &Cluster)| {
        let is_failed = |id| cluster.find(id).is_some_and(|(_, node)| node.is(NodeFlags::FAIL));
        ids.iter().all(|id| is_failed(id.as_bytes()))
    };
    let have_won = |network: &Network| {
        let replicas = dead.iter().map(|number| network.cluster(number + masters));
        replicas.flatten().all(|cluster| !cluster.is_replica())
    };
    let (mut failed_ms, mut replaced_ms) = (None, None);
    let mut views = Views::of(network.count());
    until(network, "replace the dead", &mut |network: &Network| {
        let past_ms = network.now_ms() - started_ms;
        if failed_ms.is_none() && network.living().all(has_marked) {
            failed_ms = Some(past_ms);
        }
        if replaced_ms.is_none() && have_won(network) {
            replaced_ms = Some(past_ms);
        }
        failed_ms.is_some() && replaced_ms.is_some() && views.is_reached(network)
    })?;
    figures.failed_ms = failed_ms.unwrap_or_default();
    figures.replaced_ms = replaced_ms.unwrap_or_default();
    figures.agreed_ms = network.now_ms() - started_ms;
    Ok(())
}

/// What a phase waits for.
trait Goal {
    fn is_reached(&mut self, network: &Network) -> bool;
}

impl<F: FnMut(&Network) -> bool> Goal for F {
    fn is_reached(&mut self, network: &Network) -> bool {
        self(network)
    }
}

/// Lets time pass until a goal is reached. Returns how long that took.
fn until(network: &mut Network, what: &str, goal: &mut impl Goal) -> Result<u64, String> {
    let started_ms = network.now_ms();
    while !goal.is_reached(network) {
        if network.now_ms() - started_ms > PHASE_MAX_MS {
            return Err(format!("the nodes do not {what} in {PHASE_MAX_MS} simulated ms"));
        }
        network.run(LOOK_MS);
    }
    Ok(network.now_ms() - started_ms)
}

/// All views are equal: every living node knows all nodes, with the same roles, masters, epochs and numbers of slots.
struct Views {
    nodes: usize,
    /// The one that was different last, which probably still is.
    different: usize,
}

/// What a node believes of another.
#[derive(Clone, PartialEq, Eq)]
struct Belief {
    is_replica: bool,
    is_failed: bool,
    master: Option<usize>,
    config_epoch: u64,
    slots: u16,
}

impl Views {
    fn of(nodes: usize) -> Views {
        Views { nodes, different: 0 }
    }

    /// Returns a node's view, by the numbers of nodes; none if it does not know all.
    fn view(&self, cluster: &Cluster) -> Option<Vec<Option<Belief>>> {
        let nodes = cluster.nodes();
        if nodes.count() != self.nodes {
            return None;
        }
        let mut view = vec![None; self.nodes];
        for (_, node) in nodes.iter() {
            if node.is(NodeFlags::HANDSHAKE) {
                return None;
            }
            view[number_of(&node.id)] = Some(Belief {
                is_replica: node.is_replica(),
                is_failed: node.is(NodeFlags::FAIL),
                master: node.master.map(|key| number_of(&nodes[key].id)),
                config_epoch: if node.is_replica() { 0 } else { node.config_epoch },
                slots: node.slot_count(),
            });
        }
        Some(view)
    }
}

impl Goal for Views {
    fn is_reached(&mut self, network: &Network) -> bool {
        let living: Vec<(usize, &Cluster)> = network.living().collect();
        if living.iter().any(|(_, cluster)| cluster.nodes().count() != self.nodes) {
            return false;
        }
        let Some(first) = living.first().map(|(_, cluster)| self.view(cluster)) else {
            return false;
        };
        let suspect = network.cluster(self.different).map(|cluster| (self.different, cluster));
        for (number, cluster) in suspect.into_iter().chain(living) {
            if first.is_none() || self.view(cluster) != first {
                self.different = number;
                return false;
            }
        }
        true
    }
}
