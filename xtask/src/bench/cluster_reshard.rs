//! Resharding under load: two thousand slots of small keys go from one master to another with stock `redis-cli --cluster
//! reshard`, and in the next round back, while clients write and read all keys at a fixed rate.
//!
//! Three masters without replicas, the tool and the clients share both cores: with all masters on one core it is measured how
//! long a thread that syncs `nodes.conf` waits for the other masters, which on machines of their own it does not. Latencies
//! are shown beside those of the same clients without resharding.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::program::stock;
use russet_e2e::{Server, Value};

use super::cluster_client::{Clients, populate};
use super::cluster_masters::{self, SLOTS};
use super::cpu::{self, CpuTime, Place};
use super::open_loop;
use super::report::{Metric, Report};
use super::{Plan, Side};
use crate::sh::Result;

const GROUP: &str = "cluster-reshard";

/// Keys over all slots, so many that a slot has sixty.
const KEYS: u64 = 1_000_000;

/// Slots that move.
const MOVED: u16 = 2_000;

/// Requests of the clients per second.
const RATE: f64 = 5_000.0;

const MASTERS: u16 = 3;

/// How long the clients run without resharding.
const QUIET: Duration = Duration::from_secs(5);

const SPEED: Metric = Metric { group: GROUP, name: "moved", unit: "keys/s" };
const CPU: Metric = Metric { group: GROUP, name: "cpu of masters", unit: "µs/key moved" };
const REDIRECTED: Metric = Metric { group: GROUP, name: "redirections", unit: "per second" };

/// Alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let start = |side: &Side| {
        let masters = cluster_masters::start(side, Place::Both, MASTERS)?;
        populate(&masters, keys)?;
        Ok(masters)
    };
    let clusters = plan.sides.iter().map(start).collect::<Result<Vec<_>>>()?;
    cpu::at(Place::Both, || rounds(plan, report, &clusters, keys))?
}

fn rounds(plan: &Plan, report: &mut Report, clusters: &[Vec<Server>], keys: u64) -> Result {
    for round in 0..plan.rounds {
        for side in plan.order(round) {
            let masters = &clusters[side];
            let begin = Instant::now();
            let mut quiet = Clients::new(masters)?.run(keys, RATE, &|| begin.elapsed() < QUIET)?;
            let case = format!("{RATE}/s, no resharding");
            open_loop::note(report, GROUP, &case, side, &mut quiet.all);
            let (from, to) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
            measure(plan, report, side, masters, (from, to), keys)
                .map_err(|e| format!("{}: {e}", plan.sides[side].name))?;
        }
    }
    Ok(())
}

fn measure(
    plan: &Plan,
    report: &mut Report,
    side: usize,
    masters: &[Server],
    (from, to): (usize, usize),
    keys: u64,
) -> Result {
    let clients = Clients::new(masters)?;
    let (keys_before, cpu_before) = (size(&masters[to]), cpu_of(masters)?);
    let is_over = AtomicBool::new(false);
    let (elapsed, latencies) = std::thread::scope(|scope| {
        let moving = scope.spawn(|| {
            let begin = Instant::now();
            let moved = reshard(&masters[from], &masters[to]);
            let elapsed = begin.elapsed();
            is_over.store(true, Ordering::Relaxed);
            moved.map(|()| elapsed)
        });
        let latencies = clients.run(keys, RATE, &|| !is_over.load(Ordering::Relaxed));
        let elapsed = moving.join().map_err(|_| "a thread panicked".to_owned())??;
        Ok::<_, String>((elapsed, latencies?))
    })?;
    let moved = size(&masters[to]) - keys_before;
    let cpu = cpu_of(masters)? - cpu_before;
    let seconds = elapsed.as_secs_f64();
    let name = &plan.sides[side].name;
    eprintln!("  {name}: {moved} keys in {seconds:.1} s");
    if size(&masters[0]) + size(&masters[1]) + size(&masters[2]) != keys {
        return Err("keys were lost".into());
    }
    let case = format!("{RATE}/s, {MOVED} slots move");
    report.add(SPEED, &case, side, moved as f64 / seconds);
    report.add(CPU, &case, side, cpu * 1e6 / moved.max(1) as f64);
    let mut latencies = latencies;
    open_loop::note(report, GROUP, &case, side, &mut latencies.all);
    report.add(REDIRECTED, &case, side, latencies.redirections as f64 / seconds);
    Ok(())
}

fn size(master: &Server) -> u64 {
    match master.client().run("DBSIZE") {
        Value::Int(size) => size.try_into().unwrap_or_default(),
        _ => 0,
    }
}

/// What all masters have used, in seconds.
fn cpu_of(masters: &[Server]) -> Result<f64> {
    masters.iter().map(|master| CpuTime::of(master.pid()).map(CpuTime::total)).sum()
}

fn reshard(from: &Server, to: &Server) -> Result {
    let [from_id, to_id] = [from, to].map(|master| master.client().run("CLUSTER MYID").text());
    let mut command = Command::new(stock("redis-cli"));
    command.args(["--cluster", "reshard", &from.address().to_string()]);
    command.args(["--cluster-from", &from_id, "--cluster-to", &to_id, "--cluster-yes"]);
    command.args(["--cluster-slots", &MOVED.min(SLOTS / MASTERS).to_string()]);
    let output = command.stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && !text.contains("[ERR]") {
        return Ok(());
    }
    let lines: Vec<&str> = text.lines().collect();
    Err(format!("reshard failed: {}", lines[lines.len().saturating_sub(5)..].join("\n")))
}
