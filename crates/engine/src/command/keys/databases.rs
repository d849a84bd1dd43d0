//! Whole databases: their size, their numbers, and emptying them.

use russet_protocol::ErrorReply;

use crate::command::{Args, Ctx, Flow, Outcome, Reply};

pub(super) fn dbsize(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.count(ctx.node.keyspace.db(ctx.db).len());
    Ok(Flow::Done)
}

pub(super) fn swapdb(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let first = index(args, 1, "invalid first DB index")?;
    let second = index(args, 2, "invalid second DB index")?;
    let count = ctx.node.keyspace.count();
    let number = |index: i32| {
        u32::try_from(index)
            .ok()
            .filter(|&index| index < count)
            .ok_or_else(|| ErrorReply::err("DB index is out of range"))
    };
    let (first, second) = (number(first)?, number(second)?);
    ctx.node.keyspace.swap(first, second);
    reply.ok();
    Ok(Flow::Done)
}

fn index(args: &Args<'_>, at: usize, otherwise: &str) -> Result<i32, ErrorReply> {
    let index = args.integer(at).ok().and_then(|index| i32::try_from(index).ok());
    index.ok_or_else(|| ErrorReply::err(otherwise))
}

pub(super) fn flushdb(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let only = Some(ctx.db);
    flush(ctx, args, only, reply)
}

pub(super) fn flushall(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    flush(ctx, args, None, reply)?;
    // What was given up must not come back from the dump file: it is written soon, whatever the
    // save points say. A save under way is of before, and another one follows it.
    if !ctx.node.config.save.0.is_empty() && ctx.node.unsaved_changes() > 0 {
        ctx.node.persist.save_wanted = true;
    }
    Ok(Flow::Done)
}

/// Detaches the databases whole, which takes no time, so SYNC and ASYNC do the same.
fn flush(ctx: &mut Ctx<'_>, args: &Args<'_>, only: Option<u32>, reply: &mut Reply<'_>) -> Outcome {
    let known = args.len() == 1 || (args.len() == 2 && (args.is(1, "SYNC") || args.is(1, "ASYNC")));
    if !known {
        return Err(ErrorReply::Syntax);
    }
    ctx.node.keyspace.flush(only);
    // Told also when there was nothing here: a replica may hold more than we do.
    let words: Vec<&[u8]> = args.iter().collect();
    ctx.effect(&words);
    reply.ok();
    Ok(Flow::Done)
}
