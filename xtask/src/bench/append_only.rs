//! What an append-only file costs those who write: SET of keys that exist, by `appendfsync`, also while the
//! file is rewritten.
//!
//! **One core for all that a server does.** Its event loop, the thread that writes and syncs (a bio thread of
//! stock) and the child that stock forks to rewrite share core 0. So what they take from one another shows in
//! the rate, their CPU times can be added, and no thread warms up or disturbs the core of the load. With
//! `always`, whether two threads that hand over to one another are better off with two cores depends on the
//! disk and is measured both ways. With both cores the server is also where the generator runs; so the figure
//! on one core is the one to compare, and the other one shows what that hides.
//!
//! **A rewrite** is begun as soon as the last one has ended, which is seen within 20 ms, so that it covers
//! nearly all of the time that is measured; how much of it is a figure. Ours is done by the process itself.
//! Stock's is done by a child, whose CPU time is given apart, together with the sum: `cpu` is what the server
//! process used, `cpu with child` is what the machine had to spend. Who rewrites faster rewrites more often,
//! which these figures count against it; `cpu of a rewrite` does not: what was used beyond the same load with
//! `everysec`, by the rewrites that fit into the time.
//!
//! What a setting costs is the ratio to the same load without a file, on the same side in the same round. The
//! disk is that of the temporary folder, and what a sync costs there stands under the table; before each
//! measurement the system writes what earlier ones left. Automatic rewrites are off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::server::info;
use russet_e2e::{Server, Value};

use super::Plan;
use super::cpu::{self, Place};
use super::disk;
use super::load::{Keys, Kind, Load, populate};
use super::report::{Metric, Report};
use super::throughput::{Round, Span, measure_for};
use crate::sh::Result;

/// Keys that exist, so many that a rewrite takes a second.
const KEYS: u64 = 2_000_000;

const VALUE_LEN: usize = 16;

const CONNECTIONS: usize = 50;

const GROUP: &str = "append-only";

/// What servers are started with.
pub const NO_FILE: &[&str] = &["appendonly no"];
const EVERY_SECOND: &[&str] =
    &["appendonly yes", "appendfsync everysec", "auto-aof-rewrite-percentage 0"];
pub const ALWAYS: &[&str] =
    &["appendonly yes", "appendfsync always", "auto-aof-rewrite-percentage 0"];

/// In the order of [`Setting`].
const SETTINGS: [&[&str]; 3] = [NO_FILE, EVERY_SECOND, ALWAYS];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    None,
    EverySecond,
    Always,
}

/// What is measured in each round. The first ones are what the others are compared with.
const CASES: &[Case] = &[
    Case::new("no file, pipeline 1", Setting::None, 1),
    Case::new("no file, pipeline 16", Setting::None, 16),
    Case::new("everysec, pipeline 1", Setting::EverySecond, 1),
    Case::new("everysec, pipeline 16", Setting::EverySecond, 16),
    Case { rewriting: true, ..Case::new("everysec, rewrite, pipeline 1", Setting::EverySecond, 1) },
    Case {
        rewriting: true,
        ..Case::new("everysec, rewrite, pipeline 16", Setting::EverySecond, 16)
    },
    Case::new("always, pipeline 1", Setting::Always, 1),
    Case { place: Place::Both, ..Case::new("always, pipeline 1, both cores", Setting::Always, 1) },
];

struct Case {
    name: &'static str,
    setting: Setting,
    pipeline: usize,
    rewriting: bool,
    place: Place,
}

impl Case {
    const fn new(name: &'static str, setting: Setting, pipeline: usize) -> Case {
        Case { name, setting, pipeline, rewriting: false, place: Place::SERVER }
    }
}

const RATE: Metric = metric("rate", "1/s");
const CPU: Metric = metric("cpu", "µs/write");
const CPU_OF_NONE: Metric = metric("cpu, of no file", "×");
const CHILD: Metric = metric("child's cpu", "µs/write");
const WITH_CHILD: Metric = metric("cpu with child", "µs/write");
const WITH_CHILD_OF_NONE: Metric = metric("cpu with child, of no file", "×");
const REWRITE: Metric = metric("a rewrite", "s");
const REWRITE_CPU: Metric = metric("cpu of a rewrite", "s");
const COVERED: Metric = metric("time in rewrites", "%");

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { group: GROUP, name, unit }
}

/// Each case on each side, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    report.note(disk::about(GROUP)?);
    let keys = plan.scaled(KEYS);
    let mut servers = vec![];
    for side in &plan.sides {
        let start = |lines: &&[&str]| {
            let server = side.start(lines)?;
            populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
            Ok(server)
        };
        servers.push(SETTINGS.iter().map(start).collect::<Result<Vec<Server>>>()?);
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        let mut known = vec![];
        for case in CASES {
            for side in plan.order(round) {
                let server = &servers[side][case.setting as usize];
                eprintln!("    {}, {}", case.name, plan.sides[side].name);
                let measured = measure(plan, case, server)?;
                note(report, case, side, &measured, &known);
                known.push((case, side, measured.per_write(measured.round.cpu.total())));
            }
        }
    }
    Ok(())
}

/// CPU per write of what was measured in this round, in microseconds.
type Known = [(&'static Case, usize, f64)];

struct Measured {
    round: Round,
    rewrites: Option<Rewrites>,
}

impl Measured {
    fn per_write(&self, seconds: f64) -> f64 {
        seconds * 1e6 / self.round.commands as f64
    }
}

fn measure(plan: &Plan, case: &Case, server: &Server) -> Result<Measured> {
    let (kind, keys) = (Kind::Set, Keys::Random(plan.scaled(KEYS)));
    let (pipeline, connections) = (case.pipeline, CONNECTIONS);
    let load = Load { kind, keys, value_len: VALUE_LEN, pipeline, connections };
    // With `always` it is the disk that takes time, and it may take long until the server has used as much.
    let seconds = if plan.quick { 0.5 } else { 4.0 };
    let span = Span { warm_up: 0.3, cpu_min: seconds * 0.75, time_max: seconds };
    rustix::fs::sync();
    cpu::move_to(server.pid(), case.place)?;
    let measured = if case.rewriting {
        // A child competes for the core.
        let span = Span { time_max: seconds * 2.0, ..span };
        let (round, rewrites) = while_rewriting(server, || measure_for(server, load, &span))?;
        Measured { round, rewrites: Some(rewrites) }
    } else {
        Measured { round: measure_for(server, load, &span)?, rewrites: None }
    };
    cpu::move_to(server.pid(), Place::SERVER)?;
    Ok(measured)
}

fn note(report: &mut Report, case: &Case, side: usize, measured: &Measured, known: &Known) {
    let (round, name) = (&measured.round, case.name);
    let same_load = |setting| {
        let is_it = |(other, its_side, _): &&(&Case, usize, f64)| {
            (other.setting, other.pipeline, *its_side) == (setting, case.pipeline, side)
        };
        known.iter().find(is_it).map(|(_, _, cpu)| *cpu)
    };
    let cpu = measured.per_write(round.cpu.total());
    let rate = round.commands as f64 / round.elapsed.as_secs_f64();
    report.add(RATE, name, side, rate);
    report.add(CPU, name, side, cpu);
    let none = same_load(Setting::None);
    if let Some(none) = none {
        report.add(CPU_OF_NONE, name, side, cpu / none);
    }
    let Some(rewrites) = &measured.rewrites else { return };
    let with_child = measured.per_write(round.cpu.total() + round.children);
    report.add(CHILD, name, side, with_child - cpu);
    report.add(WITH_CHILD, name, side, with_child);
    if let Some(none) = none {
        report.add(WITH_CHILD_OF_NONE, name, side, with_child / none);
    }
    let took = rewrites.busy.as_secs_f64() / rewrites.count;
    let covered = rewrites.busy.as_secs_f64() / rewrites.all.as_secs_f64();
    report.add(REWRITE, name, side, took);
    report.add(COVERED, name, side, covered * 100.0);
    if let Some(without) = same_load(Setting::EverySecond) {
        // Beyond the same load: per second, then in the seconds of one rewrite.
        let beyond = (with_child - without) * rate / 1e6;
        report.add(REWRITE_CPU, name, side, beyond * took / covered);
    }
}

/// Rewrites, one after the other.
struct Rewrites {
    count: f64,
    /// Time in which one was running.
    busy: Duration,
    all: Duration,
}

/// Runs `work` while one rewrite follows another; the last one is waited for.
fn while_rewriting<T>(server: &Server, work: impl FnOnce() -> Result<T>) -> Result<(T, Rewrites)> {
    let over = AtomicBool::new(false);
    let (result, rewrites) = std::thread::scope(|scope| {
        let rewriter = scope.spawn(|| rewrite_until(server, &over));
        let result = work();
        over.store(true, Ordering::Relaxed);
        (result, rewriter.join())
    });
    let rewrites = rewrites.map_err(|_| "the thread that rewrites has panicked")?;
    Ok((result?, rewrites?))
}

fn rewrite_until(server: &Server, over: &AtomicBool) -> Result<Rewrites> {
    let mut client = server.client();
    let start = Instant::now();
    let mut rewrites = Rewrites { count: 0.0, busy: Duration::ZERO, all: Duration::ZERO };
    while !over.load(Ordering::Relaxed) {
        let reply = client.run("BGREWRITEAOF");
        let Value::Status(_) = reply else {
            return Err(format!("BGREWRITEAOF did not begin: {reply:?}"));
        };
        let begun = Instant::now();
        let fields = loop {
            let fields = info(&mut client, "persistence");
            let (running, scheduled) =
                (&fields["aof_rewrite_in_progress"], &fields["aof_rewrite_scheduled"]);
            if running == "0" && scheduled == "0" {
                break fields;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        if fields["aof_last_bgrewrite_status"] != "ok" {
            return Err(format!("a rewrite failed; the server's log:\n{}", server.log()));
        }
        rewrites.count += 1.0;
        rewrites.busy += begun.elapsed();
    }
    rewrites.all = start.elapsed();
    Ok(rewrites)
}
