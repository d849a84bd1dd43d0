//! Commands that change a part of a string.
//!
//! A short string is copied and stored anew if it grows. A long one grows in place, so that appending takes
//! amortized time and changing a part does not copy the whole.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{int, key, string};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, STRING_GAP_MAX, flag as f};
use crate::keyspace::{EventKind, Expiry};
use crate::types::string::Text;

pub(super) const APPEND: Command = Command {
    name: "append",
    since: "2.0.0",
    arity: 3,
    flags: f::WRITE | f::DENYOOM | f::FAST,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[key("key", 0), string("value")],
    summary: "Appends bytes to a string, or creates it if the key does not exist.",
    complexity: "O(N) for N bytes appended, amortized",
    run: append,
    ..ROW
};

fn append(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, more) = (args.key(1), &args[2]);
    let Some(old) = ctx.peek_as(key, Text::of)?.map(|text| text.bytes().len()) else {
        super::store(ctx.edit(key), args, 2, Expiry::Clear, EventKind::Append);
        reply.count(more.len());
        return Ok(Flow::Done);
    };
    let len = checked_len(ctx, old, old as u64, more)?;
    write_at(ctx, args, old, more, EventKind::Append)?;
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const SETRANGE: Command = Command {
    name: "setrange",
    since: "2.2.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), int("offset"), string("value")],
    summary: "Overwrites a part of a string, filling any gap before it with zero bytes.",
    complexity: "O(N) for N bytes written, the gap included",
    run: setrange,
    ..ROW
};

fn setrange(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (key, part) = (args.key(1), &args[3]);
    let offset =
        u64::try_from(args.integer(2)?).map_err(|_| ErrorReply::err("offset is out of range"))?;
    let old = ctx.peek_as(key, Text::of)?.map(|text| text.bytes().len());
    if part.is_empty() {
        reply.count(old.unwrap_or(0));
        return Ok(Flow::Done);
    }
    let end = checked_len(ctx, old.unwrap_or(0), offset, part)?;
    write_at(ctx, args, end - part.len(), part, EventKind::SetRange)?;
    reply.count(end.max(old.unwrap_or(0)));
    Ok(Flow::Done)
}

/// Returns the length of a string of `old` bytes after `more` is written at `offset`, or an error
/// if it is too long.
fn checked_len(ctx: &Ctx<'_>, old: usize, offset: u64, more: &[u8]) -> Result<usize, ErrorReply> {
    let most = ctx.string_bytes_max();
    let end = offset.checked_add(more.len() as u64).filter(|&end| end <= most);
    end.filter(|_| offset.saturating_sub(old as u64) <= STRING_GAP_MAX)
        .and_then(|end| usize::try_from(end).ok())
        .ok_or(ErrorReply::StringTooLong)
}

/// Writes `part` at an offset of a string, which is created if the key does not exist.
fn write_at(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    offset: usize,
    part: &[u8],
    event: EventKind,
) -> Result<(), ErrorReply> {
    let end = offset + part.len();
    ctx.change_bytes(args.key(1), end, event, |bytes| {
        bytes[offset..end].copy_from_slice(part);
        ((), 1)
    })
}
