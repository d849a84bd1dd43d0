//! The results of scenarios as a table in Markdown.

use std::time::Duration;

use super::writer::Acknowledged;

/// What a round gave.
#[derive(Debug, Default)]
pub struct Measured {
    /// From the fault until there was another master.
    pub failover: Option<Duration>,
    /// From an event to the fault that it caused.
    pub reaction: Option<Duration>,
    /// From healing until all agreed.
    pub agreed: Duration,
    /// The longest time without an acknowledged write, of the clients of the faulty master.
    pub outage: Duration,
    /// The same of clients of other masters.
    pub outage_elsewhere: Option<Duration>,
    /// For how long two servers executed writes of the same slots.
    pub overlap: Option<Duration>,
    /// Writes of clients apart from the servers, and those that were lost.
    pub client: [usize; 2],
    /// The same of clients beside servers or Sentinels.
    pub local: [usize; 2],
}

/// The results of a scenario with certain programs.
pub struct Row {
    /// The scenario and the programs, each with the head of its column.
    labels: Vec<(&'static str, String)>,
    failed: usize,
    violations: Vec<String>,
    rounds: Vec<Measured>,
}

impl Row {
    /// A row without rounds.
    pub fn new(labels: Vec<(&'static str, String)>) -> Row {
        Row { labels, failed: 0, violations: vec![], rounds: vec![] }
    }

    /// The scenario and the programs in a line.
    pub fn name(&self) -> String {
        let (_, scenario) = &self.labels[0];
        let programs = self.labels[1..].iter().map(|(head, text)| format!(", {text} {head}"));
        scenario.clone() + &programs.collect::<String>()
    }

    /// Adds a round that ended well.
    pub fn add(&mut self, round: usize, measured: Measured) {
        let failover =
            measured.failover.map_or("none".to_owned(), |failover| format!("{failover:.1?}"));
        let ([written, lost], [local, local_lost]) = (measured.client, measured.local);
        eprintln!(
            "  {}, round {}: failover {failover}, outage {:.1?}, agreed {:.1?}, {written} lost {lost}, beside {local} lost {local_lost}",
            self.name(),
            round + 1,
            measured.outage,
            measured.agreed,
        );
        self.rounds.push(measured);
    }

    /// Counts a round that failed.
    pub fn fail(&mut self, round: usize, error: &str) {
        eprintln!("  {}, round {}: FAILED: {error}", self.name(), round + 1);
        self.failed += 1;
    }

    /// Adds violations.
    pub fn violate(&mut self, violations: Vec<String>) {
        self.violations.extend(violations);
    }

    /// Failed rounds and violations.
    pub fn failures(&self) -> usize {
        self.failed + self.violations.len()
    }

    /// The columns with their heads; none for what does not apply.
    fn columns(&self) -> Vec<(&'static str, Option<String>)> {
        let all = |time: fn(&Measured) -> Option<Duration>| {
            self.rounds.iter().filter_map(time).collect::<Vec<_>>()
        };
        let sum = |counts: fn(&Measured) -> [usize; 2]| {
            let counts = self.rounds.iter().map(counts);
            let [written, lost] =
                counts.fold([0; 2], |sum, one| [sum[0] + one[0], sum[1] + one[1]]);
            Some(format!("{lost} / {written}"))
        };
        let failovers = all(|round| round.failover);
        let labels = self.labels.iter().map(|(head, text)| (*head, Some(text.clone())));
        let figures = [
            ("rounds", Some(self.rounds.len().to_string())),
            ("failed", Some(self.failed.to_string())),
            ("violations", Some(self.violations.len().to_string())),
            ("failovers", Some(failovers.len().to_string())),
            ("failover s", range(&failovers)),
            ("outage s", range(&all(|round| Some(round.outage)))),
            ("elsewhere s", range(&all(|round| round.outage_elsewhere))),
            ("both s", range(&all(|round| round.overlap))),
            ("agreed s", range(&all(|round| Some(round.agreed)))),
            ("lost / written", sum(|round| round.client)),
            ("lost / written beside", sum(|round| round.local)),
        ];
        labels.chain(figures).collect()
    }
}

/// Prints the table, and what its columns mean.
pub fn print(rows: &[Row], meaning: &str) {
    let columns: Vec<_> = rows.iter().map(Row::columns).collect();
    let Some(first) = columns.first() else { return };
    let is_used = |column: &usize| columns.iter().any(|row| row[*column].1.is_some());
    let used: Vec<usize> = (0..first.len()).filter(is_used).collect();
    let heads = used.iter().map(|column| first[*column].0.to_owned()).collect();
    let cell = |row: &[(_, Option<String>)], column: usize| {
        row[column].1.clone().unwrap_or_else(|| "–".to_owned())
    };
    let cells = columns.iter().map(|row| used.iter().map(|column| cell(row, *column)).collect());
    print_table(&std::iter::once(heads).chain(cells).collect::<Vec<Vec<String>>>());
    println!("\nTimes are p50 (max). {meaning}");
    let reactions = rows.iter().flat_map(|row| &row.rounds).filter_map(|round| round.reaction);
    if let Some(reaction) = reactions.max() {
        println!(
            "Leaders were cut off within {:.1} ms after their event.",
            reaction.as_secs_f64() * 1e3
        );
    }
    for row in rows.iter().filter(|row| !row.violations.is_empty()) {
        println!("{}:", row.name());
        row.violations.iter().for_each(|violation| println!("  {violation}"));
    }
}

/// Prints lines of cells, of which the first has the heads.
fn print_table(cells: &[Vec<String>]) {
    let columns = cells.first().map_or(0, Vec::len);
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..columns).filter_map(width).collect();
    println!();
    for (index, row) in cells.iter().enumerate() {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        println!("|{}|", padded.collect::<Vec<_>>().join("|"));
        if index == 0 {
            let lines = widths.iter().map(|width| "-".repeat(width + 2));
            println!("|{}|", lines.collect::<Vec<_>>().join("|"));
        }
    }
}

/// The longest time between two acknowledged writes.
pub fn longest_gap(acknowledged: &[Acknowledged]) -> Duration {
    let gaps = acknowledged.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
    gaps.max().unwrap_or_default()
}

/// Median and maximum in seconds.
fn range(samples: &[Duration]) -> Option<String> {
    let mut sorted = samples.to_vec();
    sorted.sort();
    let (middle, max) = (sorted.get(sorted.len() / 2)?, sorted.last()?);
    Some(format!("{:.1} ({:.1})", middle.as_secs_f64(), max.as_secs_f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_maximum() {
        let seconds =
            |list: &[u64]| list.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
        assert_eq!(range(&seconds(&[5, 1, 3])).as_deref(), Some("3.0 (5.0)"));
        assert_eq!(range(&[]), None);
    }

    #[test]
    fn rounds_are_summed_up() {
        let mut row = Row::new(vec![("scenario", "alone".into()), ("servers", "ours".into())]);
        row.fail(0, "no");
        for number in 1..3 {
            row.add(number, Measured { client: [10, number], ..Measured::default() });
        }
        let columns = row.columns();
        let cell = |head| {
            let column = columns.iter().find(|(other, _)| *other == head);
            column.and_then(|(_, text)| text.as_deref())
        };
        assert_eq!((cell("rounds"), cell("failed")), (Some("2"), Some("1")));
        assert_eq!((cell("lost / written"), cell("both s")), (Some("3 / 20"), None));
        assert_eq!((row.name().as_str(), row.failures()), ("alone, ours servers", 1));
    }
}
