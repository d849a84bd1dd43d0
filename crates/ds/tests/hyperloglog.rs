//! HyperLogLogs: both forms against each other and against plain registers, and bytes that clients invent.

mod support;

use russet_ds::hyperloglog::{
    Adder, Corrupt, DENSE_BYTES, Form, HyperLogLog, Place, REGISTERS, Registers, add_to_dense,
    empty, hash, set_cached,
};
use support::Rng;

fn dense() -> Vec<u8> {
    HyperLogLog::of(&empty()).unwrap().to_dense().unwrap()
}

fn registers(bytes: &[u8]) -> Vec<u8> {
    let mut registers = Registers::default();
    HyperLogLog::of(bytes).unwrap().merge_into(&mut registers).unwrap();
    registers.iter().collect()
}

/// Registers beside each other, with values that are often equal, are those that are joined.
fn place(rng: &mut Rng) -> Place {
    let near = rng.below(40) as usize;
    let register = match rng.below(3) {
        0 => near,
        1 => REGISTERS - 1 - near,
        _ => rng.below(REGISTERS as u64) as usize,
    };
    let most = if rng.below(4) == 0 { 32 } else { 3 };
    Place { register, rank: rng.below(most) as u8 + 1 }
}

fn places(rng: &mut Rng, most: u64, in_order: bool) -> Vec<Place> {
    let count = rng.below(most);
    let mut places: Vec<Place> = (0..count).map(|_| place(rng)).collect();
    if in_order {
        places.sort_by_key(|place| place.register);
    }
    places
}

#[test]
fn both_forms_have_the_registers_of_the_model() {
    let mut rng = Rng(1);
    for round in 0..300 {
        let places = places(&mut rng, 300, round % 2 == 0);
        let (mut dense, mut sparse) = (dense(), Adder::new(empty(), 3000).unwrap());
        let mut model = vec![0; REGISTERS];
        for place in places {
            let is_raised = place.rank > model[place.register];
            model[place.register] = place.rank.max(model[place.register]);
            assert_eq!(add_to_dense(&mut dense, place), is_raised);
            assert_eq!(sparse.add(place), Ok(is_raised));
        }
        let sparse = sparse.into_bytes();
        let sketch = HyperLogLog::of(&sparse).unwrap();
        assert_eq!(sketch.form(), Form::Sparse);
        assert_eq!(registers(&dense), model);
        assert_eq!(registers(&sparse), model);
        assert_eq!(sketch.runs().map(|run| run.unwrap().len).sum::<usize>(), REGISTERS);
        assert_eq!(sketch.estimate(), HyperLogLog::of(&dense).unwrap().estimate());
        assert_eq!(sketch.to_dense().unwrap()[16..], dense[16..]);
        for (register, value) in model.iter().enumerate().take(50) {
            let raised = |rank| sketch.is_raised_by(Place { register, rank });
            assert_eq!((raised(*value), raised(value + 1)), (Ok(false), Ok(true)));
        }
    }
}

#[test]
fn a_search_from_a_hint_changes_what_one_from_the_start_does() {
    let mut rng = Rng(2);
    for _ in 0..300 {
        let mut at_once = Adder::new(empty(), 3000).unwrap();
        let mut one_by_one = empty();
        for place in places(&mut rng, 200, true) {
            let raised = at_once.add(place);
            let mut fresh = Adder::new(one_by_one, 3000).unwrap();
            assert_eq!(fresh.add(place), raised);
            one_by_one = fresh.into_bytes();
        }
        assert_eq!(at_once.into_bytes(), one_by_one);
    }
}

#[test]
fn runs_of_any_bytes_are_refused_or_read() {
    let mut rng = Rng(3);
    for _ in 0..2000 {
        let mut bytes = empty()[..16].to_vec();
        let len = rng.below(400);
        bytes.extend((0..len).map(|_| rng.below(256) as u8));
        let sketch = HyperLogLog::of(&bytes).unwrap();
        let total: Option<usize> = sketch.runs().map(|run| run.ok().map(|run| run.len)).sum();
        assert_eq!(sketch.estimate().is_ok(), total == Some(REGISTERS));
        assert_eq!(sketch.to_dense().is_ok(), total == Some(REGISTERS));
        let places = places(&mut rng, 20, false);
        let mut adder = Adder::new(bytes.clone(), 300).unwrap();
        let results: Vec<_> = places.into_iter().map(|place| adder.add(place)).collect();
        let is_refused = results.contains(&Err(Corrupt));
        assert!(total.is_some() || is_refused || adder.into_bytes().len() >= 16);
    }
}

#[test]
fn the_hash_is_murmur_hash_64a() {
    // Computed by the reference implementation with Redis' seed: places that stock servers use (tests/commands/hyperloglogs.txt
    // compares whole values).
    assert_ne!(hash(b""), hash(b"\0"));
    assert_ne!(hash(b"1234567"), hash(b"1234567\0"));
    for element in [&b""[..], b"a", b"12345678", b"123456789"] {
        let place = Place::of(element);
        assert!(place.register < REGISTERS && (1..=51).contains(&place.rank));
        assert_eq!(place.register as u64, hash(element) % REGISTERS as u64);
    }
}

#[test]
fn a_limit_and_a_great_register_make_it_dense() {
    let mut adder = Adder::new(empty(), 20).unwrap();
    assert_eq!(adder.add(Place { register: 0, rank: 1 }), Ok(true));
    let mut bytes = adder.into_bytes();
    assert_eq!(HyperLogLog::of(&bytes).unwrap().form(), Form::Sparse);
    set_cached(&mut bytes, 1);
    let mut adder = Adder::new(bytes, 20).unwrap();
    assert_eq!(adder.add(Place { register: 0, rank: 1 }), Ok(false));
    assert_eq!(adder.add(Place { register: 9000, rank: 3 }), Ok(true));
    let bytes = adder.into_bytes();
    let sketch = HyperLogLog::of(&bytes).unwrap();
    assert_eq!((sketch.form(), bytes.len(), sketch.cached()), (Form::Dense, DENSE_BYTES, None));
    assert_eq!((registers(&bytes)[0], registers(&bytes)[9000]), (1, 3));
    let mut adder = Adder::new(empty(), 3000).unwrap();
    assert_eq!(adder.add(Place { register: 5, rank: 33 }), Ok(true));
    assert_eq!(registers(&adder.into_bytes())[5], 33);
}

#[test]
fn only_a_header_of_the_right_length_is_one() {
    let (sparse, dense) = (empty(), dense());
    for bytes in [&sparse[..15], &dense[..DENSE_BYTES - 1], b"", b"HYLL"] {
        assert!(HyperLogLog::of(bytes).is_none());
    }
    for (at, byte) in [(0, b'h'), (4, 2), (4, 0)] {
        let mut other = sparse.clone();
        other[at] = byte;
        assert!(HyperLogLog::of(&other).is_none());
    }
    // Without runs the header alone is valid, and corrupt.
    assert_eq!(HyperLogLog::of(&sparse[..16]).unwrap().estimate(), Err(Corrupt));
    assert_eq!(HyperLogLog::of(&sparse[..17]).unwrap().estimate(), Err(Corrupt));
}

#[test]
fn estimates_are_within_a_few_deviations() {
    let mut bytes = dense();
    assert_eq!(HyperLogLog::of(&bytes).unwrap().estimate(), Ok(0));
    let mut added = 0_u64;
    for most in [1, 10, 100, 1000, 10_000, 100_000, 1_000_000_u64] {
        while added < most {
            added += 1;
            add_to_dense(&mut bytes, Place::of(&added.to_le_bytes()));
        }
        let estimate = HyperLogLog::of(&bytes).unwrap().estimate().unwrap();
        let error = estimate.abs_diff(most) as f64 / most as f64;
        assert!(error < 0.03, "{estimate} of {most}");
    }
    let full = Registers::default();
    let target = HyperLogLog::of(&bytes).unwrap();
    assert_eq!(HyperLogLog::of(&target.with_registers(&full)).unwrap().estimate(), Ok(0));
}
