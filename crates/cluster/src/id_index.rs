//! Nodes by name.
//!
//! Each message names a tenth of all nodes, so this is what a node of a large cluster does most. A tree compares long
//! names at each level; this is a table of numbers, open addressing with linear probing, whose size is a power of two and
//! at least twice the number of names:
//!
//! ```text
//!   hash of 9f3c… ──▶ 5     place   4     5     6     7
//!   hash of c2d4… ──▶ 5             –   9f3c  c2d4    –       looked up until the name, or a free place
//! ```
//!
//! Names are chosen by nodes, so whoever is in the cluster may choose those that collide. That costs at most a look at
//! each node of the table, which has 16384 at most.

use crate::node_id::NodeId;

/// No name is here.
const FREE: u16 = 0;

/// A name was here: those behind it are still to be found.
const REMOVED: u16 = u16::MAX;

/// Numbers of nodes by their names, which are kept elsewhere.
#[derive(Clone, Debug)]
pub struct IdIndex {
    /// A number and one, `FREE` or `REMOVED`.
    places: Vec<u16>,
    len: usize,
    /// Places that are not free.
    used: usize,
}

impl IdIndex {
    /// Creates an index without names.
    pub fn new() -> IdIndex {
        IdIndex { places: vec![FREE; 16], len: 0, used: 0 }
    }

    /// Returns how many names there are.
    pub fn len(&self) -> usize {
        self.len
    }

    fn first_place(&self, id: &NodeId) -> usize {
        let words = id.as_bytes().as_chunks::<8>().0;
        let mix = |hash: u64, word: &[u8; 8]| {
            (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
        };
        let hash = words.iter().fold(0, mix);
        // It is less than the length, a power of two.
        (hash >> 32) as usize & (self.places.len() - 1)
    }

    /// Returns the places in which a name may be, up to the first free one.
    fn places_of(&self, id: &NodeId) -> impl Iterator<Item = (usize, u16)> {
        let (first, mask) = (self.first_place(id), self.places.len() - 1);
        // At least half of the places are free.
        let places = (first..).map(move |place| (place & mask, self.places[place & mask]));
        places.take_while(|(_, content)| *content != FREE)
    }

    /// Returns the number of a name. `is_named` says whether a number has this name.
    pub fn find(&self, id: &NodeId, is_named: impl Fn(u16) -> bool) -> Option<u16> {
        let numbers = self.places_of(id).filter(|(_, content)| *content != REMOVED);
        numbers.map(|(_, content)| content - 1).find(|number| is_named(*number))
    }

    /// Removes a name that has this number.
    pub fn remove(&mut self, id: &NodeId, number: u16) {
        let place = self.places_of(id).find(|(_, content)| *content == number + 1);
        if let Some((place, _)) = place {
            self.places[place] = REMOVED;
            self.len -= 1;
        }
    }

    /// Adds a name that is not there. Returns whether there was room: the caller makes it with [`IdIndex::rebuild`].
    #[must_use]
    pub fn insert(&mut self, id: &NodeId, number: u16) -> bool {
        if (self.used + 1) * 2 > self.places.len() {
            return false;
        }
        let (mut place, mask) = (self.first_place(id), self.places.len() - 1);
        while self.places[place] != FREE {
            place = (place + 1) & mask;
        }
        self.places[place] = number + 1;
        (self.len, self.used) = (self.len + 1, self.used + 1);
        true
    }

    /// Begins anew with these names.
    pub fn rebuild<'a>(&mut self, names: impl Iterator<Item = (&'a NodeId, u16)> + Clone) {
        let count = names.clone().count();
        let places = (count * 4).next_power_of_two().max(16);
        *self = IdIndex { places: vec![FREE; places], len: 0, used: 0 };
        for (id, number) in names {
            // A quarter of the places is taken.
            _ = self.insert(id, number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_until_they_are_removed() {
        let name = |n: u16| NodeId::parse(format!("{n:040x}").as_bytes()).unwrap();
        let names: Vec<NodeId> = (0..1000).map(name).collect();
        let mut index = IdIndex::new();
        for n in 0..1000_u16 {
            let known = (0..=n).map(|n| (&names[usize::from(n)], n));
            if !index.insert(&names[usize::from(n)], n) {
                index.rebuild(known);
            }
            assert_eq!(index.len(), usize::from(n) + 1);
        }
        let find = |index: &IdIndex, n: u16| {
            index.find(&name(n), |number| names[usize::from(number)] == name(n))
        };
        assert!((0..1000).all(|n| find(&index, n) == Some(n)));
        assert_eq!(find(&index, 1000), None);
        (0..1000).filter(|n| n % 2 == 1).for_each(|n| index.remove(&name(n), n));
        assert_eq!(index.len(), 500);
        assert!((0..1000).all(|n| find(&index, n).is_some() == (n % 2 == 0)));
    }
}
