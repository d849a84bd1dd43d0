//! The account of a failover, in plain English, for somebody who is woken up by it: what the log says at its end, and what
//! SENTINEL EXPLAIN says before it lists the events.
//!
//! It is made of nothing but the journal's entries, so that it can be told again after a restart, from the file. What is
//! not in the entries is not in the account: a Sentinel that did not lead the failover says who did, and knows no more.

use std::collections::{BTreeMap, VecDeque};

use russet_journal::{Entry, Journal, clock, durations, sentence, with_short_ids};

/// Begins of the notes that are found again here.
pub(crate) const CHOSE: &str = "chose ";
pub(crate) const NONE_CHOSEN: &str = "no replica can be promoted";
pub(crate) const FOUND_DOWN: &str = "found down by ";
pub(crate) const ORDERED: &str = "a user has ordered it";
pub(crate) const LOSS: &str = "what may be lost: ";

/// The entries of the last failover.
struct Story<'a> {
    /// All since the first sign of trouble.
    entries: Vec<&'a Entry>,
    /// The one with which it begins.
    begin: usize,
    /// The one with which it ends.
    end: Option<usize>,
}

impl<'a> Story<'a> {
    fn last(all: &'a VecDeque<Entry>) -> Option<Story<'a>> {
        let all: Vec<&Entry> = all.iter().collect();
        let is_begin =
            |it: &&Entry| matches!(it.event.as_str(), "+try-failover" | "+config-update-from");
        let begin = all.iter().rposition(is_begin)?;
        let before = all[..begin].iter().rposition(is_other_story).map_or(0, |index| index + 1);
        let is_down = |&index: &usize| all[index].event == "+sdown" && is_of_master(all[index]);
        let is_vote = |&index: &usize| {
            let vote = vote(all[index]);
            vote.is_some_and(|(voter, _, epoch)| voter.is_none() && epoch == all[begin].epoch)
        };
        let down = (before..begin).find(is_down);
        let first = down.or_else(|| (before..begin).find(is_vote)).unwrap_or(begin);
        let is_end = |it: &&Entry| {
            matches!(it.event.as_str(), "+switch-master" | "+reset-master" | "+monitor")
                || it.event.contains("failover-abort")
        };
        let end = all[begin..].iter().position(is_end).map(|index| begin - first + index);
        Some(Story { entries: all[first..].to_vec(), begin: begin - first, end })
    }

    /// Returns the entries up to the end.
    fn told(&self) -> &[&'a Entry] {
        self.end.map_or(&self.entries[..], |end| &self.entries[..=end])
    }

    /// Returns the entry that ends it, or the latest.
    fn latest(&self) -> &'a Entry {
        self.end.map_or(self.entries[self.entries.len() - 1], |end| self.entries[end])
    }
}

/// Whether what follows this entry has nothing to do with what was before.
fn is_other_story(entry: &&Entry) -> bool {
    match entry.event.as_str() {
        "+switch-master" | "+reset-master" | "+monitor" => true,
        "-sdown" => is_of_master(entry),
        _ => false,
    }
}

fn is_of_master(entry: &Entry) -> bool {
    entry.text.starts_with("master ")
}

/// Reads a vote: of whom, if not our own, for whom, in which epoch.
fn vote(entry: &Entry) -> Option<(Option<&str>, &str, u64)> {
    let words: Vec<&str> = entry.text.split(' ').collect();
    match (entry.event.as_str(), &words[..]) {
        ("+vote-for-leader", [leader, epoch]) => Some((None, leader, epoch.parse().ok()?)),
        ("note", [voter, "voted", "for", leader, "in", "epoch", epoch]) => {
            Some((Some(voter), leader, epoch.parse().ok()?))
        }
        _ => None,
    }
}

/// What the entries say.
#[derive(Default)]
struct Facts<'a> {
    down: Option<&'a Entry>,
    why_down: Option<&'a str>,
    agreed: Option<&'a Entry>,
    found_down: Option<&'a str>,
    ordered: Option<&'a str>,
    begun: Option<&'a Entry>,
    elected: Option<&'a Entry>,
    chosen: Option<&'a Entry>,
    choice: Option<&'a str>,
    loss: Option<&'a str>,
    promoted: Option<&'a Entry>,
    followed: Option<&'a Entry>,
    updated: Option<&'a Entry>,
    attempts: usize,
    /// Who voted for each candidate.
    votes: BTreeMap<&'a str, Vec<&'a str>>,
}

impl<'a> Facts<'a> {
    fn of(story: &Story<'a>, my_id: &'a str) -> Facts<'a> {
        let mut facts = Facts::default();
        for &entry in story.told() {
            facts.add(entry);
            if let Some((voter, leader, epoch)) = vote(entry)
                && epoch == story.latest().epoch
            {
                facts.votes.entry(leader).or_default().push(voter.unwrap_or(my_id));
            }
        }
        facts
    }

    fn add(&mut self, entry: &'a Entry) {
        match entry.event.as_str() {
            "+sdown" if self.down.is_none() && is_of_master(entry) => self.down = Some(entry),
            "+odown" if self.elected.is_none() => self.agreed = Some(entry),
            "+try-failover" => {
                let (down, why_down) = (self.down, self.why_down);
                let (agreed, found_down) = (self.agreed, self.found_down);
                let (attempts, votes) = (self.attempts + 1, std::mem::take(&mut self.votes));
                let begun = Some(entry);
                let rest = Facts::default();
                *self =
                    Facts { down, why_down, agreed, found_down, begun, attempts, votes, ..rest };
            }
            "+elected-leader" => self.elected = Some(entry),
            "+selected-slave" => self.chosen = Some(entry),
            "+promoted-slave" => self.promoted = Some(entry),
            "+failover-end" => self.followed = Some(entry),
            "+config-update-from" => self.updated = Some(entry),
            "note" => self.add_note(&entry.text),
            _ => {}
        }
    }

    fn add_note(&mut self, note: &'a str) {
        if note.starts_with(CHOSE) || note.starts_with(NONE_CHOSEN) {
            self.choice = Some(note);
        } else if note.starts_with(LOSS) {
            self.loss = Some(note);
        } else if note.starts_with(ORDERED) {
            self.ordered = Some(note);
        } else if note.starts_with(FOUND_DOWN) && self.elected.is_none() {
            self.found_down = Some(note);
        } else if let (Some(down), None) = (self.down, self.why_down) {
            self.why_down = note.strip_prefix(&down.text).and_then(|it| it.strip_prefix(": "));
        }
    }

    /// Returns the steps that were made, in their order, and what each led to.
    fn steps(&self, story: &Story<'a>) -> Vec<(&'static str, &'a Entry)> {
        let end = story.end.map(|index| story.entries[index]);
        let is_done = end.is_some_and(|end| end.event == "+switch-master");
        let steps = [
            ("it was found down", self.down),
            ("the quorum agreed", self.agreed),
            ("the failover began", self.begun),
            ("a leader was elected", self.elected),
            ("a replica was chosen", self.chosen),
            ("it was promoted", self.promoted),
            ("the others followed it", self.followed),
            ("the new configuration was received", self.updated),
            (if is_done { "all was done" } else { "it was given up" }, end),
        ];
        steps.into_iter().filter_map(|(name, entry)| Some((name, entry?))).collect()
    }
}

/// Returns the account of the last failover, sentence by sentence.
pub(crate) fn account(journal: &Journal, my_id: &str) -> Option<Vec<String>> {
    let story = Story::last(&journal.entries)?;
    let facts = Facts::of(&story, my_id);
    let mut sentences = headline(&story, &facts, my_id);
    match (facts.down, facts.ordered) {
        (Some(down), _) => {
            let why = facts.why_down.map_or(String::new(), |why| format!(": {why}"));
            let time = clock(down.wall_ms);
            sentences.push(format!("This Sentinel found the master down at {time}{why}."));
        }
        (None, Some(ordered)) => sentences.push(sentence(ordered)),
        (None, None) => sentences.push("This Sentinel had not found the master down.".to_owned()),
    }
    if let Some(agreed) = facts.agreed {
        let quorum = agreed.text.rsplit_once('#').map_or("the quorum", |(_, quorum)| quorum);
        let by = facts.found_down.unwrap_or_default();
        sentences.push(format!("Agreement ({quorum}): {by}."));
    }
    match facts.attempts {
        0 | 1 => {}
        2 => sentences.push("An attempt before it came to nothing.".to_owned()),
        attempts => {
            sentences.push(format!("{} attempts before it came to nothing.", attempts - 1));
        }
    }
    for (leader, voters) in &facts.votes {
        sentences.push(format!("Votes for {leader}: {}.", voters.join(", ")));
    }
    sentences.extend(facts.choice.map(|choice| match choice.starts_with(CHOSE) {
        true => format!("This Sentinel {choice}."),
        false => sentence(choice),
    }));
    sentences.extend(facts.loss.map(sentence));
    sentences.extend(durations(&facts.steps(&story)));
    Some(sentences.iter().map(|sentence| with_short_ids(sentence)).collect())
}

/// Says what came of it, and who did it.
fn headline(story: &Story<'_>, facts: &Facts<'_>, my_id: &str) -> Vec<String> {
    let begin = &story.entries[story.begin].text;
    let behind = begin.rsplit_once("@ ").map(|(_, behind)| behind);
    let place = behind.or_else(|| begin.strip_prefix("master ")).unwrap_or_default();
    let place: Vec<&str> = place.split(' ').collect();
    let address = |words: &[&str]| words.get(..2).map_or(String::new(), |words| words.join(" "));
    let (name, old) = (place.first().copied().unwrap_or_default(), address(&place[1..]));
    let by = match facts.updated {
        Some(updated) => {
            let words: Vec<&str> = updated.text.split(' ').collect();
            let id = words.get(1).copied().unwrap_or_default();
            format!(", as Sentinel {id} ({}) reports", address(words.get(2..).unwrap_or_default()))
        }
        None if facts.elected.is_some() => format!(", led by this Sentinel ({my_id})"),
        None => format!(", tried by this Sentinel ({my_id})"),
    };
    let epoch = story.latest().epoch;
    let begin = format!("Failover of {name} in epoch {epoch}{by}");
    let Some(end) = story.end.map(|index| story.entries[index]) else {
        return vec![format!("{begin}: under way.")];
    };
    let words: Vec<&str> = end.text.split(' ').collect();
    if end.event == "+switch-master" {
        let new = address(words.get(3..).unwrap_or_default());
        return vec![format!("{begin}: done."), format!("The master is {new}, it was {old}.")];
    }
    let why = match end.event.as_str() {
        "-failover-abort-not-elected" => "it was not elected".to_owned(),
        "-failover-abort-no-good-slave" => "no replica can be promoted".to_owned(),
        "-failover-abort-slave-timeout" => "the replica did not become a master in time".to_owned(),
        "-failover-abort-refused" => {
            let error = words.get(4..).unwrap_or_default().join(" ");
            format!("the master refuses: {}", error.trim_end_matches('.'))
        }
        "-failover-abort-master-down" => "the master went down meanwhile".to_owned(),
        "-failover-abort-superseded" => "another failover was finished meanwhile".to_owned(),
        "+monitor" => return vec![format!("{begin}: interrupted by a restart of this Sentinel.")],
        _ => "the master was reset".to_owned(),
    };
    vec![format!("{begin}: given up, {why}."), format!("The master is still {old}.")]
}

/// Returns the account of the last failover, and its events: from the first sign of trouble before its beginning.
pub(crate) fn explain(journal: &Journal, my_id: &str) -> Option<String> {
    let mut text = account(journal, my_id)?.join("\n") + "\n\n";
    let story = Story::last(&journal.entries)?;
    let zero = story.entries.first()?;
    for entry in &story.entries {
        let (time, ms, event) = (clock(entry.wall_ms), entry.since(zero), &entry.event);
        text.push_str(&format!("{time} +{ms} ms  {event} {}\n", entry.text));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use russet_journal::{file_text, read_file};

    /// Makes a journal of events and their texts, 10 ms apart.
    fn journal(events: &[(&str, &str)]) -> Journal {
        let mut journal = Journal::default();
        for (index, (event, text)) in events.iter().enumerate() {
            let (ms, event, text) = (index as u64 * 10, (*event).to_owned(), (*text).to_owned());
            let (wall_ms, mono_ms) = (ms as i64, Some(ms));
            journal.add(Entry { wall_ms, mono_ms, epoch: 2, event, text });
        }
        journal
    }

    const FAILOVER: [(&str, &str); 8] = [
        ("+sdown", "master m 10.0.0.1 6379"),
        ("note", "master m 10.0.0.1 6379: not connected"),
        ("-sdown", "master m 10.0.0.1 6379"),
        ("+sdown", "master m 10.0.0.1 6379"),
        ("note", "master m 10.0.0.1 6379: it is busy with a script"),
        ("+try-failover", "master m 10.0.0.1 6379"),
        ("+elected-leader", "master m 10.0.0.1 6379"),
        ("+switch-master", "m 10.0.0.1 6379 10.0.0.2 6380"),
    ];

    #[test]
    fn it_begins_with_the_last_sign_of_trouble() {
        let text = explain(&journal(&FAILOVER), "me").unwrap();
        assert_eq!(
            text,
            "Failover of m in epoch 2, led by this Sentinel (me): done.\n\
             The master is 10.0.0.2 6380, it was 10.0.0.1 6379.\n\
             This Sentinel found the master down at 1970-01-01T00:00:00.030Z: it is busy with a script.\n\
             Durations, since it was found down: 20 ms until the failover began, \
             10 ms until a leader was elected, 10 ms until all was done; 40 ms in all.\n\n\
             1970-01-01T00:00:00.030Z +0 ms  +sdown master m 10.0.0.1 6379\n\
             1970-01-01T00:00:00.040Z +10 ms  note master m 10.0.0.1 6379: it is busy with a script\n\
             1970-01-01T00:00:00.050Z +20 ms  +try-failover master m 10.0.0.1 6379\n\
             1970-01-01T00:00:00.060Z +30 ms  +elected-leader master m 10.0.0.1 6379\n\
             1970-01-01T00:00:00.070Z +40 ms  +switch-master m 10.0.0.1 6379 10.0.0.2 6380\n"
        );
    }

    #[test]
    fn it_is_told_again_after_a_restart() {
        let old = journal(&FAILOVER);
        let file = file_text([("m", &old)].into_iter());
        let mut read = read_file(file.as_bytes()).remove("m").unwrap();
        assert_eq!(explain(&read, "me"), explain(&old, "me"));
        let text = "master m 10.0.0.2 6380 quorum 2".to_owned();
        let (event, mono_ms) = ("+monitor".to_owned(), Some(1));
        read.add(Entry { wall_ms: 1000, mono_ms, epoch: 2, event, text });
        assert_eq!(account(&read, "me"), account(&old, "me"));
        assert!(explain(&read, "me").unwrap().contains("+970 ms  +monitor "));
    }

    #[test]
    fn a_restart_interrupts_it() {
        let mut events = FAILOVER.to_vec();
        events[7] = ("+monitor", "master m 10.0.0.1 6379 quorum 2");
        let account = account(&journal(&events), "me").unwrap();
        assert!(account[0].ends_with("(me): interrupted by a restart of this Sentinel."));
    }

    #[test]
    fn whatever_a_file_says_is_told() {
        let names = ["+try-failover", "+config-update-from", "+switch-master", "+vote-for-leader"];
        let aborts = ["-failover-abort-refused", "-failover-abort-superseded", "+odown", "note"];
        for begin in &names[..2] {
            for name in names.iter().chain(&aborts) {
                for text in ["", " ", "@ ", "#", "master ", "é", "chose "] {
                    assert!(explain(&journal(&[(begin, text), (name, text)]), "").is_some());
                }
            }
        }
        assert_eq!(account(&Journal::default(), ""), None);
    }
}
