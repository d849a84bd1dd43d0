//! Writes strings of RDB files in the encodings that Redis chooses.
//!
//! A canonical integer of up to 32 bits takes one, two or four bytes. Strings longer than 20 bytes
//! are compressed with LZF if that is enabled and saves at least four bytes. All others are written
//! as they are.

use russet_ds::lzf;

use super::format;

/// Minimum length of strings to compress.
const COMPRESSION_BYTES_MIN: usize = 21;
/// Minimum number of bytes that compression must save.
const COMPRESSION_GAIN_MIN: usize = 4;
/// Larger compression buffers are freed after use.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;

/// A writer of strings.
pub struct StringWriter {
    compression: bool,
    compressor: lzf::Compressor,
    scratch: Vec<u8>,
}

impl StringWriter {
    /// Creates a writer, with or without compression.
    pub fn new(compression: bool) -> StringWriter {
        StringWriter { compression, compressor: lzf::Compressor::new(), scratch: Vec::new() }
    }

    /// Appends a string.
    #[inline]
    pub fn put(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if let Some(value) = format::canonical_int(bytes)
            && format::put_encoded_int(value, out)
        {
            return;
        }
        if self.compression
            && bytes.len() >= COMPRESSION_BYTES_MIN
            && self.put_compressed(bytes, out)
        {
            return;
        }
        format::put_len(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }

    fn put_compressed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let limit = bytes.len() - COMPRESSION_GAIN_MIN;
        self.scratch.clear();
        let compressed = self.compressor.compress(bytes, limit, &mut self.scratch);
        if compressed {
            out.push(format::ENCODED | format::string_encoding::LZF);
            format::put_len(self.scratch.len() as u64, out);
            format::put_len(bytes.len() as u64, out);
            out.extend_from_slice(&self.scratch);
        }
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
        compressed
    }
}
