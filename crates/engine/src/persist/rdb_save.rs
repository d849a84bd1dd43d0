//! RDB encoder: encodes chunks as the bytes of a file.
//!
//! Call `begin` once, `chunk` for each chunk, `finish` once. Each appends to the caller's buffer,
//! which the caller may write and clear between calls. It runs on the writer's thread.
//!
//! Keys and their attributes are encoded here, values by the rows of their types.
//!
//! Not here: files, the `$EOF:` framing of diskless replication, the choice of what to save.

use crate::rdb::chunk::{Chunk, ChunkKey, Record};
use crate::rdb::elements::Head;
use crate::rdb::format::{self, Checksum, opcode};
use crate::rdb::strings::StringWriter;
use crate::rdb::{Access, RdbSettings};
use crate::types::{Write, encoding_of};

/// Encodes one file.
pub struct RdbEncoder {
    settings: RdbSettings,
    checksum: Checksum,
    selected: Option<u32>,
    strings: StringWriter,
    /// The current large value: how its elements are encoded, and its head.
    large: Option<(Write, Head)>,
}

impl RdbEncoder {
    /// Creates an encoder for one file.
    pub fn new(settings: RdbSettings) -> RdbEncoder {
        assert!((7..=12).contains(&settings.version), "RDB version {}", settings.version);
        let strings = StringWriter::new(settings.compression);
        RdbEncoder { settings, checksum: Checksum::new(), selected: None, strings, large: None }
    }

    /// Appends magic, version and auxiliary fields.
    pub fn begin(&mut self, aux: &[(&str, &[u8])], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(format!("REDIS{:04}", self.settings.version).as_bytes());
        for (name, value) in aux {
            out.push(opcode::AUX);
            self.strings.put(name.as_bytes(), out);
            self.strings.put(value, out);
        }
        self.seal(start, out);
    }

    /// Appends a chunk's records.
    pub fn chunk(&mut self, chunk: &Chunk, out: &mut Vec<u8>) {
        if chunk.is_empty() {
            return;
        }
        let start = out.len();
        // Record headers are about as long as their encoded form, opcodes included.
        out.reserve(chunk.len_bytes());
        if self.selected != Some(chunk.db()) {
            assert!(self.large.is_none(), "a large value must not span databases");
            self.select(chunk.db(), out);
        }
        for record in chunk {
            self.record(&record, out);
        }
        self.seal(start, out);
    }

    /// Appends the end of the file.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        assert!(self.large.is_none(), "the last value must be complete");
        let start = out.len();
        out.push(opcode::EOF);
        self.seal(start, out);
        let checksum = if self.settings.checksum { self.checksum.value() } else { 0 };
        out.extend_from_slice(&checksum.to_le_bytes());
    }

    /// Adds the bytes appended since `start` to the checksum.
    fn seal(&mut self, start: usize, out: &[u8]) {
        if self.settings.checksum {
            self.checksum.update(&out[start..]);
        }
    }

    fn select(&mut self, db: u32, out: &mut Vec<u8>) {
        self.selected = Some(db);
        out.push(opcode::SELECTDB);
        format::put_len(u64::from(db), out);
        let hints = &mut self.settings.size_hints;
        if let Some(at) = hints.iter().position(|hint| hint.db == db) {
            let hint = hints.swap_remove(at);
            out.push(opcode::RESIZEDB);
            format::put_len(hint.keys, out);
            format::put_len(hint.expires, out);
        }
    }

    #[inline(always)]
    fn record(&mut self, record: &Record<'_>, out: &mut Vec<u8>) {
        match record {
            Record::Value(key, bytes) => {
                let Write::Bytes(write) = self.key(key, out) else {
                    unreachable!("the kind of a value of bytes has an encoding of bytes")
                };
                write(bytes, &mut self.strings, out);
            }
            Record::Begin(key, head) => {
                let write = self.key(key, out);
                let Write::Elements { head: write_head, .. } = write else {
                    unreachable!("the kind of a large value has an encoding of elements")
                };
                write_head(head, out);
                assert!(self.large.is_none(), "the previous value must be complete");
                self.large = Some((write, *head));
            }
            Record::Element(one) => {
                let Some((Write::Elements { element, .. }, head)) = &self.large else {
                    unreachable!("elements follow the beginning of their value")
                };
                element(head, one, &mut self.strings, out);
            }
            Record::End => self.large = None,
        }
    }

    /// Appends a key with its attributes and type. Returns how its value is encoded.
    #[inline(always)]
    fn key(&mut self, key: &ChunkKey<'_>, out: &mut Vec<u8>) -> Write {
        if let Some(at) = key.expiry {
            out.push(opcode::EXPIRETIME_MS);
            // Readers interpret -1 as "no expiry"; -2 is equally in the past.
            let at = if at == -1 { -2 } else { at };
            out.extend_from_slice(&at.to_le_bytes());
        }
        if key.access != Access::default() {
            put_access(key.access, out);
        }
        let encoding = encoding_of(key.kind);
        debug_assert!(encoding.version <= self.settings.version, "{}", encoding.name);
        out.push(encoding.code);
        self.strings.put(key.bytes, out);
        encoding.write
    }
}

fn put_access(access: Access, out: &mut Vec<u8>) {
    if let Some(idle) = access.idle_seconds {
        out.push(opcode::IDLE);
        format::put_len(idle, out);
    }
    if let Some(frequency) = access.frequency {
        out.extend_from_slice(&[opcode::FREQ, frequency]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rdb::SizeHint;
    use crate::rdb::chunk::ChunkValue;
    use crate::types::string::KIND_RAW;

    fn encode(settings: RdbSettings, chunks: &[Chunk]) -> Vec<u8> {
        let mut encoder = RdbEncoder::new(settings);
        let mut out = Vec::new();
        encoder.begin(&[], &mut out);
        for chunk in chunks {
            encoder.chunk(chunk, &mut out);
        }
        encoder.finish(&mut out);
        out
    }

    fn one(key: &[u8], value: ChunkValue<'_>) -> Chunk {
        let mut chunk = Chunk::new(0, 0);
        chunk.push(KIND_RAW, key, None, value);
        chunk
    }

    /// Returns the bytes between the header with SELECTDB 0 and the EOF opcode.
    fn body(settings: RdbSettings, chunk: Chunk) -> Vec<u8> {
        let bytes = encode(settings, &[chunk]);
        let body = bytes.strip_prefix(b"REDIS0010\xfe\x00").expect("header");
        body[..body.len() - 9].to_vec()
    }

    #[test]
    fn empty_file() {
        let plain = RdbSettings { checksum: false, ..RdbSettings::default() };
        assert_eq!(encode(plain, &[]), b"REDIS0010\xff\0\0\0\0\0\0\0\0");
    }

    #[test]
    fn strings_have_the_encodings_of_redis() {
        for (value, expected) in [
            ("", &b"\x00"[..]),
            ("a", b"\x01a"),
            ("0", b"\xc0\x00"),
            ("-128", b"\xc0\x80"),
            ("127", b"\xc0\x7f"),
            ("128", b"\xc1\x80\x00"),
            ("-32768", b"\xc1\x00\x80"),
            ("32768", b"\xc2\x00\x80\x00\x00"),
            ("-2147483648", b"\xc2\x00\x00\x00\x80"),
            ("2147483648", b"\x0a2147483648"),
            ("007", b"\x03007"),
            ("12345678901234567890", b"\x1412345678901234567890"),
        ] {
            let got = body(RdbSettings::default(), one(b"k", ChunkValue::Bytes(value.as_bytes())));
            assert_eq!(got, [b"\x00\x01k", expected].concat(), "{value:?}");
        }
    }

    #[test]
    fn strings_are_compressed_only_if_that_saves_space() {
        let off = RdbSettings { compression: false, ..RdbSettings::default() };
        let value = [b'a'; 100];
        let plain = body(off, one(b"k", ChunkValue::Bytes(&value)));
        assert_eq!(plain, [b"\x00\x01k\x40\x64", &value[..]].concat());
        let packed = body(RdbSettings::default(), one(b"k", ChunkValue::Bytes(&value)));
        assert!(packed.starts_with(b"\x00\x01k\xc3") && packed.len() < 20);
        let short = body(RdbSettings::default(), one(b"k", ChunkValue::Bytes(&value[..20])));
        assert_eq!(short, [b"\x00\x01k\x14", &value[..20]].concat());
        let random = b"qwertyuiopasdfghjklzxcvbnm";
        let dense = body(RdbSettings::default(), one(b"k", ChunkValue::Bytes(random)));
        assert_eq!(dense, [b"\x00\x01k\x1a", &random[..]].concat());
    }

    #[test]
    fn attributes_precede_the_type() {
        let mut chunk = Chunk::new(0, 0);
        let access = Access { idle_seconds: Some(100), frequency: Some(7) };
        chunk.push_with_access(KIND_RAW, b"k", Some(1), access, ChunkValue::Bytes(b"v"));
        assert_eq!(
            body(RdbSettings::default(), chunk),
            b"\xfc\x01\0\0\0\0\0\0\0\xf8\x40\x64\xf9\x07\x00\x01k\x01v"
        );
    }

    #[test]
    fn an_expiry_of_minus_one_is_kept() {
        let mut chunk = Chunk::new(0, 0);
        chunk.push(KIND_RAW, b"k", Some(-1), ChunkValue::Bytes(b"v"));
        let got = body(RdbSettings::default(), chunk);
        assert_eq!(got, b"\xfc\xfe\xff\xff\xff\xff\xff\xff\xff\x00\x01k\x01v");
    }

    #[test]
    fn databases_are_selected_on_change_and_sized_once() {
        let hint = SizeHint { db: 0, keys: 70, expires: 1 };
        let settings =
            RdbSettings { checksum: false, size_hints: vec![hint], ..RdbSettings::default() };
        let chunk = |db| {
            let mut chunk = Chunk::new(db, 0);
            chunk.push(KIND_RAW, b"k", None, ChunkValue::Bytes(b"v"));
            chunk
        };
        let got = encode(settings, &[chunk(0), chunk(0), chunk(9), Chunk::new(3, 0), chunk(0)]);
        let entry = b"\x00\x01k\x01v";
        let parts: [&[u8]; 10] = [
            b"REDIS0010",
            b"\xfe\x00\xfb\x40\x46\x01",
            entry,
            entry,
            b"\xfe\x09",
            entry,
            b"\xfe\x00",
            entry,
            b"\xff",
            &[0; 8],
        ];
        assert_eq!(got, parts.concat());
    }

    #[test]
    fn aux_fields_are_encoded_as_by_stock_servers() {
        let aux: [(&str, &[u8]); 4] = [
            ("redis-ver", b"7.2.4"),
            ("ctime", b"1700000000"),
            ("repl-stream-db", b"-1"),
            ("repl-id", b"abc"),
        ];
        let mut out = Vec::new();
        RdbEncoder::new(RdbSettings::default()).begin(&aux, &mut out);
        let parts: [&[u8]; 5] = [
            b"REDIS0010",
            b"\xfa\x09redis-ver\x057.2.4",
            b"\xfa\x05ctime\xc2\x00\xf1\x53\x65",
            b"\xfa\x0erepl-stream-db\xc0\xff",
            b"\xfa\x07repl-id\x03abc",
        ];
        assert_eq!(out, parts.concat());
    }
}
