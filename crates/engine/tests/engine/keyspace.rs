//! Keys and transactions beyond transcripts: random keys, large tables, saves, requests within EXEC.

use std::collections::BTreeMap;

use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::io::Handle;
use russet_engine::node::{Boot, Seeds};

fn fill(w: &mut Driver, client: Handle, keys: std::ops::Range<usize>) {
    let requests: String = keys.map(|key| format!("SET key:{key} {key}\r\n")).collect();
    w.send(client, requests.as_bytes());
    w.take(client);
}

/// Returns the elements of an array of bulk strings.
fn bulks(reply: &str) -> Vec<&str> {
    reply.split("\r\n").filter(|line| !line.starts_with(['$', '*']) && !line.is_empty()).collect()
}

#[test]
fn a_scan_returns_all_keys_that_exist_throughout() {
    let mut w = Driver::new("");
    let c = w.connect();
    fill(&mut w, c, 0..1000);
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let (mut cursor, mut calls) = ("0".to_owned(), 0);
    loop {
        let reply = w.request(c, &format!("SCAN {cursor} COUNT 20"));
        let words = bulks(&reply);
        for key in &words[1..] {
            *seen.entry((*key).to_owned()).or_default() += 1;
        }
        cursor = words[0].to_owned();
        // The table grows and then shrinks during the scan; keys 0 to 499 stay.
        match calls {
            0..20 => fill(&mut w, c, 1000 + calls * 400..1400 + calls * 400),
            20..60 => {
                let first = 500 + (calls - 20) * 212;
                let line: String = (first..first + 212).map(|key| format!(" key:{key}")).collect();
                w.request(c, &format!("UNLINK{line}"));
            }
            _ => {}
        }
        calls += 1;
        if cursor == "0" {
            break;
        }
    }
    assert!((30..2000).contains(&calls), "{calls} calls");
    for key in 0..500 {
        assert!(seen.contains_key(&format!("key:{key}")), "key:{key} was not returned");
    }
}

#[test]
fn a_random_key_is_uniformly_distributed() {
    let mut w = Driver::new("");
    let c = w.connect();
    fill(&mut w, c, 0..20);
    let mut drawn: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..4000 {
        let reply = w.request(c, "RANDOMKEY");
        *drawn.entry(bulks(&reply)[0].to_owned()).or_default() += 1;
    }
    assert_eq!(drawn.len(), 20);
    // Each is returned 200 times on average, with a standard deviation below 14.
    assert!(drawn.values().all(|count| (140..260).contains(count)), "{drawn:?}");
}

#[test]
fn flushed_keys_do_not_return_from_the_dump_file() {
    let mut w = Driver::new("save 3600 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    w.request(c, "FLUSHALL");
    w.advance_ms(1000);
    let mut w = Driver::with_files("save 3600 1\n", w.files);
    let c = w.connect();
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
}

#[test]
fn without_save_points_flushall_writes_nothing() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "FLUSHALL");
    w.advance_ms(1000);
    assert!(w.files.is_empty());
}

#[test]
fn a_save_contains_the_data_of_its_start() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    w.request(c, "MSET a before b before");
    w.request(c, "SELECT 1");
    w.request(c, "SET one 1");
    w.snapshots.held = true;
    w.request(c, "BGSAVE");
    w.send(c, b"MULTI\r\nSWAPDB 0 1\r\nSET new 1\r\nFLUSHALL\r\nSET later 1\r\nEXEC\r\n");
    w.deliver_saves();
    let mut w = Driver::with_files("", w.files);
    let c = w.connect();
    assert_eq!(w.request(c, "MGET a b later"), "*3\r\n$6\r\nbefore\r\n$6\r\nbefore\r\n$-1\r\n");
    w.request(c, "SELECT 1");
    assert_eq!(w.request(c, "GET one"), "$1\r\n1\r\n");
    assert_eq!(w.request(c, "DBSIZE"), ":1\r\n");
}

/// Returns a number of INFO.
fn metric(w: &mut Driver, c: Handle, section: &str, name: &str) -> u64 {
    let text = w.request(c, &format!("INFO {section}"));
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{name} of {text}"))
}

#[test]
fn pre_images_are_counted_and_limited() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    let value = "v".repeat(1000);
    let write = |w: &mut Driver, step: usize| {
        for first in (0..20_000).step_by(step) {
            let both = (0..2).map(|db| format!("SELECT {db}\r\nSET key:{first} {value}\r\n"));
            w.send(c, both.collect::<String>().as_bytes());
        }
        w.take(c);
    };
    write(&mut w, 1);
    let before = metric(&mut w, c, "memory", "used_memory");
    w.snapshots.hangs = true;
    w.request(c, "BGSAVE");
    w.advance_ms(100);
    let resting = metric(&mut w, c, "memory", "used_memory") - before;
    assert!((4 << 20..6 << 20).contains(&resting), "the walk rests at {resting}");
    // Each write changes another bucket, alternating between two databases.
    write(&mut w, 40);
    w.advance_ms(100);
    let copies = metric(&mut w, c, "memory", "used_memory") - before;
    assert!(copies > resting + (2 << 20), "{copies} is more than {resting}");
    assert!(copies < resting + (32 << 20), "{copies} is no more than what there was");
    // With little memory each snapshot may hold 32 MiB, which is less than the data.
    w.memory_bytes = before + (20 << 20);
    w.advance_ms(1100);
    assert_eq!(metric(&mut w, c, "persistence", "rdb_bgsave_in_progress"), 1);
    write(&mut w, 1);
    w.advance_ms(100);
    assert!(w.log.iter().any(|line| line.contains("writes outran the snapshot")), "{:?}", w.log);
    assert_eq!(metric(&mut w, c, "persistence", "rdb_bgsave_in_progress"), 0);
    let after = metric(&mut w, c, "memory", "used_memory");
    assert!(after < before + (1 << 20), "{after} after it, {before} before");
}

#[test]
fn used_memory_includes_a_flushed_database_that_is_being_saved() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    let used = |w: &mut Driver| metric(w, c, "memory", "used_memory") >> 20;
    let empty = used(&mut w);
    for key in 0..40 {
        w.request(c, &format!("SETRANGE key{key} 1048575 x"));
    }
    w.snapshots.hangs = true;
    w.request(c, "BGSAVE");
    w.request(c, "FLUSHDB");
    assert!(used(&mut w) >= empty + 40, "the walk keeps all of it");
    w.request(c, "FLUSHALL");
    assert_eq!(used(&mut w), empty, "the save is given up");
}

#[test]
fn used_memory_includes_long_values() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    let used = |w: &mut Driver| metric(w, c, "memory", "used_memory_dataset");
    let empty = used(&mut w);
    let mut set = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3000000\r\n".to_vec();
    set.resize(set.len() + 3_000_000, b'x');
    set.extend_from_slice(b"\r\n");
    w.send(c, &set);
    assert_eq!(w.take(c), "+OK\r\n");
    let one = used(&mut w) - empty;
    assert!((3_000_000..4_000_000).contains(&one), "{one}");
    let steps = [
        ("COPY a b", 2),
        ("APPEND b y", 2),
        ("RENAME b c", 2),
        ("COPY a d DB 1", 3),
        ("SWAPDB 0 1", 3),
        ("SET d small", 2),
        ("SWAPDB 0 1", 2),
        ("SET a small", 1),
        ("EXPIRE c -1", 0),
        ("SETRANGE a 2999999 z", 1),
        ("FLUSHALL", 0),
    ];
    for (command, values) in steps {
        w.request(c, command);
        let now = used(&mut w) - empty.min(used(&mut w));
        assert!(now + 10_000 >= values * 3_000_000, "{command}: {now}");
        assert!(now <= values * one + values * one / 4 + 10_000, "{command}: {now}");
    }
}

#[test]
fn an_exec_that_waits_for_an_answer_is_atomic() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.requests.held = true;
    w.send(c, b"MULTI\r\nSET a 1\r\nCONFIG SET port 7000\r\nINCR a\r\nEXEC\r\nGET a\r\n");
    assert_eq!(w.requests.received.len(), 1, "the shell must replace the listeners");
    assert_eq!(w.request(d, "GET a"), "", "others wait");
    w.answer();
    let expected = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n+OK\r\n:2\r\n$1\r\n2\r\n";
    assert_eq!(w.take(c), expected);
    assert_eq!(w.take(d), "$1\r\n2\r\n");
}

#[test]
fn a_client_that_disconnects_during_exec_blocks_nobody() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.requests.held = true;
    w.send(c, b"MULTI\r\nSET a 1\r\nCONFIG SET port 7000\r\nINCR a\r\nEXEC\r\n");
    assert_eq!(w.request(d, "PING"), "");
    w.disconnect(c);
    w.answer();
    assert!(w.take(d).ends_with("+PONG\r\n"));
}

#[test]
fn a_long_string_in_an_outbox_is_not_changed() {
    let mut w = Driver::new("");
    let c = w.connect();
    let old = "x".repeat(50_000);
    w.send(c, format!("SET a {old}\r\nGET a\r\nSETRANGE a 0 yyy\r\nGETRANGE a 0 3\r\n").as_bytes());
    let expected = format!("+OK\r\n$50000\r\n{old}\r\n:50000\r\n$4\r\nyyyx\r\n");
    assert!(w.take(c) == expected);
}

#[test]
fn a_client_may_close_itself_within_exec() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    w.send(c, b"WATCH a\r\nMULTI\r\nSET a 1\r\nCLIENT KILL ID 1 SKIPME no\r\nSET a 2\r\nEXEC\r\n");
    assert_eq!(w.closed, [c]);
    assert!(w.request(d, "GET a").starts_with("$1\r\n"));
    assert_eq!(w.request(d, "SET a 3"), "+OK\r\n");
}

#[test]
fn a_stale_replica_runs_a_transaction_if_all_its_commands_are_allowed() {
    let mut w = Driver::new("replica-serve-stale-data no\n");
    let (c, d) = (w.connect(), w.connect());
    w.send(c, b"MULTI\r\nPING\r\n");
    w.send(d, b"MULTI\r\nUNWATCH\r\n");
    let e = w.connect();
    w.request(e, "REPLICAOF 127.0.0.1 1");
    w.take(c);
    w.take(d);
    let refused = w.request(c, "EXEC");
    assert!(refused.starts_with("-EXECABORT Transaction discarded because of: MASTERDOWN "));
    assert_eq!(w.request(d, "EXEC"), "*1\r\n+OK\r\n");
}

#[test]
fn accesses_are_counted_under_an_lfu_policy() {
    let mut w = Driver::new("maxmemory-policy allkeys-lfu\nlfu-log-factor 0\n");
    let c = w.connect();
    w.send(
        c,
        b"SET a 1\r\nSET b 1\r\nGET a\r\nGET a\r\nAPPEND a 2\r\nSET a 3\r\nEXPIRE a 1000\r\n",
    );
    w.take(c);
    for (command, expected) in [
        ("OBJECT FREQ a", 10),
        ("OBJECT FREQ a", 10),
        ("OBJECT FREQ b", 5),
        ("RENAME a c", 0),
        ("OBJECT FREQ c", 5),
        ("COPY b d", 0),
        ("OBJECT FREQ d", 5),
        ("OBJECT FREQ b", 6),
    ] {
        let reply = w.request(c, command);
        assert!(expected == 0 || reply == format!(":{expected}\r\n"), "{command}: {reply}");
    }
    w.advance_ms(120_000);
    assert_eq!(w.request(c, "OBJECT FREQ b"), ":4\r\n");
    w.request(c, "CONFIG SET lfu-decay-time 0");
    assert_eq!(w.request(c, "OBJECT FREQ b"), ":6\r\n");
    assert!(
        w.request(c, "OBJECT IDLETIME b").starts_with("-ERR An LFU maxmemory policy is selected")
    );
    w.request(c, "CONFIG SET maxmemory-policy allkeys-lru");
    assert!(
        w.request(c, "OBJECT FREQ b").starts_with("-ERR An LFU maxmemory policy is not selected")
    );
    w.request(c, "SET b 2");
    w.advance_ms(3000);
    assert_eq!(w.request(c, "OBJECT IDLETIME b"), ":3\r\n");
}

/// Starts a node with these seeds and returns its published ids and its keys in SCAN order.
fn ids_and_order(seeds: Seeds) -> (Vec<String>, String) {
    let boot = Boot { seeds, ..Boot::default() };
    let mut w = Driver::start(Config::default(), boot, Files::new());
    let c = w.connect();
    fill(&mut w, c, 0..64);
    let info = w.request(c, "INFO everything");
    let published = |line: &&str| line.starts_with("run_id:") || line.starts_with("master_replid:");
    let ids = info.lines().filter(published).map(str::to_owned).collect();
    (ids, w.request(c, "SCAN 0 COUNT 1000"))
}

#[test]
fn published_ids_and_the_hash_seed_are_independent() {
    let seeds = Seeds::derive([1, 2, 3, 4]);
    let (ids, order) = ids_and_order(seeds.clone());
    assert_eq!(ids.len(), 2);
    let rehashed = ids_and_order(Seeds { hash: !seeds.hash, ..seeds.clone() });
    assert_eq!(rehashed.0, ids);
    assert_ne!(rehashed.1, order);
    let renamed = ids_and_order(Seeds { ids: [7; 32], rng: [7; 4], ..seeds.clone() });
    assert_ne!(renamed.0, ids);
    assert_eq!(renamed.1, order);
    // What clients may draw reveals no ids either.
    assert_eq!(ids_and_order(Seeds { rng: [7; 4], ..seeds }), (ids, order));
}

#[test]
fn unwatch_forgets_that_a_watched_key_has_changed() {
    let mut w = Driver::new("");
    let (c, other) = (w.connect(), w.connect());
    w.request(c, "WATCH a");
    w.request(other, "SET a 1");
    w.request(c, "UNWATCH");
    w.request(c, "MULTI");
    w.request(c, "GET a");
    assert_eq!(w.request(c, "EXEC"), "*1\r\n$1\r\n1\r\n");
}
