//! Damaged files: flipped bits, and cuts at every byte. Either the start is refused, with the file and the place in the log
//! and all files as they were; or the data is that of the end of a batch, and only what was never known to be on disk is
//! cut off.
//!
//! ```text
//!   base (RDB) ──▶ first file: any damage is refused ──▶ last file: #RS #RS #RS #RS
//!                                                                    ╰ damage ╯ ▲ a later line knew it to be on disk:
//!                                                                               refused; otherwise cut off
//! ```
//!
//! `RUSSET_FLIPS=1000000 RUSSET_SEED=2 cargo test -p russet-engine --test engine damage:: -- --nocapture` flips other bits.
#![allow(clippy::disallowed_methods, reason = "the environment says how many bits to flip")]

use std::collections::BTreeMap;

use russet_driver::mirror::contents;
use russet_driver::{Driver, Files, START};
use russet_engine::Node;
use russet_engine::config::Config;
use russet_engine::node::{Boot, Seeds};
use russet_engine::persist::aof::batch::BatchLine;
use russet_engine::persist::aof::manifest::{BaseFormat, Manifest};
use russet_engine::types::hash::HashRef;

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const RDB_BASE: &str = "appendonlydir/appendonly.aof.1.base.rdb";
const AOF_BASE: &str = "appendonlydir/appendonly.aof.1.base.aof";
const FIRST: &str = "appendonlydir/appendonly.aof.1.incr.aof";
const LAST: &str = "appendonlydir/appendonly.aof.2.incr.aof";

const CONF: &str = "save \"\"\nappendonly yes\naof-timestamp-enabled yes\n";
const STRICT: &str = "save \"\"\nappendonly yes\naof-load-truncated no\n";

/// Values and expiries of keys, and expiries of fields.
type State = (BTreeMap<(u32, Vec<u8>), (Option<i64>, String)>, Vec<(Vec<u8>, Vec<u8>, i64)>);

fn state(node: &Node) -> State {
    let mut expiries = Vec::new();
    for (_, db) in node.data.dbs() {
        db.table().for_each(&mut |entry| {
            let Some(hash) = HashRef::of(&entry) else { return };
            hash.each(&mut |field| {
                let name = (entry.key().to_vec(), field.name_text().into_owned());
                expiries.extend(field.expiry.map(|at| (name.0, name.1, at)));
            });
        });
    }
    expiries.sort();
    (contents(node), expiries)
}

fn config(conf: &str) -> Config {
    let mut config = Config::parse_text(conf.as_bytes()).expect("the test's conf").config;
    config.dir = b"/data".to_vec();
    config
}

/// Starts a node that reads the files in pieces of this length.
fn start(config: &Config, files: &Files, piece_bytes: usize) -> Driver {
    let boot = Boot { seeds: Seeds::derive([1, 2, 3, 4]), load: true, ..Boot::default() };
    let mut w = Driver::idle(config.clone(), boot, files.clone(), START);
    w.reads.piece_bytes = piece_bytes;
    w.run();
    w
}

/// An append-only file of a base and two incremental files, and what it held at the end of each batch of the last one.
struct History {
    files: Files,
    /// The name of the base.
    base: &'static str,
    /// Lengths of the last file.
    ends: Vec<usize>,
    /// The data at these lengths.
    states: Vec<State>,
    /// The lines of its batches.
    lines: Vec<BatchLine>,
}

impl History {
    fn new(base: &'static str) -> History {
        let preamble = if base == RDB_BASE { "yes" } else { "no" };
        let mut w = Driver::new("save \"\"\n");
        let c = w.connect();
        for line in
            ["SET old 1", "HSET table a 1 b 2", "SET text \"some text\" PX 90000000", "SAVE"]
        {
            w.request(c, line);
        }
        let mut w =
            Driver::with_files(&format!("{CONF}aof-use-rdb-preamble {preamble}\n"), w.files);
        let c = w.connect();
        for line in ["SET first 1", "INCR old", "SELECT 3", "SET other 1", "HSET table c 3"] {
            w.request(c, line);
        }
        w.files.remove("dump.rdb");
        let mut manifest = Manifest::parse(&w.files[MANIFEST]).expect("its own");
        assert_eq!(format!("appendonlydir/{}", manifest.next_incremental("appendonly.aof")), LAST);
        w.files.insert(MANIFEST.to_owned(), manifest.format(true));
        w.files.insert(LAST.to_owned(), Vec::new());
        History::of_last_file(Driver::with_files(CONF, w.files), base)
    }

    fn of_last_file(mut w: Driver, base: &'static str) -> History {
        let begin = state(&w.node);
        let mut growth = Vec::new();
        let c = w.connect();
        let long = "x".repeat(70);
        for line in [
            "SET a 1",
            "HSET table a 2 d 5",
            "MULTI\r\nSET b 1\r\nSELECT 3\r\nSET b 2\r\nINCR other\r\nEXEC",
            "*", // a second goes by, and what was written is synced
            "HPEXPIRE table 80000000 FIELDS 1 a",
            "SELECT 3",
            &format!("SET long {long}"),
            "*",
            "PEXPIRE b 70000000",
            "DEL other",
            "*",
            "SET c 1",
            "MULTI\r\nINCR c\r\nINCR c\r\nEXEC",
            &format!("APPEND long {long}"),
            "SET d 4",
        ] {
            match line {
                "*" => w.advance_ms(1100),
                line => _ = w.request(c, line),
            }
            growth.push((w.files[LAST].len(), state(&w.node)));
        }
        let (mut ends, mut states, mut lines) = (vec![0], vec![begin], Vec::new());
        let mut at = 0;
        for line in w.files[LAST].split_inclusive(|&byte| byte == b'\n') {
            at += line.len();
            let Some(batch) = BatchLine::parse(line) else { continue };
            let end = at + usize::try_from(batch.len).expect("it is small");
            let after = growth.iter().find(|(len, _)| *len >= end).expect("it was written");
            // A line without a batch only says what is on disk.
            let is_mark = batch.len == 0;
            let known = if is_mark { states.last() } else { Some(&after.1) };
            states.extend(known.cloned());
            ends.push(end);
            lines.push(batch);
        }
        let history = History { files: w.files, base, ends, states, lines };
        history.check();
        history
    }

    /// The history is worth something: all states differ, some batches are known to be on disk and some are not.
    fn check(&self) {
        let names: Vec<&str> = self.files.keys().map(String::as_str).collect();
        assert_eq!(names, [self.base, FIRST, LAST, MANIFEST]);
        let mut distinct = self.states.clone();
        distinct.dedup();
        let is_new = |at: usize| !distinct[..at].contains(&distinct[at]);
        assert!(distinct.len() > 10 && (0..distinct.len()).all(is_new));
        let synced = self.synced_after(0) as usize;
        let unknown = self.ends.iter().filter(|&&end| end > synced).count();
        assert!(synced >= self.ends[4] && unknown >= 3, "{synced} of {:?}", self.ends);
    }

    /// The number of bytes that lines from an offset on knew to be on disk.
    fn synced_after(&self, offset: usize) -> u64 {
        let later = self.lines.iter().filter(|line| line.offset >= offset as u64);
        later.map(|line| line.synced).max().unwrap_or(0)
    }

    /// Checks a node that has started on damaged files: at the end of batch `batch` or by a refusal. Returns the length of
    /// the last file, none if the start was refused.
    fn judge(&self, w: &Driver, damaged: &Files, name: &str, batch: usize) -> Option<usize> {
        let place = format!("{name}, batch {batch} of {:?}: {:?}", self.ends, w.log);
        let short = name.trim_start_matches("appendonlydir/");
        if w.exit.is_some() {
            assert_eq!(w.exit, Some(1), "{place}");
            assert!(w.files == *damaged, "a refused file was changed: {place}");
            assert!(w.ready.is_empty(), "{place}");
            let where_in_it = ["offset ", "at line ", "checksum is ", "an empty "];
            let is_clear = |line: &String| {
                line.contains(short) && where_in_it.iter().any(|word| line.contains(word))
            };
            assert!(w.log.iter().any(is_clear), "{place}");
            return None;
        }
        assert_eq!(name, LAST, "{place}");
        assert_eq!(state(&w.node), self.states[batch], "{place}");
        let kept = continued_at(w, LAST);
        let was = &self.files[LAST];
        assert!(w.files[LAST].starts_with(&was[..kept]) && kept >= self.ends[batch], "{place}");
        assert!(kept < self.ends.get(batch + 1).copied().unwrap_or(usize::MAX), "{place}");
        if kept < damaged[LAST].len() {
            let cut = format!("cut off at offset {kept}");
            assert!(
                w.log.iter().any(|line| line.contains(short) && line.contains(&cut)),
                "{place}"
            );
        }
        Some(kept)
    }
}

/// Returns the length that a file was cut to, or had, before the node went on with it.
fn continued_at(w: &Driver, name: &str) -> usize {
    let opened = w.appends.opened.iter().find(|(path, _)| path == name);
    let (_, len) = opened.unwrap_or_else(|| panic!("{name} is not continued: {:?}", w.log));
    usize::try_from(*len).expect("it is small")
}

/// A generator of numbers, which a seed repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % count as u64).expect("it is below a usize")
    }
}

/// A number from the environment.
fn setting(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("the variable is a number"))
}

/// The flips of a run, and its generator.
fn flips() -> (u64, Random) {
    let seed = setting("RUSSET_SEED", 1);
    (setting("RUSSET_FLIPS", 100_000), Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1))
}

/// Flips a random bit of one of these files, each byte as likely as any other. Returns the file and the place.
fn flip<'a>(files: &mut Files, names: &[&'a str], random: &mut Random) -> (&'a str, usize) {
    let total = names.iter().map(|name| files[*name].len()).sum();
    let mut at = random.below(total);
    for name in names {
        let bytes = files.get_mut(*name).expect("it exists");
        if at < bytes.len() {
            bytes[at] ^= 1 << random.below(8);
            return (name, at);
        }
        at -= bytes.len();
    }
    unreachable!("the place is within a file")
}

#[test]
fn a_flipped_bit_is_refused_or_cut_off_with_what_was_never_on_disk() {
    let (rounds, mut random) = flips();
    flip_bits(&History::new(RDB_BASE), rounds, &mut random);
    flip_bits(&History::new(AOF_BASE), rounds / 4, &mut random);
}

fn flip_bits(history: &History, rounds: u64, random: &mut Random) {
    let confs = [config(CONF), config(STRICT)];
    let (mut refused, mut cut, mut needless) = (0, 0, 0);
    for _ in 0..rounds {
        let mut damaged = history.files.clone();
        let (name, at) = flip(&mut damaged, &[history.base, FIRST, LAST, MANIFEST], random);
        let is_strict = random.below(8) == 0;
        let piece = [4096, 61][usize::from(random.below(16) == 0)];
        let mut w = start(&confs[usize::from(is_strict)], &damaged, piece);
        let after = |at: usize| history.ends.iter().filter(|&&end| end <= at).count() - 1;
        let batch = after(at);
        let Some(len) = history.judge(&w, &damaged, name, batch) else {
            let could = name == LAST && !is_strict;
            let synced =
                || history.synced_after(history.ends[batch + 1]) > history.ends[batch] as u64;
            needless += u64::from(could && !synced());
            refused += 1;
            continue;
        };
        assert!(!is_strict, "{:?}", w.log);
        let synced = history.synced_after(history.ends[batch + 1]);
        assert!(synced <= len as u64, "{synced} bytes were on disk, {len} are kept: {:?}", w.log);
        cut += 1;
        if random.below(16) == 0 {
            // What is written from now on follows what was kept.
            let c = w.connect();
            assert_eq!(w.request(c, "SET more 1"), "+OK\r\n");
            let expected = state(&w.node);
            let again = start(&confs[1], &w.files, 4096);
            assert_eq!(state(&again.node), expected, "{:?}", again.log);
        }
    }
    println!("{rounds} flips: {refused} refused ({needless} of unsynced bytes), {cut} cut off");
    assert!(cut * 20 > rounds && refused * 4 > rounds, "{cut} were cut off");
    assert!(needless * 10 < cut, "{needless} were refused without need");
}

#[test]
fn a_file_cut_at_any_byte_ends_with_a_whole_batch_or_is_refused() {
    let history = History::new(RDB_BASE);
    let (lax, strict) = (config(CONF), config(STRICT));
    for len in 0..history.files[LAST].len() {
        let mut damaged = history.files.clone();
        damaged.get_mut(LAST).expect("it exists").truncate(len);
        let batch = history.ends.iter().filter(|&&end| end <= len).count() - 1;
        let w = start(&lax, &damaged, 4096);
        let kept = history.judge(&w, &damaged, LAST, batch).expect("an end is missing, no more");
        let refused = history.judge(&start(&strict, &damaged, 4096), &damaged, LAST, batch);
        // Nobody can see a cut just behind a batch, or a timestamp.
        assert_eq!(refused.is_some(), kept == len, "cut at {len}: {:?}", w.log);
    }
}

#[test]
fn no_other_file_may_be_cut() {
    let history = History::new(RDB_BASE);
    for name in [RDB_BASE, FIRST, MANIFEST] {
        let whole = &history.files[name];
        for len in 0..whole.len() {
            let mut damaged = history.files.clone();
            damaged.get_mut(name).expect("it exists").truncate(len);
            let w = start(&config(CONF), &damaged, 4096);
            // A file of which whole batches are missing is one that nobody can see to be damaged.
            let is_whole = name == FIRST && (len == 0 || whole[len..].starts_with(b"#"));
            assert!(is_whole || history.judge(&w, &damaged, name, 0).is_none(), "{name} {len}");
        }
        let mut missing = history.files.clone();
        missing.remove(name);
        let w = start(&config(CONF), &missing, 4096);
        assert_eq!(w.exit, (name != MANIFEST).then_some(1), "{:?}", w.log);
    }
}

#[test]
fn a_base_without_incremental_files_may_not_be_cut_either() {
    let mut files = History::new(AOF_BASE).files;
    let mut manifest = Manifest::default();
    assert_eq!(manifest.next_base("appendonly.aof", BaseFormat::Aof), AOF_BASE[14..]);
    files.insert(MANIFEST.to_owned(), manifest.format(true));
    files.retain(|name, _| name != FIRST && name != LAST);
    assert!(start(&config(CONF), &files, 4096).exit.is_none());
    let whole = files[AOF_BASE].clone();
    // Without its only batch it would be a whole file.
    let batch = whole.windows(4).position(|bytes| bytes == b"#RS:").expect("it has one");
    for len in batch + 1..whole.len() {
        files.insert(AOF_BASE.to_owned(), whole[..len].to_vec());
        let w = start(&config(CONF), &files, 4096);
        assert_eq!(w.exit, Some(1), "{len} of {} bytes: {:?}", whole.len(), w.log);
        assert_eq!(w.files[AOF_BASE].len(), len);
    }
}

#[test]
fn a_damaged_dump_file_is_refused() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    for line in ["SET old 1", "HSET table a 1 b 2", "SELECT 5", "SET text text PX 9000000", "SAVE"]
    {
        w.request(c, line);
    }
    let (config, files) = (config("save \"\"\n"), w.files);
    let refused = |damaged: &Files, place: &str| {
        let w = start(&config, damaged, 4096);
        assert_eq!(w.exit, Some(1), "{place}: {:?}", w.log);
        assert!(w.files == *damaged && w.ready.is_empty(), "{place}: {:?}", w.log);
        let is_clear = |line: &String| line.contains("dump.rdb") && line.contains("offset ");
        assert!(w.log.iter().any(is_clear), "{place}: {:?}", w.log);
    };
    let (rounds, mut random) = flips();
    for _ in 0..rounds / 4 {
        let mut damaged = files.clone();
        let place = flip(&mut damaged, &["dump.rdb"], &mut random);
        refused(&damaged, &format!("{place:?}"));
    }
    for len in 0..files["dump.rdb"].len() {
        let mut damaged = files.clone();
        damaged.get_mut("dump.rdb").expect("it exists").truncate(len);
        refused(&damaged, &format!("cut at {len}"));
    }
}

/// The files of stock servers have no checksums. Changed values cannot be seen, but no bit costs more than the last
/// command.
#[test]
fn a_flipped_bit_in_a_stock_servers_files_destroys_nothing() {
    const NAMES: [&str; 3] = ["manifest", "2.base.rdb", "2.incr.aof"];
    let contents: [&[u8]; 3] = [
        include_bytes!("../../src/persist/aof/fixtures/stock70/appendonly.aof.manifest"),
        include_bytes!("../../src/persist/aof/fixtures/stock70/appendonly.aof.2.base.rdb"),
        include_bytes!("../../src/persist/aof/fixtures/stock70/appendonly.aof.2.incr.aof"),
    ];
    let names = NAMES.map(|name| format!("appendonlydir/appendonly.aof.{name}"));
    let files: Files = names.clone().into_iter().zip(contents.map(<[u8]>::to_vec)).collect();
    let names = [names[0].as_str(), names[1].as_str(), names[2].as_str()];
    let incremental = &files[names[2]];
    let last_command =
        incremental.windows(3).rposition(|bytes| bytes == b"\n*3").expect("a SET") + 1;
    let config = config(CONF);
    let (rounds, mut random) = flips();
    let (mut refused, mut cut) = (0, 0);
    for _ in 0..rounds / 4 {
        let mut damaged = files.clone();
        let place = flip(&mut damaged, &names, &mut random);
        let w = start(&config, &damaged, [4096, 61][random.below(2)]);
        if w.exit.is_some() {
            refused += 1;
            assert!(w.files == damaged, "{place:?}: {:?}", w.log);
            continue;
        }
        let (kept, was) = (continued_at(&w, names[2]), &damaged[names[2]]);
        assert!(w.files[names[2]].starts_with(&was[..kept]), "{place:?}: {:?}", w.log);
        assert!(kept >= last_command, "{place:?}: {:?}", w.log);
        cut += u64::from(kept < was.len());
    }
    println!("{} flips in stock's files: {refused} refused, {cut} cut off", rounds / 4);
    assert!(refused > 0 && cut > 0);
}

#[test]
fn commands_that_nobody_writes_are_refused() {
    let command = |words: &str| {
        let words: Vec<&str> = words.split(' ').collect();
        russet_driver::peers::command(&words)
    };
    let good = command("SET foo hello");
    for (words, why) in [
        ("bla foo hello", "Unknown command 'bla' reading the append only file"),
        ("SET foo", "wrong number of arguments"),
        ("SHUTDOWN", "'shutdown' is not a command of a data set"),
        ("INCR foo", "value is not an integer or out of range"),
        ("SUBSCRIBE foo", "This command needs a connection"),
        ("REPLICAOF 127.0.0.1 1", "'replicaof' is not a command of a data set"),
        ("CONFIG SET appendonly no", "'config|set' is not a command of a data set"),
        ("DEBUG SLEEP 100", "'debug' is not a command of a data set"),
        ("SELECT 99", "DB index is out of range"),
    ] {
        let manifest = b"file a.1.incr.aof seq 1 type i\n".to_vec();
        let text = [good.clone(), command(words), good.clone()].concat();
        let path = |name: &str| format!("appendonlydir/{name}");
        let files = [(path("appendonly.aof.manifest"), manifest), (path("a.1.incr.aof"), text)];
        let files = Files::from(files);
        let w = start(&config(CONF), &files, 4096);
        let place = format!("a.1.incr.aof: offset {}: ", good.len());
        let is_clear = |line: &String| line.contains(&place) && line.contains(why);
        assert!(w.log.iter().any(is_clear), "{words}: {:?}", w.log);
        assert_eq!((w.exit, w.files), (Some(1), files), "{words}: {:?}", w.log);
    }
}
