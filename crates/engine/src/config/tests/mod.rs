//! Tests of the configuration across files.

use proptest::test_runner::{Config as Cases, RngSeed};

mod load;
mod rewrite;
mod sentinel;
mod set;
mod table;

/// The same random cases in every run.
fn cases() -> Cases {
    Cases { rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Cases::default() }
}
