//! Hashes against a model from std: in each encoding, through dumps, copies, snapshots and reloads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use russet_ds::hash::Seed;
use russet_engine::config::Config;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{RestoreSettings, dump, restore};
use russet_engine::types::hash::{Hash, HashMut, HashRef, Limits};
use russet_engine::types::{BuildContext, Editable, Value, encoding_of};

type Model = BTreeMap<Vec<u8>, (Vec<u8>, Option<i64>)>;

#[derive(Clone, Debug)]
enum Op {
    Set(Vec<u8>, Vec<u8>, Option<i64>),
    SetExpiry(Vec<u8>, Option<i64>),
    Remove(Vec<u8>),
}

/// Few different names, among them integers in two forms.
fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        (0..8_u8).prop_map(|n| n.to_string().into_bytes()),
        (0..8_u8).prop_map(|n| format!("0{n}").into_bytes()),
        (0..4_usize).prop_map(|n| vec![b'f'; n]),
        (60..70_usize).prop_map(|n| vec![b'l'; n]),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..12),
        (60..70_usize).prop_map(|n| vec![b'v'; n]),
        (1000..1100_usize).prop_map(|n| vec![b'b'; n]),
    ]
}

fn expiry() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![3 => Just(None), 2 => (1..100_i64).prop_map(Some), 1 => (1..1_i64 << 46).prop_map(Some)]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (name(), value(), expiry()).prop_map(|(name, value, at)| Op::Set(name, value, at)),
        1 => (name(), expiry()).prop_map(|(name, at)| Op::SetExpiry(name, at)),
        2 => name().prop_map(Op::Remove),
    ];
    prop::collection::vec(op, 0..60)
}

fn apply(op: &Op, hash: &mut HashMut<'_>, model: &mut Model) {
    match op {
        Op::Set(name, value, expiry) => {
            let created = model.insert(name.clone(), (value.clone(), *expiry)).is_none();
            assert_eq!(hash.set(name, value, *expiry), created);
        }
        Op::SetExpiry(name, expiry) => {
            let field = model.get_mut(name);
            assert_eq!(hash.set_expiry(name, *expiry), field.is_some());
            field.into_iter().for_each(|field| field.1 = *expiry);
        }
        Op::Remove(name) => assert_eq!(hash.remove(name), model.remove(name).is_some()),
    }
    assert_eq!(hash.len(), model.len());
}

fn content(hash: HashRef<'_>) -> Model {
    let mut model = Model::new();
    hash.each(&mut |field| {
        let value = (field.value_text().into_owned(), field.expiry);
        assert_eq!(
            model.insert(field.name_text().into_owned(), value),
            None,
            "a field stands once"
        );
    });
    assert_eq!(hash.len(), model.len());
    model
}

/// Returns the value of a key as a model, with the name of its encoding.
fn under(keyspace: &Keyspace, key: &[u8]) -> (Model, &'static str) {
    let entry = keyspace.db(0).get(keyspace.hasher().key(key)).expect("it is there");
    let hash = HashRef::of(&entry).expect("a hash");
    let earliest = content(hash).values().filter_map(|(_, expiry)| *expiry).min();
    let bound = hash.earliest_expiry();
    assert_eq!(bound.is_some(), earliest.is_some());
    assert!(bound <= earliest, "no later than the earliest");
    let encoding = encoding_of(entry.kind());
    assert_eq!(encoding.version >= 12, earliest.is_some(), "{}", encoding.name);
    (content(hash), encoding.name)
}

fn set(keyspace: &mut Keyspace, key: &[u8], value: Value<'_>) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn behaves_like_a_map(ops in ops(), limit in prop_oneof![Just(3_u64), Just(512)]) {
        let limits = Limits { entries: limit, value: 64 };
        let seed = Seed::new(3);
        let (mut hash, mut model) = (HashMut::new(limits, seed), Model::new());
        for op in &ops {
            apply(op, &mut hash, &mut model);
        }
        let Some(value) = hash.into_value() else {
            prop_assert!(model.is_empty());
            return Ok(());
        };
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        set(&mut keyspace, b"key", value);
        let (found, name) = under(&keyspace, b"key");
        prop_assert_eq!(&found, &model);
        let fits = model.len() as u64 <= limit
            && model.iter().all(|(name, (value, _))| name.len() <= 64 && value.len() <= 64);
        // A table is not converted back, even if it would fit into a listpack.
        prop_assert!(fits || name == "hashtable");

        let entry = keyspace.db(0).get(keyspace.hasher().key(b"key")).expect("it is there");
        let (copy, payload) = (Value::copy_of(&entry), dump(&entry, true));
        let config = Config::default();
        let context = BuildContext { config: &config, seed };
        let settings = RestoreSettings { string_bytes_max: 512 << 20, checksum: true };
        let restored = restore(&payload, settings, &context).expect("what was dumped");
        set(&mut keyspace, b"copy", copy);
        set(&mut keyspace, b"restored", restored);
        prop_assert_eq!(under(&keyspace, b"copy"), (model.clone(), name));
        prop_assert_eq!(under(&keyspace, b"restored").0, model);
    }

    /// Changes of a large hash in place.
    #[test]
    fn behaves_like_a_map_within_its_entry(first in ops(), then in ops()) {
        let limits = Limits { entries: 0, value: 64 };
        let seed = Seed::new(3);
        let (mut hash, mut model) = (HashMut::new(limits, seed), Model::new());
        for op in &first {
            apply(op, &mut hash, &mut model);
        }
        let mut keyspace = Keyspace::new(1, Seed::new(1), Mode::Standalone);
        if model.is_empty() {
            return Ok(());
        }
        set(&mut keyspace, b"key", hash.into_value().expect("fields"));
        let key = keyspace.hasher().key(b"key");
        let config = Config::default();
        let context = BuildContext { config: &config, seed };
        let changed = keyspace.edit(0, key).change_object(|object, walkers| {
            let mut hash = Hash::of_object(object, walkers, &context).expect("a hash");
            for op in &then {
                apply(op, &mut hash, &mut model);
            }
        });
        prop_assert!(changed.is_some());
        prop_assert_eq!(under(&keyspace, b"key").0, model);
    }
}
