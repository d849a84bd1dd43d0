//! Blocks compared with vectors of std: owners, copy on write, growth, memory.
#![allow(clippy::disallowed_methods, reason = "threads that share a block")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use russet_ds::size::class_size;
use russet_ds::{Block, Content, NewPayload, Payload, SharedBytes, Table, Value};
use support::Rng;

/// Size of a block's header in bytes.
const HEADER: usize = 24;

/// Makes a block of a vector with these bytes and some spare capacity.
fn from_vec(bytes: &[u8], spare: usize) -> SharedBytes {
    let mut vec = Vec::with_capacity(SharedBytes::HEADROOM + bytes.len() + spare);
    vec.resize(SharedBytes::HEADROOM, 0xff);
    vec.extend_from_slice(bytes);
    SharedBytes::from_vec(vec)
}

#[test]
fn a_vector_becomes_a_block_where_it_is() {
    let mut bytes = vec![0; 100_000];
    bytes.extend_from_slice(b"end");
    let place = bytes[SharedBytes::HEADROOM..].as_ptr();
    let shared = SharedBytes::from_vec(bytes);
    assert_eq!((shared.as_ptr(), shared.len()), (place, 100_003 - SharedBytes::HEADROOM));
    assert!(shared.ends_with(b"end") && !shared.is_shared());
    assert!(SharedBytes::from_vec(vec![1; SharedBytes::HEADROOM]).is_empty());
    assert!(catch_unwind(|| SharedBytes::from_vec(vec![1; 23])).is_err());
}

#[test]
fn owners_behave_like_separate_vectors() {
    let mut rng = Rng(0xb10c);
    let mut blocks: Vec<(Block<()>, Vec<u8>)> = Vec::new();
    let mut shared: Vec<(SharedBytes, Vec<u8>)> = Vec::new();
    let rounds = if cfg!(miri) { 400 } else { 40_000 };
    for round in 0..rounds {
        if blocks.is_empty() || (blocks.len() < 20 && rng.index(8) == 0) {
            let bytes = vec![round as u8; rng.index(3000)];
            let cut = rng.index(bytes.len() + 1);
            let block = match rng.index(4) {
                0 => Block::from_bytes(&bytes),
                3 => Block::from(from_vec(&bytes, rng.index(40))),
                1 => Block::try_from_parts(&[&bytes[..cut], &[], &bytes[cut..]]).expect("memory"),
                _ => Block::from(SharedBytes::new(&bytes)),
            };
            blocks.push((block, bytes));
        }
        let at = rng.index(blocks.len());
        let (block, known) = &mut blocks[at];
        let before = known.len();
        match rng.index(9) {
            0 => {
                let copy = (block.clone(), known.clone());
                assert!(block.is_shared());
                blocks.push(copy);
            }
            1 => shared.push((block.share_bytes().expect("bytes"), known.clone())),
            2 => drop(blocks.swap_remove(at)),
            3 if !shared.is_empty() => drop(shared.swap_remove(rng.index(shared.len()))),
            4 => {
                let (room, len) = (rng.index(6000), rng.index(6000));
                let mut bytes = block.try_bytes_mut(room).expect("memory").expect("bytes");
                assert!(bytes.capacity() >= room && bytes.len() == before);
                bytes.resize(len);
                known.resize(len, 0);
            }
            _ => {
                let more = vec![round as u8; rng.index(40)];
                let mut bytes = block.try_bytes_mut(0).expect("memory").expect("bytes");
                bytes.extend_from_slice(&more);
                known.extend_from_slice(&more);
                if let Some(byte) = bytes.get_mut(before / 2) {
                    *byte ^= 1;
                    known[before / 2] ^= 1;
                }
            }
        }
        for (block, known) in &blocks {
            assert_eq!(block.as_bytes(), Some(known.as_slice()));
            assert_eq!(block.allocated_bytes(), class_size(block.allocated_bytes()));
        }
        for (bytes, known) in &shared {
            assert_eq!(&**bytes, known.as_slice());
        }
    }
}

#[test]
fn growing_in_small_steps_moves_rarely_and_wastes_little() {
    let mut block: Block<()> = Block::from_bytes(&[0; 1500]);
    let (mut moves, mut capacity) = (0, 0);
    for len in 1501..if cfg!(miri) { 3000 } else { 1 << 20 } {
        let mut bytes = block.try_bytes_mut(len).expect("memory").expect("bytes");
        bytes.extend_from_slice(&[len as u8]);
        if bytes.capacity() != capacity {
            (moves, capacity) = (moves + 1, bytes.capacity());
            assert_eq!(class_size(capacity + HEADER), capacity + HEADER);
            assert!(capacity < len * 3 / 2);
        }
    }
    assert!(moves < 50, "{moves}");
}

#[test]
fn a_string_of_two_kibibytes_is_an_entry_and_a_block() {
    let mut table: Table<()> = Table::new();
    let block = Block::from_bytes(&[7; 2048]);
    assert_eq!(block.allocated_bytes(), class_size(HEADER + 2048));
    let whole = block.allocated_bytes();
    table.set(1, b"key", 0, NewPayload::Block(block), None, 0, &|_| 1);
    let entry = table.get(1, b"key").expect("just set");
    assert_eq!(entry.allocated_bytes(), class_size(8 + 3 + 6));
    let before = table.allocated_bytes() - whole;
    assert!(before < 128 + 64 + entry.allocated_bytes(), "{before}");
    table.clear();
    assert_eq!(table.allocated_bytes(), 0);
}

#[test]
fn failed_allocations_are_errors_and_change_nothing() {
    for len in [usize::MAX, usize::MAX / 2, isize::MAX as usize, isize::MAX as usize - 30] {
        assert!(Block::<()>::try_with_capacity(len).is_err());
        assert!(Block::<()>::try_filled(len, |_| panic!("no such memory")).is_err());
        let mut block: Block<()> = Block::from_bytes(b"bytes");
        assert!(block.try_bytes_mut(len).is_err());
        let held = block.share_bytes();
        assert!(block.try_bytes_mut(len).is_err());
        assert_eq!(block.as_bytes(), Some(&b"bytes"[..]));
        assert_eq!(held.as_deref(), Some(&b"bytes"[..]));
    }
    let mut zeros: Block<()> = Block::try_filled(100_000, |bytes| bytes[7] = 0).expect("memory");
    assert!(zeros.as_bytes().is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)));
    assert_eq!(zeros.as_bytes().map(<[u8]>::len), Some(100_000));
    let capacity = zeros.try_bytes_mut(0).expect("memory").expect("bytes").capacity();
    assert_eq!(capacity, class_size(100_000 + HEADER) - HEADER);
}

/// A value that counts its live instances, with an alignment that needs padding.
#[repr(align(64))]
struct Counted(Arc<AtomicUsize>);

impl Value for Counted {}

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Counted {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[test]
fn values_are_dropped_once_by_their_last_owner() {
    let alive = Arc::new(AtomicUsize::new(0));
    let mut block = Block::new(Counted::new(&alive), 1000);
    assert_eq!(block.allocated_bytes(), 1000 + 128);
    assert!(block.as_bytes().is_none() && block.share_bytes().is_none());
    assert!(matches!(block.try_bytes_mut(5), Ok(None)));
    let there: *const Counted = block.value().expect("a value");
    assert!(there.addr().is_multiple_of(64));
    assert!(block.get_mut().is_some() && block.set_owned_bytes(2000));
    let other = block.clone();
    assert!(block.get_mut().is_none() && !block.set_owned_bytes(0));
    assert_eq!(other.allocated_bytes(), 2000 + 128);
    assert!(matches!(other.content(), Content::Value(_)));
    let Err(block) = block.into_value() else { panic!("there is another owner") };
    drop(block);
    assert_eq!(alive.load(Ordering::Relaxed), 1);
    let value = other.into_value().unwrap_or_else(|_| panic!("the only owner"));
    drop(value);
    assert_eq!(alive.load(Ordering::Relaxed), 0);

    let mut table = Table::new();
    let kept = Block::new(Counted::new(&alive), 0);
    for number in 0..100u64 {
        let block = if number == 0 { kept.clone() } else { Block::new(Counted::new(&alive), 10) };
        let key = number.to_le_bytes();
        table.set(number, &key, 0, NewPayload::Block(block), None, 0, &|_| number);
    }
    assert_eq!(alive.load(Ordering::Relaxed), 100);
    drop(table.remove(0, &0u64.to_le_bytes(), &|_| 0));
    assert_eq!(alive.load(Ordering::Relaxed), 100);
    let old = table.set(1, &1u64.to_le_bytes(), 0, NewPayload::Inline(b""), None, 0, &|_| 0);
    assert!(old.is_some_and(|old| old.is_block()));
    assert_eq!(alive.load(Ordering::Relaxed), 99);
    drop(table);
    assert_eq!(alive.load(Ordering::Relaxed), 1);
    drop(kept);
    assert_eq!(alive.load(Ordering::Relaxed), 0);
}

#[test]
fn a_panic_during_an_edit_leaves_the_entry_intact() {
    let mut table: Table<()> = Table::new();
    table.set(1, b"key", 0, NewPayload::Block(Block::from_bytes(&[1; 99])), None, 0, &|_| 1);
    let before = table.allocated_bytes();
    let unwound = catch_unwind(AssertUnwindSafe(|| {
        let mut entry = table.get_mut(1, b"key").expect("just set");
        entry.edit_block(|block| {
            *block = Block::from_bytes(&[2; 5000]);
            panic!("on purpose");
        })
    }));
    assert!(unwound.is_err());
    let entry = table.get(1, b"key").expect("still there");
    let Payload::Block(block) = entry.payload() else { panic!("a block was set") };
    assert_eq!(block.as_bytes(), Some(&[2; 5000][..]));
    assert_eq!(table.allocated_bytes(), before - class_size(99 + HEADER) + block.allocated_bytes());
    table.clear();
    assert_eq!(table.allocated_bytes(), 0);
}

#[test]
fn threads_share_a_block_and_the_last_one_frees_it() {
    let alive = Arc::new(AtomicUsize::new(0));
    let rounds = if cfg!(miri) { 5 } else { 500 };
    for _ in 0..rounds {
        let value = Block::new(Counted::new(&alive), 0);
        let mut bytes: Block<Counted> = Block::from_bytes(&[3; 4000]);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                let (value, bytes) = (value.clone(), bytes.share_bytes());
                scope.spawn(move || {
                    assert!(value.value().is_some());
                    assert!(bytes.is_some_and(|bytes| bytes.iter().all(|byte| *byte == 3)));
                });
            }
            let mut mine = bytes.try_bytes_mut(0).expect("memory").expect("bytes");
            mine.fill(4);
        });
        assert!(!bytes.is_shared() && !value.is_shared());
        drop(value);
        assert_eq!(alive.load(Ordering::Relaxed), 0);
    }
}
