//! Bit by bit operations on whole strings.

use russet_ds::bits::{self, Operation};
use russet_ds::{Block, NewPayload, OutOfMemory};
use russet_protocol::ErrorReply;

use super::ROW;
use crate::command::argument::{key, one_of, repeated, token};
use crate::command::keyspec::{KeySpec, key_flag as k};
use crate::command::{Args, Command, Ctx, Flow, Outcome, Reply, flag as f};
use crate::keyspace::{EventKind, Expiry};
use crate::types::string::{KIND_RAW, Text};
use crate::types::{INLINE_MAX, Object, payload};

pub(super) const BITOP: Command = Command {
    name: "bitop",
    since: "2.6.0",
    arity: -4,
    flags: f::WRITE | f::DENYOOM,
    keys: &[KeySpec::one(2, k::OW | k::UPDATE), KeySpec::rest(3, 1, k::RO | k::ACCESS)],
    arguments: &[
        one_of("operation", const { &[token("AND"), token("OR"), token("XOR"), token("NOT")] }),
        key("destkey", 0),
        repeated(key("key", 1)),
    ],
    summary: "Combines strings bit by bit, stores the result in a key, and returns its length in bytes.",
    complexity: "O(N) for N bytes of all strings",
    run: bitop,
    ..ROW
};

fn bitop(ctx: &mut Ctx<'_>, args: &Args<'_>, reply: &mut Reply<'_>) -> Outcome {
    let operation = match &args[1].to_ascii_lowercase()[..] {
        b"and" => Operation::And,
        b"or" => Operation::Or,
        b"xor" => Operation::Xor,
        b"not" if args.len() == 4 => Operation::Not,
        b"not" => {
            return Err(ErrorReply::err("BITOP NOT must be called with a single source key."));
        }
        _ => return Err(ErrorReply::Syntax),
    };
    let texts = ctx.read_all_as(args, 3..args.len(), Text::of)?;
    let sources: Vec<&[u8]> =
        texts.into_iter().map(|text| text.map_or(&[][..], Text::bytes)).collect();
    let len = sources.iter().map(|source| source.len()).max().unwrap_or(0);
    let result = Combined::of(operation, &sources, len);
    let edit = ctx.overwrite(args.key(2));
    match result.map_err(|OutOfMemory| ErrorReply::StringTooLong)? {
        Combined::Nothing => {
            edit.remove(EventKind::Del);
        }
        Combined::Short(bytes) => {
            edit.set(KIND_RAW, payload(&bytes), Expiry::Clear, EventKind::Set);
        }
        Combined::Long(block) => {
            edit.set(KIND_RAW, NewPayload::Block(block), Expiry::Clear, EventKind::Set);
        }
    }
    reply.count(len);
    Ok(Flow::Done)
}

/// The result of an operation.
enum Combined {
    /// All strings are empty.
    Nothing,
    /// Bytes to copy into an entry.
    Short(Vec<u8>),
    /// The value of an entry.
    Long(Block<Object>),
}

impl Combined {
    fn of(operation: Operation, sources: &[&[u8]], len: usize) -> Result<Combined, OutOfMemory> {
        if len == 0 {
            return Ok(Combined::Nothing);
        }
        if len <= INLINE_MAX {
            let mut bytes = Vec::with_capacity(len);
            bits::combine(operation, sources, &mut |part| bytes.extend_from_slice(part));
            return Ok(Combined::Short(bytes));
        }
        let mut block = Block::try_with_capacity(len)?;
        if let Some(mut bytes) = block.try_bytes_mut(len)? {
            bits::combine(operation, sources, &mut |part| bytes.extend_from_slice(part));
        }
        Ok(Combined::Long(block))
    }
}
