//! What passes of Sentinel's suite, by file of tests: a table in `docs/compatibility.md`.

use std::fs;

use super::{Share, sentinel};
use crate::sh::{self, Result};

/// Stands before the table.
const BEGIN: &str = "<!-- suite: sentinel -->\n";
/// Stands behind it.
const END: &str = "<!-- end -->";

/// Writes the table of these units.
pub fn write(shares: &[(String, Share)]) -> Result {
    let path = sh::root().join("docs/compatibility.md");
    let page = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let page = with_table(&page, &table(shares)).ok_or("the page has no place for the table")?;
    fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))
}

/// Returns the table: one row for each unit, and their sum.
fn table(shares: &[(String, Share)]) -> String {
    let mut sum = Share::default();
    shares.iter().for_each(|(_, share)| sum.add(share));
    let row = |name: &str, share: &Share| {
        let Share { passed, waiting, rest, .. } = share;
        format!("| {name} | {passed} | {waiting} | {rest} |\n")
    };
    let rows = shares
        .iter()
        .map(|(unit, share)| row(&format!("`{}`", sentinel::file_of(unit).unwrap_or(unit)), share));
    let head = "| file | passed | waiting | failed |\n|---|---|---|---|\n".to_owned();
    head + &rows.collect::<String>() + &row("all", &sum)
}

/// Returns a page with this table in its place.
fn with_table(page: &str, table: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_replaces_the_former_one() {
        let share = |passed, waiting| Share { passed, waiting, ..Share::default() };
        let shares = [("sentinel/00-base".to_owned(), share(27, 0)), ("x".to_owned(), share(8, 1))];
        let table = table(&shares);
        assert!(
            table.ends_with(
                "| `00-base` | 27 | 0 | 0 |\n| `x` | 8 | 1 | 0 |\n| all | 35 | 1 | 0 |\n"
            )
        );
        let page = |table: &str| format!("text\n{BEGIN}{table}{END}\nmore {END}\n");
        assert_eq!(with_table(&page("old\n"), &table), Some(page(&table)));
        assert_eq!(with_table("text", &table), None);
    }
}
