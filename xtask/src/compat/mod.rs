//! `cargo xtask compat`: upstream's own Tcl suite against our binary.
//!
//! The suite is not part of this repository; `--suite` names a checkout of Valkey. Each unit (a file such as
//! `unit/type/string`) runs by itself, and what counts is the outcome by test *name*: passed, failed, ignored by a tag, or
//! not run because the unit ended early. Failures are compared with `xtask/compat-expected.txt`, where each stands with
//! its reason; a failure that is not listed there, or one that is listed and passes, fails the run. Tests that use a
//! command or type which Russet does not have may fail unlisted ([`needs`]).

mod expected;
mod farm;
mod instances;
mod needs;
mod page;
mod parse;
mod script;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::sh::{self, Result};
use expected::{Expected, Needs, Waits};
use farm::Farm;
use needs::Missing;
use page::Row;
use parse::Outcomes;
use script::Servers;

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
    "unit/aofrw",
    "unit/other",
    "unit/shutdown",
    "integration/aof",
    "integration/aof-multi-part",
    "integration/aof-race",
    "integration/convert-ziplist-hash-on-load",
    "integration/convert-ziplist-zset-on-load",
    "integration/convert-zipmap-hash-on-load",
    "integration/corrupt-dump",
    "integration/corrupt-dump-fuzzer",
    "integration/dismiss-mem",
    "integration/failover",
    "integration/logging",
    "integration/rdb",
    "integration/shutdown",
];

/// Directives of ours for units that need them.
const SETTINGS: &[(&str, &str)] = &[
    // They read append-only files and manifests line by line, with nothing in them but what stock writes.
    ("integration/aof", "aof-checksum no\n"),
    ("integration/aof-multi-part", "aof-checksum no\n"),
    ("unit/expire", "aof-checksum no\n"),
    ("unit/multi", "aof-checksum no\n"),
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
    let mut units: Vec<String> = vec![];
    for name in if named.is_empty() { UNITS.to_vec() } else { named } {
        match name {
            "sentinel" => units.extend(instances::units(suite.as_ref(), name)?),
            "cluster" => {
                units.extend(instances::units(suite.as_ref(), "unit/cluster")?);
                units.extend(instances::units(suite.as_ref(), name)?);
            }
            _ => units.push(name.to_owned()),
        }
    }

    let server = match server {
        Some(path) => PathBuf::from(path),
        None => std::env::var_os("RUSSET_BIN")
            .map_or_else(|| russet_e2e::program::build(&["--release"]), PathBuf::from),
    };
    let omitted: Vec<&str> = omitted.split(',').collect();
    let farm = Farm::new(suite.as_ref(), &server, &omitted, base_port)?;
    let plan = Plan { farm, silence_max, base_port, tags };
    let mut expected = Expected::read()?;
    let mut complaints = vec![];
    let heads = ["passed", "failed", "ignored", "not run", "waiting", "fork", "rest"];
    println!("{:<41}{}", "unit", heads.map(|head| format!("{head:>9}")).concat());
    let missing = Missing::read()?;
    let mut sum = Outcomes::default();
    let mut sum_of_share = Share::default();
    for unit in units.iter().map(String::as_str) {
        let text = plan.farm.unit_text(unit)?;
        let by_source = missing.needs(&text);
        let mut left_out = expected.left_out(unit);
        if let Some(file) = instances::file_of(unit) {
            left_out.extend(by_source.keys().map(String::as_str));
            instances::leave_out(plan.farm.path(), file, &left_out.iter().copied().collect())?;
        }
        let outcomes = plan.run_unit(unit, &text, &left_out)?;
        let bad = outcomes.bad_names();
        let need_of = |name: &String| {
            let need = needs::need_of(&by_source, name).cloned();
            Some((name.clone(), need.or_else(|| missing.of_error(name))?))
        };
        let needs: Needs = bad.iter().filter_map(need_of).collect();
        let share = Share::of(&outcomes, &|name| expected.waits(unit, name, &needs));
        println!("{}{}", outcomes.line(unit), share.line());
        for (name, detail) in &outcomes.failed {
            let need = needs.get(name).map_or(String::new(), |need| format!(" (needs {need})"));
            println!("    failed: {name}{need}\n        {}", detail.replace('\n', "\n        "));
        }
        for name in &outcomes.not_run {
            let need = needs.get(name).map_or(String::new(), |need| format!(" (needs {need})"));
            println!("    not run: {name}{need}");
        }
        if let Some(reason) = &outcomes.ended_early {
            println!("    ended early: {}", reason.replace('\n', "\n        "));
        }
        if update {
            // At once, for those units that are not listed by another run meanwhile.
            expected = Expected::read()?;
            expected.replace(unit, &bad, &needs);
            expected.write()?;
        } else {
            complaints.extend(expected.compare(unit, &bad, &needs));
        }
        sum.add(outcomes);
        sum_of_share.add(&share);
        let why = bad.iter().filter_map(|name| expected.why(unit, name, &needs)).collect();
        if update {
            page::write(&Row { unit: unit.to_owned(), share, why })?;
        }
    }
    println!("{}{}", sum.line("all"), sum_of_share.line());
    if update {
        return Ok(());
    }
    for complaint in &complaints {
        println!("{complaint}");
    }
    match complaints.len() {
        0 => Ok(()),
        count => Err(format!("{count} tests ended otherwise than xtask/compat-expected.txt says")),
    }
}

/// How many of the tests pass that could.
#[derive(Default)]
struct Share {
    passed: usize,
    /// Failed or not run, and waiting for a feature.
    waiting: usize,
    /// Failed or not run, since there is no forked process.
    fork: usize,
    /// Failed or not run for another reason.
    rest: usize,
}

impl Share {
    fn of(outcomes: &Outcomes, waits: &dyn Fn(&str) -> Option<Waits>) -> Share {
        let mut share = Share { passed: outcomes.passed_names(), ..Share::default() };
        for name in outcomes.bad_names() {
            match waits(&name) {
                Some(Waits::Feature) => share.waiting += 1,
                Some(Waits::Fork) => share.fork += 1,
                None => share.rest += 1,
            }
        }
        share
    }

    fn add(&mut self, other: &Share) {
        self.passed += other.passed;
        self.waiting += other.waiting;
        self.fork += other.fork;
        self.rest += other.rest;
    }

    /// The end of a line of the table, with the percentage that passed of those that could.
    fn line(&self) -> String {
        let Share { passed, waiting, fork, rest } = self;
        let percent = match passed + rest {
            0 => "-".to_owned(),
            all => format!("{:.1} %", *passed as f64 * 100.0 / all as f64),
        };
        format!("{waiting:>9}{fork:>9}{rest:>9}   {percent}")
    }
}

impl Plan {
    /// Adds the arguments of the suite's usual runner.
    fn add_arguments(&self, command: &mut Command, unit: &str, left_out: &[&str]) {
        command.args(["tests/test_helper.tcl", "--single", unit, "--clients", "1", "--durable"]);
        command.args(["--baseport", &self.base_port.to_string(), "--portcount", "800"]);
        command.args(left_out.iter().flat_map(|name| ["--skiptest", name]));
        if let Some(tags) = &self.tags {
            command.args(["--tags", tags]);
        }
    }

    fn run_unit(&self, unit: &str, text: &str, left_out: &[&str]) -> Result<Outcomes> {
        let settings = SETTINGS.iter().filter(|(of, _)| *of == unit).map(|(_, lines)| *lines);
        self.farm.configure(&settings.collect::<String>())?;
        let mut command = self.farm.command()?;
        let of_instances = instances::file_of(unit);
        match of_instances {
            Some(file) => _ = command.args(instances::arguments(file)),
            None => self.add_arguments(&mut command, unit, left_out),
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
        let (mut outcomes, mut reader) = (Outcomes::default(), instances::Reader::default());
        loop {
            match incoming.recv_timeout(self.silence_max) {
                Ok(line) if of_instances.is_some() => {
                    reader.read(&parse::without_colours(&line), &mut outcomes);
                }
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
        let mut names = parse::names_in(text);
        if of_instances.is_some() {
            names.remove(instances::SIMULATED);
            // Also those whose names are put together when they run.
            names.extend(left_out.iter().map(|name| (*name).to_owned()));
        }
        outcomes.finish(&names, &Servers::of(text));
        Ok(outcomes)
    }
}
