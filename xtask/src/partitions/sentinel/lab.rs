//! A deployment on machines, its clients and its observer: faults, and waiting for what should follow from them.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::deployment::{COUNT, Deployment, Programs};
use super::observer::Observer;
use super::route::Sentinels;
use crate::partitions::network::{Network, Site};
use crate::partitions::rounds;
use crate::partitions::writer::Writer;
use crate::sh::Result;

/// How long a step may take: a failover, or to agree after healing. Stock Sentinels need up to 8 s until they convert
/// a returned master, wait 6 s after a vote, and ask servers every 10 s who they are.
pub const BOUND: Duration = Duration::from_secs(60);

/// The machine of the client.
const CLIENT: usize = COUNT;

/// Machines with everything on them.
pub struct Lab {
    // In the order of dropping.
    /// On a machine of its own; asks all Sentinels.
    pub client: Writer,
    /// One beside each Sentinel; asks only that one.
    pub locals: Vec<Writer>,
    /// Watches the Sentinels.
    pub observer: Observer,
    /// The processes.
    pub deployment: Deployment,
    /// The machines.
    pub network: Network,
    stopped: BTreeSet<usize>,
}

impl rounds::Lab for Lab {
    fn violations(&self) -> Vec<String> {
        self.observer.violations()
    }

    fn logs(&self) -> String {
        self.deployment.logs()
    }
}

impl Lab {
    /// Creates machines and starts all programs, and waits until they have come to rest.
    pub fn start(programs: &Programs) -> Result<Lab> {
        let network = Network::new(u8::try_from(COUNT).unwrap_or(u8::MAX) + 1)?;
        let sites: Vec<Site> = (0..COUNT).map(|machine| network.site(machine).clone()).collect();
        let deployment = Deployment::start(programs, &sites)?;
        let observer = Observer::start(&deployment)?;
        let sentinels = deployment.sentinel_addresses();
        let route = Sentinels::new(sentinels.clone());
        let client = Writer::start(network.site(CLIENT), "client", route);
        let beside = |(index, site)| {
            let route = Sentinels::new(vec![sentinels[index]]);
            Writer::start(site, &format!("local{index}"), route)
        };
        let locals = sites.iter().enumerate().map(beside).collect();
        let stopped = BTreeSet::new();
        let lab = Lab { client, locals, observer, deployment, network, stopped };
        lab.settle()?;
        Ok(lab)
    }

    /// Waits until all agree on a master and the client writes to it.
    pub fn agree(&self) -> Result<usize> {
        self.wait(Deployment::agreed)
    }

    /// Waits until everything has come to rest. Returns the index of the master.
    pub fn settle(&self) -> Result<usize> {
        self.wait(Deployment::settled)
    }

    fn wait(&self, state: fn(&Deployment) -> Result<usize>) -> Result<usize> {
        let start = Instant::now();
        loop {
            let reached = state(&self.deployment).and_then(|master| {
                let address = self.server(master);
                let writes = self.client.has_written(start, address);
                if writes {
                    Ok(master)
                } else {
                    Err(format!("the client does not write to {address}"))
                }
            });
            match reached {
                Ok(master) => return Ok(master),
                Err(error) if start.elapsed() > BOUND => {
                    return Err(format!("not within {BOUND:?}: {error}"));
                }
                // Each look asks every process several questions.
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    /// The address of a server.
    pub fn server(&self, machine: usize) -> SocketAddrV4 {
        self.deployment.servers[machine].address()
    }

    /// Waits until a quorum of these Sentinels names another master than that of this machine, and returns its address.
    pub fn other_master(
        &self,
        old: usize,
        bound: Duration,
        among: &[usize],
    ) -> Option<SocketAddrV4> {
        let old = self.server(old);
        self.observer
            .wait_for(bound, |seen| seen.master_of_quorum(among).filter(|master| *master != old))
    }

    /// Waits until the same holds and the client writes to a master that they name. Returns how long after `start`
    /// they first named another one.
    pub fn wait_for_failover(
        &self,
        old: usize,
        start: Instant,
        among: &[usize],
    ) -> Result<Duration> {
        self.other_master(old, BOUND, among).ok_or("no failover")?;
        let (took, named) = (start.elapsed(), Instant::now());
        let old = self.server(old);
        // The first one may be out of the client's reach; then they fail over again.
        let written = self.observer.wait_for(BOUND, |seen| {
            let master = seen.master_of_quorum(among).filter(|master| *master != old)?;
            self.client.has_written(named, master).then_some(())
        });
        written.ok_or("the client does not write to the new master")?;
        Ok(took)
    }

    /// Stops the process of a server: it keeps its connections and does not reply.
    pub fn stop_server(&mut self, machine: usize) -> Result {
        self.stopped.insert(machine);
        self.deployment.servers[machine].signal(Signal::STOP)
    }

    /// Undoes all faults.
    pub fn heal(&mut self) -> Result {
        for machine in std::mem::take(&mut self.stopped) {
            self.deployment.servers[machine].signal(Signal::CONT)?;
        }
        self.network.heal_all()
    }
}
