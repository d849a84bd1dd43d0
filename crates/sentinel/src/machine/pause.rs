//! Time in which this process did not run: it was stopped, starved, or its machine slept.
//!
//! Then replies wait unread in sockets, and everybody seems to have been silent. Redis stops judging for 30 seconds if its
//! timer comes two seconds late. Here a pause counts for nobody: each silence is shorter by it. After a long one, nothing is
//! judged until all masters have had the time to answer again, which is known as soon as they do. What was agreed with
//! others before is forgotten, and an election is given up, since the others have gone on. The clock is monotonic: a jump
//! of the wall clock is no pause.

use super::Sentinel;
use crate::io::Level;
use crate::master::Phase;

/// Lateness that is not worth mentioning.
const LATE_MS: u64 = 20;

/// The state after a long pause.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// When it ended.
    pub since: u64,
}

impl Sentinel {
    /// Notices that this call comes later than expected.
    pub(super) fn notice_pause(&mut self, expected: u64) {
        let now = self.cx.ms();
        let late = now.saturating_sub(expected);
        if expected == 0 || late < LATE_MS {
            return;
        }
        for master in self.masters.values_mut() {
            master.servers_mut().for_each(|server| server.link.excuse(now, late));
        }
        self.peers.iter_mut().for_each(|(_, peer)| peer.link.excuse(now, late));
        if late > self.cx.periods.tilt_trigger {
            self.tilt();
        }
    }

    fn tilt(&mut self) {
        let Sentinel { cx, masters, .. } = self;
        let now = cx.ms();
        self.pause.since = now;
        cx.is_tilted = true;
        cx.event(Level::Warning, "+tilt", "#tilt mode entered");
        for master in masters.values_mut() {
            for voter in master.voters.values_mut() {
                (voter.says_down, voter.leader) = (false, None);
            }
            let is_early = |phase: Phase| phase < Phase::HandOver;
            if master.failover.as_ref().is_some_and(|it| is_early(it.phase)) {
                master.report_abort(cx, "-failover-abort-not-elected");
            }
            master.servers_mut().for_each(|server| server.link.restart_clock(now));
        }
        let numbers: Vec<u32> = self.masters.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.schedule(number, 0));
    }

    /// Judges again, once all masters have answered or had the time for it.
    pub(super) fn end_pause(&mut self) {
        let Sentinel { cx, masters, .. } = self;
        if !cx.is_tilted {
            return;
        }
        let (now, since) = (cx.ms(), self.pause.since);
        let has_answered = |master: &crate::master::Master| {
            let waited = now.saturating_sub(since);
            master.server.link.last_valid > since || waited > master.settings.down_after_ms
        };
        if now > since + cx.periods.tilt || masters.values().all(has_answered) {
            cx.is_tilted = false;
            cx.event(Level::Warning, "-tilt", "#tilt mode exited");
        }
    }
}
