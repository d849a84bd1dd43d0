//! HSCAN: a few fields at a time.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::{ROW, read};
use crate::command::argument::{after, int, key, optional, pattern, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::scan::{COUNT, Pattern, count, cursor};
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

/// The options of HSCAN.
struct Options<'a> {
    pattern: Pattern<'a>,
    count: usize,
    values: bool,
}

impl<'a> Options<'a> {
    fn parse(args: &Args<'a>) -> Result<Options<'a>, ErrorReply> {
        let mut options = Options { pattern: Pattern::any(), count: COUNT, values: true };
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1);
            if args.is(at, "NOVALUES") {
                options.values = false;
                at += 1;
                continue;
            } else if args.is(at, "COUNT") && value.is_some() {
                options.count = count(args, at + 1)?;
            } else if let Some(pattern) = value.filter(|_| args.is(at, "MATCH")) {
                options.pattern = Pattern::new(pattern);
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 2;
        }
        Ok(options)
    }
}

fn hscan(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(&args[2])?;
    let hash = read(ctx, args.key(1))?;
    let (mut found, mut is_cut, mut shown, mut next) = (Vec::new(), false, 0, 0);
    if let Some(scanned) = hash.hash {
        let options = Options::parse(args)?;
        let mut writer = ReplyWriter::new(&mut found, reply.protocol).with_max(reply.room());
        let mut show = |field: Field<'_>| {
            let name = field.name_text();
            if !hash.is_visible(&field) || !options.pattern.fits(&name) {
                return;
            }
            writer.bulk(&name);
            shown += 1;
            if options.values {
                writer.bulk(&field.value_text());
                shown += 1;
            }
        };
        // A compact hash is small enough for a single reply.
        match scanned {
            HashRef::Compact(..) => scanned.each(&mut show),
            HashRef::Table(table) => next = table.scan(cursor, options.count, &mut show),
        }
        is_cut = writer.is_cut();
    }
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(shown);
    reply.append(&found, is_cut);
    Ok(Flow::Done)
}
