//! Directives: each implemented one is read by the sources, and tests of some that no other test
//! covers.
#![allow(clippy::disallowed_methods, reason = "reads the sources of the repository")]

use std::fs;
use std::path::Path;

use russet_driver::Driver;
use russet_driver::peers::{command, replica};
use russet_engine::config::{DIRECTIVES, Status};
use russet_engine::io::{Handle, Request};

/// Implemented directives that are not read, since their behaviour is always enabled.
const ALWAYS: &[(&str, &str)] = &[
    ("sanitize-dump-payload", "payloads are always checked in depth"),
    ("repl-diskless-load", "a payload always goes into a second keyspace"),
    ("replica-lazy-flush", "detached databases are always freed lazily"),
    ("lazyfree-lazy-eviction", "values are always freed lazily"),
    ("lazyfree-lazy-user-del", "values are always freed lazily"),
    ("lazyfree-lazy-user-flush", "values are always freed lazily"),
    ("activerehashing", "there is no rehash"),
];

/// Collects all sources in a folder except the configuration and tests.
fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("the repository is here").flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("config") {
            sources(&path, text);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let source = fs::read_to_string(&path).expect("a source is text");
            let end = source.find("#[cfg(test)]\nmod tests {").unwrap_or(source.len());
            text.push_str(&source[..end]);
        }
    }
}

#[test]
fn each_implemented_directive_is_read() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut text = String::new();
    sources(&crates.join("engine/src"), &mut text);
    sources(&crates.join("server/src"), &mut text);
    // A row may contain its request to the shell, or the name of a function.
    for file in ["directives.rs", "apply.rs"] {
        let source = fs::read_to_string(crates.join("engine/src/config").join(file));
        let source = source.expect("the sources of the configuration");
        for line in source.lines() {
            text.push_str(line.find("config.").map_or("", |at| &line[at..]));
        }
    }
    let applied = fs::read_to_string(crates.join("engine/src/config/apply.rs"));
    text.push_str(&applied.expect("the sources of the configuration"));
    let is_read = |name: &str| {
        let field = format!(".{}", name.replace('-', "_"));
        text.match_indices(&field).any(|(at, _)| {
            let next = text[at + field.len()..].chars().next().unwrap_or(' ');
            !next.is_alphanumeric() && next != '_'
        })
    };
    let mut wrong = Vec::new();
    for row in DIRECTIVES.iter().filter(|row| row.status == Status::Implemented) {
        let always = ALWAYS.iter().any(|(name, _)| *name == row.name);
        // This one is read by the configuration.
        let is_read = is_read(row.name) || row.name == "enable-protected-configs";
        if is_read == always {
            wrong.push(row.name);
        }
        if always {
            assert!(row.doc().contains("Always "), "{}: its documentation says so", row.name);
        }
    }
    assert_eq!(wrong, [""; 0], "neither read nor listed as always enabled, or both");
}

fn logged(w: &Driver, text: &str) -> usize {
    w.log.iter().filter(|line| line.contains(text)).count()
}

#[test]
fn a_replica_that_cannot_save_exits_or_continues_as_configured() {
    for ignores in [false, true] {
        let line = if ignores { "replica-ignore-disk-write-errors yes\n" } else { "" };
        let (mut w, link) = replica(&format!("save 3600 1\n{line}"), &[]);
        let c = w.connect();
        w.send(link, &command(&["SET", "before", "x"]));
        assert_eq!(w.exit, None);
        w.snapshots.errors.push_back("No space left on device".to_owned());
        w.request(c, "BGSAVE");
        let writes = ["key", "other"].map(|key| command(&["SET", key, "x"]));
        w.send(link, &[command(&["PING"]), writes.concat()].concat());
        if ignores {
            assert_eq!(w.exit, None);
            assert_eq!(logged(&w, "Replica is applying a command even though it is unable"), 1);
            assert_eq!(w.request(c, "EXISTS before key other"), ":3\r\n");
        } else {
            assert_eq!(w.exit, Some(1));
            assert_eq!(logged(&w, "Replica was unable to write command to disk."), 1);
            assert_eq!(w.request(c, "EXISTS before"), "", "no client is served any more");
        }
    }
}

#[test]
fn a_failing_command_of_the_master_stops_a_replica_if_configured() {
    for (conf, words, ends) in [
        ("", &["INCR", "text"][..], false),
        ("propagation-error-behavior panic\n", &["SET", "key", "x"], false),
        ("propagation-error-behavior panic\n", &["INCR", "text"], true),
        ("propagation-error-behavior panic\n", &["NOSUCH", "x"], true),
        ("propagation-error-behavior panic-on-replicas\n", &["INCR", "text"], true),
        (
            "propagation-error-behavior panic-on-replicas\nreplica-read-only no\n",
            &["INCR", "text"],
            false,
        ),
    ] {
        let (mut w, link) = replica(conf, &["text"]);
        let offset = w.node.parts.master.stream.offset();
        w.send(link, &command(words));
        assert_eq!(w.exit, ends.then_some(1), "{conf}");
        let text = "This replica panicked sending an error to its master after processing";
        assert_eq!(logged(&w, text), usize::from(ends), "{conf}");
        let is_followed = w.node.parts.master.stream.offset() > offset;
        assert_eq!(is_followed, !ends && !conf.is_empty(), "{conf}");
    }
}

/// Attaches a replica by file.
fn attach(w: &mut Driver) -> Handle {
    let r = w.connect();
    w.request(r, "REPLCONF capa psync2");
    assert!(w.request(r, "PSYNC ? -1").starts_with("+FULLRESYNC"));
    w.advance_ms(2000);
    r
}

#[test]
fn a_dump_file_written_only_for_replicas_is_removed() {
    const CONF: &str = "save \"\"\nrepl-diskless-sync no\n";
    let removal = [Request::RemoveFile("dump.rdb".to_owned())];
    let mut w = Driver::new(&format!("{CONF}rdb-del-sync-files yes\n"));
    attach(&mut w);
    assert_eq!(w.requests.received, removal);
    w.advance_ms(5000);
    assert_eq!(w.requests.received, removal, "once");

    let mut w = Driver::new(CONF);
    attach(&mut w);
    assert_eq!(w.requests.received, [], "the directive is off");

    let mut w = Driver::new(&format!("{CONF}rdb-del-sync-files yes\nappendonly yes\n"));
    attach(&mut w);
    let is_removal = |request: &Request| matches!(request, Request::RemoveFile(_));
    assert!(!w.requests.received.iter().any(is_removal), "persistence is not disabled");

    let mut w = Driver::new(&format!("{CONF}rdb-del-sync-files yes\nsave 3600 1\n"));
    let c = w.connect();
    attach(&mut w);
    assert_eq!(w.requests.received, [], "the server itself needs it");
    w.request(c, "SAVE");
    w.request(c, "CONFIG SET save \"\"");
    w.advance_ms(2000);
    assert_eq!(w.requests.received, [], "a client requested this save");
}

#[test]
fn tcp_nodelay_of_replicas_is_disabled_if_configured() {
    let mut w = Driver::new("repl-disable-tcp-nodelay yes\nrepl-diskless-sync no\n");
    let r = attach(&mut w);
    assert_eq!(w.delayed, [r]);
    let mut w = Driver::new("repl-diskless-sync no\n");
    attach(&mut w);
    assert_eq!(w.delayed, []);
}

#[test]
fn the_node_reports_once_that_it_is_ready() {
    assert_eq!(Driver::new("").ready, [false]);
    assert_eq!(Driver::new("replicaof 127.0.0.1 7000\n").ready, [true]);
    let (w, _) = replica("", &[]);
    assert_eq!(w.ready, [true]);
}

#[test]
fn hz_rises_with_the_number_of_clients_if_dynamic() {
    for (conf, pace) in [("hz 10\ndynamic-hz no\n", 10), ("hz 10\n", 20), ("hz 300\n", 300)] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        for _ in 0..4000 {
            w.connect();
        }
        assert_eq!(w.node.parts.hz(&w.node.core), pace, "{conf}");
        let info = w.request(c, "INFO server");
        assert!(info.contains(&format!("\r\nhz:{pace}\r\n")), "{conf}");
    }
}

#[test]
fn more_expire_effort_deletes_more_keys_in_a_turn() {
    let left = |effort: u32| {
        let mut w = Driver::new(&format!("active-expire-effort {effort}\n"));
        let c = w.connect();
        for i in 0..5000 {
            w.send(c, format!("SET key:{i} x PX 10\r\n").as_bytes());
        }
        w.now.mono_us += 1_000_000;
        w.now.wall_us += 1_000_000;
        w.tick_us = 0;
        w.turn();
        w.node.data.dbs().map(|(_, db)| db.len()).sum::<usize>()
    };
    let (least, most) = (left(1), left(10));
    assert!(most > 0 && 5000 - most > 2 * (5000 - least), "{least} {most}");
}

#[test]
fn directives_of_the_shell_are_requested_from_it() {
    let mut w = Driver::new("");
    let c = w.connect();
    let words = "jemalloc-bg-thread no tcp-keepalive 7";
    assert_eq!(w.request(c, &format!("CONFIG SET {words}")), "+OK\r\n");
    let asked = [Request::PurgeInBackground(false), Request::KeepAlive(7)];
    assert_eq!(w.requests.received, asked);
    assert_eq!(w.request(c, "CONFIG SET port 7000 bind 127.0.0.1"), "+OK\r\n");
    assert_eq!(w.requests.received.len(), asked.len() + 1, "one request serves both");
}

#[test]
fn files_are_synced_as_written_by_their_own_directive() {
    let mut w = Driver::new("appendonly yes\nsave \"\"\n");
    let c = w.connect();
    w.request(c, "CONFIG SET rdb-save-incremental-fsync no");
    w.request(c, "SAVE");
    assert_eq!(w.request(c, "BGREWRITEAOF")[..1], *"+");
    w.advance_ms(100);
    w.request(c, "CONFIG SET rdb-save-incremental-fsync yes aof-rewrite-incremental-fsync no");
    w.request(c, "SAVE");
    assert_eq!(w.request(c, "BGREWRITEAOF")[..1], *"+");
    w.advance_ms(100);
    // The first is the base at the start.
    assert_eq!(w.snapshots.syncs_as_written, [true, false, true, true, false]);
}
