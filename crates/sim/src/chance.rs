//! Chance: everything that is drawn comes from here, and so from the seed.

use russet_engine::rng::Rng;

/// A seeded source of decisions.
#[derive(Clone, Debug)]
pub struct Chance(Rng);

impl Chance {
    /// The source of a seed.
    pub fn new(seed: u64) -> Chance {
        Chance(Rng::new([seed, seed.rotate_left(32) ^ 0x5117, 3, 4]))
    }

    /// A source of its own, so that what one part of the world draws does not shift another's.
    pub fn fork(&mut self) -> Chance {
        Chance::new(self.0.draw())
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.draw()
    }

    /// A number below `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.0.draw()) * u128::from(end)) >> 64) as u64
    }

    /// An index below `end`.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A number from `low` to `high`, small ones as likely as large ones (uniform in the logarithm).
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let (low_bits, high_bits) = (bits_of(low), bits_of(high));
        let bits = self.between(low_bits, high_bits);
        let from = if bits == 0 { 0 } else { 1 << (bits - 1) };
        let to = if bits == 0 { 0 } else { (1_u64 << (bits - 1)) * 2 - 1 };
        self.between(from.clamp(low, high), to.clamp(low, high))
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// An index, each as likely as its weight says; 0 if all are 0.
    pub fn weighted(&mut self, weights: &[u64]) -> usize {
        let mut rank = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            match rank.checked_sub(weight) {
                Some(rest) => rank = rest,
                None => return index,
            }
        }
        0
    }

    /// One of them.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.index(of.len())]
    }
}

fn bits_of(number: u64) -> u64 {
    u64::from(u64::BITS - number.leading_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_within_their_bounds() {
        let mut chance = Chance::new(1);
        for _ in 0..10_000 {
            assert!((3..=9).contains(&chance.between(3, 9)));
            assert!((1..=700).contains(&chance.skewed(1, 700)));
            assert!(chance.below(5) < 5);
        }
        assert!((0..1000).all(|_| [1, 3].contains(&chance.weighted(&[0, 5, 0, 1]))));
        assert_eq!(chance.weighted(&[0, 0]), 0);
        assert_eq!(chance.between(7, 7), 7);
        assert_eq!(chance.skewed(0, 0), 0);
    }
}
