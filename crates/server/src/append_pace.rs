//! How many writes of a file are collected before its thread is woken.
//! Not in here: the queue and the thread, which are in `append_file.rs`. No time is read.
//!
//! To wake a thread up, to switch to it and to be woken by it costs some 8 µs, as much as a command at pipeline 1.
//! When writes come in quick succession, a few of them can share that, at the price of a delay that nobody notices
//! beside the wake-ups saved; when they come one by one, a delay would only be one. Nobody says in advance which it is
//! (a client that waits for its reply sends nothing meanwhile, however long one waits), so it is found out, as TCP
//! finds the width of a path: the number of writes to wait for is doubled after it has come in time for a while, and
//! halved when it has not, several times in short.
//!
//! ```text
//!   writes     │  │ │ │   │ │ │ │   │ │   │ │              target 4
//!              ▼  ▼ ▼ ▼   ▼ ▼ ▼ ▼   ▼ ▼   ▼ ▼
//!   wake-ups         ▲         ▲          ▲  late: if repeated, target 2, and more patience before the next attempt at 4
//!                    └─ DELAY_US at most ─┘
//! ```

/// How long a write waits for others at most, in microseconds.
const DELAY_US: u64 = 200;

/// Writes that are waited for at most.
const TARGET_MAX: u32 = 32;

/// Wake-ups in time before more writes are waited for: at first, and after many attempts in vain.
const PATIENCE: (u32, u32) = (64, 1 << 14);

/// Late wake-ups after which fewer writes are waited for.
const LATE_MAX: u32 = 8;

/// Wake-ups in time for which a late one is forgiven: on a busy machine threads often have no processor for a moment.
const FORGIVING: u32 = 8;

/// See the module.
#[derive(Debug)]
pub struct Pace {
    /// Writes to wait for.
    target: u32,
    /// Writes that wait for a wake-up, and since when.
    waiting: u32,
    since_us: u64,
    /// Wake-ups in time since the target was changed, and how many are needed to change it.
    in_time: u32,
    patience: u32,
    /// Late wake-ups that are not forgiven.
    late: u32,
    /// The target that was too high the last time.
    too_high: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        let (target, patience, too_high) = (1, PATIENCE.0, u32::MAX);
        Pace { target, waiting: 0, since_us: 0, in_time: 0, patience, late: 0, too_high }
    }
}

impl Pace {
    /// Takes note of a write for a thread that sleeps. Returns whether it is to be woken now.
    pub fn write(&mut self, now_us: u64) -> bool {
        if self.waiting == 0 {
            self.since_us = now_us;
        }
        self.waiting += 1;
        let is_time = self.waiting >= self.target || now_us >= self.since_us + DELAY_US;
        if is_time {
            self.woken();
        }
        is_time
    }

    /// Takes note that the thread is awake: what waits is taken without a wake-up.
    pub fn awake(&mut self) {
        self.waiting = 0;
    }

    /// Returns when the thread is to be woken at the latest, if writes wait.
    pub fn due_us(&self) -> Option<u64> {
        (self.waiting > 0).then_some(self.since_us + DELAY_US)
    }

    /// Takes note that the thread is woken for what waits.
    pub fn woken(&mut self) {
        let has_come = self.waiting >= self.target;
        if std::mem::take(&mut self.waiting) == 0 {
            return;
        }
        if !has_come {
            self.late += 1;
            if self.late >= LATE_MAX {
                self.too_high = self.target;
                self.patience = (self.patience * 2).min(PATIENCE.1);
                self.set_target(self.target / 2);
            }
            return;
        }
        self.in_time += 1;
        if self.in_time.is_multiple_of(FORGIVING) {
            self.late = self.late.saturating_sub(1);
        }
        if self.in_time >= self.patience {
            if self.target >= self.too_high {
                (self.patience, self.too_high) = (PATIENCE.0, u32::MAX);
            }
            self.set_target(self.target * 2);
        }
    }

    fn set_target(&mut self, target: u32) {
        self.target = target.clamp(1, TARGET_MAX);
        (self.in_time, self.late) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients that each send a write when the one before is answered, `think_us` after it. Returns the share of wake-ups
    /// that came too late, and writes for each wake-up, in the second half of the time.
    fn closed_loop(clients: u64, think_us: u64) -> (f64, f64) {
        let mut pace = Pace::default();
        let mut sends: std::collections::BinaryHeap<_> =
            (0..clients).map(|client| std::cmp::Reverse(client * think_us)).collect();
        let (mut waiting, mut counted) = (0, (0_u32, 0_u32, 0_u64));
        let wakes = 200_000;
        for wake in 0..wakes {
            let (woken_us, is_late) = loop {
                let due = pace.due_us().unwrap_or(u64::MAX);
                let next = sends.peek().map_or(u64::MAX, |at| at.0);
                if next >= due {
                    pace.woken();
                    break (due, true);
                }
                sends.pop();
                waiting += 1;
                if pace.write(next) {
                    break (next, false);
                }
            };
            if wake >= wakes / 2 {
                counted.0 += 1;
                counted.1 += u32::from(is_late);
                counted.2 += waiting;
            }
            // The generator sends one after the other.
            let from = woken_us + 20;
            sends.extend((0..waiting).map(|at| std::cmp::Reverse(from + think_us + at * 10)));
            waiting = 0;
        }
        (f64::from(counted.1) / f64::from(counted.0), counted.2 as f64 / f64::from(counted.0))
    }

    #[test]
    fn who_waits_for_the_reply_is_not_delayed() {
        for clients in [1, 2, 3] {
            let (late, _) = closed_loop(clients, 20);
            assert!(late < 0.001, "{clients} clients: {late}");
        }
        let (late, _) = closed_loop(1, 5000);
        assert!(late < 0.001, "{late}");
    }

    #[test]
    fn many_writers_share_wake_ups() {
        let (late, writes) = closed_loop(50, 20);
        assert!(late < 0.01 && writes > 8.0, "{late} too late, {writes} writes each");
    }
}
