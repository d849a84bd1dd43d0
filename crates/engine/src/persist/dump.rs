//! One value as bytes, as DUMP gives it and RESTORE takes it.
//!
//! ```text
//!  0      1                       len - 10      len - 8
//! ┌──────┬──────── … ────────────┬─────────────┬─────────────────────────────┐
//! │ type │ value, as in RDB files │ version u16 │ CRC-64 of all before, u64   │   little endian
//! └──────┴──────── … ────────────┴─────────────┴─────────────────────────────┘
//! ```
//!
//! A payload comes from anywhere. The checksum only tells that it has not been damaged; what it says is checked to the last
//! element, and takes time and memory in proportion to its length.

use std::borrow::Cow;

use russet_ds::EntryRef;

use crate::rdb::DEFAULT_VERSION;
use crate::rdb::elements::Element;
use crate::rdb::fields::{Fields, Parsed, Stop, Stored};
use crate::rdb::format::{Checksum, Flavour, Header, VALKEY_VERSION_MIN};
use crate::rdb::strings::StringWriter;
use crate::types::{self, Invalid, Making, Object, Read, Value, ValueRef, encoding_of};

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 8;

/// Why a payload is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// It was damaged, or is of a version that is not read.
    Footer,
    /// It does not hold what its first byte says.
    Content,
}

/// The payload of an entry's value.
pub fn dump(entry: &EntryRef<'_, Object>, compression: bool) -> Vec<u8> {
    let encoding = encoding_of(entry.kind());
    let mut out = vec![encoding.code];
    encoding.write(ValueRef::of(entry), &mut StringWriter::new(compression), &mut out);
    let version = encoding.version.max(DEFAULT_VERSION) as u16;
    out.extend_from_slice(&version.to_le_bytes());
    let checksum = checksum_of(&out);
    out.extend_from_slice(&checksum.to_le_bytes());
    out
}

/// How many bytes an entry's value takes in a file, without the key.
pub fn value_len(entry: &EntryRef<'_, Object>, compression: bool) -> usize {
    let mut out = Vec::new();
    let mut strings = StringWriter::new(compression);
    encoding_of(entry.kind()).write(ValueRef::of(entry), &mut strings, &mut out);
    out.len()
}

/// The value that a payload holds.
pub fn restore<'a>(payload: &'a [u8], making: &Making<'_>) -> Result<Value<'a>, DumpError> {
    let (value, flavour) = check_footer(payload).ok_or(DumpError::Footer)?;
    read(value, flavour, making).map_err(|_| DumpError::Content)
}

/// Whether a payload is of a version and a type that can be read. A master's may be of others.
pub fn is_known(payload: &[u8]) -> bool {
    let Some((value, flavour)) = check_footer(payload) else { return false };
    let form = value.first().and_then(|&code| types::rdb_form(code, flavour));
    form.is_some_and(|(_, form)| !matches!(form.read, Read::NotBuilt))
}

/// What stands before the footer, and who defined its version.
fn check_footer(payload: &[u8]) -> Option<(&[u8], Flavour)> {
    let (value, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, checksum) = footer.split_at(FOOTER_BYTES - CHECKSUM_BYTES);
    let version = u32::from(u16::from_le_bytes(version.try_into().ok()?));
    let flavour = match version {
        VALKEY_VERSION_MIN.. => Flavour::Valkey,
        _ => Flavour::Redis,
    };
    let summed = &payload[..payload.len() - CHECKSUM_BYTES];
    let is_whole = u64::from_le_bytes(checksum.try_into().ok()?) == checksum_of(summed);
    (Header { flavour, version }.is_known() && is_whole).then_some((value, flavour))
}

fn checksum_of(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.value()
}

/// The bytes are no value.
struct Bad;

impl From<Stop> for Bad {
    fn from(_: Stop) -> Bad {
        Bad
    }
}

impl From<Invalid> for Bad {
    fn from(_: Invalid) -> Bad {
        Bad
    }
}

fn read<'a>(bytes: &'a [u8], flavour: Flavour, making: &Making<'_>) -> Result<Value<'a>, Bad> {
    let (&code, rest) = bytes.split_first().ok_or(Bad)?;
    let (_, form) = types::rdb_form(code, flavour).ok_or(Bad)?;
    let mut fields = Fields::new(rest, making.config.proto_max_bulk_len);
    let value = match &form.read {
        Read::NotBuilt => return Err(Bad),
        Read::String { skip, decode } => {
            fields.take(*skip)?;
            decode(unpacked(fields.string()?)?, making)?
        }
        Read::Elements { head, element, begin } => {
            let head = head(&mut fields)?;
            let mut value = begin(&head, making);
            for _ in 0..head.count {
                let stored = element(&head, &mut fields)?;
                let (name, text) = (unpacked(stored.name)?, unpacked(stored.value)?);
                value.element(Element { name: &name, value: &text, expiry: stored.expiry })?;
            }
            value.finish()?
        }
    };
    if fields.at == rest.len() { Ok(value) } else { Err(Bad) }
}

fn unpacked(stored: Stored<'_>) -> Parsed<Cow<'_, [u8]>> {
    match stored {
        Stored::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
        stored => {
            stored.bytes(&mut itoa::Buffer::new()).map(|bytes| Cow::Owned(bytes.into_owned()))
        }
    }
}
