//! `cargo xtask tidy`: rules beyond lints, as a ratchet.
//!
//! Every Rust file starts with `//!`, no line is longer than [`COLUMNS_MAX`] columns, and no file longer than [`LINES_MAX`]
//! lines, except those in [`LONGER`] with their own maximum. `cycles.rs` checks the references between files, `imports.rs`
//! those between crates.

use std::path::Path;

use crate::sh::{self, Result};

/// Maximum length of a line in a Rust file, except lines with string literals.
const COLUMNS_MAX: usize = 140;

/// Maximum length of a file.
const LINES_MAX: usize = 700;

/// Exceptions, with their maximum length. Lower the number when a file becomes shorter.
const LONGER: &[(&str, usize)] =
    // One test for each line of a list, and the list is long.
    &[("crates/engine/tests/engine/hardening.rs", 800)];

/// Checks all Rust files tracked by git.
pub fn run(words: &[String]) -> Result {
    let mut words = sh::Words::new(words);
    let cycles = words.flag("--cycles");
    words.rest()?;
    if cycles {
        return crate::cycles::print();
    }
    let mut complaints = check()?;
    complaints.extend(crate::imports::check()?);
    complaints.extend(crate::cycles::check()?);
    for complaint in &complaints {
        println!("{complaint}");
    }
    if complaints.is_empty() { Ok(()) } else { Err(format!("{} complaints", complaints.len())) }
}

fn check() -> Result<Vec<String>> {
    let list = sh::output(sh::command("git", &["ls-files", "*.rs"]))?;
    let mut complaints = vec![];
    for name in list.lines() {
        // A tracked file may have been removed from the working tree.
        let Ok(text) = std::fs::read_to_string(sh::root().join(name)) else { continue };
        complaints.extend(complaints_about(Path::new(name), &text));
    }
    Ok(complaints)
}

fn complaints_about(path: &Path, text: &str) -> Vec<String> {
    let name = path.to_string_lossy();
    let mut complaints = vec![];
    if !text.starts_with("//!") {
        complaints.push(format!("{name}: does not start with a //! comment"));
    }
    for (index, line) in text.lines().enumerate() {
        if line.chars().count() > COLUMNS_MAX && !line.contains('"') {
            complaints.push(format!("{name}:{}: longer than {COLUMNS_MAX} columns", index + 1));
        }
    }
    let lines = text.lines().count();
    let listed = LONGER.iter().find(|(file, _)| *file == name).map(|(_, lines)| *lines);
    let lines_max = listed.unwrap_or(LINES_MAX);
    if lines > lines_max {
        complaints.push(format!("{name}: {lines} lines, more than {lines_max}"));
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_is_checked() {
        let about = |text: &str| complaints_about(Path::new("a.rs"), text).len();
        assert_eq!(about("//! Fine.\n"), 0);
        assert_eq!(about("fn main() {}\n"), 1);
        assert_eq!(about(&format!("//! {}\n", "x".repeat(COLUMNS_MAX))), 1);
        assert_eq!(about(&format!("//! Long.\n{}", "\n".repeat(LINES_MAX))), 1);
    }
}
