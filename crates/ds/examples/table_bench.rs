//! Benchmark of the table: nanoseconds per operation, bytes per key, the slowest single insert.
//!
//! `cargo run --release -p russet-ds --example table_bench [keys]`
#![allow(clippy::disallowed_methods, reason = "a benchmark reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use russet_ds::hash::Seed;
use russet_ds::lzf::Compressor;
use russet_ds::{NewPayload, Payload, Table};

#[global_allocator]
static ALLOCATOR: russet_ds::jemalloc::Jemalloc = russet_ds::jemalloc::Jemalloc;

const SEED: Seed = Seed::new(0x0123_4567_89ab_cdef_0011_2233);
const WINDOW: usize = 16;
const VALUE: [u8; 16] = [7; 16];

fn key(number: u64) -> [u8; 16] {
    let mut key = *b"key:000000000000";
    let mut rest = number;
    for digit in key.iter_mut().rev().take(12) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    key
}

fn hash_of(key: &[u8]) -> u64 {
    SEED.hash(key)
}

fn insert(table: &mut Table<()>, number: u64, expiry: Option<i64>) {
    let key = key(number);
    table.set(hash_of(&key), &key, 0, NewPayload::Inline(&VALUE), expiry, 0, &hash_of);
}

fn filled(keys: u64, ttl: bool) -> Table<()> {
    let mut table = Table::new();
    for number in 0..keys {
        insert(&mut table, number, ttl.then_some(1_900_000_000_000 + number as i64));
    }
    table
}

/// Returns keys in random order, as a client would request them.
fn shuffled(keys: u64, count: usize) -> Vec<[u8; 16]> {
    let mut state = 88_172_645_463_325_252u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count).map(|_| key(next() % keys)).collect()
}

fn report(what: &str, count: usize, run: impl FnOnce()) {
    let begin = Instant::now();
    run();
    println!("{what:<44} {:7.1} ns", begin.elapsed().as_nanos() as f64 / count as f64);
}

/// Runs `each` over the keys in batches, after three stages of prefetching.
fn staged(
    table: &mut Table<()>,
    keys: &[[u8; 16]],
    mut each: impl FnMut(&mut Table<()>, u64, &[u8; 16]),
) {
    for window in keys.chunks(WINDOW) {
        let mut hashes = [0; WINDOW];
        for (hash, key) in hashes.iter_mut().zip(window) {
            *hash = hash_of(key);
            table.prefetch_segment(*hash);
        }
        let hashes = &hashes[..window.len()];
        hashes.iter().for_each(|hash| table.prefetch_bucket(*hash));
        hashes.iter().for_each(|hash| table.prefetch_entry(*hash));
        for (hash, key) in hashes.iter().zip(window) {
            each(table, *hash, key);
        }
    }
}

fn speed(keys: u64) {
    let lookups = shuffled(keys, 2_000_000);
    let count = lookups.len();
    report("hash of 16 bytes", count, || {
        for key in &lookups {
            black_box(hash_of(black_box(key)));
        }
    });
    let mut table = Table::new();
    report(&format!("insert, {keys} keys from empty"), keys as usize, || {
        (0..keys).for_each(|number| insert(&mut table, number, None));
    });
    report("get, none prefetched", count, || {
        for key in &lookups {
            let entry = table.get(hash_of(key), key).expect("present");
            let Payload::Inline(value) = entry.payload() else { unreachable!() };
            black_box(value[0]);
        }
    });
    report("get, windows of 16", count, || {
        staged(&mut table, &lookups, |table, hash, key| {
            let entry = table.get(hash, key).expect("present");
            let Payload::Inline(value) = entry.payload() else { unreachable!() };
            black_box(value[0]);
        });
    });
    report("overwriting set, none prefetched", count, || {
        for key in &lookups {
            table.set(hash_of(key), key, 0, NewPayload::Inline(&VALUE), None, 1, &hash_of);
        }
    });
    report("overwriting set, windows of 16", count, || {
        staged(&mut table, &lookups, |table, hash, key| {
            table.set(hash, key, 0, NewPayload::Inline(&VALUE), None, 1, &hash_of);
        });
    });
    report("scan of everything, per key", keys as usize, || {
        let mut pos = Some(0);
        while let Some(from) = pos {
            pos = table.scan(from, &hash_of, &mut |entry| {
                black_box(entry.kind());
            });
        }
    });
    report("walk of everything, per key", keys as usize, || {
        let mut pos = Some(0);
        while let Some(from) = pos {
            pos = table.walk(0, 1, from, &hash_of, &mut |entry| {
                black_box(entry.key());
            });
        }
    });
    report("random entry", 200_000, || {
        let mut hashes = lookups.iter().cycle().map(|key| hash_of(key));
        for _ in 0..200_000 {
            black_box(table.random(&mut || hashes.next().unwrap_or(0)).is_some());
        }
    });
    report("remove of everything, per key", keys as usize, || {
        for number in 0..keys {
            let key = key(number);
            drop(table.remove(hash_of(&key), &key, &hash_of));
        }
    });
}

/// Measures the slowest single inserts while a table grows.
fn slowest(keys: u64) {
    let mut table = Table::new();
    let mut times = Vec::with_capacity(keys as usize);
    for number in 0..keys {
        let begin = Instant::now();
        insert(&mut table, number, None);
        times.push(begin.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((keys as f64 * share) as usize).min(times.len() - 1)];
    println!(
        "single inserts up to {keys}: p99 {:?}, p99.9 {:?}, p99.99 {:?}, worst {:?}",
        at(0.99),
        at(0.999),
        at(0.9999),
        at(1.0),
    );
    let begin = Instant::now();
    drop(table);
    println!("drop: {:?}", begin.elapsed());
}

fn memory() {
    println!("bytes per key, 16 + 16      without TTL     with TTL");
    for keys in [100_000, 700_000, 1_000_000, 1_400_000, 2_000_000] {
        let [without, with] =
            [false, true].map(|ttl| filled(keys, ttl).allocated_bytes() as f64 / keys as f64);
        println!("{keys:>22}      {without:11.2}  {with:11.2}");
    }
    let (mut worst, mut sum, mut points) = ((0.0, 0), 0.0, 0);
    let mut table = Table::new();
    for keys in 1..=3_000_000 {
        insert(&mut table, keys, None);
        if keys > 100_000 && keys % 1000 == 0 {
            let per_key = table.allocated_bytes() as f64 / keys as f64;
            worst = if per_key > worst.0 { (per_key, keys) } else { worst };
            sum += per_key;
            points += 1;
        }
    }
    println!(
        "100k to 3M: mean {:.2}, worst {:.2} at {}",
        sum / f64::from(points),
        worst.0,
        worst.1
    );
    println!("{:?}", table.shape());
}

/// Returns a hash function for `slots` of 16384 slots, spread over all of them or adjacent.
fn slot_hash(slots: u64, spread: bool) -> impl Fn(&[u8]) -> u64 {
    move |key| {
        let hash = hash_of(key);
        let slot = (hash >> 20) % slots;
        (if spread { slot * (16384 / slots) } else { slot }) << 50 | hash >> 14
    }
}

/// Measures tables with keys in few of the 16384 slots.
fn slots() {
    println!("slots            keys  bytes/key  segments  directory  depth   get ns  random ns");
    for (slots, spread, keys) in [
        (1, true, 27),
        (1, true, 500),
        (1, true, 1_000_000),
        (100, true, 3000),
        (100, true, 1_000_000),
        (1000, true, 30_000),
        (1000, true, 1_000_000),
        (5461, false, 30_000),
        (5461, false, 1_000_000),
        (16384, true, 1_000_000),
    ] {
        let hash = slot_hash(slots, spread);
        let mut table: Table<()> = Table::new();
        for number in 0..keys {
            let key = key(number);
            table.set(hash(&key), &key, 0, NewPayload::Inline(&VALUE), None, 0, &hash);
        }
        let shape = table.shape();
        let lookups = shuffled(keys, 200_000);
        let begin = Instant::now();
        lookups.iter().for_each(|key| {
            black_box(table.get(hash(key), key).is_some());
        });
        let get = begin.elapsed().as_nanos() as f64 / lookups.len() as f64;
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        let begin = Instant::now();
        for _ in 0..500 {
            black_box(table.random(&mut next).is_some());
        }
        println!(
            "{slots:>5} {} {keys:>10} {:>10.2} {:>9} {:>10} {:>6} {get:>8.0} {:>10.0}",
            if spread { "spread" } else { "      " },
            table.allocated_bytes() as f64 / keys as f64,
            shape.segments,
            shape.directory_bytes,
            shape.depth_max,
            begin.elapsed().as_nanos() as f64 / 500.0,
        );
    }
}

fn lzf() {
    let text = b"The quick brown fox jumps over the lazy dog; pack my box with jugs. ".repeat(1000);
    let mut compressor = Compressor::new();
    let begin = Instant::now();
    let mut out = Vec::new();
    let mut bytes = 0;
    while begin.elapsed() < Duration::from_millis(300) {
        for piece in text.chunks(4000) {
            out.clear();
            black_box(compressor.compress(piece, piece.len(), &mut out));
            bytes += piece.len();
        }
    }
    println!("lzf: {:.0} MB/s", bytes as f64 / 1e6 / begin.elapsed().as_secs_f64());
}

fn main() {
    let keys = std::env::args().nth(1).and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000);
    slots();
    speed(keys);
    slowest(5_000_000);
    memory();
    lzf();
}
