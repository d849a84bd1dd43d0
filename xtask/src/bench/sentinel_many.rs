//! One Sentinel that watches 500 masters with two replicas each, which `sentinel_peers.rs` simulates: its CPU time and its
//! memory when it knows them all and nothing happens.

use std::fs;
use std::time::{Duration, Instant};

use russet_e2e::server::{Folder, free_port};
use russet_e2e::{Program, Value};

use super::cpu::{self, CpuTime, Place};
use super::report::{Metric, Report};
use super::sentinel::{GROUP, fail, sentinel_of};
use super::sentinel_peers::{Peers, REPLICAS, address_of};
use super::{Plan, Side};
use crate::partitions::network::Site;
use crate::partitions::process::{Endpoint, Process};
use crate::sh::Result;

/// Masters.
const MASTERS: usize = 500;

/// How long CPU time is measured, in seconds.
const SECONDS: u64 = 60;

/// More rounds than this do not say more.
const ROUNDS_MAX: usize = 3;

/// How long it may take until the Sentinel knows everybody.
const FIND_MAX: Duration = Duration::from_secs(300);

const CASE: &str = "500 masters, 1000 replicas";
const FIND: Metric = Metric { group: GROUP, name: "all known", unit: "s" };
const CPU: Metric = Metric { group: GROUP, name: "cpu", unit: "% of a core" };
const MEMORY: Metric = Metric { group: GROUP, name: "resident memory", unit: "MB" };

/// All rounds of each side.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let peers = Peers::start(MASTERS)?;
    let seconds = if plan.quick { SECONDS / 6 } else { SECONDS };
    for round in 0..plan.rounds.min(ROUNDS_MAX) {
        for side in plan.order(round) {
            let name = &plan.sides[side].name;
            match measure(&plan.sides[side], peers.port(), Duration::from_secs(seconds)) {
                Ok(need) => {
                    eprintln!("  {CASE}, {name}: {:.1} %, {:.1} MB", need.cpu, need.bytes / 1e6);
                    report.add(FIND, CASE, side, need.find);
                    report.add(CPU, CASE, side, need.cpu);
                    report.add(MEMORY, CASE, side, need.bytes / 1e6);
                }
                Err(error) => fail(report, &format!("{name}, {CASE}: {error}")),
            }
        }
    }
    Ok(())
}

/// What a Sentinel needs.
struct Need {
    /// From its start until it knows everybody, in seconds.
    find: f64,
    /// Of a core, in percent.
    cpu: f64,
    /// Resident.
    bytes: f64,
}

fn measure(side: &Side, peers: u16, span: Duration) -> Result<Need> {
    let folder = Folder::new();
    let begin = Instant::now();
    let sentinel = start(&sentinel_of(side)?, &folder, peers)?;
    wait_until_all_are_known(&sentinel)?;
    let find = begin.elapsed().as_secs_f64();
    let (start, before) = (Instant::now(), CpuTime::of(sentinel.pid()?)?);
    std::thread::sleep(span);
    let used = CpuTime::of(sentinel.pid()?)?.since(before).total();
    let cpu = 100.0 * used / start.elapsed().as_secs_f64();
    let bytes = russet_e2e::process::resident_bytes(sentinel.pid()?) as f64;
    // It has not lost anybody meanwhile.
    match known(&sentinel)? {
        (MASTERS, MASTERS) => Ok(Need { find, cpu, bytes }),
        (known, ok) => Err(format!("at the end it knew {known} masters, of which {ok} were ok")),
    }
}

fn start(program: &Program, folder: &Folder, peers: u16) -> Result<Process> {
    let port = free_port();
    let folder = folder.path();
    let mut conf = format!("port {port}\nbind 127.0.0.1\ndir \"{}\"\n", folder.display());
    for master in 0..MASTERS {
        let name = format!("master{master}");
        let address = address_of(master, 0);
        conf += &format!("sentinel monitor {name} {address} {peers} 2\n");
    }
    let file = folder.join("sentinel.conf");
    fs::write(&file, conf).map_err(|e| e.to_string())?;
    let mut process = Process::new(program, Endpoint::new(Site::here(), port), file);
    cpu::at(Place::SERVER, || process.start(&[]))??;
    Ok(process)
}

fn wait_until_all_are_known(sentinel: &Process) -> Result {
    let start = Instant::now();
    loop {
        // A stock Sentinel writes its file for each replica that it finds, and does not reply meanwhile.
        let state = known(sentinel);
        if matches!(state, Ok((_, MASTERS))) {
            return Ok(());
        }
        if start.elapsed() > FIND_MAX {
            return Err(format!("after {FIND_MAX:?} it knows (masters, ok): {state:?}"));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// The numbers of masters whose replicas are known, and of those of them that are up.
fn known(sentinel: &Process) -> Result<(usize, usize)> {
    let Value::Bulk(text) = sentinel.ask("INFO sentinel")? else { return Ok((0, 0)) };
    let text = String::from_utf8_lossy(&text).into_owned();
    let replicas = format!(",slaves={REPLICAS},");
    let rows = text.lines().filter(|l| l.starts_with("master") && l.contains(&replicas));
    let (mut known, mut ok) = (0, 0);
    for row in rows {
        known += 1;
        ok += usize::from(row.contains(",status=ok,"));
    }
    Ok((known, ok))
}
