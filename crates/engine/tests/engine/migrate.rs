//! MIGRATE against a target that a script plays, which also fails in every way that a target can.

use std::time::Duration;

use russet_driver::{Driver, peers};
use russet_engine::io::{Endpoints, Handle, Signal};

const OK: &str = "+OK\r\n";
const READING: &str = "-IOERR error or timeout reading to target instance\r\n";
const WRITING: &str = "-IOERR error or timeout writing to target instance\r\n";
const CONNECTING: &str = "-IOERR error or timeout connecting to the client\r\n";

/// Returns a node with the keys `a`, `b` and `c`, and a client.
fn node(conf: &str) -> (Driver, Handle) {
    let mut w = Driver::new(&format!("save \"\"\n{conf}"));
    let c = w.connect();
    for key in ["a", "b", "c"] {
        w.request(c, &format!("SET {key} value:{key}"));
    }
    (w, c)
}

fn ends() -> Endpoints {
    Endpoints::Tcp { peer: ([10, 0, 0, 1], 7000).into(), local: ([127, 0, 0, 1], 5).into() }
}

/// Sends a request that is not answered yet, and accepts the connection that it opens.
fn begin(w: &mut Driver, c: Handle, line: &str) -> Handle {
    let replied = w.request(c, line);
    assert!(replied.is_empty() || replied.starts_with('*'), "{replied}");
    let link = *w.connecting.first().expect("a connection to the target");
    w.connected(link, ends());
    link
}

/// Returns the words of the commands that a link was sent.
fn commands(w: &mut Driver, link: Handle) -> Vec<Vec<String>> {
    let bytes = w.take_raw(link);
    let mut rest = &bytes[..];
    let mut line = || -> Option<(u8, usize)> {
        let end = rest.iter().position(|&byte| byte == b'\n')?;
        let number = String::from_utf8_lossy(&rest[1..end - 1]).parse().expect("a length");
        let kind = rest[0];
        rest = &rest[end + 1..];
        if kind == b'$' {
            // The caller takes the bytes of a word.
            WORD.with_borrow_mut(|word| *word = rest[..number].to_vec());
            rest = &rest[number + 2..];
        }
        Some((kind, number))
    };
    let mut found = Vec::new();
    while let Some((b'*', words)) = line() {
        let word = |_| {
            line().expect("a word");
            WORD.with_borrow(|word| String::from_utf8_lossy(word).into_owned())
        };
        found.push((0..words).map(word).collect());
    }
    found
}

thread_local! {
    static WORD: std::cell::RefCell<Vec<u8>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Returns the first three words of the commands that a link was sent, as text.
fn heads(w: &mut Driver, link: Handle) -> Vec<String> {
    let head = |words: &Vec<String>| words[..words.len().min(3)].join(" ");
    commands(w, link).iter().map(head).collect()
}

/// The keys that are left, in order.
fn keys(w: &mut Driver) -> String {
    let c = w.connect();
    ["a", "b", "c"]
        .into_iter()
        .filter(|key| w.request(c, &format!("EXISTS {key}")) == ":1\r\n")
        .collect()
}

#[test]
fn a_key_moves_when_the_target_has_it() {
    let (mut w, c) = node("");
    w.request(c, "PEXPIRE a 5000");
    let link = begin(&mut w, c, "MIGRATE host 7000 a 3 100");
    assert_eq!(w.targets[&link], ("host".to_owned(), 7000));
    assert_eq!(heads(&mut w, link), ["SELECT 3"]);
    w.send(link, b"+OK\r\n");
    assert_eq!(heads(&mut w, link), ["RESTORE a 5000"]);
    assert_eq!(w.take(c), "");
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert_eq!(keys(&mut w), "bc");
    // The connection is used again, with its database.
    assert_eq!(w.request(c, "MIGRATE host 7000 b 3 100 REPLACE"), "");
    let sent = commands(&mut w, link);
    assert_eq!(
        (&sent[0][0..3], &*sent[0][4]),
        (&["RESTORE", "b", "0"].map(String::from)[..], "REPLACE")
    );
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert_eq!(w.request(c, "MIGRATE host 7000 c 4 100 COPY"), "");
    assert_eq!(heads(&mut w, link), ["SELECT 4"]);
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert_eq!(keys(&mut w), "c");
    assert!(w.request(c, "INFO stats").contains("migrate_cached_sockets:1\r\n"));
    w.advance(Duration::from_secs(9));
    assert!(w.is_open(link));
    w.advance(Duration::from_secs(2));
    assert!(!w.is_open(link));
    assert!(w.request(c, "INFO stats").contains("migrate_cached_sockets:0\r\n"));
}

#[test]
fn what_does_not_exist_is_left_out() {
    let (mut w, c) = node("");
    for line in ["MIGRATE h 1 x 0 9", "MIGRATE h 1 \"\" 0 9 KEYS", "MIGRATE h 1 \"\" 0 9 KEYS x y"]
    {
        assert_eq!(w.request(c, line), "+NOKEY\r\n", "{line}");
    }
    w.request(c, "PEXPIRE b 1");
    w.advance_ms(5);
    let link = begin(&mut w, c, "MIGRATE h 1 \"\" 0 100 COPY KEYS x a b y c");
    w.send(link, b"+OK\r\n");
    assert_eq!(heads(&mut w, link)[1..], ["RESTORE a 0", "RESTORE c 0"]);
    w.send(link, b"+OK\r\n+OK\r\n");
    assert_eq!(w.take(c), OK);
}

#[test]
fn an_error_leaves_its_key_and_the_first_one_is_replied() {
    let (mut w, c) = node("");
    let r = peers::attach(&mut w);
    let link = begin(&mut w, c, "MIGRATE h 1 \"\" 0 100 KEYS a b c");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n-BUSYKEY it\r\n-LATER\r\n");
    assert_eq!(w.take(c), "-ERR Target instance replied with error: BUSYKEY it\r\n");
    assert_eq!(keys(&mut w), "bc");
    let stream = w.take(r);
    assert!(stream.contains("*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"), "{stream}");
    assert!(!stream.contains("MIGRATE"), "{stream}");
    // The database is selected again after an error.
    assert_eq!(w.request(c, "MIGRATE h 1 \"\" 0 100 KEYS b c"), "");
    w.take(link);
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert!(w.take(r).contains("*3\r\n$3\r\nDEL\r\n$1\r\nb\r\n$1\r\nc\r\n"));
}

#[test]
fn a_target_that_refuses_us_gets_no_keys() {
    for (options, replies, error) in [
        ("AUTH secret", "-WRONGPASS no\r\n+OK\r\n", "WRONGPASS no"),
        (
            "AUTH2 me secret",
            "+OK\r\n-ERR DB index is out of range\r\n",
            "ERR DB index is out of range",
        ),
        ("AUTH secret", "-NOAUTH x\r\n-NOAUTH y\r\n", "NOAUTH x"),
    ] {
        let (mut w, c) = node("");
        let link = begin(&mut w, c, &format!("MIGRATE h 1 a 99 100 {options}"));
        let sent = commands(&mut w, link);
        let expected: Vec<String> =
            options.replace("AUTH2", "AUTH").split(' ').map(str::to_owned).collect();
        assert_eq!(sent, [expected, vec!["SELECT".to_owned(), "99".to_owned()]]);
        w.send(link, replies.as_bytes());
        assert_eq!(w.take(c), format!("-ERR Target instance replied with error: {error}\r\n"));
        assert_eq!(w.take(link), "");
        assert_eq!(keys(&mut w), "abc");
        assert!(w.is_open(link));
    }
}

#[test]
fn nobody_changes_the_keys_meanwhile() {
    for (line, after) in [
        ("SET a new", OK),
        ("GET a", "$-1\r\n"),
        ("EXISTS a", ":0\r\n"),
        ("PEXPIRE a 1", ":0\r\n"),
        ("RENAME a x", "-ERR no such key\r\n"),
        ("RENAME b a", OK),
        ("COPY b a DB 1", ":1\r\n"),
        ("DBSIZE", ":2\r\n"),
        ("KEYS a", "*0\r\n"),
        ("RANDOMKEY", "$1\r\n"),
        ("WATCH b a", OK),
        ("FLUSHALL", OK),
        ("SWAPDB 0 1", OK),
        ("CONFIG SET maxclients 100", OK),
        ("MIGRATE h 2 nokey 0 100", "+NOKEY\r\n"),
    ] {
        let (mut w, c) = node("");
        let other = w.connect();
        let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
        w.send(link, b"+OK\r\n");
        assert_eq!(w.request(other, line), "", "{line}");
        w.advance_ms(50);
        assert_eq!(w.take(other), "", "{line}");
        w.send(link, b"+OK\r\n");
        assert_eq!(w.take(c), OK);
        let reply = w.take(other);
        assert!(reply.starts_with(after), "{line}: {reply}");
    }
}

#[test]
fn others_are_served_meanwhile() {
    let (mut w, c) = node("");
    let r = peers::attach(&mut w);
    let others: Vec<Handle> = (0..3).map(|_| w.connect()).collect();
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    for (line, reply) in [
        ("GET b", "$7\r\nvalue:b\r\n"),
        ("RENAME b d", OK),
        ("PING", "+PONG\r\n"),
        ("SELECT 1", OK),
        ("SET d 1", OK),
        ("PUBLISH ch x", ":0\r\n"),
        ("MULTI", OK),
        ("SET d 2", "+QUEUED\r\n"),
        ("SET a 2", "+QUEUED\r\n"),
    ] {
        assert_eq!(w.request(others[0], line), reply, "{line}");
    }
    assert!(w.request(others[1], "INFO stats").contains("migrate_cached_sockets:1\r\n"));
    // What is held, holds what is behind it.
    assert_eq!(w.request(others[0], "EXEC"), "");
    assert_eq!(w.request(others[1], "MIGRATE h 1 c 0 100\r\nPING"), "");
    assert_eq!(w.request(others[2], "GET a"), "");
    // A replica is not.
    w.take(r);
    w.request(r, "REPLCONF ACK 14");
    assert_eq!(w.node.parts.master.replicas()[0].acked_offset(), 14);
    assert!(!w.take(r).contains("DEL"));
    w.send(link, b"+OK\r\n");
    assert_eq!([w.take(c), w.take(others[2])], [OK, "$-1\r\n"]);
    assert_eq!(w.take(others[0]), "*2\r\n+OK\r\n+OK\r\n");
    assert!(w.take(r).contains("*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"));
    assert_eq!(heads(&mut w, link)[2..], ["RESTORE c 0"]);
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(others[1]), "+OK\r\n+PONG\r\n");
}

#[test]
fn a_key_that_expires_meanwhile_moves_or_stays_away() {
    for (reply, answer) in [("+OK\r\n", OK), ("", READING)] {
        let (mut w, c) = node("");
        w.request(c, "PEXPIRE a 20");
        let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
        w.send(link, b"+OK\r\n");
        assert_eq!(heads(&mut w, link)[1], "RESTORE a 20");
        w.advance_ms(50);
        w.send(link, reply.as_bytes());
        w.advance_ms(100);
        assert_eq!(w.take(c), answer);
        assert_eq!(keys(&mut w), "bc");
    }
}

#[test]
fn a_silent_target_keeps_nobody_waiting_for_long() {
    // Not connected, no reply to SELECT, none to RESTORE.
    for steps in 0..3 {
        let (mut w, c) = node("");
        let other = w.connect();
        assert_eq!(w.request(c, "MIGRATE h 1 a 0 100"), "");
        let link = w.connecting[0];
        if steps > 0 {
            w.connected(link, ends());
        }
        if steps > 1 {
            w.advance_ms(90);
            w.send(link, b"+OK\r\n");
        }
        w.request(other, "SET a new");
        w.advance_ms(99);
        assert_eq!(w.take(c), "", "{steps}");
        w.advance_ms(2);
        assert_eq!(w.take(c), if steps == 0 { CONNECTING } else { READING });
        assert_eq!(w.take(other), OK);
        assert_eq!(keys(&mut w), "abc");
        assert!(w.targets.is_empty() && w.closed.contains(&link));
        // It was late.
        w.send(link, b"+OK\r\n");
        assert_eq!(w.request(c, "GET a"), "$3\r\nnew\r\n");
    }
}

#[test]
fn the_timeout_has_a_default() {
    let (mut w, c) = node("");
    assert_eq!(w.request(c, "MIGRATE h 1 a 0 0"), "");
    w.advance_ms(999);
    assert_eq!(w.take(c), "");
    w.advance_ms(2);
    assert_eq!(w.take(c), CONNECTING);
}

#[test]
fn a_target_that_cannot_be_reached_is_an_error() {
    let (mut w, c) = node("");
    assert_eq!(w.request(c, "MIGRATE h 1 a 0 100"), "");
    let link = w.connecting[0];
    w.connect_failed(link, "Connection refused");
    assert_eq!(w.take(c), CONNECTING);
    for port in ["0", "65536", "x", "-1"] {
        assert_eq!(w.request(c, &format!("MIGRATE h {port} a 0 100")), CONNECTING);
    }
    assert_eq!(keys(&mut w), "abc");
    assert!(w.request(c, "INFO stats").contains("migrate_cached_sockets:0\r\n"));
}

#[test]
fn a_closed_connection_is_opened_again_once() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.disconnect(link);
    assert_eq!(w.take(c), "");
    let second = w.connecting[0];
    w.connected(second, ends());
    assert_eq!(heads(&mut w, second), ["SELECT 0"]);
    w.send(second, b"+OK\r\n");
    assert_eq!(heads(&mut w, second), ["RESTORE a 0"]);
    w.disconnect(second);
    assert_eq!(w.take(c), READING);
    assert_eq!(keys(&mut w), "abc");
    // One that is kept and closed meanwhile is forgotten.
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    w.disconnect(link);
    begin(&mut w, c, "MIGRATE h 1 b 0 100");
}

#[test]
fn what_was_acknowledged_before_the_end_has_moved() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 \"\" 0 100 KEYS a b c");
    w.send(link, b"+OK\r\n");
    w.queue(link, b"+OK\r\n+O");
    w.read_connections();
    w.disconnect(link);
    assert_eq!(w.take(c), READING);
    assert_eq!(keys(&mut w), "bc");
    assert!(w.connecting.is_empty(), "it is not tried again");
}

#[test]
fn an_error_of_the_target_counts_more_than_its_end() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 \"\" 0 100 KEYS a b c");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n-OOM x\r\n");
    w.disconnect(link);
    assert_eq!(w.take(c), "-ERR Target instance replied with error: OOM x\r\n");
    assert_eq!(keys(&mut w), "bc");
}

#[test]
fn only_ok_acknowledges() {
    for reply in [
        "+PONG\r\n",
        ":1\r\n",
        "$2\r\nOK\r\n",
        "$-1\r\n",
        "HTTP/1.1 400\r\n",
        "*0\r\n",
        "+OK\n\r\n",
    ] {
        for at in 0..2 {
            let (mut w, c) = node("");
            let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
            if at > 0 {
                w.send(link, b"+OK\r\n");
            }
            w.send(link, reply.as_bytes());
            assert_eq!(w.take(c), READING, "{reply}");
            assert_eq!(keys(&mut w), "abc", "{reply}");
            assert!(!w.is_open(link));
        }
    }
}

#[test]
fn more_replies_than_commands_close_the_connection() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n+OK\r\n");
    // The second came before the payload: who knows what it answers.
    assert_eq!(w.take(c), READING);
    assert_eq!(keys(&mut w), "abc");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert!(!w.is_open(link));
    let link = begin(&mut w, c, "MIGRATE h 1 b 0 100");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n");
    w.send(link, b"-ERR idle\r\n");
    assert!(!w.is_open(link));
}

#[test]
fn nothing_is_sent_before_the_connection_is_open() {
    let (mut w, c) = node("");
    let idle = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(idle, b"+OK\r\n");
    w.send(idle, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert_eq!(w.request(c, "MIGRATE h 2 b 0 100"), "");
    let link = w.connecting[0];
    w.send(idle, b"+OK\r\n");
    assert_eq!(w.node.outbox(link).map(|outbox| outbox.len()), Some(0));
    w.connected(link, ends());
    assert_eq!(heads(&mut w, link), ["SELECT 0"]);
}

#[test]
fn a_client_that_closes_does_not_stop_the_migration() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.disconnect(c);
    let other = w.connect();
    assert_eq!(w.request(other, "GET a"), "");
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(other), "$-1\r\n");
    assert_eq!(keys(&mut w), "bc");
}

#[test]
fn a_transaction_waits_for_its_migrations() {
    let (mut w, c) = node("");
    let r = peers::attach(&mut w);
    let other = w.connect();
    for line in ["MULTI", "SET x 1", "MIGRATE h 1 a 0 100", "MIGRATE h 1 b 0 100", "EXISTS a b"] {
        w.request(c, line);
    }
    w.request(c, "MIGRATE h 1 nokey 0 100");
    let link = begin(&mut w, c, "EXEC");
    w.send(link, b"+OK\r\n");
    w.request(other, "SET a new");
    w.send(link, b"+OK\r\n");
    assert_eq!(heads(&mut w, link)[2..], ["RESTORE b 0"]);
    assert_eq!((&*w.take(c), &*w.take(other)), (OK, ""));
    assert!(!w.take(r).contains("DEL"), "half of a transaction");
    w.send(link, b"-BUSYKEY x\r\n");
    let error = "-ERR Target instance replied with error: BUSYKEY x\r\n";
    assert_eq!(w.take(c), format!("{error}:1\r\n+NOKEY\r\n"));
    assert_eq!(w.take(other), OK);
    let stream = w.take(r);
    let order = ["MULTI", "SET\r\n$1\r\nx", "DEL\r\n$1\r\na", "EXEC", "SET\r\n$1\r\na"];
    let at: Vec<_> = order.iter().map(|text| stream.find(text).expect(text)).collect();
    assert!(at.is_sorted(), "{stream}");
}

#[test]
fn a_transaction_whose_client_closes_goes_on() {
    let (mut w, c) = node("");
    for line in ["MULTI", "MIGRATE h 1 a 0 100", "SET x 1"] {
        w.request(c, line);
    }
    let link = begin(&mut w, c, "EXEC");
    w.disconnect(c);
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n");
    let other = w.connect();
    assert_eq!(w.request(other, "EXISTS a x"), ":1\r\n");
}

#[test]
fn watchers_notice_that_a_key_has_moved() {
    let (mut w, c) = node("");
    let other = w.connect();
    for line in ["WATCH a", "MULTI", "PING"] {
        w.request(other, line);
    }
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.send(link, b"+OK\r\n");
    assert_eq!(w.request(other, "EXEC"), "*-1\r\n");
}

#[test]
fn a_shutdown_waits_for_the_end() {
    let (mut w, c) = node("save 3600 1\nappendonly no\n");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 1000");
    w.send(link, b"+OK\r\n");
    w.input(russet_engine::io::Input::Signal(Signal::Terminate));
    w.advance_ms(500);
    assert_eq!(w.exit, None);
    w.send(link, b"+OK\r\n");
    assert_eq!(w.exit, Some(0));
    assert_eq!(w.take(c), OK);
    let mut again = Driver::with_files("", w.files);
    assert_eq!(keys(&mut again), "bc");
}

fn set_long(w: &mut Driver, c: Handle, key: &str) {
    w.send(c, &peers::command(&["SET", key, &"x".repeat(200_000)]));
    assert_eq!(w.take(c), OK);
}

#[test]
fn payloads_wait_in_bounded_memory() {
    let (mut w, c) = node("client-query-buffer-limit 64mb\nrdbcompression no\n");
    let mut names = String::new();
    for index in 0..20 {
        set_long(&mut w, c, &format!("k{index}"));
        names.push_str(&format!(" k{index}"));
    }
    let link = begin(&mut w, c, &format!("MIGRATE h 1 \"\" 0 100 KEYS{names}"));
    w.set_read_limit(link, Some(100_000));
    w.send(link, b"+OK\r\n");
    let mut read = 0;
    while read < 20 * 200_000 {
        let waiting = w.node.outbox(link).map_or(0, |outbox| outbox.len());
        assert!(waiting < 600_000, "{waiting}");
        w.advance_ms(90);
        w.raise_read_limit(link, 100_000);
        read += w.take_raw(link).len();
        assert_eq!(w.take(c), "", "{read}");
    }
    w.set_read_limit(link, None);
    w.send(link, "+OK\r\n".repeat(20).as_bytes());
    assert_eq!(w.take(c), OK);
    assert_eq!(w.request(c, "DBSIZE"), ":3\r\n");
    // One that does not read is silent.
    set_long(&mut w, c, "k");
    assert_eq!(w.request(c, "MIGRATE h 1 k 0 100"), "");
    w.set_read_limit(link, Some(0));
    w.advance_ms(101);
    assert!([READING, WRITING].contains(&&*w.take(c)));
}

#[test]
fn arguments() {
    let (mut w, c) = node("");
    let syntax = "-ERR syntax error\r\n";
    let number = "-ERR value is not an integer or out of range\r\n";
    for (line, reply) in [
        ("MIGRATE h 1 a 0", "-ERR wrong number of arguments for 'migrate' command\r\n"),
        ("MIGRATE h 1 a x 9", number),
        ("MIGRATE h 1 a 0 x", number),
        ("MIGRATE h 1 a 0 9 MOVE", syntax),
        ("MIGRATE h 1 a 0 9 AUTH", syntax),
        ("MIGRATE h 1 a 0 9 AUTH2 u", syntax),
        (
            "MIGRATE h 1 a 0 9 KEYS b",
            "-ERR When using MIGRATE KEYS option, the key argument must be set to the empty string\r\n",
        ),
        ("COMMAND GETKEYS MIGRATE h 1 a 0 9 AUTH KEYS", "*1\r\n$1\r\na\r\n"),
        (
            "COMMAND GETKEYS MIGRATE h 1 \"\" 0 9 AUTH2 KEYS p COPY KEYS x KEYS",
            "*2\r\n$1\r\nx\r\n$4\r\nKEYS\r\n",
        ),
        (
            "COMMAND GETKEYS MIGRATE h 1 a 0 9 KEYS x",
            "-ERR Invalid arguments specified for command\r\n",
        ),
    ] {
        assert_eq!(w.request(c, line), reply, "{line}");
    }
}

#[test]
fn connections_that_are_kept_have_a_limit() {
    let (mut w, c) = node("");
    let mut first = None;
    for port in 1..=70 {
        w.request(c, "SET k 1");
        let link = begin(&mut w, c, &format!("MIGRATE h {port} k 0 100"));
        first = first.or(Some(link));
        w.send(link, b"+OK\r\n");
        w.send(link, b"+OK\r\n");
        assert_eq!(w.take(c), OK);
        w.advance_ms(1);
    }
    assert!(w.request(c, "INFO stats").contains("migrate_cached_sockets:64\r\n"));
    assert!(!w.is_open(first.expect("the first")));
    assert!(w.request(c, "INFO clients").contains("connected_clients:1\r\n"));
    assert_eq!(w.request(c, "CLIENT LIST").matches("id=").count(), 1);
}

#[test]
fn the_reply_waits_for_the_append_only_file() {
    for in_exec in [false, true] {
        let (mut w, c) = node("appendonly yes\nappendfsync always\n");
        if in_exec {
            w.request(c, "MULTI");
            w.request(c, "MIGRATE h 1 a 0 100");
        }
        let line = if in_exec { "EXEC" } else { "MIGRATE h 1 a 0 100" };
        let link = begin(&mut w, c, line);
        w.send(link, b"+OK\r\n");
        w.take(c);
        w.appends.syncs_held = true;
        let other = w.connect();
        w.send(link, b"+OK\r\n");
        assert_eq!([w.request(other, "EXISTS a"), w.take(c)], ["", ""], "{in_exec}");
        w.finish_syncs();
        let all = [w.take(other), w.take(c).replace("*1\r\n", "")];
        assert_eq!(all, [":0\r\n", OK], "{in_exec}");
        let mut again = Driver::with_files("appendonly yes\n", w.files);
        assert_eq!(keys(&mut again), "bc");
    }
}

/// Returns a writable replica that moves the key `a` of its master, the link to its master, and the client.
fn moving_replica() -> (Driver, Handle, Handle, Handle) {
    let (mut w, master) = peers::replica("replica-read-only no\n", &["a"]);
    let c = w.connect();
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100000");
    w.send(link, b"+OK\r\n");
    (w, master, link, c)
}

#[test]
fn the_stream_of_a_master_waits() {
    let (mut w, master, link, c) = moving_replica();
    w.send(master, &peers::command(&["APPEND", "a", "more"]));
    w.send(link, b"+OK\r\n");
    assert_eq!(w.take(c), OK);
    assert_eq!(w.request(c, "GET a"), "$4\r\nmore\r\n");
}

#[test]
fn a_migration_of_data_that_was_replaced_deletes_nothing() {
    let (mut w, master, link, c) = moving_replica();
    w.disconnect(master);
    w.advance_ms(2000);
    let master = peers::link(&w).expect("it connects again");
    peers::connected(&mut w, master);
    w.send(master, &peers::payload(&["a", "new"]));
    let other = w.connect();
    assert_eq!(w.request(other, "EXISTS new"), ":1\r\n");
    w.send(link, b"+OK\r\n");
    let error = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";
    assert_eq!(w.take(c), error);
    assert_eq!(w.request(other, "GET a"), "$1\r\na\r\n");
}

#[test]
fn a_client_that_sends_no_more_gets_its_replies() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    let other = w.connect();
    assert_eq!(w.request(other, "GET a"), "");
    assert!(w.node.works_for(c) && w.node.works_for(other));
    w.send(link, b"+OK\r\n");
    assert!(!w.node.works_for(c) && !w.node.works_for(other));
}

#[test]
fn a_process_that_was_stopped_hears_what_has_arrived() {
    let (mut w, c) = node("");
    let link = begin(&mut w, c, "MIGRATE h 1 a 0 100");
    w.send(link, b"+OK\r\n");
    w.queue(link, b"+OK\r\n");
    w.jump(Duration::from_secs(10));
    assert_eq!(w.take(c), OK);
}
