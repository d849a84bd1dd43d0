//! Strings.
//!
//! * `set.rs`: setting or removing a whole value, with its expiration time
//! * `read.rs`: reading
//! * `change.rs`: changing a part: APPEND, SETRANGE
//! * `number.rs`: strings as numbers
//! * `lcs.rs`: LCS

mod change;
mod lcs;
mod number;
mod read;
mod set;

use super::{Args, Command, Group, acl};
use crate::keyspace::{Edit, EventKind, Expiry};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    read::GET,
    set::SET,
    set::GETEX,
    set::GETDEL,
    set::GETSET,
    set::SETNX,
    set::SETEX,
    set::PSETEX,
    set::MSET,
    set::MSETNX,
    read::MGET,
    read::STRLEN,
    read::GETRANGE,
    read::SUBSTR,
    change::SETRANGE,
    change::APPEND,
    number::INCR,
    number::DECR,
    number::INCRBY,
    number::DECRBY,
    number::INCRBYFLOAT,
    lcs::LCS,
];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::String, acl: acl::STRING, ..Command::ROW };

/// Stores an argument as a string. A long one, which has its own buffer, is not copied.
#[inline]
fn store(edit: Edit<'_>, args: &Args<'_>, index: usize, expiry: Expiry, event: EventKind) {
    match args.large(index) {
        None => edit.set_string(&args[index], expiry, event),
        Some(bytes) => edit.set_shared(bytes, expiry, event),
    }
}
