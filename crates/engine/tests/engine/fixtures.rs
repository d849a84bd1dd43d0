//! Files that other servers wrote, older and newer ones than the stock server of the end-to-end tests. Each holds the same
//! data, whose DEBUG DIGEST those servers agreed on.
//!
//! ```text
//!   redis62/preamble.aof   6.2.16: one file, commands behind an RDB file (aof-use-rdb-preamble yes, its default)
//!   redis62/commands.aof   6.2.16: one file, commands only
//!   redis72/ valkey8/      7.2.4, 8.0.1: a folder after a rewrite, with timestamps and a transaction over two databases
//!   */dump.rdb             SAVE of the same data
//! ```

use russet_driver::{Driver, Files};

const DIGEST: &str = "+c3859d13e6c22b4f97d8cc6ce8dc6c306bcae8ea\r\n";
const CONF: &str = "save \"\"\nenable-debug-command yes\n";

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!("../../src/persist/aof/fixtures/", $name)).to_vec()
    };
}

/// Starts a node on files and compares its data.
fn loads(name: &str, conf: &str, files: &Files) -> Driver {
    let mut w = Driver::with_files(&format!("{CONF}{conf}"), files.clone());
    assert_eq!(w.exit, None, "{name}: {:?}", w.log);
    let c = w.connect();
    assert_eq!(w.request(c, "DEBUG DIGEST"), DIGEST, "{name}: {:?}", w.log);
    for (line, reply) in [
        ("PEXPIRETIME a", ":4102444800000\r\n"),
        ("PEXPIRETIME tmp", ":4102444800001\r\n"),
        ("HGET h f", "$1\r\n2\r\n"),
        ("GET n", "$5\r\n12346\r\n"),
        ("EXISTS raw", ":0\r\n"),
    ] {
        assert_eq!(w.request(c, line), reply, "{name}: {line}");
    }
    w
}

/// Starts on an append-only file, twice: the second time on what the first has made of it.
fn append_only_file_loads(name: &str, files: &Files) {
    let mut w = loads(name, "appendonly yes\n", files);
    let c = w.connect();
    assert_eq!(w.request(c, "SET more 1"), "+OK\r\n", "{name}");
    assert_eq!(w.request(c, "DEL more"), ":1\r\n", "{name}");
    let w = loads(&format!("{name}, continued"), "appendonly yes\n", &w.files);
    assert!(w.files.contains_key("appendonlydir/appendonly.aof.manifest"), "{name}");
}

#[test]
fn dump_files_load() {
    for (name, dump) in [
        ("Redis 6.2", fixture!("redis62/dump.rdb")),
        ("Redis 7.2", fixture!("redis72/dump.rdb")),
        ("Valkey 8.0", fixture!("valkey8/dump.rdb")),
    ] {
        loads(name, "", &Files::from([("dump.rdb".to_owned(), dump)]));
    }
}

#[test]
fn single_files_of_older_servers_load_and_are_moved_into_the_folder() {
    for (name, file) in [
        ("a preamble and commands", fixture!("redis62/preamble.aof")),
        ("commands", fixture!("redis62/commands.aof")),
    ] {
        append_only_file_loads(name, &Files::from([("appendonly.aof".to_owned(), file)]));
    }
}

#[test]
fn folders_of_newer_servers_load() {
    for (name, manifest, base, incremental) in [
        (
            "Redis 7.2",
            fixture!("redis72/appendonly.aof.manifest"),
            fixture!("redis72/appendonly.aof.2.base.rdb"),
            fixture!("redis72/appendonly.aof.2.incr.aof"),
        ),
        (
            "Valkey 8.0",
            fixture!("valkey8/appendonly.aof.manifest"),
            fixture!("valkey8/appendonly.aof.2.base.rdb"),
            fixture!("valkey8/appendonly.aof.2.incr.aof"),
        ),
    ] {
        let path = |name: &str| format!("appendonlydir/appendonly.aof.{name}");
        let files = [
            (path("manifest"), manifest),
            (path("2.base.rdb"), base),
            (path("2.incr.aof"), incremental),
        ];
        append_only_file_loads(name, &Files::from(files));
    }
}
