//! Data structures without Redis semantics, and the only crate with its own `unsafe` code.
//!
//! * [`Table`]: the hash table of the keyspace. Keys, small values, expiries and access clocks are
//!   in a single allocation per entry; growth is incremental, so that no insert costs more than one
//!   small resize; positions of scans and snapshots are hashes.
//! * [`tree`]: sequences in which any place is found in logarithmic time and a copy takes constant time; [`ordered`]: maps
//!   made of it.
//! * [`Block`]: bytes or a value in a reference-counted allocation, for values too large for an
//!   entry.
//! * [`hash`]: the keyed hash for untrusted names.
//! * [`glob`]: glob patterns in time `O(pattern × text)` at worst.
//! * [`lzf`]: the compression used inside RDB files.
//! * [`listpack`]: strings and integers in a contiguous buffer; [`ziplist`] and [`zipmap`], its
//!   predecessors in older files.
//! * [`intset`]: small sets of integers.
//! * [`bits`]: bytes as arrays of bits.
//! * [`hyperloglog`]: estimates of how many different elements there are.
//!
//! Not here: commands, types, replies, clocks, threads, input and output. Time, random numbers and
//! the hash of a key are arguments.
#![allow(
    unsafe_code,
    reason = "packed pointers, one allocation per entry and cache-line buckets need raw memory; \
              every block states why it is sound"
)]

pub mod bits;
pub mod block;
#[cfg(feature = "counting")]
pub mod counting;
pub mod glob;
pub mod hash;
pub mod hyperloglog;
pub mod intset;
#[cfg(feature = "jemalloc")]
pub mod jemalloc;
pub mod listpack;
pub mod lzf;
pub mod ordered;
pub mod size;
pub mod table;
pub mod tree;
pub mod ziplist;
pub mod zipmap;

pub use block::{Block, BlockRef, BytesMut, BytesRef, Content, OutOfMemory, SharedBytes};
pub use table::{
    EntryMut, EntryRef, ExpireStep, Expired, HashOf, NewPayload, OwnedEntry, Payload, Scope, Shape,
    Table, Value, WALKERS,
};
