//! MIGRATE: its arguments. What happens then is in [`crate::migrate`].

use std::ops::Range;

use russet_protocol::ErrorReply;

use super::ROW;
use crate::busy::Activity;
use crate::clients::Waiting;
use crate::command::argument::{
    after, block, int, key, named, one_of, optional, repeated, shown_as, string, token,
};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, acl, flag as f};
use crate::migrate::{Transfer, World};
use crate::parts::Parts;

/// What happens to the keys.
const MOVED: u32 = k::RW | k::ACCESS | k::DELETE;

pub(super) const MIGRATE: Command = Command {
    name: "migrate",
    since: "2.6.0",
    arity: -6,
    flags: f::WRITE | f::MOVES_KEYS,
    acl: acl::KEYSPACE | acl::DANGEROUS,
    keys: &[KeySpec::one(3, MOVED), KeySpec::behind("KEYS", -2, MOVED | k::INCOMPLETE)],
    find_keys: Some(keys),
    arguments: &[
        string("host"),
        int("port"),
        one_of("key-selector", &[key("key", 0), named("empty-string", token("\"\""))]),
        int("destination-db"),
        int("timeout"),
        optional(token("COPY")),
        optional(token("REPLACE")),
        optional(one_of(
            "authentication",
            &[
                after("AUTH", shown_as("password", string("auth"))),
                after("AUTH2", block("auth2", &[string("username"), string("password")])),
            ],
        )),
        optional(repeated(after("KEYS", shown_as("key", key("keys", 1))))),
    ],
    summary: "Moves keys to another server, or copies them.",
    complexity: "O(N) for N keys, and like DUMP and DEL here and RESTORE there for each",
    secrets: Some(is_secret),
    run: migrate,
    ..ROW
};

/// Whether an argument is a name or a password for the other server.
fn is_secret(args: &Args<'_>, at: usize) -> bool {
    at > 6 && (args.is(at - 1, "AUTH") || args.is(at - 1, "AUTH2") || args.is(at - 2, "AUTH2"))
}

/// The options behind the timeout.
#[derive(Default)]
struct Options {
    transfer: Transfer,
    /// Where the keys behind KEYS begin.
    keys: Option<usize>,
}

impl Options {
    fn parse(args: &Args<'_>) -> Result<Options, ErrorReply> {
        let mut options = Options::default();
        let transfer = &mut options.transfer;
        let mut at = 6;
        while at < args.len() {
            let value =
                |index: usize| args.get(index).map(<[u8]>::to_vec).ok_or(ErrorReply::Syntax);
            if args.is(at, "COPY") {
                transfer.copies = true;
            } else if args.is(at, "REPLACE") {
                transfer.replaces = true;
            } else if args.is(at, "AUTH") {
                transfer.password = Some(value(at + 1)?);
                at += 1;
            } else if args.is(at, "AUTH2") {
                transfer.password = Some(value(at + 2)?);
                transfer.username = Some(value(at + 1)?);
                at += 2;
            } else if args.is(at, "KEYS") {
                if !args[3].is_empty() {
                    return Err(ErrorReply::err(
                        "When using MIGRATE KEYS option, the key argument must be set to the empty string",
                    ));
                }
                options.keys = Some(at + 1);
                break;
            } else {
                return Err(ErrorReply::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

/// Returns the indexes of the keys; none if the arguments are invalid.
fn keys(args: &Args<'_>) -> Range<usize> {
    let mut at = 6;
    while at < args.len() {
        if args.is(at, "KEYS") {
            return if args[3].is_empty() { at + 1..args.len() } else { 0..0 };
        }
        at += if args.is(at, "AUTH2") { 3 } else { 1 + usize::from(args.is(at, "AUTH")) };
    }
    3..4.min(args.len())
}

fn migrate(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let Options { mut transfer, keys } = Options::parse(args)?;
    transfer.timeout_ms = args.integer(5)?;
    transfer.db = args.integer(4)?;
    (transfer.host, transfer.port) = (args.text(1), args.text(2));
    // A key that expires while it is looked for is an effect of its own.
    ctx.no_effect();
    let db = ctx.call.db;
    let is_there = |index: &usize| ctx.data.read(db, args.key(*index)).is_some();
    let given = keys.map_or(3..4, |first| first..args.len());
    let found: Vec<Box<[u8]>> = given.filter(is_there).map(|index| args[index].into()).collect();
    if found.is_empty() {
        reply.simple("NOKEY");
        return Ok(Flow::Done);
    }
    let client = ctx.session()?;
    let Parts { migrate, clients, busy, .. } = &mut *ctx.parts;
    busy.begin(Activity::Migrate, Some(client));
    let mut world = World { core: ctx.core, clients, data: ctx.data };
    migrate.begin(&mut world, (client, db), transfer, found);
    ctx.block(Waiting::Migrate, None)
}
