//! jemalloc as the global allocator of a program.
//!
//! It is built with classes of 8 bytes (`.cargo/config.toml`): 8, 16, 24, 32, 40, … So an allocation is aligned to 8
//! bytes without being asked for, and to no more. `tikv-jemallocator` assumes 16, as with the usual classes, and does not
//! ask for it: values with an alignment of 16 came back misaligned in every second slab position of 24, 40 or 56 bytes,
//! and hash maps, which use aligned vector instructions, crashed. This one asks for each alignment above 8.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;

use tikv_jemalloc_sys as ffi;

/// The alignment of every allocation, whatever its size: that of the smallest class.
const ALIGN_ALWAYS: usize = 8;

/// The allocator.
#[derive(Debug, Clone, Copy)]
pub struct Jemalloc;

/// Returns the flags that ask for an alignment; 0 if every allocation has it.
#[inline]
fn flags(layout: Layout) -> c_int {
    if layout.align() <= ALIGN_ALWAYS { 0 } else { ffi::MALLOCX_ALIGN(layout.align()) }
}

// SAFETY: jemalloc's functions do not unwind. They return null, or memory of at least the size and with the alignment
// that the flags ask for; without flags it is aligned to 8 bytes, since all size classes are multiples of 8. Sizes are not
// zero, as the caller promises. Memory is freed with the size and the alignment that it was requested with.
unsafe impl GlobalAlloc for Jemalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match flags(layout) {
            // SAFETY: any size is allowed.
            0 => unsafe { ffi::malloc(layout.size()).cast() },
            // SAFETY: the caller's promise: the size is not zero.
            flags => unsafe { ffi::mallocx(layout.size(), flags).cast() },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match flags(layout) {
            // SAFETY: any size is allowed.
            0 => unsafe { ffi::calloc(1, layout.size()).cast() },
            // SAFETY: the caller's promise: the size is not zero.
            flags => unsafe { ffi::mallocx(layout.size(), flags | ffi::MALLOCX_ZERO).cast() },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise: it was allocated by this allocator with this layout.
        unsafe { ffi::sdallocx(ptr.cast(), layout.size(), flags(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match flags(layout) {
            // SAFETY: the caller's promise: it was allocated by this allocator, and the new size is not zero.
            0 => unsafe { ffi::realloc(ptr.cast(), new_size).cast() },
            // SAFETY: as above.
            flags => unsafe { ffi::rallocx(ptr.cast(), new_size, flags).cast() },
        }
    }
}
