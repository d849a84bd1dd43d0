//! The faults end, operators put right what only they can, and the cluster must agree.

use std::collections::BTreeMap;

use russet_cluster::bus::NodeFlags;
use russet_cluster::{Cluster, NodeId, SlotStep};

use crate::world::World;

/// So long it may take until all agree, milliseconds.
const AGREE_MS: u64 = 60_000;

/// How often it is looked whether they do, milliseconds.
const LOOK_MS: u64 = 1_000;

/// What all nodes must say alike: of each node its role, master, shard, epoch and watched slots.
type View = BTreeMap<NodeId, (bool, Option<NodeId>, NodeId, u64, Vec<u16>)>;

fn view(cluster: &Cluster, watched: &[u16]) -> View {
    let nodes = cluster.nodes();
    let line = |key| {
        let node = &nodes[key];
        let owned = watched.iter().filter(|slot| nodes.owner(**slot) == Some(key));
        let master = node.master.map(|master| nodes[master].id);
        // That of a replica is its master's.
        let epoch = if node.is_master() { node.config_epoch } else { 0 };
        (node.id, (node.is_master(), master, node.shard, epoch, owned.copied().collect()))
    };
    nodes.keys().into_iter().map(line).collect()
}

impl World {
    /// Ends all faults, and waits until the cluster is well.
    pub fn heal(&mut self) {
        if self.network.checks.problem.is_some() {
            return;
        }
        self.note("the faults end".to_owned());
        self.end_faults();
        let end = self.network.now_ms + AGREE_MS;
        let mut last = Err("nothing was looked at".to_owned());
        while self.network.now_ms < end {
            self.network.run(LOOK_MS);
            if self.network.checks.problem.is_some() {
                return;
            }
            last = self.is_well();
            if last.is_ok() {
                return;
            }
            if (end - self.network.now_ms).is_multiple_of(5_000) && self.may_operate {
                self.put_right();
            }
        }
        if let Err(text) = last {
            self.network.checks.problem = Some(format!("they do not agree: {text}"));
        }
    }

    fn end_faults(&mut self) {
        self.moves.clear();
        self.network.failing_disks.clear();
        self.network.delays.clear();
        self.network.heal();
        for number in 0..self.count() {
            let process = &mut self.network.processes[number];
            process.save_ms = 1;
            process.wall_ahead_ms = 0;
            let mut settings = process.settings.clone();
            settings.no_failover = false;
            settings.replica_validity_factor = 0;
            process.settings = settings.clone();
            let (is_alive, is_suspended) = (process.is_alive, process.is_suspended);
            if is_suspended {
                self.network.resume(number, true);
            }
            match is_alive {
                true => self.network.order(number, |cluster, now| cluster.set(now, settings)),
                false => self.network.restart(number),
            }
        }
    }

    /// Does what operators do after such a day: forgets who is gone, introduces all, ends moves of slots, assigns slots.
    fn put_right(&mut self) {
        for id in self.gone.clone() {
            if self.network.find(id).is_none() {
                self.forget_everywhere(id);
            }
        }
        let forgotten = self
            .network
            .processes
            .iter()
            .any(|process| process.cluster.nodes().count() < self.network.processes.len());
        if forgotten {
            (1..self.count()).for_each(|number| self.introduce(number));
        }
        for slot in self.network.checks.watched.clone() {
            self.settle(slot);
        }
    }

    fn introduce(&mut self, number: usize) {
        let ip = format!("10.0.0.{}", number + 1);
        self.network.order(0, |cluster, now| cluster.meet(now, &ip, 6379, 16379));
    }

    fn settle(&mut self, slot: u16) {
        for number in 0..self.count() {
            let order =
                |cluster: &mut Cluster, now| cluster.set_slot(now, slot, &SlotStep::Settle, false);
            self.network.order(number, order).expect("it needs nothing");
        }
        let claims = |process: &crate::network::Process| {
            let nodes = process.cluster.nodes();
            nodes.owner(slot) == Some(nodes.my_key())
        };
        if !self.network.processes.iter().any(claims) {
            let processes = self.network.processes.iter();
            let master = processes.clone().position(|process| !process.cluster.is_replica());
            let Some(master) = master else { return };
            self.network.checks.loose.insert(slot);
            for number in 0..self.count() {
                _ = self.network.order(number, |cluster, now| cluster.delete_slots(now, &[slot]));
            }
            let result = self.network.order(master, |cluster, now| cluster.add_slots(now, &[slot]));
            self.note(format!("ADDSLOTS {master} {slot}: {result:?}"));
        }
    }

    fn is_well(&self) -> Result<(), String> {
        let watched = &self.network.checks.watched;
        let first = view(self.network.cluster(0), watched);
        if first.len() != self.count() {
            return Err(format!("node 0 knows {} of {} nodes", first.len(), self.count()));
        }
        for (number, process) in self.network.processes.iter().enumerate() {
            let cluster = &process.cluster;
            let own = view(cluster, watched);
            if own != first {
                let ids = own.keys().chain(first.keys());
                let id = ids.clone().find(|id| own.get(id) != first.get(id)).expect("a difference");
                let (mine, other) = (own.get(id), first.get(id));
                return Err(format!("node {number} says of {id} {mine:?}, node 0 {other:?}"));
            }
            if !cluster.is_ok() {
                return Err(format!("node {number} is not up"));
            }
            self.has_good_nodes(number)?;
        }
        let mut epochs: Vec<u64> =
            first.values().filter(|node| node.0).map(|node| node.3).collect();
        epochs.sort_unstable();
        if epochs.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("two masters have one epoch: {epochs:?}"));
        }
        for slot in watched {
            let serving = self.network.processes.iter();
            let serving = serving.filter(|process| process.cluster.serves(*slot)).count();
            if serving != 1 {
                return Err(format!("slot {slot} is served by {serving} nodes"));
            }
        }
        Ok(())
    }

    fn has_good_nodes(&self, number: usize) -> Result<(), String> {
        let process = &self.network.processes[number];
        let nodes = process.cluster.nodes();
        for (_, node) in nodes.iter() {
            let is_settled = !node.is_failing() && node.is_known() && !node.is(NodeFlags::MEET);
            if !is_settled {
                return Err(format!("at node {number}, {} has {:?}", node.id, node.flags));
            }
            let is_good = match node.master {
                Some(master) => node.is_replica() && nodes[master].is_master(),
                None => node.is_master(),
            };
            if !is_good {
                return Err(format!("at node {number}, {} replicates no master", node.id));
            }
        }
        let master = nodes.me().master.and_then(|master| self.network.find(nodes[master].id));
        let expected = master.map(|master| format!("10.0.0.{}", master + 1));
        match process.follows == expected {
            true => Ok(()),
            false => Err(format!("node {number} follows {:?}, not {expected:?}", process.follows)),
        }
    }
}
