//! How long a turn of the engine keeps others waiting: while a table grows, and while a snapshot is written.
//!
//! Russet counts its own turns and says so in INFO ([`FIELDS`]). A turn is a whole round of its loop: reads, commands, writes.
//! One that the clock finds longer than a millisecond counts with the **CPU time of the engine's thread**: on a machine that is
//! shared with others the clock would count their turns too. What a round waited for a processor, or slept in a page fault,
//! is therefore not in these figures; it is in the longest batch, which is by the clock and from outside.
//!
//! A server that does not count its turns has only that: the longest time between a batch of requests and its last reply.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russet_e2e::server::info;
use russet_e2e::{Server, Value};

use super::Plan;
use super::load::{Generator, Keys, Kind, Load};
use super::report::{Metric, Report};
use crate::sh::Result;

/// Keys at the end of the growth.
const KEYS: u64 = 5_000_000;

/// The section and fields of INFO in which turns are counted since `CONFIG RESETSTAT`.
const SECTION: &str = "russet";
const FIELDS: [&str; 4] = ["turns_total", "turns_over_1ms", "turns_over_5ms", "turn_max_usec"];

const OVER_1MS: Metric = metric("turns over 1 ms of CPU", "of 10 000");
const OVER_5MS: Metric = metric("turns over 5 ms of CPU", "");
const LONGEST: Metric = metric("longest turn, CPU", "µs");
const BATCH: Metric = metric("longest batch", "ms");

/// What stands under the table.
const NOTE: &str = "turns … of CPU: a round that is longer than a millisecond by the clock is counted in CPU \
time of the engine's thread; what it waited for a processor is only in the longest batch, which is by the clock.";

/// Rounds at most: each grows a server anew.
const ROUNDS_MAX: usize = 3;

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { group: "turns", name, unit }
}

/// Each pipeline length that the throughput figures use.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    report.note(NOTE.to_owned());
    for pipeline in [1, 16, 100] {
        for round in 0..plan.rounds.min(ROUNDS_MAX) {
            for side in plan.order(round) {
                let name = &plan.sides[side].name;
                eprintln!("  pipeline {pipeline}, round {}, {name}", round + 1);
                measure(plan, report, pipeline, side)?;
            }
        }
    }
    Ok(())
}

fn measure(plan: &Plan, report: &mut Report, pipeline: usize, side: usize) -> Result {
    let keys = plan.scaled(KEYS);
    let server = plan.sides[side].start(&[])?;
    let load = |kind, keys| Load { kind, keys, value_len: 16, pipeline, connections: 50 };

    reset(&server);
    let growth = load(Kind::Set, Keys::Each { from: 0, to: keys });
    let mut generator = Generator::new(server.address(), growth)?;
    generator.run_to_end()?;
    let case = format!("0 to {keys} keys, pipeline {pipeline}");
    note_turns(&server, report, &case, side);
    report.add(BATCH, &case, side, generator.batch_max().as_secs_f64() * 1e3);

    reset(&server);
    let traffic = load(Kind::Set, Keys::Random(keys));
    let mut generator = Generator::new(server.address(), traffic)?;
    while_saving(&server, |saving| generator.run_until(|_| Ok(!saving())))?;
    let case = format!("BGSAVE, pipeline {pipeline}");
    note_turns(&server, report, &case, side);
    report.add(BATCH, &case, side, generator.batch_max().as_secs_f64() * 1e3);
    Ok(())
}

/// Runs `work` while a BGSAVE goes on; it can ask cheaply whether it still does. A save that does not begin, or fails,
/// is an error: its figures would be those of an idle server.
pub fn while_saving<T>(
    server: &Server,
    work: impl FnOnce(&dyn Fn() -> bool) -> Result<T>,
) -> Result<T> {
    match server.client().run("BGSAVE") {
        Value::Status(text) if text == "Background saving started" => {}
        other => return Err(format!("BGSAVE did not begin: {other:?}")),
    }
    let saving = AtomicBool::new(true);
    let result = std::thread::scope(|scope| {
        // Asked from another thread, so that the generator never waits for the answer.
        scope.spawn(|| {
            let mut client = server.client();
            while info(&mut client, "persistence")["rdb_bgsave_in_progress"] == "1" {
                std::thread::sleep(Duration::from_millis(50));
            }
            saving.store(false, Ordering::Relaxed);
        });
        work(&|| saving.load(Ordering::Relaxed))
    })?;
    match server.info_field("persistence", "rdb_last_bgsave_status").as_str() {
        "ok" => Ok(result),
        status => Err(format!("BGSAVE failed ({status}); the server's log:\n{}", server.log())),
    }
}

/// Begins to count anew.
pub fn reset(server: &Server) {
    server.client().ok("CONFIG RESETSTAT");
}

/// The turns of a server since they were last reset.
pub struct Turns {
    /// How many there were.
    pub total: f64,
    /// Those longer than a millisecond.
    pub over_1ms: f64,
    /// Those longer than five.
    pub over_5ms: f64,
    /// The longest, in microseconds.
    pub longest_us: f64,
}

/// What the server reports of its turns, if it counts them.
pub fn counted(server: &Server) -> Option<Turns> {
    let fields = server.info(SECTION);
    let numbers: Vec<f64> =
        FIELDS.iter().filter_map(|name| fields.get(*name)?.parse().ok()).collect();
    let [total, over_1ms, over_5ms, longest_us] = numbers[..] else { return None };
    Some(Turns { total, over_1ms, over_5ms, longest_us })
}

fn note_turns(server: &Server, report: &mut Report, case: &str, side: usize) {
    let Some(turns) = counted(server) else {
        let fields = FIELDS.join(", ");
        return report.note(format!("– : a server whose INFO {SECTION} has no {fields}."));
    };
    report.add(OVER_1MS, case, side, turns.over_1ms * 1e4 / turns.total.max(1.0));
    report.add(OVER_5MS, case, side, turns.over_5ms);
    report.add(LONGEST, case, side, turns.longest_us);
}
