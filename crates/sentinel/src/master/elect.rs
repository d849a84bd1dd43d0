//! Votes, and the election of the Sentinel that carries out a failover.
//!
//! An election has an epoch, a number that never was used before. In each epoch a Sentinel votes once per master, for the
//! first that asks. Whoever has the votes of a majority of all *known* Sentinels, and of at least `quorum`, is the leader,
//! and there cannot be two. So a vote must be on disk before anybody learns of it: after a restart it would be given again.
//!
//! A candidate votes for itself, and asks for votes when that is on disk. To avoid elections that nobody wins, Sentinels
//! do not stand at the same time: they take their turn by a rank that all of them compute alike.

use std::collections::BTreeMap;

use super::{FailoverKind, Master, Phase};
use crate::context::Context;
use crate::injected::Bug;
use crate::io::Level;
use crate::peers::Peers;

/// Delay of a candidate for each one that ranks before it.
const RANK_DELAY_MS: u64 = 150;
/// Random part of the delay.
const RANK_JITTER_MS: u64 = 20;
/// Delay after an election that nobody won, which doubles each time.
const LOST_DELAY_MS: u64 = 300;
/// How long a failover that a user has ordered waits for votes.
pub(super) const FORCED_WAIT_MS: u64 = 200;
/// Random part of the delay before a failover that others might have begun.
pub(super) const DESYNC_MS: u64 = 1000;

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vote {
    /// For whom.
    pub leader: String,
    pub epoch: u64,
    /// When it was given.
    pub at: u64,
    /// The version of the state that has it.
    pub version: u64,
}

impl Master {
    /// Whether we ask for votes: the election has begun, and that is on disk.
    pub(super) fn stands_for_election(&self, cx: &Context) -> bool {
        let failover = self.failover.as_ref().filter(|it| it.phase == Phase::WaitStart);
        let is_safe = |version| cx.is_saved(version) || cx.injected(Bug::VoteBeforeSave);
        failover.is_some_and(|it| is_safe(it.version))
    }

    /// Handles an epoch that somebody else reports. Returns false if it cannot be true.
    pub(super) fn see_epoch(&mut self, cx: &mut Context, epoch: u64) -> bool {
        let is_plausible = cx.is_plausible(epoch);
        if is_plausible && epoch > cx.epoch {
            self.enter_epoch(cx, epoch);
        }
        is_plausible
    }

    /// Begins a new epoch.
    pub(super) fn next_epoch(&mut self, cx: &mut Context) -> u64 {
        let epoch = cx.epoch.saturating_add(1);
        self.enter_epoch(cx, epoch);
        epoch
    }

    fn enter_epoch(&mut self, cx: &mut Context, epoch: u64) {
        cx.epoch = epoch;
        cx.changed();
        self.report(cx, Level::Warning, "+new-epoch", epoch.to_string());
    }

    /// Votes for a candidate if there was no vote in its epoch or a later one. Returns the last vote.
    pub fn vote_for(&mut self, cx: &mut Context, epoch: u64, candidate: &str) -> Option<Vote> {
        if !self.see_epoch(cx, epoch) {
            return self.vote.clone();
        }
        let again = cx.injected(Bug::TwoVotesInEpoch) && self.settings.leader_epoch == epoch;
        // A leader finishes its failover before it helps another Sentinel to begin one.
        let leads = self.failover.as_ref().is_some_and(|it| it.phase > Phase::WaitStart);
        let is_other = candidate != cx.my_id;
        if (self.settings.leader_epoch < epoch || again)
            && cx.epoch <= epoch
            && !(leads && is_other)
        {
            self.settings.leader_epoch = epoch;
            cx.changed();
            let version = cx.version_of_changes();
            self.vote = Some(Vote { leader: candidate.to_owned(), epoch, at: cx.ms(), version });
            self.report(cx, Level::Warning, "+vote-for-leader", format!("{candidate} {epoch}"));
            if is_other {
                if self.failover.is_some() {
                    self.report_abort(cx, "-failover-abort-not-elected");
                }
                // It will do the failover; we give it time.
                let timeout = self.settings.failover_timeout_ms * 2;
                self.not_before = cx.ms() + cx.random(DESYNC_MS) + timeout;
                self.delay_logged = false;
                self.candidacy_at = None;
            }
        } else if let Some(vote) = &mut self.vote
            && !cx.is_saved(vote.version)
        {
            // It is asked for again, and its save may have failed.
            cx.changed();
            vote.version = cx.version_of_changes();
        }
        self.vote.clone()
    }

    /// Returns the leader of the epoch of our election, if there is one yet.
    pub(super) fn leader(&self, cx: &Context, epoch: u64) -> Option<String> {
        let votes = self.votes(cx, epoch);
        let (leader, count) = votes.into_iter().max_by_key(|(_, count)| *count)?;
        let needed = self.majority(cx).max(self.settings.quorum as usize);
        (count >= needed).then_some(leader)
    }

    /// Counts the votes of an epoch. Our own counts when it is on disk.
    fn votes(&self, cx: &Context, epoch: u64) -> BTreeMap<String, usize> {
        let mut votes = BTreeMap::new();
        let others = self.voters.values().filter(|voter| voter.leader_epoch == epoch);
        let own = self.vote.as_ref().filter(|vote| vote.epoch == epoch);
        let own = own.filter(|vote| cx.is_saved(vote.version) || cx.injected(Bug::VoteBeforeSave));
        let leaders = others.filter_map(|voter| voter.leader.as_ref());
        for leader in leaders.chain(own.map(|vote| &vote.leader)) {
            *votes.entry(leader.clone()).or_insert(0) += 1;
        }
        votes
    }

    fn majority(&self, cx: &Context) -> usize {
        let mut known = self.voters_len();
        if cx.injected(Bug::MajorityOfReachable) {
            known -= self.voters.values().filter(|voter| voter.down_since.is_some()).count();
        }
        known / 2 + 1
    }

    /// Whether nobody can win this epoch any more, even with all votes that are still to come. A vote of a Sentinel that is
    /// down will not come; if it has come to another candidate, that leader votes for nobody else until it is done.
    pub(super) fn is_undecidable(&self, cx: &Context, epoch: u64) -> bool {
        let votes = self.votes(cx, epoch);
        let is_open = |voter: &&super::Voter| {
            voter.down_since.is_none() && (voter.leader_epoch != epoch || voter.leader.is_none())
        };
        let is_counted = |vote: &Vote| vote.epoch == epoch && cx.is_saved(vote.version);
        let own_is_open = !self.vote.as_ref().is_some_and(is_counted);
        let open = self.voters.values().filter(is_open).count() + usize::from(own_is_open);
        let best = votes.values().max().copied().unwrap_or_default();
        best + open < self.majority(cx).max(self.settings.quorum as usize)
    }

    /// Starts a failover if the master is objectively down, and none was tried recently.
    pub(super) fn start_failover_if_needed(&mut self, cx: &mut Context) {
        if self.odown_since.is_none() || self.failover.is_some() {
            self.candidacy_at = None;
            return;
        }
        let now = cx.ms();
        self.excuse_lost_leader(cx);
        if now < self.not_before && !cx.injected(Bug::FailoverTooEarly) {
            if !std::mem::replace(&mut self.delay_logged, true) {
                let wait = i64::try_from(self.not_before - now).unwrap_or_default();
                let when = russet_journal::clock(cx.now.wall_ms.saturating_add(wait));
                let text = "Next failover delay: I will not start a failover before";
                cx.log(Level::Notice, format!("{text} {when}"));
            }
            return;
        }
        let rank = self.rank(cx);
        let delay = rank * RANK_DELAY_MS + cx.random(RANK_JITTER_MS) * rank.min(1);
        let at = *self.candidacy_at.get_or_insert(now + delay);
        if now >= at {
            self.candidacy_at = None;
            self.start_failover(cx, FailoverKind::Elected);
        }
    }

    /// If the Sentinel that we voted for is down itself, it will not do the failover. When it asked for the vote it was there,
    /// even if it had been found down before.
    fn excuse_lost_leader(&mut self, cx: &Context) {
        let Some(vote) = &self.vote else { return };
        let voter = self.voters.get(&vote.leader);
        if let Some(since) = voter.and_then(|voter| voter.down_since) {
            let after = since.max(vote.at) + self.settings.down_after_ms + cx.periods.ask;
            self.not_before = self.not_before.min(after);
        }
    }

    /// Returns how many Sentinels that seem to be up stand for election before us. The order differs from epoch to epoch.
    fn rank(&self, cx: &Context) -> u64 {
        let own = order(&cx.my_id, cx.epoch);
        let up = self.voters.iter().filter(|(_, voter)| voter.down_since.is_none());
        up.filter(|(id, _)| order(id, cx.epoch) < own).count() as u64
    }

    /// Advances an election: we may have won it, or lost it.
    pub(super) fn await_votes(&mut self, cx: &mut Context, peers: &mut Peers) {
        if self.stands_for_election(cx)
            && let Some(failover) = &mut self.failover
            && !std::mem::replace(&mut failover.has_asked, true)
        {
            self.voters.values_mut().for_each(|voter| voter.asked = None);
            self.ask_others(cx, peers, true);
        }
        let Some(failover) = &self.failover else { return };
        let (epoch, kind, since) = (failover.epoch, failover.kind, failover.since);
        let leader = self.leader(cx, epoch);
        if leader.as_ref() == Some(&cx.my_id) {
            return self.elected(cx);
        }
        let now = cx.ms();
        if kind != FailoverKind::Elected {
            // The user has ordered it: votes only keep others from this epoch, and are not waited for for long.
            if now >= since + FORCED_WAIT_MS && cx.is_saved(failover.version) {
                self.elected(cx);
            }
            return;
        }
        if leader.is_none() && self.is_undecidable(cx, epoch) {
            return self.lost_election(cx);
        }
        let timeout = cx.periods.election_timeout.min(self.settings.failover_timeout_ms);
        if leader.is_some() || now > since + timeout {
            self.report_abort(cx, "-failover-abort-not-elected");
        }
    }

    /// Ends an election that nobody has won: another one may follow soon.
    fn lost_election(&mut self, cx: &mut Context) {
        let factor = 1 << self.lost_elections.min(10);
        self.lost_elections = self.lost_elections.saturating_add(1);
        let delay = LOST_DELAY_MS * factor;
        let delay = (delay + cx.random(delay)).min(self.settings.failover_timeout_ms * 2);
        self.report_abort(cx, "-failover-abort-not-elected");
        self.not_before = cx.ms() + delay;
        self.delay_logged = true;
    }
}

/// Orders Sentinels for an epoch (FNV-1a over both).
fn order(id: &str, epoch: u64) -> u64 {
    let bytes = id.bytes().chain(epoch.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
