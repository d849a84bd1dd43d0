//! Members of several sorted sets, or of sets, that become one: gathered with their hashes, by which those that are the same come
//! together, since large sorted sets have their members in this order already.

use std::borrow::Cow;

use russet_ds::hash::Seed;
use russet_ds::listpack::Element as Member;

use crate::command::{Ctx, Flow, Outcome, Reply};
use crate::keyspace::{EventKind, Expiry, Key};
use crate::types::set::SetRef;
use crate::types::zset::{Scored, Zset, ZsetMut, ZsetRef, in_order};
use crate::types::{BuildContext, Editable};

/// A sorted set, or a set, whose members have the score 1.
#[derive(Clone, Copy, Debug)]
pub(in crate::command) enum Source<'a> {
    /// A sorted set.
    Zset(ZsetRef<'a>),
    /// A set.
    Set(SetRef<'a>),
}

impl<'a> Source<'a> {
    /// Returns the number of members.
    pub fn len(self) -> usize {
        match self {
            Source::Zset(zset) => zset.len(),
            Source::Set(set) => set.len(),
        }
    }

    /// Returns the score of a member.
    pub fn score(self, text: &[u8]) -> Option<f64> {
        match self {
            Source::Zset(zset) => zset.score(text),
            Source::Set(set) => set.contains(Member::Text(text)).then_some(1.0),
        }
    }

    /// Emits all members until the sink returns false.
    pub fn each_while(self, sink: &mut dyn FnMut(Member<'_>, f64) -> bool) {
        match self {
            Source::Zset(zset) => zset.each_from(0, true, sink),
            Source::Set(set) => set.each_while(&mut |member| sink(member, 1.0)),
        }
    }
}

/// A member with its hash.
#[derive(Debug)]
pub(in crate::command) struct One<'a> {
    hash: u32,
    pub score: f64,
    pub text: Cow<'a, [u8]>,
}

impl One<'_> {
    fn scored(&self) -> Scored<'_> {
        Scored { text: &self.text, score: self.score }
    }
}

/// Members that were gathered.
#[derive(Debug)]
pub(in crate::command) struct Gathered<'a> {
    seed: Seed,
    pub list: Vec<One<'a>>,
}

impl<'a> Gathered<'a> {
    /// Begins with none. `seed`: that of the hashes of members.
    pub fn new(seed: Seed) -> Gathered<'a> {
        Gathered { seed, list: Vec::new() }
    }

    /// Adds a member.
    pub fn push(&mut self, member: Member<'a>, score: f64) {
        let text = member.to_text();
        self.list.push(One { hash: Zset::hash(self.seed, &text), score, text });
    }

    /// Adds all members of a source. `score_of` makes their scores.
    pub fn push_all(&mut self, source: Source<'a>, score_of: impl Fn(f64) -> f64) {
        match source {
            Source::Zset(ZsetRef::Large(zset)) if zset.seed() == self.seed => {
                self.list.reserve(zset.len());
                zset.each(&mut |hash, member| {
                    let (score, text) = (score_of(member.score), Cow::Borrowed(member.text));
                    self.list.push(One { hash, score, text });
                });
            }
            Source::Zset(zset) => {
                zset.each(&mut |member, score| self.push(member, score_of(score)));
            }
            Source::Set(set) => set.each(&mut |member| self.push(member, score_of(1.0))),
        }
    }

    /// Puts members that are the same together, in the order in which they were added.
    pub fn unite(&mut self, aggregate: impl Fn(f64, f64) -> f64) {
        // What comes in order is merged.
        self.list.sort_by_key(|one| one.hash);
        let mut kept: usize = 0;
        for index in 0..self.list.len() {
            let hash = self.list[index].hash;
            let (before, rest) = self.list.split_at_mut(index);
            let same = before[..kept]
                .iter_mut()
                .rev()
                .take_while(|other| other.hash == hash)
                .find(|other| other.text == rest[0].text);
            match same {
                Some(same) => same.score = aggregate(same.score, rest[0].score),
                None => {
                    self.list.swap(kept, index);
                    kept += 1;
                }
            }
        }
        self.list.truncate(kept);
    }

    /// Removes members.
    pub fn retain(&mut self, keeps: impl Fn(&[u8]) -> bool) {
        self.list.retain(|one| keeps(&one.text));
    }

    /// Puts them in the order of scores.
    pub fn sort(&mut self) {
        self.list.sort_unstable_by(|one, next| in_order(one.scored(), next.scored()));
    }

    /// Puts them, which are different, into a sorted set that has no members.
    pub fn fill(mut self, zset: &mut ZsetMut<'_>) {
        self.list.sort_by_key(|one| one.hash);
        let scored: Vec<(u32, Scored<'_>)> =
            self.list.iter().map(|one| (one.hash, one.scored())).collect();
        zset.fill(&scored);
    }
}

/// Creates a sorted set without members, to be stored.
pub(in crate::command) fn begin(ctx: &Ctx<'_>) -> ZsetMut<'static> {
    let seed = ctx.data.hasher().seed();
    Zset::empty(&BuildContext { config: &ctx.core.config, seed })
}

/// Stores a sorted set at a key, and replies with its number of members. Without members nothing is left there.
pub(in crate::command) fn store(
    ctx: &mut Ctx<'_>,
    key: Key<'_>,
    reply: &mut Reply<'_>,
    zset: ZsetMut<'static>,
    event: EventKind,
) -> Outcome {
    reply.count(zset.len());
    let edit = ctx.overwrite(key);
    match Zset::into_value(zset) {
        Some(value) => edit.set_value(value, Expiry::Clear, event),
        None => {
            edit.remove(EventKind::Del);
        }
    }
    Ok(Flow::Done)
}
