//! What an operator orders: who belongs to the cluster, in which role, and with which epoch. Errors are the texts that
//! clients read, without the code `ERR`.

use super::Cluster;
use super::persist::Then;
use crate::bus::NodeFlags;
use crate::io::{Level, Now, Output};
use crate::node_id::NodeId;
use crate::nodes::{Address, NodeKey};

/// Why a command is refused.
pub type CommandError = String;

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
    pub(super) fn unhurried<T>(&mut self, now: Now, command: impl FnOnce(&mut Cluster) -> T) -> T {
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
    pub(super) fn joined(&self, id: &[u8]) -> Result<NodeKey, CommandError> {
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
            cluster.arrivals = Default::default();
            cluster.blacklist.clear();
            cluster.unclaimed = Default::default();
            cluster.nodes.me_mut().shard = new_shard;
            if was_replica {
                cluster.take_new_epoch();
            }
            if how == Reset::Hard {
                cluster.nodes.rename(me, new_id);
                cluster.nodes.me_mut().config_epoch = 0;
                (cluster.current_epoch, cluster.last_vote_epoch, cluster.won_epoch) = (0, 0, 0);
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
}
