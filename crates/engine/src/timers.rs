//! All timers of the node, in one place; the next deadline is their minimum.

/// What may be due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// Housekeeping, `hz` times a second: idle clients, save points, sampled rates.
    Cron,
    /// Replication's housekeeping, once a second: pings, acknowledgements, timeouts, reconnects.
    Replication,
    /// A full synchronization waits for more replicas to join (repl-diskless-sync-delay).
    SyncDelay,
    /// CLIENT PAUSE ends.
    PauseEnd,
    /// The first of the waiting clients gives up.
    Blocked,
    /// DEBUG SLEEP ends.
    Sleep,
    /// SHUTDOWN stops waiting for replicas.
    Shutdown,
    /// Metrics that are expensive to read are read again: those of the process, the peak of memory in use.
    Memory,
}

const COUNT: usize = 8;

/// Deadlines in monotonic microseconds.
#[derive(Debug, Default)]
pub struct Timers {
    due: [Option<u64>; COUNT],
}

impl Timers {
    /// Sets a timer, over what it was set to.
    pub fn set(&mut self, timer: Timer, due_us: u64) {
        self.due[timer as usize] = Some(due_us);
    }

    /// Sets a timer if it is not set.
    pub fn set_if_idle(&mut self, timer: Timer, due_us: u64) {
        self.due[timer as usize].get_or_insert(due_us);
    }

    /// Stops a timer.
    pub fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = None;
    }

    /// Whether a timer is set.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize].is_some()
    }

    /// When a timer is due, if it is set.
    pub fn due(&self, timer: Timer) -> Option<u64> {
        self.due[timer as usize]
    }

    /// Takes a timer that is due, so that each rings once.
    pub fn take_due(&mut self, timer: Timer, now_us: u64) -> bool {
        self.due[timer as usize].take_if(|due| *due <= now_us).is_some()
    }

    /// When the next one is due.
    pub fn next(&self) -> Option<u64> {
        self.due.iter().flatten().min().copied()
    }
}
