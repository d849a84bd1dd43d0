//! Sorted sets in RDB files.
//!
//! ```text
//!   3         count (member score)*     a score: its length and its text; lengths from 253 on are NaN, ∞, -∞
//!   5         count (member score)*     a score: eight bytes, little endian
//!   12, 17    a string: ziplist, listpack of members and scores in order
//! ```

use std::borrow::Cow;

use super::double::parse;
use super::form::{check_unique, listpack_of_ziplist};
use super::zset::{KIND_LISTPACK, Limits, Zset, ZsetMut};
use super::zset_compact as compact;
use super::{Build, BuildContext, Editable, Invalid, RdbForm, Read, StoredElement, Value};
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::{Fields, Parsed, Stored};
use crate::rdb::strings::StringWriter;

pub const BINARY: u8 = 5;
pub const LISTPACK: u8 = 17;

const TEXT: u8 = 3;

/// Lengths of texts that are none.
const NAN: u8 = 253;
const INFINITY: u8 = 254;
const NEGATIVE_INFINITY: u8 = 255;

pub const FORMS: &[RdbForm] = &[
    RdbForm {
        code: TEXT,
        flavour: None,
        name: "scores as text",
        read: Read::Elements {
            head: |fields| Ok(Head::of(fields.length()?)),
            element: |_, fields| {
                let name = fields.string()?;
                let value = Stored::Plain(text_score(fields)?);
                Ok(StoredElement { name, value, expiry: None })
            },
            begin: |head, context| begin(head, context, score_of_text),
        },
    },
    RdbForm {
        code: BINARY,
        flavour: None,
        name: "binary scores",
        read: Read::Elements {
            head: |fields| Ok(Head::of(fields.length()?)),
            element: |_, fields| {
                let name = fields.string()?;
                let value = Stored::Plain(fields.take(size_of::<f64>())?);
                Ok(StoredElement { name, value, expiry: None })
            },
            begin: |head, context| begin(head, context, score_of),
        },
    },
    RdbForm {
        code: 12,
        flavour: None,
        name: "ziplist",
        read: Read::String { skip: 0, decode: decode_ziplist },
    },
    RdbForm {
        code: LISTPACK,
        flavour: None,
        name: "listpack",
        read: Read::String { skip: 0, decode: decode_listpack },
    },
];

/// Reads a score as text, as the bytes of the text, which are words for what has none.
fn text_score<'a>(fields: &mut Fields<'a>) -> Parsed<&'a [u8]> {
    match fields.byte()? {
        NAN => Ok(b"nan"),
        INFINITY => Ok(b"inf"),
        NEGATIVE_INFINITY => Ok(b"-inf"),
        len => fields.take(usize::from(len)),
    }
}

fn score_of_text(element: &Element<'_>) -> Option<f64> {
    // Servers of the time wrote `%.17g`, so nothing comes in front of or behind the number.
    parse(element.value)
}

/// Returns the score of an element, which has it as eight bytes; none if it is NaN.
pub fn score_of(element: &Element<'_>) -> Option<f64> {
    let bytes = element.value.try_into().ok()?;
    Some(f64::from_le_bytes(bytes)).filter(|score| !score.is_nan())
}

/// A sorted set being built.
#[derive(Debug)]
struct Building {
    zset: ZsetMut<'static>,
    score_of: fn(&Element<'_>) -> Option<f64>,
}

fn begin(
    head: &Head,
    context: &BuildContext<'_>,
    score_of: fn(&Element<'_>) -> Option<f64>,
) -> Box<dyn Build> {
    let mut zset = Zset::empty(context);
    zset.prepare(usize::try_from(head.count).unwrap_or(usize::MAX), 0);
    Box::new(Building { zset, score_of })
}

impl Build for Building {
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid> {
        let score = (self.score_of)(&element).ok_or(Invalid::Malformed)?;
        match self.zset.set(element.name, score) {
            None => Ok(()),
            Some(_) => Err(Invalid::Duplicate),
        }
    }

    fn finish(self: Box<Self>) -> Result<Value<'static>, Invalid> {
        Zset::into_value(self.zset).ok_or(Invalid::Empty)
    }
}

/// A listpack that has more than the configured limits is put together anew, which finds members that are there twice. In one
/// within them they are few enough to be compared.
fn decode_listpack<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    let len = compact::check(&bytes)?;
    if len == 0 {
        return Err(Invalid::Empty);
    }
    let longest = compact::iter(&bytes).map(|(_, member, _)| member.text_len()).max().unwrap_or(0);
    if !Limits::of(context.config).allow(len, longest) {
        let mut zset = Zset::empty(context);
        zset.prepare(len, longest);
        for (_, member, score) in compact::iter(&bytes) {
            if zset.set(&member.to_text(), score).is_some() {
                return Err(Invalid::Duplicate);
            }
        }
        return Zset::into_value(zset).ok_or(Invalid::Empty);
    }
    check_unique(compact::iter(&bytes).map(|(_, member, _)| member))?;
    Ok(Value::compact(KIND_LISTPACK, bytes))
}

fn decode_ziplist<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    let pack = listpack_of_ziplist(&bytes)?;
    decode_listpack(Cow::Owned(pack), context)
}

pub fn write_element(
    _head: &Head,
    element: &Element<'_>,
    strings: &mut StringWriter,
    out: &mut Vec<u8>,
) {
    strings.put(element.name, out);
    out.extend_from_slice(element.value);
}
