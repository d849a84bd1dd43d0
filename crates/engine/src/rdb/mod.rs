//! The RDB format: definitions shared by reading and writing.
//!
//! * [`format`]: opcodes, header, lengths, integers, the checksum.
//! * [`fields`]: reads the fields of an item from bytes that may be incomplete.
//! * [`strings`]: writes strings.
//! * [`elements`]: collections in parts.
//! * [`error`]: errors of a file.
//! * [`chunk`]: copies of entries, passed from the keyspace to the encoder's thread.
//!
//! The encoding of values is defined by their types, and the structure of a file by `persist`'s
//! loader and encoder. `docs/internals/rdb.md` draws it.

use crate::persist::aof::batch::BaseSettings;

pub mod chunk;
pub mod elements;
pub mod error;
pub mod fields;
pub mod format;
pub mod strings;

/// The version to write unless the data needs a newer one; redis-server 7.0 can load it.
pub const DEFAULT_VERSION: u32 = 10;

/// The usage of a key for eviction, as stored in an RDB file.
///
/// Writers store at most one of the two, depending on their eviction policy, but the format allows
/// both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Seconds since the last use (opcode IDLE, written under an LRU policy).
    pub idle_seconds: Option<u64>,
    /// Logarithmic use counter (opcode FREQ, written under an LFU policy).
    pub frequency: Option<u8>,
}

/// The size of a database, written before its keys so that a reader can reserve memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeHint {
    /// The database.
    pub db: u32,
    /// Number of keys.
    pub keys: u64,
    /// Number of keys with an expiry.
    pub expires: u64,
}

/// Settings for encoding a file.
#[derive(Clone, Debug)]
pub struct RdbSettings {
    /// Version number in the header, 7 (the first with auxiliary fields and size hints) to 12.
    pub version: u32,
    /// Whether to compress strings with LZF (`rdbcompression`).
    pub compression: bool,
    /// Whether to compute the checksum (`rdbchecksum`); otherwise zero is written.
    pub checksum: bool,
    /// The sizes of databases, written when they are first selected.
    pub size_hints: Vec<SizeHint>,
    /// Write commands instead of an RDB file.
    pub commands: Option<BaseSettings>,
    /// Whether the writer starts the sync of each part once it is written (`rdb-save-incremental-fsync`,
    /// `aof-rewrite-incremental-fsync`). The encoder ignores it.
    pub sync_as_written: bool,
    /// For tests: microseconds that the writer waits after each key; negative: a microsecond after that many keys
    /// (`rdb-key-save-delay`). The encoder ignores it.
    pub key_delay: i32,
}

impl Default for RdbSettings {
    fn default() -> RdbSettings {
        RdbSettings {
            version: DEFAULT_VERSION,
            compression: true,
            checksum: true,
            size_hints: Vec::new(),
            commands: None,
            sync_as_written: true,
            key_delay: 0,
        }
    }
}
