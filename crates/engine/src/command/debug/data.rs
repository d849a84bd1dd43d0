//! The subcommands of DEBUG that inspect data or create some.

use std::fmt::Write;

use russet_protocol::ErrorReply;

use super::digest;
use super::wrong_use;
use crate::command::argument::{int, key, optional, repeated, string, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};
use crate::keyspace::{EventKind, Expiry};
use crate::persist::dump;
use crate::types::digest::Digest;
use crate::types::encoding_of;

pub(super) const DIGEST: Command = Command {
    name: "debug|digest",
    arity: 2,
    summary: "Returns a digest of all data: 40 digits, equal for equal data.",
    run: digest_all,
    ..Command::ROW
};

fn digest_all(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.simple(&digest::of_all(ctx.data).hex());
    Ok(Flow::Done)
}

pub(super) const DIGEST_VALUE: Command = Command {
    name: "debug|digest-value",
    arity: -2,
    keys: &[KeySpec::rest(2, 1, k::RO)],
    arguments: &[optional(repeated(key("key", 0)))],
    summary: "Returns a digest of the value of each key.",
    run: digest_value,
    ..Command::ROW
};

/// Includes expired keys that have not been removed yet.
fn digest_value(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let db = ctx.data.db(ctx.call.db);
    reply.array(args.len() - 2);
    for at in 2..args.len() {
        let digest =
            db.get(args.key(at)).map_or(Digest::default(), |entry| digest::of_value(&entry));
        reply.simple(&digest.hex());
    }
    Ok(Flow::Done)
}

pub(super) const OBJECT: Command = Command {
    name: "debug|object",
    arity: -3,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0), optional(token("fast"))],
    summary: "Describes how a value is stored.",
    run: object,
    ..Command::ROW
};

/// Shows a number made from the key where Redis shows the address of the value, since replies
/// depend on inputs alone.
fn object(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 4 {
        return Err(wrong_use(args));
    }
    let key = args.key(2);
    let keyspace = &*ctx.data;
    let entry = keyspace.db(ctx.call.db).get(key).ok_or(ErrorReply::NoSuchKey)?;
    let len = dump::value_len(&entry, ctx.core.config.rdbcompression);
    let idle = keyspace.clock.wrapping_sub(entry.clock()) & 0xff_ffff;
    reply.simple(&format!(
        "Value at:0x7f{:010x} refcount:1 encoding:{} serializedlength:{len} lru:{} lru_seconds_idle:{idle}",
        (key.hash >> 24) & !7,
        encoding_of(entry.kind()).name,
        entry.clock(),
    ));
    Ok(Flow::Done)
}

pub(super) const HTSTATS: Command = Command {
    name: "debug|htstats",
    arity: -3,
    arguments: &[int("dbid"), optional(token("full"))],
    summary: "Describes the hash table of a database.",
    run: htstats,
    ..Command::ROW
};

fn htstats(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let keyspace = &*ctx.data;
    let db = u32::try_from(args.integer(2)?).ok().filter(|&db| db < keyspace.count());
    let db = db.ok_or_else(|| ErrorReply::fixed("ERR Out of range database"))?;
    let db = keyspace.db(db);
    let mut text = String::from("[Dictionary HT]\nHash table 0 stats (main hash table):\n");
    if db.is_empty() {
        text.push_str(NO_STATS);
    } else {
        shape(&mut text, db);
    }
    text.push_str("[Expires HT]\nHash table 0 stats (main hash table):\n");
    let expiring = db.len_with_expiry();
    if expiring == 0 {
        text.push_str(NO_STATS);
    } else {
        // There is no second table: entries hold their expiration times.
        let _ = write!(text, " table size: 0\n number of elements: {expiring}\n");
    }
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}

const NO_STATS: &str = "No stats available for empty dictionaries\n";

fn shape(text: &mut String, db: &crate::keyspace::Db) {
    let shape = db.table().shape();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        " table size: {}\n number of elements: {}\n segments: {}\n segment bytes: {}\n \
         directory bytes: {}\n directory depth: {}\n overflowed elements: {}\n",
        shape.slots,
        db.len(),
        shape.segments,
        shape.segment_bytes,
        shape.directory_bytes,
        shape.depth_max,
        shape.overflowed,
    );
}

pub(super) const HTSTATS_KEY: Command = Command {
    name: "debug|htstats-key",
    arity: -3,
    keys: &[KeySpec::one(2, k::RO)],
    arguments: &[key("key", 0), optional(token("full"))],
    summary: "Describes the hash table of a value.",
    run: htstats_key,
    ..Command::ROW
};

/// Fails for every key, since values have no hash tables with statistics yet.
fn htstats_key(ctx: &mut Ctx<'_>, args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    let (db, key) = (ctx.call.db, args.key(2));
    if ctx.data.peek(db, key).is_none() {
        return Err(ErrorReply::NoSuchKey);
    }
    Err(ErrorReply::fixed(
        "ERR The value stored at the specified key is not represented using an hash table",
    ))
}

pub(super) const POPULATE: Command = Command {
    name: "debug|populate",
    arity: -3,
    arguments: &[int("count"), optional(string("prefix")), optional(int("size"))],
    summary: "Creates the keys <prefix>:0, <prefix>:1 and so on, unless they exist. Neither replicated nor counted as unsaved.",
    run: populate,
    ..Command::ROW
};

fn populate(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 5 {
        return Err(wrong_use(args));
    }
    let positive = |at: usize| {
        let integer = args.integer(at).ok().and_then(|integer| u64::try_from(integer).ok());
        integer.ok_or(ErrorReply::fixed("ERR value is out of range, must be positive"))
    };
    let count = positive(2)?;
    let size = if args.len() > 4 { positive(4)? } else { 0 };
    if ctx.parts.loading.is_loading() {
        return Err(ErrorReply::Loading);
    }
    if size > ctx.core.config.proto_max_bulk_len {
        return Err(ErrorReply::StringTooLong);
    }
    let prefix = args.get(3).unwrap_or(b"key");
    let db = ctx.call.db;
    let keyspace = &mut ctx.data;
    let (hasher, dirty) = (keyspace.hasher(), keyspace.dirty);
    let (mut name, mut value) = (Vec::new(), Vec::new());
    for number in 0..count {
        name.clear();
        name.extend_from_slice(prefix);
        name.push(b':');
        russet_protocol::number::push_u64(&mut name, number);
        let key = hasher.key(&name);
        if keyspace.peek(db, key).is_some() {
            continue;
        }
        value.clear();
        value.extend_from_slice(b"value:");
        russet_protocol::number::push_u64(&mut value, number);
        if size > 0 {
            value.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
        }
        keyspace.edit(db, key).set_string(&value, Expiry::Clear, EventKind::New);
    }
    // Neither propagated nor counted as unsaved changes.
    keyspace.dirty = dirty;
    reply.ok();
    Ok(Flow::Done)
}
