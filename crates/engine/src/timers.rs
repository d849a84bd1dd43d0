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
    /// The timeout of a MIGRATE, and the end of connections that it keeps.
    Migrate,
    /// The next thing that is due in Sentinel mode.
    Sentinel,
    /// … and in cluster mode.
    Cluster,
    /// The next step of a hand-over before a shutdown.
    HandOver,
}

/// The number of timers, of which the last one is named here.
const COUNT: usize = Timer::HandOver as usize + 1;

/// Deadlines in monotonic microseconds.
#[derive(Debug)]
pub struct Timers {
    /// [`NEVER`] if a timer is not set. The minimum is taken after every turn, and plain numbers are compared at once.
    due: [u64; COUNT],
}

/// The deadline of a timer that is not set; one that is set so late would never be due either.
const NEVER: u64 = u64::MAX;

impl Default for Timers {
    fn default() -> Timers {
        Timers { due: [NEVER; COUNT] }
    }
}

impl Timers {
    /// Sets a timer, replacing its previous deadline.
    pub fn set(&mut self, timer: Timer, due_us: u64) {
        self.due[timer as usize] = due_us;
    }

    /// Sets a timer if it is not set.
    pub fn set_if_idle(&mut self, timer: Timer, due_us: u64) {
        let due = &mut self.due[timer as usize];
        if *due == NEVER {
            *due = due_us;
        }
    }

    /// Stops a timer.
    pub fn stop(&mut self, timer: Timer) {
        self.due[timer as usize] = NEVER;
    }

    /// Whether a timer is set.
    pub fn is_set(&self, timer: Timer) -> bool {
        self.due[timer as usize] != NEVER
    }

    /// Returns the deadline of a timer, if it is set.
    pub fn due(&self, timer: Timer) -> Option<u64> {
        Some(self.due[timer as usize]).filter(|&due| due != NEVER)
    }

    /// Stops a timer if it is due. Returns whether it was.
    pub fn take_due(&mut self, timer: Timer, now_us: u64) -> bool {
        let is_due = self.due[timer as usize] <= now_us;
        if is_due {
            self.stop(timer);
        }
        is_due
    }

    /// Returns the next deadline of all timers.
    pub fn next(&self) -> Option<u64> {
        let next = self.due.iter().fold(NEVER, |next, &due| next.min(due));
        Some(next).filter(|&next| next != NEVER)
    }
}
