//! HELP of a container: derived from its subcommands' rows.

use russet_protocol::ErrorReply;

use super::{Args, Ctx, Flow, Outcome, Reply};

/// The function of every `HELP` subcommand: the rows beside it, each with what it does.
pub fn help(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let container = ctx.command.name.split('|').next().unwrap_or_default();
    let rows = ctx.node.commands.find(container.as_bytes()).map_or(&[][..], |row| row.subcommands);
    let mut lines = Vec::with_capacity(rows.len() * 2);
    for row in rows.iter().filter(|row| row.word() != "help") {
        let usage = format!("{} {}", row.word().to_ascii_uppercase(), row.syntax);
        lines.push(usage.trim_end().to_owned());
        lines.push(format!("    {}", row.summary));
    }
    write(reply, container, lines.iter().map(String::as_str));
    Ok(Flow::Done)
}

/// Writes a help text: what to type in general, the lines, and HELP itself.
pub fn write<'l>(reply: &mut Reply<'_>, name: &str, lines: impl ExactSizeIterator<Item = &'l str>) {
    reply.array(lines.len() + 3);
    let name = name.to_ascii_uppercase();
    reply.simple(&format!("{name} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:"));
    for line in lines {
        reply.simple(line);
    }
    reply.simple("HELP");
    reply.simple("    Print this help.");
}

/// The function of a container itself: it is never run, for its arity demands a subcommand.
pub fn container(ctx: &mut Ctx<'_>, _args: &Args<'_>, _reply: &mut Reply<'_>) -> Outcome {
    Err(ErrorReply::WrongArity(ctx.command.name.to_owned()))
}
