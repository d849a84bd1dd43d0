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
//! was before the move, and B makes its claim newer.
//!
//! The other way round, the old owner may be told and the new one not, since it was replaced at that moment. A slot that is
//! imported, and that its owner claims no more, is taken; but only when every other master has answered a ping that was sent
//! later, and none of them claims it. A node that comes back after a while could otherwise take for the end of its own move that
//! the slot was moved to somebody else.

use std::collections::BTreeMap;

use super::Cluster;
use super::persist::Then;
use crate::bus::NodeFlags;
use crate::io::Level;
use crate::nodes::{Node, NodeKey};
use crate::slots::SlotBitmap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    /// Slots that were moved here, with the old owner, until it has been heard without them.
    taken: BTreeMap<u16, Taken>,
    /// Slots that are imported and that their owner does not claim any more, with the time when that was heard, milliseconds.
    given_up_ms: BTreeMap<u16, u64>,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    from: NodeKey,
    /// Whether the old owner has claimed it with a newer epoch.
    is_reclaimed: bool,
}

impl Arrivals {
    /// Notes that a slot has been moved here.
    pub fn take(&mut self, slot: u16, from: NodeKey) {
        self.taken.insert(slot, Taken { from, is_reclaimed: false });
    }

    /// Notes that a slot has another owner, or is going to have one.
    pub fn forget_slot(&mut self, slot: u16) {
        self.taken.remove(&slot);
        self.given_up_ms.remove(&slot);
    }

    pub fn forget_node(&mut self, key: NodeKey) {
        self.taken.retain(|_, taken| taken.from != key);
    }
}

impl Cluster {
    /// Notes what a master claims of the slots that come here from it.
    pub(super) fn note_source(&mut self, source: NodeKey, claimed: &SlotBitmap) {
        let (nodes, now) = (&self.nodes, self.now.mono_ms);
        let is_source = |from: NodeKey| from == source || nodes.share_shard(from, source);
        self.arrivals.taken.retain(|slot, taken| claimed.contains(*slot) || !is_source(taken.from));
        self.arrivals.given_up_ms.retain(|slot, _| !claimed.contains(*slot));
        for (slot, from) in &self.importing {
            if *from == source && nodes.owner(*slot) == Some(source) && !claimed.contains(*slot) {
                self.arrivals.given_up_ms.entry(*slot).or_insert(now);
            }
        }
    }

    /// Whether a claim to a slot of this node is one from before the slot was moved here. Only once: who claims it again, with a
    /// newer epoch than the one that it was answered with, means it.
    pub(super) fn is_outdated_claim(&self, slot: u16, sender: NodeKey) -> bool {
        let taken = self.arrivals.taken.get(&slot).filter(|_| self.nodes.me().is_master());
        taken.is_some_and(|taken| {
            let is_source = taken.from == sender || self.nodes.share_shard(taken.from, sender);
            is_source && !taken.is_reclaimed
        })
    }

    /// Answers outdated claims with a newer epoch; later, if this node may have been replaced itself.
    pub(super) fn claim_again(&mut self, sender: NodeKey, slots: &SlotBitmap) {
        if self.may_be_replaced() {
            return;
        }
        for slot in slots.iter() {
            if let Some(taken) = self.arrivals.taken.get_mut(&slot) {
                taken.is_reclaimed = true;
            }
        }
        let text = format!(
            "Node {} still claims slots that were moved here, with a newer epoch. Claiming them again.",
            self.nodes[sender].label()
        );
        self.log(Level::Notice, text);
        self.bump_epoch();
        self.save_then(Then::Tell);
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
            self.bump_epoch();
            self.save_then(Then::Tell);
        }
    }
}
