//! The pages that are generated from the table of directives say what the table says.
#![allow(
    clippy::disallowed_methods,
    reason = "compares files of the repository, and refreshes them on demand"
)]

use std::fs;
use std::path::Path;

use russet_engine::config::document;

/// Compares a page with what the table generates, or writes it with `RUSSET_REFRESH=1`.
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
fn docs_page_compatibility() {
    const BEGIN: &str = "<!-- generated: directives -->\n";
    const END: &str = "<!-- end -->\n";
    check("docs/compatibility.md", |old| {
        let (before, rest) = old.split_once(BEGIN).expect("the page marks where they begin");
        let (_, after) = rest.split_once(END).expect("the page marks where they end");
        [before, BEGIN, &document::compatibility_md(), END, after].concat()
    });
}
