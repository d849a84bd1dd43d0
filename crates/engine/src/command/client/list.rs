//! CLIENT LIST and CLIENT INFO: connections as lines of text.

use russet_protocol::ErrorReply;

use super::{ADMIN, PLAIN, ROW};
use crate::clients::Client;
use crate::command::argument::{after, int, one_of, optional, repeated, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};
use crate::core::Core;
use crate::io::Handle;
use crate::parts::Parts;

/// The types of connections that CLIENT LIST and CLIENT KILL filter by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Master,
    Replica,
    Pubsub,
}

impl Kind {
    /// Finds a type by its name, old or new.
    pub(super) fn named(name: &[u8]) -> Result<Kind, ErrorReply> {
        const NAMES: [(&str, Kind); 6] = [
            ("normal", Kind::Normal),
            ("master", Kind::Master),
            ("primary", Kind::Master),
            ("slave", Kind::Replica),
            ("replica", Kind::Replica),
            ("pubsub", Kind::Pubsub),
        ];
        let found = NAMES.iter().find(|(known, _)| name.eq_ignore_ascii_case(known.as_bytes()));
        let unknown = || ErrorReply::quoting("ERR Unknown client type '", name, "'");
        found.map(|&(_, kind)| kind).ok_or_else(unknown)
    }

    pub(super) fn of(client: &Client) -> Kind {
        if client.is_master_link() {
            Kind::Master
        } else if client.is_replica() {
            Kind::Replica
        } else if !client.subscriptions.is_empty() {
            Kind::Pubsub
        } else {
            Kind::Normal
        }
    }
}

pub(super) const INFO: Command = Command {
    name: "client|info",
    since: "6.2.0",
    arity: 2,
    flags: PLAIN,
    summary: "Describes this connection as CLIENT LIST does.",
    run: info,
    ..ROW
};

fn info(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut text = String::new();
    if let Some(client) = ctx.parts.clients.get(ctx.session()?) {
        text = client.describe(ctx.core.now.mono_us, args_bytes(args)) + "\n";
    }
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}

pub(super) const LIST: Command = Command {
    name: "client|list",
    since: "2.4.0",
    arity: -2,
    flags: ADMIN,
    arguments: &[
        optional(after(
            "TYPE",
            one_of(
                "client-type",
                &[token("normal"), token("master"), token("replica"), token("pubsub")],
            ),
        )),
        optional(repeated(after("ID", int("client-id")))),
    ],
    summary: "Describes connections, one per line.",
    complexity: "O(N) for N connections",
    run: list,
    ..ROW
};

fn list(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let mut chosen: Vec<&Client> = match args.len() {
        2 => shown(ctx.parts).collect(),
        4 if args.is(2, "TYPE") => {
            let kind = Kind::named(&args[3])?;
            shown(ctx.parts).filter(|client| Kind::of(client) == kind).collect()
        }
        4.. if args.is(2, "ID") => by_ids(ctx, args)?,
        _ => return Err(ErrorReply::Syntax),
    };
    if !args.is(2, "ID") {
        chosen.sort_unstable_by_key(|client| client.id);
    }
    let mut text = String::with_capacity(chosen.len() * 320);
    for client in chosen {
        let running = if Some(client.handle) == ctx.call.session { args_bytes(args) } else { 0 };
        text.push_str(&client.describe(ctx.core.now.mono_us, running));
        text.push('\n');
    }
    reply.verbatim(text.as_bytes());
    Ok(Flow::Done)
}

fn by_ids<'n>(ctx: &'n Ctx<'_>, args: &Args<'_>) -> Result<Vec<&'n Client>, ErrorReply> {
    let mut sorted: Vec<&Client> = shown(ctx.parts).collect();
    sorted.sort_unstable_by_key(|client| client.id);
    let mut chosen = Vec::with_capacity(args.len() - 3);
    for at in 3..args.len() {
        let id = args.integer(at).map_err(|_| ErrorReply::fixed("ERR Invalid client ID"))?;
        let Ok(id) = u64::try_from(id) else { continue };
        if let Ok(found) = sorted.binary_search_by_key(&id, |client| client.id) {
            chosen.push(sorted[found]);
        }
    }
    Ok(chosen)
}

/// Iterates over the connections that users see: all but those of MIGRATE and a link to a master that is not in use yet.
pub(super) fn shown(parts: &Parts) -> impl Iterator<Item = &Client> {
    let online = |handle: Handle| {
        parts.following.master().is_some_and(|m| m.is_online() && m.link == Some(handle))
    };
    parts
        .clients
        .iter()
        .filter(|client| !client.closed && !client.is_migrate_link())
        .filter(move |client| !client.is_master_link() || online(client.handle))
}

/// Describes a connection in a log line.
pub(crate) fn describe(core: &Core, parts: &Parts, handle: Handle) -> String {
    let client = parts.clients.get(handle);
    client.map(|client| client.describe(core.now.mono_us, 0)).unwrap_or_default()
}

fn args_bytes(args: &Args<'_>) -> usize {
    args.iter().map(<[u8]>::len).sum()
}
