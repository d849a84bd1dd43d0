//! SAVE, and loading at start: keys per second.

use std::time::Instant;

use super::Plan;
use super::cpu::{self, CpuTime};
use super::load::{Kind, populate};
use super::report::{Metric, Report};
use crate::sh::Result;

/// Keys in the file, 16 bytes with values of 16 bytes.
const KEYS: u64 = 3_000_000;

const RATE: Metric = Metric { group: "persistence", name: "rate", unit: "keys/s" };
const CPU: Metric = Metric { group: "persistence", name: "cpu", unit: "µs/key" };

/// Saves and loads the same keys on each side, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let mut servers = vec![];
    for side in &plan.sides {
        let server = side.start(&[])?;
        populate(server.address(), Kind::Set, 0, keys, 16)?;
        servers.push(server);
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let server = &mut servers[side];
            let before = CpuTime::of(server.pid())?;
            let start = Instant::now();
            server.client().ok("SAVE");
            let (took, cpu) = (start.elapsed(), CpuTime::of(server.pid())?.since(before));
            report.add(RATE, "SAVE", side, keys as f64 / took.as_secs_f64());
            report.add(CPU, "SAVE", side, cpu.total() * 1e6 / keys as f64);

            server.kill();
            let start = Instant::now();
            cpu::at(cpu::Place::SERVER, || server.start_again())?;
            let (took, cpu) = (start.elapsed(), CpuTime::of(server.pid())?);
            let found = server.client().run("DBSIZE").int();
            if u64::try_from(found) != Ok(keys) {
                return Err(format!("{found} keys after loading, not {keys}"));
            }
            report.add(RATE, "start and load", side, keys as f64 / took.as_secs_f64());
            report.add(CPU, "start and load", side, cpu.total() * 1e6 / keys as f64);
        }
    }
    Ok(())
}
