//! How long a turn of the engine keeps others waiting: while a table grows, and while a snapshot is written.
//!
//! Russet counts its own turns and says so in INFO ([`FIELDS`]); a server that does not is measured only from outside,
//! by the longest time between a batch of requests and its last reply.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use russet_e2e::Server;
use russet_e2e::server::info;

use super::Plan;
use super::load::{Generator, Keys, Kind, Load};
use super::report::{Metric, Report};
use crate::Result;

/// Keys at the end of the growth.
const KEYS: u64 = 5_000_000;

/// The section and fields of INFO in which turns are counted since `CONFIG RESETSTAT`.
const SECTION: &str = "russet";
const FIELDS: [&str; 4] = ["turns_total", "turns_over_1ms", "turns_over_5ms", "turn_max_usec"];

const OVER_1MS: Metric = metric("turns over 1 ms", "of 10 000");
const OVER_5MS: Metric = metric("turns over 5 ms", "");
const LONGEST: Metric = metric("longest turn", "µs");
const BATCH: Metric = metric("longest batch", "ms");

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { group: "turns", name, unit }
}

/// Each pipeline length that the throughput figures use.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    for pipeline in [1, 16, 100] {
        for (side, program) in plan.sides.iter().enumerate() {
            eprintln!("  pipeline {pipeline}, {}", program.name);
            let server = program.start(&[])?;
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
        }
    }
    Ok(())
}

/// Starts a BGSAVE and runs `work`, which can ask cheaply whether the save still goes on.
pub fn while_saving<T>(server: &Server, work: impl FnOnce(&dyn Fn() -> bool) -> T) -> T {
    server.client().run("BGSAVE");
    let saving = AtomicBool::new(true);
    std::thread::scope(|scope| {
        // Asked from another thread, so that the generator never waits for the answer.
        scope.spawn(|| {
            let mut client = server.client();
            while info(&mut client, "persistence")["rdb_bgsave_in_progress"] == "1" {
                std::thread::sleep(Duration::from_millis(50));
            }
            saving.store(false, Ordering::Relaxed);
        });
        work(&|| saving.load(Ordering::Relaxed))
    })
}

fn reset(server: &Server) {
    server.client().ok("CONFIG RESETSTAT");
}

/// Adds what the server says of its turns, if it says anything.
fn note_turns(server: &Server, report: &mut Report, case: &str, side: usize) {
    let fields = server.info(SECTION);
    let numbers: Vec<f64> =
        FIELDS.iter().filter_map(|name| fields.get(*name)?.parse().ok()).collect();
    let [total, over_1ms, over_5ms, longest] = numbers[..] else {
        let fields = FIELDS.join(", ");
        return report.note(format!("– : a server whose INFO {SECTION} has no {fields}."));
    };
    report.add(OVER_1MS, case, side, over_1ms * 1e4 / total.max(1.0));
    report.add(OVER_5MS, case, side, over_5ms);
    report.add(LONGEST, case, side, longest);
}
