//! Reads the fields of an item of an RDB file from a slice that may be incomplete.
//!
//! Fields are borrowed from the slice. If it is too short, the minimum length of the item is
//! returned, as far as it is known. Memory is allocated only for compressed strings, and only after
//! all of their bytes were received.

use std::borrow::Cow;

use russet_ds::lzf;

use super::error::RdbErrorKind;
use super::format::{ENCODED, LEN_32, LEN_64, LZF_RATIO_MAX, string_encoding};

/// Why an item could not be parsed.
pub enum Stop {
    /// It is incomplete: it has at least this many bytes.
    Need(usize),
    /// It is malformed at this offset from its start.
    Bad(usize, RdbErrorKind),
}

/// A parsed field, or why parsing stopped.
pub type Parsed<T> = Result<T, Stop>;

/// A string in the encoding of the file.
pub enum Stored<'a> {
    /// The bytes themselves.
    Plain(&'a [u8]),
    /// An integer whose decimal text is the string.
    Int(i64),
    /// Bytes compressed with LZF.
    Compressed {
        /// Offset in the item, for errors.
        at: usize,
        /// The compressed bytes.
        bytes: &'a [u8],
        /// Decompressed length, limited by LZF's maximum ratio.
        len: usize,
    },
}

/// A reader of the fields of one item, from a slice that starts with it and may be incomplete.
pub struct Fields<'a> {
    bytes: &'a [u8],
    /// Offset of the next field in the item.
    pub at: usize,
    string_bytes_max: u64,
}

impl<'a> Fields<'a> {
    /// Creates a reader at the start of an item.
    #[inline]
    pub fn new(bytes: &'a [u8], string_bytes_max: u64) -> Fields<'a> {
        Fields { bytes, at: 0, string_bytes_max }
    }

    /// Reads the next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        // Lengths are at most `string_bytes_max` beyond what has been read.
        let end = self.at.saturating_add(len);
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Need(end))?;
        self.at = end;
        Ok(taken)
    }

    /// Returns the bytes that were read since an earlier position.
    pub fn since(&self, at: usize) -> &'a [u8] {
        self.bytes.get(at..self.at).unwrap_or_default()
    }

    /// Reads the next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// Reads the next byte.
    #[inline]
    pub fn byte(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// Reads a length, or the kind of a string encoding as `Err`.
    #[inline]
    fn len_or_encoding(&mut self) -> Parsed<Result<u64, u8>> {
        let at = self.at;
        let first = self.byte()?;
        Ok(match first {
            0..0x40 => Ok(u64::from(first)),
            0x40..0x80 => Ok(u64::from(first & 0x3f) << 8 | u64::from(self.byte()?)),
            LEN_32 => Ok(u64::from(u32::from_be_bytes(self.array()?))),
            LEN_64 => Ok(u64::from_be_bytes(self.array()?)),
            ENCODED.. => Err(first & !ENCODED),
            _ => return Err(Stop::Bad(at, RdbErrorKind::BadLength(first))),
        })
    }

    /// Reads a length.
    pub fn length(&mut self) -> Parsed<u64> {
        let at = self.at;
        self.len_or_encoding()?
            .map_err(|kind| Stop::Bad(at, RdbErrorKind::EncodedLength(ENCODED | kind)))
    }

    /// Reads a length in bytes within the limit.
    fn string_len(&mut self) -> Parsed<usize> {
        let at = self.at;
        let bytes = self.length()?;
        self.bounded(at, bytes)
    }

    #[inline]
    fn bounded(&self, at: usize, bytes: u64) -> Parsed<usize> {
        let bytes_max = self.string_bytes_max;
        match usize::try_from(bytes) {
            Ok(len) if bytes <= bytes_max => Ok(len),
            _ => Err(Stop::Bad(at, RdbErrorKind::StringTooLong { bytes, bytes_max })),
        }
    }

    /// Reads a string in any encoding.
    #[inline]
    pub fn string(&mut self) -> Parsed<Stored<'a>> {
        let at = self.at;
        match self.len_or_encoding()? {
            Ok(len) => {
                let len = self.bounded(at, len)?;
                Ok(Stored::Plain(self.take(len)?))
            }
            Err(kind) => self.encoded_string(at, kind),
        }
    }

    fn encoded_string(&mut self, at: usize, kind: u8) -> Parsed<Stored<'a>> {
        Ok(Stored::Int(match kind {
            string_encoding::INT8 => i64::from(i8::from_le_bytes(self.array()?)),
            string_encoding::INT16 => i64::from(i16::from_le_bytes(self.array()?)),
            string_encoding::INT32 => i64::from(i32::from_le_bytes(self.array()?)),
            string_encoding::LZF => return self.compressed_string(at),
            _ => return Err(Stop::Bad(at, RdbErrorKind::BadStringEncoding(kind))),
        }))
    }

    fn compressed_string(&mut self, at: usize) -> Parsed<Stored<'a>> {
        let compressed = self.string_len()?;
        let len = self.string_len()?;
        let (compressed_bytes, claimed) = (compressed as u64, len as u64);
        if compressed == 0 || claimed > compressed_bytes.saturating_mul(LZF_RATIO_MAX) {
            let kind = RdbErrorKind::BadCompressedLength { compressed: compressed_bytes, claimed };
            return Err(Stop::Bad(at, kind));
        }
        Ok(Stored::Compressed { at, bytes: self.take(compressed)?, len })
    }
}

impl<'a> Stored<'a> {
    /// Returns the decoded string: borrowed, formatted into `digits`, or decompressed.
    #[inline(always)]
    pub fn bytes<'s>(self, digits: &'s mut itoa::Buffer) -> Parsed<Cow<'s, [u8]>>
    where
        'a: 's,
    {
        match self {
            Stored::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Stored::Int(value) => Ok(Cow::Borrowed(digits.format(value).as_bytes())),
            Stored::Compressed { at, bytes, len } => lzf::decompress(bytes, len)
                .map(Cow::Owned)
                .map_err(|_| Stop::Bad(at, RdbErrorKind::BadCompression)),
        }
    }
}
