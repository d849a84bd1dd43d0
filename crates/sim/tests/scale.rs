//! The scale model, with few nodes.

use russet_sim::scale::{Meter, Options, run};

struct NoMeter;

impl Meter for NoMeter {
    fn cpu_us(&self) -> u64 {
        0
    }

    fn allocated_bytes(&self) -> u64 {
        0
    }
}

fn report(nodes: usize, seed: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let options = Options { nodes, seed, with_stock: true };
    run(options, &NoMeter, &mut |line| lines.push(line)).unwrap();
    lines
}

/// Returns the figures of a row: with our rules, and with stock's.
fn row(lines: &[String], name: &str) -> (f64, f64) {
    let line = lines.iter().find_map(|line| line.strip_prefix(name)).unwrap();
    let figures: Vec<f64> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
    (figures[0], figures[1])
}

#[test]
fn a_seed_gives_the_same_report() {
    assert_eq!(report(12, 1), report(12, 1));
    assert_ne!(report(12, 1), report(12, 2));
}

#[test]
fn masters_that_die_together_are_replaced_at_once() {
    let lines = report(40, 1);
    let (failed, _) = row(&lines, "deaths: all are FAIL everywhere, s");
    let (replaced, by_stock) = row(&lines, "deaths: all replicas have taken over, s");
    assert!((15.0..15.5).contains(&failed), "{lines:#?}");
    assert!(replaced < failed + 1.5 && replaced < by_stock, "{lines:#?}");
}
