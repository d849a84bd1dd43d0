//! The table that is printed.

use super::phases::{Cost, Figures};

/// Names of messages, in the order of their numbers.
const KINDS: [&str; 11] = [
    "PING",
    "PONG",
    "MEET",
    "FAIL",
    "PUBLISH",
    "AUTH_REQUEST",
    "AUTH_ACK",
    "UPDATE",
    "MFSTART",
    "MODULE",
    "PUBLISHSHARD",
];

/// Name with unit, value, digits behind the point.
type Row = (&'static str, fn(&Figures) -> f64, usize);

/// Returns the table, a line each.
pub fn lines(ours: &Figures, stock: Option<&Figures>) -> Vec<String> {
    let title = if stock.is_some() { "stock's rules" } else { "" };
    let mut lines = vec![format!("{:60} {:>12} {title:>14}", "", "our rules")];
    let mut line = |name: &str, digits: usize, value: &dyn Fn(&Figures) -> f64| {
        let stock = stock.map_or(String::new(), |stock| format!("{:.digits$}", value(stock)));
        lines.push(format!("{name:60} {:>12.digits$} {stock:>14}", value(ours)));
    };
    for (name, value, digits) in rows() {
        line(name, digits, &value);
    }
    type PhaseCost = fn(&Figures) -> &Cost;
    let phases: [(&str, PhaseCost); 4] = [
        ("creation", |f| &f.creation),
        ("steady", |f| &f.steady),
        ("deaths", |f| &f.deaths),
        ("restart", |f| &f.restart),
    ];
    for (phase, cost) in phases {
        for (kind, name) in KINDS.iter().enumerate() {
            let messages = |f: &Figures| cost(f).traffic.messages[kind];
            if messages(ours) + stock.map_or(0, messages) > 0 {
                let rate = |f: &Figures| messages(f) as f64 / node_seconds(f, cost(f));
                line(&format!("{phase}: {name} per node and second"), 2, &rate);
            }
        }
    }
    lines
}

/// Nodes times simulated seconds.
fn node_seconds(figures: &Figures, cost: &Cost) -> f64 {
    (figures.nodes as f64 * cost.ms as f64 / 1e3).max(f64::MIN_POSITIVE)
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn rows() -> Vec<Row> {
    fn cpu(f: &Figures, cost: &Cost) -> f64 {
        cost.cpu_us as f64 / 1e4 / node_seconds(f, cost)
    }
    vec![
        ("creation: every node knows every node, s", |f| seconds(f.met_ms), 2),
        ("creation: replicas are arranged, s", |f| seconds(f.arranged_ms), 2),
        ("creation: all say that the cluster is up, s", |f| seconds(f.ok_ms), 2),
        ("creation: MB sent, all nodes", |f| f.creation.traffic.all_bytes() as f64 / 1e6, 1),
        ("creation: saves per node", |f| f.creation.events.saves as f64 / f.nodes as f64, 1),
        ("creation: CPU of a node, % of a core", |f| cpu(f, &f.creation), 3),
        (
            "steady: bytes sent per node and second",
            |f| f.steady.traffic.all_bytes() as f64 / node_seconds(f, &f.steady),
            0,
        ),
        (
            "steady: messages sent per node and second",
            |f| f.steady.traffic.all_messages() as f64 / node_seconds(f, &f.steady),
            2,
        ),
        ("steady: CPU of a node, % of a core", |f| cpu(f, &f.steady), 3),
        ("steady: memory of a node, MB", |f| f.allocated_bytes as f64 / 1e6 / f.nodes as f64, 3),
        ("deaths: masters that died", |f| f.dead as f64, 0),
        ("deaths: all are FAIL everywhere, s", |f| seconds(f.failed_ms), 2),
        ("deaths: all replicas have taken over, s", |f| seconds(f.replaced_ms), 2),
        ("deaths: all views are equal, s", |f| seconds(f.agreed_ms), 2),
        ("deaths: elections", |f| f.deaths.events.elections as f64, 0),
        (
            "deaths: elections that were not won",
            |f| f.deaths.events.elections as f64 - f.deaths.events.won as f64,
            0,
        ),
        (
            "deaths: nodes that found a majority by themselves",
            |f| f.deaths.events.verdicts as f64,
            0,
        ),
        ("deaths: MB sent, all nodes", |f| f.deaths.traffic.all_bytes() as f64 / 1e6, 1),
        (
            "deaths: bytes sent per node and second",
            |f| f.deaths.traffic.all_bytes() as f64 / node_seconds(f, &f.deaths),
            0,
        ),
        (
            "deaths: connections asked for, per node and second",
            |f| f.deaths.events.connects as f64 / node_seconds(f, &f.deaths),
            1,
        ),
        ("deaths: saves per node", |f| f.deaths.events.saves as f64 / f.nodes as f64, 1),
        (
            "deaths: MB saved per node",
            |f| f.deaths.events.saved_bytes as f64 / 1e6 / f.nodes as f64,
            2,
        ),
        ("deaths: CPU of a node, % of a core", |f| cpu(f, &f.deaths), 3),
        ("restart: all views are equal, s", |f| seconds(f.returned_ms), 2),
        ("restart: MB sent, all nodes", |f| f.restart.traffic.all_bytes() as f64 / 1e6, 1),
        ("restart: saves per node", |f| f.restart.events.saves as f64 / f.nodes as f64, 1),
        ("restart: CPU of a node, % of a core", |f| cpu(f, &f.restart), 3),
    ]
}
