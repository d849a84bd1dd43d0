//! Lists.
//!
//! * `ends.rs`: pushing and popping at the ends
//! * `blocking.rs`: commands that wait for elements
//! * `between.rs`: from one list to another
//! * `read.rs`: elements, ranges, searches
//! * `change.rs`: elements within a list

mod between;
mod blocking;
mod change;
pub(in crate::command) mod ends;
mod read;

use russet_ds::listpack::{Digits, Element as Member};
use russet_protocol::ErrorReply;

use super::argument::{Argument, one_of, token};
use super::{Args, Command, Group, Reply, acl};
use crate::keyspace::EventKind;
use crate::types::list::Side;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    ends::LPUSH,
    ends::RPUSH,
    ends::LPUSHX,
    ends::RPUSHX,
    ends::LPOP,
    ends::RPOP,
    ends::LMPOP,
    between::LMOVE,
    between::RPOPLPUSH,
    blocking::BLPOP,
    blocking::BRPOP,
    blocking::BLMPOP,
    blocking::BLMOVE,
    blocking::BRPOPLPUSH,
    read::LLEN,
    read::LINDEX,
    read::LRANGE,
    read::LPOS,
    change::LINSERT,
    change::LSET,
    change::LREM,
    change::LTRIM,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::List, acl: acl::LIST, ..Command::ROW };

/// An end of a list as an argument.
const fn side(name: &'static str) -> Argument {
    const SIDES: &[Argument] = &[token("LEFT"), token("RIGHT")];
    one_of(name, SIDES)
}

fn parse_side(args: &Args<'_>, at: usize) -> Result<Side, ErrorReply> {
    if args.is(at, "LEFT") {
        Ok(Side::Left)
    } else if args.is(at, "RIGHT") {
        Ok(Side::Right)
    } else {
        Err(ErrorReply::Syntax)
    }
}

/// The event of adding an element at an end.
const fn push_event(side: Side) -> EventKind {
    match side {
        Side::Left => EventKind::LPush,
        Side::Right => EventKind::RPush,
    }
}

/// Replies with an element.
fn reply_element(reply: &mut Reply<'_>, element: Member<'_>) {
    reply.bulk(element.text(&mut Digits::default()));
}

/// Returns the index that an argument stands for, which counts from the end if it is negative. It may be beyond the list.
fn index_of(index: i64, len: usize) -> Option<usize> {
    let from_front = if index < 0 { index.checked_add(i64::try_from(len).ok()?)? } else { index };
    usize::try_from(from_front).ok()
}

/// Returns the elements of a list that two inclusive indexes enclose.
pub(in crate::command) fn range(first: i64, last: i64, len: usize) -> std::ops::Range<usize> {
    let first = if first < 0 { index_of(first, len).unwrap_or(0) } else { first as usize };
    let end = index_of(last, len).map_or(0, |last| last.saturating_add(1).min(len));
    first.min(end)..end
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_those_of_redis() {
        for (first, last, expected) in [
            (0, -1, 0..5),
            (0, 2, 0..3),
            (-3, -2, 2..4),
            (-100, 100, 0..5),
            (3, 2, 3..3),
            (5, 9, 5..5),
            (7, 9, 5..5),
            (0, -6, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            let found = range(first, last, 5);
            assert_eq!(found.len(), expected.len(), "{first} {last}: {found:?}");
            assert!(expected.is_empty() || found == expected, "{first} {last}: {found:?}");
        }
        assert_eq!(range(0, -1, 0), 0..0);
    }
}
