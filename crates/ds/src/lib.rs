//! Data structures that know nothing of Redis, and the only home of clever `unsafe`.
//!
//! * [`Table`]: the keyspace's hash table. Keys, small values, expiries and access clocks live in
//!   one allocation each; growth is spread so that no insert pays for more than one small resize;
//!   scans and snapshots are positions in hash order.
//! * [`Block`]: bytes or a value behind one counted pointer, for what is too big for an entry.
//! * [`hash`]: the keyed hash for names that strangers choose.
//! * [`glob`]: glob patterns in time `O(pattern × text)` at worst.
//! * [`lzf`]: the compression used inside RDB files.
//! * [`listpack`]: strings and integers in one stretch of bytes; [`ziplist`] and [`zipmap`], what older
//!   files hold in its place.
//!
//! What is absent: commands, types, replies, clocks, threads, input and output. Time, chance and
//! the hash of a key are arguments.
//!
//! Reading order for the table: [`block`] (what is too big for an entry), [`entry`] (the bytes of
//! one key), `bucket` (one cache line), `segment` (one page of buckets), `directory` (from hash to
//! segment), [`table`] (the operations), `resize` (growth), [`walk`] (scan and snapshot),
//! `expiry_heap` (what expires next), `range` (parts of the table), `sample` (random entries).
#![allow(
    unsafe_code,
    reason = "packed pointers, one allocation per entry and cache-line buckets need raw memory; \
              every block states why it is sound"
)]

pub mod block;
mod bucket;
mod chunked;
mod directory;
pub mod edit;
pub mod entry;
mod expiry_heap;
pub mod glob;
pub mod hash;
pub mod listpack;
pub mod lzf;
mod owned;
mod range;
mod resize;
mod sample;
mod segment;
pub mod size;
pub mod table;
pub mod walk;
pub mod ziplist;
pub mod zipmap;

pub use block::{Block, BlockRef, BytesMut, BytesRef, Content, OutOfMemory, SharedBytes};
pub use bucket::WALKERS;
pub use edit::EntryMut;
pub use entry::{EntryRef, NewPayload, Payload, Value};
pub use expiry_heap::{ExpireStep, Expired};
pub use owned::OwnedEntry;
pub use table::{HashOf, Shape, Table};
pub use walk::Scope;
