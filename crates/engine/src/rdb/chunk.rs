//! Chunks: raw copies of entries on their way out of the keyspace.
//!
//! A snapshot walker runs on the engine's thread in slices of some 50 microseconds. What it costs
//! there is what clients feel, so it does the least that lets go of the keyspace: it copies small
//! entries byte for byte into one growing buffer and takes a reference count on big strings. All
//! that costs time (integer detection, compression, checksums) happens later, from the chunk, on
//! the writer's thread.
//!
//! A chunk belongs to one database and holds records one after the other:
//!
//! ```text
//!  0      1       2                                                    
//! +------+-------+---------+- - - - - -+- - - - -+- - - - -+- - - - -+=====+- - - - - -+
//! | kind | flags | key len | value len | expiry  |  idle   |  freq   | key |   value   |
//! +------+-------+---------+- - - - - -+- - - - -+- - - - -+- - - - -+=====+- - - - - -+
//!   u8     u8      varint     varint     i64 LE    varint      u8
//!                             (inline)   (flag 1)  (flag 2)  (flag 4)
//!
//! flags  1  expiry follows (ms since the Unix epoch)
//!        2  idle seconds follow
//!        4  use counter follows
//!        8  the value is the next block of the side list (no length, no bytes);
//!           without this flag value length and value bytes are inline
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

const FLAG_EXPIRY: u8 = 1;
const FLAG_IDLE: u8 = 2;
const FLAG_FREQUENCY: u8 = 4;
const FLAG_SHARED: u8 = 8;

/// Longest header: kind, flags, two lengths, expiry, idle, counter.
const HEADER_BYTES_MAX: usize = 2 + 10 + 10 + 8 + 10 + 1;

/// What sort of value a record holds. Each later collection adds a row and its own raw form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A string.
    String = 0,
}

impl Kind {
    fn from_byte(byte: u8) -> Kind {
        match byte {
            0 => Kind::String,
            // Only `Chunk::push` writes this byte, and it writes a `Kind`.
            other => unreachable!("chunk record of kind {other}"),
        }
    }
}

/// A value as the walker finds it.
#[derive(Clone, Debug)]
pub enum ChunkValue<'a> {
    /// Bytes to copy: a small string, or the raw form of a collection.
    Bytes(&'a [u8]),
    /// A big string: only its reference count is touched.
    Shared(SharedBytes),
}

/// One record of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkEntry<'a> {
    /// What the value is.
    pub kind: Kind,
    /// The key's bytes.
    pub key: &'a [u8],
    /// When it expires, milliseconds since the Unix epoch.
    pub expiry: Option<i64>,
    /// Use information, if the walker was asked to copy it.
    pub access: Access,
    /// The value: inline or shared bytes.
    pub value: &'a [u8],
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

    /// Number of records.
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether nothing has been pushed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Bytes of its records and of the big strings it holds on to: how much there is to write.
    pub fn len_bytes(&self) -> usize {
        self.records.len() + self.pinned_bytes
    }

    /// Memory that it keeps alive, with the room that its records have.
    pub fn memory_bytes(&self) -> usize {
        self.records.capacity() + self.pinned_bytes
    }

    /// Appends a record without use information.
    #[inline]
    pub fn push(&mut self, kind: Kind, key: &[u8], expiry: Option<i64>, value: ChunkValue<'_>) {
        self.push_with_access(kind, key, expiry, Access::default(), value);
    }

    /// Appends a record.
    #[inline]
    pub fn push_with_access(
        &mut self,
        kind: Kind,
        key: &[u8],
        expiry: Option<i64>,
        access: Access,
        value: ChunkValue<'_>,
    ) {
        let (value_flag, inline): (u8, &[u8]) = match value {
            ChunkValue::Bytes(bytes) => (0, bytes),
            ChunkValue::Shared(bytes) => {
                self.pinned_bytes += bytes.allocated_bytes();
                self.shared.push(bytes);
                (FLAG_SHARED, &[])
            }
        };
        let mut header = Header::new(kind, value_flag);
        header.varint(key.len() as u64);
        if value_flag == 0 {
            header.varint(inline.len() as u64);
        }
        if let Some(at) = expiry {
            header.bytes(FLAG_EXPIRY, &at.to_le_bytes());
        }
        if access != Access::default() {
            header.access(access);
        }
        let header = header.finish();
        self.records.reserve(header.len() + key.len() + inline.len());
        self.records.extend_from_slice(header);
        self.records.extend_from_slice(key);
        self.records.extend_from_slice(inline);
        self.entries += 1;
    }

    /// The records in the order in which they were pushed.
    pub fn iter(&self) -> ChunkIter<'_> {
        ChunkIter { records: &self.records, shared: self.shared.iter() }
    }
}

impl<'a> IntoIterator for &'a Chunk {
    type Item = ChunkEntry<'a>;
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
    fn new(kind: Kind, flags: u8) -> Header {
        let mut bytes = [0; HEADER_BYTES_MAX];
        bytes[0] = kind as u8;
        bytes[1] = flags;
        Header { bytes, len: 2 }
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
        self.bytes[1] |= flag;
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn access(&mut self, access: Access) {
        if let Some(idle) = access.idle_seconds {
            self.bytes[1] |= FLAG_IDLE;
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

impl<'a> Iterator for ChunkIter<'a> {
    type Item = ChunkEntry<'a>;

    #[inline]
    fn next(&mut self) -> Option<ChunkEntry<'a>> {
        if self.records.is_empty() {
            return None;
        }
        let kind = Kind::from_byte(self.byte());
        let flags = self.byte();
        let key_len = self.varint() as usize;
        let is_shared = flags & FLAG_SHARED != 0;
        let inline_len = if is_shared { 0 } else { self.varint() as usize };
        let expiry = (flags & FLAG_EXPIRY != 0).then(|| self.i64());
        let idle_seconds = (flags & FLAG_IDLE != 0).then(|| self.varint());
        let frequency = (flags & FLAG_FREQUENCY != 0).then(|| self.byte());
        let key = self.take(key_len);
        let value = match is_shared {
            // `push` appends one block for every record with this flag.
            true => self.shared.next().expect("a block for each shared record"),
            false => self.take(inline_len),
        };
        Some(ChunkEntry { kind, key, expiry, access: Access { idle_seconds, frequency }, value })
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
        chunk.push(Kind::String, b"a", None, ChunkValue::Bytes(b"b"));
        chunk.push(Kind::String, b"", Some(i64::MIN), ChunkValue::Bytes(b"-5"));
        chunk.push(Kind::String, b"big", Some(1), ChunkValue::Shared(big.clone()));
        chunk.push_with_access(Kind::String, &long, None, access, ChunkValue::Bytes(&long));
        chunk.push(Kind::String, b"z", None, ChunkValue::Bytes(b""));

        let got: Vec<_> = chunk.iter().collect();
        let entry = |key, expiry, access, value| ChunkEntry {
            kind: Kind::String,
            key,
            expiry,
            access,
            value,
        };
        let none = Access::default();
        assert_eq!(
            got,
            [
                entry(b"a" as &[u8], None, none, b"b"),
                entry(b"", Some(i64::MIN), none, b"-5"),
                entry(b"big", Some(1), none, &big),
                entry(&long, None, access, &long),
                entry(b"z", None, none, b""),
            ]
        );
        assert_eq!((chunk.db(), chunk.entries()), (3, 5));
    }

    #[test]
    fn pinned_bytes_count_and_are_let_go() {
        let big = SharedBytes::new(&vec![0; 1 << 20]);
        let mut chunk = Chunk::new(0, 64);
        chunk.push(Kind::String, b"k", None, ChunkValue::Shared(big.clone()));
        assert!(chunk.len_bytes() >= 1 << 20);
        assert!(big.is_shared());
        chunk.reset(1);
        assert_eq!((chunk.len_bytes(), chunk.db(), chunk.is_empty()), (0, 1, true));
        assert!(!big.is_shared());
    }

    #[test]
    fn a_small_record_costs_four_bytes() {
        let mut chunk = Chunk::new(0, 64);
        chunk.push(Kind::String, b"key", None, ChunkValue::Bytes(b"value"));
        assert_eq!(chunk.len_bytes(), 4 + 3 + 5);
    }
}
