//! Snapshots: the walk through the keyspace that sees it as it was at one point in time.
//!
//! There is no `fork`. A walk has an epoch. It visits buckets in order, in slices between client turns, and copies
//! their entries into chunks. A write to a bucket that it has not visited first hands over the bucket's old image:
//!
//! ```text
//!   hash order ─▶   ███████████████░░░░█░░░░░░░█░░░░░░░░░░░░░░
//!                   visited by     ▲    ▲       ▲
//!                   the walker     walker        written to since the walk began: the guard
//!                                               copied them just before
//! ```
//!
//! The marks stand in the buckets (see `russet_ds`), so the copies are of exactly the keys and values at the moment the walk
//! began, each once. What a write inserts into a visited bucket is newer than that moment and stays out.
//! FLUSHALL and SWAPDB do not disturb a walk: it follows a database's identity, and one that is
//! detached stays with it until it has been walked.
//!
//! **Large values** are not copied when their bucket is visited. They are registered (see [`super::walk_values`]) and then
//! visited in the same way as the keyspace: bucket by bucket of their own table, while a write hands over the old image of the
//! bucket that it changes. Whatever becomes of the key, the value stays within reach until it has been walked.
//!
//! ```text
//!   a bucket    key ─ compact value      copied
//!               key ─ compact value      copied
//!               key ─ large value        registered ─▶ begin, 1 million elements in slices, end
//! ```
//!
//! Large values are walked as soon as they are found, one after the other, since a file wants each in one piece. So not many of
//! them wait, unless writers come to many buckets first.
//!
//! A record goes into the snapshot in the order in which buckets were visited: a file has no order that anyone may rely on.

use std::collections::VecDeque;

use russet_ds::{Block, Content, EntryRef, Payload, Scope, WALKERS};

use super::walk_output::{By, Output};
use super::walk_values::{Place, ValueId, Values};
use super::{Db, Key, KeyHasher, Keyspace};
use crate::io::{Garbage, JobId};
use crate::rdb::Access;
use crate::rdb::chunk::{Chunk, ChunkKey, ChunkValue};
use crate::rdb::elements::Head;
use crate::types::Object;
use crate::types::walkers::{Walker, Walkers};

/// How many walks may run at once: a dump file, a full synchronisation, a slot on its way.
pub const WALKS_MAX: usize = WALKERS;

#[derive(Debug)]
struct Walk {
    job: JobId,
    epoch: u32,
    /// Databases to go through: their number when the walk began, their identity.
    dbs: Vec<(u32, u64)>,
    /// Those before it are done.
    current: usize,
    position: u64,
    /// Large values that have been found, in the order in which they are walked.
    waiting: VecDeque<LargeValue>,
    /// The one under way, and the position in it.
    under_way: Option<(ValueId, u64)>,
    output: Output,
}

/// A large value as it was found.
#[derive(Debug)]
struct LargeValue {
    id: ValueId,
    /// Number that its database had when the walk began.
    number: u32,
    key: Box<[u8]>,
    kind: u8,
    expiry: Option<i64>,
    head: Head,
}

/// The running walks, and what only they still see.
#[derive(Debug, Default)]
pub struct Walks {
    slots: [Option<Walk>; WALKS_MAX],
    detached: Vec<Db>,
    values: Values,
    last_epoch: u32,
}

/// What a slice of a walk brought.
#[derive(Debug)]
pub enum Slice {
    /// A chunk is full.
    Chunk(Chunk),
    /// The slice is used up.
    Pause,
    /// All was visited and every chunk given.
    End,
}

impl Walks {
    /// Whether any walk runs.
    #[inline]
    pub fn any(&self) -> bool {
        self.slots.iter().any(Option::is_some)
    }

    fn index_of(&self, job: JobId) -> Option<usize> {
        self.slots.iter().position(|walk| walk.as_ref().is_some_and(|walk| walk.job == job))
    }

    fn wants(&self, identity: u64) -> bool {
        let is_ahead = |walk: &Walk| walk.dbs[walk.current..].iter().any(|&(_, id)| id == identity);
        self.slots.iter().flatten().any(is_ahead) || self.values.wants(identity)
    }

    /// Keeps a detached database if some walk has not finished it, else gives it back.
    pub(super) fn adopt(&mut self, db: Db) -> Option<Db> {
        if !self.wants(db.identity) {
            return Some(db);
        }
        self.detached.push(db);
        None
    }

    /// Keeps a large value that has left its key, if some walk has not finished it, else gives it back.
    pub(super) fn adopt_value(
        &mut self,
        identity: u64,
        key: &[u8],
        block: Block<Object>,
    ) -> Option<Block<Object>> {
        self.values.adopt(identity, key, block)
    }

    /// The value of a key has got another key.
    pub(super) fn value_moved(&mut self, from: (u64, &[u8]), to: (u64, &[u8])) {
        self.values.moved(from, to);
    }

    /// Calls `change` with the walks that have not finished the value of a key.
    pub(super) fn with_walkers<R>(
        &mut self,
        identity: u64,
        key: &[u8],
        change: impl FnOnce(&mut Walkers<'_>) -> R,
    ) -> R {
        self.values.with_walkers(identity, key, change)
    }

    /// Whether nothing is left of any walk.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        !self.any() && self.detached.is_empty() && self.values.is_empty()
    }

    /// Memory of what only walks still see.
    pub(super) fn allocated_bytes(&self) -> usize {
        let detached = self.detached.iter().map(Db::allocated_bytes).sum::<usize>();
        detached + self.values.here_bytes()
    }
}

impl Keyspace {
    /// Starts a walk over all databases as they are now. False if as many run as may.
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
            under_way: None,
            output: Output::default(),
        });
        true
    }

    /// Memory of copies that a walk has made and not handed on: its own, and what writers added.
    pub fn walk_held_bytes(&self, job: JobId) -> usize {
        let index = self.walks.index_of(job);
        let walk = index.and_then(|index| Some((index, self.walks.slots[index].as_ref()?)));
        walk.map_or(0, |(index, walk)| {
            walk.output.held_bytes() + self.walks.values.parts_bytes(index)
        })
    }

    /// Gives up a walk.
    pub fn end_walk(&mut self, job: JobId) {
        let Some(index) = self.walks.index_of(job) else { return };
        let Some(walk) = self.walks.slots[index].take() else { return };
        let unfinished = walk.waiting.iter().map(|value| value.id);
        for id in unfinished.chain(walk.under_way.map(|(id, _)| id)) {
            let left = self.walks.values.finish(id, index);
            self.garbage.extend(left.map(|block| Garbage(Box::new(block))));
        }
        self.release_detached();
    }

    /// Goes on with a walk until a chunk is full or `used_up` says that the slice is over; it is
    /// asked after each bucket, of the keyspace or of a large value.
    pub fn walk_slice(&mut self, job: JobId, used_up: &mut dyn FnMut() -> bool) -> Slice {
        let Some(index) = self.walks.index_of(job) else { return Slice::End };
        let Some(mut walk) = self.walks.slots[index].take() else { return Slice::End };
        let slice = self.walk_on(&mut walk, index, used_up);
        self.walks.slots[index] = Some(walk);
        self.release_detached();
        slice
    }

    fn walk_on(
        &mut self,
        walk: &mut Walk,
        index: usize,
        used_up: &mut dyn FnMut() -> bool,
    ) -> Slice {
        loop {
            let place = walk.dbs.get(walk.current).copied();
            let is_over = place.is_none() && walk.under_way.is_none() && walk.waiting.is_empty();
            if let Some(chunk) = walk.output.next(is_over) {
                return Slice::Chunk(chunk);
            }
            if let Some((id, position)) = walk.under_way {
                self.walk_value(walk, index, id, position);
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

    /// Visits the bucket at the walk's position, and moves on to the next or to the next database.
    fn visit_next(&mut self, walk: &mut Walk, index: usize, number: u32, identity: u64) {
        let hasher = self.hasher;
        let hash_of = |key: &[u8]| hasher.hash(key);
        let Walks { detached, values, .. } = &mut self.walks;
        let db = find_db(&mut self.dbs, detached, identity);
        let (epoch, position) = (walk.epoch, walk.position);
        let mut visit = walk.visit(values, index, (number, identity), By::Walker);
        let sink = &mut |entry: EntryRef<'_, Object>| visit.entry(&entry);
        let next = db.table.walk(index, epoch, position, &hash_of, sink);
        match next {
            Some(next) => walk.position = next,
            None => (walk.current, walk.position) = (walk.current + 1, 0),
        }
    }

    /// Goes on with the large value that is under way: what writers handed over, and a bucket.
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
            Place::Here(block) => visit(block),
            Place::Key(identity, key) => {
                let key = self.hasher.key(key);
                let db = find_db(&mut self.dbs, detached, *identity);
                let entry = db.get_mut(key);
                let next = entry.and_then(|mut entry| entry.edit_block(visit));
                next.expect("a registered value stands under its key")
            }
        };
        walk.under_way = next.map(|next| (id, next));
        if next.is_none() {
            walk.output.value_chunk().end();
            walk.output.end_value();
            let left = values.finish(id, index);
            self.garbage.extend(left.map(|block| Garbage(Box::new(block))));
        }
    }

    fn release_detached(&mut self) {
        if self.walks.detached.is_empty() {
            return;
        }
        let (kept, done): (Vec<Db>, Vec<Db>) = std::mem::take(&mut self.walks.detached)
            .into_iter()
            .partition(|db| self.walks.wants(db.identity));
        self.walks.detached = kept;
        self.garbage.extend(done.into_iter().map(|db| Garbage(Box::new(db))));
    }

    /// Hands the old image of a key's bucket to every walk that has not seen it: called by the write guard.
    #[cold]
    pub(super) fn preserve(&mut self, number: u32, key: Key<'_>) {
        #[cfg(feature = "injected")]
        if self.skips_preimages && key.hash.is_multiple_of(4) {
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
            // An empty table is visited too, so that what is inserted first counts as newer.
            let table = &mut db.table;
            let scope = if table.write_resizes(key.hash) { Scope::Resize } else { Scope::Bucket };
            let epoch = walk.epoch;
            let mut visit = walk.visit(values, index, place, By::Writer);
            let sink = &mut |entry: EntryRef<'_, Object>| visit.entry(&entry);
            table.visit(index, epoch, key.hash, scope, &hash_of, sink);
        }
    }
}

/// The database of an identity that a walk has not finished.
fn find_db<'a>(dbs: &'a mut [Db], detached: &'a mut [Db], identity: u64) -> &'a mut Db {
    let mut all = dbs.iter_mut().chain(detached);
    all.find(|db| db.identity == identity).expect("a database stays until walks have finished it")
}

impl Walk {
    /// What a visit to a bucket works on, of the database that had a number when the walk began, and has an identity.
    fn visit<'a>(
        &'a mut self,
        values: &'a mut Values,
        index: usize,
        (number, identity): (u32, u64),
        by: By,
    ) -> Visit<'a> {
        let walker = Walker { index, epoch: self.epoch };
        let Walk { output, waiting, .. } = self;
        Visit { chunk: output.chunk(number, by), waiting, values, walker, number, identity }
    }

    fn begin_value(&mut self, value: LargeValue) {
        let LargeValue { id, number, key, kind, expiry, head } = value;
        let key = ChunkKey { kind, bytes: &key, expiry, access: Access::default() };
        self.output.begin_value(number).begin(&key, head);
        self.under_way = Some((id, 0));
    }
}

/// A visit to a bucket.
struct Visit<'a> {
    chunk: &'a mut Chunk,
    waiting: &'a mut VecDeque<LargeValue>,
    values: &'a mut Values,
    walker: Walker,
    number: u32,
    identity: u64,
}

impl Visit<'_> {
    /// Copies an entry, or registers its value if that is large.
    #[inline]
    fn entry(&mut self, entry: &EntryRef<'_, Object>) {
        let (key, kind, expiry) = (entry.key(), entry.kind(), entry.expiry());
        let value = match entry.payload() {
            Payload::Inline(bytes) => ChunkValue::Bytes(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => ChunkValue::Shared(bytes.share()),
                Content::Value(object) => return self.register(entry, object.collection().head()),
            },
        };
        self.chunk.push(kind, key, expiry, value);
    }

    fn register(&mut self, entry: &EntryRef<'_, Object>, head: Head) {
        let (number, kind, expiry) = (self.number, entry.kind(), entry.expiry());
        let id = self.values.register(self.identity, entry.key(), self.walker, number);
        let key = entry.key().into();
        self.waiting.push_back(LargeValue { id, number, key, kind, expiry, head });
    }
}
