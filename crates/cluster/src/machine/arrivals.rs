//! Slots that come here from another master, and what is not certain of them yet.
//!
//! Whoever moves a slot tells its new owner first, and then the old one. What others claim arrives late, or in another order,
//! and a claim does not say since when it is made:
//!
//! ```text
//!   B, the new owner   SETSLOT NODE B: epoch 8 ──────▶ hears A's 9 ──▶ 9 > 8, but A has not let it go yet: B takes 10
//!   A, the old owner     imports another slot: epoch 9, still claims this one ──▶ hears B's 10: lets it go
//! ```
//!
//! If B believed the number alone, it would drop the only keys of the slot, and a moment later A would let it go as well: it
//! would be nobody's. So until A has been heard without the slot, what A claims, or a replica that has taken A's place, is what it
//! was before the move, and B makes its claim newer; and for one timeout after that, since messages over the two links of a pair
//! overtake each other, and A takes no newer epoch for what it lets go. A B that was cut off, and does not know yet whether it was
//! replaced meanwhile, keeps the slot and waits: it will hear of its successor first.
//!
//! It is the same when B is a replica that was elected in A's place, while A had given itself a new epoch for a slot that it
//! imported, of which nobody had heard: when A comes back, it would replace B, and what B has written since would be lost. As
//! long as B has a majority, nobody was elected in its own place, so that a newer epoch of A is not one that A was voted for.
//!
//! The other way round, the old owner may be told and the new one not, since it was replaced at that moment. A slot that is
//! imported, and that its owner claims no more, is taken; but only when every other master has answered a ping that was sent
//! later, and none of them claims it. A node that comes back after a while could otherwise take for the end of its own move that
//! the slot was moved to somebody else.

use std::collections::BTreeMap;

use super::Cluster;
use crate::bus::NodeFlags;
use crate::io::Level;
use crate::nodes::{Node, NodeKey, Nodes};
use crate::slots::SlotBitmap;

/// So often a claim to a slot is answered. An old owner that meets this one's epoch by chance takes a newer one and does not mean
/// more by it; but two that have had a slot from each other, and were not told the last word, must not go on for ever.
const ANSWERS_MAX: u8 = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Slots that have come here, by their old owner, until that one has been heard without them.
    taken: BTreeMap<(NodeKey, How), Taken>,
    /// Slots that are imported and that their owner does not claim any more, with the time when that was heard, milliseconds.
    given_up_ms: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct Taken {
    slots: SlotBitmap,
    /// How often claims to those that the old owner has claimed with a newer epoch were answered.
    answers: BTreeMap<u16, u8>,
    /// Since when the old owner has been heard without slots, milliseconds.
    left_ms: BTreeMap<u16, u64>,
}

impl Taken {
    fn forget(&mut self, slot: u16) {
        self.slots.remove(slot);
        self.answers.remove(&slot);
        self.left_ms.remove(&slot);
    }

    /// Notes which slots the old owner claims, and forgets those that it has not claimed for some time.
    fn note_claimed(&mut self, claimed: &SlotBitmap, now_ms: u64, grace_ms: u64) {
        for slot in self.slots.clone().iter() {
            match claimed.contains(slot) {
                true => _ = self.left_ms.remove(&slot),
                false if now_ms - *self.left_ms.entry(slot).or_insert(now_ms) < grace_ms => {}
                false => self.forget(slot),
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum How {
    /// An operator has moved it. A replica of its old owner may have taken that one's place without knowing.
    Moved,
    /// This node has taken the place of its master.
    Inherited,
}

impl Arrivals {
    /// Notes that a slot has come here.
    pub fn take(&mut self, slot: u16, from: NodeKey, how: How) {
        self.forget_slot(slot);
        self.taken.entry((from, how)).or_default().slots.insert(slot);
    }

    /// Notes that a slot has another owner, or is going to have one.
    pub fn forget_slot(&mut self, slot: u16) {
        self.taken.values_mut().for_each(|taken| taken.forget(slot));
        self.given_up_ms.remove(&slot);
    }

    pub fn forget_node(&mut self, key: NodeKey) {
        self.taken.retain(|(from, _), _| *from != key);
    }

    /// Notes that this node is a replica. It knows of moves, as its master does.
    pub fn lose_place(&mut self) {
        self.taken.retain(|(_, how), _| *how == How::Moved);
    }

    /// Notes that a master whose place this node has taken knows of it.
    pub fn is_replica(&mut self, key: NodeKey) {
        self.taken.remove(&(key, How::Inherited));
    }
}

impl Cluster {
    /// Notes what a master claims of the slots that come here from it.
    pub(super) fn note_source(&mut self, source: NodeKey, claimed: &SlotBitmap) {
        let (nodes, now, grace_ms) = (&self.nodes, self.now.mono_ms, self.settings.node_timeout_ms);
        self.arrivals.taken.retain(|(from, _), taken| {
            // A sibling that never had them says nothing.
            if *from == source || nodes[*from].master == Some(source) {
                taken.note_claimed(claimed, now, grace_ms);
            }
            !taken.slots.is_empty()
        });
        self.arrivals.given_up_ms.retain(|slot, _| !claimed.contains(*slot));
        for (slot, from) in &self.importing {
            if *from == source && nodes.owner(*slot) == Some(source) && !claimed.contains(*slot) {
                self.arrivals.given_up_ms.entry(*slot).or_insert(now);
            }
        }
    }

    /// Whether a claim to a slot of this node is one from before the slot came here. Not for ever: who goes on claiming it with
    /// newer epochs than those that it was answered with means it.
    pub(super) fn is_outdated_claim(&self, slot: u16, sender: NodeKey) -> bool {
        let may_be_replaced = self.may_be_replaced();
        let mut taken = self.arrivals.taken.iter();
        taken.any(|(from, taken)| {
            let answers = taken.answers.get(&slot).copied().unwrap_or(0);
            let is_open = taken.slots.contains(slot) && answers < ANSWERS_MAX;
            let is_certain = from.1 == How::Moved || !may_be_replaced;
            is_open && is_certain && is_source(&self.nodes, *from, sender)
        })
    }

    /// Whether this node keeps slots that have come here against outdated claims of a node: not if another master seems to have
    /// taken its place.
    pub(super) fn keeps_arrivals(&self, sender: NodeKey) -> bool {
        let (key, me) = (self.nodes.my_key(), self.nodes.me());
        let is_successor = |(other, node): (NodeKey, &Node)| {
            let is_newer = node.is_master() && node.config_epoch > me.config_epoch;
            other != sender && is_newer && self.nodes.share_shard(other, key)
        };
        let is_idle = self.arrivals.taken.is_empty();
        !is_idle && me.is_master() && !self.nodes.iter().any(is_successor)
    }

    /// Answers outdated claims with a newer epoch; or the next ones, if this node may have been replaced just now.
    pub(super) fn claim_again(&mut self, sender: NodeKey, slots: &SlotBitmap) {
        if self.may_be_replaced() {
            return;
        }
        for taken in self.arrivals.taken.values_mut() {
            for slot in taken.slots.intersection(slots).iter() {
                *taken.answers.entry(slot).or_default() += 1;
            }
        }
        let text = format!(
            "Node {} still claims slots that this one has got since, with a newer epoch. Claiming them again.",
            self.nodes[sender].label()
        );
        self.log(Level::Notice, text);
        self.claim_anew();
    }

    /// Takes the slots whose owners gave them up, if nobody else has them.
    pub(super) fn take_given_up(&mut self) {
        let is_idle = self.arrivals.given_up_ms.is_empty();
        if is_idle || !self.nodes.me().is_master() || self.may_be_replaced() {
            return;
        }
        // A dead one that has no slots has nothing to say; one that has is replaced first.
        let matters = |node: &Node| {
            let is_other = node.is_master() && node.is_known() && !node.is(NodeFlags::MYSELF);
            is_other && (node.votes() || !node.is(NodeFlags::FAIL))
        };
        let others = self.nodes.iter().filter(|(_, node)| matters(node));
        let answered_ms = others.map(|(_, node)| node.answered_ms.unwrap_or(0)).min().unwrap_or(0);
        let is_over = |(_, since): &(&u16, &u64)| answered_ms > **since;
        let over = self.arrivals.given_up_ms.iter().filter(is_over);
        let over: Vec<u16> = over.map(|(slot, _)| *slot).collect();
        let me = self.nodes.my_key();
        let mut has_taken = false;
        for slot in over {
            self.arrivals.given_up_ms.remove(&slot);
            let source = self.importing.get(&slot).copied();
            if source.is_some() && source == self.nodes.owner(slot) {
                self.importing.remove(&slot);
                self.nodes.assign(slot, Some(me));
                self.unclaimed.remove(slot);
                has_taken = true;
            }
        }
        if has_taken {
            self.claim_anew();
        }
    }
}

/// Whether a node has had such slots before, or has taken the place of the one that had.
fn is_source(nodes: &Nodes, (from, how): (NodeKey, How), key: NodeKey) -> bool {
    from == key || (how == How::Moved && nodes.share_shard(from, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_has_not_quite_arrived_when_its_old_owner_lets_it_go() {
        let (mut with, without) = (SlotBitmap::default(), SlotBitmap::default());
        with.insert(7);
        let mut taken = Taken { slots: with.clone(), ..Taken::default() };
        taken.note_claimed(&without, 100, 50);
        assert!(taken.slots.contains(7));
        // A message that was sent before the last one.
        taken.note_claimed(&with, 120, 50);
        taken.note_claimed(&without, 155, 50);
        assert!(taken.slots.contains(7));
        taken.note_claimed(&without, 205, 50);
        assert!(taken.slots.is_empty() && taken.left_ms.is_empty());
    }
}
