//! CLIENT LIST and CLIENT INFO: connections as lines of text.

use std::fmt::Write;

use russet_protocol::{ErrorReply, Protocol};

use super::{ADMIN, PLAIN, ROW};
use crate::clients::Client;
use crate::clients::subscriptions::Kind as Subscribed;
use crate::command::argument::{after, int, one_of, optional, repeated, token};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};
use crate::core::Core;
use crate::io::{Endpoints, Handle};
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
        line(&mut text, client, ctx.core.now.mono_us, args_bytes(args));
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
        line(&mut text, client, ctx.core.now.mono_us, running);
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

/// Iterates over the connections that users see: all but a link to a master that is not in use yet.
pub(super) fn shown(parts: &Parts) -> impl Iterator<Item = &Client> {
    let online = |handle: Handle| {
        parts.following.master().is_some_and(|m| m.is_online() && m.link == Some(handle))
    };
    parts
        .clients
        .iter()
        .filter(move |client| !client.closed && (!client.is_master_link() || online(client.handle)))
}

/// Describes a connection in a log line.
pub(crate) fn describe(core: &Core, parts: &Parts, handle: Handle) -> String {
    let mut text = String::new();
    if let Some(client) = parts.clients.get(handle) {
        line(&mut text, client, core.now.mono_us, 0);
    }
    text.trim_end().to_owned()
}

fn args_bytes(args: &Args<'_>) -> usize {
    args.iter().map(<[u8]>::len).sum()
}

fn flags(client: &Client) -> String {
    let letters = [
        ('S', client.is_replica()),
        ('M', client.is_master_link()),
        ('P', !client.subscriptions.is_empty()),
        ('x', client.transaction.open),
        ('b', client.blocked.is_some()),
        ('d', client.transaction.broken),
        ('c', client.closing),
        ('U', matches!(client.ends, Endpoints::Unix(_))),
        ('e', client.no_evict),
        ('T', client.no_touch),
    ];
    let set: String = letters.iter().filter(|(_, set)| *set).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

/// Appends the line of a connection. `running_bytes` is the size of the command that it runs now.
///
/// Shows the index of the connection where Redis shows its file descriptor, which the engine does
/// not know.
fn line(text: &mut String, client: &Client, now_us: u64, running_bytes: usize) {
    let seconds = |since_us: u64| now_us.saturating_sub(since_us) / 1_000_000;
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let transaction = &client.transaction;
    let multi = if transaction.open { transaction.queue.len() as i64 } else { -1 };
    let queued: usize = transaction.queue.iter().map(|queued| queued.bytes.len()).sum();
    let wire = &client.wire;
    let (reply, reply_room) = (wire.outbox.tail_len(), wire.outbox.tail_capacity());
    let resp = match client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let user = if client.is_master_link() { "(superuser)" } else { "default" };
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} \
         multi={multi} watch={} qbuf={} qbuf-free={} argv-mem={running_bytes} multi-mem={queued} \
         rbs={reply_room} rbp={reply_room} obl={reply} oll={} omem={} tot-mem={} events={} cmd={} \
         user={user} redir=-1 resp={resp} lib-name={} lib-ver={}",
        client.id,
        client.peer(),
        client.local(),
        client.handle.index,
        lossy(&client.name),
        seconds(client.connected_us),
        seconds(client.last_interaction_us),
        flags(client),
        client.db,
        client.subscriptions.of(Subscribed::Channel),
        client.subscriptions.of(Subscribed::Pattern),
        client.subscriptions.of(Subscribed::Shard),
        client.watched.len(),
        wire.pending(),
        wire.spare(),
        wire.outbox.pieces(),
        wire.outbox.len() - reply,
        client.memory_bytes(),
        if wire.outbox.has_open_bytes() { "rw" } else { "r" },
        client.last_command,
        lossy(&client.lib_name),
        lossy(&client.lib_version),
    );
    text.push('\n');
}
