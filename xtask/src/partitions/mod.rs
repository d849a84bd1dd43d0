//! `cargo xtask partitions`: Sentinels and servers on machines whose network fails, ours and stock with the same script.
//!
//! Each of three machines (network namespaces, `network.rs`) has a server and a Sentinel; a client on a fourth one asks the
//! Sentinels for the master and writes, and so does one beside each Sentinel, which asks only that one. A round begins
//! with everything at rest, injects the fault of its scenario (`scenarios.rs`), heals it, and waits until all agree again
//! within a bound: one master, which all Sentinels name, and which all other servers follow.
//!
//! What must always hold is checked all the time (`observer.rs`). Acknowledged writes that the last master does not have are
//! counted and are no failure: replication is asynchronous, and clients beside an isolated master write to it until
//! it is a replica.

pub mod deployment;
mod lab;
pub mod network;
mod observer;
pub mod report;
mod scenarios;
pub mod writer;

use std::time::Instant;

use russet_e2e::program::{self, Program};

use crate::sh::{self, Result};
use deployment::Programs;
use lab::Lab;
use report::Row;
use scenarios::{SCENARIOS, Scenario};

/// Rounds of each scenario.
const ROUNDS: u64 = 20;

/// Deployments that may fail to start before a scenario is given up.
const STARTS_MAX: usize = 3;

/// Programs with the names that the table shows.
struct Side {
    servers: &'static str,
    sentinels: &'static str,
    programs: Programs,
}

/// Runs what the words ask for.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let rounds = words.number("--rounds")?.unwrap_or(ROUNDS);
    let rounds = usize::try_from(rounds.clamp(1, 10_000)).unwrap_or(1);
    let only = words.value("--only")?.map(|names| names.split(',').collect::<Vec<_>>());
    let (sentinels, servers) = (words.value("--sentinels")?, words.value("--servers")?);
    words.rest()?;
    let chosen = choose(only.as_deref())?;
    let sides = match (servers, sentinels) {
        (None, None) => vec![side("ours", "ours")?, side("stock", "stock")?],
        (servers, sentinels) => vec![side(servers.unwrap_or("ours"), sentinels.unwrap_or("ours"))?],
    };
    let mut rows = vec![];
    for scenario in chosen {
        for side in &sides {
            eprintln!(
                "{}, {} servers, {} Sentinels: {}",
                scenario.name, side.servers, side.sentinels, scenario.about
            );
            let mut row = Row::new(scenario.name, side.servers, side.sentinels);
            run_scenario(scenario, side, rounds, &mut row);
            rows.push(row);
        }
    }
    report::print(&rows);
    let failures: usize = rows.iter().map(Row::failures).sum();
    if failures == 0 { Ok(()) } else { Err(format!("{failures} failures and violations")) }
}

fn choose(only: Option<&[&str]>) -> Result<Vec<&'static Scenario>> {
    let Some(names) = only else { return Ok(SCENARIOS.iter().collect()) };
    let find = |name: &&str| SCENARIOS.iter().find(|scenario| scenario.name == *name);
    let unknown = |name: &str| {
        let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        format!("no scenario named {name}; there are {}", names.join(", "))
    };
    names.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}

fn side(servers: &str, sentinels: &str) -> Result<Side> {
    let (servers, server) = match servers {
        "ours" => ("ours", our_server()),
        "stock" => ("stock", Program::Stock),
        other => return Err(format!("--servers is ours or stock, not {other}")),
    };
    let (sentinels, programs) = match sentinels {
        "ours" => ("ours", [our_sentinel(), our_sentinel(), our_sentinel()]),
        "stock" => ("stock", [stock_sentinel(), stock_sentinel(), stock_sentinel()]),
        "mixed" => ("mixed", [our_sentinel(), our_sentinel(), stock_sentinel()]),
        other => return Err(format!("--sentinels is ours, stock or mixed, not {other}")),
    };
    Ok(Side { servers, sentinels, programs: Programs { server, sentinels: programs } })
}

fn our_server() -> Program {
    Program::Other(program::russet().to_path_buf(), vec!["server".into()])
}

fn our_sentinel() -> Program {
    Program::Other(program::russet().to_path_buf(), vec!["sentinel".into()])
}

fn stock_sentinel() -> Program {
    Program::Other(program::stock("redis-sentinel"), vec![])
}

/// Runs all rounds. After a failure the next round begins with a new deployment.
fn run_scenario(scenario: &Scenario, side: &Side, rounds: usize, row: &mut Row) {
    let mut lab = None;
    let mut starts = 0;
    for number in 0..rounds {
        if lab.is_none() && starts < STARTS_MAX {
            starts += 1;
            lab = Lab::start(&side.programs).map_err(|error| row.fail(number, &error)).ok();
        }
        let Some(running) = &mut lab else { continue };
        if let Err(error) = run_round(scenario, running, number, row) {
            row.fail(number, &error);
            eprintln!("{}", running.deployment.logs());
            row.violate(running.observer.violations());
            lab = None;
        }
    }
    if let Some(lab) = lab {
        row.violate(lab.observer.violations());
    }
}

fn run_round(scenario: &Scenario, lab: &mut Lab, number: usize, row: &mut Row) -> Result {
    let master = lab.settle()?;
    let outcome = scenario.run(lab, number, master)?;
    lab.heal()?;
    let healed = Instant::now();
    let agreed = lab.agree().map(|_| healed.elapsed())?;
    let last = lab.settle()?;
    let mut connection = lab.deployment.servers[last].endpoint.connect()?;
    let (acknowledged, lost) = lab.client.take(&mut connection)?;
    let (mut local, mut local_lost) = (0, 0);
    for writer in &mut lab.locals {
        let (acknowledged, lost) = writer.take(&mut connection)?;
        local += acknowledged.len();
        local_lost += lost;
    }
    let outage = report::longest_gap(&acknowledged);
    eprintln!(
        "  round {}: failover {:.1?}, agreed {agreed:.1?}, {} lost {lost}, beside {local} lost {local_lost}",
        number + 1,
        outcome.failover.unwrap_or_default(),
        acknowledged.len(),
    );
    row.add(&outcome, agreed, outage, [acknowledged.len(), lost], [local, local_lost]);
    Ok(())
}
