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
//! element, or the one whose last element is not less than another.
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

    /// Returns its sum.
    fn summary(&self) -> Self::Summary;

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
        Part { sum: leaf.summary(), node: Arc::new(Node::Leaf(leaf)) }
    }

    fn inner(parts: Vec<Part<L>>) -> Part<L> {
        Part { sum: sum_of(&parts), node: Arc::new(Node::Inner(parts)) }
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
        let mut before = L::Summary::default();
        let mut part = self.root.as_ref()?;
        loop {
            match &*part.node {
                Node::Leaf(leaf) => return Some((leaf, before)),
                Node::Inner(parts) => part = &parts[choose(parts, &mut before, is_within)],
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
                    let index = choose(parts, &mut before, is_within);
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
        let mut root = self.root.take().unwrap_or_else(|| Part::leaf(L::default()));
        let before = L::Summary::default();
        let changed = change_part(&mut root, before, is_within, &mut self.inner, change);
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

/// Returns the index of the part in which a place is, and adds the sum of those in front of it.
fn choose<L: Leaf>(
    parts: &[Part<L>],
    before: &mut L::Summary,
    is_within: &mut dyn FnMut(&L::Summary, &L::Summary) -> bool,
) -> usize {
    let last = parts.len() - 1;
    for (index, part) in parts[..last].iter().enumerate() {
        if is_within(before, &part.sum) {
            return index;
        }
        before.add(&part.sum);
    }
    last
}

fn change_part<L: Leaf, R>(
    part: &mut Part<L>,
    mut before: L::Summary,
    is_within: &mut dyn FnMut(&L::Summary, &L::Summary) -> bool,
    inner: &mut usize,
    change: impl FnOnce(&mut L, &L::Summary, &mut Beside<L>) -> R,
) -> Changed<L, R> {
    match Arc::make_mut(&mut part.node) {
        Node::Leaf(leaf) => {
            let changed = change_leaf(leaf, &before, change);
            part.sum = leaf.summary();
            changed
        }
        Node::Inner(parts) => {
            let index = choose(parts, &mut before, is_within);
            let below = change_part(&mut parts[index], before, is_within, inner, change);
            let Changed { result, before, after, fate } = below;
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
            Changed { result, before: Vec::new(), after, fate }
        }
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
                true
            }
            (Node::Inner(one), Node::Inner(next)) => {
                one.extend(next.iter().cloned());
                let half = one.len() / 2;
                let rest = if one.len() > PARTS_MAX { one.split_off(half) } else { Vec::new() };
                left.sum = sum_of(one);
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
mod tests {
    use super::*;

    const LARGE: usize = 8;

    #[derive(Clone, Default, Debug, PartialEq)]
    struct Numbers(Vec<u32>);

    #[derive(Clone, Default, Debug, PartialEq)]
    struct Count {
        elements: usize,
        leaves: usize,
    }

    impl Summary for Count {
        fn add(&mut self, next: &Count) {
            self.elements += next.elements;
            self.leaves += next.leaves;
        }
    }

    impl Leaf for Numbers {
        type Summary = Count;

        fn summary(&self) -> Count {
            Count { elements: self.0.len(), leaves: 1 }
        }

        fn is_empty(&self) -> bool {
            self.0.is_empty()
        }

        fn is_large(&self) -> bool {
            self.0.len() > LARGE
        }

        fn is_small(&self) -> bool {
            self.0.len() < LARGE / 4
        }

        fn split(&mut self) -> Numbers {
            Numbers(self.0.split_off(self.0.len() / 2))
        }

        fn fits(&self, next: &Numbers) -> bool {
            self.0.len() + next.0.len() <= LARGE
        }

        fn join(&mut self, next: &Numbers) {
            self.0.extend(&next.0);
        }
    }

    impl Tree<Numbers> {
        fn at(index: usize) -> impl FnMut(&Count, &Count) -> bool {
            move |before, part| index < before.elements + part.elements
        }

        fn insert(&mut self, index: usize, number: u32) {
            // Behind the last element of a leaf, not in front of the first of the next.
            let mut is_within =
                |before: &Count, part: &Count| index <= before.elements + part.elements;
            self.change(&mut is_within, |leaf, before, _| {
                leaf.0.insert(index - before.elements, number);
            });
        }

        fn remove(&mut self, index: usize) -> u32 {
            self.change(&mut Self::at(index), |leaf, before, _| {
                leaf.0.remove(index - before.elements)
            })
        }

        fn content(&self) -> Vec<u32> {
            self.leaves().flat_map(|leaf| leaf.0.clone()).collect()
        }

        /// Checks sums, depths, sizes and counts.
        fn check(&self) {
            let Some(root) = &self.root else { return assert_eq!(self.inner, 0) };
            let mut inner = 0;
            let depth = check_part(root, true, &mut inner);
            assert_eq!(inner, self.inner);
            let leaves = self.leaves().count();
            assert_eq!(self.summary().leaves, leaves);
            assert!(depth <= 2 || leaves > PARTS_MIN.pow(depth - 1) / 2, "{leaves} at {depth}");
            let (mut backwards, _) = self.leaves_from(&mut |_, _| false);
            let mut reversed: Vec<Vec<u32>> =
                std::iter::from_fn(|| backwards.next_back()).map(|leaf| leaf.0.clone()).collect();
            reversed.reverse();
            assert_eq!(reversed.concat(), self.content());
        }
    }

    fn check_part(part: &Part<Numbers>, is_root: bool, inner: &mut usize) -> u32 {
        match &*part.node {
            Node::Leaf(leaf) => {
                assert_eq!(part.sum, leaf.summary());
                assert!(!leaf.is_empty() && !leaf.is_large());
                1
            }
            Node::Inner(parts) => {
                *inner += 1;
                assert_eq!(part.sum, sum_of(parts));
                assert!(parts.len() <= PARTS_MAX && parts.len() >= if is_root { 2 } else { 1 });
                let depths: Vec<u32> =
                    parts.iter().map(|part| check_part(part, false, inner)).collect();
                assert!(depths.iter().all(|depth| *depth == depths[0]));
                depths[0] + 1
            }
        }
    }

    /// A generator for tests.
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, end: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 33) as usize % end.max(1)
        }
    }

    #[test]
    fn it_is_the_sequence_that_std_has() {
        for seed in 0..20 {
            let mut draw = Draw(seed);
            let (mut tree, mut model) = (Tree::<Numbers>::default(), Vec::new());
            let (mut copy, mut copied) = (tree.clone(), model.clone());
            for step in 0..4_000_usize {
                let shrinks = (step / 1_000) % 2 == 1;
                match draw.below(10) {
                    0..4 if shrinks && !model.is_empty() => {
                        let index = draw.below(model.len());
                        assert_eq!(tree.remove(index), model.remove(index));
                    }
                    4..7 => {
                        let number = step as u32;
                        tree.push(Numbers(vec![number]));
                        model.push(number);
                    }
                    7 if !model.is_empty() => {
                        let index = draw.below(model.len());
                        let found = tree.find(&mut Tree::at(index));
                        let (leaf, before) = found.expect("it is there");
                        assert_eq!(leaf.0[index - before.elements], model[index]);
                        let (leaves, before) = tree.leaves_from(&mut Tree::at(index));
                        let rest: Vec<u32> = leaves.flat_map(|leaf| leaf.0.clone()).collect();
                        assert_eq!(rest, model[before.elements..]);
                    }
                    8 if shrinks && !model.is_empty() => {
                        // A whole leaf at once, and much in its place.
                        let index = draw.below(model.len());
                        let many = draw.below(60);
                        let place = tree.change(&mut Tree::at(index), |leaf, before, beside| {
                            let old = std::mem::take(&mut leaf.0).len();
                            beside.before = Some(Numbers(vec![1; many]));
                            beside.after = Some(Numbers(vec![2; many / 2]));
                            (before.elements, old)
                        });
                        let new = [vec![1; many], vec![2; many / 2]].concat();
                        model.splice(place.0..place.0 + place.1, new);
                    }
                    _ => {
                        let index = draw.below(model.len() + 1);
                        tree.insert(index, step as u32);
                        model.insert(index, step as u32);
                    }
                }
                if step % 97 == 0 {
                    tree.check();
                    assert_eq!(tree.content(), model);
                    assert_eq!(tree.summary().elements, model.len());
                    // Copies are not changed with what they were copied from.
                    assert_eq!(copy.content(), copied);
                    copy.check();
                    if draw.below(3) == 0 {
                        (copy, copied) = (tree.clone(), model.clone());
                    }
                }
            }
            while !model.is_empty() {
                let index = draw.below(model.len());
                assert_eq!(tree.remove(index), model.remove(index));
            }
            tree.check();
            assert!(tree.is_empty() && tree.allocated_bytes(0) == 0);
            assert_eq!(copy.content(), copied);
        }
    }

    #[test]
    fn leaves_that_are_appended_stay_full() {
        let mut tree = Tree::<Numbers>::default();
        for _ in 0..10_000 {
            tree.push(Numbers(vec![7; LARGE]));
        }
        tree.check();
        assert_eq!(tree.summary(), Count { elements: 10_000 * LARGE, leaves: 10_000 });
    }

    #[test]
    fn a_change_beside_a_copy_copies_the_way_to_a_leaf_only() {
        let mut tree = Tree::<Numbers>::default();
        (0..10_000).for_each(|number| tree.push(Numbers(vec![number; LARGE])));
        let copy = tree.clone();
        tree.remove(40_000);
        let shared = tree.leaves().zip(copy.leaves()).filter(|(a, b)| std::ptr::eq(*a, *b));
        assert_eq!(shared.count(), 9_999);
    }
}
