//! The journal: what happened in each failover, who saw and did what when, and why.
//!
//! `SENTINEL EVENTS` lists it, `SENTINEL EXPLAIN` tells the last failover as a text, and both are in a file of the state
//! folder. Everything in it is an event that also was published, or a reason that only we know.

use std::collections::VecDeque;

/// Entries kept for a master.
const ENTRIES_MAX: usize = 512;
/// Length of an entry's text.
const TEXT_MAX: usize = 512;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Wall clock, milliseconds.
    pub wall_ms: i64,
    /// Monotonic clock, milliseconds: for durations.
    pub mono_ms: u64,
    /// The failover's epoch, or that of the configuration.
    pub epoch: u64,
    /// Name of the event, such as `+odown`; `note` for a reason.
    pub event: String,
    pub text: String,
}

/// The entries of a master, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    pub entries: VecDeque<Entry>,
}

impl Journal {
    pub fn add(&mut self, mut entry: Entry) {
        if entry.text.len() > TEXT_MAX {
            let end = (0..=TEXT_MAX).rev().find(|&at| entry.text.is_char_boundary(at));
            entry.text.truncate(end.unwrap_or_default());
        }
        if self.entries.len() == ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.entries.push_back(entry);
    }

    /// Returns the last failover as a text: from the first sign of trouble before its beginning to its end.
    pub fn explain(&self) -> Option<String> {
        let is_begin =
            |entry: &Entry| matches!(entry.event.as_str(), "+try-failover" | "+config-update-from");
        let begin = self.entries.iter().rposition(is_begin)?;
        let since = self.entries.range(..begin).rposition(|entry| {
            matches!(entry.event.as_str(), "+switch-master" | "-odown" | "-sdown" | "+failover-end")
        });
        let first = since.map_or(0, |index| index + 1);
        let zero = self.entries.get(first)?.mono_ms;
        let mut text = String::new();
        for entry in self.entries.range(first..) {
            let ms = entry.mono_ms.saturating_sub(zero);
            let (time, event) = (clock(entry.wall_ms), &entry.event);
            text.push_str(&format!("{time} +{ms} ms  {event} {}\n", entry.text));
        }
        Some(text)
    }
}

/// Returns a time of day in UTC, with milliseconds and the date.
pub(crate) fn clock(wall_ms: i64) -> String {
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
    fn an_explanation_is_about_the_last_failover() {
        let mut journal = Journal::default();
        let events = ["+sdown", "-sdown", "+sdown", "+odown", "+try-failover", "+switch-master"];
        for (index, event) in events.into_iter().enumerate() {
            let mono_ms = index as u64 * 10;
            journal.add(Entry {
                wall_ms: 0,
                mono_ms,
                epoch: 1,
                event: event.into(),
                text: String::new(),
            });
        }
        let text = journal.explain().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(
            lines[0].ends_with("+0 ms  +sdown ") && lines[3].ends_with("+30 ms  +switch-master ")
        );
    }
}
