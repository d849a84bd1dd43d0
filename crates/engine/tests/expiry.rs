//! Active expiry: the keys that slices delete, and the order of databases.

use russet_ds::hash::Seed;
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
