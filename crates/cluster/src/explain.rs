//! The account of a failover, in plain English, for somebody who is woken up by it: what the log says at its end.
//!
//! It is made of nothing but the journal's entries about the master that was replaced. What a node has not seen is not in
//! its account: most is in that of the replica which has won.

use russet_journal::{Entry, Journal, clock, durations, sentence, with_short_ids};

use crate::node_id::NodeId;

/// What the entries say.
#[derive(Default)]
struct Facts<'a> {
    suspected: Option<&'a Entry>,
    agreed: Option<&'a Entry>,
    ordered: Option<&'a Entry>,
    begun: Option<&'a Entry>,
    asked: Option<&'a Entry>,
    elected: Option<&'a Entry>,
    saved: Option<&'a Entry>,
    moved: Option<&'a Entry>,
    voted: Option<&'a Entry>,
    refused: Vec<&'a Entry>,
    attempts: usize,
}

impl<'a> Facts<'a> {
    /// Reads the entries about a master since it was last well.
    fn of(journal: &'a Journal, master: &str) -> Facts<'a> {
        let mut facts = Facts::default();
        for entry in journal.entries.iter().filter(|entry| entry.text.starts_with(master)) {
            facts.add(entry);
        }
        facts
    }

    fn add(&mut self, entry: &'a Entry) {
        match entry.event.as_str() {
            "-suspected" | "-fail" | "+failover" | "-promoted" => *self = Facts::default(),
            "+suspected" => self.suspected = Some(entry),
            "+fail" => self.agreed = Some(entry),
            "+manual-failover" => *self = Facts { ordered: Some(entry), ..Facts::default() },
            "+election" => self.begun = Some(entry),
            "+votes-asked" => {
                self.asked = Some(entry);
                self.attempts += 1;
            }
            "+elected" => self.elected = Some(entry),
            "+promoted" => self.saved = Some(entry),
            "+slots" => self.moved = Some(entry),
            "+vote" => self.voted = Some(entry),
            "-vote-refused" => self.refused.push(entry),
            _ => {}
        }
    }

    /// Returns the steps that this node has seen, in their order, and what each led to.
    fn steps(&self) -> Vec<(&'static str, &'a Entry)> {
        let steps = [
            ("it was ordered", self.ordered),
            ("the master was suspected", self.suspected),
            ("it was agreed to be down", self.agreed),
            ("the election was prepared", self.begun),
            ("votes were asked for", self.asked),
            ("this node voted", self.voted),
            ("this node was elected", self.elected),
            ("its state was on disk", self.saved),
        ];
        let moved = ("the slots changed hands", self.moved.filter(|_| self.saved.is_none()));
        let steps = steps.into_iter().chain([moved]);
        steps.filter_map(|(name, entry)| Some((name, entry?))).collect()
    }

    /// Whether this node has seen anything of it but the result.
    fn is_known(&self) -> bool {
        let seen = [self.suspected, self.agreed, self.ordered, self.asked, self.voted];
        seen.iter().any(Option::is_some) || !self.refused.is_empty()
    }
}

/// Returns what an entry says of the node that it is about.
fn what(entry: &Entry) -> &str {
    entry.text.split_once("): ").map_or(entry.text.as_str(), |(_, what)| what)
}

/// Returns the account of the failover that has ended just now, if this node has seen anything of it.
pub(crate) fn account(
    journal: &Journal,
    master: &NodeId,
    label: &str,
    successor: &str,
    epoch: u64,
) -> Option<String> {
    let facts = Facts::of(journal, &master.to_string());
    if !facts.is_known() {
        return None;
    }
    let mut sentences =
        vec![format!("Failover of {label} with epoch {epoch}: its successor is {successor}.")];
    let said = |begin: &str, entry: &Entry| format!("{begin} {}.", what(entry));
    sentences.extend(facts.ordered.map(|entry| sentence(what(entry))));
    sentences.extend(facts.suspected.map(|entry| {
        format!("This node suspected it at {}: {}.", clock(entry.wall_ms), what(entry))
    }));
    sentences.extend(facts.agreed.map(|entry| said("Agreement:", entry)));
    sentences.extend(facts.begun.map(|entry| said("This replica:", entry)));
    sentences.extend(match facts.attempts {
        0 | 1 => None,
        attempts => Some(format!("It asked for votes in {attempts} epochs.")),
    });
    sentences.extend(facts.elected.map(|entry| sentence(what(entry))));
    sentences.extend(facts.voted.map(|entry| said("This node's vote:", entry)));
    sentences.extend(facts.refused.iter().map(|entry| said("This node had", entry)));
    sentences.extend(durations(&facts.steps()));
    Some(with_short_ids(&sentences.join(" ")))
}
