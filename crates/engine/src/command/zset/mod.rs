//! Sorted sets.
//!
//! * `add.rs`: adding members and changing scores
//! * `read.rs`: scores, ranks and counts
//! * `limits.rs`: what a range is limited by
//! * `range.rs`: ranges of members
//! * `remove.rs`: removing members
//! * `pop.rs`: removing those with the lowest or highest scores
//! * `blocking.rs`: commands that wait for members
//! * `combine.rs`: unions, intersections and differences, of sets too; `gather.rs`: how they are made
//! * `random.rs`: members at random
//! * `scan.rs`: a few members at a time

pub(in crate::command) mod add;
mod blocking;
mod combine;
pub(in crate::command) mod gather;
mod limits;
mod pop;
mod random;
mod range;
mod read;
mod remove;
mod scan;

use russet_ds::listpack::{Digits, Element as Member};
use russet_protocol::Protocol;

use super::{Command, Group, Reply, acl};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    add::ZADD,
    add::ZINCRBY,
    remove::ZREM,
    remove::ZREMRANGEBYRANK,
    remove::ZREMRANGEBYSCORE,
    remove::ZREMRANGEBYLEX,
    read::ZCARD,
    read::ZCOUNT,
    read::ZLEXCOUNT,
    read::ZSCORE,
    read::ZMSCORE,
    read::ZRANK,
    read::ZREVRANK,
    range::ZRANGE,
    range::ZRANGESTORE,
    range::ZREVRANGE,
    range::ZRANGEBYSCORE,
    range::ZREVRANGEBYSCORE,
    range::ZRANGEBYLEX,
    range::ZREVRANGEBYLEX,
    pop::ZPOPMIN,
    pop::ZPOPMAX,
    pop::ZMPOP,
    blocking::BZPOPMIN,
    blocking::BZPOPMAX,
    blocking::BZMPOP,
    combine::ZUNION,
    combine::ZUNIONSTORE,
    combine::ZINTER,
    combine::ZINTERSTORE,
    combine::ZINTERCARD,
    combine::ZDIFF,
    combine::ZDIFFSTORE,
    random::ZRANDMEMBER,
    scan::ZSCAN,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::SortedSet, acl: acl::SORTEDSET, ..Command::ROW };

/// A reply of members, with or without scores.
struct Shown<'r, 'o> {
    with_scores: bool,
    reply: &'r mut Reply<'o>,
}

impl Shown<'_, '_> {
    fn begin(&mut self, members: usize) {
        // RESP3 has a pair for each member.
        let is_flat = self.with_scores && self.reply.protocol == Protocol::Resp2;
        self.reply.array(if is_flat { members * 2 } else { members });
    }

    fn member(&mut self, member: Member<'_>, score: f64) {
        if self.with_scores && self.reply.protocol == Protocol::Resp3 {
            self.reply.array(2);
        }
        self.reply.bulk(member.text(&mut Digits::default()));
        if self.with_scores {
            self.reply.double(score);
        }
    }
}
