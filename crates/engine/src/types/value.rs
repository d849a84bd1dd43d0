//! Values: where their bytes stand, and how they come into an entry and out of it.
//!
//! A value is compact or large. A compact one is bytes: a string, or a small collection in one stretch. They stand
//! inline in the entry or, from [`INLINE_MAX`] on, in a block that snapshots, replies and copies may hold too. A large one
//! is an [`Object`] in a block: a collection with an allocation for each element.

use std::borrow::Cow;

use russet_ds::{Block, Content, EntryRef, NewPayload, Payload};

use super::encoding_of;
use super::form::{Making, Names};
use super::hash::Hash;
use super::walkers::{Walker, Walkers};
use crate::rdb::chunk::Chunk;
use crate::rdb::elements::{Element, Head};

/// Most bytes that stand inline in an entry. More would make the copy that a snapshot takes of a bucket, and the move
/// that a growing value makes, cost too much.
pub const INLINE_MAX: usize = 1024;

/// A large value, by type.
#[derive(Debug)]
pub enum Object {
    /// A hash.
    Hash(Hash),
    /// Elements of no type, for the tests of walks.
    #[cfg(test)]
    Elements(super::elements::Elements),
}

/// What every large value can tell.
pub trait Collection {
    /// How many elements it has.
    fn len(&self) -> usize;

    /// Whether it has none; no such value stays in the keyspace.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Type and encoding, which tells whether elements expire.
    fn kind(&self) -> u8;

    /// When there may be something to remove for [`Collection::remove_expired`]; none if no element expires.
    fn next_sweep(&self) -> Option<i64> {
        None
    }

    /// Removes elements whose expiry is before a time, after looking at up to `budget` that may have expired, and returns
    /// their names.
    fn remove_expired(&mut self, now_ms: i64, budget: usize, walkers: &mut Walkers<'_>) -> Names {
        let _ = (now_ms, budget, walkers);
        Names::new()
    }

    /// Hands over all elements, in no particular order.
    fn each(&self, sink: &mut dyn FnMut(Element<'_>));

    /// The same in another block, with nothing shared.
    fn copy(&self) -> Block<Object>;

    /// Goes on with a walk: hands over a part of the elements, unless a change has done so before, and answers the next
    /// position; `None` at the end. A walk begins at 0. See [`super::walkers`].
    fn walk(&mut self, walker: Walker, position: u64, chunk: &mut Chunk) -> Option<u64>;

    /// Bytes of memory that it owns, without itself.
    fn owned_bytes(&self) -> usize;

    /// What a file says of it before its elements.
    fn head(&self) -> Head {
        Head { count: self.len() as u64, earliest: None }
    }
}

/// A type of collections as commands change them, whichever form a value has ([`crate::keyspace::Edit::change`]).
pub trait Editable {
    /// The number of its row.
    const NUMBER: u8;

    /// The command that removes elements by name: how it is propagated that some have expired.
    const REMOVAL: &'static [u8];

    /// A value under change: a copy of a compact one, or a large one where it stands. What is compact may become large.
    type Mut<'a>;

    /// One without elements.
    fn empty(making: &Making<'_>) -> Self::Mut<'static>;

    /// A copy of a compact one, of this kind.
    fn copy_of(kind: u8, bytes: &[u8], making: &Making<'_>) -> Self::Mut<'static>;

    /// A large one where it stands; none if the object is of another type.
    fn of_object<'a>(
        object: &'a mut Object,
        walkers: Walkers<'a>,
        making: &Making<'_>,
    ) -> Option<Self::Mut<'a>>;

    /// Whether it has no elements.
    fn is_empty(value: &Self::Mut<'_>) -> bool;

    /// What one that does not stand in an entry has become; none if it has no elements.
    fn into_value(value: Self::Mut<'static>) -> Option<Value<'static>>;
}

impl russet_ds::Value for Object {
    fn inner_expiry(kind: u8, payload: Payload<'_, Object>) -> Option<i64> {
        (encoding_of(kind).expiring?.next_sweep)(ValueRef::of_payload(payload))
    }
}

impl Object {
    /// The value as any large one.
    pub fn collection(&self) -> &dyn Collection {
        match *self {
            Object::Hash(ref hash) => hash,
            #[cfg(test)]
            Object::Elements(ref elements) => elements,
        }
    }

    /// The same, for change.
    pub fn collection_mut(&mut self) -> &mut dyn Collection {
        match *self {
            Object::Hash(ref mut hash) => hash,
            #[cfg(test)]
            Object::Elements(ref mut elements) => elements,
        }
    }

    /// A block of its own for it.
    pub fn into_block(self) -> Block<Object> {
        let owned_bytes = self.collection().owned_bytes();
        Block::new(self, owned_bytes)
    }
}

/// A value where it stands.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A compact one.
    Bytes(&'a [u8]),
    /// A large one.
    Object(&'a Object),
}

impl<'a> ValueRef<'a> {
    /// The value of an entry.
    pub fn of(entry: &EntryRef<'a, Object>) -> ValueRef<'a> {
        ValueRef::of_payload(entry.payload())
    }

    /// The value that a payload is.
    pub fn of_payload(payload: Payload<'a, Object>) -> ValueRef<'a> {
        match payload {
            Payload::Inline(bytes) => ValueRef::Bytes(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => ValueRef::Bytes(bytes.as_slice()),
                Content::Value(object) => ValueRef::Object(object),
            },
        }
    }

    /// How many allocations it takes to free it: what lazy freeing goes by.
    pub fn free_cost(self) -> usize {
        match self {
            ValueRef::Bytes(_) => 1,
            ValueRef::Object(object) => object.collection().len(),
        }
    }
}

/// A value that is in no entry yet.
#[derive(Debug)]
pub struct Value<'a> {
    /// Type and encoding.
    pub kind: u8,
    /// What it is made of.
    pub body: Body<'a>,
}

/// What a value is made of.
#[derive(Debug)]
pub enum Body<'a> {
    /// The bytes of a compact one.
    Bytes(Cow<'a, [u8]>),
    /// The block of any.
    Block(Block<Object>),
}

impl<'a> Value<'a> {
    /// A compact value.
    pub fn compact(kind: u8, bytes: impl Into<Cow<'a, [u8]>>) -> Value<'a> {
        Value { kind, body: Body::Bytes(bytes.into()) }
    }

    /// A large value.
    pub fn large(kind: u8, object: Object) -> Value<'static> {
        Value { kind, body: Body::Block(object.into_block()) }
    }

    /// An entry's value for another entry. Bytes in a block are shared: whoever changes them first makes a copy.
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

    /// Gives kind and payload to whoever puts them into an entry.
    pub fn put<T>(self, sink: impl FnOnce(u8, NewPayload<'_, Object>) -> T) -> T {
        match self.body {
            Body::Bytes(bytes) => sink(self.kind, payload(&bytes)),
            Body::Block(block) => sink(self.kind, NewPayload::Block(block)),
        }
    }
}

/// When elements are to be removed of a value that goes into an entry; none if none of them expires.
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

/// The form in which bytes go into an entry.
pub fn payload(bytes: &[u8]) -> NewPayload<'_, Object> {
    if bytes.len() <= INLINE_MAX {
        NewPayload::Inline(bytes)
    } else {
        NewPayload::Block(Block::from_bytes(bytes))
    }
}
