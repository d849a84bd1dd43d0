//! BITFIELD: integers of any width within a string.

use russet_protocol::ErrorReply;

use super::integer::{Encoding, Overflow};
use super::{ROW, grown_len, parse_offset};
use crate::command::argument::{
    Argument, after, block, int, key, named, one_of, optional, repeated, repeated_with_token,
    string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::EventKind;
use crate::types::string::Text;

const GET: Argument =
    after("GET", block("get-block", const { &[string("encoding"), int("offset")] }));
const OVERFLOW: Argument = {
    const MODES: &[Argument] = &[token("WRAP"), token("SAT"), token("FAIL")];
    optional(after("OVERFLOW", one_of("overflow-block", MODES)))
};
const SET: Argument =
    after("SET", block("set-block", const { &[string("encoding"), int("offset"), int("value")] }));
const INCRBY: Argument = after(
    "INCRBY",
    block("incrby-block", const { &[string("encoding"), int("offset"), int("increment")] }),
);
const WRITE: Argument = block(
    "write",
    const { &[OVERFLOW, named("write-operation", one_of("", const { &[SET, INCRBY] }))] },
);

pub(super) const BITFIELD: Command = Command {
    name: "bitfield",
    since: "3.2.0",
    arity: -2,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE | k::ACCESS | k::VARIABLE_FLAGS)],
    key_flags: Some(key_flags),
    arguments: &[key("key", 0), optional(repeated(one_of("operation", const { &[GET, WRITE] })))],
    summary: "Reads, sets and increments integers of any width within a string.",
    complexity: "O(1) for each operation",
    run: bitfield,
    ..ROW
};

/// It only reads if all operations do. With an operation that is not understood it is as if it wrote.
fn key_flags(args: &Args<'_>) -> u32 {
    let mut at = 2;
    while at < args.len() {
        let rest = args.len() - at - 1;
        at += match () {
            () if args.is(at, "GET") && rest >= 2 => 3,
            () if args.is(at, "OVERFLOW") && rest >= 1 => 2,
            () => return k::RW | k::ACCESS | k::UPDATE,
        };
    }
    k::RO | k::ACCESS
}

fn bitfield(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operations = parse(ctx, args)?;
    let last_bit = operations.iter().filter_map(Operation::last_written_bit).max();
    match last_bit {
        None => read(ctx, args, &operations, reply),
        Some(last_bit) => change(ctx, args, &operations, last_bit, reply),
    }
}

pub(super) const BITFIELD_RO: Command = Command {
    name: "bitfield_ro",
    since: "6.0.0",
    arity: -2,
    flags: f::READONLY | f::FAST,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0), optional(repeated_with_token(GET))],
    summary: "Reads integers of any width within a string.",
    complexity: "O(1) for each operation",
    run: bitfield_ro,
    ..ROW
};

fn bitfield_ro(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operations = parse(ctx, args)?;
    if operations.iter().any(|operation| operation.last_written_bit().is_some()) {
        return Err(ErrorReply::err("BITFIELD_RO only supports the GET subcommand"));
    }
    read(ctx, args, &operations, reply)
}

/// An operation on an integer.
#[derive(Clone, Copy, Debug)]
struct Operation {
    encoding: Encoding,
    /// The offset of its first bit.
    at: u64,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Get,
    Set(i64, Overflow),
    Increment(i64, Overflow),
}

impl Operation {
    fn last_written_bit(&self) -> Option<u64> {
        let is_written = !matches!(self.action, Action::Get);
        is_written.then(|| self.at + u64::from(self.encoding.width) - 1)
    }

    /// Runs it on the bytes. Returns its reply, none if it failed, and whether it changed anything.
    fn run(&self, bytes: &mut [u8]) -> (Option<i64>, bool) {
        let encoding = self.encoding;
        let old = encoding.read(bytes, self.at);
        let (value, overflow) = match self.action {
            Action::Get => return (Some(old), false),
            Action::Set(value, overflow) => (encoding.given(value), overflow),
            Action::Increment(by, overflow) => (i128::from(old) + i128::from(by), overflow),
        };
        let Some(new) = encoding.fit(value, overflow) else { return (None, false) };
        encoding.write(bytes, self.at, new);
        let shown = if matches!(self.action, Action::Set(..)) { old } else { new };
        (Some(shown), new != old)
    }
}

fn parse(ctx: &Ctx<'_>, args: &Args<'_>) -> Result<Vec<Operation>, ErrorReply> {
    let (mut operations, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while at < args.len() {
        let rest = args.len() - at - 1;
        if args.is(at, "OVERFLOW") && rest >= 1 {
            overflow = parse_overflow(args, at + 1)?;
            at += 2;
            continue;
        }
        let is_get = args.is(at, "GET") && rest >= 2;
        let is_set = args.is(at, "SET") && rest >= 3;
        let is_increment = args.is(at, "INCRBY") && rest >= 3;
        if !(is_get || is_set || is_increment) {
            return Err(ErrorReply::Syntax);
        }
        let encoding = Encoding::parse(&args[at + 1])?;
        let offset = parse_offset(ctx, &args[at + 2], Some(encoding.width))?;
        let action = match (is_get, is_set) {
            (true, _) => Action::Get,
            (_, true) => Action::Set(args.integer(at + 3)?, overflow),
            _ => Action::Increment(args.integer(at + 3)?, overflow),
        };
        operations.push(Operation { encoding, at: offset, action });
        at += if is_get { 3 } else { 4 };
    }
    Ok(operations)
}

fn parse_overflow(args: &Args<'_>, at: usize) -> Result<Overflow, ErrorReply> {
    match () {
        () if args.is(at, "WRAP") => Ok(Overflow::Wrap),
        () if args.is(at, "SAT") => Ok(Overflow::Saturate),
        () if args.is(at, "FAIL") => Ok(Overflow::Fail),
        () => Err(ErrorReply::err("Invalid OVERFLOW type specified")),
    }
}

fn read(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operations: &[Operation],
    reply: &mut Reply<'_>,
) -> Outcome {
    let bytes = ctx.string(args.key(1))?.map_or(&[][..], Text::bytes);
    reply.array(operations.len());
    for Operation { encoding, at, .. } in operations {
        reply.integer(encoding.read(bytes, *at));
    }
    Ok(Flow::Done)
}

/// The string grows before the first operation, which counts as a change even if all of them fail.
fn change(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    operations: &[Operation],
    last_bit: u64,
    reply: &mut Reply<'_>,
) -> Outcome {
    let key = args.key(1);
    let old_len = ctx.peek_as(key, Text::of)?.map_or(0, |text| text.bytes().len());
    let len = grown_len(old_len, last_bit)?;
    let replies = ctx.change_bytes(key, len, EventKind::SetBit, |bytes| {
        let (is_longer, mut count) = (len > old_len, 0);
        let run = |operation: &Operation| {
            let (shown, is_changed) = operation.run(bytes);
            let is_written = shown.is_some() && operation.last_written_bit().is_some();
            count += u64::from(is_changed || (is_longer && is_written));
            shown
        };
        let replies: Vec<Option<i64>> = operations.iter().map(run).collect();
        (replies, count.max(u64::from(is_longer)))
    })?;
    reply.array(replies.len());
    for shown in replies {
        match shown {
            Some(shown) => reply.integer(shown),
            None => reply.null(),
        }
    }
    Ok(Flow::Done)
}
