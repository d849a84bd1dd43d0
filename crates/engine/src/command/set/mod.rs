//! Sets.
//!
//! * `members.rs`: adding, removing and asking for members
//! * `random.rs`: members at random
//! * `combine.rs`: unions, intersections and differences
//! * `scan.rs`: a few members at a time

mod combine;
mod members;
mod random;
mod scan;

use russet_ds::listpack::{Digits, Element as Member};

use super::{Command, Group, Reply, acl};
use crate::types::set::SetRef;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    members::SADD,
    members::SREM,
    members::SMOVE,
    members::SCARD,
    members::SISMEMBER,
    members::SMISMEMBER,
    members::SMEMBERS,
    random::SPOP,
    random::SRANDMEMBER,
    combine::SINTER,
    combine::SINTERCARD,
    combine::SINTERSTORE,
    combine::SUNION,
    combine::SUNIONSTORE,
    combine::SDIFF,
    combine::SDIFFSTORE,
    scan::SSCAN,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Set, acl: acl::SET, ..Command::ROW };

/// Replies with a member.
fn reply_member(reply: &mut Reply<'_>, member: Member<'_>) {
    reply.bulk(member.text(&mut Digits::default()));
}

/// Replies with all members.
fn reply_all(reply: &mut Reply<'_>, set: SetRef<'_>) {
    reply.set(set.len());
    set.each(&mut |member| reply_member(reply, member));
}
