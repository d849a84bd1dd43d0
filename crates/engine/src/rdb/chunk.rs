//! Chunks: raw copies of entries, passed from the keyspace to the encoder.
//!
//! A walker runs on the engine's thread, in slices of some 50 microseconds, and its cost adds to
//! the latency of clients. So it does as little as possible: it copies small entries into a growing
//! buffer and increments the reference count of large strings. Everything expensive (integer
//! detection, compression, checksums) is done later on the encoder's thread.
//!
//! A chunk belongs to one database and contains a sequence of records: a key with a value of bytes;
//! or the begin of a large collection, its elements, its end. The elements may continue in the
//! following chunks, without other records in between.
//!
//! ```text
//!  0       1      2
//! +-------+------+---------+- - - - - -+- - - - -+- - - - -+- - - - -+=====+- - - - - -+
//! | flags | kind | key len | value len | expiry  |  idle   |  freq   | key |   value   |  value
//! +-------+------+---------+- - - - - -+- - - - -+- - - - -+- - - - -+=====+- - - - - -+
//! | flags | kind | key len |   count   | expiry  |  idle   |  freq   | earliest | key  |  begin
//! +-------+------+---------+-----------+---------+-----+- - - - - - -+- - - - - +------+
//! | flags | name len | value len | expiry  | name | value |                              element
//! +-------+----------+- - - - - -+- - - - -+------+- - - -+
//! | flags |                                                                              end
//! +-------+    lengths and idle are varints, expiry and earliest i64 LE, freq u8
//!
//! flags  1  expiry follows (ms since the Unix epoch)
//!        2  idle seconds follow
//!        4  use counter follows
//!        8  the value is the next shared block (no length, no bytes);
//!           without this flag, length and bytes of the value are inline
//!       16  the earliest expiry of an element follows
//!      c0  kind of the record: 0 value, 40 begin, 80 element, c0 end
//! varint    LEB128: seven bits a byte, lowest first, top bit set on all but the last
//! ```
//!
//! The layout is internal to the process, so it has no version. A chunk contains no pointers into
//! the keyspace, only bytes and reference-counted blocks, so it is `Send`.
//!
//! Not here: the encoding of files, the choice of entries, memory limits (which use `len_bytes`).

use russet_ds::SharedBytes;

use super::Access;
use super::elements::{Element, Head};

const FLAG_EXPIRY: u8 = 1;
const FLAG_IDLE: u8 = 2;
const FLAG_FREQUENCY: u8 = 4;
const FLAG_SHARED: u8 = 8;
const FLAG_EARLIEST: u8 = 16;
const RECORD: u8 = 0xc0;
const RECORD_VALUE: u8 = 0;
const RECORD_BEGIN: u8 = 0x40;
const RECORD_ELEMENT: u8 = 0x80;
const RECORD_END: u8 = 0xc0;

/// Length in bytes from which a chunk is full and passed on.
pub const FULL_BYTES: usize = 64 * 1024;

/// Maximum length of a header: flags, kind, two lengths, expiry, idle, counter, earliest.
const HEADER_BYTES_MAX: usize = 2 + 10 + 10 + 8 + 10 + 1 + 8;

/// The bytes of a value to add to a chunk.
#[derive(Clone, Debug)]
pub enum ChunkValue<'a> {
    /// Bytes to copy.
    Bytes(&'a [u8]),
    /// A block to share.
    Shared(SharedBytes),
}

/// A key in a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkKey<'a> {
    /// Type and encoding of the value.
    pub kind: u8,
    /// The key's bytes.
    pub bytes: &'a [u8],
    /// Its expiry in milliseconds since the Unix epoch.
    pub expiry: Option<i64>,
    /// Its usage, if the walker copies it.
    pub access: Access,
}

/// A record of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A key with the bytes of a compact value.
    Value(ChunkKey<'a>, &'a [u8]),
    /// A key with a large value, whose elements follow.
    Begin(ChunkKey<'a>, Head),
    /// An element of the current large value.
    Element(Element<'a>),
    /// The end of the current large value.
    End,
}

/// Copies of entries of one database.
#[derive(Debug)]
pub struct Chunk {
    db: u32,
    entries: usize,
    pinned_bytes: usize,
    records: Vec<u8>,
    shared: Vec<SharedBytes>,
}

impl Chunk {
    /// Creates an empty chunk for database `db` with a capacity for records in bytes.
    pub fn new(db: u32, capacity: usize) -> Chunk {
        Chunk {
            db,
            entries: 0,
            pinned_bytes: 0,
            records: Vec::with_capacity(capacity),
            shared: Vec::new(),
        }
    }

    /// Clears the chunk for reuse; its buffer is kept.
    pub fn reset(&mut self, db: u32) {
        self.db = db;
        self.entries = 0;
        self.pinned_bytes = 0;
        self.records.clear();
        self.shared.clear();
    }

    /// Returns the database of its entries.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// Returns the number of keys whose value, or its begin, is in the chunk.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether it is full and should be passed on.
    pub fn is_full(&self) -> bool {
        self.len_bytes() >= FULL_BYTES
    }

    /// Whether it has no records.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Returns the bytes of its records and shared blocks: the amount of data to write.
    pub fn len_bytes(&self) -> usize {
        self.records.len() + self.pinned_bytes
    }

    /// Returns the memory that it keeps allocated in bytes, including unused capacity.
    pub fn memory_bytes(&self) -> usize {
        self.records.capacity() + self.pinned_bytes
    }

    /// Appends a key with the bytes of a compact value, without usage.
    #[inline]
    pub fn push(&mut self, kind: u8, key: &[u8], expiry: Option<i64>, value: ChunkValue<'_>) {
        self.push_with_access(kind, key, expiry, Access::default(), value);
    }

    /// Appends a key with the bytes of a compact value.
    #[inline]
    pub fn push_with_access(
        &mut self,
        kind: u8,
        key: &[u8],
        expiry: Option<i64>,
        access: Access,
        value: ChunkValue<'_>,
    ) {
        let (flag, inline) = self.hold(value);
        let mut header = Header::new(RECORD_VALUE | flag);
        header.byte(kind);
        header.varint(key.len() as u64);
        if flag == 0 {
            header.varint(inline.len() as u64);
        }
        header.key_fields(expiry, access);
        self.append(&header, key, inline);
        self.entries += 1;
    }

    /// Appends a key with a large value. As many calls of [`Chunk::element`] as `head` announces
    /// must follow, then [`Chunk::end`].
    pub fn begin(&mut self, key: &ChunkKey<'_>, head: Head) {
        let mut header = Header::new(RECORD_BEGIN);
        header.byte(key.kind);
        header.varint(key.bytes.len() as u64);
        header.varint(head.count);
        header.key_fields(key.expiry, key.access);
        if let Some(at) = head.earliest {
            header.bytes(FLAG_EARLIEST, &at.to_le_bytes());
        }
        self.append(&header, key.bytes, &[]);
        self.entries += 1;
    }

    /// Appends an element of the current large value.
    #[inline]
    pub fn element(&mut self, name: &[u8], value: ChunkValue<'_>, expiry: Option<i64>) {
        let (flag, inline) = self.hold(value);
        let mut header = Header::new(RECORD_ELEMENT | flag);
        header.varint(name.len() as u64);
        if flag == 0 {
            header.varint(inline.len() as u64);
        }
        if let Some(at) = expiry {
            header.bytes(FLAG_EXPIRY, &at.to_le_bytes());
        }
        self.append(&header, name, inline);
    }

    /// Appends the records of another chunk of the same database.
    pub fn extend(&mut self, other: Chunk) {
        debug_assert_eq!(self.db, other.db);
        self.entries += other.entries;
        self.pinned_bytes += other.pinned_bytes;
        self.records.extend_from_slice(&other.records);
        self.shared.extend(other.shared);
    }

    /// Ends the current large value.
    pub fn end(&mut self) {
        self.append(&Header::new(RECORD_END), &[], &[]);
    }

    /// Returns the flag for a value and the bytes for its record. A shared block is kept.
    #[inline]
    fn hold<'v>(&mut self, value: ChunkValue<'v>) -> (u8, &'v [u8]) {
        match value {
            ChunkValue::Bytes(bytes) => (0, bytes),
            ChunkValue::Shared(bytes) => {
                self.pinned_bytes += bytes.allocated_bytes();
                self.shared.push(bytes);
                (FLAG_SHARED, &[])
            }
        }
    }

    #[inline]
    fn append(&mut self, header: &Header, name: &[u8], value: &[u8]) {
        let header = header.finish();
        self.records.reserve(header.len() + name.len() + value.len());
        self.records.extend_from_slice(header);
        self.records.extend_from_slice(name);
        self.records.extend_from_slice(value);
    }

    /// Iterates over the records in order.
    pub fn iter(&self) -> ChunkIter<'_> {
        ChunkIter { records: &self.records, shared: self.shared.iter() }
    }
}

impl<'a> IntoIterator for &'a Chunk {
    type Item = Record<'a>;
    type IntoIter = ChunkIter<'a>;

    fn into_iter(self) -> ChunkIter<'a> {
        self.iter()
    }
}

/// A record's header during its construction, on the stack.
struct Header {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl Header {
    #[inline]
    fn new(flags: u8) -> Header {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = flags;
        Header { bytes, len: 1 }
    }

    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes[self.len] = value as u8 | 0x80;
            self.len += 1;
            value >>= 7;
        }
        self.bytes[self.len] = value as u8;
        self.len += 1;
    }

    /// Sets a flag and appends the bytes of its field.
    #[inline]
    fn bytes(&mut self, flag: u8, bytes: &[u8]) {
        self.bytes[0] |= flag;
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// Appends expiry and usage of a key.
    #[inline]
    fn key_fields(&mut self, expiry: Option<i64>, access: Access) {
        if let Some(at) = expiry {
            self.bytes(FLAG_EXPIRY, &at.to_le_bytes());
        }
        if access != Access::default() {
            self.access(access);
        }
    }

    fn access(&mut self, access: Access) {
        if let Some(idle) = access.idle_seconds {
            self.bytes[0] |= FLAG_IDLE;
            self.varint(idle);
        }
        if let Some(frequency) = access.frequency {
            self.bytes(FLAG_FREQUENCY, &[frequency]);
        }
    }

    #[inline]
    fn finish(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// An iterator over the records of a [`Chunk`].
///
/// All input was written by a [`Chunk`] in this process, so a slice out of range is a bug.
#[derive(Clone, Debug)]
pub struct ChunkIter<'a> {
    records: &'a [u8],
    shared: std::slice::Iter<'a, SharedBytes>,
}

impl<'a> ChunkIter<'a> {
    #[inline]
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.records.split_at(len);
        self.records = rest;
        taken
    }

    #[inline]
    fn byte(&mut self) -> u8 {
        self.take(1)[0]
    }

    #[inline]
    fn varint(&mut self) -> u64 {
        let mut value = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return value;
            }
            shift += 7;
        }
    }

    #[inline]
    fn i64(&mut self) -> i64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8));
        i64::from_le_bytes(bytes)
    }
}

impl<'a> ChunkIter<'a> {
    #[inline]
    fn value_len(&mut self, flags: u8) -> Option<usize> {
        (flags & FLAG_SHARED == 0).then(|| self.varint() as usize)
    }

    /// Reads inline bytes, or the next shared block.
    #[inline]
    fn value(&mut self, len: Option<usize>) -> &'a [u8] {
        match len {
            Some(len) => self.take(len),
            // `hold` appends one block for every record with the flag.
            None => self.shared.next().expect("a block for each shared record"),
        }
    }

    /// Reads expiry and usage of a key.
    #[inline]
    fn key_fields(&mut self, flags: u8) -> (Option<i64>, Access) {
        let expiry = (flags & FLAG_EXPIRY != 0).then(|| self.i64());
        let idle_seconds = (flags & FLAG_IDLE != 0).then(|| self.varint());
        let frequency = (flags & FLAG_FREQUENCY != 0).then(|| self.byte());
        (expiry, Access { idle_seconds, frequency })
    }

    fn begin(&mut self, flags: u8) -> Record<'a> {
        let kind = self.byte();
        let key_len = self.varint() as usize;
        let count = self.varint();
        let (expiry, access) = self.key_fields(flags);
        let earliest = (flags & FLAG_EARLIEST != 0).then(|| self.i64());
        let bytes = self.take(key_len);
        Record::Begin(ChunkKey { kind, bytes, expiry, access }, Head { count, earliest })
    }

    fn element(&mut self, flags: u8) -> Record<'a> {
        let name_len = self.varint() as usize;
        let value_len = self.value_len(flags);
        let expiry = (flags & FLAG_EXPIRY != 0).then(|| self.i64());
        let name = self.take(name_len);
        Record::Element(Element { name, value: self.value(value_len), expiry })
    }
}

impl<'a> Iterator for ChunkIter<'a> {
    type Item = Record<'a>;

    #[inline(always)]
    fn next(&mut self) -> Option<Record<'a>> {
        if self.records.is_empty() {
            return None;
        }
        let flags = self.byte();
        match flags & RECORD {
            RECORD_VALUE => {}
            RECORD_BEGIN => return Some(self.begin(flags)),
            RECORD_ELEMENT => return Some(self.element(flags)),
            _ => return Some(Record::End),
        }
        let kind = self.byte();
        let key_len = self.varint() as usize;
        let value_len = self.value_len(flags);
        let (expiry, access) = self.key_fields(flags);
        let bytes = self.take(key_len);
        Some(Record::Value(ChunkKey { kind, bytes, expiry, access }, self.value(value_len)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_send<T: Send + 'static>(_: &T) {}

    #[test]
    fn records_are_read_as_they_were_pushed() {
        let mut chunk = Chunk::new(3, 0);
        assert_send(&chunk);
        let big = SharedBytes::new(&[7; 1000]);
        let long = vec![b'k'; 300];
        let access = Access { idle_seconds: Some(u64::MAX), frequency: Some(255) };
        let key = |kind, bytes, expiry, access| ChunkKey { kind, bytes, expiry, access };
        let none = Access::default();
        let begins = [key(4, &long, Some(-1), access), key(0x14, b"z", None, none)];
        let full = Head { count: 2, earliest: Some(-5) };
        let bare = Head { count: u64::MAX, earliest: None };
        chunk.push(0, b"a", None, ChunkValue::Bytes(b"b"));
        chunk.push(1, b"", Some(i64::MIN), ChunkValue::Bytes(b"-5"));
        chunk.push(2, b"big", Some(1), ChunkValue::Shared(big.clone()));
        chunk.push_with_access(255, &long, None, access, ChunkValue::Bytes(&long));
        chunk.begin(&begins[0], full);
        chunk.element(b"name", ChunkValue::Bytes(&long), None);
        chunk.element(&long, ChunkValue::Shared(big.clone()), Some(i64::MAX));
        chunk.end();
        chunk.begin(&begins[1], bare);
        chunk.element(b"", ChunkValue::Bytes(b""), Some(0));

        let got: Vec<_> = chunk.iter().collect();
        let element = |name, value, expiry| Record::Element(Element { name, value, expiry });
        assert_eq!(
            got,
            [
                Record::Value(key(0, b"a", None, none), b"b"),
                Record::Value(key(1, b"", Some(i64::MIN), none), b"-5"),
                Record::Value(key(2, b"big", Some(1), none), &big),
                Record::Value(key(255, &long, None, access), &long),
                Record::Begin(begins[0], full),
                element(b"name", &long, None),
                element(&long, &big, Some(i64::MAX)),
                Record::End,
                Record::Begin(begins[1], bare),
                element(b"", b"", Some(0)),
            ]
        );
        assert_eq!((chunk.db(), chunk.entries()), (3, 6));
    }

    #[test]
    fn shared_blocks_are_counted_and_released() {
        let big = SharedBytes::new(&vec![0; 1 << 20]);
        let mut chunk = Chunk::new(0, 64);
        chunk.push(0, b"k", None, ChunkValue::Shared(big.clone()));
        assert!(chunk.len_bytes() >= 1 << 20);
        assert!(big.is_shared());
        chunk.reset(1);
        assert_eq!((chunk.len_bytes(), chunk.db(), chunk.is_empty()), (0, 1, true));
        assert!(!big.is_shared());
    }

    #[test]
    fn a_small_record_costs_four_bytes() {
        let mut chunk = Chunk::new(0, 64);
        chunk.push(0, b"key", None, ChunkValue::Bytes(b"value"));
        assert_eq!(chunk.len_bytes(), 4 + 3 + 5);
    }
}
