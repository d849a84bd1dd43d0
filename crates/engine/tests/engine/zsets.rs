//! Sorted sets against a model from std: in each encoding, through dumps, copies, snapshots and changes in place.

use std::collections::BTreeMap;

use proptest::prelude::*;
use russet_driver::Driver;
use russet_ds::hash::Seed;
use russet_engine::config::Config;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{RestoreSettings, dump, restore};
use russet_engine::types::zset::{End, Scored, Zset, ZsetMut, ZsetRef};
use russet_engine::types::{BuildContext, Editable, Value, encoding_of};

type Model = BTreeMap<Vec<u8>, f64>;

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, f64),
    Remove(Vec<u8>),
    RemoveRanks(usize, usize),
    Pop(End, usize),
    /// Many members, some with the same score.
    Grow(u32, u32),
}

/// Few different members, some of which are long, and some of which are leaves of their own.
fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => (0..60_u8).prop_map(|n| n.to_string().into_bytes()),
        5 => (0..4_usize).prop_map(|n| vec![b'e'; n]),
        5 => (40..500_usize).prop_map(|n| vec![b'm'; n]),
        3 => (510..520_usize).prop_map(|n| vec![b'l'; n]),
        1 => (1000..5000_usize).prop_map(|n| vec![b'x'; n]),
    ]
}

fn score() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-3..4_i32).prop_map(f64::from),
        (-30..30_i32).prop_map(|n| f64::from(n) / 8.0),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(1e300),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        20 => (member(), score()).prop_map(|(member, score)| Op::Set(member, score)),
        4 => member().prop_map(Op::Remove),
        2 => (any::<usize>(), 0..90_usize).prop_map(|(rank, count)| Op::RemoveRanks(rank, count)),
        1 => (0..5_usize).prop_map(|count| Op::Pop(End::Min, count)),
        1 => (0..5_usize).prop_map(|count| Op::Pop(End::Max, count)),
        1 => (0..500_u32, 1..30_u32).prop_map(|(count, scores)| Op::Grow(count, scores)),
    ];
    prop::collection::vec(op, 0..60)
}

/// The members in order.
fn sorted(model: &Model) -> Vec<(Vec<u8>, f64)> {
    let mut sorted: Vec<(Vec<u8>, f64)> = model.iter().map(|(m, s)| (m.clone(), *s)).collect();
    sorted.sort_by(|a, b| a.1.partial_cmp(&b.1).expect("a number").then_with(|| a.0.cmp(&b.0)));
    sorted
}

fn apply(op: &Op, zset: &mut ZsetMut<'_>, model: &mut Model) {
    match op {
        Op::Set(member, score) => {
            assert_eq!(zset.set(member, *score), model.insert(member.clone(), *score));
        }
        Op::Remove(member) => assert_eq!(zset.remove(member), model.remove(member).is_some()),
        Op::RemoveRanks(rank, count) if !model.is_empty() => {
            let rank = rank % model.len();
            zset.remove_ranks(rank, *count);
            for (member, _) in sorted(model).iter().skip(rank).take(*count) {
                model.remove(member);
            }
        }
        Op::RemoveRanks(..) => {}
        Op::Pop(end, count) => {
            let mut order = sorted(model);
            if *end == End::Max {
                order.reverse();
            }
            order.truncate(*count);
            order.iter().for_each(|(member, _)| _ = model.remove(member));
            let popped = zset.pop(*end, *count).into_iter();
            assert_eq!(popped.map(|(m, score)| (m.to_vec(), score)).collect::<Vec<_>>(), order);
        }
        Op::Grow(count, scores) => {
            for number in 0..*count {
                let (member, score) =
                    (format!("g{number}").into_bytes(), f64::from(number % scores));
                zset.set(&member, score);
                model.insert(member, score);
            }
        }
    }
    assert_eq!(zset.len(), model.len());
}

/// Checks every way to look at a sorted set, and returns its members in order.
fn content(zset: ZsetRef<'_>) -> Vec<(Vec<u8>, f64)> {
    let mut members = Vec::new();
    zset.each_from(0, true, &mut |member, score| {
        members.push((member.to_text().into_owned(), score));
        true
    });
    assert_eq!(members.len(), zset.len());
    let mut any_order = Vec::new();
    zset.each(&mut |member, score| any_order.push((member.to_text().into_owned(), score)));
    let by_index = (0..zset.len()).map(|index| zset.get(index).expect("it is there"));
    let by_index: Vec<_> = by_index.map(|(m, score)| (m.to_text().into_owned(), score)).collect();
    assert_eq!(any_order, by_index);
    assert_eq!(sorted(&any_order.into_iter().collect()), members);
    for (rank, (member, score)) in members.iter().enumerate().step_by(7) {
        assert_eq!(zset.score(member), Some(*score));
        assert_eq!(zset.rank(member), Some((rank, *score)));
        let below = members.iter().filter(|(_, other)| other < score).count();
        let to = members.iter().filter(|(_, other)| other <= score).count();
        assert_eq!((zset.count_below(*score, false), zset.count_below(*score, true)), (below, to));
        let mut backwards = Vec::new();
        zset.each_from(rank, false, &mut |member, score| {
            backwards.insert(0, (member.to_text().into_owned(), score));
            backwards.len() < 5
        });
        assert_eq!(backwards, members[(rank + 1).saturating_sub(5)..=rank]);
    }
    assert_eq!(zset.score(b"missing"), None);
    assert!(zset.get(zset.len()).is_none());
    members
}

/// All members of a large one, by scans of this many.
fn scanned(zset: &Zset, count: usize) -> Vec<(Vec<u8>, f64)> {
    let (mut found, mut cursor, mut calls) = (Model::new(), 0, 0);
    loop {
        cursor = zset.scan(cursor, count, &mut |member: Scored<'_>| {
            assert_eq!(found.insert(member.text.to_vec(), member.score), None, "once");
        });
        calls += 1;
        if cursor == 0 {
            // Those with the same hash come together.
            assert!(calls >= zset.len() / count / 4, "few at a time");
            return sorted(&found);
        }
    }
}

/// Returns the members of a key in order, with the name of its encoding.
fn under(keyspace: &Keyspace, key: &[u8]) -> (Vec<(Vec<u8>, f64)>, &'static str) {
    let entry = keyspace.db(0).get(keyspace.hasher().key(key)).expect("it is there");
    let zset = ZsetRef::of(&entry).expect("a sorted set");
    let members = content(zset);
    if let ZsetRef::Large(large) = zset {
        assert_eq!(scanned(large, 1), members);
        assert_eq!(scanned(large, 10), members);
    }
    (members, encoding_of(entry.kind()).name)
}

fn put(keyspace: &mut Keyspace, key: &[u8], value: Value<'_>) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_like_a_sorted_map(first in ops(), then in ops(), entries in 0..3_u64) {
        let config = Config { zset_max_listpack_entries: entries * 64, ..Config::default() };
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let (mut zset, mut model) = (Zset::empty(&context), Model::new());
        for op in &first {
            apply(op, &mut zset, &mut model);
        }
        prop_assert_eq!(content(zset.view()), sorted(&model));
        let Some(value) = Zset::into_value(zset) else {
            prop_assert!(model.is_empty());
            return Ok(());
        };
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        put(&mut keyspace, b"key", value);
        let key = keyspace.hasher().key(b"key");
        let entry = keyspace.db(0).get(key).expect("it is there");
        let (copy, payload) = (Value::copy_of(&entry), dump(&entry, true));
        let settings = RestoreSettings { string_bytes_max: 512 << 20, checksum: true };
        let other = BuildContext { config: &config, seed: Seed::new(4) };
        let restored = restore(&payload, settings, &other).expect("what was dumped");
        put(&mut keyspace, b"copy", copy);
        put(&mut keyspace, b"restored", restored);
        let original = sorted(&model);
        prop_assert_eq!(&under(&keyspace, b"key").0, &original);
        prop_assert_eq!(under(&keyspace, b"copy"), under(&keyspace, b"key"));
        prop_assert_eq!(&under(&keyspace, b"restored").0, &original);

        // Changes in place, if it is large, do not change the copy.
        keyspace.edit(0, key).change_object(|object, walkers| {
            let mut zset = Zset::of_object(object, walkers, &context).expect("a sorted set");
            for op in &then {
                apply(op, &mut zset, &mut model);
            }
            assert_eq!(content(zset.view()), sorted(&model));
        });
        prop_assert_eq!(&under(&keyspace, b"copy").0, &original);
    }

    #[test]
    fn one_that_is_put_together_is_the_same(model in prop::collection::btree_map(member(), score(), 0..400)) {
        let config = Config::default();
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let mut scored: Vec<(u32, Scored<'_>)> = model
            .iter()
            .map(|(text, score)| (Zset::hash(context.seed, text), Scored { text, score: *score }))
            .collect();
        scored.sort_by_key(|(hash, _)| *hash);
        let mut zset = Zset::empty(&context);
        zset.fill(&scored);
        prop_assert_eq!(content(zset.view()), sorted(&model));
    }
}

/// Members whose hashes are the same as far as they are kept are still different members.
#[test]
fn members_with_the_same_hash_are_told_apart() {
    let seed = Seed::new(3);
    let mut by_hash: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for number in 0..400_000_u32 {
        let hash = Zset::hash(seed, number.to_string().as_bytes());
        by_hash.entry(hash).or_default().push(number);
    }
    let same: Vec<Vec<u32>> = by_hash.into_values().filter(|numbers| numbers.len() > 1).collect();
    assert!(same.len() > 5, "of so many some are the same");
    let mut zset = Zset::new(seed);
    for number in same.iter().flatten() {
        assert_eq!(zset.set(Scored { text: number.to_string().as_bytes(), score: 1.0 }), None);
    }
    assert_eq!(scanned(&zset, 1).len(), same.iter().flatten().count());
    for numbers in &same {
        let first = numbers[0].to_string();
        assert!(zset.remove(first.as_bytes()) && !zset.remove(first.as_bytes()));
        for number in &numbers[1..] {
            assert_eq!(zset.score(number.to_string().as_bytes()), Some(1.0));
        }
        // Its place is free again.
        assert_eq!(zset.set(Scored { text: first.as_bytes(), score: 2.0 }), None);
    }
    let total = same.iter().flatten().count();
    assert_eq!(zset.count_before(&mut |score, _| score < 2.0), total - same.len());
}

/// A payload from outside: the type, then the value.
fn restore_value(value: &[u8]) -> String {
    let mut payload = [value, &[10, 0]].concat();
    let mut checksum = russet_engine::rdb::format::Checksum::new();
    checksum.update(&payload);
    payload.extend_from_slice(&checksum.value().to_le_bytes());
    let mut w = Driver::new("");
    let c = w.connect();
    let arguments: [&[u8]; 4] = [b"RESTORE", b"z", b"0", &payload];
    let mut request = format!("*{}\r\n", arguments.len()).into_bytes();
    for argument in arguments {
        request.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
        request.extend_from_slice(argument);
        request.extend_from_slice(b"\r\n");
    }
    w.send(c, &request);
    let reply = w.take(c);
    if reply == "+OK\r\n" { w.request(c, "ZRANGE z 0 -1 WITHSCORES") } else { reply }
}

/// A listpack of elements that are given as they are stored, without their lengths.
fn pack(elements: &[&[u8]]) -> Vec<u8> {
    let body: Vec<u8> = elements.iter().flat_map(|e| [*e, &[e.len() as u8]].concat()).collect();
    let total = (body.len() + 7) as u32;
    let count = elements.len() as u16;
    let bytes = [&total.to_le_bytes()[..], &count.to_le_bytes(), &body, &[0xff]].concat();
    [&[17, bytes.len() as u8], &bytes[..]].concat()
}

#[test]
fn payloads_of_all_forms_are_read() {
    let expected = "*4\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n$3\r\n2.5\r\n";
    let binary =
        [&[5, 2, 1, b'b'], &2.5_f64.to_le_bytes()[..], &[1, b'a'], &1_f64.to_le_bytes()].concat();
    let ziplist = b"\x0c\x18\x18\0\0\0\x12\0\0\0\x04\0\0\x01a\x03\xf2\x02\x01b\x03\x032.5\xff";
    for value in [
        pack(&[b"\x81a", b"\x01", b"\x81b", b"\x832.5"]),
        binary,
        b"\x03\x02\x01b\x032.5\x01a\x011".to_vec(),
        ziplist.to_vec(),
    ] {
        assert_eq!(restore_value(&value), expected, "{value:?}");
    }
    assert_eq!(
        restore_value(b"\x03\x02\x01a\xfe\x01b\xff"),
        "*4\r\n$1\r\nb\r\n$4\r\n-inf\r\n$1\r\na\r\n$3\r\ninf\r\n"
    );
}

#[test]
fn damaged_payloads_are_refused() {
    let nan = [&[5, 1, 1, b'a'], &f64::NAN.to_le_bytes()[..]].concat();
    let twice =
        [&[5, 2, 1, b'a'], &1_f64.to_le_bytes()[..], &[1, b'a'], &2_f64.to_le_bytes()].concat();
    for (value, what) in [
        (nan, "NaN"),
        (twice, "a member twice"),
        (b"\x05\x00".to_vec(), "no members"),
        (b"\x03\x01\x01a\xfd".to_vec(), "NaN as text"),
        (b"\x03\x01\x01a\x01x".to_vec(), "no number"),
        (b"\x03\x01\x01a\x00".to_vec(), "no text"),
        (pack(&[]), "no members"),
        (pack(&[b"\x81a"]), "no score"),
        (pack(&[b"\x81a", b"\x01", b"\x81b"]), "an odd count"),
        (pack(&[b"\x81a", b"\x81x"]), "no number"),
        (pack(&[b"\x81a", b"\x83nan"]), "NaN"),
        (pack(&[b"\x81a", b"\x02", b"\x81b", b"\x01"]), "out of order"),
        (pack(&[b"\x81b", b"\x01", b"\x81a", b"\x01"]), "texts out of order"),
        (pack(&[b"\x81a", b"\x01", b"\x81a", b"\x02"]), "a member twice"),
        (pack(&[b"\x07", b"\x01", b"\x817", b"\x02"]), "a member twice, as number and as text"),
    ] {
        assert!(restore_value(&value).starts_with("-ERR Bad data format"), "{what}");
    }
}

/// A claimed number of members takes no memory.
#[test]
fn a_claim_of_members_is_only_a_claim() {
    let claim =
        [&b"\x05\x81"[..], &u64::MAX.to_be_bytes(), &[1, b'a'], &1_f64.to_le_bytes()].concat();
    assert!(restore_value(&claim).starts_with("-ERR Bad data format"));
}

/// The digits are those of redis-server 7.0.15 after the same commands.
#[test]
fn digests_are_those_of_stock_servers() {
    let mut w = Driver::new("enable-debug-command yes\n");
    let c = w.connect();
    w.request(c, "ZADD z 1 a -2.5 b inf c 0 d");
    let small = w.request(c, "DEBUG DIGEST-VALUE z");
    for number in 0..300 {
        w.request(c, &format!("ZADD large {}.5 member:{number}", number % 40));
    }
    let large = w.request(c, "DEBUG DIGEST-VALUE large");
    assert_eq!(small, "*1\r\n+34f1e7fcf33c736e72171b0f24b8b37bb84b9812\r\n");
    assert_eq!(large, "*1\r\n+d1b07621358173e5b6eb97ecc49ebc6b2d993c22\r\n");
}

/// A sorted set of a million short members takes no more than six tenths of what stock servers need, some 110 bytes each.
#[test]
fn members_take_little_memory() {
    let (mut zset, mut state) = (Zset::new(Seed::new(3)), 1_u64);
    let members = 100_000;
    for number in 0..members {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let text = format!("user:{number:05}");
        zset.set(Scored { text: text.as_bytes(), score: (state >> 33) as f64 });
    }
    let bytes = russet_engine::types::Collection::owned_bytes(&zset) / members;
    assert!(bytes <= 55, "{bytes} bytes for each member");
}
