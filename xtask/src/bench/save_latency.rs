//! Whether anybody notices a BGSAVE: latency of writers at a fixed rate with and without one, its length, and
//! memory.
//!
//! **The rate** is 40 % of what the peer can do, measured first and in the same run: SET from as many clients
//! in a closed loop. Both sides get the same rate, from an open loop (`open_loop.rs`).
//!
//! **Cores.** The generator never sleeps and has core 1 for itself; the server and all that it starts (the
//! child of stock, our thread that writes) have core 0, of which the load leaves more than half. So latencies
//! on `one core` show how a server lives with its own save where nothing is free. With `both cores` the child
//! or thread is mostly where the generator is and takes time from it: those latencies contain the generator's
//! own delays, of either side, and are the bound from above for a machine with a core to spare, which two
//! cores cannot show. How long a save takes `when a core is free` is measured without a load and with both
//! cores: `idle`. It ends when INFO says so, which is asked each 50 ms, and which stock notices each 100 ms.
//!
//! **Memory** is measured in a save of its own on one core, under the same load, since looking costs time:
//! the largest sum of what server and child hold (`Pss`, each 50 ms, which counts a shared page once), or the
//! server's own peak (`VmHWM`) if that is more; divided by what the server held before the first save, at
//! rest.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::Server;

use super::Plan;
use super::cpu::{self, CpuTime, Place};
use super::load::{Keys, Kind, Load, populate};
use super::memory::settled_bytes;
use super::open_loop::{self, Stream, VALUE_LEN};
use super::report::{Metric, Report};
use super::throughput::{Span, measure_for};
use super::turns::while_saving;
use crate::sh::Result;

/// Keys that exist.
const KEYS: u64 = 5_000_000;

const CLIENTS: usize = 10;

/// The part of the peer's maximum that is sent.
const SHARE: f64 = 0.4;

const GROUP: &str = "save-latency";

const RATE: Metric = metric("rate", "1/s");
const OF_NO_SAVE: Metric = metric("99.9 %, of no save", "×");
const TIME: Metric = metric("a save", "s");
const CPU: Metric = metric("cpu of a save", "s");
const PEAK: Metric = metric("peak memory", "MB");
const OF_BEFORE: Metric = metric("peak memory, of before", "×");

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { group: GROUP, name, unit }
}

/// All figures of a side after one another, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let mut subjects = vec![];
    let mut rate = 0.0;
    for (index, side) in plan.sides.iter().enumerate() {
        let server = side.start(&[])?;
        populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
        let before = settled_bytes(server.pid(), Duration::from_secs(15));
        let maximum = maximum(plan, &server, keys)?;
        report.add(RATE, "SET, 10 clients, closed loop", index, maximum);
        // The last side is the peer, if there is one.
        rate = (maximum * SHARE / 100.0).round() * 100.0;
        subjects.push((server, before));
    }
    report.note(format!("save-latency: {CLIENTS} clients, {rate} SET/s of {keys} keys."));
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let (server, before) = &subjects[side];
            let stream = Stream { kind: Kind::Set, keys, rate, connections: CLIENTS };
            let subject = Subject { server, before: *before as f64, stream, side };
            for (place, about) in [(Place::SERVER, "one core"), (Place::Both, "both cores")] {
                cpu::move_to(server.pid(), place)?;
                subject.note_latency(plan, report, about)?;
            }
            subject.note_idle(report)?;
            cpu::move_to(server.pid(), Place::SERVER)?;
            subject.note_memory(report)?;
        }
    }
    Ok(())
}

/// Commands per second of a closed loop.
fn maximum(plan: &Plan, server: &Server, keys: u64) -> Result<f64> {
    let (kind, keys, value_len) = (Kind::Set, Keys::Random(keys), VALUE_LEN);
    let load = Load { kind, keys, value_len, pipeline: 1, connections: CLIENTS };
    let time_max = if plan.quick { 0.5 } else { 5.0 };
    let round = measure_for(server, load, &Span { warm_up: 0.3, cpu_min: time_max, time_max })?;
    Ok(round.commands as f64 / round.elapsed.as_secs_f64())
}

/// A server, and what is sent to it.
struct Subject<'a> {
    server: &'a Server,
    /// Resident bytes before the first save.
    before: f64,
    stream: Stream,
    side: usize,
}

impl Subject<'_> {
    fn load(&self, going: &dyn Fn() -> bool) -> Result<Vec<Duration>> {
        open_loop::run(self.server.address(), &[self.stream], None, going)
    }

    /// The same load without and with a save.
    fn note_latency(&self, plan: &Plan, report: &mut Report, about: &str) -> Result {
        let quiet_for = Duration::from_secs(if plan.quick { 1 } else { 5 });
        let start = Instant::now();
        let mut without = self.load(&|| start.elapsed() < quiet_for)?;
        let case = format!("no save, {about}");
        open_loop::note(report, GROUP, &case, self.side, &mut without);

        let start = Instant::now();
        let mut with = while_saving(self.server, |saving| self.load(saving))?;
        let case = format!("BGSAVE, {about}");
        report.add(TIME, &case, self.side, start.elapsed().as_secs_f64());
        open_loop::note(report, GROUP, &case, self.side, &mut with);
        let late = |latencies: &[Duration]| open_loop::at_share(latencies, 0.999);
        if let Some((with, without)) = late(&with).zip(late(&without)) {
            report.add(OF_NO_SAVE, &case, self.side, with / without);
        }
        Ok(())
    }

    /// A save without a load.
    fn note_idle(&self, report: &mut Report) -> Result {
        let pid = self.server.pid();
        let (cpu, children) = (CpuTime::of(pid)?, cpu::children_seconds(pid)?);
        let start = Instant::now();
        while_saving(self.server, |saving| {
            while saving() {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })?;
        let took = start.elapsed().as_secs_f64();
        let used = CpuTime::of(pid)?.since(cpu).total() + cpu::children_seconds(pid)? - children;
        report.add(TIME, "BGSAVE, idle, both cores", self.side, took);
        report.add(CPU, "BGSAVE, idle, both cores", self.side, used);
        Ok(())
    }

    /// A save under the load, while somebody looks at the memory.
    fn note_memory(&self, report: &mut Report) -> Result {
        let pid = self.server.pid();
        let path = format!("/proc/{pid}/clear_refs");
        // Begins a new peak.
        fs::write(&path, "5").map_err(|e| format!("{path}: {e}"))?;
        let over = AtomicBool::new(false);
        let sampled = std::thread::scope(|scope| {
            let sampler = scope.spawn(|| -> Result<u64> {
                let mut peak = 0;
                while !over.load(Ordering::Relaxed) {
                    peak = peak.max(held_bytes(pid)?);
                    std::thread::sleep(Duration::from_millis(50));
                }
                Ok(peak)
            });
            let result = while_saving(self.server, |saving| self.load(saving));
            over.store(true, Ordering::Relaxed);
            let sampled = sampler.join().map_err(|_| "the thread that looks has panicked")?;
            result.and(sampled)
        })?;
        let own_peak = kilobytes(&format!("/proc/{pid}/status"), "VmHWM:")? * 1024;
        let peak = sampled.max(own_peak) as f64;
        report.add(PEAK, "BGSAVE, memory", self.side, peak / 1e6);
        report.add(OF_BEFORE, "BGSAVE, memory", self.side, peak / self.before);
        Ok(())
    }
}

/// What a process and its children hold, each page counted once.
fn held_bytes(pid: u32) -> Result<u64> {
    let own = kilobytes(&format!("/proc/{pid}/smaps_rollup"), "Pss:")?;
    // A child may end between the two looks.
    let of_child =
        |child: u32| kilobytes(&format!("/proc/{child}/smaps_rollup"), "Pss:").unwrap_or(0);
    let children: u64 = cpu::children(pid)?.into_iter().map(of_child).sum();
    Ok((own + children) * 1024)
}

/// A field in kB of a file in `/proc`.
fn kilobytes(path: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(path).map_err(|e| format!("{path}: {e}"))?;
    let value = text.lines().find_map(|line| line.strip_prefix(field));
    let number = value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
    number.ok_or_else(|| format!("{path} has no {field}"))
}
