//! Commands that only read strings.

use super::ROW;
use crate::command::argument::{int, key, repeated};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::string::Text;

pub(super) const GET: Command = Command {
    name: "get",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns the value of a string.",
    run: get,
    ..ROW
};

fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.string(args.key(1))? {
        Some(text) => reply.text(text),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const MGET: Command = Command {
    name: "mget",
    since: "1.0.0",
    arity: -2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::rest(1, 1, k::RO | k::ACCESS)],
    arguments: &[repeated(key("key", 0))],
    summary: "Returns the values of several strings.",
    complexity: "O(N) for N keys",
    run: mget,
    ..ROW
};

fn mget(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(args.len() - 1);
    for at in 1..args.len() {
        if reply.is_cut() {
            break;
        }
        // A key of another type yields null and no error.
        match ctx.string(args.key(at)) {
            Ok(Some(text)) => reply.text(text),
            Ok(None) | Err(_) => reply.null(),
        }
    }
    Ok(Flow::Done)
}

pub(super) const STRLEN: Command = Command {
    name: "strlen",
    since: "2.2.0",
    arity: 2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO)],
    arguments: &[key("key", 0)],
    summary: "Returns the length of a string in bytes.",
    run: strlen,
    ..ROW
};

fn strlen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.string(args.key(1))?.map_or(0, |text| text.bytes().len());
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const GETRANGE: Command = Command {
    name: "getrange",
    since: "2.4.0",
    arity: 4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), int("start"), int("end")],
    summary: "Returns a part of a string, given the offsets of its first and last byte.",
    complexity: "O(N) for N bytes returned",
    run: getrange,
    ..ROW
};

pub(super) const SUBSTR: Command = Command {
    name: "substr",
    since: "1.0.0",
    arity: 4,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), int("start"), int("end")],
    summary: "Returns a part of a string. The former name of GETRANGE.",
    complexity: "O(N) for N bytes returned",
    run: getrange,
    ..ROW
};

fn getrange(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, end) = (args.integer(2)?, args.integer(3)?);
    let text = ctx.string(args.key(1))?.map_or(&[][..], Text::bytes);
    reply.bulk(part(text, start, end));
    Ok(Flow::Done)
}

/// Returns the bytes from one offset to another, inclusive. Negative offsets count from the end.
fn part(text: &[u8], start: i64, end: i64) -> &[u8] {
    let len = i64::try_from(text.len()).unwrap_or(i64::MAX);
    if len == 0 || (start < 0 && end < 0 && start > end) {
        return &[];
    }
    let from_start = |offset: i64| {
        let offset = if offset < 0 { offset.saturating_add(len) } else { offset };
        offset.max(0)
    };
    let (start, end) = (from_start(start), from_start(end).min(len - 1));
    if start > end { &[] } else { &text[start as usize..=end as usize] }
}

#[cfg(test)]
mod tests {
    use super::part;

    #[test]
    fn offsets_of_any_size_give_a_part_or_nothing() {
        let text = b"Hello World";
        for (start, end, expected) in [
            (0, -1, &text[..]),
            (0, 4, b"Hello"),
            (-5, -1, b"World"),
            (-5, 100, b"World"),
            (5, 3, b""),
            (-1, -5, b""),
            (-100, 0, b"H"),
            (-100, -100, b"H"),
            (11, 11, b""),
            (i64::MIN, i64::MAX, &text[..]),
            (i64::MAX, i64::MIN, b""),
            (i64::MIN, i64::MIN, b"H"),
            (i64::MAX, i64::MAX, b""),
        ] {
            assert_eq!(part(text, start, end), expected, "{start} {end}");
        }
        assert_eq!(part(b"", 0, -1), b"");
    }
}
