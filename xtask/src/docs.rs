//! `cargo xtask docs`: regenerates the pages of `docs/` from the tables.
//!
//! Each page has a test that compares it with its table; with `RUSSET_REFRESH=1` these tests
//! rewrite the page instead.

use crate::sh::{self, Result};

/// Rewrites every generated page.
pub fn run(words: &[String]) -> Result {
    sh::Words::new(words).rest()?;
    let mut command = sh::cargo(&["test", "--workspace", "--", "docs_page"]);
    command.env("RUSSET_REFRESH", "1");
    sh::run(command)
}
