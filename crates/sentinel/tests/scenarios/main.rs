//! Scenarios: what happens to servers and Sentinels, and what Sentinels do, as readable text.
//!
//! The machines are real, everything else is simulated: time, the network, servers, disks, scripts, and Sentinels whose
//! replies are scripted. They are in `*.txt` beside this file:
//!
//! ```text
//!   # comments and empty lines are kept
//!   > begin
//!   > server 6379                        a master; `of 6379`: a replica
//!   > sentinels 3 quorum 2               real Sentinels s1, s2, s3
//!   > advance 5s
//!     0.0 s1 +monitor master mymaster 127.0.0.1 6379 quorum 2
//! ```
//!
//! Behind a directive is what came of it: events, commands that change a server, scripts and, if they are shown, saves and
//! log lines; the time is in seconds since the directive. An id reads as the name of its Sentinel. The directives are
//! those of `script.rs`.
//!
//! * `RUSSET_REFRESH=1` rewrites what came of the directives, for review.
//! * `RUSSET_SCENARIO=votes` runs only the file of that name.
#![allow(clippy::disallowed_methods, reason = "reads and writes the repository's scenarios")]

mod commands;
mod network;
mod script;
mod sentinel;
mod serve;
mod server;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let only = std::env::var("RUSSET_SCENARIO").ok();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of scenarios is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| {
            only.as_ref().is_none_or(|only| path.file_stem().is_some_and(|stem| stem == &**only))
        })
        .collect();
    files.sort();
    files
}

/// Returns the first line that differs.
fn difference(path: &Path, expected: &str, actual: &str) -> String {
    let (mut expected, mut actual) = (expected.lines(), actual.lines());
    for line in 1.. {
        let (left, right) = (expected.next(), actual.next());
        if left != right {
            let (left, right) = (left.unwrap_or("(end)"), right.unwrap_or("(end)"));
            let name = path.file_name().unwrap_or_default().display();
            return format!("{name}:{line}\n  expected {left}\n  actual   {right}");
        }
    }
    unreachable!("texts that differ have a line that differs")
}

#[test]
fn scenarios_go_as_written() {
    let refreshes = std::env::var("RUSSET_REFRESH").is_ok_and(|value| value == "1");
    let files = files();
    assert!(!files.is_empty(), "there is no such scenario");
    let mut wrong = Vec::new();
    for path in files {
        let text = fs::read_to_string(&path).expect("a readable file");
        let actual = script::run(&path, &text);
        if actual == text {
            continue;
        }
        if refreshes {
            fs::write(&path, actual).expect("a writable file");
        } else {
            wrong.push(difference(&path, &text, &actual));
        }
    }
    assert!(wrong.is_empty(), "RUSSET_REFRESH=1 refreshes:\n{}", wrong.join("\n"));
}
