//! Tests of walks during changes: each must emit the data as it was when the walk began.

use std::collections::BTreeMap;

use russet_ds::NewPayload;
use russet_ds::hash::Seed;

use super::walk::{Slice, WALKS_MAX};
use crate::io::JobId;
use crate::keyspace::{EventKind, Expiry, Keyspace};
use crate::mode::Mode;
use crate::rdb::chunk::{Chunk, Record};
use crate::rng::Rng;
use crate::types::Object;
use crate::types::elements::{Elements, value_of};
use crate::types::walkers::Walkers;

/// The kind of the large values in these tests.
const LARGE: u8 = 0x20;

const DBS: u32 = 3;

/// A value of the model.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Compact(Vec<u8>),
    Large(Fields),
}

/// Elements by name, with their values and expiries.
type Fields = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

/// The number of a database, and a key.
type Place = (u32, Vec<u8>);

/// The values of the model with their expiries.
type Data = BTreeMap<Place, (Value, Option<i64>)>;

/// The data emitted by a walk.
#[derive(Debug, Default)]
struct Collected {
    data: Data,
    /// The current large value: place, expiry, announced number of elements, and its elements.
    open: Option<(Place, Option<i64>, u64, Fields)>,
}

impl Collected {
    fn add(&mut self, chunk: &Chunk) {
        for record in chunk {
            match record {
                Record::Value(key, bytes) => {
                    assert!(self.open.is_none(), "a large value is in one piece");
                    let value = (Value::Compact(bytes.to_vec()), key.expiry);
                    let twice = self.data.insert((chunk.db(), key.bytes.to_vec()), value);
                    assert_eq!(twice, None, "{key:?}");
                }
                Record::Begin(key, head) => {
                    assert!(self.open.is_none(), "a large value is in one piece");
                    assert_eq!(key.kind, LARGE);
                    let place = (chunk.db(), key.bytes.to_vec());
                    self.open = Some((place, key.expiry, head.count, BTreeMap::new()));
                }
                Record::Element(element) => {
                    let (place, _, _, elements) = self.open.as_mut().expect("begun");
                    assert_eq!(place.0, chunk.db());
                    let value = (element.value.to_vec(), element.expiry);
                    let twice = elements.insert(element.name.to_vec(), value);
                    assert_eq!(twice, None, "{:?} of {place:?}", element.name);
                }
                Record::End => {
                    let (place, expiry, count, elements) = self.open.take().expect("begun");
                    assert_eq!(elements.len() as u64, count, "{place:?}");
                    let twice = self.data.insert(place, (Value::Large(elements), expiry));
                    assert_eq!(twice, None);
                }
            }
        }
    }
}

struct Running {
    job: JobId,
    expected: Data,
    collected: Collected,
}

struct World {
    keyspace: Keyspace,
    rng: Rng,
    data: Data,
    walks: Vec<Running>,
    jobs: u64,
    finished: usize,
}

impl World {
    fn new(seed: u64, mode: Mode) -> World {
        World {
            keyspace: Keyspace::new(DBS, Seed::new(u128::from(seed)), mode),
            rng: Rng::new([seed, 1, 2, 3]),
            data: Data::new(),
            walks: Vec::new(),
            jobs: 0,
            finished: 0,
        }
    }

    fn draw(&mut self, below: u64) -> u64 {
        self.rng.draw() % below
    }

    /// Returns a random place, or that of an existing key if `exists`.
    fn place(&mut self, exists: bool) -> (u32, Vec<u8>) {
        if exists && !self.data.is_empty() {
            let at = self.draw(self.data.len() as u64) as usize;
            return self.data.keys().nth(at).cloned().expect("below the length");
        }
        (self.draw(u64::from(DBS)) as u32, format!("key:{}", self.draw(300)).into_bytes())
    }

    fn bytes(&mut self) -> Vec<u8> {
        let len = if self.draw(20) == 0 { 1500 } else { self.draw(20) };
        let byte = self.draw(256) as u8;
        vec![byte; len as usize]
    }

    fn set_compact(&mut self) {
        let (db, key) = self.place(false);
        let bytes = self.bytes();
        let place = self.keyspace.hasher().key(&key);
        let edit = self.keyspace.edit(db, place);
        edit.set_string(&bytes, Expiry::Clear, EventKind::Set);
        self.data.insert((db, key), (Value::Compact(bytes), None));
    }

    fn set_large(&mut self) {
        let (db, key) = self.place(false);
        let most = if self.draw(10) == 0 { 3000 } else { 200 };
        let mut elements = Elements::new(Seed::new(9));
        let mut model = BTreeMap::new();
        for number in 0..=self.draw(most) {
            let (name, value) = (format!("element:{number}").into_bytes(), self.bytes());
            let expiry = (number % 7 == 0).then_some(number as i64);
            elements.set(&name, &value, expiry, &mut Walkers::default());
            model.insert(name, (value, expiry));
        }
        let block = Object::Elements(elements).into_block();
        let place = self.keyspace.hasher().key(&key);
        let edit = self.keyspace.edit(db, place);
        edit.set(LARGE, NewPayload::Block(block), Expiry::Clear, EventKind::Restore);
        self.data.insert((db, key), (Value::Large(model), None));
    }

    /// Changes elements of a large value, and removes it if it is empty then.
    fn change_elements(&mut self) {
        let (db, key) = self.place(true);
        let Some((Value::Large(mut model), expiry)) = self.data.get(&(db, key.clone())).cloned()
        else {
            return;
        };
        let mut changes = Vec::new();
        let sweeps = self.draw(10) == 0;
        for _ in 0..=self.draw(if sweeps { 1000 } else { 5 }) {
            let name = format!("element:{}", self.draw(3000)).into_bytes();
            let kind = if sweeps { 2 } else { self.draw(3) };
            changes.push((name, kind, self.bytes()));
        }
        let place = self.keyspace.hasher().key(&key);
        let mut edit = self.keyspace.edit(db, place);
        let change = |object: &mut Object, mut walkers: Walkers<'_>| {
            let Object::Elements(elements) = object else { panic!("elements") };
            for (name, kind, value) in &changes {
                match kind {
                    0 => {
                        let new = elements.set(name, value, None, &mut walkers);
                        assert_eq!(
                            new,
                            model.insert(name.clone(), (value.clone(), None)).is_none()
                        );
                    }
                    1 => {
                        let found = elements.set_expiry(name, Some(77), &mut walkers);
                        let entry = model.get_mut(name);
                        assert_eq!(found, entry.map(|entry| entry.1 = Some(77)).is_some());
                    }
                    _ => {
                        let removed = elements.remove(name, &mut walkers);
                        assert_eq!(removed, model.remove(name).is_some());
                    }
                }
            }
            elements.len()
        };
        let len = edit.change_object(change).expect("a large value");
        assert_eq!(len, model.len());
        if len == 0 {
            assert!(edit.remove(EventKind::Del));
            self.data.remove(&(db, key));
        } else {
            edit.changed(EventKind::HSet);
            self.data.insert((db, key), (Value::Large(model), expiry));
        }
    }

    fn set_expiry(&mut self) {
        let (db, key) = self.place(true);
        let at = Some(self.draw(1 << 40) as i64);
        let place = self.keyspace.hasher().key(&key);
        let found = self.keyspace.edit(db, place).set_expiry(at);
        let entry = self.data.get_mut(&(db, key));
        assert_eq!(found, entry.map(|entry| entry.1 = at).is_some());
    }

    fn remove(&mut self) {
        let (db, key) = self.place(true);
        let place = self.keyspace.hasher().key(&key);
        let removed = self.keyspace.edit(db, place).remove(EventKind::Del);
        assert_eq!(removed, self.data.remove(&(db, key)).is_some());
    }

    fn rename(&mut self) {
        let ((db, key), (to_db, to)) = (self.place(true), self.place(false));
        if (db, &key) == (to_db, &to) {
            return;
        }
        let hasher = self.keyspace.hasher();
        let events = [EventKind::RenameFrom, EventKind::RenameTo];
        let edit = self.keyspace.edit(db, hasher.key(&key));
        let moved = edit.move_to(to_db, hasher.key(&to), events);
        let value = self.data.remove(&(db, key));
        assert_eq!(moved, value.is_some());
        self.data.extend(value.map(|value| ((to_db, to), value)));
    }

    fn copy(&mut self) {
        let ((db, key), (to_db, to)) = (self.place(true), self.place(false));
        let hasher = self.keyspace.hasher();
        let Some(entry) = self.keyspace.db(db).get(hasher.key(&key)) else { return };
        let value = crate::types::Value::copy_of(&entry);
        let edit = self.keyspace.edit(to_db, hasher.key(&to));
        edit.set_value(value, Expiry::Clear, EventKind::CopyTo);
        let (value, _) = self.data[&(db, key)].clone();
        self.data.insert((to_db, to), (value, None));
    }

    fn flush(&mut self) {
        let db = self.draw(u64::from(DBS)) as u32;
        self.keyspace.flush(Some(db));
        self.data.retain(|(of, _), _| *of != db);
    }

    fn flush_all(&mut self) {
        self.keyspace.flush(None);
        self.data.clear();
    }

    /// Fills a database that a flush emptied, so that its table grows from nothing, and segments split.
    fn grow(&mut self) {
        let db = self.draw(u64::from(DBS)) as u32;
        for number in 0..self.draw(2000) {
            let key = format!("key:{number}").into_bytes();
            let place = self.keyspace.hasher().key(&key);
            let edit = self.keyspace.edit(db, place);
            edit.set_string(b"grown", Expiry::Clear, EventKind::Set);
            self.data.insert((db, key), (Value::Compact(b"grown".to_vec()), None));
        }
    }

    /// Removes keys that have expired, as active expiry does.
    fn expire(&mut self) {
        self.keyspace.now_ms = self.draw(1 << 40) as i64;
        let now_ms = self.keyspace.now_ms;
        let has_expired = |at: &Option<i64>| at.is_some_and(|at| at < now_ms);
        let expired = self.data.iter().filter(|(_, (_, at))| has_expired(at));
        let expired: Vec<(u32, Vec<u8>)> = expired.map(|(place, _)| place.clone()).collect();
        for (db, key) in expired {
            let place = self.keyspace.hasher().key(&key);
            assert!(self.keyspace.edit(db, place).remove(EventKind::Expired));
            self.data.remove(&(db, key));
        }
    }

    fn swap(&mut self) {
        let (a, b) = (self.draw(u64::from(DBS)) as u32, self.draw(u64::from(DBS)) as u32);
        self.keyspace.swap(a, b);
        let other = |db| {
            if db == a {
                b
            } else if db == b {
                a
            } else {
                db
            }
        };
        let data = std::mem::take(&mut self.data);
        self.data = data.into_iter().map(|((db, key), value)| ((other(db), key), value)).collect();
    }

    fn begin(&mut self) {
        self.jobs += 1;
        let began = self.keyspace.begin_walk(JobId(self.jobs));
        assert_eq!(began, self.walks.len() < WALKS_MAX);
        if began {
            let (expected, collected) = (self.data.clone(), Collected::default());
            self.walks.push(Running { job: JobId(self.jobs), expected, collected });
        }
    }

    fn abort(&mut self) {
        if !self.walks.is_empty() {
            let at = self.draw(self.walks.len() as u64) as usize;
            self.keyspace.end_walk(self.walks.remove(at).job);
        }
    }

    /// Runs a slice of a random walk.
    fn walk(&mut self) {
        if self.walks.is_empty() {
            return;
        }
        let at = self.draw(self.walks.len() as u64) as usize;
        let mut left = self.draw(60);
        let walk = &mut self.walks[at];
        let mut used_up = || {
            left = left.saturating_sub(1);
            left == 0
        };
        loop {
            match self.keyspace.walk_slice(walk.job, &mut used_up) {
                Slice::Chunk(chunk) => walk.collected.add(&chunk),
                Slice::Pause => return,
                Slice::End => break,
            }
        }
        assert_eq!(self.keyspace.walk_held_bytes(walk.job), 0);
        let walk = self.walks.remove(at);
        self.keyspace.end_walk(walk.job);
        assert!(walk.collected.open.is_none());
        assert_same(&walk.collected.data, &walk.expected);
        self.finished += 1;
    }

    fn step(&mut self) {
        match self.draw(1000) {
            0..200 => self.set_compact(),
            200..230 => self.set_large(),
            230..600 => self.change_elements(),
            600..620 => self.set_expiry(),
            620..660 => self.remove(),
            660..700 => self.rename(),
            700..710 => self.copy(),
            710..711 => self.flush(),
            711..712 => self.flush_all(),
            712..715 => self.swap(),
            715..721 => self.begin(),
            721..722 => self.abort(),
            722..723 => self.grow(),
            723..726 => self.expire(),
            _ => self.walk(),
        }
    }

    /// Finishes all walks, and checks that the keyspace equals the model and that nothing is kept
    /// for walks.
    fn check(&mut self) {
        while !self.walks.is_empty() {
            self.walk();
        }
        let mut found = Data::new();
        for (number, db) in self.keyspace.dbs() {
            db.table().for_each(&mut |entry| {
                let value = match crate::types::ValueRef::of(&entry) {
                    crate::types::ValueRef::Bytes(bytes) => Value::Compact(bytes.to_vec()),
                    crate::types::ValueRef::Object(Object::Elements(elements)) => {
                        let mut all = BTreeMap::new();
                        elements.each(&mut |element| {
                            let value = (value_of(&element).to_vec(), element.expiry());
                            all.insert(element.key().to_vec(), value);
                        });
                        Value::Large(all)
                    }
                    crate::types::ValueRef::Object(_) => panic!("elements"),
                };
                found.insert((number, entry.key().to_vec()), (value, entry.expiry()));
            });
        }
        assert_same(&found, &self.data);
        let bytes = self.keyspace.dbs().map(|(_, db)| db.allocated_bytes()).sum::<usize>();
        assert_eq!(self.keyspace.allocated_bytes(), bytes, "nothing is kept for walks");
        assert!(self.keyspace.walks.is_idle());
    }
}

/// Compares entry by entry, for readable failures.
fn assert_same(found: &Data, expected: &Data) {
    for (place, value) in expected {
        match (found.get(place), value) {
            (Some((Value::Large(found), at)), (Value::Large(expected), expiry)) => {
                assert_eq!(at, expiry, "{place:?}");
                for (name, value) in expected {
                    assert_eq!(found.get(name), Some(value), "{place:?}");
                }
                assert_eq!(found.len(), expected.len(), "{place:?}");
            }
            (found, expected) => assert_eq!(found, Some(expected), "{place:?}"),
        }
    }
    assert_eq!(found.len(), expected.len());
}

#[test]
fn each_walk_emits_the_data_of_its_start() {
    let mut finished = 0;
    for seed in 0..8 {
        let mode = if seed % 2 == 0 { Mode::Standalone } else { Mode::Cluster };
        let mut world = World::new(seed, mode);
        for _ in 0..3000 {
            world.step();
        }
        world.check();
        finished += world.finished;
    }
    assert!(finished > 50, "{finished} walks");
}

/// A save and two full synchronizations, each with a beginning of its own, while keys are flushed, swapped, expire and are
/// written again: all of it happens between two slices of each of them.
#[test]
fn three_walks_at_once_emit_the_data_of_their_beginnings() {
    let mut finished = 0;
    for seed in 100..140 {
        let mode = if seed % 2 == 0 { Mode::Standalone } else { Mode::Cluster };
        let mut world = World::new(seed, mode);
        world.grow();
        for _ in 0..300 {
            world.set_compact();
        }
        (0..5).for_each(|_| world.set_large());
        for _ in 0..WALKS_MAX {
            (0..20).for_each(|_| world.set_expiry());
            world.begin();
            (0..30).for_each(|_| world.change_elements());
        }
        assert_eq!(world.walks.len(), WALKS_MAX);
        // A little of each, so that all are in the middle.
        for at in 0..WALKS_MAX {
            let mut left = 5;
            let walk = &mut world.walks[at];
            let slice = world.keyspace.walk_slice(walk.job, &mut || {
                left -= 1;
                left == 0
            });
            match slice {
                Slice::Chunk(chunk) => walk.collected.add(&chunk),
                Slice::Pause => {}
                Slice::End => panic!("not after five buckets"),
            }
        }
        let steps = [
            World::flush_all as fn(&mut World),
            World::swap,
            World::expire,
            World::grow,
            World::set_large,
            World::rename,
        ];
        for round in 0..12 {
            steps[(seed as usize + round) % steps.len()](&mut world);
            world.walk();
            (0..10).for_each(|_| world.set_compact());
        }
        world.check();
        finished += world.finished;
    }
    assert_eq!(finished, 40 * WALKS_MAX);
}

/// Slices can end after each bucket of a large value, and few copies are held.
#[test]
fn a_large_value_is_walked_bucket_by_bucket() {
    const COUNT: usize = 100_000;
    let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
    let mut elements = Elements::new(Seed::new(2));
    for number in 0..COUNT {
        elements.set(number.to_string().as_bytes(), b"v", None, &mut Walkers::default());
    }
    let block = Object::Elements(elements).into_block();
    let key = keyspace.hasher().key(b"large");
    let edit = keyspace.edit(0, key);
    edit.set(LARGE, NewPayload::Block(block), Expiry::Clear, EventKind::Restore);
    assert!(keyspace.begin_walk(JobId(1)));
    let (mut steps, mut seen, mut held) = (0, 0, 0);
    loop {
        let mut used_up = || {
            steps += 1;
            true
        };
        match keyspace.walk_slice(JobId(1), &mut used_up) {
            Slice::Chunk(chunk) => {
                seen += chunk.iter().filter(|one| matches!(one, Record::Element(_))).count();
            }
            Slice::Pause => held = held.max(keyspace.walk_held_bytes(JobId(1))),
            Slice::End => break,
        }
    }
    assert_eq!(seen, COUNT);
    assert!(steps > COUNT / 20, "{steps} steps for {COUNT} elements");
    assert!(held < 3 * 72 * 1024, "{held} bytes are held");
}

/// A change of an element copies only its bucket, and a removed value is kept for the walks.
#[test]
fn a_change_copies_only_the_pre_image_of_its_bucket() {
    let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
    let mut elements = Elements::new(Seed::new(2));
    for number in 0..100_000 {
        elements.set(number.to_string().as_bytes(), b"v", None, &mut Walkers::default());
    }
    let block = Object::Elements(elements).into_block();
    let key = keyspace.hasher().key(b"large");
    let edit = keyspace.edit(0, key);
    edit.set(LARGE, NewPayload::Block(block), Expiry::Clear, EventKind::Restore);
    let before = keyspace.allocated_bytes();
    for job in 1..=3 {
        assert!(keyspace.begin_walk(JobId(job)));
    }
    assert!(!keyspace.begin_walk(JobId(4)));
    let change = |object: &mut Object, mut walkers: Walkers<'_>| {
        let Object::Elements(elements) = object else { panic!("elements") };
        elements.set(b"7", b"w", None, &mut walkers)
    };
    assert_eq!(keyspace.edit(0, key).change_object(change), Some(false));
    for job in 1..=3 {
        let held = keyspace.walk_held_bytes(JobId(job));
        assert!((1..20_000).contains(&held), "{held} bytes are held");
    }
    // A removed value is kept until the last walk has finished it, and then freed lazily.
    assert!(keyspace.edit(0, key).remove(EventKind::Del));
    assert!(keyspace.garbage_len() == 0 && keyspace.allocated_bytes() >= before / 2);
    for job in 1..=3 {
        assert!(keyspace.garbage_len() == 0 && keyspace.allocated_bytes() >= before / 2);
        let mut collected = Collected::default();
        while let Slice::Chunk(chunk) = keyspace.walk_slice(JobId(job), &mut || false) {
            collected.add(&chunk);
        }
        let (value, _) = &collected.data[&(0, b"large".to_vec())];
        let Value::Large(elements) = value else { panic!("a large value") };
        assert_eq!(elements[&b"7"[..]].0, b"v");
        assert_eq!(elements.len(), 100_000);
        keyspace.end_walk(JobId(job));
    }
    assert_eq!((keyspace.garbage_len(), keyspace.allocated_bytes()), (1, 0));
}

#[test]
#[should_panic(expected = "a database stays until walks have finished it")]
fn a_walk_does_not_pass_over_a_database_that_is_gone() {
    let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
    let key = keyspace.hasher().key(b"key");
    keyspace.edit(0, key).set_string(b"value", Expiry::Clear, EventKind::Set);
    assert!(keyspace.begin_walk(JobId(1)));
    // Replaced without being kept for the walk, which no method does.
    keyspace.dbs[0] = keyspace.fresh_db();
    keyspace.walk_slice(JobId(1), &mut || false);
}
