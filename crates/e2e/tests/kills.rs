//! kill -9 at random moments while several clients write: no acknowledged write is lost, with `appendfsync always` and with
//! `everysec`, and a transaction is there as a whole or not at all.
//!
//! Before some of the kills a rewrite of the file begins.
//!
//! Each client writes to keys of its own, several commands ahead of their replies, and knows what it should find. Commands
//! without a reply may have been executed, from the first on up to any of them.
//!
//! `RUSSET_KILLS=2000 RUSSET_SEED=2 cargo test -p russet-e2e --test kills` kills more often, at other moments.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and files")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use russet_e2e::client::encode;
use russet_e2e::{Client, Program, Server, Setup, Value, wait_until};

/// Clients that write at the same time.
const CLIENTS: usize = 4;
/// Commands that a client sends ahead of their replies.
const AHEAD: usize = 6;
/// Kills of a server before the next one begins with an empty folder: what it has to load grows.
const KILLS_OF_ONE: u64 = 20;
/// Milliseconds since 1970, in the year 2100.
const FAR: u64 = 4_102_444_800_000;

/// A generator of numbers, which a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, count: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % count
    }
}

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
enum Content {
    Text(String),
    /// Fields with their values and expiries.
    Hash(BTreeMap<String, (String, i64)>),
}

/// The keys of a client with their values and expiries.
type Keys = BTreeMap<String, (Content, i64)>;

/// A command, or several in a transaction.
#[derive(Clone, Debug)]
struct Write(Vec<Vec<String>>);

/// Number of keys of each type.
const KEYS: u64 = 3;

impl Write {
    fn random(random: &mut Random, client: usize, number: u64) -> Write {
        let text = format!("{client}:text:{}", random.below(KEYS));
        let hash = format!("{client}:hash:{}", random.below(KEYS));
        let field = format!("field:{}", random.below(6));
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let one = |line: String| Write(vec![words(&line)]);
        match random.below(11) {
            0 | 1 => one(format!("SET {text} {number}")),
            2 => one(format!("SET {text} {number} PXAT {}", FAR + number)),
            3 => one(format!("APPEND {text} {}", "x".repeat(random.below(300) as usize + 1))),
            4 => one(format!("PEXPIREAT {hash} {}", FAR + number)),
            5 | 6 => one(format!("HSET {hash} {field} {number}")),
            7 => one(format!("HDEL {hash} {field}")),
            8 => one(format!("DEL {text} {hash}")),
            9 => one(format!("HPEXPIREAT {hash} {} FIELDS 1 {field}", FAR + number)),
            _ => Write(vec![
                words(&format!("SET {text} {number}")),
                words(&format!("HSET {hash} last {number}")),
                words(&format!("HSET {hash} {field} {number}")),
            ]),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let Write(commands) = self;
        let all: Vec<u8> = commands.iter().flat_map(|words| encode(words)).collect();
        match commands.len() {
            1 => all,
            _ => [encode(&["MULTI"]), all, encode(&["EXEC"])].concat(),
        }
    }

    /// Number of replies.
    fn replies(&self) -> usize {
        if self.0.len() == 1 { 1 } else { self.0.len() + 2 }
    }

    fn apply(&self, keys: &mut Keys) {
        self.0.iter().for_each(|words| apply(words, keys));
    }
}

fn apply(words: &[String], keys: &mut Keys) {
    let key = words[1].clone();
    match words[0].as_str() {
        "SET" => {
            let expiry = words.get(4).map_or(-1, |at| at.parse().expect("our number"));
            keys.insert(key, (Content::Text(words[2].clone()), expiry));
        }
        "APPEND" => {
            let (content, _) =
                keys.entry(key).or_insert_with(|| (Content::Text(String::new()), -1));
            let Content::Text(text) = content else { panic!("names have types") };
            text.push_str(&words[2]);
        }
        "PEXPIREAT" => {
            if let Some((_, expiry)) = keys.get_mut(&key) {
                *expiry = words[2].parse().expect("our number");
            }
        }
        "HSET" => {
            let empty = || (Content::Hash(BTreeMap::new()), -1);
            let (content, _) = keys.entry(key).or_insert_with(empty);
            let Content::Hash(fields) = content else { panic!("names have types") };
            fields.insert(words[2].clone(), (words[3].clone(), -1));
        }
        "HPEXPIREAT" => {
            let Some((Content::Hash(fields), _)) = keys.get_mut(&key) else { return };
            if let Some((_, expiry)) = fields.get_mut(&words[5]) {
                *expiry = words[2].parse().expect("our number");
            }
        }
        "HDEL" => {
            let Some((Content::Hash(fields), _)) = keys.get_mut(&key) else { return };
            fields.remove(&words[2]);
            if fields.is_empty() {
                keys.remove(&key);
            }
        }
        "DEL" => words[1..].iter().for_each(|key| _ = keys.remove(key)),
        other => panic!("{other}"),
    }
}

/// What a client knows.
#[derive(Default)]
struct Known {
    /// With all writes whose replies it has.
    keys: Keys,
    /// Sent, and not answered.
    pending: VecDeque<Write>,
}

impl Known {
    /// Writes until the server is gone.
    fn write(&mut self, client: &mut Client, random: &mut Random, id: usize, replies: &AtomicU64) {
        loop {
            while self.pending.len() < AHEAD {
                let write = Write::random(random, id, replies.load(Ordering::Relaxed));
                let bytes = write.bytes();
                self.pending.push_back(write);
                if client.send(&bytes).is_err() {
                    return;
                }
            }
            let Some(write) = self.pending.front() else { return };
            for _ in 0..write.replies() {
                match client.read_reply() {
                    Ok(reply) => assert!(!reply.is_error(), "{write:?}: {reply:?}"),
                    Err(_) => return,
                }
            }
            write.apply(&mut self.keys);
            self.pending.pop_front();
            replies.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Compares with what a server has after its restart, and goes on from there.
    fn check(&mut self, found: Keys, what: &str) {
        let mut tried = vec![self.keys.clone()];
        while self.keys != found {
            let Some(write) = self.pending.pop_front() else {
                panic!("{what}: lost or mixed up: {found:#?}\nnone of these: {tried:#?}");
            };
            write.apply(&mut self.keys);
            tried.push(self.keys.clone());
        }
        self.pending.clear();
    }
}

/// Returns what a server has of a client's keys.
fn found(client: &mut Client, id: usize) -> Keys {
    let mut keys = Keys::new();
    for number in 0..KEYS {
        let (text, hash) = (format!("{id}:text:{number}"), format!("{id}:hash:{number}"));
        let value = client.run(&format!("GET {text}"));
        if value != Value::Nil {
            let expiry = client.run(&format!("PEXPIRETIME {text}")).int();
            keys.insert(text, (Content::Text(value.text()), expiry));
        }
        let reply = client.run(&format!("HGETALL {hash}"));
        let words: Vec<String> = reply.items().iter().map(Value::text).collect();
        if !words.is_empty() {
            let fields = words.chunks_exact(2).map(|pair| {
                let reply = client.run(&format!("HPEXPIRETIME {hash} FIELDS 1 {}", pair[0]));
                (pair[0].clone(), (pair[1].clone(), reply.items()[0].int()))
            });
            let fields = fields.collect();
            let expiry = client.run(&format!("PEXPIRETIME {hash}")).int();
            keys.insert(hash, (Content::Hash(fields), expiry));
        }
    }
    keys
}

/// Lets clients write, and kills the server after so many replies, or in a rewrite that begins then.
fn write_and_kill(server: &mut Server, known: &mut [Known], seed: u64, replies_before: u64) {
    let replies = AtomicU64::new(0);
    let mut random = Random(seed | 1);
    std::thread::scope(|scope| {
        for (id, known) in known.iter_mut().enumerate() {
            let (mut client, replies) = (server.client(), &replies);
            let mut random = Random(seed.wrapping_mul(31) + id as u64 + 1);
            scope.spawn(move || known.write(&mut client, &mut random, id, replies));
        }
        let is_enough = || replies.load(Ordering::Relaxed) >= replies_before;
        wait_until("enough is written", is_enough);
        if random.below(2) == 0 {
            let reply = server.client().run("BGREWRITEAOF");
            assert!(!reply.is_error(), "{reply:?}");
            let begun = Instant::now();
            let moment = Duration::from_micros(random.below(8_000));
            while begun.elapsed() < moment {
                std::hint::spin_loop();
            }
        }
        server.kill();
    });
}

fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("the variable is a number"))
}

fn nothing_is_lost(policy: &str) {
    let (kills, seed) = (setting("RUSSET_KILLS", 40), setting("RUSSET_SEED", 1));
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut replies = 0;
    for first in (0..kills).step_by(KILLS_OF_ONE as usize) {
        let preamble = if (first / KILLS_OF_ONE).is_multiple_of(2) { "yes" } else { "no" };
        let setup = Setup::new(&Program::under_test()).conf("appendonly yes");
        let setup = setup.conf(&format!("aof-use-rdb-preamble {preamble}"));
        let mut server = setup.conf(&format!("appendfsync {policy}")).start();
        let mut known: Vec<Known> = (0..CLIENTS).map(|_| Known::default()).collect();
        for kill in first..kills.min(first + KILLS_OF_ONE) {
            let count = random.below(1000);
            write_and_kill(&mut server, &mut known, random.below(u64::MAX), count);
            server.start_again();
            let mut client = server.client();
            for (id, known) in known.iter_mut().enumerate() {
                known.check(found(&mut client, id), &format!("{policy}, kill {kill}, client {id}"));
            }
            replies += count;
        }
    }
    println!("{policy}: {kills} kills, at least {replies} writes, none lost");
}

#[test]
fn with_fsync_always_no_acknowledged_write_is_lost() {
    nothing_is_lost("always");
}

#[test]
fn with_fsync_everysec_nothing_is_lost_to_a_kill() {
    nothing_is_lost("everysec");
}
