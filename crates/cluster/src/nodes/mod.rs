//! The nodes that a node knows, and which of them has which slot.
//!
//! ```text
//!   by name   9f3c… ──▶ 0        nodes   0  myself, master     slots   0 … 5460 ──▶ 0
//!             07a1… ──▶ 1                1  replica of 0               5461 …    ──▶ 2
//!             c2d4… ──▶ 2                2  master
//! ```
//!
//! A slot's owner is kept twice: as a number for each slot, and as a set for each node. Only [`Nodes::assign`] changes
//! either, so that they agree.

mod counts;
mod node;

use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

use counts::{Counted, Counts};
pub use node::{Address, Names, Node};
use russet_protocol::slot::SLOTS;

use crate::bus::NodeFlags;
use crate::id_index::IdIndex;
use crate::node_id::NodeId;
use crate::slots::SlotBitmap;

/// A node's number. It is valid until the node is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeKey(u16);

/// More nodes are not kept.
pub const NODES_MAX: usize = 16_384;

/// How many replicas of each node work.
#[derive(Clone, Debug)]
pub struct WorkingReplicas(Vec<usize>);

impl WorkingReplicas {
    /// How many replicas of a node work.
    pub fn of(&self, master: NodeKey) -> usize {
        self.0.get(usize::from(master.0)).copied().unwrap_or(0)
    }
}

/// The nodes and the owners of slots.
#[derive(Clone, Debug)]
pub struct Nodes {
    by_id: IdIndex,
    nodes: Vec<Option<Node>>,
    free: Vec<NodeKey>,
    owners: Vec<Option<NodeKey>>,
    /// How many slots have an owner.
    assigned: u16,
    /// Slots that have changed hands, by their former and their new owner.
    moved: BTreeMap<(Option<NodeId>, Option<NodeId>), SlotBitmap>,
    me: NodeKey,
    counts: Counts,
}

impl Index<NodeKey> for Nodes {
    type Output = Node;

    fn index(&self, key: NodeKey) -> &Node {
        self.nodes[usize::from(key.0)]
            .as_ref()
            .expect("a node's number is valid until it is removed")
    }
}

impl IndexMut<NodeKey> for Nodes {
    fn index_mut(&mut self, key: NodeKey) -> &mut Node {
        self.counts.touch(key);
        self.nodes[usize::from(key.0)]
            .as_mut()
            .expect("a node's number is valid until it is removed")
    }
}

impl Nodes {
    /// Creates the table of a node that knows only itself.
    pub fn new(me: Node) -> Nodes {
        let mut by_id = IdIndex::new();
        by_id.rebuild([(&me.id, 0)].into_iter());
        let mut counts = Counts::default();
        counts.add_place();
        counts.touch(NodeKey(0));
        Nodes {
            by_id,
            nodes: vec![Some(me)],
            free: Vec::new(),
            owners: vec![None; usize::from(SLOTS)],
            assigned: 0,
            moved: BTreeMap::new(),
            me: NodeKey(0),
            counts,
        }
    }

    /// Returns the number of the node itself.
    pub fn my_key(&self) -> NodeKey {
        self.me
    }

    /// Returns the node itself.
    pub fn me(&self) -> &Node {
        &self[self.me]
    }

    /// Returns the node itself.
    pub fn me_mut(&mut self) -> &mut Node {
        let me = self.me;
        &mut self[me]
    }

    /// Returns how many nodes there are, this one included.
    pub fn count(&self) -> usize {
        self.by_id.len()
    }

    /// Returns the number of a node by name.
    pub fn find(&self, id: &NodeId) -> Option<NodeKey> {
        let is_named = |number: u16| {
            self.nodes[usize::from(number)].as_ref().is_some_and(|node| node.id == *id)
        };
        self.by_id.find(id, is_named).map(NodeKey)
    }

    /// Returns all nodes, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (NodeKey, &Node)> {
        let numbered = self.nodes.iter().zip(0u16..);
        numbered.filter_map(|(node, number)| Some((NodeKey(number), node.as_ref()?)))
    }

    /// Returns the numbers of all nodes.
    pub fn keys(&self) -> Vec<NodeKey> {
        self.iter().map(|(key, _)| key).collect()
    }

    /// Returns the node in a place of the table, for a random choice: places are `0..places()`.
    pub fn at_place(&self, place: u64) -> Option<(NodeKey, &Node)> {
        let number = u16::try_from(place).ok()?;
        Some((NodeKey(number), self.nodes.get(usize::from(number))?.as_ref()?))
    }

    /// Returns how many places there are, those of removed nodes included.
    pub fn places(&self) -> u64 {
        self.nodes.len() as u64
    }

    /// Adds a node; none if there are too many, or one of this name.
    pub fn add(&mut self, node: Node) -> Option<NodeKey> {
        if self.count() >= NODES_MAX || self.find(&node.id).is_some() {
            return None;
        }
        let id = node.id;
        let key = match self.free.pop() {
            Some(key) => {
                self.nodes[usize::from(key.0)] = Some(node);
                key
            }
            None => {
                let key = NodeKey(u16::try_from(self.nodes.len()).ok()?);
                self.nodes.push(Some(node));
                self.counts.add_place();
                key
            }
        };
        self.counts.touch(key);
        if !self.by_id.insert(&id, key.0) {
            self.rebuild_index();
        }
        Some(key)
    }

    /// Removes a node other than this one, with its slots, and all that refers to it.
    pub fn remove(&mut self, key: NodeKey) -> Option<Node> {
        if key == self.me {
            return None;
        }
        self.unassign_all(key);
        self.counts.touch(key);
        let node = self.nodes[usize::from(key.0)].take()?;
        self.by_id.remove(&node.id, key.0);
        self.free.push(key);
        if node.is(NodeFlags::HANDSHAKE) {
            // Nobody refers to it yet.
            return Some(node);
        }
        for other in self.nodes.iter_mut().flatten() {
            other.reports.remove(&key);
            other.master.take_if(|master| *master == key);
        }
        Some(node)
    }

    /// Gives a node its real name.
    pub fn rename(&mut self, key: NodeKey, id: NodeId) {
        let old = std::mem::replace(&mut self[key].id, id);
        self.by_id.remove(&old, key.0);
        if !self.by_id.insert(&id, key.0) {
            self.rebuild_index();
        }
    }

    fn rebuild_index(&mut self) {
        let numbered = self.nodes.iter().zip(0u16..);
        let names = numbered.filter_map(|(node, number)| Some((&node.as_ref()?.id, number)));
        self.by_id.rebuild(names);
    }

    /// Returns who has a slot.
    pub fn owner(&self, slot: u16) -> Option<NodeKey> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    /// Whether all slots have an owner.
    pub fn are_all_assigned(&self) -> bool {
        self.assigned == SLOTS
    }

    /// Returns how many slots have an owner.
    pub fn assigned(&self) -> u16 {
        self.assigned
    }

    /// Gives a slot to a node, or to nobody.
    pub fn assign(&mut self, slot: u16, to: Option<NodeKey>) {
        let from = std::mem::replace(&mut self.owners[usize::from(slot)], to);
        if from != to {
            let hands = (from.map(|from| self[from].id), to.map(|to| self[to].id));
            self.moved.entry(hands).or_default().insert(slot);
        }
        if let Some(from) = from {
            let node = &mut self[from];
            node.slots.remove(slot);
            node.slot_count -= 1;
            self.assigned -= 1;
        }
        if let Some(to) = to {
            let node = &mut self[to];
            node.slots.insert(slot);
            node.slot_count += 1;
            self.assigned += 1;
        }
    }

    /// Returns which slots have changed hands since the last call, by their former and their new owner.
    pub fn take_moved(&mut self) -> BTreeMap<(Option<NodeId>, Option<NodeId>), SlotBitmap> {
        std::mem::take(&mut self.moved)
    }

    /// Takes all slots of a node. Returns how many there were.
    pub fn unassign_all(&mut self, key: NodeKey) -> u16 {
        let slots: Vec<u16> = self[key].slots.iter().collect();
        slots.iter().for_each(|&slot| self.assign(slot, None));
        slots.len() as u16
    }

    /// Returns the replicas of a node.
    pub fn replicas(&self, master: NodeKey) -> impl Iterator<Item = (NodeKey, &Node)> {
        self.iter().filter(move |(_, node)| node.is_replica() && node.master == Some(master))
    }

    /// Returns how many replicas of each node work, by its place.
    pub fn working_replicas(&self) -> WorkingReplicas {
        let mut counts = vec![0; self.nodes.len()];
        let working = self.nodes.iter().flatten();
        let working = working.filter(|node| node.is_replica() && !node.is_failing());
        working.filter_map(|node| node.master).for_each(|key| counts[usize::from(key.0)] += 1);
        WorkingReplicas(counts)
    }

    /// Counts nodes that may have changed. It is only to make counts cheap that are asked for later.
    pub fn settle(&mut self) {
        self.counts.settle(&self.nodes);
    }

    /// Returns how many masters vote, whether they work or not.
    pub fn voters(&self) -> usize {
        self.counts.of(Counted::Voter, &self.nodes)
    }

    /// Returns how many of them are neither suspected nor down.
    pub fn working_voters(&self) -> usize {
        self.counts.of(Counted::WorkingVoter, &self.nodes)
    }

    /// Whether a node with slots is down.
    pub fn has_failed_owner(&self) -> bool {
        self.counts.of(Counted::FailedOwner, &self.nodes) > 0
    }

    /// Returns how many nodes are suspected.
    pub fn suspected(&self) -> usize {
        self.counts.of(Counted::Suspected, &self.nodes)
    }

    /// Returns how many votes are a majority.
    pub fn quorum(&self) -> usize {
        self.voters() / 2 + 1
    }

    /// Whether two nodes are in one shard.
    pub fn share_shard(&self, a: NodeKey, b: NodeKey) -> bool {
        a == b || self[a].shard == self[b].shard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(digit: char) -> Node {
        let id = NodeId::parse(digit.to_string().repeat(40).as_bytes()).unwrap();
        Node::new(id, id, NodeFlags::MASTER, 0)
    }

    #[test]
    fn owners_and_sets_of_slots_agree() {
        let mut nodes = Nodes::new(node('a'));
        let (me, other) = (nodes.my_key(), nodes.add(node('b')).unwrap());
        (0..SLOTS).for_each(|slot| nodes.assign(slot, Some(me)));
        assert!(nodes.are_all_assigned());
        (0..100).for_each(|slot| nodes.assign(slot, Some(other)));
        nodes.assign(100, None);
        assert_eq!((nodes.me().slot_count(), nodes[other].slot_count()), (SLOTS - 101, 100));
        assert_eq!((nodes.owner(99), nodes.owner(100), nodes.voters()), (Some(other), None, 2));
        nodes.remove(other);
        assert_eq!((nodes.owner(99), nodes.assigned(), nodes.count()), (None, SLOTS - 101, 1));
    }

    #[test]
    fn a_removed_node_is_not_referred_to() {
        let mut nodes = Nodes::new(node('a'));
        let (b, c) = (nodes.add(node('b')).unwrap(), nodes.add(node('c')).unwrap());
        nodes[b].master = Some(c);
        nodes[b].flags = NodeFlags::REPLICA;
        nodes[b].reports.insert(c, 5);
        assert_eq!(nodes.replicas(c).count(), 1);
        nodes.remove(c);
        assert_eq!((nodes[b].master, nodes[b].reports.len()), (None, 0));
        assert_eq!(nodes.add(node('b')), None);
        // Its number is used again.
        assert_eq!(nodes.add(node('d')), Some(c));
        nodes.rename(c, NodeId::parse(&[b'e'; 40]).unwrap());
        assert!(nodes.find(&node('d').id).is_none() && nodes.find(&node('e').id) == Some(c));
    }
}
