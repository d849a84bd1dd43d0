//! OBJECT: how what a key holds is kept.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::config::value::EvictionPolicy;
use crate::keyspace::Keyspace;
use crate::types::Encoding;
use crate::types::encoding_of;
use crate::types::string::Text;

/// Integers below this are shared by all that hold them, in stock servers.
const SHARED_INTEGERS: i64 = 10_000;

/// The subcommands' rows.
pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "object|encoding",
        since: "2.2.3",
        group: Group::Generic,
        arity: 3,
        flags: f::READONLY,
        acl: acl::KEYSPACE,
        keys: &[KeySpec::one(2, k::RO)],
        syntax: "key",
        summary: "Tells the encoding of what a key holds.",
        complexity: "O(1)",
        subcommands: &[],
        run: encoding,
    },
    Command {
        name: "object|freq",
        since: "4.0.0",
        group: Group::Generic,
        arity: 3,
        flags: f::READONLY,
        acl: acl::KEYSPACE,
        keys: &[KeySpec::one(2, k::RO)],
        syntax: "key",
        summary: "Tells how often a key is used, as a logarithm.",
        complexity: "O(1)",
        subcommands: &[],
        run: freq,
    },
    Command {
        name: "object|help",
        since: "6.2.0",
        group: Group::Generic,
        arity: 2,
        flags: f::LOADING | f::STALE,
        acl: acl::KEYSPACE,
        keys: &[],
        syntax: "",
        summary: "Lists these subcommands.",
        complexity: "O(1)",
        subcommands: &[],
        run: help,
    },
    Command {
        name: "object|idletime",
        since: "2.2.3",
        group: Group::Generic,
        arity: 3,
        flags: f::READONLY,
        acl: acl::KEYSPACE,
        keys: &[KeySpec::one(2, k::RO)],
        syntax: "key",
        summary: "Tells for how many seconds a key has not been used.",
        complexity: "O(1)",
        subcommands: &[],
        run: idletime,
    },
    Command {
        name: "object|refcount",
        since: "2.2.3",
        group: Group::Generic,
        arity: 3,
        flags: f::READONLY,
        acl: acl::KEYSPACE,
        keys: &[KeySpec::one(2, k::RO)],
        syntax: "key",
        summary: "Tells how many hold on to what a key holds.",
        complexity: "O(1)",
        subcommands: &[],
        run: refcount,
    },
];

/// OBJECT alone is refused for its arity, and any other word as unknown, before this is reached.
pub(super) fn object(_ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(ErrorReply::Syntax)
}

fn help(_ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let lines = [
        "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "ENCODING <key>",
        "    The encoding of what the key holds.",
        "FREQ <key>",
        "    How often the key is used, as a logarithm; only with an LFU policy.",
        "IDLETIME <key>",
        "    Seconds since the key was last used; not with an LFU policy.",
        "REFCOUNT <key>",
        "    How many hold on to what the key holds.",
        "HELP",
        "    This list.",
    ];
    reply.array(lines.len());
    for line in lines {
        reply.simple(line);
    }
    Ok(Flow::Done)
}

fn encoding(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.inspect(args.key(2)) {
        Some(entry) => reply.bulk(Keyspace::encoding_name(&entry).as_bytes()),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

fn refcount(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match ctx.inspect(args.key(2)) {
        Some(entry) => {
            let is_shared = encoding_of(entry.kind()) == Encoding::Int
                && parse_i64(Text::of(&entry).bytes())
                    .is_some_and(|value| (0..SHARED_INTEGERS).contains(&value));
            reply.integer(if is_shared { i64::from(i32::MAX) } else { 1 });
        }
        None => reply.null(),
    }
    Ok(Flow::Done)
}

fn idletime(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let lfu = is_lfu(ctx);
    let now = ctx.node.keyspace.clock;
    match ctx.inspect(args.key(2)).map(|entry| entry.clock()) {
        Some(_) if lfu => {
            return Err(ErrorReply::fixed(
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        // The clock has 24 bits.
        Some(clock) => reply.integer(i64::from(now.wrapping_sub(clock) & 0xff_ffff)),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

fn freq(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let lfu = is_lfu(ctx);
    match ctx.inspect(args.key(2)) {
        Some(_) if !lfu => {
            return Err(ErrorReply::fixed(
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ));
        }
        // Use is not counted before there is eviction: every key stands where a new one does.
        Some(_) => reply.integer(LFU_INITIAL),
        None => reply.null(),
    }
    Ok(Flow::Done)
}

/// Where the logarithm of a new key's use begins.
const LFU_INITIAL: i64 = 5;

fn is_lfu(ctx: &Ctx<'_>) -> bool {
    matches!(
        ctx.node.config.maxmemory_policy,
        EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu
    )
}
