//! Runs rounds of scenarios, several at once if asked for: most of their time is waiting.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::report::{Measured, Row};
use crate::sh::Result;

/// Deployments that may fail to start before a scenario is given up.
const STARTS_MAX: usize = 3;

/// What was asked for.
pub struct Plan<'a> {
    /// Rounds of each scenario.
    pub rounds: usize,
    /// Scenarios that run at once.
    pub jobs: usize,
    /// Names of scenarios; without them all.
    pub only: Option<Vec<&'a str>>,
    /// Which servers; without them ours, and then stock.
    pub servers: Option<&'a str>,
}

impl Plan<'_> {
    /// The chosen scenarios.
    pub fn choose<'s, S>(&self, all: &'s [S], name: fn(&S) -> &str) -> Result<Vec<&'s S>> {
        let Some(names) = &self.only else { return Ok(all.iter().collect()) };
        let find = |wanted: &&str| {
            let unknown = || {
                let names: Vec<&str> = all.iter().map(name).collect();
                format!("no scenario named {wanted}; there are {}", names.join(", "))
            };
            all.iter().find(|scenario| name(scenario) == *wanted).ok_or_else(unknown)
        };
        names.iter().map(find).collect()
    }
}

/// Machines with everything on them.
pub trait Lab {
    /// What must never happen and did, so far.
    fn violations(&self) -> Vec<String>;

    /// The end of all logs.
    fn logs(&self) -> String;
}

/// Runs all rounds of a row, one after the other. After a failure the next one begins with a new lab.
pub fn run<L: Lab>(
    row: &mut Row,
    rounds: usize,
    start: impl Fn() -> Result<L>,
    round: impl Fn(&mut L, usize) -> Result<Measured>,
) {
    let mut lab = None;
    let mut starts = 0;
    for number in 0..rounds {
        if lab.is_none() && starts < STARTS_MAX {
            starts += 1;
            lab = start().map_err(|error| row.fail(number, &error)).ok();
        }
        let Some(running) = &mut lab else { continue };
        match round(running, number) {
            Ok(measured) => row.add(number, measured),
            Err(error) => {
                row.fail(number, &error);
                eprintln!("{}", running.logs());
                row.violate(running.violations());
                lab = None;
            }
        }
    }
    if let Some(lab) = lab {
        row.violate(lab.violations());
    }
}

/// Fills all rows, `jobs` of them at once.
pub fn fill_all(rows: &mut [Row], jobs: usize, fill: impl Fn(usize, &mut Row) + Sync) {
    let next = AtomicUsize::new(0);
    let rows: Vec<Mutex<&mut Row>> = rows.iter_mut().map(Mutex::new).collect();
    let work = || loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(row) = rows.get(index) else { return };
        fill(index, &mut row.lock().unwrap_or_else(PoisonError::into_inner));
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(work);
        }
    });
}
