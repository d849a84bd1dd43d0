//! Small sorted sets: a listpack of members, each followed by its score, in order.
//!
//! A score is an integer if it equals one, else the text of a double, so the bytes are those of stock servers.

use std::cmp::Ordering;

use russet_ds::listpack::{self, Digits, Element as Member};
use russet_protocol::double::{as_integer, push_double};

use super::Invalid;
use super::double::parse;
use super::zset_large::compare;

/// Returns the score that an element stands for; none if it is none.
fn score_of(element: Member<'_>) -> Option<f64> {
    match element {
        Member::Int(value) => Some(value as f64),
        Member::Text(text) => parse(text),
    }
}

/// Iterates over members and scores with the positions of members, in both directions.
pub fn iter(bytes: &[u8]) -> impl DoubleEndedIterator<Item = (usize, Member<'_>, f64)> {
    Pairs(listpack::iter(bytes))
}

struct Pairs<'a>(listpack::Iter<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (usize, Member<'a>, f64);

    fn next(&mut self) -> Option<Self::Item> {
        let (at, member) = self.0.next()?;
        let (_, score) = self.0.next()?;
        Some((at, member, score_of(score)?))
    }
}

impl DoubleEndedIterator for Pairs<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        let (_, score) = self.0.next_back()?;
        let (at, member) = self.0.next_back()?;
        Some((at, member, score_of(score)?))
    }
}

/// Returns the number of members.
pub fn len(bytes: &[u8]) -> usize {
    listpack::len(bytes) / 2
}

/// Returns the position of a member, and its score.
pub fn find(bytes: &[u8], text: &[u8]) -> Option<(usize, f64)> {
    let at = listpack::find(bytes, listpack::first(bytes)?, text, 2)?;
    let score = listpack::get(bytes, listpack::next(bytes, at)?)?;
    Some((at, score_of(score)?))
}

/// Compares two members by score, then by text.
pub fn in_order(one: (Member<'_>, f64), next: (Member<'_>, f64)) -> Ordering {
    compare(one.1, next.1)
        .then_with(|| one.0.text(&mut Digits::default()).cmp(next.0.text(&mut Digits::default())))
}

/// Upper bound of the size of a pair in bytes.
pub fn pair_bytes(text: &[u8]) -> usize {
    // Of the score, as a text of up to 24 characters.
    const SCORE_BYTES: usize = 26;
    Member::Text(text).stored_bytes().saturating_add(SCORE_BYTES)
}

/// Adds a member that is not there. The caller has checked [`pair_bytes`].
pub fn insert(bytes: &mut Vec<u8>, text: &[u8], score: f64) {
    let member = Member::of(text);
    let mut digits = Vec::new();
    let score_element = as_integer(score).map_or_else(
        || {
            push_double(&mut digits, score);
            Member::Text(&digits)
        },
        Member::Int,
    );
    let place = iter(bytes).find(|(_, other, other_score)| {
        in_order((*other, *other_score), (member, score)) == Ordering::Greater
    });
    match place {
        Some((at, ..)) => {
            listpack::insert(bytes, at, score_element);
            listpack::insert(bytes, at, member);
        }
        None => {
            listpack::append(bytes, member);
            listpack::append(bytes, score_element);
        }
    }
}

/// Removes members from a rank on.
pub fn remove_ranks(bytes: &mut Vec<u8>, rank: usize, count: usize) {
    if rank < len(bytes)
        && let Some(at) = listpack::seek(bytes, (rank * 2) as isize)
    {
        listpack::delete(bytes, at, count.saturating_mul(2));
    }
}

/// Checks a listpack from outside: pairs, with scores, in order. Duplicates are not looked for. Returns the number of members.
pub fn check(bytes: &[u8]) -> Result<usize, Invalid> {
    let elements = listpack::check(bytes)?;
    let members = elements / 2;
    if !elements.is_multiple_of(2) || iter(bytes).count() != members {
        return Err(Invalid::Malformed);
    }
    let mut last = None;
    for (_, member, score) in iter(bytes) {
        if last.is_some_and(|last| in_order(last, (member, score)) == Ordering::Greater) {
            return Err(Invalid::Malformed);
        }
        last = Some((member, score));
    }
    Ok(members)
}
