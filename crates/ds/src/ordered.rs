//! Ordered maps as trees ([`crate::tree`]): a copy takes constant time, and a change beside a copy copies one leaf and the way
//! to it.
//!
//! ```text
//!                  ┌──────────┬──────────┐        the last key below, how many entries, what they own
//!                  │ c, 3 │ ● │ g, 4 │ ● │
//!                  └────────┼─┴────────┼─┘
//!        a → 1  b → 2  c → 3            d → 4  e → 5  f → 6  g → 7
//! ```
//!
//! Values may own memory themselves, even such maps: their sums are sums of all that is below ([`Weigh`]).

use std::borrow::Borrow;

use crate::size::class_size;
use crate::tree::{Leaf, Leaves, Summary, Tree};

/// Maximum number of entries of a leaf.
const RUN_MAX: usize = 32;

/// What a key or a value owns beside its own bytes.
pub trait Weigh {
    /// Memory in bytes.
    fn owned_bytes(&self) -> usize {
        0
    }

    /// Number of allocations to free, roughly.
    fn owned_parts(&self) -> usize {
        0
    }
}

impl Weigh for () {}

/// An ordered map. See the module.
#[derive(Clone, Debug)]
pub struct OrderedMap<K: Key, V: Value> {
    tree: Tree<Run<K, V>>,
}

/// What is required of a key.
pub trait Key: Ord + Clone + Weigh + std::fmt::Debug {}

impl<K: Ord + Clone + Weigh + std::fmt::Debug> Key for K {}

/// What is required of a value.
pub trait Value: Clone + Weigh + std::fmt::Debug {}

impl<V: Clone + Weigh + std::fmt::Debug> Value for V {}

/// A leaf: entries in the order of their keys.
#[derive(Clone, Debug)]
struct Run<K, V>(Vec<(K, V)>);

/// The sum of entries in a row.
#[derive(Clone, Debug)]
struct Sum<K> {
    last: Option<K>,
    len: usize,
    leaves: usize,
    bytes: usize,
    parts: usize,
}

impl<K> Default for Sum<K> {
    fn default() -> Sum<K> {
        Sum { last: None, len: 0, leaves: 0, bytes: 0, parts: 0 }
    }
}

impl<K: Clone> Summary for Sum<K> {
    fn add(&mut self, next: &Sum<K>) {
        if next.last.is_some() {
            self.last.clone_from(&next.last);
        }
        self.len += next.len;
        self.leaves += next.leaves;
        self.bytes += next.bytes;
        self.parts += next.parts;
    }
}

impl<K, V> Default for Run<K, V> {
    fn default() -> Run<K, V> {
        Run(Vec::new())
    }
}

impl<K: Key, V: Value> Leaf for Run<K, V> {
    type Summary = Sum<K>;
    type Key = ();

    fn summary(&self) -> Sum<K> {
        let owned = self.0.iter().map(|(key, value)| key.owned_bytes() + value.owned_bytes());
        let parts = self.0.iter().map(|(key, value)| key.owned_parts() + value.owned_parts());
        Sum {
            last: self.0.last().map(|(key, _)| key.clone()),
            len: self.0.len(),
            leaves: 1,
            bytes: class_size(self.0.capacity() * size_of::<(K, V)>()) + owned.sum::<usize>(),
            parts: 1 + parts.sum::<usize>(),
        }
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn is_large(&self) -> bool {
        self.0.len() > RUN_MAX
    }

    fn is_small(&self) -> bool {
        self.0.len() < RUN_MAX / 4
    }

    fn split(&mut self) -> Run<K, V> {
        Run(self.0.split_off(self.0.len() / 2))
    }

    fn fits(&self, next: &Run<K, V>) -> bool {
        self.0.len() + next.0.len() <= RUN_MAX
    }

    fn join(&mut self, next: &Run<K, V>) {
        self.0.extend(next.0.iter().cloned());
    }
}

/// Finds the leaf with the first key that is not less than this one.
fn reaches<K: Borrow<Q>, Q: Ord + ?Sized>(key: &Q) -> impl FnMut(&Sum<K>, &Sum<K>) -> bool {
    move |_, part| part.last.as_ref().is_some_and(|last| last.borrow() >= key)
}

/// Returns the index of a key among entries, or that at which it belongs.
fn position<K: Borrow<Q>, V, Q: Ord + ?Sized>(run: &[(K, V)], key: &Q) -> Result<usize, usize> {
    run.binary_search_by(|(other, _)| other.borrow().cmp(key))
}

impl<K: Key, V: Value> Default for OrderedMap<K, V> {
    fn default() -> OrderedMap<K, V> {
        OrderedMap { tree: Tree::default() }
    }
}

impl<K: Key, V: Value> OrderedMap<K, V> {
    /// Returns the number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tree.summary().len
    }

    /// Whether there are no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    /// Returns the memory of its nodes, and of what its entries own, in bytes.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        let sum = self.tree.summary();
        sum.bytes + self.tree.allocated_bytes(sum.leaves)
    }

    /// Returns the number of allocations to free, roughly.
    #[must_use]
    pub fn parts(&self) -> usize {
        self.tree.summary().parts
    }

    /// Returns the value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        self.get_entry(key).map(|(_, value)| value)
    }

    /// Returns an entry.
    pub fn get_entry<Q: Ord + ?Sized>(&self, key: &Q) -> Option<(&K, &V)>
    where
        K: Borrow<Q>,
    {
        let (run, _) = self.tree.find(&mut reaches(key))?;
        let (key, value) = &run.0[position(&run.0, key).ok()?];
        Some((key, value))
    }

    /// Returns the first entry.
    #[must_use]
    pub fn first(&self) -> Option<(&K, &V)> {
        self.iter().next()
    }

    /// Returns the last entry.
    #[must_use]
    pub fn last(&self) -> Option<(&K, &V)> {
        let (run, _) = self.tree.find(&mut |_, _| false)?;
        run.0.last().map(|(key, value)| (key, value))
    }

    /// Sets the value of a key. Returns the previous one.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let mut is_within = reaches::<K, K>(&key);
        // The key itself is moved into the leaf that it decides about.
        let wanted = key.clone();
        self.tree.change(&mut is_within, |run, _, beside| match position(&run.0, &wanted) {
            Ok(at) => Some(std::mem::replace(&mut run.0[at].1, value)),
            Err(at) if at == RUN_MAX => {
                // Keys that are appended leave full leaves behind.
                beside.after = Some(Run(vec![(wanted, value)]));
                None
            }
            Err(at) => {
                run.0.insert(at, (wanted, value));
                None
            }
        })
    }

    /// Removes a key. Returns its value.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.tree.change(&mut reaches(key), |run, _, _| {
            let at = position(&run.0, key).ok()?;
            Some(run.0.remove(at).1)
        })
    }

    /// Lends the value of a key to `change`; returns none, without calling it, if there is none.
    pub fn change<Q: Ord + ?Sized, R>(
        &mut self,
        key: &Q,
        change: impl FnOnce(&mut V) -> R,
    ) -> Option<R>
    where
        K: Borrow<Q>,
    {
        self.get(key)?;
        self.tree.change(&mut reaches(key), |run, _, _| {
            let at = position(&run.0, key).ok()?;
            Some(change(&mut run.0[at].1))
        })
    }

    /// Iterates over all entries in order.
    #[must_use]
    pub fn iter(&self) -> Iter<'_, K, V> {
        Iter { leaves: self.tree.leaves(), run: [].iter() }
    }

    /// Iterates over the entries from a key on, which need not be there.
    pub fn iter_from<Q: Ord + ?Sized>(&self, key: &Q) -> Iter<'_, K, V>
    where
        K: Borrow<Q>,
    {
        let (mut leaves, _) = self.tree.leaves_from(&mut reaches(key));
        let run = leaves.next().map_or(&[][..], |run| &run.0[..]);
        let from = position(run, key).unwrap_or_else(|at| at);
        Iter { leaves, run: run[from..].iter() }
    }
}

impl<'a, K: Key, V: Value> IntoIterator for &'a OrderedMap<K, V> {
    type Item = (&'a K, &'a V);
    type IntoIter = Iter<'a, K, V>;

    fn into_iter(self) -> Iter<'a, K, V> {
        self.iter()
    }
}

/// Iterates over entries in order.
#[derive(Debug)]
pub struct Iter<'a, K: Key, V: Value> {
    leaves: Leaves<'a, Run<K, V>>,
    run: std::slice::Iter<'a, (K, V)>,
}

impl<'a, K: Key, V: Value> Iterator for Iter<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<(&'a K, &'a V)> {
        loop {
            if let Some((key, value)) = self.run.next() {
                return Some((key, value));
            }
            self.run = self.leaves.next()?.0.iter();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    impl Weigh for u32 {
        fn owned_bytes(&self) -> usize {
            *self as usize % 7
        }
    }

    type Map = OrderedMap<u32, u32>;

    fn content(map: &Map) -> Vec<(u32, u32)> {
        map.iter().map(|(key, value)| (*key, *value)).collect()
    }

    /// Compares with the map of std, and the sums with what is there.
    fn check(map: &Map, model: &BTreeMap<u32, u32>) {
        assert_eq!(content(map), model.iter().map(|(k, v)| (*k, *v)).collect::<Vec<_>>());
        assert_eq!(map.len(), model.len());
        assert_eq!(map.first(), model.first_key_value());
        assert_eq!(map.last(), model.last_key_value());
        let sum = map.tree.summary();
        let runs: usize = map.tree.leaves().map(|run| class_size(run.0.capacity() * 8)).sum();
        let owned: usize = model.iter().map(|(k, v)| k.owned_bytes() + v.owned_bytes()).sum();
        assert_eq!((sum.bytes, sum.parts), (runs + owned, map.tree.leaves().count()));
    }

    #[test]
    fn it_is_the_map_that_std_has() {
        for seed in 0..20_u64 {
            let mut state = seed;
            let mut draw = |end: u32| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 33) as u32 % end
            };
            let (mut map, mut model) = (Map::default(), BTreeMap::new());
            let (mut copy, mut copied) = (map.clone(), model.clone());
            for step in 0..4_000_u32 {
                let (key, value) = (draw(600), draw(1_000));
                // It grows, shrinks, and grows again.
                let removes = (step / 1_000) % 2 == 1;
                match draw(8) {
                    0..4 if removes => assert_eq!(map.remove(&key), model.remove(&key)),
                    4 => {
                        let found = map.change(&key, |value| std::mem::replace(value, step));
                        let expected = model.get_mut(&key).map(|v| std::mem::replace(v, step));
                        assert_eq!(found, expected);
                    }
                    5 => {
                        let rest: Vec<_> = map.iter_from(&key).map(|(k, _)| *k).collect();
                        assert_eq!(rest, model.range(key..).map(|(k, _)| *k).collect::<Vec<_>>());
                        assert_eq!(map.get(&key), model.get(&key));
                    }
                    _ => assert_eq!(map.insert(key, value), model.insert(key, value)),
                }
                if step % 97 == 0 {
                    check(&map, &model);
                    check(&copy, &copied);
                    (copy, copied) = (map.clone(), model.clone());
                }
            }
            let keys: Vec<u32> = model.keys().copied().collect();
            keys.iter().for_each(|key| assert!(map.remove(key).is_some()));
            assert!(map.is_empty() && map.allocated_bytes() == 0 && map.first().is_none());
            check(&copy, &copied);
        }
    }

    #[test]
    fn keys_that_are_appended_leave_full_leaves() {
        let mut map = Map::default();
        (0..10_000).for_each(|key| _ = map.insert(key, 0));
        assert_eq!(map.tree.summary().leaves, 10_000_usize.div_ceil(RUN_MAX));
    }
}
