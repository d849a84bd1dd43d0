//! ZSCAN: a few members at a time.

use russet_ds::listpack::Digits;
use russet_protocol::double::push_double;

use super::ROW;
use crate::command::argument::{after, int, key, optional, pattern, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::scan::{Options, cursor, reply_scanned};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::zset::ZsetRef;

pub(super) const ZSCAN: Command = Command {
    name: "zscan",
    since: "2.8.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        int("cursor"),
        optional(after("MATCH", pattern("pattern"))),
        optional(after("COUNT", int("count"))),
        optional(token("NOSCORES")),
    ],
    summary: "Iterates over the members of a sorted set and their scores, a few per call.",
    complexity: "O(log N) per call, O(N) for all N members",
    run: zscan,
    ..ROW
};

fn zscan(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(&args[2])?;
    let Some(zset) = ctx.read_as(args.key(1), ZsetRef::of)? else {
        reply_scanned(reply, |_| 0);
        return Ok(Flow::Done);
    };
    let options = Options::parse(args, Some("NOSCORES"))?;
    reply_scanned(reply, |show| {
        let mut text = Vec::new();
        let mut sink = |name: &[u8], score: f64| {
            if options.pattern.fits(name) {
                show(name);
                if options.values {
                    text.clear();
                    push_double(&mut text, score);
                    show(&text);
                }
            }
        };
        match zset {
            ZsetRef::Large(large) => {
                large.scan(cursor, options.count, &mut |member| sink(member.text, member.score))
            }
            // A compact one is small enough for a single reply.
            ZsetRef::Compact(_) => {
                zset.each(&mut |member, score| sink(member.text(&mut Digits::default()), score));
                0
            }
        }
    });
    Ok(Flow::Done)
}
