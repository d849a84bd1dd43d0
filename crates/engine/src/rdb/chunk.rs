//! Chunks: raw copies of entries on their way out of the keyspace.
//!
//! A snapshot walker runs on the engine's thread in slices of some 50 microseconds. What it costs
//! there is what clients feel, so it does the least that lets go of the keyspace: it copies small
//! entries byte for byte into one growing buffer and takes a reference count on big strings. All
//! that costs time (integer detection, compression, checksums) happens later, from the chunk, on
//! the writer's thread.
//!
//! A chunk belongs to one database and holds records one after the other: a key with a value that is
//! bytes; or the begin of a large collection, its elements, its end. What lies between begin and
//! end may go on in chunks behind this one, with no other record between them.
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
//!        8  the value is the next block of the side list (no length, no bytes);
//!           without this flag value length and value bytes are inline
//!       16  the earliest expiry of an element follows
//!      c0  which record it is: 0 value, 40 begin, 80 element, c0 end
//! varint    LEB128: seven bits a byte, lowest first, top bit set on all but the last
//! ```
//!
//! The layout never leaves the process, so it has no version and may change at will. It holds no
//! pointer into the keyspace, only bytes and counted blocks, so a chunk is `Send`.
//!
//! Absent: RDB or AOF encoding, choice of what to walk, caps on memory (`len_bytes` is what a cap
//! is compared with).

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

/// A chunk of this length is handed on, bytes.
pub const FULL_BYTES: usize = 64 * 1024;

/// Longest header: flags, kind, two lengths, expiry, idle, counter, earliest.
const HEADER_BYTES_MAX: usize = 2 + 10 + 10 + 8 + 10 + 1 + 8;

/// Bytes as the walker finds them.
#[derive(Clone, Debug)]
pub enum ChunkValue<'a> {
    /// Few of them, to be copied.
    Bytes(&'a [u8]),
    /// A block of many: only its reference count is touched.
    Shared(SharedBytes),
}

/// What a chunk says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkKey<'a> {
    /// Type and encoding of the value.
    pub kind: u8,
    /// The key's bytes.
    pub bytes: &'a [u8],
    /// When it expires, milliseconds since the Unix epoch.
    pub expiry: Option<i64>,
    /// Use information, if the walker was asked to copy it.
    pub access: Access,
}

/// One record of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// A key with the bytes of a compact value.
    Value(ChunkKey<'a>, &'a [u8]),
    /// A key whose value is large; its elements come next.
    Begin(ChunkKey<'a>, Head),
    /// An element.
    Element(Element<'a>),
    /// All elements were given.
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
    /// An empty chunk of database `db` with room for `capacity` bytes of records.
    pub fn new(db: u32, capacity: usize) -> Chunk {
        Chunk {
            db,
            entries: 0,
            pinned_bytes: 0,
            records: Vec::with_capacity(capacity),
            shared: Vec::new(),
        }
    }

    /// Empties the chunk for another use and keeps its buffer.
    pub fn reset(&mut self, db: u32) {
        self.db = db;
        self.entries = 0;
        self.pinned_bytes = 0;
        self.records.clear();
        self.shared.clear();
    }

    /// The database whose entries these are.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// Number of keys of which it holds the value, or the begin of it.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether it is so long that it should be handed on.
    pub fn is_full(&self) -> bool {
        self.len_bytes() >= FULL_BYTES
    }

    /// Whether nothing has been pushed.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of its records and of the big strings it holds on to: how much there is to write.
    pub fn len_bytes(&self) -> usize {
        self.records.len() + self.pinned_bytes
    }

    /// Memory that it keeps alive, with the room that its records have.
    pub fn memory_bytes(&self) -> usize {
        self.records.capacity() + self.pinned_bytes
    }

    /// Appends a key with the bytes of a compact value, without use information.
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

    /// Appends a key whose value is large. [`Chunk::element`] follows as often as `head` says, then [`Chunk::end`].
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

    /// Appends an element of the value that has begun.
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

    /// Ends the value that has begun.
    pub fn end(&mut self) {
        self.append(&Header::new(RECORD_END), &[], &[]);
    }

    /// The flag for a value, and the bytes that go into its record.
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

    /// The records in the order in which they were pushed.
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

/// A record's header while it is put together, on the stack.
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

    #[inline]
    fn bytes(&mut self, flag: u8, bytes: &[u8]) {
        self.bytes[0] |= flag;
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    /// What a key has beside kind and name.
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

/// Iterator over the records of a [`Chunk`].
///
/// It reads only what [`Chunk::push`] wrote in this process, so a slice out of range here is a
/// bug, never bad input.
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

    /// Inline bytes, or the next shared ones.
    #[inline]
    fn value(&mut self, len: Option<usize>) -> &'a [u8] {
        match len {
            Some(len) => self.take(len),
            // `hold` appends one block for every record with the flag.
            None => self.shared.next().expect("a block for each shared record"),
        }
    }

    /// What a key has beside kind and name.
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
    fn records_come_back_as_pushed() {
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
    fn pinned_bytes_count_and_are_let_go() {
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
