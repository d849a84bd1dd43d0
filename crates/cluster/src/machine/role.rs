//! Who is a master, and who replicates whom.

use super::Cluster;
use crate::bus::{Header, NodeFlags};
use crate::io::{Level, Output};
use crate::nodes::NodeKey;

impl Cluster {
    /// Notes the role that a node says it has.
    pub(super) fn update_role(&mut self, sender: NodeKey, header: &Header) {
        match header.master {
            None => self.set_as_master(sender),
            Some(master) => {
                self.set_as_replica(sender, self.nodes.find(&master), header.config_epoch)
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
        if self.nodes[key].is_master() {
            let is_failover = master.is_some_and(|master| self.nodes.share_shard(key, master));
            match master.filter(|_| is_failover) {
                // Its slots go to whoever has its place, by that one's claim.
                Some(master) if self.nodes[key].config_epoch <= epoch => {
                    self.set_as_master(master);
                    let known = self.nodes[master].config_epoch;
                    self.nodes[master].config_epoch = known.max(epoch);
                }
                Some(_) => {}
                None => _ = self.nodes.unassign_all(key),
            }
            let node = &mut self.nodes[key];
            node.flags.set(NodeFlags::MASTER, false);
            node.flags.set(NodeFlags::MIGRATE_TO, false);
            node.flags.set(NodeFlags::REPLICA, true);
            self.save_soon();
        }
        let Some(master) = master.filter(|master| *master != key) else { return };
        if self.nodes[key].master == Some(master) {
            return;
        }
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

    /// Replicates the master of our master, if that is a replica now.
    fn leave_chain(&mut self) {
        let Some(master) = self.nodes.me().master else { return };
        let Some(above) = self.nodes[master].master else { return };
        if above == self.nodes.my_key() || !self.nodes[master].is_replica() {
            return;
        }
        let text = format!(
            "I'm a sub-replica! Reconfiguring myself as a replica of {} from {}",
            self.nodes[above].id, self.nodes[master].id
        );
        self.log(Level::Notice, text);
        self.become_replica_of(above);
    }

    /// Becomes a replica of a node.
    pub(super) fn become_replica_of(&mut self, master: NodeKey) {
        let me = self.nodes.my_key();
        let is_other_history = !self.nodes.share_shard(me, master);
        if is_other_history {
            self.migrating.clear();
            self.importing.clear();
        }
        self.nodes.unassign_all(me);
        let shard = self.nodes[master].shard;
        let node = self.nodes.me_mut();
        node.flags.set(NodeFlags::MASTER, false);
        node.flags.set(NodeFlags::MIGRATE_TO, false);
        node.flags.set(NodeFlags::REPLICA, true);
        node.master = Some(master);
        node.shard = shard;
        self.nodes[master].flags.set(NodeFlags::MIGRATE_TO, true);
        self.end_manual_failover();
        self.election.abandon();
        self.follow_master(is_other_history);
        self.save_soon();
    }

    /// Lets the node replicate its master.
    pub(super) fn follow_master(&mut self, is_other_history: bool) {
        let Some(master) = self.nodes.me().master else { return };
        let address = &self.nodes[master].address;
        if address.ip.is_empty() || self.nodes[master].is(NodeFlags::NO_ADDRESS) {
            return;
        }
        let (host, port) = (address.ip.clone(), address.port);
        self.output(Output::Follow { host, port, is_other_history });
    }

    /// Takes the place of this replica's master, with an epoch. It serves when that is on disk.
    pub(super) fn take_over(&mut self, epoch: u64) {
        let me = self.nodes.my_key();
        let Some(old) = self.nodes.me().master else { return };
        let slots: Vec<u16> = self.nodes[old].slots().iter().collect();
        self.set_as_master(me);
        for slot in slots {
            self.nodes.assign(slot, Some(me));
            self.unclaimed.remove(slot);
        }
        self.nodes.me_mut().config_epoch = epoch;
        self.election.abandon();
        self.save_then(super::persist::Then::Promote { epoch });
    }

    /// Serves as a master, now that it is on disk.
    pub(super) fn promoted(&mut self, epoch: u64) {
        let me = self.nodes.me();
        if !me.is_master() || me.config_epoch < epoch {
            return;
        }
        self.output(Output::Promote);
        self.end_manual_failover();
        self.tell(|_| true);
    }
}
