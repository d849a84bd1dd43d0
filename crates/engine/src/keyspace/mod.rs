//! The keyspace: numbered databases, a table each, and the write guard through which they change.
//!
//! A [`Db`] is a box with an identity apart from its number: FLUSHALL detaches it whole, SWAPDB swaps
//! numbers. Snapshots follow identities; WATCH follows numbers. There is no client, no reply and no
//! replication in here: who changes a key learns from [`Keyspace::dirty`] that it did, and finds
//! in [`Keyspace::take_expired`] which keys ended on the way.

pub mod edit;
pub mod events;
pub mod expire;
pub mod lfu;
mod reserve;
pub mod scan;
pub mod slots;
pub mod walk;
mod walk_output;
#[cfg(test)]
mod walk_tests;
mod walk_values;
pub mod watch;

use russet_ds::hash::Seed;
use russet_ds::{EntryMut, EntryRef, Table};
use russet_protocol::slot::slot_of;

use crate::mode::Mode;
use crate::rng::Rng;
use crate::types::{Object, Value};
pub use edit::{Edit, Expiry};
pub use events::{Event, EventKind};
pub use expire::Ended;
use slots::{BITS_BELOW, SlotTable, slot_of_hash};
pub use watch::WatchTable;

/// A key with its place: made once, used for every look-up.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    pub(crate) hash: u64,
}

impl Key<'_> {
    /// Its slot.
    #[inline]
    pub fn slot(&self) -> u16 {
        slot_of_hash(self.hash)
    }
}

/// Turns bytes into [`Key`]s; a copy of what the keyspace uses.
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: Seed,
    mode: Mode,
}

impl KeyHasher {
    /// The place of a key.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.hash(bytes) }
    }

    /// What names are hashed with.
    pub fn seed(&self) -> Seed {
        self.seed
    }

    /// The hash alone; it begins with the slot.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        let hash = self.seed.hash(bytes);
        match self.mode {
            Mode::Standalone => hash,
            Mode::Cluster => {
                u64::from(slot_of(bytes)) << BITS_BELOW | hash >> (u64::BITS - BITS_BELOW)
            }
        }
    }
}

/// What becomes of a key whose time has come when a command meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpiryPolicy {
    /// A master removes it, and says so to its replicas.
    Remove,
    /// A replica acts as if it were gone and waits for its master's word.
    Hide,
    /// The master's own stream, and loading: the key is there until the stream says otherwise.
    Ignore,
}

/// One numbered database.
pub struct Db {
    /// Never reused; what snapshots go by.
    pub(crate) identity: u64,
    table: Table<Object>,
    /// What is counted of each slot, in cluster mode.
    slots: Option<SlotTable>,
    /// From where on the table may have memory to give back.
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

    /// How many keys it holds.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// How many of its keys have an expiry.
    pub fn len_with_expiry(&self) -> usize {
        self.table.len_with_expiry()
    }

    /// In how many of its values elements expire.
    pub fn len_with_expiring_elements(&self) -> usize {
        self.table.len_with_inner_expiry()
    }

    /// Bytes of its table, entries and the values behind them.
    pub fn allocated_bytes(&self) -> usize {
        let slots = self.slots.as_ref().map_or(0, SlotTable::allocated_bytes);
        self.table.allocated_bytes() + slots
    }

    /// Its table.
    #[inline]
    pub fn table(&self) -> &Table<Object> {
        &self.table
    }

    /// What stands under a key, expired or not.
    #[inline]
    pub fn get(&self, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.table.get(key.hash, key.bytes)
    }

    #[inline]
    fn get_mut(&mut self, key: Key<'_>) -> Option<EntryMut<'_, Object>> {
        self.table.get_mut(key.hash, key.bytes)
    }
}

/// What the keyspace counts, for INFO stats.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyspaceStats {
    /// Reads that found their key.
    pub hits: u64,
    /// Reads that did not.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired_keys: u64,
    /// Elements of values removed because their time had come.
    pub expired_elements: u64,
    /// Slices of the active expiry that ran out of budget before the due keys.
    pub expired_time_cap_reached: u64,
}

/// All databases of a node.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    hasher: KeyHasher,
    next_identity: u64,
    pub(crate) walks: walk::Walks,
    /// Who watches which keys.
    pub watch: WatchTable,
    /// Wall clock of this turn, milliseconds.
    pub now_ms: i64,
    /// Access clock of this turn, 24 bits, seconds.
    pub clock: u32,
    /// How use is counted in place of it; set under an LFU policy.
    pub lfu: Option<lfu::Lfu>,
    /// Draws for the use counters: nothing secret and nothing that anybody else draws.
    rng: Rng,
    /// What becomes of keys that are past their time, for the command that runs.
    pub policy: ExpiryPolicy,
    /// Whether reads leave the access clock alone (CLIENT NO-TOUCH).
    pub no_touch: bool,
    /// Changes since the start; SAVE points and replication go by its differences.
    pub dirty: u64,
    /// Counters.
    pub stats: KeyspaceStats,
    events: events::Events,
    /// The database with which the next slice of active expiry begins.
    next_to_expire: u32,
    /// Keys removed by expiry since they were last asked for.
    expired: Vec<Ended>,
    /// Values to be dropped elsewhere.
    garbage: Vec<crate::io::Garbage>,
    /// The injected bug [`crate::injected::Bug::SkippedPreimage`].
    #[cfg(feature = "injected")]
    pub(crate) skips_preimages: bool,
}

impl Keyspace {
    /// `count` empty databases.
    pub fn new(count: u32, seed: Seed, mode: Mode) -> Keyspace {
        let hasher = KeyHasher { seed, mode };
        let dbs = (0..u64::from(count)).map(|i| Db::new(i, mode)).collect();
        Keyspace {
            dbs,
            hasher,
            next_identity: u64::from(count),
            walks: walk::Walks::default(),
            watch: WatchTable::default(),
            now_ms: 0,
            clock: 0,
            lfu: None,
            rng: Rng::new([0; 4]),
            policy: ExpiryPolicy::Remove,
            no_touch: false,
            dirty: 0,
            stats: KeyspaceStats::default(),
            events: events::Events::default(),
            next_to_expire: 0,
            expired: Vec::new(),
            garbage: Vec::new(),
            #[cfg(feature = "injected")]
            skips_preimages: false,
        }
    }

    /// A copy of the hasher.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// How many databases there are.
    pub fn count(&self) -> u32 {
        self.dbs.len() as u32
    }

    /// One database.
    pub fn db(&self, number: u32) -> &Db {
        &self.dbs[number as usize]
    }

    fn db_mut(&mut self, number: u32) -> &mut Db {
        &mut self.dbs[number as usize]
    }

    /// All databases with their numbers.
    pub fn dbs(&self) -> impl Iterator<Item = (u32, &Db)> {
        (0..).zip(&self.dbs)
    }

    /// The number that the database of this identity has now.
    pub fn number_of(&self, identity: u64) -> Option<u32> {
        self.dbs().find(|(_, db)| db.identity == identity).map(|(number, _)| number)
    }

    /// Bytes of all databases, and of what only walks still see.
    pub fn allocated_bytes(&self) -> usize {
        self.dbs.iter().map(Db::allocated_bytes).sum::<usize>() + self.walks.allocated_bytes()
    }

    /// Reads a key as a command does: expiry by policy, hit or miss counted, access clock moved.
    #[inline]
    pub fn read(&mut self, db: u32, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        self.look_up(db, key, true)
    }

    /// The same for who looks at how a key is kept (OBJECT): a miss is no event.
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
                    self.events.missed(db, key);
                }
                None
            }
        }
    }

    /// Counts a read that found no key.
    pub fn missed(&mut self, db: u32, key: Key<'_>) {
        self.stats.misses += 1;
        self.events.missed(db, key);
    }

    /// Looks at a key without counting or touching: expiry by policy all the same.
    #[inline]
    pub fn peek(&mut self, db: u32, key: Key<'_>) -> Option<EntryRef<'_, Object>> {
        if self.expire_if_needed(db, key) {
            return None;
        }
        self.dbs[db as usize].get(key)
    }

    /// Opens the write guard of a key.
    #[inline]
    pub fn edit<'a>(&'a mut self, db: u32, key: Key<'a>) -> Edit<'a> {
        Edit::open(self, db, key)
    }

    /// Stages of prefetch for a key that a command is about to use: 0 segment, 1 bucket, 2 entry.
    #[inline]
    pub fn prefetch(&self, db: u32, key_hash: u64, stage: u8) {
        let table = &self.dbs[db as usize].table;
        match stage {
            0 => table.prefetch_segment(key_hash),
            1 => table.prefetch_bucket(key_hash),
            _ => table.prefetch_entry(key_hash),
        }
    }

    /// A key drawn uniformly, as a copy; keys past their time do not count, within reason.
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

    /// Empties one database, or all. The old ones leave as garbage.
    pub fn flush(&mut self, only: Option<u32>) -> usize {
        let mut removed = 0;
        for number in 0..self.count() {
            if only.is_some_and(|only| only != number) || self.db(number).is_empty() {
                continue;
            }
            let old = &self.dbs[number as usize];
            self.watch.touch_all(number, old, None, self.hasher, self.now_ms);
            let fresh = self.fresh_db();
            let old = std::mem::replace(&mut self.dbs[number as usize], fresh);
            removed += old.len();
            self.discard(old);
        }
        self.dirty += removed as u64;
        removed
    }

    fn fresh_db(&mut self) -> Db {
        self.next_identity += 1;
        Db::new(self.next_identity, self.hasher.mode)
    }

    /// A snapshot that has not seen it keeps a detached database; otherwise it is garbage now.
    fn discard(&mut self, db: Db) {
        if let Some(db) = self.walks.adopt(db) {
            self.garbage.push(crate::io::Garbage(Box::new(db)));
        }
    }

    /// Puts `other`'s databases in place of ours (a full synchronisation has arrived whole).
    pub fn replace_all(&mut self, mut other: Keyspace) {
        for number in 0..self.count() {
            let (old, new) = (&self.dbs[number as usize], &other.dbs[number as usize]);
            self.watch.touch_all(number, old, Some(new), self.hasher, self.now_ms);
            self.next_identity += 1;
            other.dbs[number as usize].identity = self.next_identity;
            let new = std::mem::replace(
                &mut other.dbs[number as usize],
                Db::new(self.next_identity, self.hasher.mode),
            );
            let old = std::mem::replace(&mut self.dbs[number as usize], new);
            self.discard(old);
        }
        self.dirty += 1;
    }

    /// A key that is in both, with its database.
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

    /// Puts another keyspace's keys over ours and keeps the rest: what a full synchronisation must not do.
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

    /// An empty keyspace of the same shape and hash, to load into.
    pub fn empty_like(&self) -> Keyspace {
        let mut fresh = Keyspace::new(self.count(), self.hasher.seed, self.hasher.mode);
        (fresh.now_ms, fresh.clock, fresh.lfu) = (self.now_ms, self.clock, self.lfu);
        fresh
    }

    /// Swaps two databases' numbers. That of a database with itself changes nothing, but counts.
    pub fn swap(&mut self, a: u32, b: u32) {
        self.dirty += 1;
        if a == b {
            return;
        }
        for (number, other) in [(a, b), (b, a)] {
            let (old, new) = (&self.dbs[number as usize], &self.dbs[other as usize]);
            self.watch.touch_all(number, old, Some(new), self.hasher, self.now_ms);
        }
        self.dbs.swap(a as usize, b as usize);
    }

    /// Which keys ended since the last call: their removal is told to replicas before anything else.
    pub fn take_expired(&mut self) -> Vec<Ended> {
        std::mem::take(&mut self.expired)
    }

    /// Whether [`Keyspace::take_expired`] has something.
    #[inline]
    pub fn has_expired(&self) -> bool {
        !self.expired.is_empty()
    }

    /// How many things are to be dropped elsewhere.
    pub fn garbage_len(&self) -> usize {
        self.garbage.len()
    }

    /// What is to be dropped elsewhere.
    pub fn take_garbage(&mut self) -> Option<crate::io::Garbage> {
        self.garbage.pop()
    }
}

/// An entry of the keyspace, for change.
pub type Entry<'a> = EntryMut<'a, Object>;
