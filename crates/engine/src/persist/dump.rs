//! The payload of DUMP and RESTORE: a single value as bytes.
//!
//! ```text
//!  0      1                       len - 10      len - 8
//! ┌──────┬──────── … ────────────┬─────────────┬─────────────────────────────┐
//! │ type │ value, as in RDB files │ version u16 │ CRC-64 of the above, u64    │   little endian
//! └──────┴──────── … ────────────┴─────────────┴─────────────────────────────┘
//! ```
//!
//! A payload is untrusted. Its checksum only detects damage, so the value is fully validated, in
//! time and memory proportional to its length.

use std::borrow::Cow;

use russet_ds::EntryRef;

use crate::rdb::DEFAULT_VERSION;
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::{Fields, Parsed, Stop, Stored};
use crate::rdb::format::{Checksum, Flavour, Header, VALKEY_VERSION_MIN};
use crate::rdb::strings::StringWriter;
use crate::types::{
    self, Build, BuildContext, Invalid, Object, RdbForm, Read, StoredElement, Value, ValueRef,
    encoding_of,
};

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;
/// Bytes of the checksum.
const CHECKSUM_BYTES: usize = 8;

/// Why a payload is rejected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DumpError {
    /// The checksum is wrong or the version is not supported.
    Footer,
    /// The value is malformed, for this reason.
    Content(String),
}

/// How a payload is read.
#[derive(Clone, Copy, Debug)]
pub struct RestoreSettings {
    /// Maximum length of a string in bytes, compressed or not.
    pub string_bytes_max: u64,
    /// Whether to verify the checksum.
    pub checksum: bool,
}

/// Returns the payload of an entry's value.
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

/// Returns the size of an entry's value in a file in bytes, without the key.
pub fn value_len(entry: &EntryRef<'_, Object>, compression: bool) -> usize {
    let mut out = Vec::new();
    let mut strings = StringWriter::new(compression);
    encoding_of(entry.kind()).write(ValueRef::of(entry), &mut strings, &mut out);
    out.len()
}

/// Decodes a payload.
pub fn restore<'a>(
    payload: &'a [u8],
    settings: RestoreSettings,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, DumpError> {
    let RestoreSettings { string_bytes_max, checksum } = settings;
    let (value, flavour) = check_footer(payload, checksum).ok_or(DumpError::Footer)?;
    read(value, flavour, string_bytes_max, context).map_err(DumpError::Content)
}

/// Whether a payload's version and type are supported. A master may send others.
pub fn is_known(payload: &[u8]) -> bool {
    let Some((value, flavour)) = check_footer(payload, true) else { return false };
    let form = value.first().and_then(|&code| types::rdb_form(code, flavour));
    form.is_some_and(|(_, form)| !matches!(form.read, Read::NotImplemented))
}

/// Checks the footer. Returns the bytes before it and the flavour of its version.
fn check_footer(payload: &[u8], verifies: bool) -> Option<(&[u8], Flavour)> {
    let (value, footer) = payload.split_at_checked(payload.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, checksum) = footer.split_at(FOOTER_BYTES - CHECKSUM_BYTES);
    let version = u32::from(u16::from_le_bytes(version.try_into().ok()?));
    let flavour = match version {
        VALKEY_VERSION_MIN.. => Flavour::Valkey,
        _ => Flavour::Redis,
    };
    let summed = &payload[..payload.len() - CHECKSUM_BYTES];
    let is_whole =
        !verifies || u64::from_le_bytes(checksum.try_into().ok()?) == checksum_of(summed);
    (Header { flavour, version }.is_known() && is_whole).then_some((value, flavour))
}

fn checksum_of(bytes: &[u8]) -> u64 {
    let mut checksum = Checksum::new();
    checksum.update(bytes);
    checksum.value()
}

/// How a value is malformed.
enum Bad {
    Stop(Stop),
    Invalid(Invalid),
    /// Bytes follow the value.
    More,
}

impl From<Stop> for Bad {
    fn from(stop: Stop) -> Bad {
        Bad::Stop(stop)
    }
}

impl From<Invalid> for Bad {
    fn from(invalid: Invalid) -> Bad {
        Bad::Invalid(invalid)
    }
}

impl Bad {
    /// Describes it for the log, with the words of Redis that operators search for.
    fn explain(&self, name: &str, form: &RdbForm) -> String {
        let form = form.name;
        let mut letters = form.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let failed =
            first.into_iter().chain(letters).collect::<String>() + " integrity check failed";
        match self {
            Bad::Invalid(Invalid::Duplicate) => {
                format!("{failed}: {name} {form} with dup elements")
            }
            Bad::Invalid(invalid) => format!("{failed} ({name}): {invalid}"),
            Bad::Stop(Stop::Need(_)) => format!("{failed} ({name}): it is truncated"),
            Bad::Stop(Stop::Bad(_, kind)) => format!("{failed} ({name}): {kind}"),
            Bad::More => format!("{failed} ({name}): bytes follow the value"),
        }
    }
}

fn read<'a>(
    bytes: &'a [u8],
    flavour: Flavour,
    string_bytes_max: u64,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, String> {
    let (&code, rest) = bytes.split_first().ok_or("it is empty")?;
    let known = types::rdb_form(code, flavour);
    let (name, form) = known.ok_or_else(|| format!("unknown type {code}"))?;
    if matches!(form.read, Read::NotImplemented) {
        return Err(format!("type '{name}' ({}) is not implemented yet", form.name));
    }
    let value = read_form(form, rest, string_bytes_max, context);
    value.map_err(|bad| bad.explain(name, form))
}

fn read_form<'a>(
    form: &RdbForm,
    bytes: &'a [u8],
    string_bytes_max: u64,
    context: &BuildContext<'_>,
) -> Result<Value<'a>, Bad> {
    let mut fields = Fields::new(bytes, string_bytes_max);
    let value = match &form.read {
        Read::NotImplemented => return Err(Bad::Invalid(Invalid::Malformed)),
        Read::String { skip, decode } => {
            fields.take(*skip)?;
            decode(unpacked(fields.string()?)?, context)?
        }
        Read::Parts { first, next, begin } => {
            let mut cursor = first(&mut fields)?;
            let mut value = begin(&Head::default(), context);
            while !cursor.is_at_end() {
                add(&mut *value, next(&mut cursor, &mut fields)?)?;
            }
            value.finish()?
        }
        Read::Elements { head, element, begin } => {
            let head = head(&mut fields)?;
            let mut value = begin(&head, context);
            for _ in 0..head.count {
                add(&mut *value, element(&head, &mut fields)?)?;
            }
            value.finish()?
        }
    };
    if fields.at == bytes.len() { Ok(value) } else { Err(Bad::More) }
}

fn add(value: &mut dyn Build, stored: StoredElement<'_>) -> Result<(), Bad> {
    let (name, text) = (unpacked(stored.name)?, unpacked(stored.value)?);
    Ok(value.element(Element { name: &name, value: &text, expiry: stored.expiry })?)
}

fn unpacked(stored: Stored<'_>) -> Parsed<Cow<'_, [u8]>> {
    match stored {
        Stored::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
        stored => {
            stored.bytes(&mut itoa::Buffer::new()).map(|bytes| Cow::Owned(bytes.into_owned()))
        }
    }
}
