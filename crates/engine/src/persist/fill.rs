//! From a loader's calls to a keyspace: the dump file at the start, a reload, a master's payload.
//!
//! Keys arrive in no order that the tables know, so each would wait for memory three times. They are
//! gathered in small windows instead: the places of a whole window are fetched at once, then its keys are
//! set. On three million small keys this bought a third of the load's time.

use std::borrow::Cow;

use russet_ds::NewPayload;

use super::rdb_load::{RdbSink, Refusal};
use crate::config::Config;
use crate::keyspace::{Expiry, Key, Keyspace};
use crate::rdb::Access;
use crate::rdb::elements::{Element, Head};
use crate::rdb::format::quoted;
use crate::types::{Body, Build, Invalid, Making, RdbForm, Read, Value};

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

/// A keyspace being filled from a file: what lasts from one piece of the file to the next.
#[derive(Debug, Default)]
pub(crate) struct Fill {
    /// For how many keys room may still be made beforehand.
    pub keys_max: u64,
    /// Keys past their time are left out; a replica keeps them until its master speaks.
    pub drop_expired: bool,
    /// The database that was selected last.
    pub db: u32,
    /// Keys set.
    pub keys: u64,
    /// Keys left out because they were past their time.
    pub expired: u64,
    /// Keys left out because they had no elements.
    pub empty: u64,
    /// The value whose elements come.
    value: Unfinished,
}

impl Fill {
    /// The state before the first piece: room for so many keys may be made before they come.
    pub fn new(keys_max: u64) -> Fill {
        Fill { keys_max, ..Fill::default() }
    }
}

/// A value some of whose elements may have come.
#[derive(Debug, Default)]
enum Unfinished {
    #[default]
    None,
    /// Of a key that is left out.
    Dropped,
    Building {
        key: Vec<u8>,
        expiry: Option<i64>,
        clock: u32,
        value: Box<dyn Build>,
    },
}

/// Puts what a loader finds in a piece of a file into a keyspace. [`Filler::finish`] sets what is still gathered.
pub(crate) struct Filler<'a> {
    keyspace: &'a mut Keyspace,
    config: &'a Config,
    position: &'a mut StreamPosition,
    fill: &'a mut Fill,
    /// Bytes of the gathered keys and values.
    bytes: Vec<u8>,
    gathered: Vec<Gathered>,
}

/// A key that waits for its window: where its bytes end among the others', and its place.
struct Gathered {
    key_end: usize,
    value_end: usize,
    kind: u8,
    expiry: Option<i64>,
    clock: u32,
    hash: u64,
}

impl<'a> Filler<'a> {
    /// A filler that goes on where the last piece ended.
    pub fn new(
        keyspace: &'a mut Keyspace,
        config: &'a Config,
        position: &'a mut StreamPosition,
        fill: &'a mut Fill,
    ) -> Filler<'a> {
        let (bytes, gathered) = (Vec::new(), Vec::with_capacity(WINDOW));
        Filler { keyspace, config, position, fill, bytes, gathered }
    }

    /// Sets what is still gathered.
    pub fn finish(mut self) {
        self.set_gathered();
    }

    fn set_gathered(&mut self) {
        let db = self.fill.db;
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
            self.keyspace.edit(db, key).load(
                item.kind,
                NewPayload::Inline(value),
                expiry,
                item.clock,
            );
            start = item.value_end;
        }
        self.gathered.clear();
        self.bytes.clear();
    }

    fn gather(&mut self, key: Key<'_>, kind: u8, value: &[u8], expiry: Option<i64>, clock: u32) {
        self.bytes.extend_from_slice(key.bytes);
        let key_end = self.bytes.len();
        self.bytes.extend_from_slice(value);
        let value_end = self.bytes.len();
        self.gathered.push(Gathered { key_end, value_end, kind, expiry, clock, hash: key.hash });
        if self.gathered.len() == WINDOW {
            self.set_gathered();
        }
    }

    fn making(&self) -> Making<'a> {
        Making { config: self.config, seed: self.keyspace.hasher().seed() }
    }

    /// Whether a key is left out. A file that stands in a history (its head says so) holds what replicas of that history
    /// hold, who may go on with us: keys past their time then end by deletes that they are told of.
    fn is_dropped(&mut self, expiry: Option<i64>) -> bool {
        let drops = self.fill.drop_expired && self.position.id.is_empty();
        let dropped = drops && expiry.is_some_and(|at| self.keyspace.is_past(at));
        self.fill.expired += u64::from(dropped);
        dropped
    }

    /// Sets a key, at once or with its window.
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
            Body::Bytes(bytes) if key.bytes.len() + bytes.len() <= GATHERED_MAX => {
                self.gather(key, value.kind, bytes, expiry, clock);
            }
            _ => {
                self.set_gathered();
                let expiry = expiry.map_or(Expiry::Clear, Expiry::At);
                let edit = self.keyspace.edit(self.fill.db, key);
                value.put(|kind, payload| edit.load(kind, payload, expiry, clock));
            }
        }
        Ok(())
    }
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
            b"repl-stream-db" => self.position.db = text().parse().unwrap_or(0),
            _ => {}
        }
        Ok(())
    }

    fn resize(&mut self, keys: u64, _expires: u64) -> Result<(), Refusal> {
        // The claim alone makes no more room than the bytes that are to come may fill.
        let keys = keys.min(self.fill.keys_max);
        self.fill.keys_max -= keys;
        self.keyspace.reserve(self.fill.db, keys as usize);
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.set_gathered();
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
        self.set(key, expiry, clock, decode(bytes, &self.making()))
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        let Read::Elements { begin, .. } = &form.read else {
            return Err(refusal(key, Invalid::Malformed));
        };
        self.fill.value = if self.is_dropped(expiry) {
            Unfinished::Dropped
        } else {
            let value = begin(&head, &self.making());
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
