//! Nodes of a stream: some entries in a listpack, in the form that stock servers have in memory and in files.
//!
//! ```text
//!   a node     live  deleted  │  count  name₁ … nameₙ  0  │  entry  entry  …
//!              └ how many ┘      the names of the first entry
//!
//!   an entry   flags  ms  seq  │  value₁ … valueₙ                       │  length     with the names of the first
//!              flags  ms  seq  │  count  name₁ value₁ … nameₘ valueₘ    │  length     with others
//!
//!   flags      1  deleted        2  it has the names of the first entry
//!   ms, seq    differences to the ID of the node, which is that of the first entry
//!   length     number of elements in front of it, to read backwards; the 0 behind the names is the end
//! ```
//!
//! An entry that is deleted stays as it is, with a flag. A node whose entries are all deleted is removed.

use russet_ds::listpack::{self, Element};
use russet_ds::size::class_size;
use russet_ds::tree::{Leaf, Summary};

use super::Invalid;
use super::stream_id::StreamId;

/// The entry is deleted.
const DELETED: i64 = 1;

/// The entry has the names of the first one.
const SAME_NAMES: i64 = 2;

/// Elements of an entry beside names and values: flags and both differences.
const FIXED: usize = 3;

/// Maximum size of a node in bytes, also that of texts of an entry.
pub const BYTES_MAX: u64 = 1 << 30;

/// What elements take beside their texts, in bytes, at most.
const OVERHEAD: usize = 10;

/// How large a node may be.
#[derive(Clone, Copy, Debug)]
pub struct NodeLimits {
    /// `stream-node-max-bytes`; 0: no limit.
    pub bytes: u64,
    /// `stream-node-max-entries`; 0: no limit.
    pub entries: u64,
}

/// Some entries in a row.
#[derive(Clone, Debug)]
pub struct StreamNode {
    id: StreamId,
    pack: Vec<u8>,
}

/// What a part of a stream has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeSum {
    /// Number of entries that are not deleted.
    pub entries: u64,
    /// Number of nodes.
    pub nodes: usize,
    /// Memory of the nodes in bytes.
    pub bytes: usize,
    /// The ID of the last entry, deleted or not.
    pub last: StreamId,
}

impl Summary for NodeSum {
    fn add(&mut self, next: &NodeSum) {
        self.entries += next.entries;
        self.nodes += next.nodes;
        self.bytes += next.bytes;
        if next.nodes > 0 {
            self.last = next.last;
        }
    }
}

/// What is in front of the entries of a node.
#[derive(Clone, Copy, Debug)]
struct Head {
    live: i64,
    deleted: i64,
    /// Number of names of the first entry.
    names: usize,
    /// Position of the first name.
    names_at: usize,
    /// Position of the first entry.
    entries_at: usize,
}

/// An entry of a node.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its ID.
    pub id: StreamId,
    /// Whether it is deleted.
    pub is_deleted: bool,
    /// Number of fields.
    pub len: usize,
    pack: &'a [u8],
    /// Where its names are if they are those of the first entry.
    names_at: Option<usize>,
    /// Where its values are, or its names and values.
    values_at: usize,
    at: usize,
}

impl<'a> Entry<'a> {
    /// Iterates over names and values.
    pub fn fields(&self) -> impl Iterator<Item = (Element<'a>, Element<'a>)> + use<'a> {
        let mut values = listpack::iter_from(self.pack, self.values_at);
        let mut names = self.names_at.map(|at| listpack::iter_from(self.pack, at));
        (0..self.len).map_while(move |_| {
            let name = names.as_mut().map_or_else(|| values.next(), Iterator::next)?.1;
            Some((name, values.next()?.1))
        })
    }
}

impl StreamNode {
    /// Creates a node with an entry: names and values in turn.
    pub fn new(id: StreamId, fields: &[&[u8]]) -> StreamNode {
        let mut pack = listpack::EMPTY.to_vec();
        let count = fields.len() / 2;
        for number in [0, 0, count as i64] {
            listpack::append(&mut pack, Element::Int(number));
        }
        fields.iter().step_by(2).for_each(|name| listpack::append(&mut pack, Element::of(name)));
        listpack::append(&mut pack, Element::Int(0));
        let mut node = StreamNode { id, pack };
        node.append(id, fields);
        node
    }

    /// Whether an entry with these names and values can be added.
    pub fn takes(&self, fields: &[&[u8]], text_bytes: usize, limits: NodeLimits) -> bool {
        let most = if limits.bytes == 0 { BYTES_MAX } else { limits.bytes.min(BYTES_MAX) };
        let is_full = self.pack.len() as u64 + text_bytes as u64 >= most;
        let Some(head) = self.head() else { return false };
        let entries = head.live.saturating_add(head.deleted) as u64;
        let has_all = limits.entries != 0 && entries >= limits.entries;
        let upper_bound = text_bytes + (fields.len() + FIXED + 2) * OVERHEAD;
        !is_full && !has_all && listpack::has_room(&self.pack, upper_bound)
    }

    /// Whether a node of its own can have an entry with texts of this many bytes.
    pub fn could_take(fields: &[&[u8]], text_bytes: usize) -> bool {
        // The names are there once more.
        let upper_bound = (fields.len() * 2 + FIXED + 6).saturating_mul(OVERHEAD);
        listpack::has_room(&listpack::EMPTY, upper_bound.saturating_add(text_bytes))
    }

    /// Adds an entry: names and values in turn. Its ID must be greater than those before it.
    pub fn append(&mut self, id: StreamId, fields: &[&[u8]]) {
        let Some(head) = self.head() else { return };
        let names = listpack::iter_from(&self.pack, head.names_at).take(head.names);
        let count = fields.len() / 2;
        let is_same = count == head.names
            && names.zip(fields.iter().step_by(2)).all(|((_, name), given)| name.is_text(given));
        let pack = &mut self.pack;
        // The number of elements in front of those that follow does not change.
        set_first(pack, [Some(head.live + 1), None]);
        let flags = if is_same { SAME_NAMES } else { 0 };
        let ms = id.ms.wrapping_sub(self.id.ms) as i64;
        let seq = id.seq.wrapping_sub(self.id.seq) as i64;
        for number in [flags, ms, seq] {
            listpack::append(pack, Element::Int(number));
        }
        let (mut elements, step) = (FIXED + count, if is_same { 2 } else { 1 });
        if !is_same {
            listpack::append(pack, Element::Int(count as i64));
            elements += count + 1;
        }
        for text in fields[step - 1..].iter().step_by(step) {
            listpack::append(pack, Element::of(text));
        }
        listpack::append(pack, Element::Int(elements as i64));
    }

    /// Checks a node of a file. Returns none if all its entries are deleted, as old servers leave some.
    pub fn check(id: StreamId, pack: &[u8]) -> Result<Option<StreamNode>, Invalid> {
        listpack::check(pack)?;
        Checker { elements: listpack::iter(pack) }.node(id)?;
        let node = StreamNode { id, pack: pack.to_vec() };
        Ok(Some(node).filter(|node| node.len() > 0))
    }

    /// Returns its ID, which is that of its first entry.
    pub fn id(&self) -> StreamId {
        self.id
    }

    /// Returns the ID of its last entry, deleted or not.
    pub fn last(&self) -> StreamId {
        self.entries().next_back().map_or(self.id, |entry| entry.id)
    }

    /// Returns its listpack.
    pub fn pack(&self) -> &[u8] {
        &self.pack
    }

    /// Returns the number of entries that are not deleted.
    pub fn len(&self) -> u64 {
        let live = listpack::first(&self.pack).and_then(|at| listpack::get(&self.pack, at));
        live.and_then(integer).map_or(0, |live| live as u64)
    }

    fn head(&self) -> Option<Head> {
        let mut elements = listpack::iter(&self.pack);
        let mut next = || integer(elements.next()?.1);
        let (live, deleted, names) = (next()?, next()?, next()? as usize);
        let mut behind = elements.skip(names);
        let names_at = listpack::seek(&self.pack, 3)?;
        behind.next()?;
        let entries_at = behind.next().map_or(listpack::end(&self.pack), |(at, _)| at);
        Some(Head { live, deleted, names, names_at, entries_at })
    }

    /// Iterates over its entries, in both directions, with those that are deleted.
    pub fn entries(&self) -> Entries<'_> {
        let end = listpack::end(&self.pack);
        let front = self.head().map_or(end, |head| head.entries_at);
        Entries { node: self, head: self.head(), front, back: end }
    }

    /// Marks entries as deleted, of which `which` is true, from the first one on, until it returns none. Returns their number.
    pub fn delete(&mut self, which: &mut dyn FnMut(&Entry<'_>) -> Option<bool>) -> u64 {
        let mut found = Vec::new();
        for entry in self.entries() {
            match which(&entry) {
                Some(true) if !entry.is_deleted => {
                    found.push((entry.at, entry.names_at.is_some()));
                }
                Some(_) => {}
                None => break,
            }
        }
        // Backwards: a file may have flags in more bytes than they need, and then all behind them moves.
        for (at, is_same) in found.iter().rev() {
            let flags = DELETED | if *is_same { SAME_NAMES } else { 0 };
            listpack::replace(&mut self.pack, *at, Element::Int(flags));
        }
        if let Some(head) = self.head().filter(|_| !found.is_empty()) {
            let count = found.len() as i64;
            set_first(&mut self.pack, [Some(head.live - count), Some(head.deleted + count)]);
        }
        found.len() as u64
    }

    /// Gives memory back that it does not need.
    pub fn shrink(&mut self) {
        self.pack.shrink_to_fit();
    }
}

/// Replaces the numbers of entries.
fn set_first(pack: &mut Vec<u8>, numbers: [Option<i64>; 2]) {
    for (index, number) in numbers.into_iter().enumerate() {
        if let (Some(number), Some(at)) = (number, listpack::seek(pack, index as isize)) {
            listpack::replace(pack, at, Element::Int(number));
        }
    }
}

fn integer(element: Element<'_>) -> Option<i64> {
    match element.canonical() {
        Element::Int(value) => Some(value),
        Element::Text(_) => None,
    }
}

/// Returns the ID at a distance from that of a node.
fn behind(id: StreamId, ms: i64, seq: i64) -> StreamId {
    StreamId { ms: id.ms.wrapping_add(ms as u64), seq: id.seq.wrapping_add(seq as u64) }
}

/// Iterates over the entries of a node.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    node: &'a StreamNode,
    head: Option<Head>,
    /// Position of the next entry.
    front: usize,
    /// Position behind the last one.
    back: usize,
}

impl<'a> Entries<'a> {
    fn read(&self, at: usize) -> Option<Entry<'a>> {
        let (pack, head) = (self.node.pack.as_slice(), self.head?);
        let mut elements = listpack::iter_from(pack, at);
        let mut next = || integer(elements.next()?.1);
        let (flags, ms, seq) = (next()?, next()?, next()?);
        let is_same = flags & SAME_NAMES != 0;
        let len = if is_same { head.names } else { next()? as usize };
        Some(Entry {
            id: behind(self.node.id, ms, seq),
            is_deleted: flags & DELETED != 0,
            len,
            pack,
            names_at: is_same.then_some(head.names_at),
            values_at: elements.next()?.0,
            at,
        })
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let entry = self.read(self.front)?;
        let elements = if entry.names_at.is_some() { entry.len } else { 2 * entry.len };
        // Behind the length, which is the last one.
        let mut rest = listpack::iter_from(entry.pack, entry.values_at).skip(elements + 1);
        self.front = rest.next().map_or(listpack::end(entry.pack), |(at, _)| at);
        Some(entry)
    }
}

impl<'a> DoubleEndedIterator for Entries<'a> {
    fn next_back(&mut self) -> Option<Entry<'a>> {
        if self.front >= self.back {
            return None;
        }
        let pack = self.node.pack.as_slice();
        let mut at = listpack::previous(pack, self.back)?;
        for _ in 0..integer(listpack::get(pack, at)?)? {
            at = listpack::previous(pack, at)?;
        }
        self.back = at;
        self.read(at)
    }
}

impl Default for StreamNode {
    /// Without entries: what takes the place of a node that is removed.
    fn default() -> StreamNode {
        StreamNode { id: StreamId::MIN, pack: Vec::new() }
    }
}

impl Leaf for StreamNode {
    type Summary = NodeSum;
    type Key = ();

    fn summary(&self) -> NodeSum {
        let bytes = class_size(self.pack.capacity());
        NodeSum { entries: self.len(), nodes: 1, bytes, last: self.last() }
    }

    fn is_empty(&self) -> bool {
        self.pack.is_empty()
    }

    /// Entries stay in the node that they were added to.
    fn is_large(&self) -> bool {
        false
    }

    fn is_small(&self) -> bool {
        false
    }

    fn split(&mut self) -> StreamNode {
        StreamNode::default()
    }

    fn fits(&self, _next: &StreamNode) -> bool {
        false
    }

    fn join(&mut self, _next: &StreamNode) {}
}

/// Checks the elements of a valid listpack.
struct Checker<'a> {
    elements: listpack::Iter<'a>,
}

impl Checker<'_> {
    fn next(&mut self) -> Result<Element<'_>, Invalid> {
        self.elements.next().map(|(_, element)| element).ok_or(Invalid::Malformed)
    }

    fn integer(&mut self) -> Result<i64, Invalid> {
        integer(self.next()?).ok_or(Invalid::Malformed)
    }

    fn number(&mut self) -> Result<u64, Invalid> {
        u64::try_from(self.integer()?).map_err(|_| Invalid::Malformed)
    }

    /// Skips elements, however many there should be.
    fn skip(&mut self, count: u64) -> Result<(), Invalid> {
        (0..count).try_for_each(|_| self.next().map(|_| ()))
    }

    /// Checks all of a node.
    fn node(mut self, id: StreamId) -> Result<(), Invalid> {
        let (live, deleted, names) = (self.number()?, self.number()?, self.number()?);
        self.skip(names)?;
        if names == 0 || self.integer()? != 0 {
            return Err(Invalid::Malformed);
        }
        let (mut last, mut found) = (None, [0, 0]);
        while self.elements.clone().next().is_some() {
            let (entry, is_deleted) = self.entry(id, names)?;
            let is_ordered = last.map_or(entry >= id, |last| entry > last);
            if !is_ordered || entry == StreamId::MIN {
                return Err(Invalid::Malformed);
            }
            last = Some(entry);
            found[usize::from(is_deleted)] += 1;
        }
        let is_counted = last.is_some() && found == [live, deleted];
        if is_counted { Ok(()) } else { Err(Invalid::Malformed) }
    }

    fn entry(&mut self, id: StreamId, names: u64) -> Result<(StreamId, bool), Invalid> {
        let (flags, ms, seq) = (self.integer()?, self.integer()?, self.integer()?);
        if flags & !(DELETED | SAME_NAMES) != 0 {
            return Err(Invalid::Malformed);
        }
        let elements = if flags & SAME_NAMES != 0 {
            self.skip(names)?;
            names.checked_add(FIXED as u64)
        } else {
            let count = self.number()?;
            let both = count.checked_mul(2).filter(|both| *both > 0).ok_or(Invalid::Malformed)?;
            self.skip(both)?;
            both.checked_add(FIXED as u64 + 1)
        };
        if elements != Some(self.number()?) {
            return Err(Invalid::Malformed);
        }
        Ok((behind(id, ms, seq), flags & DELETED != 0))
    }
}
