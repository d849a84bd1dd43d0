//! Streams against models from std, damaged payloads, and what files make of them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use russet_driver::mirror::Mirror;
use russet_driver::{Driver, Files};
use russet_ds::hash::Seed;
use russet_ds::listpack::{self, Element};
use russet_engine::config::Config;
use russet_engine::io::Handle;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{DumpError, RestoreSettings, dump, restore};
use russet_engine::rdb::format::put_len;
use russet_engine::types::stream::{Direction, EntryLog, Keep, Stream, StreamId, Trim};
use russet_engine::types::{BuildContext, Editable, Value};

type Fields = Vec<Vec<u8>>;
type Model = BTreeMap<StreamId, Fields>;

#[derive(Clone, Debug)]
enum Op {
    Add(u64, Fields),
    Delete(usize),
    Trim(Keep, bool, u64),
}

fn id(ms: u64, seq: u64) -> StreamId {
    StreamId { ms, seq }
}

/// Names and values in turn: mostly with the same names.
fn fields() -> impl Strategy<Value = Fields> {
    let text = || {
        prop_oneof![
            6 => (-200..200_i64).prop_map(|n| n.to_string().into_bytes()),
            2 => (0..70_usize).prop_map(|n| vec![b'x'; n]),
            1 => (0..5000_usize).prop_map(|n| vec![b'l'; n]),
        ]
    };
    prop_oneof![
        5 => (text(), text()).prop_map(|(a, b)| vec![b"a".to_vec(), a, b"b".to_vec(), b]),
        1 => (text(), text()).prop_map(|(name, value)| vec![name, value]),
        1 => (text(), text()).prop_map(|(a, b)| vec![b"a".to_vec(), a, b"c".to_vec(), b]),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let keep = prop_oneof![
        (0..60_u64).prop_map(Keep::Last),
        (0..90_u64, 0..4_u64).prop_map(|(ms, seq)| Keep::From(id(ms, seq))),
    ];
    let op = prop_oneof![
        12 => (0..3_u64, fields()).prop_map(|(later, fields)| Op::Add(later, fields)),
        4 => any::<usize>().prop_map(Op::Delete),
        1 => (keep, any::<bool>(), 0..9_u64).prop_map(|(keep, near, limit)| Op::Trim(keep, near, limit)),
    ];
    prop::collection::vec(op, 0..120)
}

fn apply(op: &Op, stream: &mut <Stream as Editable>::Mut<'_>, model: &mut Model) {
    let limits = stream.limits;
    stream.create();
    let log = &mut stream.log;
    match op {
        Op::Add(later, fields) => {
            let last = log.last_id;
            let next = if *later == 0 { last.next() } else { Some(id(last.ms + later, 0)) };
            let next = next.expect("small numbers");
            let slices: Vec<&[u8]> = fields.iter().map(Vec::as_slice).collect();
            assert!(log.add(next, &slices, limits));
            model.insert(next, fields.clone());
            assert_eq!(log.last_id, next);
        }
        Op::Delete(which) => {
            let len = model.len();
            let chosen = model.keys().nth(which % (len + 1)).copied();
            let chosen = chosen.unwrap_or_else(|| id(*which as u64 % 50, 77));
            assert_eq!(log.delete(chosen), model.remove(&chosen).is_some());
        }
        Op::Trim(keep, is_approximate, limit) => {
            let before = model.len();
            // Only approximate trimming has a limit.
            let limit = if *is_approximate { *limit } else { 0 };
            let trim = Trim { keep: *keep, is_approximate: *is_approximate, limit };
            let removed = log.trim(&trim) as usize;
            let wanted = match keep {
                Keep::Last(count) => before.saturating_sub(*count as usize),
                Keep::From(first) => model.range(..first).count(),
            };
            assert!(removed == wanted || (*is_approximate && removed < wanted));
            assert!(limit == 0 || removed as u64 <= limit);
            for _ in 0..removed {
                model.pop_first();
            }
        }
    }
    check(log, model);
}

fn check(log: &EntryLog, model: &Model) {
    assert_eq!(log.len() as usize, model.len());
    assert_eq!(log.first_id, model.first_key_value().map_or(StreamId::MIN, |(id, _)| *id));
    assert_eq!(log.last_entry_id(), model.last_key_value().map(|(id, _)| *id));
}

fn between(log: &EntryLog, start: StreamId, end: StreamId, direction: Direction) -> Vec<StreamId> {
    let mut ids = Vec::new();
    log.each_between(start, end, direction, &mut |entry| {
        ids.push(entry.id);
        true
    });
    ids
}

fn content(log: &EntryLog) -> Model {
    let mut model = Model::new();
    log.each(&mut |entry| {
        let fields = entry
            .fields()
            .flat_map(|(name, value)| [name.to_text().into_owned(), value.to_text().into_owned()]);
        model.insert(entry.id, fields.collect());
    });
    let ids: Vec<StreamId> = model.keys().copied().collect();
    for (at, start) in ids.iter().enumerate().step_by(7) {
        let end = ids.get(at + 5).copied().unwrap_or(StreamId::MAX);
        let expected: Vec<StreamId> = model.range(start..=&end).map(|(id, _)| *id).collect();
        assert_eq!(between(log, *start, end, Direction::Forwards), expected);
        let reversed: Vec<StreamId> = expected.into_iter().rev().collect();
        assert_eq!(between(log, *start, end, Direction::Backwards), reversed);
        assert_eq!(log.get(*start).map(|entry| entry.id), Some(*start));
    }
    model
}

fn under(keyspace: &Keyspace, key: &[u8]) -> (Model, StreamId, StreamId, u64) {
    let entry = keyspace.db(0).get(keyspace.hasher().key(key)).expect("it is there");
    let log = &Stream::of(&entry).expect("a stream").log;
    (content(log), log.last_id, log.max_deleted_id, log.entries_added)
}

fn put(keyspace: &mut Keyspace, key: &[u8], value: Value<'_>) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn behaves_like_an_ordered_map(
        first in ops(),
        then in ops(),
        entries in prop_oneof![Just(0), Just(1), Just(4), Just(100)],
        bytes in prop_oneof![Just(0), Just(200), Just(4096)],
    ) {
        let config = Config {
            stream_node_max_entries: entries,
            stream_node_max_bytes: bytes,
            ..Config::default()
        };
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let (mut stream, mut model) = (Stream::empty(&context), Model::new());
        stream.create();
        for op in &first {
            apply(op, &mut stream, &mut model);
        }
        prop_assert_eq!(&content(&stream.log), &model);
        let value = Stream::into_value(stream).expect("it exists, even without entries");
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        put(&mut keyspace, b"key", value);
        let key = keyspace.hasher().key(b"key");
        let entry = keyspace.db(0).get(key).expect("it is there");
        let (copy, payload) = (Value::copy_of(&entry), dump(&entry, true));
        let settings = RestoreSettings { string_bytes_max: 512 << 20, checksum: true };
        let restored = restore(&payload, settings, &context).expect("what was dumped");
        put(&mut keyspace, b"copy", copy);
        put(&mut keyspace, b"restored", restored);
        let before = under(&keyspace, b"key");
        prop_assert_eq!(&before.0, &model);
        prop_assert_eq!(&under(&keyspace, b"copy"), &before);
        prop_assert_eq!(&under(&keyspace, b"restored"), &before);

        // Changes in place do not change the copy, but what was restored behaves like what was dumped.
        for name in [b"key".as_slice(), b"restored"] {
            let mut model = model.clone();
            let key = keyspace.hasher().key(name);
            keyspace.edit(0, key).change_object(|object, walkers| {
                let stream = Stream::of_object(object, walkers, &context);
                let mut stream = stream.expect("a stream");
                for op in &then {
                    apply(op, &mut stream, &mut model);
                }
                assert_eq!(content(&stream.log), model);
            });
        }
        prop_assert_eq!(under(&keyspace, b"key"), under(&keyspace, b"restored"));
        prop_assert_eq!(&under(&keyspace, b"copy"), &before);
    }
}

// Payloads.

/// Texts of a node's listpack.
const NODE: &[&str] = &[
    "2", "1", "1", "f", "0", "2", "0", "0", "a", "4", "3", "0", "1", "b", "4", "0", "1", "-1", "1",
    "g", "c", "6",
];

fn pack(texts: &[&str]) -> Vec<u8> {
    let mut pack = listpack::EMPTY.to_vec();
    texts.iter().for_each(|text| listpack::append(&mut pack, Element::of(text.as_bytes())));
    pack
}

/// A value in a file, in parts that tests change.
#[derive(Clone, Debug, Default)]
struct Parts(Vec<u8>);

impl Parts {
    fn numbers(mut self, numbers: &[u64]) -> Parts {
        numbers.iter().for_each(|number| put_len(*number, &mut self.0));
        self
    }

    fn string(mut self, text: &[u8]) -> Parts {
        put_len(text.len() as u64, &mut self.0);
        self.raw(text)
    }

    fn raw(mut self, bytes: &[u8]) -> Parts {
        self.0.extend_from_slice(bytes);
        self
    }

    fn node(self, at: StreamId, pack: &[u8]) -> Parts {
        self.string(&at.to_bytes()).string(pack)
    }

    fn pending(self, at: StreamId) -> Parts {
        self.raw(&at.to_bytes()).raw(&[7; 8]).numbers(&[1])
    }

    fn owned(self, name: &str, ids: &[StreamId]) -> Parts {
        let parts = self.string(name.as_bytes()).raw(&[9; 8]).numbers(&[ids.len() as u64]);
        ids.iter().fold(parts, |parts, id| parts.raw(&id.to_bytes()))
    }

    fn restored(&self, form: u8) -> Result<(), DumpError> {
        // Version 10, and no checksum, which is not verified.
        let payload = [&[form][..], &self.0, &[10, 0], &[0; 8]].concat();
        let settings = RestoreSettings { string_bytes_max: 1 << 20, checksum: false };
        let config = Config::default();
        let context = BuildContext { config: &config, seed: Seed::new(1) };
        restore(&payload, settings, &context).map(|_| ())
    }
}

/// A stream of the node, without groups.
fn with_node(texts: &[&str]) -> Parts {
    let parts = Parts::default().numbers(&[1]).node(id(1, 1), &pack(texts));
    parts.numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 0])
}

#[test]
fn nodes_of_payloads_are_checked() {
    assert_eq!(with_node(NODE).restored(19), Ok(()));
    let refused = |at: usize, text: &'static str, what: &str| {
        let mut texts = NODE.to_vec();
        texts[at] = text;
        assert!(with_node(&texts).restored(19).is_err(), "{what}");
    };
    refused(0, "3", "more entries than there are");
    refused(0, "-2", "a negative number of entries");
    refused(0, "x", "a number that is none");
    refused(1, "0", "a deleted entry that is not counted");
    refused(2, "9223372036854775807", "more names than there are");
    refused(2, "-1", "a negative number of names");
    refused(2, "0", "no names");
    refused(4, "1", "no end of the names");
    refused(5, "4", "an unknown flag");
    refused(5, "0", "an entry with names of its own that has none");
    refused(6, "-1", "an ID before that of the node");
    refused(9, "5", "a wrong length");
    refused(12, "0", "an ID twice");
    refused(16, "0", "IDs that are not in order");
    refused(18, "-1", "a negative number of fields");
    refused(18, "4611686018427387904", "a number of fields that overflows");
    refused(18, "0", "an entry without fields");
    for len in 0..NODE.len() {
        assert!(with_node(&NODE[..len]).restored(19).is_err(), "cut behind {len}");
    }
    let more = [NODE, &["2"]].concat();
    assert!(with_node(&more).restored(19).is_err(), "half an entry at the end");
    let bytes = pack(NODE);
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let parts = Parts::default().numbers(&[1]).node(id(1, 1), &damaged);
            // Whatever it is, it neither panics nor is more than the bytes say.
            _ = parts.numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 0]).restored(19);
        }
    }
}

/// A stream with two groups: `g`, in which 1-1 and 1-2 are pending, and `h`.
fn with_groups() -> Parts {
    let mut parts = Parts::default().numbers(&[1]).node(id(1, 1), &pack(NODE));
    parts = parts.numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 2]);
    parts = parts.string(b"g").numbers(&[1, 2, 2, 2]).pending(id(1, 1)).pending(id(1, 2));
    parts = parts.numbers(&[2]).owned("c", &[id(1, 2)]).owned("d", &[id(1, 1)]);
    parts.string(b"h").numbers(&[0, 0, u64::MAX, 0, 0])
}

#[test]
fn groups_of_payloads_are_checked() {
    assert_eq!(with_groups().restored(19), Ok(()));
    let start = || {
        let parts = Parts::default().numbers(&[1]).node(id(1, 1), &pack(NODE));
        parts.numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 1]).string(b"g").numbers(&[1, 2, 2])
    };
    let two = || start().numbers(&[2]).pending(id(1, 1)).pending(id(1, 2));
    let good = two().numbers(&[1]).owned("c", &[id(1, 1), id(1, 2)]);
    assert_eq!(good.restored(19), Ok(()));
    for (parts, what) in [
        (two().numbers(&[0]), "pending entries of nobody"),
        (two().numbers(&[1]).owned("c", &[id(1, 1)]), "a pending entry of nobody"),
        (
            two().numbers(&[2]).owned("c", &[id(1, 1), id(1, 2)]).owned("d", &[id(1, 1)]),
            "a pending entry of two consumers",
        ),
        (
            two().numbers(&[1]).owned("c", &[id(1, 1), id(1, 2), id(1, 1)]),
            "a pending entry that a consumer has twice",
        ),
        (
            two().numbers(&[1]).owned("c", &[id(1, 1), id(1, 2), id(5, 5)]),
            "a pending entry that the group does not have",
        ),
        (
            two().numbers(&[2]).owned("c", &[id(1, 1)]).owned("c", &[id(1, 2)]),
            "two consumers of the same name",
        ),
        (
            start().numbers(&[2]).pending(id(1, 1)).pending(id(1, 1)).numbers(&[1]),
            "a pending entry twice",
        ),
        (start().numbers(&[u64::MAX]), "more pending entries than there are"),
        (start().numbers(&[0, u64::MAX]), "more consumers than there are"),
        (good.clone().raw(b"x"), "more bytes"),
    ] {
        assert!(parts.restored(19).is_err(), "{what}");
    }
    let whole = with_groups().0;
    for len in 0..whole.len() {
        assert!(Parts(whole[..len].to_vec()).restored(19).is_err(), "cut at {len}");
    }
    let same = Parts::default().numbers(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let same = same.string(b"g").numbers(&[0, 0, 0, 0, 0]).string(b"g").numbers(&[0, 0, 0, 0, 0]);
    assert!(same.restored(19).is_err(), "two groups of the same name");
}

#[test]
fn numbers_of_payloads_are_checked() {
    let parts = |nodes: &[(StreamId, &[&str])], numbers: &[u64]| {
        let start = Parts::default().numbers(&[nodes.len() as u64]);
        let nodes = nodes.iter().fold(start, |parts, (id, texts)| parts.node(*id, &pack(texts)));
        nodes.numbers(numbers)
    };
    let one = &[(id(1, 1), NODE)];
    for (numbers, what) in [
        ([3, 9, 9, 1, 1, 0, 0, 3, 0], "more entries than there are"),
        ([2, 1, 1, 1, 1, 0, 0, 3, 0], "a last ID before the last entry"),
        ([2, 9, 9, 1, 1, 0, 0, 3, u64::MAX], "more groups than there are"),
    ] {
        assert!(parts(one, &numbers).restored(19).is_err(), "{what}");
    }
    // What the first ID is said to be does not matter.
    assert_eq!(parts(one, &[2, 9, 9, 7, 7, 0, 0, 3, 0]).restored(19), Ok(()));
    let numbers = [4, 9, 9, 1, 1, 0, 0, 6, 0];
    assert_eq!(parts(&[(id(1, 1), NODE), (id(3, 0), NODE)], &numbers).restored(19), Ok(()));
    assert!(parts(&[(id(3, 1), NODE), (id(1, 1), NODE)], &numbers).restored(19).is_err());
    assert!(parts(&[(id(1, 1), NODE), (id(1, 1), NODE)], &numbers).restored(19).is_err());
    let short = Parts::default().numbers(&[1]).string(b"short").string(&pack(NODE));
    assert!(short.numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 0]).restored(19).is_err(), "no ID of a node");
}

/// Stock servers leave nodes in which all entries are deleted.
#[test]
fn a_node_whose_entries_are_deleted_is_left_out() {
    let texts = ["0", "1", "1", "f", "0", "3", "0", "0", "a", "4"];
    let parts = Parts::default().numbers(&[1]).node(id(1, 1), &pack(&texts));
    assert_eq!(parts.numbers(&[0, 1, 1, 0, 0, 1, 1, 1, 0]).restored(19), Ok(()));
}

/// Files of Redis 5 and 6 know less, those of 7.2 more.
#[test]
fn other_forms_are_read() {
    let node = || Parts::default().numbers(&[1]).node(id(1, 1), &pack(NODE));
    let old = node().numbers(&[2, 9, 9, 1]).string(b"g").numbers(&[1, 1, 1]).pending(id(1, 1));
    let old = old.numbers(&[1]).owned("c", &[id(1, 1)]);
    assert_eq!(old.restored(15), Ok(()));
    let new = node().numbers(&[2, 9, 9, 1, 1, 0, 0, 3, 1]).string(b"g").numbers(&[1, 1, 1, 0, 1]);
    let new = new.string(b"c").raw(&[9; 8]).raw(&[8; 8]).numbers(&[0]);
    assert_eq!(new.restored(21), Ok(()));
    assert!(new.restored(19).is_err());
    assert!(old.restored(19).is_err());
}

// Together with other parts of a node.

fn info(w: &mut Driver, c: Handle, key: &str) -> String {
    w.request(c, &format!("XINFO STREAM {key} FULL COUNT 0"))
}

fn fill(w: &mut Driver, c: Handle) {
    for line in [
        "XADD s 1-1 a 1 b 2",
        "XADD s 1-2 a 3 b x",
        "XADD s 2-0 c 5",
        "XADD s 3-0 c 5 d 6 e 7",
        "XADD s 3-5 a 3 b y",
        "XDEL s 2-0",
        "XGROUP CREATE s g 0",
        "XGROUP CREATE s empty $",
        "XGROUP CREATECONSUMER s g idle",
        "XREADGROUP GROUP g c1 COUNT 2 STREAMS s >",
        "XREADGROUP GROUP g c2 COUNT 1 STREAMS s >",
        "XGROUP CREATE fresh g $ MKSTREAM",
    ] {
        let reply = w.request(c, line);
        assert!(!reply.starts_with('-'), "{line}: {reply}");
    }
}

/// The digits are those of redis-server 7.0.15 after the same commands.
#[test]
fn digests_are_those_of_stock_servers() {
    let mut w = Driver::new("enable-debug-command yes\nsave \"\"\n");
    let c = w.connect();
    fill(&mut w, c);
    assert_eq!(
        w.request(c, "DEBUG DIGEST-VALUE s fresh"),
        "*2\r\n+a129a54b5971d0de587604ac3f057e8b12fd57b9\r\n+06bd01623de1d087bbd377851096317b1af476a2\r\n"
    );
    let (before, digest) = (info(&mut w, c, "s"), w.request(c, "DEBUG DIGEST"));
    assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG DIGEST"), digest);
    // Form 19 has no times of activity: a consumer that was never active counts as active when it was seen.
    let after = info(&mut w, c, "s");
    assert_eq!(before.lines().count(), after.lines().count());
    let differ = before.lines().zip(after.lines()).filter(|(a, b)| a != b);
    assert!(differ.clone().all(|(a, _)| a == ":-1"), "{:?}", differ.collect::<Vec<_>>());
}

/// A payload of redis-server 7.0.15 after the same commands, without its checksum.
const STOCK: &[u8] = b"\x13\x01\x10\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01@ee\0\0\0*\0\x04\x01\x01\x01\x02\x01\x81a\
    \x02\x81b\x02\0\x01\x02\x01\0\x01\0\x01\x01\x01\x02\x01\x05\x01\x02\x01\0\x01\x01\x01\x03\x01\x81x\x02\x05\x01\
    \x01\x01\x01\x01\xdf\xff\x02\x01\x01\x81c\x02\x05\x01\x06\x01\0\x01\x02\x01\xdf\xff\x02\x03\x01\x81c\x02\x05\x01\
    \x81d\x02\x06\x01\x81e\x02\x07\x01\n\x01\x02\x01\x02\x01\x04\x01\x03\x01\x81y\x02\x05\x01\xff\x04\x03\x05\x01\
    \x01\x02\0\x05\x02\x05empty\x03\x05\x81\xff\xff\xff\xff\xff\xff\xff\xff\0\0\x01g\x03\0\x81\xff\xff\xff\xff\xff\
    \xff\xff\xff\x03\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\x07\xf0\x87\"\xa2\x01\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\
    \0\0\x02\x07\xf0\x87\"\xa2\x01\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\x07\xf0\x87\"\xa2\x01\0\0\x01\x03\x02c1\
    \x07\xf0\x87\"\xa2\x01\0\0\x02\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02\x02c2\x07\
    \xf0\x87\"\xa2\x01\0\0\x01\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\0\x04idle\x07\xf0\x87\"\xa2\x01\0\0\0\n\0";

#[test]
fn the_bytes_are_those_of_stock_servers() {
    let config = Config::default();
    let context = BuildContext { config: &config, seed: Seed::new(1) };
    let settings = RestoreSettings { string_bytes_max: 1 << 20, checksum: false };
    let payload = [STOCK, &[0; 8]].concat();
    let value = restore(&payload, settings, &context).expect("a payload of a stock server");
    let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
    put(&mut keyspace, b"key", value);
    let entry = keyspace.db(0).get(keyspace.hasher().key(b"key")).expect("it is there");
    let ours = dump(&entry, false);
    assert_eq!(ours[..ours.len() - 8].escape_ascii().to_string(), STOCK.escape_ascii().to_string());
}

#[test]
fn a_base_of_commands_has_streams_and_groups() {
    let conf = "save \"\"\nappendonly yes\nappendfsync always\naof-use-rdb-preamble no\nenable-debug-command yes\n";
    let mut w = Driver::new(conf);
    let c = w.connect();
    fill(&mut w, c);
    for entry in 0..400 {
        w.request(c, &format!("XADD many 5-{} n {entry}", entry + 1));
    }
    w.request(c, "XGROUP CREATE many g 0");
    w.request(c, "XREADGROUP GROUP g c COUNT 200 STREAMS many >");
    w.request(c, "XGROUP CREATE s unread 0 ENTRIESREAD 3");
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(100);
    let base = w.files.keys().filter(|path| path.ends_with("2.base.aof")).count();
    assert_eq!(base, 1, "{:?}", w.files.keys());
    let mut again = Driver::with_files(conf, Files::from_iter(w.files.clone()));
    let d = again.connect();
    let digest = w.request(c, "DEBUG DIGEST");
    assert_eq!(again.request(d, "DEBUG DIGEST"), digest);
    for key in ["s", "many", "fresh"] {
        let times = |text: String| {
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            // When consumers were seen and active is not in commands.
            for at in 1..lines.len() {
                if ["seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes"]
                    .contains(&lines[at - 1].as_str())
                {
                    lines[at] = String::new();
                }
            }
            lines
        };
        assert_eq!(times(info(&mut again, d, key)), times(info(&mut w, c, key)), "{key}");
    }
}

/// What is propagated of reading and claiming gives a replica the same groups.
#[test]
fn effects_give_replicas_the_same_groups() {
    let mut w = Driver::new("save \"\"\nstream-node-max-entries 4\n");
    let c = w.connect();
    let mut mirror = Mirror::of(&mut w);
    let mut state = 7_u64;
    let mut draw = |end: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) % end
    };
    w.request(c, "XGROUP CREATE s g 0 MKSTREAM");
    w.request(c, "XGROUP CREATE s h 0");
    for step in 0..3_000 {
        let (group, consumer) = (["g", "h"][draw(2) as usize], draw(5));
        let id = format!("{}-{}", draw(30) + step / 60, draw(3));
        let line = match draw(16) {
            0..5 => format!("XADD s {}-* f {step}", step / 60 + 20),
            5 => format!("XADD s MAXLEN ~ 20 {}-* f {step}", step / 60 + 20),
            6 => format!("XDEL s {id}"),
            7 => format!("XACK s {group} {id}"),
            8 => format!("XCLAIM s {group} {consumer} {} {id}", draw(3) * 10),
            9 => format!("XCLAIM s {group} {consumer} 0 {id} FORCE JUSTID LASTID {id}"),
            10 => format!("XAUTOCLAIM s {group} {consumer} {} 0 COUNT 3", draw(3) * 10),
            11 => format!("XREADGROUP GROUP {group} {consumer} COUNT 3 STREAMS s 0"),
            12 if draw(20) == 0 => format!("XGROUP DELCONSUMER s {group} {consumer}"),
            12 if draw(20) == 0 => format!("XGROUP SETID s {group} {id}"),
            13 => format!("XREADGROUP GROUP {group} {consumer} NOACK COUNT 1 STREAMS s >"),
            _ => format!("XREADGROUP GROUP {group} {consumer} COUNT 2 STREAMS s >"),
        };
        w.request(c, &line);
        w.advance_ms(draw(20));
        if step % 50 == 0 {
            assert_eq!(mirror.difference(&w), None);
        }
    }
    assert_eq!(mirror.difference(&w), None);
}
