//! The digest of DEBUG DIGEST, which equals that of stock servers for the same data.
//!
//! ```text
//!   mix(d, x)   d := SHA1(d xor SHA1(x))       order matters
//!   add(d, x)   d := d xor SHA1(x)             order does not
//! ```
//!
//! Digests are big endian.

use sha1::{Digest as _, Sha1};

/// A digest being computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Adds bytes independently of order.
    pub fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash.iter()).for_each(|(ours, theirs)| *ours ^= theirs);
    }

    /// Adds bytes in order.
    pub fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    /// Adds another digest independently of order.
    pub fn add_digest(&mut self, other: Digest) {
        self.add(&other.0);
    }

    /// Returns 40 hexadecimal digits.
    pub fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
