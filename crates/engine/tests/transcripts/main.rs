//! Transcripts: requests and replies as readable text.
//!
//! They are in `tests/commands/*.txt`, and run against a node in this process with virtual time:
//!
//! ```text
//!   # comments and empty lines are kept
//!   @ start resp3 replica      a new node; RESP3; with a replica
//!   @ set proto-max-bulk-len 1mb
//!   > SET a "two words"        a request, quoted as in redis-cli; a{x*3}z is axxxz
//!   b> GET a                   a request of another client
//!   b>> GET c                  sent in one piece with the previous request
//!   < +OK                      the reply, in the order of clients and requests
//!   b< "two words"
//!   7.0< -ERR else             the reply of redis-server 7.0 if it differs
//!   = SET a "two words"        what is propagated to the replica
//!   @ advance 150ms            advances time
//! ```
//!
//! * `RUSSET_REFRESH=1` rewrites the expectations from the actual replies.
//! * `RUSSET_TRANSCRIPT=strings` runs only the file of that name.
//! * `RUSSET_TRANSCRIPT_ADDR=host:port` runs them over TCP against that server, whose data is removed. Times of day
//!   are not compared then, and waits are real.
//! * `RUSSET_TRANSCRIPT_STOCK=1` with it: the server is redis-server 7.0. With `RUSSET_REFRESH=1` its
//!   differences are recorded.
#![allow(
    clippy::disallowed_methods,
    reason = "reads and writes the repository's transcripts; connects to a real server on request"
)]

mod local;
mod remote;
mod resp;
mod run;
mod script;

use std::fs;
use std::path::{Path, PathBuf};

use run::{Mode, Server};
use russet_engine::command::keyspec::key_flag;
use russet_engine::command::{Command, CommandTable};

fn flag(name: &str) -> bool {
    std::env::var(name).is_ok_and(|value| value == "1")
}

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let only = std::env::var("RUSSET_TRANSCRIPT").ok();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the folder of transcripts is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| {
            only.as_ref().is_none_or(|only| path.file_stem().is_some_and(|stem| stem == &**only))
        })
        .collect();
    files.sort();
    files
}

/// Returns the first difference between two texts.
fn first_difference(old: &str, new: &str) -> String {
    let mut lines = (1..).zip(old.lines().zip(new.lines()));
    match lines.find(|(_, (old, new))| old != new) {
        Some((number, (old, new))) => {
            format!("line {number}\n  expected  {old}\n  answered  {new}")
        }
        None => "one is longer than the other".to_owned(),
    }
}

#[test]
fn transcripts_hold() {
    let address = std::env::var("RUSSET_TRANSCRIPT_ADDR").ok();
    let mode = match (&address, flag("RUSSET_TRANSCRIPT_STOCK")) {
        (None, _) => Mode::Local,
        (Some(_), false) => Mode::Remote,
        (Some(_), true) => Mode::Stock,
    };
    let mut wrong = Vec::new();
    let files = files();
    assert!(!files.is_empty(), "no transcripts");
    for path in files {
        let old = fs::read_to_string(&path).expect("a readable transcript");
        let mut server: Box<dyn Server> = match &address {
            None => Box::new(local::Local::default()),
            Some(address) => Box::new(remote::Remote::new(address)),
        };
        let new = run::run(&script::parse(&old), &mut *server, mode);
        if new == old {
            continue;
        }
        if flag("RUSSET_REFRESH") && mode != Mode::Remote {
            fs::write(&path, new).expect("the repository can be written");
        } else {
            wrong.push(format!("{}: {}", path.display(), first_difference(&old, &new)));
        }
    }
    assert!(wrong.is_empty(), "RUSSET_REFRESH=1 refreshes:\n{}", wrong.join("\n"));
}

/// `Args::key` asserts that a key spec includes the argument, which is tested only for commands of
/// transcripts.
#[test]
fn each_command_with_keys_is_in_a_transcript() {
    if std::env::var("RUSSET_TRANSCRIPT").is_ok() {
        return;
    }
    let table = CommandTable::default();
    let mut run = Vec::new();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a readable transcript");
        for request in script::parse(&text).iter().flat_map(|step| &step.requests) {
            let row = request.words.first().and_then(|name| table.find(name));
            let sub = row.zip(request.words.get(1)).and_then(|(row, word)| row.subcommand(word));
            run.extend(row.map(|row| row.name));
            run.extend(sub.map(|row| row.name));
        }
    }
    let has_keys =
        |row: &&&'static Command| row.keys.iter().any(|spec| spec.flags & key_flag::NOT_KEY == 0);
    let missing = table.rows().iter().filter(has_keys).map(|row| row.name);
    let missing: Vec<&str> = missing.filter(|name| !run.contains(name)).collect();
    assert_eq!(missing, [""; 0]);
}
