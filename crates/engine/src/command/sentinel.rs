//! SENTINEL, which only exists in Sentinel mode.

use russet_ds::glob::{self, Case};
use russet_protocol::{ErrorReply, ReplyWriter};
use russet_sentinel::{End, Now, Sentinel as Machine, SimulatedFailures};

use super::argument::{after, block, int, one_of, optional, pattern, repeated, string, token};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f, help};
use crate::clients::Waiting;
use crate::config::{AppliedChanges, Config, SetContext};
use crate::parts::Parts;
use crate::sentinel::World;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[SENTINEL];

/// What the rows of the family share.
const ROW: Command = Command {
    group: Group::Sentinel,
    since: "2.8.4",
    flags: f::ADMIN | f::ONLY_SENTINEL,
    acl: acl::DANGEROUS,
    ..Command::ROW
};

/// What the rows about a master share.
const OF_MASTER: Command = Command { arity: 3, arguments: &[string("master-name")], ..ROW };

const SENTINEL: Command = Command {
    name: "sentinel",
    arity: -2,
    summary: "Commands of a Sentinel.",
    complexity: "Depends on the subcommand.",
    subcommands: &[
        CKQUORUM,
        CONFIG,
        DEBUG,
        EVENTS,
        EXPLAIN,
        FAILOVER,
        FLUSHCONFIG,
        GET_MASTER,
        GET_PRIMARY,
        HELP,
        INFO_CACHE,
        IS_MASTER_DOWN,
        IS_PRIMARY_DOWN,
        MASTER,
        MASTERS,
        MONITOR,
        MYID,
        PENDING_SCRIPTS,
        PRIMARY,
        PRIMARIES,
        REMOVE,
        REPLICAS,
        RESET,
        SENTINELS,
        SET,
        SIMULATE_FAILURE,
        SLAVES,
    ],
    ..ROW
};

/// Calls the machine with a writer of the reply. The client waits if the reply does.
fn call(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    call: impl FnOnce(&mut Machine, Now, &mut ReplyWriter<'_>) -> Result<End, ErrorReply>,
) -> Outcome {
    let mut bytes = Vec::new();
    let protocol = ctx.call.protocol;
    let Parts { sentinel, clients, pubsub, .. } = &mut *ctx.parts;
    let mut world = World { core: ctx.core, clients, pubsub };
    let result = sentinel.call(&mut world, |machine, now| {
        call(machine, now, &mut ReplyWriter::new(&mut bytes, protocol))
    });
    let end = result.ok_or_else(|| ErrorReply::err("This server is no Sentinel"))??;
    let client = ctx.session()?;
    if ctx.parts.sentinel.end_command(client, end, &bytes) {
        reply.append(&bytes, false);
        return Ok(Flow::Done);
    }
    ctx.block(Waiting::State, None)
}

/// Calls the machine for a reply of `+OK`.
fn change(
    ctx: &mut Ctx<'_>,
    reply: &mut Reply<'_>,
    change: impl FnOnce(&mut Machine, Now) -> Result<End, ErrorReply>,
) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        let end = change(machine, now)?;
        reply.ok();
        Ok(end)
    })
}

/// Returns arguments as text.
fn texts(args: &Args<'_>, from: usize) -> Vec<String> {
    (from..args.len()).map(|index| args.text(index)).collect()
}

const MASTERS: Command = Command {
    name: "sentinel|masters",
    arity: 2,
    summary: "Returns all monitored masters and their state.",
    complexity: "O(N) for N masters",
    run: masters,
    ..ROW
};

const PRIMARIES: Command = Command { name: "sentinel|primaries", since: "8.0.0", ..MASTERS };

fn masters(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        machine.masters(now, reply);
        Ok(End::Done)
    })
}

const MASTER: Command = Command {
    name: "sentinel|master",
    summary: "Returns the state of a monitored master.",
    run: master,
    ..OF_MASTER
};

const PRIMARY: Command = Command { name: "sentinel|primary", since: "8.0.0", ..MASTER };

fn master(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| machine.master(now, &args[2], reply).map(|()| End::Done))
}

const REPLICAS: Command = Command {
    name: "sentinel|replicas",
    since: "5.0.0",
    summary: "Returns the replicas of a master and their state.",
    complexity: "O(N) for N replicas",
    run: replicas,
    ..OF_MASTER
};

const SLAVES: Command = Command {
    name: "sentinel|slaves",
    since: "2.8.0",
    summary: "Returns the replicas of a master and their state. The former name of SENTINEL REPLICAS.",
    ..REPLICAS
};

fn replicas(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        machine.replicas(now, &args[2], reply).map(|()| End::Done)
    })
}

const SENTINELS: Command = Command {
    name: "sentinel|sentinels",
    summary: "Returns the other Sentinels that watch a master, and their state.",
    complexity: "O(N) for N Sentinels",
    run: sentinels,
    ..OF_MASTER
};

fn sentinels(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        machine.sentinels(now, &args[2], reply).map(|()| End::Done)
    })
}

const GET_MASTER: Command = Command {
    name: "sentinel|get-master-addr-by-name",
    summary: "Returns the address of a master.",
    run: get_master,
    ..OF_MASTER
};

const GET_PRIMARY: Command =
    Command { name: "sentinel|get-primary-addr-by-name", since: "8.0.0", ..GET_MASTER };

fn get_master(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, _, reply| {
        machine.address(&args[2], reply);
        Ok(End::Done)
    })
}

const IS_MASTER_DOWN: Command = Command {
    name: "sentinel|is-master-down-by-addr",
    arity: 6,
    arguments: &[string("ip"), int("port"), int("current-epoch"), string("runid")],
    summary: "Returns whether this Sentinel takes a master for down and, for a candidate, its vote.",
    run: is_master_down,
    ..ROW
};

const IS_PRIMARY_DOWN: Command =
    Command { name: "sentinel|is-primary-down-by-addr", since: "8.0.0", ..IS_MASTER_DOWN };

fn is_master_down(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let (host, port, epoch) = (args.text(2), args.integer(3)?, args.integer(4)?);
    let candidate = args.text(5);
    call(ctx, reply, |machine, now, reply| {
        Ok(machine.is_master_down(now, (&host, port), epoch, &candidate, reply))
    })
}

const CKQUORUM: Command = Command {
    name: "sentinel|ckquorum",
    summary: "Checks whether enough Sentinels can be reached to fail over a master.",
    run: ckquorum,
    ..OF_MASTER
};

fn ckquorum(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, _, reply| machine.check_quorum(&args[2], reply).map(|()| End::Done))
}

const FAILOVER: Command = Command {
    name: "sentinel|failover",
    arity: -3,
    arguments: &[string("master-name"), optional(token("COORDINATED"))],
    summary: "Fails a master over, without the agreement of other Sentinels. COORDINATED: with the help of the master, \
              which loses no write.",
    run: failover,
    ..ROW
};

fn failover(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_coordinated = match args.len() {
        3 => false,
        4 if args.is(3, "COORDINATED") => true,
        4 => return Err(ErrorReply::Syntax),
        _ => return Err(ErrorReply::WrongArity("sentinel|failover".to_owned())),
    };
    change(ctx, reply, |machine, now| {
        machine.failover(now, &args[2], is_coordinated).map(|()| End::Done)
    })
}

const MONITOR: Command = Command {
    name: "sentinel|monitor",
    arity: 6,
    arguments: &[string("name"), string("ip"), int("port"), int("quorum")],
    summary: "Starts to monitor a master.",
    run: monitor,
    ..ROW
};

fn monitor(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let words = texts(args, 2);
    let [name, host, port, quorum] = &words[..] else { return Err(ErrorReply::Syntax) };
    change(ctx, reply, |machine, now| machine.monitor(now, [name, host, port, quorum]))
}

const REMOVE: Command = Command {
    name: "sentinel|remove",
    summary: "Stops monitoring a master.",
    run: remove,
    ..OF_MASTER
};

fn remove(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(ctx, reply, |machine, now| machine.remove(now, &args[2]))
}

const RESET: Command = Command {
    name: "sentinel|reset",
    arity: 3,
    arguments: &[pattern("pattern")],
    summary: "Forgets the replicas and Sentinels of all masters whose names match, and what was agreed about them.",
    complexity: "O(N) for N masters",
    run: reset,
    ..ROW
};

fn reset(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        let matches = |name: &[u8]| glob::matches(&args[2], name, Case::Sensitive);
        reply.count(machine.reset(now, &matches));
        Ok(End::Done)
    })
}

const SET: Command = Command {
    name: "sentinel|set",
    arity: -5,
    arguments: &[
        string("master-name"),
        repeated(block("data", &[string("option"), string("value")])),
    ],
    summary: "Changes settings of a master.",
    complexity: "O(N) for N settings",
    run: set,
    ..ROW
};

fn set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let words = texts(args, 3);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    change(ctx, reply, |machine, now| machine.set(now, &args[2], &words))
}

const FLUSHCONFIG: Command = Command {
    name: "sentinel|flushconfig",
    arity: 2,
    summary: "Writes the configuration with its state to disk.",
    run: flush_config,
    ..ROW
};

fn flush_config(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    change(ctx, reply, |machine, now| Ok(machine.flush_config(now)))
}

const MYID: Command = Command {
    name: "sentinel|myid",
    since: "6.2.0",
    arity: 2,
    summary: "Returns the id of this Sentinel.",
    run: my_id,
    ..ROW
};

fn my_id(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, _, reply| {
        reply.bulk(machine.my_id().as_bytes());
        Ok(End::Done)
    })
}

const INFO_CACHE: Command = Command {
    name: "sentinel|info-cache",
    since: "3.2.0",
    arity: -3,
    arguments: &[repeated(string("nodename"))],
    summary: "Returns the last INFO of these masters and their replicas.",
    complexity: "O(N) for N servers",
    run: info_cache,
    ..ROW
};

fn info_cache(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        let names: Vec<&[u8]> = args.from(2).collect();
        machine.info_cache(now, &names, reply);
        Ok(End::Done)
    })
}

const PENDING_SCRIPTS: Command = Command {
    name: "sentinel|pending-scripts",
    arity: 2,
    summary: "Returns the scripts that run or wait.",
    run: pending_scripts,
    ..ROW
};

fn pending_scripts(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, now, reply| {
        machine.pending_scripts(now, reply);
        Ok(End::Done)
    })
}

const SIMULATE_FAILURE: Command = Command {
    name: "sentinel|simulate-failure",
    since: "3.2.0",
    arity: -3,
    arguments: &[optional(repeated(one_of(
        "mode",
        &[token("CRASH-AFTER-ELECTION"), token("CRASH-AFTER-PROMOTION"), token("HELP")],
    )))],
    summary: "Lets this Sentinel crash at a point of the next failover that it leads.",
    run: simulate_failure,
    ..ROW
};

fn simulate_failure(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut failures = SimulatedFailures::default();
    for index in 2..args.len() {
        if args.is(index, "CRASH-AFTER-ELECTION") {
            failures.after_election = true;
        } else if args.is(index, "CRASH-AFTER-PROMOTION") {
            failures.after_promotion = true;
        } else if args.is(index, "HELP") {
            Machine::failures_help(reply);
            return Ok(Flow::Done);
        } else {
            return Err(ErrorReply::err("Unknown failure simulation specified"));
        }
    }
    change(ctx, reply, |machine, _| {
        machine.simulate_failure(failures);
        Ok(End::Done)
    })
}

const DEBUG: Command = Command {
    name: "sentinel|debug",
    since: "7.0.0",
    arity: -2,
    arguments: &[optional(repeated(block("data", &[string("parameter"), string("value")])))],
    summary: "Returns or changes the periods of the protocol, in milliseconds.",
    complexity: "O(N) for N parameters",
    run: debug,
    ..ROW
};

fn debug(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() == 2 {
        return call(ctx, reply, |machine, _, reply| {
            machine.debug(reply);
            Ok(End::Done)
        });
    }
    let words = texts(args, 2);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    change(ctx, reply, |machine, now| machine.set_period(now, &words).map(|()| End::Done))
}

const EVENTS: Command = Command {
    name: "sentinel|events",
    since: "8.1.0",
    arity: -2,
    arguments: &[optional(string("master-name")), optional(int("count"))],
    summary: "Returns the journal: what this Sentinel saw and did, and why.",
    complexity: "O(N) for N entries",
    run: events,
    ..ROW
};

/// Entries that SENTINEL EVENTS returns without a count.
const EVENTS_DEFAULT: i64 = 100;

fn events(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 4 {
        return Err(ErrorReply::WrongArity("sentinel|events".to_owned()));
    }
    let count = match args.len() {
        4 => args.integer_within(3, 0, i64::MAX)?,
        _ => EVENTS_DEFAULT,
    };
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    call(ctx, reply, |machine, _, reply| {
        machine.events(args.get(2), count, reply).map(|()| End::Done)
    })
}

const EXPLAIN: Command = Command {
    name: "sentinel|explain",
    since: "8.1.0",
    summary: "Tells the last failover of a master as a text: who saw what when, and why it went as it did.",
    complexity: "O(N) for N entries of the journal",
    run: explain,
    ..OF_MASTER
};

fn explain(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    call(ctx, reply, |machine, _, reply| machine.explain(&args[2], reply).map(|()| End::Done))
}

const CONFIG: Command = Command {
    name: "sentinel|config",
    since: "6.2.0",
    arity: -4,
    arguments: &[one_of(
        "action",
        &[
            repeated(after("SET", block("set", &[string("parameter"), string("value")]))),
            repeated(after("GET", string("parameter"))),
        ],
    )],
    summary: "Returns or changes settings for all masters.",
    complexity: "O(N) for N parameters",
    run: config,
    ..ROW
};

fn config(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.is(2, "GET") {
        return config_get(ctx, args, reply);
    }
    if args.is(2, "SET") && args.len() >= 5 {
        return config_set(ctx, args, reply);
    }
    Err(ErrorReply::err(
        "Only SENTINEL CONFIG GET <param> [<param> <param> ...] / SET <param> <value> [<param> <value> ...] are supported.",
    ))
}

fn config_get(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let level = ctx.core.config.get(&[b"loglevel"]).pop();
    let level = level.map(|(_, level)| String::from_utf8_lossy(&level).into_owned());
    call(ctx, reply, |machine, _, reply| {
        let mut settings = machine.globals();
        settings.extend(level.map(|level| ("loglevel", level)));
        let is_wanted = |name: &str| {
            args.from(3).any(|pattern| glob::matches(pattern, name.as_bytes(), Case::Ignored))
        };
        settings.retain(|(name, _)| is_wanted(name));
        reply.map(settings.len());
        for (name, value) in settings {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        Ok(End::Done)
    })
}

fn config_set(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let words = texts(args, 3);
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut level = None;
    for pair in words.chunks(2) {
        let option = pair[0].as_str();
        let is_level = option.eq_ignore_ascii_case("loglevel");
        let quoting = |text: &str| {
            ErrorReply::quoting(
                &format!("ERR {text} argument '"),
                option.as_bytes(),
                "' to SENTINEL CONFIG SET",
            )
        };
        if !is_level && !Machine::has_global(option) {
            return Err(quoting("Invalid"));
        }
        if pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(option))
            || (is_level && level.is_some())
        {
            return Err(quoting("Duplicate"));
        }
        let Some(value) = pair.get(1) else {
            return Err(ErrorReply::quoting(
                "ERR Missing argument '",
                option.as_bytes(),
                "' value",
            ));
        };
        match is_level {
            true => {
                set_level_in(&mut ctx.core.config.clone(), value)?;
                level = Some(value.as_str());
            }
            false => {
                Machine::check_config(option, value)?;
                pairs.push((option, value));
            }
        }
    }
    if let Some(level) = level {
        set_level(ctx, level)?;
    }
    change(ctx, reply, |machine, now| machine.config_set(now, &pairs))
}

/// Sets the level of the log in a configuration.
fn set_level_in(config: &mut Config, level: &str) -> Result<AppliedChanges, ErrorReply> {
    let context = SetContext { loading: false, is_local: true };
    config.set(&[(b"loglevel", level.as_bytes())], context).map_err(|_| {
        let text = "' to SENTINEL CONFIG SET 'loglevel'";
        ErrorReply::quoting("ERR Invalid value '", level.as_bytes(), text)
    })
}

/// Sets the level of the log at once: nothing of it can fail but the value.
fn set_level(ctx: &mut Ctx<'_>, level: &str) -> Result<(), ErrorReply> {
    for row in set_level_in(&mut ctx.core.config, level)?.changed {
        if let Some(step) = row.apply.step() {
            let request = (step.request)(&ctx.core.config);
            ctx.core.request(request);
        }
    }
    Ok(())
}

const HELP: Command =
    Command { name: "sentinel|help", since: "6.2.0", group: Group::Sentinel, ..help::ROW };
