//! Hashes: fields with values, each with an optional expiry.
//!
//! | encoding | kept as | in files |
//! |---|---|---|
//! | `listpack` | pairs in one stretch of bytes ([`super::hash_compact`]) | 16 |
//! | `listpackex` | triplets: some fields expire | 25, from version 12 on |
//! | `hashtable` | a table of [`Elements`] | 4 |
//! | `hashtable` | the same: some fields expire | 24, from version 12 on |
//!
//! A hash becomes a table when it has more fields than `hash-max-listpack-entries` or one that is
//! longer than `hash-max-listpack-value`, and remains one. Encodings with the same name differ in
//! whether fields expire, so that a snapshot can determine the version of its file.

use std::borrow::Cow;

use russet_ds::listpack::Element as Stored;
use russet_ds::{Block, EntryRef};

use super::commands::Commands;
use super::digest::Digest;
use super::elements::{Elements, value_of};
use super::form::{write_count, write_string};
pub use super::hash_change::HashMut;
use super::hash_compact::{self as compact, Compact, Form};
use super::hash_rdb as rdb;
use super::walkers::{Walker, Walkers};
use super::{
    Collection, Editable, Encoding, Expiring, Names, Object, Type, Value, ValueRef, Write, kind,
};
use crate::config::Config;
use crate::rdb::chunk::Chunk;
use crate::rdb::elements::{Element, Head};

/// The row.
pub static HASH: Type = Type {
    name: "hash",
    number: NUMBER,
    encodings: &[
        Encoding {
            name: "listpack",
            code: rdb::LISTPACK,
            version: 10,
            write: Write::Bytes(write_string),
            expiring: None,
        },
        Encoding {
            name: "listpackex",
            code: rdb::LISTPACK_EX,
            version: 12,
            write: Write::Bytes(rdb::write_triplets),
            expiring: Some(EXPIRING),
        },
        Encoding {
            name: "hashtable",
            code: rdb::PLAIN,
            version: 1,
            write: Write::Elements { head: write_count, element: rdb::write_element },
            expiring: None,
        },
        Encoding {
            name: "hashtable",
            code: rdb::EXPIRING,
            version: 12,
            write: Write::Elements {
                head: rdb::write_head_with_earliest,
                element: rdb::write_element_with_expiry,
            },
            expiring: Some(EXPIRING),
        },
    ],
    rdb: rdb::FORMS,
    commands: Commands {
        word: b"HSET",
        most: 64,
        args: |element, args| {
            args(element.name);
            args(element.value);
        },
        expire: Some(b"HPEXPIREAT"),
        each: |kind, bytes, sink| {
            for field in compact::fields(bytes, form_of(kind)) {
                let (name, value) = (field.name_text(), field.value_text());
                sink(&Element { name: &name, value: &value, expiry: field.expiry });
            }
        },
        parts: None,
    },
    digest,
};

pub(super) const NUMBER: u8 = 4;
pub(super) const KIND_PAIRS: u8 = kind(NUMBER, 0);
const KIND_TRIPLETS: u8 = kind(NUMBER, 1);
const KIND_TABLE: u8 = kind(NUMBER, 2);
const KIND_EXPIRING_TABLE: u8 = kind(NUMBER, 3);

const EXPIRING: Expiring =
    Expiring { next_sweep, remove: remove_expired, word: <Hash as Editable>::REMOVAL };

/// Maximum expiry of a field in Unix milliseconds, as in Redis.
pub const EXPIRY_MAX: i64 = (1 << 46) - 1;

/// The limits of compact hashes.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of fields.
    pub entries: u64,
    /// Maximum length of a field or value in bytes.
    pub value: u64,
}

impl Limits {
    /// Returns the configured limits.
    pub fn of(config: &Config) -> Limits {
        Limits { entries: config.hash_max_listpack_entries, value: config.hash_max_listpack_value }
    }

    pub(super) fn allow_entries(&self, entries: usize) -> bool {
        entries as u64 <= self.entries
    }

    pub(super) fn allow_value(&self, bytes: usize) -> bool {
        bytes as u64 <= self.value
    }
}

/// A borrowed field.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    /// Its position in a compact hash.
    pub(super) at: usize,
    /// Its name.
    pub name: Stored<'a>,
    /// Its value.
    pub value: Stored<'a>,
    /// Its expiry in Unix milliseconds.
    pub expiry: Option<i64>,
}

impl<'a> Field<'a> {
    pub(super) fn of_element(element: &EntryRef<'a, ()>) -> Field<'a> {
        let (name, value) = (Stored::Text(element.key()), Stored::Text(value_of(element)));
        Field { at: 0, name, value, expiry: element.expiry() }
    }

    /// Returns the bytes of its name.
    pub fn name_text(&self) -> Cow<'a, [u8]> {
        self.name.to_text()
    }

    /// Returns the bytes of its value.
    pub fn value_text(&self) -> Cow<'a, [u8]> {
        self.value.to_text()
    }
}

/// A borrowed hash.
#[derive(Clone, Copy, Debug)]
pub enum HashRef<'a> {
    /// A compact hash.
    Compact(&'a [u8], Form),
    /// A table.
    Table(&'a Hash),
}

impl<'a> HashRef<'a> {
    /// Returns the hash in an entry; none if it has another type.
    pub fn of(entry: &EntryRef<'a, Object>) -> Option<HashRef<'a>> {
        let is_hash = entry.kind() & 0xf == NUMBER;
        is_hash.then(|| HashRef::of_value(entry.kind(), ValueRef::of(entry)))
    }

    fn of_value(kind: u8, value: ValueRef<'a>) -> HashRef<'a> {
        match value {
            ValueRef::Object(Object::Hash(hash)) => HashRef::Table(hash),
            ValueRef::Bytes(bytes) => HashRef::Compact(bytes, form_of(kind)),
            ValueRef::Object(_) => unreachable!("an entry's kind tells the type of its value"),
        }
    }

    /// Returns the number of fields, including expired ones.
    pub fn len(self) -> usize {
        match self {
            HashRef::Compact(bytes, form) => compact::len(bytes, form),
            HashRef::Table(hash) => hash.elements.len(),
        }
    }

    /// Whether it has no fields.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the field with this name, even if it is expired.
    pub fn get(self, name: &[u8]) -> Option<Field<'a>> {
        match self {
            HashRef::Compact(bytes, form) => compact::find(bytes, form, name),
            HashRef::Table(hash) => hash.elements.get(name).map(|e| Field::of_element(&e)),
        }
    }

    /// Returns a lower bound of the earliest expiry of its fields.
    pub fn earliest_expiry(self) -> Option<i64> {
        match self {
            HashRef::Compact(_, Form::Pairs) => None,
            HashRef::Compact(bytes, Form::Triplets) => compact::earliest_expiry(bytes),
            HashRef::Table(hash) => hash.elements.earliest_expiry(),
        }
    }

    /// Returns the number of fields with an expiry before a time.
    pub fn count_expired(self, before_ms: i64) -> usize {
        match self {
            HashRef::Compact(_, Form::Pairs) => 0,
            HashRef::Compact(bytes, Form::Triplets) => compact::expired(bytes, before_ms).count(),
            HashRef::Table(hash) => hash.elements.count_expired(before_ms),
        }
    }

    /// Emits all fields, including expired ones.
    pub fn each(self, sink: &mut dyn FnMut(Field<'a>)) {
        match self {
            HashRef::Compact(bytes, form) => compact::fields(bytes, form).for_each(sink),
            HashRef::Table(hash) => hash.elements.each(&mut |e| sink(Field::of_element(&e))),
        }
    }
}

pub(super) fn form_of(kind: u8) -> Form {
    if kind == KIND_TRIPLETS { Form::Triplets } else { Form::Pairs }
}

/// A hash as a table of elements.
#[derive(Debug)]
pub struct Hash {
    pub(super) elements: Elements,
}

impl Hash {
    /// Emits fields from a position on, at least `count`, including expired ones. Returns the next
    /// position, 0 at the end. A scan starts at 0. See [`Elements::scan_some`].
    pub fn scan(&self, from: u64, count: usize, sink: &mut dyn FnMut(Field<'_>)) -> u64 {
        self.elements.scan_some(from, count, &mut |element| sink(Field::of_element(&element)))
    }

    /// Returns a uniformly random field, even if it is expired.
    pub fn random(&self, draw: &mut dyn FnMut() -> u64) -> Option<Field<'_>> {
        self.elements.random(draw).map(|element| Field::of_element(&element))
    }
}

impl Collection for Hash {
    fn len(&self) -> usize {
        self.elements.len()
    }

    fn kind(&self) -> u8 {
        if self.elements.len_with_expiry() > 0 { KIND_EXPIRING_TABLE } else { KIND_TABLE }
    }

    fn next_sweep(&self) -> Option<i64> {
        self.elements.next_sweep()
    }

    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        self.elements.each(&mut |element| {
            let (name, value) = (element.key(), value_of(&element));
            sink(Element { name, value, expiry: element.expiry() });
        });
    }

    fn copy(&self) -> Block<Object> {
        Object::Hash(Hash { elements: self.elements.copy() }).into_block()
    }

    fn head(&self) -> Head {
        let earliest = self.elements.earliest_expiry().map(|at| at.max(0));
        Head { count: self.len() as u64, earliest }
    }

    fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64> {
        self.elements.walk(walker, position, chunk)
    }

    fn remove_expired(&mut self, now_ms: i64, budget: usize, walkers: &mut Walkers<'_>) -> Names {
        let names = self.elements.expired(now_ms, budget);
        for name in &names {
            self.elements.remove(name, walkers);
        }
        names
    }

    fn owned_bytes(&self) -> usize {
        self.elements.allocated_bytes()
    }
}

fn next_sweep(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Bytes(bytes) => compact::earliest_expiry(bytes),
        ValueRef::Object(object) => object.collection().next_sweep(),
    }
}

/// Removes expired fields from a compact hash with expiries.
fn remove_expired(bytes: &[u8], now_ms: i64) -> (Option<Value<'static>>, Names) {
    let mut compact = Compact::copy_of(bytes, Form::Triplets);
    let names = compact.remove_expired(now_ms);
    ((compact.len() > 0).then(|| value_of_compact(compact)), names)
}

/// Creates a value from a compact hash, without expiries if no field has one.
pub(super) fn value_of_compact(mut compact: Compact) -> Value<'static> {
    if compact.earliest_expiry().is_none() {
        compact.drop_expiries();
    }
    let kind = match compact.form() {
        Form::Pairs => KIND_PAIRS,
        Form::Triplets => KIND_TRIPLETS,
    };
    Value::compact(kind, compact.into_bytes())
}

/// For each field, adds the mix of its name and value, and of "!!hexpire!!" if it expires.
fn digest(digest: &mut Digest, kind: u8, value: ValueRef<'_>) {
    HashRef::of_value(kind, value).each(&mut |field| {
        let mut one = Digest::default();
        one.mix(&field.name_text());
        one.mix(&field.value_text());
        if field.expiry.is_some() {
            one.add(b"!!hexpire!!");
        }
        digest.add_digest(one);
    });
}
