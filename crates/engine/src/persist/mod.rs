//! Persistence: the formats as pure functions over bytes, and the node's part in saving and loading.
//!
//! The formats:
//!
//! * [`chunk`]: copies of entries on their way from the keyspace to a writer's thread.
//! * [`rdb_save`]: chunks to the bytes of an RDB file.
//! * [`rdb_load`]: the bytes of an RDB file, in pieces of any size, to calls of a sink.
//! * [`rdb_error`]: what can be wrong with such a file.
//! * [`rdb_format`]: what both directions agree on: opcodes, type table, lengths, checksum.
//!
//! The node's part: [`snapshot`] runs walks, [`save`] and [`load`] are the dump file's life,
//! [`shutdown`] the last save.
//!
//! Architecture invariant: nothing here opens a file, reads a clock or starts a thread, and the
//! formats know nothing of the keyspace: a walker fills chunks, a loader's sink fills a database.
//! `docs/internals/rdb.md` draws the bytes.

pub mod chunk;
pub mod fill;
pub mod load;
pub mod rdb_error;
mod rdb_fields;
pub mod rdb_format;
pub mod rdb_load;
pub mod rdb_save;
pub mod save;
pub mod shutdown;
pub mod snapshot;

pub use save::Persist;

/// When and how often a key was used, as an RDB file carries it for eviction.
///
/// A file holds at most one of the two per key in practice (the writer's policy decides which),
/// but the format allows both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Seconds since the key was last used (opcode IDLE, written under an LRU policy).
    pub idle_seconds: Option<u64>,
    /// Logarithmic use counter (opcode FREQ, written under an LFU policy).
    pub frequency: Option<u8>,
}
