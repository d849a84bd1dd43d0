//! A set of slots.

use std::fmt;
use std::ops::RangeInclusive;

use russet_protocol::slot::SLOTS;

/// Length of the set in messages, in bytes.
pub const BITMAP_BYTES: usize = SLOTS as usize / 8;

const WORDS: usize = SLOTS as usize / 64;

/// A set of slots: a bit for each, as in messages of the bus.
///
/// ```text
///   byte    0         1                   2047
///   slot    7 … 1 0   15 … 9 8      …     16383 … 16376
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SlotBitmap(Box<[u64; WORDS]>);

impl Default for SlotBitmap {
    fn default() -> SlotBitmap {
        SlotBitmap(Box::new([0; WORDS]))
    }
}

impl SlotBitmap {
    /// Reads a set from a message.
    pub fn from_bytes(bytes: &[u8; BITMAP_BYTES]) -> SlotBitmap {
        let mut set = SlotBitmap::default();
        for (word, bytes) in set.0.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        set
    }

    /// Appends the set as it is in messages.
    pub fn push_bytes(&self, out: &mut Vec<u8>) {
        self.0.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    /// Whether the set has a slot.
    pub fn contains(&self, slot: u16) -> bool {
        self.0[usize::from(slot / 64)] & (1 << (slot % 64)) != 0
    }

    /// Adds a slot. Returns whether it is new.
    pub fn insert(&mut self, slot: u16) -> bool {
        let is_new = !self.contains(slot);
        self.0[usize::from(slot / 64)] |= 1 << (slot % 64);
        is_new
    }

    /// Removes a slot. Returns whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let was_there = self.contains(slot);
        self.0[usize::from(slot / 64)] &= !(1 << (slot % 64));
        was_there
    }

    /// Returns the number of slots.
    pub fn len(&self) -> u16 {
        self.0.iter().map(|word| word.count_ones() as u16).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    /// Returns the slots in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.0.iter().zip(0u16..).flat_map(|(&word, index)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as u16)?;
                rest &= rest - 1;
                Some(index * 64 + bit)
            })
        })
    }

    /// Returns the slots as ranges, in order.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> + '_ {
        let mut slots = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = slots.next()?;
            let mut last = first;
            while slots.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            Some(first..=last)
        })
    }
}

impl FromIterator<u16> for SlotBitmap {
    fn from_iter<T: IntoIterator<Item = u16>>(slots: T) -> SlotBitmap {
        let mut set = SlotBitmap::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for SlotBitmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_bits_with_the_lowest_first() {
        let mut set: SlotBitmap = [0, 1, 9, 16383].into_iter().collect();
        let mut bytes = Vec::new();
        set.push_bytes(&mut bytes);
        assert_eq!((bytes[0], bytes[1], bytes[2047], bytes.len()), (3, 2, 128, BITMAP_BYTES));
        assert_eq!(SlotBitmap::from_bytes(&bytes.try_into().unwrap()), set);
        assert!(
            set.contains(9) && set.remove(9) && !set.remove(9) && set.insert(9) && !set.insert(9)
        );
        assert_eq!((set.len(), set.is_empty()), (4, false));
    }

    #[test]
    fn ranges_cover_what_is_in_the_set() {
        let set: SlotBitmap = (60..=70).chain([0, 128, 16382, 16383]).collect();
        let ranges: Vec<_> = set.ranges().collect();
        assert_eq!(ranges, [0..=0, 60..=70, 128..=128, 16382..=16383]);
        assert_eq!(set.iter().count(), 15);
        let all: SlotBitmap = (0..SLOTS).collect();
        assert_eq!(all.ranges().collect::<Vec<_>>(), [0..=16383]);
    }
}
