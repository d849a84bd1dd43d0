//! Progress: when nothing fails any more, each slot is served by one master, all nodes have one view, all replicas follow, each
//! key is where its slot is, and holds what was promised.

use std::collections::BTreeMap;

use russet_cluster::bus::NodeFlags;
use russet_cluster::{Cluster, NodeId, SlotBitmap};

use crate::clusters::{Seen, TAGS, is};
use crate::model::Value;
use crate::plan::node_of;
use crate::world::{Event, Phase, World};

/// From the end of the faults to agreement, at most, beside what depends on the timeout.
const HEALED_US: u64 = 150_000_000;

/// … and so many timeouts.
const HEALED_TIMEOUTS: u64 = 30;

/// All must have been well for so long.
const CALM_US: u64 = 8_000_000;

/// Replicas are seen at the offset of their master within this time: its PINGs are on their way now and then.
const DIFFERING_US: u64 = 60_000_000;

/// How a node sees another: its role, its epoch and slots.
type View = BTreeMap<NodeId, (Option<NodeId>, u64, SlotBitmap)>;

fn view_of(machine: &Cluster) -> View {
    let nodes = machine.nodes();
    let view = nodes.iter().map(|(_, node)| {
        let master = node.master.filter(|_| node.is_replica()).map(|key| nodes[key].id);
        // The epoch of a replica is nothing that it has itself.
        let epoch = if master.is_some() { 0 } else { node.config_epoch };
        (node.id, (master, epoch, node.slots().clone()))
    });
    view.collect()
}

impl World {
    /// Faults have ended: is all well yet?
    pub(crate) fn verify_cluster(&mut self, since_us: u64) {
        let until_us = since_us + HEALED_US + HEALED_TIMEOUTS * self.timeout_us();
        let seconds = (self.now - since_us) / 1_000_000;
        match self.cluster_missing() {
            None => {
                let well_us = *self.cluster.well_since_us.get_or_insert(self.now);
                let is_calm = self.now > well_us + CALM_US;
                let differs = if is_calm { self.differing_replica() } else { None };
                if let Some(what) = differs.filter(|_| self.now > well_us + DIFFERING_US) {
                    return self.fail(format!("{seconds} s after the last fault {what}"));
                }
                if is_calm && self.differing_replica().is_none() {
                    self.coverage.cluster_healing_seconds += seconds;
                    self.tell(|| format!("all is well after {seconds} s"));
                    self.check_keys();
                    self.phase = Phase::Over;
                    return;
                }
            }
            Some(what) if self.now > until_us => {
                self.tell_views();
                return self.fail(format!("{seconds} s after the last fault {what}"));
            }
            Some(_) => self.cluster.well_since_us = None,
        }
        let wait = self.chance.between(50_000, 300_000);
        self.queue.push(self.now + wait, Event::Verify);
    }

    /// Who has each tag, for every node, in the trace.
    fn tell_views(&mut self) {
        for node in 0..self.plan.data_nodes() {
            let mut line = format!("node{node} believes:");
            let owners = self.cluster.views.get(&node).into_iter().flat_map(|view| view.owners);
            for (tag, owner) in owners.enumerate() {
                if let Some(Seen { id, epoch, .. }) = owner {
                    let owner = self.cluster.node(&id).unwrap_or(usize::MAX);
                    line += &format!(" {tag}@node{owner}({epoch})");
                }
            }
            self.tell(|| line);
        }
    }

    /// Whether all nodes have one view, in which nobody fails.
    pub(super) fn is_agreed(&self) -> bool {
        self.unagreed().is_none()
    }

    fn unagreed(&self) -> Option<String> {
        let mut agreed: Option<(usize, View)> = None;
        for node in 0..self.plan.data_nodes() {
            let Some(machine) = self.processes[node].cluster() else {
                return Some(format!("node{node} does not run"));
            };
            if !machine.is_ok() {
                return Some(format!("node{node} does not serve"));
            }
            if !machine.nodes().are_all_assigned() {
                return Some(format!("node{node} knows slots of nobody"));
            }
            let odd = machine.nodes().iter().find(|(_, other)| {
                other.is_failing()
                    || is(other, NodeFlags::HANDSHAKE)
                    || is(other, NodeFlags::NO_ADDRESS)
            });
            if let Some((_, odd)) = odd {
                return Some(format!("for node{node} {} is {:?}", odd.label(), odd.flags));
            }
            let view = view_of(machine);
            match &agreed {
                None => agreed = Some((node, view)),
                Some((first, ours)) if *ours != view => {
                    let differing = view.iter().find(|(id, what)| ours.get(*id) != Some(*what));
                    let what = differing.map(|(id, what)| (id, what, ours.get(id)));
                    return Some(format!(
                        "node{node} and node{first} have other views of {what:?}"
                    ));
                }
                Some(_) => {}
            }
        }
        None
    }

    /// What is not yet as it must become.
    fn cluster_missing(&self) -> Option<String> {
        if let Some(what) = self.unagreed() {
            return Some(what);
        }
        for node in 0..self.plan.data_nodes() {
            let Some(data) = self.processes[node].data() else {
                return Some(format!("node{node} does not run"));
            };
            if data.is_loading() {
                return Some(format!("node{node} loads"));
            }
            let Some(master) = self.master_of(node) else {
                match data.upstream() {
                    Some(link) => {
                        return Some(format!("node{node}, a master, follows {}", link.host));
                    }
                    None => continue,
                }
            };
            match data.upstream() {
                Some(link) if node_of(link.host) == Some(master) && link.is_online => {}
                link => return Some(format!("node{node} does not follow node{master}: {link:?}")),
            }
        }
        if let Some(busy) = self.cluster.agents.iter().position(|agent| !agent.is_idle_mover()) {
            return Some(format!("agent {busy} mends something"));
        }
        let has_mover = self.plan.cluster.as_ref().is_some_and(|plan| plan.movers > 0);
        let is_open = |tag: &usize| {
            has_mover && (0..self.plan.data_nodes()).any(|node| self.is_open_at(*tag, node))
        };
        (0..TAGS).find(is_open).map(|tag| format!("the slot of tag {tag} is still moved"))
    }

    /// The node whose replica a node is.
    pub(super) fn master_of(&self, node: usize) -> Option<usize> {
        let machine = self.processes[node].cluster().filter(|machine| machine.is_replica())?;
        let nodes = machine.nodes();
        self.cluster.node(&nodes[nodes.me().master?].id)
    }

    /// Which replica is not at its master's offset, or holds other data there.
    fn differing_replica(&self) -> Option<String> {
        (0..self.plan.data_nodes()).find_map(|node| {
            let master = self.master_of(node)?;
            let (data, ours) = (self.processes[node].data()?, self.processes[master].data()?);
            let (is, should) = (data.place(), ours.place());
            if (is.id, is.offset) != (should.id, should.offset) {
                return Some(format!("node{node} is not where its master node{master} is"));
            }
            let is_equal = data.digest() == ours.digest();
            (!is_equal).then(|| format!("node{node} holds other data than its master node{master}"))
        })
    }

    /// Each key is at the owner of its slot, and nowhere else, and holds what was promised.
    fn check_keys(&mut self) {
        let models: Vec<_> = (0..self.plan.data_nodes())
            .map(|node| self.processes[node].data().map(|data| data.model()))
            .collect();
        let mut wrong = None;
        for (name, promise) in self.cluster.keys.iter() {
            let key = name.text();
            let text = String::from_utf8_lossy(&key).into_owned();
            let Some(owner) = self.owner_of(name.tag) else { continue };
            let value = |node: usize| models[node].as_ref().and_then(|model| model.value(0, &key));
            let held = match value(owner) {
                Some(Value::String(text)) => {
                    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok())
                }
                _ => None,
            };
            if !promise.allows(held) && !self.cluster.is_forced {
                wrong =
                    Some(format!("at the end {text} holds {held:?} at node{owner}: {promise:?}"));
            }
            let is_master =
                |node: usize| self.processes[node].cluster().is_some_and(|it| !it.is_replica());
            let elsewhere = (0..models.len())
                .find(|&node| node != owner && is_master(node) && value(node).is_some());
            // One that was written at an owner who did not know of its move may be at both. An old file may have it still, of a disk
            // that took no newer one, and where nobody moves slots nobody looks for keys that are left.
            let plan = self.plan.cluster.as_ref();
            let is_mended = plan.is_some_and(|plan| plan.is_durable && plan.movers > 0);
            let is_loose = self.cluster.is_forced || promise.is_excused || !is_mended;
            if let Some(node) = elsewhere.filter(|_| !is_loose) {
                wrong = Some(format!(
                    "at the end {text} is at node{node}, and its slot at node{owner}"
                ));
            }
        }
        self.coverage.keys_checked += self.cluster.keys.iter().count() as u64;
        if let Some(what) = wrong {
            self.fail(what);
        }
    }
}
