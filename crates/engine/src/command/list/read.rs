//! Elements, ranges and searches.

use russet_protocol::ErrorReply;

use super::{ROW, index_of, range, reply_element};
use crate::command::argument::{after, int, key, optional, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::list::{ListRef, Side};

pub(super) const LLEN: Command = Command {
    name: "llen",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the length of a list.",
    run: llen,
    ..ROW
};

fn llen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.read_as(args.key(1), ListRef::of)?.map_or(0, ListRef::len);
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const LINDEX: Command = Command {
    name: "lindex",
    since: "1.0.0",
    arity: 3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), int("index")],
    summary: "Returns the element at an index, which counts from the end if it is negative.",
    complexity: "O(log N) with N elements",
    run: lindex,
    ..ROW
};

fn lindex(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(list) = ctx.read_as(args.key(1), ListRef::of)? else {
        reply.null();
        return Ok(Flow::Done);
    };
    let index = index_of(args.integer(2)?, list.len());
    match index.and_then(|index| list.get(index)) {
        Some(element) => reply_element(reply, element),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const LRANGE: Command = Command {
    name: "lrange",
    since: "1.0.0",
    arity: 4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), int("start"), int("stop")],
    summary: "Returns the elements between two indexes, both included.",
    complexity: "O(log N + M) with N elements, M of which are returned",
    run: lrange,
    ..ROW
};

fn lrange(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (first, last) = (args.integer(2)?, args.integer(3)?);
    let Some(list) = ctx.read_as(args.key(1), ListRef::of)? else {
        reply.array(0);
        return Ok(Flow::Done);
    };
    let range = range(first, last, list.len());
    let mut left = range.len();
    reply.array(left);
    if left > 0 {
        list.each_from(range.start, Side::Right, &mut |element| {
            reply_element(reply, element);
            left -= 1;
            left > 0 && !reply.is_cut()
        });
    }
    Ok(Flow::Done)
}

pub(super) const LPOS: Command = Command {
    name: "lpos",
    since: "6.0.6",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        string("element"),
        optional(after("RANK", int("rank"))),
        optional(after("COUNT", int("num-matches"))),
        optional(after("MAXLEN", int("len"))),
    ],
    summary: "Returns the indexes of elements that are equal to another.",
    complexity: "O(N) with N elements that are compared",
    run: lpos,
    ..ROW
};

/// The options of LPOS.
struct Search {
    /// Where it begins.
    side: Side,
    /// Matches to pass over.
    skipped: u64,
    /// How many matches are wanted; none for the first alone.
    count: Option<u64>,
    /// How many elements are compared at most.
    compared: u64,
}

impl Search {
    fn parse(args: &Args<'_>) -> Result<Search, ErrorReply> {
        let (mut rank, mut count, mut compared, mut at) = (1, None, 0, 3);
        while at < args.len() {
            let has_value = at + 1 < args.len();
            let positive = |why: &'static str| {
                let given = args.integer(at + 1).ok().and_then(|given| u64::try_from(given).ok());
                given.ok_or_else(|| ErrorReply::err(why))
            };
            if has_value && args.is(at, "RANK") {
                rank = args.integer_within(at + 1, -i64::MAX, i64::MAX)?;
                if rank == 0 {
                    return Err(ErrorReply::err(
                        "RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list",
                    ));
                }
            } else if has_value && args.is(at, "COUNT") {
                count = Some(positive("COUNT can't be negative")?);
            } else if has_value && args.is(at, "MAXLEN") {
                compared = positive("MAXLEN can't be negative")?;
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 2;
        }
        Ok(Search {
            side: if rank > 0 { Side::Right } else { Side::Left },
            skipped: rank.unsigned_abs() - 1,
            count: count.map(|count| if count == 0 { u64::MAX } else { count }),
            compared: if compared == 0 { u64::MAX } else { compared },
        })
    }

    fn run(&self, list: ListRef<'_>, text: &[u8]) -> Vec<usize> {
        let (mut found, mut passed, mut skipped) = (Vec::new(), 0_usize, 0);
        let Some(last) = list.len().checked_sub(1) else { return found };
        let first = if self.side == Side::Right { 0 } else { last };
        list.each_from(first, self.side, &mut |element| {
            if element.is_text(text) {
                if skipped == self.skipped {
                    found.push(if self.side == Side::Right { passed } else { last - passed });
                } else {
                    skipped += 1;
                }
            }
            passed += 1;
            (found.len() as u64) < self.count.unwrap_or(1) && (passed as u64) < self.compared
        });
        found
    }
}

fn lpos(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let search = Search::parse(args)?;
    let list = ctx.read_as(args.key(1), ListRef::of)?;
    let found = list.map(|list| search.run(list, &args[2])).unwrap_or_default();
    match (search.count, found.first()) {
        (Some(_), _) => {
            reply.array(found.len());
            found.iter().for_each(|index| reply.count(*index));
        }
        (None, Some(index)) => reply.count(*index),
        (None, None) => reply.null(),
    }
    Ok(Flow::Done)
}
