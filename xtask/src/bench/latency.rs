//! Latency at a fixed rate, from an open loop (`open_loop.rs`).

use std::time::{Duration, Instant};

use super::Plan;
use super::load::{Kind, populate};
use super::open_loop::{self, Stream, VALUE_LEN};
use super::report::Report;
use super::turns::while_saving;
use crate::sh::Result;

/// Keys that exist.
const KEYS: u64 = 3_000_000;

/// Requests per second: well below what either server can do, so that there is no queue but for stalls.
const RATE: f64 = 20_000.0;

const CONNECTIONS: usize = 50;

const GROUP: &str = "latency";

/// SET of random keys that exist, undisturbed and while a snapshot is written.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let quiet_for = Duration::from_secs(if plan.quick { 1 } else { 5 });
    let streams = [Stream { kind: Kind::Set, keys, rate: RATE, connections: CONNECTIONS }];
    let mut servers = vec![];
    for side in &plan.sides {
        let server = side.start(&[])?;
        populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
        servers.push(server);
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let server = &servers[side];
            let load =
                |going: &dyn Fn() -> bool| open_loop::run(server.address(), &streams, None, going);
            let start = Instant::now();
            let mut latencies = load(&|| start.elapsed() < quiet_for)?;
            open_loop::note(report, GROUP, &format!("SET at {RATE}/s"), side, &mut latencies);
            let mut latencies = while_saving(server, |saving| load(saving))?;
            let case = format!("SET at {RATE}/s, BGSAVE");
            open_loop::note(report, GROUP, &case, side, &mut latencies);
        }
    }
    Ok(())
}
