//! Active expiry: the keys that slices delete, and the order of databases.

use russet_driver::Driver;
use russet_driver::peers::{command, replica};
use russet_ds::hash::Seed;
use russet_engine::io::Handle;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;

fn set(keyspace: &mut Keyspace, db: u32, key: &str, at_ms: i64) {
    let key = keyspace.hasher().key(key.as_bytes());
    keyspace.edit(db, key).set_string(b"value", Expiry::At(at_ms), EventKind::Set);
}

#[test]
fn a_database_with_many_expired_keys_does_not_delay_others() {
    let mut keyspace = Keyspace::new(16, Seed::new(1), Mode::Standalone);
    for number in 0..20_000 {
        set(&mut keyspace, 0, &format!("key:{number}"), 10);
    }
    for db in [3, 9] {
        for number in 0..100 {
            set(&mut keyspace, db, &format!("key:{number}"), 10);
        }
    }
    keyspace.now_ms = 20;
    let mut slices = 0;
    while !keyspace.db(3).is_empty() || !keyspace.db(9).is_empty() {
        assert!(keyspace.expire_slice(200));
        slices += 1;
    }
    assert!(slices <= 6, "{slices} slices for two small databases");
    assert!(keyspace.db(0).len() > 15_000);
    while keyspace.expire_slice(200) {}
    assert_eq!(keyspace.allocated_bytes(), 0);
    assert_eq!(keyspace.stats.expired_keys, 20_200);
}

#[test]
fn only_expired_keys_are_removed() {
    let mut keyspace = Keyspace::new(4, Seed::new(1), Mode::Cluster);
    for number in 0..1000 {
        set(&mut keyspace, 1, &format!("key:{number}"), 1000 + number);
    }
    keyspace.now_ms = 500;
    assert!(!keyspace.expire_slice(200));
    assert_eq!(keyspace.db(1).len(), 1000);
    keyspace.now_ms = 1500;
    while keyspace.expire_slice(200) {}
    assert_eq!(keyspace.db(1).len(), 500);
    assert_eq!(keyspace.take_expired().len(), 500);
    assert!(keyspace.earliest_expiry().is_some_and(|at| at >= 1500));
}

/// Sends commands as the master, in database 0.
fn upstream(w: &mut Driver, link: Handle, lines: &[&str]) {
    for line in lines {
        w.send(link, &command(&line.split(' ').collect::<Vec<_>>()));
    }
}

fn expired_keys(w: &mut Driver, c: Handle) -> String {
    let info = w.request(c, "INFO stats");
    let fields = ["expired_keys:", "slave_expires_tracked_keys:"];
    let values = fields.map(|name| info.lines().find_map(|line| line.strip_prefix(name)).unwrap());
    format!("{} expired, {} tracked", values[0], values[1])
}

#[test]
fn a_writable_replica_expires_what_its_clients_wrote() {
    let (mut w, link) = replica("replica-read-only no\n", &["old"]);
    let c = w.connect();
    upstream(&mut w, link, &["SET theirs 1 PX 100", "SET both 1 PX 100", "SET late 1"]);
    for line in [
        "SET own 1 PX 100",
        "SETEX own:2 1 x",
        "EXPIRE late 1",
        "EXPIRE old 1",
        "SET both 1 PX 100",
        "SET gone 1 PX 100",
        "DEL gone",
        "SET persists 1 PX 100",
        "PERSIST persists",
        "SET renamed 1 PX 100",
        "RENAME renamed renamed:2",
        "SET replaced 1 PX 100",
        "SET moved 1 PX 100",
        "MOVE moved 3",
        "SWAPDB 3 4",
        "HSET h f v",
        "PEXPIRE h 100",
    ] {
        assert!(!w.request(c, line).starts_with('-'), "{line}");
    }
    assert_eq!(expired_keys(&mut w, c), "0 expired, 9 tracked");
    // Now it is the master's again.
    upstream(&mut w, link, &["SET replaced 2 PX 100"]);
    w.advance_ms(2000);
    w.advance_ms(200);
    assert_eq!(expired_keys(&mut w, c), "8 expired, 0 tracked");
    // Those of the master are hidden until it deletes them.
    assert_eq!(w.request(c, "DBSIZE"), ":3\r\n");
    assert_eq!(w.request(c, "EXISTS theirs replaced persists"), ":1\r\n");
    assert!(!w.request(c, "INFO keyspace").contains("db4"));
    // Nothing of this goes into the stream.
    let offset = w.node.parts.master.stream.offset();
    w.request(c, "SET own 1 PX 100");
    w.advance_ms(300);
    assert_eq!(expired_keys(&mut w, c), "9 expired, 0 tracked");
    assert_eq!(w.node.parts.master.stream.offset(), offset);
}

#[test]
fn a_replica_forgets_its_own_expiries_with_the_data() {
    let (mut w, link) = replica("replica-read-only no\n", &[]);
    let c = w.connect();
    w.request(c, "SET own 1 PX 100");
    upstream(&mut w, link, &["FLUSHALL", "SET own 2 PX 100"]);
    assert_eq!(expired_keys(&mut w, c), "0 expired, 0 tracked");
    w.advance_ms(300);
    assert_eq!(w.request(c, "DBSIZE"), ":1\r\n");
    assert_eq!(w.request(c, "GET own"), "$-1\r\n");
}

#[test]
fn a_promoted_replica_expires_all_keys() {
    let (mut w, link) = replica("replica-read-only no\n", &[]);
    let c = w.connect();
    upstream(&mut w, link, &["SET theirs 1 PX 100"]);
    w.request(c, "SET own 1 PX 100");
    w.request(c, "REPLICAOF NO ONE");
    w.advance_ms(300);
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
    assert_eq!(expired_keys(&mut w, c), "2 expired, 0 tracked");
}
