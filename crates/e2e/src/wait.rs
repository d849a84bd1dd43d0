//! Waiting for conditions, with a deadline and a message.

use std::time::{Duration, Instant};

/// Time after which a test fails. It is generous, since a slow machine is not a failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `probe` until it returns a value.
///
/// # Panics
/// After [`DEADLINE`], with `what` in the message.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_for_within(what, DEADLINE, probe)
}

/// Waits like [`wait_for`] with another deadline.
///
/// # Panics
/// After `deadline`, with `what` in the message.
pub fn wait_for_within<T>(
    what: &str,
    deadline: Duration,
    mut probe: impl FnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < deadline, "not within {deadline:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Calls `condition` until it returns true.
///
/// # Panics
/// After [`DEADLINE`], with `what` in the message.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
