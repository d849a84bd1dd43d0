//! How the process' memory is managed: by the allocator, and by the kernel beneath it.

use tikv_jemalloc_ctl::background_thread;

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
    fn the_allocators_thread_comes_and_goes() {
        for wanted in [true, false, true] {
            purge_in_background(wanted).unwrap();
            assert_eq!(background_thread::read(), Ok(wanted));
        }
    }
}
