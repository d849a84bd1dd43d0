//! Streams.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Applied, Family, Model, Value, arg, excerpt, number, wrong_type};
use crate::digest;
use crate::listpack;

pub(super) const FAMILY: Family =
    Family { names: &["xadd", "xdel", "xtrim", "xsetid", "xgroup", "xack", "xclaim"], apply };

/// The ID of an entry: milliseconds and a number.
pub type Id = (u64, u64);

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Names and values in turn, by ID.
    pub entries: BTreeMap<Id, Vec<Vec<u8>>>,
    /// The last ID.
    pub last: Id,
    /// The greatest ID that was deleted.
    pub deleted: Id,
    /// How many entries were added.
    pub added: u64,
    /// Consumer groups by name.
    pub groups: BTreeMap<Vec<u8>, Group>,
}

/// A consumer group. When its consumers were seen is no part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The last ID that was delivered.
    pub last: Id,
    /// How many entries were read, if that is known.
    pub read: Option<u64>,
    /// What is pending: the consumer, when it was delivered, how often.
    pub pending: BTreeMap<Id, (Vec<u8>, i64, u64)>,
    /// Names of consumers.
    pub consumers: BTreeSet<Vec<u8>>,
}

/// The digest of a stream, in which everything has an order.
pub fn digest_of(stream: &Stream) -> u64 {
    let mut sum = digest::of_stream();
    let mut add = |bytes: &[u8]| sum = digest::mix(sum, digest::of_string(bytes));
    for (id, fields) in &stream.entries {
        add(format!("{id:?}").as_bytes());
        fields.iter().for_each(|field| add(field));
    }
    add(format!("{:?} {:?} {}", stream.last, stream.deleted, stream.added).as_bytes());
    for (name, group) in &stream.groups {
        add(name);
        add(format!("{group:?}").as_bytes());
    }
    sum
}

fn apply(model: &mut Model, name: &str, args: &[&[u8]]) -> Applied {
    let key = arg(args, if name == "xgroup" { 2 } else { 1 })?;
    model.db().change(
        key,
        || Value::Stream(Arc::default()),
        |value| match value {
            Value::Stream(stream) => change(name, Arc::make_mut(stream), args),
            other => Err(wrong_type(other)),
        },
    )
}

fn id_of(text: &[u8]) -> Result<Id, String> {
    let text = std::str::from_utf8(text).map_err(|_| "an ID that is no text")?;
    let (ms, seq) = text.split_once('-').unwrap_or((text, "0"));
    let parse = |part: &str| part.parse().map_err(|_| format!("{text} is no ID"));
    Ok((parse(ms)?, parse(seq)?))
}

fn ids(args: &[&[u8]], from: usize) -> Result<Vec<Id>, String> {
    args.iter().skip(from).map(|text| id_of(text)).collect()
}

fn word(args: &[&[u8]], index: usize) -> String {
    args.get(index).map(|word| String::from_utf8_lossy(word).to_uppercase()).unwrap_or_default()
}

impl Stream {
    fn group(&mut self, args: &[&[u8]], index: usize) -> Result<&mut Group, String> {
        self.groups.get_mut(arg(args, index)?).ok_or_else(|| "has no such group".to_owned())
    }

    /// Trims as the arguments from an index on say. Returns the index behind them.
    fn trim(&mut self, args: &[&[u8]], at: usize) -> Result<usize, String> {
        let is_operator = matches!(args.get(at + 1), Some(&b"="));
        if args.get(at + 1) == Some(&&b"~"[..]) {
            return Err("trims about as much".to_owned());
        }
        let keep_at = at + 1 + usize::from(is_operator);
        if word(args, at) == "MAXLEN" {
            let keep: usize = number(args, keep_at)?;
            while self.entries.len() > keep {
                self.entries.pop_first();
            }
        } else {
            let first = id_of(arg(args, keep_at)?)?;
            self.entries = self.entries.split_off(&first);
        }
        let has_limit = word(args, keep_at + 1) == "LIMIT";
        Ok(keep_at + 1 + if has_limit { 2 } else { 0 })
    }
}

fn change(name: &str, stream: &mut Stream, args: &[&[u8]]) -> Applied {
    match name {
        "xadd" => {
            let (mut at, mut trim_at) = (2, None);
            loop {
                match word(args, at).as_str() {
                    "NOMKSTREAM" => at += 1,
                    "MAXLEN" | "MINID" => {
                        trim_at = Some(at);
                        // Trims a copy to find what follows.
                        at = stream.clone().trim(args, at)?;
                    }
                    _ => break,
                }
            }
            let id = id_of(arg(args, at)?)?;
            if id <= stream.last {
                return Err(format!("has {:?} already", stream.last));
            }
            let fields = args[at + 1..].iter().map(|field| field.to_vec()).collect();
            stream.entries.insert(id, fields);
            (stream.last, stream.added) = (id, stream.added + 1);
            if let Some(at) = trim_at {
                stream.trim(args, at)?;
            }
        }
        "xdel" => {
            for id in ids(args, 2)? {
                if stream.entries.remove(&id).is_some() {
                    stream.deleted = stream.deleted.max(id);
                }
            }
        }
        "xtrim" => _ = stream.trim(args, 2)?,
        "xsetid" => {
            stream.last = id_of(arg(args, 2)?)?;
            for at in (3..args.len()).step_by(2) {
                match word(args, at).as_str() {
                    "ENTRIESADDED" => stream.added = number(args, at + 1)?,
                    _ => {
                        let deleted = id_of(arg(args, at + 1)?)?;
                        if deleted != (0, 0) {
                            stream.deleted = deleted;
                        }
                    }
                }
            }
        }
        "xack" => {
            let acknowledged = ids(args, 3)?;
            let group = stream.group(args, 2)?;
            group.pending.retain(|id, _| !acknowledged.contains(id));
        }
        "xclaim" => claim(stream, args)?,
        _ => change_group(stream, args)?,
    }
    Ok(())
}

/// One entry, as XREADGROUP and XCLAIM propagate it, or the base of an append-only file has it.
fn claim(stream: &mut Stream, args: &[&[u8]]) -> Applied {
    let (consumer, id) = (arg(args, 3)?.to_vec(), id_of(arg(args, 5)?)?);
    let is_there = stream.entries.contains_key(&id);
    let group = stream.group(args, 2)?;
    if arg(args, 4)? != b"0" || word(args, 6) != "TIME" || word(args, 8) != "RETRYCOUNT" {
        return Err("claims in a way that depends on the time".to_owned());
    }
    group.consumers.insert(consumer.clone());
    let last_at = (10..args.len()).find(|at| word(args, *at) == "LASTID");
    if let Some(at) = last_at {
        group.last = group.last.max(id_of(arg(args, at + 1)?)?);
    }
    match is_there || last_at.is_none() {
        true => _ = group.pending.insert(id, (consumer, number(args, 7)?, number(args, 9)?)),
        false => _ = group.pending.remove(&id),
    }
    Ok(())
}

fn change_group(stream: &mut Stream, args: &[&[u8]]) -> Applied {
    let position = |stream: &Stream| match arg(args, 4)? {
        b"$" => Ok(stream.last),
        id => id_of(id),
    };
    let read_at = (5..args.len()).find(|at| word(args, *at) == "ENTRIESREAD");
    let read = || match read_at {
        Some(at) => number::<i64>(args, at + 1).map(|read| u64::try_from(read).ok()),
        None => Ok(None),
    };
    match word(args, 1).as_str() {
        "CREATE" => {
            let group = Group { last: position(stream)?, read: read()?, ..Group::default() };
            let twice = stream.groups.insert(arg(args, 3)?.to_vec(), group);
            twice.map_or(Ok(()), |_| Err("has this group already".to_owned()))
        }
        "SETID" => {
            let position = position(stream)?;
            let group = stream.group(args, 3)?;
            (group.last, group.read) = (position, read()?);
            Ok(())
        }
        "DESTROY" => {
            let gone = stream.groups.remove(arg(args, 3)?);
            gone.map(|_| ()).ok_or_else(|| "has no such group".to_owned())
        }
        "CREATECONSUMER" => {
            stream.group(args, 3)?.consumers.insert(arg(args, 4)?.to_vec());
            Ok(())
        }
        "DELCONSUMER" => {
            let (group, name) = (stream.group(args, 3)?, arg(args, 4)?);
            group.consumers.remove(name);
            group.pending.retain(|_, (consumer, ..)| consumer != name);
            Ok(())
        }
        other => Err(format!("{other} is no change of a group")),
    }
}

/// Where two streams differ first, in words.
pub(super) fn difference(ours: &Stream, theirs: &Stream) -> Option<String> {
    let ids: BTreeSet<&Id> = ours.entries.keys().chain(theirs.entries.keys()).collect();
    if let Some(id) = ids.into_iter().find(|id| ours.entries.get(id) != theirs.entries.get(id)) {
        let show = |stream: &Stream| match stream.entries.get(id) {
            Some(fields) => fields.iter().map(|field| excerpt(field)).collect::<Vec<_>>().join(" "),
            None => "nothing".to_owned(),
        };
        return Some(format!("entry {id:?}: {} against {}", show(ours), show(theirs)));
    }
    let head =
        |it: &Stream| format!("last {:?}, deleted {:?}, added {}", it.last, it.deleted, it.added);
    if head(ours) != head(theirs) {
        return Some(format!("{} against {}", head(ours), head(theirs)));
    }
    let names: BTreeSet<&Vec<u8>> = ours.groups.keys().chain(theirs.groups.keys()).collect();
    let name = names.into_iter().find(|name| ours.groups.get(*name) != theirs.groups.get(*name))?;
    let (a, b) = (ours.groups.get(name), theirs.groups.get(name));
    Some(format!("group {}: {a:?} against {b:?}", excerpt(name)))
}

/// What of a stream in a file comes next, and what was said of it.
#[derive(Debug, Default)]
pub struct Reader {
    node: Id,
    group: Vec<u8>,
    consumer: Vec<u8>,
    /// Pending entries that belong to nobody so far.
    unowned: BTreeMap<Id, (i64, u64)>,
}

impl Reader {
    /// Adds a part of a stream: its kind, and its bytes in the file.
    pub fn part(&mut self, stream: &mut Stream, kind: &[u8], bytes: &[u8]) -> Result<(), String> {
        let mut rest = bytes;
        match kind {
            [0] => self.node = take_id(&mut rest)?,
            [1] => {
                read_node(self.node, bytes, stream)?;
                return Ok(());
            }
            [2] => {
                let len = take_number(&mut rest)?;
                stream.last = take_pair(&mut rest)?;
                let first = take_pair(&mut rest)?;
                stream.deleted = take_pair(&mut rest)?;
                stream.added = take_number(&mut rest)?;
                take_number(&mut rest)?;
                let expected = stream.entries.keys().next().copied().unwrap_or_default();
                if len != stream.entries.len() as u64 || first != expected {
                    return Err(format!("{len} entries from {first:?} on"));
                }
            }
            [3] => {
                self.group = bytes.to_vec();
                if stream.groups.insert(bytes.to_vec(), Group::default()).is_some() {
                    return Err("a group twice".to_owned());
                }
                return Ok(());
            }
            [4] => {
                let group = stream.groups.get_mut(&self.group).ok_or("no group")?;
                group.last = take_pair(&mut rest)?;
                group.read = Some(take_number(&mut rest)?).filter(|read| *read != u64::MAX);
                take_number(&mut rest)?;
            }
            [5] => {
                let id = take_id(&mut rest)?;
                let at = i64::from_le_bytes(take(&mut rest, 8)?.try_into().unwrap_or_default());
                self.unowned.insert(id, (at, take_number(&mut rest)?));
            }
            [6] => _ = take_number(&mut rest)?,
            [7] => {
                self.consumer = bytes.to_vec();
                let group = stream.groups.get_mut(&self.group).ok_or("no group")?;
                if !group.consumers.insert(bytes.to_vec()) {
                    return Err("a consumer twice".to_owned());
                }
                return Ok(());
            }
            [8] => {
                take(&mut rest, 8)?;
                take_number(&mut rest)?;
            }
            [10] => {
                let id = take_id(&mut rest)?;
                let (at, count) = self.unowned.remove(&id).ok_or("what is pending for nobody")?;
                let group = stream.groups.get_mut(&self.group).ok_or("no group")?;
                group.pending.insert(id, (self.consumer.clone(), at, count));
            }
            _ => return Err(format!("a part of kind {kind:?}")),
        }
        if rest.is_empty() { Ok(()) } else { Err("more than a part".to_owned()) }
    }

    /// Whether everything pending belongs to somebody.
    pub fn is_whole(&self) -> bool {
        self.unowned.is_empty()
    }
}

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], String> {
    let (taken, behind) = rest.split_at_checked(len).ok_or("a part that is cut")?;
    *rest = behind;
    Ok(taken)
}

/// A length of a file: one, two, five or nine bytes.
fn take_number(rest: &mut &[u8]) -> Result<u64, String> {
    let first = take(rest, 1)?[0];
    let (high, more) = match first {
        0..0x40 => return Ok(u64::from(first)),
        0x40..0x80 => (u64::from(first & 0x3f), 1),
        0x80 => (0, 4),
        0x81 => (0, 8),
        _ => return Err(format!("a length that begins with {first}")),
    };
    Ok(take(rest, more)?.iter().fold(high, |sum, byte| sum << 8 | u64::from(*byte)))
}

fn take_pair(rest: &mut &[u8]) -> Result<Id, String> {
    Ok((take_number(rest)?, take_number(rest)?))
}

fn take_id(rest: &mut &[u8]) -> Result<Id, String> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
    Ok((number(take(rest, 8)?), number(take(rest, 8)?)))
}

/// Reads the entries of a node.
fn read_node(node: Id, bytes: &[u8], stream: &mut Stream) -> Result<(), String> {
    let mut elements = listpack::read(bytes)?.into_iter();
    let mut next = || elements.next().ok_or_else(|| "a node that is cut".to_owned());
    let parse = |text: Vec<u8>| {
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<i64>().ok());
        number.ok_or_else(|| format!("{} is no number of a node", excerpt(&text)))
    };
    let (live, deleted, count) = (parse(next()?)?, parse(next()?)?, parse(next()?)?);
    let names = (0..count).map(|_| next()).collect::<Result<Vec<_>, _>>()?;
    if parse(next()?)? != 0 || live == 0 {
        return Err("a node without entries, or without an end of its names".to_owned());
    }
    let mut found = (0, 0);
    for _ in 0..live + deleted {
        let (flags, ms, seq) = (parse(next()?)?, parse(next()?)?, parse(next()?)?);
        let mut fields = Vec::new();
        if flags & 2 != 0 {
            for name in &names {
                fields.extend([name.clone(), next()?]);
            }
        } else {
            let count = parse(next()?)?;
            for _ in 0..count * 2 {
                fields.push(next()?);
            }
        }
        let elements = if flags & 2 != 0 { fields.len() / 2 + 3 } else { fields.len() + 4 };
        if parse(next()?)? != elements as i64 {
            return Err("an entry with another length".to_owned());
        }
        if flags & 1 != 0 {
            found.1 += 1;
            continue;
        }
        found.0 += 1;
        let id = (node.0.wrapping_add(ms as u64), node.1.wrapping_add(seq as u64));
        if stream.entries.last_key_value().is_some_and(|(last, _)| *last >= id) {
            return Err("entries that are not in order".to_owned());
        }
        stream.entries.insert(id, fields);
    }
    if found == (live, deleted) && next().is_err() {
        Ok(())
    } else {
        Err(format!("a node of {live} and {deleted} entries has {found:?}"))
    }
}
