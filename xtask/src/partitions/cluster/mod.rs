//! A cluster on machines whose network fails.
//!
//! Each of six machines has a node: three masters, and a replica of each. Clients on a seventh one write to each master's
//! slots, and so does a client beside each node, which asks that node first. After healing all must agree again: all
//! nodes have the same view, in which all serve and are connected, and so are all replicas.
//!
//! It is measured for how long two nodes execute writes of the same slots. Ours promise that this never happens
//! (`crates/cluster/src/machine/standing.rs` says with which exceptions, of which none is among the scenarios).

pub mod deployment;
mod lab;
mod observer;
pub mod route;
mod scenarios;

use russet_e2e::program::{self, Program};

use super::report::{self, Row};
use super::rounds::{self, Plan};
use crate::sh::Result;
use deployment::COUNT;
use lab::Lab;
use scenarios::{SCENARIOS, Scenario};

const MEANING: &str = "failover: from the fault until a client's write is acknowledged by another node; outage: the longest\n\
    time without an acknowledged write of clients of the master concerned, elsewhere: of the other masters' clients; both: how\n\
    long two nodes executed writes of the same slots; agreed: from healing until all agree. beside: clients beside a node, \
    also\nthose cut off with it.";

/// Programs with the name that the table shows.
struct Side {
    name: &'static str,
    programs: [Program; COUNT],
    /// Whether all of them are ours.
    is_ours: bool,
}

/// Runs what the plan asks for, and prints it.
pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let sides = match plan.servers {
        None => vec![side("ours")?, side("stock")?],
        Some(servers) => vec![side(servers)?],
    };
    let chosen = plan.choose(SCENARIOS, |scenario| scenario.name)?;
    let pairs = |scenario| sides.iter().map(move |side| (scenario, side));
    let cases: Vec<(&Scenario, &Side)> = chosen.into_iter().flat_map(pairs).collect();
    let row = |(scenario, side): &(&Scenario, &Side)| {
        Row::new(vec![("scenario", scenario.name.into()), ("nodes", side.name.into())])
    };
    let mut rows: Vec<Row> = cases.iter().map(row).collect();
    rounds::fill_all(&mut rows, plan.jobs, |index, row| {
        let (scenario, side) = cases[index];
        eprintln!("{}: {}", row.name(), scenario.about);
        let start = || Lab::start(&side.programs, side.is_ours);
        rounds::run(row, plan.rounds, start, |lab, number| scenario.run(lab, number));
    });
    report::print(&rows, MEANING);
    Ok(rows)
}

fn side(name: &str) -> Result<Side> {
    let ours = || Program::Other(program::russet().to_path_buf(), vec!["server".into()]);
    let mixed = |index: usize| if index.is_multiple_of(2) { ours() } else { Program::Stock };
    let (name, programs) = match name {
        "ours" => ("ours", std::array::from_fn(|_| ours())),
        "stock" => ("stock", std::array::from_fn(|_| Program::Stock)),
        "mixed" => ("mixed", std::array::from_fn(mixed)),
        other => return Err(format!("--servers is ours, stock or mixed, not {other}")),
    };
    Ok(Side { name, programs, is_ours: name == "ours" })
}
