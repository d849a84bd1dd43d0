//! Strings: short ones stand inline in the entry, long ones are a block that others may hold too.

use russet_ds::{Block, BytesRef, Content, EntryRef, NewPayload, Payload};
use russet_protocol::number::parse_i64;

use super::{Encoding, Object, Type, kind};

/// Longest value that stands inline in its entry, in bytes. Larger ones would make the copy that a
/// snapshot takes of a bucket, and the move that an APPEND makes, cost too much.
pub const INLINE_MAX: usize = 1024;

/// Longest string of the `embstr` encoding, in bytes: what Redis reports, and clients look at.
const EMBSTR_MAX: usize = 44;

/// The bytes of a string value, wherever they stand.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// In the entry.
    Inline(&'a [u8]),
    /// In a block that a snapshot or a reply may hold too.
    Block(BytesRef<'a>),
}

impl<'a> Text<'a> {
    /// The string in an entry.
    pub fn of(entry: &EntryRef<'a, Object>) -> Text<'a> {
        match entry.payload() {
            Payload::Inline(bytes) => Text::Inline(bytes),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => Text::Block(bytes),
                Content::Value(object) => match *object {},
            },
        }
    }

    /// Its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Text::Inline(bytes) => bytes,
            Text::Block(bytes) => bytes.as_slice(),
        }
    }
}

/// The kind byte of a string that is set in one piece: `int` if it is canonical, else by length.
pub fn kind_of_new(bytes: &[u8]) -> u8 {
    if bytes.len() <= 20 && parse_i64(bytes).is_some() { KIND_INT } else { kind_of_text(bytes) }
}

/// The same of one that is not looked at as a number (INCRBYFLOAT's sum): by length alone.
pub fn kind_of_text(bytes: &[u8]) -> u8 {
    let short = bytes.len() <= EMBSTR_MAX;
    kind(Type::String, if short { Encoding::Embstr } else { Encoding::Raw })
}

/// The kind byte of a string that is the canonical text of an integer.
pub const KIND_INT: u8 = kind(Type::String, Encoding::Int);

/// The kind byte of a string that was changed in place (APPEND, SETRANGE).
pub const KIND_RAW: u8 = kind(Type::String, Encoding::Raw);

/// The form in which a string goes into the keyspace.
pub fn payload(bytes: &[u8]) -> NewPayload<'_, Object> {
    if bytes.len() <= INLINE_MAX {
        NewPayload::Inline(bytes)
    } else {
        NewPayload::Block(Block::from_bytes(bytes))
    }
}
