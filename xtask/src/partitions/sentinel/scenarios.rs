//! The faults: each row is one scenario, whose script injects a fault into a deployment at rest and returns when its
//! consequences are there. Healing and what must follow are the same for all, in `mod.rs`.

use std::time::{Duration, Instant};

use super::deployment::COUNT;
use super::lab::{BOUND, Lab};
use super::observer::Event;
use crate::sh::Result;

/// All Sentinels.
const ALL: [usize; COUNT] = [0, 1, 2];

/// What a script has seen.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the fault to the first moment when a quorum names another master.
    pub failover: Option<Duration>,
    /// From the event at which a leader is cut off until it is.
    pub reaction: Option<Duration>,
}

/// A scenario.
pub struct Scenario {
    /// Its name on the command line and in tables.
    pub name: &'static str,
    /// What happens.
    pub about: &'static str,
    /// The event of the leader at which it is cut off; none for other scenarios.
    cut_at: Option<&'static str>,
    script: fn(&mut Lab, &Round) -> Result<Outcome>,
}

/// What a script needs to know.
pub struct Round {
    /// Its number from 0; scripts may differ in odd rounds.
    pub number: usize,
    /// The machine of the master.
    pub master: usize,
    cut_at: &'static str,
}

impl Scenario {
    /// Runs one round.
    pub fn run(&self, lab: &mut Lab, number: usize, master: usize) -> Result<Outcome> {
        (self.script)(lab, &Round { number, master, cut_at: self.cut_at.unwrap_or_default() })
    }
}

const fn cut_leader(name: &'static str, event: &'static str, about: &'static str) -> Scenario {
    Scenario { name, about, cut_at: Some(event), script: leader_cut }
}

/// All scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "master-alone",
        about: "the master's port is blocked, also for the Sentinel beside it",
        cut_at: None,
        script: master_alone,
    },
    Scenario {
        name: "master-and-sentinel",
        about: "the master's machine is cut off, with one Sentinel and its clients",
        cut_at: None,
        script: master_and_sentinel,
    },
    cut_leader("leader-voted", "+vote-for-leader", "the candidate is cut off after its own vote"),
    cut_leader("leader-elected", "+elected-leader", "the leader is cut off when elected"),
    cut_leader("leader-selected", "+selected-slave", "… when it has chosen a replica"),
    cut_leader(
        "leader-promoting",
        "+failover-state-wait-promotion",
        "… when it has sent REPLICAOF NO ONE",
    ),
    cut_leader("leader-promoted", "+promoted-slave", "… when the replica is a master"),
    cut_leader("leader-repointing", "+slave-reconf-sent", "… when it has repointed a replica"),
    cut_leader("leader-switched", "+switch-master", "… when it names the new master"),
    Scenario {
        name: "flapping",
        about: "the link of the master's machine goes down and up ten times",
        cut_at: None,
        script: flapping,
    },
    Scenario {
        name: "loss",
        about: "each machine loses 30 % of the packets that arrive; then the master stops",
        cut_at: None,
        script: loss,
    },
];

/// Nobody reaches the server of the master's machine.
fn master_alone(lab: &mut Lab, round: &Round) -> Result<Outcome> {
    let address = lab.server(round.master);
    let to = format!("ip daddr {} tcp dport {} drop", address.ip(), address.port());
    let from = format!("ip saddr {} tcp sport {} drop", address.ip(), address.port());
    let start = Instant::now();
    lab.network.filter(round.master, &[&to, &from])?;
    failed_over(lab, round.master, start)
}

/// The master's machine is alone.
fn master_and_sentinel(lab: &mut Lab, round: &Round) -> Result<Outcome> {
    let start = Instant::now();
    lab.network.cut(round.master)?;
    failed_over(lab, round.master, start)
}

/// There must be a failover, and the client must find the new master.
fn failed_over(lab: &Lab, old: usize, start: Instant) -> Result<Outcome> {
    let failover = Some(lab.wait_for_failover(old, start, &ALL)?);
    Ok(Outcome { failover, reaction: None })
}

/// The master stops, and the Sentinel that publishes the event is cut off at that moment. In even rounds
/// the others then have the time to elect another leader; in odd ones the first returns as soon as they miss it.
fn leader_cut(lab: &mut Lab, round: &Round) -> Result<Outcome> {
    let mark = lab.observer.mark();
    let start = Instant::now();
    lab.stop_server(round.master)?;
    let found = lab.observer.wait_for(BOUND, |seen| {
        let events = &seen.events[mark..];
        let is_wanted = |event: &&Event| {
            event.channel == round.cut_at && is_of_leader(event, events, seen.id(event.sentinel))
        };
        events.iter().find(is_wanted).map(|event| (event.sentinel, event.at))
    });
    let (leader, at) = found.ok_or_else(|| format!("nobody published {}", round.cut_at))?;
    lab.network.cut(leader)?;
    let reaction = Some(at.elapsed());
    if round.number.is_multiple_of(2) {
        let others: Vec<usize> = ALL.into_iter().filter(|other| *other != leader).collect();
        let failover = Some(lab.wait_for_failover(round.master, start, &others)?);
        return Ok(Outcome { failover, reaction });
    }
    let address = lab.deployment.sentinels[leader].address();
    let address = format!(" {} {} ", address.ip(), address.port());
    let missed = lab.observer.wait_for(BOUND, |seen| {
        let is_it = |text: &str| text.starts_with("sentinel ") && text.contains(&address);
        let mut events = seen.events[mark..].iter();
        events.any(|event| event.channel == "+sdown" && is_it(&event.text)).then_some(())
    });
    missed.ok_or("the others do not miss the leader")?;
    Ok(Outcome { failover: None, reaction })
}

/// Whether the event is that of the leader or candidate itself, of which there are similar ones of others: their votes for
/// it, and the new master that they learn from it.
fn is_of_leader(event: &Event, events: &[Event], id: &str) -> bool {
    match event.channel.as_str() {
        "+vote-for-leader" => event.text.split(' ').next() == Some(id),
        "+switch-master" => {
            let is_election = |e: &Event| e.channel == "+elected-leader" && e.at <= event.at;
            events.iter().any(|e| e.sentinel == event.sentinel && is_election(e))
        }
        _ => true,
    }
}

/// Ten times down and up again, for times between a fifth of a second and one and a half, different in each
/// round. Whether that is a reason for a failover is up to the Sentinels.
fn flapping(lab: &mut Lab, round: &Round) -> Result<Outcome> {
    let mut random = 0x9e37_79b9_7f4a_7c15 ^ (round.number as u64 + 1);
    let start = Instant::now();
    let mut failover = None;
    for flap in 0..20 {
        if flap % 2 == 0 {
            lab.network.cut(round.master)?
        } else {
            lab.network.heal(round.master)?
        }
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let pause = Duration::from_millis(200 + random % 1300);
        match failover {
            None => {
                let named = lab.other_master(round.master, pause, &ALL);
                failover = named.map(|_| start.elapsed());
            }
            Some(_) => std::thread::sleep(pause),
        }
    }
    Ok(Outcome { failover, reaction: None })
}

/// Lossy links, over which a failover must still succeed.
fn loss(lab: &mut Lab, round: &Round) -> Result<Outcome> {
    for machine in 0..=COUNT {
        lab.network.filter(machine, &["iifname \"eth0\" numgen random mod 100 < 30 drop"])?;
    }
    let start = Instant::now();
    lab.stop_server(round.master)?;
    failed_over(lab, round.master, start)
}
