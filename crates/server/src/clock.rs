//! The node's clocks: monotonic and wall-clock time ([`Now`]), read once a round, and a tick
//! counter that is cheap enough to read for every command.
//!
//! The tick counter is the CPU's time stamp counter if the kernel uses it as its clock source (then
//! it is constant and synchronized across cores), else the monotonic clock. Its rate is measured
//! against the monotonic clock while the server runs, so the start is not delayed.

use russet_engine::io::{Host, Now, ProcessMetrics};
use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::process::Process;
use crate::sys;

/// Maximum age of the wall-clock reading; it is extrapolated with the monotonic clock in between.
const WALL_FRESH_US: u64 = 1000;
/// Maximum age of the reading of the thread's CPU time.
const CPU_FRESH_US: u64 = 100;
/// Work that takes longer is measured in CPU time.
const LONG_US: u64 = 1000;
/// Duration of the first measurement of the counter's rate.
const CALIBRATE_US: u64 = 20_000;
/// Fixed-point digits of the rate.
const RATE_SHIFT: u32 = 32;

fn microseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

fn mono_us() -> u64 {
    // Linux counts from boot, so it is never negative.
    microseconds(clock_gettime(ClockId::Monotonic)).unsigned_abs()
}

fn wall_us() -> i64 {
    microseconds(clock_gettime(ClockId::Realtime))
}

fn thread_cpu_us() -> u64 {
    microseconds(clock_gettime(ClockId::ThreadCPUTime)).unsigned_abs()
}

/// The start of a piece of work.
#[derive(Clone, Copy)]
pub struct WorkStart {
    ticks_us: u64,
    cpu_us: u64,
}

/// The clocks of the process.
pub struct Clock {
    cpu_us: u64,
    cpu_read_at: u64,
    wall_ahead_us: i64,
    wall_read_at: u64,
    ticks: Ticks,
    process: Process,
}

/// The tick counter: `us = at_us + (cycles - at_cycles) * rate`.
struct Ticks {
    trusted: bool,
    start_us: u64,
    start_cycles: u64,
    at_us: u64,
    at_cycles: u64,
    /// Microseconds per cycle, times 2^32; 0 while not yet measured.
    rate: u64,
}

impl Clock {
    /// Starts the clocks.
    pub fn new() -> Clock {
        let (us, cycles) = (mono_us(), sys::cycles());
        let mut clock = Clock {
            cpu_us: 0,
            cpu_read_at: 0,
            wall_ahead_us: 0,
            wall_read_at: 0,
            ticks: Ticks::new(counter_is_trusted(), us, cycles),
            process: Process::new(),
        };
        clock.set_wall(us, wall_us());
        clock
    }

    /// Returns the time of a round.
    pub fn now(&mut self) -> Now {
        self.at(mono_us(), wall_us, sys::cycles())
    }

    /// Returns the time for a reading of the monotonic clock and the counter; reads the wall clock
    /// if its last reading is too old.
    fn at(&mut self, mono_us: u64, wall_us: impl FnOnce() -> i64, cycles: u64) -> Now {
        if mono_us.wrapping_sub(self.wall_read_at) > WALL_FRESH_US {
            self.set_wall(mono_us, wall_us());
        }
        self.ticks.anchor(mono_us, cycles);
        Now { mono_us, wall_us: mono_us.cast_signed() + self.wall_ahead_us }
    }

    /// Starts measuring a piece of work.
    pub fn begin(&mut self) -> WorkStart {
        let ticks_us = self.ticks.read();
        // Unlike the other clocks this one needs a system call, so it is not read in every round.
        // An older reading makes a long round look longer, by at most its age.
        if ticks_us.wrapping_sub(self.cpu_read_at) > CPU_FRESH_US {
            (self.cpu_us, self.cpu_read_at) = (thread_cpu_us(), ticks_us);
        }
        WorkStart { ticks_us, cpu_us: self.cpu_us }
    }

    /// Returns the microseconds since `start`. Long periods are limited to the thread's CPU time,
    /// which excludes time given to other threads.
    pub fn since(&mut self, start: WorkStart) -> u64 {
        elapsed_us(start, self.ticks.read(), thread_cpu_us)
    }

    fn set_wall(&mut self, mono_us: u64, wall_us: i64) {
        self.wall_ahead_us = wall_us - mono_us.cast_signed();
        self.wall_read_at = mono_us;
    }
}

fn elapsed_us(start: WorkStart, ticks_us: u64, cpu_us: impl FnOnce() -> u64) -> u64 {
    let elapsed = ticks_us.saturating_sub(start.ticks_us);
    match elapsed > LONG_US {
        true => elapsed.min(cpu_us().saturating_sub(start.cpu_us)),
        false => elapsed,
    }
}

impl Host for Clock {
    fn ticks_us(&mut self) -> u64 {
        self.ticks.read()
    }

    fn process(&mut self) -> ProcessMetrics {
        self.process.metrics()
    }
}

impl Ticks {
    fn new(trusted: bool, us: u64, cycles: u64) -> Ticks {
        Ticks { trusted, start_us: us, start_cycles: cycles, at_us: us, at_cycles: cycles, rate: 0 }
    }

    /// Sets a reading of both clocks as the new base, and measures the rate when due.
    fn anchor(&mut self, us: u64, cycles: u64) {
        if !self.trusted {
            return;
        }
        (self.at_us, self.at_cycles) = (us, cycles);
        let (run_us, run) = (us - self.start_us, cycles.wrapping_sub(self.start_cycles));
        // Measured after a short run, and again more precisely after a run a hundred times as long.
        let due = if self.rate == 0 { CALIBRATE_US } else { 100 * CALIBRATE_US };
        if run_us >= due && run > 0 {
            self.rate = rate(run_us, run);
            if due > CALIBRATE_US {
                (self.start_us, self.start_cycles) = (us, cycles);
            }
        }
    }

    #[inline]
    fn read(&self) -> u64 {
        if self.rate == 0 { mono_us() } else { self.us_at(sys::cycles()) }
    }

    /// Converts a reading of the counter to microseconds; the rate must be known.
    #[inline]
    fn us_at(&self, cycles: u64) -> u64 {
        let cycles = cycles.wrapping_sub(self.at_cycles);
        // A round takes seconds at most: 2^40 cycles are minutes, and the product fits in 128 bits.
        let us = (u128::from(cycles) * u128::from(self.rate)) >> RATE_SHIFT;
        self.at_us.saturating_add(us as u64)
    }
}

fn rate(us: u64, cycles: u64) -> u64 {
    let rate = (u128::from(us) << RATE_SHIFT) / u128::from(cycles);
    u64::try_from(rate).unwrap_or(0)
}

/// Whether ticks come from the CPU's time stamp counter.
pub fn counter_is_trusted() -> bool {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    cfg!(target_arch = "x86_64") && std::fs::read_to_string(SOURCE).is_ok_and(|s| s.trim() == "tsc")
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 5_000_000;

    #[test]
    fn now_follows_both_clocks() {
        let mut clock = Clock { ticks: Ticks::new(false, START, 0), ..Clock::new() };
        clock.set_wall(START, 70_000_000);
        // The wall clock is extrapolated while its reading is fresh.
        let now = clock.at(START + 500, || unreachable!(), 0);
        assert_eq!(now, Now { mono_us: START + 500, wall_us: 70_000_500 });
        // Then it is read again; it may have jumped.
        let now = clock.at(START + 1001, || 30_000_000, 0);
        assert_eq!(now, Now { mono_us: START + 1001, wall_us: 30_000_000 });
        let now = clock.at(START + 1011, || unreachable!(), 0);
        assert_eq!(now, Now { mono_us: START + 1011, wall_us: 30_000_010 });
    }

    #[test]
    fn long_work_is_measured_in_cpu_time() {
        let start = WorkStart { ticks_us: START, cpu_us: 100 };
        assert_eq!(elapsed_us(start, START + LONG_US, || unreachable!()), LONG_US);
        assert_eq!(elapsed_us(start, START + 9000, || 100 + 40), 40);
        // An older CPU reading never makes work look longer than it was.
        assert_eq!(elapsed_us(start, START + 9000, || 100 + 9050), 9000);
    }

    #[test]
    fn a_measured_rate_gives_microseconds() {
        // 3 GHz.
        let mut ticks = Ticks::new(true, START, 7);
        ticks.anchor(START + 10_000, 7 + 30_000_000);
        assert_eq!(ticks.rate, 0, "too short to measure");
        ticks.anchor(START + 20_000, 7 + 60_000_000);
        let at = |us: u64| ticks.us_at(7 + 60_000_000 + 3000 * us);
        assert_eq!(at(0), START + 20_000);
        // The rate is rounded down, by less than a microsecond in a second.
        for us in [1, 1000, 1_000_000] {
            assert!((us - 1..=us).contains(&(at(us) - START - 20_000)), "{us}");
        }
    }

    #[test]
    fn a_longer_run_measures_more_finely() {
        let mut ticks = Ticks::new(true, START, 0);
        // The first measurement was late by a hundredth.
        ticks.anchor(START + 20_200, 60_000_000);
        assert_eq!(ticks.us_at(60_000_000 + 30_000_000), START + 20_200 + 10_099);
        ticks.anchor(START + 2_000_000, 6_000_000_000);
        assert_eq!(ticks.us_at(6_000_000_000 + 30_000_000), START + 2_000_000 + 9_999);
    }

    #[test]
    fn a_counter_that_is_not_trusted_is_not_measured() {
        let mut ticks = Ticks::new(false, START, 0);
        ticks.anchor(START + 20_000, 60_000_000);
        assert_eq!(ticks.rate, 0);
    }
}
