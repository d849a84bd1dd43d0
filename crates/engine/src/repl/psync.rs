//! PSYNC: can a replica go on where it stopped, or must it get everything?
//!
//! A *history* is named by a replication id, a place in it by an offset. A replica names the history it follows and
//! the first byte that it lacks. It may go on if that history is ours, or was ours up to that place, and the
//! byte is still in the backlog:
//!
//! ```text
//!   id2 ───────────────┬──────────────── (that master's later writes: never ours)
//!                      │ second_offset
//!                      └─── id ──────────▶ our offset
//! ```
//!
//! `id2` is the id that the data had before: of the master we replaced, or of the process before a restart. Up
//! to and including `second_offset` (the first byte that differs) both histories are the same.

use super::backlog::Backlog;

/// The two histories that a node's data belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationIds {
    /// Name of the present one.
    pub id: String,
    /// Name of the former one; 40 zeros if there is none.
    pub id2: String,
    /// First offset at which the former one is not ours any more; -1 if there is none.
    pub second_offset: i64,
}

/// The longest stream that a peer or a file may claim. Counting goes on from there, and must never overflow.
pub const OFFSET_MAX: i64 = 1 << 62;

/// Whether a peer's or a file's name for a history is one: it goes into replies and files of ours.
pub fn is_id(id: &str) -> bool {
    id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// An id that names no history.
pub const NO_ID: &str = "0000000000000000000000000000000000000000";

impl ReplicationIds {
    /// A history of its own.
    pub fn new(id: String) -> ReplicationIds {
        ReplicationIds { id, id2: NO_ID.to_owned(), second_offset: -1 }
    }

    /// The history goes on under another name from behind `offset`.
    pub fn rename(&mut self, id: String, offset: i64) {
        self.id2 = std::mem::replace(&mut self.id, id);
        self.second_offset = offset + 1;
    }

    /// There is no former history.
    pub fn forget_former(&mut self) {
        self.id2 = NO_ID.to_owned();
        self.second_offset = -1;
    }

    /// Whether the bytes before `offset` of the history `id` are the same as ours.
    pub fn share(&self, id: &str, offset: i64) -> bool {
        id.eq_ignore_ascii_case(&self.id)
            || (id.eq_ignore_ascii_case(&self.id2) && offset <= self.second_offset)
    }
}

/// The answer to PSYNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go on from the offset that was asked for.
    Continue,
    /// Everything must be sent, for this reason.
    Full(Reason),
}

/// Why a replica gets everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It asked for that: it follows no history.
    Asked,
    /// Its history is not ours.
    OtherHistory,
    /// Its history and ours part before that offset.
    PartedBefore,
    /// The byte is not in the backlog, any more or yet.
    NotInBacklog,
}

/// Decides. `offset` is that of the first byte which the replica lacks.
pub fn decide(
    ids: &ReplicationIds,
    backlog: Option<&Backlog>,
    id: &str,
    offset: Option<i64>,
) -> Decision {
    let Some(offset) = offset.filter(|_| id != "?") else {
        return Decision::Full(Reason::Asked);
    };
    if !ids.share(id, offset) {
        let parted = id.eq_ignore_ascii_case(&ids.id2);
        return Decision::Full(if parted { Reason::PartedBefore } else { Reason::OtherHistory });
    }
    match backlog {
        Some(backlog) if backlog.holds(offset) => Decision::Continue,
        _ => Decision::Full(Reason::NotInBacklog),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn goes_on_only_within_a_shared_history_that_is_kept() {
        let mut ids = ReplicationIds::new("a".repeat(40));
        ids.rename("b".repeat(40), 100);
        let mut backlog = Backlog::new(51, 1000);
        backlog.append(Arc::new(vec![0; 100]));
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let ask = |id: &str, offset| decide(&ids, Some(&backlog), id, Some(offset));
        assert_eq!(ask(&b, 151), Decision::Continue, "nothing is missing");
        assert_eq!(ask(&b, 51), Decision::Continue, "the oldest byte kept");
        assert_eq!(ask(&b, 50), Decision::Full(Reason::NotInBacklog));
        assert_eq!(ask(&b, 152), Decision::Full(Reason::NotInBacklog), "it is ahead of us");
        assert_eq!(ask(&a, 101), Decision::Continue, "the first byte that differs is ours to send");
        assert_eq!(ask(&a, 102), Decision::Full(Reason::PartedBefore));
        assert_eq!(ask(NO_ID, 60), Decision::Full(Reason::OtherHistory));
        assert_eq!(ask("?", -1), Decision::Full(Reason::Asked));
        assert_eq!(decide(&ids, None, &b, Some(60)), Decision::Full(Reason::NotInBacklog));
    }
}
