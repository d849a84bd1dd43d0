//! The generated pages are up to date with their tables.
#![allow(
    clippy::disallowed_methods,
    reason = "compares files of the repository, and refreshes them on demand"
)]

use std::fs;
use std::path::Path;

use russet_engine::config::{document, sentinel_document};
use russet_engine::{docs, info};

/// Compares a page with the text generated from its table, or rewrites it with `RUSSET_REFRESH=1`.
fn check(name: &str, make: impl Fn(&str) -> String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    let old = fs::read_to_string(&path).unwrap_or_default();
    let new = make(&old);
    if old == new {
        return;
    }
    let refresh = std::env::var("RUSSET_REFRESH").is_ok_and(|refresh| refresh == "1");
    assert!(refresh, "{name} is out of date: run `cargo xtask docs`");
    fs::write(&path, new).expect("the repository can be written");
}

#[test]
fn docs_page_config() {
    check("docs/config.md", |_| document::config_md());
}

#[test]
fn docs_page_example_configuration() {
    check("russet.conf", |_| document::russet_conf());
}

#[test]
fn docs_page_example_configuration_of_a_sentinel() {
    check("sentinel.conf", |_| sentinel_document::sentinel_conf());
}

#[test]
fn docs_page_info() {
    check("docs/info.md", |_| info::document::info_md());
}

#[test]
fn docs_page_commands() {
    check("docs/commands.md", |_| docs::commands_md());
}

/// Replaces a generated part between its marks; the text around it is kept.
fn replace(page: &str, part: &str, text: &str) -> String {
    let begin = format!("<!-- generated: {part} -->\n");
    let (before, rest) = page.split_once(&begin).expect("the page marks where the part begins");
    let (_, after) = rest.split_once("<!-- end -->\n").expect("the page marks where it ends");
    format!("{before}{begin}{text}<!-- end -->\n{after}")
}

#[test]
fn docs_page_compatibility() {
    check("docs/compatibility.md", |old| {
        [
            ("directives", document::compatibility_md()),
            ("commands", docs::missing_md()),
            ("info", info::document::compatibility_md()),
            ("types", docs::types_md()),
        ]
        .iter()
        .fold(old.to_owned(), |page, (part, text)| replace(&page, part, text))
    });
}
