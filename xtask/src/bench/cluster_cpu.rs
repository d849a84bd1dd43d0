//! What cluster mode costs: CPU time per command of a node that has all slots, beside the same program alone, over keys that
//! exist. `redis-benchmark --cluster` against three masters as well.

use std::process::{Command, Stdio};

use russet_e2e::Server;
use russet_e2e::program::stock;

use super::cluster_masters;
use super::cpu::{CpuTime, Place};
use super::load::{Keys, Kind, Load, populate};
use super::report::{Metric, Report};
use super::throughput::{Span, measure_for};
use super::{Plan, Side};
use crate::sh::Result;

const GROUP: &str = "cluster-cpu";

/// Keys that exist before anything is measured.
const KEYS: u64 = 1_000_000;

const VALUE_LEN: usize = 16;

const PIPELINES: [usize; 3] = [1, 16, 100];

const KINDS: [(Kind, &str); 2] = [(Kind::Get, "GET"), (Kind::Set, "SET")];

const CONNECTIONS: usize = 50;

const MASTERS: u16 = 3;

const CPU: Metric = Metric { group: GROUP, name: "cpu", unit: "µs/command" };
const CPU_RATIO: Metric =
    Metric { group: GROUP, name: "cpu in cluster mode", unit: "× standalone" };
const RATE: Metric = Metric { group: GROUP, name: "rate", unit: "1/s" };

/// A server alone, and one in cluster mode.
struct Pair {
    alone: Server,
    node: Server,
}

/// All figures.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    cpu_time(plan, report)?;
    redis_benchmark(plan, report)
}

fn cpu_time(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let start = |side: &Side| {
        let alone = side.start(&[])?;
        let mut nodes = cluster_masters::start(side, Place::SERVER, 1)?;
        let node = nodes.remove(0);
        for server in [&alone, &node] {
            populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
        }
        Ok(Pair { alone, node })
    };
    let pairs = plan.sides.iter().map(start).collect::<Result<Vec<_>>>()?;
    for (kind, name) in KINDS {
        for pipeline in PIPELINES {
            let case = format!("{name}, pipeline {pipeline}");
            eprintln!("  {case}");
            let load = load(kind, keys, pipeline);
            for round in 0..plan.rounds {
                for side in plan.order(round) {
                    let Pair { alone, node } = &pairs[side];
                    // Each round begins with the other one.
                    let [alone, node] = if round % 2 == 0 {
                        [cpu_per_command(plan, alone, load)?, cpu_per_command(plan, node, load)?]
                    } else {
                        let node = cpu_per_command(plan, node, load)?;
                        [cpu_per_command(plan, alone, load)?, node]
                    };
                    report.add(CPU, &format!("{case}, standalone"), side, alone);
                    report.add(CPU, &format!("{case}, cluster"), side, node);
                    report.add(CPU_RATIO, &case, side, node / alone);
                }
            }
        }
    }
    Ok(())
}

fn load(kind: Kind, keys: u64, pipeline: usize) -> Load {
    let keys = Keys::Random(keys);
    Load { kind, keys, value_len: VALUE_LEN, pipeline, connections: CONNECTIONS }
}

fn cpu_per_command(plan: &Plan, server: &Server, load: Load) -> Result<f64> {
    let (warm_up, cpu_min) = if plan.quick { (0.1, 0.3) } else { (0.3, 1.5) };
    let round = measure_for(server, load, &Span { warm_up, cpu_min, time_max: 30.0 })?;
    Ok(round.cpu.total() * 1e6 / round.commands as f64)
}

/// Three masters, by the tool's own clients, which take a thread for each.
fn redis_benchmark(plan: &Plan, report: &mut Report) -> Result {
    let start = |side: &Side| cluster_masters::start(side, Place::SERVER, MASTERS);
    let clusters = plan.sides.iter().map(start).collect::<Result<Vec<_>>>()?;
    let commands = plan.scaled(1_000_000);
    for pipeline in ["1", "16"] {
        for round in 0..plan.rounds {
            for side in plan.order(round) {
                let masters = &clusters[side];
                for name in ["SET", "GET"] {
                    let case = format!("redis-benchmark {name}, pipeline {pipeline}");
                    let before = cpu_of(masters)?;
                    let rate = benchmark(&masters[0], name, pipeline, commands)?;
                    let cpu = cpu_of(masters)? - before;
                    report.add(RATE, &case, side, rate);
                    report.add(CPU, &case, side, cpu * 1e6 / commands as f64);
                }
            }
        }
    }
    Ok(())
}

fn cpu_of(masters: &[Server]) -> Result<f64> {
    masters.iter().map(|master| CpuTime::of(master.pid()).map(CpuTime::total)).sum()
}

/// Requests per second, as the tool says.
fn benchmark(server: &Server, name: &str, pipeline: &str, commands: u64) -> Result<f64> {
    let mut command = Command::new(stock("redis-benchmark"));
    command.args(["--cluster", "-p", &server.port().to_string(), "-t", name, "-P", pipeline]);
    command.args(["-n", &commands.to_string(), "-r", "1000000", "-d", "16", "--csv"]);
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("\"{name}\",\"")));
    let rate = line.and_then(|line| line.split('"').next()?.parse().ok());
    rate.ok_or_else(|| format!("redis-benchmark: {text}"))
}
