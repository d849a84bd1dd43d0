//! `cargo xtask partitions`: servers on machines whose network fails, ours and stock with the same script: with Sentinels
//! (`sentinel/`), or as a cluster (`cluster/`).
//!
//! Machines are network namespaces (`network.rs`). Clients on a machine of their own and clients beside the servers write
//! all the time and remember what was acknowledged (`writer.rs`). A round begins with everything at rest, injects the
//! fault of its scenario, heals it, and waits until all agree again within a bound.
//!
//! What must always hold is checked all the time. Acknowledged writes that the last master does not have are counted and
//! are no failure: replication is asynchronous, and clients beside an isolated master write to it until it stops or is
//! a replica.

pub mod cluster;
pub mod network;
pub mod process;
pub mod report;
mod rounds;
pub mod sentinel;
pub mod writer;

use crate::sh::{self, Result};
use rounds::Plan;

/// Rounds of each scenario.
const ROUNDS: u64 = 20;

/// Runs what the words ask for.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let is_cluster = words.flag("--cluster");
    let count = |number: Option<u64>, default: u64| {
        usize::try_from(number.unwrap_or(default).clamp(1, 10_000)).unwrap_or(1)
    };
    let plan = Plan {
        rounds: count(words.number("--rounds")?, ROUNDS),
        jobs: count(words.number("--jobs")?, 1),
        only: words.value("--only")?.map(|names| names.split(',').collect()),
        servers: words.value("--servers")?,
    };
    let sentinels = words.value("--sentinels")?;
    words.rest()?;
    let rows = match (is_cluster, sentinels) {
        (true, Some(_)) => return Err("a cluster has no --sentinels".into()),
        (true, None) => cluster::run(&plan)?,
        (false, _) => sentinel::run(&plan, sentinels)?,
    };
    let failures: usize = rows.iter().map(report::Row::failures).sum();
    if failures == 0 { Ok(()) } else { Err(format!("{failures} failures and violations")) }
}
