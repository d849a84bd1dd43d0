//! `cargo xtask compat`: upstream's own Tcl suite against our binary.
//!
//! The suite is not part of this repository; `--suite` names a checkout of Valkey. Each unit (a file such as
//! `unit/type/string`) runs by itself, and what counts is the outcome by test *name*: passed, failed, ignored by a tag, or
//! not run because the unit ended early. Failures are compared with `xtask/compat-expected.txt`, where each stands with
//! its reason; a failure that is not listed there, or one that is listed and passes, fails the run.

mod expected;
mod farm;
mod parse;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::sh::{self, Result};
use expected::Expected;
use farm::Farm;
use parse::Outcomes;

/// The units that are run unless others are named.
const UNITS: &[&str] = &[
    "unit/protocol",
    "unit/keyspace",
    "unit/dump",
    "unit/expire",
    "unit/scan",
    "unit/multi",
    "unit/info-command",
    "unit/pubsub",
    "unit/pubsubshard",
    "unit/quit",
    "unit/type/hash",
    "unit/type/string",
    "unit/type/incr",
];

/// What was asked for.
struct Plan {
    farm: Farm,
    /// No line for so long ends a unit.
    silence_max: Duration,
    base_port: u64,
    tags: Option<String>,
}

/// Runs the units and compares.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let suite = words.value("--suite")?.ok_or("--suite PATH names a checkout of Valkey")?;
    let server = words.value("--server")?;
    let omitted = words.value("--omit")?.unwrap_or_default().to_owned();
    let base_port = words.number("--baseport")?.unwrap_or(21111);
    let silence_max = Duration::from_secs(words.number("--timeout")?.unwrap_or(300));
    let tags = words.value("--tags")?.map(str::to_owned);
    let update = words.flag("--update");
    let named = words.rest()?;
    let units = if named.is_empty() { UNITS.to_vec() } else { named };

    let server = match server {
        Some(path) => PathBuf::from(path),
        None => std::env::var_os("RUSSET_BIN")
            .map_or_else(|| russet_e2e::program::build(&["--release"]), PathBuf::from),
    };
    let omitted: Vec<&str> = omitted.split(',').collect();
    let farm = Farm::new(suite.as_ref(), &server, &omitted)?;
    let plan = Plan { farm, silence_max, base_port, tags };
    let mut expected = Expected::read()?;
    let mut complaints = vec![];
    println!("{:<28}{:>8}{:>8}{:>9}{:>9}", "unit", "passed", "failed", "ignored", "not run");
    let mut sum = Outcomes::default();
    for unit in units {
        let outcomes = plan.run_unit(unit, &expected.left_out(unit))?;
        println!("{}", outcomes.line(unit));
        for (name, detail) in &outcomes.failed {
            println!("    failed: {name}\n        {}", detail.replace('\n', "\n        "));
        }
        for name in &outcomes.not_run {
            println!("    not run: {name}");
        }
        if let Some(reason) = &outcomes.ended_early {
            println!("    ended early: {}", reason.replace('\n', "\n        "));
        }
        let bad = outcomes.bad_names();
        if update {
            expected.replace(unit, &bad);
        } else {
            complaints.extend(expected.compare(unit, &bad));
        }
        sum.add(outcomes);
    }
    println!("{}", sum.line("all"));
    if update {
        return expected.write();
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        count => Err(format!("{count} tests ended otherwise than xtask/compat-expected.txt says")),
    }
}

impl Plan {
    fn run_unit(&self, unit: &str, left_out: &[&str]) -> Result<Outcomes> {
        let names: BTreeSet<String> = parse::names_in(&self.farm.unit_text(unit)?);
        let mut command = self.farm.command()?;
        command.args(["tests/test_helper.tcl", "--single", unit, "--clients", "1", "--durable"]);
        command.args(["--baseport", &self.base_port.to_string(), "--portcount", "800"]);
        command.args(left_out.iter().flat_map(|name| ["--skiptest", name]));
        if let Some(tags) = &self.tags {
            command.args(["--tags", tags]);
        }
        let (reader, writer) = std::io::pipe().map_err(|e| e.to_string())?;
        let copy = writer.try_clone().map_err(|e| e.to_string())?;
        // A group of its own, so that its servers can be ended with it.
        command.stdin(Stdio::null()).stdout(copy).stderr(writer).process_group(0);
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        drop(command); // it holds our ends of the pipe

        let (lines, incoming) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(reader).split(b'\n').map_while(std::result::Result::ok) {
                if lines.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    break;
                }
            }
        });
        let mut outcomes = Outcomes::default();
        loop {
            match incoming.recv_timeout(self.silence_max) {
                Ok(line) => outcomes.read(&line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    outcomes.ended_early = Some(format!("silent for {:?}", self.silence_max));
                    break;
                }
            }
        }
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(group) = group {
            let _ = kill_process_group(group, Signal::KILL); // mostly nobody is left
        }
        child.wait().map_err(|e| e.to_string())?;
        outcomes.finish(&names);
        Ok(outcomes)
    }
}
