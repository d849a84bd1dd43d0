//! How changes of groups are propagated: as the outcome, whatever command it is from.
//!
//! ```text
//!   XGROUP CREATECONSUMER key group consumer
//!   XCLAIM key group consumer 0 id TIME ms RETRYCOUNT count FORCE JUSTID LASTID id
//!   XGROUP SETID key group id ENTRIESREAD count
//! ```
//!
//! Redis does not propagate that a consumer was created which got nothing, and that a consumer got its own entries again. Here
//! both are, so that a replica has the same data.

use crate::command::Ctx;
use crate::types::stream::{Group, Name, Pending, StreamId};

/// A change of a group.
#[derive(Debug)]
pub(super) enum GroupEffect {
    /// A consumer was created.
    Consumer(Name),
    /// An entry was delivered, or is no longer pending since it is deleted. The last ID of the group at that time.
    Claim(StreamId, Pending, StreamId),
    /// The last ID and the number of read entries are these.
    LastId(StreamId, Option<u64>),
}

impl GroupEffect {
    /// The position of a group.
    pub fn position(group: &Group) -> GroupEffect {
        GroupEffect::LastId(group.last_id, group.entries_read)
    }
}

/// Propagates changes of a group in place of the command.
pub(super) fn propagate(ctx: &mut Ctx<'_>, key: &[u8], group: &[u8], effects: &[GroupEffect]) {
    for effect in effects {
        match effect {
            GroupEffect::Consumer(name) => {
                ctx.effect(&[b"XGROUP", b"CREATECONSUMER", key, group, name]);
            }
            GroupEffect::Claim(id, pending, last_id) => {
                let (id, last_id) = (id.to_string(), last_id.to_string());
                let (ms, count) =
                    (pending.delivered_ms.to_string(), pending.deliveries.to_string());
                ctx.effect(&[
                    b"XCLAIM",
                    key,
                    group,
                    &pending.consumer,
                    b"0",
                    id.as_bytes(),
                    b"TIME",
                    ms.as_bytes(),
                    b"RETRYCOUNT",
                    count.as_bytes(),
                    b"FORCE",
                    b"JUSTID",
                    b"LASTID",
                    last_id.as_bytes(),
                ]);
            }
            GroupEffect::LastId(id, entries_read) => {
                let id = id.to_string();
                let read = entries_read.map_or_else(|| "-1".to_owned(), |read| read.to_string());
                let (id, read) = (id.as_bytes(), read.as_bytes());
                ctx.effect(&[b"XGROUP", b"SETID", key, group, id, b"ENTRIESREAD", read]);
            }
        }
    }
}
