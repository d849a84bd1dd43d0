//! The node's random number generator. All numbers are derived from the seed of its start.

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

    /// Returns 40 random hexadecimal digits, for a run id or a replication id.
    pub fn hex40(&mut self) -> String {
        let digits: String = (0..3).map(|_| format!("{:016x}", self.draw())).collect();
        digits[..40].to_owned()
    }
}
