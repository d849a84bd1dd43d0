//! A few seeds in process, and one in two processes. The many are run by `cargo xtask sim`.

use std::process::Command;

use russet_sim::coverage::{Coverage, Worlds};
use russet_sim::world::{Common, Tracing, run};

#[test]
fn a_few_seeds_see_no_violation_and_enough_of_the_world() {
    let common = Common::default();
    let mut sum = Coverage::default();
    let seeds = 24;
    for seed in 1..=seeds {
        let report = run(&common, seed, Tracing::Keep(60));
        if let Some(what) = report.violation {
            let trace: Vec<String> = report.trace.into();
            panic!("seed {seed}: {what}\n{}", trace.join("\n"));
        }
        sum.add(&report.coverage);
    }
    assert!(sum.full_syncs > seeds && sum.partial_syncs > seeds, "{sum}");
    assert!(sum.snapshots > seeds && sum.loads > seeds && sum.data_checks > seeds, "{sum}");
    assert!(sum.promotions > 0 && sum.crashes > 0 && sum.cuts_in_frame > 0, "{sum}");
}

#[test]
fn a_seed_gives_one_hash_in_every_process() {
    let ours = run(&Common::default(), 77, Tracing::Off).hash;
    for _ in 0..2 {
        let output = Command::new(env!("CARGO_BIN_EXE_russet-sim"))
            .args(["--from", "77", "--hash"])
            .output()
            .expect("the binary was built beside this test");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains(&format!("hash {ours:016x}")), "ours is {ours:016x}; {text}");
    }
    assert_ne!(ours, run(&Common::default(), 78, Tracing::Off).hash);
}

#[test]
fn a_few_seeds_with_sentinels_see_failovers_and_no_violation() {
    let common = Common::of(Worlds::Sentinels, None);
    let mut sum = Coverage::default();
    for seed in 1..=15 {
        let report = run(&common, seed, Tracing::Keep(60));
        if let Some(what) = report.violation {
            let trace: Vec<String> = report.trace.into();
            panic!("seed {seed}: {what}\n{}", trace.join("\n"));
        }
        sum.add(&report.coverage);
    }
    assert!(sum.elections > 6 && sum.promotions_by_leaders > 6 && sum.config_updates > 0, "{sum}");
    assert!(sum.votes > 20 && sum.hellos > 1000 && sum.down_checks > 0, "{sum}");
}
