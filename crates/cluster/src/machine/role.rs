//! Who is a master, and who replicates whom.

use super::Cluster;
use super::arrivals::How;
use super::persist::{Promotion, Then, Until};
use crate::bus::{Header, NodeFlags};
use crate::injected::Bug;
use crate::io::{Level, Output};
use crate::node_id::NodeId;
use crate::nodes::NodeKey;
use crate::slots::SlotBitmap;

impl Cluster {
    /// Notes the role that a node says it has.
    pub(super) fn update_role(&mut self, sender: NodeKey, header: &Header) {
        match header.master {
            None => self.set_as_master(sender),
            Some(master) => {
                self.set_as_replica(sender, self.find_known(&master), header.config_epoch)
            }
        }
    }

    /// Notes that a node is a master.
    pub(super) fn set_as_master(&mut self, key: NodeKey) {
        if self.nodes[key].is_master() {
            return;
        }
        let node = &mut self.nodes[key];
        let had_master = node.master.take().is_some();
        node.flags.set(NodeFlags::REPLICA, false);
        node.flags.set(NodeFlags::MASTER, true);
        // It has come from a shard with replicas, so it should have some.
        node.flags.set(NodeFlags::MIGRATE_TO, had_master);
        self.save_soon();
    }

    fn set_as_replica(&mut self, key: NodeKey, master: Option<NodeKey>, epoch: u64) {
        let master = master.filter(|master| *master != key);
        self.arrivals.is_replica(key);
        if self.nodes[key].is_master() {
            self.demote(key, master, epoch);
        }
        let Some(master) = master.filter(|master| self.nodes[key].master != Some(*master)) else {
            return;
        };
        self.nodes[key].master = Some(master);
        self.nodes[master].flags.set(NodeFlags::MIGRATE_TO, true);
        let text = format!(
            "Node {} is now a replica of node {} in shard {}",
            self.nodes[key].label(),
            self.nodes[master].label(),
            self.nodes[master].shard
        );
        self.log(Level::Notice, text);
        self.save_soon();
        self.leave_chain();
        let shard = self.nodes[master].shard;
        self.set_shard(key, shard);
    }

    /// Notes that a master has become a replica.
    fn demote(&mut self, key: NodeKey, master: Option<NodeKey>, epoch: u64) {
        let label = self.nodes[key].label();
        match master.filter(|master| self.nodes.share_shard(key, *master)) {
            Some(_) if self.nodes[key].config_epoch > epoch => {
                let known = self.nodes[key].config_epoch;
                let text = format!(
                    "Ignore stale message from {label} in shard {}; gossip config epoch: {epoch}, \
                     current config epoch: {known}",
                    self.nodes[key].shard
                );
                self.log(Level::Notice, text);
            }
            // What this node is itself, others do not tell it.
            Some(master) if master != self.nodes.my_key() => {
                self.set_as_master(master);
                let node = &mut self.nodes[master];
                node.config_epoch = node.config_epoch.max(epoch);
                self.inherit_slots(key, master);
                let text = format!(
                    "A failover occurred in shard {}; node {label} failed over to node {} with a config epoch of {}",
                    self.nodes[key].shard,
                    self.nodes[master].label(),
                    self.nodes[master].config_epoch
                );
                self.log(Level::Notice, text);
            }
            Some(_) => self.unclaimed = self.unclaimed.union(self.nodes[key].slots()),
            None => {
                let shard = self.nodes[key].shard;
                let count = self.nodes.unassign_all(key);
                let text = format!(
                    "Node {label} is no longer primary of shard {shard}; removed all {count} slot(s) it used to own"
                );
                self.log(Level::Notice, text);
            }
        }
        let node = &mut self.nodes[key];
        node.flags.set(NodeFlags::MASTER, false);
        node.flags.set(NodeFlags::MIGRATE_TO, false);
        node.flags.set(NodeFlags::REPLICA, true);
        self.save_soon();
    }

    /// Gives the slots of a node to the one that has taken its place; with a replica they would stay for ever. If it has not
    /// got all of them, it does not claim them, and they go to whoever does: already now, if it has said what it claims.
    fn inherit_slots(&mut self, from: NodeKey, to: NodeKey) {
        let has_claimed = self.nodes[to].claimed_epoch >= self.nodes[to].config_epoch;
        let slots = self.nodes[from].slots().clone();
        for slot in slots.iter() {
            self.nodes.assign(slot, Some(to));
        }
        if has_claimed {
            self.unclaimed = self.unclaimed.union(&slots);
        }
    }

    /// Returns the master of this replica's master, if that is a replica now.
    fn master_above(&self) -> Option<NodeKey> {
        let master = self.nodes.me().master?;
        self.nodes[master].master.filter(|_| self.nodes[master].is_replica())
    }

    /// Replicates the master of our master, if that is a replica now.
    pub(super) fn leave_chain(&mut self) {
        let Some(above) = self.master_above().filter(|above| *above != self.nodes.my_key()) else {
            return;
        };
        let text = format!(
            "I'm a sub-replica! Reconfiguring myself as a replica of {}",
            self.nodes[above].id
        );
        self.log(Level::Notice, text);
        self.become_replica_of(above);
    }

    /// Two orders at once can make two nodes replicate each other. If that lasts, and the other node has said so again, so that
    /// it is not just an old message, the one whose name is smaller becomes a master again.
    pub(super) fn leave_circle(&mut self) {
        let me = self.nodes.my_key();
        let other = self.nodes.me().master.filter(|_| self.master_above() == Some(me));
        let Some(other) = other.filter(|other| self.nodes.me().id < self.nodes[*other].id) else {
            self.circle_ms = None;
            return;
        };
        let (now, timeout) = (self.now_ms(), self.settings.node_timeout_ms);
        let since = *self.circle_ms.get_or_insert(now);
        let is_confirmed = self.nodes[other].heard_ms > since + timeout / 2;
        if is_confirmed && now.saturating_sub(since) > timeout {
            let label = self.nodes[other].label();
            self.log(Level::Warning, format!("Node {label} and this one replicate each other"));
            self.become_empty_master();
        }
    }

    /// Notes that the data is that of the master's shard as soon as the link to it is up.
    pub(super) fn note_data(&mut self) {
        self.has_foreign_data &= self.nodes.me().is_replica() && !self.now.data.is_connected;
    }

    /// Becomes a master without slots.
    pub(super) fn become_empty_master(&mut self) {
        self.set_as_master(self.nodes.my_key());
        self.nodes.me_mut().flags.set(NodeFlags::MIGRATE_TO, false);
        self.take_new_epoch();
        self.election = Default::default();
        self.end_manual_failover();
        self.output(Output::Promote);
    }

    /// Becomes a replica of a node.
    pub(super) fn become_replica_of(&mut self, master: NodeKey) {
        let me = self.nodes.my_key();
        if !self.nodes.share_shard(me, master) {
            self.has_foreign_data = true;
            self.migrating.clear();
            self.importing.clear();
            self.arrivals = Default::default();
        }
        self.nodes.unassign_all(me);
        self.leaving = None;
        self.arrivals.lose_place();
        self.note("+replica", master, "this node is its replica now");
        let shard = self.nodes[master].shard;
        let node = self.nodes.me_mut();
        node.flags.set(NodeFlags::MASTER, false);
        node.flags.set(NodeFlags::MIGRATE_TO, false);
        node.flags.set(NodeFlags::REPLICA, true);
        node.master = Some(master);
        node.shard = shard;
        self.nodes[master].flags.set(NodeFlags::MIGRATE_TO, true);
        self.end_manual_failover();
        self.election = Default::default();
        self.follow_master();
        match self.has_bug(Bug::StockRules) {
            true => self.save_soon(),
            false => self.save_then(Then::TellRole),
        }
    }

    /// Lets the node replicate its master.
    pub(super) fn follow_master(&mut self) {
        let Some(master) = self.nodes.me().master else { return };
        let address = &self.nodes[master].address;
        if address.ip.is_empty() || self.nodes[master].is(NodeFlags::NO_ADDRESS) {
            return;
        }
        let (host, port) = (address.ip.clone(), address.port);
        self.output(Output::Follow { host, port });
    }

    /// Returns the slots that a replica takes with its master's place. What the master had given up is not among them: that has
    /// gone, with all its keys, to a node that may not have been able to say so yet.
    pub(super) fn heritage(&self, master: NodeKey) -> SlotBitmap {
        let slots = self.nodes[master].slots();
        match self.nodes[master].is_master() {
            true => slots.difference(&self.unclaimed),
            // It has given all of them up to be a replica.
            false => slots.clone(),
        }
    }

    /// Takes the place of this replica's master, with an epoch. It serves when that is on disk.
    pub(super) fn take_over(&mut self, epoch: u64) {
        let me = self.nodes.my_key();
        let Some(old) = self.nodes.me().master else { return };
        let heritage = self.heritage(old);
        self.set_as_master(me);
        self.unclaimed = self.unclaimed.difference(self.nodes[old].slots());
        for slot in heritage.iter() {
            self.nodes.assign(slot, Some(me));
            self.arrivals.take(slot, old, How::Inherited);
        }
        self.nodes.unassign_all(old);
        self.nodes.me_mut().config_epoch = epoch;
        self.won_epoch = epoch;
        let (former, until) = (self.nodes[old].id, self.place_until());
        self.election = Default::default();
        let lost = SlotBitmap::default();
        self.save_then(Then::Promote(Promotion { epoch, former, until, lost }));
    }

    /// Serves as a master, now that it is on disk: unless it is too late.
    pub(super) fn promoted(&mut self, promotion: Promotion) {
        let Promotion { epoch, former, until, lost } = promotion;
        let me = self.nodes.me();
        if !me.is_master() || me.config_epoch < epoch {
            return;
        }
        if let Some(master) = self.serving_again(&former, until) {
            return self.step_back(master);
        }
        let former = self.nodes.find(&former);
        self.output(Output::Promote);
        self.drop_keys(lost.difference(self.nodes.me().slots()));
        self.end_manual_failover();
        self.tell(|_| true);
        if let Some(former) = former {
            self.note("+promoted", former, "the new state of this node is on disk");
            self.tell_failover(former, self.nodes.my_key());
        }
    }

    /// Gives a place up that could not be saved in time, before the next attempt: with it on disk, this node would have it after
    /// a restart.
    pub(super) fn forgo_late_place(&mut self) {
        let place = self.saves.promotion().map(|it| (it.former, it.until));
        if let Some((former, until)) = place
            && let Some(master) = self.serving_again(&former, until)
        {
            self.saves.forgo_place();
            self.step_back(master);
        }
    }

    /// Returns the former master, if it may serve again.
    fn serving_again(&self, former: &NodeId, until: Option<Until>) -> Option<NodeKey> {
        let (until_ms, by_others) = match until? {
            Until::ClientsGoOn(until_ms) => (until_ms, false),
            Until::VotesEnd(until_ms) => (until_ms, true),
        };
        let former = self.nodes.find(former).filter(|_| self.now_ms() > until_ms)?;
        (by_others || !self.nodes[former].is(NodeFlags::FAIL)).then_some(former)
    }

    /// Stays the replica of a master, whose place it has won too late. Nobody has been told.
    fn step_back(&mut self, master: NodeKey) {
        let text = "Failover was won too late: the state could not be saved before the primary may serve again.";
        self.log(Level::Warning, text.to_owned());
        self.note("-promoted", master, "its place was won too late");
        let slots: Vec<u16> = self.nodes.me().slots().iter().collect();
        slots.into_iter().for_each(|slot| self.nodes.assign(slot, Some(master)));
        let me = self.nodes.me_mut();
        me.flags.set(NodeFlags::MASTER, false);
        me.flags.set(NodeFlags::REPLICA, true);
        (me.master, me.config_epoch) = (Some(master), 0);
        self.arrivals.lose_place();
        self.end_manual_failover();
        // To say less than what is on disk breaks nothing. A newer epoch, heard of meanwhile, would be more.
        let current_epoch = self.saves.own().current_epoch;
        self.saves.begin(&self.nodes, &self.migrating, current_epoch);
        self.save_soon();
        self.hurry_save();
    }
}
