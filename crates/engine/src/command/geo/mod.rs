//! Places: sorted sets whose scores are positions.
//!
//! * `cell.rs`: positions as scores, and cells of the map
//! * `shape.rs`: what is searched, and distances
//! * `places.rs`: adding places, positions, distances
//! * `search.rs`: searches; `options.rs`: their arguments

mod cell;
mod options;
mod places;
mod search;
mod shape;

use super::argument::{Argument, one_of, token};
use super::{Args, Command, Group, Reply, acl};
use crate::types::long_double::LongDouble;
use cell::Point;
use russet_protocol::ErrorReply;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    places::GEOADD,
    places::GEODIST,
    places::GEOHASH,
    places::GEOPOS,
    search::GEOSEARCH,
    search::GEOSEARCHSTORE,
    search::GEORADIUS,
    search::GEORADIUS_RO,
    search::GEORADIUSBYMEMBER,
    search::GEORADIUSBYMEMBER_RO,
];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Geo, acl: acl::GEO, ..Command::ROW };

const UNIT: Argument = one_of("unit", &[token("m"), token("km"), token("ft"), token("mi")]);

/// Returns how many meters a unit has.
fn meters_of(args: &Args<'_>, at: usize) -> Result<f64, ErrorReply> {
    match at {
        at if args.is(at, "M") => Ok(1.0),
        at if args.is(at, "KM") => Ok(1000.0),
        at if args.is(at, "FT") => Ok(0.3048),
        at if args.is(at, "MI") => Ok(1609.34),
        _ => Err(ErrorReply::err("unsupported unit provided. please use M, KM, FT, MI")),
    }
}

/// Replies with a distance, with four digits behind the point.
fn reply_distance(reply: &mut Reply<'_>, distance: f64) {
    const UNIT: i64 = 10_000;
    let rounded = (distance * UNIT as f64).round_ties_even() as i64;
    reply.bulk(format!("{}.{:04}", rounded / UNIT, rounded % UNIT).as_bytes());
}

/// Replies with a pair of coordinates.
fn reply_point(reply: &mut Reply<'_>, point: Point) {
    reply.array(2);
    for coordinate in [point.longitude, point.latitude] {
        let text = LongDouble::of(coordinate).to_text();
        reply.double_text(&String::from_utf8_lossy(&text));
    }
}
