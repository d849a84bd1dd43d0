//! The table compared with models of std by random operations, with good and bad hashes.
#![allow(clippy::disallowed_methods, reason = "settings of the test run")]

mod support;

use std::collections::BTreeMap;

use russet_ds::hash::Seed;
use russet_ds::{Block, Content, EntryRef, Expired, NewPayload, Payload, Scope, Table, WALKERS};
use support::Rng;

/// Miri is slow; it gets fewer keys.
const SLOW: u64 = if cfg!(miri) { 40 } else { 1 };

/// Hash functions, from good to extremely bad.
#[derive(Debug, Clone, Copy)]
enum Weak {
    Good,
    /// The top 14 bits are the same: all keys in one slot.
    SameTop,
    /// Only the top six bits differ.
    SixBits,
    /// Small numbers: only the lowest bits differ.
    LowBits,
    /// Half the keys share one hash.
    HalfSame,
    Constant,
}

const ALL: [Weak; 6] =
    [Weak::Good, Weak::SameTop, Weak::SixBits, Weak::LowBits, Weak::HalfSame, Weak::Constant];

impl Weak {
    fn hash(self, key: &[u8]) -> u64 {
        let good = Seed::new(0x1234_5678_9abc_def0_1111).hash(key);
        match self {
            Weak::Good => good,
            Weak::SameTop => good >> 14 | 0x2a5b << 50,
            Weak::SixBits => good >> 58 << 58,
            Weak::LowBits => good >> 50,
            Weak::HalfSame => {
                if good & 1 == 0 {
                    0xffff_0000_1234_5678
                } else {
                    good
                }
            }
            Weak::Constant => u64::MAX,
        }
    }
}

/// A value that is not bytes.
#[derive(Debug, Clone, PartialEq)]
struct Text {
    text: String,
    /// Its inner expiry.
    inner: Option<i64>,
}

impl russet_ds::Value for Text {
    fn inner_expiry(_: u8, payload: Payload<'_, Text>) -> Option<i64> {
        match payload {
            Payload::Inline(bytes) => first_number(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => first_number(&bytes),
                Content::Value(text) => text.inner,
            },
        }
    }
}

/// The inner expiry of values that are bytes.
fn first_number(bytes: &[u8]) -> Option<i64> {
    bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    Inline(Vec<u8>),
    Bytes(Vec<u8>),
    Text(Text),
}

impl Value {
    fn inner_expiry(&self) -> Option<i64> {
        match self {
            Value::Inline(bytes) | Value::Bytes(bytes) => first_number(bytes),
            Value::Text(text) => text.inner,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    kind: u8,
    value: Value,
    expiry: Option<i64>,
    /// The inner expiry of a marked entry.
    inner: Option<i64>,
    clock: u32,
}

impl Row {
    fn new(kind: u8, value: Value, expiry: Option<i64>, clock: u32) -> Row {
        Row { kind, value, expiry, inner: None, clock }
    }

    /// Both expiries.
    fn expiries(&self) -> impl Iterator<Item = i64> {
        self.expiry.into_iter().chain(self.inner)
    }
}

type Model = BTreeMap<Vec<u8>, Row>;

fn row_of(entry: &EntryRef<'_, Text>) -> Row {
    Row {
        kind: entry.kind(),
        value: match entry.payload() {
            Payload::Inline(bytes) => Value::Inline(bytes.to_vec()),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
                Content::Value(text) => Value::Text(text.clone()),
            },
        },
        expiry: entry.expiry(),
        inner: entry.inner_expiry(),
        clock: entry.clock(),
    }
}

fn payload(value: &Value) -> NewPayload<'_, Text> {
    match value {
        Value::Inline(bytes) => NewPayload::Inline(bytes),
        Value::Bytes(bytes) => NewPayload::Block(Block::from_bytes(bytes)),
        Value::Text(text) => NewPayload::Block(text_block(text)),
    }
}

fn text_block(text: &Text) -> Block<Text> {
    Block::new(text.clone(), text.text.len())
}

fn random_expiry(rng: &mut Rng) -> Option<i64> {
    const ODD: [i64; 7] = [i64::MIN, -1, 0, 1, (1 << 48) - 1, 1 << 48, i64::MAX];
    match rng.below(6) {
        0 => Some(ODD[rng.below(7) as usize]),
        1 => Some(rng.below(1_000_000) as i64),
        _ => None,
    }
}

fn random_value(rng: &mut Rng) -> Value {
    match rng.below(12) {
        0 => Value::Text(Text { text: "text".repeat(rng.below(20) as usize), inner: None }),
        1 => Value::Bytes(vec![rng.next() as u8; rng.below(3000) as usize]),
        2 => Value::Inline(vec![7; (rng.below(70_000) / SLOW) as usize]),
        _ => Value::Inline(vec![rng.next() as u8; rng.below(40) as usize]),
    }
}

fn key(number: u64) -> Vec<u8> {
    let mut key = format!("key:{number}").into_bytes();
    if number % 50 == 3 {
        key.resize(300, b'x');
    }
    if number % 50 == 4 {
        key.truncate(number as usize % 5);
        key.extend_from_slice(&(number as u32).to_le_bytes());
    }
    key
}

struct World {
    weak: Weak,
    table: Table<Text>,
    model: Model,
}

fn value_of(block: Block<Text>) -> Value {
    match block.into_value() {
        Ok(text) => Value::Text(text),
        Err(block) => Value::Bytes(block.as_bytes().expect("no other owner").to_vec()),
    }
}

impl World {
    fn new(weak: Weak) -> World {
        World { weak, table: Table::new(), model: Model::new() }
    }

    fn hash(&self, key: &[u8]) -> u64 {
        self.weak.hash(key)
    }

    fn set(&mut self, key: &[u8], row: Row) {
        let weak = self.weak;
        let before = self.table.len();
        let old = self.table.set(
            weak.hash(key),
            key,
            row.kind,
            payload(&row.value),
            row.expiry,
            row.clock,
            &|key| weak.hash(key),
        );
        let known = self.model.insert(key.to_vec(), row);
        assert_eq!(self.table.len() - before, usize::from(known.is_none()));
        let known = known.map(|row| row.value).filter(|value| !matches!(value, Value::Inline(_)));
        let old = old.map(|old| old.into_block().expect("only blocks are given back"));
        assert_eq!(old.map(value_of), known);
    }

    fn remove(&mut self, key: &[u8]) {
        let weak = self.weak;
        let old = self.table.remove(weak.hash(key), key, &|key| weak.hash(key));
        let known = self.model.remove(key);
        assert_eq!(old.is_some(), known.is_some());
        if let (Some(old), Some(known)) = (old, known) {
            assert_eq!((old.key(), old.kind()), (key, known.kind));
            assert_eq!((old.expiry(), old.clock()), (known.expiry, known.clock));
            assert_eq!(old.inner_expiry(), known.inner);
            let inline = match old.payload() {
                Payload::Inline(bytes) => Some(Value::Inline(bytes.to_vec())),
                Payload::Block(_) => None,
            };
            assert_eq!(old.is_block(), inline.is_none());
            assert_eq!(inline.or_else(|| old.into_block().map(value_of)), Some(known.value));
        }
    }

    fn edit(&mut self, key: &[u8], rng: &mut Rng) {
        let hash = self.hash(key);
        let (Some(mut entry), Some(row)) = (self.table.get_mut(hash, key), self.model.get_mut(key))
        else {
            return;
        };
        match rng.below(5) {
            0 => {
                row.kind = rng.next() as u8;
                entry.set_kind(row.kind);
            }
            1 => {
                row.clock = rng.next() as u32 & 0xff_ffff;
                entry.set_clock(row.clock);
            }
            2 => {
                row.expiry = random_expiry(rng);
                entry.set_expiry(row.expiry);
            }
            _ => match &mut row.value {
                Value::Inline(bytes) => {
                    bytes.iter_mut().for_each(|byte| *byte ^= 1);
                    let there = entry.inline_mut().unwrap_or_default();
                    there.iter_mut().for_each(|byte| *byte ^= 1);
                }
                Value::Bytes(bytes) => {
                    bytes.extend_from_slice(&[1; 300]);
                    bytes[0] ^= 1;
                    let held = match entry.payload() {
                        Payload::Block(block) if rng.below(4) == 0 => block.share_bytes(),
                        _ => None,
                    };
                    let before = held.as_deref().map(<[u8]>::to_vec);
                    entry.edit_block(|block| {
                        let there = block.try_bytes_mut(0).expect("there is memory");
                        let mut there = there.expect("it holds bytes");
                        there.extend_from_slice(&[1; 300]);
                        there[0] ^= 1;
                    });
                    assert_eq!(held.as_deref(), before.as_deref());
                }
                Value::Text(text) => {
                    text.text.push('!');
                    let inner = random_expiry(rng);
                    text.inner = inner;
                    entry.edit_block(|block| {
                        let there = block.get_mut().expect("a text with one owner");
                        there.text.push('!');
                        there.inner = inner;
                        let len = there.text.len();
                        assert!(block.set_owned_bytes(len));
                    });
                }
            },
        }
        // A marked entry stays marked when its value changes; occasionally marks are set and cleared.
        let marks = if rng.below(4) == 0 { rng.below(2) == 0 } else { row.inner.is_some() };
        row.inner = row.value.inner_expiry().filter(|_| marks);
        entry.set_inner_expiry(row.inner);
        assert_eq!(row_of(&entry.to_ref()), *row);
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        let expiring = self.model.values().filter(|row| row.expiry.is_some()).count();
        assert_eq!(self.table.len_with_expiry(), expiring);
        let inner = self.model.values().filter(|row| row.inner.is_some()).count();
        assert_eq!(self.table.len_with_inner_expiry(), inner);
        let (mut bytes, mut block_bytes) = (0, 0);
        for (key, row) in &self.model {
            let entry = self.table.get(self.hash(key), key).map(|entry| {
                bytes += entry.allocated_bytes();
                if let Payload::Block(block) = entry.payload() {
                    block_bytes += block.allocated_bytes();
                }
                row_of(&entry)
            });
            assert_eq!(entry.as_ref(), Some(row), "{:?} {key:?}", self.weak);
        }
        let mut seen = 0;
        let mut walked = 0;
        self.table.for_each(&mut |entry| {
            seen += 1;
            walked += entry.allocated_bytes();
        });
        assert_eq!((seen, walked), (self.model.len(), bytes));
        let shape = self.table.shape();
        let lists = self.table.allocated_bytes()
            - (bytes + block_bytes + shape.segment_bytes + shape.directory_bytes);
        let earliest = self.model.values().flat_map(Row::expiries).min();
        if let Some(at) = earliest {
            assert!(self.table.earliest_expiry().is_none_or(|bound| bound <= at));
        }
        assert!(earliest.is_some() || self.table.earliest_expiry().is_none());
        let most = if earliest.is_some() { 24 } else { 8 } * shape.segments.next_multiple_of(512);
        assert!((8 * shape.segments..=most + 200).contains(&lists), "{lists} {shape:?}");
    }
}

#[test]
fn random_operations_agree_with_a_map() {
    for weak in ALL {
        let mut rng = Rng(0x5eed + weak as u64);
        let mut world = World::new(weak);
        let keys =
            if matches!(weak, Weak::Good | Weak::SameTop) { 5000 / SLOW } else { 1200 / SLOW };
        // Growing, churning, shrinking.
        for (rounds, removals) in [(3 * keys, 1), (keys, 5), (3 * keys, 9)] {
            for _ in 0..rounds {
                let key = key(rng.below(keys));
                match rng.below(12) {
                    n if n < removals => world.remove(&key),
                    n if n < 10 => {
                        let (kind, value) = (rng.next() as u8, random_value(&mut rng));
                        let (expiry, clock) =
                            (random_expiry(&mut rng), rng.next() as u32 & 0xff_ffff);
                        let row = Row::new(kind, value, expiry, clock);
                        world.set(&key, row);
                    }
                    _ => world.edit(&key, &mut rng),
                }
            }
            world.check();
        }
        let keys = world.model.keys().cloned().collect::<Vec<_>>();
        keys.iter().for_each(|key| world.remove(key));
        assert_eq!(world.table.allocated_bytes(), 0, "{weak:?}");
        assert_eq!(world.table.earliest_expiry(), None);
    }
}

#[test]
fn reserved_memory_is_used_and_changes_nothing_else() {
    for weak in ALL {
        let mut rng = Rng(99 + weak as u64);
        let mut world = World::new(weak);
        let keys = 3000 / SLOW;
        world.table.reserve(keys as usize);
        let reserved = world.table.shape();
        assert!(reserved.segments > 1 || cfg!(miri));
        (0..keys / 2).for_each(|number| plain(&mut world, number));
        world.table.reserve(10 * keys as usize);
        (keys / 2..keys).for_each(|number| plain(&mut world, number));
        world.check();
        if matches!(weak, Weak::Good) && !cfg!(miri) {
            assert_eq!(world.table.shape().segments, reserved.segments, "nothing was divided");
        }
        for _ in 0..10 * keys {
            world.remove(&key(rng.below(keys)));
        }
        world.check();
        (0..keys).for_each(|number| world.remove(&key(number)));
        assert_eq!(world.table.allocated_bytes(), 0);
    }
}

/// Keys chosen by their position in SCAN order: the first hashes have the same top bits, so that the
/// directory gets a child node early, at a lower depth than that of the parent's cells later.
#[test]
fn a_directory_that_grows_around_a_child_node_keeps_all_entries() {
    let chosen: Vec<u64> =
        (0..120_000 / SLOW).filter(|&number| Weak::Good.hash(&key(number)) >> 60 == 0xf).collect();
    let (first, later) = chosen.split_at(1200.min(chosen.len() / 2));
    let ordinary = 1_000_000..1_000_000 + 12_000 / SLOW;
    for order in 0..6 {
        let mut world = World::new(Weak::Good);
        first.iter().for_each(|&number| plain(&mut world, number));
        ordinary.clone().for_each(|number| plain(&mut world, number));
        later.iter().for_each(|&number| plain(&mut world, number));
        world.check();
        // Removes the keys in each order, so that parent and child also shrink.
        let mut groups = [first.to_vec(), ordinary.clone().collect(), later.to_vec()];
        groups.rotate_left(order % 3);
        if order >= 3 {
            groups.swap(1, 2);
        }
        for group in groups {
            group.iter().for_each(|&number| world.remove(&key(number)));
            world.check();
        }
        assert_eq!(world.table.allocated_bytes(), 0);
    }
}

fn plain(world: &mut World, number: u64) {
    let row = Row::new(0, Value::Inline(vec![1; 8]), None, 0);
    world.set(&key(number), row);
}

#[test]
fn a_scan_emits_all_keys_that_stay() {
    for weak in ALL {
        let mut rng = Rng(77 + weak as u64);
        let mut world = World::new(weak);
        let stay =
            if matches!(weak, Weak::Good | Weak::SameTop) { 3000 / SLOW } else { 500 / SLOW };
        (0..stay).for_each(|number| plain(&mut world, number));
        for phase in 0..4 {
            let mut seen = std::collections::BTreeSet::new();
            let mut cursor = Some(0);
            let mut next = stay;
            while let Some(from) = cursor {
                cursor = world.table.scan(from, &|key| weak.hash(key), &mut |entry| {
                    seen.insert(entry.key().to_vec());
                });
                assert!(cursor.is_none_or(|cursor| cursor > from));
                // Grows in even phases, shrinks in odd ones.
                for _ in 0..rng.below(60) {
                    if phase % 2 == 0 && next < 4 * stay {
                        plain(&mut world, next);
                        next += 1;
                    } else {
                        world.remove(&key(stay + rng.below(4 * stay)));
                    }
                }
            }
            for number in 0..stay {
                assert!(seen.contains(&key(number)), "{weak:?} phase {phase} key {number}");
            }
        }
    }
}

#[test]
fn walks_emit_the_table_of_their_start() {
    for weak in ALL {
        let mut rng = Rng(99 + weak as u64);
        let mut world = World::new(weak);
        let keys =
            if matches!(weak, Weak::Good | Weak::SameTop) { 4000 / SLOW } else { 700 / SLOW };
        for epoch in 1..(if cfg!(miri) { 3 } else { 9u32 }) {
            // Of empty, full, growing and shrinking tables, with all walkers at once.
            let mut starts: [Option<Model>; WALKERS] = Default::default();
            let mut images: [Model; WALKERS] = Default::default();
            let mut positions = [None; WALKERS];
            let grow = if epoch % 2 == 1 { 9 } else { 2 };
            let number = |w: usize| epoch * WALKERS as u32 + w as u32;
            while starts[0].is_none() || positions.iter().any(Option::is_some) {
                for w in 0..WALKERS {
                    if starts[w].is_none() && (w == 0 || rng.below(20) == 0) {
                        starts[w] = Some(world.model.clone());
                        positions[w] = Some(0);
                    }
                    let Some(pos) = positions[w] else { continue };
                    let image = &mut images[w];
                    let hash_of = |key: &[u8]| weak.hash(key);
                    positions[w] = world.table.walk(w, number(w), pos, &hash_of, &mut |entry| {
                        let old = image.insert(entry.key().to_vec(), row_of(&entry));
                        assert!(old.is_none(), "{weak:?}: a key came twice");
                    });
                }
                for _ in 0..rng.below(50) {
                    let key = key(rng.below(keys));
                    let hash = weak.hash(&key);
                    for w in 0..WALKERS {
                        if positions[w].is_none() {
                            continue;
                        }
                        let image = &mut images[w];
                        let resizes = world.table.write_resizes(hash);
                        let scope = if resizes { Scope::Resize } else { Scope::Bucket };
                        let hash_of = |key: &[u8]| weak.hash(key);
                        world.table.visit(w, number(w), hash, scope, &hash_of, &mut |entry| {
                            let old = image.insert(entry.key().to_vec(), row_of(&entry));
                            assert!(old.is_none(), "{weak:?}: a key came twice");
                        });
                    }
                    match rng.below(12) {
                        n if n < grow => {
                            let clock = rng.next() as u32 & 0xff_ffff;
                            let value = Value::Inline(vec![epoch as u8; rng.below(30) as usize]);
                            world.set(&key, Row::new(1, value, None, clock));
                        }
                        10.. => world.edit(&key, &mut rng),
                        _ => world.remove(&key),
                    }
                }
            }
            for (start, image) in starts.into_iter().zip(images) {
                assert_eq!(image, start.unwrap_or_default(), "{weak:?} epoch {epoch}");
            }
            world.check();
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "figures, and slow")]
fn random_entries_are_uniform() {
    let cases = [
        (Weak::Good, 1500u64, 3),
        (Weak::Good, 1500, 1),
        (Weak::Good, 6000, 100),
        (Weak::SameTop, 700, 3),
        (Weak::HalfSame, 300, 3),
    ];
    for (weak, count, every) in cases {
        let mut world = World::new(weak);
        let mut rng = Rng(4242);
        for number in 0..count {
            let expiry = (number % every == 0).then_some(1000 + number as i64);
            let within = if number % 2 == 0 { vec![number as i64] } else { Vec::new() };
            set_times(&mut world, &number.to_le_bytes(), within, expiry);
        }
        let draws = 60 * count;
        let (mut all, mut expiring) = (vec![0u64; count as usize], vec![0u64; count as usize]);
        let number = |entry: EntryRef<'_, Text>| {
            usize::from_le_bytes(entry.key().try_into().expect("eight bytes were stored"))
        };
        for _ in 0..draws {
            all[number(world.table.random(&mut || rng.next()).expect("not empty"))] += 1;
            let entry = world.table.random_with_expiry(&mut || rng.next()).expect("a third");
            expiring[number(entry)] += 1;
        }
        let expires = |at: usize| (at as u64).is_multiple_of(every);
        assert!(expiring.iter().enumerate().all(|(at, n)| expires(at) == (*n > 0)));
        expiring.retain(|n| *n > 0);
        for counts in [all, expiring] {
            let mean = draws as f64 / counts.len() as f64;
            let chi2 = counts.iter().map(|n| (*n as f64 - mean).powi(2) / mean).sum::<f64>();
            let free = counts.len() as f64 - 1.0;
            // Five standard deviations of chi-square with this number of degrees of freedom.
            assert!((chi2 - free).abs() < 5.0 * (2.0 * free).sqrt(), "{weak:?} {chi2} of {free}");
        }
    }
}

/// Returns the times in a value that is a list of numbers.
fn times(value: &[u8]) -> Vec<i64> {
    value.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()
}

/// Sets a key to such a list, the earliest time first, and marks it.
fn set_times(world: &mut World, key: &[u8], mut times: Vec<i64>, expiry: Option<i64>) {
    times.sort_unstable();
    let bytes = times.iter().flat_map(|at| at.to_le_bytes()).collect::<Vec<_>>();
    let value = if bytes.len() < 40 { Value::Inline(bytes) } else { Value::Bytes(bytes) };
    world.set(key, Row::new(0, value, expiry, 0));
    let inner = times.first().copied();
    let hash = world.hash(key);
    world.table.get_mut(hash, key).expect("just set").set_inner_expiry(inner);
    world.model.get_mut(key).expect("just set").inner = inner;
}

#[test]
#[cfg_attr(miri, ignore = "covered by the random operations, and slow")]
fn expiry_finds_exactly_the_expired_entries() {
    for inner_too in [false, true] {
        let mut rng = Rng(31337);
        let mut world = World::new(Weak::Good);
        for number in 0..20_000 {
            let expiry = (rng.below(4) > 0).then(|| rng.below(100_000) as i64 - 10);
            let within = if inner_too && rng.below(3) == 0 { rng.below(7) } else { 0 };
            let times = (0..within).map(|_| rng.below(100_000) as i64 - 10).collect();
            set_times(&mut world, &key(number), times, expiry);
        }
        assert_eq!(world.table.len_with_inner_expiry() > 5000, inner_too);
        world.check();
        let mut now = 0;
        while now < 101_000 {
            now += 500;
            for before in [now - 490, now, now + 10] {
                let is_past = |row: &&Row| row.expiry.is_some_and(|at| at < before);
                let expired = world.model.values().filter(is_past).count();
                assert_eq!(world.table.count_expired(before), expired);
            }
            let first = world.model.values().flat_map(Row::expiries).min();
            assert!(world.table.expires_from().is_none_or(|at| Some(at) <= first));
            loop {
                let mut expired = Vec::new();
                let step = world.table.expire_step(now, 1000, &mut |entry, what| {
                    let is_past = |at: Option<i64>| at.is_some_and(|at| at < now);
                    match what {
                        Expired::Key => assert!(is_past(entry.expiry())),
                        Expired::Inner => {
                            assert!(is_past(entry.inner_expiry()) && !is_past(entry.expiry()));
                        }
                    }
                    expired.push((entry.key().to_vec(), what));
                });
                assert!(step.looked < 1000 + 700 && step.reported == expired.len());
                for (key, what) in expired {
                    if what == Expired::Key {
                        world.remove(&key);
                        continue;
                    }
                    let row = world.model[&key].clone();
                    let (Value::Inline(bytes) | Value::Bytes(bytes)) = row.value else {
                        panic!("no texts here")
                    };
                    let mut left = times(&bytes);
                    let all = left.len();
                    left.retain(|at| *at >= now);
                    assert!(left.len() < all);
                    set_times(&mut world, &key, left, row.expiry);
                }
                if !step.more {
                    break;
                }
            }
            // Segments pause after a sweep.
            let late = world.model.values().flat_map(Row::expiries).min();
            assert!(late.is_none_or(|at| at >= now - 64), "at {now}: {late:?}");
        }
        assert_eq!((world.table.len_with_expiry(), world.table.len_with_inner_expiry()), (0, 0));
        assert_eq!(world.table.earliest_expiry(), None);
        world.check();
    }
}

#[test]
fn reported_keys_that_stay_can_be_reported_again() {
    let mut world = World::new(Weak::Good);
    world.set(b"k", Row::new(0, Value::Inline(Vec::new()), Some(5), 0));
    let count = |table: &mut Table<Text>| table.expire_step(9, 10, &mut |_, _| {}).reported;
    assert_eq!(count(&mut world.table), 1);
    assert_eq!(count(&mut world.table), 0);
    assert_eq!(world.table.earliest_expiry(), None);
    world.table.expire_again(world.weak.hash(b"k"));
    assert_eq!(count(&mut world.table), 1);
}

#[test]
fn draining_emits_all_entries_and_tables_are_send() {
    let mut world = World::new(Weak::Good);
    (0..3000).for_each(|number| plain(&mut world, number));
    let mut keys = Vec::new();
    world.table.drain(&mut |entry| keys.push(entry.key().to_vec()));
    keys.sort();
    assert_eq!(keys, world.model.keys().cloned().collect::<Vec<_>>());
    assert_eq!((world.table.len(), world.table.allocated_bytes()), (0, 0));
    world.model.clear();
    (0..3000).for_each(|number| plain(&mut world, number));
    let table = std::mem::take(&mut world.table);
    std::thread::spawn(move || drop(table)).join().unwrap();
}
