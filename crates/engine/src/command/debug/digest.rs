//! DEBUG DIGEST: a digest of all data, equal to that of stock servers with the same data.
//!
//! ```text
//!   value's     0, mix the type's number, take in what its row says, add "!!expire!!" if it has an expiry
//!   all data    for each database that is not empty: mix its number; for each key: add what
//!               you get by mixing the key and then, as above, its value
//! ```

use russet_ds::EntryRef;

use crate::keyspace::Keyspace;
use crate::types::digest::Digest;
use crate::types::{Object, ValueRef, type_of};

fn take_value(digest: &mut Digest, entry: &EntryRef<'_, Object>) {
    let ty = type_of(entry.kind());
    digest.mix(&u32::from(ty.number).to_be_bytes());
    (ty.digest)(digest, entry.kind(), ValueRef::of(entry));
    if entry.expiry().is_some() {
        digest.add(b"!!expire!!");
    }
}

/// Of one value.
pub(super) fn of_value(entry: &EntryRef<'_, Object>) -> Digest {
    let mut digest = Digest::default();
    take_value(&mut digest, entry);
    digest
}

/// Of all data.
pub(super) fn of_all(keyspace: &Keyspace) -> Digest {
    let mut all = Digest::default();
    for (number, db) in keyspace.dbs().filter(|(_, db)| !db.is_empty()) {
        all.mix(&number.to_be_bytes());
        db.table().for_each(&mut |entry| {
            let mut one = Digest::default();
            one.mix(entry.key());
            take_value(&mut one, &entry);
            all.add_digest(one);
        });
    }
    all
}
