//! Several snapshots at once: each has the data of its own beginning.

use std::collections::BTreeMap;

use russet_driver::mirror::contents;
use russet_driver::peers::{self, ID, connected};
use russet_driver::{Driver, Files};
use russet_engine::io::Handle;

/// Keys at the beginning.
const KEYS: usize = 60_000;

/// The data of a node, with what has expired.
type Data = BTreeMap<(u32, Vec<u8>), (Option<i64>, String)>;

/// Runs one turn with little time for each walk, without waiting for anything.
fn round(w: &mut Driver) {
    w.read_connections();
    while let Some(input) = w.inputs.pop_front() {
        w.node.handle(w.now, input);
        w.flush();
    }
    w.turn();
    w.flush();
}

/// Sends requests, and runs turns until they are carried out. Walks go on a little meanwhile.
fn requests(w: &mut Driver, c: Handle, lines: &[String]) {
    w.queue(c, (lines.join("\r\n") + "\r\nECHO done\r\n").as_bytes());
    let mut replies = String::new();
    while !replies.ends_with("$4\r\ndone\r\n") {
        round(w);
        replies += &w.take(c);
    }
}

fn request(w: &mut Driver, c: Handle, line: &str) {
    requests(w, c, &[line.to_owned()]);
}

/// The data of a node that starts with this dump file.
fn loaded(bytes: Vec<u8>, now: russet_engine::io::Now) -> Data {
    let mut w = Driver::with_files("save \"\"\n", Files::from([("dump.rdb".to_owned(), bytes)]));
    assert_eq!(w.exit, None, "{:?}", w.log);
    w.now = now;
    contents(&w.node)
}

/// The data of a replica that receives this payload.
fn received(payload: &[u8]) -> Data {
    let mut w = Driver::new("save \"\"\nreplicaof 127.0.0.1 7000\n");
    let link = peers::link(&w).expect("it connects");
    connected(&mut w, link);
    w.send(link, format!("+FULLRESYNC {ID} 5\r\n").as_bytes());
    w.send(link, payload);
    assert!(w.node.parts.following.master().expect("a link").is_online(), "{:?}", w.log);
    contents(&w.node)
}

/// Changes of every kind that a walk must not notice, some of each with a number of its own.
fn change(w: &mut Driver, c: Handle, step: usize) {
    let mut lines = Vec::new();
    for key in 0..40 {
        lines.push(format!("SET key:{} {step}", (key * 37 + step) % KEYS));
        lines.push(format!("DEL key:{}", (key * 41 + step * 7) % KEYS));
        // Growth of the table, in which segments split.
        lines.extend((0..5).map(|more| format!("SET new:{step}:{key}:{more} {step}")));
        lines.push(format!("HSET hash:{} f{key} {step} g{} 1", key % 5, key * 3));
        lines.push(format!("RPUSH list:{} {step} {key} {}", key % 5, "x".repeat(key * 7)));
        lines.push(format!("LSET list:{} {} {step}", key % 5, key * 3));
        lines.push(format!("LREM list:{} -1 {}", key % 5, step.saturating_sub(1)));
        lines.push(format!("LPOP list:{}", key % 5));
        if key % 8 == 0 {
            let stream = format!("stream:{}", key / 8);
            lines.push(format!("XADD {stream} {}-{key} f {step}", 1000 + step));
            lines.push(format!("XDEL {stream} 5-{}", key * 13 + step));
            lines.push(format!("XTRIM {stream} MAXLEN {}", 590 - step));
            lines.push(format!("XACK {stream} g 5-{}", key * 10 + step));
            lines.push(format!("XCLAIM {stream} g new 0 5-{} JUSTID", key * 11 + step));
            lines.push(format!("XGROUP DESTROY {stream} g{}", key + step));
        }
        lines.push(format!("ZADD zset:{} {step} {key} {key} member:{}", key % 5, key * 3));
        lines.push(format!("ZREMRANGEBYRANK zset:{} {key} {}", key % 5, key + 3));
        lines.push(format!("RENAME key:{} moved:{step}:{key}", (key * 43 + step) % KEYS));
    }
    requests(w, c, &lines);
    request(w, c, "SWAPDB 0 1");
    request(w, c, "SELECT 2");
    if step.is_multiple_of(2) {
        request(w, c, "FLUSHDB");
    }
    request(w, c, &format!("SET two:{step} 2"));
    request(w, c, "SELECT 0");
}

#[test]
fn a_save_a_full_synchronization_and_a_base_have_the_data_of_their_beginnings() {
    let mut w = Driver::new("save \"\"\nrepl-diskless-sync-delay 0\nhz 100\n");
    w.tick_us = 0;
    let c = w.connect();
    // Some expire during the walks.
    let set = |key| match key % 30 {
        0 => format!("SET key:{key} value:{key} PX 50\r\n"),
        _ => format!("SET key:{key} value:{key}\r\n"),
    };
    w.send(c, (0..KEYS).map(set).collect::<String>().as_bytes());
    for hash in 0..5 {
        for field in 0..600 {
            w.request(c, &format!("HSET hash:{hash} field:{field} {field}"));
            w.request(c, &format!("RPUSH list:{hash} {field} element:{field}"));
            w.request(c, &format!("XADD stream:{hash} 5-{} f element:{field}", field + 1));
            w.request(c, &format!("XGROUP CREATE stream:{hash} g{field} $"));
            w.request(c, &format!("ZADD zset:{hash} {} member:{field}", field % 50));
        }
        w.request(c, &format!("XGROUP CREATE stream:{hash} g 0"));
        w.request(c, &format!("XREADGROUP GROUP g old COUNT 500 STREAMS stream:{hash} >"));
    }
    w.take(c);
    let r = w.connect();
    w.request(r, "REPLCONF capa eof capa psync2");
    // From now on a slice of a walk is over after a few buckets, so that all of them run beside the changes.
    w.tick_us = 30;
    request(&mut w, c, "BGSAVE");
    let of_save = contents(&w.node);
    change(&mut w, c, 1);
    w.queue(r, b"PSYNC ? -1\r\n");
    let of_sync = contents(&w.node);
    round(&mut w);
    change(&mut w, c, 2);
    request(&mut w, c, "CONFIG SET appendonly yes");
    let of_base = contents(&w.node);
    assert_eq!(w.node.parts.saves.snapshots.len(), 3, "all of them at once");
    for step in 3..6 {
        change(&mut w, c, step);
        w.now.mono_us += 20_000;
        w.now.wall_us += 20_000;
    }
    let walking = w.node.parts.saves.snapshots.iter().filter(|one| one.is_walking()).count();
    assert_eq!(walking, 3, "none has ended before the changes");
    w.tick_us = 1;
    w.advance_ms(2000);
    assert_eq!(w.node.parts.saves.snapshots.len(), 0);
    let stats = w.request(c, "INFO stats");
    assert!(stats.lines().any(|line| line.starts_with("expired_keys:") && !line.ends_with(":0")));

    // Keys that had expired when the file is loaded are not in the data, but were at the beginning.
    let start = russet_driver::START;
    assert_eq!(loaded(w.files["dump.rdb"].clone(), start), of_save);
    let base = w.files.iter().find(|(path, _)| path.ends_with(".base.rdb")).expect("a base");
    assert_eq!(loaded(base.1.clone(), start), of_base);
    let bytes = w.take_raw(r);
    let at = bytes.windows(5).position(|part| part == b"$EOF:").expect("a header");
    let mark = bytes[at + 5..at + 45].to_vec();
    let end = at + 47 + bytes[at + 47..].windows(40).position(|part| part == mark).expect("a mark");
    assert_eq!(received(&bytes[at..end + 40]), of_sync);
}
