//! `cargo xtask sim`: the simulator's own binary, built for speed.

use crate::{Result, sh};

/// Hands all words to the simulator.
pub fn run(words: &[String]) -> Result {
    let mut command = sh::cargo(&["run", "--quiet", "--release", "--package", "russet-sim", "--"]);
    command.args(words);
    sh::run(command)
}
