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
#![allow(
    unsafe_code,
    reason = "packed pointers, one allocation per entry and cache-line buckets need raw memory; \
              every block states why it is sound"
)]

pub mod block;
pub mod glob;
pub mod hash;
pub mod listpack;
pub mod lzf;
pub mod size;
pub mod table;
pub mod ziplist;
pub mod zipmap;

pub use block::{Block, BlockRef, BytesMut, BytesRef, Content, OutOfMemory, SharedBytes};
pub use table::{
    EntryMut, EntryRef, ExpireStep, Expired, HashOf, NewPayload, OwnedEntry, Payload, Scope, Shape,
    Table, Value, WALKERS,
};
