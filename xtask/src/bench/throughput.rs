//! GET and SET, HGET and HSET over what exists: commands per second, and the server's CPU per command.

use std::time::{Duration, Instant};

use russet_e2e::Server;

use super::cpu::{self, CpuTime};
use super::load::{Generator, Keys, Kind, Load, populate};
use super::report::{Metric, Report};
use super::{Plan, Side};
use crate::sh::Result;

/// Keys that exist before anything is measured.
const KEYS: u64 = 1_000_000;

/// Hashes that exist before anything is measured, and fields of each: small ones, and a large one.
const HASHES: [(u64, u64, &str); 2] = [(100_000, 16, "16 fields"), (1, 100_000, "100k fields")];

/// Bytes of a value.
const VALUE_LEN: usize = 16;

const PIPELINES: [usize; 3] = [1, 16, 100];

/// As many as redis-benchmark opens.
const CONNECTIONS: usize = 50;

const RATE: Metric = metric("rate", "1/s");
const TOTAL: Metric = metric("cpu", "µs/command");
const USER: Metric = metric("user", "µs/command");
const SYSTEM: Metric = metric("system", "µs/command");

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { group: "throughput", name, unit }
}

/// Measures strings on every side, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let servers = populated(plan, Kind::Set, keys)?;
    for pipeline in PIPELINES {
        for (kind, name) in [(Kind::Get, "GET"), (Kind::Set, "SET")] {
            measure_case(plan, report, &servers, (name, kind, keys, pipeline))?;
        }
    }
    Ok(())
}

/// Does the same with hashes.
pub fn run_hashes(plan: &Plan, report: &mut Report) -> Result {
    for (hashes, fields, about) in HASHES {
        let all = hashes * fields;
        let servers = populated(plan, Kind::HSet { fields }, all)?;
        for pipeline in PIPELINES {
            for (kind, name) in [(Kind::HGet { fields }, "HGET"), (Kind::HSet { fields }, "HSET")] {
                let name = format!("{name}, {about}");
                measure_case(plan, report, &servers, (&name, kind, all, pipeline))?;
            }
        }
    }
    Ok(())
}

/// A server of each side that holds all keys, or fields.
fn populated(plan: &Plan, kind: Kind, keys: u64) -> Result<Vec<Server>> {
    let start = |side: &Side| {
        let server = side.start(&[])?;
        populate(server.address(), kind, 0, keys, VALUE_LEN)?;
        Ok(server)
    };
    plan.sides.iter().map(start).collect()
}

fn measure_case(
    plan: &Plan,
    report: &mut Report,
    servers: &[Server],
    (name, kind, keys, pipeline): (&str, Kind, u64, usize),
) -> Result {
    let case = format!("{name}, pipeline {pipeline}");
    eprintln!("  {case}");
    let keys = Keys::Random(keys);
    let load = Load { kind, keys, value_len: VALUE_LEN, pipeline, connections: CONNECTIONS };
    for round in 0..plan.rounds {
        for side in plan.order(round) {
            let round = measure(&servers[side], load, plan)?;
            let commands = round.commands as f64;
            report.add(RATE, &case, side, commands / round.elapsed.as_secs_f64());
            report.add(TOTAL, &case, side, round.cpu.total() * 1e6 / commands);
            report.add(USER, &case, side, round.cpu.user() * 1e6 / commands);
            report.add(SYSTEM, &case, side, round.cpu.system() * 1e6 / commands);
        }
    }
    Ok(())
}

/// What one round gave.
pub struct Round {
    /// Commands that were answered.
    pub commands: u64,
    /// In what time.
    pub elapsed: Duration,
    /// The server's, all its threads.
    pub cpu: CpuTime,
    /// That of processes which it has forked, in seconds.
    pub children: f64,
}

/// How long to measure: until the server has used so much CPU, or so much time has passed.
pub struct Span {
    /// In seconds, and does not count: connections are new.
    pub warm_up: f64,
    /// In seconds.
    pub cpu_min: f64,
    /// In seconds.
    pub time_max: f64,
}

/// Sends the load until the server has used enough CPU. The first part, in which connections are new, does not count.
fn measure(server: &Server, load: Load, plan: &Plan) -> Result<Round> {
    let (warm_up, cpu_min) = if plan.quick { (0.1, 0.3) } else { (0.3, 2.0) };
    measure_for(server, load, &Span { warm_up, cpu_min, time_max: 30.0 })
}

/// Does the same for a given time.
pub fn measure_for(server: &Server, load: Load, span: &Span) -> Result<Round> {
    let pid = server.pid();
    let mut generator = Generator::new(server.address(), load)?;
    let start = Instant::now();
    let mut next_look = Duration::from_secs_f64(span.warm_up);
    let mut begin: Option<(Instant, CpuTime, f64, u64)> = None;
    let (cpu, children) = (CpuTime::default(), 0.0);
    let mut round = Round { commands: 0, elapsed: Duration::ZERO, cpu, children };
    generator.run_until(|commands| {
        if start.elapsed() < next_look {
            return Ok(false);
        }
        next_look = start.elapsed() + Duration::from_millis(20);
        let (now, cpu, children) = (Instant::now(), CpuTime::of(pid)?, cpu::children_seconds(pid)?);
        let Some((since, cpu_then, children_then, commands_then)) = begin else {
            begin = Some((now, cpu, children, commands));
            return Ok(false);
        };
        round.commands = commands - commands_then;
        round.elapsed = now - since;
        round.cpu = cpu.since(cpu_then);
        round.children = children - children_then;
        Ok(round.cpu.total() >= span.cpu_min || round.elapsed.as_secs_f64() > span.time_max)
    })?;
    Ok(round)
}
