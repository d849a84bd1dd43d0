//! Slots of cluster mode: counts, listing and flushing, and iteration in hash order.

use std::collections::{BTreeMap, BTreeSet};

use russet_ds::hash::Seed;
use russet_engine::io::{Handle, JobId};
use russet_engine::keyspace::walk::Slice;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::rdb::chunk::Record;
use russet_engine::rng::Rng;
use russet_protocol::slot::{SLOTS, slot_of};

fn cluster() -> Keyspace {
    Keyspace::new(2, Seed::new(7), Mode::Cluster)
}

fn set(keyspace: &mut Keyspace, db: u32, key: &[u8]) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(db, key).set_string(b"value", Expiry::Clear, EventKind::Set);
}

fn listed(keyspace: &Keyspace, db: u32, slot: u16, max: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    keyspace.keys_in_slot(db, slot, max, &mut |entry| keys.push(entry.key().to_vec()));
    keys
}

/// Returns a name, in few slots or in many.
fn name(rng: &mut Rng) -> Vec<u8> {
    let number = rng.draw() % 3000;
    match rng.draw() % 3 {
        0 => format!("{{tag}}{number}"),
        1 => format!("{{tag{}}}{number}", number % 5),
        _ => format!("key:{number}"),
    }
    .into_bytes()
}

#[test]
fn counts_follow_every_change() {
    let mut keyspace = cluster();
    let mut rng = Rng::new([1, 2, 3, 4]);
    let mut model: [BTreeSet<Vec<u8>>; 2] = Default::default();
    for step in 0..60_000_u32 {
        let (db, key) = ((rng.draw() % 2) as usize, name(&mut rng));
        let hasher = keyspace.hasher();
        match rng.draw() % 100 {
            0..60 => {
                set(&mut keyspace, db as u32, &key);
                model[db].insert(key);
            }
            60..85 => {
                let removed = keyspace.edit(db as u32, hasher.key(&key)).remove(EventKind::Del);
                assert_eq!(removed, model[db].remove(&key));
            }
            85..99 => {
                let (target_db, target) = ((rng.draw() % 2) as usize, name(&mut rng));
                if (target_db, &target) != (db, &key) && model[db].remove(&key) {
                    let events = [EventKind::RenameFrom, EventKind::RenameTo];
                    let edit = keyspace.edit(db as u32, hasher.key(&key));
                    assert!(edit.move_to(target_db as u32, hasher.key(&target), events));
                    model[target_db].insert(target);
                }
            }
            _ if step % 7 == 0 => {
                keyspace.flush(Some(db as u32));
                model[db].clear();
            }
            _ => {
                keyspace.swap(0, 1);
                model.swap(0, 1);
            }
        }
    }
    for (db, model) in model.iter().enumerate() {
        let mut slots: BTreeMap<u16, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for key in model {
            slots.entry(slot_of(key)).or_default().insert(key.clone());
        }
        let none = BTreeSet::new();
        for slot in 0..SLOTS {
            let expected = slots.get(&slot).unwrap_or(&none);
            assert_eq!(keyspace.db(db as u32).slot(slot).keys as usize, expected.len());
            let found = listed(&keyspace, db as u32, slot, usize::MAX);
            assert_eq!(found.len(), expected.len());
            assert_eq!(&BTreeSet::from_iter(found), expected);
        }
    }
}

#[test]
fn a_listing_is_limited() {
    let mut keyspace = cluster();
    for number in 0..1000 {
        set(&mut keyspace, 0, format!("{{tag}}{number}").as_bytes());
    }
    let slot = slot_of(b"tag");
    assert_eq!(listed(&keyspace, 0, slot, 10).len(), 10);
    assert_eq!(listed(&keyspace, 0, slot, 1000).len(), 1000);
    assert_eq!(listed(&keyspace, 0, slot, 0).len(), 0);
    assert_eq!(listed(&keyspace, 0, slot ^ 1, 10).len(), 0);
    assert_eq!(listed(&keyspace, 1, slot, 10).len(), 0);
}

#[test]
fn the_first_and_the_last_slot_are_complete() {
    let mut keyspace = cluster();
    let mut expected: BTreeMap<u16, usize> = BTreeMap::new();
    for number in 0..200_000 {
        let key = format!("key:{number}");
        let slot = slot_of(key.as_bytes());
        if slot == 0 || slot == SLOTS - 1 || number % 100 == 0 {
            set(&mut keyspace, 0, key.as_bytes());
            *expected.entry(slot).or_default() += 1;
        }
    }
    for slot in [0, SLOTS - 1] {
        assert_eq!(listed(&keyspace, 0, slot, usize::MAX).len(), expected[&slot]);
        keyspace.flush_slot(0, slot, &mut |key| assert_eq!(slot_of(key), slot));
        assert_eq!(listed(&keyspace, 0, slot, usize::MAX).len(), 0);
    }
    let rest = expected.iter().filter(|&(&slot, _)| slot != 0 && slot != SLOTS - 1);
    assert_eq!(keyspace.db(0).len(), rest.map(|(_, keys)| keys).sum::<usize>());
}

#[test]
fn flushing_a_slot_affects_snapshots_and_watchers() {
    let mut keyspace = cluster();
    let mut all = BTreeSet::new();
    for number in 0..3000 {
        for key in [format!("{{tag}}{number}"), format!("key:{number}")] {
            set(&mut keyspace, 0, key.as_bytes());
            all.insert(key.into_bytes());
        }
    }
    let watcher = Handle { index: 0, generation: 0 };
    keyspace.watch.add(watcher, 0, b"{tag}17", false);
    assert!(keyspace.begin_walk(JobId(1)));
    let slot = slot_of(b"tag");
    let in_slot = keyspace.db(0).slot(slot).keys as usize;
    let mut removed = BTreeSet::new();
    keyspace.flush_slot(0, slot, &mut |key| {
        removed.insert(key.to_vec());
    });
    assert_eq!((removed.len(), keyspace.db(0).slot(slot).keys), (in_slot, 0));
    assert!(removed.iter().all(|key| slot_of(key) == slot && all.contains(key)));
    assert_eq!(keyspace.db(0).len(), all.len() - removed.len());
    assert_eq!(keyspace.watch.take_touched(), [watcher]);
    let mut seen = BTreeSet::new();
    loop {
        match keyspace.walk_slice(JobId(1), &mut || false) {
            Slice::Chunk(chunk) => {
                for record in &chunk {
                    let Record::Value(key, _) = record else { panic!("only strings") };
                    assert!(seen.insert(key.bytes.to_vec()));
                }
            }
            Slice::Pause => {}
            Slice::End => break,
        }
    }
    assert_eq!(seen, all);
}

#[test]
fn a_scan_returns_every_key_even_within_one_slot() {
    let mut keyspace = cluster();
    let mut rng = Rng::new([4, 3, 2, 1]);
    let mut all = BTreeSet::new();
    for _ in 0..20_000 {
        let key = name(&mut rng);
        set(&mut keyspace, 0, &key);
        all.insert(key);
    }
    let (mut seen, mut cursor) = (BTreeSet::new(), 0);
    loop {
        cursor = keyspace.scan(0, cursor, 10, &mut |entry| {
            seen.insert(entry.key().to_vec());
        });
        if cursor == 0 {
            break;
        }
        // More keys are inserted meanwhile.
        set(&mut keyspace, 0, format!("late:{cursor}").as_bytes());
    }
    assert!(all.is_subset(&seen));
}
