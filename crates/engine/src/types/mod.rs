//! Values: a row and a file for each type.
//!
//! An entry of the keyspace has a *kind* byte: the number of its type in the low four bits, that of
//! its encoding in the high four. All other differences between types are in their rows; outside of
//! this folder, only the commands of a type depend on the type of a value.
//!
//! A new type is a file with a row, a line in [`TYPES`], and a variant of [`Object`] if its values
//! can be large.

pub mod commands;
pub mod digest;
pub mod double;
pub mod elements;
pub mod form;
pub mod hash;
mod hash_change;
mod hash_compact;
mod hash_rdb;
mod leaf_sum;
pub mod list;
mod list_change;
mod list_leaf;
mod list_rdb;
pub mod long_double;
pub mod set;
mod set_change;
mod set_rdb;
pub mod stream;
mod stream_commands;
mod stream_group;
mod stream_id;
mod stream_log;
mod stream_node;
mod stream_parts;
mod stream_rdb;
pub mod string;
mod value;
pub mod walkers;
pub mod zset;
mod zset_change;
mod zset_compact;
mod zset_large;
mod zset_members;
mod zset_order;
mod zset_rdb;

use crate::rdb::DEFAULT_VERSION;
use crate::rdb::format::Flavour;
use commands::Commands;
use digest::Digest;
pub use form::{
    Build, BuildContext, Encoding, Expiring, Invalid, Names, RdbForm, Read, StoredElement, Write,
};
pub use value::{
    Body, Collection, Editable, INLINE_MAX, Object, Value, ValueRef, next_sweep, payload,
};

/// A type of values.
#[derive(Debug)]
pub struct Type {
    /// The name returned by TYPE.
    pub name: &'static str,
    /// Its number in Redis: the low four bits of the kind byte, and the start of DEBUG DIGEST.
    pub number: u8,
    /// Its encodings, by the high four bits of the kind byte.
    pub encodings: &'static [Encoding],
    /// The forms of its values in files.
    pub rdb: &'static [RdbForm],
    /// Its values as commands.
    pub commands: Commands,
    /// Adds a value of a kind to a digest.
    pub digest: fn(&mut Digest, u8, ValueRef<'_>),
}

impl PartialEq for Type {
    fn eq(&self, other: &Type) -> bool {
        self.number == other.number
    }
}

impl Eq for Type {}

/// All types.
pub static TYPES: &[&Type] =
    &[&string::STRING, &list::LIST, &set::SET, &zset::ZSET, &hash::HASH, &stream::STREAM];

/// Types that are not implemented yet, by name, with their forms in files.
pub static NOT_IMPLEMENTED: &[(&str, &[RdbForm])] = &[(
    "module",
    &[
        not_implemented(6, "module value of 4.0 release candidates"),
        not_implemented(7, "annotated module value"),
    ],
)];

const fn not_implemented(code: u8, name: &'static str) -> RdbForm {
    RdbForm { code, flavour: None, name, read: Read::NotImplemented }
}

/// Rows by number.
static BY_NUMBER: [Option<&Type>; 16] = {
    let mut rows = [None; 16];
    let mut at = 0;
    while at < TYPES.len() {
        rows[TYPES[at].number as usize] = Some(TYPES[at]);
        at += 1;
    }
    rows
};

/// Returns the kind byte of a type's encoding.
pub const fn kind(ty: u8, encoding: u8) -> u8 {
    ty | encoding << 4
}

/// Returns the type of a kind byte.
#[inline]
pub fn type_of(kind: u8) -> &'static Type {
    // Kind bytes are created from rows and never read from files.
    BY_NUMBER[usize::from(kind & 0xf)].expect("a type with a row")
}

/// Encodings by kind byte.
static BY_KIND: [Option<&Encoding>; 256] = {
    let mut rows = [None; 256];
    let mut at = 0;
    while at < TYPES.len() {
        let mut encoding = 0;
        while encoding < TYPES[at].encodings.len() {
            let kind = kind(TYPES[at].number, encoding as u8);
            rows[kind as usize] = Some(&TYPES[at].encodings[encoding]);
            encoding += 1;
        }
        at += 1;
    }
    rows
};

/// Returns the encoding of a kind byte.
#[inline]
pub fn encoding_of(kind: u8) -> &'static Encoding {
    BY_KIND[usize::from(kind)].expect("an encoding with a row")
}

/// Returns the oldest version of files that supports all values: of any kind, or without expiring
/// elements.
pub fn file_version(elements_expire: bool) -> u32 {
    let encodings = TYPES.iter().flat_map(|ty| ty.encodings);
    let found = encodings.filter(|encoding| elements_expire || encoding.expiring.is_none());
    found.map(|encoding| encoding.version).fold(DEFAULT_VERSION, u32::max)
}

/// Returns the form of a type byte in a file of this flavour, with the name of its type.
pub fn rdb_form(code: u8, flavour: Flavour) -> Option<(&'static str, &'static RdbForm)> {
    rdb_forms()
        .find(|(_, form)| form.code == code && form.flavour.is_none_or(|only| only == flavour))
}

/// Iterates over all forms, with the names of their types.
pub fn rdb_forms() -> impl Iterator<Item = (&'static str, &'static RdbForm)> {
    let implemented = TYPES.iter().map(|ty| (ty.name, ty.rdb));
    implemented
        .chain(NOT_IMPLEMENTED.iter().copied())
        .flat_map(|(name, forms)| forms.iter().map(move |form| (name, form)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (at, ty) in TYPES.iter().enumerate() {
            assert!(std::ptr::eq(type_of(ty.number), *ty), "{}: its number is taken", ty.name);
            assert!(TYPES[..at].iter().all(|other| other.name != ty.name), "{} twice", ty.name);
            assert!(
                NOT_IMPLEMENTED.iter().all(|(name, _)| *name != ty.name),
                "{} is implemented",
                ty.name
            );
            assert!((1..=16).contains(&ty.encodings.len()));
        }
    }

    #[test]
    fn each_byte_has_one_meaning_for_a_magic() {
        for flavour in [Flavour::Redis, Flavour::Valkey] {
            for code in 0..=u8::MAX {
                let forms = rdb_forms().filter(|(_, form)| {
                    form.code == code && form.flavour.is_none_or(|only| only == flavour)
                });
                assert!(forms.count() <= 1, "{code} under {flavour:?}");
            }
        }
        let name = |code, flavour| rdb_form(code, flavour).map(|(ty, form)| (ty, form.name));
        assert_eq!(name(22, Flavour::Valkey), Some(("hash", "with field expiry")));
        assert_eq!(name(8, Flavour::Redis), None);
    }

    /// All written forms can be read.
    #[test]
    fn encodings_are_written_in_readable_forms() {
        for ty in TYPES {
            for encoding in ty.encodings {
                let form = ty.rdb.iter().find(|form| form.code == encoding.code);
                // A compact value may be written element by element, a large one is always.
                let fits = form.is_some_and(|form| match encoding.write {
                    Write::Bytes(_) => !matches!(form.read, Read::NotImplemented),
                    Write::Elements { .. } => {
                        matches!(form.read, Read::Elements { .. } | Read::Parts { .. })
                    }
                });
                assert!(fits, "{} {}", ty.name, encoding.name);
            }
        }
    }
}
