//! Pages of documentation that are generated from the tables; a test refreshes them.
//!
//! Here is what is about commands and what gathers several tables. `docs/config.md` and `russet.conf` come from
//! [`crate::config::document`], `docs/info.md` from [`crate::info::document`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::command::{Command, CommandTable, catalogue};
use crate::types;

/// A name as it is typed: `CONFIG GET`.
fn typed(name: &str) -> String {
    name.replace('|', " ").to_ascii_uppercase()
}

/// A cell of a Markdown table, within code marks if it has something.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

/// Names of Redis 7.2's commands that have no row, by group.
fn missing() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for known in catalogue::known()
        .filter(|known| CommandTable::default().listed().all(|row| row.name != known.name))
    {
        missing.entry(known.group).or_default().push(known.name);
    }
    missing
}

/// `docs/commands.md`: every command, and those of Redis 7.2 that are missing.
pub fn commands_md() -> String {
    let mut out = String::from(
        "# Commands\n\n\
         Generated from the rows in `crates/engine/src/command`; edit those instead.\n\n\
         *since* is the version of Redis that brought the command. What is missing of Redis 7.2 stands at the end.\n",
    );
    let mut groups: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
    for row in CommandTable::default().all() {
        groups.entry(row.group.name()).or_default().push(row);
    }
    for (group, mut commands) in groups {
        commands.sort_by_key(|row| row.name);
        let _ = write!(
            out,
            "\n## {group}\n\n| command | arguments | what it does | cost | since |\n|---|---|---|---|---|\n"
        );
        for row in
            commands.iter().flat_map(|row| std::iter::once(*row).chain(row.listed_subcommands()))
        {
            let _ = writeln!(
                out,
                "| {} | {} | {}{} | {} | {} |",
                code(&typed(row.name)),
                code(&row.syntax()),
                row.summary.replace('|', "\\|"),
                instead(row),
                row.complexity.replace('|', "\\|"),
                row.since
            );
        }
    }
    out.push_str("\n## Not there yet\n\n");
    for (group, names) in missing() {
        let names: Vec<String> = names.iter().map(|name| typed(name)).collect();
        let _ = writeln!(out, "* **{group}**: {}", names.join(", "));
    }
    out
}

fn instead(row: &Command) -> String {
    // Redis' own documentation would make a link of every word in code marks without that sign.
    catalogue::replaced_by(row.name)
        .map_or(String::new(), |new| format!(" Deprecated; instead: {}.", new.replace("`!", "`")))
}

/// The part of `docs/compatibility.md` about commands: how many are missing, and what is answered.
pub fn missing_md() -> String {
    let mut out = String::from("| family | there | missing |\n|---|---|---|\n");
    let missing = missing();
    let mut groups: BTreeMap<&str, usize> = missing.keys().map(|group| (*group, 0)).collect();
    for row in CommandTable::default().listed() {
        *groups.entry(row.group.name()).or_default() += 1;
    }
    for (group, there) in groups {
        let missing = missing.get(group).map_or(0, Vec::len);
        let _ = writeln!(out, "| {group} | {there} | {missing} |");
    }
    out
}

/// The part of `docs/compatibility.md` about values that cannot be loaded yet.
pub fn types_md() -> String {
    let mut out = String::from("| type | form in an RDB file | byte |\n|---|---|---|\n");
    for (name, forms) in types::NOT_BUILT {
        for form in *forms {
            let _ = writeln!(out, "| {name} | {} | {} |", form.name, form.code);
        }
    }
    out
}
