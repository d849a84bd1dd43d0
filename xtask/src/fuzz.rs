//! `cargo xtask fuzz`: libFuzzer on the stable toolchain.
//!
//! `libfuzzer-sys` compiles libFuzzer with the system's C++ compiler; coverage comes from LLVM's own pass, which stable
//! rustc can be told to run. No nightly, no cargo-fuzz, no clang.

use crate::{Result, sh};

/// Runs the targets.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let seconds = words.number("--seconds")?.unwrap_or(60);
    let named = words.rest()?;
    let _ = (seconds, named);
    Err("no targets yet".into())
}
