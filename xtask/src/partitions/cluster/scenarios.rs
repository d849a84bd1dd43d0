//! The faults: each row is one scenario, whose script injects a fault into a cluster at rest and returns when its
//! consequences are there. Healing and what must follow are the same for all, in `lab.rs`.

use std::time::{Duration, Instant};

use super::deployment::{MASTERS, Shard};
use super::lab::{BOUND, CLIENT, FAULT_MIN, Lab};
use crate::partitions::report::Measured;
use crate::sh::Result;

/// How long machines lose packets, if they lose nothing else.
const LOSS: Duration = Duration::from_secs(15);

/// Share of packets that are lost.
const LOST: &str = "iifname \"eth0\" numgen random mod 100 < 30 drop";

/// A scenario.
pub struct Scenario {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    script: fn(&mut Lab, &Round) -> Result<Option<Duration>>,
}

/// What a script needs to know.
struct Round {
    /// Its number from 0.
    number: usize,
    /// The shard whose master is concerned, another one in each round.
    shard: usize,
    shards: [Shard; MASTERS],
}

impl Round {
    /// The master that is concerned.
    fn master(&self) -> usize {
        self.shards[self.shard].master
    }

    /// A master that is not.
    fn other(&self) -> Shard {
        self.shards[(self.shard + 1) % MASTERS]
    }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "master-alone",
        about: "a master's machine is cut off, with the client beside it",
        script: master_alone,
    },
    Scenario {
        name: "minority",
        about: "a master and another one's replica are cut off together",
        script: minority,
    },
    Scenario {
        name: "minority-shard",
        about: "a master and its own replica are cut off together: nobody can take over",
        script: minority_shard,
    },
    Scenario {
        name: "one-way",
        about: "a master hears nobody, or nobody hears it, or it does not hear one other master",
        script: one_way,
    },
    Scenario {
        name: "flapping",
        about: "the link of a master's machine goes down and up ten times",
        script: flapping,
    },
    Scenario {
        name: "loss",
        about: "each machine loses 30 % of the packets that arrive; every other time a master is cut off, too",
        script: loss,
    },
];

impl Scenario {
    /// Runs one round.
    pub fn run(&self, lab: &mut Lab, number: usize) -> Result<Measured> {
        let shards = lab.settle()?;
        let round = Round { number, shard: number % MASTERS, shards };
        let failover = (self.script)(lab, &round)?;
        lab.finish(round.shard, failover)
    }
}

fn master_alone(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    let start = Instant::now();
    lab.network.cut(round.master())?;
    failed_over(lab, round, start)
}

fn minority(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    let start = Instant::now();
    lab.part(&[round.master(), round.other().replica])?;
    failed_over(lab, round, start)
}

fn minority_shard(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    let start = Instant::now();
    lab.part(&[round.master(), round.shards[round.shard].replica])?;
    Ok(stay(lab, round, start, FAULT_MIN))
}

/// There must be a failover, and the client must find the new master. The fault goes on for long enough to see whether the
/// old master stops.
fn failed_over(lab: &Lab, round: &Round, start: Instant) -> Result<Option<Duration>> {
    let took = lab.other_master(round.shard, round.master(), start, BOUND);
    took.ok_or("no failover")?;
    std::thread::sleep((start + FAULT_MIN).saturating_duration_since(Instant::now()));
    Ok(took)
}

/// The fault goes on for so long. Whether that is a reason for a failover is up to the nodes.
fn stay(lab: &Lab, round: &Round, start: Instant, bound: Duration) -> Option<Duration> {
    let took = lab.other_master(round.shard, round.master(), start, bound);
    std::thread::sleep((start + bound).saturating_duration_since(Instant::now()));
    took
}

fn one_way(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    let master = round.master();
    let from = |lab: &Lab, machine| format!("ip saddr {} drop", lab.network.site(machine).address);
    let start = Instant::now();
    match round.number / MASTERS % 3 {
        0 => {
            lab.network.filter(master, &["iifname \"eth0\" drop"])?;
            failed_over(lab, round, start)
        }
        1 => {
            let others = (0..=CLIENT).filter(|machine| *machine != master);
            let filters: Vec<_> = others.map(|other| (other, vec![from(lab, master)])).collect();
            lab.filter_at_once(&[master], &filters)?;
            failed_over(lab, round, start)
        }
        _ => {
            lab.network.filter(master, &[&from(lab, round.other().master)])?;
            Ok(stay(lab, round, start, FAULT_MIN))
        }
    }
}

/// Ten times down and up again, for times on both sides of the timeout, different in each round.
fn flapping(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (round.number as u64 + 1);
    let start = Instant::now();
    let mut failover = None;
    for flap in 0..20 {
        if flap % 2 == 0 {
            lab.network.cut(round.master())?;
        } else {
            lab.network.heal(round.master())?;
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let end = Instant::now() + Duration::from_millis(200 + random % 2_600);
        let bound = end.duration_since(start);
        failover = failover.or_else(|| lab.other_master(round.shard, round.master(), start, bound));
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
    }
    Ok(failover)
}

/// Lossy links, over which nobody is cut off, and over which a failover must still succeed.
fn loss(lab: &mut Lab, round: &Round) -> Result<Option<Duration>> {
    for machine in 0..=CLIENT {
        lab.network.filter(machine, &[LOST])?;
    }
    let start = Instant::now();
    if round.number.is_multiple_of(2) {
        return Ok(stay(lab, round, start, LOSS));
    }
    lab.network.cut(round.master())?;
    failed_over(lab, round, start)
}
