//! SSCAN: a few members at a time.

use russet_ds::listpack::Digits;

use super::ROW;
use crate::command::argument::{after, int, key, optional, pattern};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::scan::{Options, cursor, reply_scanned};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::set::SetRef;

pub(super) const SSCAN: Command = Command {
    name: "sscan",
    since: "2.8.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        int("cursor"),
        optional(after("MATCH", pattern("pattern"))),
        optional(after("COUNT", int("count"))),
    ],
    summary: "Iterates over the members of a set, a few per call.",
    complexity: "O(1) per call, O(N) for all N members",
    run: sscan,
    ..ROW
};

fn sscan(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(&args[2])?;
    let Some(set) = ctx.read_as(args.key(1), SetRef::of)? else {
        reply_scanned(reply, |_| 0);
        return Ok(Flow::Done);
    };
    let options = Options::parse(args, None)?;
    reply_scanned(reply, |show| {
        let mut sink = |name: &[u8]| {
            if options.pattern.fits(name) {
                show(name);
            }
        };
        match set {
            SetRef::Table(table) => table.scan(cursor, options.count, &mut sink),
            // A compact set is small enough for a single reply.
            SetRef::Integers(_) | SetRef::Compact(_) => {
                set.each(&mut |member| sink(member.text(&mut Digits::default())));
                0
            }
        }
    });
    Ok(Flow::Done)
}
