//! What the program measures of itself: only for what it prints of the scale model. The library has no clock.

use russet_ds::counting::{CountingAllocator, counts};
use russet_sim::scale::Meter;
use rustix::time::{ClockId, clock_gettime};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Measures this thread.
pub struct ThreadMeter;

impl Meter for ThreadMeter {
    fn cpu_us(&self) -> u64 {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        (time.tv_sec * 1_000_000 + time.tv_nsec / 1_000).unsigned_abs()
    }

    fn allocated_bytes(&self) -> u64 {
        counts().live_bytes.unsigned_abs()
    }
}
