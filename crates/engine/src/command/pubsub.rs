//! Pub/sub: SUBSCRIBE, PUBLISH and their kin.
//!
//! A subscription has no reply but a message that confirms each name, in RESP3 a push. The row says
//! so (`PUSHES_REPLY`), since CLIENT REPLY does not suppress it.

use russet_ds::glob::{self, Case};
use russet_protocol::ErrorReply;

use super::argument::{optional, pattern, repeated, string};
use super::keyspec::{KeySpec, key_flag as k};
use super::{Args, Caller, Command, Ctx, Flow, Group, Outcome, Reply, flag as f, help};
use crate::clients::subscriptions::Kind;
use crate::mode::Mode;
use crate::parts::Parts;
use crate::sentinel::{HELLO_CHANNEL, World};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    SUBSCRIBE,
    UNSUBSCRIBE,
    PSUBSCRIBE,
    PUNSUBSCRIBE,
    SSUBSCRIBE,
    SUNSUBSCRIBE,
    PUBLISH,
    SPUBLISH,
    PUBSUB,
];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Pubsub, ..Command::ROW };

const SUBSCRIBES: u64 =
    f::PUBSUB | f::NOSCRIPT | f::LOADING | f::STALE | f::WHILE_SUBSCRIBED | f::PUSHES_REPLY;
const PUBLISHES: u64 = f::PUBSUB | f::LOADING | f::STALE | f::FAST | f::MAY_REPLICATE;
const INSPECTS: u64 = f::PUBSUB | f::LOADING | f::STALE;

const SUBSCRIBE: Command = Command {
    name: "subscribe",
    since: "2.0.0",
    arity: -2,
    flags: SUBSCRIBES | f::SENTINEL,
    arguments: &[repeated(string("channel"))],
    summary: "Subscribes to channels.",
    complexity: "O(N) for N channels",
    run: subscribe,
    ..ROW
};

fn subscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    subscribe_to(ctx, args, Kind::Channel, reply)
}

const PSUBSCRIBE: Command = Command {
    name: "psubscribe",
    since: "2.0.0",
    arity: -2,
    flags: SUBSCRIBES | f::SENTINEL,
    arguments: &[repeated(pattern("pattern"))],
    summary: "Subscribes to all channels that match any of the patterns.",
    complexity: "O(N) for N patterns",
    run: psubscribe,
    ..ROW
};

fn psubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    subscribe_to(ctx, args, Kind::Pattern, reply)
}

const SSUBSCRIBE: Command = Command {
    name: "ssubscribe",
    since: "7.0.0",
    arity: -2,
    flags: SUBSCRIBES,
    keys: &[KeySpec::rest(1, 1, k::NOT_KEY)],
    arguments: &[repeated(string("shardchannel"))],
    summary: "Subscribes to shard channels.",
    complexity: "O(N) for N shard channels",
    run: ssubscribe,
    ..ROW
};

/// EXEC expects one reply for each command, so Redis refuses this within a transaction. It lets the
/// two older commands through.
fn ssubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.call.caller == Caller::Exec {
        return Err(ErrorReply::err("SSUBSCRIBE isn't allowed for a DENY BLOCKING client"));
    }
    subscribe_to(ctx, args, Kind::Shard, reply)
}

fn subscribe_to(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind, reply: &mut Reply<'_>) -> Outcome {
    let handle = ctx.session()?;
    for name in args.from(1) {
        ctx.parts.pubsub.subscribe(&mut ctx.parts.clients, handle, kind, name);
        confirm(ctx, Some(name), kind, reply)?;
    }
    Ok(Flow::Done)
}

const UNSUBSCRIBE: Command = Command {
    name: "unsubscribe",
    since: "2.0.0",
    arity: -1,
    flags: SUBSCRIBES | f::SENTINEL,
    arguments: &[optional(repeated(string("channel")))],
    summary: "Unsubscribes from the given channels, or from all.",
    complexity: "O(N) for N channels",
    run: unsubscribe,
    ..ROW
};

fn unsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unsubscribe_from(ctx, args, Kind::Channel, reply)
}

const PUNSUBSCRIBE: Command = Command {
    name: "punsubscribe",
    since: "2.0.0",
    arity: -1,
    flags: SUBSCRIBES | f::SENTINEL,
    arguments: &[optional(repeated(pattern("pattern")))],
    summary: "Unsubscribes from the given patterns, or from all.",
    complexity: "O(N) for N patterns",
    run: punsubscribe,
    ..ROW
};

fn punsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unsubscribe_from(ctx, args, Kind::Pattern, reply)
}

const SUNSUBSCRIBE: Command = Command {
    name: "sunsubscribe",
    since: "7.0.0",
    arity: -1,
    flags: SUBSCRIBES,
    keys: &[KeySpec::rest(1, 1, k::NOT_KEY)],
    arguments: &[optional(repeated(string("shardchannel")))],
    summary: "Unsubscribes from the given shard channels, or from all.",
    complexity: "O(N) for N shard channels",
    run: sunsubscribe,
    ..ROW
};

fn sunsubscribe(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    unsubscribe_from(ctx, args, Kind::Shard, reply)
}

fn unsubscribe_from(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    kind: Kind,
    reply: &mut Reply<'_>,
) -> Outcome {
    let handle = ctx.session()?;
    if args.len() > 1 {
        for name in args.from(1) {
            ctx.parts.pubsub.unsubscribe(&mut ctx.parts.clients, handle, kind, name);
            confirm(ctx, Some(name), kind, reply)?;
        }
        return Ok(Flow::Done);
    }
    let names = ctx.parts.pubsub.names_of(handle, kind);
    if names.is_empty() {
        confirm(ctx, None, kind, reply)?;
    }
    for name in names {
        ctx.parts.pubsub.unsubscribe(&mut ctx.parts.clients, handle, kind, &name);
        confirm(ctx, Some(&name), kind, reply)?;
    }
    Ok(Flow::Done)
}

/// Confirms that a client has subscribed to a name or unsubscribed from it.
fn confirm(
    ctx: &mut Ctx<'_>,
    name: Option<&[u8]>,
    kind: Kind,
    reply: &mut Reply<'_>,
) -> Result<(), ErrorReply> {
    let count = ctx.client()?.subscriptions.reported(kind);
    reply.push(3);
    reply.bulk(ctx.command.name.as_bytes());
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    reply.count(count);
    Ok(())
}

const PUBLISH: Command = Command {
    name: "publish",
    since: "2.0.0",
    arity: 3,
    flags: PUBLISHES | f::SENTINEL,
    arguments: &[string("channel"), string("message")],
    summary: "Sends a message to a channel and returns how many clients received it.",
    complexity: "O(N+M) for N subscribers of the channel and M patterns of any clients",
    run: publish,
    ..ROW
};

fn publish(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.boot.mode == Mode::Sentinel {
        return publish_hello(ctx, args, reply);
    }
    let (pubsub, clients) = (&ctx.parts.pubsub, &mut ctx.parts.clients);
    reply.count(pubsub.publish(ctx.core, clients, &args[1], &args[2]));
    propagate(ctx, args, false)
}

/// PUBLISH to a Sentinel: a greeting of another one. No subscriber receives it.
fn publish_hello(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if &args[1] != HELLO_CHANNEL.as_bytes() {
        return Err(ErrorReply::fixed(
            "ERR Only HELLO messages are accepted by Sentinel instances.",
        ));
    }
    greeted(ctx, &args[2]);
    ctx.no_effect();
    reply.integer(1);
    Ok(Flow::Done)
}

/// Passes the greeting of another Sentinel to the machine that watches the masters.
fn greeted(ctx: &mut Ctx<'_>, greeting: &[u8]) {
    let Parts { sentinel, clients, pubsub, .. } = &mut *ctx.parts;
    let mut world = World { core: ctx.core, clients, pubsub };
    sentinel.call(&mut world, |machine, now| machine.published(now, greeting));
}

const SPUBLISH: Command = Command {
    name: "spublish",
    since: "7.0.0",
    arity: 3,
    flags: PUBLISHES,
    keys: &[KeySpec::one(1, k::NOT_KEY)],
    arguments: &[string("shardchannel"), string("message")],
    summary: "Sends a message to a shard channel and returns how many clients received it.",
    complexity: "O(N) for N subscribers of the shard channel",
    run: spublish,
    ..ROW
};

fn spublish(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (pubsub, clients) = (&ctx.parts.pubsub, &mut ctx.parts.clients);
    reply.count(pubsub.publish_to_shard(ctx.core, clients, &args[1], &args[2]));
    propagate(ctx, args, true)
}

/// Replicas have subscribers of their own, so messages are propagated though they change no data. In a cluster all
/// nodes have, so that messages go over its bus instead of the stream.
fn propagate(ctx: &mut Ctx<'_>, args: &Args<'_>, is_sharded: bool) -> Outcome {
    if ctx.parts.cluster.machine().is_some() {
        ctx.parts.with_cluster(ctx.core, |cluster, world| {
            cluster.call(world, |machine, now| {
                machine.publish(now, is_sharded, &args[1], &args[2]);
            })
        });
        return Ok(Flow::Done);
    }
    let words: Vec<&[u8]> = args.iter().collect();
    ctx.effect(&words);
    Ok(Flow::Done)
}

const PUBSUB: Command = Command {
    name: "pubsub",
    since: "2.8.0",
    arity: -2,
    summary: "Inspects channels, patterns and their subscribers.",
    complexity: "Depends on the subcommand",
    subcommands: &[CHANNELS, HELP, NUMPAT, NUMSUB, SHARDCHANNELS, SHARDNUMSUB],
    ..ROW
};

const HELP: Command =
    Command { name: "pubsub|help", since: "6.2.0", group: Group::Pubsub, ..help::ROW };

const CHANNELS: Command = Command {
    name: "pubsub|channels",
    since: "2.8.0",
    arity: -2,
    flags: INSPECTS,
    arguments: &[optional(pattern("pattern"))],
    summary: "Lists the channels that have subscribers, or those of them that match a pattern.",
    complexity: "O(N) for N channels",
    run: channels,
    ..ROW
};

fn channels(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list_names(ctx, args, Kind::Channel, reply)
}

const SHARDCHANNELS: Command = Command {
    name: "pubsub|shardchannels",
    since: "7.0.0",
    arity: -2,
    flags: INSPECTS,
    arguments: &[optional(pattern("pattern"))],
    summary: "Lists the shard channels that have subscribers, or those that match a pattern.",
    complexity: "O(N) for N shard channels",
    run: shardchannels,
    ..ROW
};

fn shardchannels(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    list_names(ctx, args, Kind::Shard, reply)
}

fn list_names(ctx: &mut Ctx<'_>, args: &Args<'_>, kind: Kind, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 3 {
        return Err(help::wrong_use(ctx, args));
    }
    let matches = |name: &&[u8]| {
        args.get(2).is_none_or(|pattern| glob::matches(pattern, name, Case::Sensitive))
    };
    let names: Vec<&[u8]> = ctx.parts.pubsub.names(kind).filter(matches).collect();
    reply.array(names.len());
    names.iter().for_each(|name| reply.bulk(name));
    Ok(Flow::Done)
}

const NUMSUB: Command = Command {
    name: "pubsub|numsub",
    since: "2.8.0",
    arity: -2,
    flags: INSPECTS,
    arguments: &[optional(repeated(string("channel")))],
    summary: "Returns the number of subscribers of each channel, those by patterns not included.",
    complexity: "O(N) for N channels",
    run: numsub,
    ..ROW
};

fn numsub(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    count_subscribers(ctx, args, Kind::Channel, reply)
}

const SHARDNUMSUB: Command = Command {
    name: "pubsub|shardnumsub",
    since: "7.0.0",
    arity: -2,
    flags: INSPECTS,
    arguments: &[optional(repeated(string("shardchannel")))],
    summary: "Returns the number of subscribers of each shard channel.",
    complexity: "O(N) for N shard channels",
    run: shardnumsub,
    ..ROW
};

fn shardnumsub(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    count_subscribers(ctx, args, Kind::Shard, reply)
}

fn count_subscribers(
    ctx: &mut Ctx<'_>,
    args: &Args<'_>,
    kind: Kind,
    reply: &mut Reply<'_>,
) -> Outcome {
    reply.array((args.len() - 2) * 2);
    for name in args.from(2) {
        reply.bulk(name);
        reply.count(ctx.parts.pubsub.subscribers_of(kind, name));
    }
    Ok(Flow::Done)
}

const NUMPAT: Command = Command {
    name: "pubsub|numpat",
    since: "2.8.0",
    arity: 2,
    flags: INSPECTS,
    summary: "Returns the number of patterns that have subscribers.",
    run: numpat,
    ..ROW
};

fn numpat(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.parts.pubsub.names(Kind::Pattern).len());
    Ok(Flow::Done)
}
