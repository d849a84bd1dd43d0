//! What the slots of this node cost, for CLUSTER SLOT-STATS.
//!
//! A request counts for the slot of its keys or shard channels, and with it all that follows from it until it has ended: its
//! time, its reply and its effects in the replication stream. A transaction is one request, whose commands also take turns
//! with nothing else. A request that is refused or redirected counts nowhere.
//!
//! It is all behind one option ([`Stats::slots`](crate::stats::Stats::slots)), which is none unless
//! `cluster-slot-stats-enabled` is set: then a command pays for looking at it, three times.

use russet_protocol::slot::SLOTS;

/// What a slot has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCost {
    /// Execution time of its commands, microseconds.
    pub cpu_us: u64,
    /// Bytes of its requests.
    pub bytes_in: u64,
    /// Bytes of replies, of messages to subscribers, and of the replication stream to each replica.
    pub bytes_out: u64,
}

/// What all slots have cost.
#[derive(Clone, Debug)]
pub struct SlotStats {
    costs: Box<[SlotCost]>,
    /// The slot of the running request.
    running: Option<u16>,
}

impl Default for SlotStats {
    fn default() -> SlotStats {
        let costs = vec![SlotCost::default(); usize::from(SLOTS)];
        SlotStats { costs: costs.into_boxed_slice(), running: None }
    }
}

impl SlotStats {
    /// Returns what a slot has cost.
    pub fn of(&self, slot: u16) -> SlotCost {
        self.costs.get(usize::from(slot)).copied().unwrap_or_default()
    }

    /// Forgets what a slot has cost: it has come from another node, or gone to one.
    pub(crate) fn reset(&mut self, slot: u16) {
        if let Some(cost) = self.costs.get_mut(usize::from(slot)) {
            *cost = SlotCost::default();
        }
    }

    /// Begins a request of this length.
    pub(crate) fn begin(&mut self, slot: Option<u16>, bytes: usize) {
        self.running = slot;
        if let Some(cost) = self.cost() {
            cost.bytes_in += bytes as u64;
        }
    }

    /// Whether the running request has a slot.
    pub(crate) fn is_counting(&self) -> bool {
        self.running.is_some()
    }

    /// Counts the execution time of a command of the running request.
    pub(crate) fn took(&mut self, us: u64) {
        if let Some(cost) = self.cost() {
            cost.cpu_us += us;
        }
    }

    /// Counts what the running request sends.
    pub(crate) fn sent(&mut self, bytes: usize) {
        if let Some(cost) = self.cost() {
            cost.bytes_out += bytes as u64;
        }
    }

    /// Counts a message to subscribers of a channel in this slot.
    pub(crate) fn published(&mut self, slot: u16, bytes: usize) {
        if let Some(cost) = self.costs.get_mut(usize::from(slot)) {
            cost.bytes_out += bytes as u64;
        }
    }

    fn cost(&mut self) -> Option<&mut SlotCost> {
        self.costs.get_mut(usize::from(self.running?))
    }
}
