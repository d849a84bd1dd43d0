//! From a loader's calls to a keyspace: the dump file at the start, a reload, a master's payload.
//!
//! Keys arrive in no order that the tables know, so each would wait for memory three times. They are
//! gathered in small windows instead: the places of a whole window are fetched at once, then its keys are
//! set. On three million small keys this bought a third of the load's time.

use russet_ds::NewPayload;

use super::rdb_load::{LoadedValue, RdbSink, Refusal};
use crate::keyspace::{Expiry, Key, Keyspace};
use crate::rdb::Access;
use crate::types::string;

/// Keys in a window.
const WINDOW: usize = 24;

/// Values from this size on are set at once: one of them is more work than fetching its place.
const GATHERED_MAX: usize = 512;

/// Bytes of a file that a key takes at least, in the long run.
const KEY_BYTES: u64 = 8;

/// Room for more keys than this is not made at once: it takes time.
const KEYS_MAX: u64 = 4 << 20;

/// The same if nobody said how many bytes come.
const KEYS_MAX_UNTOLD: u64 = 1 << 20;

/// For how many keys room may be made before they come, of a file of so many bytes.
pub(crate) fn keys_expected(bytes: Option<u64>) -> u64 {
    bytes.map_or(KEYS_MAX_UNTOLD, |bytes| (bytes / KEY_BYTES).min(KEYS_MAX))
}

/// What a file may say about replication: where its data stands in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Replication id.
    pub id: String,
    /// Offset.
    pub offset: i64,
    /// Database that the stream had selected.
    pub db: u32,
}

/// Puts what a loader finds into a keyspace. [`Filler::finish`] sets what is still gathered.
pub(crate) struct Filler<'a> {
    keyspace: &'a mut Keyspace,
    position: &'a mut StreamPosition,
    /// For how many keys room may still be made beforehand.
    keys_max: &'a mut u64,
    /// Keys past their time are left out; a replica keeps them until its master speaks.
    drop_expired: bool,
    filled: Filled,
    /// Bytes of the gathered keys and values.
    bytes: Vec<u8>,
    gathered: Vec<Gathered>,
}

/// What a filler did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Filled {
    /// The database that was selected last.
    pub db: u32,
    /// Keys set.
    pub keys: u64,
    /// Keys left out because they were past their time.
    pub expired: u64,
}

/// A key that waits for its window: where its bytes end among the others', and its place.
struct Gathered {
    key_end: usize,
    value_end: usize,
    expiry: Option<i64>,
    hash: u64,
}

impl<'a> Filler<'a> {
    /// A filler that goes on in database `db`.
    pub fn new(
        keyspace: &'a mut Keyspace,
        position: &'a mut StreamPosition,
        keys_max: &'a mut u64,
        db: u32,
        drop_expired: bool,
    ) -> Filler<'a> {
        let filled = Filled { db, ..Filled::default() };
        let (bytes, gathered) = (Vec::new(), Vec::with_capacity(WINDOW));
        Filler { keyspace, position, keys_max, drop_expired, filled, bytes, gathered }
    }

    /// Sets what is still gathered and says what was done.
    pub fn finish(mut self) -> Filled {
        self.set_gathered();
        self.filled
    }

    fn set_gathered(&mut self) {
        let db = self.filled.db;
        for stage in 0..3 {
            for item in &self.gathered {
                self.keyspace.prefetch(db, item.hash, stage);
            }
        }
        let mut start = 0;
        for item in &self.gathered {
            let bytes = &self.bytes[start..item.key_end];
            let value = &self.bytes[item.key_end..item.value_end];
            let key = Key { bytes, hash: item.hash };
            let expiry = item.expiry.map_or(Expiry::Clear, Expiry::At);
            let kind = string::kind_of_new(value);
            self.keyspace.edit(db, key).load(kind, NewPayload::Inline(value), expiry);
            start = item.value_end;
        }
        self.gathered.clear();
        self.bytes.clear();
    }

    fn gather(&mut self, key: Key<'_>, value: &[u8], expiry: Option<i64>) {
        self.bytes.extend_from_slice(key.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.gathered.push(Gathered { key_end, value_end, expiry, hash: key.hash });
        if self.gathered.len() == WINDOW {
            self.set_gathered();
        }
    }
}

impl RdbSink for Filler<'_> {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"repl-id" => self.position.id = text(),
            b"repl-offset" => self.position.offset = text().parse().unwrap_or(0),
            b"repl-stream-db" => self.position.db = text().parse().unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    fn resize(&mut self, keys: u64, _expires: u64) -> Result<(), Refusal> {
        // The claim alone makes no more room than the bytes that are to come may fill.
        let keys = keys.min(*self.keys_max);
        *self.keys_max -= keys;
        self.keyspace.reserve(self.filled.db, keys as usize);
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.set_gathered();
        let count = self.keyspace.count();
        self.filled.db = u32::try_from(db).ok().filter(|&db| db < count).ok_or_else(|| {
            Refusal(format!(
                "FATAL: Data file was created with a Redis server configured to handle more than \
                 {count} databases."
            ))
        })?;
        Ok(())
    }

    fn entry(
        &mut self,
        key: &[u8],
        value: LoadedValue<'_>,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        // A file that stands in a history (its head says so) holds what replicas of that history
        // hold, who may go on with us: keys past their time then end by deletes that they are told of.
        let drops = self.drop_expired && self.position.id.is_empty();
        if drops && expiry.is_some_and(|at| self.keyspace.is_past(at)) {
            self.filled.expired += 1;
            return Ok(());
        }
        self.filled.keys += 1;
        let key = self.keyspace.hasher().key(key);
        let LoadedValue::String(value) = value;
        if key.bytes.len() + value.len() <= GATHERED_MAX {
            self.gather(key, &value, expiry);
        } else {
            self.set_gathered();
            let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
            self.keyspace.edit(self.filled.db, key).load(
                string::kind_of_new(&value),
                string::payload(&value),
                expiry,
            );
        }
        Ok(())
    }
}
