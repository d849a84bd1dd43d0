//! DUMP and RESTORE: values as payloads.

use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{after, int, key, optional, string, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::io::Level;
use crate::keyspace::{EventKind, Expiry};
use crate::persist::dump::{self, DumpError, RestoreSettings};
use crate::rdb::Access;
use crate::rdb::format;
use crate::types::BuildContext;

pub(super) const DUMP: Command = Command {
    name: "dump",
    since: "2.6.0",
    arity: 2,
    flags: f::READONLY,
    keys: &[KeySpec::one(1, k::RO | k::ACCESS)],
    arguments: &[key("key", 0)],
    summary: "Returns a serialized copy of the value of a key.",
    complexity: "O(N) with N elements, or bytes of a string",
    run: dump,
    ..ROW
};

fn dump(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let compression = ctx.core.config.rdbcompression;
    match ctx.data.read(ctx.call.db, args.key(1)) {
        Some(entry) => reply.bulk(&dump::dump(&entry, compression)),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

pub(super) const RESTORE: Command = Command {
    name: "restore",
    since: "2.6.0",
    arity: -4,
    flags: f::WRITE | f::DENYOOM,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    keys: &[KeySpec::one(1, k::OW | k::UPDATE)],
    arguments: &[
        key("key", 0),
        int("ttl"),
        string("serialized-value"),
        optional(token("REPLACE")),
        optional(token("ABSTTL")),
        optional(after("IDLETIME", int("seconds"))),
        optional(after("FREQ", int("frequency"))),
    ],
    summary: "Sets a key to a value that DUMP returned.",
    complexity: "O(N) with N elements, or bytes of a string",
    run: restore,
    ..ROW
};

pub(super) const RESTORE_ASKING: Command = Command {
    name: "restore-asking",
    since: "3.0.0",
    group: Group::Server,
    flags: f::WRITE | f::DENYOOM | f::ASKING,
    summary: "Does what RESTORE does, for a key that is being migrated to this node.",
    ..RESTORE
};

/// The arguments after the payload.
#[derive(Default)]
struct Options {
    replace: bool,
    absolute: bool,
    access: Access,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Options, ErrorReply> {
        let mut options = Options::default();
        let mut at = 4;
        while at < args.len() {
            let has_value = at + 1 < args.len();
            let access = &mut options.access;
            if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "ABSTTL") {
                options.absolute = true;
            } else if args.is(at, "IDLETIME") && has_value && access.frequency.is_none() {
                at += 1;
                let seconds = u64::try_from(args.integer(at)?);
                let refusal = |_| ErrorReply::err("Invalid IDLETIME value, must be >= 0");
                access.idle_seconds = Some(seconds.map_err(refusal)?);
            } else if args.is(at, "FREQ") && has_value && access.idle_seconds.is_none() {
                at += 1;
                let frequency = u8::try_from(args.integer(at)?);
                let refusal = |_| ErrorReply::err("Invalid FREQ value, must be >= 0 and <= 255");
                access.frequency = Some(frequency.map_err(refusal)?);
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

fn restore(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let options = Options::parse(args)?;
    let key = args.key(1);
    // A key to replace is not accessed before the payload is known to be valid.
    if !options.replace && ctx.data.peek(ctx.call.db, key).is_some() {
        return Err(ErrorReply::fixed("BUSYKEY Target key name already exists."));
    }
    let ttl = args.integer(2)?;
    if ttl < 0 {
        return Err(ErrorReply::err("Invalid TTL value, must be >= 0"));
    }
    let context = BuildContext { config: &ctx.core.config, seed: ctx.data.hasher().seed() };
    let settings = RestoreSettings {
        string_bytes_max: ctx.string_bytes_max(),
        checksum: !ctx.core.skips_checksums,
    };
    let restored = dump::restore(&args[3], settings, &context);
    if !matches!(restored, Err(DumpError::Footer)) {
        ctx.core.stats.dump_payload_sanitizations += 1;
    }
    let value = restored.map_err(|error| match error {
        DumpError::Footer => ErrorReply::err("DUMP payload version or checksum are wrong"),
        DumpError::Content(why) => {
            let text = format!("RESTORE of {}: {why}", format::quoted(key.bytes));
            ctx.core.log(Level::Verbose, text);
            ErrorReply::err("Bad data format")
        }
    })?;
    let base_ms = if options.absolute { 0 } else { ctx.now_ms() };
    let at_ms = (ttl != 0).then(|| ttl.saturating_add(base_ms));
    reply.ok();
    if at_ms.is_some_and(|at_ms| ctx.is_expired(at_ms)) {
        if ctx.data.peek(ctx.call.db, key).is_some() {
            ctx.edit(key).remove(EventKind::Del);
            let lazily = ctx.core.config.lazyfree_lazy_server_del;
            ctx.effect(&[if lazily { b"UNLINK" } else { b"DEL" }, key.bytes]);
        }
        return Ok(Flow::Done);
    }
    let expiry = at_ms.map_or(Expiry::Clear, Expiry::At);
    ctx.edit(key).set_value(value, expiry, EventKind::Restore);
    if options.access != Access::default() {
        let clock = ctx.data.clock_of(options.access);
        ctx.edit(key).set_clock(clock);
    }
    if let Some(at_ms) = at_ms
        && !options.absolute
    {
        let mut digits = itoa::Buffer::new();
        let mut words: Vec<&[u8]> = args.iter().collect();
        words[2] = digits.format(at_ms).as_bytes();
        words.push(b"ABSTTL");
        ctx.effect(&words);
    }
    Ok(Flow::Done)
}
