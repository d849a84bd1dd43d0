//! A replica and its master's stream: failing and unknown commands, and full synchronizations.

use russet_driver::Driver;
use russet_driver::peers::{
    ID, attach, command, connected, dump, link, payload, replica, syncing_replica,
};
use russet_engine::io::Endpoints;
use russet_engine::io::Handle;

fn words(line: &str) -> Vec<u8> {
    command(&line.split(' ').collect::<Vec<_>>())
}

fn stream(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| words(line)).collect()
}

/// Waits until the link is reconnected. Returns the new link, the seconds that took, and its requests.
fn reconnect(w: &mut Driver, before: Handle) -> (Handle, u64, String) {
    for secs in 0..100 {
        if let Some(link) = link(w).filter(|link| *link != before) {
            connected(w, link);
            let requests = w.take(link);
            return (link, secs, requests);
        }
        w.advance_ms(1000);
    }
    panic!("it does not come again");
}

#[test]
fn an_unknown_command_closes_the_link() {
    for lines in [&["EVAL list x"][..], &["MULTI", "SET in 1", "EVAL list x", "SET in 2", "EXEC"]] {
        let (mut w, link) = replica("", &["old"]);
        w.send(link, &words("SET a 1"));
        let offset = w.node.parts.master.stream.offset();
        w.send(link, &[stream(lines), words("SET behind 1")].concat());
        assert_eq!(w.closed, [link]);
        assert_eq!(
            w.node.parts.master.stream.offset(),
            offset,
            "it stands in front of what it cannot follow"
        );
        let c = w.connect();
        assert_eq!(w.request(c, "EXISTS old a in behind"), ":2\r\n");
        assert!(w.log.iter().any(|l| l.contains("'EVAL', which this server does not know")));
        assert!(w.request(c, "INFO stats").contains("unexpected_error_replies:1\r\n"));
        let (again, secs, requests) = reconnect(&mut w, link);
        assert!((9..=11).contains(&secs), "after {secs} s");
        assert!(requests.contains("$1\r\n?\r\n$2\r\n-1\r\n"), "{requests:?}");
        w.send(again, &payload(&["whole"]));
        assert_eq!(w.request(c, "EXISTS whole old"), ":1\r\n");
    }
}

#[test]
fn unknown_commands_without_effect_are_skipped() {
    let (mut w, link) = replica("", &[]);
    w.send(link, &words("PUBLISH __sentinel__:hello x"));
    w.send(link, &words("SET a 1"));
    let c = w.connect();
    assert_eq!(w.request(c, "EXISTS a"), ":1\r\n");
    let len = words("PUBLISH __sentinel__:hello x").len() + words("SET a 1").len();
    assert_eq!(w.node.parts.master.stream.offset(), 100 + len as i64);
    assert_eq!(w.closed, []);
}

#[test]
fn a_command_that_fails_closes_the_link() {
    for (lines, keys) in [
        // Into which database would the next key go?
        (&["SELECT 16"][..], ":1\r\n"),
        (&["SELECT -1"], ":1\r\n"),
        (&["SELECT"], ":1\r\n"),
        (&["SWAPDB 0 16"], ":1\r\n"),
        (&["MOVE old 16"], ":1\r\n"),
        (&["EXEC"], ":1\r\n"),
        (&["SET in"], ":1\r\n"),
        (&["SET in 1 OPTION"], ":1\r\n"),
        (&["INCR old"], ":1\r\n"),
        (&["HSET old a b"], ":1\r\n"),
        (&["MULTI", "MULTI"], ":1\r\n"),
        (&["MULTI", "SET in 1", "SET", "EXEC"], ":1\r\n"),
        (&["MULTI", "SET in 1", "SELECT 16", "SET out 1", "EXEC"], ":2\r\n"),
    ] {
        let (mut w, link) = replica("", &["old"]);
        let offset = w.node.parts.master.stream.offset();
        w.send(link, &[stream(lines), words("SET behind 1")].concat());
        assert_eq!(w.closed, [link], "{lines:?}");
        assert_eq!(w.node.parts.master.stream.offset(), offset, "{lines:?}");
        let c = w.connect();
        assert_eq!(w.request(c, "EXISTS old in out behind"), keys, "{lines:?}");
        assert!(w.request(c, "INFO replication").contains("master_link_status:down"));
        let (again, secs, requests) = reconnect(&mut w, link);
        assert!((9..=11).contains(&secs), "after {secs} s");
        assert!(requests.contains("$1\r\n?\r\n$2\r\n-1\r\n"), "{requests:?}");
        w.send(again, &payload(&["whole"]));
        assert_eq!(w.request(c, "EXISTS whole old in"), ":1\r\n");
    }
}

#[test]
fn a_payload_whose_stream_is_in_a_missing_database_is_refused() {
    for db in ["16", "-1", "x"] {
        let (mut w, link) = syncing_replica("");
        let mut file = b"REDIS0011\xfa\x0erepl-stream-db".to_vec();
        file.extend_from_slice(&[&[db.len() as u8], db.as_bytes(), b"\xff", &[0; 8]].concat());
        let head = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", file.len());
        w.send(link, &[head.as_bytes(), &file].concat());
        assert_eq!(w.closed, [link], "{db}");
        assert!(w.log.iter().any(|line| line.contains("16 databases")), "{:?}", w.log);
    }
}

#[test]
fn failing_writes_are_skipped_if_this_replica_is_writable() {
    let (mut w, link) = replica("replica-read-only no\n", &["old"]);
    w.send(link, &[words("INCR old"), words("SET a 1")].concat());
    let c = w.connect();
    assert_eq!(w.request(c, "GET a"), "$1\r\n1\r\n");
    assert!(w.request(c, "INFO stats").contains("unexpected_error_replies:1\r\n"));
    w.send(link, &words("SELECT 16"));
    assert_eq!(w.closed, [link]);
}

#[test]
fn failing_commands_without_effect_are_counted_logged_and_skipped() {
    let (mut w, link) = replica("", &["h"]);
    let lines = ["MULTI", "GET", "SAVE", "SET a x", "HGET h f", "EXEC", "PUBLISH"];
    w.send(link, &stream(&lines));
    let c = w.connect();
    assert_eq!(w.request(c, "GET a"), "$1\r\nx\r\n", "the transaction has run");
    assert!(w.request(c, "INFO stats").contains("unexpected_error_replies:4\r\n"));
    let logged = |w: &Driver| w.log.iter().filter(|l| l.starts_with("== CRITICAL ==")).count();
    assert_eq!(logged(&w), 1);
    w.advance_ms(11_000);
    w.send(link, &words("HGET a f"));
    assert_eq!(logged(&w), 2);
    assert!(w.log.iter().any(|l| l.ends_with("'hget' (3 more since this was last logged)")));
    assert_eq!(
        w.node.parts.master.stream.offset(),
        100 + (stream(&lines).len() + words("HGET a f").len()) as i64
    );
}

/// Encodes a command with the payload of a string after the first four words.
fn restore(line: &str) -> Vec<u8> {
    let payload = b"\x00\x05hello\n\x00cr\xdfve4 \n";
    let mut words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
    words.insert(3, payload);
    let mut bytes = Vec::new();
    russet_protocol::reply::push_command(&mut bytes, &words);
    bytes
}

#[test]
fn an_expired_restored_value_stays_until_the_stream_deletes_it() {
    let (mut w, link) = replica("", &["old"]);
    let parts = [
        restore("RESTORE a 0"),
        restore("RESTORE past 1 ABSTTL"),
        restore("RESTORE old 99999999999999 REPLACE ABSTTL"),
        restore("RESTORE-ASKING asked 0"),
    ];
    w.send(link, &parts.concat());
    let c = w.connect();
    assert_eq!(
        w.request(c, "MGET a past old asked"),
        "*4\r\n$5\r\nhello\r\n$-1\r\n$5\r\nhello\r\n$5\r\nhello\r\n"
    );
    assert_eq!(
        w.request(c, "DBSIZE"),
        ":4\r\n",
        "expired values are hidden until the master deletes them"
    );
    assert_eq!(w.request(c, "PEXPIRETIME old"), ":99999999999999\r\n");
    w.send(link, &words("DEL past"));
    assert_eq!(w.request(c, "DBSIZE"), ":3\r\n");
    assert!(w.request(c, "INFO stats").contains("unexpected_error_replies:0\r\n"));
}

#[test]
fn a_restored_value_of_an_unknown_type_closes_the_link() {
    for payload in [
        // A value of a module with version 10, a string with version 15.
        &b"\x07\x00\x0a\x00\xf2\x07\x8a\x0c\xd0\x0c\xef\x01"[..],
        b"\x00\x05hello\x0f\x00x\xf6\xbaz\xcb\x98\xdd\xf2",
    ] {
        let (mut w, link) = replica("", &["old"]);
        let mut unknown = Vec::new();
        let line = [b"RESTORE".as_slice(), b"b", b"0", payload];
        russet_protocol::reply::push_command(&mut unknown, &line);
        w.send(link, &[words("SET a 1"), words("MULTI"), words("SET in 1"), unknown].concat());
        assert_eq!(w.closed, [link]);
        assert!(
            w.log.iter().any(|l| l.contains("'RESTORE of an unknown type', which this server"))
        );
        let c = w.connect();
        assert_eq!(w.request(c, "EXISTS old a in b"), ":2\r\n");
    }
}

#[test]
fn the_link_to_the_master_has_no_user() {
    let (mut w, _) = replica("", &[]);
    let c = w.connect();
    assert!(w.request(c, "CLIENT LIST TYPE master").contains(" user=(superuser) "));
    assert_eq!(w.request(c, "CLIENT KILL USER default"), ":0\r\n");
    assert_eq!(w.closed, []);
}

#[test]
fn the_last_load_is_that_of_the_payload() {
    let (mut w, _) = replica("", &["a", "b"]);
    let c = w.connect();
    assert!(w.request(c, "INFO persistence").contains("rdb_last_load_keys_loaded:2\r\n"));
}

#[test]
fn inline_requests_in_the_stream_are_protocol_errors() {
    let (mut w, link) = replica("", &[]);
    w.send(link, &[words("SET a 1"), b"SET b 1\r\n".to_vec()].concat());
    assert_eq!(w.closed, [link]);
    let c = w.connect();
    assert_eq!(w.request(c, "EXISTS a b"), ":1\r\n");
    let (_, _, requests) = reconnect(&mut w, link);
    assert!(requests.contains("$1\r\n?\r\n$2\r\n-1\r\n"), "its history is unknown: {requests:?}");
}

#[test]
fn empty_requests_count_for_the_offset() {
    let (mut w, link) = replica("", &[]);
    let r = attach(&mut w);
    let bytes = [b"\r\n\n".to_vec(), words("SET a 1"), b"\n".to_vec(), words("SET a 2")].concat();
    let before = w.node.parts.master.stream.offset();
    w.send(link, &bytes);
    w.send(link, b"\r\n");
    assert_eq!(w.node.parts.master.stream.offset(), before + bytes.len() as i64 + 2);
    assert_eq!(w.take(r).as_bytes(), [bytes, b"\r\n".to_vec()].concat());
}

#[test]
fn full_synchronizations_that_fail_are_requested_less_and_less_often() {
    let (mut w, mut link) = syncing_replica("");
    let mut pauses = Vec::new();
    for _ in 0..7 {
        w.send(link, format!("+FULLRESYNC {ID} 5\r\n$9\r\nREDIS9999").as_bytes());
        let (again, secs, _) = reconnect(&mut w, link);
        pauses.push(secs);
        link = again;
    }
    assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{pauses:?}");
    assert!(pauses[0] <= 2 && (30..=31).contains(pauses.last().unwrap()), "{pauses:?}");
    w.send(link, &payload(&["a"]));
    assert_eq!(w.node.parts.master.stream.offset(), 100);
}

#[test]
fn full_synchronizations_that_break_off_are_requested_less_and_less_often() {
    type End = fn(&mut Driver, Handle);
    let ends: [(&str, End); 4] = [
        ("the master closes it before the payload", |w, link| {
            w.send(link, format!("+FULLRESYNC {ID} 5\r\n").as_bytes());
            w.disconnect(link);
        }),
        ("the master closes it within the payload", |w, link| {
            w.send(link, format!("+FULLRESYNC {ID} 5\r\n$900\r\nREDIS00").as_bytes());
            w.disconnect(link);
        }),
        ("the master reports an error", |w, link| {
            w.send(link, format!("+FULLRESYNC {ID} 5\r\n-ERR no\r\n").as_bytes());
        }),
        ("its stream is malformed each time", |w, link| {
            w.send(link, &payload(&["a"]));
            w.send(link, b"SET a 1\r\n");
        }),
    ];
    for (what, end) in ends {
        let (mut w, mut link) = syncing_replica("");
        let mut pauses = Vec::new();
        for _ in 0..7 {
            end(&mut w, link);
            let (again, secs, _) = reconnect(&mut w, link);
            pauses.push(secs);
            link = again;
        }
        assert!(pauses.windows(2).all(|two| two[0] <= two[1]), "{what}: {pauses:?}");
        assert!(pauses[0] <= 2 && (30..=31).contains(pauses.last().unwrap()), "{what}: {pauses:?}");
        w.send(link, &payload(&["a"]));
        assert!(w.node.parts.following.master().unwrap().is_online());
    }
}

#[test]
fn a_payload_contains_exactly_one_file() {
    let (mut w, link) = syncing_replica("");
    let dump = dump(&["a"]);
    let head = format!("+FULLRESYNC {ID} 5\r\n${}\r\n", dump.len() + 3);
    w.send(link, &[head.as_bytes(), &dump, b"xyz"].concat());
    assert_eq!(w.closed, [link]);
    assert_eq!(w.node.parts.master.stream.offset(), 0);
}

#[test]
fn an_incomplete_payload_is_freed_lazily() {
    let (mut w, link) = syncing_replica("");
    let whole = payload(&["a", "b", "c"]);
    w.send(link, &whole[..whole.len() - 5]);
    w.disconnect(link);
    assert_eq!(w.garbage, 1);
    let (again, _, _) = reconnect(&mut w, link);
    w.send(again, format!("+FULLRESYNC {ID} 5\r\n$9\r\nREDIS9999").as_bytes());
    assert_eq!((w.closed.contains(&again), w.garbage), (true, 2));
}

#[test]
fn a_replica_acknowledges_soon_and_every_second() {
    let (mut w, link) = replica("", &[]);
    let acks = |w: &mut Driver| w.take(link).matches("ACK").count();
    assert_eq!(acks(&mut w), 1, "at once");
    w.advance_ms(100);
    assert_eq!(acks(&mut w), 1, "and soon again, if the master was not ready for the first");
    for _ in 0..5 {
        w.advance_ms(1001);
        assert_eq!(acks(&mut w), 1);
    }
}

#[test]
fn a_full_synchronization_during_transactions_and_waits() {
    let mut w = Driver::new("save \"\"\n");
    let [waits, queues, watches, paused] = std::array::from_fn(|_| w.connect());
    w.request(waits, "SET old old");
    w.send(waits, b"WAIT 1 0\r\n");
    w.request(queues, "MULTI");
    w.request(queues, "GET fresh");
    w.request(watches, "WATCH fresh");
    w.request(queues, "GET old");
    w.request(watches, "MULTI");
    w.request(watches, "GET fresh");
    let c = w.connect();
    w.request(c, "REPLICAOF 127.0.0.1 7000");
    assert!(w.take(waits).starts_with("-UNBLOCKED"));
    w.request(c, "CLIENT PAUSE 5000 ALL");
    assert_eq!(w.request(paused, "GET fresh"), "");
    let link = link(&w).expect("it connects");
    connected(&mut w, link);
    w.send(link, &payload(&["fresh"]));
    assert_eq!(w.node.parts.master.stream.offset(), 100);
    assert_eq!(w.take(paused), "");
    w.advance_ms(5001);
    assert_eq!(w.take(paused), "$5\r\nfresh\r\n");
    assert_eq!(w.request(queues, "EXEC"), "*2\r\n$5\r\nfresh\r\n$-1\r\n");
    assert_eq!(w.request(watches, "EXEC"), "*-1\r\n");
    assert_eq!(w.request(waits, "PING"), "", "it was let go");
}

#[test]
fn acknowledgements_do_not_pile_up_for_a_master_that_does_not_read() {
    let (mut w, link) = replica("repl-timeout 1000\n", &[]);
    w.advance_ms(200);
    w.take(link);
    let waiting = |w: &Driver| w.node.parts.clients.get(link).unwrap().wire.outbox.len();
    w.send(link, &words("REPLCONF GETACK *").repeat(100));
    assert_eq!(w.take(link).matches("ACK").count(), 1, "one for all of a turn");
    w.set_read_limit(link, Some(0));
    for _ in 0..100 {
        w.send(link, &words("REPLCONF GETACK *").repeat(10));
        w.advance_ms(1000);
    }
    assert!(waiting(&w) < 100, "{} bytes wait", waiting(&w));
    w.set_read_limit(link, None);
    let offset = w.node.parts.master.stream.offset();
    let acks = w.take(link);
    assert!(acks.ends_with(&format!("\r\n{offset}\r\n")), "the last one is current: {acks:?}");
    assert_eq!(acks.matches("ACK").count(), 2, "{acks:?}");
}

#[test]
fn newlines_do_not_pile_up_for_a_master_that_does_not_read() {
    let (mut w, link) = syncing_replica("");
    w.take(link);
    w.set_read_limit(link, Some(0));
    let whole = payload(&["a", "b", "c"]);
    let (begin, rest) = whole.split_at(whole.len() - 100);
    w.send(link, begin);
    for byte in rest {
        w.send(link, &[*byte]);
        w.advance_ms(1000);
    }
    w.set_read_limit(link, Some(1000));
    assert_eq!(w.take(link).matches("\n").count(), 1 + 7, "one, and an acknowledgement");
}

#[test]
fn the_output_to_a_master_is_limited() {
    let (mut w, link) = replica("client-output-buffer-limit normal 1kb 1kb 1\n", &[]);
    w.set_read_limit(link, Some(0));
    w.node.parts.clients.send(&mut w.node.core, link, &[b'x'; 20 << 10]);
    w.advance_ms(3000);
    assert_eq!(w.closed, [], "the limits of clients are not meant");
    w.node.parts.clients.send(&mut w.node.core, link, &[b'x'; 1 << 20]);
    w.run();
    assert_eq!(w.closed, [link]);
    assert!(w.log.iter().any(|l| l.contains("link to a master")), "{:?}", w.log);
}

#[test]
fn a_payload_is_loaded_piece_by_piece() {
    let keys: Vec<String> = (0..20_000).map(|n| format!("key:{n}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (mut w, link) = syncing_replica("");
    let pending = |w: &Driver| w.node.parts.clients.get(link).expect("a link").wire.pending();
    w.tick_us = 1000;
    w.queue(link, &payload(&keys));
    w.read_connections();
    let before = pending(&w);
    w.turn();
    let taken = before - pending(&w);
    assert!(
        (1..=9 * 1024).contains(&taken) && before > 12 * 1024,
        "{taken} of {before} bytes in a turn without time"
    );
    w.run();
    let c = w.connect();
    assert_eq!(w.request(c, "DBSIZE"), ":20000\r\n");
}

#[test]
fn a_master_that_cannot_save_is_followed() {
    let mut w = Driver::new("save \"\"\nreplicaof 127.0.0.1 7000");
    let link = link(&w).expect("a replica connects");
    let ends =
        Endpoints::Tcp { peer: ([127, 0, 0, 1], 7000).into(), local: ([127, 0, 0, 1], 5).into() };
    w.connected(link, ends);
    assert!(w.take(link).contains("PING"));
    w.send(link, b"-MISCONF Redis is configured to save RDB snapshots\r\n");
    assert!(w.take(link).contains("REPLCONF"));
    assert!(w.is_open(link));
}

#[test]
fn a_dropped_backlog_leaves_no_second_id() {
    let (mut w, _) = replica("repl-backlog-ttl 1\n", &["a"]);
    let c = w.connect();
    w.request(c, "REPLICAOF NO ONE");
    assert!(w.request(c, "INFO replication").contains(&format!("master_replid2:{ID}")));
    for _ in 0..4 {
        w.advance_ms(1000);
    }
    let info = w.request(c, "INFO replication");
    assert!(info.contains(&format!("master_replid2:{}", "0".repeat(40))), "{info}");
    assert!(info.contains("second_repl_offset:-1"), "{info}");
}
