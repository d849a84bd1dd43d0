//! Values as they are given and read; not where an entry keeps them.

use crate::block::{Block, BlockRef};

/// A value as it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a, V> {
    /// The bytes lie in the entry itself.
    Inline(&'a [u8]),
    /// They, or a value of the caller, are a block of their own.
    Block(BlockRef<'a, V>),
}

/// A value as it is given.
#[derive(Debug)]
pub enum NewPayload<'a, V> {
    /// Bytes to be copied into the entry.
    Inline(&'a [u8]),
    /// A block of which the entry becomes an owner.
    Block(Block<V>),
}

/// What a table must know of the values that are in it.
pub trait Value: Send + Sync + Sized {
    /// The earliest time at which something within a value expires by itself, in Unix
    /// milliseconds; a lower bound will do.
    ///
    /// Is only asked for entries that [`crate::EntryMut::set_inner_expiry`] has marked: once
    /// whenever the neighbourhood of the entry is resized or looked through for what has expired.
    /// So it should not go through all of a large value.
    #[must_use]
    fn inner_expiry(kind: u8, payload: Payload<'_, Self>) -> Option<i64> {
        let _ = (kind, payload);
        None
    }
}

/// For tables of bytes.
impl Value for () {}
