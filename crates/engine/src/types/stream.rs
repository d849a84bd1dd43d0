//! Streams: entries in the order of their IDs, and consumer groups.
//!
//! | encoding | kept as | in files |
//! |---|---|---|
//! | `stream` | a tree ([`russet_ds::tree`]) of nodes ([`super::stream_node`]), and maps of groups ([`super::stream_group`]) | 19 |
//!
//! A stream is the only type of values that may have no elements: it remembers which IDs it had, and its groups.
//!
//! A snapshot copies a stream when it finds it, which takes constant time since all of it is trees, and goes through the copy
//! later. Files have a stream as parts of several kinds that follow from each other: [`super::stream_parts`] names them, and
//! goes through them for snapshots, dumps and commands.

use std::ops::{Deref, DerefMut};

use russet_ds::ordered::OrderedMap;
use russet_ds::{Block, EntryRef};

use super::commands::Commands;
use super::digest::Digest;
pub use super::stream_group::{Consumer, Group, Name, Pending};
pub use super::stream_id::{GivenId, StreamId};
pub use super::stream_log::{Direction, EntryLog, Keep, Trim};
pub use super::stream_node::{Entry, NodeLimits};
use super::stream_parts::Walk;
use super::stream_rdb as rdb;
use super::walkers::{Frozen, Walkers};
use super::{
    BuildContext, Collection, Editable, Encoding, Object, Type, Value, ValueRef, Write, kind,
};
use crate::rdb::chunk::{Chunk, ChunkValue};
use crate::rdb::elements::{Element, Head};

/// The row.
pub static STREAM: Type = Type {
    name: "stream",
    number: NUMBER,
    encodings: &[Encoding {
        name: "stream",
        code: rdb::LISTPACKS_2,
        version: 10,
        write: Write::Elements { head: super::form::write_count, element: rdb::write_part },
        expiring: None,
    }],
    rdb: rdb::FORMS,
    commands: Commands {
        word: b"XADD",
        most: 1,
        args: |_, _| {},
        expire: None,
        each: |_, _, _| {},
        parts: Some(super::stream_commands::write),
    },
    digest,
};

const NUMBER: u8 = 6;
const KIND: u8 = kind(NUMBER, 0);

/// A stream.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    /// Its entries.
    pub log: EntryLog,
    /// Its consumer groups.
    pub groups: OrderedMap<Name, Group>,
}

impl Stream {
    /// Returns the stream in an entry; none if it has another type.
    pub fn of<'a>(entry: &EntryRef<'a, Object>) -> Option<&'a Stream> {
        match ValueRef::of(entry) {
            ValueRef::Object(Object::Stream(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Makes it a value.
    pub(super) fn into_large(self) -> Value<'static> {
        Value::large(KIND, Object::Stream(self))
    }
}

impl Collection for Stream {
    fn len(&self) -> usize {
        usize::try_from(self.log.len()).unwrap_or(usize::MAX)
    }

    /// It stays without entries.
    fn is_empty(&self) -> bool {
        false
    }

    fn kind(&self) -> u8 {
        KIND
    }

    /// Emits its parts in the order of files.
    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        let mut walk = Walk::new(self.clone());
        while walk.next(&mut |name, value| sink(Element { name: &[name], value, expiry: None })) {}
    }

    fn copy(&self) -> Block<Object> {
        Object::Stream(self.clone()).into_block()
    }

    fn freeze(&self) -> Option<Box<dyn Frozen>> {
        Some(Box::new(FrozenStream(Walk::new(self.clone()))))
    }

    fn owned_bytes(&self) -> usize {
        self.log.allocated_bytes() + self.groups.allocated_bytes()
    }

    fn free_cost(&self) -> usize {
        self.log.nodes() + self.groups.parts()
    }

    /// Counts the nodes.
    fn head(&self) -> Head {
        Head::of(self.log.nodes() as u64)
    }
}

/// A copy of a stream, for a snapshot.
#[derive(Debug)]
struct FrozenStream(Walk);

impl Frozen for FrozenStream {
    fn emit(&mut self, chunk: &mut Chunk) -> bool {
        self.0.next(&mut |name, value| chunk.element(&[name], ChunkValue::Bytes(value), None))
    }
}

/// A stream being changed.
#[derive(Debug)]
pub struct StreamMut<'a> {
    state: State<'a>,
    /// How large nodes may be.
    pub limits: NodeLimits,
}

#[derive(Debug)]
enum State<'a> {
    /// There is none yet. Whether there will be one.
    New(Box<Stream>, bool),
    /// It is in its entry.
    Large(&'a mut Stream),
}

impl StreamMut<'_> {
    /// Creates it, even without entries, if there is none.
    pub fn create(&mut self) {
        if let State::New(_, exists) = &mut self.state {
            *exists = true;
        }
    }
}

impl Deref for StreamMut<'_> {
    type Target = Stream;

    fn deref(&self) -> &Stream {
        match &self.state {
            State::New(stream, _) => stream,
            State::Large(stream) => stream,
        }
    }
}

impl DerefMut for StreamMut<'_> {
    fn deref_mut(&mut self) -> &mut Stream {
        match &mut self.state {
            State::New(stream, _) => stream,
            State::Large(stream) => stream,
        }
    }
}

fn limits(context: &BuildContext<'_>) -> NodeLimits {
    let config = context.config;
    NodeLimits { bytes: config.stream_node_max_bytes, entries: config.stream_node_max_entries }
}

impl Editable for Stream {
    const NUMBER: u8 = NUMBER;
    /// Entries do not expire.
    const REMOVAL: &'static [u8] = b"XDEL";

    type Mut<'a> = StreamMut<'a>;

    fn empty(context: &BuildContext<'_>) -> StreamMut<'static> {
        StreamMut { state: State::New(Box::default(), false), limits: limits(context) }
    }

    fn copy_of(_kind: u8, _bytes: &[u8], _context: &BuildContext<'_>) -> StreamMut<'static> {
        unreachable!("no stream is compact")
    }

    fn of_object<'a>(
        object: &'a mut Object,
        _walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<StreamMut<'a>> {
        let Object::Stream(stream) = object else { return None };
        Some(StreamMut { state: State::Large(stream), limits: limits(context) })
    }

    /// Whether it is not even created.
    fn is_empty(stream: &StreamMut<'_>) -> bool {
        matches!(stream.state, State::New(_, false))
    }

    fn into_value(stream: StreamMut<'static>) -> Option<Value<'static>> {
        match stream.state {
            State::New(stream, true) => Some(stream.into_large()),
            State::New(..) => None,
            State::Large(_) => unreachable!("a stream in its entry does not live for ever"),
        }
    }
}

/// Mixes the entries in order. Groups are no part of it.
fn digest(digest: &mut Digest, _kind: u8, value: ValueRef<'_>) {
    let ValueRef::Object(Object::Stream(stream)) = value else { return };
    stream.log.each(&mut |entry| {
        let StreamId { ms, seq } = entry.id;
        digest.mix(format!("{ms}.{seq}").as_bytes());
        for (name, value) in entry.fields() {
            digest.mix(&name.to_text());
            digest.mix(&value.to_text());
        }
    });
}
