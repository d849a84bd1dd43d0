//! How many nodes vote, are suspected and so on.
//!
//! That is asked for with every message, so it is not counted each time: `counts` has it but for the nodes that may have
//! changed since, which are in `touched`. Whoever gets a node to change it touches it.

use super::{Node, NodeKey};
use crate::bus::NodeFlags;

/// What is counted of nodes: each is a bit of a node's kinds.
#[derive(Clone, Copy)]
pub(super) enum Counted {
    Voter,
    WorkingVoter,
    FailedOwner,
    Suspected,
}

const COUNTED: usize = 4;

/// Returns what a node counts as, a bit for each.
fn kinds_of(node: &Node) -> u8 {
    let bit = |kind: Counted, is: bool| u8::from(is) << kind as u8;
    bit(Counted::Voter, node.votes())
        | bit(Counted::WorkingVoter, node.votes() && !node.is_failing())
        | bit(Counted::FailedOwner, node.slot_count() > 0 && node.is(NodeFlags::FAIL))
        | bit(Counted::Suspected, node.is(NodeFlags::PFAIL))
}

#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// How many nodes are of each kind, by `kinds`.
    counts: [usize; COUNTED],
    /// The kinds of which each node is counted, by its number.
    kinds: Vec<u8>,
    /// Nodes whose kinds may be others now.
    touched: Vec<NodeKey>,
    /// Whether a node is one of those, by its number.
    is_touched: Vec<bool>,
}

impl Counts {
    /// Adds a place of the table.
    pub fn add_place(&mut self) {
        self.kinds.push(0);
        self.is_touched.push(false);
    }

    pub fn touch(&mut self, key: NodeKey) {
        let is_touched = &mut self.is_touched[usize::from(key.0)];
        if !std::mem::replace(is_touched, true) {
            self.touched.push(key);
        }
    }

    /// Counts nodes that may have changed. It is only to make counts cheap that are asked for later.
    pub fn settle(&mut self, nodes: &[Option<Node>]) {
        while let Some(key) = self.touched.pop() {
            let now = kinds_now(nodes, key);
            let before = std::mem::replace(&mut self.kinds[usize::from(key.0)], now);
            self.is_touched[usize::from(key.0)] = false;
            for (bit, count) in self.counts.iter_mut().enumerate() {
                *count = *count + usize::from(now >> bit & 1) - usize::from(before >> bit & 1);
            }
        }
    }

    pub fn of(&self, kind: Counted, nodes: &[Option<Node>]) -> usize {
        let bit = |kinds: u8| usize::from(kinds >> kind as u8 & 1);
        let (mut count, mut gone) = (self.counts[kind as usize], 0);
        for key in &self.touched {
            count += bit(kinds_now(nodes, *key));
            gone += bit(self.kinds[usize::from(key.0)]);
        }
        debug_assert_eq!(
            count - gone,
            nodes.iter().flatten().filter(|node| bit(kinds_of(node)) == 1).count()
        );
        count - gone
    }
}

fn kinds_now(nodes: &[Option<Node>], key: NodeKey) -> u8 {
    nodes[usize::from(key.0)].as_ref().map_or(0, kinds_of)
}
