//! Fills a keyspace from a loader: the dump file at the start, a reload, a master's payload.
//!
//! Keys arrive in random hash order, so each insertion would incur three cache misses in sequence.
//! Small keys are gathered in batches instead: all entries of a batch are prefetched, then its keys
//! are set. This saved a third of the time to load three million small keys.

use std::borrow::Cow;

use russet_ds::NewPayload;

use super::rdb_load::{Fed, RdbLoader, RdbSink, Refusal};
use crate::config::Config;
use crate::core::Core;
use crate::io::Level;
use crate::keyspace::{Expiry, Key, Keyspace};
use crate::rdb::Access;
use crate::rdb::elements::{Element, Head};
use crate::rdb::format::quoted;
use crate::types::{Body, Build, BuildContext, Invalid, RdbForm, Read, Value};

/// Bytes of a file or payload that are loaded between two readings of the clock.
///
/// The segments of a table of random hashes become full, and split, at about the same time, so a
/// slice of a hundred fields may split dozens.
pub(crate) const SLICE_BYTES: usize = 2 * 1024;

/// Maximum number of keys in a batch.
const BATCH: usize = 24;

/// Keys with values whose total size exceeds this, in bytes, are not batched: copying them costs
/// more than the cache misses.
const BATCHED_BYTES_MAX: usize = 512;

/// Average minimum size of a key with its value in a file, in bytes.
const KEY_BYTES: u64 = 8;

/// Maximum number of keys to reserve memory for in advance, which takes time.
const RESERVED_MAX: u64 = 4 << 20;

/// The same if the file's size is unknown.
const RESERVED_MAX_UNSIZED: u64 = 1 << 20;

/// Maximum number of log lines about what a file says about itself: one for each field, and some of a merged file.
const LINES_MAX: u8 = 8;

/// Returns the maximum number of keys to reserve memory for, given the file's size in bytes.
pub(crate) fn reserve_max(bytes: Option<u64>) -> u64 {
    bytes.map_or(RESERVED_MAX_UNSIZED, |bytes| (bytes / KEY_BYTES).min(RESERVED_MAX))
}

/// The position of a file's data in a replication stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamPosition {
    /// Replication id.
    pub id: String,
    /// Offset.
    pub offset: i64,
    /// The database selected by the stream.
    pub db: u32,
    /// For a replica of a cluster: the slots that its master was moving, as text.
    pub open_slots: String,
}

/// The state of filling a keyspace that persists between pieces of a file.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    /// Number of keys that memory may still be reserved for.
    pub reserve_max: u64,
    /// Whether expired keys are skipped. A replica keeps them until its master deletes them.
    pub drop_expired: bool,
    /// Whether a key may occur twice, as with the option MERGE of DEBUG RELOAD: the last one counts.
    pub allow_duplicates: bool,
    /// The selected database.
    pub db: u32,
    /// Keys set.
    pub keys: u64,
    /// Keys skipped because they were expired.
    pub expired: u64,
    /// Keys skipped because they had no elements.
    pub empty: u64,
    /// Memory in bytes that the data used in the server that wrote it, as the file says.
    pub used_mem: u64,
    /// What the file says about itself, for the log.
    pub lines: Vec<String>,
    /// Number of those lines so far. A file may say any of it again and again.
    lines_count: u8,
    /// The current value, while its elements are being read.
    value: Unfinished,
    /// The error of a key that occurred twice. It has no offset, since it is only noticed with the
    /// key's batch.
    duplicate: Option<String>,
}

impl Fill {
    /// Creates the initial state. Memory may be reserved for `reserve_max` keys.
    pub fn new(reserve_max: u64) -> Fill {
        Fill { reserve_max, ..Fill::default() }
    }

    /// Handles a key that replaced an equal one of the same file, in the selected database.
    fn replaced(&mut self, key: &[u8]) -> Result<(), Refusal> {
        if self.allow_duplicates {
            self.keys -= 1;
            return Ok(());
        }
        let why = duplicated(key, self.db);
        self.duplicate = Some(why.clone());
        Err(Refusal(why))
    }

    /// Reports a complete load to INFO and the log.
    pub fn count(&self, core: &mut Core) {
        let (keys, expired) = (self.keys, self.expired);
        (core.stats.last_load_keys, core.stats.last_load_expired) = (keys, expired);
        let text = format!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.");
        core.log(Level::Notice, text);
    }

    /// Adds a line for the log.
    fn say(&mut self, line: String) {
        if self.lines_count < LINES_MAX {
            self.lines_count += 1;
            self.lines.push(line);
        }
    }
}

/// A value whose elements are being read.
#[derive(Debug, Default)]
enum Unfinished {
    #[default]
    None,
    /// The value of a skipped key.
    Dropped,
    Building {
        key: Vec<u8>,
        expiry: Option<i64>,
        clock: u32,
        value: Box<dyn Build>,
    },
}

/// Puts the content of a piece of a file into a keyspace.
pub(crate) struct Filler<'a> {
    keyspace: &'a mut Keyspace,
    config: &'a Config,
    position: &'a mut StreamPosition,
    fill: &'a mut Fill,
    /// Bytes of the keys and values in the batch.
    bytes: Vec<u8>,
    batch: Vec<BatchEntry>,
}

/// A key and its value in a batch.
struct BatchEntry {
    /// End offset of the key in the batch's bytes.
    key_end: usize,
    /// End offset of the value in the batch's bytes.
    value_end: usize,
    kind: u8,
    expiry: Option<i64>,
    clock: u32,
    hash: u64,
}

impl<'a> Filler<'a> {
    /// Creates a filler that continues after the last piece.
    pub fn new(
        keyspace: &'a mut Keyspace,
        config: &'a Config,
        position: &'a mut StreamPosition,
        fill: &'a mut Fill,
    ) -> Filler<'a> {
        let (bytes, batch) = (Vec::new(), Vec::with_capacity(BATCH));
        Filler { keyspace, config, position, fill, bytes, batch }
    }

    /// Loads the piece.
    pub fn feed(mut self, loader: &mut RdbLoader, bytes: &[u8]) -> Result<Fed, String> {
        let fed = loader.feed(bytes, &mut self);
        let last = self.set_batch();
        match (self.fill.duplicate.take(), fed, last) {
            (Some(why), _, _) | (None, Ok(_), Err(Refusal(why))) => Err(why),
            (None, fed, _) => fed.map_err(|error| error.to_string()),
        }
    }

    fn set_batch(&mut self) -> Result<(), Refusal> {
        let db = self.fill.db;
        for stage in 0..3 {
            for item in &self.batch {
                self.keyspace.prefetch(db, item.hash, stage);
                if stage == 1 {
                    self.keyspace.prefetch_room(db, item.hash);
                }
            }
        }
        let mut start = 0;
        for item in &self.batch {
            let bytes = &self.bytes[start..item.key_end];
            let value = &self.bytes[item.key_end..item.value_end];
            let key = Key { bytes, hash: item.hash };
            let expiry = item.expiry.map_or(Expiry::Clear, Expiry::At);
            let payload = NewPayload::Inline(value);
            if !self.keyspace.edit(db, key).load(item.kind, payload, expiry, item.clock) {
                self.fill.replaced(bytes)?;
            }
            start = item.value_end;
        }
        self.batch.clear();
        self.bytes.clear();
        Ok(())
    }

    fn add_to_batch(
        &mut self,
        key: Key<'_>,
        kind: u8,
        value: &[u8],
        expiry: Option<i64>,
        clock: u32,
    ) -> Result<(), Refusal> {
        self.bytes.extend_from_slice(key.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.batch.push(BatchEntry { key_end, value_end, kind, expiry, clock, hash: key.hash });
        if self.batch.len() == BATCH { self.set_batch() } else { Ok(()) }
    }

    fn context(&self) -> BuildContext<'a> {
        BuildContext { config: self.config, seed: self.keyspace.hasher().seed() }
    }

    /// Whether to skip a key because it is expired. Never if the file has a replication id: replicas
    /// with the same id may continue with this node, and learn of expired keys by propagated deletes
    /// only.
    fn is_dropped(&mut self, expiry: Option<i64>) -> bool {
        let drops = self.fill.drop_expired && self.position.id.is_empty();
        let dropped = drops && expiry.is_some_and(|at| self.keyspace.is_past(at));
        self.fill.expired += u64::from(dropped);
        dropped
    }

    /// Sets a key, immediately or with its batch.
    fn set(
        &mut self,
        key: &[u8],
        expiry: Option<i64>,
        clock: u32,
        value: Result<Value<'_>, Invalid>,
    ) -> Result<(), Refusal> {
        let value = match value {
            Ok(value) => value,
            Err(Invalid::Empty) => {
                self.fill.empty += 1;
                return Ok(());
            }
            Err(invalid) => return Err(refusal(key, invalid)),
        };
        self.fill.keys += 1;
        let key = self.keyspace.hasher().key(key);
        match &value.body {
            Body::Bytes(bytes) if key.bytes.len() + bytes.len() <= BATCHED_BYTES_MAX => {
                self.add_to_batch(key, value.kind, bytes, expiry, clock)
            }
            _ => {
                self.set_batch()?;
                let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
                let edit = self.keyspace.edit(self.fill.db, key);
                let created = value.put(|kind, payload| edit.load(kind, payload, expiry, clock));
                if created { Ok(()) } else { self.fill.replaced(key.bytes) }
            }
        }
    }
}

/// Returns the start of a text of the file as printable characters.
fn plain(text: &[u8]) -> String {
    text[..text.len().min(64)].escape_ascii().to_string()
}

/// The error of a key that occurs twice.
pub(super) fn duplicated(key: &[u8], db: u32) -> String {
    let key = String::from_utf8_lossy(key);
    format!("RDB has duplicated key '{key}' in DB {db}")
}

fn refusal(key: &[u8], invalid: Invalid) -> Refusal {
    Refusal(format!("cannot load key {}: {invalid}", quoted(key)))
}

impl RdbSink for Filler<'_> {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        let text = || String::from_utf8_lossy(value).into_owned();
        match name {
            b"repl-id" => self.position.id = text(),
            b"repl-offset" => self.position.offset = text().parse().unwrap_or(0),
            b"cluster-slot-states" => self.position.open_slots = text(),
            // A number that cannot be read is that of no database.
            b"repl-stream-db" => self.position.db = text().parse().unwrap_or(u32::MAX),
            b"redis-ver" => {
                self.fill.say(format!("Loading RDB produced by version {}", plain(value)))
            }
            b"valkey-ver" => {
                self.fill.say(format!("Loading RDB produced by Valkey version {}", plain(value)));
            }
            b"ctime" => {
                let written = text().parse().unwrap_or(0_i64);
                let age = self.keyspace.now_ms.div_euclid(1000).saturating_sub(written).max(0);
                self.fill.say(format!("RDB age {age} seconds"));
            }
            b"used-mem" => {
                self.fill.used_mem = text().parse().unwrap_or(0);
                let mb = self.fill.used_mem as f64 / f64::from(1 << 20);
                self.fill.say(format!("RDB memory usage when created {mb:.2} Mb"));
            }
            b"aof-base" if value == b"1" => self.fill.say("RDB is base AOF".to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn resize(&mut self, keys: u64, _expires: u64) -> Result<(), Refusal> {
        // The number of keys is untrusted: it is limited by the file's size.
        let keys = keys.min(self.fill.reserve_max);
        self.fill.reserve_max -= keys;
        self.keyspace.reserve(self.fill.db, keys as usize);
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.set_batch()?;
        let count = self.keyspace.count();
        self.fill.db = u32::try_from(db).ok().filter(|&db| db < count).ok_or_else(|| {
            Refusal(format!(
                "FATAL: Data file was created with a Redis server configured to handle more than \
                 {count} databases."
            ))
        })?;
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        if self.is_dropped(expiry) {
            return Ok(());
        }
        let Read::String { decode, .. } = &form.read else {
            return Err(refusal(key, Invalid::Malformed));
        };
        let clock = self.keyspace.clock_of(access);
        self.set(key, expiry, clock, decode(bytes, &self.context()))
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        self.fill.value = if self.is_dropped(expiry) {
            Unfinished::Dropped
        } else {
            let value = form.read.begin(&head, &self.context());
            let value = value.ok_or_else(|| refusal(key, Invalid::Malformed))?;
            let clock = self.keyspace.clock_of(access);
            Unfinished::Building { key: key.to_vec(), expiry, clock, value }
        };
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let Unfinished::Building { key, value, .. } = &mut self.fill.value else { return Ok(()) };
        value.element(element).map_err(|invalid| refusal(key, invalid))
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let unfinished = std::mem::take(&mut self.fill.value);
        let Unfinished::Building { key, expiry, clock, value } = unfinished else { return Ok(()) };
        self.set(&key, expiry, clock, value.finish())
    }
}
