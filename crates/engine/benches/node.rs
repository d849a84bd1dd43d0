//! Benchmarks of the node without sockets: the time of commands without the kernel, and of turns
//! while a table grows.
//!
//! `cargo bench -p russet-engine` prints both; `cargo xtask bench` measures the whole server.
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::time::Instant;

use russet_driver::{Driver, Files};
use russet_ds::EntryRef;
use russet_engine::config::Config;
use russet_engine::ids::JobId;
use russet_engine::io::{Handle, Host, Now};
use russet_engine::keyspace::walk::Slice;
use russet_engine::mode::Mode;
use russet_engine::node::{Boot, Seeds};
use rustix::time::{ClockId, clock_gettime};

struct Clock(Instant);

impl Clock {
    fn now(&self) -> Now {
        let mono_us = self.0.elapsed().as_micros() as u64 + 1;
        Now { mono_us, wall_us: 1_700_000_000_000_000 + mono_us as i64 }
    }
}

impl Host for Clock {
    fn ticks_us(&mut self) -> u64 {
        self.now().mono_us
    }
}

/// Returns the CPU time of this thread in microseconds.
fn cpu_us() -> i64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

/// Nanoseconds that this thread has had a processor, brought up to date some hundred times a second. Tools that count
/// instructions know how to read a file.
fn scheduled_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// A node with one client, in real time.
struct Bench {
    driver: Driver,
    clock: Clock,
    client: Handle,
    /// Whether the CPU time of each turn is read.
    times_turns: bool,
    /// Microseconds of CPU time of each turn.
    turns: Vec<u32>,
}

impl Bench {
    fn new(mode: Mode) -> Bench {
        let clock = Clock(Instant::now());
        let boot = Boot { seeds: Seeds::derive([1, 2, 3, 4]), mode, ..Boot::default() };
        let mut driver = Driver::idle(Config::default(), boot, Files::new(), clock.now());
        let client = driver.connect();
        driver.connection(client).expect("just accepted").discards = true;
        Bench { driver, clock, client, times_turns: false, turns: Vec::new() }
    }

    /// Sends requests and runs the node until all are answered. Returns the length of the replies.
    fn run(&mut self, requests: &[u8]) -> usize {
        self.driver.queue(self.client, requests);
        let mut replied = 0;
        loop {
            self.driver.now = self.clock.now();
            self.driver.read_connections();
            match self.times_turns {
                true => {
                    let began = cpu_us();
                    self.driver.node.turn(self.driver.now, &mut self.clock);
                    self.turns.push((cpu_us() - began) as u32);
                }
                false => self.driver.node.turn(self.driver.now, &mut self.clock),
            }
            replied += self.driver.flush();
            if !self.driver.has_work() && !self.driver.has_unread() {
                return replied;
            }
        }
    }
}

fn command(out: &mut Vec<u8>, args: &[&[u8]]) {
    russet_protocol::reply::push_command(out, args);
}

/// Returns the numbers below `KEYS` in an order determined by the seed.
fn shuffled(mut seed: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..KEYS).collect();
    for left in (1..numbers.len()).rev() {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        numbers.swap(left, (seed % (left as u64 + 1)) as usize);
    }
    numbers
}

const KEYS: u64 = 1_000_000;

/// Returns batches of a hundred requests, one for each key.
fn batches(order: &[u64], name: &[u8], more: &[&[u8]]) -> Vec<Vec<u8>> {
    let batch = |numbers: &[u64]| {
        let mut requests = Vec::new();
        for i in numbers {
            let key = format!("key:{i:012}").into_bytes();
            command(&mut requests, &[&[name, &key], more].concat());
        }
        requests
    };
    order.chunks(100).map(batch).collect()
}

/// Each kind of request has its own order: the order of inserts would be that of allocation.
fn throughput(name: &str, mode: Mode) -> Bench {
    println!(
        "ns per command, 1 million keys of 16 bytes, values of 16, each key once in any order, {name}"
    );
    let mut bench = Bench::new(mode);
    let value: &[&[u8]] = &[&[b'v'; 16]];
    let kinds = [
        ("first SET", batches(&shuffled(1), b"SET", value)),
        ("SET", batches(&shuffled(2), b"SET", value)),
        ("GET", batches(&shuffled(3), b"GET", &[])),
    ];
    for (name, batches) in &kinds {
        let mut rounds = Vec::new();
        for _ in 0..if *name == "first SET" { 1 } else { 5 } {
            let began = Instant::now();
            for batch in batches {
                bench.run(batch);
            }
            rounds.push(began.elapsed().as_nanos() as u64 / KEYS);
        }
        rounds.sort_unstable();
        let median = rounds[rounds.len() / 2];
        let (least, most) = (rounds[0], rounds[rounds.len() - 1]);
        println!("  {name:<10} median {median:>4}   ({least} to {most})");
    }
    bench
}

/// What a command on one field costs, of fields that exist, each once in any order.
fn hashes(hashes: u64, fields: u64, commands: u64) {
    println!(
        "ns of CPU time per command, {hashes} hashes of {fields} fields of 10 bytes, values of 16"
    );
    let all = hashes * fields;
    let batches = |order: &[u64], name: &[u8], more: &[&[u8]]| -> Vec<Vec<u8>> {
        let batch = |numbers: &[u64]| {
            let mut requests = Vec::new();
            for i in numbers {
                let key = format!("key:{:012}", i / fields).into_bytes();
                let field = format!("f:{:08}", i % fields).into_bytes();
                command(&mut requests, &[&[name, &key, &field], more].concat());
            }
            requests
        };
        order.chunks(100).map(batch).collect()
    };
    let mut bench = Bench::new(Mode::Standalone);
    let in_order: Vec<u64> = (0..all).collect();
    let random = |seed| -> Vec<u64> {
        shuffled(seed).into_iter().take(commands as usize).map(|i| i % all).collect()
    };
    let kinds = [
        ("first HSET", batches(&in_order, b"HSET", &[&[b'v'; 16]]), all),
        ("HSET", batches(&random(2), b"HSET", &[&[b'w'; 16]]), commands),
        ("HSET, another length", batches(&random(4), b"HSET", &[b"short"]), commands),
        ("HGET", batches(&random(3), b"HGET", &[]), commands),
    ];
    for (name, batches, commands) in &kinds {
        let began = scheduled_ns();
        for batch in batches {
            bench.run(batch);
        }
        println!("  {name:<22} {:>5}", (scheduled_ns() - began) / commands);
    }
}

/// The time of one call, at best.
fn best<T>(name: &str, rounds: usize, mut call: impl FnMut() -> T) {
    let mut least = u128::MAX;
    for _ in 0..rounds {
        let began = Instant::now();
        std::hint::black_box(call());
        least = least.min(began.elapsed().as_nanos());
    }
    println!("  {name:<28} {least:>10} ns");
}

/// Measures operations on slots of a database with a million keys.
fn slots(mut bench: Bench) {
    let keys = bench.driver.node.data.db(0).len();
    let bytes = bench.driver.node.data.db(0).allocated_bytes();
    println!("slots: {:.1} bytes per key", bytes as f64 / keys as f64);
    let hasher = bench.driver.node.data.hasher();
    best("earliest expiry", 100, || bench.driver.node.data.earliest_expiry());
    let mut info = Vec::new();
    command(&mut info, &[b"INFO", b"keyspace"]);
    best("INFO keyspace", 100, || bench.run(&info));
    let mut random = Vec::new();
    command(&mut random, &[b"RANDOMKEY"]);
    best("RANDOMKEY", 100, || bench.run(&random));
    for n in 0..100_000_u64 {
        let name = format!("key:{n:012}");
        bench
            .driver
            .node
            .data
            .edit(0, hasher.key(name.as_bytes()))
            .set_expiry(Some(2_000_000_000_000));
    }
    best("earliest expiry, with TTLs", 100, || bench.driver.node.data.earliest_expiry());
    best("INFO keyspace, with TTLs", 100, || bench.run(&info));
    best("count of a slot", 100, || bench.driver.node.data.db(0).slot(12_000).keys);
    best("list a slot", 100, || {
        let mut found = Vec::new();
        let mut list = |entry: EntryRef<'_, _>| found.push(entry.key().to_vec());
        bench.driver.node.data.keys_in_slot(0, 12_000, usize::MAX, &mut list);
        found
    });
    let mut slot = 0;
    best("flush a slot", 100, || {
        slot += 1;
        let mut found = Vec::new();
        bench.driver.node.data.flush_slot(0, slot, &mut |key| found.push(key.to_vec()));
        found
    });
}

/// Measures a walk over a million keys, without encoder and writes.
fn walk(mut bench: Bench) {
    let mut job = 0;
    best("walk through all keys", 10, || {
        job += 1;
        let data = &mut bench.driver.node.data;
        assert!(data.begin_walk(JobId(job)));
        let mut keys = 0;
        while let Slice::Chunk(chunk) = data.walk_slice(JobId(job), &mut || false) {
            keys += chunk.entries();
        }
        data.end_walk(JobId(job));
        assert_eq!(keys, 1_000_000);
    });
}

fn turns(name: &str, mode: Mode, tag: &str) {
    let mut bench = Bench::new(mode);
    bench.times_turns = true;
    let value = [b'v'; 16];
    for start in (0..5_000_000_u64).step_by(100) {
        let mut sets = Vec::new();
        for i in start..start + 100 {
            command(&mut sets, &[b"SET", format!("{tag}{i:012}").as_bytes(), &value]);
        }
        bench.run(&sets);
    }
    let turns = &mut bench.turns;
    turns.sort_unstable();
    let at = |share: f64| turns[((turns.len() - 1) as f64 * share) as usize];
    let over = |us: u32| turns.iter().filter(|&&took| took > us).count();
    println!(
        "  {name:<28} {:>7} turns   p50 {:>4}   p99 {:>4}   p99.99 {:>5}   longest {:>6}   over 1 ms: {}, over 5 ms: {}",
        turns.len(),
        at(0.5),
        at(0.99),
        at(0.9999),
        at(1.0),
        over(1000),
        over(5000)
    );
}

fn main() {
    // `hashes 1000`: this number of commands of each kind, for tools that count instructions.
    let words: Vec<String> = std::env::args().collect();
    let wanted = words.iter().position(|word| word == "hashes");
    let commands = wanted.and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(KEYS);
    hashes((commands / 20).max(1), 16, commands);
    hashes(1, commands / 10, commands);
    if wanted.is_some() {
        return;
    }
    walk(throughput("standalone", Mode::Standalone));
    slots(throughput("cluster slots", Mode::Cluster));
    if std::env::args().any(|arg| arg == "short") {
        return;
    }
    println!("microseconds of CPU time per turn while a table grows from 0 to 5 million keys");
    turns("standalone", Mode::Standalone, "key:");
    turns("cluster slots, one hash tag", Mode::Cluster, "{tag}");
}
