//! Resident memory per key: what the process grew by since it was started, divided by its keys.
//!
//! One round, since it waits for pages to come to rest and takes minutes. What an allocator still keeps then differs from run to
//! run by some hundred KiB: a few bytes per key at the smallest size, next to nothing at the largest. The average over
//! all sizes is what to quote.

use std::time::{Duration, Instant};

use russet_e2e::process::resident_bytes;

use super::Plan;
use super::load::{Kind, populate};
use super::report::{Metric, Report};
use crate::sh::Result;

/// Five sizes, since a table that doubles looks best just before and worst just after.
const SIZES: [u64; 5] = [100_000, 700_000, 1_000_000, 1_400_000, 2_000_000];

/// Hashes, and fields of each: names of 10 bytes, values of 16.
const HASHES: u64 = 200_000;
const HASH_FIELDS: u64 = 16;

const PER_KEY: Metric = Metric { group: "memory", name: "resident", unit: "bytes/key" };

/// Grows one server per kind of entry through all sizes and looks at each.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    for value_len in [16, 32] {
        for (kind, expiry) in [(Kind::Set, ""), (Kind::SetWithExpiry, " + TTL")] {
            for (side, program) in plan.sides.iter().enumerate() {
                eprintln!("  16+{value_len}{expiry}, {}", program.name);
                let server = program.start(&[])?;
                let before = settled_bytes(server.pid(), Duration::from_secs(1));
                let (mut from, mut sum) = (0, 0.0);
                for full in SIZES {
                    let size = plan.scaled(full);
                    populate(server.address(), kind, from, size, value_len)?;
                    from = size;
                    let grown = settled_bytes(server.pid(), Duration::from_secs(15)) - before;
                    let per_key = grown as f64 / size as f64;
                    sum += per_key;
                    let case = format!("16+{value_len}{expiry}, {size} keys");
                    report.add(PER_KEY, &case, side, per_key);
                }
                let case = format!("16+{value_len}{expiry}, average");
                report.add(PER_KEY, &case, side, sum / SIZES.len() as f64);
            }
        }
    }
    Ok(())
}

/// The same for small hashes: what counts as a key is a hash of so many fields, set one by one.
pub fn run_hashes(plan: &Plan, report: &mut Report) -> Result {
    let fields = HASH_FIELDS;
    let hashes = plan.scaled(HASHES);
    for (side, program) in plan.sides.iter().enumerate() {
        eprintln!("  {fields} fields, {}", program.name);
        let server = program.start(&[])?;
        let before = settled_bytes(server.pid(), Duration::from_secs(1));
        populate(server.address(), Kind::HSet { fields }, 0, hashes * fields, 16)?;
        let grown = settled_bytes(server.pid(), Duration::from_secs(15)) - before;
        let case = format!("{hashes} hashes of {fields} fields");
        report.add(PER_KEY, &case, side, grown as f64 / hashes as f64);
    }
    Ok(())
}

/// Resident bytes once they have not changed for a second: allocators give pages back late, and tables
/// that are being rehashed finish in idle time.
pub fn settled_bytes(pid: u32, time_max: Duration) -> u64 {
    let start = Instant::now();
    let (mut last, mut since) = (resident_bytes(pid), Instant::now());
    while since.elapsed() < Duration::from_secs(1) && start.elapsed() < time_max {
        std::thread::sleep(Duration::from_millis(50));
        let bytes = resident_bytes(pid);
        if bytes != last {
            (last, since) = (bytes, Instant::now());
        }
    }
    last
}
