//! HRANDFIELD: uniformly random fields.

use std::collections::BTreeSet;

use russet_protocol::{ErrorReply, Protocol};

use super::{ROW, View, reply_text, view};
use crate::command::argument::{block, int, key, optional, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::sample::check_reply;
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::rng::Rng;
use crate::types::hash::{Field, Hash, HashRef};

pub(super) const HRANDFIELD: Command = Command {
    name: "hrandfield",
    since: "6.2.0",
    arity: -2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[
        key("key", 0),
        optional(block("options", &[int("count"), optional(token("WITHVALUES"))])),
    ],
    summary: "Returns random fields, and their values.",
    complexity: "O(N) with N fields that are returned",
    run: hrandfield,
    ..ROW
};

fn hrandfield(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Some(count) = parse_count(args)? else { return one(ctx, args, reply) };
    let bytes_max = ctx.core.config.proto_max_bulk_len;
    let rng = &mut ctx.core.rng;
    let hash = view(ctx.data, ctx.call.db, args.key(1))?;
    let mut shown = Shown { with_values: args.len() == 4, reply };
    if count < 0 {
        return any(hash, count.unsigned_abs(), bytes_max, rng, &mut shown);
    }
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    distinct(hash, count, rng, &mut shown);
    Ok(Flow::Done)
}

/// Returns the requested number of fields, negative if they may repeat; none without a count.
fn parse_count(args: &Args<'_>) -> Result<Option<i64>, ErrorReply> {
    if args.len() < 3 {
        return Ok(None);
    }
    let count = args.integer_within(2, -i64::MAX, i64::MAX)?;
    if args.len() > 4 || (args.len() == 4 && !args.is(3, "WITHVALUES")) {
        return Err(ErrorReply::Syntax);
    }
    if args.len() == 4 && !(-i64::MAX / 2..=i64::MAX / 2).contains(&count) {
        return Err(ErrorReply::err("value is out of range"));
    }
    Ok(Some(count))
}

/// A reply of fields, with or without values.
struct Shown<'r, 'o> {
    with_values: bool,
    reply: &'r mut Reply<'o>,
}

impl Shown<'_, '_> {
    fn begin(&mut self, fields: usize) {
        // RESP3 has a pair for each field.
        let flat = self.with_values && self.reply.protocol == Protocol::Resp2;
        self.reply.array(if flat { fields * 2 } else { fields });
    }

    fn field(&mut self, field: Field<'_>) {
        if self.with_values && self.reply.protocol == Protocol::Resp3 {
            self.reply.array(2);
        }
        reply_text(self.reply, field.name);
        if self.with_values {
            reply_text(self.reply, field.value);
        }
    }
}

fn one(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let hash = view(ctx.data, ctx.call.db, args.key(1))?;
    match Draw::new(hash).next(&mut ctx.core.rng) {
        Some(field) => reply_text(reply, field.name),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

/// Replies with this number of fields, which may repeat.
fn any(
    hash: View<'_>,
    count: u64,
    bytes_max: u64,
    rng: &mut Rng,
    shown: &mut Shown<'_, '_>,
) -> Outcome {
    let draw = Draw::new(hash);
    let fields = if draw.next(rng).is_some() { count } else { 0 };
    let with_values = shown.with_values;
    check_reply(fields, bytes_max, &mut || {
        let field = draw.next(rng)?;
        let value_bytes = if with_values { field.value.text_len() } else { 0 };
        Some(field.name.text_len() + value_bytes)
    })?;
    shown.begin(fields as usize);
    for _ in 0..fields {
        if shown.reply.is_cut() {
            break;
        }
        let Some(field) = draw.next(rng) else { unreachable!("one could be drawn before") };
        shown.field(field);
    }
    Ok(Flow::Done)
}

/// Replies with up to this number of different fields.
fn distinct(hash: View<'_>, count: usize, rng: &mut Rng, shown: &mut Shown<'_, '_>) {
    let len = hash.len();
    shown.begin(count.min(len));
    if count >= len {
        return hash.each(&mut |field| shown.field(field));
    }
    match Draw::new(hash) {
        Draw::Table(table) if count <= len / 3 => {
            let mut seen = BTreeSet::new();
            while seen.len() < count {
                let Some(field) = table.random(&mut || rng.draw()) else { break };
                if seen.insert(field.name_text()) {
                    shown.field(field);
                }
            }
        }
        _ => {
            let chosen = rng.choose(count, len);
            let mut place = 0;
            hash.each(&mut |field| {
                if chosen.contains(&place) {
                    shown.field(field);
                }
                place += 1;
            });
        }
    }
}

/// Samples visible fields.
enum Draw<'a> {
    /// All fields are visible.
    Table(&'a Hash),
    /// The list of visible fields, if there are few or some are hidden.
    List(Vec<Field<'a>>),
}

impl<'a> Draw<'a> {
    fn new(hash: View<'a>) -> Draw<'a> {
        if let Some(HashRef::Table(table)) = hash.hash
            && !hash.hides_some()
        {
            return Draw::Table(table);
        }
        let mut listed = Vec::new();
        hash.each(&mut |field| listed.push(field));
        Draw::List(listed)
    }

    fn next(&self, rng: &mut Rng) -> Option<Field<'a>> {
        match self {
            Draw::Table(table) => table.random(&mut || rng.draw()),
            Draw::List(listed) => listed.get(rng.below(listed.len())).copied(),
        }
    }
}
