//! What goes wrong in a cluster in particular, and what its users order.

use crate::world::{Event, World};

impl World {
    /// Nodes that are masters with slots in their own view.
    fn masters_with_slots(&self) -> Vec<usize> {
        let is_one = |node: &usize| {
            let machine = self.processes[*node].cluster();
            machine.is_some_and(|machine| machine.nodes().me().votes())
        };
        (0..self.plan.data_nodes()).filter(is_one).collect()
    }

    fn replicas_of(&self, master: usize) -> Vec<usize> {
        let id = self.cluster.ids[master];
        let is_one = |node: &usize| {
            let Some(machine) = self.processes[*node].cluster() else { return false };
            let nodes = machine.nodes();
            nodes
                .me()
                .master
                .filter(|_| nodes.me().is_replica())
                .is_some_and(|key| nodes[key].id == id)
        };
        (0..self.plan.data_nodes()).filter(is_one).collect()
    }

    /// Something happens to a master, as it does to one of whom a replica should take over.
    pub(crate) fn trouble_cluster_master(&mut self) {
        let masters = self.masters_with_slots();
        if masters.is_empty() {
            return;
        }
        let node = *self.chance.pick(&masters);
        match self.chance.below(4) {
            0 | 1 => self.crash(node),
            2 => self.stop_for_long(node),
            _ => self.cut_off(node),
        }
    }

    /// The nodes fall into two parts that do not hear each other; clients reach both.
    pub(crate) fn split_cluster(&mut self) {
        let nodes = self.plan.data_nodes();
        let us = self.chance.skewed(500_000, 60_000_000);
        let side: Vec<bool> = (0..nodes).map(|_| self.chance.percent(50)).collect();
        let is_one_way = self.chance.percent(25);
        let runs =
            |wanted: bool| (0..nodes).any(|n| side[n] == wanted && self.processes[n].is_up());
        self.coverage.splits += u64::from(runs(true) && runs(false));
        self.tell(|| format!("the cluster is split for {us} us, one way: {is_one_way}: {side:?}"));
        for from in 0..nodes {
            for to in 0..nodes {
                if side[from] != side[to] && (side[from] || !is_one_way) {
                    self.links[from][to].blocked = true;
                    self.queue.push(self.now + us, Event::Unblock { from, to });
                }
            }
        }
    }

    /// A user tells a replica to take over.
    pub(crate) fn order_cluster_failover(&mut self) {
        let Some(forces) = self.plan.cluster.as_ref().map(|plan| plan.forces) else { return };
        let masters = self.masters_with_slots();
        if masters.is_empty() {
            return;
        }
        let master = *self.chance.pick(&masters);
        let replicas = self.replicas_of(master);
        if replicas.is_empty() {
            return;
        }
        let replica = *self.chance.pick(&replicas);
        let how = if forces { self.chance.below(6) } else { 0 };
        match how {
            0..3 => self.order(replica, "CLUSTER FAILOVER"),
            3 => self.order(replica, "CLUSTER FAILOVER FORCE"),
            _ => self.order(replica, "CLUSTER FAILOVER TAKEOVER"),
        }
        self.cluster.told.insert(replica);
        if how < 3 {
            return;
        }
        // Two of them may take the same epoch.
        if how == 5 && replicas.len() > 1 {
            for other in replicas {
                self.order(other, "CLUSTER FAILOVER TAKEOVER");
                self.cluster.told.insert(other);
            }
        }
        // From now on writes may be lost, and two nodes may have a slot.
        self.cluster.is_forced = true;
        self.coverage.forced_takeovers += 1;
    }

    /// A user lets a replica follow another master, or raises an epoch.
    pub(crate) fn rearrange_cluster(&mut self, node: usize) {
        let masters = self.masters_with_slots();
        if masters.is_empty() || self.processes[node].cluster().is_none() {
            return;
        }
        // It makes a master that was replaced the owner of its slots again.
        if self.plan.cluster.as_ref().is_some_and(|plan| plan.forces) && self.chance.percent(30) {
            self.cluster.is_forced = true;
            return self.order(node, "CLUSTER BUMPEPOCH");
        }
        let master = *self.chance.pick(&masters);
        let id = self.cluster.ids[master];
        let is_replica = self.processes[node].cluster().is_some_and(|machine| machine.is_replica());
        if is_replica {
            self.order(node, &format!("CLUSTER REPLICATE {}", id.as_str()));
        }
    }
}
