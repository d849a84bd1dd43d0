//! INFO's section about the masters that a Sentinel watches.

use super::Kind::{Flag, Gauge, Lines, Seconds};
use super::{Field, Kind, Section, Value, View, field};
use crate::parts::Parts;
use russet_sentinel::Summary;

/// What the section shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The watched masters.
    pub masters: Vec<Summary>,
    /// In TILT: how long, in seconds.
    pub tilt_secs: Option<u64>,
    /// Scripts that run.
    pub running_scripts: usize,
    /// Scripts that run or wait.
    pub scripts: usize,
    /// What SENTINEL SIMULATE-FAILURE has set: bits.
    pub simulated_failures: u32,
}

/// Returns what this Sentinel knows.
pub fn overview(parts: &Parts) -> Overview {
    let Some(machine) = parts.sentinel.machine() else { return Overview::default() };
    let (running_scripts, scripts) = machine.scripts();
    let failures = machine.simulated_failures();
    Overview {
        masters: machine.summaries().collect(),
        tilt_secs: machine.tilted_secs(),
        running_scripts,
        scripts,
        simulated_failures: u32::from(failures.after_election)
            + 2 * u32::from(failures.after_promotion),
    }
}

const fn row(
    name: &'static str,
    kind: Kind,
    description: &'static str,
    read: fn(&View<'_>) -> Value,
) -> Field {
    field(Section::Sentinel, name, kind, description, read)
}

/// The fields of the section.
pub(super) const FIELDS: &[Field] = &[
    row("sentinel_masters", Gauge, "Watched masters.", |view| {
        overview(view.parts).masters.len().into()
    }),
    row("sentinel_tilt", Flag, "Whether no master is judged, since time has jumped.", |view| {
        overview(view.parts).tilt_secs.is_some().into()
    }),
    row("sentinel_tilt_since_seconds", Seconds, "For how long; -1 otherwise.", |view| {
        let secs = overview(view.parts).tilt_secs;
        secs.map_or(-1, |secs| i64::try_from(secs).unwrap_or(i64::MAX)).into()
    }),
    row("sentinel_running_scripts", Gauge, "Scripts that run.", |view| {
        overview(view.parts).running_scripts.into()
    }),
    row("sentinel_scripts_queue_length", Gauge, "Scripts that run or wait.", |view| {
        overview(view.parts).scripts.into()
    }),
    row(
        "sentinel_simulate_failure_flags",
        Gauge,
        "Bits that SENTINEL SIMULATE-FAILURE has set.",
        |view| overview(view.parts).simulated_failures.into(),
    ),
    row(
        "masterN",
        Lines,
        "Each master: name, status (`ok`, `sdown`, `odown`), address, number of replicas and of Sentinels.",
        |view| {
            let masters = overview(view.parts).masters.into_iter().enumerate();
            Value::Lines(masters.map(|(number, master)| line(number, &master)).collect())
        },
    ),
];

fn line(number: usize, master: &Summary) -> (String, String) {
    let Summary { name, status, address, replicas, sentinels } = master;
    let parts = format!(
        "name={name},status={status},address={address},slaves={replicas},sentinels={sentinels}"
    );
    (format!("master{number}"), parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_a_line() {
        let master = Summary {
            name: "mymaster".to_owned(),
            status: "odown",
            address: "10.0.0.7:6379".to_owned(),
            replicas: 2,
            sentinels: 3,
        };
        let text = "name=mymaster,status=odown,address=10.0.0.7:6379,slaves=2,sentinels=3";
        assert_eq!(line(1, &master), ("master1".into(), text.into()));
    }
}
