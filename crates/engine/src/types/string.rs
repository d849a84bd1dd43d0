//! Strings: short ones are inline in the entry, long ones are a block that may be shared.

use std::borrow::Cow;

use russet_ds::{BytesRef, Content, EntryRef, Payload};
use russet_protocol::number::parse_i64;

use super::commands::Commands;
use super::digest::Digest;
use super::form::write_string;
use super::{
    BuildContext, Encoding, Invalid, Object, RdbForm, Read, Type, Value, ValueRef, Write, kind,
};
use crate::rdb::elements::Element;

/// Maximum length of the encoding `embstr` in bytes, as in Redis.
const EMBSTR_MAX: usize = 44;

/// The row.
pub static STRING: Type = Type {
    name: "string",
    number: NUMBER,
    encodings: &[encoding("int"), encoding("embstr"), encoding("raw")],
    rdb: &[RDB],
    commands: Commands {
        word: b"SET",
        most: 1,
        args: |element, args| args(element.name),
        expire: None,
        each: |_, bytes, sink| sink(&Element { name: bytes, value: b"", expiry: None }),
        parts: None,
    },
    digest,
};

const NUMBER: u8 = 0;

/// The form of strings in files.
pub const RDB: RdbForm =
    RdbForm { code: 0, flavour: None, name: "string", read: Read::String { skip: 0, decode } };

/// The kind byte of a string that is the canonical text of an integer.
pub const KIND_INT: u8 = kind(NUMBER, 0);

/// The kind byte of a short string.
const KIND_EMBSTR: u8 = kind(NUMBER, 1);

/// The kind byte of all other strings, including those changed in place (APPEND, SETRANGE).
pub const KIND_RAW: u8 = kind(NUMBER, 2);

const fn encoding(name: &'static str) -> Encoding {
    let write = Write::Bytes(write_string);
    Encoding { name, code: RDB.code, version: 1, write, expiring: None }
}

/// The bytes of a string value.
#[derive(Clone, Copy, Debug)]
pub enum Text<'a> {
    /// Inline in the entry.
    Inline(&'a [u8]),
    /// In a block that a snapshot or a reply may share.
    Block(BytesRef<'a>),
}

impl<'a> Text<'a> {
    /// Returns the string in an entry; none if it has another type.
    pub fn of(entry: &EntryRef<'a, Object>) -> Option<Text<'a>> {
        match entry.payload() {
            _ if entry.kind() & 0xf != NUMBER => None,
            Payload::Inline(bytes) => Some(Text::Inline(bytes)),
            Payload::Block(block) => match block.content() {
                Content::Bytes(bytes) => Some(Text::Block(bytes)),
                Content::Value(_) => None,
            },
        }
    }

    /// Returns its bytes.
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Text::Inline(bytes) => bytes,
            Text::Block(bytes) => bytes.as_slice(),
        }
    }
}

/// Returns the kind byte of a new string: `int` if it is canonical, otherwise by length.
pub fn kind_of_new(bytes: &[u8]) -> u8 {
    if bytes.len() <= 20 && parse_i64(bytes).is_some() { KIND_INT } else { kind_of_text(bytes) }
}

/// Returns the kind byte of a new string by length only (the result of INCRBYFLOAT).
pub fn kind_of_text(bytes: &[u8]) -> u8 {
    if bytes.len() <= EMBSTR_MAX { KIND_EMBSTR } else { KIND_RAW }
}

fn decode<'a>(bytes: Cow<'a, [u8]>, _making: &BuildContext<'_>) -> Result<Value<'a>, Invalid> {
    Ok(Value::compact(kind_of_new(&bytes), bytes))
}

fn digest(digest: &mut Digest, _kind: u8, value: ValueRef<'_>) {
    if let ValueRef::Bytes(bytes) = value {
        digest.mix(bytes);
    }
}
