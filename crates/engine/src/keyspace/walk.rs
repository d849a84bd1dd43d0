//! Walks: iteration over the keyspace as it was at one point in time, for snapshots.
//!
//! A walk needs no `fork`. It visits buckets in order, in slices between turns of clients, and copies
//! their entries into chunks. Before a write changes a bucket that the walk has not visited, the
//! write guard copies the bucket, its *pre-image*, for the walk:
//!
//! ```text
//!   hash order ─▶   ███████████████░░░░█░░░░░░░█░░░░░░░░░░░░░░
//!                   visited by     ▲    ▲       ▲
//!                   the walk       position      changed since the walk began:
//!                                               pre-images copied by the write guard
//! ```
//!
//! Each walk has an epoch, and each bucket is marked with the epochs of the walks that have visited
//! it (see `russet_ds`). So exactly the keys and values that existed when the walk began are copied,
//! each once; entries inserted into a visited bucket are newer and not copied. FLUSHALL and SWAPDB do
//! not affect a walk: it refers to databases by identity, and a detached database is kept until the
//! walk has finished it.
//!
//! **Large values** are not copied with their bucket. They are registered (see
//! [`super::walk_values`]) and then walked like the keyspace: bucket by bucket of their own table,
//! while a write copies the pre-image of the bucket that it changes. If the key is removed, the value
//! is kept until it has been walked.
//!
//! ```text
//!   a bucket    key ─ compact value      copied
//!               key ─ compact value      copied
//!               key ─ large value        registered ─▶ begin, 1 million elements in slices, end
//! ```
//!
//! A value that can be copied in constant time, since copies share what has not changed, is copied when its bucket is visited,
//! and the copy is gone through in the same slices. Nothing that happens to the value concerns it any more.
//!
//! Large values are walked one after the other as soon as they are found, since a file must contain
//! each in one piece. So few of them are waiting, unless writes reach many buckets first.
//!
//! Records are emitted in the order of visits. A file has no defined order.

use std::collections::VecDeque;

use russet_ds::{Block, Content, EntryRef, Payload, Scope, WALKERS};

use super::walk_output::{Output, Source};
pub use super::walk_values::Disturbed;
use super::walk_values::{Place, ValueId, Values};
use super::{Db, Key, KeyHasher, Keyspace};
use crate::injected::Bug;
use crate::io::{Garbage, JobId};
use crate::rdb::Access;
use crate::rdb::chunk::{Chunk, ChunkKey, ChunkValue};
use crate::rdb::elements::Head;
use crate::types::walkers::{Frozen, Walker, Walkers};
use crate::types::{Collection, Object};

/// Maximum number of concurrent walks: a dump file, a full synchronization, a slot migration.
pub const WALKS_MAX: usize = WALKERS;

#[derive(Debug)]
struct Walk {
    job: JobId,
    epoch: u32,
    /// The databases: number at the start of the walk, and identity.
    dbs: Vec<(u32, u64)>,
    /// Index of the current database.
    current: usize,
    position: u64,
    /// Large values found and not walked yet, in the order of the walk.
    waiting: VecDeque<LargeValue>,
    /// The large value being walked.
    current_value: Option<Current>,
    output: Output,
}

/// A large value that is being walked.
#[derive(Debug)]
enum Current {
    /// A registered one, and the position in it.
    Registered(ValueId, u64),
    /// A copy.
    Frozen(Box<dyn Frozen>),
}

/// A large value, with its key as it was when the walk began.
#[derive(Debug)]
struct LargeValue {
    value: Current,
    /// Number of its database at the start of the walk.
    number: u32,
    key: Box<[u8]>,
    kind: u8,
    expiry: Option<i64>,
    head: Head,
}

/// The running walks, and detached data that is kept for them.
#[derive(Debug, Default)]
pub struct Walks {
    slots: [Option<Walk>; WALKS_MAX],
    detached: Vec<Db>,
    values: Values,
    last_epoch: u32,
}

/// The result of a slice of a walk.
#[derive(Debug)]
pub enum Slice {
    /// The next chunk.
    Chunk(Chunk),
    /// The slice is used up.
    Pause,
    /// Everything was visited and all chunks were returned.
    End,
}

impl Walks {
    /// Whether any walk is running.
    #[inline]
    pub fn any(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    fn index_of(&self, job: JobId) -> Option<usize> {
        self.slots.iter().position(|walk| walk.as_ref().is_some_and(|walk| walk.job == job))
    }

    /// Whether a walk has not finished a database.
    fn needs(&self, identity: u64) -> bool {
        let is_ahead = |walk: &Walk| walk.dbs[walk.current..].iter().any(|&(_, id)| id == identity);
        self.slots.iter().flatten().any(is_ahead) || self.values.needs(identity)
    }

    /// Keeps a detached database if a walk has not finished it; otherwise returns it.
    pub(super) fn adopt(&mut self, db: Db) -> Option<Db> {
        if !self.needs(db.identity) {
            return Some(db);
        }
        self.values.count_detached(db.identity);
        self.detached.push(db);
        None
    }

    /// Keeps a large value that was removed from its key if a walk has not finished it; otherwise
    /// returns it.
    pub(super) fn adopt_value(
        &mut self,
        identity: u64,
        key: &[u8],
        block: Block<Object>,
        is_replaced: bool,
    ) -> Option<Block<Object>> {
        self.values.adopt(identity, key, block, is_replaced)
    }

    /// Returns what happened to large values while a walk was inside them.
    pub fn disturbed(&self) -> Disturbed {
        self.values.disturbed
    }

    /// Whether a walk has visited some elements of a large value, and not all.
    pub fn is_inside_value(&self) -> bool {
        self.values.has_walk_inside()
    }

    /// Handles the move of a value to another key.
    pub(super) fn value_moved(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        self.values.moved(from, to);
    }

    /// Calls `change` with the walks that have not finished the value of a key.
    pub(super) fn with_walkers<R>(
        &mut self,
        identity: u64,
        key: &[u8],
        change: impl FnOnce(Walkers<'_>) -> R,
    ) -> R {
        self.values.with_walkers(identity, key, change)
    }

    /// Whether there are no walks and nothing is kept for them.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        !self.any() && self.detached.is_empty() && self.values.is_empty()
    }

    /// Returns the memory of data kept for walks, in bytes.
    pub(super) fn allocated_bytes(&self) -> usize {
        let detached = self.detached.iter().map(Db::allocated_bytes).sum::<usize>();
        detached + self.values.kept_bytes()
    }
}

impl Keyspace {
    /// Starts a walk over the current data. Returns false if the maximum number is running.
    pub fn begin_walk(&mut self, job: JobId) -> bool {
        let dbs = self.dbs().filter(|(_, db)| !db.is_empty()).map(|(n, db)| (n, db.identity));
        let dbs = dbs.collect();
        let Some(free) = self.walks.slots.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        self.walks.last_epoch += 1;
        *free = Some(Walk {
            job,
            epoch: self.walks.last_epoch,
            dbs,
            current: 0,
            position: 0,
            waiting: VecDeque::new(),
            current_value: None,
            output: Output::default(),
        });
        true
    }

    /// Returns the memory of a walk's copies that were not passed on yet, in bytes, including
    /// pre-images.
    pub fn walk_held_bytes(&self, job: JobId) -> usize {
        let index = self.walks.index_of(job);
        let walk = index.and_then(|index| Some((index, self.walks.slots[index].as_ref()?)));
        walk.map_or(0, |(index, walk)| {
            walk.output.held_bytes() + self.walks.values.parts_bytes(index)
        })
    }

    /// Ends a walk, finished or not.
    pub fn end_walk(&mut self, job: JobId) {
        let Some(index) = self.walks.index_of(job) else { return };
        let Some(walk) = self.walks.slots[index].take() else { return };
        let waiting = walk.waiting.into_iter().map(|value| value.value);
        for value in waiting.chain(walk.current_value) {
            self.garbage.extend(match value {
                Current::Registered(id, _) => {
                    self.walks.values.finish(id, index).map(|block| Garbage::new(1, block))
                }
                Current::Frozen(frozen) => Some(Garbage::new(1, frozen)),
            });
        }
        self.release_detached();
    }

    /// Continues a walk until a chunk is full or `used_up` returns true; it is called after each
    /// bucket of the keyspace or of a large value.
    pub fn walk_slice(&mut self, job: JobId, used_up: &mut dyn FnMut() -> bool) -> Slice {
        let Some(index) = self.walks.index_of(job) else { return Slice::End };
        let Some(mut walk) = self.walks.slots[index].take() else { return Slice::End };
        let slice = self.continue_walk(&mut walk, index, used_up);
        self.walks.slots[index] = Some(walk);
        self.release_detached();
        slice
    }

    fn continue_walk(
        &mut self,
        walk: &mut Walk,
        index: usize,
        used_up: &mut dyn FnMut() -> bool,
    ) -> Slice {
        loop {
            let place = walk.dbs.get(walk.current).copied();
            let is_finished =
                place.is_none() && walk.current_value.is_none() && walk.waiting.is_empty();
            if let Some(chunk) = walk.output.next(is_finished) {
                return Slice::Chunk(chunk);
            }
            if let Some(current) = walk.current_value.take() {
                match current {
                    Current::Registered(id, position) => self.walk_value(walk, index, id, position),
                    Current::Frozen(frozen) => {
                        let done = walk.walk_frozen(frozen);
                        // It may be the last that has its memory.
                        self.garbage.extend(done.map(|frozen| Garbage::new(1, frozen)));
                    }
                }
            } else if let Some(value) = walk.waiting.pop_front() {
                walk.begin_value(value);
            } else if let Some((number, identity)) = place {
                self.visit_next(walk, index, number, identity);
            } else {
                return Slice::End;
            }
            if used_up() {
                return Slice::Pause;
            }
        }
    }

    /// Visits the bucket at the walk's position and advances it.
    fn visit_next(&mut self, walk: &mut Walk, index: usize, number: u32, identity: u64) {
        let hasher = self.hasher;
        let hash_of = |key: &[u8]| hasher.hash(key);
        let Walks { detached, values, .. } = &mut self.walks;
        let db = find_db(&mut self.dbs, detached, identity);
        let (epoch, position) = (walk.epoch, walk.position);
        let mut visit = walk.visit(values, index, (number, identity), Source::Walker);
        let sink = &mut |entry: EntryRef<'_, Object>| visit.entry(&entry);
        let next = db.table.walk(index, epoch, position, &hash_of, sink);
        match next {
            Some(next) => walk.position = next,
            None => (walk.current, walk.position) = (walk.current + 1, 0),
        }
    }

    /// Continues the current large value: takes its pre-images and visits the next bucket.
    fn walk_value(&mut self, walk: &mut Walk, index: usize, id: ValueId, position: u64) {
        let Walks { detached, values, .. } = &mut self.walks;
        walk.output.extend_value(values.take_parts(id, index));
        let walker = Walker { index, epoch: walk.epoch };
        let chunk = walk.output.value_chunk();
        let mut visit = |block: &mut Block<Object>| {
            let object = block.get_mut().expect("a large value has one owner");
            object.collection_mut().walk(walker, position, chunk)
        };
        let next = match values.place(id).expect("a value is registered until it is finished") {
            Place::Kept(block) => visit(block),
            Place::Key(identity, key) => {
                let key = self.hasher.key(key);
                let db = find_db(&mut self.dbs, detached, *identity);
                let entry = db.get_mut(key);
                let next = entry.and_then(|mut entry| entry.edit_block(visit));
                next.expect("a registered value is found by its key")
            }
        };
        walk.current_value = next.map(|next| Current::Registered(id, next));
        if next.is_some() && position == 0 {
            values.entered(id, index);
        } else if next.is_none() {
            walk.output.value_chunk().end();
            walk.output.end_value();
            let left = values.finish(id, index);
            self.garbage.extend(left.map(|block| Garbage::new(1, block)));
        }
    }

    fn release_detached(&mut self) {
        if self.walks.detached.is_empty() {
            return;
        }
        let (kept, done): (Vec<Db>, Vec<Db>) = std::mem::take(&mut self.walks.detached)
            .into_iter()
            .partition(|db| self.walks.needs(db.identity));
        self.walks.detached = kept;
        self.garbage.extend(done.into_iter().map(|db| Garbage::new(db.len(), db)));
    }

    /// Copies the pre-image of a key's bucket for each walk that has not visited it. Called by the
    /// write guard.
    #[cold]
    pub(super) fn preserve(&mut self, number: u32, key: Key<'_>) {
        if self.injected(Bug::SkippedPreimage) && key.hash.is_multiple_of(4) {
            return;
        }
        let hasher: KeyHasher = self.hasher;
        let hash_of = |key: &[u8]| hasher.hash(key);
        let db = &mut self.dbs[number as usize];
        let identity = db.identity;
        let Walks { slots, values, .. } = &mut self.walks;
        for (index, slot) in slots.iter_mut().enumerate() {
            let Some(walk) = slot else { continue };
            let ahead = &walk.dbs[walk.current..];
            let Some(&place) = ahead.iter().find(|&&(_, id)| id == identity) else { continue };
            // An empty table is visited too, so that its first entry counts as newer than the walk.
            let table = &mut db.table;
            let scope = if table.write_resizes(key.hash) { Scope::Resize } else { Scope::Bucket };
            let epoch = walk.epoch;
            let mut visit = walk.visit(values, index, place, Source::Writer);
            let sink = &mut |entry: EntryRef<'_, Object>| visit.entry(&entry);
            table.visit(index, epoch, key.hash, scope, &hash_of, sink);
        }
    }
}

/// Returns the database with this identity, which a walk has not finished.
fn find_db<'a>(dbs: &'a mut [Db], detached: &'a mut [Db], identity: u64) -> &'a mut Db {
    let mut all = dbs.iter_mut().chain(detached);
    all.find(|db| db.identity == identity).expect("a database stays until walks have finished it")
}

impl Walk {
    /// Prepares a visit of a bucket. `number`: that of the database at the start of the walk.
    fn visit<'a>(
        &'a mut self,
        values: &'a mut Values,
        index: usize,
        (number, identity): (u32, u64),
        source: Source,
    ) -> Visit<'a> {
        let walker = Walker { index, epoch: self.epoch };
        let Walk { output, waiting, .. } = self;
        Visit { chunk: output.chunk(number, source), waiting, values, walker, number, identity }
    }

    fn begin_value(&mut self, value: LargeValue) {
        let LargeValue { value, number, key, kind, expiry, head } = value;
        let key = ChunkKey { kind, bytes: &key, expiry, access: Access::default() };
        self.output.begin_value(number).begin(&key, head);
        self.current_value = Some(value);
    }

    /// Continues the current copy, and returns it at its end.
    fn walk_frozen(&mut self, mut frozen: Box<dyn Frozen>) -> Option<Box<dyn Frozen>> {
        let chunk = self.output.value_chunk();
        if frozen.emit(chunk) {
            self.current_value = Some(Current::Frozen(frozen));
            return None;
        }
        chunk.end();
        self.output.end_value();
        Some(frozen)
    }
}

/// A visit of a bucket.
struct Visit<'a> {
    chunk: &'a mut Chunk,
    waiting: &'a mut VecDeque<LargeValue>,
    values: &'a mut Values,
    walker: Walker,
    number: u32,
    identity: u64,
}

impl Visit<'_> {
    /// Copies an entry, or registers its value if it is large.
    #[inline]
    fn entry(&mut self, entry: &EntryRef<'_, Object>) {
        let (key, kind, expiry) = (entry.key(), entry.kind(), entry.expiry());
        let value = match entry.payload() {
            Payload::Inline(bytes) => ChunkValue::Bytes(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => ChunkValue::Shared(bytes.share()),
                Content::Value(object) => return self.large(entry, object.collection()),
            },
        };
        self.chunk.push(kind, key, expiry, value);
    }

    fn large(&mut self, entry: &EntryRef<'_, Object>, collection: &dyn Collection) {
        let (number, kind, expiry) = (self.number, entry.kind(), entry.expiry());
        let value = collection.freeze().map_or_else(
            || {
                let id = self.values.register(self.identity, entry.key(), self.walker, number);
                Current::Registered(id, 0)
            },
            Current::Frozen,
        );
        let (key, head) = (entry.key().into(), collection.head());
        self.waiting.push_back(LargeValue { value, number, key, kind, expiry, head });
    }
}
