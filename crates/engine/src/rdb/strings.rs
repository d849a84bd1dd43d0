//! Strings as Redis writes them into RDB files.
//!
//! A canonical integer of up to 32 bits takes one, two or four bytes; what is longer than 20 bytes is packed with LZF if that
//! is switched on and saves at least four bytes; all else stands as it is.

use russet_ds::lzf;

use super::format;

/// Strings up to this length are not worth compressing.
const COMPRESSION_BYTES_MIN: usize = 21;
/// What compression must save to be used.
const COMPRESSION_GAIN_MIN: usize = 4;
/// A compression buffer larger than this is not kept between strings.
const SCRATCH_BYTES_KEPT: usize = 1 << 20;

/// Writes strings.
pub struct StringWriter {
    compression: bool,
    compressor: lzf::Compressor,
    scratch: Vec<u8>,
}

impl StringWriter {
    /// One that packs strings or not.
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
        if self.compression && bytes.len() >= COMPRESSION_BYTES_MIN && self.put_packed(bytes, out) {
            return;
        }
        format::put_len(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }

    fn put_packed(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> bool {
        let limit = bytes.len() - COMPRESSION_GAIN_MIN;
        self.scratch.clear();
        let packed = self.compressor.compress(bytes, limit, &mut self.scratch);
        if packed {
            out.push(format::ENCODED | format::string_encoding::LZF);
            format::put_len(self.scratch.len() as u64, out);
            format::put_len(bytes.len() as u64, out);
            out.extend_from_slice(&self.scratch);
        }
        if self.scratch.capacity() > SCRATCH_BYTES_KEPT {
            self.scratch = Vec::new();
        }
        packed
    }
}
