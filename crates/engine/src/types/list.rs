//! Lists: elements in an order.
//!
//! | encoding | kept as | in files |
//! |---|---|---|
//! | `listpack` | elements in one stretch of bytes, up to [`INLINE_MAX`] | 18 |
//! | `listpack` | the same as the only leaf of a tree | 18 |
//! | `quicklist` | a tree ([`russet_ds::tree`]) with leaves of elements | 18 |
//!
//! A list is a quicklist from when it has more than `list-max-listpack-size` allows until it has less than half of that in a
//! single leaf, as in Redis. Its leaves are no larger than that either, except for those with a single long element.
//!
//! In files a list has a listpack, or a long element, for each leaf; so what files, snapshots and commands for append-only
//! files call an element is a leaf here: its name says which of the two it is ([`super::list_rdb`]).
//!
//! A snapshot copies the tree when it finds it, which takes constant time, and goes through the copy later.

use russet_ds::listpack::{self, Element as Member};
use russet_ds::tree::Tree;
use russet_ds::{Block, EntryRef};

use super::commands::Commands;
use super::digest::Digest;
use super::form::write_count;
use super::leaf_sum::{LeafSum, at};
pub use super::list_change::{ListMut, Popped, Side};
use super::list_leaf::{Content, LeafLimits, ListLeaf, seek};
use super::list_rdb as rdb;
use super::walkers::Frozen;
use super::{Collection, Encoding, Object, Type, ValueRef, Write, kind};
use crate::rdb::chunk::{Chunk, ChunkValue};
use crate::rdb::elements::{Element, Head};

/// The row.
pub static LIST: Type = Type {
    name: "list",
    number: NUMBER,
    encodings: &[
        Encoding {
            name: "listpack",
            code: rdb::QUICKLIST_2,
            version: 10,
            write: Write::Bytes(rdb::write_compact),
            expiring: None,
        },
        Encoding { name: "listpack", ..QUICKLIST },
        QUICKLIST,
    ],
    rdb: rdb::FORMS,
    commands: Commands {
        word: b"RPUSH",
        // Of leaves.
        most: 1,
        args: |leaf, args| rdb::each_member(leaf, &mut |member| args(&member.to_text())),
        expire: None,
        each: |_, bytes, sink| {
            sink(&Element { name: &[rdb::PACKED], value: bytes, expiry: None });
        },
        parts: None,
    },
    digest,
};

const QUICKLIST: Encoding = Encoding {
    name: "quicklist",
    code: rdb::QUICKLIST_2,
    version: 10,
    write: Write::Elements { head: write_count, element: rdb::write_leaf },
    expiring: None,
};

pub(super) const NUMBER: u8 = 1;
pub(super) const KIND_COMPACT: u8 = kind(NUMBER, 0);
const KIND_ONE_LEAF: u8 = kind(NUMBER, 1);
const KIND_QUICKLIST: u8 = kind(NUMBER, 2);

/// A borrowed list.
#[derive(Clone, Copy, Debug)]
pub enum ListRef<'a> {
    /// A listpack.
    Compact(&'a [u8]),
    /// A tree.
    Large(&'a List),
}

impl<'a> ListRef<'a> {
    /// Returns the list in an entry; none if it has another type.
    pub fn of(entry: &EntryRef<'a, Object>) -> Option<ListRef<'a>> {
        let is_list = entry.kind() & 0xf == NUMBER;
        is_list.then(|| ListRef::of_value(ValueRef::of(entry)))
    }

    fn of_value(value: ValueRef<'a>) -> ListRef<'a> {
        match value {
            ValueRef::Object(Object::List(list)) => ListRef::Large(list),
            ValueRef::Bytes(bytes) => ListRef::Compact(bytes),
            ValueRef::Object(_) => unreachable!("an entry's kind tells the type of its value"),
        }
    }

    /// Returns the number of elements.
    pub fn len(self) -> usize {
        match self {
            ListRef::Compact(bytes) => listpack::len(bytes),
            ListRef::Large(list) => list.tree.summary().elements,
        }
    }

    /// Whether it has no elements.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Returns the element at an index.
    pub fn get(self, index: usize) -> Option<Member<'a>> {
        match self {
            ListRef::Compact(bytes) => listpack::get(bytes, seek(bytes, index)?),
            ListRef::Large(list) => {
                let (leaf, before) = list.tree.find(&mut at(index))?;
                leaf.get(index - before.elements)
            }
        }
    }

    /// Emits the elements from an index on, to the end or to the beginning, until the sink returns false.
    pub fn each_from(self, index: usize, side: Side, sink: &mut dyn FnMut(Member<'a>) -> bool) {
        if index >= self.len() {
            return;
        }
        match self {
            ListRef::Compact(bytes) => _ = each_in_pack(bytes, index, side, sink),
            ListRef::Large(list) => {
                let (mut leaves, before) = list.tree.leaves_from(&mut at(index));
                let mut within = Some(index - before.elements);
                loop {
                    let leaf = match side {
                        Side::Right => leaves.next(),
                        Side::Left => leaves.next_back(),
                    };
                    let Some(leaf) = leaf else { return };
                    let last = if side == Side::Right { 0 } else { leaf.len() - 1 };
                    let from = within.take().unwrap_or(last);
                    let goes_on = match leaf.content() {
                        Content::Pack(bytes) => each_in_pack(bytes, from, side, sink),
                        Content::Long(bytes) => sink(Member::Text(bytes)),
                    };
                    if !goes_on {
                        return;
                    }
                }
            }
        }
    }

    /// Emits all elements in order.
    pub fn each(self, sink: &mut dyn FnMut(Member<'a>)) {
        self.each_from(0, Side::Right, &mut |member| {
            sink(member);
            true
        });
    }
}

/// Emits the elements of a listpack until the sink returns false. Returns whether it never did.
fn each_in_pack<'a>(
    bytes: &'a [u8],
    index: usize,
    side: Side,
    sink: &mut dyn FnMut(Member<'a>) -> bool,
) -> bool {
    let mut at = seek(bytes, index);
    while let Some(here) = at {
        if !listpack::get(bytes, here).is_some_and(&mut *sink) {
            return false;
        }
        at = match side {
            Side::Right => listpack::next(bytes, here),
            Side::Left => listpack::previous(bytes, here),
        };
    }
    true
}

/// A list as a tree.
#[derive(Debug)]
pub struct List {
    pub(super) tree: Tree<ListLeaf>,
    pub(super) limits: LeafLimits,
    pub(super) is_quicklist: bool,
}

impl Collection for List {
    fn len(&self) -> usize {
        self.tree.summary().elements
    }

    fn kind(&self) -> u8 {
        if self.is_quicklist { KIND_QUICKLIST } else { KIND_ONE_LEAF }
    }

    /// Emits leaves.
    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        for leaf in self.tree.leaves() {
            let (name, value) = parts(leaf);
            sink(Element { name: &[name], value, expiry: None });
        }
    }

    fn copy(&self) -> Block<Object> {
        let List { tree, limits, is_quicklist } = self;
        let (tree, limits, is_quicklist) = (tree.clone(), *limits, *is_quicklist);
        Object::List(List { tree, limits, is_quicklist }).into_block()
    }

    fn freeze(&self) -> Option<Box<dyn Frozen>> {
        Some(Box::new(FrozenList { tree: self.tree.clone(), emitted: 0 }))
    }

    fn owned_bytes(&self) -> usize {
        let LeafSum { leaves, bytes, .. } = self.tree.summary();
        bytes + self.tree.allocated_bytes(leaves)
    }

    fn free_cost(&self) -> usize {
        self.tree.summary().leaves
    }

    /// Its elements are leaves.
    fn head(&self) -> Head {
        Head::of(self.tree.summary().leaves as u64)
    }
}

/// Returns what kind of leaf it is, and its bytes, as files have them.
fn parts(leaf: &ListLeaf) -> (u8, &[u8]) {
    match leaf.content() {
        Content::Pack(bytes) => (rdb::PACKED, bytes),
        Content::Long(bytes) => (rdb::PLAIN, bytes),
    }
}

/// A copy of a list, for a snapshot.
#[derive(Debug)]
struct FrozenList {
    tree: Tree<ListLeaf>,
    /// Number of elements in the leaves that were emitted.
    emitted: usize,
}

impl Frozen for FrozenList {
    /// Emits a leaf.
    fn emit(&mut self, chunk: &mut Chunk) -> bool {
        if self.emitted >= self.tree.summary().elements {
            return false;
        }
        let Some((leaf, _)) = self.tree.find(&mut at(self.emitted)) else { return false };
        let (name, value) = match leaf.content() {
            Content::Pack(bytes) => (rdb::PACKED, ChunkValue::Bytes(bytes)),
            Content::Long(bytes) => (rdb::PLAIN, ChunkValue::Shared(bytes.clone())),
        };
        chunk.element(&[name], value, None);
        self.emitted += leaf.len();
        self.emitted < self.tree.summary().elements
    }
}

/// Mixes the elements in order.
fn digest(digest: &mut Digest, _kind: u8, value: ValueRef<'_>) {
    ListRef::of_value(value).each(&mut |member| digest.mix(&member.to_text()));
}
