//! How values stand in RDB files: the forms that are read, and those in which they are written.
//!
//! A value is either one string (the bytes of a compact one, or an older encoding of them), or a head with elements behind it,
//! which are read and built one by one as they arrive. Reading believes nothing: whatever the bytes are, they are refused or
//! become a value of which all that its type promises is true.

use std::borrow::Cow;
use std::fmt::Debug;

use russet_ds::hash::Seed;

use super::{Value, ValueRef};
use crate::config::Config;
use crate::rdb::elements::{Element, Head};
use crate::rdb::fields::{Fields, Parsed, Stored};
use crate::rdb::format::Flavour;
use crate::rdb::strings::StringWriter;

/// A form in which files hold values of a type.
#[derive(Debug)]
pub struct RdbForm {
    /// The byte that stands before it.
    pub code: u8,
    /// The magic under which the byte means it; `None` for both.
    pub flavour: Option<Flavour>,
    /// What log lines call it.
    pub name: &'static str,
    /// How it is read.
    pub read: Read,
}

/// How a form is read.
#[derive(Debug)]
pub enum Read {
    /// It is known by name only.
    NotImplemented,
    /// One string.
    String {
        /// Bytes before the string that say nothing which the string does not.
        skip: usize,
        /// Makes the value of it.
        decode: Decode,
    },
    /// A head, and elements.
    Elements {
        /// Reads the head.
        head: fn(&mut Fields<'_>) -> Parsed<Head>,
        /// Reads an element.
        element: for<'a> fn(&Head, &mut Fields<'a>) -> Parsed<StoredElement<'a>>,
        /// Begins a value.
        begin: fn(&Head, &Making<'_>) -> Box<dyn Build>,
    },
}

/// Makes a value of a string in a file.
pub type Decode = for<'a> fn(Cow<'a, [u8]>, &Making<'_>) -> Result<Value<'a>, Invalid>;

/// What values are made with.
#[derive(Clone, Copy, Debug)]
pub struct Making<'a> {
    /// Tells how small a collection must be to be compact.
    pub config: &'a Config,
    /// Hashes the names of elements.
    pub seed: Seed,
}

/// An element as it stands in a file.
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
    /// Takes the next element.
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid>;

    /// All elements were given.
    fn finish(self: Box<Self>) -> Result<Value<'static>, Invalid>;
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// A collection has no elements. Some old servers wrote such keys.
    Empty,
    /// The bytes break the form's rules.
    Malformed,
    /// An element is there twice.
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

/// How values of a type are kept, and written.
#[derive(Debug)]
pub struct Encoding {
    /// The name that OBJECT ENCODING answers.
    pub name: &'static str,
    /// The byte before it in a file.
    pub code: u8,
    /// The oldest version of files in which it may stand.
    pub version: u32,
    /// How it is written.
    pub write: Write,
    /// How its elements expire by themselves; `None` if they never do.
    pub expiring: Option<Expiring>,
}

/// How elements of a value expire.
#[derive(Clone, Copy, Debug)]
pub struct Expiring {
    /// Tells when the first of them is to be removed. It is asked often, so it looks at no more than a few.
    pub next_sweep: fn(ValueRef<'_>) -> Option<i64>,
    /// Removes those whose expiry is before a time from a compact value. Returns what is left, and their names.
    pub remove: fn(&[u8], i64) -> (Option<Value<'static>>, Names),
    /// The command that removes elements by name.
    pub word: &'static [u8],
}

/// Names of elements.
pub type Names = Vec<Box<[u8]>>;

/// How a value is written.
#[derive(Clone, Copy, Debug)]
pub enum Write {
    /// From the bytes of a compact value.
    Bytes(fn(&[u8], &mut StringWriter, &mut Vec<u8>)),
    /// From the elements of a large one.
    Elements {
        /// Writes the head.
        head: fn(&Head, &mut Vec<u8>),
        /// Writes an element.
        element: fn(&Head, &Element<'_>, &mut StringWriter, &mut Vec<u8>),
    },
}

/// Writes bytes as one string.
pub fn write_string(bytes: &[u8], strings: &mut StringWriter, out: &mut Vec<u8>) {
    strings.put(bytes, out);
}

impl Encoding {
    /// Appends a value that is kept so, in the form that files have of it.
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
