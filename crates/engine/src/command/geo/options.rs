//! The arguments of searches.

use russet_protocol::ErrorReply;

use super::cell::{Point, point_of};
use super::meters_of;
use super::places::parse_point;
use super::shape::{Extent, Shape};
use crate::command::Args;
use crate::types::double::parse;
use crate::types::zset::ZsetRef;

/// Which command it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// GEORADIUS: around a position.
    Radius,
    /// GEORADIUSBYMEMBER: around a place.
    RadiusByMember,
    /// GEOSEARCH.
    Shape,
    /// GEOSEARCHSTORE.
    ShapeStore,
}

/// How results are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The nearest first.
    Ascending,
    /// The farthest first.
    Descending,
}

/// What is searched for, and how it is shown.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Where; none if the source does not exist.
    pub shape: Option<Shape>,
    pub with_distance: bool,
    pub with_hash: bool,
    pub with_point: bool,
    pub order: Option<Order>,
    /// The most results.
    pub count: Option<usize>,
    /// Whether any of them will do, not the nearest.
    pub any: bool,
    /// The argument that is the key of the result.
    pub target: Option<usize>,
    /// Whether the result's scores are distances.
    pub stores_distance: bool,
}

/// What is known of the shape.
#[derive(Default)]
struct Parts {
    has_center: bool,
    by_member: bool,
    by_point: bool,
    center: Option<Point>,
    extent: Option<(Extent, f64)>,
}

impl Search {
    fn has_shape(self) -> bool {
        matches!(self, Search::Shape | Search::ShapeStore)
    }

    /// Parses the arguments. `stores`: whether GEORADIUS may store the result.
    pub fn parse(
        self,
        args: &Args<'_>,
        source: Option<ZsetRef<'_>>,
        stores: bool,
    ) -> Result<Query, ErrorReply> {
        let (mut query, mut parts) = (Query::default(), Parts::default());
        let mut at = match self {
            Search::Radius => {
                parts.center = Some(parse_point(args, 2)?);
                parts.extent = Some(parse_radius(args, 4)?);
                6
            }
            Search::RadiusByMember => {
                if let Some(source) = source {
                    parts.center = Some(point_of_member(source, &args[2])?);
                    parts.extent = Some(parse_radius(args, 3)?);
                }
                5
            }
            Search::Shape => 2,
            Search::ShapeStore => {
                query.target = Some(1);
                3
            }
        };
        while at < args.len() {
            at += match parse_common(&mut query, args, at)? {
                0 if self.has_shape() => {
                    self.parse_shape(&mut query, &mut parts, args, at, source)?
                }
                0 if stores => parse_target(&mut query, args, at)?,
                0 => return Err(ErrorReply::Syntax),
                words => words,
            };
        }
        self.check(&query, &parts, args)?;
        let known = parts.center.zip(parts.extent);
        query.shape = known.map(|(center, (extent, meters))| Shape { center, extent, meters });
        // The nearest are to be found first.
        if query.count.is_some() && query.order.is_none() && !query.any {
            query.order = Some(Order::Ascending);
        }
        Ok(query)
    }

    /// Parses an option of GEOSEARCH, and returns its number of words.
    fn parse_shape(
        self,
        query: &mut Query,
        parts: &mut Parts,
        args: &Args<'_>,
        at: usize,
        source: Option<ZsetRef<'_>>,
    ) -> Result<usize, ErrorReply> {
        let left = args.len() - at;
        if self == Search::ShapeStore && args.is(at, "STOREDIST") {
            query.stores_distance = true;
            return Ok(1);
        }
        if args.is(at, "FROMMEMBER") && left > 1 && !parts.by_point {
            if let Some(source) = source {
                parts.center = Some(point_of_member(source, &args[at + 1])?);
            }
            (parts.has_center, parts.by_member) = (true, true);
            return Ok(2);
        }
        if args.is(at, "FROMLONLAT") && left > 2 && !parts.by_member {
            parts.center = Some(parse_point(args, at + 1)?);
            (parts.has_center, parts.by_point) = (true, true);
            return Ok(3);
        }
        let is_box = matches!(parts.extent, Some((Extent::Box(..), _)));
        let is_circle = matches!(parts.extent, Some((Extent::Circle(_), _)));
        if args.is(at, "BYRADIUS") && left > 2 && !is_box {
            parts.extent = Some(parse_radius(args, at + 1)?);
            return Ok(3);
        }
        if args.is(at, "BYBOX") && left > 3 && !is_circle {
            parts.extent = Some(parse_box(args, at + 1)?);
            return Ok(4);
        }
        Err(ErrorReply::Syntax)
    }

    fn check(self, query: &Query, parts: &Parts, args: &Args<'_>) -> Result<(), ErrorReply> {
        if query.target.is_some() && (query.with_distance || query.with_hash || query.with_point) {
            let what = match self {
                Search::ShapeStore => "GEOSEARCHSTORE",
                _ => "STORE option in GEORADIUS",
            };
            return Err(ErrorReply::err(format_args!(
                "{what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        if self.has_shape() && !parts.has_center {
            return Err(ErrorReply::err(format_args!(
                "exactly one of FROMMEMBER or FROMLONLAT can be specified for {}",
                args.text(0)
            )));
        }
        if self.has_shape() && parts.extent.is_none() {
            return Err(ErrorReply::err(format_args!(
                "exactly one of BYRADIUS and BYBOX can be specified for {}",
                args.text(0)
            )));
        }
        if query.any && query.count.is_none() {
            return Err(ErrorReply::err("the ANY argument requires COUNT argument"));
        }
        Ok(())
    }
}

/// Parses an option of all searches, and returns its number of words; none if it is another one.
fn parse_common(query: &mut Query, args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
    if args.is(at, "WITHDIST") {
        query.with_distance = true;
    } else if args.is(at, "WITHHASH") {
        query.with_hash = true;
    } else if args.is(at, "WITHCOORD") {
        query.with_point = true;
    } else if args.is(at, "ANY") {
        query.any = true;
    } else if args.is(at, "ASC") {
        query.order = Some(Order::Ascending);
    } else if args.is(at, "DESC") {
        query.order = Some(Order::Descending);
    } else if args.is(at, "COUNT") && at + 1 < args.len() {
        let count = usize::try_from(args.integer(at + 1)?).ok().filter(|count| *count > 0);
        query.count = Some(count.ok_or_else(|| ErrorReply::err("COUNT must be > 0"))?);
        return Ok(2);
    } else {
        return Ok(0);
    }
    Ok(1)
}

/// Parses the key of the result of GEORADIUS.
fn parse_target(query: &mut Query, args: &Args<'_>, at: usize) -> Result<usize, ErrorReply> {
    let stores_distance = args.is(at, "STOREDIST");
    if at + 1 == args.len() || !(stores_distance || args.is(at, "STORE")) {
        return Err(ErrorReply::Syntax);
    }
    (query.target, query.stores_distance) = (Some(at + 1), stores_distance);
    Ok(2)
}

fn point_of_member(source: ZsetRef<'_>, member: &[u8]) -> Result<Point, ErrorReply> {
    let score = source.score(member);
    let why = "could not decode requested zset member";
    score.map(point_of).ok_or_else(|| ErrorReply::err(why))
}

/// Parses a radius and its unit.
fn parse_radius(args: &Args<'_>, at: usize) -> Result<(Extent, f64), ErrorReply> {
    let radius = parse(&args[at]).ok_or_else(|| ErrorReply::err("need numeric radius"))?;
    if radius < 0.0 {
        return Err(ErrorReply::err("radius cannot be negative"));
    }
    Ok((Extent::Circle(radius), meters_of(args, at + 1)?))
}

/// Parses a width, a height, and their unit.
fn parse_box(args: &Args<'_>, at: usize) -> Result<(Extent, f64), ErrorReply> {
    let width = parse(&args[at]).ok_or_else(|| ErrorReply::err("need numeric width"))?;
    let height = parse(&args[at + 1]).ok_or_else(|| ErrorReply::err("need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(ErrorReply::err("height or width cannot be negative"));
    }
    Ok((Extent::Box(width, height), meters_of(args, at + 2)?))
}
