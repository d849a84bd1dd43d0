//! Suspecting a node (PFAIL), and agreeing that it is down (FAIL).
//!
//! ```text
//!            no answer for the timeout             a majority of masters says so
//!   up ────────────────────────────▶ PFAIL ───────────────────────────────────▶ FAIL ──▶ everybody is told
//!    ▲          an answer              │                                          │
//!    └─────────────────────────────────┴──────────────────────────────────────────┘
//!       an answer, from a replica or a master without slots; from a master with slots after two timeouts, if by
//!       then nobody has taken them
//! ```

use super::Cluster;
use crate::bus::{self, GossipEntry, NodeFlags, PingKind};
use crate::injected::Bug;
use crate::io::{Level, LinkId};
use crate::node_id::NodeId;
use crate::nodes::NodeKey;

/// A report counts for this many timeouts.
const REPORT_TIMEOUTS: u64 = 2;

/// A master that is back keeps FAIL for this many timeouts, so that a replica can take over.
const UNDO_TIMEOUTS: u64 = 2;

/// So many masters are told of a suspicion at once. The others hear of it with the next pings.
const TOLD_MAX: usize = 10;

/// So many of them are the same for all that suspect a node: they hear from all, so they soon know of a majority. In a
/// large cluster random ones would hear of too few.
const TOLD_BY_ALL: usize = 3;

impl Cluster {
    /// Suspects nodes that have not answered for the timeout.
    pub(super) fn suspect_the_silent(&mut self) {
        let mut first: Option<NodeId> = None;
        let oldest = self.oldest_report();
        for key in self.nodes.keys() {
            self.nodes[key].reports.retain(|_, at| *at >= oldest);
            let node = &self.nodes[key];
            let is_exempt =
                NodeFlags(NodeFlags::MYSELF.0 | NodeFlags::NO_ADDRESS.0 | NodeFlags::HANDSHAKE.0);
            if node.flags.0 & is_exempt.0 != 0 || node.is_failing() {
                continue;
            }
            if !self.is_silent(key, self.settings.node_timeout_ms) {
                continue;
            }
            let text = format!("*** NODE {} possibly failing", self.nodes[key].id);
            self.log(Level::Debug, text);
            self.note("+suspected", key, self.told_answer(key));
            self.nodes[key].flags.set(NodeFlags::PFAIL, true);
            self.save_soon();
            let id = self.nodes[key].id;
            first = Some(first.map_or(id, |first| first.min(id)));
            if !self.has_bug(Bug::StockRules) || self.nodes.voters() == 1 {
                self.fail_if_agreed(key);
            }
        }
        if let Some(first) = first.filter(|_| self.nodes.me().votes())
            && !self.has_bug(Bug::StockRules)
        {
            self.tell_masters(&first);
        }
    }

    /// Tells some masters what this node suspects, without waiting for the next pings: those whose names follow that of a
    /// suspected node, and some at random.
    fn tell_masters(&mut self, suspected: &NodeId) {
        let is_told = |key: &NodeKey| {
            let node = &self.nodes[*key];
            node.votes() && !node.is_failing() && !node.is(NodeFlags::MYSELF) && node.link.is_some()
        };
        let mut masters: Vec<NodeKey> = self.nodes.keys().into_iter().filter(is_told).collect();
        masters.sort_by_key(|key| (self.nodes[*key].id < *suspected, self.nodes[*key].id));
        for count in 0..TOLD_MAX.min(masters.len()) {
            let index = match count < TOLD_BY_ALL {
                true => 0,
                false => self.rng.below(masters.len() as u64) as usize,
            };
            let master = masters.remove(index);
            self.ping(master, PingKind::Ping);
        }
    }

    /// Notes that a master says of a node that it does not answer, or that it does.
    pub(super) fn report(&mut self, node: NodeKey, from: NodeKey, is_failing: bool) {
        let now = self.now_ms();
        if is_failing && now < self.reports_count_ms {
            return;
        }
        let reports = &mut self.nodes[node].reports;
        let is_news = match is_failing {
            true => reports.insert(from, now).is_none(),
            false => reports.remove(&from).is_some(),
        };
        if is_news {
            let what = if is_failing { "as not reachable" } else { "is back online" };
            let (from, about) = (self.nodes[from].label(), self.nodes[node].label());
            self.log(Level::Notice, format!("Node {from} reported node {about} {what}."));
        }
        if is_failing {
            self.fail_if_agreed(node);
        }
    }

    /// Returns when a report that counts was made at the earliest.
    fn oldest_report(&self) -> u64 {
        let ms = self.settings.node_timeout_ms.saturating_mul(REPORT_TIMEOUTS);
        self.now.mono_ms.saturating_sub(ms)
    }

    /// Returns how many masters have said lately that a node does not answer.
    pub(super) fn count_reports(&self, key: NodeKey) -> usize {
        let oldest = self.oldest_report();
        let votes = |from: &NodeKey| self.nodes[*from].votes();
        let reports = self.nodes[key].reports.iter();
        reports.filter(|(from, at)| **at >= oldest && votes(from)).count()
    }

    /// Marks a node as down if a majority of masters agrees, and tells everybody.
    pub(super) fn fail_if_agreed(&mut self, key: NodeKey) {
        let node = &self.nodes[key];
        if !node.is(NodeFlags::PFAIL) || node.is(NodeFlags::FAIL) {
            return;
        }
        let mine = usize::from(self.nodes.me().votes());
        let needed = if self.has_bug(Bug::FailByOneWord) { 1 } else { self.nodes.quorum() };
        let agreed = self.count_reports(key) + mine;
        if agreed < needed {
            return;
        }
        let label = self.nodes[key].label();
        self.log(Level::Notice, format!("Marking node {label} as failing (quorum reached)."));
        let by = if mine == 1 { ", this one included" } else { "" };
        let voters = self.nodes.voters();
        let by = format!("suspected by {agreed} of {voters} masters{by}, {needed} needed");
        self.note_failed(key, &by);
        self.mark_failed(key);
        let id = self.nodes[key].id;
        let header = self.header();
        let mut bytes = Vec::new();
        bus::write_fail(&mut bytes, &header, &id);
        self.broadcast(&bytes);
    }

    fn mark_failed(&mut self, key: NodeKey) {
        let now = self.now_ms();
        let node = &mut self.nodes[key];
        node.flags.set(NodeFlags::PFAIL, false);
        node.flags.set(NodeFlags::FAIL, true);
        node.failed_ms = now;
        self.save_soon();
    }

    /// Handles that a node says of another that it is down.
    pub(super) fn told_failed(&mut self, from: NodeKey, about: NodeKey) {
        let node = &self.nodes[about];
        if node.is(NodeFlags::FAIL) || node.is(NodeFlags::MYSELF) {
            return;
        }
        let (from, about_label) = (self.nodes[from].label(), node.label());
        self.log(Level::Notice, format!("FAIL message received from {from} about {about_label}"));
        self.note_failed(about, &format!("{from} says that a majority agrees"));
        self.mark_failed(about);
    }

    /// Handles that a node has answered on our connection to it. Returns when it was asked that, if it is known.
    pub(super) fn has_answered(
        &mut self,
        key: NodeKey,
        link: LinkId,
        gossip: &[GossipEntry],
    ) -> Option<u64> {
        let now = self.now_ms();
        let asked_ms = self.links.get_mut(link).and_then(|link| link.asked.answered());
        let my_id = self.my_id();
        let node = &mut self.nodes[key];
        node.pong_ms = Some(now);
        node.ping_sent_ms = None;
        node.answered_ms = node.answered_ms.max(asked_ms);
        let is_denial =
            |entry: &GossipEntry| entry.node == my_id && entry.flags.has(NodeFlags::FAIL);
        node.denies_us = gossip.iter().any(is_denial);
        if node.is(NodeFlags::PFAIL) {
            node.flags.set(NodeFlags::PFAIL, false);
            self.note("-suspected", key, "it has answered");
            self.save_soon();
        } else if node.is(NodeFlags::FAIL) {
            self.forgive(key);
        }
        asked_ms
    }

    /// Takes back that a node is down, if the time has come.
    fn forgive(&mut self, key: NodeKey) {
        let node = &self.nodes[key];
        let undo_ms = self.settings.node_timeout_ms.saturating_mul(UNDO_TIMEOUTS);
        if self.has_voted_lately(key) {
            return;
        }
        let why = match (node.votes(), node.is_replica()) {
            (false, true) => "replica is reachable again",
            (false, false) => "primary without slots is reachable again",
            (true, _) if self.now.mono_ms.saturating_sub(node.failed_ms) > undo_ms => {
                "is reachable again and nobody is serving its slots after some time"
            }
            (true, _) => return,
        };
        let text = format!("Clear FAIL state for node {}: {why}.", node.label());
        self.nodes[key].flags.set(NodeFlags::FAIL, false);
        self.log(Level::Notice, text);
        self.note("-fail", key, why);
        self.save_soon();
    }
}
