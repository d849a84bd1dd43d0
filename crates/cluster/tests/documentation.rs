//! `docs/operations/cluster.md` lists the events of the journal, and no others.
#![allow(clippy::disallowed_methods, reason = "reads the sources and the page in the repository")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Adds the names of events in the sources of a folder: literals that begin with a sign.
fn events_in(folder: &Path, events: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            events_in(&path, events);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source");
        events.extend(text.split('"').filter(|word| is_event(word)).map(str::to_owned));
    }
}

fn is_event(word: &str) -> bool {
    word.starts_with(['+', '-'])
        && word.len() > 4
        && word[1..].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

#[test]
fn all_events_are_documented() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut events = BTreeSet::new();
    events_in(&home.join("src/machine"), &mut events);
    assert!(events.len() > 15, "{events:?}");
    let page = home.join("../../docs/operations/cluster.md");
    let page = fs::read_to_string(page).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| `+") || line.starts_with("| `-"));
    let names = rows.filter_map(|line| line.split('|').nth(1)).flat_map(|cell| cell.split('`'));
    let documented: BTreeSet<String> =
        names.filter(|word| is_event(word)).map(str::to_owned).collect();
    assert_eq!(documented, events);
}
