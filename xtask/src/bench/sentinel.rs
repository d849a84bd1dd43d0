//! How long clients have no master: three servers and three Sentinels with `down-after-milliseconds` 1000, and a client
//! that polls all Sentinels every few milliseconds and writes to the first other master that one of them
//! names. The time is from the fault to the first acknowledged write.
//!
//! The fault is `kill -9` of the master, SIGSTOP, or its machine's network interface switched off, for which all run in
//! namespaces, as root. A round begins when all Sentinels see all servers connected, and then after a part of a second that
//! differs between rounds, so that faults fall on all phases of the Sentinels' timers. The old master is made a replica
//! by the bench, since Sentinels take up to 20 s for it.
//!
//! `sentinel_planned.rs` and `sentinel_many.rs` have the other figures of this group.

use std::net::SocketAddrV4;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use russet_e2e::program;
use russet_e2e::{Client, Program, Value};
use rustix::process::Signal;

use super::cpu::{self, Place};
use super::report::{Metric, Report};
use super::{Plan, Side, sentinel_many, sentinel_planned};
use crate::partitions::network::{Network, Site};
use crate::partitions::sentinel::deployment::{COUNT, Deployment, Programs};
use crate::partitions::sentinel::route::master_of;
use crate::sh::Result;

/// The table of all these figures.
pub const GROUP: &str = "sentinel";

/// Time between two questions of the client to a Sentinel.
const POLL: Duration = Duration::from_millis(3);

/// How long a write to a new master may take.
const WRITE_MAX: Duration = Duration::from_millis(100);

/// How long a failover may take.
const FAILOVER_MAX: Duration = Duration::from_secs(60);

/// How long everything may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(120);

const OUTAGE: Metric = Metric { group: GROUP, name: "outage", unit: "s" };
const OUTAGE_99: Metric = Metric { group: GROUP, name: "outage, 99 %", unit: "s" };

/// What happens to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    InterfaceDown,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill -9",
            Fault::Stop => "SIGSTOP",
            Fault::InterfaceDown => "interface down",
        }
    }
}

/// A deployment of one side, with the times measured so far.
pub struct Subject {
    /// The index of the side.
    pub side: usize,
    /// Its processes.
    pub deployment: Deployment,
    network: Option<Network>,
    client: Site,
    outages: Vec<f64>,
}

/// All figures of the group.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let mut faults = vec![Fault::Kill, Fault::Stop];
    if rustix::process::geteuid().is_root() {
        faults.push(Fault::InterfaceDown);
    } else {
        report.note("sentinel: switching an interface off needs root.".into());
    }
    for of_fault in cpu::at(Place::Both, || all_outages(plan, &faults))?? {
        report.merge(of_fault);
    }
    cpu::at(Place::Both, || sentinel_planned::run(plan, report))?;
    sentinel_many::run(plan, report)
}

/// The rounds of all faults at once, each with deployments of its own: they wait nearly all the time.
fn all_outages(plan: &Plan, faults: &[Fault]) -> Result<Vec<Report>> {
    std::thread::scope(|scope| {
        let measure = |fault| {
            let mut report = Report::new(plan);
            outages(plan, &mut report, fault);
            report
        };
        let threads: Vec<_> =
            faults.iter().map(|&fault| scope.spawn(move || measure(fault))).collect();
        let joined = threads.into_iter().map(std::thread::ScopedJoinHandle::join);
        joined.map(|report| report.map_err(|_| "a thread panicked".to_owned())).collect()
    })
}

/// Alternating rounds of a fault. A side that fails is left out from then on, and its error noted.
fn outages(plan: &Plan, report: &mut Report, fault: Fault) {
    let mut subjects: Vec<Option<Subject>> = vec![];
    for side in 0..plan.sides.len() {
        subjects.push(start(plan, report, side, fault == Fault::InterfaceDown));
    }
    for round in 0..plan.rounds {
        for side in plan.order(round) {
            let Some(subject) = &mut subjects[side] else { continue };
            match subject.round(fault, round) {
                Ok(outage) => {
                    let name = &plan.sides[side].name;
                    eprintln!("  {}, round {}, {name}: {outage:.2} s", fault.name(), round + 1);
                    report.add(OUTAGE, fault.name(), side, outage);
                    subject.outages.push(outage);
                }
                Err(error) => {
                    let name = &plan.sides[side].name;
                    let round = round + 1;
                    fail(report, &format!("{name}, {}, round {round}: {error}", fault.name()));
                    eprintln!("{}", subject.deployment.logs());
                    subjects[side] = None;
                }
            }
        }
    }
    for subject in subjects.into_iter().flatten() {
        report.add(OUTAGE_99, fault.name(), subject.side, percentile_99(&subject.outages));
    }
}

/// Starts a side's deployment. None if it does not start, which is noted.
pub fn start(
    plan: &Plan,
    report: &mut Report,
    side: usize,
    in_namespaces: bool,
) -> Option<Subject> {
    match Subject::start(&plan.sides[side], side, in_namespaces) {
        Ok(subject) => Some(subject),
        Err(error) => {
            fail(report, &format!("{} did not start: {error}", plan.sides[side].name));
            None
        }
    }
}

/// Notes a side's failure.
pub fn fail(report: &mut Report, error: &str) {
    eprintln!("  {error}");
    report.note(format!("sentinel: {error}"));
}

/// The sample that 99 % of all do not exceed.
pub fn percentile_99(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * 99).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

/// The program of a side's Sentinels, which is started with a configuration file.
pub fn sentinel_of(side: &Side) -> Result<Program> {
    match &side.program {
        Program::Russet => Ok(Program::Other(program::russet().into(), vec!["sentinel".into()])),
        Program::Stock => Ok(Program::Other(program::stock("redis-sentinel"), vec![])),
        Program::Other(path, words) if words.first().is_some_and(|word| word == "server") => {
            Ok(Program::Other(path.clone(), vec!["sentinel".into()]))
        }
        Program::Other(path, _) => {
            let name = side.program.name().replace("-server", "-sentinel");
            let path = path.with_file_name(&name);
            let is_there = path.is_file() && name != side.program.name();
            if is_there {
                Ok(Program::Other(path, vec![]))
            } else {
                Err("no Sentinel is known".into())
            }
        }
    }
}

impl Subject {
    fn start(side: &Side, index: usize, in_namespaces: bool) -> Result<Subject> {
        let sentinel = sentinel_of(side)?;
        let sentinels = std::array::from_fn(|_| sentinel.clone());
        let programs = Programs { server: side.program.clone(), sentinels };
        let network = if in_namespaces { Some(Network::new(4)?) } else { None };
        let machines = network.iter().flat_map(|net| (0..COUNT).map(|at| net.site(at).clone()));
        let deployment = Deployment::start(&programs, &machines.collect::<Vec<_>>())?;
        let client =
            network.as_ref().map_or_else(Site::here, |network| network.site(COUNT).clone());
        Ok(Subject { side: index, deployment, network, client, outages: vec![] })
    }

    /// Waits until a failover would succeed, and returns the master.
    pub fn settle(&self) -> Result<usize> {
        let start = Instant::now();
        loop {
            match self.deployment.settled() {
                Ok(master) => return Ok(master),
                Err(error) if start.elapsed() > REST_MAX => {
                    return Err(format!("not at rest after {REST_MAX:?}: {error}"));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// Injects the fault, and returns the seconds until a write was acknowledged.
    fn round(&mut self, fault: Fault, round: usize) -> Result<f64> {
        let master = self.settle()?;
        std::thread::sleep(Duration::from_millis(round as u64 * 617 % 1000));
        let old = self.deployment.servers[master].address();
        let (sender, written) = mpsc::channel();
        let sentinels = self.deployment.sentinel_addresses();
        let client = self.client.clone();
        let is_over = Arc::new(AtomicBool::new(false));
        let polling: Vec<_> = sentinels
            .into_iter()
            .map(|sentinel| {
                let (client, sender) = (client.clone(), sender.clone());
                let is_over = is_over.clone();
                std::thread::spawn(move || client.within(|| poll(sentinel, old, &is_over, &sender)))
            })
            .collect();
        let start = Instant::now();
        self.inject(fault, master)?;
        let first = written.recv_timeout(FAILOVER_MAX);
        // A Sentinel beside the old master may never name another one.
        is_over.store(true, Ordering::Relaxed);
        for thread in polling {
            thread.join().map_err(|_| "a client panicked")??;
        }
        let (at, new) = first.map_err(|_| "nobody was promoted")?;
        self.repair(fault, master, new)?;
        Ok(at.duration_since(start).as_secs_f64())
    }

    fn inject(&mut self, fault: Fault, master: usize) -> Result {
        match (fault, &self.network) {
            (Fault::Kill, _) => self.deployment.servers[master].kill(),
            (Fault::Stop, _) => self.deployment.servers[master].signal(Signal::STOP),
            (Fault::InterfaceDown, Some(network)) => network.set_interface(master, "down"),
            (Fault::InterfaceDown, None) => Err("there are no machines".into()),
        }
    }

    /// Ends the fault, and makes the old master a replica.
    fn repair(&mut self, fault: Fault, old: usize, new: SocketAddrV4) -> Result {
        match (fault, &self.network) {
            (Fault::Kill, _) => {
                let new = self.deployment.server_at(new).ok_or("an unknown server")?;
                return self.deployment.start_as_replica(old, new);
            }
            (Fault::Stop, _) => self.deployment.servers[old].signal(Signal::CONT)?,
            (Fault::InterfaceDown, Some(network)) => network.set_interface(old, "up")?,
            (Fault::InterfaceDown, None) => {}
        }
        let follow = format!("REPLICAOF {} {}", new.ip(), new.port());
        self.deployment.servers[old].ask(&follow).map(|_| ())
    }
}

/// Asks a Sentinel until it names another master than `old` that acknowledges a write, or until that is over.
fn poll(
    sentinel: SocketAddrV4,
    old: SocketAddrV4,
    is_over: &AtomicBool,
    sender: &mpsc::Sender<(Instant, SocketAddrV4)>,
) {
    while !is_over.load(Ordering::Relaxed) {
        let new = master_of(sentinel).filter(|master| *master != old);
        if let Some(new) = new
            && is_written(new)
        {
            let _ = sender.send((Instant::now(), new)); // another one was first
            return;
        }
        std::thread::sleep(POLL);
    }
}

fn is_written(master: SocketAddrV4) -> bool {
    let written = Client::connect_within(master.into(), WRITE_MAX)
        .and_then(|mut client| client.try_command(&["SET", "outage", "over"]));
    written.is_ok_and(|reply| reply == Value::Status("OK".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_99th_percentile_of_few_samples_is_the_greatest() {
        assert_eq!(percentile_99(&[1.0, 3.0, 2.0]), 3.0);
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(percentile_99(&hundred), 99.0);
    }
}
