//! Digests of data: equal keyspaces have equal ones, whoever holds them.
//!
//! The digest of a database is the sum of its entries' hashes, so that a model can keep it up to date with each
//! change and a scan in any order gives the same. That of a keyspace sums its databases', each
//! mixed with its number, and that of a collection without an order sums its elements'. Keys, values and expiries count;
//! encodings, access clocks and hash seeds do not.

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// 64 bits of two numbers.
pub fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ MULTIPLIER) * u128::from(b | 1);
    ((product >> 64) as u64 ^ product as u64)
        .rotate_left(23)
        .wrapping_add(b.wrapping_mul(MULTIPLIER))
}

/// 64 bits of a string.
pub fn of_bytes(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix(seed, bytes.len() as u64);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.try_into().map_or(0, u64::from_le_bytes);
        hash = (hash ^ word).wrapping_mul(0xa076_1d64_78bd_642f).rotate_left(31);
    }
    let mut last = [0; 8];
    last[..words.remainder().len()].copy_from_slice(words.remainder());
    mix(hash, u64::from_le_bytes(last))
}

/// The hash of one entry, from the digest of its value.
pub fn of_entry(key: &[u8], value: u64, expiry: Option<i64>) -> u64 {
    mix(of_bytes(1, key), value ^ of_expiry(expiry))
}

/// The digest of a string.
pub fn of_string(bytes: &[u8]) -> u64 {
    of_bytes(2, bytes)
}

/// The digest of a hash, from the sum of its fields' digests.
pub fn of_hash(sum: u64) -> u64 {
    mix(3, sum)
}

/// The digest of a set, from the sum of its members' digests.
pub fn of_set(sum: u64) -> u64 {
    mix(6, sum)
}

/// The digest of a sorted set, from the sum of those of its members with their scores.
pub fn of_zset(sum: u64) -> u64 {
    mix(8, sum)
}

/// What the digest of a list begins with, into which those of its elements are mixed in order.
pub fn of_list() -> u64 {
    mix(7, 0)
}

/// What the digest of a stream begins with, into which all that it has is mixed in order.
pub fn of_stream() -> u64 {
    mix(8, 0)
}

/// The digest of an element of a collection.
pub fn of_element(name: &[u8], value: &[u8], expiry: Option<i64>) -> u64 {
    mix(of_bytes(4, name), of_bytes(5, value) ^ of_expiry(expiry))
}

fn of_expiry(expiry: Option<i64>) -> u64 {
    expiry.map_or(0, |at| mix(1, at as u64))
}

/// The digest of databases, each with its number and the sum of its entries' hashes.
pub fn of_dbs(dbs: impl Iterator<Item = (u32, u64)>) -> u64 {
    dbs.filter(|&(_, sum)| sum != 0)
        .fold(0, |digest: u64, (number, sum)| digest.wrapping_add(mix(u64::from(number) + 77, sum)))
}

/// A running hash of all that a world did and said.
#[derive(Clone, Copy, Debug)]
pub struct Running(pub u64);

impl Running {
    /// Adds a string.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0 = of_bytes(self.0, bytes);
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) {
        self.0 = mix(self.0, number);
    }
}
