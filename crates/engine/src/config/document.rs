//! Generates the example configuration and two pages of documentation from the table. `sentinel_document.rs` has what is
//! about Sentinels.

use std::fmt::Write as _;

use super::directives::{
    DIRECTIVES, Directive, HIDDEN, IMMUTABLE, PROTECTED, RUSSET, SENSITIVE, Status, VALKEY,
};
use super::file_only::FILE_ONLY;

/// Iterates over the sections and their rows, in the order of the table.
fn sections() -> impl Iterator<Item = (&'static str, &'static [Directive])> {
    DIRECTIVES.chunk_by(|a, b| a.section == b.section).map(|rows| (rows[0].section, rows))
}

/// Writes a text as comment lines of at most 78 columns.
pub(super) fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 78 {
            let _ = writeln!(out, "{line}");
            line.truncate(1);
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

/// Returns the lines with a directive's default.
fn default_lines(row: &Directive) -> Vec<String> {
    let words: Vec<&str> = row.default_in_file().split(' ').collect();
    match row.name {
        // Four words per line: one class of clients.
        "client-output-buffer-limit" => {
            words.chunks(4).map(|words| format!("{} {}", row.name, words.join(" "))).collect()
        }
        name => vec![format!("{name} {}", words.join(" "))],
    }
}

/// Returns the annotated `russet.conf`: every visible directive at its default, commented out.
pub fn russet_conf() -> String {
    let mut out = String::new();
    for text in [
        "Configuration of Russet. Every directive is shown at its default: remove the '#' in front of one to change \
         it. Start with: russet server /path/to/russet.conf --port 6380",
        "Sizes take units in any case: 1k is 1000 bytes, 1kb 1024, and so on with m, mb, g and gb. A value with blanks \
         stands in double or single quotes.",
        "This file is generated from the table of directives.",
    ] {
        comment(&mut out, text);
        out.push_str("#\n");
    }
    for row in FILE_ONLY.iter().filter(|row| row.name == "include") {
        comment(&mut out, row.doc);
        out.push_str("#include /etc/russet/conf.d/*.conf\n");
    }
    for (section, rows) in sections() {
        let _ = writeln!(out, "\n################ {section} ################");
        for row in rows.iter().filter(|row| !row.has(HIDDEN)) {
            out.push('\n');
            comment(&mut out, &row.doc());
            if let Some(treatment) = treatment(row.status) {
                comment(&mut out, &format!("Not implemented yet: {treatment}."));
            }
            for line in default_lines(row) {
                let _ = writeln!(out, "#{line}");
            }
        }
    }
    out
}

/// Describes how an unimplemented directive is treated.
fn treatment(status: Status) -> Option<String> {
    Some(match status {
        Status::Implemented => return None,
        Status::Refused(_, loss) => format!("only the default is accepted: otherwise {loss}"),
        Status::NotImplemented(_) => "accepted with a warning, without effect".into(),
        Status::Without(name) => format!("accepted, has no meaning without {name}"),
        Status::Off => "accepted, always off".into(),
    })
}

/// Escapes a cell of a Markdown table.
pub(super) fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// Formats a value in a Markdown table; empty if there is none.
pub(super) fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

/// Returns the text of `docs/config.md`.
pub fn config_md() -> String {
    let mut out = String::from(
        "# Configuration directives\n\n\
         Generated from the table of directives; edit `crates/engine/src/config/directives.rs` instead.\n\n\
         Names and defaults are those of Redis 7.2. *start* marks a directive that only the configuration file and \
         the command line may set; *protected* one that CONFIG SET changes only if `enable-protected-configs` allows \
         it; *hidden* one that CONFIG GET shows only under its exact name; *secret* one whose value is kept out of \
         logs; *Valkey* one that Redis 7.2 doesn't have.\n",
    );
    for (section, rows) in sections() {
        let _ = writeln!(
            out,
            "\n## {section}\n\n| directive | values | default | marks | description |\n|---|---|---|---|---|"
        );
        for row in rows {
            let names: Vec<String> = row.names().map(code).collect();
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} |",
                names.join(", "),
                cell(&row.kind.to_string()),
                code(row.default),
                marks(row),
                cell(&row.doc())
            );
        }
    }
    out.push_str("\n## In configuration files only\n\n| directive | description |\n|---|---|\n");
    for row in FILE_ONLY {
        let _ = writeln!(out, "| {} | {} |", code(row.name), cell(row.doc));
    }
    out + &super::sentinel_document::sentinel_md()
}

fn marks(row: &Directive) -> String {
    let flags = [
        (IMMUTABLE, "start"),
        (PROTECTED, "protected"),
        (HIDDEN, "hidden"),
        (SENSITIVE, "secret"),
        (VALKEY, "Valkey"),
        (RUSSET, "Russet"),
    ];
    let mut marks: Vec<&str> =
        flags.into_iter().filter(|(flag, _)| row.has(*flag)).map(|(_, mark)| mark).collect();
    if row.status != Status::Implemented {
        marks.push("not implemented");
    }
    marks.join(", ")
}

/// An unimplemented directive, listed in `docs/compatibility.md`.
#[derive(Debug, Clone)]
pub struct NotImplemented {
    /// Its name.
    pub name: &'static str,
    /// Its status.
    pub status: Status,
    /// Its default, as written in a configuration file.
    pub default: &'static str,
    /// What happens when it is set.
    pub treatment: String,
}

/// Returns all unimplemented directives.
pub fn not_implemented() -> Vec<NotImplemented> {
    let not_implemented = |row: &'static Directive| {
        let treatment = treatment(row.status)?;
        Some(NotImplemented { name: row.name, status: row.status, default: row.default, treatment })
    };
    DIRECTIVES.iter().filter_map(not_implemented).collect()
}

/// Returns the part of `docs/compatibility.md` about directives, refused ones first.
pub fn compatibility_md() -> String {
    let mut out = String::new();
    let mut rows = not_implemented();
    rows.sort_by_key(|row| (!row.status.is_refused(), row.name));
    out.push_str("| directive | default | affects | treatment |\n|---|---|---|---|\n");
    for row in rows {
        let impact = match row.status {
            Status::NotImplemented(impact) | Status::Refused(impact, _) => {
                format!("{impact:?}").to_lowercase()
            }
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "| {} | {} | {impact} | {} |",
            code(row.name),
            code(row.default),
            row.treatment
        );
    }
    out
}
