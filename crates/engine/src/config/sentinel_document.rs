//! Generates the example configuration of a Sentinel, and the part about it of `docs/config.md`, from the table of statements.

use std::fmt::Write as _;

use russet_sentinel::settings::{
    CONFIG, FILE, RUSSET, SECRET, SET, STATE, STATEMENTS, Statement, Subject,
};

use super::document::{cell, code, comment};
use super::{Config, directive};
use crate::mode::Mode;

/// The name of the master in the example.
const MASTER: &str = "mymaster";

/// Directives that a Sentinel needs, and what the example says about them beyond their documentation.
const DIRECTIVES: &[(&str, &str)] = &[
    ("bind", ""),
    (
        "port",
        "Other Sentinels and clients connect to it; several Sentinels on a machine need a port each.",
    ),
    (
        "protected-mode",
        "The other Sentinels connect from outside, so it is off by default here; set a password or restrict the network.",
    ),
    (
        "requirepass",
        "All Sentinels should have the same one: each uses its own for connections to the others unless sentinel-pass is set.",
    ),
    ("daemonize", ""),
    ("pidfile", ""),
    ("logfile", ""),
    ("loglevel", ""),
    (
        "dir",
        "The state is kept in it if this file cannot be rewritten, and it is the working directory of scripts.",
    ),
];

/// Returns a line of the example about a statement, at its default if it has one.
fn line(row: &Statement) -> String {
    let name = if row.subject == Subject::Master { format!(" {MASTER}") } else { String::new() };
    let default = row.default_text();
    let is_value = matches!(default.as_str(), "" | "0");
    let value = if is_value { row.example } else { &default };
    format!("sentinel {}{name} {value}", row.name)
}

/// Returns what the example says about a default that its line does not show.
fn default_of(row: &Statement) -> &'static str {
    match row.default_text().as_str() {
        "0" => " The default is 0.",
        "" => " None by default.",
        _ => "",
    }
}

/// Writes the statements of the example: settings about this subject.
fn statements(out: &mut String, subject: Subject) {
    let is_setting = |row: &&Statement| row.subject == subject && row.has(FILE) && !row.has(STATE);
    for row in STATEMENTS.iter().filter(is_setting) {
        let is_needed = row.name == "monitor";
        out.push('\n');
        comment(out, &format!("{}{}", row.doc, if is_needed { "" } else { default_of(row) }));
        let _ = writeln!(out, "{}{}", if is_needed { "" } else { "#" }, line(row));
    }
}

/// Returns the annotated `sentinel.conf`: it watches one master, and shows everything else commented out.
pub fn sentinel_conf() -> String {
    let mut out = String::new();
    for text in [
        "Configuration of a Sentinel. It watches one master, at 127.0.0.1:6379; everything else is commented out: at \
         its default, or at an example where there is none. Start with: russet sentinel /path/to/sentinel.conf",
        "A Sentinel writes its state into this file, so each needs a copy of its own that it can replace. If it \
         cannot, the state is kept in a file beside its data: sentinel.conf.state in dir.",
        "This file is generated from the tables of directives and statements. docs/operations/sentinel.md tells how \
         to set up three Sentinels.",
    ] {
        if !out.is_empty() {
            out.push_str("#\n");
        }
        comment(&mut out, text);
    }
    out.push_str("\n################ This process ################\n");
    let defaults = Config::default_of(Mode::Sentinel);
    for (name, note) in DIRECTIVES {
        let Some(row) = directive(name.as_bytes()) else { continue };
        let value = String::from_utf8_lossy(&(row.text)(&defaults)).into_owned();
        let value = if value.is_empty() { "\"\"".to_owned() } else { value };
        out.push('\n');
        comment(&mut out, &format!("{} {note}", row.doc()));
        let _ = writeln!(out, "{}{name} {value}", if *name == "port" { "" } else { "#" });
    }
    out.push_str("\n################ A master ################\n\n");
    comment(
        &mut out,
        "Each of these has the name of the master in front of its values, and may be repeated for other masters.",
    );
    statements(&mut out, Subject::Master);
    out.push_str("\n################ All masters ################\n");
    statements(&mut out, Subject::All);
    out.push_str("\n################ State ################\n\n");
    comment(&mut out, "The Sentinel adds and changes these lines itself:");
    for row in STATEMENTS.iter().filter(|row| row.has(STATE)) {
        out.push_str("#\n");
        comment(&mut out, &format!("{}: {}", row.name, row.doc));
    }
    out
}

/// Returns the part of `docs/config.md` about Sentinels.
pub(super) fn sentinel_md() -> String {
    let mut out = String::from(
        "\n## Sentinel\n\n\
         Statements of a Sentinel's configuration, each behind the word `sentinel`: `sentinel monitor mymaster \
         127.0.0.1 6379 2`. Generated from `crates/sentinel/src/settings/table.rs`. *set* marks what SENTINEL SET \
         changes, and *config* what SENTINEL CONFIG GET returns and SENTINEL CONFIG SET changes; *state* is maintained \
         by the Sentinel itself, and *Russet* not known to stock Sentinels. Besides, a Sentinel has the directives \
         above that are about connections, logs and the process; its default `port` is 26379 and `protected-mode` is \
         `no`.\n\n\
         | statement | values | default | marks | description |\n|---|---|---|---|---|\n",
    );
    for row in STATEMENTS {
        let names: Vec<String> = row.names().map(code).collect();
        let name = (row.subject == Subject::Master).then_some("master-name");
        let values: Vec<&str> = name.into_iter().chain(row.arguments.iter().copied()).collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            names.join(", "),
            cell(&values.join(" ")),
            code(&row.default_text()),
            marks(row),
            cell(row.doc)
        );
    }
    out
}

fn marks(row: &Statement) -> String {
    let flags = [
        (SET, "set"),
        (CONFIG, "config"),
        (STATE, "state"),
        (SECRET, "secret"),
        (RUSSET, "Russet"),
    ];
    let mut marks: Vec<&str> =
        flags.into_iter().filter(|(flag, _)| row.has(*flag)).map(|(_, mark)| mark).collect();
    if !row.has(FILE) {
        marks.push("not in files");
    }
    marks.join(", ")
}
