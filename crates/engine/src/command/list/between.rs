//! From one list to another: LMOVE and RPOPLPUSH.

use super::ends::take;
use super::{ROW, parse_side, side};
use crate::command::argument::key;
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::list::{List, ListRef, Popped, Side};

pub(super) const LMOVE: Command = Command {
    name: "lmove",
    since: "6.2.0",
    arity: 5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::DELETE), KeySpec::one(2, k::RW | k::INSERT)],
    arguments: &[key("source", 0), key("destination", 1), side("wherefrom"), side("whereto")],
    summary: "Moves an element from an end of one list to an end of another, and returns it.",
    run: |ctx, args, reply| {
        let (from, to) = (parse_side(args, 3)?, parse_side(args, 4)?);
        move_element(ctx, args, reply, from, to)
    },
    ..ROW
};

pub(super) const RPOPLPUSH: Command = Command {
    name: "rpoplpush",
    since: "1.2.0",
    arity: 3,
    arguments: &[key("source", 0), key("destination", 1)],
    summary: "Moves the last element of one list to the front of another, and returns it.",
    run: |ctx, args, reply| move_element(ctx, args, reply, Side::Right, Side::Left),
    ..LMOVE
};

/// Moves an element. The event of the push comes first, as in Redis.
pub(super) fn move_element(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    reply: &mut Reply<'_>,
    from: Side,
    to: Side,
) -> Outcome {
    let (source, destination) = (args.key(1), args.key(2));
    if ctx.peek_as(source, ListRef::of)?.is_none() {
        reply.null();
        return Ok(Flow::Done);
    }
    ctx.peek_as(destination, ListRef::of)?;
    let dirty = ctx.data.dirty;
    let moved = match source.bytes == destination.bytes {
        true => ctx.change::<List, Option<Popped>>(source, |list| {
            let moved = list.pop(from);
            if let Some(element) = &moved {
                list.prepare(std::iter::once(&**element));
                list.push(to, element);
            }
            Change::of(moved, 1, events(from, to))
        })?,
        false => {
            let last = ctx.peek_as(source, ListRef::of)?.and_then(|list| {
                let index = if from == Side::Left { 0 } else { list.len() - 1 };
                list.get(index)
            });
            let element = last.map(|element| element.to_text().into_owned()).unwrap_or_default();
            ctx.change::<List, ()>(destination, |list| {
                list.prepare(std::iter::once(&*element));
                list.push(to, &element);
                Change::of((), 1, push_events(to))
            })?;
            take(ctx, source, from, 1)?.pop()
        }
    };
    ctx.data.dirty = dirty + 1;
    match moved {
        Some(moved) => reply.bulk(&moved),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

const fn push_events(to: Side) -> &'static [EventKind] {
    match to {
        Side::Left => &[EventKind::LPush],
        Side::Right => &[EventKind::RPush],
    }
}

/// The events of a move within a list.
const fn events(from: Side, to: Side) -> &'static [EventKind] {
    use EventKind as E;
    match (to, from) {
        (Side::Left, Side::Left) => &[E::LPush, E::LPop],
        (Side::Left, Side::Right) => &[E::LPush, E::RPop],
        (Side::Right, Side::Left) => &[E::RPush, E::LPop],
        (Side::Right, Side::Right) => &[E::RPush, E::RPop],
    }
}
