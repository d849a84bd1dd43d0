//! What an operator orders. Errors are the texts that clients read, without the code `ERR`.

use std::collections::BTreeSet;

use super::Cluster;
use super::persist::Then;
use super::view::OpenSlot;
use crate::bus::NodeFlags;
use crate::injected::Bug;
use crate::io::{Level, Now, Output};
use crate::node_id::NodeId;
use crate::nodes::{Address, NodeKey};

/// Why a command is refused.
pub type CommandError = String;

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

/// How much a node forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// Other nodes and slots.
    Soft,
    /// Also its name and its epochs.
    Hard,
}

impl Cluster {
    pub(super) fn command<T>(&mut self, now: Now, command: impl FnOnce(&mut Cluster) -> T) -> T {
        self.unhurried(now, |cluster| {
            let result = command(cluster);
            cluster.hurry_save();
            result
        })
    }

    /// Executes a command whose changes are saved when it suits.
    fn unhurried<T>(&mut self, now: Now, command: impl FnOnce(&mut Cluster) -> T) -> T {
        self.begin(now);
        let result = command(self);
        self.finish();
        result
    }

    pub(super) fn known(&self, id: &[u8]) -> Result<NodeKey, CommandError> {
        let known = NodeId::parse(id).and_then(|id| self.nodes.find(&id));
        known.ok_or_else(|| format!("Unknown node {}", String::from_utf8_lossy(id)))
    }

    /// Returns a node whose name is its own, unlike those that are being met.
    fn joined(&self, id: &[u8]) -> Result<NodeKey, CommandError> {
        let key = self.known(id)?;
        match self.nodes[key].is(NodeFlags::HANDSHAKE) {
            true => Err(format!("Unknown node {}", self.nodes[key].id)),
            false => Ok(key),
        }
    }

    /// Meets the node at an address. `bus_port`: 0 for that of clients and 10000.
    pub fn meet(&mut self, now: Now, ip: &str, port: u16, bus_port: u16) {
        self.command(now, |cluster| {
            let address = Address { ip: ip.to_owned(), port, tls_port: 0, bus_port };
            cluster.begin_handshake(address, None, true);
        });
    }

    /// Forgets a node, and does not accept it again for a while.
    pub fn forget(&mut self, now: Now, id: &[u8]) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            let Ok(key) = cluster.known(id) else {
                let is_forgotten =
                    NodeId::parse(id).is_some_and(|id| cluster.blacklist.contains_key(&id));
                return match is_forgotten {
                    true => Ok(()),
                    false => Err(format!("Unknown node {}", String::from_utf8_lossy(id))),
                };
            };
            if key == cluster.nodes.my_key() {
                return Err("I tried hard but I can't forget myself...".to_owned());
            }
            if cluster.is_replica() && cluster.nodes.me().master == Some(key) {
                return Err("Can't forget my master!".to_owned());
            }
            let id = cluster.nodes[key].id;
            let until = cluster.now_ms().saturating_add(cluster.settings.blacklist_ttl_ms);
            cluster.blacklist.insert(id, until);
            cluster.remove_node(key);
            // The others are told with this, and forget it too.
            cluster.tell(|_| true);
            Ok(())
        })
    }

    /// Becomes a replica of a node. `has_keys`: whether this node has any.
    pub fn replicate(&mut self, now: Now, id: &[u8], has_keys: bool) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            let key = cluster.joined(id)?;
            if key == cluster.nodes.my_key() {
                return Err("Can't replicate myself".to_owned());
            }
            if cluster.nodes[key].is_replica() {
                return Err("I can only replicate a master, not a replica.".to_owned());
            }
            let me = cluster.nodes.me();
            if me.is_master() && (me.slot_count() > 0 || has_keys) {
                return Err(
                    "To set a master the node must be empty and without assigned slots.".to_owned()
                );
            }
            if me.master == Some(key) {
                return Ok(());
            }
            cluster.become_replica_of(key);
            cluster.save_then(Then::Tell);
            Ok(())
        })
    }

    /// Becomes a master without slots, in a shard of its own.
    pub fn replicate_no_one(&mut self, now: Now, new_shard: NodeId) {
        self.command(now, |cluster| {
            if cluster.nodes.me().is_master() {
                return;
            }
            cluster.nodes.me_mut().shard = new_shard;
            cluster.become_empty_master();
        });
    }

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
        match step {
            SlotStep::Migrate(id) => {
                if owner != Some(me) && !self.is_replica() {
                    return Err(format!("I'm not the owner of hash slot {slot}"));
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

    /// Carries out a step of the move of a slot.
    pub fn set_slot(
        &mut self,
        now: Now,
        slot: u16,
        step: &SlotStep,
        has_keys: bool,
    ) -> Result<(), CommandError> {
        self.unhurried(now, |cluster| {
            cluster.check_slot(slot, step, has_keys)?;
            match step {
                SlotStep::Migrate(id) => {
                    let to = cluster.slot_peer(id)?;
                    cluster.log_slot(format!("Migrating slot {slot} to"), to);
                    cluster.migrating.insert(slot, to);
                    cluster.hurry_save();
                }
                SlotStep::Import(id) => {
                    let from = cluster.slot_peer(id)?;
                    cluster.log_slot(format!("Importing slot {slot} from"), from);
                    cluster.importing.insert(slot, from);
                }
                SlotStep::Settle => {
                    cluster.log(Level::Notice, format!("Marking slot {slot} stable"));
                    cluster.migrating.remove(&slot);
                    cluster.importing.remove(&slot);
                }
                SlotStep::Give(id) => {
                    let to = cluster.joined(id)?;
                    cluster.give_slot(slot, to, has_keys);
                }
            }
            cluster.save_later();
            Ok(())
        })
    }

    /// Whether the reply to a step that was carried out waits until that is on disk (`persist.rs` says why).
    pub fn is_saved_first(&self, slot: u16, step: &SlotStep) -> bool {
        match step {
            SlotStep::Migrate(_) => true,
            SlotStep::Give(_) => self.nodes.owner(slot) == Some(self.nodes.my_key()),
            SlotStep::Import(_) | SlotStep::Settle => false,
        }
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
                let moves = match is_importing {
                    true => &mut cluster.importing,
                    false => &mut cluster.migrating,
                };
                moves.insert(*slot, key);
            }
            cluster.save_soon();
        });
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
        let is_imported = to == my_master && self.importing.remove(&slot).is_some();
        self.nodes.assign(slot, Some(to));
        self.unclaimed.remove(slot);
        if was_mine && self.nodes[my_master].slot_count() == 0 {
            self.lost_last_slot(to);
        }
        if is_imported && to == me {
            self.claim_imported(slot);
        }
    }

    /// Lets all know that a slot has been moved here, with an epoch that is newer than that of its old owner.
    fn claim_imported(&mut self, slot: u16) {
        if self.bump_epoch() {
            self.log(Level::Notice, format!("ConfigEpoch updated after importing slot {slot}"));
        }
        self.save_then(Then::Tell);
    }

    /// An operator has moved the last slot of this shard away.
    fn lost_last_slot(&mut self, to: NodeKey) {
        let (label, shard) = (self.nodes[to].label(), self.nodes[to].shard);
        if self.may_join_shards() {
            let text = format!(
                "Lost my last slot during slot migration. Reconfiguring myself as a replica of {label} in shard {shard}"
            );
            self.log(Level::Notice, text);
            self.become_replica_of(to);
        } else if self.nodes.me().is_master() {
            let text = format!(
                "My last slot was migrated to node {label} in shard {shard}. I am now an empty primary."
            );
            self.log(Level::Notice, text);
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

    /// Takes the highest epoch. Returns it, and whether it is new.
    pub fn bump_config_epoch(&mut self, now: Now) -> (bool, u64) {
        self.command(now, |cluster| (cluster.bump_epoch(), cluster.nodes.me().config_epoch))
    }

    /// Sets the epoch of a node that knows nobody.
    pub fn set_config_epoch(&mut self, now: Now, epoch: u64) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            if cluster.nodes.count() > 1 {
                let text = "The user can assign a config epoch only when the node does not know any other node.";
                return Err(text.to_owned());
            }
            if cluster.nodes.me().config_epoch != 0 {
                return Err("Node config epoch is already non-zero".to_owned());
            }
            cluster.nodes.me_mut().config_epoch = epoch;
            cluster.current_epoch = cluster.current_epoch.max(epoch);
            cluster.save_soon();
            cluster.log(Level::Notice, format!("configEpoch set to {epoch} via CLUSTER SET-CONFIG-EPOCH"));
            Ok(())
        })
    }

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

    /// Leaves the cluster. `has_keys`: whether this node has any.
    pub fn reset(
        &mut self,
        now: Now,
        how: Reset,
        has_keys: bool,
        new_id: NodeId,
        new_shard: NodeId,
    ) -> Result<(), CommandError> {
        self.command(now, |cluster| {
            if cluster.nodes.me().is_master() && has_keys {
                return Err(
                    "CLUSTER RESET can't be called with master nodes containing keys".to_owned()
                );
            }
            let was_replica = cluster.is_replica();
            let me = cluster.nodes.my_key();
            cluster.end_manual_failover();
            cluster.election = super::election::Election::default();
            cluster.set_as_master(me);
            cluster.nodes.me_mut().flags.set(NodeFlags::MIGRATE_TO, false);
            for key in cluster.nodes.keys() {
                cluster.nodes.unassign_all(key);
                cluster.remove_node(key);
            }
            cluster.migrating.clear();
            cluster.importing.clear();
            cluster.blacklist.clear();
            cluster.unclaimed = Default::default();
            cluster.nodes.me_mut().shard = new_shard;
            if was_replica {
                cluster.take_new_epoch();
            }
            if how == Reset::Hard {
                cluster.nodes.rename(me, new_id);
                cluster.nodes.me_mut().config_epoch = 0;
                (cluster.current_epoch, cluster.last_vote_epoch) = (0, 0);
                cluster.voted_for = None;
                cluster.log(Level::Notice, format!("Node hard reset, now I'm {new_id}"));
            }
            cluster.save_soon();
            if was_replica {
                cluster.output(Output::Promote);
            }
            Ok(())
        })
    }

    /// Returns how many masters report a node as failing.
    pub fn count_failure_reports(&mut self, now: Now, id: &[u8]) -> Result<usize, CommandError> {
        self.begin(now);
        let key = self.known(id)?;
        Ok(self.count_reports(key))
    }

    /// Writes the state to disk.
    pub fn save(&mut self, now: Now) {
        self.command(now, |cluster| cluster.save_soon());
    }

    /// Handles that the node has keys of slots that it does not have: after a load. Slots that nobody has become its own,
    /// those of others are kept for the operator to move.
    pub fn claim_loaded(&mut self, now: Now, slots: &[u16]) {
        self.command(now, |cluster| {
            let me = cluster.nodes.my_key();
            if cluster.is_replica() {
                return;
            }
            for &slot in slots {
                match cluster.nodes.owner(slot) {
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
