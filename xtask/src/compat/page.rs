//! What passes of the suites for Sentinel and for clusters, by file of tests: tables in `docs/compatibility.md`.
//!
//! A run replaces the row of each unit that it has run, and the sum.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use super::{Share, instances};
use crate::sh::{self, Result};

/// A table for each of these.
const TABLES: [&str; 2] = ["sentinel", "cluster"];

/// Stands behind a table.
const END: &str = "<!-- end -->";

const HEAD: &str = "| file | passed | waiting | failed | needs |\n|---|---|---|---|---|\n";

/// The label of the last row.
const SUM: &str = "all";

/// What a unit has come to.
pub struct Row {
    pub unit: String,
    pub share: Share,
    /// Why tests fail or wait.
    pub why: BTreeSet<String>,
}

/// Writes the row of a unit, if it has a table.
pub fn write(row: &Row) -> Result {
    let Some(table) = table_of(&row.unit) else { return Ok(()) };
    let path = sh::root().join("docs/compatibility.md");
    let page = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let page = with_row(&page, table, row)
        .ok_or_else(|| format!("the page has no place for the table of {table}"))?;
    fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display()))
}

fn table_of(unit: &str) -> Option<&'static str> {
    let of_instances = instances::file_of(unit).map(|file| file.folder);
    let folder = of_instances.or_else(|| unit.strip_prefix("unit/cluster/").map(|_| "cluster"))?;
    TABLES.into_iter().find(|table| *table == folder)
}

/// The name of a unit in its table.
fn label(unit: &str) -> String {
    format!("`{}`", unit.strip_prefix("sentinel/").unwrap_or(unit))
}

fn line(label: &str, numbers: [usize; 3], why: &str) -> String {
    let [passed, waiting, failed] = numbers;
    format!("| {label} | {passed} | {waiting} | {failed} | {why} |\n")
}

/// Returns a page with this row in its table.
fn with_row(page: &str, table: &str, row: &Row) -> Option<String> {
    let begin = format!("<!-- suite: {table} -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (old, after) = rest.split_once(END)?;
    let cells = |line: &str| -> Option<(String, ([usize; 3], String))> {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let number = |at: usize| cells.get(at)?.parse().ok();
        let numbers = [number(2)?, number(3)?, number(4)?];
        let why = cells.get(5).copied().unwrap_or_default().to_owned();
        Some((cells[1].to_owned(), (numbers, why)))
    };
    let mut lines: BTreeMap<String, ([usize; 3], String)> = old.lines().filter_map(cells).collect();
    lines.remove(SUM);
    let Share { passed, waiting, fork, rest } = row.share;
    let why: Vec<&str> = row.why.iter().map(String::as_str).collect();
    lines.insert(label(&row.unit), ([passed, waiting + fork, rest], why.join(", ")));
    let sum = lines
        .values()
        .fold([0; 3], |sum, (numbers, _)| std::array::from_fn(|at| sum[at] + numbers[at]));
    let lines = lines.iter().map(|(label, (numbers, why))| line(label, *numbers, why));
    let lines = lines.collect::<String>() + &line(SUM, sum, "");
    Some(format!("{before}{begin}{HEAD}{lines}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_replaced_and_the_others_stay() {
        let row = |unit: &str, passed, waiting, why: &[&str]| Row {
            unit: unit.to_owned(),
            share: Share { passed, waiting, ..Share::default() },
            why: why.iter().map(|why| (*why).to_owned()).collect(),
        };
        let page =
            |rows: &str| format!("text\n<!-- suite: cluster -->\n{HEAD}{rows}{END}\nmore {END}\n");
        let old = page(
            "| `cluster/a` | 1 | 0 | 0 | |\n| `unit/cluster/b` | 5 | 2 | 1 | x |\n| all | 6 | 2 | 1 | |\n",
        );
        let (b, c) =
            (row("unit/cluster/b", 8, 2, &["EVAL", "BLPOP"]), row("unit/cluster/c", 1, 0, &[]));
        let new = page(
            "| `cluster/a` | 1 | 0 | 0 |  |\n| `unit/cluster/b` | 8 | 2 | 0 | BLPOP, EVAL |\n\
             | `unit/cluster/c` | 1 | 0 | 0 |  |\n| all | 10 | 2 | 0 |  |\n",
        );
        let with_b = with_row(&old, "cluster", &b).expect("there is a place");
        assert_eq!(with_row(&with_b, "cluster", &c), Some(new));
        assert_eq!(with_row("text", "cluster", &c), None);
    }

    #[test]
    fn units_have_their_tables() {
        let cases = [
            ("sentinel/00-base", Some("sentinel")),
            ("cluster/03-failover-loop", Some("cluster")),
            ("unit/cluster/links", Some("cluster")),
            ("unit/other", None),
        ];
        for (unit, table) in cases {
            assert_eq!(table_of(unit), table, "{unit}");
        }
        assert_eq!(label("sentinel/00-base"), "`00-base`");
    }
}
