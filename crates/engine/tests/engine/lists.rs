//! Lists against a model from std: in each encoding, through dumps, copies, snapshots and changes in place.

use proptest::prelude::*;
use russet_driver::Driver;
use russet_ds::hash::Seed;
use russet_engine::config::Config;
use russet_engine::keyspace::{EventKind, Expiry, Keyspace};
use russet_engine::mode::Mode;
use russet_engine::persist::dump::{RestoreSettings, dump, restore};
use russet_engine::types::list::{List, ListMut, ListRef, Side};
use russet_engine::types::{BuildContext, Editable, Value, encoding_of};

type Model = Vec<Vec<u8>>;

#[derive(Clone, Debug)]
enum Op {
    Push(Side, Vec<u8>),
    Pop(Side),
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    RemoveEqual(Vec<u8>, Side, usize),
}

/// Few different elements, some of which fill a leaf, and some of which are leaves of their own.
fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        20 => (0..20_u8).prop_map(|n| n.to_string().into_bytes()),
        5 => (0..4_usize).prop_map(|n| vec![b'e'; n]),
        5 => (100..900_usize).prop_map(|n| vec![b'm'; n]),
        2 => (3000..9000_usize).prop_map(|n| vec![b'l'; n]),
        1 => (16_000..17_000_usize).prop_map(|n| vec![b'x'; n]),
    ]
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![Just(Side::Left), Just(Side::Right)]
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        8 => (side(), element()).prop_map(|(side, element)| Op::Push(side, element)),
        2 => side().prop_map(Op::Pop),
        3 => (any::<usize>(), element()).prop_map(|(at, element)| Op::Insert(at, element)),
        2 => (any::<usize>(), element()).prop_map(|(at, element)| Op::Replace(at, element)),
        1 => (any::<usize>(), 0..8_usize).prop_map(|(at, count)| Op::Remove(at, count)),
        1 => (element(), side(), 0..4_usize).prop_map(|(e, side, most)| Op::RemoveEqual(e, side, most)),
    ];
    prop::collection::vec(op, 0..80)
}

fn apply(op: &Op, list: &mut ListMut<'_>, model: &mut Model) {
    let len = model.len();
    match op {
        Op::Push(side, element) => {
            list.prepare(std::iter::once(&**element));
            list.push(*side, element);
            model.insert(if *side == Side::Left { 0 } else { len }, element.clone());
        }
        Op::Pop(side) => {
            let popped = list.pop(*side).map(|element| element.to_vec());
            let expected = match side {
                Side::Left if len > 0 => Some(model.remove(0)),
                _ => model.pop(),
            };
            assert_eq!(popped, expected);
        }
        Op::Insert(at, element) => {
            let at = at % (len + 1);
            list.prepare(std::iter::once(&**element));
            list.insert(at, element);
            model.insert(at, element.clone());
        }
        Op::Replace(at, element) if len > 0 => {
            list.prepare(std::iter::once(&**element));
            list.replace(at % len, element);
            model[at % len] = element.clone();
        }
        Op::Remove(at, count) if len > 0 => {
            let at = at % len;
            list.remove(at, *count);
            model.drain(at..(at + count).min(len));
        }
        Op::RemoveEqual(element, from, most) if *most > 0 => {
            let removed = list.remove_equal(element, *from, *most);
            let mut found: Vec<usize> = (0..len).filter(|at| model[*at] == *element).collect();
            if *from == Side::Right {
                found.reverse();
            }
            found.truncate(*most);
            assert_eq!(removed, found.len());
            found.sort_unstable();
            found.iter().rev().for_each(|at| _ = model.remove(*at));
        }
        _ => {}
    }
    assert_eq!(list.len(), model.len());
}

fn content(list: ListRef<'_>) -> Model {
    let mut model = Model::new();
    list.each(&mut |element| model.push(element.to_text().into_owned()));
    assert_eq!(list.len(), model.len());
    for index in (0..model.len()).step_by(3) {
        let found = list.get(index).map(|element| element.to_text().into_owned());
        assert_eq!(found.as_ref(), Some(&model[index]));
        let mut reversed = Model::new();
        list.each_from(index, Side::Left, &mut |element| {
            reversed.insert(0, element.to_text().into_owned());
            reversed.len() < 5
        });
        assert_eq!(reversed, model[(index + 1).saturating_sub(5)..=index]);
    }
    assert!(list.get(model.len()).is_none());
    model
}

/// Returns the value of a key as a model, with the name of its encoding.
fn under(keyspace: &Keyspace, key: &[u8]) -> (Model, &'static str) {
    let entry = keyspace.db(0).get(keyspace.hasher().key(key)).expect("it is there");
    let list = ListRef::of(&entry).expect("a list");
    (content(list), encoding_of(entry.kind()).name)
}

fn put(keyspace: &mut Keyspace, key: &[u8], value: Value<'_>) {
    let key = keyspace.hasher().key(key);
    keyspace.edit(0, key).set_value(value, Expiry::Clear, EventKind::Restore);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn behaves_like_a_vector(
        first in ops(),
        then in ops(),
        setting in prop_oneof![Just(-2), Just(-1), Just(1), Just(5)],
    ) {
        let config = Config { list_max_listpack_size: setting, ..Config::default() };
        let context = BuildContext { config: &config, seed: Seed::new(3) };
        let (mut list, mut model) = (List::empty(&context), Model::new());
        for op in &first {
            apply(op, &mut list, &mut model);
        }
        prop_assert_eq!(content(list.view()), model.clone());
        let Some(value) = List::into_value(list) else {
            prop_assert!(model.is_empty());
            return Ok(());
        };
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
        let text_bytes: usize = model.iter().map(Vec::len).sum();
        prop_assert!(before.1 == "quicklist" || setting != -2 || text_bytes <= 8192, "{}", text_bytes);
        prop_assert_eq!(&before.0, &model);
        prop_assert_eq!(under(&keyspace, b"copy"), before.clone());
        prop_assert_eq!(&under(&keyspace, b"restored").0, &model);

        // Changes in place, if it is large, do not change the copy.
        let original = model.clone();
        keyspace.edit(0, key).change_object(|object, walkers| {
            let mut list = List::of_object(object, walkers, &context).expect("a list");
            for op in &then {
                apply(op, &mut list, &mut model);
            }
            assert_eq!(content(list.view()), model);
        });
        let text_bytes: usize = model.iter().map(Vec::len).sum();
        let after = keyspace.db(0).get(key).map(|entry| encoding_of(entry.kind()).name);
        prop_assert!(after == Some("quicklist") || setting != -2 || text_bytes <= 8192 || model == original);
        prop_assert_eq!(&under(&keyspace, b"copy").0, &original);
    }
}

/// Elements that come one by one, too.
#[test]
fn a_list_that_grows_becomes_a_quicklist() {
    let mut w = Driver::new("");
    let c = w.connect();
    let mut names = Vec::new();
    for number in 0..3000 {
        w.request(c, &format!("RPUSH l element:{number}"));
        names.push(w.request(c, "OBJECT ENCODING l"));
    }
    names.dedup();
    assert_eq!(names, ["$8\r\nlistpack\r\n", "$9\r\nquicklist\r\n"]);
    w.request(c, "LTRIM l 0 99");
    assert_eq!(w.request(c, "OBJECT ENCODING l"), "$8\r\nlistpack\r\n");
}

/// The digits are those of redis-server 7.0.15 after the same commands.
#[test]
fn digests_are_those_of_stock_servers() {
    let mut w = Driver::new("enable-debug-command yes\nsave \"\"\n");
    let c = w.connect();
    w.request(c, "RPUSH l a 1 b");
    let long = "x".repeat(20_000);
    w.request(c, &format!("RPUSH q a {long} b"));
    assert_eq!(
        w.request(c, "DEBUG DIGEST-VALUE l q"),
        "*2\r\n+d5f44352f6226abea9252dad248ef5de0d964396\r\n+bb82ef24b048471490b8146fc6cb8476750821c4\r\n"
    );
    let digest = w.request(c, "DEBUG DIGEST");
    assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG DIGEST"), digest);
    assert_eq!(w.request(c, "LINDEX q 1"), format!("$20000\r\n{long}\r\n"));
}
