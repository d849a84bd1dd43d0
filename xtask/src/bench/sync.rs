//! Full synchronisation: from REPLICAOF until the replica holds every key and its link is up.

use std::time::{Duration, Instant};

use russet_e2e::{Server, Value};

use super::cpu::{self, CpuTime};
use super::load::{Kind, populate};
use super::report::{Metric, Report};
use super::{Plan, Side};
use crate::sh::Result;

/// Keys that are sent, 16 bytes with values of 16 bytes.
const KEYS: u64 = 3_000_000;

/// How long it may take.
const TIME_MAX: Duration = Duration::from_secs(300);

const TIME: Metric = Metric { group: "full sync", name: "time", unit: "s" };
const MASTER_CPU: Metric = Metric { group: "full sync", name: "master's cpu", unit: "s" };
const REPLICA_CPU: Metric = Metric { group: "full sync", name: "replica's cpu", unit: "s" };

/// Each side as master (core 0) and replica (core 1) of its own kind, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let case = format!("{keys} keys");
    // A master waits five seconds for more replicas by default; that is not what is measured.
    let lines = ["repl-diskless-sync-delay 0"];
    let mut masters = vec![];
    for side in &plan.sides {
        let master = side.start(&lines)?;
        populate(master.address(), Kind::Set, 0, keys, 16)?;
        masters.push(master);
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let figures = measure(&plan.sides[side], &masters[side], keys, &lines)?;
            report.add(TIME, &case, side, figures.time.as_secs_f64());
            report.add(MASTER_CPU, &case, side, figures.master_cpu);
            report.add(REPLICA_CPU, &case, side, figures.replica_cpu);
        }
    }
    Ok(())
}

struct Figures {
    time: Duration,
    master_cpu: f64,
    replica_cpu: f64,
}

fn measure(side: &Side, master: &Server, keys: u64, lines: &[&str]) -> Result<Figures> {
    let replica = side.start_at(cpu::Place::Core(cpu::LOAD_CORE), lines)?;
    let before = CpuTime::of(master.pid())?;
    let children_before = cpu::children_seconds(master.pid())?;
    let start = Instant::now();
    replica.replicate(master);
    while !has_all(&replica, keys) {
        if start.elapsed() > TIME_MAX {
            return Err(format!("no full sync within {TIME_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let time = start.elapsed();
    // A stock master forks, and its child's time is counted when the child has ended, some moments later.
    while master.info_field("persistence", "rdb_bgsave_in_progress") == "1" {
        std::thread::sleep(Duration::from_millis(5));
    }
    let children = cpu::children_seconds(master.pid())? - children_before;
    let master_cpu = CpuTime::of(master.pid())?.since(before).total() + children;
    Ok(Figures { time, master_cpu, replica_cpu: CpuTime::of(replica.pid())?.total() })
}

fn has_all(replica: &Server, keys: u64) -> bool {
    let link = replica.info_field("replication", "master_link_status");
    // While it loads, DBSIZE is an error.
    link == "up" && replica.client().run("DBSIZE") == Value::Int(keys as i64)
}
