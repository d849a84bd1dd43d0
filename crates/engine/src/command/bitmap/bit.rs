//! Single bits, their number and their places.

use russet_ds::bits;
use russet_protocol::ErrorReply;

use super::{Given, ROW, UNIT, grown_len, parse_offset};
use crate::command::argument::{block, int, key, optional};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::string::Text;

pub(super) const SETBIT: Command = Command {
    name: "setbit",
    since: "2.2.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::ACCESS | k::UPDATE)],
    arguments: &[key("key", 0), int("offset"), int("value")],
    summary: "Sets or clears a bit of a string, which grows if it is shorter, and returns what the bit was.",
    run: setbit,
    ..ROW
};

fn setbit(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, at) = (args.key(1), parse_offset(ctx, &args[2], None)?);
    let value = args.integer(3).ok().filter(|value| matches!(value, 0 | 1));
    let value = value.ok_or_else(|| ErrorReply::err("bit is not an integer or out of range"))? == 1;
    let old = ctx.peek_as(key, Text::of)?.map_or(&[][..], Text::bytes);
    let (old_len, was_set) = (old.len(), bits::get(old, at));
    let len = grown_len(old_len, at)?;
    if len > old_len || was_set != value {
        ctx.change_bytes(key, len, EventKind::SetBit, |bytes| (bits::set(bytes, at, value), 1))?;
    }
    reply.integer(i64::from(was_set));
    Ok(Flow::Done)
}

pub(super) const GETBIT: Command = Command {
    name: "getbit",
    since: "2.2.0",
    arity: 3,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), int("offset")],
    summary: "Returns a bit of a string, 0 beyond its end.",
    run: getbit,
    ..ROW
};

fn getbit(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let at = parse_offset(ctx, &args[2], None)?;
    let bytes = ctx.string(args.key(1))?.map_or(&[][..], Text::bytes);
    reply.integer(i64::from(bits::get(bytes, at)));
    Ok(Flow::Done)
}

pub(super) const BITCOUNT: Command = Command {
    name: "bitcount",
    since: "2.6.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        optional(block("range", const { &[int("start"), int("end"), UNIT] })),
    ],
    summary: "Counts the set bits of a string or of a range of it.",
    complexity: "O(N) for N bytes counted",
    run: bitcount,
    ..ROW
};

fn bitcount(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let given = Given::parse(args, 2)?;
    let bytes = ctx.string(args.key(1))?.map_or(&[][..], Text::bytes);
    let is_reversed = |given: Given| {
        // Redis compares two negative ends before they are cut to the string's length.
        given.start < 0 && given.end.is_some_and(|end| end < 0 && given.start > end)
    };
    let count = match given {
        None => bits::count(bytes),
        Some(given) if is_reversed(given) => 0,
        Some(given) => bits::count_range(bytes, given.of(bytes.len())),
    };
    reply.integer(count as i64);
    Ok(Flow::Done)
}

pub(super) const BITPOS: Command = Command {
    name: "bitpos",
    since: "2.8.7",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        int("bit"),
        optional(block(
            "range",
            const { &[int("start"), optional(block("end-unit-block", const { &[int("end"), UNIT] }))] },
        )),
    ],
    summary: "Returns the place of the first set or clear bit of a string or of a range of it.",
    complexity: "O(N) for N bytes searched",
    run: bitpos,
    ..ROW
};

fn bitpos(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let wanted = match args.integer(2)? {
        0 => false,
        1 => true,
        _ => return Err(ErrorReply::err("The bit argument must be 1 or 0.")),
    };
    let given = Given::parse(args, 3)?;
    let Some(text) = ctx.string(args.key(1))? else {
        // A missing key is a string of endless zeros.
        reply.integer(if wanted { -1 } else { 0 });
        return Ok(Flow::Done);
    };
    let bytes = text.bytes();
    let whole = Given { start: 0, end: None, is_bits: false };
    let given = given.unwrap_or(whole);
    let range = given.of(bytes.len());
    // Zeros follow a string, but not a range whose end was given.
    let is_open = given.end.is_none() && !wanted && !range.is_empty();
    let found = bits::find(bytes, range.clone(), wanted).or(is_open.then_some(range.end));
    reply.integer(found.map_or(-1, |at| at as i64));
    Ok(Flow::Done)
}
