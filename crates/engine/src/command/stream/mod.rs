//! Streams.
//!
//! * `add.rs`: adding and trimming
//! * `entries.rs`: ranges, deleting, counters
//! * `read.rs`: XREAD and XREADGROUP
//! * `group.rs`: consumer groups and acknowledgements
//! * `pending.rs`: what is not acknowledged
//! * `claim.rs`: giving it to other consumers
//! * `info.rs`: XINFO
//! * `effects.rs`: how changes of groups are propagated

mod add;
mod claim;
mod effects;
mod entries;
mod group;
mod info;
mod pending;
mod read;

use russet_protocol::ErrorReply;
use russet_protocol::error::c_str;

use super::{Args, Command, Group as CommandGroup, Reply, acl};
use crate::types::stream::{Entry, StreamId};

/// The commands of the family.
pub const COMMANDS: &[Command] = &[
    add::XADD,
    add::XTRIM,
    entries::XLEN,
    entries::XRANGE,
    entries::XREVRANGE,
    entries::XDEL,
    entries::XSETID,
    read::XREAD,
    read::XREADGROUP,
    group::XGROUP,
    group::XACK,
    pending::XPENDING,
    claim::XCLAIM,
    claim::XAUTOCLAIM,
    info::XINFO,
];

/// The common fields of the rows.
const ROW: Command = Command { group: CommandGroup::Stream, acl: acl::STREAM, ..Command::ROW };

/// Those of subcommands of XGROUP and XINFO that print help.
const HELP: Command =
    Command { since: "5.0.0", group: CommandGroup::Stream, acl: acl::STREAM, ..super::help::ROW };

const INVALID_ID: ErrorReply =
    ErrorReply::fixed("ERR Invalid stream ID specified as stream command argument");

/// Maximum length of the text of an ID.
const ID_BYTES_MAX: usize = 127;

/// Parses an ID. One without a sequence number has 0.
fn parse_id(text: &[u8]) -> Result<StreamId, ErrorReply> {
    let text = Some(text).filter(|text| text.len() <= ID_BYTES_MAX);
    text.and_then(|text| StreamId::parse(text, 0)).ok_or(INVALID_ID)
}

/// Parses all arguments from an index on as IDs.
fn parse_ids(args: &Args<'_>, from: usize) -> Result<Vec<StreamId>, ErrorReply> {
    args.from(from).map(parse_id).collect()
}

/// An end of a range.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Start,
    End,
}

/// Parses an end of a range: an ID, `-` or `+`, or behind `(` an ID that is excluded.
fn parse_end(text: &[u8], which: End) -> Result<StreamId, ErrorReply> {
    let missing_seq = if which == End::Start { 0 } else { u64::MAX };
    let parse = |text| StreamId::parse(text, missing_seq).ok_or(INVALID_ID);
    match text {
        _ if text.len() > ID_BYTES_MAX => Err(INVALID_ID),
        b"-" => Ok(StreamId::MIN),
        b"+" => Ok(StreamId::MAX),
        [b'(', excluded @ ..] if !excluded.is_empty() => {
            let excluded = parse(excluded)?;
            let (id, why) = match which {
                End::Start => (excluded.next(), "invalid start ID for the interval"),
                End::End => (excluded.previous(), "invalid end ID for the interval"),
            };
            id.ok_or_else(|| ErrorReply::err(why))
        }
        _ => parse(text),
    }
}

/// Parses a count, of which a negative one is 0.
fn parse_count(args: &Args<'_>, at: usize) -> Result<u64, ErrorReply> {
    args.integer(at).map(|count| u64::try_from(count).unwrap_or(0))
}

/// Replies with an ID.
fn reply_id(reply: &mut Reply<'_>, id: StreamId) {
    reply.bulk(id.to_string().as_bytes());
}

/// Replies with an entry: its ID, and names and values in turn.
fn reply_entry(reply: &mut Reply<'_>, entry: &Entry<'_>) {
    reply.array(2);
    reply_id(reply, entry.id);
    reply.array(entry.len * 2);
    for (name, value) in entry.fields() {
        let mut digits = russet_ds::listpack::Digits::default();
        reply.bulk(name.text(&mut digits));
        reply.bulk(value.text(&mut digits));
    }
}

/// The error of a command that needs a group.
fn no_group(before: &str, key: &[u8], between: &str, group: &[u8], after: &str) -> ErrorReply {
    let parts: [&[u8]; 5] =
        [before.as_bytes(), c_str(key), between.as_bytes(), c_str(group), after.as_bytes()];
    ErrorReply::Quoting(parts.concat())
}

/// The error if there is no key, or no group of it.
fn no_key_or_group(key: &[u8], group: &[u8]) -> ErrorReply {
    no_group("NOGROUP No such key '", key, "' or consumer group '", group, "'")
}

/// The error if a key has no such group.
fn no_such_group(key: &[u8], group: &[u8]) -> ErrorReply {
    no_group("NOGROUP No such consumer group '", group, "' for key name '", key, "'")
}
