//! The fields of which an RDB file's items consist, read from a slice that may be too short.
//!
//! A reader never waits: it borrows what is there, or says the least length with which a retry
//! makes sense. Memory is only taken for a compressed string whose packed bytes are all there.

use std::borrow::Cow;

use russet_ds::lzf;

use super::error::RdbErrorKind;
use super::format::{ENCODED, LEN_32, LEN_64, LZF_RATIO_MAX, string_encoding};

/// Why an item did not come out of a slice.
pub enum Stop {
    /// It has at least this many bytes, more than the slice.
    Need(usize),
    /// It is bad, this far from its start.
    Bad(usize, RdbErrorKind),
}

/// A part of an item, or why not.
pub type Parsed<T> = Result<T, Stop>;

/// A string as it stands in the file.
pub enum Stored<'a> {
    /// As it is.
    Plain(&'a [u8]),
    /// A number that prints as it.
    Int(i64),
    /// Packed with LZF.
    Packed {
        /// Offset in the item, for errors.
        at: usize,
        /// The packed bytes.
        bytes: &'a [u8],
        /// What they unpack to, within what LZF can give.
        len: usize,
    },
}

/// Reads the fields of one item from a slice that starts with it and may be too short.
pub struct Fields<'a> {
    bytes: &'a [u8],
    /// How far the item has been read.
    pub at: usize,
    string_bytes_max: u64,
}

impl<'a> Fields<'a> {
    /// The start of an item.
    #[inline]
    pub fn new(bytes: &'a [u8], string_bytes_max: u64) -> Fields<'a> {
        Fields { bytes, at: 0, string_bytes_max }
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Parsed<&'a [u8]> {
        // Lengths are at most `string_bytes_max` beyond what has been read.
        let end = self.at.saturating_add(len);
        let taken = self.bytes.get(self.at..end).ok_or(Stop::Need(end))?;
        self.at = end;
        Ok(taken)
    }

    /// The next `N` bytes.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Parsed<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// The next byte.
    #[inline]
    pub fn byte(&mut self) -> Parsed<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A length, or the kind of an encoding.
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

    /// A length.
    pub fn length(&mut self) -> Parsed<u64> {
        let at = self.at;
        self.len_or_encoding()?
            .map_err(|kind| Stop::Bad(at, RdbErrorKind::EncodedLength(ENCODED | kind)))
    }

    /// A length of bytes, bounded.
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

    /// A string in any encoding.
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
            string_encoding::LZF => return self.packed_string(at),
            _ => return Err(Stop::Bad(at, RdbErrorKind::BadStringEncoding(kind))),
        }))
    }

    fn packed_string(&mut self, at: usize) -> Parsed<Stored<'a>> {
        let packed = self.string_len()?;
        let len = self.string_len()?;
        let (packed_bytes, claimed) = (packed as u64, len as u64);
        if packed == 0 || claimed > packed_bytes.saturating_mul(LZF_RATIO_MAX) {
            let kind = RdbErrorKind::BadCompressedLength { packed: packed_bytes, claimed };
            return Err(Stop::Bad(at, kind));
        }
        Ok(Stored::Packed { at, bytes: self.take(packed)?, len })
    }
}

impl<'a> Stored<'a> {
    /// The string itself: borrowed where it stands in the file, printed into `digits`, or unpacked.
    #[inline(always)]
    pub fn bytes<'s>(self, digits: &'s mut itoa::Buffer) -> Parsed<Cow<'s, [u8]>>
    where
        'a: 's,
    {
        match self {
            Stored::Plain(bytes) => Ok(Cow::Borrowed(bytes)),
            Stored::Int(value) => Ok(Cow::Borrowed(digits.format(value).as_bytes())),
            Stored::Packed { at, bytes, len } => lzf::decompress(bytes, len)
                .map(Cow::Owned)
                .map_err(|_| Stop::Bad(at, RdbErrorKind::BadCompression)),
        }
    }
}
