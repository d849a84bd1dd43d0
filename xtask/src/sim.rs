//! `cargo xtask sim`: the simulator's own binary, built for speed; with the engine's bugs to inject if they are asked for.

use crate::sh::{self, Result};

/// Hands all words to the simulator.
pub fn run(words: &[String]) -> Result {
    let mut command = sh::cargo(&["run", "--quiet", "--release", "--package", "russet-sim"]);
    if words.iter().any(|word| word == "--hunt" || word == "--bug") {
        command.args(["--features", "injected"]);
    }
    command.arg("--");
    command.args(words);
    sh::run(command)
}
