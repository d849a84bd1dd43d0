//! Values as arguments and results.

use crate::block::{Block, BlockRef};

/// A borrowed value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload<'a, V> {
    /// Bytes in the entry.
    Inline(&'a [u8]),
    /// A block of bytes or of a value.
    Block(BlockRef<'a, V>),
}

/// A new value.
#[derive(Debug)]
pub enum NewPayload<'a, V> {
    /// Bytes to be copied into the entry.
    Inline(&'a [u8]),
    /// A block, whose reference is passed to the entry.
    Block(Block<V>),
}

/// What a table must know about values of type `V`.
pub trait Value: Send + Sync + Sized {
    /// Returns a lower bound of the earliest inner expiry of a value, in Unix milliseconds.
    ///
    /// It is only called for entries marked by [`crate::EntryMut::set_inner_expiry`]: whenever
    /// their segment is resized or swept. So it must not iterate over a large value.
    #[must_use]
    fn inner_expiry(kind: u8, payload: Payload<'_, Self>) -> Option<i64> {
        let _ = (kind, payload);
        None
    }
}

/// For tables of bytes only.
impl Value for () {}
