//! The keyspace: numbered databases with a table each, and the write guard for changes.
//!
//! A [`Db`] has an identity that is independent of its number: FLUSHALL detaches a database, SWAPDB
//! swaps numbers. Snapshots refer to identities, WATCH to numbers. The keyspace knows no clients,
//! replies or replication: callers detect changes by [`Keyspace::dirty`], and collect expired keys
//! with [`Keyspace::take_expired`].

mod awaited;
mod change;
pub mod edit;
pub mod events;
pub mod expire;
pub mod lfu;
pub mod own_expiries;
mod reserve;
pub mod scan;
pub mod slots;
pub mod walk;
mod walk_output;
#[cfg(test)]
mod walk_tests;
mod walk_values;
pub mod watch;

use std::any::Any;

use russet_ds::hash::Seed;
use russet_ds::{EntryMut, EntryRef, Table};
use russet_protocol::slot::slot_of;

use crate::injected::Bug;
use crate::io::{Garbage, LARGE_BYTES};
use crate::mode::Mode;
use crate::rng::Rng;
use crate::types::{Object, Value};
pub use awaited::{AwaitedKeys, Place, Wanted};
pub use change::Change;
pub use edit::{Edit, Expiry};
pub use events::{Event, EventKind};
pub use expire::ExpiredKey;
pub use own_expiries::OwnExpiries;
use slots::{BITS_BELOW, SlotTable, slot_of_hash};
pub use watch::WatchTable;

/// A key with its hash, which is computed once.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key's bytes.
    pub bytes: &'a [u8],
    pub(crate) hash: u64,
}

impl Key<'_> {
    /// Returns its slot.
    #[inline]
    pub fn slot(&self) -> u16 {
        slot_of_hash(self.hash)
    }
}

/// The hash function of a keyspace, which creates [`Key`]s.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: Seed,
    mode: Mode,
}

impl KeyHasher {
    /// Hashes a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.hash(bytes) }
    }

    /// Returns the seed of the hash function.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// Returns the hash of a key. Its top bits are the slot.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let hash = self.seed.hash(bytes);
        match self.mode {
            Mode::Standalone | Mode::Sentinel => hash,
            Mode::Cluster => {
                u64::from(slot_of(bytes)) << BITS_BELOW | hash >> (u64::BITS - BITS_BELOW)
            }
        }
    }
}

/// How a command handles an expired key that it accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryPolicy {
    /// Deletes it and propagates that: on a master.
    Remove,
    /// Treats it as missing: on a replica, whose master will propagate its deletion.
    Hide,
    /// Treats it as any other key: for the master's stream and loading.
    Ignore,
}

/// A database.
pub struct Db {
    /// Its identity, never reused, for snapshots.
    pub(crate) identity: u64,
    table: Table<Object>,
    /// Statistics of slots, in cluster mode.
    slots: Option<SlotTable>,
    /// Position from which the table may have reserved memory to free.
    trim_at: Option<u64>,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("identity", &self.identity).field("keys", &self.len()).finish()
    }
}

impl Db {
    fn new(identity: u64, mode: Mode) -> Db {
        let slots = (mode == Mode::Cluster).then(SlotTable::default);
        Db { identity, table: Table::new(), slots, trim_at: None }
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Returns the number of keys with an expiry.
    pub fn len_with_expiry(&self) -> usize {
        self.table.len_with_expiry()
    }

    /// Returns the number of keys whose values have elements with an expiry.
    pub fn len_with_expiring_elements(&self) -> usize {
        self.table.len_with_inner_expiry()
    }

    /// Returns the memory of table, entries and values in bytes.
    pub fn allocated_bytes(&self) -> usize {
        let slots = self.slots.as_ref().map_or(0, SlotTable::allocated_bytes);
        self.table.allocated_bytes() + slots
    }

    /// Returns the bytes that a key takes with its value and its share of the table, expired or not.
    pub fn entry_bytes(&self, key: Key<'_>) -> Option<usize> {
        self.table.entry_bytes(key.hash, key.bytes)
    }

    /// Returns its table.
    #[inline]
    pub fn table(&self) -> &Table<Object> {
        &self.table
    }

    /// Returns the entry of a key, even if it is expired.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.table.get(key.hash, key.bytes)
    }

    #[inline]
    fn get_mut(&mut self, key: Key<'_>) -> Option<EntryMut<'_, Object>> {
        self.table.get_mut(key.hash, key.bytes)
    }
}

/// Counters of the keyspace, for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyspaceStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not find their key.
    pub misses: u64,
    /// Deleted expired keys.
    pub expired_keys: u64,
    /// Deleted expired elements of values.
    pub expired_elements: u64,
    /// Compact values that became large as they grew.
    pub converted: u64,
    /// Slices of active expiry that used up their budget with expired keys left.
    pub expired_time_cap_reached: u64,
}

/// All databases of a node.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    hasher: KeyHasher,
    next_identity: u64,
    /// Running walks.
    pub walks: walk::Walks,
    /// Watched keys.
    pub watch: WatchTable,
    /// Keys that blocked clients wait for.
    pub awaited: AwaitedKeys,
    /// Wall clock of this turn in milliseconds.
    pub now_ms: i64,
    /// Access clock of this turn in seconds, 24 bits.
    pub clock: u32,
    /// Parameters of LFU counters; none unless an LFU policy is set.
    pub lfu: Option<lfu::Lfu>,
    /// Random numbers for LFU counters, independent of the node's.
    rng: Rng,
    /// The keys that this node expires as a replica.
    pub own_expiries: OwnExpiries,
    /// How the running command handles expired keys.
    pub policy: ExpiryPolicy,
    /// Whether reads do not update the access clock (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// Number of changes since the start, for save points and propagation.
    pub dirty: u64,
    /// Counters.
    pub stats: KeyspaceStats,
    events: events::Events,
    /// The database of the next slice of active expiry.
    next_to_expire: u32,
    /// Expired keys that have not been propagated yet.
    expired: Vec<ExpiredKey>,
    /// Values to be freed on another thread.
    garbage: Vec<Garbage>,
    /// The injected bug.
    #[cfg(feature = "injected")]
    pub(crate) bug: Option<Bug>,
}

impl Keyspace {
    /// Creates `count` empty databases.
    pub fn new(count: u32, seed: Seed, mode: Mode) -> Keyspace {
        let hasher = KeyHasher { seed, mode };
        let dbs = (0..u64::from(count)).map(|i| Db::new(i, mode)).collect();
        Keyspace {
            dbs,
            hasher,
            next_identity: u64::from(count),
            walks: walk::Walks::default(),
            watch: WatchTable::default(),
            awaited: AwaitedKeys::default(),
            now_ms: 0,
            clock: 0,
            lfu: None,
            rng: Rng::new([0; 4]),
            own_expiries: OwnExpiries::default(),
            policy: ExpiryPolicy::Remove,
            no_touch: false,
            dirty: 0,
            stats: KeyspaceStats::default(),
            events: events::Events::default(),
            next_to_expire: 0,
            expired: Vec::new(),
            garbage: Vec::new(),
            #[cfg(feature = "injected")]
            bug: None,
        }
    }

    /// Whether this bug is injected.
    #[cfg(feature = "injected")]
    fn injected(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// No bug is injected.
    #[cfg(not(feature = "injected"))]
    #[inline(always)]
    fn injected(&self, _bug: Bug) -> bool {
        false
    }

    /// Returns the hash function.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Returns the number of databases.
    pub fn count(&self) -> u32 {
        self.dbs.len() as u32
    }

    /// Returns a database.
    pub fn db(&self, number: u32) -> &Db {
        &self.dbs[number as usize]
    }

    fn db_mut(&mut self, number: u32) -> &mut Db {
        &mut self.dbs[number as usize]
    }

    /// Iterates over all databases with their numbers.
    pub fn dbs(&self) -> impl Iterator<Item = (u32, &Db)> {
        (0..).zip(&self.dbs)
    }

    /// Returns the current number of the database with this identity.
    pub fn number_of(&self, identity: u64) -> Option<u32> {
        self.dbs().find(|(_, db)| db.identity == identity).map(|(number, _)| number)
    }

    /// Returns the memory of all databases and of data kept for walks, in bytes.
    pub fn allocated_bytes(&self) -> usize {
        self.dbs.iter().map(Db::allocated_bytes).sum::<usize>() + self.walks.allocated_bytes()
    }

    /// Reads a key for a command: applies the expiry policy, counts a hit or miss, and updates the
    /// access clock.
    #[inline]
    pub fn read(&mut self, db: u32, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.look_up(db, key, true)
    }

    /// Reads a key for introspection (OBJECT): like [`Keyspace::read`], but a miss is not an event.
    pub fn inspect(&mut self, db: u32, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.look_up(db, key, false)
    }

    #[inline(always)]
    fn look_up(
        &mut self,
        db: u32,
        key: Key<'_>,
        miss_is_event: bool,
    ) -> Option<EntryRef<'_, Object>> {
        let is_expired = self.expire_if_needed(db, key);
        let used = if self.no_touch { None } else { Some(self.clock_after_use(db, key)) };
        match self.dbs[db as usize].get_mut(key).filter(|_| !is_expired) {
            Some(mut entry) => {
                self.stats.hits += 1;
                if let Some(clock) = used {
                    entry.set_clock(clock);
                }
                Some(entry.into_ref())
            }
            None => {
                self.stats.misses += 1;
                if miss_is_event {
                    self.events.record_miss(db, key);
                }
                None
            }
        }
    }

    /// Counts a read that found no key.
    pub fn record_miss(&mut self, db: u32, key: Key<'_>) {
        self.stats.misses += 1;
        self.events.record_miss(db, key);
    }

    /// Reads a key without counting or updating its access clock. The expiry policy applies.
    #[inline]
    pub fn peek(&mut self, db: u32, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        if self.expire_if_needed(db, key) {
            return None;
        }
        self.dbs[db as usize].get(key)
    }

    /// Whether a key exists and has not expired. Nothing is counted, and nothing expires.
    pub fn has_key(&self, db: u32, key: Key<'_>) -> bool {
        let entry = self.dbs[db as usize].get(key);
        entry.is_some_and(|entry| entry.expiry().is_none_or(|at| !self.is_past(at)))
    }

    /// Opens the write guard of a key.
    #[inline]
    pub fn edit<'a>(&'a mut self, db: u32, key: Key<'a>) -> Edit<'a> {
        Edit::open(self, db, key)
    }

    /// Prefetches for a later access to a key. Stages: 0 segment, 1 bucket, 2 entry.
    #[inline]
    pub fn prefetch(&self, db: u32, key_hash: u64, stage: u8) {
        let table = &self.dbs[db as usize].table;
        match stage {
            0 => table.prefetch_segment(key_hash),
            1 => table.prefetch_bucket(key_hash),
            _ => table.prefetch_entry(key_hash),
        }
    }

    /// Prefetches, beside stage 1, what the insertion of a key needs in addition.
    #[inline]
    pub fn prefetch_room(&self, db: u32, key_hash: u64) {
        self.dbs[db as usize].table.prefetch_room(key_hash);
    }

    /// Returns a uniformly random key. Expired keys are skipped, up to a hundred of them.
    pub fn random_key(&mut self, db: u32, draw: &mut dyn FnMut() -> u64) -> Option<Vec<u8>> {
        for _ in 0..100 {
            let found = self.db(db).table.random(draw)?.key().to_vec();
            let key = self.hasher.key(&found);
            if !self.expire_if_needed(db, key) {
                return Some(found);
            }
        }
        self.db(db).table.random(draw).map(|entry| entry.key().to_vec())
    }

    /// Removes all keys of one database, or of all. Returns their number. Memory is freed on another
    /// thread.
    pub fn flush(&mut self, only: Option<u32>) -> usize {
        let mut removed = 0;
        for number in 0..self.count() {
            if only.is_some_and(|only| only != number) || self.db(number).is_empty() {
                continue;
            }
            let old = &self.dbs[number as usize];
            self.watch.touch_all(number, old, None, self.hasher, self.now_ms);
            self.awaited.touch_all(number);
            let fresh = self.fresh_db();
            let old = std::mem::replace(&mut self.dbs[number as usize], fresh);
            removed += old.len();
            self.discard(old);
        }
        if only.is_none() {
            self.own_expiries.clear();
        }
        self.dirty += removed as u64;
        removed
    }

    fn fresh_db(&mut self) -> Db {
        self.next_identity += 1;
        Db::new(self.next_identity, self.hasher.mode)
    }

    /// Frees a detached database, or keeps it for walks that have not finished it.
    fn discard(&mut self, db: Db) {
        if let Some(db) = self.walks.adopt(db) {
            self.garbage.push(Garbage::new(db.len(), db));
        }
    }

    /// Replaces all databases by those of `other`, after a full synchronization.
    pub fn replace_all(&mut self, mut other: Keyspace) {
        for number in 0..self.count() {
            let (old, new) = (&self.dbs[number as usize], &other.dbs[number as usize]);
            self.watch.touch_all(number, old, Some(new), self.hasher, self.now_ms);
            self.awaited.touch_all(number);
            self.next_identity += 1;
            other.dbs[number as usize].identity = self.next_identity;
            let new = std::mem::replace(
                &mut other.dbs[number as usize],
                Db::new(self.next_identity, self.hasher.mode),
            );
            let old = std::mem::replace(&mut self.dbs[number as usize], new);
            self.discard(old);
        }
        self.own_expiries.clear();
        self.dirty += 1;
    }

    /// Returns a key that exists in both keyspaces, with its database.
    pub(crate) fn common_key(&self, other: &Keyspace) -> Option<(u32, Box<[u8]>)> {
        let mut found = None;
        for (number, db) in other.dbs() {
            let ours = self.db(number);
            db.table.for_each(&mut |entry| {
                if found.is_none() && ours.get(self.hasher.key(entry.key())).is_some() {
                    found = Some((number, entry.key().into()));
                }
            });
        }
        found
    }

    /// Adds the keys of another keyspace, replacing existing ones.
    pub(crate) fn merge(&mut self, other: Keyspace) {
        for number in 0..other.count() {
            let mut cursor = 0;
            loop {
                let mut found = Vec::new();
                cursor = other.scan(number, cursor, 100, &mut |entry| {
                    found.push((entry.key().to_vec(), Value::copy_of(&entry), entry.expiry()));
                });
                for (key, value, expiry) in found {
                    let key = self.hasher.key(&key);
                    let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
                    self.edit(number, key).set_value(value, expiry, EventKind::Restore);
                }
                if cursor == 0 {
                    break;
                }
            }
        }
    }

    /// Creates an empty keyspace with the same number of databases and hash function, to load into.
    pub fn empty_like(&self) -> Keyspace {
        let mut fresh = Keyspace::new(self.count(), self.hasher.seed, self.hasher.mode);
        (fresh.now_ms, fresh.clock, fresh.lfu) = (self.now_ms, self.clock, self.lfu);
        fresh
    }

    /// Swaps the numbers of two databases, which may be the same.
    pub fn swap(&mut self, a: u32, b: u32) {
        self.dirty += 1;
        if a == b {
            return;
        }
        for (number, other) in [(a, b), (b, a)] {
            let (old, new) = (&self.dbs[number as usize], &self.dbs[other as usize]);
            self.watch.touch_all(number, old, Some(new), self.hasher, self.now_ms);
            self.awaited.touch_all(number);
        }
        self.dbs.swap(a as usize, b as usize);
        self.own_expiries.swap(a, b);
    }

    /// Takes the keys that expired since the last call. Their deletion must be propagated before
    /// later effects.
    pub fn take_expired(&mut self) -> Vec<ExpiredKey> {
        std::mem::take(&mut self.expired)
    }

    /// Whether there are keys for [`Keyspace::take_expired`].
    #[inline]
    pub fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// Returns the number of keys in all databases.
    pub fn keys(&self) -> usize {
        self.dbs.iter().map(Db::len).sum()
    }

    /// Returns the number of values to be freed on another thread.
    pub fn garbage_len(&self) -> usize {
        self.garbage.len()
    }

    /// Returns the number of objects in them.
    pub fn garbage_objects(&self) -> usize {
        self.garbage.iter().map(|garbage| garbage.objects).sum()
    }

    /// Drops a value of this size: on another thread if it is large.
    pub(crate) fn free_sized(&mut self, bytes: usize, value: impl Any + Send) {
        if bytes >= LARGE_BYTES {
            self.garbage.push(Garbage::new(0, value));
        }
    }

    /// Takes a value to be freed on another thread.
    pub fn take_garbage(&mut self) -> Option<Garbage> {
        self.garbage.pop()
    }
}

/// An entry of the keyspace.
pub type Entry<'a> = EntryRef<'a, Object>;
