//! How a value is written as commands, in the base of an append-only file (`aof-use-rdb-preamble no`).
//!
//! A value becomes one or more commands that add its elements, of which a string has one:
//!
//! ```text
//!   SET key value             HSET key field value field value …             at most `most` elements each
//!                             HPEXPIREAT key milliseconds FIELDS 1 field     for each element that expires
//! ```
//!
//! Elements of several kinds become commands each as its type has it ([`Commands::parts`]).

use crate::rdb::elements::Element;

/// Takes arguments.
pub type Args<'a> = &'a mut dyn FnMut(&[u8]);

/// Takes elements.
pub type Elements<'a> = &'a mut dyn FnMut(&Element<'_>);

/// Takes the arguments of a command, with its name.
pub type CommandSink<'a> = &'a mut dyn FnMut(&[&[u8]]);

/// What elements of a value have said of those that follow, as the type likes it.
#[derive(Debug, Default)]
pub struct Earlier {
    /// One thing.
    pub first: Vec<u8>,
    /// Another one.
    pub second: Vec<u8>,
}

/// Passes on the commands for an element of the value of a key.
pub type Parts = fn(&mut Earlier, &[u8], &Element<'_>, CommandSink<'_>);

/// The commands of a type.
#[derive(Debug)]
pub struct Commands {
    /// The command that adds elements to a key; its first argument is the key.
    pub word: &'static [u8],
    /// Elements that one command adds at most.
    pub most: usize,
    /// Passes on the arguments of an element.
    pub args: fn(&Element<'_>, Args<'_>),
    /// The command that sets when an element expires, by name; none if they never do.
    pub expire: Option<&'static [u8]>,
    /// Calls back for each element of a compact value of a kind.
    pub each: fn(u8, &[u8], Elements<'_>),
    /// The commands for elements of several kinds, in place of all that.
    pub parts: Option<Parts>,
}
