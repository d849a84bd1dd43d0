//! What an operator orders of slots: who has them, and how they move.

use std::collections::BTreeSet;

use super::Cluster;
use super::arrivals::How;
use super::commands::CommandError;
use super::persist::Then;
use super::view::OpenSlot;
use crate::injected::Bug;
use crate::io::{Level, Now};
use crate::nodes::NodeKey;

/// A replica whose master gives its last slot away stays for so long, milliseconds.
const LEAVE_MS: u64 = 200;

/// A step of the move of a slot, with the name of the other node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotStep {
    /// It is going to be moved to a node.
    Migrate(Vec<u8>),
    /// It is going to be moved here from a node.
    Import(Vec<u8>),
    /// The move ends, where the slot is.
    Settle,
    /// It belongs to a node.
    Give(Vec<u8>),
}

impl Cluster {
    /// Takes slots that nobody has.
    pub fn add_slots(&mut self, now: Now, slots: &[u16]) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            check_once(slots)?;
            if let Some(slot) = slots.iter().find(|slot| cluster.nodes.owner(**slot).is_some()) {
                return Err(format!("Slot {slot} is already busy"));
            }
            let me = cluster.nodes.my_key();
            for slot in slots {
                // Whoever had it does not have it any more.
                cluster.importing.remove(slot);
                cluster.nodes.assign(*slot, Some(me));
                cluster.unclaimed.remove(*slot);
            }
            cluster.save_soon();
            Ok(())
        })
    }

    /// Forgets who has slots.
    pub fn delete_slots(&mut self, now: Now, slots: &[u16]) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            check_once(slots)?;
            if let Some(slot) = slots.iter().find(|slot| cluster.nodes.owner(**slot).is_none()) {
                return Err(format!("Slot {slot} is already unassigned"));
            }
            for slot in slots {
                cluster.migrating.remove(slot);
                cluster.nodes.assign(*slot, None);
                cluster.unclaimed.remove(*slot);
            }
            cluster.save_soon();
            Ok(())
        })
    }

    /// Gives up all slots of this node.
    pub fn flush_slots(&mut self, now: Now) {
        self.command(now, |cluster| {
            let me = cluster.nodes.my_key();
            cluster.nodes.unassign_all(me);
            cluster.save_soon();
        });
    }

    /// Whether a step of the move of a slot can be carried out here. `has_keys`: whether this node has keys of the slot. A
    /// replica keeps the steps of its master, so that the move goes on when it takes over.
    pub fn check_slot(
        &self,
        slot: u16,
        step: &SlotStep,
        has_keys: bool,
    ) -> Result<(), CommandError> {
        let (me, owner) = (self.nodes.my_key(), self.nodes.owner(slot));
        // What is on its way to the disk claims the slots that its master had.
        if self.saves.is_taking_over() {
            return Err("This node is taking over from its master. Please try again".to_owned());
        }
        match step {
            SlotStep::Migrate(id) => {
                if owner != Some(me) && !self.is_replica() {
                    return Err(format!("I'm not the owner of hash slot {slot}"));
                }
                if owner == Some(me) {
                    self.check_standing()?;
                }
                self.slot_peer(id)?;
            }
            SlotStep::Import(id) => {
                if owner == Some(me) {
                    return Err(format!("I'm already the owner of hash slot {slot}"));
                }
                self.slot_peer(id)?;
            }
            SlotStep::Settle => {}
            SlotStep::Give(id) => {
                let to = self.joined(id)?;
                if self.nodes[to].is_replica() {
                    return Err("Target node is not a master".to_owned());
                }
                // Also if it has the slot as far as it knows: a node that has just started may not know that it has moved on.
                if to == me {
                    self.check_standing()?;
                }
                if to == me && owner != Some(me) {
                    self.check_import(slot, owner)?;
                }
                let has_keys = has_keys && !self.has_bug(Bug::SlotGivenTwice);
                if owner == Some(me) && to != me && has_keys {
                    return Err(format!(
                        "Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
                    ));
                }
            }
        }
        Ok(())
    }

    /// Carries out a step of the move of a slot. Returns whether the reply to it waits until that is on disk (`persist.rs` says
    /// why).
    pub fn set_slot(
        &mut self,
        now: Now,
        slot: u16,
        step: &SlotStep,
        has_keys: bool,
    ) -> Result<bool, CommandError> {
        self.unhurried(now, |cluster| {
            cluster.check_slot(slot, step, has_keys)?;
            let is_saved_first = match step {
                SlotStep::Migrate(id) => {
                    let to = cluster.slot_peer(id)?;
                    cluster.log_slot(format!("Migrating slot {slot} to"), to);
                    cluster.importing.remove(&slot);
                    cluster.migrating.insert(slot, to);
                    cluster.arrivals.forget_slot(slot);
                    cluster.hurry_save();
                    true
                }
                SlotStep::Import(id) => {
                    let from = cluster.slot_peer(id)?;
                    cluster.log_slot(format!("Importing slot {slot} from"), from);
                    // A move away from here may be left of the time when the slot was this shard's.
                    cluster.migrating.remove(&slot);
                    cluster.importing.insert(slot, from);
                    false
                }
                SlotStep::Settle => {
                    cluster.log(Level::Notice, format!("Marking slot {slot} stable"));
                    cluster.migrating.remove(&slot);
                    cluster.importing.remove(&slot);
                    false
                }
                SlotStep::Give(id) => {
                    let (me, to) = (cluster.nodes.my_key(), cluster.joined(id)?);
                    let is_mine = cluster.nodes.owner(slot) == Some(me);
                    let is_moved = cluster.migrating.contains_key(&slot);
                    cluster.give_slot(slot, to, has_keys);
                    // A node that was not told to import it takes it when this one is known to have given it up.
                    let is_gift = is_mine && to != me && !is_moved;
                    if is_gift {
                        cluster.save_then(Then::Tell);
                    }
                    is_gift || cluster.nodes.owner(slot) == Some(me)
                }
            };
            cluster.save_later();
            Ok(is_saved_first)
        })
    }

    /// Takes the moves of slots that this replica's master has under way, instead of what is known of them.
    pub fn set_open_slots(&mut self, now: Now, open: &[OpenSlot]) {
        self.command(now, |cluster| {
            if !cluster.is_replica() {
                return;
            }
            cluster.migrating.clear();
            cluster.importing.clear();
            for OpenSlot { slot, is_importing, node } in open {
                // Who is not known yet is told of by the master, as soon as the slot has a new owner.
                let Some(key) = cluster.nodes.find(node) else { continue };
                let (moves, others) = match is_importing {
                    true => (&mut cluster.importing, &mut cluster.migrating),
                    false => (&mut cluster.migrating, &mut cluster.importing),
                };
                moves.insert(*slot, key);
                others.remove(slot);
            }
            cluster.save_soon();
        });
    }

    /// A master that may have been replaced has no part in moves: its keys are old, and with a new epoch it would take all its
    /// slots back from whoever has got them.
    fn check_standing(&self) -> Result<(), CommandError> {
        match self.may_be_replaced() {
            true => {
                Err("This master may have been replaced: it has no majority of masters".to_owned())
            }
            false => Ok(()),
        }
    }

    /// An order to take a slot may come late, when the slot has gone elsewhere, or to a node that has forgotten that it imports
    /// it. Without a newer epoch nobody would believe the node, and when the owner is told the same, the slot is nobody's.
    fn check_import(&self, slot: u16, owner: Option<NodeKey>) -> Result<(), CommandError> {
        let mine = self.nodes.me().config_epoch;
        let is_kept =
            |owner: &NodeKey| self.is_claimed(slot) && self.nodes[*owner].config_epoch >= mine;
        match owner.filter(|owner| is_kept(owner) && !self.importing.contains_key(&slot)) {
            Some(owner) => Err(format!(
                "Slot {slot} is not being imported, and belongs to node {} with a newer config epoch",
                self.nodes[owner].id
            )),
            None => Ok(()),
        }
    }

    fn slot_peer(&self, id: &[u8]) -> Result<NodeKey, CommandError> {
        let text = String::from_utf8_lossy(id);
        let key = self.joined(id).map_err(|_| format!("I don't know about node {text}"))?;
        if self.nodes[key].is_replica() {
            return Err("Target node is not a master".to_owned());
        }
        if key == self.nodes.my_key() {
            return Err("Target node is myself".to_owned());
        }
        Ok(key)
    }

    fn give_slot(&mut self, slot: u16, to: NodeKey, has_keys: bool) {
        let me = self.nodes.my_key();
        if !has_keys {
            self.migrating.remove(&slot);
        }
        self.log_slot(format!("Assigning slot {slot} to"), to);
        let my_master = self.nodes.me().master.unwrap_or(me);
        let was_mine = self.nodes.owner(slot) == Some(my_master) && to != my_master;
        let source = (to == my_master).then(|| self.importing.remove(&slot)).flatten();
        let former = self.nodes.owner(slot).filter(|former| *former != to);
        match former {
            // The operator may know of an owner that this node has not heard of yet.
            Some(former) if to == my_master => {
                self.arrivals.take(slot, source.unwrap_or(former), How::Moved);
            }
            Some(_) => self.arrivals.forget_slot(slot),
            // Told again.
            None => {}
        }
        self.nodes.assign(slot, Some(to));
        self.unclaimed.remove(slot);
        if was_mine && self.nodes[my_master].slot_count() == 0 {
            self.lost_last_slot(to);
        }
        if to == me && (source.is_some() || former.is_some()) {
            self.claim_imported(slot);
        }
    }

    /// Lets all know that a slot has been moved here, with an epoch that is newer than that of its old owner.
    fn claim_imported(&mut self, slot: u16) {
        if self.claim_anew() {
            self.log(Level::Notice, format!("ConfigEpoch updated after importing slot {slot}"));
        }
    }

    /// An operator has moved the last slot of this shard away.
    fn lost_last_slot(&mut self, to: NodeKey) {
        match (self.nodes.me().is_master(), self.may_join_shards()) {
            (true, true) => self.go_with_last_slot(to),
            (true, false) => self.log_empty(to),
            // The order has come from its master, which waits for it to acknowledge it.
            (false, _) => self.leaving = Some((self.nodes[to].id, self.now_ms() + LEAVE_MS)),
        }
    }

    fn go_with_last_slot(&mut self, to: NodeKey) {
        let (label, shard) = (self.nodes[to].label(), self.nodes[to].shard);
        let text = format!(
            "Lost my last slot during slot migration. Reconfiguring myself as a replica of {label} in shard {shard}"
        );
        self.log(Level::Notice, text);
        self.become_replica_of(to);
    }

    /// Lets a replica whose master has given its last slot away go with that, unless its master has given it a reason not to.
    pub(super) fn leave_empty_master(&mut self) {
        let now = self.now_ms();
        let Some((to, _)) = self.leaving.take_if(|(_, at)| now >= *at) else { return };
        let is_empty = |master: NodeKey| self.nodes[master].slot_count() == 0;
        let to = self.nodes.find(&to).filter(|to| self.nodes[*to].is_master());
        if let Some(to) = to
            && self.nodes.me().master.is_some_and(|master| master != to && is_empty(master))
            && self.may_join_shards()
        {
            self.go_with_last_slot(to);
        }
    }

    /// Whether this master, if it has no slots left, becomes a replica in the shard that has got them. Not while slots are
    /// being moved here: keys of theirs are here alone, and would be replaced by the data of the other shard.
    pub(super) fn may_join_shards(&self) -> bool {
        self.settings.allow_replica_migration && self.importing.is_empty()
    }

    fn log_slot(&mut self, what: String, node: NodeKey) {
        let (label, shard) = (self.nodes[node].label(), self.nodes[node].shard);
        self.log(Level::Notice, format!("{what} node {label} in shard {shard}"));
    }

    /// Handles that the node has keys of slots that it does not have: after a load. Slots that nobody has become its own if it
    /// is alone; else somebody may have them whose word has not come here, so their keys wait for an operator, who has the
    /// tool find them. Those of others are kept for the operator to move.
    pub fn claim_loaded(&mut self, now: Now, slots: &[u16]) {
        self.command(now, |cluster| {
            let me = cluster.nodes.my_key();
            if cluster.is_replica() {
                return;
            }
            for &slot in slots {
                match cluster.nodes.owner(slot) {
                    None if cluster.nodes.count() > 1 => {
                        let text = format!("I have keys for unassigned slot {slot}, and others may have it. It is left alone.");
                        cluster.log(Level::Warning, text);
                        continue;
                    }
                    None => {
                        let text = format!("I have keys for unassigned slot {slot}. Taking responsibility for it.");
                        cluster.log(Level::Notice, text);
                        cluster.nodes.assign(slot, Some(me));
                    }
                    Some(owner) if owner != me && !cluster.importing.contains_key(&slot) => {
                        let text = format!(
                            "I have keys for slot {slot}, but the slot is assigned to another node. Setting it to \
                             importing state."
                        );
                        cluster.log(Level::Notice, text);
                        cluster.migrating.remove(&slot);
                        cluster.importing.insert(slot, owner);
                    }
                    Some(_) => continue,
                }
                cluster.save_soon();
            }
        });
    }
}

fn check_once(slots: &[u16]) -> Result<(), CommandError> {
    let mut seen = BTreeSet::new();
    match slots.iter().find(|slot| !seen.insert(**slot)) {
        Some(slot) => Err(format!("Slot {slot} specified multiple times")),
        None => Ok(()),
    }
}
