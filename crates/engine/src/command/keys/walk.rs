//! Listing keys: KEYS, SCAN, RANDOMKEY.

use russet_protocol::{ErrorReply, ReplyWriter};

use super::ROW;
use crate::command::argument::{after, int, optional, pattern, string};
use crate::command::scan::{COUNT, Pattern, count, cursor};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f};
use crate::keyspace::ExpiryPolicy;
use crate::types::type_of;

pub(super) const KEYS: Command = Command {
    name: "keys",
    since: "1.0.0",
    arity: 2,
    flags: f::READONLY,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    arguments: &[pattern("pattern")],
    summary: "Lists the keys that match a glob pattern.",
    complexity: "O(N) for N keys in the database",
    run: keys,
    ..ROW
};

fn keys(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let pattern = Pattern::new(&args[1]);
    let keyspace = &ctx.data;
    let hides = keyspace.policy != ExpiryPolicy::Ignore;
    let (mark, mut count) = (reply.open_array(), 0);
    keyspace.db(ctx.call.db).table().for_each(&mut |entry| {
        let over = hides && entry.expiry().is_some_and(|at| keyspace.is_past(at));
        if !over && pattern.fits(entry.key()) {
            reply.bulk(entry.key());
            count += 1;
        }
    });
    reply.close_array(mark, count);
    Ok(Flow::Done)
}

pub(super) const SCAN: Command = Command {
    name: "scan",
    since: "2.8.0",
    arity: -2,
    flags: f::READONLY | f::ARBITRARY_KEYS,
    arguments: &[
        int("cursor"),
        optional(after("MATCH", pattern("pattern"))),
        optional(after("COUNT", int("count"))),
        optional(after("TYPE", string("type"))),
    ],
    summary: "Iterates over the keys of the database, a few per call.",
    complexity: "O(1) per call, O(N) for all N keys of the database",
    run: scan,
    ..ROW
};

fn scan(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let cursor = cursor(&args[1])?;
    let (mut pattern, mut limit, mut wanted) = (Pattern::any(), COUNT, None);
    let mut at = 2;
    while at < args.len() {
        let value = args.get(at + 1).ok_or(ErrorReply::Syntax)?;
        if args.is(at, "COUNT") {
            limit = count(args, at + 1)?;
        } else if args.is(at, "MATCH") {
            pattern = Pattern::new(value);
        } else if args.is(at, "TYPE") {
            wanted = Some(value);
        } else {
            return Err(ErrorReply::Syntax);
        }
        at += 2;
    }
    let db = ctx.call.db;
    let keyspace = &mut ctx.data;
    let hides = keyspace.policy != ExpiryPolicy::Ignore;
    // The cursor comes first in the reply but is known last.
    let (mut found, mut shown, mut over) = (Vec::new(), 0, Vec::new());
    let mut there = 0;
    let mut writer = ReplyWriter::new(&mut found, reply.protocol).with_max(reply.room());
    let next = keyspace.scan(db, cursor, limit, &mut |entry| {
        let key = entry.key();
        if !pattern.fits(key) {
            return;
        }
        if hides && entry.expiry().is_some_and(|at| keyspace.is_past(at)) {
            over.push(key.to_vec());
            return;
        }
        there += 1;
        if wanted
            .is_none_or(|name| type_of(entry.kind()).name.as_bytes().eq_ignore_ascii_case(name))
        {
            writer.bulk(key);
            shown += 1;
        }
    });
    let is_cut = writer.is_cut();
    if wanted.is_some() {
        // Filtering by type reads the keys.
        keyspace.stats.hits += there;
    }
    for key in over {
        let key = keyspace.hasher().key(&key);
        keyspace.expire_if_needed(db, key);
        if wanted.is_some() {
            keyspace.record_miss(db, key);
        }
    }
    reply.array(2);
    reply.bulk(itoa::Buffer::new().format(next).as_bytes());
    reply.array(shown);
    reply.append(&found, is_cut);
    Ok(Flow::Done)
}

pub(super) const RANDOMKEY: Command = Command {
    name: "randomkey",
    since: "1.0.0",
    arity: 1,
    flags: f::READONLY | f::ARBITRARY_KEYS,
    summary: "Returns a random key of the database.",
    run: randomkey,
    ..ROW
};

fn randomkey(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.call.db;
    let rng = &mut ctx.core.rng;
    match ctx.data.random_key(db, &mut || rng.draw()) {
        Some(key) => reply.bulk(&key),
        None => reply.null(),
    }
    Ok(Flow::Done)
}
