//! Whether this node serves: is the cluster up, and is this node still part of its majority?
//!
//! A master that is cut off must stop before the others put a replica in its place, or both serve, and what clients write
//! here is lost when it becomes a replica. So what counts is not whom it suspects but who has heard of it:
//!
//! ```text
//!   this node    PING ──┐          ┌──▶ PONG            serves until t + timeout
//!                t      │          │
//!   a master            └──▶ heard ┘                    suspects this node at t + timeout at the earliest
//! ```
//!
//! While a majority of the masters has answered pings that were sent within the last timeout, none of that majority
//! suspects this node, and no other majority exists. A node that was stopped finds all those answers too old as soon as
//! it goes on, before it serves one command. (Clocks may differ, but must run at one rate, and all nodes need the same
//! `cluster-node-timeout`.)
//!
//! For a majority of voters that must hold together with a majority of those that hear, so each master keeps these rules:
//!
//! * From FAIL on, and as long as its vote may still elect somebody, its answers to a master with replicas have an entry of
//!   gossip about that master itself, with FAIL: such an answer does not count.
//! * It does not vote against a master to which it has sent another answer within the timeout, unless an operator forces the
//!   failover. (What it has heard of that master does not matter: one that comes back after FAIL is replaced, and does not
//!   keep its slots unserved until the FAIL is taken back.)
//! * It does not vote when no majority has answered it within the timeout: it may have been replaced itself.
//! * It corrects a master that claims slots of others before it answers, on the same connection; if the epochs are equal,
//!   so that no correction can be believed, its answer does not count either.
//!
//! So no slot has two masters that serve it, except
//!
//! * after FAILOVER FORCE and TAKEOVER, for which nobody asks the old master, until it hears of it: at the latest with the
//!   next answer of a voter that has. In a coordinated failover both serve reads for as long, but the old one holds writes;
//! * when a replica wins while slots of its master are being moved, and has not got the driver's replicated SETSLOT, as those
//!   of stock servers before Valkey 8: it claims them until it hears of the new owner;
//! * if a winner has been cut off, or has waited for its disk, for longer than an election lasts before the voters hear of
//!   it. By then they have forgiven the old master. The two share one place among the voters, so that with three masters
//!   both can have a majority, if the cuts go between just those nodes;
//! * if nodes do not agree who the voters are by more than one master: several got their first slots, or lost their last
//!   ones, and not all have heard of it;
//! * with stock servers among the voters, which have none of these rules.
//!
//! In a large cluster masters are not asked often enough for that; there the rule is that of stock servers: a majority of
//! masters is not suspected.

use super::Cluster;
use crate::bus::NodeFlags;
use crate::injected::Bug;
use crate::io::Level;
use crate::nodes::NodeKey;

/// After its start a master waits for so long, milliseconds: it may have been replaced.
pub(super) const WRITABLE_DELAY_MS: u64 = 2_000;

/// Bounds of how long a master waits that was in a minority, milliseconds; between them it is the timeout. One that suspected
/// nobody, and was only not answered for a while, waits for the lower bound: voters that may have replaced it deny it, and
/// stock ones have told it by then. With the timeout, a link that fails again and again would keep it from serving for as
/// long, although nobody misses it.
const REJOIN_MIN_MS: u64 = 500;
const REJOIN_MAX_MS: u64 = 5_000;

/// With more masters than this, not all of them are asked within a timeout.
const LEASED_VOTERS_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Standing {
    is_ok: bool,
    started_ms: u64,
    /// When this node last ceased to serve, or went on after a pause.
    fell_ms: u64,
    /// When this node last was in a minority.
    minority_ms: Option<u64>,
    /// When a majority last had not answered it, or had denied it.
    unheard_ms: Option<u64>,
    /// When it last had just started, was in a minority, or had no answers of a majority, not even denials.
    cut_off_ms: u64,
    /// Until when a majority has heard of it.
    heard_until_ms: Option<u64>,
    /// Why it does not serve, as it was logged.
    reason: Option<Reason>,
}

/// Why a node does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    Started,
    Uncovered,
    Minority,
    Unheard,
    Rejoining,
}

impl Reason {
    fn text(self) -> &'static str {
        match self {
            Reason::Started => "this master has just started",
            Reason::Uncovered => {
                "At least one hash slot is not served by any available node. Please check \
                the 'cluster-require-full-coverage' configuration"
            }
            Reason::Minority => "I am part of a minority partition",
            Reason::Unheard => {
                "a majority of the masters has not answered this one for the node timeout"
            }
            Reason::Rejoining => "this master was part of a minority a moment ago",
        }
    }
}

impl Standing {
    pub fn new(now_ms: u64) -> Standing {
        Standing {
            is_ok: false,
            started_ms: now_ms,
            fell_ms: now_ms,
            minority_ms: None,
            unheard_ms: None,
            cut_off_ms: now_ms,
            heard_until_ms: None,
            reason: None,
        }
    }

    pub fn is_ok(&self) -> bool {
        self.is_ok
    }

    /// Whether this node does not serve since it may have been replaced.
    pub fn may_be_replaced(&self) -> bool {
        !self.is_ok && !matches!(self.reason, None | Some(Reason::Uncovered))
    }

    /// When this node stops to serve unless it is answered.
    pub fn next_due(&self) -> Option<u64> {
        self.heard_until_ms.filter(|_| self.is_ok).map(|until| until.saturating_add(1))
    }
}

impl Cluster {
    /// Finds out anew whether this node serves.
    pub(super) fn update_standing(&mut self) {
        let obstacle = self.obstacle();
        let is_ok = obstacle.is_none();
        if self.standing.is_ok != is_ok {
            self.standing.is_ok = is_ok;
            self.standing.reason = None;
            self.standing.fell_ms = self.now_ms();
            let level = if is_ok { Level::Notice } else { Level::Warning };
            let state = if is_ok { "ok" } else { "fail" };
            self.log(level, format!("Cluster state changed: {state}"));
            if is_ok {
                self.note("+served", self.nodes.my_key(), "this node serves");
            }
        }
        if let Some(reason) = obstacle
            && self.standing.reason != Some(reason)
        {
            self.standing.reason = Some(reason);
            self.log(Level::Warning, format!("Cluster is currently down: {}", reason.text()));
            self.note("-served", self.nodes.my_key(), reason.text());
        }
    }

    fn obstacle(&mut self) -> Option<Reason> {
        let now = self.now_ms();
        let me = self.nodes.me();
        let (is_master, votes) = (me.is_master(), me.votes());
        if is_master
            && !self.standing.is_ok
            && now.saturating_sub(self.standing.started_ms) < WRITABLE_DELAY_MS
        {
            self.standing.cut_off_ms = now;
            return Some(Reason::Started);
        }
        let mut obstacle = None;
        if self.settings.require_full_coverage && !self.is_covered() {
            obstacle = Some(Reason::Uncovered);
        }
        let is_minority = self.nodes.working_voters() < self.nodes.quorum();
        let is_alone = is_minority || (votes && !self.is_heard_by_majority());
        if is_minority || (votes && self.is_unanswered()) {
            self.standing.cut_off_ms = now;
        }
        if is_alone && !self.has_bug(Bug::MinorityServes) {
            let (since, reason) = match is_minority {
                true => (&mut self.standing.minority_ms, Reason::Minority),
                false => (&mut self.standing.unheard_ms, Reason::Unheard),
            };
            *since = Some(now);
            obstacle = Some(reason);
        }
        if obstacle.is_none() && !self.standing.is_ok && is_master && self.rejoins() {
            return Some(Reason::Rejoining);
        }
        obstacle
    }

    /// Whether this master had no majority a moment ago.
    fn rejoins(&self) -> bool {
        let now = self.now.mono_ms;
        let within =
            |since: Option<u64>, ms: u64| since.is_some_and(|since| now.saturating_sub(since) < ms);
        let rejoin_ms = self.settings.node_timeout_ms.clamp(REJOIN_MIN_MS, REJOIN_MAX_MS);
        within(self.standing.minority_ms, rejoin_ms)
            || within(self.standing.unheard_ms, REJOIN_MIN_MS)
    }

    fn is_covered(&self) -> bool {
        self.nodes.are_all_assigned() && !self.nodes.has_failed_owner()
    }

    /// Whether a majority of the masters has answered what it was asked within the last timeout.
    pub(super) fn is_heard_by_majority(&mut self) -> bool {
        self.standing.heard_until_ms = None;
        if !self.needs_answers() {
            return true;
        }
        // This node is one of the majority.
        if self.nodes.quorum() < 2 {
            return true;
        }
        let Some(asked_ms) = self.majority_answered_ms(false) else { return false };
        let until = asked_ms.saturating_add(self.settings.node_timeout_ms);
        self.standing.heard_until_ms = Some(until);
        self.now.mono_ms <= until
    }

    /// Whether no majority has answered what it was asked within the last timeout, not even with a denial.
    fn is_unanswered(&self) -> bool {
        let timeout_ms = self.settings.node_timeout_ms;
        let answered_ms = self.majority_answered_ms(true);
        let is_late = |asked_ms: u64| self.now.mono_ms > asked_ms.saturating_add(timeout_ms);
        self.needs_answers() && answered_ms.is_none_or(is_late)
    }

    /// Returns the latest time at which so many were asked and have answered that they are a majority with this node.
    pub(super) fn majority_answered_ms(&self, counts_denials: bool) -> Option<u64> {
        let Some(last) = self.nodes.quorum().checked_sub(2) else { return Some(u64::MAX) };
        let others = self
            .nodes
            .iter()
            .filter(|(_, node)| node.votes() && !node.is(NodeFlags::MYSELF))
            .filter(|(_, node)| counts_denials || !node.denies_us);
        let mut asked: Vec<u64> = others.filter_map(|(_, node)| node.answered_ms).collect();
        asked.sort_unstable_by(|a, b| b.cmp(a));
        asked.get(last).copied()
    }

    /// Whether this node does not want another to serve: it is down, and a replica may take its place; or it has slots with
    /// the epoch of another master, as an order to a master that was cut off can make it.
    pub(super) fn denies(&self, key: NodeKey) -> bool {
        let node = &self.nodes[key];
        let is_down = node.is(NodeFlags::FAIL) && self.nodes.replicas(key).next().is_some();
        self.nodes.me().votes() && node.is_known() && (is_down || node.is_contested)
    }

    /// Whether answers of masters matter, and these are asked often enough for that.
    pub(super) fn needs_answers(&self) -> bool {
        self.nodes.voters() <= LEASED_VOTERS_MAX && !self.has_bug(Bug::StockRules)
    }

    /// Notices that the process was stopped, or busy, for a while: others were not silent just because they were not heard.
    pub(super) fn notice_pause(&mut self, before_ms: u64) {
        let gap = self.now_ms().saturating_sub(before_ms);
        if gap < self.settings.node_timeout_ms / 2 {
            return;
        }
        // What arrived in the meantime says how it was then.
        self.reports_count_ms = self.now_ms() + self.settings.node_timeout_ms / 2;
        for key in self.nodes.keys() {
            let node = &mut self.nodes[key];
            node.reports.clear();
            node.ping_sent_ms = node.ping_sent_ms.map(|sent| sent.saturating_add(gap));
        }
        // Before anything that was said meanwhile is read: what a master does with that depends on whether it may be replaced.
        self.update_standing();
        self.standing.fell_ms = self.now_ms();
    }

    /// Whether a successor of this node, if there is one, may not have been heard of yet: it was cut off, or stopped, a moment
    /// ago, within so many node timeouts. Others do not let two masters serve that have the same slots with the same epoch, so
    /// this does not last until they do.
    pub(super) fn may_have_unknown_successor(&self, timeouts: u64) -> bool {
        let since = self.standing.fell_ms.max(self.standing.cut_off_ms);
        let wait_ms = self.settings.node_timeout_ms.saturating_mul(timeouts);
        self.may_be_replaced() && self.now_ms() < since.saturating_add(wait_ms)
    }
}
