//! `cargo xtask bench`: Russet and the installed stock `redis-server`, side by side in one run.
//!
//! Both servers run pinned to core 0, the load comes from core 1. Keys exist before anything is measured. There are several
//! rounds, each with both servers and each begun by the other one than the round before; what is printed is the median
//! with its spread and the ratio of the medians. Memory alone is looked at once; `memory.rs` says how far to trust it.
//!
//! The measure that counts is the server's CPU time per command, not the throughput: at pipeline 1 the generator
//! saturates first.
//!
//! A benchmark is not a test: nothing here fails because a number is large.

mod append_only;
mod append_only_latency;
mod cluster_client;
mod cluster_cpu;
mod cluster_failover;
mod cluster_masters;
mod cluster_reshard;
mod cluster_steady;
mod cpu;
mod disk;
mod hash_stream;
mod large_hash;
mod latency;
mod load;
mod memory;
mod open_loop;
mod persistence;
mod report;
mod request;
mod restart;
mod save_latency;
mod sentinel;
mod sentinel_many;
mod sentinel_peers;
mod sentinel_planned;
mod sync;
mod throughput;
mod turns;

use std::time::Duration;

use russet_e2e::program::{self, Program};
use russet_e2e::{Server, Setup};

use crate::sh::{self, Result};
use report::Report;

/// How long a server may take to come up, with much to load on a machine with other work.
const START_MAX: Duration = Duration::from_secs(300);

/// How long what is about time itself goes on, in minutes.
const MINUTES: u64 = 60;

/// What is run only if it is named: it prints for itself, or takes hours.
const BY_NAME: &[&str] = &["micro", "cluster-steady"];

/// What was asked for.
pub struct Plan {
    /// Ours first, then the peer.
    pub sides: Vec<Side>,
    /// Rounds per figure.
    pub rounds: usize,
    /// Fewer keys and shorter rounds: to see that it works, not to quote.
    pub quick: bool,
    /// How long what is about time itself goes on.
    pub minutes: u64,
}

/// A server that takes part.
pub struct Side {
    /// Its name in tables.
    pub name: String,
    /// Its program.
    pub program: Program,
}

impl Plan {
    /// The sides in the order of this round: each round begins with the other one.
    pub fn order(&self, round: usize) -> impl Iterator<Item = usize> + use<> {
        let count = self.sides.len();
        (0..count).map(move |place| (place + round) % count)
    }

    /// `full`, or a twentieth of it when quick.
    pub fn scaled(&self, full: u64) -> u64 {
        if self.quick { full / 20 } else { full }
    }
}

impl Side {
    /// Starts it on core 0 with further lines of configuration.
    pub fn start(&self, lines: &[&str]) -> Result<Server> {
        self.start_at(cpu::Place::SERVER, lines)
    }

    /// Starts it somewhere else.
    pub fn start_at(&self, place: cpu::Place, lines: &[&str]) -> Result<Server> {
        let mut setup = Setup::new(&self.program).patience(START_MAX);
        for line in lines {
            setup = setup.conf(line);
        }
        cpu::at(place, || setup.start())
    }
}

/// A group of figures.
struct Bench {
    name: &'static str,
    about: &'static str,
    run: fn(&Plan, &mut Report) -> Result,
}

const BENCHES: &[Bench] = &[
    Bench {
        name: "throughput",
        about: "GET and SET at pipeline 1, 16, 100: commands per second, CPU per command",
        run: throughput::run,
    },
    Bench {
        name: "hashes",
        about: "HGET and HSET on small and large hashes: the same figures",
        run: throughput::run_hashes,
    },
    Bench { name: "memory", about: "resident memory per key", run: memory::run },
    Bench {
        name: "hash-memory",
        about: "resident memory per hash of 16 fields",
        run: memory::run_hashes,
    },
    Bench {
        name: "append-only",
        about: "SET with and without an append-only file, by appendfsync, also during a rewrite",
        run: append_only::run,
    },
    Bench {
        name: "append-only-latency",
        about: "open loop of readers beside writers, with appendfsync always and without a file",
        run: append_only_latency::run,
    },
    Bench { name: "persistence", about: "SAVE and load, keys per second", run: persistence::run },
    Bench {
        name: "restart",
        about: "start to serving with an RDB file, and with an append-only file",
        run: restart::run,
    },
    Bench { name: "sync", about: "full synchronisation of a new replica", run: sync::run },
    Bench {
        name: "turns",
        about: "length of turns (CPU time of the engine's thread) while growing and saving",
        run: turns::run,
    },
    Bench {
        name: "large-hash",
        about: "turns around a hash of ten million fields, and whether its copies are exact",
        run: large_hash::run,
    },
    Bench {
        name: "latency",
        about: "open loop at a fixed rate, also during BGSAVE",
        run: latency::run,
    },
    Bench {
        name: "save-latency",
        about: "BGSAVE under writers at 40 % of the peer's maximum: latency, length, memory",
        run: save_latency::run,
    },
    Bench {
        name: "sentinel",
        about: "outage after kill -9, SIGSTOP, interface down and planned; a Sentinel of 500 masters",
        run: sentinel::run,
    },
    Bench {
        name: "cluster-failover",
        about: "outage of the slots of a master after kill -9",
        run: cluster_failover::run,
    },
    Bench {
        name: "cluster-cpu",
        about: "CPU per command in cluster mode and alone; redis-benchmark --cluster",
        run: cluster_cpu::run,
    },
    Bench {
        name: "cluster-reshard",
        about: "redis-cli --cluster reshard under load: keys per second, latency of clients",
        run: cluster_reshard::run,
    },
    Bench {
        name: "cluster-steady",
        about: "failovers without a cause under load at 90 % CPU, for --minutes N (default 60)",
        run: cluster_steady::run,
    },
    Bench { name: "micro", about: "tables and node without sockets (cargo bench)", run: micro },
];

/// Runs what the words ask for.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let quick = words.flag("--quick");
    let json = words.value("--json")?;
    let only = words.value("--only")?.map(|names| names.split(',').collect::<Vec<_>>());
    let rounds = words.number("--rounds")?.unwrap_or(if quick { 1 } else { 5 });
    let minutes = words.number("--minutes")?.unwrap_or(if quick { 1 } else { MINUTES });
    let ours = words.value("--server")?;
    let peer = words.value("--peer")?.unwrap_or("stock");
    words.rest()?;
    let chosen = choose(only.as_deref())?;

    let mut sides = vec![side(ours)];
    if peer != "none" {
        sides.push(side(Some(peer)));
    }
    let rounds = usize::try_from(rounds.clamp(1, 1000)).unwrap_or(1);
    let plan = Plan { sides, rounds, quick, minutes };
    let mut report = Report::new(&plan);
    let result = chosen.into_iter().try_for_each(|bench| {
        eprintln!("{}: {}", bench.name, bench.about);
        (bench.run)(&plan, &mut report)
    });
    // What was measured before an error may tell why.
    report.print();
    if let Some(file) = json {
        std::fs::write(file, report.json()).map_err(|e| format!("{file}: {e}"))?;
    }
    result
}

fn choose(only: Option<&[&str]>) -> Result<Vec<&'static Bench>> {
    let Some(names) = only else {
        return Ok(BENCHES.iter().filter(|bench| !BY_NAME.contains(&bench.name)).collect());
    };
    let find = |name: &&str| BENCHES.iter().find(|bench| bench.name == *name);
    names.iter().map(|name| find(name).ok_or_else(|| unknown(name))).collect()
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = BENCHES.iter().map(|bench| bench.name).collect();
    format!("no figures named {name}; there are {}", names.join(", "))
}

/// The program that `text` names; without a name ours, built for release.
fn side(text: Option<&str>) -> Side {
    match text {
        None => {
            let path = std::env::var_os("RUSSET_BIN");
            let path = path.map_or_else(|| program::build(&["--release"]), Into::into);
            Side { name: "russet".into(), program: Program::Other(path, vec!["server".into()]) }
        }
        Some(text) => {
            let program = Program::parse(text);
            Side { name: program.name(), program }
        }
    }
}

/// The benches of the crates themselves, which need no server.
fn micro(_: &Plan, _: &mut Report) -> Result {
    sh::run(sh::cargo(&["bench", "--package", "russet-ds", "--package", "russet-engine"]))
}
