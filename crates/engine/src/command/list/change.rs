//! Elements within a list.

use russet_protocol::ErrorReply;

use super::{ROW, index_of, range};
use crate::command::argument::{int, key, one_of, string, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{Change, EventKind};
use crate::types::Names;
use crate::types::list::{List, ListRef, Side};

pub(super) const LINSERT: Command = Command {
    name: "linsert",
    since: "2.2.0",
    arity: 5,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::INSERT)],
    arguments: &[
        key("key", 0),
        one_of("where", &[token("BEFORE"), token("AFTER")]),
        string("pivot"),
        string("element"),
    ],
    summary: "Inserts an element before or behind the first one that is equal to another, and returns the length of the list.",
    complexity: "O(N) with N elements in front of it",
    run: linsert,
    ..ROW
};

fn linsert(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_behind = args.is(2, "AFTER");
    if !is_behind && !args.is(2, "BEFORE") {
        return Err(ErrorReply::Syntax);
    }
    let Some(list) = ctx.peek_as(args.key(1), ListRef::of)? else {
        reply.integer(0);
        return Ok(Flow::Done);
    };
    let (mut passed, mut found) = (0, None);
    list.each_from(0, Side::Right, &mut |element| {
        found = element.is_text(&args[3]).then_some(passed);
        passed += 1;
        found.is_none()
    });
    let Some(pivot) = found else {
        reply.integer(-1);
        return Ok(Flow::Done);
    };
    let len = ctx.change::<List, usize>(args.key(1), |list| {
        list.prepare(std::iter::once(&args[4]));
        list.insert(pivot + usize::from(is_behind), &args[4]);
        Change::of(list.len(), 1, &[EventKind::LInsert])
    })?;
    reply.count(len);
    Ok(Flow::Done)
}

pub(super) const LSET: Command = Command {
    name: "lset",
    since: "1.0.0",
    arity: 4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(1, k::RW | k::UPDATE)],
    arguments: &[key("key", 0), int("index"), string("element")],
    summary: "Replaces the element at an index.",
    complexity: "O(log N) with N elements",
    run: lset,
    ..ROW
};

fn lset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let len = ctx.peek_as(args.key(1), ListRef::of)?.ok_or(ErrorReply::NoSuchKey)?.len();
    let index = index_of(args.integer(2)?, len).filter(|index| *index < len);
    let index = index.ok_or_else(|| ErrorReply::err("index out of range"))?;
    ctx.change::<List, ()>(args.key(1), |list| {
        list.prepare(std::iter::once(&args[3]));
        list.replace(index, &args[3]);
        Change::of((), 1, &[EventKind::LSet])
    })?;
    reply.ok();
    Ok(Flow::Done)
}

pub(super) const LREM: Command = Command {
    name: "lrem",
    since: "1.0.0",
    arity: 4,
    flags: f::WRITE,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), int("count"), string("element")],
    summary: "Removes elements that are equal to another, and returns their number. Deletes the key with the last one.",
    complexity: "O(N) with N elements",
    run: lrem,
    ..ROW
};

fn lrem(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = args.integer_within(2, -i64::MAX, i64::MAX)?;
    let from = if count < 0 { Side::Right } else { Side::Left };
    let most = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(most) => most,
    };
    let removed = match ctx.peek_as(args.key(1), ListRef::of)? {
        None => 0,
        Some(_) => ctx.change::<List, usize>(args.key(1), |list| {
            let removed = list.remove_equal(&args[3], from, most);
            Change::of(removed, removed as u64, &[EventKind::LRem])
        })?,
    };
    reply.count(removed);
    Ok(Flow::Done)
}

pub(super) const LTRIM: Command = Command {
    name: "ltrim",
    since: "1.0.0",
    arity: 4,
    flags: f::WRITE,
    keys: &[KeySpec::one(1, k::RW | k::DELETE)],
    arguments: &[key("key", 0), int("start"), int("stop")],
    summary: "Keeps only the elements between two indexes, both included. Deletes the key if there are none.",
    complexity: "O(N) with N elements that are removed",
    run: ltrim,
    ..ROW
};

fn ltrim(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (first, last) = (args.integer(2)?, args.integer(3)?);
    if ctx.peek_as(args.key(1), ListRef::of)?.is_some() {
        ctx.change::<List, ()>(args.key(1), |list| {
            let len = list.len();
            let kept = range(first, last, len);
            list.remove(kept.end, len - kept.end);
            list.remove(0, if kept.is_empty() { kept.end } else { kept.start });
            // The event says that the list was trimmed, also if nothing was removed.
            let count = (len - kept.len()) as u64;
            Change { result: (), count, events: &[EventKind::LTrim], expired: Names::new() }
        })?;
    }
    reply.ok();
    Ok(Flow::Done)
}
