//! Who has which slot.
//!
//! A master claims its slots with its config epoch in every message. A slot belongs to whoever claims it with the highest
//! epoch, and every node applies this rule by itself:
//!
//! ```text
//!   A, epoch 3, claims 0–99            B, A's replica, wins epoch 7            A comes back: epoch 3, claims 0–99
//!   ────────────────────────────▶ all  ────────────────────────────────▶ all  ───────────────────────────────────▶ C
//!      0–99 ▶ A                           7 > 3: 0–99 ▶ B                                  C: B has 7 ▶ UPDATE to A
//! ```
//!
//! So no message needs an order, and an old one does no harm. It needs different epochs: a failover gets its own by a
//! vote, and two masters with the same one notice it at each other's next message ([`Cluster::resolve_collision`]).

use std::collections::BTreeSet;

use super::Cluster;
use super::persist::Then;
use crate::injected::Bug;
use crate::io::{Level, Output};
use crate::nodes::NodeKey;
use crate::slots::SlotBitmap;

/// Time, in node timeouts, that a master which does not serve gives another one with the same slots and the same epoch. The other
/// may be a stock server, or may have been cut off for good, so it is not endless.
const CONTEST_TIMEOUTS: u64 = 10;

impl Cluster {
    /// Applies what a master claims with an epoch, or what another node says that it does: it has those slots.
    pub(super) fn apply_claims(&mut self, sender: NodeKey, epoch: u64, claimed: &SlotBitmap) {
        self.nodes[sender].claimed_epoch = epoch;
        let me = self.nodes.my_key();
        let my_master = if self.nodes.me().is_master() { Some(me) } else { self.nodes.me().master };
        let is_my_shard = self.nodes.share_shard(sender, me);
        let keeps_arrivals = self.keeps_arrivals(sender);
        let mut new_master = None;
        let mut lost = SlotBitmap::default();
        let mut outdated = SlotBitmap::default();
        let mut former = BTreeSet::new();
        for slot in claimed.difference(self.nodes[sender].slots()).iter() {
            let owner = self.nodes.owner(slot);
            if !self.yields(slot, epoch) {
                continue;
            }
            if owner == Some(me) {
                if keeps_arrivals && self.is_outdated_claim(slot, sender) {
                    outdated.insert(slot);
                    continue;
                }
                lost.insert(slot);
            }
            former.extend(owner);
            if owner.is_some() && owner == my_master {
                new_master = Some(sender);
            }
            self.claimed_by(slot, sender, is_my_shard);
        }
        if !outdated.is_empty() {
            self.claim_again(sender, &outdated);
        }
        self.follow_targets(sender, &former);
        let my_epoch = my_master.map_or(0, |master| self.nodes[master].config_epoch);
        let has_nothing = self.nodes.me().slot_count() == 0 && claimed.is_empty();
        if new_master.is_none()
            && is_my_shard
            && has_nothing
            && self.nodes.me().master != Some(sender)
            && my_epoch < epoch
        {
            new_master = Some(sender);
        }
        let is_left_empty = my_master.is_some_and(|master| self.nodes[master].slot_count() == 0);
        if let Some(master) = new_master
            && is_left_empty
        {
            if is_my_shard || self.may_join_shards() {
                return self.reconfigure(master);
            }
            self.log_empty(master);
        }
        match self.saves.promotion() {
            Some(promotion) => promotion.lost = promotion.lost.union(&lost),
            None => self.drop_keys(lost),
        }
    }

    /// Drops the keys of slots that others have.
    pub(super) fn drop_keys(&mut self, slots: SlotBitmap) {
        if !slots.is_empty() {
            self.output(Output::DropKeys { slots });
        }
    }

    /// Replicates the master that has got the last slot of this shard.
    fn reconfigure(&mut self, master: NodeKey) {
        let text = format!(
            "Configuration change detected. Reconfiguring myself as a replica of node {} in shard {}",
            self.nodes[master].label(),
            self.nodes[master].shard
        );
        self.log(Level::Notice, text);
        self.become_replica_of(master);
    }

    /// Notes that the last slot of this master has gone to another one, and that it stays a master.
    pub(super) fn log_empty(&mut self, to: NodeKey) {
        let text = format!(
            "My last slot was migrated to node {} in shard {}. I am now an empty primary.",
            self.nodes[to].label(),
            self.nodes[to].shard
        );
        self.log(Level::Notice, text);
    }

    /// Whether a slot goes to a claim with this epoch: its owner's is older, or its owner does not claim it any more.
    fn yields(&self, slot: u16, epoch: u64) -> bool {
        let owner = self.nodes.owner(slot).filter(|_| !self.unclaimed.contains(slot));
        owner.is_none_or(|owner| {
            let held = self.nodes[owner].config_epoch;
            held < epoch || (self.has_bug(Bug::EqualEpochClaim) && held == epoch)
        })
    }

    /// Notes that a master claims just the slots that it has: also those again that it had given up.
    pub(super) fn note_claimed(&mut self, sender: NodeKey, epoch: u64, claimed: &SlotBitmap) {
        self.nodes[sender].claimed_epoch = epoch;
        self.note_source(sender, claimed);
        self.follow_targets(sender, &BTreeSet::new());
        if !self.unclaimed.is_empty() {
            self.set_unclaimed(self.unclaimed.difference(claimed));
        }
    }

    /// Notes which slots are not claimed by their owners any more. The file does not have them as theirs.
    fn set_unclaimed(&mut self, slots: SlotBitmap) {
        if self.unclaimed != slots {
            self.unclaimed = slots;
            self.save_soon();
        }
    }

    /// Gives a slot to the node that claims it.
    fn claimed_by(&mut self, slot: u16, sender: NodeKey, is_my_shard: bool) {
        // Within a shard this is a failover, and the move of the slot goes on; else somebody has decided otherwise.
        if self.migrating.contains_key(&slot) && !is_my_shard {
            self.migrating.remove(&slot);
        }
        if let Some(source) = self.importing.get(&slot).copied()
            && source != sender
        {
            match self.nodes.share_shard(sender, source) {
                true => self.importing.insert(slot, sender),
                false => self.importing.remove(&slot),
            };
        }
        self.arrivals.forget_slot(slot);
        self.nodes.assign(slot, Some(sender));
        self.unclaimed.remove(slot);
        self.save_soon();
    }

    /// Notes which of a master's slots it does not claim any more. It keeps them until somebody else does, so that clients
    /// are redirected and nothing is down in between; but others are not told so.
    pub(super) fn note_unclaimed(&mut self, sender: NodeKey, claimed: &SlotBitmap) {
        let held = self.nodes[sender].slots().clone();
        let gone = held.difference(claimed);
        let claimed_again = held.intersection(claimed);
        self.set_unclaimed(self.unclaimed.union(&gone).difference(&claimed_again));
    }

    /// Lets slots that are moved to a master be moved to the one that has taken its place. `former`: from whom that one has just
    /// taken slots. Two masters may be of one shard, so a newer epoch alone says nothing.
    fn follow_targets(&mut self, sender: NodeKey, former: &BTreeSet<NodeKey>) {
        let is_replaced = |target: NodeKey| {
            let is_follower = self.nodes[target].master == Some(sender);
            let is_empty = former.contains(&target) && self.nodes[target].slot_count() == 0;
            let has_lost_all = is_empty && self.nodes.share_shard(target, sender);
            target != sender && (is_follower || has_lost_all)
        };
        let moved = self.migrating.iter().filter(|(_, to)| is_replaced(**to));
        for slot in moved.map(|(slot, _)| *slot).collect::<Vec<u16>>() {
            let text = format!(
                "Failover occurred in migration target. Slot {slot} is now being migrated to node {} in shard {}.",
                self.nodes[sender].label(),
                self.nodes[sender].shard
            );
            self.log(Level::Notice, text);
            self.migrating.insert(slot, sender);
            self.save_soon();
        }
    }

    /// Claims this node's slots with the highest epoch, and lets all know when that is on disk. Returns whether the epoch is new.
    pub(super) fn claim_anew(&mut self) -> bool {
        let is_new = self.bump_epoch();
        self.save_then(Then::Tell);
        is_new
    }

    /// Gives this node an epoch of its own if another master has the same: the one whose name is smaller takes a new one. Not
    /// a master that may have been replaced, which would take all its slots back with that.
    ///
    /// Two masters can have the same slots with the same epoch: a replica was elected with an epoch that its master had taken
    /// without a vote, and that had not got to the others. The elected one takes the new epoch, whatever the names, and the other
    /// one learns from it that it was replaced. One that was not elected does not know whether the other was, unless it serves:
    /// it gives the other one time, which may be cut off still.
    pub(super) fn resolve_collision(&mut self, sender: NodeKey, epoch: u64, claimed: &SlotBitmap) {
        let me = self.nodes.me();
        if !me.is_master() || !self.nodes[sender].is_master() || me.config_epoch != epoch {
            return;
        }
        let is_contested = !me.slots().intersection(claimed).is_empty();
        let has_won = me.config_epoch == self.won_epoch;
        let timeouts = if is_contested && !has_won { CONTEST_TIMEOUTS } else { 1 };
        let may_be_replaced = self.may_have_unknown_successor(timeouts);
        let is_winner = is_contested
            && (self.standing.is_ok() || (has_won && !may_be_replaced))
            && !self.has_bug(Bug::StockRules);
        let waits = may_be_replaced || self.nodes[sender].id <= me.id;
        if waits && !is_winner {
            return;
        }
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.nodes.me_mut().config_epoch = epoch;
        match is_winner {
            true => self.save_then(Then::Tell),
            false => self.save_soon(),
        }
        let text = format!(
            "configEpoch collision with node {}. Updating my config epoch to {epoch}",
            self.nodes[sender].label()
        );
        self.log(Level::Notice, text);
        let what = format!("it has the epoch of this node, whose new one is {epoch}");
        self.note("+epoch", sender, what);
    }

    /// Gives this node an epoch that it has never had, as it becomes a master again: others may remember a higher one of
    /// it than it does, since the file has none for replicas.
    pub(super) fn take_new_epoch(&mut self) {
        self.current_epoch += 1;
        self.nodes.me_mut().config_epoch = self.current_epoch;
        self.save_soon();
    }

    /// Gives this node the highest epoch, without asking anybody. Returns whether it is new.
    pub(super) fn bump_epoch(&mut self) -> bool {
        let highest = self.nodes.iter().map(|(_, node)| node.config_epoch).max().unwrap_or(0);
        let highest = highest.max(self.current_epoch);
        let mine = self.nodes.me().config_epoch;
        if mine != 0 && mine == highest {
            return false;
        }
        self.current_epoch += 1;
        let epoch = self.current_epoch;
        self.nodes.me_mut().config_epoch = epoch;
        self.save_soon();
        self.log(Level::Notice, format!("New configEpoch set to {epoch}"));
        true
    }
}
