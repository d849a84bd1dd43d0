//! Values: where their bytes are stored, and how they are put into an entry and copied from it.
//!
//! A value is compact or large. A compact value is bytes: a string, or a small collection. They are
//! inline in the entry or, if longer than [`INLINE_MAX`], in a block that snapshots, replies and
//! copies may share. A large value is an [`Object`] in a block: a collection with an allocation for
//! each element.

use std::borrow::Cow;

use russet_ds::{Block, Content, EntryRef, NewPayload, Payload};

use super::encoding_of;
use super::form::{BuildContext, Names};
use super::hash::Hash;
use super::list::List;
use super::set::Set;
use super::stream::Stream;
use super::walkers::{Frozen, Walker, Walkers};
use super::zset::Zset;
use crate::rdb::chunk::Chunk;
use crate::rdb::elements::{Element, Head};

/// Maximum length of a value that is inline in an entry. With a higher limit, snapshots would copy
/// more bytes per bucket, and growing values would be moved more expensively.
pub const INLINE_MAX: usize = 1024;

/// A large value, by type.
#[derive(Debug)]
pub enum Object {
    /// A hash.
    Hash(Hash),
    /// A list.
    List(List),
    /// A set.
    Set(Set),
    /// A stream.
    Stream(Stream),
    /// A sorted set.
    Zset(Zset),
    /// Elements without a type, for tests of walks.
    #[cfg(test)]
    Elements(super::elements::Elements),
}

/// The operations of every large value.
pub trait Collection {
    /// Returns the number of elements.
    fn len(&self) -> usize;

    /// Whether it has no elements; the keyspace contains no such value.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the kind byte, which includes whether elements expire.
    fn kind(&self) -> u8;

    /// Returns when [`Collection::remove_expired`] may have something to remove, in Unix
    /// milliseconds; none if no element has an expiry.
    fn next_sweep(&self) -> Option<i64> {
        None
    }

    /// Removes elements whose expiry is before a time, after examining up to `budget` candidates.
    /// Returns their names.
    fn remove_expired(&mut self, now_ms: i64, budget: usize, walkers: &mut Walkers<'_>) -> Names {
        let _ = (now_ms, budget, walkers);
        Names::new()
    }

    /// Emits all elements in no particular order.
    fn each(&self, sink: &mut dyn FnMut(Element<'_>));

    /// Returns a deep copy in a new block.
    fn copy(&self) -> Block<Object>;

    /// Copies it for a walk, if that takes constant time.
    fn freeze(&self) -> Option<Box<dyn Frozen>> {
        None
    }

    /// Continues a walk through a value that is not copied for it: emits a part of the elements, unless a change has already
    /// copied its pre-image. Returns the next position, none at the end. A walk starts at 0. See [`super::walkers`].
    fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64> {
        let _ = (walker, position, chunk);
        None
    }

    /// Returns the number of allocations to free.
    fn free_cost(&self) -> usize {
        self.len()
    }

    /// Returns the memory that it owns in bytes, without the object itself: by size class, from counters, since it is
    /// called after each change. MEMORY USAGE and `used_memory` are made of it.
    fn owned_bytes(&self) -> usize;

    /// Returns the head for files.
    fn head(&self) -> Head {
        Head::of(self.len() as u64)
    }
}

/// A collection type as commands change it, in any form ([`crate::keyspace::Edit::change`]).
pub trait Editable {
    /// The number of its type.
    const NUMBER: u8;

    /// The command that removes elements by name, which propagates expired ones.
    const REMOVAL: &'static [u8];

    /// A value being changed: a copy of a compact one, which may become large, or a large one in
    /// place.
    type Mut<'a>;

    /// Creates one without elements.
    fn empty(context: &BuildContext<'_>) -> Self::Mut<'static>;

    /// Copies a compact value of this kind.
    fn copy_of(kind: u8, bytes: &[u8], context: &BuildContext<'_>) -> Self::Mut<'static>;

    /// Borrows a large value; none if it has another type.
    fn of_object<'a>(
        object: &'a mut Object,
        walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<Self::Mut<'a>>;

    /// Whether it has no elements.
    fn is_empty(value: &Self::Mut<'_>) -> bool;

    /// Returns the resulting value if it is not in place; none if it has no elements.
    fn into_value(value: Self::Mut<'static>) -> Option<Value<'static>>;
}

impl russet_ds::Value for Object {
    fn inner_expiry(kind: u8, payload: Payload<'_, Object>) -> Option<i64> {
        (encoding_of(kind).expiring?.next_sweep)(ValueRef::of_payload(payload))
    }
}

impl Object {
    /// Returns the value as a collection.
    pub fn collection(&self) -> &dyn Collection {
        match *self {
            Object::Hash(ref hash) => hash,
            Object::List(ref list) => list,
            Object::Set(ref set) => set,
            Object::Stream(ref stream) => stream,
            Object::Zset(ref zset) => zset,
            #[cfg(test)]
            Object::Elements(ref elements) => elements,
        }
    }

    /// Returns the value as a mutable collection.
    pub fn collection_mut(&mut self) -> &mut dyn Collection {
        match *self {
            Object::Hash(ref mut hash) => hash,
            Object::List(ref mut list) => list,
            Object::Set(ref mut set) => set,
            Object::Stream(ref mut stream) => stream,
            Object::Zset(ref mut zset) => zset,
            #[cfg(test)]
            Object::Elements(ref mut elements) => elements,
        }
    }

    /// Moves it into a block.
    pub fn into_block(self) -> Block<Object> {
        let owned_bytes = self.collection().owned_bytes();
        Block::new(self, owned_bytes)
    }
}

/// A borrowed value.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A compact value.
    Bytes(&'a [u8]),
    /// A large value.
    Object(&'a Object),
}

impl<'a> ValueRef<'a> {
    /// Returns the value of an entry.
    pub fn of(entry: &EntryRef<'a, Object>) -> ValueRef<'a> {
        ValueRef::of_payload(entry.payload())
    }

    /// Returns the value of a payload.
    pub fn of_payload(payload: Payload<'a, Object>) -> ValueRef<'a> {
        match payload {
            Payload::Inline(bytes) => ValueRef::Bytes(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => ValueRef::Bytes(bytes.as_slice()),
                Content::Value(object) => ValueRef::Object(object),
            },
        }
    }

    /// Returns the number of allocations to free, which decides about lazy freeing.
    pub fn free_cost(self) -> usize {
        match self {
            ValueRef::Bytes(_) => 1,
            ValueRef::Object(object) => object.collection().free_cost(),
        }
    }
}

/// A value that is not in an entry yet.
#[derive(Debug)]
pub struct Value<'a> {
    /// The kind byte.
    pub kind: u8,
    /// Its content.
    pub body: Body<'a>,
}

/// The content of a value.
#[derive(Debug)]
pub enum Body<'a> {
    /// The bytes of a compact value.
    Bytes(Cow<'a, [u8]>),
    /// A block of either.
    Block(Block<Object>),
}

impl<'a> Value<'a> {
    /// Creates a compact value.
    pub fn compact(kind: u8, bytes: impl Into<Cow<'a, [u8]>>) -> Value<'a> {
        Value { kind, body: Body::Bytes(bytes.into()) }
    }

    /// Creates a large value.
    pub fn large(kind: u8, object: Object) -> Value<'static> {
        Value { kind, body: Body::Block(object.into_block()) }
    }

    /// Copies an entry's value. Bytes in a block are shared, and copied before the first change.
    pub fn copy_of(entry: &EntryRef<'_, Object>) -> Value<'static> {
        let body = match entry.payload() {
            Payload::Inline(bytes) => Body::Bytes(Cow::Owned(bytes.to_vec())),
            Payload::Block(block) => Body::Block(match block.content() {
                Content::Bytes(_) => block.to_owned(),
                Content::Value(object) => object.collection().copy(),
            }),
        };
        Value { kind: entry.kind(), body }
    }

    /// Passes kind and payload on, to be put into an entry.
    pub fn put<T>(self, sink: impl FnOnce(u8, NewPayload<'_, Object>) -> T) -> T {
        match self.body {
            Body::Bytes(bytes) => sink(self.kind, payload(&bytes)),
            Body::Block(block) => sink(self.kind, NewPayload::Block(block)),
        }
    }
}

/// Returns when elements of a new value must be removed; none if no element has an expiry.
#[inline]
pub fn next_sweep(kind: u8, payload: &NewPayload<'_, Object>) -> Option<i64> {
    let expiring = encoding_of(kind).expiring?;
    (expiring.next_sweep)(match payload {
        NewPayload::Inline(bytes) => ValueRef::Bytes(bytes),
        NewPayload::Block(block) => match block.content() {
            Content::Bytes(bytes) => ValueRef::Bytes(bytes.as_slice()),
            Content::Value(object) => ValueRef::Object(object),
        },
    })
}

/// Returns the payload for bytes.
pub fn payload(bytes: &[u8]) -> NewPayload<'_, Object> {
    if bytes.len() <= INLINE_MAX {
        NewPayload::Inline(bytes)
    } else {
        NewPayload::Block(Block::from_bytes(bytes))
    }
}
