//! Values: their types, their encodings, and the forms too big to stand inline in an entry.
//!
//! An entry of the keyspace carries one opaque *kind* byte: the type in its low four bits, the encoding in its
//! high four. Small strings stand inline behind their key; everything else is an [`Object`].

pub mod long_double;
pub mod string;

/// The types of values, with the numbers that the kind byte uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// Bytes.
    String = 0,
}

impl Type {
    /// The name that TYPE answers.
    pub fn name(self) -> &'static str {
        match self {
            Type::String => "string",
        }
    }
}

/// How a value is kept, as OBJECT ENCODING names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// A string that is the canonical text of a 64-bit integer.
    Int = 0,
    /// A short string that was set in one piece.
    Embstr = 1,
    /// Any other string.
    Raw = 2,
}

impl Encoding {
    /// The name that OBJECT ENCODING answers.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Int => "int",
            Encoding::Embstr => "embstr",
            Encoding::Raw => "raw",
        }
    }
}

/// The kind byte of a type in an encoding.
pub const fn kind(ty: Type, encoding: Encoding) -> u8 {
    (ty as u8) | ((encoding as u8) << 4)
}

/// The type in a kind byte.
pub fn type_of(_kind: u8) -> Type {
    // One type so far; the low four bits tell them apart when there are more.
    Type::String
}

/// The encoding in a kind byte.
pub fn encoding_of(kind: u8) -> Encoding {
    match kind >> 4 {
        0 => Encoding::Int,
        1 => Encoding::Embstr,
        _ => Encoding::Raw,
    }
}

/// A value that is more than bytes: none yet, strings are bytes in whatever form.
#[derive(Debug)]
pub enum Object {}

impl russet_ds::Value for Object {}
