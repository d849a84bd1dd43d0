//! How long a server takes from its start until it answers PING with PONG and not with LOADING: with a dump
//! file, and with an append-only file that has no base worth mention. Each side loads its own files, and ours
//! the peer's too.
//!
//! Files have been read before, so the system has them in memory: what is measured is the loading, not the
//! disk. Whether it answers is asked each 5 ms, which is how exact the times are. A server that starts has
//! the machine for itself, so it is measured on one core, as everything else, and with both.
//!
//! The servers are killed, not shut down, so that none leaves anything that a start after a crash would not
//! find.

use std::fs;
use std::path::Path;
use std::time::Instant;

use russet_e2e::Server;

use super::cpu::{self, CpuTime, Place};
use super::load::{Generator, Keys, Kind, Load, populate};
use super::report::{Metric, Report};
use super::{Plan, Side};
use crate::sh::Result;

/// Keys in the dump file, and keys that the commands of the append-only file set.
const KEYS: u64 = 5_000_000;

/// Commands in the append-only file.
const COMMANDS: u64 = 10_000_000;

const VALUE_LEN: usize = 16;

/// The largest part of an append-only file that may be its base.
const BASE_MAX: f64 = 0.01;

const TIME: Metric = Metric { group: "restart", name: "start to serving", unit: "s" };
const CPU: Metric = Metric { group: "restart", name: "cpu", unit: "s" };

/// What a server is started from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Files {
    Dump,
    AppendOnly,
}

impl Files {
    fn name(self) -> &'static str {
        match self {
            Files::Dump => "RDB",
            Files::AppendOnly => "AOF",
        }
    }

    fn lines(self) -> &'static [&'static str] {
        match self {
            Files::Dump => &["appendonly no"],
            Files::AppendOnly => {
                &["appendonly yes", "appendfsync everysec", "auto-aof-rewrite-percentage 0"]
            }
        }
    }

    /// The file or folder in the server's folder.
    fn path(self) -> &'static str {
        match self {
            Files::Dump => "dump.rdb",
            Files::AppendOnly => "appendonlydir",
        }
    }
}

/// A killed server with files to start from.
struct Subject {
    side: usize,
    /// What its files are called in the table.
    name: String,
    server: Server,
    /// Keys that are found when it has loaded them.
    keys: i64,
}

/// Both kinds of files, on each side, in alternating rounds.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let (keys, commands) = (plan.scaled(KEYS), plan.scaled(COMMANDS));
    report.note(format!(
        "RDB: of {keys} keys. AOF: {commands} times SET of one of {keys} keys. Keys of 16 bytes, values of {VALUE_LEN}."
    ));
    for files in [Files::Dump, Files::AppendOnly] {
        let mut subjects = vec![];
        for (index, side) in plan.sides.iter().enumerate() {
            eprintln!("  {} of {}", files.name(), side.name);
            let (server, keys) = written(plan, side, files)?;
            subjects.push(Subject { side: index, name: files.name().to_owned(), server, keys });
        }
        if let [ours, peer] = &plan.sides[..] {
            let server = ours_with(ours, files, subjects[1].server.folder())?;
            let name = format!("{}'s {}", peer.name, files.name());
            subjects.push(Subject { side: 0, name, server, keys: subjects[1].keys });
        }
        for round in 0..plan.rounds {
            eprintln!("  {}, round {}", files.name(), round + 1);
            for (place, about) in [(Place::SERVER, "one core"), (Place::Both, "both cores")] {
                let count = subjects.len();
                for subject in (0..count).map(|index| (index + round) % count) {
                    measure(report, &mut subjects[subject], files, place, about)?;
                }
            }
        }
    }
    Ok(())
}

/// A server that has written its files and was killed, and how many keys they hold.
fn written(plan: &Plan, side: &Side, files: Files) -> Result<(Server, i64)> {
    let keys = plan.scaled(KEYS);
    let mut server = side.start(files.lines())?;
    match files {
        Files::Dump => {
            populate(server.address(), Kind::Set, 0, keys, VALUE_LEN)?;
            server.client().ok("SAVE");
        }
        Files::AppendOnly => {
            let (kind, keys) = (Kind::Set, Keys::Random(keys));
            let load = Load { kind, keys, value_len: VALUE_LEN, pipeline: 100, connections: 8 };
            let commands = plan.scaled(COMMANDS);
            Generator::new(server.address(), load)?.run_until(|done| Ok(done >= commands))?;
        }
    }
    let found = server.client().run("DBSIZE").int();
    server.kill();
    Ok((server, found))
}

/// A killed server of ours with copies of another one's files.
fn ours_with(side: &Side, files: Files, from: &Path) -> Result<Server> {
    let mut server = side.start(files.lines())?;
    server.kill();
    let (from, to) = (from.join(files.path()), server.folder().join(files.path()));
    copy(files, &from, &to).map_err(|e| format!("{}: {e}", from.display()))?;
    Ok(server)
}

fn copy(files: Files, from: &Path, to: &Path) -> std::io::Result<()> {
    if files == Files::Dump {
        return fs::copy(from, to).map(|_| ());
    }
    fs::remove_dir_all(to)?;
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// Starts it, notes how long that took, and kills it again.
fn measure(
    report: &mut Report,
    subject: &mut Subject,
    files: Files,
    place: Place,
    about: &str,
) -> Result {
    // What the system still has to write of the files would take from the first start.
    rustix::fs::sync();
    let server = &mut subject.server;
    let start = Instant::now();
    cpu::at(place, || server.start_again())?;
    let (took, cpu) = (start.elapsed(), CpuTime::of(server.pid())?);
    let found = server.client().run("DBSIZE").int();
    if found != subject.keys {
        return Err(format!("{found} keys after loading, not {}", subject.keys));
    }
    if files == Files::AppendOnly {
        let folder = server.folder().join(files.path());
        let part = part_in_base(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        if part > BASE_MAX {
            return Err(format!("{}: was rewritten, {part:.3} of it is base", folder.display()));
        }
    }
    server.kill();
    let case = format!("{}, {about}", subject.name);
    report.add(TIME, &case, subject.side, took.as_secs_f64());
    report.add(CPU, &case, subject.side, cpu.total());
    Ok(())
}

/// How much of the files in this folder is in a base.
fn part_in_base(folder: &Path) -> std::io::Result<f64> {
    let (mut base, mut all) = (0, 0);
    for file in fs::read_dir(folder)? {
        let file = file?;
        let size = file.metadata()?.len();
        all += size;
        if file.file_name().to_string_lossy().contains(".base.") {
            base += size;
        }
    }
    Ok(base as f64 / all as f64)
}
