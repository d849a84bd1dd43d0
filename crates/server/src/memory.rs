//! How the process' memory is managed: by the allocator, and by the kernel beneath it.

use rustix::thread::disable_transparent_huge_pages;
use tikv_jemalloc_ctl::background_thread;

use crate::sys::error_text;

/// Asks the kernel for no huge pages: with them, small changes would cost the resident memory of whole ones.
pub fn decline_huge_pages() -> Result<(), String> {
    disable_transparent_huge_pages(true).map_err(|errno| error_text(&errno.into()))
}

/// Lets a thread of the allocator give unused memory back to the kernel, or the threads that free it.
///
/// Without such a thread it is whoever frees or allocates that pays, now and then with a millisecond: the
/// engine's thread while a table grows. Must not come before the process has forked.
pub fn purge_in_background(wanted: bool) -> Result<(), String> {
    background_thread::write(wanted)
        .map_err(|error| format!("the allocator has no background thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_can_be_declined() {
        decline_huge_pages().unwrap();
        assert_eq!(rustix::thread::transparent_huge_pages_are_disabled(), Ok(true));
    }

    #[test]
    fn the_allocators_thread_comes_and_goes() {
        for wanted in [true, false, true] {
            purge_in_background(wanted).unwrap();
            assert_eq!(background_thread::read(), Ok(wanted));
        }
    }
}
