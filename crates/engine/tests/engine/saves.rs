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

#[test]
fn keys_are_counted_as_saved_when_they_are_written() {
    let mut w = Driver::new("save \"\"\nrdb-key-save-delay 1000\n");
    let c = w.connect();
    for key in 0..200 {
        w.request(c, &format!("SET key{key} {}", "x".repeat(900)));
    }
    w.snapshots.hangs = true;
    assert_eq!(w.request(c, "BGSAVE"), "+Background saving started\r\n");
    // With the delay, the walk waits for each of its chunks.
    let info = w.request(c, "INFO persistence");
    assert!(info.contains("current_save_keys_processed:0\r\n"), "{info}");
    assert!(info.contains("current_save_keys_total:200\r\n"), "{info}");
    let snapshot = |w: &Driver| {
        let first = w.node.parts.saves.snapshots.iter().next();
        first.map(|one| (one.job, one.ahead_bytes(), one.keys_done, one.is_walking()))
    };
    let (job, ahead, ..) = snapshot(&w).expect("it runs");
    assert!((60_000..160_000).contains(&ahead), "one chunk, and a part of the next: {ahead}");
    // An overwritten key is copied before, and what is copied counts until it is written.
    w.request(c, "FLUSHDB");
    let (_, more, ..) = snapshot(&w).expect("it runs");
    assert!(more >= ahead, "{more}");
    w.snapshots.hangs = false;
    let event = russet_engine::io::SnapshotEvent::Consumed(72 * 1024);
    w.input(Input::Snapshot { job, event });
    let info = w.request(c, "INFO persistence");
    assert!(info.contains("rdb_bgsave_in_progress:0") && info.contains("rdb_saves:1"), "{info}");
    let peak = info.lines().find_map(|line| line.strip_prefix("rdb_last_cow_size:"));
    assert!(peak.expect("a field").parse::<u64>().expect("a number") >= ahead, "{info}");
    assert!(keys_after_a_crash(&w).starts_with("*200\r\n"));
}

#[test]
fn bgsave_cancel_gives_up_a_save_in_the_background() {
    let (mut w, c) = saving("save \"\"\n");
    w.request(c, "SET new 1");
    assert_eq!(w.request(c, "BGSAVE CANCEL"), "+Background saving cancelled\r\n");
    assert_eq!(running(&w), 0);
    let none = "-ERR Background saving is currently not in progress or scheduled\r\n";
    assert_eq!(w.request(c, "BGSAVE CANCEL"), none);
    let info = w.request(c, "INFO persistence");
    assert!(info.contains("rdb_last_bgsave_status:ok") && info.contains("rdb_saves:1"), "{info}");
    assert!(info.contains("rdb_changes_since_last_save:1"), "{info}");
    assert!(keys_after_a_crash(&w).starts_with("*40\r\n"), "the file of before");
    // A save that a client waits for is not in the background.
    w.snapshots.held = true;
    let d = w.connect();
    assert_eq!(w.request(d, "SAVE"), "");
    assert_eq!(w.request(c, "BGSAVE CANCEL"), none);
    w.deliver_saves();
    assert_eq!(w.take(d), "+OK\r\n");
    // What BGSAVE in EXEC schedules can be cancelled before it begins.
    w.send(c, b"MULTI\r\nBGSAVE\r\nBGSAVE CANCEL\r\nEXEC\r\n");
    let replies = w.take(c);
    assert!(
        replies.ends_with("scheduled\r\n+Scheduled background saving cancelled\r\n"),
        "{replies}"
    );
    w.advance_ms(1000);
    assert_eq!((running(&w), w.node.parts.saves.count), (0, 2));
}

#[test]
fn a_failed_shutdown_leaves_the_server_as_it_was() {
    let mut w = Driver::new("save 3600 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.fails_with = Some("No space left on device".to_owned());
    let failed = "-ERR Errors trying to SHUTDOWN. Check logs.\r\n";
    assert_eq!(w.request(c, "SHUTDOWN"), failed);
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n", "writes are served as before");
    let last = w.log.iter().rev().take(2).cloned().collect::<Vec<_>>();
    assert!(last[0].starts_with("Errors trying to shut down the server."), "{last:?}");
    assert_eq!(last[1], "Error trying to save the DB, can't exit.");
    // A failed BGSAVE is not forgotten by it.
    assert_eq!(w.request(c, "BGSAVE"), "+Background saving started\r\n");
    assert_eq!(w.request(c, "SHUTDOWN"), failed);
    assert!(w.request(c, "SET a 3").starts_with("-MISCONF"));
    assert_eq!(w.request(c, "SHUTDOWN FORCE"), "");
    assert_eq!(w.exit, Some(0), "in spite of the failed save");
}

#[test]
fn shutdown_during_a_save_of_another_beginning() {
    // Saved again with what was written since, or not at all.
    for (words, keys) in
        [("SHUTDOWN", "*41\r\n"), ("SHUTDOWN SAVE", "*41\r\n"), ("SHUTDOWN NOSAVE NOW", "*40\r\n")]
    {
        let (mut w, c) = saving("save 3600 1\n");
        w.request(c, "SET new 1");
        w.request(c, words);
        w.deliver_saves();
        assert_eq!(w.exit, Some(0), "{words}");
        assert!(keys_after_a_crash(&w).starts_with(keys), "{words}");
    }
    // ABORT stops the final save, which takes the one before with it.
    let (mut w, c) = saving("save 3600 1\n");
    let d = w.connect();
    assert_eq!(w.request(c, "SHUTDOWN"), "");
    assert_eq!(w.request(d, "SHUTDOWN ABORT"), "+OK\r\n");
    assert_eq!(w.take(c), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert_eq!(w.request(d, "SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
    w.deliver_saves();
    assert_eq!(w.exit, None);
    assert_eq!(w.request(d, "SET new 1"), "+OK\r\n");
}

#[test]
fn a_signal_waits_for_the_cron_which_a_test_may_pause() {
    let mut w = Driver::new("save \"\"\nenable-debug-command yes\n");
    let c = w.connect();
    w.request(c, "DEBUG PAUSE-CRON 1");
    w.input(Input::Signal(Signal::Terminate));
    w.advance_ms(1000);
    assert_eq!(w.request(c, "SHUTDOWN ABORT"), "+OK\r\n");
    assert_eq!(w.log.last().map(String::as_str), Some("Shutdown manually aborted."));
    w.request(c, "DEBUG PAUSE-CRON 0");
    w.advance_ms(1000);
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
    w.request(c, "DEBUG PAUSE-CRON 1");
    w.input(Input::Signal(Signal::Interrupt));
    w.request(c, "DEBUG PAUSE-CRON 0");
    w.advance_ms(1000);
    assert_eq!(w.exit, Some(0));
}

/// Only FORCE exits while the append-only file lacks a part of the data: the next start would load it.
#[test]
fn no_shutdown_while_the_first_base_is_written() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.held = true;
    assert_eq!(w.request(c, "CONFIG SET appendonly yes"), "+OK\r\n");
    assert_eq!(w.request(c, "SHUTDOWN"), "-ERR Errors trying to SHUTDOWN. Check logs.\r\n");
    assert!(w.log.iter().any(|line| line == "Writing initial AOF, can't exit."), "{:?}", w.log);
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n");
    assert_eq!(w.request(c, "SHUTDOWN FORCE"), "");
    assert!(w.log.iter().any(|line| line == "Writing initial AOF. Exit anyway."), "{:?}", w.log);
    assert_eq!(w.exit, Some(0));
}

#[test]
fn bgsave_beside_other_snapshots() {
    let mut w = Driver::new("save \"\"\nrepl-diskless-sync-delay 0\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    let first = w.request(c, "LASTSAVE");
    w.snapshots.held = true;
    w.request(c, "CONFIG SET appendonly yes");
    let info = |w: &mut Driver| w.request(c, "INFO persistence");
    assert!(info(&mut w).contains("rdb_bgsave_in_progress:0"), "it writes another file");
    // Redis refuses it until the rewrite has ended; here they run beside each other.
    assert_eq!(w.request(c, "BGSAVE"), "+Background saving started\r\n");
    assert!(info(&mut w).contains("rdb_bgsave_in_progress:1"));
    for words in ["BGSAVE", "BGSAVE SCHEDULE", "SAVE"] {
        assert_eq!(w.request(c, words), "-ERR Background save already in progress\r\n", "{words}");
    }
    assert_eq!(w.request(c, "BGSAVE X"), "-ERR syntax error\r\n");
    w.advance_ms(2000);
    assert_eq!(w.request(c, "LASTSAVE"), first);
    w.deliver_saves();
    assert_eq!(w.request(c, "LASTSAVE"), ":1700000002\r\n");
    assert!(info(&mut w).contains("rdb_bgsave_in_progress:0"));
}
