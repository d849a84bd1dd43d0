//! All timers of the node; the next deadline is their minimum.

/// A timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// The cron, `hz` times a second: idle clients, save points, sampled rates.
    Cron,
    /// The replication cron, once a second: pings, acknowledgements, timeouts, reconnects.
    Replication,
    /// The start of a full synchronization that waits for more replicas
    /// (`repl-diskless-sync-delay`).
    SyncDelay,
    /// The end of the pause that ends first.
    PauseEnd,
    /// The earliest timeout of the blocked clients.
    Blocked,
    /// The end of DEBUG SLEEP.
    Sleep,
    /// The time limit of a SHUTDOWN that waits for replicas.
    Shutdown,
    /// The time limit of a FAILOVER that waits for a replica.
    Failover,
    /// The next sample of expensive metrics: those of the process, peak memory.
    Memory,
    /// The end of a wait of `key-load-delay`.
    Load,
    /// The next sync of the append-only file with `appendfsync everysec`, and the next try of a failed write.
    Append,
    /// The next thing that is due in Sentinel mode.
    Sentinel,
}

/// The number of timers, of which the last one is named here.
const COUNT: usize = Timer::Sentinel as usize + 1;

/// Deadlines in monotonic microseconds.
#[derive(Debug, Default)]
pub struct Timers {
    due: [Option<u64>; COUNT],
}

impl Timers {
    /// Sets a timer, replacing its previous deadline.
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

    /// Returns the deadline of a timer, if it is set.
    pub fn due(&self, timer: Timer) -> Option<u64> {
        self.due[timer as usize]
    }

    /// Stops a timer if it is due. Returns whether it was.
    pub fn take_due(&mut self, timer: Timer, now_us: u64) -> bool {
        self.due[timer as usize].take_if(|due| *due <= now_us).is_some()
    }

    /// Returns the next deadline of all timers.
    pub fn next(&self) -> Option<u64> {
        self.due.iter().flatten().min().copied()
    }
}
