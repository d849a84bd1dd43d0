//! Sequences as trees: any place is found in logarithmic time, and a copy takes constant time.
//!
//! ```text
//!              ┌───────┬───────┐             sums of what is below: how many elements, say, or the last one
//!              │ 7 │ ● │ 4 │ ● │
//!              └─────┼─┴─────┼─┘
//!         ┌──────────┘       └──────────┐
//!   ┌─────┴─┬───────┐             ┌─────┴─┬───────┐
//!   │ 4 │ ● │ 3 │ ● │             │ 2 │ ● │ 2 │ ● │
//!   └─────┼─┴─────┼─┘             └─────┼─┴─────┼─┘
//!       a b c d  e f g                 h i     j k     leaves: some elements each, as their type likes it
//! ```
//!
//! A [`Leaf`] holds elements in a row and sums them up ([`Summary`]); a tree knows no more of them. To find a place is to go
//! down from the root, each time into the part in which a function of the sums says that it is: the one with the n-th
//! element, say. In a sorted sequence each part also has the [`Leaf::Key`] of its last element, and a place is found by binary
//! search.
//!
//! Nodes are counted references, and a node with a single owner is changed in place. A copy of the tree shares all of them, and
//! then a change first copies the nodes on the way to its leaf. So a snapshot is a copy: it costs nothing when it is taken, and
//! what changes while it is kept costs a leaf each time.

use std::sync::Arc;

use crate::size::class_size;

/// Maximum number of parts of a node that is no leaf.
const PARTS_MAX: usize = 32;

/// A node with fewer parts shares those of a neighbour.
const PARTS_MIN: usize = PARTS_MAX / 4;

/// What is counted beside a node: strong and weak references.
const COUNTS_BYTES: usize = 2 * size_of::<usize>();

/// The sum of a part of a sequence.
pub trait Summary: Clone + Default {
    /// Adds that of the part that follows.
    fn add(&mut self, next: &Self);
}

/// Some elements in a row.
pub trait Leaf: Clone + Default {
    /// Its sum.
    type Summary: Summary;

    /// By what a sorted sequence is searched; `()` if it is not sorted.
    type Key: Clone + Default;

    /// Returns its sum.
    fn summary(&self) -> Self::Summary;

    /// Sets the key to that of its last element. It is not empty.
    fn update_key(&self, key: &mut Self::Key) {
        let _ = key;
    }

    /// Whether it has no elements: it is removed.
    fn is_empty(&self) -> bool;

    /// Whether it must be split; never if it has a single element.
    fn is_large(&self) -> bool;

    /// Whether it should be joined with a neighbour.
    fn is_small(&self) -> bool;

    /// Splits it, and returns the second half.
    #[must_use]
    fn split(&mut self) -> Self;

    /// Whether a leaf that follows can be joined to it.
    fn fits(&self, next: &Self) -> bool;

    /// Appends the elements of a leaf that follows and fits.
    fn join(&mut self, next: &Self);
}

/// Leaves to put beside one that is changed.
#[derive(Debug)]
pub struct Beside<L> {
    /// In front of it.
    pub before: Option<L>,
    /// Behind it.
    pub after: Option<L>,
}

/// A sequence. See the module.
#[derive(Clone)]
pub struct Tree<L: Leaf> {
    root: Option<Part<L>>,
    /// Nodes that are no leaves.
    inner: usize,
}

#[derive(Clone)]
struct Part<L: Leaf> {
    sum: L::Summary,
    /// That of its last element.
    key: L::Key,
    node: Arc<Node<L>>,
}

#[derive(Clone)]
enum Node<L: Leaf> {
    Leaf(L),
    Inner(Vec<Part<L>>),
}

/// What has become of a part that was changed.
struct Changed<L: Leaf, R> {
    result: R,
    before: Vec<Part<L>>,
    after: Vec<Part<L>>,
    fate: Fate,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    IsSmall,
    IsEmpty,
}

impl<L: Leaf> std::fmt::Debug for Tree<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tree").field("leaves", &self.leaves().count()).finish()
    }
}

impl<L: Leaf> Default for Tree<L> {
    fn default() -> Tree<L> {
        Tree { root: None, inner: 0 }
    }
}

impl<L: Leaf> Part<L> {
    fn leaf(leaf: L) -> Part<L> {
        let mut key = L::Key::default();
        if !leaf.is_empty() {
            leaf.update_key(&mut key);
        }
        Part { sum: leaf.summary(), key, node: Arc::new(Node::Leaf(leaf)) }
    }

    fn inner(parts: Vec<Part<L>>) -> Part<L> {
        let key = last_key(&parts).cloned().unwrap_or_default();
        Part { sum: sum_of(&parts), key, node: Arc::new(Node::Inner(parts)) }
    }
}

fn last_key<L: Leaf>(parts: &[Part<L>]) -> Option<&L::Key> {
    parts.last().map(|part| &part.key)
}

/// Chooses the part of a node in which a place is, and adds the sum of those in front of it.
trait Seek<L: Leaf> {
    fn choose(&mut self, parts: &[Part<L>], before: &mut L::Summary) -> usize;
}

/// By sums: see [`Tree::find`].
struct BySum<'f, S>(&'f mut dyn FnMut(&S, &S) -> bool);

impl<L: Leaf> Seek<L> for BySum<'_, L::Summary> {
    fn choose(&mut self, parts: &[Part<L>], before: &mut L::Summary) -> usize {
        let last = parts.len() - 1;
        for (index, part) in parts[..last].iter().enumerate() {
            if (self.0)(before, &part.sum) {
                return index;
            }
            before.add(&part.sum);
        }
        last
    }
}

/// By keys: see [`Tree::find_key`].
struct ByKey<'f, K>(&'f mut dyn FnMut(&K) -> bool);

impl<L: Leaf> Seek<L> for ByKey<'_, L::Key> {
    fn choose(&mut self, parts: &[Part<L>], before: &mut L::Summary) -> usize {
        let last = parts.len() - 1;
        let index = parts[..last].partition_point(|part| (self.0)(&part.key));
        parts[..index].iter().for_each(|part| before.add(&part.sum));
        index
    }
}

fn sum_of<L: Leaf>(parts: &[Part<L>]) -> L::Summary {
    let mut sum = L::Summary::default();
    parts.iter().for_each(|part| sum.add(&part.sum));
    sum
}

impl<L: Leaf> Tree<L> {
    /// Returns the sum of all elements.
    #[must_use]
    pub fn summary(&self) -> L::Summary {
        self.root.as_ref().map(|root| root.sum.clone()).unwrap_or_default()
    }

    /// Whether there are no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// Returns the memory of its nodes in bytes, without what `leaves` leaves have of their own.
    #[must_use]
    pub fn allocated_bytes(&self, leaves: usize) -> usize {
        let node = class_size(COUNTS_BYTES + size_of::<Node<L>>());
        let parts = class_size((PARTS_MAX + 1) * size_of::<Part<L>>());
        (leaves + self.inner) * node + self.inner * parts
    }

    /// Returns the leaf of a place, and the sum of what is in front of it; none if there are no elements. `is_within` is given
    /// the sum of what is in front of a part, and that of the part; if it is false for all, the place is in the last one.
    pub fn find(
        &self,
        is_within: &mut dyn FnMut(&L::Summary, &L::Summary) -> bool,
    ) -> Option<(&L, L::Summary)> {
        self.seek(&mut BySum(is_within))
    }

    /// Returns the leaf of a place in a sorted sequence, and the sum of what is in front of it; none if there are no elements.
    /// `is_before` is given keys, and tells whether they are in front of the place: the leaf is the first one whose last key is
    /// not, or the last one.
    pub fn find_key(&self, is_before: &mut dyn FnMut(&L::Key) -> bool) -> Option<(&L, L::Summary)> {
        self.seek(&mut ByKey(is_before))
    }

    #[inline]
    fn seek(&self, place: &mut impl Seek<L>) -> Option<(&L, L::Summary)> {
        let mut before = L::Summary::default();
        let mut part = self.root.as_ref()?;
        loop {
            match &*part.node {
                Node::Leaf(leaf) => return Some((leaf, before)),
                Node::Inner(parts) => part = &parts[place.choose(parts, &mut before)],
            }
        }
    }

    /// Iterates over the leaves.
    pub fn leaves(&self) -> Leaves<'_, L> {
        self.leaves_from(&mut |_, _| true).0
    }

    /// Iterates over the leaves from that of a place on, and returns the sum of what is in front of it. See [`Tree::find`].
    pub fn leaves_from(
        &self,
        is_within: &mut dyn FnMut(&L::Summary, &L::Summary) -> bool,
    ) -> (Leaves<'_, L>, L::Summary) {
        self.iterate(&mut BySum(is_within))
    }

    /// Iterates over the leaves from that of a place on, and returns the sum of what is in front of it. See [`Tree::find_key`].
    pub fn leaves_from_key(
        &self,
        is_before: &mut dyn FnMut(&L::Key) -> bool,
    ) -> (Leaves<'_, L>, L::Summary) {
        self.iterate(&mut ByKey(is_before))
    }

    fn iterate(&self, place: &mut impl Seek<L>) -> (Leaves<'_, L>, L::Summary) {
        let mut before = L::Summary::default();
        let (mut path, mut next) = (Vec::new(), None);
        let mut part = self.root.as_ref();
        while let Some(at) = part {
            match &*at.node {
                Node::Leaf(leaf) => {
                    next = Some(leaf);
                    break;
                }
                Node::Inner(parts) => {
                    let index = place.choose(parts, &mut before);
                    path.push((parts.as_slice(), index));
                    part = parts.get(index);
                }
            }
        }
        (Leaves { path, next }, before)
    }

    /// Lends the leaf of a place to `change`, with the sum of what is in front of it. A tree without elements has an empty
    /// one. See [`Tree::find`].
    pub fn change<R>(
        &mut self,
        is_within: &mut dyn FnMut(&L::Summary, &L::Summary) -> bool,
        change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
    ) -> R {
        self.change_at(&mut BySum(is_within), change)
    }

    /// Lends the leaf of a place in a sorted sequence to `change`. See [`Tree::find_key`] and [`Tree::change`].
    pub fn change_key<R>(
        &mut self,
        is_before: &mut dyn FnMut(&L::Key) -> bool,
        change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
    ) -> R {
        self.change_at(&mut ByKey(is_before), change)
    }

    fn change_at<R>(
        &mut self,
        place: &mut impl Seek<L>,
        change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
    ) -> R {
        let mut root = self.root.take().unwrap_or_else(|| Part::leaf(L::default()));
        let before = L::Summary::default();
        let changed = change_part(&mut root, before, place, &mut self.inner, change);
        let Changed { result, before, after, fate } = changed;
        let mut parts = before;
        if fate != Fate::IsEmpty {
            parts.push(root);
        }
        parts.extend(after);
        while parts.len() > 1 {
            let chunks = in_chunks(parts);
            self.inner += chunks.len();
            parts = chunks.into_iter().map(Part::inner).collect();
        }
        self.root = parts.pop();
        self.lower_root();
        result
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: L) {
        self.change(&mut |_, _| false, |last, _, beside| match last.is_empty() {
            true => *last = leaf,
            false => beside.after = Some(leaf),
        });
    }

    /// Removes roots with a single part.
    fn lower_root(&mut self) {
        while let Some(root) = &self.root
            && let Node::Inner(parts) = &*root.node
            && let [only] = parts.as_slice()
        {
            self.root = Some(only.clone());
            self.inner -= 1;
        }
    }
}

fn change_part<L: Leaf, R>(
    part: &mut Part<L>,
    mut before: L::Summary,
    place: &mut impl Seek<L>,
    inner: &mut usize,
    change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
) -> Changed<L, R> {
    match Arc::make_mut(&mut part.node) {
        Node::Leaf(leaf) => {
            let changed = change_leaf(leaf, &before, change);
            part.sum = leaf.summary();
            if changed.fate != Fate::IsEmpty {
                leaf.update_key(&mut part.key);
            }
            changed
        }
        Node::Inner(parts) => {
            let index = place.choose(parts, &mut before);
            let below = change_part(&mut parts[index], before, place, inner, change);
            let Changed { result, before, after, fate } = below;
            make_room(parts, before.len() + after.len());
            let end = index + 1;
            parts.splice(end..end, after);
            if fate == Fate::IsEmpty {
                parts.remove(index);
            }
            let first = index + before.len();
            parts.splice(index..index, before);
            if fate == Fate::IsSmall {
                join_with_neighbour(parts, first, inner);
            }
            let mut after = Vec::new();
            if parts.len() > PARTS_MAX {
                let mut chunks = in_chunks(std::mem::take(parts)).into_iter();
                *parts = chunks.next().unwrap_or_default();
                after.extend(chunks.map(Part::inner));
            }
            *inner += after.len();
            let fate = match parts.len() {
                0 => Fate::IsEmpty,
                1..PARTS_MIN => Fate::IsSmall,
                _ => Fate::Stays,
            };
            *inner -= usize::from(fate == Fate::IsEmpty);
            part.sum = sum_of(parts);
            if let Some(key) = last_key(parts) {
                part.key.clone_from(key);
            }
            Changed { result, before: Vec::new(), after, fate }
        }
    }
}

/// Makes room for parts, for as many as a node may have.
fn make_room<L: Leaf>(parts: &mut Vec<Part<L>>, more: usize) {
    let len = parts.len() + more;
    if len > parts.capacity() {
        parts.reserve_exact(len.max(PARTS_MAX + 1) - parts.len());
    }
}

fn change_leaf<L: Leaf, R>(
    leaf: &mut L,
    before: &L::Summary,
    change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
) -> Changed<L, R> {
    let mut beside = Beside { before: None, after: None };
    let result = change(leaf, before, &mut beside);
    let mut after = halves(leaf);
    let all = |leaf: Option<L>| {
        let mut leaf = leaf?;
        let rest = halves(&mut leaf);
        (!leaf.is_empty()).then(|| std::iter::once(Part::leaf(leaf)).chain(rest))
    };
    after.extend(all(beside.after).into_iter().flatten());
    let before: Vec<Part<L>> = all(beside.before).into_iter().flatten().collect();
    let fate = match (leaf.is_empty(), leaf.is_small()) {
        (true, _) => Fate::IsEmpty,
        (false, true) => Fate::IsSmall,
        (false, false) => Fate::Stays,
    };
    Changed { result, before, after, fate }
}

/// Splits a leaf until no part is large, and returns all but the first.
fn halves<L: Leaf>(leaf: &mut L) -> Vec<Part<L>> {
    let mut parts = Vec::new();
    while leaf.is_large() {
        let mut second = leaf.split();
        let rest = halves(&mut second);
        parts.splice(0..0, std::iter::once(Part::leaf(second)).chain(rest));
    }
    parts
}

/// Divides parts into nodes of similar size, as few as can hold them.
fn in_chunks<L: Leaf>(mut parts: Vec<Part<L>>) -> Vec<Vec<Part<L>>> {
    let count = parts.len().div_ceil(PARTS_MAX);
    let mut chunks = Vec::with_capacity(count);
    for left in (1..count).rev() {
        let first = parts.len() / (left + 1);
        let rest = parts.split_off(first);
        // It may not grow again for long.
        parts.shrink_to_fit();
        chunks.push(std::mem::replace(&mut parts, rest));
    }
    if count > 0 {
        chunks.push(parts);
    }
    chunks
}

/// Joins a part that is small with the one in front of it or behind it, or takes some of its parts.
fn join_with_neighbour<L: Leaf>(parts: &mut Vec<Part<L>>, index: usize, inner: &mut usize) {
    let pairs = [index.checked_sub(1), Some(index).filter(|index| index + 1 < parts.len())];
    for first in pairs.into_iter().flatten() {
        let (left, right) = parts.split_at_mut(first + 1);
        let (left, right) = (&mut left[first], &mut right[0]);
        match (&*left.node, &*right.node) {
            (Node::Leaf(one), Node::Leaf(next)) if !one.fits(next) => continue,
            _ => {}
        }
        let is_gone = match (Arc::make_mut(&mut left.node), &*right.node) {
            (Node::Leaf(one), Node::Leaf(next)) => {
                one.join(next);
                left.sum = one.summary();
                left.key.clone_from(&right.key);
                true
            }
            (Node::Inner(one), Node::Inner(next)) => {
                one.extend(next.iter().cloned());
                let half = one.len() / 2;
                let rest = if one.len() > PARTS_MAX { one.split_off(half) } else { Vec::new() };
                left.sum = sum_of(one);
                if let Some(key) = last_key(one) {
                    left.key.clone_from(key);
                }
                let is_gone = rest.is_empty();
                *inner -= usize::from(is_gone);
                if !is_gone {
                    *right = Part::inner(rest);
                }
                is_gone
            }
            _ => unreachable!("all leaves are equally deep"),
        };
        if is_gone {
            parts.remove(first + 1);
        }
        return;
    }
}

/// Iterates over leaves, forwards or backwards.
pub struct Leaves<'a, L: Leaf> {
    /// The nodes on the way to the next leaf, with the index of the part that was taken.
    path: Vec<(&'a [Part<L>], usize)>,
    next: Option<&'a L>,
}

impl<L: Leaf> std::fmt::Debug for Leaves<'_, L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leaves").field("depth", &self.path.len()).finish()
    }
}

impl<'a, L: Leaf> Leaves<'a, L> {
    /// Returns the next leaf in front of the last one that was returned, or that the iteration began with.
    pub fn next_back(&mut self) -> Option<&'a L> {
        let leaf = self.next?;
        self.step(false);
        Some(leaf)
    }

    fn step(&mut self, forwards: bool) {
        self.next = None;
        // Up to a node that has another part in this direction, and down to the nearest leaf.
        while let Some((parts, index)) = self.path.pop() {
            let index = match forwards {
                true => Some(index + 1).filter(|index| *index < parts.len()),
                false => index.checked_sub(1),
            };
            let Some(index) = index else { continue };
            self.path.push((parts, index));
            let mut part = &parts[index];
            loop {
                match &*part.node {
                    Node::Leaf(leaf) => {
                        self.next = Some(leaf);
                        return;
                    }
                    Node::Inner(parts) => {
                        let index = if forwards { 0 } else { parts.len() - 1 };
                        self.path.push((parts, index));
                        part = &parts[index];
                    }
                }
            }
        }
    }
}

impl<'a, L: Leaf> Iterator for Leaves<'a, L> {
    type Item = &'a L;

    fn next(&mut self) -> Option<&'a L> {
        let leaf = self.next?;
        self.step(true);
        Some(leaf)
    }
}

#[cfg(test)]
mod tests;
