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
    /// Bytes of those.
    pub live_bytes: i64,
}

impl Counts {
    /// What was counted since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Counts) -> Counts {
        Counts {
            requested: self.requested - earlier.requested,
            live: self.live - earlier.live,
            live_bytes: self.live_bytes - earlier.live_bytes,
        }
    }
}

thread_local! {
    // Neither needs an allocation: it is constant and has no destructor.
    static COUNTS: Cell<Counts> = const { Cell::new(Counts { requested: 0, live: 0, live_bytes: 0 }) };
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

/// Counts a call that gave `new` bytes, if any, and took `old` back, if any.
fn count(new: Option<usize>, old: Option<usize>) {
    LARGEST.set(LARGEST.get().max(new.unwrap_or(0)));
    let before = COUNTS.get();
    let bytes = |size: Option<usize>| size.unwrap_or(0).cast_signed() as i64;
    COUNTS.set(Counts {
        requested: before.requested + u64::from(new.is_some()),
        live: before.live + i64::from(new.is_some()) - i64::from(old.is_some()),
        live_bytes: before.live_bytes + bytes(new) - bytes(old),
    });
}

// SAFETY: each call is passed on to the system's allocator with the same arguments, and counting
// neither allocates nor unwinds: sums of 64 bits do not overflow by counting.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(Some(layout.size()), None);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(Some(layout.size()), None);
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(Some(new_size), Some(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.realloc(ptr, layout, new_size) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(None, Some(layout.size()));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}
