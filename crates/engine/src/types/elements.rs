//! The elements of a large hash, set or sorted set: a table of names, each with a value and an
//! expiry.
//!
//! It is the same table as the keyspace's, so it grows and is scanned, sampled and walked in the
//! same way. Changes require the [`Walkers`] of the value. An order or rank of elements is not
//! maintained here.

use russet_ds::hash::Seed;
use russet_ds::{Block, EntryRef, NewPayload, Payload, Table};

use super::walkers::{Walker, Walkers, walk_elements};
use crate::rdb::chunk::Chunk;
#[cfg(test)]
use crate::{rdb::elements::Element, types::Object};

/// Maximum length of an inline value, in bytes.
const INLINE_MAX: usize = 1024;

/// The elements of a large value.
pub struct Elements {
    table: Table<()>,
    seed: Seed,
}

impl std::fmt::Debug for Elements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Elements").field("len", &self.len()).finish()
    }
}

impl Elements {
    /// Creates an empty table whose names are hashed with this seed.
    pub fn new(seed: Seed) -> Elements {
        Elements { table: Table::new(), seed }
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Returns the number of elements with an expiry.
    pub fn len_with_expiry(&self) -> usize {
        self.table.len_with_expiry()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Reserves memory for this number of elements, if there are none yet.
    pub fn reserve(&mut self, elements: usize) {
        self.table.reserve(elements);
    }

    /// Returns the element with this name, even if it is expired.
    pub fn get(&self, name: &[u8]) -> Option<EntryRef<'_, ()>> {
        self.table.get(self.seed.hash(name), name)
    }

    /// Sets value and expiry of an element. Returns whether it was created.
    pub fn set(
        &mut self,
        name: &[u8],
        value: &[u8],
        expiry: Option<i64>,
        walkers: &mut Walkers<'_>,
    ) -> bool {
        let (seed, hash) = (self.seed, self.seed.hash(name));
        let hash_of = |name: &[u8]| seed.hash(name);
        walkers.before_change(&mut self.table, hash, &hash_of);
        let before = self.len();
        let payload = match value.len() {
            ..=INLINE_MAX => NewPayload::Inline(value),
            _ => NewPayload::Block(Block::from_bytes(value)),
        };
        drop(self.table.set(hash, name, 0, payload, expiry, 0, &hash_of));
        self.len() > before
    }

    /// Sets or clears the expiry of an element. Returns false if it does not exist.
    pub fn set_expiry(
        &mut self,
        name: &[u8],
        expiry: Option<i64>,
        walkers: &mut Walkers<'_>,
    ) -> bool {
        let (seed, hash) = (self.seed, self.seed.hash(name));
        walkers.before_change(&mut self.table, hash, &|name| seed.hash(name));
        let found = self.table.get_mut(hash, name);
        found.map(|mut element| element.set_expiry(expiry)).is_some()
    }

    /// Removes an element. Returns false if it does not exist.
    pub fn remove(&mut self, name: &[u8], walkers: &mut Walkers<'_>) -> bool {
        let (seed, hash) = (self.seed, self.seed.hash(name));
        let hash_of = |name: &[u8]| seed.hash(name);
        walkers.before_change(&mut self.table, hash, &hash_of);
        self.table.remove(hash, name, &hash_of).is_some()
    }

    /// Emits all elements in hash order.
    pub fn each<'a>(&'a self, sink: &mut dyn FnMut(EntryRef<'a, ()>)) {
        self.table.for_each(sink);
    }

    /// Emits the bucket of position `from`. Returns the next position, none at the end. A scan
    /// starts at 0.
    pub fn scan(&self, from: u64, sink: &mut dyn FnMut(EntryRef<'_, ()>)) -> Option<u64> {
        self.table.scan(from, &|name| self.seed.hash(name), sink)
    }

    /// Emits elements from a position on, at least `count`. Returns the next position, 0 at the end. A scan starts at 0. It
    /// visits at most `10 * count` buckets, so that the work is bounded.
    pub fn scan_some(
        &self,
        from: u64,
        count: usize,
        sink: &mut dyn FnMut(EntryRef<'_, ()>),
    ) -> u64 {
        let (mut emitted, mut visited) = (0_usize, 0_usize);
        let mut next = Some(from);
        while let Some(from) = next {
            visited += 1;
            next = self.scan(from, &mut |element| {
                emitted += 1;
                sink(element);
            });
            if emitted >= count || visited >= count.saturating_mul(10) {
                break;
            }
        }
        next.unwrap_or(0)
    }

    /// Returns a uniformly random element.
    pub fn random(&self, draw: &mut dyn FnMut() -> u64) -> Option<EntryRef<'_, ()>> {
        self.table.random(draw)
    }

    /// Returns the names of elements whose expiry is before `now_ms`, after examining up to
    /// `budget` candidates.
    pub fn expired(&mut self, now_ms: i64, budget: usize) -> Vec<Box<[u8]>> {
        let mut names = Vec::new();
        self.table.expire_step(now_ms, budget, &mut |element, _| names.push(element.key().into()));
        names
    }

    /// Returns a lower bound of the earliest expiry, except of those that [`Elements::expired`]
    /// returned.
    pub fn earliest_expiry(&self) -> Option<i64> {
        self.table.expires_from()
    }

    /// Returns the number of elements with an expiry before a time, except of those that
    /// [`Elements::expired`] returned.
    pub fn count_expired(&self, before_ms: i64) -> usize {
        self.table.count_expired(before_ms)
    }

    /// Returns when [`Elements::expired`] may return something; after a call it pauses for a while.
    pub fn next_sweep(&self) -> Option<i64> {
        self.table.earliest_expiry()
    }

    /// Copies the elements; long values are shared until they change.
    pub fn copy(&self) -> Elements {
        let mut copy = Elements::new(self.seed);
        copy.reserve(self.len());
        self.each(&mut |element| {
            let (name, expiry) = (element.key(), element.expiry());
            let payload = match element.payload() {
                Payload::Inline(bytes) => NewPayload::Inline(bytes),
                Payload::Block(block) => NewPayload::Block(block.to_owned()),
            };
            let hash_of = |name: &[u8]| self.seed.hash(name);
            let hash = hash_of(name);
            drop(copy.table.set(hash, name, element.kind(), payload, expiry, 0, &hash_of));
        });
        copy
    }

    /// Continues a walk, see [`walk_elements`].
    pub fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64> {
        let seed = self.seed;
        walk_elements(&mut self.table, walker, position, &|name| seed.hash(name), chunk)
    }

    /// Returns the memory in bytes, without the struct itself.
    pub fn allocated_bytes(&self) -> usize {
        self.table.allocated_bytes()
    }
}

#[cfg(test)]
impl super::Collection for Elements {
    fn len(&self) -> usize {
        self.len()
    }

    fn kind(&self) -> u8 {
        super::string::KIND_RAW
    }

    fn next_sweep(&self) -> Option<i64> {
        self.next_sweep()
    }

    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        self.each(&mut |element| {
            let (name, value, expiry) = (element.key(), value_of(&element), element.expiry());
            sink(Element { name, value, expiry });
        });
    }

    fn copy(&self) -> Block<Object> {
        Object::Elements(self.copy()).into_block()
    }

    fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64> {
        self.walk(walker, position, chunk)
    }

    fn owned_bytes(&self) -> usize {
        self.allocated_bytes()
    }
}

/// Returns the bytes of an element's value.
pub fn value_of<'a>(element: &EntryRef<'a, ()>) -> &'a [u8] {
    match element.payload() {
        Payload::Inline(bytes) => bytes,
        // A block of `()` can only contain bytes.
        Payload::Block(block) => block.as_bytes().unwrap_or_default(),
    }
}
