//! A large sorted set: its members, and their order.
//!
//! ```text
//!   members   in the order of their hashes:       hash │ ordinal │ score │ text
//!                                                  └──id─────┘
//!   order     in that of scores, then of texts:   score │ id
//! ```
//!
//! Both are trees ([`russet_ds::tree`]) with leaves of up to 128 rows. A member's text is there once, with the hashes: a member is
//! found, and its score, by going down that tree; its rank by going down the other one with its score. Where scores are equal,
//! texts decide, which are looked up by their ids. So the order knows no texts, and a row of it has 13 bytes.
//!
//! What was weighed: a table of members beside a tree with members (as a hash table beside a skiplist) has each text twice, and
//! of short texts the allocations are most of it. A tree of members in order, with a table from hashes to scores, has them once,
//! but then ZSCAN, which goes by hashes, finds no member among many of the same score. With an id a million members of ten bytes take
//! some 45 bytes each, where stock servers take over 100, and the price is a descent for each member of a range.
//!
//! A snapshot, and COPY, share both trees: what changes later is copied leaf by leaf. A snapshot needs the members alone.

use std::cmp::Ordering;

use russet_ds::Block;
use russet_ds::hash::Seed;
use russet_ds::tree::{Leaf, Tree};

use super::leaf_sum::{LeafSum, at};
use super::walkers::Frozen;
use super::zset_members::{MemberId, MemberLeaf, Scored};
use super::zset_order::{OrderLeaf, Row};
use super::{Collection, Object};
use crate::rdb::chunk::{Chunk, ChunkValue};
use crate::rdb::elements::Element;

/// A large sorted set. See the module.
#[derive(Clone, Debug)]
pub struct Zset {
    members: Tree<MemberLeaf>,
    order: Tree<OrderLeaf>,
    seed: Seed,
}

/// Tells whether a member is in front of a place, by its score and, if it asks for it, its text.
pub type IsBefore<'f, 'a> = &'f mut dyn FnMut(f64, &dyn Fn() -> &'a [u8]) -> bool;

/// Where the search for a member ended.
enum Found {
    /// At the member.
    There(MemberId, f64),
    /// At the id that it would have.
    Free(MemberId),
}

impl Zset {
    /// Creates one without members, whose hashes have this seed.
    pub fn new(seed: Seed) -> Zset {
        Zset { members: Tree::default(), order: Tree::default(), seed }
    }

    /// Returns the 32 bits of a member's hash by which members are ordered.
    pub fn hash(seed: Seed, text: &[u8]) -> u32 {
        (seed.hash(text) >> 32) as u32
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.order.summary().elements
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, text: &[u8]) -> Found {
        let hash = Zset::hash(self.seed, text);
        // The lowest id that is not known to be taken.
        let (mut free, mut next) = (MemberId::first(hash), MemberId::first(hash));
        while let Some((leaf, _)) = self.members.find_key(&mut |key| *key < next) {
            let from = leaf.place(next);
            for index in from..leaf.len() {
                match leaf.get(index) {
                    Some((id, member)) if id.hash() == hash => {
                        if member.text == text {
                            return Found::There(id, member.score);
                        }
                        free = if id == free { id.next() } else { free };
                        next = id.next();
                    }
                    _ => return Found::Free(free),
                }
            }
            if from == leaf.len() {
                break;
            }
        }
        Found::Free(free)
    }

    /// Returns the score of a member.
    pub fn score(&self, text: &[u8]) -> Option<f64> {
        match self.find(text) {
            Found::There(_, score) => Some(score),
            Found::Free(_) => None,
        }
    }

    /// Returns the number of members in front of a member, and its score.
    pub fn rank(&self, text: &[u8]) -> Option<(usize, f64)> {
        let score = self.score(text)?;
        let place = self.count_before(&mut |other, other_text| {
            compare(other, score).then_with(|| other_text().cmp(text)) == Ordering::Less
        });
        Some((place, score))
    }

    /// Returns the number of members in front of a place. `is_before` is given scores and, if it asks for them, texts.
    pub fn count_before<'a>(&'a self, is_before: IsBefore<'_, 'a>) -> usize {
        let mut is_before = |row: &Row| is_before(row.score, &|| self.text(row.id));
        let Some((leaf, before)) = self.order.find_key(&mut is_before) else { return 0 };
        before.elements + leaf.place(&mut is_before)
    }

    fn text(&self, id: MemberId) -> &[u8] {
        text_of(&self.members, id)
    }

    /// Returns the member at a place in the order of hashes.
    pub fn by_hash(&self, index: usize) -> Option<Scored<'_>> {
        let (leaf, before) = self.members.find(&mut at(index))?;
        leaf.get(index.checked_sub(before.elements)?).map(|(_, member)| member)
    }

    /// Emits all members in the order of their hashes, with them.
    pub fn each<'a>(&'a self, sink: &mut dyn FnMut(u32, Scored<'a>)) {
        for leaf in self.members.leaves() {
            leaf.iter().for_each(|(id, member)| sink(id.hash(), member));
        }
    }

    /// Emits members from a hash on, at least `count`, those with the same hash together. Returns the next hash; 0 at the end.
    pub fn scan(&self, from: u64, count: usize, sink: &mut dyn FnMut(Scored<'_>)) -> u64 {
        let Ok(first) = u32::try_from(from) else { return 0 };
        let first = MemberId::first(first);
        let (leaves, _) = self.members.leaves_from_key(&mut |key| *key < first);
        let (mut emitted, mut last) = (0, None);
        for (id, member) in leaves.flat_map(MemberLeaf::iter).skip_while(|(id, _)| *id < first) {
            if emitted >= count && last != Some(id.hash()) {
                return u64::from(id.hash());
            }
            sink(member);
            (emitted, last) = (emitted + 1, Some(id.hash()));
        }
        0
    }

    /// Emits the members from a rank on, upwards or downwards, until the sink returns false.
    pub fn each_from<'a>(
        &'a self,
        rank: usize,
        is_upwards: bool,
        sink: &mut dyn FnMut(Scored<'a>) -> bool,
    ) {
        if rank >= self.len() {
            return;
        }
        let (mut leaves, before) = self.order.leaves_from(&mut at(rank));
        let mut within = Some(rank - before.elements);
        while let Some(leaf) = if is_upwards { leaves.next() } else { leaves.next_back() } {
            let last = if is_upwards { 0 } else { leaf.len() - 1 };
            let mut index = within.take().unwrap_or(last);
            while let Some(Row { score, id }) = leaf.get(index) {
                if !sink(Scored { text: self.text(id), score }) {
                    return;
                }
                index = if is_upwards { index + 1 } else { index.wrapping_sub(1) };
            }
        }
    }

    /// Adds a member, or changes its score. Returns the score that it had.
    pub fn set(&mut self, member: Scored<'_>) -> Option<f64> {
        match self.find(member.text) {
            Found::There(_, old) if compare(old, member.score) == Ordering::Equal => Some(old),
            Found::There(id, old) => {
                self.leave_order(Scored { score: old, ..member });
                self.members.change_key(&mut |key| *key < id, |leaf, _, _| {
                    leaf.set_score(leaf.place(id), member.score);
                });
                self.enter_order(id, member);
                Some(old)
            }
            Found::Free(id) => {
                self.add_text(id, member);
                self.enter_order(id, member);
                None
            }
        }
    }

    /// Removes a member. Returns false if it is not there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        let Found::There(id, score) = self.find(text) else { return false };
        self.leave_order(Scored { text, score });
        self.remove_text(id);
        true
    }

    /// Removes members from a rank on.
    pub fn remove_ranks(&mut self, rank: usize, mut count: usize) {
        let mut gone = Vec::new();
        while count > 0 && rank < self.len() {
            gone.clear();
            self.order.change(&mut at(rank), |leaf, before: &LeafSum, _| {
                leaf.remove(rank - before.elements, count, &mut |row| gone.push(row.id));
            });
            count = count.saturating_sub(gone.len());
            gone.iter().for_each(|id| self.remove_text(*id));
        }
    }

    fn enter_order(&mut self, id: MemberId, member: Scored<'_>) {
        let (members, row) = (&self.members, Row { score: member.score, id });
        let len = self.order.summary().elements;
        self.order.change_key(&mut in_front_of(members, member), |leaf, before, beside| {
            let place = leaf.place(&mut in_front_of(members, member));
            // At both ends full leaves stay full.
            if leaf.is_full() && before.elements + place == len {
                beside.after = Some(OrderLeaf::of(row));
            } else if leaf.is_full() && before.elements + place == 0 {
                beside.before = Some(OrderLeaf::of(row));
            } else {
                leaf.put(place, row);
            }
        });
    }

    fn leave_order(&mut self, member: Scored<'_>) {
        let members = &self.members;
        self.order.change_key(&mut in_front_of(members, member), |leaf, _, _| {
            let place = leaf.place(&mut in_front_of(members, member));
            leaf.remove(place, 1, &mut |_| {});
        });
    }

    fn add_text(&mut self, id: MemberId, member: Scored<'_>) {
        let len = self.members.summary().elements;
        self.members.change_key(&mut |key| *key < id, |leaf, before, beside| {
            let place = leaf.place(id);
            let is_last = before.elements + place == len;
            if leaf.is_empty() {
                *leaf = MemberLeaf::of(id, member);
            } else if leaf.takes(member.text) && !(is_last && leaf.is_full(member.text)) {
                leaf.put(place, id, member);
            } else {
                // In front of this leaf, behind it, or in front of its second part.
                let new = MemberLeaf::of(id, member);
                if place == 0 {
                    beside.before = Some(new);
                } else if place == leaf.len() {
                    beside.after = Some(new);
                } else {
                    let second = leaf.split_at(place);
                    let first = std::mem::replace(leaf, new);
                    (beside.before, beside.after) = (Some(first), Some(second));
                }
            }
        });
    }

    fn remove_text(&mut self, id: MemberId) {
        self.members.change_key(&mut |key| *key < id, |leaf, _, _| leaf.remove(leaf.place(id), 1));
    }

    /// Puts a set together from different members, which must come in the order of their hashes.
    pub fn collect<'a>(seed: Seed, scored: &[(u32, Scored<'a>)]) -> Zset {
        let mut members = Tree::default();
        let mut order = Vec::with_capacity(scored.len());
        let (mut leaf, mut last) = (MemberLeaf::default(), None);
        for (hash, member) in scored {
            let id = match last {
                Some(last) if MemberId::hash(last) == *hash => last.next(),
                _ => MemberId::first(*hash),
            };
            if !leaf.is_empty() && (!leaf.takes(member.text) || leaf.is_full(member.text)) {
                members.push(std::mem::take(&mut leaf));
            }
            match leaf.is_empty() {
                true => leaf = MemberLeaf::of(id, *member),
                false => leaf.put(leaf.len(), id, *member),
            }
            order.push((*member, id));
            last = Some(id);
        }
        if !leaf.is_empty() {
            members.push(leaf);
        }
        order.sort_unstable_by(|(one, _), (next, _)| in_order(*one, *next));
        let mut zset = Zset { members, order: Tree::default(), seed };
        let mut leaf = OrderLeaf::default();
        for (member, id) in order {
            if leaf.is_full() {
                zset.order.push(std::mem::take(&mut leaf));
            }
            leaf.put(leaf.len(), Row { score: member.score, id });
        }
        if !leaf.is_empty() {
            zset.order.push(leaf);
        }
        zset
    }

    /// Returns the seed of its hashes.
    pub fn seed(&self) -> Seed {
        self.seed
    }
}

/// Compares scores, none of which is NaN. Both zeros are equal.
pub fn compare(one: f64, other: f64) -> Ordering {
    one.partial_cmp(&other).unwrap_or(Ordering::Equal)
}

/// Compares members by score, then by text.
pub fn in_order(one: Scored<'_>, other: Scored<'_>) -> Ordering {
    compare(one.score, other.score).then_with(|| one.text.cmp(other.text))
}

fn text_of(members: &Tree<MemberLeaf>, id: MemberId) -> &[u8] {
    let found = members.find_key(&mut |key| *key < id).and_then(|(leaf, _)| leaf.find(id));
    found.map(|member| member.text).expect("the order has the ids of members alone")
}

/// Tells whether rows are in front of a member.
fn in_front_of<'a>(
    members: &'a Tree<MemberLeaf>,
    member: Scored<'a>,
) -> impl FnMut(&Row) -> bool + 'a {
    move |row| {
        let by_text = || text_of(members, row.id).cmp(member.text);
        compare(row.score, member.score).then_with(by_text) == Ordering::Less
    }
}

impl Collection for Zset {
    fn len(&self) -> usize {
        self.len()
    }

    fn kind(&self) -> u8 {
        super::zset::KIND_SKIPLIST
    }

    fn each(&self, sink: &mut dyn FnMut(Element<'_>)) {
        self.each(&mut |_, member| {
            sink(Element { name: member.text, value: &member.score.to_le_bytes(), expiry: None });
        });
    }

    fn copy(&self) -> Block<Object> {
        Object::Zset(self.clone()).into_block()
    }

    fn freeze(&self) -> Option<Box<dyn Frozen>> {
        Some(Box::new(FrozenMembers { members: self.members.clone(), emitted: 0 }))
    }

    fn owned_bytes(&self) -> usize {
        let (members, order) = (self.members.summary(), self.order.summary());
        members.bytes
            + order.bytes
            + self.members.allocated_bytes(members.leaves)
            + self.order.allocated_bytes(order.leaves)
    }

    fn free_cost(&self) -> usize {
        self.members.summary().leaves + self.order.summary().leaves
    }
}

/// A copy of the members, for a snapshot.
#[derive(Debug)]
struct FrozenMembers {
    members: Tree<MemberLeaf>,
    /// Number of members that were emitted.
    emitted: usize,
}

impl Frozen for FrozenMembers {
    /// Emits a leaf.
    fn emit(&mut self, chunk: &mut Chunk) -> bool {
        let len = self.members.summary().elements;
        if self.emitted >= len {
            return false;
        }
        let Some((leaf, _)) = self.members.find(&mut at(self.emitted)) else { return false };
        for (_, member) in leaf.iter() {
            chunk.element(member.text, ChunkValue::Bytes(&member.score.to_le_bytes()), None);
        }
        self.emitted += leaf.len();
        self.emitted < len
    }
}
