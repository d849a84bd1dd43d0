//! HyperLogLogs: estimates of the number of different elements, in strings. The structure is [`russet_ds::hyperloglog`].
//!
//! * `add.rs`: adding, estimating, merging
//! * `debug.rs`: PFDEBUG and PFSELFTEST

mod add;
mod debug;

use russet_ds::hyperloglog::{Corrupt, HyperLogLog};
use russet_protocol::ErrorReply;

use super::{Command, Group, acl};
use crate::types::string::Text;

/// The commands of the family.
pub const COMMANDS: &[Command] =
    &[add::PFADD, add::PFCOUNT, add::PFMERGE, debug::PFDEBUG, debug::PFSELFTEST];

/// The common fields of the rows.
const ROW: Command = Command { group: Group::Hyperloglog, acl: acl::HYPERLOGLOG, ..Command::ROW };

/// Returns the HyperLogLog in a string.
fn of(text: Text<'_>) -> Result<HyperLogLog<'_>, ErrorReply> {
    const ERROR: ErrorReply =
        ErrorReply::fixed("WRONGTYPE Key is not a valid HyperLogLog string value.");
    HyperLogLog::of(text.bytes()).ok_or(ERROR)
}

fn corrupt(_: Corrupt) -> ErrorReply {
    ErrorReply::fixed("INVALIDOBJ Corrupted HLL object detected")
}
