//! The append-only file: which replies wait for it, what a start finds after a crash, rewrites, and disks that fail.

use std::collections::BTreeMap;

use russet_driver::{Driver, Files, START};
use russet_engine::config::Config;
use russet_engine::io::Handle;
use russet_engine::node::Boot;

const ALWAYS: &str = "appendonly yes\nappendfsync always\nsave \"\"\nenable-debug-command yes\n";
const EVERYSEC: &str =
    "appendonly yes\nappendfsync everysec\nsave \"\"\nenable-debug-command yes\n";

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";

/// Returns the files as a loss of power leaves them: of those that were appended to, what was synced.
fn after_power_loss(w: &Driver) -> Files {
    let mut files = w.files.clone();
    for (path, len) in &w.appends.synced {
        if let Some(file) = files.get_mut(path) {
            file.truncate(*len);
        }
    }
    files
}

/// Returns a digest of the data of a node that starts with these files.
fn digest_of(conf: &str, files: Files) -> String {
    let mut w = Driver::with_files(conf, files);
    let c = w.connect();
    w.request(c, "DEBUG DIGEST")
}

fn manifest(w: &Driver) -> String {
    let text = String::from_utf8(w.files[MANIFEST].clone()).expect("a manifest is text");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("\n")
}

fn field(w: &mut Driver, c: Handle, name: &str) -> String {
    let info = w.request(c, "INFO persistence");
    let line = info.lines().find(|line| line.starts_with(&format!("{name}:")));
    line.and_then(|line| line.split(':').nth(1)).unwrap_or("absent").to_owned()
}

fn start(conf: &str) -> (Driver, Handle) {
    let mut w = Driver::new(conf);
    let c = w.connect();
    (w, c)
}

#[test]
fn a_write_is_acknowledged_when_it_is_on_disk() {
    let (mut w, c) = start(ALWAYS);
    w.appends.syncs_held = true;
    assert_eq!(w.request(c, "SET a 1"), "");
    assert_eq!(w.request(c, "GET b"), "", "replies keep their order");
    let lost = digest_of(ALWAYS, after_power_loss(&w));
    w.finish_syncs();
    assert_eq!(w.take(c), "+OK\r\n$-1\r\n");
    assert_ne!(digest_of(ALWAYS, after_power_loss(&w)), lost);
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn a_read_waits_for_what_it_shows_and_no_other_does() {
    let (mut w, c) = start(ALWAYS);
    let d = w.connect();
    w.request(c, "MSET a 1 b 1");
    w.appends.syncs_held = true;
    assert_eq!(w.request(c, "SET a 2"), "");
    assert_eq!(w.request(d, "GET b"), "$1\r\n1\r\n");
    assert_eq!(w.request(d, "GET a"), "", "the change of it can be lost");
    assert_eq!(w.request(d, "GET b"), "", "it is behind such a reply");
    let e = w.connect();
    assert_eq!(w.request(e, "DBSIZE"), "", "it shows all keys");
    w.finish_syncs();
    assert_eq!(w.take(d), "$1\r\n2\r\n$1\r\n1\r\n");
    assert_eq!((w.take(c), w.take(e)), ("+OK\r\n".to_owned(), ":2\r\n".to_owned()));
}

#[test]
fn messages_wait_for_the_changes_before_them() {
    let (mut w, c) = start(ALWAYS);
    let d = w.connect();
    w.request(d, "SUBSCRIBE news");
    w.appends.syncs_held = true;
    w.send(c, b"SET a 1\r\nPUBLISH news a\r\n");
    assert_eq!((w.take(c), w.take(d)), (String::new(), String::new()));
    w.finish_syncs();
    assert!(w.take(d).contains("$4\r\nnews\r\n$1\r\na\r\n"));
    assert_eq!(w.take(c), "+OK\r\n:1\r\n");
}

#[test]
fn a_transaction_is_there_as_a_whole_or_not_at_all() {
    let (mut w, c) = start(ALWAYS);
    w.request(c, "SET a 1");
    let before = w.request(c, "DEBUG DIGEST");
    let path = w.appends.paths()[0].to_owned();
    let start = w.files[&path].len();
    w.send(c, b"MULTI\r\nSET a 2\r\nSET b 2\r\nEXEC\r\n");
    assert!(w.take(c).ends_with("*2\r\n+OK\r\n+OK\r\n"));
    let after = w.request(c, "DEBUG DIGEST");
    let whole = w.files[&path].len();
    for len in start..=whole {
        let mut files = w.files.clone();
        files.get_mut(&path).expect("it is there").truncate(len);
        let expected = if len == whole { &after } else { &before };
        assert_eq!(&digest_of(ALWAYS, files), expected, "cut to {len} of {whole}");
    }
}

#[test]
fn everysec_waits_for_the_write_and_not_for_the_sync() {
    let (mut w, c) = start(EVERYSEC);
    w.appends.held = true;
    assert_eq!(w.request(c, "SET a 1"), "");
    w.do_appends(1);
    assert_eq!(w.take(c), "+OK\r\n");
    w.appends.held = false;
    let path = w.appends.paths()[0].to_owned();
    assert!(w.appends.synced[&path] < w.files[&path].len());
    w.advance_ms(1100);
    assert_eq!(w.appends.synced[&path], w.files[&path].len());
}

#[test]
fn an_idle_file_says_that_all_of_it_is_on_disk() {
    let (mut w, c) = start(ALWAYS);
    w.request(c, "SET a 1");
    let path = w.appends.paths()[0].to_owned();
    let len = w.files[&path].len();
    w.advance_ms(5000);
    let marked = w.files[&path].len();
    assert!(marked > len, "a line without a batch");
    w.advance_ms(5000);
    assert_eq!(w.files[&path].len(), marked, "once");
    // Damage of what was synced is no torn end.
    let mut files = w.files.clone();
    files.get_mut(&path).expect("it is there")[len - 3] ^= 1;
    let refused = Driver::with_files(ALWAYS, files);
    assert!(refused.log.iter().any(|line| line.contains("appendonly.aof.1.incr.aof")));
    assert_eq!(refused.exit, Some(1));
}

#[test]
fn each_effect_of_a_rewrite_is_in_one_of_the_files() {
    let (mut w, c) = start(ALWAYS);
    for key in 0..100 {
        w.request(c, &format!("SET key{key} {key}"));
    }
    w.snapshots.held = true;
    assert!(w.request(c, "BGREWRITEAOF").contains("rewriting started"));
    assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "1");
    assert!(
        w.request(c, "BGREWRITEAOF").starts_with("-ERR Background append only file rewriting a")
    );
    assert_eq!(w.request(c, "INCR counter"), ":1\r\n");
    assert_eq!(w.request(c, "DEL key7"), ":1\r\n");
    let during = w.request(c, "DEBUG DIGEST");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), during, "the former files have all of it");
    w.snapshots.held = false;
    w.deliver_saves();
    w.request(c, "INCR counter");
    w.advance_ms(100);
    assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "0");
    assert_eq!(
        manifest(&w),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i"
    );
    assert!(!w.files.contains_key("appendonlydir/appendonly.aof.1.incr.aof"), "history is removed");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn a_start_removes_history_when_it_has_synced_the_folder() {
    let old = "appendonlydir/appendonly.aof.1.incr.aof";
    let (mut w, c) = start(&format!("{ALWAYS}aof-disable-auto-gc yes\n"));
    w.request(c, "SET a 1");
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(100);
    assert!(manifest(&w).contains("appendonly.aof.1.incr.aof seq 1 type h"));
    let config = Config::parse_text(ALWAYS.as_bytes()).expect("a configuration").config;
    let boot = Boot { load: true, ..Boot::default() };
    let mut w = Driver::idle(config, boot, w.files.clone(), START);
    w.appends.held = true;
    w.advance_ms(100);
    assert!(w.appends.waiting() > 0, "the opening of the last file");
    assert!(w.files.contains_key(old), "the manifest that does not need it may not be on disk");
    w.do_appends(usize::MAX);
    w.advance_ms(100);
    assert!(!w.files.contains_key(old));
}

#[test]
fn a_base_of_commands_has_all_types_and_expiries() {
    let conf = format!("{ALWAYS}aof-use-rdb-preamble no\nhash-max-listpack-entries 4\n");
    let (mut w, c) = start(&conf);
    w.request(c, "SET a 1");
    w.request(c, "SET b 2 PXAT 99999999999999");
    w.request(c, "HSET small f v g w");
    w.request(c, "HPEXPIREAT small 99999999999999 FIELDS 1 f");
    for field in 0..200 {
        w.request(c, &format!("HSET large field{field} {field}"));
    }
    w.send(c, b"SELECT 3\r\nSET c 3\r\n");
    w.take(c);
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(100);
    let base = &w.files["appendonlydir/appendonly.aof.2.base.aof"];
    assert!(base.windows(9).any(|bytes| bytes == b"PEXPIREAT"));
    let incremental = &w.files["appendonlydir/appendonly.aof.2.incr.aof"];
    assert!(incremental.is_empty());
    assert_eq!(digest_of(&conf, w.files.clone()), w.request(c, "DEBUG DIGEST"));
}

/// So `check-aof --truncate-to-timestamp` knows of a base that it is too young.
#[test]
fn a_base_of_commands_begins_with_its_time() {
    let conf = format!("{ALWAYS}aof-use-rdb-preamble no\naof-timestamp-enabled yes\n");
    let (mut w, c) = start(&conf);
    w.request(c, "SET a 1");
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(2000);
    let base = String::from_utf8_lossy(&w.files["appendonlydir/appendonly.aof.2.base.aof"]);
    let (first, rest) = base.split_once("\r\n").expect("it has lines");
    assert!(first.starts_with("#TS:") && !rest.contains("#TS:"), "{base}");
    assert_eq!(digest_of(&conf, w.files.clone()), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn history_is_removed_when_that_is_switched_on_again() {
    let (mut w, c) = start(ALWAYS);
    w.request(c, "SET a 1");
    w.request(c, "CONFIG SET aof-disable-auto-gc yes");
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(100);
    assert_eq!(manifest(&w).matches(" type h").count(), 2, "{}", manifest(&w));
    assert!(w.files.contains_key("appendonlydir/appendonly.aof.1.base.rdb"));
    w.requests.held = true;
    w.request(c, "CONFIG SET aof-disable-auto-gc no");
    for _ in 0..3 {
        assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "1");
        w.answer();
        w.run();
    }
    assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "0");
    assert_eq!(
        manifest(&w),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i"
    );
    assert_eq!(w.files.len(), 3, "{:?}", w.files.keys());
}

#[test]
fn the_form_of_a_base_is_decided_when_the_rewrite_begins() {
    let (mut w, c) = start(EVERYSEC);
    w.request(c, "SET a 1");
    w.appends.held = true;
    w.request(c, "BGREWRITEAOF");
    w.request(c, "CONFIG SET aof-use-rdb-preamble no");
    w.appends.held = false;
    w.do_appends(usize::MAX);
    let base = &w.files["appendonlydir/appendonly.aof.2.base.rdb"];
    assert!(base.starts_with(b"REDIS"));
}

#[test]
fn growth_counts_from_the_base_after_a_start() {
    let (mut w, c) = start(EVERYSEC);
    w.request(c, "SET a 1");
    w.request(c, "BGREWRITEAOF");
    w.request(c, "SET a 2");
    let mut w = Driver::with_files(EVERYSEC, w.files.clone());
    let c = w.connect();
    let base = w.files["appendonlydir/appendonly.aof.2.base.rdb"].len();
    assert_eq!(field(&mut w, c, "aof_base_size"), base.to_string());
    assert_ne!(field(&mut w, c, "aof_current_size"), base.to_string());
}

#[test]
fn a_rewrite_that_fails_changes_nothing_and_is_tried_again() {
    let (mut w, c) = start(ALWAYS);
    w.request(c, "SET a 1");
    let files: Vec<String> = w.files.keys().cloned().collect();
    w.snapshots.fails_with = Some("No space left on device".to_owned());
    w.request(c, "BGREWRITEAOF");
    assert_eq!(field(&mut w, c, "aof_last_bgrewrite_status"), "err");
    assert_eq!(field(&mut w, c, "aof_rewrites_consecutive_failures"), "1");
    assert_eq!(w.files.keys().cloned().collect::<Vec<_>>(), files);
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n");
    w.snapshots.fails_with = None;
    w.request(c, "BGREWRITEAOF");
    w.advance_ms(100);
    assert_eq!(field(&mut w, c, "aof_last_bgrewrite_status"), "ok");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn what_is_safe_is_in_both_files_while_either_manifest_may_be_on_disk() {
    for is_replaced in [false, true] {
        let (mut w, c) = start(ALWAYS);
        w.request(c, "SET a 1");
        w.requests.fails_late = is_replaced;
        w.requests.fails_with = Some("Input/output error".to_owned());
        w.request(c, "BGREWRITEAOF");
        assert_eq!(field(&mut w, c, "aof_last_bgrewrite_status"), "err");
        assert_eq!(manifest(&w).contains("appendonly.aof.2.incr.aof"), is_replaced);
        w.appends.syncs_held = true;
        assert_eq!(w.request(c, "SET a 2"), "");
        w.finish_syncs();
        assert_eq!(w.take(c), "+OK\r\n");
        w.appends.syncs_held = false;
        let digest = w.request(c, "DEBUG DIGEST");
        assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), digest);
        w.advance_ms(3000);
        assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "1");
        w.requests.fails_with = None;
        w.advance_ms(8000);
        assert_eq!(field(&mut w, c, "aof_rewrite_in_progress"), "0");
        assert_eq!(field(&mut w, c, "aof_last_bgrewrite_status"), "ok");
        assert!(manifest(&w).contains("appendonly.aof.2.incr.aof"));
        assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), digest);
    }
}

#[test]
fn a_manifest_that_may_name_a_bad_file_is_replaced_by_the_present_one() {
    for is_replaced in [false, true] {
        let (mut w, c) = start(ALWAYS);
        let d = w.connect();
        w.request(c, "SET a 1");
        w.requests.fails_late = is_replaced;
        w.requests.fails_with = Some("Input/output error".to_owned());
        w.request(c, "BGREWRITEAOF");
        let next = "appendonlydir/appendonly.aof.2.incr.aof";
        w.appends.bad_path = Some(next.to_owned());
        assert_eq!(
            w.request(c, "SET a 2"),
            "",
            "a start may find the file that has it or the other one"
        );
        let refused = "-MISCONF Errors writing to the AOF file: Input/output error\r\n";
        assert_eq!(w.request(d, "SET b 1"), refused);
        w.advance_ms(3000);
        assert_eq!(w.take(c), "");
        w.requests.fails_with = None;
        w.advance_ms(10_000);
        assert_eq!(w.take(c), "+OK\r\n");
        assert_eq!(w.request(d, "SET b 1"), "+OK\r\n");
        let digest = w.request(c, "DEBUG DIGEST");
        assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), digest);
        w.request(c, "BGREWRITEAOF");
        w.advance_ms(100);
        assert!(manifest(&w).contains("appendonly.aof.3.incr.aof"), "the name is not used twice");
        assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), digest);
    }
}

#[test]
fn an_exit_leaves_everything_in_either_file_while_the_manifest_is_replaced() {
    let (mut w, c) = start(EVERYSEC);
    w.requests.held = true;
    w.request(c, "BGREWRITEAOF");
    let files = w.files.clone();
    w.send(c, b"SET a 1\r\nSHUTDOWN NOSAVE\r\n");
    assert_eq!(w.exit, Some(0));
    let digest = digest_of(EVERYSEC, w.files.clone());
    assert!(!w.requests.received.is_empty() && w.files != files);
    w.requests.held = false;
    w.answer();
    assert!(manifest(&w).contains("appendonly.aof.2.incr.aof"), "it was on its way");
    assert_eq!(digest_of(EVERYSEC, w.files.clone()), digest);
}

#[test]
fn the_file_is_rewritten_when_it_has_grown() {
    let conf = format!("{EVERYSEC}auto-aof-rewrite-min-size 10kb\n");
    let (mut w, c) = start(&conf);
    for round in 0..50 {
        w.request(c, &format!("SET a {round}"));
    }
    w.advance_ms(3000);
    assert_eq!(field(&mut w, c, "aof_rewrites"), "1", "that of the start: it is too small");
    for _ in 0..300 {
        w.request(c, "SET a 123456789012345678901234567890");
    }
    w.advance_ms(3000);
    assert_eq!(field(&mut w, c, "aof_rewrites"), "2");
    assert!(field(&mut w, c, "aof_current_size").parse::<u64>().is_ok_and(|size| size < 2000));
}

#[test]
fn after_a_failed_sync_nothing_is_safe_until_a_rewrite_has_everything_on_disk() {
    let (mut w, c) = start(ALWAYS);
    let d = w.connect();
    w.request(c, "SET a 1");
    w.appends.sync_errors.push_back("Input/output error".to_owned());
    w.snapshots.held = true;
    assert_eq!(w.request(c, "SET a 2"), "", "it may be lost");
    assert_eq!(w.request(d, "GET a"), "", "so may what is read of it");
    let e = w.connect();
    assert_eq!(w.request(e, "GET other"), "$-1\r\n");
    let refused = "-MISCONF Errors writing to the AOF file: Input/output error\r\n";
    assert_eq!(w.request(e, "SET b 1"), refused);
    assert_eq!(field(&mut w, e, "aof_last_write_status"), "err");
    w.advance_ms(1500);
    assert_eq!((w.take(c), w.take(d)), (String::new(), String::new()));
    w.snapshots.held = false;
    w.deliver_saves();
    w.advance_ms(100);
    assert_eq!((w.take(c), w.take(d)), ("+OK\r\n".to_owned(), "$1\r\n2\r\n".to_owned()));
    assert_eq!(w.request(e, "SET b 1"), "+OK\r\n");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(e, "DEBUG DIGEST"));
}

#[test]
fn a_full_disk_refuses_writes_and_recovers_without_a_restart() {
    let (mut w, c) = start(ALWAYS);
    let d = w.connect();
    w.request(c, "SET a 1");
    w.appends.write_fails_with = Some("No space left on device".to_owned());
    assert_eq!(w.request(c, "SET a 2"), "");
    let refused = "-MISCONF Errors writing to the AOF file: No space left on device\r\n";
    assert_eq!(w.request(d, "SET b 1"), refused);
    assert_eq!(w.request(d, "GET b"), "$-1\r\n");
    w.advance_ms(3000);
    assert_eq!(w.take(c), "");
    w.appends.write_fails_with = None;
    w.advance_ms(1100);
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(w.request(d, "SET b 1"), "+OK\r\n");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(d, "DEBUG DIGEST"));
}

#[test]
fn a_disk_that_is_too_slow_is_visible_and_then_refuses_writes() {
    let (mut w, c) = start(EVERYSEC);
    w.request(c, "SET a 1");
    w.appends.syncs_held = true;
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n");
    w.advance_ms(5000);
    assert_eq!(w.request(c, "SET a 3"), "+OK\r\n");
    assert!(field(&mut w, c, "aof_lag_us").parse::<u64>().is_ok_and(|lag| lag >= 4_000_000));
    assert_eq!(field(&mut w, c, "aof_pending_bio_fsync"), "1");
    w.advance_ms(8000);
    assert!(
        w.request(c, "SET a 4").starts_with("-MISCONF Errors writing to the AOF file: the disk is")
    );
    assert_eq!(w.request(c, "GET a"), "$1\r\n3\r\n");
    w.appends.syncs_held = false;
    w.finish_syncs();
    w.advance_ms(1100);
    assert_eq!(w.request(c, "SET a 4"), "+OK\r\n");
}

#[test]
fn it_is_switched_on_and_off_at_run_time() {
    let off = "appendonly no\nappendfsync always\nsave \"\"\nenable-debug-command yes\n";
    let (mut w, c) = start(off);
    let d = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "CONFIG SET appendonly yes"), "+OK\r\n");
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n", "nothing is promised before the base is there");
    assert!(!w.files.contains_key(MANIFEST));
    w.snapshots.held = false;
    w.deliver_saves();
    w.advance_ms(100);
    assert!(manifest(&w).contains("appendonly.aof.1.base.rdb"));
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
    w.appends.syncs_held = true;
    assert_eq!(w.request(c, "SET a 3"), "");
    assert_eq!(w.request(d, "CONFIG SET appendonly no"), "+OK\r\n");
    assert_eq!(w.take(c), "", "it was promised");
    w.finish_syncs();
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
    assert!(w.appends.paths().is_empty());
    w.appends.syncs_held = false;
    w.request(c, "SET a 4");
    w.request(c, "CONFIG SET appendonly yes");
    w.advance_ms(100);
    assert_eq!(
        manifest(&w),
        "file appendonly.aof.2.base.rdb seq 2 type b\nfile appendonly.aof.2.incr.aof seq 2 type i"
    );
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn what_was_changed_while_it_was_switched_on_is_shown_when_it_is_safe() {
    let (mut w, c) = start("appendonly no\nappendfsync always\nsave \"\"\n");
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    w.request(c, "CONFIG SET appendonly yes");
    (w.requests.held, w.snapshots.held) = (true, false);
    w.deliver_saves();
    w.advance_ms(100);
    assert!(w.requests.has_pending(), "the manifest is being written");
    w.appends.syncs_held = true;
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n", "nothing is promised yet");
    w.requests.held = false;
    w.answer();
    assert!(manifest(&w).contains("appendonly.aof.1.base.rdb"));
    assert_eq!(w.request(c, "GET a"), "", "a loss of power would take it back");
    w.finish_syncs();
    assert_eq!(w.take(c), "$1\r\n2\r\n");
}

#[test]
fn replies_wait_while_the_file_moves_to_another_folder() {
    let (mut w, c) = start(&format!("{ALWAYS}enable-protected-configs yes\n"));
    let d = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    assert_eq!(w.request(d, "CONFIG SET dir /data"), "+OK\r\n", "nothing changes");
    assert_eq!(w.request(d, "CONFIG SET dir /elsewhere"), "+OK\r\n");
    assert_eq!(w.request(c, "SET a 2"), "", "it is in no file yet");
    w.snapshots.held = false;
    w.deliver_saves();
    w.advance_ms(100);
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(w.request(c, "SET a 3"), "+OK\r\n");
    assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn the_former_file_is_on_disk_while_the_one_in_another_folder_is_begun() {
    let (mut w, c) = start(&format!("{EVERYSEC}enable-protected-configs yes\n"));
    w.request(c, "SET a 1");
    let digest = w.request(c, "DEBUG DIGEST");
    assert_ne!(digest_of(EVERYSEC, after_power_loss(&w)), digest, "the next sync is to come");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "CONFIG SET dir /elsewhere"), "+OK\r\n");
    assert_eq!(digest_of(EVERYSEC, after_power_loss(&w)), digest);
}

#[test]
fn a_base_alone_is_continued_before_its_history_is_removed() {
    for checksum in ["yes", "no"] {
        let conf = format!("{ALWAYS}aof-disable-auto-gc yes\naof-checksum {checksum}\n");
        let (mut w, c) = start(&conf);
        w.request(c, "SET a 1");
        w.request(c, "CONFIG SET appendonly no");
        w.request(c, "BGREWRITEAOF");
        w.advance_ms(100);
        assert!(manifest(&w).ends_with("type h"), "no incremental file");
        let mut w = Driver::with_files(&format!("{ALWAYS}aof-checksum {checksum}\n"), w.files);
        w.advance_ms(100);
        let c = w.connect();
        assert_eq!(w.request(c, "SET b 2"), "+OK\r\n");
        w.advance_ms(100);
        assert!(!w.files.contains_key("appendonlydir/appendonly.aof.1.incr.aof"));
        assert_eq!(digest_of(ALWAYS, after_power_loss(&w)), w.request(c, "DEBUG DIGEST"));
    }
}

#[test]
fn what_cannot_be_begun_is_switched_off_again() {
    let (mut w, c) = start("appendonly no\nsave \"\"\n");
    w.snapshots.fails_with = Some("No space left on device".to_owned());
    w.request(c, "CONFIG SET appendonly yes");
    w.advance_ms(100);
    assert!(w.request(c, "CONFIG GET appendonly").contains("no"));
    assert_eq!(w.request(c, "SET a 1"), "+OK\r\n");
    assert!(w.files.is_empty(), "{:?}", w.files.keys());
}

#[test]
fn an_old_single_file_becomes_the_base() {
    let text =
        b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n7\r\n".to_vec();
    let files = BTreeMap::from([("appendonly.aof".to_owned(), text)]);
    let mut w = Driver::with_files(ALWAYS, files);
    let c = w.connect();
    assert_eq!(w.request(c, "INCR a"), ":8\r\n");
    assert_eq!(
        manifest(&w),
        "file appendonly.aof seq 1 type b\nfile appendonly.aof.1.incr.aof seq 1 type i"
    );
    assert!(!w.files.contains_key("appendonly.aof"));
    let mut again = Driver::with_files(ALWAYS, after_power_loss(&w));
    let c = again.connect();
    assert_eq!(again.request(c, "GET a"), "$1\r\n8\r\n");
}

#[test]
fn an_upgrade_goes_on_after_a_crash_before_the_file_was_moved() {
    let text = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n7\r\n".to_vec();
    let manifest = b"file appendonly.aof seq 1 type b\n".to_vec();
    let files =
        BTreeMap::from([("appendonly.aof".to_owned(), text), (MANIFEST.to_owned(), manifest)]);
    let mut w = Driver::with_files(ALWAYS, files);
    let c = w.connect();
    assert_eq!(w.request(c, "GET a"), "$1\r\n7\r\n");
    assert!(w.files.contains_key("appendonlydir/appendonly.aof"));
}

#[test]
fn a_dump_is_loaded_where_there_is_no_append_only_file_yet() {
    let (mut w, c) = start("save \"\"\n");
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    let mut w = Driver::with_files(ALWAYS, w.files.clone());
    let c = w.connect();
    assert_eq!(w.request(c, "GET a"), "$1\r\n1\r\n");
    assert!(manifest(&w).contains("base.rdb"));
}

#[test]
fn debug_loadaof_loads_what_is_written() {
    let (mut w, c) = start(EVERYSEC);
    w.request(c, "MSET a 1 b 2");
    w.send(c, b"MULTI\r\nINCR a\r\nDEL b\r\nEXEC\r\n");
    w.take(c);
    let before = w.request(c, "DEBUG DIGEST");
    assert_eq!(w.request(c, "DEBUG LOADAOF"), "+OK\r\n");
    assert_eq!(w.request(c, "DEBUG DIGEST"), before);
    assert_eq!(w.request(c, "INCR a"), ":3\r\n");
    assert_eq!(digest_of(EVERYSEC, w.files.clone()), w.request(c, "DEBUG DIGEST"));
}

#[test]
fn waitaof_waits_for_the_disk_of_this_server() {
    let (mut w, c) = start(EVERYSEC);
    let d = w.connect();
    assert_eq!(w.request(d, "WAITAOF 1 0 0"), "*2\r\n:1\r\n:0\r\n", "it has written nothing");
    assert_eq!(w.request(c, "SET a 1"), "+OK\r\n");
    assert_eq!(w.request(c, "WAITAOF 1 0 0"), "");
    w.advance_ms(1100);
    assert_eq!(w.take(c), "*2\r\n:1\r\n:0\r\n");
    w.request(c, "SET a 2");
    assert_eq!(w.request(c, "WAITAOF 1 0 200"), "");
    w.appends.syncs_held = true;
    w.advance_ms(300);
    assert_eq!(w.take(c), "*2\r\n:0\r\n:0\r\n");
    assert_eq!(w.request(c, "WAITAOF 1 0 0"), "");
    w.request(d, "CONFIG SET appendonly no");
    assert!(w.take(c).starts_with("-ERR WAITAOF cannot be used when numlocal is set"));
    assert!(w.request(d, "WAITAOF 1 0 0").starts_with("-ERR WAITAOF cannot be used"));
    assert!(w.request(d, "WAITAOF 2 0 0").starts_with("-ERR value is out of range"));
}

#[test]
fn what_is_written_before_the_exit_is_on_disk_after_it() {
    let (mut w, c) = start(EVERYSEC);
    w.request(c, "SET a 1");
    let digest = w.request(c, "DEBUG DIGEST");
    w.request(c, "SHUTDOWN NOSAVE");
    assert_eq!(w.exit, Some(0));
    assert_eq!(digest_of(EVERYSEC, after_power_loss(&w)), digest);
}
