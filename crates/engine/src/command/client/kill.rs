//! CLIENT KILL.

use russet_protocol::ErrorReply;

use super::list::{Kind, shown};
use super::{ADMIN, ROW};
use crate::clients::Client;
use crate::command::argument::{
    Argument, after, int, one_of, optional, repeated, shown_as, string, token,
};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply};
use crate::ids::Handle;

const FILTERS: Argument = repeated(one_of(
    "new-format",
    &[
        optional(after("ID", int("client-id"))),
        optional(after(
            "TYPE",
            one_of(
                "client-type",
                &[
                    token("normal"),
                    token("master"),
                    token("slave"),
                    token("replica"),
                    token("pubsub"),
                ],
            ),
        )),
        optional(after("USER", string("username"))),
        optional(shown_as("ip:port", after("ADDR", string("addr")))),
        optional(shown_as("ip:port", after("LADDR", string("laddr")))),
        optional(after("SKIPME", one_of("skipme", &[token("YES"), token("NO")]))),
        optional(after("MAXAGE", int("maxage"))),
    ],
));

/// Which connections are closed: those that match every filter that is set.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    kind: Option<Kind>,
    address: Option<String>,
    local_address: Option<String>,
    age_secs: Option<u64>,
    /// Only those of the default user.
    has_user: bool,
    spare: Option<Handle>,
}

impl Filter {
    fn lets_through(&self, client: &Client, now_us: u64) -> bool {
        let age_secs = now_us.saturating_sub(client.connected_us) / 1_000_000;
        self.id.is_none_or(|id| id == client.id)
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && self.address.as_ref().is_none_or(|a| *a == client.peer())
            && self.local_address.as_ref().is_none_or(|a| *a == client.local())
            && self.age_secs.is_none_or(|least| age_secs >= least)
            // The link to the master has all rights and no user.
            && !(self.has_user && client.is_master_link())
            && self.spare != Some(client.handle)
    }

    fn parse(me: Handle, args: &Args<'_>) -> Result<Filter, ErrorReply> {
        let mut filter = Filter { spare: Some(me), ..Filter::default() };
        let mut at = 2;
        while at < args.len() {
            let value = args.get(at + 1).ok_or(ErrorReply::Syntax)?;
            filter.option(me, args, at, value)?;
            at += 2;
        }
        Ok(filter)
    }

    fn option(
        &mut self,
        me: Handle,
        args: &Args<'_>,
        at: usize,
        value: &[u8],
    ) -> Result<(), ErrorReply> {
        if args.is(at, "ID") {
            let id = args.integer(at + 1).ok().and_then(|id| u64::try_from(id).ok());
            let id = id.filter(|&id| id > 0);
            self.id = Some(
                id.ok_or_else(|| ErrorReply::fixed("ERR client-id should be greater than 0"))?,
            );
        } else if args.is(at, "MAXAGE") {
            let age = args
                .integer(at + 1)
                .map_err(|_| ErrorReply::fixed("ERR maxage is not an integer or out of range"))?;
            let age = u64::try_from(age).ok().filter(|&age| age > 0);
            self.age_secs =
                Some(age.ok_or_else(|| ErrorReply::fixed("ERR maxage should be greater than 0"))?);
        } else if args.is(at, "TYPE") {
            self.kind = Some(Kind::named(value)?);
        } else if args.is(at, "ADDR") {
            self.address = Some(args.text(at + 1));
        } else if args.is(at, "LADDR") {
            self.local_address = Some(args.text(at + 1));
        } else if args.is(at, "USER") {
            // There is only the default user.
            if value != b"default" {
                return Err(ErrorReply::quoting("ERR No such user '", value, "'"));
            }
            self.has_user = true;
        } else if args.is(at, "SKIPME") {
            self.spare = match (args.is(at + 1, "YES"), args.is(at + 1, "NO")) {
                (true, _) => Some(me),
                (_, true) => None,
                _ => return Err(ErrorReply::Syntax),
            };
        } else {
            return Err(ErrorReply::Syntax);
        }
        Ok(())
    }
}

pub(super) const KILL: Command = Command {
    name: "client|kill",
    since: "2.4.0",
    arity: -3,
    flags: ADMIN,
    arguments: &[one_of("filter", &[shown_as("ip:port", string("old-format")), FILTERS])],
    summary: "Closes the connections that pass all given filters.",
    complexity: "O(N) for N connections",
    run: kill,
    ..ROW
};

fn kill(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let me = ctx.session()?;
    let old_form = args.len() == 3;
    let filter = if old_form {
        Filter { address: Some(args.text(2)), ..Filter::default() }
    } else {
        Filter::parse(me, args)?
    };
    let now_us = ctx.core.now.mono_us;
    let chosen: Vec<Handle> = shown(ctx.parts)
        .filter(|client| filter.lets_through(client, now_us))
        .map(|client| client.handle)
        .collect();
    if old_form && chosen.is_empty() {
        return Err(ErrorReply::fixed("ERR No such client"));
    }
    if old_form {
        reply.ok();
    } else {
        reply.count(chosen.len());
    }
    for &handle in chosen.iter().filter(|&&handle| handle != me) {
        ctx.parts.clients.close(ctx.core, handle);
    }
    Ok(if chosen.contains(&me) { Flow::Close } else { Flow::Done })
}
