//! A sorted set being changed, in any form.
//!
//! A compact one is copied, changed and stored again, a large one is changed in place.

use russet_ds::hash::Seed;
use russet_ds::listpack;

use super::walkers::Walkers;
use super::zset::{KIND_LISTPACK, KIND_SKIPLIST, Limits, NUMBER, ZsetRef};
use super::zset_compact as compact;
use super::zset_large::{Zset, compare};
use super::zset_members::Scored;
use super::{BuildContext, Editable, Object, Value};

/// An end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// That of the lowest scores.
    Min,
    /// That of the highest ones.
    Max,
}

/// A member that was removed, and its score.
pub type Popped = (Box<[u8]>, f64);

/// A sorted set being changed.
#[derive(Debug)]
pub struct ZsetMut<'a> {
    state: State<'a>,
    limits: Limits,
    seed: Seed,
}

#[derive(Debug)]
enum State<'a> {
    Compact(Vec<u8>),
    /// It was compact or is being built.
    New(Zset),
    /// It is in its entry.
    Large(&'a mut Zset),
}

impl Editable for Zset {
    const NUMBER: u8 = NUMBER;
    /// Members do not expire.
    const REMOVAL: &'static [u8] = b"ZREM";

    type Mut<'a> = ZsetMut<'a>;

    fn empty(context: &BuildContext<'_>) -> ZsetMut<'static> {
        let state = State::Compact(listpack::EMPTY.to_vec());
        ZsetMut { state, limits: Limits::of(context.config), seed: context.seed }
    }

    fn copy_of(_kind: u8, bytes: &[u8], context: &BuildContext<'_>) -> ZsetMut<'static> {
        let state = State::Compact(bytes.to_vec());
        ZsetMut { state, limits: Limits::of(context.config), seed: context.seed }
    }

    fn of_object<'a>(
        object: &'a mut Object,
        _walkers: Walkers<'a>,
        context: &BuildContext<'_>,
    ) -> Option<ZsetMut<'a>> {
        let Object::Zset(zset) = object else { return None };
        let seed = zset.seed();
        Some(ZsetMut { state: State::Large(zset), limits: Limits::of(context.config), seed })
    }

    fn is_empty(zset: &ZsetMut<'_>) -> bool {
        zset.is_empty()
    }

    fn into_value(zset: ZsetMut<'static>) -> Option<Value<'static>> {
        if zset.is_empty() {
            return None;
        }
        Some(match zset.state {
            State::Compact(bytes) => Value::compact(KIND_LISTPACK, bytes),
            State::New(zset) => Value::large(KIND_SKIPLIST, Object::Zset(zset)),
            State::Large(_) => unreachable!("a sorted set in its entry does not live for ever"),
        })
    }
}

impl ZsetMut<'_> {
    /// Returns it as a borrowed sorted set.
    pub fn view(&self) -> ZsetRef<'_> {
        match &self.state {
            State::Compact(bytes) => ZsetRef::Compact(bytes),
            State::New(zset) => ZsetRef::Large(zset),
            State::Large(zset) => ZsetRef::Large(zset),
        }
    }

    /// Returns the number of members.
    pub fn len(&self) -> usize {
        self.view().len()
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn large(&mut self) -> Option<&mut Zset> {
        match &mut self.state {
            State::Compact(_) => None,
            State::New(zset) => Some(zset),
            State::Large(zset) => Some(zset),
        }
    }

    /// Chooses the form for this number of members to be added or changed, the longest of which has this length in bytes.
    pub fn prepare(&mut self, members: usize, longest: usize) {
        if !self.limits.allow(members, longest) {
            self.become_large();
        }
    }

    /// Adds a member, or changes its score. Returns the score that it had.
    pub fn set(&mut self, text: &[u8], score: f64) -> Option<f64> {
        if let State::Compact(bytes) = &mut self.state {
            let found = compact::find(bytes, text);
            match found {
                Some((_, old)) if compare(old, score).is_eq() => return Some(old),
                Some((at, old)) => {
                    listpack::delete(bytes, at, 2);
                    self.put(text, score);
                    return Some(old);
                }
                None => {}
            }
        }
        match self.large() {
            Some(zset) => zset.set(Scored { text, score }),
            None => {
                self.put(text, score);
                None
            }
        }
    }

    /// Adds a member that is not there.
    fn put(&mut self, text: &[u8], score: f64) {
        if let State::Compact(bytes) = &mut self.state {
            let is_allowed = self.limits.allow(compact::len(bytes) + 1, text.len());
            if is_allowed && listpack::has_room(bytes, compact::pair_bytes(text)) {
                return compact::insert(bytes, text, score);
            }
            self.become_large();
        }
        if let Some(zset) = self.large() {
            zset.set(Scored { text, score });
        }
    }

    /// Puts different members into one that has none. They must come in the order of their hashes ([`Zset::hash`]).
    pub fn fill(&mut self, scored: &[(u32, Scored<'_>)]) {
        let longest = scored.iter().map(|(_, member)| member.text.len()).max().unwrap_or(0);
        if self.limits.allow(scored.len(), longest) {
            scored.iter().for_each(|(_, member)| self.put(member.text, member.score));
        } else {
            self.state = State::New(Zset::collect(self.seed, scored));
        }
    }

    /// Removes a member. Returns false if it is not there.
    pub fn remove(&mut self, text: &[u8]) -> bool {
        match &mut self.state {
            State::Compact(bytes) => {
                let found = compact::find(bytes, text);
                if let Some((at, _)) = found {
                    listpack::delete(bytes, at, 2);
                }
                found.is_some()
            }
            State::New(zset) => zset.remove(text),
            State::Large(zset) => zset.remove(text),
        }
    }

    /// Removes members from a rank on.
    pub fn remove_ranks(&mut self, rank: usize, count: usize) {
        match &mut self.state {
            State::Compact(bytes) => compact::remove_ranks(bytes, rank, count),
            State::New(zset) => zset.remove_ranks(rank, count),
            State::Large(zset) => zset.remove_ranks(rank, count),
        }
    }

    /// Removes and returns up to this number of members from an end, the outermost first.
    pub fn pop(&mut self, end: End, count: usize) -> Vec<Popped> {
        let len = self.len();
        let count = count.min(len);
        let mut popped = Vec::with_capacity(count);
        let (first, rank) = match end {
            End::Min => (0, 0),
            End::Max => (len.saturating_sub(1), len - count),
        };
        if count > 0 {
            self.view().each_from(first, end == End::Min, &mut |member, score| {
                popped.push((Box::from(&*member.to_text()), score));
                popped.len() < count
            });
        }
        self.remove_ranks(rank, count);
        popped
    }

    fn become_large(&mut self) {
        let State::Compact(bytes) = &self.state else { return };
        let mut zset = Zset::new(self.seed);
        for (_, member, score) in compact::iter(bytes) {
            zset.set(Scored { text: &member.to_text(), score });
        }
        self.state = State::New(zset);
    }
}
