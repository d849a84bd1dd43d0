//! Sets against a model from std: in each encoding, through dumps, copies and changes in place.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use russet_driver::Driver;
use russet_ds::hash::Seed;
use russet_ds::listpack::Element as Member;
use russet_engine::config::Config;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{RestoreSettings, dump, restore};
use russet_engine::rng::Rng;
use russet_engine::types::set::{Set, SetMut, SetRef};
use russet_engine::types::{BuildContext, Editable, Value, encoding_of};

type Model = BTreeSet<Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Pop(usize),
}

/// Mostly integers, some of them in two forms.
fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        8 => (0..20_u8).prop_map(|n| n.to_string().into_bytes()),
        2 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        1 => (0..8_u8).prop_map(|n| format!("0{n}").into_bytes()),
        1 => (0..4_usize).prop_map(|n| vec![b'm'; n]),
        1 => (60..70_usize).prop_map(|n| vec![b'l'; n]),
    ]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => member().prop_map(Op::Add),
        4 => member().prop_map(Op::Remove),
        1 => (0..5_usize).prop_map(Op::Pop),
    ];
    prop::collection::vec(op, 0..60)
}

fn apply(op: &Op, set: &mut SetMut<'_>, model: &mut Model, rng: &mut Rng) {
    match op {
        Op::Add(member) => {
            assert_eq!(set.add(Member::Text(member)), model.insert(member.clone()));
        }
        Op::Remove(member) => assert_eq!(set.remove(Member::of(member)), model.remove(member)),
        Op::Pop(count) => {
            let popped = set.pop(*count, rng);
            assert_eq!(popped.len(), model.len().min(*count));
            assert!(popped.iter().all(|member| model.remove(&**member)), "each once");
        }
    }
    assert_eq!(content(set.view()), *model);
}

fn content(set: SetRef<'_>) -> Model {
    let mut model = Model::new();
    set.each(&mut |member| {
        assert!(set.contains(member));
        assert!(model.insert(member.to_text().into_owned()), "a member stands once");
    });
    assert_eq!(set.len(), model.len());
    let (mut seen, half) = (0, model.len() / 2);
    set.each_while(&mut |_| {
        seen += 1;
        seen < half
    });
    assert_eq!(seen, half.max(1).min(model.len()));
    model
}

/// Returns the value of a key as a model, with the name of its encoding.
fn under(keyspace: &Keyspace, key: &[u8]) -> (Model, &'static str) {
    let entry = keyspace.db(0).get(keyspace.hasher().key(key)).expect("it is there");
    let set = SetRef::of(&entry).expect("a set");
    (content(set), encoding_of(entry.kind()).name)
}

fn put(keyspace: &mut Keyspace, key: &[u8], value: Value<'_>) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
}

fn config(integers: u64, members: u64) -> Config {
    Config {
        set_max_intset_entries: integers,
        set_max_listpack_entries: members,
        ..Config::default()
    }
}

/// Returns the encoding that Redis would have at the end, by the form that a set is in after each addition.
fn encoding_after(ops: &[Op], config: &Config) -> Option<&'static str> {
    if ops.iter().any(|op| matches!(op, Op::Pop(_))) {
        return None;
    }
    let (mut model, mut encoding) = (Model::new(), "intset");
    let is_integer = |member: &[u8]| matches!(Member::of(member), Member::Int(_));
    for op in ops {
        let Op::Add(member) = op else {
            let Op::Remove(member) = op else { continue };
            model.remove(member);
            continue;
        };
        if !model.insert(member.clone()) {
            continue;
        }
        let is_small = |member: &Vec<u8>| member.len() as u64 <= config.set_max_listpack_value;
        let fits = model.len() as u64 <= config.set_max_listpack_entries;
        encoding = match encoding {
            "intset" if is_integer(member) => match model.len() as u64 {
                len if len <= config.set_max_intset_entries => "intset",
                _ => "hashtable",
            },
            "intset" if fits && model.iter().all(is_small) => "listpack",
            "listpack" if fits && is_small(member) => "listpack",
            _ => "hashtable",
        };
    }
    Some(encoding)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn behaves_like_a_set(
        ops in ops(),
        integers in prop_oneof![Just(0_u64), Just(3), Just(512)],
        members in prop_oneof![Just(0_u64), Just(3), Just(128)],
    ) {
        let config = config(integers, members);
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let mut rng = Rng::new([7; 4]);
        let (mut set, mut model) = (Set::empty(&context), Model::new());
        for op in &ops {
            apply(op, &mut set, &mut model, &mut rng);
        }
        let Some(value) = Set::into_value(set) else {
            prop_assert!(model.is_empty());
            return Ok(());
        };
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        put(&mut keyspace, b"key", value);
        let (found, name) = under(&keyspace, b"key");
        prop_assert_eq!(&found, &model);
        prop_assert!(encoding_after(&ops, &config).is_none_or(|expected| expected == name), "{}", name);

        let entry = keyspace.db(0).get(keyspace.hasher().key(b"key")).expect("it is there");
        let (copy, payload) = (Value::copy_of(&entry), dump(&entry, true));
        let settings = RestoreSettings { string_bytes_max: 512 << 20, checksum: true };
        let restored = restore(&payload, settings, &context).expect("what was dumped");
        put(&mut keyspace, b"copy", copy);
        put(&mut keyspace, b"restored", restored);
        prop_assert_eq!(under(&keyspace, b"copy"), (model.clone(), name));
        prop_assert_eq!(under(&keyspace, b"restored").0, model);
    }

    /// Changes of a large set in place.
    #[test]
    fn behaves_like_a_set_within_its_entry(first in ops(), then in ops()) {
        let config = config(0, 0);
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let mut rng = Rng::new([7; 4]);
        let (mut set, mut model) = (Set::empty(&context), Model::new());
        for op in &first {
            apply(op, &mut set, &mut model, &mut rng);
        }
        let Some(value) = Set::into_value(set) else { return Ok(()) };
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        put(&mut keyspace, b"key", value);
        let key = keyspace.hasher().key(b"key");
        if under(&keyspace, b"key").1 != "hashtable" {
            return Ok(());
        }
        let changed = keyspace.edit(0, key).change_object(|object, walkers| {
            let mut set = Set::of_object(object, walkers, &context).expect("a set");
            for op in &then {
                apply(op, &mut set, &mut model, &mut rng);
            }
        });
        prop_assert!(changed.is_some());
        prop_assert_eq!(under(&keyspace, b"key").0, model);
    }
}

/// The digits are those of redis-server 7.0.15 after the same commands, and its intsets and plain sets load.
#[test]
fn digests_and_dumps_are_those_of_stock_servers() {
    let mut w = Driver::new("enable-debug-command yes\nsave \"\"\n");
    let c = w.connect();
    w.request(c, "SADD n 3 1 2");
    w.request(c, "SADD o b a ab");
    assert_eq!(
        w.request(c, "DEBUG DIGEST-VALUE n o"),
        "*2\r\n+2a462a3f51a1db89738ebbeef0c47ce1bbc85246\r\n+07ba53de618c951254a4fb7b26c82468924c051a\r\n"
    );
    let digest = w.request(c, "DEBUG DIGEST");
    assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG DIGEST"), digest);
    assert_eq!(w.request(c, "OBJECT ENCODING o"), "$8\r\nlistpack\r\n");
}

/// Each member and each pair is drawn about as often as any other, in every encoding.
#[test]
fn random_members_are_uniform() {
    for (conf, encoding) in [
        ("", "intset"),
        ("set-max-intset-entries 0\n", "listpack"),
        ("set-max-intset-entries 0\nset-max-listpack-entries 0\n", "hashtable"),
    ] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        w.request(c, "SADD s 1 2 3 4 5 6");
        let is = w.request(c, "OBJECT ENCODING s");
        assert!(is.ends_with(&format!("{encoding}\r\n")), "{is}");
        let (mut single, mut pairs) = (BTreeMap::new(), BTreeMap::new());
        for _ in 0..6_000 {
            *single.entry(w.request(c, "SRANDMEMBER s")).or_insert(0) += 1;
            let pair = w.request(c, "SRANDMEMBER s 2");
            let mut members: Vec<&str> = pair.split("\r\n").skip(2).step_by(2).collect();
            members.sort_unstable();
            *pairs.entry(members.concat()).or_insert(0) += 1;
        }
        assert_eq!((single.len(), pairs.len()), (6, 15), "{encoding}");
        // Six standard deviations.
        assert!(single.values().all(|count| (830..1_170).contains(count)), "{encoding} {single:?}");
        assert!(pairs.values().all(|count| (285..515).contains(count)), "{encoding} {pairs:?}");
    }
}
