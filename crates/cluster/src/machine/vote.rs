//! The votes of a master.
//!
//! It votes once in an epoch, and not for two replicas of the same master within two timeouts. Its vote is on disk before
//! it leaves, so it holds across restarts. A vote that is refused is not answered, but the journal has the reason.
//!
//! Who may have been replaced does not vote: its successor votes in its place, and two votes of one place make two majorities
//! that need not have a node in common.

use super::Cluster;
use super::persist::Then;
use crate::bus::{self, Header, MessageFlags, NodeFlags};
use crate::injected::Bug;
use crate::io::Level;
use crate::node_id::NodeId;
use crate::nodes::NodeKey;

impl Cluster {
    /// Votes for a replica, or says in the log why not.
    pub(super) fn consider_vote(&mut self, sender: NodeKey, header: &Header) {
        if !self.nodes.me().votes() {
            return;
        }
        let label = self.nodes[sender].label();
        let node = self.nodes[sender].id;
        if self.voted_for == Some(node) && self.last_vote_epoch == header.current_epoch {
            // The vote has been lost on its way.
            return self.save_then(Then::Vote { node, epoch: header.current_epoch });
        }
        // Before anything else: it finds out until when this is so.
        let is_heard = self.is_heard_by_majority();
        if let Err(why) = self.may_vote(sender, header, is_heard) {
            self.note_refusal(sender, &why);
            return self.log(Level::Warning, format!("Failover auth denied to {label}{why}"));
        }
        let now = self.now_ms();
        let epoch = self.current_epoch;
        self.last_vote_epoch = epoch;
        self.voted_for = Some(node);
        if let Some(master) = self.nodes[sender].master {
            let id = self.nodes[sender].id;
            self.nodes[master].voted = Some((now, id));
            self.note("+vote", master, format!("for {label} in epoch {epoch}"));
        }
        self.save_then(Then::Vote { node, epoch });
        if self.has_bug(Bug::EarlyVote) {
            self.vote(&node, epoch);
        }
        self.log(Level::Notice, format!("Failover auth granted to {label} for epoch {epoch}"));
    }

    fn may_vote(&self, sender: NodeKey, header: &Header, is_heard: bool) -> Result<(), String> {
        let (asked, current) = (header.current_epoch, self.current_epoch);
        if asked < current {
            return Err(format!(": reqEpoch ({asked}) < curEpoch({current})"));
        }
        if self.last_vote_epoch >= current && !self.has_bug(Bug::SecondVote) {
            return Err(format!(": already voted for epoch {current}"));
        }
        let node = &self.nodes[sender];
        if node.is_master() {
            return Err(format!(" for epoch {asked}: it is a primary node"));
        }
        let Some(master) = node.master else {
            return Err(format!(" for epoch {asked}: I don't know its primary"));
        };
        if !is_heard {
            return Err(format!(" for epoch {asked}: this node may have been replaced itself"));
        }
        let is_forced = header.message_flags.has(MessageFlags::FORCE_ACK);
        if !self.nodes[master].is(NodeFlags::FAIL) && !is_forced {
            return Err(format!(" for epoch {asked}: its primary is up"));
        }
        if !is_forced && self.assured_lately(master) {
            return Err(format!(
                " for epoch {asked}: its primary may still serve, since it was answered just now"
            ));
        }
        let pause = self.settings.node_timeout_ms.saturating_mul(2);
        // The same replica may ask in one epoch after the other: what a vote must not do is to help two.
        let voted = self.nodes[master].voted.filter(|(_, id)| *id != node.id);
        let since = voted.map(|(voted, _)| self.now.mono_ms.saturating_sub(voted));
        if let Some(since) = since.filter(|since| *since < pause && !self.has_bug(Bug::SecondVote))
        {
            let left = pause - since;
            return Err(format!(": can't vote about this primary before {left} milliseconds"));
        }
        let is_newer = |slot: &u16| {
            let owner = self.nodes.owner(*slot)?;
            let epoch = self.nodes[owner].config_epoch;
            (epoch > header.config_epoch).then_some((*slot, epoch))
        };
        match header.slots.iter().find_map(|slot| is_newer(&slot)) {
            Some((slot, epoch)) => {
                Err(format!(": slot {slot} epoch ({epoch}) > reqEpoch ({})", header.config_epoch))
            }
            None => Ok(()),
        }
    }

    /// Whether a replica may still win by a vote of this node, and take the place of a master.
    pub(super) fn has_voted_lately(&self, master: NodeKey) -> bool {
        let voted = self.nodes[master].voted;
        voted.is_some_and(|(at, _)| self.now.mono_ms.saturating_sub(at) <= self.election_ms())
    }

    /// Whether a master may still serve because of an answer of this node.
    fn assured_lately(&self, master: NodeKey) -> bool {
        let since_ms = self.now.mono_ms.saturating_sub(self.nodes[master].assured_ms);
        since_ms <= self.settings.node_timeout_ms
    }

    /// Sends a vote that is on disk.
    pub(super) fn vote(&mut self, id: &NodeId, epoch: u64) {
        let Some(key) = self.nodes.find(id) else { return };
        let is_the_last = self.last_vote_epoch == epoch && self.voted_for == Some(*id);
        let Some(link) = self.nodes[key].link.filter(|_| is_the_last || self.bug.is_some()) else {
            return;
        };
        // A later epoch would make it a vote for whatever the replica asks for by then.
        let header = Header { current_epoch: epoch, ..self.header() };
        let mut bytes = Vec::new();
        bus::write_auth_ack(&mut bytes, &header);
        self.send(link, bytes);
    }
}
