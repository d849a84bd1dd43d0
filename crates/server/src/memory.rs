//! Memory settings of the allocator and the kernel.

use rustix::thread::disable_transparent_huge_pages;
use tikv_jemalloc_ctl::background_thread;

use crate::sys::error_text;

/// Disables transparent huge pages: with them, small changes make whole huge pages resident.
pub fn disable_huge_pages() -> Result<(), String> {
    disable_transparent_huge_pages(true).map_err(|errno| error_text(&errno.into()))
}

/// Enables or disables the allocator's background thread, which returns unused memory to the
/// kernel.
///
/// Without it, the threads that allocate and free do this work, at up to a millisecond at a time.
/// Must not be called before the process has forked.
pub fn purge_in_background(wanted: bool) -> Result<(), String> {
    background_thread::write(wanted)
        .map_err(|error| format!("the allocator has no background thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_pages_can_be_disabled() {
        disable_huge_pages().unwrap();
        assert_eq!(rustix::thread::transparent_huge_pages_are_disabled(), Ok(true));
    }

    #[test]
    fn the_background_thread_can_be_switched() {
        for wanted in [true, false, true] {
            purge_in_background(wanted).unwrap();
            assert_eq!(background_thread::read(), Ok(wanted));
        }
    }
}
