//! `cargo xtask sim`: runs the simulator in release mode, with bugs to inject if requested.

use crate::sh::{self, Result};

/// Runs the simulator with these arguments.
pub fn run(words: &[String]) -> Result {
    let mut command = sh::cargo(&["run", "--release", "--package", "russet-sim"]);
    if words.iter().any(|word| word == "--hunt" || word == "--bug") {
        command.args(["--features", "injected"]);
    }
    command.arg("--");
    command.args(words);
    sh::run(command)
}
