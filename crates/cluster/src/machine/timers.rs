//! What happens without a message.

use super::Cluster;
use super::election::Election;
use super::manual::Manual;
use super::standing::Standing;
use crate::bus::{NodeFlags, PingKind};
use crate::injected::Bug;

/// Interval of the checks of all nodes, milliseconds.
const CHECK_MS: u64 = 100;

/// How many random nodes the one is chosen from that is asked.
const PINGED_OF: usize = 5;

/// For so long after a node has learned of another, it asks at each check, milliseconds: when a cluster is created, those
/// that it hears of last would take many seconds, since a message names only a tenth of all.
const LEARNING_MS: u64 = 1_000;

/// A node that says that this one is down, or that is marked FAIL itself and answers, is asked again after this time,
/// milliseconds: either is over soon, and until then slots are not served.
const RECOVERY_MS: u64 = 200;

#[derive(Debug, Default)]
pub(super) struct Timers {
    /// When the node last learned of another.
    pub learned_ms: Option<u64>,
    next_check_ms: u64,
    next_ping_ms: u64,
}

impl Timers {
    pub fn next_due(
        &self,
        now_ms: u64,
        election: &Election,
        manual: &Manual,
        standing: &Standing,
    ) -> u64 {
        let others = [election.next_due(), manual.next_due(), standing.next_due()];
        others.into_iter().flatten().filter(|due| *due > now_ms).fold(self.next_check_ms, u64::min)
    }
}

impl Cluster {
    pub(super) fn tick(&mut self) {
        let now = self.now_ms();
        self.check_manual_failover();
        if now < self.timers.next_check_ms {
            return;
        }
        self.timers.next_check_ms = now + CHECK_MS;
        self.blacklist.retain(|_, until| *until > now);
        self.tend_links();
        let is_learning = |at: u64| now.saturating_sub(at) < LEARNING_MS;
        if self.timers.learned_ms.is_some_and(is_learning) {
            self.ping_somebody();
        } else if now >= self.timers.next_ping_ms {
            self.timers.next_ping_ms = now + self.settings.ping_interval_ms;
            self.ping_somebody();
        }
        self.ping_the_silent();
        self.suspect_the_silent();
        self.leave_circle();
        self.leave_empty_master();
        self.relocate_if_needed();
        self.retry_save();
    }

    /// Asks the node that has been silent for longest, of some chosen at random.
    fn ping_somebody(&mut self) {
        let mut oldest = None;
        for _ in 0..PINGED_OF {
            let place = self.rng.below(self.nodes.places());
            let Some((key, node)) = self.nodes.at_place(place) else { continue };
            let is_askable = node.link.is_some() && node.ping_sent_ms.is_none();
            if is_askable && !node.is(NodeFlags::MYSELF) && !node.is(NodeFlags::HANDSHAKE) {
                oldest = oldest.into_iter().chain([(node.pong_ms, key)]).min();
            }
        }
        if let Some((_, key)) = oldest {
            self.ping(key, PingKind::Ping);
        }
    }

    /// Asks every node that has not answered for half of the timeout: with what is left it can be suspected in time.
    ///
    /// That it has answered others is enough for that, but not for a master that serves only while a majority of the
    /// masters answers this very node. It asks the others twice as often: else a link that fails for hardly more than half of
    /// the timeout would keep it from serving.
    fn ping_the_silent(&mut self) {
        let (now, half) = (self.now_ms(), self.settings.node_timeout_ms / 2);
        let needs_answers = self.needs_answers();
        let votes = self.nodes.me().votes() && !self.has_bug(Bug::StockRules);
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let is_askable = node.link.is_some() && node.ping_sent_ms.is_none();
            if !is_askable || node.is(NodeFlags::MYSELF) {
                continue;
            }
            // That others hear it does not help this node to be heard.
            let answer =
                if needs_answers && node.votes() { node.answered_ms } else { node.pong_ms };
            let age = answer.map_or(u64::MAX, |pong| now.saturating_sub(pong));
            let recovers = needs_answers
                && (node.denies_us || node.is(NodeFlags::FAIL))
                && !self.has_bug(Bug::StockRules);
            let pause = match needs_answers && node.votes() && votes {
                _ if recovers => RECOVERY_MS.min(half),
                // What it may serve for after the last answer is the timeout less this.
                true => half / 2,
                false => half,
            };
            // A replica that takes over with the consent of its master must know how far that one is.
            let is_urgent = self.manual.is_for_replica(key) || self.manual.awaits_answer(node);
            if age > pause || is_urgent {
                self.ping(key, PingKind::Ping);
            }
        }
    }
}
