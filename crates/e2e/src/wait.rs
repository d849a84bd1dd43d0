//! Waiting for something to become true, with a deadline and a message that says what did not.

use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails. Generous: a slow machine is not a failure.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// Calls `probe` until it answers a value, and returns that value.
///
/// # Panics
/// After [`DEADLINE`], with `what` in the message.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_for_within(what, DEADLINE, probe)
}

/// [`wait_for`] with a deadline of its own.
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

/// Calls `condition` until it holds.
///
/// # Panics
/// After [`DEADLINE`], with `what` in the message.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}
