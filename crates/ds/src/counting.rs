//! An allocator that counts what each thread requests of it, for tests; not which allocator serves the program.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counted.
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

/// Allocations of a thread so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// New ones, and moves to another size.
    pub requested: u64,
    /// New ones less those that were freed; below zero if others allocated what was freed here.
    pub live: i64,
}

impl Counts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Counts) -> Counts {
        Counts { requested: self.requested - earlier.requested, live: self.live - earlier.live }
    }
}

thread_local! {
    // Neither needs an allocation: it is constant and has no destructor.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { requested: 0, live: 0 }) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

/// The size of the largest allocation of this thread since the last call.
pub fn take_largest() -> usize {
    LARGEST.take()
}

/// The counts of this thread.
#[must_use]
pub fn counts() -> Counts {
    COUNTS.get()
}

fn count(requested: u64, live: i64, size: usize) {
    LARGEST.set(LARGEST.get().max(size));
    let before = COUNTS.get();
    COUNTS.set(Counts { requested: before.requested + requested, live: before.live + live });
}

// SAFETY: each call is passed on to the system's allocator with the same arguments, and counting
// neither allocates nor unwinds: sums of 64 bits do not overflow by counting.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, 1, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(1, 1, layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(1, 0, new_size);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -1, 0);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}
