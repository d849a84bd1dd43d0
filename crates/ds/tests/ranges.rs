//! Ranges of hashes compared with a map in hash order, and tables with equal top bits of hashes.
#![allow(clippy::disallowed_methods, reason = "settings of the test run")]

mod support;

use std::collections::BTreeMap;

use russet_ds::hash::Seed;
use russet_ds::{NewPayload, Payload, Scope, Table, WALKERS};
use support::Rng;

/// Miri is slow; it gets fewer keys.
const SLOW: u64 = if cfg!(miri) { 20 } else { 1 };

/// Number of bits of a hash below the slot.
const BELOW: u32 = 50;

/// The distribution of keys among 16384 slots, which are the top bits of the hash.
#[derive(Debug, Clone, Copy)]
enum Slots {
    /// All slots.
    All,
    /// This number of slots, far from each other.
    Spread(u64),
    /// This number of slots, the first ones.
    First(u64),
}

const SHAPES: [Slots; 5] =
    [Slots::All, Slots::Spread(1), Slots::Spread(100), Slots::First(2), Slots::First(5461)];

impl Slots {
    fn hash(self, key: &[u8]) -> u64 {
        let good = Seed::new(0x1234_5678_9abc_def0_1111).hash(key);
        let any = good >> 16;
        let slot = match self {
            Slots::All => any % 16384,
            Slots::Spread(count) => any % count * (16384 / count) + 77,
            Slots::First(count) => any % count,
        };
        slot << BELOW | good >> (64 - BELOW)
    }
}

/// Returns the first and the last hash of a slot.
fn ends(slot: u64) -> (u64, u64) {
    (slot << BELOW, slot << BELOW | ((1 << BELOW) - 1))
}

/// Entries in hash order: value and expiry.
type Model = BTreeMap<(u64, Vec<u8>), (Vec<u8>, Option<i64>)>;

struct World {
    slots: Slots,
    table: Table<()>,
    model: Model,
}

impl World {
    fn new(slots: Slots) -> World {
        World { slots, table: Table::new(), model: Model::new() }
    }

    fn filled(slots: Slots, keys: u64) -> World {
        let mut world = World::new(slots);
        (0..keys).for_each(|number| world.insert(number));
        world
    }

    fn insert(&mut self, number: u64) {
        let key = number.to_le_bytes();
        let (hash, slots) = (self.slots.hash(&key), self.slots);
        let value = vec![1; number as usize % 30];
        let expiry = number.is_multiple_of(5).then_some(number as i64);
        let hash_of = |key: &[u8]| slots.hash(key);
        self.table.set(hash, &key, 0, NewPayload::Inline(&value), expiry, 0, &hash_of);
        self.model.insert((hash, key.to_vec()), (value, expiry));
    }

    fn remove(&mut self, number: u64) {
        let key = number.to_le_bytes();
        let (hash, slots) = (self.slots.hash(&key), self.slots);
        let old = self.table.remove(hash, &key, &|key| slots.hash(key));
        assert_eq!(old.is_some(), self.model.remove(&(hash, key.to_vec())).is_some());
    }

    /// Returns the range of some slots, complete or partial, or of one key.
    fn range(&self, rng: &mut Rng) -> (u64, u64) {
        let key = self.slots.hash(&rng.below(100).to_le_bytes());
        let slot = key >> BELOW;
        match rng.below(5) {
            0 => ends(slot),
            1 => (ends(slot.saturating_sub(200)).0, ends((slot + 200).min(16383)).1),
            2 => (key, ends(slot).1),
            3 => (key, key),
            _ => (rng.next().min(key), key),
        }
    }

    fn scan(&self, from: u64, last: u64) -> Model {
        let (mut found, mut next) = (Model::new(), Some(from));
        while let Some(at) = next {
            let hash_of = |key: &[u8]| self.slots.hash(key);
            next = self.table.scan_range(at, last, &hash_of, &mut |entry| {
                let Payload::Inline(value) = entry.payload() else { panic!("all are short") };
                let row = (value.to_vec(), entry.expiry());
                let key = (hash_of(entry.key()), entry.key().to_vec());
                assert!(found.insert(key, row).is_none(), "{:?}: twice", self.slots);
            });
            assert!(next.is_none_or(|next| next > at && next <= last));
        }
        found
    }

    /// Drains one segment's part of a range.
    fn drain_some(&mut self, from: u64, last: u64) -> Option<u64> {
        let slots = self.slots;
        let model = &mut self.model;
        let next = self.table.drain_range(from, last, &|key| slots.hash(key), &mut |entry| {
            let Payload::Inline(value) = entry.payload() else { panic!("all are short") };
            let key = (slots.hash(entry.key()), entry.key().to_vec());
            assert!((from..=last).contains(&key.0));
            assert_eq!(model.remove(&key), Some((value.to_vec(), entry.expiry())));
        });
        assert!(next.is_none_or(|next| next > from && next <= last));
        let end = next.map_or(last, |next| next - 1);
        let bounds = (from, Vec::new())..=(end, vec![u8::MAX; 9]);
        assert_eq!(self.model.range(bounds).count(), 0, "{slots:?}: not all was drained");
        next
    }

    fn trim(&mut self) {
        let slots = self.slots;
        let mut next = Some(0);
        while let Some(from) = next {
            next = self.table.trim(from, &|key| slots.hash(key));
            assert!(next.is_none_or(|next| next > from));
        }
    }

    fn check(&self) {
        assert_eq!(self.table.len(), self.model.len());
        let expiring = self.model.values().filter(|(_, expiry)| expiry.is_some()).count();
        assert_eq!(self.table.len_with_expiry(), expiring);
        assert_eq!(self.scan(0, u64::MAX), self.model);
        let mut bytes = 0;
        for (hash, key) in self.model.keys() {
            let entry = self.table.get(*hash, key).expect("in the model");
            bytes += entry.allocated_bytes();
        }
        let shape = self.table.shape();
        assert!(self.table.allocated_bytes() >= bytes + shape.segment_bytes);
        assert_eq!(self.table.is_empty(), self.table.allocated_bytes() == 0);
    }
}

#[test]
fn ranges_agree_with_a_map_in_order() {
    for slots in SHAPES {
        let mut rng = Rng(0x7a6e);
        let keys = 4000 / SLOW;
        let mut world = World::filled(slots, keys);
        world.check();
        for round in 0..60 / SLOW.min(6) {
            let (from, last) = world.range(&mut rng);
            let bounds = (from, Vec::new())..=(last, vec![u8::MAX; 9]);
            let inside = world.model.range(bounds).map(|(key, row)| (key.clone(), row.clone()));
            assert_eq!(world.scan(from, last), inside.collect::<Model>(), "{slots:?}");
            let mut next = Some(from).filter(|_| rng.below(2) == 0);
            while let Some(at) = next {
                next = world.drain_some(at, last);
                // Inserts and removes other keys meanwhile.
                for _ in 0..rng.below(4) {
                    let number = keys + rng.below(keys);
                    if (from..=last).contains(&slots.hash(&number.to_le_bytes())) {
                        continue;
                    }
                    if rng.below(2) == 0 { world.insert(number) } else { world.remove(number) }
                }
            }
            if rng.below(4) == 0 {
                world.trim();
            }
            if round % 10 == 0 {
                world.check();
                (0..rng.below(keys)).for_each(|number| world.insert(number));
            }
        }
        world.check();
        let mut next = Some(0);
        while let Some(at) = next {
            next = world.drain_some(at, u64::MAX);
        }
        world.check();
        assert_eq!(world.table.earliest_expiry(), None);
    }
}

#[test]
fn draining_and_trimming_keep_walks_complete() {
    for slots in SHAPES {
        let mut rng = Rng(0xd4a1);
        let keys = 3000 / SLOW;
        let mut world = World::filled(slots, keys);
        for epoch in 1..=(if cfg!(miri) { 2 } else { 12 }) {
            let mut starts: [Option<Model>; WALKERS] = Default::default();
            let mut images: [Model; WALKERS] = Default::default();
            let mut positions = [None; WALKERS];
            let mut drain: Option<(u64, u64)> = None;
            while starts[0].is_none() || positions.iter().any(Option::is_some) {
                let hash_of = |key: &[u8]| slots.hash(key);
                for w in 0..WALKERS {
                    if starts[w].is_none() && (w == 0 || rng.below(10) == 0) {
                        starts[w] = Some(world.model.clone());
                        positions[w] = Some(0);
                    }
                    let Some(pos) = positions[w] else { continue };
                    let mut sink = sink_into(slots, &mut images[w]);
                    positions[w] = world.table.walk(w, epoch, pos, &hash_of, &mut sink);
                }
                let mut visit = |world: &mut World, hash: u64, whole: bool| {
                    for w in (0..WALKERS).filter(|w| positions[*w].is_some()) {
                        let scope = match whole {
                            true => Scope::Segment,
                            false if world.table.write_resizes(hash) => Scope::Resize,
                            false => Scope::Bucket,
                        };
                        let mut sink = sink_into(slots, &mut images[w]);
                        world.table.visit(w, epoch, hash, scope, &hash_of, &mut sink);
                    }
                };
                for _ in 0..rng.below(8) {
                    let number = rng.below(2 * keys);
                    visit(&mut world, slots.hash(&number.to_le_bytes()), false);
                    if rng.below(3) > 0 { world.insert(number) } else { world.remove(number) }
                }
                if drain.is_none() && rng.below(20) == 0 {
                    drain = Some(world.range(&mut rng));
                }
                if let Some((from, last)) = drain {
                    visit(&mut world, from, true);
                    drain = world.drain_some(from, last).map(|next| (next, last));
                }
                if rng.below(20) == 0 {
                    world.trim();
                }
            }
            for (start, image) in starts.into_iter().zip(images) {
                assert_eq!(image, start.unwrap_or_default(), "{slots:?} epoch {epoch}");
            }
            world.check();
        }
    }
}

/// Records the entries that a walk emits.
fn sink_into(slots: Slots, image: &mut Model) -> impl FnMut(russet_ds::EntryRef<'_, ()>) {
    move |entry| {
        let Payload::Inline(value) = entry.payload() else { panic!("all are short") };
        let row = (value.to_vec(), entry.expiry());
        let old = image.insert((slots.hash(entry.key()), entry.key().to_vec()), row);
        assert!(old.is_none(), "{slots:?}: a key came twice");
    }
}

#[test]
#[cfg_attr(miri, ignore = "figures, and slow")]
fn hashes_with_equal_top_bits_cost_little_memory() {
    // Entries of 8 + 16 bytes take 32; segments take at most twice their optimum.
    for (slots, keys, most, directory) in [
        (Slots::All, 100_000, 45.0, 0.5),
        (Slots::First(5461), 100_000, 45.0, 0.5),
        (Slots::Spread(1), 100_000, 45.0, 0.5),
        (Slots::Spread(1), 300, 60.0, 3.0),
        (Slots::Spread(100), 100_000, 47.0, 0.5),
        (Slots::Spread(100), 2000, 100.0, 3.0),
        (Slots::Spread(1000), 30_000, 100.0, 3.0),
    ] {
        let mut table: Table<()> = Table::new();
        for number in 0..keys as u64 {
            let key = number.to_le_bytes();
            let value = NewPayload::Inline(&[0; 16]);
            table.set(slots.hash(&key), &key, 0, value, None, 0, &|key| slots.hash(key));
        }
        let shape = table.shape();
        let per_key = |bytes: usize| bytes as f64 / keys as f64;
        assert!(per_key(table.allocated_bytes()) < most, "{slots:?} {keys} {shape:?}");
        assert!(per_key(shape.directory_bytes) < directory, "{slots:?} {keys} {shape:?}");
        assert_eq!(shape.overflowed, 0, "{slots:?} {keys}");
        // A sample takes few tries, with two random numbers each.
        let mut rng = Rng(99);
        let mut numbers = 0;
        for _ in 0..1000 {
            let drawn = table.random(&mut || {
                numbers += 1;
                rng.next()
            });
            assert!(drawn.is_some());
        }
        assert!(numbers < 80_000, "{slots:?} {keys}: {numbers}");
        // Shrinking does not use overflow lists either.
        for number in 50..keys as u64 {
            let key = number.to_le_bytes();
            assert!(table.remove(slots.hash(&key), &key, &|key| slots.hash(key)).is_some());
            if table.len() < 2000 {
                let shape = table.shape();
                assert_eq!(shape.overflowed, 0, "{slots:?} {keys} {shape:?}");
            }
        }
        let shape = table.shape();
        assert!(shape.segments <= 1000 && table.allocated_bytes() < 150_000, "{slots:?} {shape:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "figures, and slow")]
fn unused_reserved_memory_is_freed() {
    for slots in [Slots::Spread(1), Slots::First(5461), Slots::All] {
        let mut world = World::new(slots);
        world.table.reserve(1_000_000);
        (0..20_000).for_each(|number| world.insert(number));
        let reserved = world.table.allocated_bytes();
        world.trim();
        world.check();
        let trimmed = world.table.allocated_bytes();
        assert!(trimmed < reserved / 4 && trimmed < 20_000 * 60, "{slots:?} {reserved} {trimmed}");
        let mut next = Some(0);
        while let Some(from) = next {
            next = world.drain_some(from, u64::MAX);
        }
        assert_eq!(world.table.allocated_bytes(), 0);
    }
}
