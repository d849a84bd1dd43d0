//! Checks a whole RDB file without keeping its content: a sink that decodes each value, counts it and drops it.
//!
//! What is not found: keys that occur twice, and databases beyond those that a server has.

use std::borrow::Cow;

use russet_ds::hash::Seed;

use super::rdb_load::{RdbSink, Refusal};
use crate::config::Config;
use crate::rdb::Access;
use crate::rdb::elements::{Element, Head};
use crate::rdb::format::quoted;
use crate::types::{Build, BuildContext, Invalid, RdbForm, Read};

/// What a file contains.
pub struct RdbCheck {
    /// Number of keys.
    pub keys: u64,
    /// Number of keys with an expiry.
    pub expires: u64,
    /// Number of keys whose expiry is past.
    pub expired: u64,
    /// What is to be reported, as `redis-check-rdb` does: offsets and texts. The caller takes them.
    pub notes: Vec<(u64, String)>,
    config: Config,
    /// The seed of temporary tables.
    seed: Seed,
    now_ms: i64,
    offset: u64,
    /// The key whose elements are read, and its value.
    value: Option<(Vec<u8>, Box<dyn Build>)>,
}

impl RdbCheck {
    /// Creates the check of a file at this time (milliseconds since 1970), with an unpredictable seed.
    pub fn new(now_ms: i64, seed: u128) -> RdbCheck {
        RdbCheck {
            keys: 0,
            expires: 0,
            expired: 0,
            notes: Vec::new(),
            config: Config::default(),
            seed: Seed::new(seed),
            now_ms,
            offset: 0,
            value: None,
        }
    }

    /// Returns the key whose elements are being read.
    pub fn open_key(&self) -> Option<&[u8]> {
        self.value.as_ref().map(|(key, _)| key.as_slice())
    }

    fn count(&mut self, expiry: Option<i64>) {
        self.keys += 1;
        self.expires += u64::from(expiry.is_some());
        self.expired += u64::from(expiry.is_some_and(|at| at < self.now_ms));
    }

    fn note(&mut self, text: String) {
        self.notes.push((self.offset, text));
    }
}

fn refusal(key: &[u8], invalid: Invalid) -> Refusal {
    Refusal(format!("cannot load key {}: {invalid}", quoted(key)))
}

/// Drops a decoded value. One without elements is left out by loaders.
fn drop_value<T>(key: &[u8], value: Result<T, Invalid>) -> Result<(), Refusal> {
    match value {
        Ok(_) | Err(Invalid::Empty) => Ok(()),
        Err(invalid) => Err(refusal(key, invalid)),
    }
}

impl RdbSink for RdbCheck {
    fn position(&mut self, offset: u64) {
        self.offset = offset;
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.note(format!("AUX FIELD {} = '{}'", name.escape_ascii(), value.escape_ascii()));
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.note(format!("Selecting DB ID {db}"));
        Ok(())
    }

    fn resize(&mut self, _keys: u64, _expires: u64) -> Result<(), Refusal> {
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        let Read::String { decode, .. } = &form.read else {
            return Err(refusal(key, Invalid::Malformed));
        };
        let context = BuildContext { config: &self.config, seed: self.seed };
        drop_value(key, decode(bytes, &context))?;
        self.count(expiry);
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        let context = BuildContext { config: &self.config, seed: self.seed };
        let value = form.read.begin(&head, &context);
        let value = value.ok_or_else(|| refusal(key, Invalid::Malformed))?;
        self.value = Some((key.to_vec(), value));
        self.count(expiry);
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let Some((key, value)) = &mut self.value else { return Ok(()) };
        value.element(element).map_err(|invalid| refusal(key, invalid))
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let Some((key, value)) = self.value.take() else { return Ok(()) };
        drop_value(&key, value.finish())
    }

    fn function(&mut self, _library: &[u8]) -> Result<(), Refusal> {
        Ok(())
    }
}
