//! Searches for places within a circle or a box.

use russet_ds::listpack::{Digits, Element as Member};

use super::cell::{Point, point_of};
use super::options::{Order, Query, Search};
use super::shape::Shape;
use super::{ROW, UNIT, reply_distance, reply_point};
use crate::command::argument::{
    Argument, after, block, double, int, key, one_of, optional, shown_as, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::zset::gather::{Gathered, begin, store};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::zset::ZsetRef;

const FROM: Argument = one_of(
    "from",
    &[
        after("FROMMEMBER", string("member")),
        after("FROMLONLAT", block("fromlonlat", &[double("longitude"), double("latitude")])),
    ],
);
const BY: Argument = one_of(
    "by",
    &[
        block("circle", &[after("BYRADIUS", double("radius")), UNIT]),
        block("box", &[after("BYBOX", double("width")), double("height"), UNIT]),
    ],
);
const ORDER: Argument = optional(one_of("order", &[token("ASC"), token("DESC")]));
const COUNT: Argument =
    optional(block("count-block", &[after("COUNT", int("count")), optional(token("ANY"))]));
const WITH_COORD: Argument = optional(token("WITHCOORD"));
const WITH_DIST: Argument = optional(token("WITHDIST"));
const WITH_HASH: Argument = optional(token("WITHHASH"));
const STORE: Argument = optional(one_of(
    "store",
    &[
        shown_as("key", after("STORE", key("storekey", 1))),
        shown_as("key", after("STOREDIST", key("storedistkey", 2))),
    ],
));

pub(super) const GEOSEARCH: Command = Command {
    name: "geosearch",
    since: "6.2.0",
    arity: -7,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), FROM, BY, ORDER, COUNT, WITH_COORD, WITH_DIST, WITH_HASH],
    summary: "Returns the places within a circle or a box.",
    complexity: "O(N + log M) with M places, N of which are in a box around the shape",
    run: |ctx, args, reply| search(ctx, args, reply, Search::Shape, false),
    ..ROW
};

pub(super) const GEOSEARCHSTORE: Command = Command {
    name: "geosearchstore",
    arity: -8,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE), KeySpec::one(2, k::RO | k::ACCESS)],
    arguments: &[
        key("destination", 0),
        key("source", 1),
        FROM,
        BY,
        ORDER,
        COUNT,
        optional(token("STOREDIST")),
    ],
    summary: "Stores the places within a circle or a box in a sorted set, and returns their number.",
    run: |ctx, args, reply| search(ctx, args, reply, Search::ShapeStore, true),
    ..GEOSEARCH
};

pub(super) const GEORADIUS: Command = Command {
    name: "georadius",
    since: "3.2.0",
    arity: -6,
    flags: f::WRITE | f::DENYOOM,
    keys: &[
        KeySpec::one(1, k::RO | k::ACCESS),
        KeySpec::after("STORE", 6, k::OW | k::UPDATE),
        KeySpec::after("STOREDIST", 6, k::OW | k::UPDATE),
    ],
    arguments: &[
        key("key", 0),
        double("longitude"),
        double("latitude"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
    ],
    summary: "Returns the places within a circle around a position, or stores them.",
    run: |ctx, args, reply| search(ctx, args, reply, Search::Radius, true),
    ..GEOSEARCH
};

pub(super) const GEORADIUS_RO: Command = Command {
    name: "georadius_ro",
    since: "3.2.10",
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        double("longitude"),
        double("latitude"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
    ],
    summary: "Returns the places within a circle around a position.",
    run: |ctx, args, reply| search(ctx, args, reply, Search::Radius, false),
    ..GEORADIUS
};

pub(super) const GEORADIUSBYMEMBER: Command = Command {
    name: "georadiusbymember",
    arity: -5,
    keys: &[
        KeySpec::one(1, k::RO | k::ACCESS),
        KeySpec::after("STORE", 5, k::OW | k::UPDATE),
        KeySpec::after("STOREDIST", 5, k::OW | k::UPDATE),
    ],
    arguments: &[
        key("key", 0),
        string("member"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
        STORE,
    ],
    summary: "Returns the places within a circle around a place, or stores them.",
    run: |ctx, args, reply| search(ctx, args, reply, Search::RadiusByMember, true),
    ..GEORADIUS
};

pub(super) const GEORADIUSBYMEMBER_RO: Command = Command {
    name: "georadiusbymember_ro",
    since: "3.2.10",
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        string("member"),
        double("radius"),
        UNIT,
        WITH_COORD,
        WITH_DIST,
        WITH_HASH,
        COUNT,
        ORDER,
    ],
    summary: "Returns the places within a circle around a place.",
    run: |ctx, args, reply| search(ctx, args, reply, Search::RadiusByMember, false),
    ..GEORADIUSBYMEMBER
};

/// A place that was found.
struct Found<'a> {
    member: Member<'a>,
    score: f64,
    point: Point,
    /// In meters.
    distance: f64,
}

/// Finds the places of a query in a sorted set.
fn find<'a>(zset: ZsetRef<'a>, shape: &Shape, query: &Query) -> Vec<Found<'a>> {
    let most = query.count.filter(|_| query.any).unwrap_or(usize::MAX);
    let mut found = Vec::new();
    for cell in shape.cells() {
        if found.len() >= most {
            break;
        }
        let (low, end) = cell.scores();
        zset.each_from(zset.count_below(low, false), true, &mut |member, score| {
            if score >= end {
                return false;
            }
            let point = point_of(score);
            if let Some(distance) = shape.distance_within(point) {
                found.push(Found { member, score, point, distance });
            }
            found.len() < most
        });
    }
    if let Some(order) = query.order {
        found.sort_by(|one, next| match order {
            Order::Ascending => one.distance.total_cmp(&next.distance),
            Order::Descending => next.distance.total_cmp(&one.distance),
        });
    }
    found.truncate(query.count.unwrap_or(usize::MAX));
    found
}

fn search(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    which: Search,
    stores: bool,
) -> Outcome {
    // The source borrows the whole context.
    let (mut result, seed) = (begin(ctx), ctx.data.hasher().seed());
    let source = if which == Search::ShapeStore { 2 } else { 1 };
    let zset = ctx.read_as(args.key(source), ZsetRef::of)?;
    let query = which.parse(args, zset, stores)?;
    let found = match zset.zip(query.shape) {
        Some((zset, shape)) => find(zset, &shape, &query),
        None => Vec::new(),
    };
    let meters = query.shape.map_or(1.0, |shape| shape.meters);
    let Some(target) = query.target else {
        reply_found(reply, &found, &query, meters);
        return Ok(Flow::Done);
    };
    let mut gathered = Gathered::new(seed);
    for one in &found {
        let score = if query.stores_distance { one.distance / meters } else { one.score };
        gathered.push(one.member, score);
    }
    let stored = found.len() as u64;
    gathered.fill(&mut result);
    let event = match which {
        Search::ShapeStore => EventKind::GeoSearchStore,
        _ => EventKind::GeoRadiusStore,
    };
    let dirty = ctx.data.dirty;
    let outcome = store(ctx, args.key(target), reply, result, event);
    ctx.data.dirty = ctx.data.dirty.max(dirty + stored);
    outcome
}

fn reply_found(reply: &mut Reply<'_>, found: &[Found<'_>], query: &Query, meters: f64) {
    let options = [query.with_distance, query.with_hash, query.with_point];
    let options = options.into_iter().filter(|is_wanted| *is_wanted).count();
    reply.array(found.len());
    for one in found {
        if options > 0 {
            reply.array(options + 1);
        }
        reply.bulk(one.member.text(&mut Digits::default()));
        if query.with_distance {
            reply_distance(reply, one.distance / meters);
        }
        if query.with_hash {
            reply.integer(one.score as i64);
        }
        if query.with_point {
            reply_point(reply, one.point);
        }
    }
}
