//! DEBUG DIGEST's number under way: what stock servers print for the same data.
//!
//! ```text
//!   mix(d, x)   d := SHA1(d xor SHA1(x))       order matters
//!   add(d, x)   d := d xor SHA1(x)             order does not
//! ```
//!
//! Numbers are 32 bits, big end first.

use sha1::{Digest as _, Sha1};

/// A digest under way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Takes in bytes whose order among others does not matter.
    pub fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash.iter()).for_each(|(ours, theirs)| *ours ^= theirs);
    }

    /// Takes in bytes that come next.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Takes in another digest, whose order among others does not matter.
    pub fn add_digest(&mut self, other: Digest) {
        self.add(&other.0);
    }

    /// 40 hexadecimal digits.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
