//! Once a node has ordered the exit of its process, it does nothing more.

use russet_driver::peers::{command, dump, replica};
use russet_driver::{Driver, Files};
use russet_engine::config::Config;
use russet_engine::io::{Handle, Input, Signal};
use russet_engine::node::Boot;

/// Lets a node that has ordered its exit go on, as a driver does that has not ended the process yet:
/// a new client, requests, signals, turns. Nothing must come of it.
fn expect_no_more(w: &mut Driver, clients: &[Handle]) {
    let files = w.files.clone();
    let before = (w.log.len(), w.node.data.keys(), w.node.data.dirty);
    assert!(w.exit.is_some());
    let now = russet_engine::io::Now { mono_us: w.now.mono_us + 60_000_000, ..w.now };
    w.now = now;
    for &client in clients {
        w.take(client);
        w.queue(client, b"DBSIZE\r\nSET late 1\r\nPING\r\n");
    }
    for signal in [Signal::Terminate, Signal::Interrupt] {
        w.node.handle(w.now, Input::Signal(signal));
    }
    for _ in 0..3 {
        w.read_connections();
        w.turn();
        w.flush();
    }
    for &client in clients {
        assert_eq!(w.take(client), "");
    }
    assert_eq!((w.log.len(), w.node.data.keys(), w.node.data.dirty), before);
    assert_eq!(w.files, files);
    assert!(w.deadline().is_none(), "nothing is left to do");
}

/// A dump file with 300 keys in which one byte behind them is wrong.
fn bad_dump() -> Files {
    let keys: Vec<String> = (0..300).map(|key| format!("key{key}")).collect();
    let mut bytes = dump(&keys.iter().map(String::as_str).collect::<Vec<_>>());
    let at = bytes.len() - 3;
    bytes[at] ^= 1;
    Files::from([("dump.rdb".to_owned(), bytes)])
}

#[test]
fn nothing_of_a_refused_dump_file_is_served() {
    let config = Config::parse_text(b"save 1 1\n").expect("two words").config;
    let boot = Boot { load: true, ..Boot::default() };
    let mut w = Driver::idle(config, boot, bad_dump(), russet_driver::START);
    w.reads.held = true;
    w.run();
    let c = w.connect();
    while w.exit.is_none() {
        w.queue(c, b"DBSIZE\r\nSET late 1\r\n");
        w.deliver_reads(1);
        let replies = w.take(c);
        assert!(replies.lines().all(|line| line.starts_with("-LOADING")), "{replies}");
    }
    assert_eq!(w.exit, Some(1));
    assert!(w.ready.is_empty());
    expect_no_more(&mut w, &[c]);
}

#[test]
fn no_write_is_acknowledged_after_the_order_to_exit() {
    for conf in ["save \"\"\n", "save 3600 1\n"] {
        let mut w = Driver::new(conf);
        let (c, d) = (w.connect(), w.connect());
        w.queue(d, b"SET before 1\r\n");
        w.queue(c, b"SHUTDOWN NOSAVE\r\nSET late 1\r\n");
        w.run();
        // The first was in the queue before.
        assert_eq!([w.take(d), w.take(c)], ["+OK\r\n", ""], "{conf}");
        expect_no_more(&mut w, &[c, d]);
        let mut w = Driver::new(conf);
        let (c, d) = (w.connect(), w.connect());
        w.request(c, "SET before 1");
        w.queue(c, b"SET late 1\r\n");
        w.queue(d, b"GET before\r\n");
        w.input(Input::Signal(Signal::Terminate));
        if w.exit.is_none() {
            w.deliver_saves();
        }
        assert_eq!(w.exit, Some(0), "{conf}");
        assert_eq!(w.take(c), "", "{conf}");
        w.take(d);
        expect_no_more(&mut w, &[c, d]);
    }
}

#[test]
fn a_replica_that_exits_applies_nothing_more() {
    let (mut w, link) = replica("save 3600 1\nreplica-ignore-disk-write-errors no\n", &["old"]);
    let c = w.connect();
    w.snapshots.fails_with = Some("No space left on device".to_owned());
    w.request(c, "SAVE");
    let bytes = [command(&["SET", "a", "1"]), command(&["FLUSHALL"])].concat();
    w.send(link, &bytes);
    assert_eq!(w.exit, Some(1));
    assert_eq!(w.node.data.keys(), 1);
    expect_no_more(&mut w, &[c]);
}
