//! The tree against vectors of std, and the sizes and sums of its nodes.

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
    type Key = u32;

    fn summary(&self) -> Count {
        Count { elements: self.0.len(), leaves: 1 }
    }

    fn update_key(&self, key: &mut u32) {
        *key = *self.0.last().expect("it is not empty");
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
        let mut is_within = |before: &Count, part: &Count| index <= before.elements + part.elements;
        self.change(&mut is_within, |leaf, before, _| {
            leaf.0.insert(index - before.elements, number);
        });
    }

    fn remove(&mut self, index: usize) -> u32 {
        self.change(&mut Self::at(index), |leaf, before, _| leaf.0.remove(index - before.elements))
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
            assert_eq!(leaf.0.last(), Some(&part.key));
            assert!(!leaf.is_empty() && !leaf.is_large());
            1
        }
        Node::Inner(parts) => {
            *inner += 1;
            assert_eq!(part.sum, sum_of(parts));
            assert_eq!(last_key(parts), Some(&part.key));
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
fn a_sorted_sequence_is_searched_by_key() {
    let (mut draw, mut tree, mut model) = (Draw(7), Tree::<Numbers>::default(), Vec::new());
    for step in 0..6_000_usize {
        let number = draw.below(3_000) as u32;
        let place = model.partition_point(|&other| other < number);
        let is_there = model.get(place) == Some(&number);
        let before = |key: &u32| *key < number;
        if is_there && step > 3_000 {
            tree.change_key(&mut |key| before(key), |leaf, sum, _| {
                leaf.0.remove(place - sum.elements);
            });
            model.remove(place);
        } else if !is_there {
            tree.change_key(&mut |key| before(key), |leaf, sum, _| {
                leaf.0.insert(place - sum.elements, number);
            });
            model.insert(place, number);
        }
        if step % 97 == 0 {
            tree.check();
            assert_eq!(tree.content(), model);
            let (mut leaves, sum) = tree.leaves_from_key(&mut |key| before(key));
            assert_eq!(leaves.next(), tree.find_key(&mut |key| before(key)).map(|(leaf, _)| leaf));
            assert!(place >= sum.elements || model.is_empty());
        }
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
