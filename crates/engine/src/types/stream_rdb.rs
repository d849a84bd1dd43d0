//! Streams in RDB files.
//!
//! ```text
//!   15, 19, 21   count (id listpack)*
//!                entries  last id  [first id  greatest deleted id  entries added]  groups
//!     a group    name  last id  [entries read]  count (id time deliveries)*  count consumer*
//!     consumer   name  seen  {active}  count id*                                       [from 19 on] {from 21 on}
//! ```
//!
//! Names and listpacks are strings, and so is the ID of a node; that of a pending entry is 16 bytes, a time is 8 bytes of
//! milliseconds since the Unix epoch. An ID of 8 and 8 bytes is big endian, in other places it is two lengths.
//!
//! A consumer's IDs repeat those of its group: each pending entry must belong to one of the consumers.

use std::collections::BTreeMap;

use super::form::StoredElement;
use super::stream::{Consumer, Group, Name, Pending, Stream, StreamId};
use super::stream_node::StreamNode;
use super::stream_parts::{self as parts, StoredPending, UNKNOWN, read_all};
use super::{Build, Invalid, RdbForm, Read, Value};
use crate::rdb::elements::{Cursor, Element, Head};
use crate::rdb::fields::{Fields, Parsed, Stop, Stored};
use crate::rdb::format::{Flavour, put_len};
use crate::rdb::strings::StringWriter;

const LISTPACKS: u8 = 15;
pub const LISTPACKS_2: u8 = 19;
const LISTPACKS_3: u8 = 21;

/// The ID of a consumer's pending entry, as files have it.
const OWNED_ID: u8 = 10;

/// Bytes of a time.
const TIME_BYTES: usize = 8;

pub const FORMS: &[RdbForm] = &[
    RdbForm { code: LISTPACKS, flavour: None, name: "listpacks", read: form::<LISTPACKS>() },
    RdbForm {
        code: LISTPACKS_2,
        flavour: None,
        name: "listpacks, version 2",
        read: form::<LISTPACKS_2>(),
    },
    RdbForm {
        code: LISTPACKS_3,
        flavour: None,
        name: "listpacks, version 3",
        read: form::<LISTPACKS_3>(),
    },
    not_implemented(26, "listpacks, version 4"),
    not_implemented(27, "listpacks, version 5"),
];

/// Forms of later versions of Redis, which Valkey does not have.
const fn not_implemented(code: u8, name: &'static str) -> RdbForm {
    RdbForm { code, flavour: Some(Flavour::Redis), name, read: Read::NotImplemented }
}

const fn form<const FORM: u8>() -> Read {
    Read::Parts {
        first: |fields| {
            let mut cursor = Cursor { part: parts::ID, left: [fields.length()?, 0, 0] };
            to_node(&mut cursor);
            Ok(cursor)
        },
        next: |cursor, fields| next(FORM, cursor, fields),
        begin: |_, _| Box::new(Building::new(FORM)),
    }
}

/// What a cursor counts.
const ITEMS: usize = 0;
const GROUPS: usize = 1;
const CONSUMERS: usize = 2;

/// Moves a cursor to the next node, or behind the last one.
fn to_node(cursor: &mut Cursor) {
    cursor.part = if cursor.left[ITEMS] > 0 { parts::ID } else { parts::STATE };
}

/// Moves a cursor to the next group, or to the end.
fn to_group(cursor: &mut Cursor) {
    cursor.part = if cursor.left[GROUPS] > 0 { parts::GROUP } else { Cursor::END };
}

/// Moves a cursor to the next consumer, or behind the last one of a group.
fn to_consumer(cursor: &mut Cursor) {
    match cursor.left[CONSUMERS] {
        0 => to_group(cursor),
        _ => cursor.part = parts::CONSUMER,
    }
}

/// Counts one down. Returns whether there are more.
fn counts_down(cursor: &mut Cursor, what: usize) -> bool {
    cursor.left[what] = cursor.left[what].saturating_sub(1);
    cursor.left[what] > 0
}

/// Reads the part at a cursor, and moves it to the next one.
fn next<'a>(form: u8, cursor: &mut Cursor, fields: &mut Fields<'a>) -> Parsed<StoredElement<'a>> {
    let (at, part) = (fields.at, cursor.part);
    let name: &'static [u8] = match part {
        parts::ID => &[parts::ID],
        parts::NODE => &[parts::NODE],
        parts::STATE => &[parts::STATE],
        parts::GROUP => &[parts::GROUP],
        parts::GROUP_STATE => &[parts::GROUP_STATE],
        parts::PENDING => &[parts::PENDING],
        parts::CONSUMERS => &[parts::CONSUMERS],
        parts::CONSUMER => &[parts::CONSUMER],
        parts::CONSUMER_STATE => &[parts::CONSUMER_STATE],
        _ => &[OWNED_ID],
    };
    let name = Stored::Plain(name);
    let text = match part {
        parts::ID | parts::NODE | parts::GROUP | parts::CONSUMER => Some(fields.string()?),
        _ => None,
    };
    match part {
        parts::ID | parts::GROUP | parts::CONSUMER => cursor.part += 1,
        parts::NODE => {
            counts_down(cursor, ITEMS);
            to_node(cursor);
        }
        parts::STATE => {
            let [.., groups] = state(form, fields)?;
            cursor.left[GROUPS] = groups;
            to_group(cursor);
        }
        parts::GROUP_STATE => {
            let [.., pending] = group_state(form, fields)?;
            cursor.left[ITEMS] = pending;
            cursor.part = if pending > 0 { parts::PENDING } else { parts::CONSUMERS };
        }
        parts::PENDING => {
            StoredPending::read(fields)?;
            if !counts_down(cursor, ITEMS) {
                cursor.part = parts::CONSUMERS;
            }
        }
        parts::CONSUMERS => {
            cursor.left[CONSUMERS] = fields.length()?;
            counts_down(cursor, GROUPS);
            to_consumer(cursor);
        }
        parts::CONSUMER_STATE => {
            fields.take(times_bytes(form))?;
            cursor.left[ITEMS] = fields.length()?;
            counts_down(cursor, CONSUMERS);
            match cursor.left[ITEMS] {
                0 => to_consumer(cursor),
                _ => cursor.part = OWNED_ID,
            }
        }
        _ => {
            fields.take(size_of::<StreamId>())?;
            if !counts_down(cursor, ITEMS) {
                to_consumer(cursor);
            }
        }
    }
    let value = text.unwrap_or_else(|| Stored::Plain(fields.since(at)));
    Ok(StoredElement { name, value, expiry: None })
}

fn times_bytes(form: u8) -> usize {
    if form >= LISTPACKS_3 { 2 * TIME_BYTES } else { TIME_BYTES }
}

/// Reads numbers of a stream. Those that old files lack are 0.
fn state(form: u8, fields: &mut Fields<'_>) -> Parsed<[u64; parts::STATE_LEN]> {
    if form >= LISTPACKS_2 {
        return read_all(fields);
    }
    let [len, ms, seq, groups] = read_all(fields)?;
    Ok([len, ms, seq, 0, 0, 0, 0, len, groups])
}

/// Reads numbers of a group.
fn group_state(form: u8, fields: &mut Fields<'_>) -> Parsed<[u64; 4]> {
    if form >= LISTPACKS_2 {
        return read_all(fields);
    }
    let [ms, seq, pending] = read_all(fields)?;
    Ok([ms, seq, UNKNOWN, pending])
}

/// Reads all of a part's content.
fn whole<T>(content: &[u8], read: impl FnOnce(&mut Fields<'_>) -> Parsed<T>) -> Result<T, Invalid> {
    let mut fields = Fields::new(content, u64::MAX);
    let value = read(&mut fields).map_err(|_: Stop| Invalid::Malformed)?;
    if fields.at == content.len() { Ok(value) } else { Err(Invalid::Malformed) }
}

fn id_of(content: &[u8]) -> Result<StreamId, Invalid> {
    content.try_into().map(StreamId::from_bytes).map_err(|_| Invalid::Malformed)
}

/// A stream being built.
#[derive(Debug)]
struct Building {
    form: u8,
    stream: Stream,
    /// The ID of the next node.
    node: StreamId,
    /// The current group.
    group: Option<(Name, Group)>,
    /// Its pending entries that belong to none of the consumers so far.
    unowned: BTreeMap<StreamId, StoredPending>,
    /// The current consumer.
    consumer: Name,
}

impl Building {
    fn new(form: u8) -> Building {
        let (stream, group, unowned) = (Stream::default(), None, BTreeMap::new());
        Building { form, stream, node: StreamId::MIN, group, unowned, consumer: Name::new(b"") }
    }

    fn state(&mut self, content: &[u8]) -> Result<(), Invalid> {
        let state = whole(content, |fields| state(self.form, fields))?;
        let [len, ms, seq, _, _, deleted_ms, deleted_seq, added, _] = state;
        let (log, last) = (&mut self.stream.log, StreamId { ms, seq });
        if len != log.len() || log.last_entry_id().is_some_and(|id| id > last) {
            return Err(Invalid::Malformed);
        }
        // Old servers could set the last ID below that of a deleted entry.
        log.last_id = log.last_node_id().map_or(last, |id| id.max(last));
        log.max_deleted_id = StreamId { ms: deleted_ms, seq: deleted_seq };
        log.entries_added = added;
        log.find_first();
        Ok(())
    }

    fn group_state(&mut self, content: &[u8]) -> Result<(), Invalid> {
        let [ms, seq, read, _] = whole(content, |fields| group_state(self.form, fields))?;
        let id = StreamId { ms, seq };
        let read = match self.form {
            LISTPACKS => self.stream.log.count_up_to(id),
            _ => Some(read).filter(|read| *read != UNKNOWN),
        };
        if read.is_some_and(|read| i64::try_from(read).is_err()) {
            return Err(Invalid::Malformed);
        }
        let (_, group) = self.group.as_mut().ok_or(Invalid::Malformed)?;
        (group.last_id, group.entries_read) = (id, read);
        Ok(())
    }

    fn consumer_state(&mut self, content: &[u8]) -> Result<(), Invalid> {
        let (form, name) = (self.form, self.consumer.clone());
        let (_, group) = self.group.as_mut().ok_or(Invalid::Malformed)?;
        let (seen_ms, active_ms) = whole(content, |fields| {
            let seen = i64::from_le_bytes(fields.array()?);
            let active = match form {
                LISTPACKS_3 => i64::from_le_bytes(fields.array()?),
                // The best that is known.
                _ => seen,
            };
            fields.length()?;
            Ok((seen, active))
        })?;
        if group.consumers().get(&*name).is_some() {
            return Err(Invalid::Duplicate);
        }
        group.add_consumer(name, Consumer::new(seen_ms, Some(active_ms).filter(|ms| *ms != -1)));
        Ok(())
    }

    fn owned(&mut self, content: &[u8]) -> Result<(), Invalid> {
        let id = id_of(content)?;
        let (_, group) = self.group.as_mut().ok_or(Invalid::Malformed)?;
        let stored = self.unowned.remove(&id).ok_or(Invalid::Malformed)?;
        let StoredPending { delivered_ms, deliveries, .. } = stored;
        let consumer = self.consumer.clone();
        group.deliver(id, Pending { consumer, delivered_ms, deliveries });
        Ok(())
    }

    /// Adds the current group, whose consumers are all there.
    fn end_group(&mut self) -> Result<(), Invalid> {
        let Some((name, group)) = self.group.take() else { return Ok(()) };
        if !self.unowned.is_empty() {
            return Err(Invalid::Malformed);
        }
        self.stream.groups.insert(name, group);
        Ok(())
    }
}

impl Build for Building {
    fn element(&mut self, element: Element<'_>) -> Result<(), Invalid> {
        let content = element.value;
        match *element.name {
            [parts::ID] => self.node = id_of(content)?,
            [parts::NODE] => {
                let node = StreamNode::check(self.node, content)?;
                if node.is_some_and(|node| !self.stream.log.push(node)) {
                    return Err(Invalid::Malformed);
                }
            }
            [parts::STATE] => self.state(content)?,
            [parts::GROUP] => {
                self.end_group()?;
                if self.stream.groups.get(content).is_some() {
                    return Err(Invalid::Duplicate);
                }
                self.group = Some((Name::new(content), Group::new(StreamId::MIN, None)));
            }
            [parts::GROUP_STATE] => self.group_state(content)?,
            [parts::PENDING] => {
                let pending = whole(content, StoredPending::read)?;
                if self.unowned.insert(pending.id, pending).is_some() {
                    return Err(Invalid::Duplicate);
                }
            }
            [parts::CONSUMERS] => {}
            [parts::CONSUMER] => self.consumer = Name::new(content),
            [parts::CONSUMER_STATE] => self.consumer_state(content)?,
            [OWNED_ID] => self.owned(content)?,
            _ => return Err(Invalid::Malformed),
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Value<'static>, Invalid> {
        self.end_group()?;
        Ok(self.stream.into_large())
    }
}

/// Writes a part in form 19, which has no times of activity, and repeats only the IDs of pending entries.
pub fn write_part(_: &Head, part: &Element<'_>, strings: &mut StringWriter, out: &mut Vec<u8>) {
    let content = part.value;
    match *part.name {
        [parts::ID | parts::NODE | parts::GROUP | parts::CONSUMER] => strings.put(content, out),
        [parts::CONSUMER_STATE] => {
            let mut fields = Fields::new(content, u64::MAX);
            let times = fields.take(2 * TIME_BYTES).and_then(|times| Ok((times, fields.length()?)));
            if let Ok((times, pending)) = times {
                out.extend_from_slice(&times[..TIME_BYTES]);
                put_len(pending, out);
            }
        }
        [parts::OWNED] => {
            let mut fields = Fields::new(content, u64::MAX);
            while let Ok(pending) = StoredPending::read(&mut fields) {
                out.extend_from_slice(&pending.id.to_bytes());
            }
        }
        _ => out.extend_from_slice(content),
    }
}
