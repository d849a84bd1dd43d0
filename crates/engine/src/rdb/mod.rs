//! The bytes of RDB files: what reading and writing them share, and what is told to those who do.
//!
//! * [`format`]: opcodes, header, lengths, the forms of integers, the checksum.
//! * [`fields`]: reads what items consist of, from bytes that may be cut anywhere.
//! * [`strings`]: writes strings.
//! * [`elements`]: collections in parts.
//! * [`error`]: what can be wrong with a file.
//! * [`chunk`]: copies of entries on their way from the keyspace to a writer's thread.
//!
//! What the bytes of a value mean is known to the value's type, and which of them stand where in a file to
//! `persist`'s loader and encoder. `docs/internals/rdb.md` draws them.

pub mod chunk;
pub mod elements;
pub mod error;
pub mod fields;
pub mod format;
pub mod strings;

/// The version that is written unless the data needs a newer one; redis-server 7.0 loads it.
pub const DEFAULT_VERSION: u32 = 10;

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

/// How many keys a database has, told to the reader ahead of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeHint {
    /// The database.
    pub db: u32,
    /// Its keys.
    pub keys: u64,
    /// Those of them that expire.
    pub expires: u64,
}

/// What a file is to be like.
#[derive(Clone, Debug)]
pub struct RdbSettings {
    /// Version number in the header, 7 (the first with aux fields and size hints) to 12.
    pub version: u32,
    /// Pack strings with LZF (`rdbcompression`).
    pub compression: bool,
    /// Compute the checksum (`rdbchecksum`); zero is written otherwise.
    pub checksum: bool,
    /// Written behind the first selection of each database named here.
    pub size_hints: Vec<SizeHint>,
}

impl Default for RdbSettings {
    fn default() -> RdbSettings {
        RdbSettings {
            version: DEFAULT_VERSION,
            compression: true,
            checksum: true,
            size_hints: Vec::new(),
        }
    }
}
