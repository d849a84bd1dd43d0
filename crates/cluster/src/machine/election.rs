//! A replica takes the place of its master, if a majority of the masters votes for it.
//!
//! ```text
//!   the master is FAIL     start: 150–300 ms + 1 s × rank          epoch 8          2 of 3 masters
//!   ─────────────────────┬──────────────────────────────────────▶ asks for votes ──────────────────▶ saved ──▶ master
//!                        └▶ tells the shard's replicas its offset       └▶ asks again who is silent
//! ```
//!
//! The rank of a replica is the number of replicas of its master that have more of its data: they are given a second
//! each to win before it. Whom a master votes for is decided in [`vote`](super::vote).
//!
//! When several masters fail at once, with a machine or a rack, their replicas ask at about the same time, and since a
//! master votes once in an epoch, they would take each other's votes. So they take turns, in the order of their masters'
//! names: each waits until those before it have taken over, or would have had the time to.
//!
//! ```text
//!   replica of A   ├─ delay ─┤ asks, wins ──▶ everybody hears that A has a successor
//!   replica of B   ├─ delay ─┼── its turn ──┤ asks, wins ──▶ …
//! ```
//!
//! A request that others have overtaken with a newer epoch is made again in an epoch newer than theirs. Masters that have
//! voted for the same replica before vote for it again.
//!
//! Stock servers wait for half a second to a second, since a master that has not yet heard of the failure refuses its
//! vote, and they do not ask again before several timeouts have passed. Here those that are silent are asked again in
//! the same epoch, so an early start costs nothing.

use std::collections::BTreeSet;

use super::Cluster;
use super::journal::listed;
use super::persist::{Then, Until};
use crate::bus::{self, Header, MessageFlags, NodeFlags};
use crate::injected::Bug;
use crate::io::Level;
use crate::nodes::NodeKey;

/// A replica waits for so long at least, milliseconds: news of the failure and of offsets spread.
const DELAY_MS: u64 = 150;

/// … and for a random part of so long in addition, so that two do not ask at once.
const DELAY_RANDOM_MS: u64 = 150;

/// What stock servers wait at least, and at random in addition, milliseconds: only to compare.
const STOCK_DELAY_MS: u64 = 500;

/// … and for so long for each replica that has more data.
const DELAY_RANK_MS: u64 = 1_000;

/// … and for so long for each other master that is down and whose replicas are to take over before, unless they have.
const DELAY_TURN_MS: u64 = 100;

/// An election takes two timeouts, but at least so long, milliseconds.
const ELECTION_MIN_MS: u64 = 2_000;

/// Masters that have not voted are asked again after this time, milliseconds.
const REPEAT_MS: u64 = 300;

/// A reason why a replica does not take over is logged again after this time, milliseconds.
const RELOG_MS: u64 = 10_000;

/// An election of this node.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When it asks for votes, or has asked.
    start_ms: Option<u64>,
    rank: usize,
    /// How far the data was when it was scheduled.
    offset: u64,
    /// How many other masters are to be replaced before.
    turn: usize,
    epoch: u64,
    is_asking: bool,
    /// When it asks again.
    repeat_ms: Option<u64>,
    votes: BTreeSet<NodeKey>,
    /// Why it does not take over, and when that was logged.
    obstacle: Option<(Obstacle, u64)>,
}

/// Why a replica does not take over, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    ForeignData,
    OldData,
    Waiting,
    FewVotes,
    Expired,
}

impl Obstacle {
    fn text(self) -> &'static str {
        match self {
            Obstacle::ForeignData => {
                "This replica has the data of another shard: it has not synchronized with its primary yet."
            }
            Obstacle::OldData => {
                "Disconnected from primary for longer than allowed. Please check the \
                 'cluster-replica-validity-factor' configuration option."
            }
            Obstacle::Waiting => "Waiting the delay before I can start a new failover.",
            Obstacle::FewVotes => "Waiting for votes, but majority still not reached.",
            Obstacle::Expired => "Failover attempt expired.",
        }
    }
}

impl Election {
    pub fn forget(&mut self, key: NodeKey) {
        self.votes.remove(&key);
    }

    pub fn next_due(&self) -> Option<u64> {
        match self.is_asking {
            true => self.repeat_ms,
            false => self.start_ms,
        }
    }
}

impl Cluster {
    /// Goes on with an election, or begins one.
    pub(super) fn check_election(&mut self) {
        let Some(master) = self.nodes.me().master.filter(|_| self.nodes.me().is_replica()) else {
            return;
        };
        let is_manual = self.manual.may_start(self.now_ms());
        let is_down = self.nodes[master].is(NodeFlags::FAIL) && !self.settings.no_failover;
        if !(is_down || is_manual) || self.nodes[master].slot_count() == 0 {
            // When the master fails again, that is another election, with a delay of its own.
            self.election = Election::default();
            return;
        }
        if self.has_foreign_data {
            return self.log_obstacle(Obstacle::ForeignData);
        }
        if !is_manual && !self.is_data_recent() {
            return self.log_obstacle(Obstacle::OldData);
        }
        let now = self.now_ms();
        let duration = self.election_ms();
        let is_over = |start: u64| now.saturating_sub(start) > duration.saturating_mul(2);
        match self.election.start_ms {
            None => return self.schedule(is_manual),
            Some(start) if is_over(start) => return self.schedule(is_manual),
            Some(start) if now.saturating_sub(start) > duration => {
                return self.log_obstacle(Obstacle::Expired);
            }
            Some(_) => {}
        }
        if self.now.data.offset < self.election.offset {
            // A full synchronization has replaced the data: others may have more now, and go first.
            return self.schedule(is_manual);
        }
        if !self.election.is_asking {
            if !is_manual {
                self.update_place();
            }
            if self.election.start_ms.is_some_and(|start| now < start) {
                return self.log_obstacle(Obstacle::Waiting);
            }
            return self.ask();
        }
        if self.election.votes.len() >= self.nodes.quorum() {
            return self.win();
        }
        self.log_obstacle(Obstacle::FewVotes);
        if self.election.repeat_ms.is_some_and(|due| now >= due) && !self.has_bug(Bug::StockRules) {
            self.ask_again();
        }
    }

    fn log_obstacle(&mut self, obstacle: Obstacle) {
        let now = self.now_ms();
        let last = self.election.obstacle.filter(|(last, _)| *last == obstacle);
        if last.is_some_and(|(_, at)| now.saturating_sub(at) < RELOG_MS) {
            return;
        }
        if last.is_none() {
            self.note_obstacle(obstacle);
        }
        self.election.obstacle = Some((obstacle, now));
        self.log(Level::Notice, format!("Currently unable to failover: {}", obstacle.text()));
        let (size, quorum, votes) =
            (self.nodes.voters(), self.nodes.quorum(), self.election.votes.len());
        if self.election.is_asking {
            self.log(
                Level::Notice,
                format!("Needed quorum: {quorum}. Number of votes received so far: {votes}/{size}"),
            );
        }
    }

    fn note_obstacle(&mut self, obstacle: Obstacle) {
        match obstacle {
            Obstacle::ForeignData => {
                let text =
                    "this replica has the data of another shard: it has not synchronized yet";
                self.note_of_master("-election", text.to_owned());
            }
            Obstacle::OldData => {
                let silent = self.now.data.silent_ms;
                let age = silent.map_or("has none of it".to_owned(), |ms| {
                    format!("has heard nothing of it for {ms} ms")
                });
                self.note_of_master(
                    "-election",
                    format!("this replica's data is too old: it {age}"),
                );
            }
            Obstacle::Expired => {
                let (epoch, votes) = (self.election.epoch, self.told_votes());
                self.note_of_master("-election", format!("not elected in epoch {epoch}: {votes}"));
            }
            Obstacle::Waiting | Obstacle::FewVotes => {}
        }
    }

    /// Returns who has voted for this node, and who has not.
    fn told_votes(&self) -> String {
        let (mut given, mut missing) = (Vec::new(), Vec::new());
        for (key, node) in self.nodes.iter().filter(|(_, node)| node.votes()) {
            let has_voted = self.election.votes.contains(&key);
            if has_voted { &mut given } else { &mut missing }.push(node.label());
        }
        let (count, quorum) = (given.len(), self.nodes.quorum());
        let (given, missing) = (listed(&given), listed(&missing));
        format!("{count} votes, {quorum} needed, by {given}; none by {missing}")
    }

    /// Returns how far the replicas of this one's master are, as this node has heard.
    fn told_offsets(&self) -> String {
        let me = self.nodes.me();
        let others = me.master.into_iter().flat_map(|master| self.nodes.replicas(master));
        let others = others.filter(|(_, node)| !node.is(NodeFlags::MYSELF));
        let others: Vec<String> =
            others.map(|(_, node)| format!("{} at {}", node.label(), node.offset)).collect();
        format!("offset {}, others: {}", self.now.data.offset, listed(&others))
    }

    /// Whether the master was heard of lately enough, when it failed.
    fn is_data_recent(&self) -> bool {
        let settings = &self.settings;
        let factor = settings.replica_validity_factor;
        let Some(silent) = self.now.data.silent_ms else { return factor == 0 };
        let age = match silent > settings.node_timeout_ms {
            true => silent - settings.node_timeout_ms,
            false => silent,
        };
        let limit = settings
            .node_timeout_ms
            .saturating_mul(factor)
            .saturating_add(settings.replica_ping_ms);
        factor == 0 || age <= limit
    }

    fn schedule(&mut self, is_manual: bool) {
        let now = self.now_ms();
        let (rank, turn) = if is_manual { (0, 0) } else { (self.rank(), self.turn()) };
        let delay = match is_manual {
            true => 0,
            false => self.draw_delay() + place_delay(rank, turn),
        };
        self.election = Election {
            start_ms: Some(now + delay),
            rank,
            turn,
            offset: self.now.data.offset,
            ..Election::default()
        };
        let text = format!(
            "Start of election delayed for {delay} milliseconds (rank #{rank}, offset {}).",
            self.now.data.offset
        );
        self.log(Level::Notice, text);
        let offsets = self.told_offsets();
        let what = format!("rank {rank} ({offsets}), {turn} other masters first, {delay} ms delay");
        self.note_of_master("+election", what);
        let master = self.nodes.me().master;
        self.tell(|node| node.is_replica() && node.master == master);
        if delay == 0 {
            self.ask();
        }
    }

    fn draw_delay(&mut self) -> u64 {
        match self.has_bug(Bug::StockRules) {
            true => STOCK_DELAY_MS + self.rng.below(STOCK_DELAY_MS),
            false => DELAY_MS + self.rng.below(DELAY_RANDOM_MS),
        }
    }

    /// Returns how many replicas of our master have more of its data.
    fn rank(&self) -> usize {
        if self.has_bug(Bug::RankIgnored) {
            return 0;
        }
        let me = self.nodes.me();
        let (Some(master), mine) = (me.master, self.now.data.offset) else { return 0 };
        let is_better = |node: &crate::nodes::Node| {
            node.offset > mine || (node.offset == mine && node.id < me.id)
        };
        let others = self.nodes.replicas(master).filter(|(_, node)| {
            !node.is(NodeFlags::MYSELF) && !node.is(NodeFlags::NO_FAILOVER) && is_better(node)
        });
        others.count()
    }

    /// Returns how many other masters are to be replaced before: those that are down, have a replica that can take over,
    /// and the smaller name.
    fn turn(&self) -> usize {
        let Some(master) = self.nodes.me().master.filter(|_| !self.has_bug(Bug::StockRules)) else {
            return 0;
        };
        let working = self.nodes.working_replicas();
        let mine = self.nodes[master].id;
        let is_before = |(key, node): &(NodeKey, &crate::nodes::Node)| {
            node.votes() && node.is(NodeFlags::FAIL) && node.id < mine && working.of(*key) > 0
        };
        self.nodes.iter().filter(is_before).count()
    }

    /// Adapts the start to what was heard of since: offsets of others, and who has been replaced.
    fn update_place(&mut self) {
        let (old, new) = (self.election.rank, self.rank());
        let turn = self.turn();
        let before = place_delay(old, self.election.turn);
        let after = place_delay(new, turn);
        let start = self.election.start_ms.map(|start| (start + after).saturating_sub(before));
        (self.election.rank, self.election.turn, self.election.start_ms) = (new, turn, start);
        if new != old {
            let added = after as i64 - before as i64;
            self.log(
                Level::Notice,
                format!("Replica rank updated to #{new}, added {added} milliseconds of delay."),
            );
        }
    }

    /// Begins an epoch, and asks for votes when that is on disk.
    fn ask(&mut self) {
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.election.epoch = epoch;
        self.election.is_asking = true;
        self.log(Level::Notice, format!("Starting a failover election for epoch {epoch}."));
        let (voters, quorum) = (self.nodes.voters(), self.nodes.quorum());
        let what = format!("for epoch {epoch}, of {voters} masters, {quorum} needed");
        self.note_of_master("+votes-asked", what);
        self.save_then(Then::AskForVotes { epoch });
    }

    /// Asks the masters that have not voted yet.
    pub(super) fn ask_for_votes(&mut self, epoch: u64) {
        if self.election.is_asking && self.election.epoch == epoch {
            self.send_requests();
        }
    }

    /// Asks those again who have not voted, in a new epoch if that of this election is not the newest any more.
    fn ask_again(&mut self) {
        if self.current_epoch > self.election.epoch {
            self.election.votes.clear();
            self.election.repeat_ms = None;
            return self.ask();
        }
        self.send_requests();
    }

    fn send_requests(&mut self) {
        let repeat_ms = REPEAT_MS + self.rng.below(REPEAT_MS);
        self.election.repeat_ms = Some(self.now_ms() + repeat_ms);
        // Votes of another epoch would not count.
        let mut header = Header { current_epoch: self.election.epoch, ..self.header() };
        header.message_flags.set(MessageFlags::FORCE_ACK, self.manual.is_running());
        let mut bytes = Vec::new();
        bus::write_auth_request(&mut bytes, &header);
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            // Those that will ask, too, must know of this epoch.
            let is_candidate = node.is_replica()
                && node.master.is_some_and(|master| self.nodes[master].is(NodeFlags::FAIL));
            let is_asked = node.votes() && !self.election.votes.contains(&key);
            if is_asked || is_candidate {
                let Some(link) = self.nodes[key].link else { continue };
                self.send(link, bytes.clone());
            }
        }
    }

    pub(super) fn count_vote(&mut self, sender: NodeKey, epoch: u64) {
        if self.election.is_asking && self.nodes[sender].votes() && epoch == self.election.epoch {
            self.election.votes.insert(sender);
        }
    }

    fn win(&mut self) {
        let epoch = self.election.epoch;
        let votes = self.told_votes();
        self.note_of_master("+elected", format!("elected in epoch {epoch}: {votes}"));
        self.log(Level::Notice, "Failover election won: I'm the new primary.".to_owned());
        self.log(Level::Notice, format!("configEpoch set to {epoch} after successful failover"));
        // From now on this node has the vote of its master, which may be used up in this epoch: by the master itself, in a
        // manual failover. Two winners in one epoch could have a majority each otherwise.
        self.last_vote_epoch = self.last_vote_epoch.max(epoch);
        self.voted_for = Some(self.my_id());
        self.take_over(epoch);
    }

    /// Returns how long the place that was won can be taken: an election that nobody has ordered ends for those who have voted,
    /// too, and a master that has held its clients for this node lets them go on.
    pub(super) fn place_until(&self) -> Option<Until> {
        let handed_over = self.manual.handed_over_until().map(Until::ClientsGoOn);
        let asked_ms = self.election.start_ms.filter(|_| !self.manual.is_running());
        let votes_end = || asked_ms.map(|asked| Until::VotesEnd(asked + self.election_ms()));
        handed_over.or_else(votes_end)
    }

    /// For how long an election can be won.
    pub(super) fn election_ms(&self) -> u64 {
        self.settings.node_timeout_ms.saturating_mul(2).max(ELECTION_MIN_MS)
    }
}

/// Returns how long a replica lets others go first.
fn place_delay(rank: usize, turn: usize) -> u64 {
    rank as u64 * DELAY_RANK_MS + turn as u64 * DELAY_TURN_MS
}
