//! Consumer groups of a stream: what was delivered to whom, and is not acknowledged yet.
//!
//! ```text
//!   group ─┬─ pending     ID → consumer, time, count           each entry that was delivered
//!          └─ consumers   name → times, and its IDs            the same IDs, by consumer
//! ```
//!
//! All of it is ordered maps, copies of which share what has not changed: a snapshot copies a million pending entries in
//! constant time. A pending entry names its consumer, and the consumer's set of IDs is an index.

use std::borrow::Borrow;
use std::sync::Arc;

use russet_ds::ordered::{OrderedMap, Weigh};
use russet_ds::size::class_size;

use super::stream_id::StreamId;
use super::stream_log::EntryLog;

/// What is counted beside a name: strong and weak references.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// The name of a group or consumer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Copies a name.
    pub fn new(name: &[u8]) -> Name {
        Name(name.into())
    }
}

impl std::ops::Deref for Name {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl Weigh for Name {
    fn owned_bytes(&self) -> usize {
        class_size(COUNTS_BYTES + self.0.len())
    }

    fn owned_parts(&self) -> usize {
        1
    }
}

/// A consumer group.
#[derive(Clone, Debug)]
pub struct Group {
    /// The last ID that was delivered.
    pub last_id: StreamId,
    /// How many entries were delivered, including those that were skipped; none if that is not known.
    pub entries_read: Option<u64>,
    pending: OrderedMap<StreamId, Pending>,
    consumers: OrderedMap<Name, Consumer>,
}

/// A consumer.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// When it last asked for something, in Unix milliseconds.
    pub seen_ms: i64,
    /// When it last got something; none: never.
    pub active_ms: Option<i64>,
    pending: OrderedMap<StreamId, ()>,
}

/// An entry that was delivered and is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Whom it was delivered to.
    pub consumer: Name,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl Weigh for Pending {}

impl Weigh for Consumer {
    fn owned_bytes(&self) -> usize {
        self.pending.allocated_bytes()
    }

    fn owned_parts(&self) -> usize {
        self.pending.parts()
    }
}

impl Weigh for Group {
    fn owned_bytes(&self) -> usize {
        self.pending.allocated_bytes() + self.consumers.allocated_bytes()
    }

    fn owned_parts(&self) -> usize {
        self.pending.parts() + self.consumers.parts()
    }
}

impl Consumer {
    /// Creates one to which nothing was delivered.
    pub fn new(seen_ms: i64, active_ms: Option<i64>) -> Consumer {
        Consumer { seen_ms, active_ms, pending: OrderedMap::default() }
    }

    /// Returns the IDs of its pending entries.
    pub fn pending(&self) -> &OrderedMap<StreamId, ()> {
        &self.pending
    }
}

impl Group {
    /// Creates one without consumers.
    pub fn new(last_id: StreamId, entries_read: Option<u64>) -> Group {
        let (pending, consumers) = (OrderedMap::default(), OrderedMap::default());
        Group { last_id, entries_read, pending, consumers }
    }

    /// Returns the pending entries of all consumers.
    pub fn pending(&self) -> &OrderedMap<StreamId, Pending> {
        &self.pending
    }

    /// Returns the consumers.
    pub fn consumers(&self) -> &OrderedMap<Name, Consumer> {
        &self.consumers
    }

    /// Adds a consumer unless there is one with its name. Returns the name, and whether it is new.
    pub fn see(&mut self, name: &[u8], now_ms: i64) -> (Name, bool) {
        if let Some((name, _)) = self.consumers.get_entry(name) {
            let name = name.clone();
            self.consumers.change(&*name, |consumer| consumer.seen_ms = now_ms);
            return (name, false);
        }
        let name = Name::new(name);
        self.add_consumer(name.clone(), Consumer::new(now_ms, None));
        (name, true)
    }

    /// Adds a consumer, in place of one with the same name, which must not have pending entries.
    pub(super) fn add_consumer(&mut self, name: Name, consumer: Consumer) {
        self.consumers.insert(name, consumer);
    }

    /// Notes that a consumer got something.
    pub fn note_active(&mut self, name: &Name, now_ms: i64) {
        self.consumers.change(&**name, |consumer| consumer.active_ms = Some(now_ms));
    }

    /// Removes a consumer with its pending entries. Returns their number; none if there is no such consumer.
    pub fn remove_consumer(&mut self, name: &[u8]) -> Option<usize> {
        let consumer = self.consumers.remove(name)?;
        for (id, ()) in &consumer.pending {
            self.pending.remove(id);
        }
        Some(consumer.pending.len())
    }

    /// Sets a pending entry; it may have been that of another consumer.
    pub fn deliver(&mut self, id: StreamId, pending: Pending) {
        let consumer = pending.consumer.clone();
        let before = self.pending.insert(id, pending);
        if let Some(before) = before {
            if before.consumer == consumer {
                return;
            }
            self.consumers.change(&*before.consumer, |old| old.pending.remove(&id));
        }
        self.consumers.change(&*consumer, |new| new.pending.insert(id, ()));
    }

    /// Removes a pending entry. Returns it; none if there is none with this ID.
    pub fn acknowledge(&mut self, id: StreamId) -> Option<Pending> {
        let pending = self.pending.remove(&id)?;
        self.consumers.change(&*pending.consumer, |consumer| consumer.pending.remove(&id));
        Some(pending)
    }

    /// Notes that an entry is delivered, if none behind it was.
    pub fn advance(&mut self, log: &EntryLog, id: StreamId) -> bool {
        if id <= self.last_id {
            return false;
        }
        self.entries_read = match self.entries_read {
            Some(read) if !log.has_gap_from(id) => read.checked_add(1),
            read if log.entries_added == 0 => read,
            _ => log.count_up_to(id),
        };
        self.last_id = id;
        true
    }

    /// Returns how many entries are still to be delivered; none if that is not known.
    pub fn lag(&self, log: &EntryLog) -> Option<i64> {
        let added = log.entries_added as i64;
        if added == 0 {
            return Some(0);
        }
        let read = self.entries_read.filter(|_| !log.has_gap_from(self.last_id));
        let read = read.or_else(|| log.count_up_to(self.last_id))?;
        Some(added.wrapping_sub(read as i64))
    }
}
