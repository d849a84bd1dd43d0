//! The parts of a stream, in the order of files, and the way through them.
//!
//! ```text
//!   (ID NODE)* STATE (GROUP GROUP_STATE PENDING* CONSUMERS (CONSUMER CONSUMER_STATE OWNED*)*)*
//! ```
//!
//! The content of a part is a string, or its numbers as they are in files. What [`Walk`] goes through has more in a few places
//! than files have, since commands need it: the times of a consumer, and all of a pending entry where files repeat its ID.

use super::stream::{Consumer, Group, Name, Stream, StreamId};
use super::stream_group::Pending;
use crate::rdb::fields::{Fields, Parsed};
use crate::rdb::format::put_len;

/// The ID of a node: 16 bytes.
pub const ID: u8 = 0;
/// The listpack of a node.
pub const NODE: u8 = 1;
/// Numbers of the stream: entries, last ID, first ID, greatest deleted ID, entries added, groups.
pub const STATE: u8 = 2;
/// The name of a group.
pub const GROUP: u8 = 3;
/// Numbers of a group: last ID, entries read, pending entries.
pub const GROUP_STATE: u8 = 4;
/// Some pending entries of a group: ID, time, count each.
pub const PENDING: u8 = 5;
/// The number of consumers of a group.
pub const CONSUMERS: u8 = 6;
/// The name of a consumer.
pub const CONSUMER: u8 = 7;
/// Of a consumer: when it was seen, when it was active, pending entries.
pub const CONSUMER_STATE: u8 = 8;
/// Some pending entries of a consumer: ID, time, count each.
pub const OWNED: u8 = 9;

/// Numbers of a stream in the form of a part.
pub const STATE_LEN: usize = 9;

/// Pending entries of a part at most.
const PENDING_MAX: usize = 32;

/// A pending entry in a file, without its consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredPending {
    /// Its ID.
    pub id: StreamId,
    /// When it was last delivered, in Unix milliseconds.
    pub delivered_ms: i64,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl StoredPending {
    /// Reads one.
    pub fn read(fields: &mut Fields<'_>) -> Parsed<StoredPending> {
        Ok(StoredPending {
            id: StreamId::from_bytes(fields.array()?),
            delivered_ms: i64::from_le_bytes(fields.array()?),
            deliveries: fields.length()?,
        })
    }
}

/// Writes a pending entry.
fn put_pending(id: StreamId, pending: &Pending, out: &mut Vec<u8>) {
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
    put_len(pending.deliveries, out);
}

/// Writes numbers.
fn put_all(numbers: &[u64], out: &mut Vec<u8>) {
    numbers.iter().for_each(|number| put_len(*number, out));
}

/// Reads numbers.
pub fn read_all<const N: usize>(fields: &mut Fields<'_>) -> Parsed<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = fields.length()?;
    }
    Ok(numbers)
}

/// What an unknown number of entries is in files.
pub const UNKNOWN: u64 = u64::MAX;

/// A way through the parts of a stream.
#[derive(Debug)]
pub struct Walk {
    stream: Stream,
    stage: Stage,
}

/// The part that comes next.
#[derive(Debug)]
enum Stage {
    /// The node with this index, or the state.
    Node(usize),
    /// The first group behind this one.
    Group(Option<Name>),
    /// Pending entries of the group behind this one.
    Pending(Name, Box<Group>, Option<StreamId>),
    /// The first consumer behind this one.
    Consumer(Name, Box<Group>, Option<Name>),
    /// Pending entries of the consumer behind this one.
    Owned(Name, Box<Group>, Name, Box<Consumer>, Option<StreamId>),
}

/// Takes the kind of a part, and its content.
pub type PartSink<'a> = &'a mut dyn FnMut(u8, &[u8]);

impl Walk {
    /// Begins with the first part.
    pub fn new(stream: Stream) -> Walk {
        Walk { stream, stage: Stage::Node(0) }
    }

    /// Emits the next parts. Returns whether there are more.
    pub fn next(&mut self, sink: PartSink<'_>) -> bool {
        let stage = std::mem::replace(&mut self.stage, Stage::Group(None));
        let next = match stage {
            Stage::Node(index) => self.node(index, sink),
            Stage::Group(before) => return self.group(before.as_ref(), sink),
            Stage::Pending(name, group, before) => pending(name, group, before, sink),
            Stage::Consumer(name, group, before) => consumer(name, group, before.as_ref(), sink),
            Stage::Owned(name, group, consumer, state, before) => {
                owned(name, group, consumer, state, before, sink)
            }
        };
        self.stage = next;
        // Behind the last consumer of the last group there is nothing.
        match &self.stage {
            Stage::Group(before) => self.next_group(before.as_ref()).is_some(),
            _ => true,
        }
    }

    fn node(&self, index: usize, sink: PartSink<'_>) -> Stage {
        let log = &self.stream.log;
        if let Some(node) = log.node(index) {
            sink(ID, &node.id().to_bytes());
            sink(NODE, node.pack());
            return Stage::Node(index + 1);
        }
        let mut state = Vec::new();
        let [last, first, deleted] =
            [log.last_id, log.first_id, log.max_deleted_id].map(|id| [id.ms, id.seq]);
        put_all(&[log.len()], &mut state);
        [last, first, deleted].iter().for_each(|id| put_all(id, &mut state));
        put_all(&[log.entries_added, self.stream.groups.len() as u64], &mut state);
        sink(STATE, &state);
        Stage::Group(None)
    }

    fn next_group(&self, before: Option<&Name>) -> Option<(&Name, &Group)> {
        match before {
            None => self.stream.groups.first(),
            Some(before) => self.stream.groups.iter_from(before).find(|(name, _)| *name > before),
        }
    }

    fn group(&mut self, before: Option<&Name>, sink: PartSink<'_>) -> bool {
        let Some((name, group)) = self.next_group(before) else { return false };
        sink(GROUP, name);
        let mut state = Vec::new();
        let read = group.entries_read.unwrap_or(UNKNOWN);
        let pending = group.pending().len() as u64;
        put_all(&[group.last_id.ms, group.last_id.seq, read, pending], &mut state);
        sink(GROUP_STATE, &state);
        self.stage = Stage::Pending(name.clone(), Box::new(group.clone()), None);
        true
    }
}

fn pending(name: Name, group: Box<Group>, before: Option<StreamId>, sink: PartSink<'_>) -> Stage {
    let from = before.map_or(Some(StreamId::MIN), StreamId::next);
    let rest = from.map(|from| group.pending().iter_from(&from));
    let (mut content, mut last) = (Vec::new(), None);
    for (id, pending) in rest.into_iter().flatten().take(PENDING_MAX) {
        put_pending(*id, pending, &mut content);
        last = Some(*id);
    }
    if last.is_some() {
        sink(PENDING, &content);
        return Stage::Pending(name, group, last);
    }
    content.clear();
    put_len(group.consumers().len() as u64, &mut content);
    sink(CONSUMERS, &content);
    match group.consumers().is_empty() {
        true => Stage::Group(Some(name)),
        false => Stage::Consumer(name, group, None),
    }
}

fn next_consumer<'a>(group: &'a Group, before: Option<&Name>) -> Option<(&'a Name, &'a Consumer)> {
    match before {
        None => group.consumers().first(),
        Some(before) => group.consumers().iter_from(before).find(|(name, _)| *name > before),
    }
}

fn consumer(name: Name, group: Box<Group>, before: Option<&Name>, sink: PartSink<'_>) -> Stage {
    let Some((consumer, state)) = next_consumer(&group, before) else {
        return Stage::Group(Some(name));
    };
    sink(CONSUMER, consumer);
    let mut content = state.seen_ms.to_le_bytes().to_vec();
    content.extend_from_slice(&state.active_ms.unwrap_or(-1).to_le_bytes());
    put_len(state.pending().len() as u64, &mut content);
    sink(CONSUMER_STATE, &content);
    let (consumer, state) = (consumer.clone(), Box::new(state.clone()));
    owned_or_next(name, group, consumer, state, None)
}

/// Returns the stage that follows for a consumer.
fn owned_or_next(
    name: Name,
    group: Box<Group>,
    consumer: Name,
    state: Box<Consumer>,
    before: Option<StreamId>,
) -> Stage {
    let from = before.map_or(Some(StreamId::MIN), StreamId::next);
    if from.is_some_and(|from| state.pending().iter_from(&from).next().is_some()) {
        return Stage::Owned(name, group, consumer, state, before);
    }
    match next_consumer(&group, Some(&consumer)).is_some() {
        true => Stage::Consumer(name, group, Some(consumer)),
        false => Stage::Group(Some(name)),
    }
}

fn owned(
    name: Name,
    group: Box<Group>,
    consumer: Name,
    state: Box<Consumer>,
    before: Option<StreamId>,
    sink: PartSink<'_>,
) -> Stage {
    let from = before.map_or(Some(StreamId::MIN), StreamId::next);
    let rest = from.map(|from| state.pending().iter_from(&from));
    let (mut content, mut last) = (Vec::new(), before);
    for (id, ()) in rest.into_iter().flatten().take(PENDING_MAX) {
        if let Some(pending) = group.pending().get(id) {
            put_pending(*id, pending, &mut content);
        }
        last = Some(*id);
    }
    sink(OWNED, &content);
    owned_or_next(name, group, consumer, state, last)
}
