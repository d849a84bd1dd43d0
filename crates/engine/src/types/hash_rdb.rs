//! Hashes in RDB files, in all forms so far.
//!
//! ```text
//!   4              count (field value)*
//!   9, 13, 16      a string: zipmap, ziplist, listpack of pairs
//!   Redis 22       count (expiry field value)*             7.4 before its release; 0 for none
//!   Redis 23       a string: listpack of triplets          the same
//!   Redis 24       earliest count (ttl field value)*       expiry is earliest + ttl - 1; 0 for none
//!   Redis 25       earliest, and a string: listpack of triplets
//!   Valkey 22      count (field value expiry)*             expiry is eight bytes; -1 for none
//! ```
//!
//! Counts, expiries and ttls are lengths, `earliest` is eight bytes, little endian. Details of
//! forms after Redis 7.2 come from third-party readers and their sample files.

use std::borrow::Cow;

use russet_ds::listpack::{self, Element as Stored, Malformed};
use russet_ds::zipmap;

use super::form::{check_unique, listpack_of_ziplist};
use super::hash::{EXPIRY_MAX, Hash, HashMut, KIND_PAIRS, Limits, value_of_compact};
use super::hash_compact::{self as compact, Compact, Form};
use super::{Build, BuildContext, Editable, Invalid, RdbForm, Read, StoredElement, Value};
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::{Fields, Parsed};
use crate::rdb::format::{self, Flavour};
use crate::rdb::strings::StringWriter;

pub const PLAIN: u8 = 4;
pub const LISTPACK: u8 = 16;
pub const EXPIRING: u8 = 24;
pub const LISTPACK_EX: u8 = 25;

/// Number of bytes of the earliest expiry.
const EARLIEST_BYTES: usize = 8;

/// Maximum length of a compact hash that is kept although it exceeds the configured limits.
const COMPACT_BYTES_MAX: usize = 64 * 1024;

pub const FORMS: &[RdbForm] = &[
    RdbForm {
        code: PLAIN,
        flavour: None,
        name: "plain hash",
        read: elements(read_head, |_, fields| {
            let (name, value) = (fields.string()?, fields.string()?);
            Ok(StoredElement { name, value, expiry: None })
        }),
    },
    RdbForm { code: 9, flavour: None, name: "zipmap", read: string(0, decode_zipmap) },
    RdbForm { code: 13, flavour: None, name: "ziplist", read: string(0, decode_ziplist) },
    RdbForm { code: LISTPACK, flavour: None, name: "listpack", read: string(0, decode_pairs) },
    RdbForm {
        code: 22,
        flavour: Some(Flavour::Redis),
        name: "with field expiry, of 7.4 release candidates",
        read: elements(read_head, |_, fields| {
            let expiry = match fields.length()? {
                0 => None,
                at => Some(i64::try_from(at).unwrap_or(i64::MAX)),
            };
            Ok(StoredElement { name: fields.string()?, value: fields.string()?, expiry })
        }),
    },
    RdbForm {
        code: 23,
        flavour: Some(Flavour::Redis),
        name: "listpack with field expiry, of 7.4 release candidates",
        read: string(0, decode_triplets),
    },
    RdbForm {
        code: EXPIRING,
        flavour: Some(Flavour::Redis),
        name: "with field expiry",
        read: elements(read_head_with_earliest, |head, fields| {
            let expiry = match (fields.length()?, head.earliest) {
                (0, _) | (_, None) => None,
                (ttl, Some(earliest)) => {
                    Some(earliest.saturating_add_unsigned(ttl).saturating_sub(1))
                }
            };
            Ok(StoredElement { name: fields.string()?, value: fields.string()?, expiry })
        }),
    },
    RdbForm {
        code: LISTPACK_EX,
        flavour: Some(Flavour::Redis),
        name: "listpack with field expiry",
        read: string(EARLIEST_BYTES, decode_triplets),
    },
    RdbForm {
        code: 22,
        flavour: Some(Flavour::Valkey),
        name: "with field expiry",
        read: elements(read_head, |_, fields| {
            let (name, value) = (fields.string()?, fields.string()?);
            let expiry = i64::from_le_bytes(fields.array()?);
            Ok(StoredElement { name, value, expiry: (expiry != -1).then_some(expiry) })
        }),
    },
    RdbForm {
        code: 23,
        flavour: Some(Flavour::Valkey),
        name: "path hash",
        read: Read::NotImplemented,
    },
];

const fn string(
    skip: usize,
    decode: for<'a> fn(Cow<'a, [u8]>, &BuildContext<'_>) -> Result<Value<'a>, Invalid>,
) -> Read {
    Read::String { skip, decode }
}

const fn elements(
    head: fn(&mut Fields<'_>) -> Parsed<Head>,
    element: for<'a> fn(&Head, &mut Fields<'a>) -> Parsed<StoredElement<'a>>,
) -> Read {
    Read::Elements { head, element, begin }
}

fn read_head(fields: &mut Fields<'_>) -> Parsed<Head> {
    Ok(Head::of(fields.length()?))
}

fn read_head_with_earliest(fields: &mut Fields<'_>) -> Parsed<Head> {
    let earliest = i64::from_le_bytes(fields.array()?);
    Ok(Head { count: fields.length()?, earliest: Some(earliest) })
}

/// A hash being built.
#[derive(Debug)]
struct Building {
    hash: HashMut<'static>,
}

fn begin(head: &Head, context: &BuildContext<'_>) -> Box<dyn Build> {
    let mut hash = Hash::empty(context);
    hash.announce(head.count);
    Box::new(Building { hash })
}

impl Build for Building {
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid> {
        add(&mut self.hash, element.name, element.value, element.expiry)
    }

    fn finish(self: Box<Self>) -> Result<Value<'static>, Invalid> {
        self.hash.into_value().ok_or(Invalid::Empty)
    }
}

fn add(
    hash: &mut HashMut<'_>,
    name: &[u8],
    value: &[u8],
    expiry: Option<i64>,
) -> Result<(), Invalid> {
    if expiry.is_some_and(|at| !(1..=EXPIRY_MAX).contains(&at)) {
        return Err(Invalid::Malformed);
    }
    if hash.set(name, value, expiry) { Ok(()) } else { Err(Invalid::Duplicate) }
}

impl From<Malformed> for Invalid {
    fn from(_: Malformed) -> Invalid {
        Invalid::Malformed
    }
}

fn decode_zipmap<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    let mut hash = Hash::empty(context);
    let mut added = Ok(());
    zipmap::each(&bytes, &mut |name, value| {
        if added.is_ok() {
            added = add(&mut hash, name, value, None);
        }
    })?;
    added?;
    hash.into_value().ok_or(Invalid::Empty)
}

fn decode_ziplist<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    decode_pairs(Cow::Owned(listpack_of_ziplist(&bytes)?), context)
}

fn decode_pairs<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    check(&bytes, Form::Pairs)?;
    let limits = Limits::of(context.config);
    if let Some(table) = table_if_large(&bytes, Form::Pairs, context, limits)? {
        return Ok(table);
    }
    check_unique(compact::fields(&bytes, Form::Pairs).map(|field| field.name))?;
    Ok(Value::compact(KIND_PAIRS, bytes))
}

fn decode_triplets<'a>(
    bytes: Cow<'a, [u8]>,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Invalid> {
    check(&bytes, Form::Triplets)?;
    let limits = Limits::of(context.config);
    check_expiries(&bytes)?;
    if let Some(table) = table_if_large(&bytes, Form::Triplets, context, limits)? {
        return Ok(table);
    }
    check_unique(compact::fields(&bytes, Form::Triplets).map(|field| field.name))?;
    Ok(value_of_compact(Compact::copy_of(&bytes, Form::Triplets)))
}

/// Whether bytes are a valid listpack of complete fields.
fn check(bytes: &[u8], form: Form) -> Result<(), Invalid> {
    match listpack::check(bytes)? {
        0 => Err(Invalid::Empty),
        elements if elements.is_multiple_of(form.stride()) => Ok(()),
        _ => Err(Invalid::Malformed),
    }
}

/// Whether expiries are valid and in order, with missing ones last.
fn check_expiries(bytes: &[u8]) -> Result<(), Invalid> {
    let mut least = 1;
    for (_, element) in listpack::iter(bytes).skip(2).step_by(Form::Triplets.stride()) {
        match element {
            Stored::Int(0) => least = i64::MAX,
            Stored::Int(at) if at >= least && at <= EXPIRY_MAX => least = at,
            _ => return Err(Invalid::Malformed),
        }
    }
    Ok(())
}

/// Converts a compact hash with too many fields to a table.
fn table_if_large(
    bytes: &[u8],
    form: Form,
    context: &BuildContext<'_>,
    limits: Limits,
) -> Result<Option<Value<'static>>, Invalid> {
    let fields = compact::len(bytes, form);
    let is_long = |stored: Stored<'_>| !limits.allow_value(stored.text_len());
    let has_long = || compact::fields(bytes, form).any(|f| is_long(f.name) || is_long(f.value));
    if limits.allow_entries(fields) && (bytes.len() <= COMPACT_BYTES_MAX || !has_long()) {
        return Ok(None);
    }
    let mut hash = HashMut::new(limits, context.seed);
    for field in compact::fields(bytes, form) {
        add(&mut hash, &field.name_text(), &field.value_text(), field.expiry)?;
    }
    Ok(hash.into_value())
}

pub fn write_element(
    _head: &Head,
    element: &Element<'_>,
    strings: &mut StringWriter,
    out: &mut Vec<u8>,
) {
    strings.put(element.name, out);
    strings.put(element.value, out);
}

pub fn write_head_with_earliest(head: &Head, out: &mut Vec<u8>) {
    out.extend_from_slice(&head.earliest.unwrap_or(0).to_le_bytes());
    format::put_len(head.count, out);
}

pub fn write_element_with_expiry(
    head: &Head,
    element: &Element<'_>,
    strings: &mut StringWriter,
    out: &mut Vec<u8>,
) {
    let ttl = element.expiry.map_or(0, |at| {
        let earliest = head.earliest.unwrap_or(0);
        // No element expires before the earliest expiry.
        at.saturating_sub(earliest).saturating_add(1).max(1) as u64
    });
    format::put_len(ttl, out);
    write_element(head, element, strings, out);
}

pub fn write_triplets(bytes: &[u8], strings: &mut StringWriter, out: &mut Vec<u8>) {
    let earliest = compact::earliest_expiry(bytes).unwrap_or(0);
    out.extend_from_slice(&earliest.to_le_bytes());
    strings.put(bytes, out);
}
