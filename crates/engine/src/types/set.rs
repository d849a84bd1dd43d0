//! Sets: members without an order.
//!
//! | encoding | kept as | in files |
//! |---|---|---|
//! | `intset` | a sorted array of integers ([`russet_ds::intset`]) | 11 |
//! | `listpack` | members in one stretch of bytes | 2 |
//! | `hashtable` | a table of [`Elements`] | 2 |
//!
//! A set of integers is an intset up to `set-max-intset-entries` members, any other one a listpack up to
//! `set-max-listpack-entries` members that are no longer than `set-max-listpack-value`. A set that has become a table remains
//! one. Form 20 of files is a listpack, but redis-server before 7.2 does not know it; so members are written one by one.

use russet_ds::listpack::{self, Digits, Element as Member};
use russet_ds::{Block, EntryRef, intset};

use super::commands::Commands;
use super::digest::Digest;
use super::elements::Elements;
use super::form::{write_count, write_string};
pub use super::set_change::SetMut;
use super::set_rdb as rdb;
use super::walkers::Walker;
use super::{Collection, Encoding, Object, Type, ValueRef, Write, kind};
use crate::config::Config;
use crate::rdb::chunk::Chunk;
use crate::rdb::elements::Element;

/// The row.
pub static SET: Type = Type {
    name: "set",
    number: NUMBER,
    encodings: &[
        Encoding {
            name: "intset",
            code: rdb::INTSET,
            version: 2,
            write: Write::Bytes(write_string),
            expiring: None,
        },
        Encoding {
            name: "listpack",
            code: rdb::PLAIN,
            version: 1,
            write: Write::Bytes(rdb::write_members),
            expiring: None,
        },
        Encoding {
            name: "hashtable",
            code: rdb::PLAIN,
            version: 1,
            write: Write::Elements { head: write_count, element: rdb::write_element },
            expiring: None,
        },
    ],
    rdb: rdb::FORMS,
    commands: Commands {
        word: b"SADD",
        most: 64,
        args: |element, args| args(element.name),
        expire: None,
        each: |kind, bytes, sink| {
            SetRef::of_value(kind, ValueRef::Bytes(bytes)).each(&mut |member| {
                sink(&Element { name: &member.to_text(), value: b"", expiry: None });
            });
        },
        parts: None,
    },
    digest,
};

pub(super) const NUMBER: u8 = 2;
pub(super) const KIND_INTSET: u8 = kind(NUMBER, 0);
pub(super) const KIND_LISTPACK: u8 = kind(NUMBER, 1);
pub(super) const KIND_TABLE: u8 = kind(NUMBER, 2);

/// The limits of compact sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Maximum number of integers of an intset.
    pub integers: usize,
    /// Maximum number of members of a listpack.
    members: u64,
    /// Maximum length of a member of a listpack in bytes.
    member_bytes: u64,
}

impl Limits {
    pub fn of(config: &Config) -> Limits {
        let integers = usize::try_from(config.set_max_intset_entries).unwrap_or(usize::MAX);
        Limits {
            integers: integers.min(intset::LEN_MAX),
            members: config.set_max_listpack_entries,
            member_bytes: config.set_max_listpack_value,
        }
    }

    pub fn allow_members(&self, members: usize) -> bool {
        members as u64 <= self.members
    }

    pub fn allow_member(&self, member: Member<'_>) -> bool {
        member.text_len() as u64 <= self.member_bytes
    }
}

/// A borrowed set.
#[derive(Clone, Copy, Debug)]
pub enum SetRef<'a> {
    /// An intset.
    Integers(&'a [u8]),
    /// A listpack.
    Compact(&'a [u8]),
    /// A table.
    Table(&'a Set),
}

impl<'a> SetRef<'a> {
    /// Returns the set in an entry; none if it has another type.
    pub fn of(entry: &EntryRef<'a, Object>) -> Option<SetRef<'a>> {
        let is_set = entry.kind() & 0xf == NUMBER;
        is_set.then(|| SetRef::of_value(entry.kind(), ValueRef::of(entry)))
    }

    fn of_value(kind: u8, value: ValueRef<'a>) -> SetRef<'a> {
        match value {
            ValueRef::Object(Object::Set(set)) => SetRef::Table(set),
            ValueRef::Bytes(bytes) if kind == KIND_INTSET => SetRef::Integers(bytes),
            ValueRef::Bytes(bytes) => SetRef::Compact(bytes),
            ValueRef::Object(_) => unreachable!("an entry's kind tells the type of its value"),
        }
    }

    /// Returns the number of members.
    pub fn len(self) -> usize {
        match self {
            SetRef::Integers(bytes) => intset::len(bytes),
            SetRef::Compact(bytes) => listpack::len(bytes),
            SetRef::Table(set) => set.elements.len(),
        }
    }

    /// Whether it has no members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Whether it has a member.
    pub fn contains(self, member: Member<'_>) -> bool {
        match self {
            SetRef::Integers(bytes) => match member.canonical() {
                Member::Int(value) => intset::contains(bytes, value),
                Member::Text(_) => false,
            },
            SetRef::Compact(bytes) => find(bytes, member).is_some(),
            SetRef::Table(set) => set.elements.get(member.text(&mut Digits::default())).is_some(),
        }
    }

    /// Emits all members.
    pub fn each(self, sink: &mut dyn FnMut(Member<'a>)) {
        match self {
            SetRef::Integers(bytes) => {
                intset::iter(bytes).for_each(|value| sink(Member::Int(value)))
            }
            SetRef::Compact(bytes) => listpack::iter(bytes).for_each(|(_, member)| sink(member)),
            SetRef::Table(set) => set.elements.each(&mut |e| sink(Member::Text(e.key()))),
        }
    }

    /// Emits members until the sink returns false.
    pub fn each_while(self, sink: &mut dyn FnMut(Member<'_>) -> bool) {
        match self {
            SetRef::Integers(bytes) => {
                let _ = intset::iter(bytes).all(|value| sink(Member::Int(value)));
            }
            SetRef::Compact(bytes) => {
                let _ = listpack::iter(bytes).all(|(_, member)| sink(member));
            }
            SetRef::Table(set) => {
                let (mut goes_on, mut next) = (true, Some(0));
                while let Some(from) = next.filter(|_| goes_on) {
                    next = set.elements.scan(from, &mut |e| {
                        goes_on = goes_on && sink(Member::Text(e.key()));
                    });
                }
            }
        }
    }

    /// Returns a uniformly random member.
    pub fn random(self, draw: &mut dyn FnMut() -> u64) -> Option<Member<'a>> {
        let mut index = |len: usize| ((u128::from(draw()) * len as u128) >> 64) as usize;
        match self {
            SetRef::Integers(bytes) => intset::get(bytes, index(self.len())).map(Member::Int),
            SetRef::Compact(bytes) => {
                let at = listpack::seek(bytes, index(self.len()) as isize)?;
                listpack::get(bytes, at)
            }
            SetRef::Table(set) => set.elements.random(draw).map(|e| Member::Text(e.key())),
        }
    }
}

/// Returns the position of a member of a listpack.
pub(super) fn find(bytes: &[u8], member: Member<'_>) -> Option<usize> {
    listpack::find(bytes, listpack::first(bytes)?, member.text(&mut Digits::default()), 1)
}

/// A set as a table of elements.
#[derive(Debug)]
pub struct Set {
    pub(super) elements: Elements,
}

impl Set {
    /// Emits members from a position on, at least `count`. Returns the next position, 0 at the end. A scan starts at 0. See
    /// [`Elements::scan_some`].
    pub fn scan(&self, from: u64, count: usize, sink: &mut dyn FnMut(&[u8])) -> u64 {
        self.elements.scan_some(from, count, &mut |element| sink(element.key()))
    }
}

impl Collection for Set {
    fn len(&self) -> usize {
        self.elements.len()
    }

    fn kind(&self) -> u8 {
        KIND_TABLE
    }

    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        self.elements.each(&mut |e| sink(Element { name: e.key(), value: b"", expiry: None }));
    }

    fn copy(&self) -> Block<Object> {
        Object::Set(Set { elements: self.elements.copy() }).into_block()
    }

    fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64> {
        self.elements.walk(walker, position, chunk)
    }

    fn owned_bytes(&self) -> usize {
        self.elements.allocated_bytes()
    }
}

/// Adds each member.
fn digest(digest: &mut Digest, kind: u8, value: ValueRef<'_>) {
    SetRef::of_value(kind, value).each(&mut |member| digest.add(&member.to_text()));
}
