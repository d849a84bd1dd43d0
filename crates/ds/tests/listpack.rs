//! Listpacks compared with lists of std by random operations, and malformed bytes.

mod support;

use russet_ds::listpack::{self, Digits, Element};
use russet_ds::{ziplist, zipmap};
use support::Rng;

/// Miri is slow; it gets fewer rounds.
const SLOW: u64 = if cfg!(miri) { 40 } else { 1 };

/// Integers of all sizes, texts that look like them, and strings of all lengths.
fn random_text(rng: &mut Rng) -> Vec<u8> {
    match rng.index(8) {
        0..4 => (rng.next() as i64 >> rng.index(64)).to_string().into_bytes(),
        4 => format!("0{}", rng.index(100)).into_bytes(),
        5 => vec![b'a' + rng.index(3) as u8; rng.index(5000)],
        _ => vec![b'a' + rng.index(3) as u8; rng.index(70)],
    }
}

fn texts(bytes: &[u8]) -> Vec<Vec<u8>> {
    listpack::iter(bytes).map(|(_, element)| text_of(element)).collect()
}

fn text_of(element: Element<'_>) -> Vec<u8> {
    element.text(&mut Digits::default()).to_vec()
}

fn position(bytes: &[u8], index: usize) -> usize {
    listpack::seek(bytes, index as isize).unwrap_or_else(|| listpack::end(bytes))
}

#[test]
fn behaves_like_a_list_of_texts() {
    let mut rng = Rng(1);
    for _ in 0..400 / SLOW {
        let (mut bytes, mut model) = (listpack::EMPTY.to_vec(), Vec::<Vec<u8>>::new());
        for _ in 0..60 {
            let (at, text) = (rng.index(model.len() + 1), random_text(&mut rng));
            let element = Element::of(&text);
            match rng.index(6) {
                0..2 => {
                    let before = bytes.len();
                    listpack::append(&mut bytes, element);
                    assert_eq!(bytes.len() - before, element.stored_bytes());
                    model.push(text);
                }
                2 => {
                    let place = position(&bytes, at);
                    listpack::insert(&mut bytes, place, element);
                    model.insert(at, text);
                }
                3..5 if at < model.len() => {
                    let place = position(&bytes, at);
                    listpack::replace(&mut bytes, place, element);
                    model[at] = text;
                }
                _ => {
                    let count = rng.index(4);
                    let place = position(&bytes, at);
                    listpack::delete(&mut bytes, place, count);
                    model.drain(at..(at + count).min(model.len()));
                }
            }
            assert_eq!(listpack::check(&bytes), Ok(model.len()));
            assert_eq!(listpack::len(&bytes), model.len());
            assert_eq!(listpack::is_empty(&bytes), model.is_empty());
        }
        compare(&mut rng, &bytes, &model);
    }
}

fn compare(rng: &mut Rng, bytes: &[u8], model: &[Vec<u8>]) {
    assert_eq!(texts(bytes), model);
    let backwards: Vec<_> = listpack::iter(bytes).rev().map(|(_, e)| text_of(e)).collect();
    assert!(backwards.iter().eq(model.iter().rev()));
    for (index, text) in model.iter().enumerate() {
        let at = listpack::seek(bytes, index as isize).expect("it is there");
        let back = index as isize - model.len() as isize;
        assert_eq!(listpack::seek(bytes, back), Some(at));
        assert_eq!(listpack::get(bytes, at).map(text_of).as_ref(), Some(text));
        let stride = 1 + rng.index(3);
        let first = (index % stride..model.len()).step_by(stride).find(|&i| model[i] == *text);
        let from = position(bytes, index % stride);
        let found = listpack::find(bytes, from, text, stride);
        assert_eq!(found, first.map(|index| position(bytes, index)));
    }
    assert_eq!(listpack::seek(bytes, model.len() as isize), None);
    assert_eq!(listpack::find(bytes, position(bytes, 0), b"not there", 1), None);
}

/// Reading any bytes terminates, and bytes that pass the check can be changed.
#[test]
fn damaged_bytes() {
    let mut rng = Rng(2);
    for _ in 0..20_000 / SLOW {
        let mut bytes = listpack::EMPTY.to_vec();
        for _ in 0..rng.index(5) {
            listpack::append(&mut bytes, Element::of(&random_text(&mut rng)[..]));
        }
        for _ in 0..=rng.index(3) {
            let at = rng.index(bytes.len());
            bytes[at] = rng.next() as u8;
        }
        bytes.truncate(bytes.len() - rng.index(2));
        let counted = listpack::iter(&bytes).count();
        let backwards = listpack::iter(&bytes).rev().count();
        for at in 0..bytes.len().min(50) {
            _ = (listpack::next(&bytes, at), listpack::previous(&bytes, at));
        }
        _ = (listpack::len(&bytes), listpack::find(&bytes, 6, b"a", 2), listpack::seek(&bytes, -2));
        if let Ok(len) = listpack::check(&bytes) {
            assert_eq!((counted, backwards), (len, len));
            let middle = position(&bytes, len / 2);
            listpack::insert(&mut bytes, middle, Element::Int(1));
            assert_eq!(listpack::check(&bytes), Ok(len + 1));
        }
    }
}

#[test]
fn random_bytes_in_old_forms() {
    let mut rng = Rng(3);
    for _ in 0..20_000 / SLOW {
        let len = rng.index(40);
        let bytes: Vec<u8> = (0..len).map(|_| rng.next() as u8).chain([0xff]).collect();
        _ = zipmap::each(&bytes, &mut |_, _| {});
        let total = (10 + bytes.len()) as u32;
        let header = [&total.to_le_bytes()[..], &[rng.next() as u8 % 60, 0, 0, 0, 0xff, 0xff]];
        let ziplist = [&header.concat()[..], &bytes].concat();
        _ = ziplist::each(&ziplist, &mut |_| {});
    }
}
