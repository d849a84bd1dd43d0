//! Replication commands: roles, synchronization, acknowledgements.

use russet_protocol::ErrorReply;
use russet_protocol::number::parse_i64;

use super::argument::{block, int, one_of, string, token};
use super::client::describe;
use super::connection::is_printable;
use super::failover::FAILOVER;
use super::{Args, Caller, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::clients::{Awaited, AwaitedOnDisk, Waiting};
use crate::config::check::is_host;
use crate::io::Level;
use crate::mode::Mode;
use crate::parts::Parts;
use crate::repl::acks::NO_AOF;
use crate::repl::link::MasterLink;
use crate::repl::master::Replica;

/// The commands of the family.
pub const COMMANDS: &[Command] =
    &[REPLICAOF, SLAVEOF, FAILOVER, PSYNC, SYNC, REPLCONF, WAIT, WAITAOF, ROLE];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Server, acl: acl::DANGEROUS, ..Command::ROW };

const REPLICAOF: Command = Command {
    name: "replicaof",
    since: "5.0.0",
    arity: 3,
    flags: f::ADMIN | f::NOSCRIPT | f::STALE | f::NO_ASYNC_LOADING,
    arguments: &[one_of(
        "args",
        &[
            block("host-port", &[string("host"), int("port")]),
            block("no-one", &[token("NO"), token("ONE")]),
        ],
    )],
    summary: "Makes this server a replica of another, or promotes it to a master.",
    run: replicaof,
    ..ROW
};

const SLAVEOF: Command = Command {
    name: "slaveof",
    since: "1.0.0",
    arity: 3,
    flags: f::ADMIN | f::NOSCRIPT | f::STALE | f::NO_ASYNC_LOADING,
    arguments: &[one_of(
        "args",
        &[
            block("host-port", &[string("host"), int("port")]),
            block("no-one", &[token("NO"), token("ONE")]),
        ],
    )],
    summary: "Makes this server a replica of another. The former name of REPLICAOF.",
    run: replicaof,
    ..ROW
};

fn replicaof(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.boot.mode == Mode::Cluster {
        return Err(ErrorReply::err("REPLICAOF not allowed in cluster mode."));
    }
    if ctx.parts.failover.is_running() {
        return Err(ErrorReply::err("REPLICAOF not allowed while failing over."));
    }
    if args.is(1, "NO") && args.is(2, "ONE") {
        become_master(ctx, "user")?;
        reply.ok();
        return Ok(Flow::Done);
    }
    if ctx.client()?.is_replica() {
        return Err(ErrorReply::err("Command is not valid when client is a replica."));
    }
    let port = args
        .integer(2)
        .ok()
        .and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| ErrorReply::err("Invalid master port"))?;
    let host = args.text(1);
    if host.is_empty() || !is_host(host.as_bytes()) {
        return Err(ErrorReply::err("Invalid master host"));
    }
    let same = |m: &MasterLink| m.host.eq_ignore_ascii_case(&host) && m.port == port;
    if ctx.parts.following.master().is_some_and(same) {
        ctx.core.log(
            Level::Notice,
            "REPLICAOF would result into synchronization with the master we are already connected \
             with. No operation performed.",
        );
        reply.simple("OK Already connected to specified master");
        return Ok(Flow::Done);
    }
    let Parts { clients, master, following, .. } = ctx.parts;
    following.follow(ctx.core, clients, ctx.journal, master, (&host, port), None);
    let who = describe(ctx.core, ctx.parts, ctx.session()?);
    let text = format!("REPLICAOF {host}:{port} enabled (user request from '{who}')");
    ctx.core.log(Level::Notice, text);
    ctx.core.config.replicaof =
        Some(crate::config::words::MasterAddress { host: host.into_bytes(), port });
    reply.ok();
    Ok(Flow::Done)
}

fn become_master(ctx: &mut Ctx<'_>, whose: &str) -> Result<(), ErrorReply> {
    let was_replica = ctx.core.is_replica;
    let Parts { clients, master, following, .. } = ctx.parts;
    following.promote(ctx.core, clients, ctx.journal, master);
    if was_replica {
        let who = describe(ctx.core, ctx.parts, ctx.session()?);
        let text = format!("MASTER MODE enabled ({whose} request from '{who}')");
        ctx.core.log(Level::Notice, text);
    }
    ctx.core.config.replicaof = None;
    Ok(())
}

const PSYNC: Command = Command {
    name: "psync",
    since: "2.8.0",
    arity: -3,
    flags: f::ADMIN | f::NOSCRIPT | f::NO_MULTI | f::NO_ASYNC_LOADING,
    arguments: &[string("replicationid"), int("offset")],
    summary: "Starts or resumes replication. Replicas send it to their master.",
    complexity: "O(1) to resume, O(N) for a full synchronization of N keys",
    run: psync,
    ..ROW
};

fn psync(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let id = args.text(1);
    let is_failover = args.is(3, "FAILOVER") && !ctx.parts.failover.is_running();
    if is_failover && !ctx.client()?.is_replica() {
        take_over(ctx, args, &id)?;
    }
    let offset = args.integer(2)?;
    attach(ctx, &id, Some(offset), false, reply)
}

/// Becomes master in place of our master, which asks for this and to be our replica with one
/// command (FAILOVER).
fn take_over(ctx: &mut Ctx<'_>, args: &Args<'_>, id: &str) -> Result<(), ErrorReply> {
    let text = format!("Failover request received for replid {id}.");
    ctx.core.log(Level::Notice, text);
    if !ctx.core.is_replica {
        return Err(ErrorReply::err("PSYNC FAILOVER can't be sent to a master."));
    }
    if !id.eq_ignore_ascii_case(&ctx.parts.master.stream.ids.id) {
        return Err(ErrorReply::err("PSYNC FAILOVER replid must match my replid."));
    }
    let next = ctx.parts.master.stream.offset() + 1;
    if args.is(4, "SYNCED") && args.get(2).and_then(parse_i64) != Some(next) {
        // We have crashed since, and our file is older. What we lack was acknowledged to clients.
        return Err(ErrorReply::err("PSYNC FAILOVER offset must match my offset."));
    }
    become_master(ctx, "failover")
}

const SYNC: Command = Command {
    name: "sync",
    since: "1.0.0",
    arity: 1,
    flags: f::ADMIN | f::NOSCRIPT | f::NO_MULTI | f::NO_ASYNC_LOADING,
    summary: "Starts replication with a full synchronization. Old replicas send it.",
    complexity: "O(N) for N keys",
    run: sync,
    ..ROW
};

fn sync(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    attach(ctx, "?", None, true, reply)
}

fn attach(
    ctx: &mut Ctx<'_>,
    id: &str,
    offset: Option<i64>,
    old_sync: bool,
    reply: &mut Reply<'_>,
) -> Outcome {
    let me = ctx.client()?;
    if me.is_replica() || me.is_monitor {
        return Ok(Flow::Done);
    }
    if ctx.parts.failover.is_running() {
        return Err(ErrorReply::fixed("NOMASTERLINK Can't SYNC while failing over"));
    }
    if ctx.parts.following.master().is_some_and(|master| !master.is_online()) {
        let text = "NOMASTERLINK Can't SYNC while not connected with my master";
        return Err(ErrorReply::fixed(text));
    }
    if !reply.out.is_empty() || !ctx.client()?.wire.outbox.is_empty() {
        return Err(ErrorReply::err("SYNC and PSYNC are invalid with pending output"));
    }
    let handle = ctx.session()?;
    let Parts { clients, master, .. } = ctx.parts;
    let place = (id, offset);
    if let Some(line) = master.attach(ctx.core, clients, ctx.journal, handle, place, old_sync) {
        reply.simple(&line);
    }
    Ok(Flow::Attached)
}

const REPLCONF: Command = Command {
    name: "replconf",
    since: "3.0.0",
    arity: -1,
    flags: f::ADMIN | f::NOSCRIPT | f::LOADING | f::STALE | f::ALLOW_BUSY | f::FROM_MASTER,
    summary: "Exchanges settings and offsets between a replica and its master.",
    run: replconf,
    ..ROW
};

fn replconf(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len().is_multiple_of(2) {
        return Err(ErrorReply::Syntax);
    }
    if args.is(1, "ACK") {
        acknowledged(ctx, args)?;
        return ctx.no_reply(reply);
    }
    if args.is(1, "GETACK") {
        if ctx.call.caller == Caller::Master {
            ctx.parts.following.request_ack();
        }
        return ctx.no_reply(reply);
    }
    for at in (1..args.len()).step_by(2) {
        option(ctx, args, at)?;
    }
    reply.ok();
    Ok(Flow::Done)
}

/// Notes the offset that a replica acknowledges.
fn acknowledged(ctx: &mut Ctx<'_>, args: &Args<'_>) -> Result<(), ErrorReply> {
    let handle = ctx.session()?;
    let offset = args.get(2).and_then(parse_i64);
    let on_disk = if args.is(3, "FACK") { args.get(4).and_then(parse_i64) } else { None };
    if let Some(offset) = offset {
        let Parts { clients, master, .. } = ctx.parts;
        master.acknowledged(ctx.core, clients, handle, offset, on_disk);
    }
    Ok(())
}

fn option(ctx: &mut Ctx<'_>, args: &Args<'_>, at: usize) -> Result<(), ErrorReply> {
    let (value, text) = (args.get(at + 1).unwrap_or_default(), args.text(at + 1));
    let handle = ctx.session()?;
    let announced = ctx.parts.master.announced_mut(handle);
    if args.is(at, "listening-port") {
        let port = parse_i64(value).and_then(|port| u16::try_from(port).ok());
        announced.port = port.ok_or(ErrorReply::NotInteger)?;
    } else if args.is(at, "ip-address") {
        if text.len() >= 128 {
            return Err(ErrorReply::err(format!(
                "REPLCONF ip-address provided by replica instance is too long: {} bytes",
                text.len()
            )));
        }
        if !is_host(value) {
            let text = "REPLCONF ip-address provided by replica instance is not an address";
            return Err(ErrorReply::err(text));
        }
        announced.ip = Some(text).filter(|ip| !ip.is_empty());
    } else if args.is(at, "capa") {
        announced.eof |= args.is(at + 1, "eof");
        announced.psync2 |= args.is(at + 1, "psync2");
        announced.setslot |= args.is(at + 1, "setslot");
    } else if args.is(at, "version") {
        if !is_printable(value) || value.len() > VERSION_BYTES_MAX {
            return Err(ErrorReply::err("Invalid version in REPLCONF"));
        }
        announced.version = Some(text);
    } else if args.is(at, "rdb-only") {
        announced.rdb_only = args.integer_within(at + 1, 0, 1)? == 1;
    } else if args.is(at, "rdb-filter-only") {
        if !value.is_empty() {
            return Err(ErrorReply::quoting("ERR Unsupported rdb-filter-only option: ", value, ""));
        }
    } else {
        return Err(ErrorReply::quoting("ERR Unrecognized REPLCONF option: ", &args[at], ""));
    }
    Ok(())
}

/// Maximum length of an announced version.
const VERSION_BYTES_MAX: usize = 64;

const WAIT: Command = Command {
    name: "wait",
    since: "3.0.0",
    group: Group::Generic,
    arity: 3,
    acl: acl::CONNECTION,
    arguments: &[int("numreplicas"), int("timeout")],
    summary: "Waits until a number of replicas have acknowledged this connection's writes.",
    run: wait,
    ..ROW
};

fn wait(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.is_replica {
        return Err(ErrorReply::err(
            "WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = args.integer(1)?;
    let (timeout, deadline_us) = args.timeout(2, ctx.core.now)?;
    let offset = ctx.client()?.last_write_offset;
    let awaited = Awaited { offset, replicas: replicas.max(0) as usize, on_disk: None };
    await_acks(ctx, awaited, (timeout > 0).then_some(deadline_us), reply)
}

/// Replies with the acknowledgements if they are enough or the caller cannot wait, or blocks it.
fn await_acks(
    ctx: &mut Ctx<'_>,
    awaited: Awaited,
    deadline_us: Option<u64>,
    reply: &mut Reply<'_>,
) -> Outcome {
    let acks = ctx.parts.master.acks(&awaited, ctx.parts.aof.synced_batch());
    if !acks.are_enough(&awaited) && ctx.call.caller != Caller::Exec {
        ctx.parts.master.wait(&awaited, ctx.session()?);
        return ctx.block(Waiting::Acks(awaited), deadline_us);
    }
    acks.answer(&awaited).write(reply);
    Ok(Flow::Done)
}

const WAITAOF: Command = Command {
    name: "waitaof",
    since: "7.2.0",
    group: Group::Generic,
    arity: 4,
    flags: f::NOSCRIPT,
    acl: acl::CONNECTION,
    arguments: &[int("numlocal"), int("numreplicas"), int("timeout")],
    summary: "Waits until this connection's writes are on disk here and on a number of replicas.",
    run: waitaof,
    ..ROW
};

fn waitaof(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let here = args.integer_within(1, 0, 1)? == 1;
    let Ok(replicas) = usize::try_from(args.integer(2)?) else {
        return Err(ErrorReply::err("value is out of range, must be positive"));
    };
    let (timeout, deadline_us) = args.timeout(3, ctx.core.now)?;
    if ctx.core.is_replica {
        return Err(ErrorReply::err(
            "WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
        ));
    }
    if here && !ctx.core.config.appendonly {
        return Err(NO_AOF);
    }
    let client = ctx.client()?;
    let on_disk = Some(AwaitedOnDisk { here, batch: client.last_write_batch });
    let awaited = Awaited { offset: client.last_write_offset, replicas, on_disk };
    await_acks(ctx, awaited, (timeout > 0).then_some(deadline_us), reply)
}

const ROLE: Command = Command {
    name: "role",
    since: "2.8.12",
    arity: 1,
    flags: f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::SENTINEL,
    acl: acl::DANGEROUS | acl::ADMIN,
    summary: "Returns the replication role of this server and the state of its links.",
    run: role,
    ..ROW
};

fn role(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.boot.mode == Mode::Sentinel {
        let masters = crate::info::sentinel::overview(ctx.parts).masters;
        reply.array(2);
        reply.bulk(b"sentinel");
        reply.array(masters.len());
        masters.iter().for_each(|master| reply.bulk(master.name.as_bytes()));
        return Ok(Flow::Done);
    }
    let offset = ctx.parts.master.stream.offset();
    if let Some(master) = ctx.parts.following.master() {
        reply.array(5);
        reply.bulk(b"slave");
        reply.bulk(master.host.as_bytes());
        reply.integer(i64::from(master.port));
        reply.bulk(master.state_name().as_bytes());
        reply.integer(if master.is_online() { offset } else { -1 });
        return Ok(Flow::Done);
    }
    reply.array(3);
    reply.bulk(b"master");
    reply.integer(offset);
    let is_online = |replica: &&Replica| replica.stage_name() == "online";
    let replicas = || ctx.parts.master.replicas().iter().filter(is_online);
    reply.array(replicas().count());
    for replica in replicas() {
        let (ip, port) = replica.address();
        reply.array(3);
        reply.bulk(ip.as_bytes());
        reply.bulk(port.to_string().as_bytes());
        reply.bulk(replica.acked_offset().to_string().as_bytes());
    }
    Ok(Flow::Done)
}
