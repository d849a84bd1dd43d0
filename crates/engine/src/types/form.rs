//! Forms of values in RDB files: how they are read and written.
//!
//! A value is either a single string (the bytes of a compact value, or an older encoding), or a
//! head followed by elements, which are read and added one by one as they arrive. Files are
//! untrusted: any bytes are either rejected or decoded to a value that satisfies all invariants of
//! its type.

use std::borrow::Cow;
use std::fmt::Debug;

use russet_ds::hash::Seed;
use russet_ds::{listpack, ziplist};

use super::{Value, ValueRef};
use crate::config::Config;
use crate::rdb::elements::{Cursor, Element, Head};
use crate::rdb::fields::{Fields, Parsed, Stored};
use crate::rdb::format::{self, Flavour};
use crate::rdb::strings::StringWriter;

/// A form of a type's values in files.
#[derive(Debug)]
pub struct RdbForm {
    /// The type byte in files.
    pub code: u8,
    /// The magic for which the byte has this meaning; none: both.
    pub flavour: Option<Flavour>,
    /// Its name in log lines.
    pub name: &'static str,
    /// How it is read.
    pub read: Read,
}

/// How a form is read.
#[derive(Debug)]
pub enum Read {
    /// Only its name is known.
    NotImplemented,
    /// One string.
    String {
        /// Number of bytes before the string to skip; they are redundant.
        skip: usize,
        /// Decodes the string.
        decode: Decode,
    },
    /// Elements of several kinds.
    Parts {
        /// Reads what is in front of the first element.
        first: fn(&mut Fields<'_>) -> Parsed<Cursor>,
        /// Reads the element at a cursor, and moves it to the next one.
        next: for<'a> fn(&mut Cursor, &mut Fields<'a>) -> Parsed<StoredElement<'a>>,
        /// Begins a value.
        begin: fn(&Head, &BuildContext<'_>) -> Box<dyn Build>,
    },
    /// A head, and elements.
    Elements {
        /// Reads the head.
        head: fn(&mut Fields<'_>) -> Parsed<Head>,
        /// Reads an element.
        element: for<'a> fn(&Head, &mut Fields<'a>) -> Parsed<StoredElement<'a>>,
        /// Begins a value.
        begin: fn(&Head, &BuildContext<'_>) -> Box<dyn Build>,
    },
}

impl Read {
    /// Begins a value that has elements.
    pub fn begin(&self, head: &Head, context: &BuildContext<'_>) -> Option<Box<dyn Build>> {
        match self {
            Read::Elements { begin, .. } | Read::Parts { begin, .. } => Some(begin(head, context)),
            Read::String { .. } | Read::NotImplemented => None,
        }
    }
}

/// Decodes a value from a string of a file.
pub type Decode = for<'a> fn(Cow<'a, [u8]>, &BuildContext<'_>) -> Result<Value<'a>, Invalid>;

/// The context for building values.
#[derive(Clone, Copy, Debug)]
pub struct BuildContext<'a> {
    /// The limits of compact collections.
    pub config: &'a Config,
    /// The seed for hashing names of elements.
    pub seed: Seed,
}

/// An element as stored in a file.
pub struct StoredElement<'a> {
    /// See [`Element::name`].
    pub name: Stored<'a>,
    /// See [`Element::value`].
    pub value: Stored<'a>,
    /// See [`Element::expiry`].
    pub expiry: Option<i64>,
}

/// A value under construction.
pub trait Build: Debug + Send {
    /// Adds the next element.
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid>;

    /// Completes the value after all elements were added.
    fn finish(self: Box<Self>) -> Result<Value<'static>, Invalid>;
}

/// Why a value is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A collection has no elements, as in files of some old servers.
    Empty,
    /// The bytes violate the rules of the form.
    Malformed,
    /// An element is duplicated.
    Duplicate,
}

impl std::fmt::Display for Invalid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Invalid::Empty => "no elements",
            Invalid::Malformed => "malformed bytes",
            Invalid::Duplicate => "an element is there twice",
        })
    }
}

/// An encoding of a type's values, in memory and in files.
#[derive(Debug)]
pub struct Encoding {
    /// The name returned by OBJECT ENCODING.
    pub name: &'static str,
    /// The type byte in files.
    pub code: u8,
    /// The oldest version of files that supports it.
    pub version: u32,
    /// How it is written.
    pub write: Write,
    /// How elements expire; none if they never do.
    pub expiring: Option<Expiring>,
}

/// How elements of a value expire.
#[derive(Clone, Copy, Debug)]
pub struct Expiring {
    /// Returns when the first element must be removed. It is called often, so it examines only a
    /// few elements.
    pub next_sweep: fn(ValueRef<'_>) -> Option<i64>,
    /// Removes elements whose expiry is before a time from a compact value. Returns the new value
    /// and their names.
    pub remove: fn(&[u8], i64) -> (Option<Value<'static>>, Names),
    /// The command that removes elements by name.
    pub word: &'static [u8],
}

/// Names of elements.
pub type Names = Vec<Box<[u8]>>;

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub enum Write {
    /// Writes the bytes of a compact value.
    Bytes(fn(&[u8], &mut StringWriter, &mut Vec<u8>)),
    /// Writes the elements of a large value.
    Elements {
        /// Writes the head.
        head: fn(&Head, &mut Vec<u8>),
        /// Writes an element.
        element: fn(&Head, &Element<'_>, &mut StringWriter, &mut Vec<u8>),
    },
}

/// Whether all names of a small collection are different. A text that could be an integer is the same name as that integer.
pub fn check_unique<'a>(names: impl Iterator<Item = listpack::Element<'a>>) -> Result<(), Invalid> {
    let (mut integers, mut texts) = (Vec::new(), Vec::new());
    for name in names {
        match name.canonical() {
            listpack::Element::Int(value) => integers.push(value),
            listpack::Element::Text(text) => texts.push(text),
        }
    }
    integers.sort_unstable();
    texts.sort_unstable();
    let twice = integers.windows(2).any(|pair| pair[0] == pair[1])
        || texts.windows(2).any(|pair| pair[0] == pair[1]);
    if twice { Err(Invalid::Duplicate) } else { Ok(()) }
}

/// Converts a ziplist to a listpack.
pub fn listpack_of_ziplist(bytes: &[u8]) -> Result<Vec<u8>, Invalid> {
    let (mut pack, mut has_room) = (listpack::EMPTY.to_vec(), true);
    ziplist::each(bytes, &mut |element| {
        has_room &= listpack::has_room(&pack, element.stored_bytes());
        if has_room {
            listpack::append(&mut pack, element);
        }
    })?;
    if has_room { Ok(pack) } else { Err(Invalid::Malformed) }
}

/// Writes the number of elements.
pub fn write_count(head: &Head, out: &mut Vec<u8>) {
    format::put_len(head.count, out);
}

/// Writes bytes as a single string.
pub fn write_string(bytes: &[u8], strings: &mut StringWriter, out: &mut Vec<u8>) {
    strings.put(bytes, out);
}

impl Encoding {
    /// Appends a value of this encoding in its form in files.
    pub fn write(&self, value: ValueRef<'_>, strings: &mut StringWriter, out: &mut Vec<u8>) {
        match (self.write, value) {
            (Write::Bytes(write), ValueRef::Bytes(bytes)) => write(bytes, strings, out),
            (Write::Elements { head, element }, ValueRef::Object(object)) => {
                let collection = object.collection();
                let first = collection.head();
                head(&first, out);
                collection.each(&mut |one| element(&first, &one, strings, out));
            }
            _ => unreachable!("an entry's kind tells whether its value is compact"),
        }
    }
}
