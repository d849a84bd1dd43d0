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
//! A record goes into the snapshot in the order in which buckets were visited: a file has no order that anyone may rely on.

use std::collections::BTreeMap;

use russet_ds::{Content, EntryRef, Payload, Scope};

use super::{Db, Key, KeyHasher, Keyspace};
use crate::io::JobId;
use crate::rdb::chunk::{Chunk, ChunkValue};
use crate::types::Object;

/// How many walks may run at once.
pub const WALKS_MAX: usize = 2;

/// A chunk is handed on when it is this long.
const CHUNK_BYTES: usize = 64 * 1024;

/// Room that a chunk of the walker's own has from the start: a bucket's entries may reach over its end. One that writers
/// begin, with old images of another database, starts small and grows.
const CHUNK_ROOM: usize = CHUNK_BYTES + CHUNK_BYTES / 8;

#[derive(Debug)]
struct Walk {
    job: JobId,
    epoch: u32,
    /// Databases to go through: their number when the walk began, their identity.
    dbs: Vec<(u32, u64)>,
    /// Those before it are done.
    current: usize,
    position: u64,
    /// Chunks that are not full, by the number of their database: walker and writers fill them.
    open: BTreeMap<u32, Chunk>,
    /// Chunks to be handed on.
    full: Vec<Chunk>,
    /// Memory of those.
    full_bytes: usize,
}

/// The running walks, and the databases that only they still see.
#[derive(Debug, Default)]
pub struct Walks {
    slots: [Option<Walk>; WALKS_MAX],
    detached: Vec<Db>,
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
        self.slots.iter().flatten().any(|walk| walk.is_ahead(identity))
    }

    /// Keeps a detached database if some walk has not finished it, else gives it back.
    pub(super) fn adopt(&mut self, db: Db) -> Option<Db> {
        if !self.wants(db.identity) {
            return Some(db);
        }
        self.detached.push(db);
        None
    }
}

impl Walk {
    fn is_ahead(&self, identity: u64) -> bool {
        self.dbs[self.current..].iter().any(|&(_, id)| id == identity)
    }

    /// The chunk that takes entries of the database that had this number; a new one has this much room.
    fn chunk_for(&mut self, number: u32, room: usize) -> &mut Chunk {
        let is_full = |chunk: &Chunk| chunk.len_bytes() >= CHUNK_BYTES;
        if self.open.get(&number).is_some_and(is_full)
            && let Some(chunk) = self.open.remove(&number)
        {
            self.full_bytes += chunk.memory_bytes();
            self.full.push(chunk);
        }
        self.open.entry(number).or_insert_with(|| Chunk::new(number, room))
    }

    /// The next chunk to be handed on; with `all`, one that is not full if there is no other.
    fn next_chunk(&mut self, all: bool) -> Option<Chunk> {
        if let Some(chunk) = self.full.pop() {
            self.full_bytes -= chunk.memory_bytes();
            return Some(chunk);
        }
        while all && let Some((_, chunk)) = self.open.pop_first() {
            if !chunk.is_empty() {
                return Some(chunk);
            }
        }
        None
    }

    /// Memory of copies that have not been handed on.
    fn held_bytes(&self) -> usize {
        self.full_bytes + self.open.values().map(Chunk::memory_bytes).sum::<usize>()
    }
}

fn copy(chunk: &mut Chunk, entry: &EntryRef<'_, Object>) {
    let value = match entry.payload() {
        Payload::Inline(bytes) => ChunkValue::Bytes(bytes),
        Payload::Block(block) => match block.content() {
            Content::Bytes(bytes) => ChunkValue::Shared(bytes.share()),
            Content::Value(object) => match *object {},
        },
    };
    chunk.push(entry.kind(), entry.key(), entry.expiry(), value);
}

impl Keyspace {
    /// Starts a walk over all databases as they are now. False if two are running already.
    pub fn begin_walk(&mut self, job: JobId) -> bool {
        let dbs = self.dbs().filter(|(_, db)| !db.is_empty()).map(|(n, db)| (n, db.identity));
        let dbs = dbs.collect();
        let Some(free) = self.walks.slots.iter_mut().find(|slot| slot.is_none()) else {
            return false;
        };
        self.walks.last_epoch += 1;
        let epoch = self.walks.last_epoch;
        *free = Some(Walk {
            job,
            epoch,
            dbs,
            current: 0,
            position: 0,
            open: BTreeMap::new(),
            full: Vec::new(),
            full_bytes: 0,
        });
        true
    }

    /// Memory of copies that a walk has made and not handed on: its own, and what writers added.
    pub fn walk_held_bytes(&self, job: JobId) -> usize {
        self.walks.slots.iter().flatten().find(|walk| walk.job == job).map_or(0, Walk::held_bytes)
    }

    /// Gives up a walk.
    pub fn end_walk(&mut self, job: JobId) {
        if let Some(index) = self.walks.index_of(job) {
            self.walks.slots[index] = None;
            self.release_detached();
        }
    }

    /// Goes on with a walk until a chunk is full or `used_up` says that the slice is over; it is
    /// asked after each bucket.
    pub fn walk_slice(&mut self, job: JobId, used_up: &mut dyn FnMut() -> bool) -> Slice {
        let mut walks = std::mem::take(&mut self.walks);
        let slice = match walks.index_of(job) {
            Some(index) => self.walk_on(&mut walks, index, used_up),
            None => Slice::End,
        };
        self.walks = walks;
        self.release_detached();
        slice
    }

    fn walk_on(
        &mut self,
        walks: &mut Walks,
        index: usize,
        used_up: &mut dyn FnMut() -> bool,
    ) -> Slice {
        let Walks { slots, detached, .. } = walks;
        let Some(walk) = slots[index].as_mut() else { return Slice::End };
        loop {
            let place = walk.dbs.get(walk.current).copied();
            if let Some(chunk) = walk.next_chunk(place.is_none()) {
                return Slice::Chunk(chunk);
            }
            // Once all is visited what it still holds is the last of it.
            let Some((number, identity)) = place else { return Slice::End };
            let hasher = self.hasher;
            let db = match self.number_of(identity) {
                Some(now) => Some(self.db_mut(now)),
                None => detached.iter_mut().find(|db| db.identity == identity),
            };
            match db {
                Some(db) => walk.visit_next(index, number, db, hasher),
                None => walk.next_db(),
            }
            if used_up() {
                return Slice::Pause;
            }
        }
    }

    fn release_detached(&mut self) {
        let (kept, done): (Vec<Db>, Vec<Db>) = std::mem::take(&mut self.walks.detached)
            .into_iter()
            .partition(|db| self.walks.wants(db.identity));
        self.walks.detached = kept;
        self.garbage.extend(done.into_iter().map(|db| crate::io::Garbage(Box::new(db))));
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
        for (index, slot) in self.walks.slots.iter_mut().enumerate() {
            let Some(walk) = slot else { continue };
            let Some(&(old_number, _)) =
                walk.dbs[walk.current..].iter().find(|&&(_, id)| id == identity)
            else {
                continue;
            };
            let epoch = walk.epoch;
            // An empty table is visited too, so that what is inserted first counts as newer.
            let table = &mut db.table;
            let scope = if table.write_resizes(key.hash) { Scope::Resize } else { Scope::Bucket };
            let chunk = walk.chunk_for(old_number, 0);
            table.visit(index, epoch, key.hash, scope, &hash_of, &mut |e| copy(chunk, &e));
        }
    }
}

impl Walk {
    fn next_db(&mut self) {
        (self.current, self.position) = (self.current + 1, 0);
    }

    /// Visits the bucket at the walk's position, and moves on to the next or to the next database.
    fn visit_next(&mut self, index: usize, number: u32, db: &mut Db, hasher: KeyHasher) {
        let (epoch, position) = (self.epoch, self.position);
        let chunk = self.chunk_for(number, CHUNK_ROOM);
        let hash_of = |key: &[u8]| hasher.hash(key);
        match db.table.walk(index, epoch, position, &hash_of, &mut |entry| copy(chunk, &entry)) {
            Some(next) => self.position = next,
            None => self.next_db(),
        }
    }
}
