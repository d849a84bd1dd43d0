//! The node's random numbers, all derived from the seeds of its start.
//!
//! There are three sources, because what one publishes must not reveal another: the hash seed is
//! used as it is and never leaves the node, [`Ids`] draws what must not be guessed, [`Rng`] what
//! clients may observe.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

/// Seeds of a node's random numbers, independent of each other.
#[derive(Clone, Default)]
pub struct Seeds {
    /// Seed of the keys' hash: whoever knows it can fill a bucket with chosen keys.
    pub hash: u128,
    /// Seed of [`Ids`].
    pub ids: [u8; 32],
    /// Seed of [`Rng`].
    pub rng: [u64; 4],
}

impl Seeds {
    /// The number of random bytes for all seeds.
    pub const BYTES: usize = 80;

    /// Divides random bytes into seeds.
    pub fn from_bytes(bytes: &[u8; Seeds::BYTES]) -> Seeds {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |at: usize| u64::from_le_bytes(words[at]);
        let mut ids = [0; 32];
        ids.copy_from_slice(&bytes[16..48]);
        Seeds {
            hash: u128::from(word(0)) << 64 | u128::from(word(1)),
            ids,
            rng: [word(6), word(7), word(8), word(9)],
        }
    }

    /// Derives all seeds from one, for a simulation or a test.
    pub fn derive(seed: [u64; 4]) -> Seeds {
        let mut rng = Rng::new(seed);
        let mut bytes = [0; Seeds::BYTES];
        for word in bytes.as_chunks_mut::<8>().0 {
            *word = rng.draw().to_le_bytes();
        }
        Seeds::from_bytes(&bytes)
    }
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seeds(secret)")
    }
}

/// A cryptographic generator of run ids, replication ids and end marks of payloads. Neither its
/// results nor its present state reveal other results: each draw replaces the state by its hash.
#[derive(Clone)]
pub struct Ids {
    state: [u8; 32],
}

impl Ids {
    /// Creates a generator from its seed.
    pub fn new(seed: [u8; 32]) -> Ids {
        Ids { state: seed }
    }

    /// Returns 40 random hexadecimal digits.
    pub fn hex40(&mut self) -> String {
        let drawn = self.hash_state(b"draw");
        self.state = self.hash_state(b"next");
        drawn[..20].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn hash_state(&self, purpose: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(self.state).chain_update(purpose).finalize().into()
    }
}

/// xoshiro256++ by Blackman and Vigna. It is fast, but not cryptographically secure.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Rng {
    /// Creates a generator from a seed of 256 bits, which may be all zero.
    pub fn new(seed: [u64; 4]) -> Rng {
        let mut mix = seed[0] ^ 0x9e37_79b9_7f4a_7c15;
        let state = seed.map(|word| {
            // splitmix64: similar seeds must not give similar states.
            mix = mix.wrapping_add(word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = mix;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ (z >> 31)) | 1
        });
        Rng { state }
    }

    /// Returns 64 random bits.
    pub fn draw(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Returns a uniformly random number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.draw()) * end as u128) >> 64) as usize
    }

    /// Returns `count` different indexes below `len`, each choice equally likely, by Floyd's algorithm with a random number for
    /// each.
    pub fn choose(&mut self, count: usize, len: usize) -> BTreeSet<usize> {
        let mut chosen = BTreeSet::new();
        for last in len.saturating_sub(count)..len {
            let index = self.below(last + 1);
            if !chosen.insert(index) {
                chosen.insert(last);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::{Ids, Seeds};

    #[test]
    fn ids_differ_by_seed_and_by_draw() {
        let [mut one, mut same, mut other] = [1, 1, 2].map(|byte| Ids::new([byte; 32]));
        let drawn = one.hex40();
        assert_eq!(drawn, same.hex40());
        assert!(drawn.len() == 40 && drawn.bytes().all(|byte| byte.is_ascii_hexdigit()));
        assert_ne!(drawn, other.hex40());
        assert_ne!(drawn, one.hex40());
    }

    #[test]
    fn seeds_share_no_bytes() {
        for at in 0..Seeds::BYTES {
            let mut bytes = [0; Seeds::BYTES];
            bytes[at] = 1;
            let seeds = Seeds::from_bytes(&bytes);
            let changed = [seeds.hash != 0, seeds.ids != [0; 32], seeds.rng != [0; 4]];
            assert_eq!(changed, [at < 16, (16..48).contains(&at), at >= 48], "byte {at}");
        }
    }
}
