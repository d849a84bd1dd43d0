//! A replica takes over because it was told to (CLUSTER FAILOVER), and without loss: its master holds its clients first.
//!
//! ```text
//!   replica                                  master
//!   CLUSTER FAILOVER ── MFSTART ───────────▶ holds writes of clients
//!     PING ────────────────────────────────▶
//!     waits for     ◀── PONG, paused, 1042 ─ says how far its stream is then
//!     offset 1042
//!     asks for votes, though the master is up ……… wins ── claims the slots ──▶ becomes a replica, clients are redirected
//! ```
//!
//! The master holds its clients for as long as the replica may try, from when it is asked, so for longer than the replica tries.
//! Four things are needed for that:
//!
//! * The replica believes that the master holds them when it has answered a PING that was sent after MFSTART on the same
//!   connection. Another message may be about an earlier attempt, whose end is nearer.
//! * It goes on asking, for a master that starts again has forgotten that it holds anybody, and serves after
//!   [`WRITABLE_DELAY_MS`]: an answer is good for that long. When the connection is lost, it begins anew with MFSTART.
//! * It takes over some time before it gives up ([`NEWS_MS`]), in which the voters hear of it.
//! * A master that nobody has replaced asks the voters before it lets its clients go on: it may only not have heard of it.

use super::Cluster;
use super::commands::CommandError;
use super::standing::WRITABLE_DELAY_MS;
use crate::bus::{self, NodeFlags, PingKind};
use crate::io::{Level, LinkId, Now, Output};
use crate::nodes::{Node, NodeKey};

/// While a replica waits for its master's stream, it looks every so often, milliseconds.
const LOOK_MS: u64 = 10;

/// Age of the master's last answer, milliseconds, from which on a replica asks again.
const ASK_MS: u64 = 250;

/// So long before the end of a manual failover a replica takes over at the latest, milliseconds.
const NEWS_MS: u64 = 500;

/// A master holds its clients for this many times the time that a manual failover may take, unless it ends before.
const HOLD_FACTOR: u64 = 2;

/// How a replica takes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// Its master holds its clients first, so nothing is lost.
    Coordinated,
    /// Its master is not asked, but the other masters are.
    Forced,
    /// Nobody is asked.
    Unasked,
}

#[derive(Debug, Default)]
pub(super) struct Manual {
    /// Until when it is tried; none: there is none.
    end_ms: Option<u64>,
    /// At a master: the replica that takes over.
    replica: Option<NodeKey>,
    /// At a replica: the connection to its master, and the number of the question that was asked after MFSTART there.
    asked: Option<(LinkId, u64)>,
    /// At a replica: how far the master's stream is, with its clients held.
    target: Option<u64>,
    /// At a replica: when it asked what its master has answered last, with its clients held.
    held_ms: Option<u64>,
    /// At a replica: whether it needs no master that holds its clients.
    is_forced: bool,
    may_start: bool,
    next_look_ms: Option<u64>,
    /// At a master whose replica had its time: since when it asks whether it was replaced, with its clients held.
    unconfirmed_since: Option<u64>,
}

impl Manual {
    /// Whether one is going on.
    pub fn is_running(&self) -> bool {
        self.end_ms.is_some()
    }

    /// At a replica: whether it may ask for votes.
    pub fn may_start(&self, now_ms: u64) -> bool {
        let is_sure = || self.handed_over_until().is_some_and(|until| now_ms <= until);
        self.end_ms.is_some() && self.may_start && (self.is_forced || is_sure())
    }

    /// At a replica whose master holds its clients: until when that is sure to go on. It began to hold them later than this
    /// one to wait, for the same time, and if it has started again since its last answer, it does not serve yet. What is left of
    /// that is for the news to get there.
    pub fn handed_over_until(&self) -> Option<u64> {
        let end_ms = self.target.and(self.end_ms)?;
        let sure_ms = self.held_ms.map_or(0, |asked| asked.saturating_add(WRITABLE_DELAY_MS));
        Some(end_ms.min(sure_ms).saturating_sub(NEWS_MS))
    }

    /// At a master: whether it holds its clients.
    pub fn has_paused(&self) -> bool {
        self.end_ms.is_some() && self.replica.is_some()
    }

    /// At a master: whether it must know, after an attempt, if it was replaced, and a node was not asked since then.
    pub fn awaits_answer(&self, node: &Node) -> bool {
        let is_later = |since: u64| node.answered_ms.is_none_or(|asked| asked < since);
        node.votes() && self.unconfirmed_since.is_some_and(is_later)
    }

    /// At a master: whether this replica must know how far it is.
    pub fn is_for_replica(&self, key: NodeKey) -> bool {
        self.end_ms.is_some() && self.replica == Some(key)
    }

    pub fn forget(&mut self, key: NodeKey) {
        self.replica.take_if(|replica| *replica == key);
    }

    pub fn next_due(&self) -> Option<u64> {
        self.end_ms.map(|end| self.next_look_ms.map_or(end, |look| look.min(end)))
    }
}

impl Cluster {
    /// Takes the place of this replica's master.
    pub fn failover(&mut self, now: Now, how: Takeover) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            if cluster.nodes.me().is_master() {
                return Err("You should send CLUSTER FAILOVER to a replica".to_owned());
            }
            let Some(master) = cluster.nodes.me().master else {
                return Err("I'm a replica but my master is unknown to me".to_owned());
            };
            let node = &cluster.nodes[master];
            let is_reachable = !node.is(NodeFlags::FAIL) && cluster.has_open_link(master);
            match how {
                Takeover::Coordinated if !is_reachable => {
                    return Err(
                        "Master is down or failed, please use CLUSTER FAILOVER FORCE".to_owned()
                    );
                }
                Takeover::Coordinated => {
                    let what = "a user has ordered a failover without loss";
                    cluster.note("+manual-failover", master, what);
                    cluster.log(Level::Notice, "Manual failover user request accepted.".to_owned());
                    cluster.begin_manual_failover(false);
                }
                Takeover::Forced => {
                    let what = "a user has ordered a failover without the master";
                    cluster.note("+manual-failover", master, what);
                    cluster.log(Level::Notice, "Forced failover user request accepted.".to_owned());
                    cluster.begin_manual_failover(true);
                }
                Takeover::Unasked => {
                    let what = "a user has ordered a failover without a vote";
                    cluster.note("+manual-failover", master, what);
                    cluster
                        .log(Level::Notice, "Taking over the primary (user request).".to_owned());
                    cluster.bump_epoch();
                    let epoch = cluster.nodes.me().config_epoch;
                    cluster.take_over(epoch);
                }
            }
            Ok(())
        })
    }

    /// Begins one at a replica: with its master's consent, or at once.
    pub(super) fn begin_manual_failover(&mut self, is_forced: bool) {
        let now = self.now_ms();
        self.end_manual_failover();
        self.election = super::election::Election::default();
        self.manual.end_ms = Some(now + self.settings.manual_failover_ms);
        let Some(master) = self.nodes.me().master else { return };
        if is_forced {
            (self.manual.is_forced, self.manual.may_start) = (true, true);
            return;
        }
        self.manual.next_look_ms = Some(now + LOOK_MS);
        self.ask_to_pause(master);
    }

    /// Asks the master of this replica to hold its clients, on the connection that there is.
    fn ask_to_pause(&mut self, master: NodeKey) {
        (self.manual.target, self.manual.held_ms) = (None, None);
        self.manual.may_start = false;
        let mut bytes = Vec::new();
        bus::write_mf_start(&mut bytes, &self.header());
        let Some(link) = self.nodes[master].link else { return };
        self.send(link, bytes);
        self.ping(master, PingKind::Ping);
        self.manual.asked = self.links.get(link).map(|known| (link, known.asked.questions()));
    }

    /// Handles that a replica asks its master to hold its clients.
    pub(super) fn asked_to_pause(&mut self, link: LinkId, sender: NodeKey) {
        if self.nodes[sender].master != Some(self.nodes.my_key()) || !self.nodes.me().is_master() {
            return;
        }
        self.end_manual_failover();
        let ms = self.settings.manual_failover_ms;
        self.manual.end_ms = Some(self.now_ms() + ms);
        self.manual.replica = Some(sender);
        self.output(Output::PauseWrites { ms: ms.saturating_mul(HOLD_FACTOR) });
        let label = self.nodes[sender].label();
        self.log(Level::Notice, format!("Manual failover requested by replica {label}."));
        let what = format!("writes are held for its replica {label}");
        self.note("+manual-failover", self.nodes.my_key(), what);
        self.send_ping(link, Some(sender), PingKind::Ping, false);
    }

    /// Makes sure that the master of this replica goes on to hold its clients.
    fn keep_held(&mut self) {
        let Some(master) = self.nodes.me().master.filter(|_| self.nodes.me().is_replica()) else {
            return;
        };
        let node = &self.nodes[master];
        let Some(link) = node.link.filter(|_| self.has_open_link(master)) else { return };
        if self.manual.asked.is_none_or(|(asked, _)| asked != link) {
            return self.ask_to_pause(master);
        }
        let age_ms = |asked: u64| self.now_ms().saturating_sub(asked);
        let is_old = self.manual.held_ms.is_none_or(|asked| age_ms(asked) >= ASK_MS);
        if is_old && node.ping_sent_ms.is_none() {
            self.ping(master, PingKind::Ping);
        }
    }

    /// Handles that a master has answered that it holds its clients, and how far it is. `asked_ms`: when it was asked that.
    pub(super) fn told_paused_offset(
        &mut self,
        link: LinkId,
        sender: NodeKey,
        offset: u64,
        asked_ms: Option<u64>,
    ) {
        let is_mine = self.nodes.me().is_replica() && self.nodes.me().master == Some(sender);
        let has_heard = self.manual.asked.is_some_and(|(asked, number)| {
            asked == link
                && self.links.get(link).is_some_and(|known| known.asked.answers() >= number)
        });
        if !is_mine || !has_heard || !self.manual.is_running() {
            return;
        }
        self.manual.held_ms = self.manual.held_ms.max(asked_ms);
        if self.manual.target.is_some() {
            return;
        }
        self.manual.target = Some(offset);
        self.note_of_master("+paused", format!("it holds writes at offset {offset}"));
        self.log(
            Level::Notice,
            format!("Received replication offset for paused primary manual failover: {offset}"),
        );
        self.check_manual_failover();
    }

    pub(super) fn check_manual_failover(&mut self) {
        let now = self.now_ms();
        if self.manual.end_ms.is_some_and(|end| now >= end) {
            self.log(Level::Warning, "Manual failover timed out.".to_owned());
            let about = self.nodes.me().master.unwrap_or(self.nodes.my_key());
            self.note("-manual-failover", about, "it took too long");
            return self.give_up_manual_failover();
        }
        if let Some(due) = self.manual.next_look_ms
            && now >= due
        {
            self.manual.next_look_ms = Some(now + LOOK_MS);
            self.keep_held();
        }
        let has_all = self.manual.target.is_some_and(|target| self.now.data.offset >= target);
        if self.manual.may_start || !has_all {
            return;
        }
        self.manual.may_start = true;
        let text = "All primary replication stream processed, manual failover can start.";
        self.log(Level::Notice, text.to_owned());
    }

    /// Ends one whose time is over. A master that does not know of a successor asks all that would have voted for it.
    fn give_up_manual_failover(&mut self) {
        if !self.manual.has_paused() || !self.needs_answers() {
            return self.end_manual_failover();
        }
        self.manual = Manual { unconfirmed_since: Some(self.now_ms()), ..Manual::default() };
        // When it is over, this node has the answers, or does not serve for want of them.
        let ms = self.settings.node_timeout_ms.saturating_mul(HOLD_FACTOR);
        self.output(Output::PauseWrites { ms });
        for key in self.nodes.keys() {
            if self.nodes[key].votes() && !self.nodes[key].is(NodeFlags::MYSELF) {
                self.ping(key, PingKind::Ping);
            }
        }
    }

    /// Lets clients go on when it is sure that nobody has replaced this master, or when it does not serve.
    pub(super) fn confirm_no_successor(&mut self) {
        let Some(since) = self.manual.unconfirmed_since else { return };
        let is_answered =
            self.majority_answered_ms(false).is_some_and(|asked_ms| asked_ms >= since);
        if is_answered || !self.standing.is_ok() {
            self.end_manual_failover();
        }
    }

    /// Ends one, whatever has come of it.
    pub(super) fn end_manual_failover(&mut self) {
        if self.manual.has_paused() || self.manual.unconfirmed_since.is_some() {
            self.output(Output::ResumeWrites);
        }
        self.manual = Manual::default();
    }
}
