//! Full synchronizations on a master: slow readers, concurrent ones, files that change, shutdown.

use russet_driver::Driver;
use russet_driver::peers::{attach, command, replica};
use russet_engine::io::{FileEvent, Handle, Input};

const BY_FILE: &str = "save \"\"\nrepl-timeout 10\nrepl-diskless-sync no\nrdbcompression no\n";
const STREAMED: &str =
    "save \"\"\nrepl-timeout 10\nrepl-diskless-sync-delay 0\nrdbcompression no\n";

/// Connects a future replica.
fn connect(w: &mut Driver) -> Handle {
    let r = w.connect();
    w.request(r, "REPLCONF capa eof capa psync2");
    r
}

/// Connects a replica that requests a full synchronization and reads this number of bytes.
fn request_sync(w: &mut Driver, read_limit: usize) -> Handle {
    let r = connect(w);
    w.set_read_limit(r, Some(read_limit));
    w.send(r, b"PSYNC ? -1\r\n");
    r
}

fn state(w: &mut Driver, c: Handle, replica: usize) -> String {
    let info = w.request(c, "INFO replication");
    let line = info.lines().find_map(|l| l.strip_prefix(&format!("slave{replica}:")));
    let field = line.and_then(|l| l.split(',').find_map(|f| f.strip_prefix("state=")));
    field.unwrap_or("none").to_owned()
}

fn fill(w: &mut Driver, c: Handle, keys: usize, bytes: usize) {
    for key in 0..keys {
        w.send(c, &command(&["SET", &format!("key:{key}"), &"x".repeat(bytes)]));
    }
    w.take(c);
}

#[test]
fn a_payload_may_take_longer_than_any_timeout() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        fill(&mut w, c, 10, 100);
        let r = request_sync(&mut w, 10);
        for _ in 0..40 {
            w.raise_read_limit(r, 10);
            w.advance_ms(1000);
            assert_eq!(state(&mut w, c, 0), "send_bulk");
        }
        w.raise_read_limit(r, 1 << 20);
        assert_eq!(state(&mut w, c, 0), "online");
        // It may load for any time while it sends newlines.
        for _ in 0..30 {
            w.advance_ms(1000);
            w.send(r, b"\n");
        }
        assert_eq!(w.closed, []);
        w.request(r, "REPLCONF ACK 0");
        w.take(r);
        w.request(c, "SET last 1");
        assert!(w.take(r).ends_with("last\r\n$1\r\n1\r\n"));
        for _ in 0..12 {
            w.advance_ms(1000);
        }
        assert_eq!(w.closed, [r], "but now it is silent");
    }
}

#[test]
fn a_replica_that_sends_but_does_not_read_is_disconnected() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let r = request_sync(&mut w, 20);
        for _ in 0..9 {
            w.advance_ms(1000);
            w.send(r, b"\n");
        }
        assert_eq!(w.closed, []);
        for _ in 0..5 {
            w.advance_ms(1000);
            w.send(r, b"\n");
        }
        assert_eq!(w.closed, [r]);
    }
}

#[test]
fn a_slow_replica_does_not_delay_a_later_one() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        let slow = request_sync(&mut w, 5);
        let quick = request_sync(&mut w, 1 << 20);
        assert!(w.take(quick).starts_with("+FULLRESYNC"), "{conf}");
        assert_eq!(
            (state(&mut w, c, 0), state(&mut w, c, 1)),
            ("send_bulk".into(), "online".into())
        );
        assert_eq!(w.take(slow), "+FULL");
    }
}

#[test]
fn files_are_read_concurrently() {
    let mut w = Driver::new(BY_FILE);
    w.reads.held = true;
    let c = w.connect();
    w.request(c, "SET a first");
    let first = request_sync(&mut w, 1 << 20);
    w.deliver_reads(1);
    w.request(c, "SET a other");
    let second = request_sync(&mut w, 1 << 20);
    assert_eq!(w.reads.paths.len(), 2);
    w.deliver_reads(1000);
    let (one, two) = (w.take(first), w.take(second));
    assert!(one.contains("first") && !one.contains("\u{5}other"), "{one:?}");
    assert!(two.contains("other") && !two.contains("first"), "{two:?}");
}

#[test]
fn pieces_of_a_file_are_requested_as_outboxes_drain() {
    let mut w = Driver::new(BY_FILE);
    (w.reads.held, w.reads.piece_bytes) = (true, 1 << 20);
    let c = w.connect();
    fill(&mut w, c, 20, 1 << 20);
    let r = request_sync(&mut w, 100);
    w.deliver_reads(1 + 12);
    let before = w.reads.more;
    assert!((7..=9).contains(&before), "{before} pieces are enough for now");
    w.raise_read_limit(r, 6 << 20);
    assert_eq!(w.reads.more, 12, "all pieces are requested without a timer");
}

#[test]
fn the_file_sent_is_that_of_the_save() {
    let conf = format!("{BY_FILE}enable-protected-configs yes\n");
    let mut w = Driver::new(&conf);
    w.snapshots.held = true;
    let c = w.connect();
    request_sync(&mut w, 1 << 20);
    for line in ["CONFIG SET dbfilename other.rdb", "CONFIG SET dir /elsewhere"] {
        assert_eq!(w.request(c, line), "+OK\r\n");
    }
    w.deliver_saves();
    assert_eq!(w.reads.paths, ["/data/dump.rdb"]);

    // A later save may have replaced it before it was opened.
    let mut w = Driver::new(BY_FILE);
    w.reads.held = true;
    let c = w.connect();
    let r = request_sync(&mut w, 1 << 20);
    w.request(c, "SET a 1");
    w.request(c, "BGSAVE");
    w.deliver_reads(100);
    assert_eq!(w.closed, [r]);
}

#[test]
fn a_synchronization_after_the_masters_flushall_begins_behind_it() {
    let (mut w, link) = replica(BY_FILE, &["a"]);
    w.snapshots.held = true;
    let first = request_sync(&mut w, 1 << 20);
    w.send(link, &command(&["SET", "b", "1"]));
    let second = request_sync(&mut w, 1 << 20);
    assert_eq!(w.take(second), "", "it waits for the end of the running save");
    w.send(link, &command(&["FLUSHALL"]));
    assert_eq!(w.closed, [first], "its save is given up");
    let offset = w.node.parts.master.stream.offset();
    let reply = w.take(second);
    let begins_at = reply.trim().rsplit(' ').next();
    assert_eq!(begins_at, Some(&*offset.to_string()), "{reply}");
}

#[test]
fn a_file_with_a_changed_length_closes_the_link() {
    for longer in [false, true] {
        let mut w = Driver::new(BY_FILE);
        w.reads.held = true;
        let r = request_sync(&mut w, 1 << 20);
        w.deliver_reads(1);
        let first = w.reads.held_events.front_mut();
        let Some(Input::File { event: FileEvent::Bytes(bytes), .. }) = first else {
            panic!("the file has bytes")
        };
        if longer {
            bytes.push(b'x');
        } else {
            bytes.pop();
        }
        w.deliver_reads(100);
        assert_eq!(w.closed, [r]);
        assert!(w.log.iter().any(|l| l.starts_with("Read error sending DB to replica")));
    }
}

#[test]
fn waiting_replicas_do_not_prevent_the_final_save() {
    for abort in [false, true] {
        let mut w = Driver::new("save 900 1\nrepl-diskless-sync no\n");
        w.snapshots.held = true;
        let (c, d) = (w.connect(), w.connect());
        let first = request_sync(&mut w, 1 << 20);
        let second = request_sync(&mut w, 1 << 20);
        w.request(c, "SHUTDOWN");
        assert_eq!(w.closed, [first], "its save is given up");
        assert_eq!(w.take(second), "");
        if abort {
            assert_eq!(w.request(d, "SHUTDOWN ABORT"), "+OK\r\n");
            w.deliver_saves();
            w.advance_ms(200);
            w.deliver_saves();
            assert!(w.take(second).trim_start().starts_with("+FULLRESYNC"));
        } else {
            w.advance_ms(2000);
            w.deliver_saves();
            assert_eq!(w.exit, Some(0));
        }
    }
}

#[test]
fn the_output_limit_applies_to_the_stream_only() {
    let limit = |max: &str| format!("{BY_FILE}client-output-buffer-limit replica {max} 0 0\n");
    let mut w = Driver::new(&format!("{}repl-backlog-size 16kb\n", limit("1mb")));
    let c = w.connect();
    w.reads.piece_bytes = 1 << 16;
    fill(&mut w, c, 3, 1 << 20);
    let r = request_sync(&mut w, 100);
    w.advance_ms(1000);
    assert_eq!(w.closed, [], "three times as much of the payload waits");
    fill(&mut w, c, 2, 1 << 19);
    w.advance_ms(1000);
    assert_eq!(w.closed, [r]);
    // A limit below the backlog's size must not close a replica that has just received it.
    let mut w = Driver::new(&format!("{}repl-backlog-size 1mb\n", limit("100kb")));
    let c = w.connect();
    let r = attach(&mut w);
    w.set_read_limit(r, Some(0));
    fill(&mut w, c, 5, 100 << 10);
    assert_eq!(w.closed, []);
    fill(&mut w, c, 6, 100 << 10);
    assert_eq!(w.closed, [r]);
}

/// Requests a partial synchronization from this offset on.
fn request_partial(w: &mut Driver, from: i64, read_limit: Option<usize>) -> Handle {
    let id = w.node.parts.master.stream.ids.id.clone();
    let r = connect(w);
    w.set_read_limit(r, read_limit);
    w.send(r, format!("PSYNC {id} {from}\r\n").as_bytes());
    r
}

#[test]
fn a_command_beyond_the_output_limit_reaches_the_replica_by_a_full_synchronization() {
    let mut w = Driver::new(&format!("{STREAMED}client-output-buffer-limit replica 2mb 0 0\n"));
    let c = w.connect();
    let mut r = attach(&mut w);
    w.request(c, "SET a 1");
    let next = w.node.parts.master.stream.offset() + 1;
    w.send(c, &command(&["SET", "v", &"x".repeat(2_200_000)]));
    assert_eq!(w.closed, [r]);
    for attempt in 0.. {
        r = request_partial(&mut w, next, None);
        if !w.closed.contains(&r) {
            break;
        }
        assert!(attempt < 3, "each partial synchronization fails as the one before");
    }
    let got = w.take(r);
    assert!(got.starts_with("+FULLRESYNC"), "{:?}", &got[..60]);
    assert!(got.len() > 2_200_000);
}

#[test]
fn a_partial_synchronization_is_never_too_long_for_the_output_limit() {
    for limit in ["100kb 0 0", "0 50kb 2"] {
        let conf = format!("{STREAMED}client-output-buffer-limit replica {limit}\n");
        let mut w = Driver::new(&format!("{conf}repl-backlog-size 100kb\n"));
        let c = w.connect();
        let r = attach(&mut w);
        w.set_read_limit(r, None);
        // The oldest block of the backlog is kept whole.
        fill(&mut w, c, 6, 70_000);
        let backlog = w.node.parts.master.stream.backlog.as_ref().unwrap();
        let (first, len) = (backlog.first_offset(), backlog.len());
        assert!(len > 100 << 10);
        let slow = request_partial(&mut w, first, Some(10));
        w.advance_ms(4000);
        assert!(!w.closed.contains(&slow), "{limit}");
        w.raise_read_limit(slow, 1 << 20);
        assert!(w.take(slow).len() > len);
    }
}

#[test]
fn a_replica_that_reads_a_little_does_not_hold_up_others() {
    const PAYLOAD: usize = 20 << 20;
    let mut w = Driver::new(&STREAMED.replace("sync-delay 0", "sync-delay 1"));
    let c = w.connect();
    fill(&mut w, c, 20, 1 << 20);
    let (slow, quick) = (request_sync(&mut w, 100), request_sync(&mut w, 100 << 20));
    let mut seconds = 0;
    let mut got = 0;
    while got < PAYLOAD && seconds < 100 {
        w.raise_read_limit(slow, 1);
        w.advance_ms(1000);
        seconds += 1;
        got += w.take(quick).len();
    }
    assert!(got > PAYLOAD, "{got} bytes after {seconds} seconds");
    assert!(seconds < 10, "before the others time out, not after {seconds} seconds");
    assert_eq!(w.closed, [slow]);
    assert!(w.log.iter().any(|l| l.contains("bytes a second")), "{:?}", w.log);
    w.request(quick, "REPLCONF ACK 0");
    assert_eq!(state(&mut w, c, 0), "online");
    let next = request_sync(&mut w, 100 << 20);
    w.advance_ms(2000);
    assert!(w.take(next).len() > PAYLOAD);
}

#[test]
fn a_replica_that_reads_a_little_of_a_long_payload_is_disconnected() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        w.reads.piece_bytes = 1 << 18;
        fill(&mut w, c, 20, 1 << 20);
        // This one is slow, but not that slow.
        let patient = request_sync(&mut w, 100);
        for _ in 0..40 {
            w.raise_read_limit(patient, 20_000);
            w.advance_ms(1000);
        }
        assert_eq!(w.closed, [], "{conf}");
        w.disconnect(patient);
        let slow = request_sync(&mut w, 100);
        for _ in 0..9 {
            w.raise_read_limit(slow, 1);
            w.advance_ms(1000);
        }
        assert_eq!(w.closed, [], "alone it has the whole time");
        for _ in 0..4 {
            w.raise_read_limit(slow, 1);
            w.advance_ms(1000);
        }
        assert_eq!(w.closed, [slow], "{conf}");
        assert!(w.node.parts.saves.snapshots.is_empty(), "nothing old is kept for it");
    }
}

#[test]
fn a_replica_that_used_sync_need_not_acknowledge() {
    let mut w = Driver::new(BY_FILE);
    let c = w.connect();
    let r = w.connect();
    assert!(w.request(r, "SYNC").starts_with('$'));
    for _ in 0..60 {
        w.advance_ms(1000);
    }
    w.request(c, "SET a 1");
    assert!(w.take(r).ends_with("\r\na\r\n$1\r\n1\r\n"));
}

#[test]
fn a_pause_of_clients_does_not_stop_pings() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    let r = attach(&mut w);
    w.request(c, "CLIENT PAUSE 1000000 ALL");
    for _ in 0..12 {
        w.advance_ms(1000);
    }
    assert!(w.take(r).contains("PING"));
}

#[test]
fn requests_around_psync_in_one_read() {
    let mut w = Driver::new(STREAMED);
    let c = w.connect();
    w.send(c, b"SET a 1\r\nPSYNC ? -1\r\nGET a\r\n");
    let refused = "-ERR SYNC and PSYNC are invalid with pending output\r\n";
    assert_eq!(w.take(c), format!("+OK\r\n{refused}$1\r\n1\r\n"));
    let r = w.connect();
    w.send(r, b"PSYNC ? -1\r\n\nREPLCONF ACK 0\r\n");
    assert!(w.take(r).starts_with("+FULLRESYNC"));
    assert_eq!(w.closed, []);
    let r = w.connect();
    w.send(r, b"PSYNC ? -1\r\nGET a\r\nSET b 1\r\n");
    assert_eq!(w.closed, [r], "what is behind it would be answered in the stream");
    assert_eq!(w.request(c, "EXISTS b"), ":0\r\n");
}

#[test]
fn a_replica_may_attach_during_an_incomplete_exec() {
    let mut w =
        Driver::new("save \"\"\nenable-protected-configs yes\nrepl-diskless-sync-delay 1\n");
    w.requests.held = true;
    let c = w.connect();
    let (early, late) = (request_sync(&mut w, 1 << 20), connect(&mut w));
    for line in ["MULTI", "SET a in-exec", "CONFIG SET dir /elsewhere", "SET b in-exec", "EXEC"] {
        w.request(c, line);
    }
    w.send(late, b"PSYNC ? -1\r\n");
    w.advance_ms(1500);
    assert!(!w.take(early).contains("FULLRESYNC"), "half of it is nobody's business");
    w.answer();
    w.advance_ms(2500);
    for r in [early, late] {
        let got = w.take(r);
        assert!(got.contains("FULLRESYNC") && got.matches("in-exec").count() == 2, "{got:?}");
        w.request(r, "REPLCONF ACK 0");
        assert!(!w.take(r).contains("in-exec"), "it is in the payload already");
    }
}

#[test]
fn unknown_options_of_replconf_are_named() {
    let mut w = Driver::new("");
    let r = w.connect();
    for (command, error) in [
        ("REPLCONF nosuch x", "Unrecognized REPLCONF option: nosuch"),
        ("REPLCONF rdb-filter-only keys", "Unsupported rdb-filter-only option: keys"),
    ] {
        assert_eq!(w.request(r, command), format!("-ERR {error}\r\n"));
    }
    assert_eq!(w.request(r, "REPLCONF rdb-filter-only \"\""), "+OK\r\n");
}

#[test]
fn a_synchronization_in_a_turn_that_has_written_sends_no_write_twice() {
    let mut w = Driver::new(STREAMED);
    w.snapshots.held = true;
    let c = w.connect();
    let first = request_sync(&mut w, 1 << 20);
    let second = request_sync(&mut w, 1 << 20);
    assert!(w.take(first).starts_with("+FULLRESYNC"));
    assert_eq!(w.take(second), "", "it waits for the end of the running snapshot");
    let id = w.node.parts.clients.get(first).unwrap().id;
    // The end of the first begins the second, before the write has left.
    w.send(c, format!("SET a unflushed\r\nCLIENT KILL ID {id}\r\n").as_bytes());
    assert_eq!(w.take(c), "+OK\r\n:1\r\n");
    w.deliver_saves();
    w.send(second, b"REPLCONF ACK 0\r\n");
    let sent = w.take(second);
    assert_eq!(sent.matches("unflushed").count(), 1, "{sent:?}");
}
