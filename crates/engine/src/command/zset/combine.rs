//! Unions, intersections and differences of sorted sets and sets, as a reply or as the value of a key. A key that does not exist
//! is a sorted set without members.

use russet_ds::listpack::Element as Member;
use russet_protocol::ErrorReply;

use super::gather::{Gathered, Source, begin, store};
use super::{ROW, Shown};
use crate::command::argument::{Argument, after, int, key, one_of, optional, repeated, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::double::parse;
use crate::types::set::SetRef;
use crate::types::zset::ZsetRef;

const WEIGHTS: Argument = optional(repeated(after("WEIGHTS", int("weight"))));
const AGGREGATE: Argument =
    optional(after("AGGREGATE", one_of("aggregate", &[token("SUM"), token("MIN"), token("MAX")])));
const WITH_SCORES: Argument = optional(token("WITHSCORES"));
const READ: &[KeySpec] = &[KeySpec::counted(1, k::RO | k::ACCESS)];

/// The rows of commands that reply.
const SHOW: Command = Command {
    since: "6.2.0",
    arity: -3,
    flags: f::READONLY,
    keys: READ,
    arguments: &[int("numkeys"), repeated(key("key", 0)), WEIGHTS, AGGREGATE, WITH_SCORES],
    ..ROW
};

/// The rows of commands that store.
const STORE: Command = Command {
    since: "2.0.0",
    arity: -4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE), KeySpec::counted(2, k::RO | k::ACCESS)],
    arguments: &[
        key("destination", 0),
        int("numkeys"),
        repeated(key("key", 1)),
        WEIGHTS,
        AGGREGATE,
    ],
    ..ROW
};

pub(super) const ZUNION: Command = Command {
    name: "zunion",
    summary: "Returns the members that any of some sorted sets has, with combined scores.",
    complexity: "O(N log N) with N members of all sorted sets",
    run: |ctx, args, reply| show(ctx, args, reply, Operation::Union),
    ..SHOW
};

pub(super) const ZUNIONSTORE: Command = Command {
    name: "zunionstore",
    summary: "Stores the members that any of some sorted sets has, with combined scores, and returns their number.",
    complexity: "O(N log N) with N members of all sorted sets",
    run: |ctx, args, reply| {
        store_result(ctx, args, reply, Operation::Union, EventKind::ZUnionStore)
    },
    ..STORE
};

pub(super) const ZINTER: Command = Command {
    name: "zinter",
    summary: "Returns the members that all of some sorted sets have, with combined scores.",
    complexity: "O(N*K log N) with K sorted sets, the smallest of which has N members",
    run: |ctx, args, reply| show(ctx, args, reply, Operation::Intersection),
    ..SHOW
};

pub(super) const ZINTERSTORE: Command = Command {
    name: "zinterstore",
    summary: "Stores the members that all of some sorted sets have, with combined scores, and returns their number.",
    complexity: "O(N*K log N) with K sorted sets, the smallest of which has N members",
    run: |ctx, args, reply| {
        store_result(ctx, args, reply, Operation::Intersection, EventKind::ZInterStore)
    },
    ..STORE
};

pub(super) const ZDIFF: Command = Command {
    name: "zdiff",
    arguments: &[int("numkeys"), repeated(key("key", 0)), WITH_SCORES],
    summary: "Returns the members that the first of some sorted sets has and none of the others.",
    complexity: "O(N*K log N) with K sorted sets, the first of which has N members",
    run: |ctx, args, reply| show(ctx, args, reply, Operation::Difference),
    ..SHOW
};

pub(super) const ZDIFFSTORE: Command = Command {
    name: "zdiffstore",
    since: "6.2.0",
    arguments: &[key("destination", 0), int("numkeys"), repeated(key("key", 1))],
    summary: "Stores the members that the first of some sorted sets has and none of the others, and returns their number.",
    complexity: "O(N*K log N) with K sorted sets, the first of which has N members",
    run: |ctx, args, reply| {
        store_result(ctx, args, reply, Operation::Difference, EventKind::ZDiffStore)
    },
    ..STORE
};

pub(super) const ZINTERCARD: Command = Command {
    name: "zintercard",
    since: "7.0.0",
    arguments: &[int("numkeys"), repeated(key("key", 0)), optional(after("LIMIT", int("limit")))],
    summary: "Returns the number of members that all of some sorted sets have, up to a limit.",
    complexity: "O(N*K log N) with K sorted sets, the smallest of which has N members",
    run: zintercard,
    ..SHOW
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// Which options a command has.
#[derive(Clone, Copy)]
struct Allowed {
    weights: bool,
    with_scores: bool,
    limit: bool,
}

/// How the scores of a member become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn of(self, one: f64, other: f64) -> f64 {
        match self {
            Aggregate::Sum => zero_if_nan(one + other),
            Aggregate::Min => {
                if other < one {
                    other
                } else {
                    one
                }
            }
            Aggregate::Max => {
                if other > one {
                    other
                } else {
                    one
                }
            }
        }
    }
}

/// The sum of opposite infinities, and their product with zero, is zero.
fn zero_if_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// The options behind the keys.
struct Options {
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
    /// The most members to count.
    limit: usize,
}

impl Options {
    fn parse(
        args: &Args<'_>,
        mut at: usize,
        keys: usize,
        allowed: Allowed,
    ) -> Result<Options, ErrorReply> {
        let (weights, aggregate) = (vec![1.0; keys], Aggregate::Sum);
        let mut options = Options { weights, aggregate, with_scores: false, limit: usize::MAX };
        while at < args.len() {
            let left = args.len() - at;
            if allowed.weights && left > keys && args.is(at, "WEIGHTS") {
                for (index, weight) in options.weights.iter_mut().enumerate() {
                    let given = parse(&args[at + 1 + index]);
                    *weight =
                        given.ok_or_else(|| ErrorReply::err("weight value is not a float"))?;
                }
                at += 1 + keys;
            } else if allowed.weights && left > 1 && args.is(at, "AGGREGATE") {
                options.aggregate = match at + 1 {
                    at if args.is(at, "SUM") => Aggregate::Sum,
                    at if args.is(at, "MIN") => Aggregate::Min,
                    at if args.is(at, "MAX") => Aggregate::Max,
                    _ => return Err(ErrorReply::Syntax),
                };
                at += 2;
            } else if allowed.with_scores && args.is(at, "WITHSCORES") {
                options.with_scores = true;
                at += 1;
            } else if allowed.limit && left > 1 && args.is(at, "LIMIT") {
                let given = args.integer(at + 1).ok().and_then(|limit| usize::try_from(limit).ok());
                let limit = given.ok_or_else(|| ErrorReply::err("LIMIT can't be negative"))?;
                options.limit = if limit == 0 { usize::MAX } else { limit };
                at += 2;
            } else {
                return Err(ErrorReply::Syntax);
            }
        }
        Ok(options)
    }
}

/// The sources of a command, with their weights, and its options.
struct Input<'a> {
    sources: Vec<(Option<Source<'a>>, f64)>,
    options: Options,
}

impl<'a> Input<'a> {
    /// Reads the sources, as many as the argument at an index says, and parses the options behind them.
    fn read(
        ctx: &'a mut Ctx<'_>,
        args: &Args<'_>,
        at: usize,
        allowed: Allowed,
    ) -> Result<Input<'a>, ErrorReply> {
        let keys = args.integer(at)?;
        if keys < 1 {
            let name = ctx.command.name;
            let why = format_args!("at least 1 input key is needed for '{name}' command");
            return Err(ErrorReply::err(why));
        }
        let end = usize::try_from(keys).ok().and_then(|keys| keys.checked_add(at + 1));
        let end = end.filter(|end| *end <= args.len()).ok_or(ErrorReply::Syntax)?;
        let first = at + 1;
        let sources = ctx.read_all_as(args, first..end, |entry| {
            let set = SetRef::of(entry).map(Source::Set);
            set.or_else(|| ZsetRef::of(entry).map(Source::Zset))
        })?;
        let options = Options::parse(args, end, end - first, allowed)?;
        let sources = sources.into_iter().zip(options.weights.iter().copied()).collect();
        Ok(Input { sources, options })
    }

    /// Puts the sources in the order of their sizes.
    fn sort(&mut self) {
        self.sources.sort_by_key(|(source, _)| source.map_or(0, Source::len));
    }

    fn combine(&mut self, operation: Operation, gathered: &mut Gathered<'a>) {
        match operation {
            Operation::Union => {
                self.sort();
                for (source, weight) in &self.sources {
                    if let Some(source) = source {
                        gathered.push_all(*source, |score| zero_if_nan(weight * score));
                    }
                }
                gathered.unite(|one, other| self.options.aggregate.of(one, other));
            }
            Operation::Intersection => {
                self.sort();
                self.intersect(gathered);
            }
            Operation::Difference => {
                let Some(((Some(first), _), rest)) = self.sources.split_first() else { return };
                gathered.push_all(*first, |score| score);
                let rest: Vec<Source<'_>> = rest.iter().filter_map(|(source, _)| *source).collect();
                gathered.retain(|text| rest.iter().all(|source| source.score(text).is_none()));
            }
        }
    }

    /// Gathers the members that all sources have, which are in the order of their sizes.
    fn intersect(&self, gathered: &mut Gathered<'a>) {
        let Some(((Some(first), weight), rest)) = self.sources.split_first() else { return };
        gathered.push_all(*first, |score| score);
        let aggregate = self.options.aggregate;
        gathered.list.retain_mut(|one| {
            one.score = zero_if_nan(weight * one.score);
            rest.iter().all(|(source, weight)| {
                let found = source.and_then(|source| source.score(&one.text));
                if let Some(score) = found {
                    one.score = aggregate.of(one.score, score * weight);
                }
                found.is_some()
            })
        });
    }
}

fn show(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    operation: Operation,
) -> Outcome {
    let mut gathered = Gathered::new(ctx.data.hasher().seed());
    let weights = operation != Operation::Difference;
    let allowed = Allowed { weights, with_scores: true, limit: false };
    let mut input = Input::read(ctx, args, 1, allowed)?;
    input.combine(operation, &mut gathered);
    gathered.sort();
    let mut shown = Shown { with_scores: input.options.with_scores, reply };
    shown.begin(gathered.list.len());
    for one in &gathered.list {
        shown.member(Member::Text(&one.text), one.score);
    }
    Ok(Flow::Done)
}

fn store_result(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    operation: Operation,
    event: EventKind,
) -> Outcome {
    let mut gathered = Gathered::new(ctx.data.hasher().seed());
    let weights = operation != Operation::Difference;
    let allowed = Allowed { weights, with_scores: false, limit: false };
    // The sources borrow the whole context.
    let mut result = begin(ctx);
    let mut input = Input::read(ctx, args, 2, allowed)?;
    input.combine(operation, &mut gathered);
    gathered.fill(&mut result);
    store(ctx, args.key(1), reply, result, event)
}

fn zintercard(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let allowed = Allowed { weights: false, with_scores: false, limit: true };
    let mut input = Input::read(ctx, args, 1, allowed)?;
    input.sort();
    let mut count = 0;
    if let Some(((Some(first), _), rest)) = input.sources.split_first() {
        first.each_while(&mut |member, _| {
            let text = member.to_text();
            let is_in = |source: &Option<Source<'_>>| {
                source.is_some_and(|source| source.score(&text).is_some())
            };
            count += usize::from(rest.iter().all(|(source, _)| is_in(source)));
            count < input.options.limit
        });
    }
    reply.count(count);
    Ok(Flow::Done)
}
