//! Adding places; positions and distances.

use russet_protocol::ErrorReply;

use super::cell::{
    ALL_LATITUDES, Cell, LATITUDES, LONGITUDES, Point, STEPS_MAX, point_of, score_of,
};
use super::shape::distance;
use super::{ROW, UNIT, meters_of, reply_distance, reply_point};
use crate::command::argument::{
    block, double, key, named, one_of, optional, repeated, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::zset::add::{Options, add_pairs, reply_added};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::double::parse;
use crate::types::zset::ZsetRef;

pub(super) const GEOADD: Command = Command {
    name: "geoadd",
    since: "3.2.0",
    arity: -5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        optional(one_of("condition", &[token("NX"), token("XX")])),
        optional(named("change", token("CH"))),
        repeated(block("data", &[double("longitude"), double("latitude"), string("member")])),
    ],
    summary: "Adds places with their positions, or changes positions, and returns how many were added.",
    complexity: "O(log N) for each of them, with N places",
    run: geoadd,
    ..ROW
};

/// Parses a longitude and the latitude behind it.
pub(super) fn parse_point(args: &Args<'_>, at: usize) -> Result<Point, ErrorReply> {
    let number = |at: usize| args.get(at).and_then(parse).ok_or(ErrorReply::NotFloat);
    let (longitude, latitude) = (number(at)?, number(at + 1)?);
    if !LONGITUDES.contains(longitude) || !LATITUDES.contains(latitude) {
        return Err(ErrorReply::err(format_args!(
            "invalid longitude,latitude pair {longitude:.6},{latitude:.6}"
        )));
    }
    Ok(Point { longitude, latitude })
}

/// It is propagated as ZADD, in lower case as by stock servers.
fn geoadd(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (mut options, mut first) = (Options::default(), 2);
    loop {
        match first {
            at if args.is(at, "NX") => options.only_new = true,
            at if args.is(at, "XX") => options.only_existing = true,
            at if args.is(at, "CH") => options.counts_changes = true,
            _ => break,
        }
        first += 1;
    }
    let places = args.len() - first;
    if places == 0 || !places.is_multiple_of(3) || (options.only_new && options.only_existing) {
        return Err(ErrorReply::Syntax);
    }
    let (mut pairs, mut effect): (_, Vec<Vec<u8>>) = (Vec::new(), vec![b"zadd".to_vec()]);
    effect.extend((1..first).map(|at| args[at].to_vec()));
    for at in (first..args.len()).step_by(3) {
        let score = score_of(parse_point(args, at)?);
        pairs.push((&args[at + 2], score as f64));
        effect.extend([score.to_string().into_bytes(), args[at + 2].to_vec()]);
    }
    let done = add_pairs(ctx, args.key(1), &pairs, options)?;
    if done.is_change() {
        let effect: Vec<&[u8]> = effect.iter().map(|word| &**word).collect();
        ctx.effect(&effect);
    }
    reply_added(reply, &done, options);
    Ok(Flow::Done)
}

pub(super) const GEODIST: Command = Command {
    name: "geodist",
    since: "3.2.0",
    arity: -4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), string("member1"), string("member2"), optional(UNIT)],
    summary: "Returns the distance between two places.",
    complexity: "O(log N) with N places",
    run: geodist,
    ..ROW
};

fn geodist(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let meters = match args.len() {
        4 => 1.0,
        5 => meters_of(args, 4)?,
        _ => return Err(ErrorReply::Syntax),
    };
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    let point = |member: &[u8]| zset.and_then(|zset| zset.score(member)).map(point_of);
    match point(&args[2]).zip(point(&args[3])) {
        Some((one, other)) => reply_distance(reply, distance(one, other) / meters),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const GEOHASH: Command = Command {
    name: "geohash",
    since: "3.2.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), optional(repeated(string("member")))],
    summary: "Returns the geohashes of places, with eleven characters.",
    complexity: "O(log N) for each of them, with N places",
    run: |ctx, args, reply| {
        each_point(ctx, args, reply, |point, reply| match point {
            Some(point) => reply.bulk(&geohash_of(point)),
            None => reply.null(),
        })
    },
    ..ROW
};

/// Returns the geohash of a position. Its last character would have bits that scores do not have.
fn geohash_of(point: Point) -> [u8; 11] {
    const ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
    let bits = Cell::of(point, STEPS_MAX, ALL_LATITUDES).bits;
    let mut text = [ALPHABET[0]; 11];
    for (index, byte) in text[..10].iter_mut().enumerate() {
        *byte = ALPHABET[(bits >> (52 - (index + 1) * 5) & 0x1f) as usize];
    }
    text
}

pub(super) const GEOPOS: Command = Command {
    name: "geopos",
    summary: "Returns the positions of places.",
    run: |ctx, args, reply| {
        each_point(ctx, args, reply, |point, reply| match point {
            Some(point) => reply_point(reply, point),
            None => reply.null_array(),
        })
    },
    ..GEOHASH
};

/// Replies with something for each member.
fn each_point(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    show: fn(Option<Point>, &mut Reply<'_>),
) -> Outcome {
    let zset = ctx.read_as(args.key(1), ZsetRef::of)?;
    reply.array(args.len() - 2);
    for member in args.from(2) {
        show(zset.and_then(|zset| zset.score(member)).map(point_of), reply);
    }
    Ok(Flow::Done)
}
