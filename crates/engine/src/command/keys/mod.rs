//! Keys, whatever values they hold.
//!
//! * `life.rs`: existence, type and deletion
//! * `places.rs`: renaming, copying and moving to another database
//! * `dump.rs`: values as bytes, and back
//! * `migrate.rs`: MIGRATE, which moves them to another server
//! * `expiry.rs`: expiration times
//! * `walk.rs`: listing keys
//! * `sort.rs`: SORT, with `sort_lookup.rs` for the values of other keys and `sort_weight.rs` for numbers
//! * `databases.rs`: whole databases
//! * `object.rs`: OBJECT

mod databases;
mod dump;
mod expiry;
mod life;
mod migrate;
mod object;
mod places;
mod sort;
mod sort_lookup;
mod sort_weight;
mod walk;

use super::{Command, Group, acl};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    life::DEL,
    life::UNLINK,
    life::EXISTS,
    life::TYPE,
    life::TOUCH,
    dump::DUMP,
    dump::RESTORE,
    dump::RESTORE_ASKING,
    migrate::MIGRATE,
    places::COPY,
    places::MOVE,
    places::RENAME,
    places::RENAMENX,
    expiry::EXPIRE,
    expiry::PEXPIRE,
    expiry::EXPIREAT,
    expiry::PEXPIREAT,
    expiry::TTL,
    expiry::PTTL,
    expiry::EXPIRETIME,
    expiry::PEXPIRETIME,
    expiry::PERSIST,
    sort::SORT,
    sort::SORT_RO,
    walk::KEYS,
    walk::SCAN,
    walk::RANDOMKEY,
    databases::DBSIZE,
    object::OBJECT,
    databases::SWAPDB,
    databases::FLUSHDB,
    databases::FLUSHALL,
];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Generic, acl: acl::KEYSPACE, ..Command::ROW };
