//! The HELP subcommands, which describe the rows of their containers.

use russet_protocol::ErrorReply;

use super::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};

/// What the rows of all HELP subcommands share.
pub const ROW: Command = Command {
    arity: 2,
    flags: f::LOADING | f::STALE,
    summary: "Prints this help.",
    run: help,
    ..Command::ROW
};

fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let container = ctx.command.name.split('|').next().unwrap_or_default();
    let rows = ctx.commands.find(container.as_bytes()).map_or(&[][..], |row| row.subcommands);
    let container = container.to_ascii_uppercase();
    reply.array(1 + 2 * rows.len());
    reply.simple(&format!("{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    // HELP comes last, as in Redis.
    let (own, others): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.word() == "help");
    for row in others.into_iter().chain(own) {
        let usage = format!("{} {}", row.word().to_ascii_uppercase(), row.syntax());
        reply.simple(usage.trim_end());
        reply.simple(&format!("    {}", row.summary));
    }
    Ok(Flow::Done)
}

/// The error for a subcommand whose arguments do not fit, as Redis words it.
pub fn wrong_use(ctx: &Ctx<'_>, args: &Args<'_>) -> ErrorReply {
    let container = ctx.command.name.split('|').next().unwrap_or_default().to_ascii_uppercase();
    let before = "ERR unknown subcommand or wrong number of arguments for '";
    let given = &args[1][..args[1].len().min(128)];
    ErrorReply::quoting(before, given, &format!("'. Try {container} HELP."))
}

/// The function of containers. It is never called, since their arity demands a subcommand.
pub fn container(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(ErrorReply::WrongArity(ctx.command.name.to_owned()))
}
