//! Tests of `check-aof`: output and files.

use std::fs;

use super::*;
use crate::testing::{Directory, directory};

const BASE: &[u8] =
    include_bytes!("../../engine/src/persist/aof/fixtures/stock70/appendonly.aof.2.base.rdb");
const INCREMENTAL: &[u8] =
    include_bytes!("../../engine/src/persist/aof/fixtures/stock70/appendonly.aof.2.incr.aof");
const MANIFEST: &[u8] =
    include_bytes!("../../engine/src/persist/aof/fixtures/stock70/appendonly.aof.manifest");
const PREAMBLE: &[u8] =
    include_bytes!("../../engine/src/persist/aof/fixtures/stock70/preamble.aof");

const SET: &str = "*3\r\n$3\r\nset\r\n$3\r\nfoo\r\n$5\r\nhello\r\n";

/// Writes files into a new directory.
fn files(name: &str, files: &[(&str, &[u8])]) -> Directory {
    let dir = directory(name);
    for (file, bytes) in files {
        fs::write(dir.path().join(file), bytes).unwrap();
    }
    dir
}

fn check(dir: &Directory, options: &[&str], file: &str, answer: &str) -> (i32, String) {
    let folder = format!("{}/", dir.path().to_str().unwrap());
    let mut words: Vec<Vec<u8>> = options.iter().map(|word| word.as_bytes().to_vec()).collect();
    words.push(format!("{folder}{file}").into_bytes());
    let mut out = Vec::new();
    let status = run("redis-check-aof", &words, &mut answer.as_bytes(), &mut out);
    (status, String::from_utf8(out).unwrap().replace(&folder, ""))
}

#[test]
fn a_good_folder_is_reported_as_by_redis_70() {
    let (base, incr) = ("appendonly.aof.2.base.rdb", "appendonly.aof.2.incr.aof");
    let dir = files("check-aof", &[(base, BASE), (incr, INCREMENTAL), ("a.manifest", MANIFEST)]);
    let (status, out) = check(&dir, &[], "a.manifest", "");
    assert_eq!(status, 0, "{out}");
    for line in [
        "Start checking Multi Part AOF\nStart to check BASE AOF (RDB format).\n[offset 0] Checking",
        "RDB preamble is OK, proceeding with AOF tail...\nAOF analyzed: \
         filename=appendonly.aof.2.base.rdb, size=141, ok_up_to=141, ok_up_to_line=1, diff=0\n\
         BASE AOF appendonly.aof.2.base.rdb is valid\nStart to check INCR files.\nAOF analyzed: \
         filename=appendonly.aof.2.incr.aof, size=269, ok_up_to=269, ok_up_to_line=57, diff=0\n\
         INCR AOF appendonly.aof.2.incr.aof is valid\nAll AOF files and manifest are valid\n",
    ] {
        assert!(out.contains(line), "{out}");
    }
    fs::remove_file(dir.path().join(incr)).unwrap();
    let (status, out) = check(&dir, &[], "a.manifest", "");
    let missing = format!("Cannot open file {incr}: No such file or directory, aborting...\n");
    assert!(status == 1 && out.ends_with(&missing), "{out}");
}

#[test]
fn manifests_are_recognized_by_content_or_name() {
    let line = "file a.1.incr.aof seq 1 type i\n";
    let bad = format!("{line}!!!\n");
    let dir = files("check-aof-manifest", &[("bad", bad.as_bytes()), ("empty.manifest", b"")]);
    let (status, out) = check(&dir, &[], "bad", "");
    let expected = "*** FATAL AOF MANIFEST FILE ERROR ***\n\nReading the manifest file bad, at line \
        2\n>>> '!!!'\nInvalid AOF manifest file format\n";
    assert!(status == 1 && out.ends_with(expected), "{out}");
    let (status, out) = check(&dir, &[], "empty.manifest", "");
    assert!(status == 1 && out.ends_with("Found an empty AOF manifest\n"), "{out}");
}

#[test]
fn an_incomplete_end_is_cut_off_on_request() {
    let bytes = format!("{SET}*3\r\n$3\r\nset");
    let dir = files("check-aof-fix", &[("a.aof", bytes.as_bytes())]);
    let len = || fs::metadata(dir.path().join("a.aof")).unwrap().len();
    let (status, out) = check(&dir, &[], "a.aof", "");
    assert!(status == 1 && out.contains("AOF a.aof is not valid. Use the --fix option"), "{out}");
    assert!(out.contains("The first 33 bytes of a.aof are good.\n"), "{out}");
    for answer in ["", "n\n", "\n", "no"] {
        let (status, out) = check(&dir, &["--fix"], "a.aof", answer);
        assert!(status == 1 && out.ends_with("Continue? [y/N]: Aborting...\n"), "{out}");
        assert_eq!(len(), bytes.len() as u64);
    }
    let (status, out) = check(&dir, &["--fix"], "a.aof", "y\n");
    assert!(out.ends_with("Continue? [y/N]: Successfully truncated AOF a.aof\n"), "{out}");
    assert_eq!((status, len()), (0, 33));
    assert_eq!(check(&dir, &[], "a.aof", "").0, 0);
}

#[test]
fn what_may_be_good_is_kept_beside_the_file() {
    let bytes = format!("{SET}!!!{SET}");
    let dir = files("check-aof-keep", &[("a.aof", bytes.as_bytes())]);
    let (status, out) = check(&dir, &[], "a.aof", "");
    assert!(status == 1 && out.contains("AOF a.aof format error\n"), "{out}");
    assert!(out.contains("ok_up_to=33, ok_up_to_line=8, diff=36"), "{out}");
    assert_eq!(check(&dir, &["--fix"], "a.aof", "y\n").0, 0);
    assert_eq!(fs::read(dir.path().join("a.aof")).unwrap(), SET.as_bytes());
    let tail = fs::read(dir.path().join("a.aof.cut-at-33")).unwrap();
    assert_eq!(tail, format!("!!!{SET}").as_bytes());
    // A kept end is never overwritten.
    fs::write(dir.path().join("a.aof"), &bytes).unwrap();
    let (status, out) = check(&dir, &["--fix"], "a.aof", "y\n");
    assert!(status == 1 && out.contains("Failed to truncate AOF a.aof: File exists"), "{out}");
    assert_eq!(fs::read(dir.path().join("a.aof")).unwrap(), bytes.as_bytes());
}

#[test]
fn only_the_last_file_is_cut() {
    let manifest = "file a.1.base.aof seq 1 type b\nfile a.1.incr.aof seq 1 type i\n";
    let base = format!("{SET}*1\r\n$5\r\nmulti\r\n{SET}");
    let dir = files(
        "check-aof-last",
        &[
            ("a.1.base.aof", base.as_bytes()),
            ("a.1.incr.aof", SET.as_bytes()),
            ("a.manifest", manifest.as_bytes()),
        ],
    );
    let (status, out) = check(&dir, &["--fix"], "a.manifest", "y\n");
    let expected = "Failed to truncate AOF a.1.base.aof because it is not the last file\n";
    assert!(status == 1 && out.ends_with(expected), "{out}");
    let place = format!("0x{:>16x}: ", base.len());
    assert!(out.contains(&format!("{place}Reached EOF before reading EXEC for MULTI\n")), "{out}");
}

#[test]
fn a_file_is_cut_at_a_time() {
    let bytes = format!("#TS:100\r\n{SET}#TS:200\r\n{SET}#TS:300\r\n{SET}");
    let dir = files("check-aof-time", &[("a.aof", bytes.as_bytes())]);
    let truncate = |seconds| check(&dir, &["--truncate-to-timestamp", seconds], "a.aof", "");
    let len = || fs::metadata(dir.path().join("a.aof")).unwrap().len();
    let (status, out) = truncate("300");
    assert!(
        status == 0 && out.contains("Truncate nothing in AOF a.aof to timestamp 300\n"),
        "{out}"
    );
    let (status, out) = truncate("299");
    assert!(status == 0 && out.ends_with("Successfully truncated AOF a.aof to timestamp 299\n"));
    assert_eq!(len(), 84);
    assert_eq!(check(&dir, &[], "a.aof", "").0, 0);
    let (status, out) = truncate("99");
    assert!(status == 1 && out.ends_with("nothing before timestamp 99, aborting...\n"), "{out}");
    assert_eq!((truncate("x").0, truncate("0").0, len()), (1, 1, 84));
}

#[test]
fn a_preamble_is_checked_first() {
    let mut damaged = PREAMBLE.to_vec();
    damaged[100] ^= 1;
    let dir = files("check-aof-preamble", &[("good.aof", PREAMBLE), ("bad.aof", &damaged)]);
    let (status, out) = check(&dir, &[], "good.aof", "");
    assert!(status == 0 && out.contains("ok_up_to=410, ok_up_to_line=57, diff=0\n"), "{out}");
    let (status, out) = check(&dir, &["--fix"], "bad.aof", "y\n");
    assert!(status == 1 && out.ends_with("RDB preamble of AOF file is not sane, aborting.\n"));
    assert_eq!(fs::read(dir.path().join("bad.aof")).unwrap(), damaged);
}

#[test]
fn files_of_a_running_server_are_not_changed() {
    let bytes = format!("{SET}*3\r\n$3\r\nset");
    let manifest = "file a.1.incr.aof seq 1 type i\n";
    let dir = files(
        "check-aof-lock",
        &[("a.1.incr.aof", bytes.as_bytes()), ("a.manifest", manifest.as_bytes())],
    );
    let lock = DataLock::take_appends(dir.path(), "a", None).unwrap();
    for file in ["a.manifest", "a.1.incr.aof"] {
        for options in [&["--fix"][..], &["--truncate-to-timestamp", "1"]] {
            let (status, out) = check(&dir, options, file, "y\n");
            let expected = format!(
                "A server (process {}) is using the append-only files 'a': shut it down before they are changed\n",
                std::process::id()
            );
            assert_eq!((status, out), (1, expected));
        }
        let (status, out) = check(&dir, &[], file, "");
        assert!(status == 1 && out.contains("is not valid. Use the --fix option"), "{out}");
    }
    assert_eq!(fs::read(dir.path().join("a.1.incr.aof")).unwrap(), bytes.as_bytes());
    drop(lock);
    let (status, out) = check(&dir, &["--fix"], "a.manifest", "y\n");
    assert!(status == 0 && out.contains("Successfully truncated AOF a.1.incr.aof"), "{out}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2, "no lock is left");
}

#[test]
fn the_lock_is_that_of_the_server() {
    for (name, expected) in [
        ("appendonly.aof.manifest", "appendonly.aof"),
        ("appendonly.aof.12.incr.aof", "appendonly.aof"),
        ("appendonly.aof.1.base.rdb", "appendonly.aof"),
        ("appendonly.aof.1.base.aof", "appendonly.aof"),
        ("appendonly.aof", "appendonly.aof"),
        ("x.incr.aof", "x.incr.aof"),
        ("x.y.incr.aof", "x.y.incr.aof"),
    ] {
        assert_eq!(appendfilename_of(name), expected);
    }
}

#[test]
fn an_empty_rdb_file_is_none() {
    let manifest = "file a.1.base.rdb seq 1 type b\n";
    let dir =
        files("check-aof-empty", &[("a.1.base.rdb", b""), ("a.manifest", manifest.as_bytes())]);
    let (status, out) = check(&dir, &[], "a.manifest", "");
    assert!(status == 1 && out.ends_with("RDB preamble of AOF file is not sane, aborting.\n"));
}

/// A file of ours: damage is found wherever it is, the file stays as it is, and what is called good is.
#[test]
fn a_flipped_bit_of_our_own_file_is_reported() {
    let good = include_bytes!("../../engine/src/persist/aof/fixtures/russet.aof");
    let dir = files("check-aof-flips", &[]);
    let path = dir.path().join("a.aof");
    for at in 0..good.len() {
        let mut damaged = good.to_vec();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, &damaged).unwrap();
        let (status, out) = check(&dir, &[], "a.aof", "");
        assert_eq!((status, fs::read(&path).unwrap()), (1, damaged), "{at}: {out}");
        let (_, rest) = out.split_once("The first ").expect("what is good is said");
        let (kept, _) = rest.split_once(" bytes of a.aof are good.").expect("how much");
        let kept: usize = kept.parse().unwrap();
        assert!(kept <= at, "{at}: {out}");
        fs::write(&path, &good[..kept]).unwrap();
        assert!(kept == 0 || check(&dir, &[], "a.aof", "").0 == 0, "{at}: {out}");
    }
}
