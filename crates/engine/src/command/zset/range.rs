//! Ranges of members, as a reply or as the value of a key.

use russet_ds::listpack::Element as Member;
use russet_protocol::ErrorReply;

use super::gather::{Gathered, begin, store};
use super::limits::Range;
use super::{ROW, Shown};
use crate::command::argument::{
    Argument, after, block, double, int, key, one_of, optional, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::zset::ZsetRef;

const LIMIT: Argument = optional(after("LIMIT", block("limit", &[int("offset"), int("count")])));
const SORT_BY: Argument = optional(one_of("sortby", &[token("BYSCORE"), token("BYLEX")]));
const WITH_SCORES: Argument = optional(token("WITHSCORES"));

pub(super) const ZRANGE: Command = Command {
    name: "zrange",
    since: "1.2.0",
    arity: -4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        string("start"),
        string("stop"),
        SORT_BY,
        optional(token("REV")),
        LIMIT,
        WITH_SCORES,
    ],
    summary: "Returns the members between two ranks, scores or texts, in either direction.",
    complexity: "O(log N) for the first member and each other one, with N members in the sorted set",
    run: |ctx, args, reply| show(ctx, args, reply, Options::default()),
    ..ROW
};

pub(super) const ZRANGESTORE: Command = Command {
    name: "zrangestore",
    since: "6.2.0",
    arity: -5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE), KeySpec::one(2, k::RO | k::ACCESS)],
    arguments: &[
        key("dst", 0),
        key("src", 1),
        string("min"),
        string("max"),
        SORT_BY,
        optional(token("REV")),
        LIMIT,
    ],
    summary: "Stores the members between two ranks, scores or texts in a sorted set, and returns their number.",
    complexity: "O(log N) for the first member and each other one, with N members in the sorted set",
    run: zrangestore,
    ..ROW
};

pub(super) const ZREVRANGE: Command = Command {
    name: "zrevrange",
    arguments: &[key("key", 0), int("start"), int("stop"), WITH_SCORES],
    summary: "Returns the members between two ranks, counted from the highest score, in reverse order.",
    run: |ctx, args, reply| {
        let options = Options { by: Some(By::Rank), is_reversed: Some(true), ..Options::default() };
        show(ctx, args, reply, options)
    },
    ..ZRANGE
};

pub(super) const ZRANGEBYSCORE: Command = Command {
    name: "zrangebyscore",
    since: "1.0.5",
    arguments: &[key("key", 0), double("min"), double("max"), WITH_SCORES, LIMIT],
    summary: "Returns the members with scores between two limits.",
    run: |ctx, args, reply| {
        let options =
            Options { by: Some(By::Score), is_reversed: Some(false), ..Options::default() };
        show(ctx, args, reply, options)
    },
    ..ZRANGE
};

pub(super) const ZREVRANGEBYSCORE: Command = Command {
    name: "zrevrangebyscore",
    since: "2.2.0",
    arguments: &[key("key", 0), double("max"), double("min"), WITH_SCORES, LIMIT],
    summary: "Returns the members with scores between two limits, in reverse order.",
    run: |ctx, args, reply| {
        let options =
            Options { by: Some(By::Score), is_reversed: Some(true), ..Options::default() };
        show(ctx, args, reply, options)
    },
    ..ZRANGE
};

pub(super) const ZRANGEBYLEX: Command = Command {
    name: "zrangebylex",
    since: "2.8.9",
    arguments: &[key("key", 0), string("min"), string("max"), LIMIT],
    summary: "Returns the members between two texts, if all have the same score.",
    run: |ctx, args, reply| {
        let options =
            Options { by: Some(By::Text), is_reversed: Some(false), ..Options::default() };
        show(ctx, args, reply, options)
    },
    ..ZRANGE
};

pub(super) const ZREVRANGEBYLEX: Command = Command {
    name: "zrevrangebylex",
    arguments: &[key("key", 0), string("max"), string("min"), LIMIT],
    summary: "Returns the members between two texts, if all have the same score, in reverse order.",
    run: |ctx, args, reply| {
        let options = Options { by: Some(By::Text), is_reversed: Some(true), ..Options::default() };
        show(ctx, args, reply, options)
    },
    ..ZRANGEBYLEX
};

/// What a range is limited by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Text,
}

/// The options of ZRANGE, some of which older commands imply.
#[derive(Clone, Copy, Default)]
struct Options {
    by: Option<By>,
    is_reversed: Option<bool>,
    with_scores: bool,
    offset: i64,
    count: Option<i64>,
}

/// The members that are wanted.
struct Wanted<'a> {
    range: Range<'a>,
    is_reversed: bool,
    with_scores: bool,
    offset: i64,
    /// The most members; negative for all.
    count: i64,
}

impl Options {
    /// Parses the limits of the range, at an index and behind it, and what follows.
    fn parse<'a>(
        mut self,
        args: &'a Args<'a>,
        first: usize,
        stores: bool,
    ) -> Result<Wanted<'a>, ErrorReply> {
        let (by_is_open, direction_is_open) = (self.by.is_none(), self.is_reversed.is_none());
        let mut at = first + 2;
        while at < args.len() {
            if !stores && args.is(at, "WITHSCORES") {
                self.with_scores = true;
            } else if args.is(at, "LIMIT") && at + 2 < args.len() {
                self.offset = args.integer(at + 1)?;
                self.count = Some(args.integer(at + 2)?);
                at += 2;
            } else if direction_is_open && self.is_reversed.is_none() && args.is(at, "REV") {
                self.is_reversed = Some(true);
            } else if by_is_open && self.by.is_none() && args.is(at, "BYLEX") {
                self.by = Some(By::Text);
            } else if by_is_open && self.by.is_none() && args.is(at, "BYSCORE") {
                self.by = Some(By::Score);
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 1;
        }
        let (by, count) = (self.by.unwrap_or(By::Rank), self.count.unwrap_or(-1));
        if count != -1 && by == By::Rank {
            return Err(ErrorReply::err(
                "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
            ));
        }
        if self.with_scores && by == By::Text {
            let why = "syntax error, WITHSCORES not supported in combination with BYLEX";
            return Err(ErrorReply::err(why));
        }
        let is_reversed = self.is_reversed.unwrap_or(false);
        let (min, max) = if is_reversed { (first + 1, first) } else { (first, first + 1) };
        let range = match by {
            By::Rank => Range::of_ranks(args, first)?,
            By::Score => Range::of_scores(&args[min], &args[max])?,
            By::Text => Range::of_texts(&args[min], &args[max])?,
        };
        let offset = if by == By::Rank { 0 } else { self.offset };
        Ok(Wanted { range, is_reversed, with_scores: self.with_scores, offset, count })
    }
}

impl Wanted<'_> {
    /// Returns the rank of the first member, and how many there are.
    fn of(&self, zset: ZsetRef<'_>) -> (usize, usize) {
        let ranks = match self.range {
            // Counted from the end.
            Range::Ranks(..) if self.is_reversed => {
                let from_end = self.range.ranks(zset);
                zset.len() - from_end.end..zset.len() - from_end.start
            }
            _ => self.range.ranks(zset),
        };
        let Ok(offset) = usize::try_from(self.offset) else { return (0, 0) };
        let count = ranks.len().saturating_sub(offset);
        let count = usize::try_from(self.count).map_or(count, |most| most.min(count));
        match (count, self.is_reversed) {
            (0, _) => (0, 0),
            (_, false) => (ranks.start + offset, count),
            (_, true) => (ranks.end - 1 - offset, count),
        }
    }

    /// Returns the lowest and the highest rank; 1 and 0 if there are none.
    fn ranks(&self, zset: ZsetRef<'_>) -> (usize, usize) {
        match (self.of(zset), self.is_reversed) {
            ((_, 0), _) => (1, 0),
            ((first, count), false) => (first, first + count - 1),
            ((first, count), true) => (first + 1 - count, first),
        }
    }

    fn each<'z>(&self, zset: ZsetRef<'z>, sink: &mut dyn FnMut(Member<'z>, f64) -> bool) {
        let (first, mut left) = self.of(zset);
        if left > 0 {
            zset.each_from(first, !self.is_reversed, &mut |member, score| {
                left -= 1;
                sink(member, score) && left > 0
            });
        }
    }
}

fn show(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, options: Options) -> Outcome {
    let wanted = options.parse(args, 2, false)?;
    let Some(zset) = ctx.read_as(args.key(1), ZsetRef::of)? else {
        reply.array(0);
        return Ok(Flow::Done);
    };
    let mut shown = Shown { with_scores: wanted.with_scores, reply };
    shown.begin(wanted.of(zset).1);
    wanted.each(zset, &mut |member, score| {
        shown.member(member, score);
        !shown.reply.is_cut()
    });
    Ok(Flow::Done)
}

fn zrangestore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = Options::default().parse(args, 3, true)?;
    let seed = ctx.data.hasher().seed();
    // The source borrows the whole context.
    let mut result = begin(ctx);
    let mut gathered = Gathered::new(seed);
    let mut by_rank = None;
    if let Some(zset) = ctx.read_as(args.key(2), ZsetRef::of)? {
        if wanted.range.depends_on_form(zset) {
            by_rank = Some(wanted.ranks(zset));
        }
        wanted.each(zset, &mut |member, score| {
            gathered.push(member, score);
            true
        });
    }
    gathered.fill(&mut result);
    let dirty = ctx.data.dirty;
    let outcome = store(ctx, args.key(1), reply, result, EventKind::ZRangeStore)?;
    if let Some((first, last)) = by_rank.filter(|_| ctx.data.dirty != dirty) {
        let (first, last) = (first.to_string(), last.to_string());
        ctx.effect(&[b"ZRANGESTORE", &args[1], &args[2], first.as_bytes(), last.as_bytes()]);
    }
    Ok(outcome)
}
