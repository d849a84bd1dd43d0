//! The results of scenarios as a table in Markdown.

use std::time::Duration;

use super::scenarios::Outcome;
use super::writer::Acknowledged;

/// The results of a scenario with certain programs.
pub struct Row {
    scenario: &'static str,
    servers: &'static str,
    sentinels: &'static str,
    failed: usize,
    violations: Vec<String>,
    failovers: Vec<Duration>,
    reactions: Vec<Duration>,
    agreed: Vec<Duration>,
    outages: Vec<Duration>,
    /// Writes of the client, and those that were lost.
    client: [usize; 2],
    /// The same of clients beside Sentinels.
    local: [usize; 2],
}

impl Row {
    /// A row without rounds.
    pub fn new(scenario: &'static str, servers: &'static str, sentinels: &'static str) -> Row {
        Row {
            scenario,
            servers,
            sentinels,
            failed: 0,
            violations: vec![],
            failovers: vec![],
            reactions: vec![],
            agreed: vec![],
            outages: vec![],
            client: [0; 2],
            local: [0; 2],
        }
    }

    /// Adds a round that ended well.
    pub fn add(
        &mut self,
        outcome: &Outcome,
        agreed: Duration,
        outage: Duration,
        client: [usize; 2],
        local: [usize; 2],
    ) {
        self.failovers.extend(outcome.failover);
        self.reactions.extend(outcome.reaction);
        self.agreed.push(agreed);
        self.outages.push(outage);
        for at in 0..2 {
            self.client[at] += client[at];
            self.local[at] += local[at];
        }
    }

    /// Counts a round that failed.
    pub fn fail(&mut self, round: usize, error: &str) {
        eprintln!("  round {}: FAILED: {error}", round + 1);
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

    fn cells(&self) -> Vec<String> {
        vec![
            self.scenario.into(),
            self.servers.into(),
            self.sentinels.into(),
            self.agreed.len().to_string(),
            self.failed.to_string(),
            self.violations.len().to_string(),
            self.failovers.len().to_string(),
            range(&self.failovers),
            range(&self.outages),
            range(&self.agreed),
            format!("{} / {}", self.client[1], self.client[0]),
            format!("{} / {}", self.local[1], self.local[0]),
        ]
    }
}

const HEADS: [&str; 12] = [
    "scenario",
    "servers",
    "Sentinels",
    "rounds",
    "failed",
    "violations",
    "failovers",
    "failover s",
    "outage s",
    "agreed s",
    "lost / written",
    "lost / written beside",
];

/// Prints the table.
pub fn print(rows: &[Row]) {
    let heads = HEADS.map(str::to_owned).to_vec();
    let cells: Vec<Vec<String>> =
        std::iter::once(heads).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEADS.len()).filter_map(width).collect();
    println!();
    for (index, row) in cells.iter().enumerate() {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!(" {cell:<width$} "));
        println!("|{}|", padded.collect::<Vec<_>>().join("|"));
        if index == 0 {
            let lines = widths.iter().map(|width| "-".repeat(width + 2));
            println!("|{}|", lines.collect::<Vec<_>>().join("|"));
        }
    }
    println!(
        "\nTimes are p50 (max). failover: from the fault until a quorum names another master; outage: the client's longest time \
         without\nan acknowledged write; agreed: from healing until all agree. beside: clients beside a Sentinel, also those \
         cut off with the old master."
    );
    let reaction = rows.iter().flat_map(|row| &row.reactions).max();
    if let Some(reaction) = reaction {
        println!(
            "Leaders were cut off within {:.1} ms after their event.",
            reaction.as_secs_f64() * 1e3
        );
    }
    for row in rows.iter().filter(|row| !row.violations.is_empty()) {
        println!("{}, {} servers, {} Sentinels:", row.scenario, row.servers, row.sentinels);
        row.violations.iter().for_each(|violation| println!("  {violation}"));
    }
}

/// The longest time between two acknowledged writes.
pub fn longest_gap(acknowledged: &[Acknowledged]) -> Duration {
    let gaps = acknowledged.windows(2).map(|pair| pair[1].at.duration_since(pair[0].at));
    gaps.max().unwrap_or_default()
}

/// Median and maximum in seconds.
fn range(samples: &[Duration]) -> String {
    let mut sorted = samples.to_vec();
    sorted.sort();
    match (sorted.get(sorted.len() / 2), sorted.last()) {
        (Some(middle), Some(max)) => {
            format!("{:.1} ({:.1})", middle.as_secs_f64(), max.as_secs_f64())
        }
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_maximum() {
        let seconds =
            |list: &[u64]| list.iter().map(|s| Duration::from_secs(*s)).collect::<Vec<_>>();
        assert_eq!(range(&seconds(&[5, 1, 3])), "3.0 (5.0)");
        assert_eq!(range(&[]), "–");
    }
}
