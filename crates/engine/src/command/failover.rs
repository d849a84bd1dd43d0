//! FAILOVER: its arguments, and when it may begin. What it does is in `repl/failover.rs`.

use russet_protocol::ErrorReply;

use super::argument::{after, block, int, optional, string, token};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::mode::Mode;
use crate::parts::Parts;
use crate::repl::failover::{Aborted, FailoverOptions};

pub(super) const FAILOVER: Command = Command {
    name: "failover",
    since: "6.2.0",
    arity: -1,
    flags: f::ADMIN | f::NOSCRIPT | f::STALE,
    arguments: &[
        optional(after(
            "TO",
            block("target", &[string("host"), int("port"), optional(token("FORCE"))]),
        )),
        optional(token("ABORT")),
        optional(after("TIMEOUT", int("milliseconds"))),
    ],
    summary: "Hands the role of this master over to one of its replicas, without losing writes.",
    run: failover,
    group: Group::Server,
    acl: acl::DANGEROUS,
    ..Command::ROW
};

fn failover(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if ctx.core.boot.mode == Mode::Cluster {
        return Err(ErrorReply::err(
            "FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.",
        ));
    }
    if args.len() == 2 && args.is(1, "ABORT") {
        if !ctx.parts.failover.is_running() {
            return Err(ErrorReply::err("No failover in progress."));
        }
        let (failover, mut roles) = ctx.parts.failing_over(ctx.journal);
        failover.abort(ctx.core, &mut roles, Aborted::ByUser);
        reply.ok();
        return Ok(Flow::Done);
    }
    let options = failover_options(args)?;
    check_failover(ctx, &options)?;
    let Parts { failover, pause, .. } = ctx.parts;
    failover.begin(ctx.core, pause, options);
    reply.ok();
    Ok(Flow::Done)
}

fn failover_options(args: &Args<'_>) -> Result<FailoverOptions, ErrorReply> {
    let mut options = FailoverOptions::default();
    let mut at = 1;
    while at < args.len() {
        if args.is(at, "TIMEOUT") && at + 1 < args.len() && options.timeout_us.is_none() {
            let ms = args.integer(at + 1)?;
            let ms = u64::try_from(ms).ok().filter(|&ms| ms > 0);
            let ms = ms.ok_or(ErrorReply::err("FAILOVER timeout must be greater than 0"))?;
            options.timeout_us = Some(ms.saturating_mul(1000));
            at += 2;
        } else if args.is(at, "TO") && at + 2 < args.len() && options.target.is_none() {
            // Out of range it is that of no replica.
            let port = u16::try_from(args.integer(at + 2)?).unwrap_or(0);
            options.target = Some((args.text(at + 1), port));
            at += 3;
        } else if args.is(at, "FORCE") && !options.force {
            options.force = true;
            at += 1;
        } else {
            return Err(ErrorReply::Syntax);
        }
    }
    Ok(options)
}

/// Whether such a failover may begin.
fn check_failover(ctx: &Ctx<'_>, options: &FailoverOptions) -> Result<(), ErrorReply> {
    let replicas = ctx.parts.master.replicas();
    let what = if ctx.parts.failover.is_running() {
        "FAILOVER already in progress."
    } else if ctx.core.is_replica {
        "FAILOVER is not valid when server is a replica."
    } else if replicas.is_empty() {
        "FAILOVER requires connected replicas."
    } else if options.force && (options.timeout_us.is_none() || options.target.is_none()) {
        "FAILOVER with force option requires both a timeout and target HOST and IP."
    } else if let Some((host, port)) = &options.target {
        match replicas.iter().find(|replica| replica.is_at(host, *port)) {
            None => "FAILOVER target HOST and PORT is not a replica.",
            Some(replica) if replica.stage_name() != "online" => {
                "FAILOVER target replica is not online."
            }
            Some(_) => return Ok(()),
        }
    } else {
        return Ok(());
    };
    Err(ErrorReply::err(what))
}
