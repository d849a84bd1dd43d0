//! PSYNC: decides between a partial and a full synchronization.
//!
//! A replication id identifies a *history*, an offset a position in it. A replica sends the id of
//! its history and the offset of the first missing byte. A partial synchronization is possible if
//! its history is ours, or was ours up to that offset, and the byte is still in the backlog:
//!
//! ```text
//!   id2 ───────────────┬──────────────── (later writes of that master: not ours)
//!                      │ second_offset
//!                      └─── id ──────────▶ our offset
//! ```
//!
//! `id2` is the previous id of the data: that of the former master, or of this node before a
//! restart. Both histories are the same before `second_offset`, the first byte that differs.

use super::backlog::Backlog;

/// The replication ids of a node's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicationIds {
    /// The current replication id.
    pub id: String,
    /// The previous replication id; 40 zeros if there is none.
    pub id2: String,
    /// First offset at which the previous history differs; -1 if there is none.
    pub second_offset: i64,
}

/// Maximum offset accepted from a peer or a file, so that later additions cannot overflow.
pub const OFFSET_MAX: i64 = 1 << 62;

/// Whether an id from a peer or a file is valid: it is used in replies and files.
pub fn is_id(id: &str) -> bool {
    id.len() == 40 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The id that stands for no history.
pub const NO_ID: &str = "0000000000000000000000000000000000000000";

impl ReplicationIds {
    /// Creates a new history.
    pub fn new(id: String) -> ReplicationIds {
        ReplicationIds { id, id2: NO_ID.to_owned(), second_offset: -1 }
    }

    /// Continues the history with a new id after `offset`.
    pub fn rename(&mut self, id: String, offset: i64) {
        self.id2 = std::mem::replace(&mut self.id, id);
        self.second_offset = offset + 1;
    }

    /// Clears the previous id.
    pub fn clear_previous(&mut self) {
        self.id2 = NO_ID.to_owned();
        self.second_offset = -1;
    }

    /// Whether the history `id` is identical to ours before `offset`.
    pub fn is_shared(&self, id: &str, offset: i64) -> bool {
        id.eq_ignore_ascii_case(&self.id)
            || (id.eq_ignore_ascii_case(&self.id2) && offset <= self.second_offset)
    }
}

/// The decision about a PSYNC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Partial synchronization from the requested offset.
    Continue,
    /// Full synchronization, for this reason.
    Full(Reason),
}

/// The reason for a full synchronization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The replica requested it, since it has no history.
    Requested,
    /// The replication ids do not match.
    OtherHistory,
    /// The histories differ before that offset.
    Diverged,
    /// The requested offset is not in the backlog.
    NotInBacklog,
}

impl Reason {
    /// Describes the refusal of the partial synchronization that `replica` requested from `offset`
    /// of the history `id`: why, and what prevents it.
    pub fn describe(
        self,
        replica: &str,
        (id, offset): (&str, i64),
        ids: &ReplicationIds,
        backlog: Option<&Backlog>,
    ) -> String {
        match (self, backlog) {
            (Reason::Requested, _) => format!("Full resync requested by replica {replica}"),
            (Reason::OtherHistory, _) => format!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for \
                 '{id}', my replication IDs are '{}' and '{}'). Replica {replica} has followed \
                 another master, or its data is of another history than that of this server.",
                ids.id, ids.id2
            ),
            (Reason::Diverged, _) => format!(
                "Partial resynchronization not accepted: Requested offset for second ID was \
                 {offset}, but I can reply up to {}. Replica {replica} has writes of its former \
                 master that this server has not.",
                ids.second_offset
            ),
            (Reason::NotInBacklog, Some(backlog)) if offset > backlog.next_offset() => format!(
                "Unable to partial resync with replica {replica} for lack of backlog (Replica \
                 request was: {offset}). Its offset is greater than that of this server, {}.",
                backlog.next_offset()
            ),
            (Reason::NotInBacklog, Some(backlog)) => format!(
                "Unable to partial resync with replica {replica} for lack of backlog (Replica \
                 request was: {offset}). The backlog begins at {}; a larger 'repl-backlog-size' \
                 than {} bytes keeps more.",
                backlog.first_offset(),
                backlog.size_max()
            ),
            (Reason::NotInBacklog, None) => format!(
                "Unable to partial resync with replica {replica} for lack of backlog (Replica \
                 request was: {offset}). There is none yet, or it was freed after \
                 'repl-backlog-ttl' seconds without replicas."
            ),
        }
    }
}

/// Decides about a PSYNC. `offset` is that of the first byte that the replica lacks.
pub fn decide(
    ids: &ReplicationIds,
    backlog: Option<&Backlog>,
    id: &str,
    offset: Option<i64>,
) -> Decision {
    let Some(offset) = offset.filter(|_| id != "?") else {
        return Decision::Full(Reason::Requested);
    };
    if !ids.is_shared(id, offset) {
        let diverged = id.eq_ignore_ascii_case(&ids.id2);
        return Decision::Full(if diverged { Reason::Diverged } else { Reason::OtherHistory });
    }
    match backlog {
        Some(backlog) if backlog.holds(offset) => Decision::Continue,
        _ => Decision::Full(Reason::NotInBacklog),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Meter;

    #[test]
    fn partial_synchronization_needs_a_shared_history_in_the_backlog() {
        let mut ids = ReplicationIds::new("a".repeat(40));
        ids.rename("b".repeat(40), 100);
        let mut backlog = Backlog::new(51, 1000);
        backlog.append(Meter::default().share(vec![0; 100]));
        let (a, b) = ("a".repeat(40), "b".repeat(40));
        let psync = |id: &str, offset| decide(&ids, Some(&backlog), id, Some(offset));
        assert_eq!(psync(&b, 151), Decision::Continue, "nothing is missing");
        assert_eq!(psync(&b, 51), Decision::Continue, "the oldest byte of the backlog");
        assert_eq!(psync(&b, 50), Decision::Full(Reason::NotInBacklog));
        assert_eq!(
            psync(&b, 152),
            Decision::Full(Reason::NotInBacklog),
            "the replica is ahead of us"
        );
        assert_eq!(psync(&a, 101), Decision::Continue, "the histories differ only from there on");
        assert_eq!(psync(&a, 102), Decision::Full(Reason::Diverged));
        assert_eq!(psync(NO_ID, 60), Decision::Full(Reason::OtherHistory));
        assert_eq!(psync("?", -1), Decision::Full(Reason::Requested));
        assert_eq!(decide(&ids, None, &b, Some(60)), Decision::Full(Reason::NotInBacklog));
    }
}
