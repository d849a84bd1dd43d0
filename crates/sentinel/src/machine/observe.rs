//! What the machine believes, for those who judge it: the simulator and tests. Nothing in here changes anything.

use super::Sentinel;
use crate::address::Shown;

/// What it believes of a master.
#[derive(Clone, Copy, Debug)]
pub struct Belief<'a> {
    /// The master's name.
    pub name: &'a str,
    /// Where it tells others that the master is.
    pub host: Shown<'a>,
    /// The port there.
    pub port: u16,
    /// Epoch of this configuration.
    pub config_epoch: u64,
    /// Greatest epoch in which it voted.
    pub leader_epoch: u64,
    /// How many other Sentinels must agree that it is down, itself included.
    pub quorum: usize,
    /// How many Sentinels it knows, itself included.
    pub sentinels: usize,
    /// How many replicas it knows.
    pub replicas: usize,
    /// Whether it finds the master subjectively down.
    pub is_down: bool,
    /// Epoch and phase of its failover.
    pub failover: Option<(u64, &'static str)>,
}

impl Sentinel {
    /// Returns what it believes of each master.
    pub fn beliefs(&self) -> impl ExactSizeIterator<Item = Belief<'_>> {
        self.masters.values().map(|master| {
            let (address, settings) = (master.current_address(), &master.settings);
            Belief {
                name: &settings.name,
                host: address.as_shown(&self.cx.globals),
                port: address.port,
                config_epoch: settings.config_epoch,
                leader_epoch: settings.leader_epoch,
                quorum: settings.quorum as usize,
                sentinels: master.voters_len(),
                replicas: master.replicas.len(),
                is_down: master.server.is_down(),
                failover: master.failover.as_ref().map(|it| (it.epoch, it.phase.name())),
            }
        })
    }

    /// Returns the greatest epoch that it has seen.
    pub fn epoch(&self) -> u64 {
        self.cx.epoch
    }
}
