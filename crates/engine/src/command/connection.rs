//! The state of a connection: user, protocol, database.

use russet_protocol::{ErrorReply, Protocol};

use super::argument::{after, block, int, optional, string};
use super::{Args, Command, Ctx, Flow, Group, Outcome, Reply, acl, flag as f};
use crate::mode::Mode;

/// The commands of the family.
pub const COMMANDS: &[Command] = &[PING, ECHO, AUTH, HELLO, SELECT, QUIT, RESET];

/// What the rows of the family share.
const ROW: Command = Command { group: Group::Connection, acl: acl::CONNECTION, ..Command::ROW };

/// Flags of the commands that need no authentication.
const OPEN: u64 = f::NOSCRIPT | f::LOADING | f::STALE | f::FAST | f::NO_AUTH | f::ALLOW_BUSY;

const PING: Command = Command {
    name: "ping",
    since: "1.0.0",
    arity: -1,
    flags: f::FAST | f::SENTINEL | f::WHILE_SUBSCRIBED | f::REPORTS_FAILED_SAVE,
    arguments: &[optional(string("message"))],
    summary: "Replies PONG or the given message.",
    run: ping,
    ..ROW
};

fn ping(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    if args.len() > 2 {
        return Err(ErrorReply::WrongArity("ping".to_owned()));
    }
    let is_subscribed = ctx.client().is_ok_and(|me| !me.subscriptions.is_empty());
    if is_subscribed && reply.protocol == Protocol::Resp2 {
        // A RESP2 subscriber receives it in the form of a message.
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(args.get(1).unwrap_or_default());
        return Ok(Flow::Done);
    }
    match args.get(1) {
        None => reply.simple("PONG"),
        Some(message) => reply.bulk(message),
    }
    Ok(Flow::Done)
}

const ECHO: Command = Command {
    name: "echo",
    since: "1.0.0",
    arity: 2,
    flags: f::LOADING | f::STALE | f::FAST,
    arguments: &[string("message")],
    summary: "Replies the given message.",
    run: echo,
    ..ROW
};

fn echo(_ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.bulk(&args[1]);
    Ok(Flow::Done)
}

const SELECT: Command = Command {
    name: "select",
    since: "1.0.0",
    arity: 2,
    flags: f::LOADING | f::STALE | f::FAST,
    arguments: &[int("index")],
    summary: "Selects the database that the connection works on.",
    run: select,
    ..ROW
};

fn select(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let count = ctx.data.count();
    if ctx.core.boot.mode == Mode::Cluster && count == 1 && args.db_index(1, u32::MAX) != Ok(0) {
        args.integer_within(1, i64::from(i32::MIN), i64::from(i32::MAX))?;
        return Err(ErrorReply::err("SELECT is not allowed in cluster mode"));
    }
    ctx.call.db = args.db_index(1, count)?;
    reply.ok();
    Ok(Flow::Done)
}

const QUIT: Command = Command {
    name: "quit",
    since: "1.0.0",
    arity: -1,
    flags: OPEN | f::SENTINEL | f::IN_MULTI | f::WHILE_SUBSCRIBED,
    summary: "Replies OK and closes the connection.",
    run: quit,
    ..ROW
};

fn quit(_ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    reply.ok();
    Ok(Flow::Close)
}

const AUTH: Command = Command {
    name: "auth",
    since: "1.0.0",
    arity: -2,
    flags: OPEN | f::SENTINEL,
    arguments: &[optional(string("username")), string("password")],
    summary: "Authenticates the connection.",
    complexity: "O(N) for N passwords of the user",
    secrets: Some(|_, at| at > 0),
    run: auth,
    ..ROW
};

fn auth(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    match args.len() {
        2 if ctx.core.config.requirepass.is_empty() => {
            return Err(ErrorReply::fixed(
                "ERR AUTH <password> called without any password configured for the default user. \
                 Are you sure your configuration is correct?",
            ));
        }
        2 => authenticate(ctx, b"default", &args[1])?,
        3 => authenticate(ctx, &args[1], &args[2])?,
        _ => return Err(ErrorReply::Syntax),
    }
    reply.ok();
    Ok(Flow::Done)
}

/// Authenticates the client as a user. The only user is `default`.
fn authenticate(ctx: &mut Ctx<'_>, user: &[u8], password: &[u8]) -> Result<(), ErrorReply> {
    let wanted = &ctx.core.config.requirepass;
    if user != b"default" || !(wanted.is_empty() || wanted.matches(password)) {
        ctx.core.stats.auth_failures += 1;
        return Err(ErrorReply::fixed(
            "WRONGPASS invalid username-password pair or user is disabled.",
        ));
    }
    ctx.client()?.authenticated = true;
    Ok(())
}

/// Whether the name of a client or of its library can be part of a line of CLIENT LIST.
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// The error for a name that is not printable.
pub(super) fn bad_name() -> ErrorReply {
    ErrorReply::fixed("ERR Client names cannot contain spaces, newlines or special characters.")
}

/// The arguments of HELLO.
#[derive(Default)]
struct Hello<'a> {
    protocol: Option<Protocol>,
    auth: Option<(&'a [u8], &'a [u8])>,
    name: Option<&'a [u8]>,
}

fn parse_hello<'a>(args: &Args<'a>) -> Result<Hello<'a>, ErrorReply> {
    let mut hello = Hello::default();
    if args.len() > 1 {
        let version = args.integer(1).map_err(|_| {
            ErrorReply::fixed("ERR Protocol version is not an integer or out of range")
        })?;
        hello.protocol = Some(match version {
            2 => Protocol::Resp2,
            3 => Protocol::Resp3,
            _ => return Err(ErrorReply::fixed("NOPROTO unsupported protocol version")),
        });
    }
    let mut at = 2;
    while at < args.len() {
        match (args.get(at + 1), args.get(at + 2)) {
            (Some(user), Some(password)) if args.is(at, "AUTH") => {
                hello.auth = Some((user, password));
                at += 3;
            }
            (Some(name), _) if args.is(at, "SETNAME") => {
                if !is_printable(name) {
                    return Err(bad_name());
                }
                hello.name = Some(name);
                at += 2;
            }
            _ => {
                let before = "ERR Syntax error in HELLO option '";
                return Err(ErrorReply::quoting(before, &args[at], "'"));
            }
        }
    }
    Ok(hello)
}

const HELLO: Command = Command {
    name: "hello",
    since: "6.0.0",
    arity: -1,
    flags: OPEN | f::SENTINEL,
    arguments: &[optional(block(
        "arguments",
        &[
            int("protover"),
            optional(after("AUTH", block("auth", &[string("username"), string("password")]))),
            optional(after("SETNAME", string("clientname"))),
        ],
    ))],
    summary: "Selects the version of the protocol and describes the server.",
    secrets: Some(|args, at| at > 2 && (args.is(at - 1, "AUTH") || args.is(at - 2, "AUTH"))),
    run: hello,
    ..ROW
};

fn hello(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let asked = parse_hello(args)?;
    if let Some((user, password)) = asked.auth {
        authenticate(ctx, user, password)?;
    }
    if !ctx.client()?.authenticated {
        return Err(ErrorReply::fixed(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the \
             HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and \
             select the RESP protocol version at the same time",
        ));
    }
    let role = if ctx.core.is_replica { "replica" } else { "master" };
    let me = ctx.client()?;
    if let Some(name) = asked.name {
        me.name = name.to_vec();
    }
    if let Some(protocol) = asked.protocol {
        me.protocol = protocol;
        reply.protocol = protocol;
    }
    let version = match me.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let id = i64::try_from(me.id).unwrap_or(i64::MAX);
    let mode = ctx.core.boot.mode;
    let role = (mode != Mode::Sentinel).then_some(("role", role));
    reply.map(6 + usize::from(role.is_some()));
    for (field, value) in [("server", "redis"), ("version", crate::REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(version);
    reply.bulk(b"id");
    reply.integer(id);
    for (field, value) in [Some(("mode", mode.name())), role].into_iter().flatten() {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"modules");
    reply.array(0);
    Ok(Flow::Done)
}

const RESET: Command = Command {
    name: "reset",
    since: "6.2.0",
    arity: 1,
    flags: OPEN | f::SENTINEL | f::IN_MULTI | f::WHILE_SUBSCRIBED,
    summary: "Resets the state of the connection to that of a new one.",
    run: reset,
    ..ROW
};

fn reset(ctx: &mut Ctx<'_>, _args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let me = ctx.client()?;
    if me.is_replica() || me.is_master_link() {
        return Err(ErrorReply::fixed("ERR can only reset normal client connections"));
    }
    ctx.discard_transaction();
    let handle = ctx.session()?;
    ctx.parts.pubsub.unsubscribe_all(&mut ctx.parts.clients, handle);
    ctx.parts.monitors.remove(&mut ctx.parts.clients, handle);
    let open = ctx.core.config.requirepass.is_empty();
    let me = ctx.client()?;
    me.authenticated = open;
    me.protocol = Protocol::Resp2;
    me.name.clear();
    // CLIENT REPLY SKIP still applies to the reply of RESET itself.
    (me.reply_mode.off, me.reply_mode.skip_next) = (false, false);
    me.no_evict = false;
    me.no_touch = false;
    (me.is_asking, me.reads_replica) = (false, false);
    ctx.call.db = 0;
    reply.protocol = Protocol::Resp2;
    reply.simple("RESET");
    Ok(Flow::Done)
}
