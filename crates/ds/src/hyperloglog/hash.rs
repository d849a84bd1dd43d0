//! The hash of elements, MurmurHash64A by Austin Appleby (public domain), and what is taken from it.

use super::REGISTERS;

const SEED: u64 = 0xadc8_3b19;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// The bits of a hash that pick a register.
const INDEX_BITS: u32 = REGISTERS.trailing_zeros();

/// Returns the hash of an element.
#[must_use]
pub fn hash(element: &[u8]) -> u64 {
    let mixed = |word: u64| {
        let word = word.wrapping_mul(MULTIPLIER);
        (word ^ (word >> SHIFT)).wrapping_mul(MULTIPLIER)
    };
    let words = element.chunks_exact(8);
    let rest = words.remainder();
    let start = SEED ^ (element.len() as u64).wrapping_mul(MULTIPLIER);
    let mut hash = words.fold(start, |hash, word| {
        let word = u64::from_le_bytes(word.try_into().expect("a word has eight bytes"));
        (hash ^ mixed(word)).wrapping_mul(MULTIPLIER)
    });
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ (hash >> SHIFT)).wrapping_mul(MULTIPLIER);
    hash ^ (hash >> SHIFT)
}

/// What an element means for a HyperLogLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its register.
    pub register: usize,
    /// The zeros at the end of the rest of its hash, and one: 1 to 51.
    pub rank: u8,
}

impl Place {
    /// Returns the place of an element.
    #[must_use]
    pub fn of(element: &[u8]) -> Place {
        let hash = hash(element);
        let rest = hash >> INDEX_BITS | 1 << (64 - INDEX_BITS);
        let register = (hash & (REGISTERS as u64 - 1)) as usize;
        Place { register, rank: rest.trailing_zeros() as u8 + 1 }
    }
}
