//! What the journal of this node has: elections, failovers, refused votes, and slots that change hands.
//!
//! An entry's text begins with the node that it is about, so that the entries of one failover can be found again: it is
//! about the master that is replaced, whoever does something for it.
//!
//! ```text
//!   +fail          9f3c… (b): suspected by 2 of 3 masters, 2 needed; its last answer was 2101 ms ago
//!   -vote-refused  9f3c… (b): no vote for c2d4… (e): already voted for epoch 8
//!   +slots         9f3c… (b): slots 5461-10922 (5462) are now of c2d4… (e) with config epoch 8
//! ```
//!
//! What others can repeat as often as they like is one entry: the same refused vote, and slots that are moved one by one.

use std::fmt::{Display, Write};

use russet_journal::{Entry, Journal};

use super::Cluster;
use crate::explain;
use crate::io::{Level, Output};
use crate::node_id::NodeId;
use crate::nodes::NodeKey;
use crate::slots::SlotBitmap;

/// An entry about slots has so many ranges, and one about several nodes so many of them.
const SHOWN_MAX: usize = 12;

/// Former and new owner of slots.
type Hands = (Option<NodeId>, Option<NodeId>);

/// The name of the journal in its file: the node's own may change.
const NAME: &str = "cluster";

#[derive(Debug, Default)]
pub(super) struct Events {
    journal: Journal,
    /// Whether it has entries that are not in its file.
    is_new: bool,
    /// The last vote that was refused, and why.
    refused: Option<(NodeId, String)>,
    /// The slots of the last entry, if it is about such.
    last_moved: Option<(Hands, SlotBitmap)>,
}

impl Events {
    /// Goes on with what the last run has left.
    pub fn read(file: &[u8]) -> Events {
        let journal = russet_journal::read_file(file).remove(NAME).unwrap_or_default();
        Events { journal, ..Events::default() }
    }
}

impl Cluster {
    /// Writes an entry.
    pub(super) fn note(&mut self, event: &str, about: NodeKey, what: impl Display) {
        let about = self.nodes[about].label();
        self.note_text(event, format!("{about}: {what}"));
    }

    /// Writes an entry about this replica's master.
    pub(super) fn note_of_master(&mut self, event: &str, what: impl Display) {
        if let Some(master) = self.nodes.me().master {
            self.note(event, master, what);
        }
    }

    fn note_text(&mut self, event: &str, text: String) {
        self.events.last_moved = None;
        self.events.is_new = true;
        self.events.journal.add(Entry {
            wall_ms: self.now.wall_ms,
            mono_ms: Some(self.now.mono_ms),
            epoch: self.current_epoch,
            event: event.to_owned(),
            text,
        });
    }

    /// Writes an entry about a vote that is refused, unless it is the same again.
    pub(super) fn note_refusal(&mut self, candidate: NodeKey, why: &str) {
        let id = self.nodes[candidate].id;
        if self.events.refused.as_ref().is_some_and(|(last, text)| *last == id && text == why) {
            return;
        }
        self.events.refused = Some((id, why.to_owned()));
        let about = self.nodes[candidate].master.unwrap_or(candidate);
        let text = format!("no vote for {}{why}", self.nodes[candidate].label());
        self.note("-vote-refused", about, text);
    }

    /// Writes an entry about a node that is down: who says so, and since when they have.
    pub(super) fn note_failed(&mut self, key: NodeKey, by: &str) {
        let now = self.now.mono_ms;
        let reports = self.nodes[key].reports.iter();
        let reports =
            reports.map(|(from, at)| (self.nodes[*from].label(), now.saturating_sub(*at)));
        let reports: Vec<String> =
            reports.map(|(from, ago)| format!("{from} {ago} ms ago")).collect();
        let reports = match reports.is_empty() {
            true => String::new(),
            false => format!("; reported last by {}", listed(&reports)),
        };
        let answer = self.told_answer(key);
        self.note("+fail", key, format!("{by}; {answer}{reports}"));
    }

    /// Says when a node last answered.
    pub(super) fn told_answer(&self, key: NodeKey) -> String {
        match self.nodes[key].pong_ms {
            Some(pong) => {
                format!("its last answer was {} ms ago", self.now.mono_ms.saturating_sub(pong))
            }
            None => "it has never answered".to_owned(),
        }
    }

    /// Writes entries about slots that have changed hands, and tells the failover that is over by that.
    pub(super) fn note_moved_slots(&mut self) {
        for (hands, slots) in self.nodes.take_moved() {
            self.note_moved(hands, slots);
            if let (Some(from), Some(to)) = hands {
                self.tell_failover_of_others(&from, &to);
            }
        }
    }

    fn note_moved(&mut self, hands: Hands, slots: SlotBitmap) {
        let mut slots = slots;
        if let Some((last, earlier)) = &self.events.last_moved
            && *last == hands
        {
            slots = slots.union(earlier);
            self.events.journal.entries.pop_back();
        }
        let label = |id: Option<NodeId>| {
            let known = id.and_then(|id| self.nodes.find(&id));
            match (known, id) {
                (Some(key), _) => self.nodes[key].label(),
                (None, Some(id)) => format!("{id} ()"),
                (None, None) => "nobody".to_owned(),
            }
        };
        let (from, to) = hands;
        let owner = to.and_then(|id| self.nodes.find(&id));
        let epoch = owner.map_or(String::new(), |owner| {
            format!(" with config epoch {}", self.nodes[owner].config_epoch)
        });
        let count = slots.len();
        let what = format!("slots {} ({count})", ranges(&slots));
        let text = match from {
            Some(_) => format!("{}: {what} are now of {}{epoch}", label(from), label(to)),
            None => format!("{}: {what}, which were of nobody, are now its{epoch}", label(to)),
        };
        self.note_text("+slots", text);
        self.events.last_moved = Some((hands, slots));
    }

    /// Tells the failover by which another node has got all slots of its master, as far as this node has seen it.
    fn tell_failover_of_others(&mut self, from: &NodeId, to: &NodeId) {
        let (Some(from), Some(to)) = (self.nodes.find(from), self.nodes.find(to)) else { return };
        let is_over = self.nodes[from].slot_count() == 0 && self.nodes.share_shard(from, to);
        if is_over && to != self.nodes.my_key() && from != self.nodes.my_key() {
            self.tell_failover(from, to);
        }
    }

    /// Writes the account of a failover into the log and the journal.
    pub(super) fn tell_failover(&mut self, from: NodeKey, to: NodeKey) {
        let successor = match to == self.nodes.my_key() {
            true => format!("this node, {}", self.nodes[to].label()),
            false => self.nodes[to].label(),
        };
        let epoch = self.nodes[to].config_epoch;
        let former = &self.nodes[from];
        let account =
            explain::account(&self.events.journal, &former.id, &former.label(), &successor, epoch);
        if let Some(account) = account {
            self.log(Level::Notice, account.clone());
            self.note("+failover", from, account);
        }
    }

    /// Has the journal written to its file if there are new entries.
    pub(super) fn save_journal(&mut self) {
        if std::mem::take(&mut self.events.is_new) {
            self.output(Output::SaveJournal);
        }
    }

    /// Returns the text of the journal's file.
    pub fn journal_text(&self) -> String {
        russet_journal::file_text(std::iter::once((NAME, &self.events.journal)))
    }

    /// Returns the entries of the journal, the last one last.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.events.journal.entries.iter()
    }
}

/// Returns the names of several nodes, or the first of them.
pub(super) fn listed(names: &[String]) -> String {
    let (shown, rest) = names.split_at(names.len().min(SHOWN_MAX));
    match (names.is_empty(), rest.len()) {
        (true, _) => "nobody".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn ranges(slots: &SlotBitmap) -> String {
    let mut text = String::new();
    for (index, range) in slots.ranges().enumerate() {
        if index == SHOWN_MAX {
            text.push_str(", …");
            break;
        }
        let separator = if index == 0 { "" } else { ", " };
        _ = match range.start() == range.end() {
            true => write!(text, "{separator}{}", range.start()),
            false => write!(text, "{separator}{}-{}", range.start(), range.end()),
        };
    }
    text
}
