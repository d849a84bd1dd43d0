//! When a save begins, what it contains, and which replies wait for it.

use russet_driver::Driver;
use russet_engine::io::{Handle, Input, Signal};

/// Starts a node with keys of a mebibyte in its dump file, of which a running BGSAVE has copied a part.
fn saving(conf: &str) -> (Driver, Handle) {
    let mut w = Driver::new(conf);
    let c = w.connect();
    for key in 0..40 {
        w.request(c, &format!("SETRANGE key{key} 1048575 x"));
    }
    assert_eq!(w.request(c, "SAVE"), "+OK\r\n");
    w.snapshots.hangs = true;
    assert_eq!(w.request(c, "BGSAVE"), "+Background saving started\r\n");
    w.snapshots.hangs = false;
    let info = w.request(c, "INFO persistence");
    assert!(info.contains("rdb_bgsave_in_progress:1") && !info.contains("save_keys_processed:40"));
    w.snapshots.held = true;
    (w, c)
}

/// Returns the keys of a node that starts with the files of this one, as after `kill -9`.
fn keys_after_a_crash(w: &Driver) -> String {
    let mut after = Driver::with_files("", w.files.clone());
    let c = after.connect();
    after.request(c, "KEYS *")
}

/// The number of snapshots that are running.
fn running(w: &Driver) -> usize {
    w.node.parts.saves.snapshots.len()
}

#[test]
fn flushall_replies_when_the_flushed_keys_cannot_return() {
    let (mut w, c) = saving("save 3600 1\n");
    assert_eq!(w.request(c, "FLUSHALL"), "", "the save has not ended");
    let d = w.connect();
    assert_eq!(w.request(d, "DBSIZE"), ":0\r\n", "nobody else waits");
    w.deliver_saves();
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(keys_after_a_crash(&w), "*0\r\n");
    // The save that was given up counts neither as failed nor as done.
    w.snapshots.held = false;
    w.advance_ms(10_000);
    let info = w.request(c, "INFO persistence");
    assert!(info.contains("rdb_last_bgsave_status:ok") && info.contains("rdb_saves:2"), "{info}");
    assert!(info.contains("rdb_changes_since_last_save:0"), "{info}");
}

#[test]
fn without_save_points_flushall_gives_up_the_running_save_only() {
    let (mut w, c) = saving("save \"\"\n");
    assert_eq!(w.request(c, "FLUSHALL"), "+OK\r\n");
    assert_eq!(running(&w), 0);
    assert!(w.request(c, "INFO persistence").contains("rdb_last_bgsave_status:ok"));
    // As in Redis, an earlier dump file stays.
    assert!(keys_after_a_crash(&w).starts_with("*40\r\n"));
}

#[test]
fn a_save_of_another_client_fails_if_flushall_gives_it_up() {
    let mut w = Driver::new("save 3600 1\n");
    let (c, d) = (w.connect(), w.connect());
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "SAVE"), "");
    assert_eq!(w.request(d, "FLUSHALL"), "");
    assert!(w.take(c).starts_with("-ERR FLUSHALL deleted"), "its keys are gone");
    w.deliver_saves();
    assert_eq!(w.take(d), "+OK\r\n");
}

#[test]
fn each_flushall_waits_for_a_save_of_its_own_deletions() {
    let mut w = Driver::new("save 3600 1\n");
    let (c, d, e) = (w.connect(), w.connect(), w.connect());
    w.snapshots.held = true;
    assert_eq!(w.request(c, "FLUSHALL"), "");
    // It deletes nothing: the running save has all that it needs.
    assert_eq!(w.request(d, "FLUSHALL"), "");
    w.request(e, "SET a 1");
    assert_eq!(w.request(e, "FLUSHALL"), "");
    assert_eq!(running(&w), 1);
    w.deliver_saves();
    assert_eq!([w.take(c), w.take(d), w.take(e)], ["+OK\r\n", "+OK\r\n", "+OK\r\n"]);
    assert_eq!(w.node.parts.saves.count, 1, "the others were given up");
}

#[test]
fn exec_with_a_flushall_replies_when_the_flushed_keys_cannot_return() {
    let mut w = Driver::new("save 3600 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    w.snapshots.held = true;
    w.send(c, b"MULTI\r\nSET b 1\r\nFLUSHALL\r\nSET c 1\r\nEXEC\r\nPING\r\n");
    let before = "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n*3\r\n+OK\r\n";
    assert_eq!(w.take(c), before, "the reply of FLUSHALL and all behind it wait");
    w.deliver_saves();
    assert_eq!(w.take(c), "+OK\r\n+OK\r\n+PONG\r\n");
    assert_eq!(keys_after_a_crash(&w), "*1\r\n$1\r\nc\r\n", "all of EXEC is saved, as a whole");
}

#[test]
fn a_flushall_of_the_master_is_saved() {
    let (mut w, link) = russet_driver::peers::replica("save 3600 1\n", &["old"]);
    let c = w.connect();
    w.request(c, "SAVE");
    w.send(link, b"*1\r\n$8\r\nFLUSHALL\r\n");
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
    assert_eq!(keys_after_a_crash(&w), "*0\r\n");
}

#[test]
fn a_failed_save_after_flushall_refuses_further_writes() {
    let mut w = Driver::new("save 3600 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.errors.push_back("No space left on device".to_owned());
    // As in Redis the keys are gone all the same.
    assert_eq!(w.request(c, "FLUSHALL"), "+OK\r\n");
    assert!(w.request(c, "SET a 1").starts_with("-MISCONF"));
}

#[test]
fn flushall_is_saved_after_a_cancelled_shutdown() {
    let mut w = Driver::new("save 3600 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.request(c, "SAVE");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "FLUSHALL"), "");
    // Its final save gives that of FLUSHALL up, and fails.
    w.snapshots.errors.push_back("No space left on device".to_owned());
    w.input(Input::Signal(Signal::Terminate));
    w.deliver_saves();
    assert_eq!((w.exit, running(&w)), (None, 1));
    w.deliver_saves();
    assert_eq!(w.take(c), "+OK\r\n");
    assert_eq!(keys_after_a_crash(&w), "*0\r\n");
}

/// Starts a node in the middle of an EXEC that waits for the answer to a request.
fn mid_exec(request: &str) -> (Driver, Handle) {
    let mut w = Driver::new("save 1 1\nenable-protected-configs yes\n");
    let c = w.connect();
    w.requests.held = true;
    for line in ["MULTI", "SET a 1", request, "SET b 1", "EXEC"] {
        w.request(c, line);
    }
    w.advance_ms(5000);
    assert!(w.files.is_empty() && running(&w) == 0, "no save point is reached before it ends");
    (w, c)
}

#[test]
fn a_save_point_is_reached_between_transactions() {
    for request in ["CONFIG REWRITE", "CONFIG SET dir /elsewhere"] {
        let (mut w, _) = mid_exec(request);
        w.answer();
        w.advance_ms(1000);
        assert!(keys_after_a_crash(&w).starts_with("*2\r\n"), "{request}");
    }
}

#[test]
fn a_shutdown_during_exec_saves_all_of_it() {
    for request in ["CONFIG REWRITE", "CONFIG SET dir /elsewhere"] {
        let (mut w, c) = mid_exec(request);
        w.input(Input::Signal(Signal::Terminate));
        w.advance_ms(1000);
        assert!(w.exit.is_none() && w.files.is_empty(), "{request}");
        w.answer();
        assert_eq!(w.exit, Some(0), "{request}");
        assert!(keys_after_a_crash(&w).starts_with("*2\r\n"), "{request}");
        assert_eq!(w.take(c), "+OK\r\n+OK\r\n", "its EXEC is answered first");
    }
}

#[test]
fn a_shutdown_during_config_set_saves_by_the_settings_after_it() {
    let mut w = Driver::new("save 3600 1\nenable-protected-configs yes\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    (w.requests.held, w.requests.fails_with) = (true, Some("no such folder".to_owned()));
    w.request(c, "CONFIG SET dir /nowhere dbfilename other.rdb");
    w.input(Input::Signal(Signal::Terminate));
    assert!(w.exit.is_none() && w.files.is_empty());
    while w.exit.is_none() {
        w.answer();
    }
    assert_eq!(w.files.keys().collect::<Vec<_>>(), ["dump.rdb"], "the change has failed");
}

#[test]
fn bgsave_in_exec_begins_after_it() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    for line in ["MULTI", "SET a 1", "BGSAVE", "SET b 1"] {
        w.request(c, line);
    }
    assert_eq!(w.request(c, "SAVE"), "-ERR Command not allowed inside a transaction\r\n");
    w.request(c, "DISCARD");
    for line in ["MULTI", "SET a 1", "BGSAVE", "SET b 1"] {
        w.request(c, line);
    }
    assert_eq!(w.request(c, "EXEC"), "*3\r\n+OK\r\n+Background saving scheduled\r\n+OK\r\n");
    w.advance_ms(1000);
    assert!(keys_after_a_crash(&w).starts_with("*2\r\n"));
}
