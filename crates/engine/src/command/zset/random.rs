//! ZRANDMEMBER: members at random. Each member, and each choice of several, is equally likely.

use russet_protocol::ErrorReply;

use super::{ROW, Shown};
use crate::command::argument::{block, int, key, optional, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::sample::check_reply;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::rng::Rng;
use crate::types::zset::ZsetRef;

/// Upper bound of the length of a score in bytes, without what a reply adds to it.
const SCORE_BYTES: usize = 20;

pub(super) const ZRANDMEMBER: Command = Command {
    name: "zrandmember",
    since: "6.2.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        optional(block("options", &[int("count"), optional(token("WITHSCORES"))])),
    ],
    summary: "Returns random members, and their scores.",
    complexity: "O(M log N) with M of N members",
    run: zrandmember,
    ..ROW
};

fn zrandmember(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = parse_count(args)?;
    let bytes_max = ctx.core.config.proto_max_bulk_len;
    let entry = ctx.data.read(ctx.call.db, args.key(1));
    let zset = entry.map(|entry| ZsetRef::of(&entry).ok_or(ErrorReply::WrongType)).transpose()?;
    let rng = &mut ctx.core.rng;
    let mut shown = Shown { with_scores: args.len() == 4, reply };
    match (zset, count) {
        (None, None) => shown.reply.null(),
        (None, Some(_)) => shown.reply.array(0),
        (Some(zset), None) => {
            if let Some((member, score)) = zset.get(rng.below(zset.len())) {
                shown.member(member, score);
            }
        }
        (Some(zset), Some(count)) if count < 0 => {
            any(zset, count.unsigned_abs(), bytes_max, rng, &mut shown)?;
        }
        (Some(zset), Some(count)) => {
            distinct(zset, usize::try_from(count).unwrap_or(usize::MAX), rng, &mut shown);
        }
    }
    Ok(Flow::Done)
}

/// Returns the requested number of members, negative if they may repeat; none without a count.
fn parse_count(args: &Args<'_>) -> Result<Option<i64>, ErrorReply> {
    if args.len() < 3 {
        return Ok(None);
    }
    let count = args.integer_within(2, -i64::MAX, i64::MAX)?;
    if args.len() > 4 || (args.len() == 4 && !args.is(3, "WITHSCORES")) {
        return Err(ErrorReply::Syntax);
    }
    if args.len() == 4 && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(ErrorReply::err("value is out of range"));
    }
    Ok(Some(count))
}

/// Replies with this number of members, which may repeat.
fn any(
    zset: ZsetRef<'_>,
    count: u64,
    bytes_max: u64,
    rng: &mut Rng,
    shown: &mut Shown<'_, '_>,
) -> Result<(), ErrorReply> {
    let len = zset.len();
    let mut draw = || zset.get(rng.below(len));
    let score_bytes = if shown.with_scores { SCORE_BYTES } else { 0 };
    check_reply(count, bytes_max, &mut || Some(draw()?.0.text_len() + score_bytes))?;
    shown.begin(count as usize);
    for _ in 0..count {
        let Some((member, score)) = draw().filter(|_| !shown.reply.is_cut()) else { break };
        shown.member(member, score);
    }
    Ok(())
}

/// Replies with up to this number of different members.
fn distinct(zset: ZsetRef<'_>, count: usize, rng: &mut Rng, shown: &mut Shown<'_, '_>) {
    let len = zset.len();
    shown.begin(count.min(len));
    if count >= len {
        return zset.each(&mut |member, score| shown.member(member, score));
    }
    let chosen = rng.choose(count, len);
    // Of a large one few are looked for; else it is gone through once.
    if matches!(zset, ZsetRef::Large(_)) && count <= len / 8 {
        let members = chosen.into_iter().filter_map(|index| zset.get(index));
        return members.for_each(|(member, score)| shown.member(member, score));
    }
    let mut index = 0;
    zset.each(&mut |member, score| {
        if chosen.contains(&index) {
            shown.member(member, score);
        }
        index += 1;
    });
}
