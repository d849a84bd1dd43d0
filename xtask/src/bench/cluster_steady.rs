//! Whether a cluster that is busy stays as it is: three masters with a replica each, `cluster-node-timeout` 2000, on a
//! machine that clients keep at [`SHARE`] of its CPU. Nothing fails, so each failover, and each node that is said to have
//! failed, is a mistake.
//!
//! Clients send batches of writes to each master and pause in between; the pause is adjusted all the time so that the
//! machine is as busy as it should be. The sides run one after the other.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::client::encode;
use russet_e2e::{Client, Value};

use super::cpu::{self, Place};
use super::report::{Metric, Report};
use super::{Plan, Side};
use crate::partitions::cluster::deployment::{Deployment, MASTERS, within};
use crate::partitions::cluster::route::Nodes;
use crate::partitions::writer::Route;
use crate::sh::Result;

const GROUP: &str = "cluster-steady";

/// Share of the machine's CPU.
const SHARE: f64 = 0.9;

/// Writes of a batch.
const BATCH: u64 = 50;

/// Keys of a client.
const KEYS: u64 = 100_000;

/// Time between two looks at the nodes and at the CPU.
const LOOK: Duration = Duration::from_millis(250);

/// How long a reply may take until a client asks another node.
const REPLY_MAX: Duration = Duration::from_secs(5);

/// How long everything may take to come to rest.
const REST_MAX: Duration = Duration::from_secs(60);

const FAILOVERS: Metric = Metric { group: GROUP, name: "failovers", unit: "" };
const FAILED: Metric = Metric { group: GROUP, name: "nodes seen as failed", unit: "" };
const SUSPECTED: Metric = Metric { group: GROUP, name: "nodes seen as suspected", unit: "" };
const BUSY: Metric = Metric { group: GROUP, name: "cpu of the machine", unit: "%" };
const WRITES: Metric = Metric { group: GROUP, name: "acknowledged writes", unit: "1/s" };
const BATCH_MAX: Metric = Metric { group: GROUP, name: "longest batch", unit: "ms" };

/// All sides.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    for (index, side) in plan.sides.iter().enumerate() {
        eprintln!("  {}: {} minutes", side.name, plan.minutes);
        cpu::at(Place::Both, || measure(plan, report, index, side))??;
    }
    Ok(())
}

fn measure(plan: &Plan, report: &mut Report, index: usize, side: &Side) -> Result {
    let programs = std::array::from_fn(|_| side.program.clone());
    let deployment = Deployment::start(&programs, &[], "appendonly yes\n")?;
    within(REST_MAX, || deployment.agreed())?;
    let load = Load::default();
    let watched = std::thread::scope(|scope| {
        for shard in 0..MASTERS {
            let mut nodes = deployment.addresses();
            nodes.rotate_left(shard);
            let tag = deployment.key_in(shard, "load")?;
            let load = &load;
            scope.spawn(move || write_until_stopped(load, &tag, Nodes::new(nodes)));
        }
        let watched = watch(&deployment, &load, Duration::from_secs(plan.minutes * 60));
        load.stop.store(true, Ordering::Relaxed);
        watched
    })?;
    let case = format!("{} minutes", plan.minutes);
    let seconds = plan.minutes as f64 * 60.0;
    report.add(FAILOVERS, &case, index, f64::from(watched.failovers));
    report.add(FAILED, &case, index, f64::from(watched.failed));
    report.add(SUSPECTED, &case, index, f64::from(watched.suspected));
    report.add(BUSY, &case, index, watched.busy * 100.0);
    report.add(WRITES, &case, index, load.writes.load(Ordering::Relaxed) as f64 / seconds);
    report.add(BATCH_MAX, &case, index, load.batch_max_us.load(Ordering::Relaxed) as f64 / 1e3);
    Ok(())
}

/// What the clients and the watcher share.
#[derive(Default)]
struct Load {
    pause_us: AtomicU64,
    writes: AtomicU64,
    batch_max_us: AtomicU64,
    stop: AtomicBool,
}

/// Writes keys with this tag, all of which are in one slot.
fn write_until_stopped(load: &Load, tag: &str, mut nodes: Nodes) {
    let mut number = 0;
    while !load.stop.load(Ordering::Relaxed) {
        let client = nodes.server().map(|node| Client::connect_within(node.into(), REPLY_MAX));
        if let Some(Ok(mut client)) = client
            && let Ok(Some(refusal)) = write_to(load, tag, &mut client, &mut number)
        {
            nodes.refused(&refusal);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes until a node refuses, and returns its refusal; none when the client is to stop.
fn write_to(
    load: &Load,
    tag: &str,
    client: &mut Client,
    number: &mut u64,
) -> std::io::Result<Option<Value>> {
    while !load.stop.load(Ordering::Relaxed) {
        let start = Instant::now();
        let key = |number: u64| format!("{{{tag}}}:{}", number % KEYS);
        let batch =
            (*number..*number + BATCH).flat_map(|n| encode(&["SET", &key(n), "0123456789abcdef"]));
        client.send(&batch.collect::<Vec<u8>>())?;
        let mut refusal = None;
        for _ in 0..BATCH {
            let reply = client.read_reply()?;
            if reply.is_error() {
                refusal = Some(reply);
            }
        }
        if refusal.is_some() {
            return Ok(refusal);
        }
        *number += BATCH;
        load.writes.fetch_add(BATCH, Ordering::Relaxed);
        let took = start.elapsed().as_micros().try_into().unwrap_or(u64::MAX);
        load.batch_max_us.fetch_max(took, Ordering::Relaxed);
        std::thread::sleep(Duration::from_micros(load.pause_us.load(Ordering::Relaxed)));
    }
    Ok(None)
}

/// What happened meanwhile.
#[derive(Debug, Default)]
struct Watched {
    failovers: u32,
    failed: u32,
    suspected: u32,
    busy: f64,
}

/// Watches the nodes, and adjusts the load.
fn watch(deployment: &Deployment, load: &Load, length: Duration) -> Result<Watched> {
    let mut watched = Watched::default();
    let start = Instant::now();
    let first = Busy::now()?;
    let (mut before, mut pause_us) = (first, 1_000.0);
    let mut masters: BTreeMap<String, bool> = BTreeMap::new();
    // Who sees whom in what state.
    let mut states: BTreeMap<(usize, String), String> = BTreeMap::new();
    while start.elapsed() < length {
        load.pause_us.store(pause_us as u64, Ordering::Relaxed);
        std::thread::sleep(LOOK);
        let busy = Busy::now()?;
        let is_too_busy = busy.share_since(before) > SHARE;
        pause_us = f64::clamp(pause_us * if is_too_busy { 1.05 } else { 0.95 }, 1.0, 100_000.0);
        before = busy;
        for (viewer, node) in deployment.nodes.iter().enumerate() {
            for line in node.ask("CLUSTER NODES")?.text().lines() {
                let words: Vec<&str> = line.split(' ').collect();
                let [id, _, flags, ..] = words[..] else { continue };
                if flags.contains("myself") {
                    let is_master = flags.contains("master");
                    let was_master = masters.insert(id.to_owned(), is_master);
                    let took_over = is_master && was_master == Some(false);
                    watched.failovers += u32::from(took_over);
                }
                let state = flags.split(',').find(|flag| flag.starts_with("fail")).unwrap_or("");
                let was = states.insert((viewer, id.to_owned()), state.to_owned());
                let is_new = was.unwrap_or_default() != state;
                watched.failed += u32::from(is_new && state == "fail");
                watched.suspected += u32::from(is_new && state == "fail?");
            }
        }
    }
    watched.busy = Busy::now()?.share_since(first);
    Ok(watched)
}

/// Time of all cores, in ticks.
#[derive(Debug, Clone, Copy)]
struct Busy {
    busy: f64,
    all: f64,
}

impl Busy {
    fn now() -> Result<Busy> {
        let text = fs::read_to_string("/proc/stat").map_err(|e| format!("/proc/stat: {e}"))?;
        Busy::parse(&text).ok_or_else(|| "/proc/stat is not understood".to_owned())
    }

    /// From the first line: user, nice, system, idle, waiting for disks, and further ones.
    fn parse(text: &str) -> Option<Busy> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<f64> = line
            .split_whitespace()
            .take(8)
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()
            .ok()?;
        let all: f64 = ticks.iter().sum();
        let idle = ticks.get(3)? + ticks.get(4)?;
        Some(Busy { busy: all - idle, all })
    }

    fn share_since(self, earlier: Busy) -> f64 {
        (self.busy - earlier.busy) / (self.all - earlier.all).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_time_is_that_between_two_looks() {
        let one = Busy::parse("cpu  10 0 10 70 10 0 0 0 5 5\ncpu0 1").expect("it is a line");
        let other = Busy::parse("cpu  20 10 20 140 10 0 0 0 5 5\n").expect("it is a line");
        assert!((other.share_since(one) - 0.3).abs() < 1e-9);
    }
}
