//! The encoder of a snapshot: an RDB file, or commands.

use super::aof::base::BaseEncoder;
use super::rdb_save::RdbEncoder;
use crate::rdb::RdbSettings;
use crate::rdb::chunk::Chunk;

/// Encodes one file. Call `begin` once, `chunk` for each chunk, `finish` once; each appends to the caller's buffer.
pub enum SnapshotEncoder {
    /// As an RDB file.
    Rdb(Box<RdbEncoder>),
    /// As commands.
    Commands(Box<BaseEncoder>),
}

impl SnapshotEncoder {
    /// Creates an encoder for one file.
    pub fn new(settings: RdbSettings) -> SnapshotEncoder {
        match settings.commands {
            Some(base) => SnapshotEncoder::Commands(Box::new(BaseEncoder::new(base))),
            None => SnapshotEncoder::Rdb(Box::new(RdbEncoder::new(settings))),
        }
    }

    /// Appends what precedes the data.
    pub fn begin(&mut self, aux: &[(&str, &[u8])], out: &mut Vec<u8>) {
        match self {
            SnapshotEncoder::Rdb(encoder) => encoder.begin(aux, out),
            SnapshotEncoder::Commands(_) => {}
        }
    }

    /// Appends a chunk's records.
    pub fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        match self {
            SnapshotEncoder::Rdb(encoder) => encoder.chunk(chunk, out),
            SnapshotEncoder::Commands(encoder) => encoder.chunk(chunk, out),
        }
    }

    /// Appends what follows the data.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self {
            SnapshotEncoder::Rdb(encoder) => encoder.finish(out),
            SnapshotEncoder::Commands(_) => {}
        }
    }
}
