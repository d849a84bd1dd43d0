//! Sorted sets: members, each with a score, in the order of scores, and of texts where scores are equal.
//!
//! | encoding | kept as | in files |
//! |---|---|---|
//! | `listpack` | members and scores in one stretch of bytes (`zset_compact`) | 17 |
//! | `skiplist` | two trees (`zset_large`) | 5 |
//!
//! A sorted set is a listpack up to `zset-max-listpack-entries` members that are no longer than `zset-max-listpack-value`. One
//! that has become a skiplist remains one. (The encoding has the name that clients know; what it is, `zset_large` tells.)
//!
//! A score is never NaN. `-0` equals `0`, and is kept as it was given by a skiplist, not by a listpack, as in Redis.

use russet_ds::EntryRef;
use russet_ds::listpack::{Digits, Element as Member};
use russet_protocol::double::push_shortest;

use super::commands::Commands;
use super::digest::Digest;
use super::form::{write_count, write_string};
pub use super::zset_change::{End, Popped, ZsetMut};
pub use super::zset_large::Zset;
use super::zset_large::compare;
pub use super::zset_large::in_order;
pub use super::zset_members::Scored;
use super::{Encoding, Object, Type, ValueRef, Write, kind, zset_compact, zset_rdb as rdb};
use crate::config::Config;
use crate::rdb::elements::Element;

/// The row.
pub static ZSET: Type = Type {
    name: "zset",
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
            name: "skiplist",
            code: rdb::BINARY,
            version: 8,
            write: Write::Elements { head: write_count, element: rdb::write_element },
            expiring: None,
        },
    ],
    rdb: rdb::FORMS,
    commands: Commands {
        word: b"ZADD",
        most: 64,
        args: |element, args| {
            let mut score = Vec::new();
            push_shortest(&mut score, rdb::score_of(element).unwrap_or(0.0));
            args(&score);
            args(element.name);
        },
        expire: None,
        each: |_, bytes, sink| {
            for (_, member, score) in zset_compact::iter(bytes) {
                let (mut digits, value) = (Digits::default(), score.to_le_bytes());
                sink(&Element { name: member.text(&mut digits), value: &value, expiry: None });
            }
        },
        parts: None,
    },
    digest,
};

pub(super) const NUMBER: u8 = 3;
pub(super) const KIND_LISTPACK: u8 = kind(NUMBER, 0);
pub(super) const KIND_SKIPLIST: u8 = kind(NUMBER, 1);

/// The limits of compact sorted sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    members: u64,
    member_bytes: u64,
}

impl Limits {
    pub fn of(config: &Config) -> Limits {
        Limits {
            members: config.zset_max_listpack_entries,
            member_bytes: config.zset_max_listpack_value,
        }
    }

    pub fn allow(&self, members: usize, longest: usize) -> bool {
        members as u64 <= self.members && longest as u64 <= self.member_bytes
    }
}

/// A borrowed sorted set.
#[derive(Clone, Copy, Debug)]
pub enum ZsetRef<'a> {
    /// A listpack.
    Compact(&'a [u8]),
    /// Two trees.
    Large(&'a Zset),
}

impl<'a> ZsetRef<'a> {
    /// Returns the sorted set in an entry; none if it has another type.
    pub fn of(entry: &EntryRef<'a, Object>) -> Option<ZsetRef<'a>> {
        let is_zset = entry.kind() & 0xf == NUMBER;
        is_zset.then(|| ZsetRef::of_value(ValueRef::of(entry)))
    }

    fn of_value(value: ValueRef<'a>) -> ZsetRef<'a> {
        match value {
            ValueRef::Object(Object::Zset(zset)) => ZsetRef::Large(zset),
            ValueRef::Bytes(bytes) => ZsetRef::Compact(bytes),
            ValueRef::Object(_) => unreachable!("an entry's kind tells the type of its value"),
        }
    }

    /// Returns the number of members.
    pub fn len(self) -> usize {
        match self {
            ZsetRef::Compact(bytes) => zset_compact::len(bytes),
            ZsetRef::Large(zset) => zset.len(),
        }
    }

    /// Whether it has no members.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the score of a member.
    pub fn score(self, text: &[u8]) -> Option<f64> {
        match self {
            ZsetRef::Compact(bytes) => zset_compact::find(bytes, text).map(|(_, score)| score),
            ZsetRef::Large(zset) => zset.score(text),
        }
    }

    /// Returns the number of members in front of a member, and its score.
    pub fn rank(self, text: &[u8]) -> Option<(usize, f64)> {
        match self {
            ZsetRef::Compact(bytes) => {
                let (at, score) = zset_compact::find(bytes, text)?;
                let before = zset_compact::iter(bytes).take_while(|(other, ..)| *other < at);
                Some((before.count(), score))
            }
            ZsetRef::Large(zset) => zset.rank(text),
        }
    }

    /// Whether not all members have the same score.
    pub fn has_several_scores(self) -> bool {
        let score_at = |rank: usize| {
            let mut found = None;
            self.each_from(rank, true, &mut |_, score| {
                found = Some(score);
                false
            });
            found
        };
        let last = self.len().saturating_sub(1);
        score_at(0).zip(score_at(last)).is_some_and(|(low, high)| compare(low, high).is_ne())
    }

    /// Returns the number of members in front of those with this score or a higher one; or only of those with a higher one.
    pub fn count_below(self, score: f64, or_equal: bool) -> usize {
        let is_below = |other: f64| match or_equal {
            true => compare(other, score).is_le(),
            false => compare(other, score).is_lt(),
        };
        match self {
            ZsetRef::Compact(bytes) => {
                zset_compact::iter(bytes).take_while(|(_, _, other)| is_below(*other)).count()
            }
            ZsetRef::Large(zset) => zset.count_before(&mut |other, _| is_below(other)),
        }
    }

    /// Returns the number of members in front of those that have this text or one behind it; or only of those that have one behind
    /// it. All must have the same score, else the result means nothing.
    pub fn count_in_front(self, text: &[u8], or_equal: bool) -> usize {
        let is_in_front = |other: &[u8]| match or_equal {
            true => other <= text,
            false => other < text,
        };
        match self {
            ZsetRef::Compact(bytes) => zset_compact::iter(bytes)
                .take_while(|(_, member, _)| is_in_front(member.text(&mut Digits::default())))
                .count(),
            ZsetRef::Large(zset) => zset.count_before(&mut |_, other| is_in_front(other())),
        }
    }

    /// Emits the members from a rank on, upwards or downwards, until the sink returns false.
    pub fn each_from(
        self,
        rank: usize,
        is_upwards: bool,
        sink: &mut dyn FnMut(Member<'a>, f64) -> bool,
    ) {
        match self {
            ZsetRef::Compact(bytes) => {
                let mut show = |(_, member, score): (usize, Member<'a>, f64)| sink(member, score);
                let _ = match is_upwards {
                    true => zset_compact::iter(bytes).skip(rank).all(&mut show),
                    false => {
                        let behind = (self.len() - 1).saturating_sub(rank);
                        zset_compact::iter(bytes).rev().skip(behind).all(&mut show)
                    }
                };
            }
            ZsetRef::Large(zset) => zset.each_from(rank, is_upwards, &mut |member| {
                sink(Member::Text(member.text), member.score)
            }),
        }
    }

    /// Emits all members in some order.
    pub fn each(self, sink: &mut dyn FnMut(Member<'a>, f64)) {
        match self {
            ZsetRef::Compact(bytes) => {
                zset_compact::iter(bytes).for_each(|(_, member, score)| sink(member, score));
            }
            ZsetRef::Large(zset) => {
                zset.each(&mut |_, member| sink(Member::Text(member.text), member.score));
            }
        }
    }

    /// Returns the member at an index in some order.
    pub fn get(self, index: usize) -> Option<(Member<'a>, f64)> {
        match self {
            ZsetRef::Compact(bytes) => {
                zset_compact::iter(bytes).nth(index).map(|(_, member, score)| (member, score))
            }
            ZsetRef::Large(zset) => {
                let Scored { text, score } = zset.by_hash(index)?;
                Some((Member::Text(text), score))
            }
        }
    }
}

/// Adds each member with its score, which is mixed to it in the shortest form.
fn digest(digest: &mut Digest, _kind: u8, value: ValueRef<'_>) {
    let mut text = Vec::new();
    ZsetRef::of_value(value).each(&mut |member, score| {
        let mut one = Digest::default();
        one.mix(&member.to_text());
        text.clear();
        push_shortest(&mut text, score);
        one.mix(&text);
        digest.add_digest(one);
    });
}
