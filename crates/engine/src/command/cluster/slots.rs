//! Slots: who has them, how they move, and the keys in them.

use russet_cluster::{Cluster as Machine, SlotBitmap, SlotStep};
use russet_protocol::ErrorReply;
use russet_protocol::slot::{SLOTS, slot_of};

use super::{CHANGES, ROW, call, change, end, has_keys, machine, slot};
use crate::call::Caller;
use crate::clients::Waiting;
use crate::cluster::slot_steps::SlotOrder;
use crate::command::argument::{
    after, block, int, one_of, optional, repeated, shown_as, string, token,
};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::io::Level;

pub(super) const ADDSLOTS: Command = Command {
    name: "cluster|addslots",
    arity: -3,
    arguments: &[repeated(int("slot"))],
    summary: "Gives slots that nobody has to this node.",
    complexity: "O(N) for N slots",
    run: add_slots,
    ..CHANGES
};

fn add_slots(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    assign(ctx, args, reply, Assignment { is_range: false, adds: true })
}

pub(super) const ADDSLOTSRANGE: Command = Command {
    name: "cluster|addslotsrange",
    since: "7.0.0",
    arity: -4,
    arguments: &[repeated(block("range", &[int("start-slot"), int("end-slot")]))],
    summary: "Gives ranges of slots that nobody has to this node.",
    complexity: "O(N) for N slots",
    run: add_slots_range,
    ..CHANGES
};

fn add_slots_range(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    assign(ctx, args, reply, Assignment { is_range: true, adds: true })
}

pub(super) const DELSLOTS: Command = Command {
    name: "cluster|delslots",
    arity: -3,
    arguments: &[repeated(int("slot"))],
    summary: "Lets this node forget who has these slots.",
    complexity: "O(N) for N slots",
    run: delete_slots,
    ..CHANGES
};

fn delete_slots(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    assign(ctx, args, reply, Assignment { is_range: false, adds: false })
}

pub(super) const DELSLOTSRANGE: Command = Command {
    name: "cluster|delslotsrange",
    since: "7.0.0",
    arity: -4,
    arguments: &[repeated(block("range", &[int("start-slot"), int("end-slot")]))],
    summary: "Lets this node forget who has the slots of these ranges.",
    complexity: "O(N) for N slots",
    run: delete_slots_range,
    ..CHANGES
};

fn delete_slots_range(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    assign(ctx, args, reply, Assignment { is_range: true, adds: false })
}

/// Which of the four commands.
#[derive(Clone, Copy)]
struct Assignment {
    is_range: bool,
    adds: bool,
}

fn assign(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>, how: Assignment) -> Outcome {
    let slots = chosen(machine(ctx)?, args, how).map_err(|error| match error {
        ErrorReply::WrongArity(_) => ErrorReply::WrongArity(ctx.command.name.to_owned()),
        error => error,
    })?;
    let slots: Vec<u16> = slots.iter().collect();
    change(ctx, reply, |machine, now| match how.adds {
        true => machine.add_slots(now, &slots),
        false => machine.delete_slots(now, &slots),
    })
}

/// Returns the slots of the arguments, each of which may be named once and must be free, or not.
fn chosen(machine: &Machine, args: &Args<'_>, how: Assignment) -> Result<SlotBitmap, ErrorReply> {
    let mut chosen = SlotBitmap::default();
    let mut choose = |slot: u16| {
        let problem = match (how.adds, machine.nodes().owner(slot)) {
            (true, Some(_)) => "is already busy",
            (false, None) => "is already unassigned",
            _ if !chosen.insert(slot) => "specified multiple times",
            _ => return Ok(()),
        };
        Err(ErrorReply::err(format_args!("Slot {slot} {problem}")))
    };
    if !how.is_range {
        // An argument that is no slot is reported first.
        let slots =
            (2..args.len()).map(|index| slot(args, index)).collect::<Result<Vec<_>, _>>()?;
        slots.into_iter().try_for_each(choose)?;
        return Ok(chosen);
    }
    if args.len() % 2 == 1 {
        return Err(ErrorReply::WrongArity(String::new()));
    }
    for index in (2..args.len()).step_by(2) {
        let (first, last) = (slot(args, index)?, slot(args, index + 1)?);
        if first > last {
            let text =
                format_args!("start slot number {first} is greater than end slot number {last}");
            return Err(ErrorReply::err(text));
        }
        (first..=last).try_for_each(&mut choose)?;
    }
    Ok(chosen)
}

pub(super) const FLUSHSLOTS: Command = Command {
    name: "cluster|flushslots",
    arity: 2,
    summary: "Gives up all slots of this node, which must have no keys.",
    run: flush_slots,
    ..CHANGES
};

fn flush_slots(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    if has_keys(ctx) {
        return Err(ErrorReply::err("DB must be empty to perform CLUSTER FLUSHSLOTS."));
    }
    change(ctx, reply, |machine, now| {
        machine.flush_slots(now);
        Ok(())
    })
}

pub(super) const SETSLOT: Command = Command {
    name: "cluster|setslot",
    arity: -4,
    flags: f::ADMIN | f::STALE | f::NO_ASYNC_LOADING | f::MAY_REPLICATE | f::FROM_MASTER,
    arguments: &[
        int("slot"),
        one_of(
            "subcommand",
            &[
                shown_as("node-id", after("IMPORTING", string("importing"))),
                shown_as("node-id", after("MIGRATING", string("migrating"))),
                shown_as("node-id", after("NODE", string("node"))),
                token("STABLE"),
            ],
        ),
        optional(after("TIMEOUT", int("timeout"))),
    ],
    summary: "Begins or ends the move of a slot, or gives it to a node.",
    run: set_slot,
    ..CHANGES
};

fn set_slot(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let is_replica = machine(ctx)?.is_replica();
    let is_from_master = ctx.call.caller == Caller::Master;
    // The two roles change at different moments: what a former master sends is not for a master any more.
    if is_from_master && !is_replica {
        return Ok(Flow::Done);
    }
    if is_replica != is_from_master {
        return Err(ErrorReply::err("Please use SETSLOT only with masters."));
    }
    let slot = slot(args, 2)?;
    let (step, options) = match args.get(4) {
        Some(id) if args.is(3, "MIGRATING") => (SlotStep::Migrate(id.to_vec()), 5),
        Some(id) if args.is(3, "IMPORTING") => (SlotStep::Import(id.to_vec()), 5),
        Some(id) if args.is(3, "NODE") => (SlotStep::Give(id.to_vec()), 5),
        _ if args.is(3, "STABLE") => (SlotStep::Settle, 4),
        _ => return Err(invalid_step()),
    };
    let (mut deadline_us, now) = (Some(ctx.core.now.mono_us + TIMEOUT_US), ctx.core.now);
    if args.len() > options {
        if !args.is(options, "TIMEOUT") {
            return Err(invalid_step());
        }
        if args.len() == options + 1 {
            return Err(ErrorReply::err("Missing timeout value"));
        }
        let (timeout, due_us) = args.timeout(options + 1, now)?;
        deadline_us = (timeout > 0).then_some(due_us);
    }
    let has_keys = keys_in(ctx, slot) > 0;
    let checked = machine(ctx)?.check_slot(slot, &step, has_keys);
    match checked {
        // Its master knows more than this replica, whose data is right nevertheless.
        Err(why) if is_replica => {
            ctx.core.log(Level::Notice, format!("A step of a slot's move is left out: {why}"));
            return Ok(Flow::Done);
        }
        checked => checked.map_err(ErrorReply::err)?,
    }
    let sent: Vec<&[u8]> = args.iter().take(options).collect();
    match is_replica {
        true => call(ctx, |machine, now| machine.set_slot(now, slot, &step, has_keys))
            .map(|_| Flow::Done),
        false => match ctx.parts.master.send_slot_step(&sent) {
            // A transaction does not wait.
            Some(awaited) if ctx.call.caller == Caller::Client => {
                let client = ctx.session()?;
                ctx.parts.cluster.await_replicas(client, SlotOrder { slot, step });
                ctx.parts.master.wait(&awaited, client);
                ctx.block(Waiting::SlotAcks(awaited), deadline_us)
            }
            _ => {
                let is_saved_first =
                    call(ctx, |machine, now| machine.set_slot(now, slot, &step, has_keys))?;
                if is_saved_first {
                    return end(ctx, reply, |reply| reply.ok());
                }
                reply.ok();
                Ok(Flow::Done)
            }
        },
    }
}

/// How long replicas are waited for without a TIMEOUT, microseconds.
const TIMEOUT_US: u64 = 2_000_000;

fn invalid_step() -> ErrorReply {
    ErrorReply::err("Invalid CLUSTER SETSLOT action or number of arguments. Try CLUSTER HELP")
}

/// Returns how many keys a slot has, in all databases.
pub(super) fn keys_in(ctx: &Ctx<'_>, slot: u16) -> usize {
    ctx.data.dbs().map(|(_, db)| db.slot(slot).keys as usize).sum()
}

pub(super) const KEYSLOT: Command = Command {
    name: "cluster|keyslot",
    arity: 3,
    flags: f::STALE,
    arguments: &[string("key")],
    summary: "Returns the slot of a key.",
    complexity: "O(N) for a key of N bytes",
    run: key_slot,
    ..ROW
};

fn key_slot(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    reply.integer(slot_of(&args[2]).into());
    Ok(Flow::Done)
}

pub(super) const COUNTKEYSINSLOT: Command = Command {
    name: "cluster|countkeysinslot",
    arity: 3,
    flags: f::STALE,
    arguments: &[int("slot")],
    summary: "Returns how many keys of a slot the database has.",
    run: count_keys_in_slot,
    ..ROW
};

fn count_keys_in_slot(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    machine(ctx)?;
    let slot = u16::try_from(args.integer(2)?).ok().filter(|slot| *slot < SLOTS);
    let slot = slot.ok_or(ErrorReply::fixed("ERR Invalid slot"))?;
    reply.count(ctx.data.db(ctx.call.db).slot(slot).keys as usize);
    Ok(Flow::Done)
}

pub(super) const GETKEYSINSLOT: Command = Command {
    name: "cluster|getkeysinslot",
    arity: 4,
    flags: f::STALE,
    arguments: &[int("slot"), int("count")],
    summary: "Returns keys of a slot that the database has.",
    complexity: "O(N) for N keys",
    run: get_keys_in_slot,
    ..ROW
};

fn get_keys_in_slot(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let machine = machine(ctx)?;
    let (slot, max) = (args.integer(2)?, args.integer(3)?);
    let slot = u16::try_from(slot).ok().filter(|slot| *slot < SLOTS);
    // More than a machine word can count is all of them.
    let max = u64::try_from(max).ok().map(|max| usize::try_from(max).unwrap_or(usize::MAX));
    let Some((slot, max)) = slot.zip(max) else {
        return Err(ErrorReply::err("Invalid slot or number of keys"));
    };
    if machine.migrating_to(slot).is_some() && machine.may_be_replaced() {
        // Who moves the slot would believe that these are all, or the newest.
        return Err(ErrorReply::fixed("CLUSTERDOWN This master may have been replaced"));
    }
    let db = ctx.call.db;
    reply.array(max.min(ctx.data.db(db).slot(slot).keys as usize));
    ctx.data.keys_in_slot(db, slot, max, &mut |entry| reply.bulk(entry.key()));
    Ok(Flow::Done)
}
