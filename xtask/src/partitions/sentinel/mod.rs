//! Sentinels and servers on machines whose network fails.
//!
//! Each of three machines has a server and a Sentinel; a client on a fourth one asks the Sentinels for the master and
//! writes, and so does one beside each Sentinel, which asks only that one. After healing all must agree again: one
//! master, which all Sentinels name, and which all other servers follow. `observer.rs` says what must always hold.

pub mod deployment;
mod lab;
mod observer;
pub mod route;
mod scenarios;

use std::time::Instant;

use russet_e2e::program::{self, Program};

use super::report::{self, Measured, Row};
use super::rounds::{self, Plan};
use crate::sh::Result;
use deployment::Programs;
use lab::Lab;
use scenarios::{SCENARIOS, Scenario};

const MEANING: &str = "failover: from the fault until a quorum names another master; outage: the client's longest time without\n\
    an acknowledged write; agreed: from healing until all agree. beside: clients beside a Sentinel, also those cut off with \
    the old master.";

/// Programs with the names that the table shows.
struct Side {
    servers: &'static str,
    sentinels: &'static str,
    programs: Programs,
}

/// Runs what the plan asks for, with these Sentinels, and prints it.
pub fn run(plan: &Plan, sentinels: Option<&str>) -> Result<Vec<Row>> {
    let sides = match (plan.servers, sentinels) {
        (None, None) => vec![side("ours", "ours")?, side("stock", "stock")?],
        (servers, sentinels) => vec![side(servers.unwrap_or("ours"), sentinels.unwrap_or("ours"))?],
    };
    let chosen = plan.choose(SCENARIOS, |scenario| scenario.name)?;
    let pairs = |scenario| sides.iter().map(move |side| (scenario, side));
    let cases: Vec<(&Scenario, &Side)> = chosen.into_iter().flat_map(pairs).collect();
    let row = |(scenario, side): &(&Scenario, &Side)| {
        Row::new(vec![
            ("scenario", scenario.name.into()),
            ("servers", side.servers.into()),
            ("Sentinels", side.sentinels.into()),
        ])
    };
    let mut rows: Vec<Row> = cases.iter().map(row).collect();
    rounds::fill_all(&mut rows, plan.jobs, |index, row| {
        let (scenario, side) = cases[index];
        eprintln!("{}: {}", row.name(), scenario.about);
        let start = || Lab::start(&side.programs);
        rounds::run(row, plan.rounds, start, |lab, number| run_round(scenario, lab, number));
    });
    report::print(&rows, MEANING);
    Ok(rows)
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

fn run_round(scenario: &Scenario, lab: &mut Lab, number: usize) -> Result<Measured> {
    let master = lab.settle()?;
    let outcome = scenario.run(lab, number, master)?;
    lab.heal()?;
    let healed = Instant::now();
    let agreed = lab.agree().map(|_| healed.elapsed())?;
    let last = lab.settle()?;
    let mut connection = lab.deployment.servers[last].endpoint.connect()?;
    let (acknowledged, lost) = lab.client.take(&mut connection)?;
    let mut local = [0; 2];
    for writer in &mut lab.locals {
        let (acknowledged, lost) = writer.take(&mut connection)?;
        local = [local[0] + acknowledged.len(), local[1] + lost];
    }
    Ok(Measured {
        failover: outcome.failover,
        reaction: outcome.reaction,
        agreed,
        outage: report::longest_gap(&acknowledged),
        client: [acknowledged.len(), lost],
        local,
        ..Measured::default()
    })
}
