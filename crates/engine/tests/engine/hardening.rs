//! Known weaknesses of such servers: extreme numbers, malicious peers, peers that do not read, and
//! events during other operations.

use std::collections::BTreeMap;
use std::time::Duration;

use russet_driver::peers::{
    ID, attach, command, connected, dump, payload, replica, syncing_replica,
};
use russet_driver::{Driver, peers};
use russet_engine::io::{Endpoints, Handle, Input, Service, Signal};
use russet_engine::persist::rdb_save::RdbEncoder;
use russet_engine::rdb::RdbSettings;

const MAX: &str = "9223372036854775807";
const MIN: &str = "-9223372036854775808";

// Sizes and arithmetic.

#[test]
fn extreme_numbers_are_refused_without_overflow() {
    let mut w = Driver::new(&format!("save \"\"\nproto-max-bulk-len {MAX}\n"));
    let c = w.connect();
    let templates = [
        "SETRANGE a N x",
        "SETRANGE new N x",
        "GETRANGE a N N",
        "SUBSTR a 0 N",
        "INCRBY a N",
        "DECRBY a N",
        "INCRBYFLOAT a N",
        "SET b x EX N",
        "SET b x PX N",
        "SET b x EXAT N",
        "SET b x PXAT N",
        "SETEX b N x",
        "PSETEX b N x",
        "GETEX b EX N",
        "GETEX b PXAT N",
        "EXPIRE a N",
        "PEXPIRE a N",
        "EXPIREAT a N",
        "PEXPIREAT a N",
        "TTL a",
        "PTTL a",
        "EXPIRETIME a",
        "PEXPIRETIME a",
        "SCAN N",
        "SCAN 0 COUNT N",
        "SCAN N COUNT N",
        "SELECT N",
        "SWAPDB 0 N",
        "MOVE a N",
        "COPY a z DB N",
        "LCS a b MINMATCHLEN N IDX",
        "OBJECT FREQ a",
        "OBJECT IDLETIME a",
        "WAIT 0 N",
        "WAIT N 1",
        "XADD s N-N f v",
        "XADD s N-* f v",
        "XADD s MAXLEN ~ N LIMIT N * f v",
        "XTRIM s MINID ~ N-N LIMIT N",
        "XTRIM s MAXLEN N",
        "XRANGE s (N (N COUNT N",
        "XREVRANGE s N - COUNT N",
        "XDEL s N-N",
        "XSETID s N-N ENTRIESADDED N MAXDELETEDID N",
        "XGROUP CREATE s g N MKSTREAM ENTRIESREAD N",
        "XGROUP SETID s g N-N ENTRIESREAD N",
        "XGROUP SETID s g 0 ENTRIESREAD N",
        "XADD s * f v",
        "XREAD COUNT N BLOCK N STREAMS s N-N",
        "XREADGROUP GROUP g c COUNT N STREAMS s >",
        "XREADGROUP GROUP g c COUNT N STREAMS s N-N",
        "XCLAIM s g c N N-N IDLE N RETRYCOUNT N FORCE LASTID N",
        "XCLAIM s g c 0 N-N TIME N RETRYCOUNT N",
        "XAUTOCLAIM s g c N N-N COUNT N",
        "XAUTOCLAIM s g c 0 0 COUNT 10",
        "XPENDING s g IDLE N (N + N",
        "XINFO STREAM s FULL COUNT N",
        "XINFO GROUPS s",
        "XINFO CONSUMERS s g",
        "CLIENT KILL ID N",
        "CLIENT KILL MAXAGE N",
        "CLIENT UNBLOCK N",
        "CLIENT LIST ID N",
        "COMMAND GETKEYS SET N N",
        "REPLICAOF h N",
        "HELLO N",
        "REPLCONF listening-port N",
        "REPLCONF ACK N",
        "PSYNC x N",
        "INFO",
        "CLIENT PAUSE N",
        "CLIENT UNPAUSE",
    ];
    let numbers =
        [MAX, MIN, "-1", "0", "18446744073709551615", "9223372036854775806", "4294967296", "1e308"];
    for number in numbers {
        for template in templates {
            let d = w.connect();
            w.request(c, "SET a 1");
            w.request(c, "XADD s 1-1 f v");
            w.request(d, &template.replace('N', number));
            w.disconnect(d);
            w.advance_ms(10);
        }
        let d = w.connect();
        w.request(d, "CLIENT UNPAUSE");
        w.request(d, "REPLICAOF NO ONE");
        assert_eq!(w.request(c, "PING").lines().last(), Some("+PONG"), "{number}");
    }
}

#[test]
fn extreme_settings_do_not_overflow() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    for setting in [
        "repl-backlog-ttl 9223372036854775807",
        "repl-backlog-size 9223372036854775807",
        "repl-timeout 2147483647",
        "repl-ping-replica-period 2147483647",
        "timeout 2147483647",
        "shutdown-timeout 2147483647",
        "hz 500",
        "min-replicas-max-lag 2147483647",
        "proto-max-bulk-len 9223372036854775807",
        "client-query-buffer-limit 9223372036854775807",
        "client-output-buffer-limit \"normal 9223372036854775807 1 2147483647\"",
        "save \"2147483647 2147483647\"",
    ] {
        assert_eq!(w.request(c, &format!("CONFIG SET {setting}")), "+OK\r\n", "{setting}");
    }
    let r = attach(&mut w);
    w.advance_ms(3000);
    w.disconnect(r);
    for _ in 0..5 {
        w.advance_ms(1000);
    }
    w.set_read_limit(c, Some(0));
    w.send(c, &b"PING\r\n".repeat(10));
    w.advance_ms(1100);
    let d = w.connect();
    assert_eq!(w.request(d, "PING"), "+PONG\r\n");
}

/// The limit of a client's strings, below those of the tests that follow.
const LOW: &str = "proto-max-bulk-len 1mb\n";

/// Returns a dump file with a string and a field of 2 MB, written under a higher limit.
fn dump_of_long_strings(compression: &str) -> Vec<u8> {
    let mut w = Driver::new(&format!("save \"\"\nrdbcompression {compression}\n"));
    let (c, long) = (w.connect(), "x".repeat(2 << 20));
    w.send(c, &[command(&["SET", "v", &long]), command(&["HSET", "h", "f", &long])].concat());
    w.send(c, b"SAVE\r\n");
    assert!(w.take(c).ends_with("+OK\r\n"));
    w.files.remove("dump.rdb").expect("it was saved")
}

#[test]
fn the_own_dump_file_is_loaded_whatever_the_limit_of_clients() {
    for compression in ["yes", "no"] {
        let file = dump_of_long_strings(compression);
        let files = BTreeMap::from([("dump.rdb".to_owned(), file)]);
        let mut w = Driver::with_files(&format!("{LOW}enable-debug-command yes\n"), files);
        assert_eq!(w.exit, None, "{:?}", w.log);
        let c = w.connect();
        let lengths = ":2097152\r\n:2097152\r\n";
        assert_eq!(w.request(c, "STRLEN v\r\nHSTRLEN h f"), lengths, "{:?}", w.log);
        assert_eq!(w.request(c, "DEBUG RELOAD"), "+OK\r\n");
        assert_eq!(w.request(c, "STRLEN v\r\nHSTRLEN h f"), lengths);
        w.send(c, &command(&["SET", "v", &"x".repeat(2 << 20)]));
        assert!(w.take(c).starts_with("-ERR Protocol error"), "a client is bound by it");
    }
}

#[test]
fn a_master_is_followed_whatever_the_limit_of_clients() {
    for compression in ["yes", "no"] {
        let (mut w, link) = syncing_replica(LOW);
        let file = dump_of_long_strings(compression);
        let head = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", file.len());
        w.send(link, &[head.as_bytes(), &file].concat());
        assert!(w.node.parts.following.master().unwrap().is_online(), "{:?}", w.log);
        let long = "y".repeat(3 << 20);
        let mut dumping = Driver::new(&format!("rdbcompression {compression}\n"));
        let d = dumping.connect();
        dumping.send(d, &command(&["SET", "v", &long]));
        dumping.request(d, "");
        dumping.send(d, b"DUMP v\r\n");
        let reply = dumping.take_raw(d);
        let payload = &reply[reply.iter().position(|&b| b == b'\n').unwrap() + 1..reply.len() - 2];
        let mut restore = Vec::new();
        let words: [&[u8]; 4] = [b"RESTORE", b"restored", b"0", payload];
        russet_protocol::reply::push_command(&mut restore, &words);
        w.send(link, &command(&["SET", "w", &long]));
        w.send(link, &[command(&["APPEND", "w", &long]), restore.clone()].concat());
        w.send(link, &command(&["SETRANGE", "gap", "5000000", "x"]));
        let c = w.connect();
        let asked = ["v", "w", "restored", "gap"].map(|key| format!("STRLEN {key}\r\n")).concat();
        let lengths = ":2097152\r\n:6291456\r\n:3145728\r\n:5000001\r\n";
        assert_eq!(w.request(c, asked.trim_end()), lengths, "{:?}", w.log);
        assert_eq!(w.closed, []);
        w.request(c, "REPLICAOF NO ONE\r\nFLUSHALL");
        w.send(c, &restore);
        let reply = w.take(c);
        let bound = ["-ERR Bad data format", "-ERR Protocol error"];
        assert!(bound.iter().any(|error| reply.starts_with(error)), "a client is bound: {reply}");
    }
}

#[test]
fn a_claim_of_the_master_is_limited() {
    for claim in ["*2\r\n$99999999999\r\n", "*2\r\n$9223372036854775807\r\n"] {
        let (mut w, link) = replica(LOW, &[]);
        w.send(link, claim.as_bytes());
        assert_eq!(w.closed, [link], "{claim}");
    }
    let (mut w, link) = syncing_replica(LOW);
    let file = [&b"REDIS0011\0\x01k\x81"[..], &[0x7f; 8], b"some of it"].concat();
    let head = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", 1_u64 << 50);
    w.send(link, &[head.as_bytes(), &file].concat());
    assert_eq!(w.closed, [link]);
    assert!(w.log.iter().any(|l| l.contains("longer than the limit")), "{:?}", w.log);
}

#[test]
fn an_error_contains_no_line_end() {
    let mut w = Driver::new("");
    let c = w.connect();
    for words in [
        &["a\r\nb\0c"][..],
        &["nosuch", "\r\n+OK\r\n\0"],
        &["CLIENT", "\r\n+OK\0"],
        &["CONFIG", "SET", "\r\n+OK\r\n", "\0"],
        &["CONFIG", "SET", "maxmemory-policy", "\r\n+OK\r\n\0"],
        &["CLIENT", "SETINFO", "\r\n", "\0"],
        &["HELLO", "2", "\r\n\0", "x"],
        &["EXPIRE", "a", "1", "\r\n\0"],
        &["REPLCONF", "\r\n\0", "x"],
        &["OBJECT", "\r\n\0", "x"],
        &["CLIENT", "KILL", "USER", "\r\n\0"],
    ] {
        w.send(c, &command(words));
        let reply = w.take(c);
        let line = reply.strip_suffix("\r\n").unwrap();
        assert!(line.starts_with('-') && !line.contains(['\r', '\n', '\0']), "{reply:?}");
    }
}

#[test]
fn a_log_line_is_one_line() {
    let mut w = Driver::new("enable-debug-command yes\n");
    let c = w.connect();
    w.send(c, &command(&["DEBUG", "LOG", "text\r\n# forged"]));
    assert!(w.log.iter().any(|line| line.contains("# forged")));
    assert!(w.log.iter().all(|line| !line.contains(['\r', '\n'])), "{:?}", w.log);
}

#[test]
fn a_client_with_partly_written_output_can_be_listed() {
    let mut w = Driver::new("");
    let c = w.connect();
    w.set_read_limit(c, Some(3));
    w.send(c, b"PING\r\n");
    w.send(c, b"CLIENT LIST\r\nCLIENT INFO\r\n");
    let mut slices = [std::io::IoSlice::new(&[]); 4];
    let filled = w.node.outbox(c).unwrap().open_slices(&mut slices);
    assert!(filled == 1 && slices[0].starts_with(b"NG\r\n$"));
}

#[test]
fn glob_patterns_take_no_exponential_time() {
    let mut w = Driver::new("");
    let c = w.connect();
    w.request(c, &format!("SET {} 1", "a".repeat(1000)));
    let pattern = format!("{}b", "a*".repeat(100));
    assert_eq!(w.request(c, &format!("KEYS {pattern}")), "*0\r\n");
    assert!(w.request(c, &format!("SCAN 0 MATCH {pattern}")).ends_with("*0\r\n"));
    assert_eq!(w.request(c, &format!("CONFIG GET {pattern}")), "*0\r\n");
}

// Access.

#[test]
fn what_is_dangerous_is_off_by_default() {
    let mut w = Driver::new("");
    let c = w.connect();
    for setting in ["dir /tmp", "dbfilename x.rdb", "enable-debug-command yes"] {
        let reply = w.request(c, &format!("CONFIG SET {setting}"));
        assert!(reply.starts_with("-ERR CONFIG SET failed"), "{setting}: {reply}");
    }
    assert!(w.request(c, "DEBUG SLEEP 1").starts_with("-ERR DEBUG command not allowed"));
    let ends = Endpoints::Tcp {
        peer: "203.0.113.9:5".parse().unwrap(),
        local: "203.0.113.1:6379".parse().unwrap(),
    };
    let refusal = w.node.accept(w.now, Service::Clients, ends).unwrap_err();
    assert!(refusal.starts_with(b"-DENIED"));
}

#[test]
fn a_replica_connection_cannot_write_during_a_pause() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    let r = attach(&mut w);
    w.request(c, "CLIENT PAUSE 100000 WRITE");
    assert_eq!(
        w.request(r, "SET a 1"),
        "",
        "a refusal in the stream would be taken for a part of it"
    );
    assert_eq!(w.closed, [r]);
    assert_eq!(w.request(c, "DBSIZE"), ":0\r\n");
}

#[test]
fn a_replica_that_causes_a_reply_is_closed() {
    for line in ["PING", "REPLCONF listening-port 1", "nosuch", "INFO", "WAIT 0 0"] {
        let mut w = Driver::new("save \"\"\n");
        let r = attach(&mut w);
        assert_eq!(w.request(r, line), "", "{line}");
        assert_eq!(w.closed, [r], "{line}");
    }
}

// Re-entrancy.

#[test]
fn the_node_resumes_when_the_client_that_blocks_it_disconnects() {
    let conf = "save \"\"\nenable-debug-command yes\nenable-protected-configs yes\n";
    let stops: [&[&str]; 4] = [
        &["DEBUG SLEEP 2"],
        &["DEBUG RELOAD"],
        &["CONFIG SET dir /elsewhere"],
        &["MULTI", "CONFIG SET dir /elsewhere", "SET a 2", "DEBUG SLEEP 1", "DEBUG RELOAD", "EXEC"],
    ];
    for stop in stops {
        let mut w = Driver::new(conf);
        (w.requests.held, w.snapshots.held) = (true, true);
        let (c, d) = (w.connect(), w.connect());
        w.request(d, "SET a 1");
        for line in stop {
            w.request(c, line);
        }
        assert!(w.node.parts.busy.holds_all(), "{stop:?}");
        assert_eq!(w.request(d, "PING"), "", "{stop:?}");
        w.disconnect(c);
        if !w.requests.received.is_empty() {
            w.answer();
        }
        w.advance_ms(2000);
        w.deliver_saves();
        assert!(!w.node.parts.busy.holds_all(), "{stop:?}");
        assert_eq!(w.take(d), "+PONG\r\n");
        let expected = if stop.len() > 1 { "$1\r\n2\r\n" } else { "$1\r\n1\r\n" };
        assert_eq!(w.request(d, "GET a"), expected, "{stop:?}");
        assert!(w.node.parts.clients.get(c).is_none());
    }
}

#[test]
fn a_transaction_that_waits_is_propagated_as_a_whole() {
    let mut w = Driver::new("save \"\"\nenable-protected-configs yes\n");
    let c = w.connect();
    let r = attach(&mut w);
    w.requests.held = true;
    for line in ["MULTI", "SET a 1", "CONFIG SET dir /elsewhere", "SET b 2", "EXEC"] {
        w.request(c, line);
    }
    w.advance_ms(100);
    assert_eq!(w.take(r), "", "an incomplete transaction is not propagated");
    w.answer();
    let stream = w.take(r);
    let at = |word: &str| stream.find(word).unwrap_or_else(|| panic!("{word} in {stream:?}"));
    assert!(at("MULTI") < at("\r\na\r\n") && at("\r\na\r\n") < at("\r\nb\r\n"), "{stream:?}");
    assert!(at("\r\nb\r\n") < at("EXEC") && stream.matches("MULTI").count() == 1, "{stream:?}");
}

#[test]
fn a_transaction_cannot_write_after_replicaof() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    for line in ["MULTI", "SET a 1", "REPLICAOF 127.0.0.1 7000", "SET b 2", "FLUSHALL", "EXEC"] {
        w.request(c, line);
    }
    let reply = w.take(c);
    assert_eq!(reply, "", "taken by the request");
    assert_eq!(w.request(c, "EXISTS a b"), ":1\r\n");
}

#[test]
fn a_killed_client_is_removed_everywhere() {
    let mut w = Driver::new("save \"\"\n");
    let (c, d) = (w.connect(), w.connect());
    let waits: [&[&str]; 4] = [
        &["WAIT 1 0"],
        &["MULTI", "SET a 1"],
        &["WATCH a"],
        &["CLIENT PAUSE 100000 WRITE", "SET a 1"],
    ];
    for lines in waits {
        let victim = w.connect();
        for line in lines {
            w.request(victim, line);
        }
        w.request(d, "CLIENT UNPAUSE");
        let id = w.node.parts.clients.get(victim).unwrap().id;
        assert_eq!(w.request(c, &format!("CLIENT KILL ID {id}")), ":1\r\n");
        assert!(w.closed.contains(&victim));
        w.request(c, "SET a 2");
        w.advance_ms(1000);
    }
    assert!(w.node.data.watch.is_empty());
    assert_eq!(w.node.parts.clients.len(), 2);
}

#[test]
fn a_full_synchronization_during_a_save() {
    let (mut w, link) = syncing_replica("");
    w.snapshots.held = true;
    let c = w.connect();
    w.request(c, "BGSAVE");
    let saver = w.connect();
    w.send(link, &payload(&["fresh"]));
    assert_eq!(w.request(c, "GET fresh").lines().last(), Some("fresh"));
    assert!(w.request(c, "INFO persistence").contains("rdb_last_bgsave_status:ok"));
    assert!(w.request(c, "INFO persistence").contains("rdb_bgsave_in_progress:0"));
    w.request(saver, "SAVE");
    w.deliver_saves();
    assert_eq!(w.take(saver), "+OK\r\n");
}

#[test]
fn a_full_synchronization_during_a_shutdown_is_saved() {
    let (mut w, link) = syncing_replica("");
    w.snapshots.held = true;
    let c = w.connect();
    w.request(c, "SHUTDOWN SAVE");
    w.send(link, &payload(&["fresh"]));
    assert_eq!(w.exit, None);
    w.deliver_saves();
    assert_eq!(w.exit, Some(0));
    let mut after = Driver::with_files("", std::mem::take(&mut w.files));
    let c = after.connect();
    assert_eq!(after.request(c, "GET fresh"), "$5\r\nfresh\r\n");
}

#[test]
fn a_shutdown_during_a_reload_saves_the_data() {
    let mut files = BTreeMap::new();
    files.insert("dump.rdb".to_owned(), dump(&["old"]));
    let mut w = Driver::with_files("enable-debug-command yes\n", files);
    let c = w.connect();
    w.request(c, "SET new new");
    // The reload has requested its file and received nothing of it.
    w.reads.held = true;
    assert_eq!(w.request(c, "DEBUG RELOAD NOSAVE"), "");
    w.input(Input::Signal(Signal::Terminate));
    w.advance_ms(100);
    assert_eq!(w.exit, Some(0));
    let mut after = Driver::with_files("", std::mem::take(&mut w.files));
    let c = after.connect();
    assert_eq!(after.request(c, "GET new"), "$3\r\nnew\r\n");
}

// Untrusted payloads and masters.

#[test]
fn an_offset_of_a_master_cannot_overflow() {
    for offset in [MAX, "9223372036854775806", "4611686018427387905", "-1", "x", "1e3"] {
        let (mut w, link) = syncing_replica("");
        w.send(link, format!("+FULLRESYNC {ID} {offset}\r\n").as_bytes());
        assert!(w.closed.contains(&link), "{offset}");
    }
    let (mut w, link) = syncing_replica("");
    let whole = String::from_utf8_lossy(&payload(&[])).into_owned();
    assert!(whole.contains(" 100\r\n"));
    let dump = dump(&["a"]);
    let head = format!("+FULLRESYNC {ID} {}\r\n${}\r\n", 1_i64 << 62, dump.len());
    w.send(link, &[head.as_bytes(), &dump].concat());
    w.send(link, &command(&["SET", "b", "1"]));
    let c = w.connect();
    assert_eq!(w.request(c, "EXISTS a b"), ":2\r\n");
    assert_eq!(w.node.parts.master.stream.offset(), (1 << 62) + 27);
}

#[test]
fn a_replication_id_has_only_letters_and_digits() {
    for id in ["\0".repeat(40), "é".repeat(20), "a".repeat(39), "'".repeat(40)] {
        let (mut w, link) = syncing_replica("");
        w.send(link, format!("+FULLRESYNC {id} 1\r\n").as_bytes());
        assert!(w.closed.contains(&link), "{id}");
    }
}

#[test]
fn an_offset_in_a_dump_file_cannot_overflow() {
    for (id, offset) in [(ID, MAX), (ID, MIN), (ID, "9223372036854775806"), ("\r\n+OK", "1")] {
        let mut encoder = RdbEncoder::new(RdbSettings::default());
        let mut bytes = Vec::new();
        let id = format!("{id:x<40}");
        let aux = [
            ("repl-id", id.as_bytes()),
            ("repl-offset", offset.as_bytes()),
            ("repl-stream-db", MAX.as_bytes()),
        ];
        encoder.begin(&aux, &mut bytes);
        encoder.finish(&mut bytes);
        for conf in ["", "replicaof 127.0.0.1 7000\n"] {
            let files = BTreeMap::from([("dump.rdb".to_owned(), bytes.clone())]);
            let mut w = Driver::with_files(conf, files);
            let c = w.connect();
            assert!(w.request(c, "INFO replication").contains("master_repl_offset:0"), "{offset}");
            assert_eq!(w.request(c, "PING"), "+PONG\r\n");
        }
    }
}

#[test]
fn an_invalid_payload_is_refused_and_the_data_kept() {
    let good = dump(&["fresh"]);
    let mut flipped = good.clone();
    let middle = good.len() / 2;
    flipped[middle] ^= 0x55;
    let mut claims = good[..9].to_vec();
    claims.extend_from_slice(b"\x00\x81\x7f\xff\xff\xff\xff\xff\xff\xff");
    let header = |len: &str| format!("+FULLRESYNC {ID} 5\r\n${len}\r\n").into_bytes();
    let bad: [Vec<u8>; 6] = [
        [header(&good.len().to_string()), flipped].concat(),
        [header("18446744073709551615"), claims].concat(),
        [header("5"), good.clone()].concat(),
        header("0"),
        header("-5"),
        [header("EOF:0123456789012345678901234567890123456789"), good, vec![b'x'; 40]].concat(),
    ];
    for payload in bad {
        let (mut w, link) = replica("", &["old"]);
        w.disconnect(link);
        w.advance_ms(2000);
        let link = peers::link(&w).expect("it reconnects");
        connected(&mut w, link);
        w.send(link, &payload);
        if !w.closed.contains(&link) {
            // An empty payload is found to be too short at the next byte.
            w.send(link, b"x");
        }
        assert!(w.closed.contains(&link), "{:?}", String::from_utf8_lossy(&payload));
        let c = w.connect();
        assert_eq!(w.request(c, "GET old"), "$3\r\nold\r\n");
        assert_eq!(w.request(c, "EXISTS fresh"), ":0\r\n");
        assert!(w.node.used_memory() < 10 << 20);
    }
}

#[test]
fn an_endless_line_of_a_master_closes_the_link() {
    let (mut w, link) = syncing_replica("");
    for _ in 0..5 {
        w.send(link, &[b'a'; 1000]);
    }
    assert!(w.closed.contains(&link));
}

#[test]
fn the_stream_cannot_stop_a_replica_or_change_its_role() {
    let (mut w, link) = replica("enable-debug-command yes\n", &["old"]);
    w.take(link);
    for line in [
        "SHUTDOWN NOSAVE",
        "DEBUG SLEEP 1000",
        "DEBUG RELOAD",
        "SAVE",
        "BGSAVE",
        "REPLICAOF NO ONE",
        "PSYNC ? -1",
        "SYNC",
        "CLIENT PAUSE 1000000 ALL",
        "CONFIG SET dir /",
        "CONFIG SET requirepass x",
        "MULTI",
        "SHUTDOWN NOSAVE",
        "SYNC",
        "SET in 1",
        "EXEC",
        "GET",
        "CLIENT KILL TYPE normal",
        "SET a 1",
    ] {
        w.send(link, &command(&line.split(' ').collect::<Vec<_>>()));
    }
    assert_eq!((w.exit, w.node.parts.busy.holds_all()), (None, false));
    let c = w.connect();
    assert_eq!(w.request(c, "EXISTS old a in"), ":3\r\n");
    assert!(w.request(c, "ROLE").contains("connected"));
    assert_eq!(w.take(link), "", "a replica sends no replies");
    for line in ["WAIT 1 0", "RESET", "SELECT 99999999999"] {
        let (mut w, link) = replica("", &["old"]);
        w.send(link, &command(&line.split(' ').collect::<Vec<_>>()));
        assert_eq!((&w.closed[..], w.exit), (&[link][..], None), "{line}");
        let c = w.connect();
        assert!(w.request(c, "ROLE").contains("slave"));
    }
}

#[test]
fn reading_from_a_paused_master_is_bounded() {
    let (mut w, link) = replica("", &[]);
    let c = w.connect();
    w.request(c, "CLIENT PAUSE 200000 ALL");
    let part = command(&["SET", "a", &"x".repeat(100_000)]);
    let mut sent = 0;
    while let Some(buffer) = w.node.read_buffer(link) {
        buffer.extend_from_slice(&part);
        w.node.received(w.now, link);
        w.run();
        sent += part.len();
        assert!(sent < 64 << 20, "reading must end");
    }
    for _ in 0..100 {
        w.advance_ms(1000);
    }
    assert!(!w.closed.contains(&link), "a held master does not time out");
    w.advance_ms(101_000);
    assert_eq!(w.node.parts.master.stream.offset(), 100 + i64::try_from(sent).unwrap());
}

// Faults.

#[test]
fn time_in_which_the_process_was_stopped_causes_no_timeouts() {
    let mut w = Driver::new("save \"\"\nrepl-timeout 10\n");
    let r = attach(&mut w);
    w.jump(Duration::from_secs(600));
    w.advance_ms(1000);
    assert_eq!(w.closed, []);
    for _ in 0..15 {
        w.advance_ms(1000);
    }
    assert_eq!(w.closed, [r], "now it really is silent");
    let (mut w, link) = replica("repl-timeout 10\n", &[]);
    w.jump(Duration::from_secs(600));
    w.advance_ms(1000);
    assert_eq!(w.closed, []);
    for _ in 0..15 {
        w.advance_ms(1000);
    }
    assert_eq!(w.closed, [link]);
}

#[test]
fn a_replica_that_never_acknowledges_its_payload_is_disconnected() {
    let mut w = Driver::new("save \"\"\nrepl-timeout 10\nrepl-diskless-sync-delay 0\n");
    let r = w.connect();
    w.request(r, "REPLCONF capa eof capa psync2");
    assert!(w.request(r, "PSYNC ? -1").contains("$EOF:"));
    for _ in 0..30 {
        w.advance_ms(1000);
        w.send(r, b"\n");
    }
    assert_eq!(w.closed, [], "newlines prevent a timeout");
    for _ in 0..15 {
        w.advance_ms(1000);
    }
    assert_eq!(w.closed, [r]);
}

#[test]
fn the_wall_clock_may_jump_by_years() {
    let year_us: i64 = 365 * 86_400 * 1_000_000;
    for years in [-10, 10, -60, 200] {
        let mut w = Driver::new("save 10 1\n");
        let c = w.connect();
        w.request(c, "SET forever x");
        w.now.wall_us += years * year_us;
        w.advance_ms(1000);
        w.request(c, "SET a x");
        w.request(c, "SET b x EX 100");
        let left: i64 = w.request(c, "TTL b").trim_start_matches(':').trim().parse().unwrap();
        assert!((99..=100).contains(&left), "{years}: {left}");
        for line in
            ["TIME", "LASTSAVE", "INFO everything", "OBJECT IDLETIME a", "EXPIRE b 50", "PTTL b"]
        {
            assert!(!w.request(c, line).starts_with('-'), "{line}");
        }
        for _ in 0..15 {
            w.advance_ms(1000);
        }
        assert!(w.files.contains_key("dump.rdb"), "a save point is reached: {years}");
        assert_eq!(w.request(c, "EXISTS forever a b"), ":3\r\n");
        w.now.wall_us -= years * year_us;
        w.advance_ms(1000);
        assert_eq!(w.request(c, "EXISTS forever a"), ":2\r\n", "{years}");
    }
}

#[test]
fn writes_are_refused_from_a_failed_save_until_the_next_good_one() {
    let mut w = Driver::new("save 10 1\n");
    let c = w.connect();
    w.request(c, "SET a 1");
    w.snapshots.errors.push_back("No space left on device".to_owned());
    w.request(c, "BGSAVE");
    w.now.wall_us -= 1_000_000_000_000;
    for refused in ["SET a 2", "PING", "PING x"] {
        assert!(w.request(c, refused).starts_with("-MISCONF"), "{refused}");
    }
    w.request(c, "MULTI");
    assert!(w.request(c, "PING").starts_with("-MISCONF"));
    assert!(w.request(c, "EXEC").starts_with("-EXECABORT"));
    assert!(w.request(c, "CONFIG SET stop-writes-on-bgsave-error no").starts_with("+OK"));
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
    w.request(c, "CONFIG SET stop-writes-on-bgsave-error yes");
    assert_eq!(w.request(c, "GET a"), "$1\r\n1\r\n");
    for _ in 0..15 {
        w.advance_ms(1000);
    }
    assert_eq!(w.request(c, "SET a 2"), "+OK\r\n", "the save was retried");
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
}

#[test]
fn a_replica_shows_that_it_cannot_save() {
    let (mut w, link) = replica("save 10 1\n", &["a"]);
    let c = w.connect();
    w.snapshots.errors.push_back("No space left on device".to_owned());
    w.request(c, "BGSAVE");
    assert!(w.request(c, "PING").starts_with("-MISCONF"));
    assert!(w.request(c, "SET a 2").starts_with("-MISCONF"));
    assert_eq!(w.request(c, "GET a"), "$1\r\na\r\n");
    // The master's is not refused.
    w.send(link, &command(&["PING"]));
    assert_eq!((&w.closed[..], w.exit), (&[][..], None));
    // Without save points nobody asked for saves.
    w.request(c, "CONFIG SET save \"\"");
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
}

#[test]
fn ten_thousand_clients_can_connect_be_listed_and_disconnect() {
    let mut w = Driver::new("maxclients 20000\n");
    let all: Vec<Handle> = (0..10_000).map(|_| w.connect()).collect();
    for &client in &all {
        w.send(client, b"WATCH shared\r\n");
    }
    let listed = w.request(all[0], "CLIENT LIST");
    assert_eq!(listed.matches("\nid=").count(), 10_000);
    w.request(all[1], "SET shared 1");
    assert_eq!(w.request(all[0], "CLIENT KILL TYPE normal"), ":9999\r\n");
    assert_eq!(w.node.parts.clients.len(), 1);
    assert_eq!(w.node.data.watch.len(), 1);
}

#[test]
fn what_peers_say_about_themselves_forges_no_information() {
    const FORGED: &str = "x\r\nrole:forged";
    let mut w = Driver::new("enable-debug-command yes\n");
    let r = w.connect();
    for option in ["ip-address", "version", "capa"] {
        for value in [FORGED, "a b", "1.2.3.4,port=1,state=online", "\0", "\u{1b}[2J"] {
            w.send(r, &command(&["REPLCONF", option, value]));
            let reply = w.take(r);
            let is_shown = option == "ip-address" || value.contains(char::is_control);
            let is_refused = reply.starts_with("-ERR");
            assert!(is_refused || option == "capa" || !is_shown, "{option} {value:?}: {reply}");
        }
    }
    w.send(r, &command(&["REPLCONF", "version", &"7".repeat(65)]));
    assert!(w.take(r).starts_with("-ERR"));
    for name in ["replica-1.example", "fe80::1%eth0", "10.0.0.9", ""] {
        w.send(r, &command(&["REPLCONF", "ip-address", name, "version", "7.2.4"]));
        assert_eq!(w.take(r), "+OK\r\n");
    }
    let c = w.connect();
    for host in [FORGED, "a b", ""] {
        w.send(c, &command(&["REPLICAOF", host, "6379"]));
        assert_eq!(w.take(c), "-ERR Invalid master host\r\n");
    }
    for request in [
        &["DEBUG", "ERROR", FORGED][..],
        &["CLIENT", "SETNAME", FORGED],
        &["CLIENT", "SETINFO", "lib-name", FORGED],
        &["HELLO", "3", "SETNAME", FORGED],
        &["CONFIG", "SET", "replica-announce-ip", FORGED],
        &[FORGED],
    ] {
        w.send(c, &command(request));
        assert!(w.take(c).starts_with('-'), "{request:?}");
    }
    w.request(r, "PSYNC ? -1");
    for shown in [w.request(c, "INFO everything"), w.request(c, "CLIENT LIST")] {
        assert!(shown.lines().all(|line| !line.starts_with("role:forged")), "{shown}");
    }
    assert!(w.log.iter().all(|line| !line.contains(char::is_control)), "{:?}", w.log);
}
