//! The allocator's contract: size, alignment, zeroed memory and contents, for every size class and alignment.

#![allow(unsafe_code, reason = "an allocator's functions are unsafe")]

use std::alloc::{GlobalAlloc, Layout};

use russet_ds::jemalloc::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Allocations of a layout at the same time: neighbours in a slab differ in their alignment.
const AT_ONCE: usize = 16;

/// All sizes up to some classes, then those around each power of two.
fn sizes() -> impl Iterator<Item = usize> {
    let large =
        (10..=17).flat_map(|log| [-1, 0, 1].map(|off| (1_usize << log).wrapping_add_signed(off)));
    (1..=1024).chain(large)
}

fn layouts() -> impl Iterator<Item = Layout> {
    let aligns = (0..=13).map(|log| 1_usize << log);
    aligns.flat_map(|align| {
        sizes().map(move |size| Layout::from_size_align(size, align).expect("small"))
    })
}

/// Allocates some memory of this layout, passes each to `check`, and frees it.
fn with_each(layout: Layout, zeroed: bool, check: impl Fn(*mut u8)) {
    let all: Vec<*mut u8> = (0..AT_ONCE)
        .map(|_| {
            // SAFETY: the size is not zero.
            unsafe {
                match zeroed {
                    true => ALLOCATOR.alloc_zeroed(layout),
                    false => ALLOCATOR.alloc(layout),
                }
            }
        })
        .collect();
    for &ptr in &all {
        assert!(
            !ptr.is_null() && ptr.addr().is_multiple_of(layout.align()),
            "{ptr:?} for {layout:?}"
        );
        check(ptr);
    }
    for ptr in all {
        // SAFETY: allocated above with this layout.
        unsafe { ALLOCATOR.dealloc(ptr, layout) };
    }
}

#[test]
fn every_size_has_every_alignment() {
    for layout in layouts() {
        // SAFETY: the allocation has this size.
        with_each(layout, false, |ptr| unsafe { ptr.write_bytes(0xa5, layout.size()) });
    }
}

#[test]
fn zeroed_memory_is_zero_and_aligned() {
    for layout in layouts() {
        with_each(layout, true, |ptr| {
            // SAFETY: the allocation has this size and is initialised.
            let bytes = unsafe { std::slice::from_raw_parts_mut(ptr, layout.size()) };
            assert!(bytes.iter().all(|byte| *byte == 0), "{layout:?}");
            bytes.fill(0xa5);
        });
    }
}

#[test]
fn memory_keeps_its_alignment_and_bytes_when_it_moves() {
    for layout in layouts().filter(|layout| layout.size() % 7 == 1 || layout.size() > 1024) {
        for new_size in [1, layout.size() / 2 + 1, layout.size() + 8, layout.size() * 3] {
            // SAFETY: sizes are not zero, the memory is used within them and freed with its last layout.
            unsafe {
                let ptr = ALLOCATOR.alloc(layout);
                ptr.write_bytes(0x5a, layout.size());
                let moved = ALLOCATOR.realloc(ptr, layout, new_size);
                assert!(
                    moved.addr().is_multiple_of(layout.align()),
                    "{moved:?} for {layout:?} to {new_size}"
                );
                let kept = std::slice::from_raw_parts(moved, new_size.min(layout.size()));
                assert!(kept.iter().all(|byte| *byte == 0x5a), "{layout:?} to {new_size}");
                let new = Layout::from_size_align(new_size, layout.align()).expect("small");
                ALLOCATOR.dealloc(moved, new);
            }
        }
    }
}

#[expect(clippy::disallowed_types, reason = "they are what is tested")]
/// Its groups of control bytes are loaded with aligned vector instructions.
#[test]
fn hash_maps_of_the_standard_library_work() {
    let sets: Vec<std::collections::HashSet<u64>> =
        (0..200).map(|n| (0..n % 20).collect()).collect();
    for (n, set) in sets.iter().enumerate() {
        assert_eq!(set.len(), n % 20);
        assert!((0..n as u64 % 20).all(|element| set.contains(&element)));
    }
}
