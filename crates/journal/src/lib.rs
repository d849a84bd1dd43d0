//! The journal of what happened and why, which Sentinels and nodes of a cluster keep for people: entries with their time,
//! and the words in which a failover is told.
//!
//! ```text
//!   2023-11-14T22:13:26.004Z mymaster epoch 1 +odown master mymaster 127.0.0.1 6379 #quorum 2/2      a line of a file
//! ```
//!
//! A journal and each of its entries have a limit. It may be written to a file and read at the next start. It is there
//! for people, and nothing is decided by it: a line that is not one is skipped, and a missing or damaged file only means
//! that less is known.
//!
//! **Architecture invariant:** no clocks, no files, and no dependencies: time and text are arguments.

mod account;

pub use account::{durations, sentence, with_short_ids};

use std::collections::{BTreeMap, VecDeque};

/// Entries that a journal keeps.
pub const ENTRIES_MAX: usize = 512;
/// Length of an entry's text. The longest is the reason for a choice among many replicas.
const TEXT_MAX: usize = 2048;
/// Length of an event's name, as far as a file may have it.
const EVENT_MAX: usize = 64;
/// Length of the file; of more than that, the newest is kept.
pub const FILE_MAX: usize = 4 << 20;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Wall clock, milliseconds.
    pub wall_ms: i64,
    /// Monotonic clock, milliseconds: for durations. None if the entry is from before our start.
    pub mono_ms: Option<u64>,
    /// The failover's epoch, or that of the configuration.
    pub epoch: u64,
    /// Name of the event, such as `+odown`; `note` for a reason.
    pub event: String,
    /// What it is about, and what else is known.
    pub text: String,
}

impl Entry {
    /// Returns how many milliseconds it is later than another one.
    pub fn since(&self, earlier: &Entry) -> u64 {
        match (self.mono_ms, earlier.mono_ms) {
            (Some(own), Some(earlier)) => own.saturating_sub(earlier),
            _ => u64::try_from(self.wall_ms.saturating_sub(earlier.wall_ms)).unwrap_or_default(),
        }
    }

    /// Returns what sorts entries by time, also of several masters and of several runs.
    pub fn order(&self) -> (Option<u64>, i64) {
        (self.mono_ms, self.wall_ms)
    }

    /// Returns the line of the file.
    fn line(&self, name: &str) -> String {
        let (time, epoch, event) = (clock(self.wall_ms), self.epoch, &self.event);
        format!("{time} {name} epoch {epoch} {event} {}\n", self.text)
    }

    /// Reads a line of the file: the name of the journal, and the entry.
    fn parse(line: &str) -> Option<(&str, Entry)> {
        let mut words = line.splitn(6, ' ');
        let (wall_ms, name) = (wall_ms(words.next()?)?, words.next()?);
        words.next().filter(|word| *word == "epoch")?;
        let (epoch, event) = (words.next()?.parse().ok()?, words.next()?.to_owned());
        let text = words.next().unwrap_or_default().to_owned();
        let is_event = (1..=EVENT_MAX).contains(&event.len());
        is_event.then_some((name, Entry { wall_ms, mono_ms: None, epoch, event, text }))
    }
}

/// Entries, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    /// The entries; no more than [`ENTRIES_MAX`].
    pub entries: VecDeque<Entry>,
}

impl Journal {
    /// Adds an entry, in the place of the oldest one if there are too many. A long text is cut.
    pub fn add(&mut self, mut entry: Entry) {
        if entry.text.len() > TEXT_MAX {
            let end = (0..=TEXT_MAX).rev().find(|&at| entry.text.is_char_boundary(at));
            entry.text.truncate(end.unwrap_or_default());
        }
        if entry.text.contains(char::is_control) {
            // Text of others must not add lines to the file.
            entry.text = entry.text.replace(char::is_control, " ");
        }
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }
}

/// Returns the text of a file: the entries of named journals by time, with their names.
pub fn file_text<'a>(journals: impl Iterator<Item = (&'a str, &'a Journal)>) -> String {
    let entries = |(name, journal): (&'a str, &'a Journal)| {
        journal.entries.iter().map(move |entry| (name, entry))
    };
    let mut all: Vec<_> = journals.flat_map(entries).collect();
    all.sort_by_key(|(_, entry)| entry.order());
    let mut len = 0;
    let newest = all.iter().rev().map(|(name, entry)| entry.line(name));
    let kept = newest.take_while(|line| {
        len += line.len();
        len <= FILE_MAX
    });
    let lines: Vec<String> = kept.collect();
    lines.into_iter().rev().collect()
}

/// Reads the journals of a file.
pub fn read_file(text: &[u8]) -> BTreeMap<String, Journal> {
    let mut journals: BTreeMap<String, Journal> = BTreeMap::new();
    let text = String::from_utf8_lossy(&text[text.len().saturating_sub(FILE_MAX)..]);
    for (name, entry) in text.lines().filter_map(Entry::parse) {
        journals.entry(name.to_owned()).or_default().add(entry);
    }
    journals
}

/// Returns a time of day in UTC, with milliseconds and the date.
pub fn clock(wall_ms: i64) -> String {
    let (secs, ms) = (wall_ms.div_euclid(1000), wall_ms.rem_euclid(1000));
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

/// Returns year, month and day of a day since 1970 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible
/// low-level date algorithms").
fn date(days: i64) -> (i64, i64, i64) {
    let days = days.saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Reads a time as [`clock`] returns it.
fn wall_ms(text: &str) -> Option<i64> {
    let shape = b"0000-00-00T00:00:00.000Z";
    let is_like = |(byte, shape): (u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == *shape,
    };
    if text.len() != shape.len() || !text.bytes().zip(shape).all(is_like) {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let days = day(number(0, 4)?, number(5, 7)?, number(8, 10)?)?;
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3600 + minute * 60 + second;
    Some(seconds * 1000 + number(20, 23)?)
}

/// Returns the day since 1970 of a date: the reverse of [`date`].
fn day(year: i64, month: i64, day: i64) -> Option<i64> {
    let year_of_march = year - i64::from(month <= 2);
    let era = year_of_march.div_euclid(400);
    let year_of_era = year_of_march.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * 146_097 + of_era - 719_468;
    (date(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(clock(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(clock(951_782_400_001), "2000-02-29T00:00:00.001Z");
        assert_eq!(clock(1_795_651_199_999), "2026-11-25T23:59:59.999Z");
        assert_eq!(clock(-1), "1969-12-31T23:59:59.999Z");
    }

    #[test]
    fn times_are_read_again() {
        for ms in [0, 951_782_400_001, 1_795_651_199_999, -1, 4_102_444_800_000] {
            assert_eq!(wall_ms(&clock(ms)), Some(ms));
        }
        for text in ["", "2026-02-29T00:00:00.000Z", "2026-00-01T00:00:00.000Z"] {
            assert_eq!(wall_ms(text), None, "{text}");
        }
        for text in
            ["2026-01-01T24:00:00.000Z", "2026-01-01 00:00:00.000Z", "+026-01-01T00:00:00.000Z"]
        {
            assert_eq!(wall_ms(text), None, "{text}");
        }
    }

    fn entry(ms: u64, event: &str, text: &str) -> Entry {
        let (event, text) = (event.to_owned(), text.to_owned());
        Entry { wall_ms: ms as i64, mono_ms: Some(ms), epoch: 1, event, text }
    }

    #[test]
    fn a_file_is_read_again() {
        let (mut a, mut b) = (Journal::default(), Journal::default());
        a.add(entry(1, "+sdown", "master a 10.0.0.1 6379"));
        b.add(entry(2, "note", ""));
        a.add(entry(3, "note", "two\nlines"));
        let text = file_text([("a", &a), ("b", &b)].into_iter());
        assert_eq!(
            text,
            "1970-01-01T00:00:00.001Z a epoch 1 +sdown master a 10.0.0.1 6379\n\
             1970-01-01T00:00:00.002Z b epoch 1 note \n\
             1970-01-01T00:00:00.003Z a epoch 1 note two lines\n"
        );
        let read = read_file(text.as_bytes());
        assert_eq!(file_text(read.iter().map(|(name, it)| (name.as_str(), it))), text);
        assert_eq!(read["a"].entries[0].mono_ms, None);
    }

    #[test]
    fn damage_costs_the_damaged_lines_only() {
        let good = "1970-01-01T00:00:00.001Z a epoch 1 +odown text\n";
        let mut damaged = b"0:00:00.001Z a epoch 1 +odown cut off\n".to_vec();
        damaged.extend(good.as_bytes());
        damaged.extend(b"\xff\0\x80\n\n a epoch 1 +odown x\n");
        damaged.extend(b"1970-01-01T00:00:00.001Z a epoch -1 +odown text\n");
        damaged.extend([&good.as_bytes()[..34], &[b'+'; 4096], b" text\n"].concat());
        damaged.extend(&good.as_bytes()[..30]);
        let read = read_file(&damaged);
        assert_eq!(file_text(read.iter().map(|(name, it)| (name.as_str(), it))), good);
    }

    #[test]
    fn the_newest_are_kept() {
        let mut journal = Journal::default();
        for ms in 0..600 {
            journal.add(entry(ms, "+event", &"x".repeat(2 * TEXT_MAX)));
        }
        assert_eq!((journal.entries.len(), journal.entries[0].mono_ms), (ENTRIES_MAX, Some(88)));
        let names = ["a", "b", "c", "d", "e", "f"];
        let text = file_text(names.into_iter().map(|name| (name, &journal)));
        assert!(text.len() <= FILE_MAX && text.len() > FILE_MAX - 2 * TEXT_MAX);
        assert!(text.ends_with("xx\n") && text.contains("00.599Z a ") && !text.contains("00.088Z"));
        assert_eq!(read_file(text.as_bytes()).len(), 6);
    }
}
