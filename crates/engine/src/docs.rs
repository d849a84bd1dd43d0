//! Pages of documentation that are generated from the tables; a test refreshes them.
//!
//! This file generates those about commands and about several tables. `docs/config.md` and
//! `russet.conf` come from [`crate::config::document`], `sentinel.conf` from [`crate::config::sentinel_document`],
//! `docs/info.md` from [`crate::info::document`].

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::command::{Command, CommandTable, catalogue};
use crate::types;

/// Returns a command's name as users type it: `CONFIG GET`.
fn typed(name: &str) -> String {
    name.replace('|', " ").to_ascii_uppercase()
}

/// Formats the text as inline code for a cell of a Markdown table.
fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", text.replace('|', "\\|")) }
}

/// Returns the names of Redis 7.2's commands that are missing here, by group.
fn missing() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for known in catalogue::known()
        .filter(|known| CommandTable::default().listed().all(|row| row.name != known.name))
    {
        missing.entry(known.group).or_default().push(known.name);
    }
    missing
}

/// Generates `docs/commands.md`: all commands, and those of Redis 7.2 that are missing.
pub fn commands_md() -> String {
    let mut out = String::from(
        "# Commands\n\n\
         Generated from the rows in `crates/engine/src/command`; edit those instead.\n\n\
         *since* is the version of Redis that introduced the command. Commands of Redis 7.2 that are missing are listed \
         at the end.\n",
    );
    let mut groups: BTreeMap<&str, Vec<&Command>> = BTreeMap::new();
    for row in CommandTable::default().all() {
        groups.entry(row.group.name()).or_default().push(row);
    }
    for (group, mut commands) in groups {
        commands.sort_by_key(|row| row.name);
        let _ = write!(
            out,
            "\n## {group}\n\n| command | arguments | description | complexity | since |\n|---|---|---|---|---|\n"
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
    out.push_str("\n## Not implemented yet\n\n");
    for (group, names) in missing() {
        let names: Vec<String> = names.iter().map(|name| typed(name)).collect();
        let _ = writeln!(out, "* **{group}**: {}", names.join(", "));
    }
    out
}

fn instead(row: &Command) -> String {
    // In Redis' documentation the `!` keeps a word from becoming a link.
    catalogue::replaced_by(row.name)
        .map_or(String::new(), |new| format!(" Deprecated; instead: {}.", new.replace("`!", "`")))
}

/// Generates the table of `docs/compatibility.md` with the numbers of commands by group.
pub fn missing_md() -> String {
    let mut out = String::from("| group | implemented | missing |\n|---|---|---|\n");
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

/// Generates the table of `docs/compatibility.md` with the forms that cannot be loaded yet.
pub fn types_md() -> String {
    let mut out = String::from("| type | form in an RDB file | byte |\n|---|---|---|\n");
    for (name, forms) in types::NOT_IMPLEMENTED {
        for form in *forms {
            let _ = writeln!(out, "| {name} | {} | {} |", form.name, form.code);
        }
    }
    out
}
