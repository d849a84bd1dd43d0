//! INFO's section about the masters that a Sentinel watches.

use super::Kind::{Flag, Gauge, Lines, Seconds};
use super::{Field, Kind, Section, Value, View, field};
use crate::parts::Parts;

/// What the section shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overview {
    /// The watched masters.
    pub masters: Vec<Master>,
    /// In TILT: how long, in seconds.
    pub tilt_secs: Option<u64>,
    /// Scripts that run.
    pub running_scripts: usize,
    /// Scripts that run or wait.
    pub scripts: usize,
    /// What SENTINEL SIMULATE-FAILURE has set: bits.
    pub simulated_failures: u32,
}

/// A watched master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its name.
    pub name: Vec<u8>,
    /// `ok`, `sdown` or `odown`.
    pub status: &'static str,
    /// The host and the port that are announced.
    pub address: (String, u16),
    /// Number of known replicas.
    pub replicas: usize,
    /// Number of Sentinels that watch it, this one included.
    pub sentinels: usize,
}

/// Returns what this Sentinel knows.
pub fn overview(_parts: &Parts) -> Overview {
    Overview::default()
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

fn line(number: usize, master: &Master) -> (String, String) {
    let Master { name, status, address: (host, port), replicas, sentinels } = master;
    let name = String::from_utf8_lossy(name);
    let parts = format!(
        "name={name},status={status},address={host}:{port},slaves={replicas},sentinels={sentinels}"
    );
    (format!("master{number}"), parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_is_a_line() {
        let master = Master {
            name: b"mymaster".to_vec(),
            status: "odown",
            address: ("10.0.0.7".into(), 6379),
            replicas: 2,
            sentinels: 3,
        };
        let text = "name=mymaster,status=odown,address=10.0.0.7:6379,slaves=2,sentinels=3";
        assert_eq!(line(1, &master), ("master1".into(), text.into()));
    }
}
