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
///
/// A set that never had a slot takes no memory: most nodes of a cluster are replicas.
#[derive(Clone, Default)]
pub struct SlotBitmap(Option<Box<[u64; WORDS]>>);

static NONE: [u64; WORDS] = [0; WORDS];

impl PartialEq for SlotBitmap {
    fn eq(&self, other: &SlotBitmap) -> bool {
        self.words() == other.words()
    }
}

impl Eq for SlotBitmap {}

impl SlotBitmap {
    /// Reads a set from a message.
    pub fn from_bytes(bytes: &[u8; BITMAP_BYTES]) -> SlotBitmap {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        SlotBitmap((words != NONE).then(|| Box::new(words)))
    }

    fn words(&self) -> &[u64; WORDS] {
        self.0.as_deref().unwrap_or(&NONE)
    }

    fn word_of(&mut self, slot: u16) -> &mut u64 {
        &mut self.0.get_or_insert_with(|| Box::new(NONE))[usize::from(slot / 64)]
    }

    /// Appends the set as it is in messages.
    pub fn push_bytes(&self, out: &mut Vec<u8>) {
        self.words().iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }

    /// Whether the set has a slot.
    #[inline]
    pub fn contains(&self, slot: u16) -> bool {
        self.words()[usize::from(slot / 64)] & (1 << (slot % 64)) != 0
    }

    /// Adds a slot. Returns whether it is new.
    pub fn insert(&mut self, slot: u16) -> bool {
        let is_new = !self.contains(slot);
        *self.word_of(slot) |= 1 << (slot % 64);
        is_new
    }

    /// Removes a slot. Returns whether it was there.
    pub fn remove(&mut self, slot: u16) -> bool {
        let was_there = self.contains(slot);
        *self.word_of(slot) &= !(1 << (slot % 64));
        was_there
    }

    /// Returns the slots that are in both sets.
    pub fn intersection(&self, other: &SlotBitmap) -> SlotBitmap {
        self.combined(other, |a, b| a & b)
    }

    /// Returns the slots that are in either set.
    pub fn union(&self, other: &SlotBitmap) -> SlotBitmap {
        self.combined(other, |a, b| a | b)
    }

    /// Returns the slots that are in this set and not in the other.
    pub fn difference(&self, other: &SlotBitmap) -> SlotBitmap {
        self.combined(other, |a, b| a & !b)
    }

    fn combined(&self, other: &SlotBitmap, with: fn(u64, u64) -> u64) -> SlotBitmap {
        let mut words = [0; WORDS];
        for (word, (a, b)) in words.iter_mut().zip(self.words().iter().zip(other.words())) {
            *word = with(*a, *b);
        }
        SlotBitmap((words != NONE).then(|| Box::new(words)))
    }

    /// Returns the number of slots.
    pub fn len(&self) -> u16 {
        self.words().iter().map(|word| word.count_ones() as u16).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words().iter().all(|&word| word == 0)
    }

    /// Returns the slots in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        self.words().iter().zip(0u16..).flat_map(|(&word, index)| {
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
        let mut at = 0;
        std::iter::from_fn(move || {
            let first = self.next(at, true)?;
            at = self.next(first, false).unwrap_or(SLOTS);
            Some(first..=at - 1)
        })
    }

    /// Returns the first slot from this one on that the set has, or does not have.
    fn next(&self, from: u16, is_in: bool) -> Option<u16> {
        let flipped = if is_in { 0 } else { u64::MAX };
        let (first, mut mask) = (from / 64, u64::MAX << (from % 64));
        let words = self.words().get(usize::from(first)..)?;
        (first..).zip(words).find_map(|(index, word)| {
            let bits = (word ^ flipped) & std::mem::replace(&mut mask, u64::MAX);
            (bits != 0).then(|| index * 64 + bits.trailing_zeros() as u16)
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
        let words: SlotBitmap = (63..=128).chain(192..=255).chain([257]).collect();
        let ranges: Vec<_> = words.ranges().collect();
        assert_eq!(ranges, [63..=128, 192..=255, 257..=257]);
        assert_eq!(SlotBitmap::default().ranges().count(), 0);
        assert_eq!(set.iter().count(), 15);
        let other: SlotBitmap = (65..=80).collect();
        assert_eq!(set.intersection(&other).ranges().collect::<Vec<_>>(), [65..=70]);
        assert_eq!(set.union(&other).len(), 15 + 10);
        assert_eq!(other.difference(&set).ranges().collect::<Vec<_>>(), [71..=80]);
        assert_eq!(other.difference(&other), SlotBitmap::default());
        let all: SlotBitmap = (0..SLOTS).collect();
        assert_eq!(all.ranges().collect::<Vec<_>>(), [0..=16383]);
    }
}
