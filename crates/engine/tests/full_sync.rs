//! Full synchronisations as a master gives them: slow readers, several at once, files that change, an end in the middle.

use russet_driver::Driver;
use russet_driver::peers::{attach, command};
use russet_engine::io::{FileEvent, Handle, Input};

const BY_FILE: &str = "save \"\"\nrepl-timeout 10\nrepl-diskless-sync no\nrdbcompression no\n";
const STREAMED: &str =
    "save \"\"\nrepl-timeout 10\nrepl-diskless-sync-delay 0\nrdbcompression no\n";

/// Who will be a replica.
fn comes(w: &mut Driver) -> Handle {
    let r = w.connect();
    w.request(r, "REPLCONF capa eof capa psync2");
    r
}

/// A replica that asks for everything and reads so many bytes of the answer.
fn asks(w: &mut Driver, room: usize) -> Handle {
    let r = comes(w);
    w.set_read_limit(r, Some(room));
    w.send(r, b"PSYNC ? -1\r\n");
    r
}

fn state(w: &mut Driver, c: Handle, replica: usize) -> String {
    let info = w.request(c, "INFO replication");
    let line = info.lines().find_map(|l| l.strip_prefix(&format!("slave{replica}:")));
    let field = line.and_then(|l| l.split(',').find_map(|f| f.strip_prefix("state=")));
    field.unwrap_or("gone").to_owned()
}

fn fill(w: &mut Driver, c: Handle, keys: usize, bytes: usize) {
    for key in 0..keys {
        w.send(c, &command(&["SET", &format!("key:{key}"), &"x".repeat(bytes)]));
    }
    w.take(c);
}

#[test]
fn a_payload_may_be_on_its_way_longer_than_any_timeout() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        fill(&mut w, c, 10, 100);
        let r = asks(&mut w, 10);
        for _ in 0..40 {
            w.raise_read_limit(r, 10);
            w.advance_ms(1000);
            assert_eq!(state(&mut w, c, 0), "send_bulk");
        }
        w.raise_read_limit(r, 1 << 20);
        assert_eq!(state(&mut w, c, 0), "online");
        // It loads for as long as it likes, if it says so.
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
fn who_talks_and_takes_nothing_is_let_go() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let r = asks(&mut w, 20);
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
fn a_slow_replica_keeps_no_later_one_waiting() {
    for conf in [BY_FILE, STREAMED] {
        let mut w = Driver::new(conf);
        let c = w.connect();
        let slow = asks(&mut w, 5);
        let quick = asks(&mut w, 1 << 20);
        assert!(w.take(quick).starts_with("+FULLRESYNC"), "{conf}");
        assert_eq!(
            (state(&mut w, c, 0), state(&mut w, c, 1)),
            ("send_bulk".into(), "online".into())
        );
        assert_eq!(w.take(slow), "+FULL");
    }
}

#[test]
fn files_are_read_beside_each_other() {
    let mut w = Driver::new(BY_FILE);
    w.reads.held = true;
    let c = w.connect();
    w.request(c, "SET a first");
    let first = asks(&mut w, 1 << 20);
    w.deliver_reads(1);
    w.request(c, "SET a other");
    let second = asks(&mut w, 1 << 20);
    assert_eq!(w.reads.paths.len(), 2);
    w.deliver_reads(1000);
    let (one, two) = (w.take(first), w.take(second));
    assert!(one.contains("first") && !one.contains("\u{5}other"), "{one:?}");
    assert!(two.contains("other") && !two.contains("first"), "{two:?}");
}

#[test]
fn pieces_of_a_file_are_asked_for_as_room_comes() {
    let mut w = Driver::new(BY_FILE);
    (w.reads.held, w.reads.piece_bytes) = (true, 1 << 20);
    let c = w.connect();
    fill(&mut w, c, 20, 1 << 20);
    let r = asks(&mut w, 100);
    w.deliver_reads(1 + 12);
    let before = w.reads.more;
    assert!((7..=9).contains(&before), "{before} pieces are enough for now");
    w.raise_read_limit(r, 6 << 20);
    assert_eq!(w.reads.more, 12, "no clock has moved, and all that was owed is asked for");
}

#[test]
fn the_file_sent_is_that_of_its_save() {
    let conf = format!("{BY_FILE}enable-protected-configs yes\n");
    let mut w = Driver::new(&conf);
    w.snapshots.held = true;
    let c = w.connect();
    asks(&mut w, 1 << 20);
    for line in ["CONFIG SET dbfilename other.rdb", "CONFIG SET dir /elsewhere"] {
        assert_eq!(w.request(c, line), "+OK\r\n");
    }
    w.deliver_saves();
    assert_eq!(w.reads.paths, ["/data/dump.rdb"]);

    // A later save may have replaced it before it was opened.
    let mut w = Driver::new(BY_FILE);
    w.reads.held = true;
    let c = w.connect();
    let r = asks(&mut w, 1 << 20);
    w.request(c, "SET a 1");
    w.request(c, "BGSAVE");
    w.deliver_reads(100);
    assert_eq!(w.closed, [r]);
}

#[test]
fn a_file_that_is_not_as_long_as_it_was_ends_the_link() {
    for longer in [false, true] {
        let mut w = Driver::new(BY_FILE);
        w.reads.held = true;
        let r = asks(&mut w, 1 << 20);
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
fn an_end_is_not_kept_from_its_save_by_replicas_that_wait() {
    for abort in [false, true] {
        let mut w = Driver::new("save 900 1\nrepl-diskless-sync no\n");
        w.snapshots.held = true;
        let (c, d) = (w.connect(), w.connect());
        let first = asks(&mut w, 1 << 20);
        let second = asks(&mut w, 1 << 20);
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
fn the_limit_on_output_is_about_the_stream() {
    let limit = |max: &str| format!("{BY_FILE}client-output-buffer-limit replica {max} 0 0\n");
    let mut w = Driver::new(&format!("{}repl-backlog-size 16kb\n", limit("1mb")));
    let c = w.connect();
    w.reads.piece_bytes = 1 << 16;
    fill(&mut w, c, 3, 1 << 20);
    let r = asks(&mut w, 100);
    w.advance_ms(1000);
    assert_eq!(w.closed, [], "three times as much of the payload waits");
    fill(&mut w, c, 2, 1 << 19);
    w.advance_ms(1000);
    assert_eq!(w.closed, [r]);
    // A limit below the backlog's size would close who was just given what is in there.
    let mut w = Driver::new(&format!("{}repl-backlog-size 1mb\n", limit("100kb")));
    let c = w.connect();
    let r = attach(&mut w);
    w.set_read_limit(r, Some(0));
    fill(&mut w, c, 5, 100 << 10);
    assert_eq!(w.closed, []);
    fill(&mut w, c, 6, 100 << 10);
    assert_eq!(w.closed, [r]);
}

#[test]
fn who_came_with_sync_need_not_acknowledge() {
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
fn a_pause_of_clients_is_no_pause_of_pings() {
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
fn a_replica_may_attach_while_an_exec_stands_still() {
    let mut w =
        Driver::new("save \"\"\nenable-protected-configs yes\nrepl-diskless-sync-delay 1\n");
    w.requests.held = true;
    let c = w.connect();
    let (early, late) = (asks(&mut w, 1 << 20), comes(&mut w));
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
