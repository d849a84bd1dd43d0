//! How far the loading of a file or payload has come, for INFO, and `key-load-delay`, which slows it down for tests.
//!
//! Each load owns one: the dump file, the append-only file, a full synchronization.

use super::fill::Fill;
use crate::core::Core;
use crate::io::Level;
use crate::timers::Timer;

/// Longest time between two looks at `key-load-delay`, which may change while a load waits.
const WAIT_US_MAX: u64 = 100_000;

/// The progress of a load.
#[derive(Debug)]
pub struct Progress {
    /// Wall clock seconds at its start.
    pub began_secs: i64,
    /// Monotonic microseconds at its start.
    pub began_us: u64,
    /// Size of the files or the payload in bytes; 0: not known.
    pub total_bytes: u64,
    /// Bytes loaded.
    pub loaded_bytes: u64,
    /// Memory in bytes that the data used in the server that wrote it, as the file says; 0: not known.
    pub used_mem: u64,
    /// Keys that the delay has been paid for.
    paid_keys: u64,
    /// Monotonic microseconds until which the load waits.
    ready_us: u64,
}

impl Progress {
    /// Begins with nothing of `total_bytes` loaded; 0: not known.
    pub(crate) fn begin(core: &Core, total_bytes: u64) -> Progress {
        Progress {
            began_secs: core.now.wall_secs(),
            began_us: core.now.mono_us,
            total_bytes,
            loaded_bytes: 0,
            used_mem: 0,
            paid_keys: 0,
            ready_us: 0,
        }
    }

    /// Takes what the file says about itself, and logs it.
    pub(crate) fn note(&mut self, core: &mut Core, fill: &mut Fill) {
        self.used_mem = fill.used_mem;
        for line in fill.lines.drain(..) {
            core.log(Level::Notice, line);
        }
    }

    /// Returns the bytes loaded and the bytes in total, 0 if nothing is known about them. For a payload without an
    /// announced length, the memory that its data used is an estimate.
    fn parts(&self) -> (u64, u64) {
        let total = if self.total_bytes == 0 { self.used_mem } else { self.total_bytes };
        (self.loaded_bytes, total)
    }

    /// Returns the progress in percent.
    pub fn percent(&self) -> f64 {
        let (loaded, total) = self.parts();
        let percent = if total == 0 { 0.0 } else { loaded as f64 * 100.0 / total as f64 };
        // Only a known total says that a load is complete.
        percent.min(if self.total_bytes == 0 { 99.99 } else { 100.0 })
    }

    /// Estimates the seconds left, from those elapsed and the remaining bytes; 1 in the first second.
    pub fn eta_secs(&self, now_us: u64) -> u64 {
        let (loaded, total) = self.parts();
        let elapsed = now_us.saturating_sub(self.began_us) / 1_000_000;
        if elapsed == 0 {
            return 1;
        }
        let left = total.saturating_sub(loaded).max(u64::from(self.total_bytes == 0));
        let eta = u128::from(elapsed) * u128::from(left) / (u128::from(loaded) + 1);
        u64::try_from(eta).unwrap_or(u64::MAX)
    }

    /// Whether the load may go on: `key-load-delay` has passed for the keys loaded before.
    pub(crate) fn is_ready(&self, core: &Core) -> bool {
        core.config.key_load_delay == 0 || core.now.mono_us >= self.ready_us
    }

    /// Delays the load for the keys loaded since the last call.
    pub(crate) fn delay(&mut self, core: &mut Core, keys: u64) {
        let new = keys.saturating_sub(self.paid_keys);
        let delay_us = match core.config.key_load_delay {
            0 => 0,
            us @ 1.. => new.saturating_mul(u64::from(us.unsigned_abs())),
            // A microsecond for that many keys: what is less than one is left for later.
            keys => new / u64::from(keys.unsigned_abs()),
        };
        if delay_us > 0 || core.config.key_load_delay >= 0 {
            self.paid_keys = keys;
        }
        if delay_us > 0 {
            self.ready_us = self.ready_us.max(core.now.mono_us).saturating_add(delay_us);
            self.wait(core);
        }
    }

    /// Sets the timer that wakes a load that waits.
    pub(crate) fn wait(&self, core: &mut Core) {
        if !self.is_ready(core) {
            let due_us = self.ready_us.min(core.now.mono_us.saturating_add(WAIT_US_MAX));
            core.timers.set(Timer::Load, due_us);
        }
    }
}
