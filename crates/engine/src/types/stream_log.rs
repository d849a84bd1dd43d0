//! The entries of a stream: nodes in a tree, and what is known of those that are no longer there.

use russet_ds::tree::Tree;

use super::stream_id::StreamId;
use super::stream_node::{BYTES_MAX, Entry, NodeLimits, NodeSum, StreamNode};

/// Which way to go through entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the first to the last.
    Forwards,
    /// From the last to the first.
    Backwards,
}

/// What trimming leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The last entries, this number of them.
    Last(u64),
    /// The entries from an ID on.
    From(StreamId),
}

/// How to trim.
#[derive(Clone, Copy, Debug)]
pub struct Trim {
    /// What it leaves.
    pub keep: Keep,
    /// Whether only whole nodes are removed.
    pub is_approximate: bool,
    /// Maximum number of entries to remove, as whole nodes; 0: no limit.
    pub limit: u64,
}

/// The entries of a stream.
#[derive(Clone, Debug, Default)]
pub struct EntryLog {
    nodes: Tree<StreamNode>,
    /// The first one that is not deleted; zero if there is none.
    pub first_id: StreamId,
    /// The greatest ID that an entry had, or that was set since.
    pub last_id: StreamId,
    /// The greatest ID of an entry that XDEL deleted.
    pub max_deleted_id: StreamId,
    /// Number of entries that were ever added.
    pub entries_added: u64,
}

/// Finds the node with the first entry whose ID is not less than this one.
fn reaches(id: StreamId) -> impl FnMut(&NodeSum, &NodeSum) -> bool {
    move |_, part| part.last >= id
}

impl EntryLog {
    /// Returns the number of entries.
    pub fn len(&self) -> u64 {
        self.nodes.summary().entries
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.summary().nodes
    }

    /// Returns the node with an index.
    pub fn node(&self, index: usize) -> Option<&StreamNode> {
        let mut is_within = |before: &NodeSum, part: &NodeSum| index < before.nodes + part.nodes;
        let (node, _) = self.nodes.find(&mut is_within)?;
        Some(node).filter(|_| index < self.nodes())
    }

    /// Returns the memory of its nodes in bytes.
    pub fn allocated_bytes(&self) -> usize {
        let sum = self.nodes.summary();
        sum.bytes + self.nodes.allocated_bytes(sum.nodes)
    }

    /// Emits the entries from one ID to another, both included, until the sink returns false.
    pub fn each_between<'a>(
        &'a self,
        start: StreamId,
        end: StreamId,
        direction: Direction,
        sink: &mut dyn FnMut(&Entry<'a>) -> bool,
    ) {
        let from = if direction == Direction::Forwards { start } else { end };
        let (mut leaves, _) = self.nodes.leaves_from(&mut reaches(from));
        loop {
            let node = match direction {
                Direction::Forwards => leaves.next(),
                Direction::Backwards => leaves.next_back(),
            };
            let Some(node) = node else { return };
            let mut entries = node.entries();
            loop {
                let entry = match direction {
                    Direction::Forwards => entries.next(),
                    Direction::Backwards => entries.next_back(),
                };
                let Some(entry) = entry else { break };
                let is_behind = match direction {
                    Direction::Forwards => entry.id > end,
                    Direction::Backwards => entry.id < start,
                };
                let is_within = (start..=end).contains(&entry.id) && !entry.is_deleted;
                if is_behind || (is_within && !sink(&entry)) {
                    return;
                }
            }
        }
    }

    /// Emits all entries in order.
    pub fn each<'a>(&'a self, sink: &mut dyn FnMut(&Entry<'a>)) {
        self.each_between(StreamId::MIN, StreamId::MAX, Direction::Forwards, &mut |entry| {
            sink(entry);
            true
        });
    }

    /// Returns the first entry in a direction, from an ID on.
    pub fn next_entry(&self, from: StreamId, direction: Direction) -> Option<Entry<'_>> {
        let mut found = None;
        let (start, end) = match direction {
            Direction::Forwards => (from, StreamId::MAX),
            Direction::Backwards => (StreamId::MIN, from),
        };
        self.each_between(start, end, direction, &mut |entry| {
            found = Some(*entry);
            false
        });
        found
    }

    /// Returns the entry with an ID.
    pub fn get(&self, id: StreamId) -> Option<Entry<'_>> {
        self.next_entry(id, Direction::Forwards).filter(|entry| entry.id == id)
    }

    /// Returns the ID of the last entry.
    pub fn last_entry_id(&self) -> Option<StreamId> {
        self.next_entry(StreamId::MAX, Direction::Backwards).map(|entry| entry.id)
    }

    /// Returns the first ID of the first node, whose entry may be deleted.
    pub fn first_node_id(&self) -> Option<StreamId> {
        self.nodes.find(&mut |_, _| true)?.0.entries().next().map(|entry| entry.id)
    }

    /// Returns the ID of the last entry of the last node, deleted or not.
    pub(super) fn last_node_id(&self) -> Option<StreamId> {
        Some(self.nodes.summary().last).filter(|_| !self.nodes.is_empty())
    }

    /// Adds an entry: names and values in turn. Its ID must be greater than the last one. Returns false if it is too large.
    #[must_use]
    pub fn add(&mut self, id: StreamId, fields: &[&[u8]], limits: NodeLimits) -> bool {
        let text_bytes = fields.iter().fold(0_usize, |sum, text| sum.saturating_add(text.len()));
        if text_bytes as u64 > BYTES_MAX || !StreamNode::could_take(fields, text_bytes) {
            return false;
        }
        self.nodes.change(&mut |_, _| false, |last, _, beside| {
            if last.pack().is_empty() {
                *last = StreamNode::new(id, fields);
            } else if last.takes(fields, text_bytes, limits) {
                last.append(id, fields);
            } else {
                last.shrink();
                beside.after = Some(StreamNode::new(id, fields));
            }
        });
        if self.len() == 1 {
            self.first_id = id;
        }
        self.entries_added = self.entries_added.saturating_add(1);
        self.last_id = id;
        true
    }

    /// Appends a node of a file. Returns false if its entries are not behind those that are there.
    #[must_use]
    pub(super) fn push(&mut self, node: StreamNode) -> bool {
        if !self.nodes.is_empty() && node.id() <= self.nodes.summary().last {
            return false;
        }
        self.nodes.push(node);
        true
    }

    /// Deletes an entry. Returns false if there is none with this ID.
    pub fn delete(&mut self, id: StreamId) -> bool {
        if self.get(id).is_none() {
            return false;
        }
        self.nodes.change(&mut reaches(id), |node, _, _| {
            node.delete(&mut |entry| (entry.id <= id).then_some(entry.id == id));
            remove_if_empty(node);
        });
        self.max_deleted_id = self.max_deleted_id.max(id);
        if id == self.first_id {
            self.find_first();
        }
        true
    }

    /// Removes entries from the front. Returns their number.
    pub fn trim(&mut self, trim: &Trim) -> u64 {
        let mut removed = 0;
        while let Some((first, _)) = self.nodes.find(&mut |_, _| true) {
            let (len, entries) = (self.len(), first.len());
            let is_limited = trim.limit != 0 && removed + entries > trim.limit;
            let has_enough = matches!(trim.keep, Keep::Last(count) if len <= count);
            if is_limited || has_enough {
                break;
            }
            let is_whole = match trim.keep {
                Keep::Last(count) => len - entries >= count,
                Keep::From(id) => first.last() < id,
            };
            if is_whole {
                self.nodes.change(&mut |_, _| true, |node, _, _| *node = StreamNode::default());
                removed += entries;
                continue;
            }
            if !trim.is_approximate {
                removed += self.trim_node(trim.keep, len);
            }
            break;
        }
        if removed > 0 {
            self.find_first();
        }
        removed
    }

    /// Deletes entries of the first node. `len`: the number of all entries.
    fn trim_node(&mut self, keep: Keep, len: u64) -> u64 {
        let mut left = len;
        let mut which = |entry: &Entry<'_>| {
            let goes = match keep {
                Keep::Last(count) => left > count,
                Keep::From(id) => entry.id < id,
            };
            left -= u64::from(goes && !entry.is_deleted);
            goes.then_some(true)
        };
        let first = self.nodes.find(&mut |_, _| true).and_then(|(node, _)| node.entries().next());
        let has_any = first.is_some_and(|entry| match keep {
            Keep::Last(count) => len > count,
            Keep::From(id) => entry.id < id,
        });
        if !has_any {
            return 0;
        }
        self.nodes.change(&mut |_, _| true, |node, _, _| {
            let removed = node.delete(&mut which);
            remove_if_empty(node);
            removed
        })
    }

    /// Finds the first entry after a change at the front.
    pub(super) fn find_first(&mut self) {
        let first = self.next_entry(StreamId::MIN, Direction::Forwards);
        self.first_id = first.map_or(StreamId::MIN, |entry| entry.id);
    }

    /// Whether entries from an ID on may have been deleted between others.
    pub fn has_gap_from(&self, id: StreamId) -> bool {
        let deleted = self.max_deleted_id;
        !self.is_empty() && deleted != StreamId::MIN && self.first_id <= deleted && id <= deleted
    }

    /// Returns how many entries were ever added up to an ID; none if that is not known, since it is between other entries
    /// or some were deleted.
    pub fn count_up_to(&self, id: StreamId) -> Option<u64> {
        let added = self.entries_added;
        if added == 0 {
            return Some(0);
        }
        if id == self.last_id || (self.is_empty() && id < self.last_id) {
            return Some(added);
        }
        let is_whole = self.max_deleted_id == StreamId::MIN || self.max_deleted_id < self.first_id;
        let before = added.saturating_sub(self.len());
        match id.cmp(&self.first_id) {
            _ if id > self.last_id || !is_whole => None,
            std::cmp::Ordering::Less => Some(before),
            std::cmp::Ordering::Equal => Some(before.saturating_add(1)),
            std::cmp::Ordering::Greater => None,
        }
    }
}

/// A node without entries is removed, whatever is deleted in it.
fn remove_if_empty(node: &mut StreamNode) {
    if node.len() == 0 {
        *node = StreamNode::default();
    }
}
