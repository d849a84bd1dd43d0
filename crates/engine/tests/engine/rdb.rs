//! RDB files: our own in all splits, those of redis-server 7.0, and damaged ones.

use std::borrow::Cow;

use proptest::prelude::*;
use russet_ds::SharedBytes;
use russet_engine::persist::rdb_load::{Fed, LoadSettings, RdbLoader, RdbSink, Refusal};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::rdb::Access;
use russet_engine::rdb::chunk::{Chunk, ChunkValue};
use russet_engine::rdb::elements::{Element, Head};
use russet_engine::rdb::error::{RdbError, RdbErrorKind};
use russet_engine::rdb::format::Checksum;
use russet_engine::rdb::{RdbSettings, SizeHint};
use russet_engine::types::RdbForm;
use russet_engine::types::string::KIND_RAW;

/// A call of the sink.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Aux(Vec<u8>, Vec<u8>),
    Select(u64),
    Resize(u64, u64),
    Entry(Vec<u8>, Vec<u8>, Option<i64>, Access),
    Value(Vec<u8>, u8, Vec<u8>, Option<i64>),
    Begin(Vec<u8>, u8, Head, Option<i64>),
    Element(Vec<u8>, Vec<u8>, Option<i64>),
    End,
    Slot(u64, u64, u64),
    Module(String),
}

#[derive(Default)]
struct Recorder(Vec<Seen>);

impl RdbSink for Recorder {
    fn aux(&mut self, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.0.push(Seen::Aux(name.to_vec(), value.to_vec()));
        Ok(())
    }

    fn select(&mut self, db: u64) -> Result<(), Refusal> {
        self.0.push(Seen::Select(db));
        if db > 15 { Err(Refusal(format!("no database {db}"))) } else { Ok(()) }
    }

    fn resize(&mut self, keys: u64, expires: u64) -> Result<(), Refusal> {
        self.0.push(Seen::Resize(keys, expires));
        Ok(())
    }

    fn value(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        bytes: Cow<'_, [u8]>,
        expiry: Option<i64>,
        access: Access,
    ) -> Result<(), Refusal> {
        self.0.push(match form.code {
            0 => Seen::Entry(key.to_vec(), bytes.into_owned(), expiry, access),
            code => Seen::Value(key.to_vec(), code, bytes.into_owned(), expiry),
        });
        Ok(())
    }

    fn begin(
        &mut self,
        key: &[u8],
        form: &'static RdbForm,
        head: Head,
        expiry: Option<i64>,
        _access: Access,
    ) -> Result<(), Refusal> {
        self.0.push(Seen::Begin(key.to_vec(), form.code, head, expiry));
        Ok(())
    }

    fn element(&mut self, element: Element<'_>) -> Result<(), Refusal> {
        let Element { name, value, expiry } = element;
        self.0.push(Seen::Element(name.to_vec(), value.to_vec(), expiry));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.0.push(Seen::End);
        Ok(())
    }

    fn slot_info(&mut self, slot: u64, keys: u64, expires: u64) -> Result<(), Refusal> {
        self.0.push(Seen::Slot(slot, keys, expires));
        Ok(())
    }

    fn module_aux(&mut self, module: &str) -> Result<(), Refusal> {
        self.0.push(Seen::Module(module.to_string()));
        Ok(())
    }
}

type Loaded = (Vec<Seen>, Result<usize, RdbError>);

/// Loads a file in pieces. Returns the calls of the sink and the number of bytes of the file.
fn load_pieces<'a>(settings: LoadSettings, pieces: impl Iterator<Item = &'a [u8]>) -> Loaded {
    let mut loader = RdbLoader::new(settings);
    let mut recorder = Recorder::default();
    let mut fed_bytes = 0;
    for piece in pieces {
        match loader.feed(piece, &mut recorder) {
            Ok(Fed::NeedMore) => fed_bytes += piece.len(),
            Ok(Fed::Done { consumed }) => {
                assert_eq!(loader.end(), Ok(()));
                assert_eq!(loader.offset(), (fed_bytes + consumed) as u64);
                return (recorder.0, Ok(fed_bytes + consumed));
            }
            Err(error) => {
                assert_eq!(loader.feed(b"", &mut recorder), Err(error.clone()), "errors stay");
                return (recorder.0, Err(error));
            }
        }
    }
    let error = loader.end().expect_err("the file is incomplete");
    (recorder.0, Err(error))
}

fn load(bytes: &[u8]) -> Loaded {
    load_pieces(LoadSettings::default(), std::iter::once(bytes))
}

fn load_error(bytes: &[u8]) -> String {
    load(bytes).1.expect_err("a bad file").to_string()
}

/// Returns a file with this header and body, and a valid checksum.
fn sealed(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut bytes = [header, body, b"\xff"].concat();
    let mut checksum = Checksum::new();
    checksum.update(&bytes);
    bytes.extend_from_slice(&checksum.value().to_le_bytes());
    bytes
}

fn rdb10(body: &[u8]) -> Vec<u8> {
    sealed(b"REDIS0010", body)
}

fn entry(key: &[u8], value: &[u8]) -> Seen {
    Seen::Entry(key.to_vec(), value.to_vec(), None, Access::default())
}

fn expiring(key: &[u8], value: &[u8], expiry: i64) -> Seen {
    Seen::Entry(key.to_vec(), value.to_vec(), Some(expiry), Access::default())
}

/// Returns a file that redis-server 7.0.15 wrote.
fn stock_file() -> Vec<u8> {
    [
        &b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0\x40"[..],
        b"\xfa\x05ctime\xc2\xbf\x1b\x03\x6b\xfa\x08used-mem\xc2\x00\xdb\x0f\x00",
        b"\xfa\x08aof-base\xc0\x00\xfe\x00\xfb\x0b\x01",
        b"\x00\x03i16\xc1\xff\x7f\x00\x04lead\x03007\x00\xc1\x39\x30\x0akey-is-int",
        b"\x00\x05empty\x00\x00\x03i32\xc2\x00\x00\x00\x80\x00\x03big\x0a2147483648",
        b"\xfc\x7b\xd8\xc3\x2c\xbb\x03\x00\x00\x00\x03ttl\x01v\x00\x04zero\xc0\x00",
        b"\x00\x05plain\x05hello\x00\x03abc\x1aabcdefghijklmnopqrstuvwxyz",
        b"\x00\x02i8\xc0\x80\xfe\x09\xfb\x01\x00\x00\x05other\x05x\x00\xff\r\n\xff",
        b"\xff\x59\x1c\xbd\xff\xd7\xd5\x69",
    ]
    .concat()
}

const STOCK_AUX: [(&str, &[u8]); 5] = [
    ("redis-ver", b"7.0.15"),
    ("redis-bits", b"64"),
    ("ctime", b"1795365823"),
    ("used-mem", b"1039104"),
    ("aof-base", b"0"),
];

type Entry = (&'static [u8], &'static [u8], Option<i64>);

const STOCK_DB0: [Entry; 11] = [
    (b"i16", b"32767", None),
    (b"lead", b"007", None),
    (b"12345", b"key-is-int", None),
    (b"empty", b"", None),
    (b"i32", b"-2147483648", None),
    (b"big", b"2147483648", None),
    (b"ttl", b"v", Some(4_102_444_800_123)),
    (b"zero", b"0", None),
    (b"plain", b"hello", None),
    (b"abc", b"abcdefghijklmnopqrstuvwxyz", None),
    (b"i8", b"-128", None),
];

const STOCK_DB9: [Entry; 1] = [(b"other", b"x\x00\xff\r\n", None)];

fn chunk_of(db: u32, entries: &[Entry]) -> Chunk {
    let mut chunk = Chunk::new(db, 0);
    for (key, value, expiry) in entries {
        chunk.push(KIND_RAW, key, *expiry, ChunkValue::Bytes(value));
    }
    chunk
}

#[test]
fn a_stock_file_loads() {
    let file = stock_file();
    let (seen, result) = load(&file);
    assert_eq!(result, Ok(file.len()));
    let seen_entry = |e: &Entry| Seen::Entry(e.0.to_vec(), e.1.to_vec(), e.2, Access::default());
    let expected: Vec<Seen> = STOCK_AUX
        .iter()
        .map(|(name, value)| Seen::Aux(name.as_bytes().to_vec(), value.to_vec()))
        .chain([Seen::Select(0), Seen::Resize(11, 1)])
        .chain(STOCK_DB0.iter().map(seen_entry))
        .chain([Seen::Select(9), Seen::Resize(1, 0)])
        .chain(STOCK_DB9.iter().map(seen_entry))
        .collect();
    assert_eq!(seen, expected);
}

#[test]
fn files_are_encoded_as_by_stock_servers() {
    let size_hints =
        vec![SizeHint { db: 0, keys: 11, expires: 1 }, SizeHint { db: 9, keys: 1, expires: 0 }];
    let mut encoder = RdbEncoder::new(RdbSettings { size_hints, ..RdbSettings::default() });
    let mut out = Vec::new();
    encoder.begin(&STOCK_AUX, &mut out);
    encoder.chunk(&chunk_of(0, &STOCK_DB0), &mut out);
    encoder.chunk(&chunk_of(9, &STOCK_DB9), &mut out);
    encoder.finish(&mut out);
    assert_eq!(out, stock_file());
}

#[test]
fn a_string_that_stock_compressed_loads() {
    let body = b"\x00\x04long\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa";
    let (seen, result) = load(&rdb10(body));
    assert!(result.is_ok());
    assert_eq!(seen, [entry(b"long", &[b'a'; 100])]);
}

#[test]
fn attributes_of_stock_files() {
    let lru = Access { idle_seconds: Some(100), frequency: None };
    let lfu = Access { idle_seconds: None, frequency: Some(1) };
    let body = b"\xfe\x00\xf8\x40\x64\x00\x01k\x01v\xf9\x01\x00\x01l\x01v\x00\x01m\x01v";
    assert_eq!(
        load(&rdb10(body)).0,
        [
            Seen::Select(0),
            Seen::Entry(b"k".to_vec(), b"v".to_vec(), None, lru),
            Seen::Entry(b"l".to_vec(), b"v".to_vec(), None, lfu),
            entry(b"m", b"v"),
        ]
    );
}

#[test]
fn expiries_in_both_units_and_none() {
    let body = b"\xfd\x02\0\0\0\x00\x01a\x01v\xfc\x03\0\0\0\0\0\0\0\x00\x01b\x01v\
        \xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01c\x01v\xfc\xfe\xff\xff\xff\xff\xff\xff\xff\
        \x00\x01d\x01v";
    assert_eq!(
        load(&rdb10(body)).0,
        [
            expiring(b"a", b"v", 2000),
            expiring(b"b", b"v", 3),
            entry(b"c", b"v"),
            expiring(b"d", b"v", -2),
        ]
    );
}

#[test]
fn lengths_may_have_longer_forms() {
    let body = b"\x00\x40\x01a\x80\0\0\0\x01b\x00\x81\0\0\0\0\0\0\0\x01c\x00";
    assert_eq!(load(&rdb10(body)).0, [entry(b"a", b"b"), entry(b"c", b"")]);
}

#[test]
fn headers_of_all_versions() {
    let body = b"\x00\x01k\x01v";
    for version in 1..=14 {
        let header = format!("REDIS{version:04}");
        let mut file = sealed(header.as_bytes(), body);
        if version < 5 {
            file.truncate(file.len() - 8);
        }
        let (seen, result) = load(&[&file[..], b"tail"].concat());
        assert_eq!((seen, result), (vec![entry(b"k", b"v")], Ok(file.len())), "{version}");
    }
    for header in [b"VALKEY080", b"VALKEY081"] {
        assert_eq!(load(&sealed(header, body)).0, [entry(b"k", b"v")]);
    }
    for (header, text) in [
        (b"REDIS0000", "can't handle Redis RDB format version 0"),
        (b"REDIS0015", "can't handle Redis RDB format version 15"),
        (b"VALKEY011", "can't handle Valkey RDB format version 11"),
        (b"VALKEY999", "can't handle Valkey RDB format version 999"),
        (b"*3\r\n$3\r\nS", r#"wrong signature "*3\r\n$3\r\nS", not an RDB file"#),
        (b"REDIS 010", r#"wrong signature "REDIS 010", not an RDB file"#),
    ] {
        assert_eq!(load_error(&sealed(header, body)), format!("RDB offset 0: {text}"));
    }
}

#[test]
fn hints_and_module_data_are_skipped() {
    let body = b"\xfe\x00\xf4\x01\x02\x03\xf7\x81\x00\x04\x20\xc4\x14\x61\xc8\x05\x02\x01\
        \x01\x05\x02\x40\xff\x03abcd\x04abcdefgh\x05\x02hi\x05\xc0\x01\x00\x00\x01k\x01v";
    let (seen, result) = load(&rdb10(body));
    assert!(result.is_ok(), "{result:?}");
    assert!(matches!(&seen[2], Seen::Module(name) if name.len() == 9));
    assert_eq!(seen[1], Seen::Slot(1, 2, 3));
    assert_eq!(seen[3], entry(b"k", b"v"));
}

#[test]
fn a_checksum_of_zero_or_a_disabled_one_is_not_verified() {
    let mut file = rdb10(b"\x00\x01k\x01v");
    let at = file.len() - 8;
    file[at] ^= 1;
    let expected = u64::from_le_bytes(file[at..].try_into().expect("eight bytes"));
    let computed = expected ^ 1;
    assert_eq!(
        load(&file).1,
        Err(RdbError {
            offset: at as u64,
            kind: RdbErrorKind::WrongChecksum { expected, computed }
        })
    );
    let unchecked = LoadSettings { checksum: false, ..LoadSettings::default() };
    assert!(load_pieces(unchecked, std::iter::once(&file[..])).1.is_ok());
    file[at..].fill(0);
    assert!(load(&file).1.is_ok());
}

#[test]
fn other_types_are_refused_by_name() {
    // Values written by redis-server 7.0.15.
    for (body, text) in [
        (
            &b"\x1a\x04a\n\"\xff\x01\x10"[..],
            "'stream' (listpacks, version 4, RDB type 26) yet, key \"a\\n\\\"\\xff\"",
        ),
        (b"\x07\x01m\x02\x01\x00", "'module' (annotated module value, RDB type 7) yet, key \"m\""),
    ] {
        let file = rdb10(&[b"\xfe\x00\x00\x01k\x01v", body].concat());
        assert_eq!(load_error(&file), format!("RDB offset 16: cannot load type {text}"));
    }
}

#[test]
fn unsupported_content_is_reported() {
    let huge = [&b"\x00\x81\x00\x00\x01\x00\x00\x00\x00\x01"[..], &[b'x'; 40]].concat();
    for (body, text) in [
        (&b"\x08\x01k\x01v"[..], "9: unknown RDB type or opcode 8"),
        (b"\x1c\x01k\x01v", "9: unknown RDB type or opcode 28"),
        (b"\xf5\x03lib", "9: cannot load function libraries yet"),
        (b"\xf6", "9: cannot load function libraries in their pre-release format (RDB opcode 246)"),
        (b"\xf3", "9: cannot load key metadata of modules (RDB opcode 243)"),
        (b"\xf2", "9: unknown RDB type or opcode 242"),
        (b"\xfe\x10", "9: no database 16"),
        (b"\xfe\xc0\x00", "10: a length was expected, found string encoding 0xc0"),
        (b"\x00\x82k", "10: unknown length encoding 0x82"),
        (b"\x00\xc4k", "10: unknown string encoding 4"),
        (&huge, "10: string of 1099511627777 bytes is longer than the limit of 1099511627776"),
        (
            b"\x00\x01k\x81\xff\xff\xff\xff\xff\xff\xff\xff",
            "12: string of 18446744073709551615 bytes is longer than the limit of 1099511627776",
        ),
        (
            b"\x00\x01k\xc3\x02\x80\0\x01\0\0ab",
            "12: LZF string of 2 bytes cannot decompress to 65536",
        ),
        (b"\x00\x01k\xc3\x00\x00", "12: LZF string of 0 bytes cannot decompress to 0"),
        (b"\x00\x01k\xc3\x02\x03\x01ab", "12: invalid LZF compressed string"),
        (b"\x00\x01k\xc3\x02\x03\x20\x05", "12: invalid LZF compressed string"),
        (b"\xf7\x01\x01\x01", "11: module data with unknown tag 1"),
        (b"\xf7\x01\x02\x01\x06", "13: module data with unknown tag 6"),
    ] {
        assert_eq!(load_error(&rdb10(body)), format!("RDB offset {text}"));
    }
    assert_eq!(
        load_error(&sealed(b"VALKEY080", b"\xf3")),
        "RDB offset 9: cannot load a slot import under way (RDB opcode 243)"
    );
    assert_eq!(
        load_error(&sealed(b"VALKEY080", b"\x17\x01k")),
        "RDB offset 9: cannot load type 'hash' (path hash, RDB type 23) yet, key \"k\""
    );
}

/// The elements of a collection are passed one by one, in any split of the file.
#[test]
fn hashes_in_every_form_and_any_split() {
    let begin =
        |code, count, earliest| Seen::Begin(b"h".to_vec(), code, Head { count, earliest }, None);
    let element =
        |name: &[u8], value: &[u8], expiry| Seen::Element(name.to_vec(), value.to_vec(), expiry);
    let packed = b"\xc3\x09\x40\x64\x01aa\xe0\x57\x00\x01aa";
    let plain = [&b"\x04\x01h\x03\x01a\x01v\xc0\x07\xc1\x00\x01\x01p"[..], packed].concat();
    let valkey =
        b"\x16\x01h\x02\x01a\x01v\x05\0\0\0\0\0\0\0\x01b\x01w\xff\xff\xff\xff\xff\xff\xff\xff";
    for (header, body, calls) in [
        (
            b"REDIS0010",
            &plain[..],
            vec![
                begin(4, 3, None),
                element(b"a", b"v", None),
                element(b"7", b"256", None),
                element(b"p", &[b'a'; 100], None),
                Seen::End,
            ],
        ),
        (b"REDIS0010", b"\x04\x01h\x00", vec![begin(4, 0, None), Seen::End]),
        (
            b"REDIS0012",
            b"\x18\x01h\x64\0\0\0\0\0\0\0\x02\x00\x01a\x01v\x03\x01b\x01w",
            vec![
                begin(24, 2, Some(100)),
                element(b"a", b"v", None),
                element(b"b", b"w", Some(102)),
                Seen::End,
            ],
        ),
        (
            b"REDIS0012",
            b"\x16\x01h\x01\x05\x01a\x01v",
            vec![begin(22, 1, None), element(b"a", b"v", Some(5)), Seen::End],
        ),
        (
            b"VALKEY080",
            valkey,
            vec![
                begin(22, 2, None),
                element(b"a", b"v", Some(5)),
                element(b"b", b"w", None),
                Seen::End,
            ],
        ),
        (
            b"REDIS0012",
            b"\x19\x01h\x05\0\0\0\0\0\0\0\x04blob\x09\x01h\x02\x00\xff",
            vec![
                Seen::Value(b"h".to_vec(), 25, b"blob".to_vec(), None),
                Seen::Value(b"h".to_vec(), 9, b"\x00\xff".to_vec(), None),
            ],
        ),
    ] {
        let file = sealed(header, &[body, b"\x00\x01k\x01v"].concat());
        let expected = [calls, vec![entry(b"k", b"v")]].concat();
        for step in 1..=file.len() {
            let (seen, result) = load_pieces(LoadSettings::default(), file.chunks(step));
            assert_eq!((seen, result), (expected.clone(), Ok(file.len())), "{step}");
        }
        for len in 9..file.len() {
            assert!(load(&file[..len]).1.is_err(), "cut at {len}");
        }
    }
}

#[test]
fn a_truncated_file_reports_the_offset() {
    let file = stock_file();
    for len in 0..file.len() {
        let (_, result) = load(&file[..len]);
        let error = result.expect_err("a cut file");
        assert_eq!(error.offset, len as u64);
        assert!(matches!(error.kind, RdbErrorKind::Truncated(_)), "{len}: {error}");
    }
    assert_eq!(
        load_error(&file[..file.len() - 1]),
        format!("RDB offset {}: unexpected end of file in the checksum", file.len() - 1)
    );
}

#[test]
fn bytes_after_the_file_are_not_consumed() {
    let file = stock_file();
    for step in [1, 2, 7, 64, 1 << 20] {
        let tailed = [&file[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        let (_, result) = load_pieces(LoadSettings::default(), tailed.chunks(step));
        assert_eq!(result, Ok(file.len()));
    }
    let mut loader = RdbLoader::new(LoadSettings::default());
    let mut recorder = Recorder::default();
    assert_eq!(loader.feed(&file, &mut recorder), Ok(Fed::Done { consumed: file.len() }));
    assert_eq!(loader.feed(&file, &mut recorder), Ok(Fed::Done { consumed: 0 }));
}

#[test]
fn each_flipped_bit_is_an_error() {
    let file = stock_file();
    for at in 0..file.len() {
        for bit in 0..8 {
            let mut bad = file.clone();
            bad[at] ^= 1 << bit;
            let (_, result) = load(&bad);
            // A file with a version before 5 has no checksum.
            assert!(result.is_err() || bad[5..9] < b"0005"[..], "byte {at} bit {bit}");
        }
    }
}

#[test]
fn each_changed_byte_with_a_valid_checksum_is_an_error_or_other_data() {
    let file = stock_file();
    let body_end = file.len() - 9;
    let mut errors = 0;
    for at in 0..body_end {
        for value in 0..=u8::MAX {
            let mut body = file[..body_end].to_vec();
            body[at] = value;
            let bad = sealed(&body, b"");
            let whole = load(&bad);
            let pieces = load_pieces(LoadSettings::default(), bad.chunks(1 + at % 5));
            assert_eq!(whole, pieces, "byte {at} = {value}");
            errors += usize::from(whole.1.is_err());
        }
    }
    assert!(errors > body_end * 50, "{errors} errors");
}

/// With a claimed length of half a gigabyte, at most twice the received bytes are buffered.
#[test]
fn a_claimed_length_allocates_nothing() {
    let head = b"REDIS0010\x00\x01k\x80\x1f\xff\xff\xff";
    let mut loader = RdbLoader::new(LoadSettings::default());
    let mut recorder = Recorder::default();
    assert_eq!(loader.feed(head, &mut recorder), Ok(Fed::NeedMore));
    let mut arrived = head.len();
    for _ in 0..1000 {
        assert_eq!(loader.feed(&[b'v'; 100], &mut recorder), Ok(Fed::NeedMore));
        arrived += 100;
        assert!(loader.buffered_bytes() <= 2 * arrived + 512, "{}", loader.buffered_bytes());
    }
    assert_eq!(recorder.0, []);
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        any::<i16>().prop_map(|value| value.to_string().into_bytes()),
        "[-+0-9]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..80),
        (prop::collection::vec(any::<u8>(), 1..8), 0..40usize).prop_map(|(p, n)| p.repeat(n)),
        (any::<u8>(), 0..20_000usize).prop_map(|(byte, n)| vec![byte; n]),
    ]
}

#[derive(Clone, Debug)]
enum Value {
    Bytes(Vec<u8>),
    Shared(Vec<u8>),
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        text().prop_map(Value::Bytes),
        any::<i64>().prop_map(|int| Value::Bytes(int.to_string().into_bytes())),
        (-70_000..70_000i64).prop_map(|int| Value::Bytes(int.to_string().into_bytes())),
        text().prop_map(Value::Shared),
    ]
}

type Row = (u32, Vec<u8>, Value, Option<i64>, Option<u32>, Option<u8>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let expiry = prop::option::of(any::<i64>().prop_filter("-1 reads as none", |at| *at != -1));
    let row = (
        0..3u32,
        text(),
        value(),
        expiry,
        prop::option::of(any::<u32>()),
        prop::option::of(any::<u8>()),
    );
    prop::collection::vec(row, 0..20)
}

/// Returns chunks for rows (a new one whenever the database changes), and the expected calls.
fn chunks_of(rows: &[Row]) -> (Vec<Chunk>, Vec<Seen>) {
    let (mut chunks, mut expected) = (Vec::<Chunk>::new(), Vec::new());
    for (db, key, value, expiry, idle, frequency) in rows {
        if chunks.last().is_none_or(|last| last.db() != *db) {
            chunks.push(Chunk::new(*db, 16));
            expected.push(Seen::Select(u64::from(*db)));
        }
        let (pushed, bytes) = match value {
            Value::Bytes(bytes) => (ChunkValue::Bytes(bytes), bytes.clone()),
            Value::Shared(bytes) => (ChunkValue::Shared(SharedBytes::new(bytes)), bytes.clone()),
        };
        let access = Access { idle_seconds: idle.map(u64::from), frequency: *frequency };
        let last = chunks.last_mut().expect("pushed above");
        last.push_with_access(KIND_RAW, key, *expiry, access, pushed);
        expected.push(Seen::Entry(key.clone(), bytes, *expiry, access));
    }
    (chunks, expected)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn saved_data_is_loaded(
        rows in rows(),
        compression: bool,
        checksum: bool,
        steps in prop::collection::vec(1..300usize, 1..10),
    ) {
        let (chunks, expected) = chunks_of(&rows);
        let mut encoder =
            RdbEncoder::new(RdbSettings { compression, checksum, ..RdbSettings::default() });
        let mut file = Vec::new();
        encoder.begin(&[], &mut file);
        for chunk in &chunks {
            // The encoder appends to any content of the buffer.
            let mut out = b"before".to_vec();
            encoder.chunk(chunk, &mut out);
            file.extend_from_slice(&out[6..]);
        }
        encoder.finish(&mut file);

        let mut rest = &file[..];
        let pieces = steps.iter().cycle().map_while(|step| {
            let (piece, after) = rest.split_at((*step).min(rest.len()));
            rest = after;
            (!piece.is_empty()).then_some(piece)
        });
        let pieces: Vec<&[u8]> = pieces.collect();
        let (seen, result) = load_pieces(LoadSettings::default(), pieces.into_iter());
        prop_assert_eq!(result, Ok(file.len()));
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!(load(&file), (expected, Ok(file.len())));
    }

    #[test]
    fn any_split_of_any_bytes_gives_the_same_result(
        mut body in prop::collection::vec(any::<u8>(), 0..200),
        step in 1..20usize,
    ) {
        // Opcodes are rare among random bytes, so some are added.
        for byte in body.iter_mut().step_by(7) {
            *byte = [0, 250, 251, 252, 254, 247, 244, 249][usize::from(*byte % 8)];
        }
        let file = rdb10(&body);
        let whole = load(&file);
        prop_assert_eq!(load_pieces(LoadSettings::default(), file.chunks(step)), whole);
    }
}
