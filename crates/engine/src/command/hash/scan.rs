//! HSCAN: a few fields at a time.

use super::{ROW, read};
use crate::command::argument::{after, int, key, optional, pattern, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::scan::{Options, cursor, reply_scanned};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::types::hash::{Field, HashRef};

pub(super) const HSCAN: Command = Command {
    name: "hscan",
    since: "2.8.0",
    arity: -3,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        int("cursor"),
        optional(after("MATCH", pattern("pattern"))),
        optional(after("COUNT", int("count"))),
        optional(token("NOVALUES")),
    ],
    summary: "Iterates over the fields of a hash, a few per call.",
    complexity: "O(1) per call, O(N) for all N fields",
    run: hscan,
    ..ROW
};

fn hscan(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(&args[2])?;
    let hash = read(ctx, args.key(1))?;
    // Those of a missing hash are not looked at, as in Redis.
    let Some(scanned) = hash.hash else {
        reply_scanned(reply, |_| 0);
        return Ok(Flow::Done);
    };
    let options = Options::parse(args, Some("NOVALUES"))?;
    reply_scanned(reply, |show| {
        let mut sink = |field: Field<'_>| {
            let name = field.name_text();
            if !hash.is_visible(&field) || !options.pattern.fits(&name) {
                return;
            }
            show(&name);
            if options.values {
                show(&field.value_text());
            }
        };
        match scanned {
            // A compact hash is small enough for a single reply.
            HashRef::Compact(..) => {
                scanned.each(&mut sink);
                0
            }
            HashRef::Table(table) => table.scan(cursor, options.count, &mut sink),
        }
    });
    Ok(Flow::Done)
}
