//! Latency of readers beside writers whose writes are synced: GET at a fixed rate from an open loop, beside
//! 50 clients that write as fast as they get replies, with `appendfsync always` and without an append-only
//! file. One thread sends both.
//!
//! What it shows is whether readers wait for the disk. Two things blur that. Writers without a file fill the
//! server, and readers stand behind them; with `always` writers wait for the disk, which leaves time for
//! readers. And a sync lets all its writers go at once, so that readers stand behind a burst of them, without
//! waiting for the disk. Therefore there are two more cases: readers alone, and beside writes without a file
//! that come one by one at the rate at which they were synced in the same round.
//!
//! Readers and writers use the same keys. A reader of what was just written has to wait for its sync, and
//! should; with 50 writes out of a million keys that is too rare to be seen at 99.9 %.

use std::time::{Duration, Instant};

use russet_e2e::Server;

use super::Plan;
use super::append_only::{ALWAYS, NO_FILE};
use super::cpu::CpuTime;
use super::disk;
use super::load::{Generator, Keys, Kind, Load, populate};
use super::open_loop::{self, Stream, VALUE_LEN};
use super::report::{Metric, Report};
use crate::sh::Result;

/// Keys that exist.
const KEYS: u64 = 1_000_000;

/// Requests of readers per second.
const RATE: f64 = 10_000.0;

const READERS: usize = 10;

const WRITERS: usize = 50;

const GROUP: &str = "append-only-latency";

const WRITES: Metric = Metric { group: GROUP, name: "writes", unit: "1/s" };
const BUSY: Metric = Metric { group: GROUP, name: "server's cpu", unit: "% of a core" };

/// All cases of a side after one another, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    report.note(disk::about(GROUP)?);
    let keys = plan.scaled(KEYS);
    let mut servers = vec![];
    for side in &plan.sides {
        let start = |lines| -> Result<Server> {
            let server = side.start(lines)?;
            populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
            Ok(server)
        };
        servers.push((start(NO_FILE)?, start(ALWAYS)?));
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let (none, always) = &servers[side];
            let mut bench = Bench { plan, report: &mut *report, side, keys };
            bench.measure("GET alone", none, Writers::None)?;
            bench.measure("GET, 50 writers, no file", none, Writers::Closed)?;
            let rate = bench.measure("GET, 50 writers, always", always, Writers::Closed)?;
            bench.measure("GET, as many writes, no file", none, Writers::At(rate))?;
        }
    }
    Ok(())
}

struct Bench<'a> {
    plan: &'a Plan,
    report: &'a mut Report,
    side: usize,
    keys: u64,
}

/// Who writes beside.
enum Writers {
    /// Nobody.
    None,
    /// 50 clients, each as soon as its last write is answered.
    Closed,
    /// 50 clients with so many writes per second.
    At(f64),
}

impl Bench<'_> {
    /// Measures readers and notes their latencies. The result is the rate of writes.
    fn measure(&mut self, case: &str, server: &Server, writers: Writers) -> Result<f64> {
        let keys = self.keys;
        let mut streams = vec![Stream { kind: Kind::Get, keys, rate: RATE, connections: READERS }];
        let mut closed = None;
        match writers {
            Writers::None => {}
            Writers::At(rate) => {
                streams.push(Stream { kind: Kind::Set, keys, rate, connections: WRITERS });
            }
            Writers::Closed => {
                let (kind, keys) = (Kind::Set, Keys::Random(keys));
                let (value_len, connections) = (VALUE_LEN, WRITERS);
                let load = Load { kind, keys, value_len, pipeline: 1, connections };
                closed = Some(Generator::new(server.address(), load)?);
            }
        }
        rustix::fs::sync();
        let time = Duration::from_secs_f64(if self.plan.quick { 0.5 } else { 5.0 });
        let before = CpuTime::of(server.pid())?;
        let start = Instant::now();
        let going = || start.elapsed() < time;
        let mut latencies = open_loop::run(server.address(), &streams, closed.as_mut(), &going)?;
        let (took, cpu) = (start.elapsed(), CpuTime::of(server.pid())?.since(before));

        open_loop::note(self.report, GROUP, case, self.side, &mut latencies);
        let busy = cpu.total() / took.as_secs_f64() * 100.0;
        self.report.add(BUSY, case, self.side, busy);
        let writes = match (&closed, &writers) {
            (Some(generator), _) => generator.done() as f64 / took.as_secs_f64(),
            (None, Writers::At(rate)) => *rate,
            (None, _) => return Ok(0.0),
        };
        self.report.add(WRITES, case, self.side, writes);
        Ok(writes)
    }
}
