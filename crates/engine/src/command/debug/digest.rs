//! DEBUG DIGEST: a digest of all data, equal to that of stock servers with the same data.
//!
//! ```text
//!   mix(d, x)   d := SHA1(d xor SHA1(x))       order matters
//!   add(d, x)   d := d xor SHA1(x)             order does not
//!
//!   value's     0, mix the type, mix the value, add "!!expire!!" if it has an expiry
//!   all data    for each database that is not empty: mix its number; for each key: add what
//!               you get by mixing the key and then, as above, its value
//! ```
//!
//! Numbers are 32-bit big-endian.

use russet_ds::EntryRef;
use sha1::{Digest as _, Sha1};

use crate::keyspace::Keyspace;
use crate::types::Object;
use crate::types::string::Text;

/// A digest being computed.
#[derive(Clone, Copy, Default)]
pub(super) struct Digest([u8; 20]);

impl Digest {
    fn add(&mut self, bytes: &[u8]) {
        let hash = Sha1::digest(bytes);
        self.0.iter_mut().zip(hash.iter()).for_each(|(ours, theirs)| *ours ^= theirs);
    }

    fn mix(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.0 = Sha1::digest(self.0).into();
    }

    fn value(&mut self, entry: &EntryRef<'_, Object>) {
        let kind = crate::types::type_of(entry.kind()) as u8;
        self.mix(&u32::from(kind).to_be_bytes());
        self.mix(Text::of(entry).bytes());
        if entry.expiry().is_some() {
            self.add(b"!!expire!!");
        }
    }

    /// Computes the digest of one value.
    pub(super) fn of_value(entry: &EntryRef<'_, Object>) -> Digest {
        let mut digest = Digest::default();
        digest.value(entry);
        digest
    }

    /// Computes the digest of all data.
    pub(super) fn of_all(keyspace: &Keyspace) -> Digest {
        let mut all = Digest::default();
        for (number, db) in keyspace.dbs().filter(|(_, db)| !db.is_empty()) {
            all.mix(&number.to_be_bytes());
            db.table().for_each(&mut |entry| {
                let mut one = Digest::default();
                one.mix(entry.key());
                one.value(&entry);
                all.add(&one.0);
            });
        }
        all
    }

    /// Returns it as 40 hexadecimal digits.
    pub(super) fn hex(self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
