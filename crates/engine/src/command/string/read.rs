//! Commands that only read strings.

use crate::command::{Args, Ctx, Flow, Outcome, Reply};
use crate::types::string::Text;

pub(super) fn get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.string(args.key(1))? {
        Some(text) => reply.text(text),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) fn mget(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.array(args.len() - 1);
    for at in 1..args.len() {
        // A key of another type is no string: null, and no error.
        match ctx.string(args.key(at)) {
            Ok(Some(text)) => reply.text(text),
            Ok(None) | Err(_) => reply.null(),
        }
    }
    Ok(Flow::Done)
}

pub(super) fn strlen(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.string(args.key(1))?.map_or(0, |text| text.bytes().len());
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) fn getrange(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (start, end) = (args.integer(2)?, args.integer(3)?);
    let text = ctx.string(args.key(1))?.map_or(&[][..], Text::bytes);
    reply.bulk(part(text, start, end));
    Ok(Flow::Done)
}

/// The bytes from one offset to another, both included; negative ones count from the end.
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
