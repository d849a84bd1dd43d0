//! CLIENT, including pauses.

use russet_driver::Driver;

/// The fields of a line of CLIENT LIST, in order.
const FIELDS: [&str; 30] = [
    "id",
    "addr",
    "laddr",
    "fd",
    "name",
    "age",
    "idle",
    "flags",
    "db",
    "sub",
    "psub",
    "ssub",
    "multi",
    "watch",
    "qbuf",
    "qbuf-free",
    "argv-mem",
    "multi-mem",
    "rbs",
    "rbp",
    "obl",
    "oll",
    "omem",
    "tot-mem",
    "events",
    "cmd",
    "user",
    "redir",
    "resp",
    "lib-name",
];

/// Returns the lines of a bulk reply.
fn lines(reply: &str) -> Vec<&str> {
    reply.lines().skip(1).filter(|line| !line.is_empty()).collect()
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let pair = line.split(' ').find_map(|pair| pair.split_once('=').filter(|(n, _)| *n == name));
    pair.expect("the line has the field").1
}

#[test]
fn a_line_has_all_fields_in_order() {
    let mut w = Driver::new("protected-mode no\n");
    let (c, d) = (w.connect(), w.connect_from("[2001:db8::1]:7777"));
    w.request(c, "CLIENT SETNAME me");
    w.request(c, "CLIENT SETINFO lib-name lettuce(1)");
    w.request(c, "CLIENT SETINFO LIB-VER 1.2");
    w.request(c, "SELECT 3");
    w.request(c, "CLIENT NO-EVICT on");
    w.request(c, "CLIENT NO-TOUCH on");
    w.advance_ms(3000);
    let reply = w.request(c, "CLIENT INFO");
    let line = lines(&reply)[0];
    let names: Vec<&str> = line.split(' ').map(|pair| pair.split_once('=').expect("=").0).collect();
    assert_eq!(names[..30], FIELDS);
    assert_eq!(names[30..], ["lib-ver"]);
    for (name, value) in [
        ("id", "1"),
        ("addr", "127.0.0.1:50000"),
        ("laddr", "127.0.0.1:6379"),
        ("name", "me"),
        ("age", "3"),
        ("idle", "0"),
        ("flags", "eT"),
        ("db", "3"),
        ("multi", "-1"),
        ("watch", "0"),
        ("qbuf", "0"),
        ("obl", "0"),
        ("omem", "0"),
        ("cmd", "client|info"),
        ("argv-mem", "10"),
        ("user", "default"),
        ("redir", "-1"),
        ("resp", "2"),
        ("events", "r"),
        ("lib-name", "lettuce(1)"),
        ("lib-ver", "1.2"),
    ] {
        assert_eq!(field(line, name), value, "{name}");
    }
    w.request(d, "WATCH a b");
    w.request(d, "MULTI");
    w.request(d, "SET a 123");
    let reply = w.request(c, "CLIENT LIST ID 99 2 -1");
    assert_eq!(lines(&reply).len(), 1);
    let line = lines(&reply)[0];
    for (name, value) in [
        ("addr", "[2001:db8::1]:7777"),
        ("flags", "x"),
        ("multi", "1"),
        ("watch", "2"),
        ("multi-mem", "7"),
        ("cmd", "set"),
        ("lib-name", ""),
    ] {
        assert_eq!(field(line, name), value, "{name}");
    }
    assert_eq!(lines(&w.request(c, "CLIENT LIST")).len(), 2);
    assert_eq!(lines(&w.request(c, "CLIENT LIST TYPE normal")).len(), 2);
    assert_eq!(lines(&w.request(c, "CLIENT LIST TYPE REPLICA")).len(), 0);
    assert_eq!(w.request(c, "CLIENT LIST TYPE x"), "-ERR Unknown client type 'x'\r\n");
    assert_eq!(w.request(c, "CLIENT LIST ID x"), "-ERR Invalid client ID\r\n");
    assert_eq!(w.request(c, "CLIENT LIST ID"), "-ERR syntax error\r\n");
    assert_eq!(w.request(c, "CLIENT LIST x y"), "-ERR syntax error\r\n");
}

#[test]
fn names_and_small_replies() {
    let mut w = Driver::new("");
    let c = w.connect();
    assert_eq!(w.request(c, "CLIENT GETNAME"), "$-1\r\n");
    let bad = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";
    assert_eq!(w.request(c, "CLIENT SETNAME \"a b\""), bad);
    assert_eq!(w.request(c, "CLIENT SETNAME \"a\\nb\""), bad);
    assert_eq!(w.request(c, "CLIENT SETNAME a"), "+OK\r\n");
    assert_eq!(w.request(c, "CLIENT SETNAME \"\""), "+OK\r\n");
    assert_eq!(w.request(c, "CLIENT GETNAME"), "$-1\r\n");
    assert_eq!(w.request(c, "CLIENT SETINFO x y"), "-ERR Unrecognized option 'x'\r\n");
    assert_eq!(
        w.request(c, "CLIENT SETINFO lib-name \"a b\""),
        "-ERR lib-name cannot contain spaces, newlines or special characters.\r\n"
    );
    assert_eq!(w.request(c, "CLIENT ID"), ":1\r\n");
    assert_eq!(w.request(c, "CLIENT GETREDIR"), ":-1\r\n");
    assert_eq!(w.request(c, "CLIENT NO-EVICT x"), "-ERR syntax error\r\n");
    assert_eq!(
        w.request(c, "CLIENT TRACKINGINFO"),
        "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n"
    );
    assert_eq!(w.request(c, "CLIENT"), "-ERR wrong number of arguments for 'client' command\r\n");
    assert_eq!(
        w.request(c, "CLIENT ID 1"),
        "-ERR wrong number of arguments for 'client|id' command\r\n"
    );
    assert_eq!(
        w.request(c, "CLIENT NONSENSE"),
        "-ERR unknown subcommand 'NONSENSE'. Try CLIENT HELP.\r\n"
    );
    let help = w.request(c, "CLIENT HELP");
    assert!(help.contains("+CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n"));
    assert!(help.contains("+UNBLOCK client-id [TIMEOUT | ERROR]\r\n+    Unblocks a client"));
    assert!(help.ends_with("+HELP\r\n+    Prints this help.\r\n"));
}

#[test]
fn kill_by_address_and_by_filters() {
    let mut w = Driver::new("protected-mode no\n");
    let c = w.connect();
    let d = w.connect_from("192.0.2.1:1000");
    assert_eq!(w.request(c, "CLIENT KILL 192.0.2.1:1"), "-ERR No such client\r\n");
    assert_eq!(w.request(c, "CLIENT KILL 192.0.2.1:1000"), "+OK\r\n");
    assert_eq!(std::mem::take(&mut w.closed), [d]);
    w.advance_ms(10_000);
    let (d, e) = (w.connect(), w.connect_from("192.0.2.1:1000"));
    for (filters, reply) in [
        ("ID 99", ":0\r\n"),
        ("ID 1", ":0\r\n"),
        ("TYPE replica", ":0\r\n"),
        ("MAXAGE 11 SKIPME no", ":0\r\n"),
        ("ID 0", "-ERR client-id should be greater than 0\r\n"),
        ("ID x", "-ERR client-id should be greater than 0\r\n"),
        ("MAXAGE 0", "-ERR maxage should be greater than 0\r\n"),
        ("MAXAGE x", "-ERR maxage is not an integer or out of range\r\n"),
        ("TYPE x", "-ERR Unknown client type 'x'\r\n"),
        ("USER x", "-ERR No such user 'x'\r\n"),
        ("SKIPME x", "-ERR syntax error\r\n"),
        ("ID", "-ERR No such client\r\n"),
        ("ID 1 x", "-ERR syntax error\r\n"),
        ("x y", "-ERR syntax error\r\n"),
    ] {
        assert_eq!(w.request(c, &format!("CLIENT KILL {filters}")), reply, "{filters}");
    }
    assert_eq!(w.closed, []);
    assert_eq!(w.request(c, "CLIENT KILL ADDR 192.0.2.1:1000 USER default TYPE normal"), ":1\r\n");
    assert_eq!(std::mem::take(&mut w.closed), [e]);
    assert_eq!(w.request(c, "CLIENT KILL LADDR 127.0.0.1:6379 SKIPME no"), ":2\r\n");
    assert_eq!(w.closed, [d, c], "the caller is closed last, after its reply");
}

#[test]
fn clients_can_be_killed_in_any_state() {
    let mut w = Driver::new("");
    let (c, d, e) = (w.connect(), w.connect(), w.connect());
    // Blocked, in a transaction, held by a pause.
    w.request(c, "WAIT 1 0");
    w.request(d, "MULTI");
    w.request(d, "SET a 1");
    assert_eq!(w.request(e, "CLIENT KILL ID 1"), ":1\r\n");
    assert_eq!(w.request(e, "CLIENT KILL ID 2"), ":1\r\n");
    assert_eq!(std::mem::take(&mut w.closed), [c, d]);
    let c = w.connect();
    w.request(e, "CLIENT PAUSE 1000 WRITE");
    assert_eq!(w.request(c, "SET a 1"), "");
    assert_eq!(w.request(e, "CLIENT KILL ID 4"), ":1\r\n");
    w.advance_ms(1000);
    assert_eq!(w.request(e, "EXISTS a"), ":0\r\n");
    // By itself, between other requests.
    let c = w.connect();
    w.send(c, b"SET b 1\r\nCLIENT KILL ID 5 SKIPME no\r\nSET b 2\r\n");
    assert_eq!(w.take(c), "+OK\r\n:1\r\n");
    assert!(w.closed.contains(&c));
    assert_eq!(w.request(e, "GET b"), "$1\r\n1\r\n");
    // By itself within a transaction, which is completed first; and without pending output.
    let c = w.connect();
    w.send(c, b"MULTI\r\nCLIENT KILL ID 6 SKIPME no\r\nSET b 3\r\nEXEC\r\nSET b 4\r\n");
    assert_eq!(w.take(c), "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n+OK\r\n");
    assert!(w.closed.contains(&c));
    assert_eq!(w.request(e, "GET b"), "$1\r\n3\r\n");
    let c = w.connect();
    w.send(c, b"CLIENT REPLY OFF\r\nMULTI\r\nCLIENT KILL ID 7 SKIPME no\r\nSET b 5\r\nEXEC\r\n");
    assert_eq!(w.take(c), "");
    assert!(w.closed.contains(&c));
    assert_eq!(w.request(e, "GET b"), "$1\r\n5\r\n");
    assert_eq!(w.node.parts.clients.len(), 1);
    // Two clients that are served in the same batch.
    let (c, d) = (w.connect(), w.connect());
    for (client, bytes) in [(c, &b"CLIENT KILL ID 9\r\n"[..]), (d, b"SET b 6\r\n")] {
        w.node.read_buffer(client).expect("it is open").extend_from_slice(bytes);
        w.node.received(w.now, client);
    }
    w.run();
    assert_eq!((w.take(c), w.take(d)), (":1\r\n".to_owned(), String::new()));
    assert_eq!(w.request(e, "GET b"), "$1\r\n5\r\n");
}

#[test]
fn a_line_has_the_last_requested_command() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    for (line, name) in [
        ("GET a", "get"),
        ("NOPE", "NULL"),
        ("GET", "get"),
        ("CLIENT BAD", "NULL"),
        ("OBJECT ENCODING", "object|encoding"),
        ("MULTI", "multi"),
        ("GET a", "get"),
        ("EXEC", "exec"),
    ] {
        w.request(d, line);
        let reply = w.request(c, "CLIENT LIST ID 2");
        assert_eq!(field(lines(&reply)[0], "cmd"), name, "{line}");
    }
}

#[test]
fn replies_can_be_disabled() {
    let mut w = Driver::new("");
    let c = w.connect();
    w.send(c, b"CLIENT REPLY SKIP\r\nPING\r\nPING\r\n");
    assert_eq!(w.take(c), "+PONG\r\n");
    w.send(c, b"CLIENT REPLY SKIP\r\nNONSENSE\r\nPING\r\n");
    assert_eq!(w.take(c), "+PONG\r\n");
    w.send(c, b"CLIENT REPLY SKIP\r\nWAIT 1 10\r\n");
    w.advance_ms(10);
    assert_eq!(w.take(c), "");
    w.send(c, b"MULTI\r\nPING\r\nPING\r\nCLIENT REPLY SKIP\r\n");
    assert_eq!(w.take(c), "+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    assert_eq!(w.request(c, "EXEC"), "*3\r\n+PONG\r\n+PONG\r\n+OK\r\n");
    assert_eq!(w.request(c, "PING"), "");
    w.send(c, b"MULTI\r\nPING\r\nPING\r\n");
    w.take(c);
    w.send(c, b"CLIENT REPLY OFF\r\n");
    assert_eq!(w.take(c), "+QUEUED\r\n");
    w.request(c, "DISCARD");
    w.send(c, b"CLIENT REPLY OFF\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\nNONSENSE\r\nPING\r\n");
    assert_eq!(w.take(c), "");
    assert_eq!(w.request(c, "CLIENT REPLY ON"), "+OK\r\n");
    assert_eq!(w.request(c, "CLIENT REPLY x"), "-ERR syntax error\r\n");
    w.request(c, "CLIENT REPLY OFF");
    assert_eq!(w.request(c, "RESET"), "+RESET\r\n");
    w.send(c, b"CLIENT REPLY SKIP\r\nRESET\r\nPING\r\n");
    assert_eq!(w.take(c), "+PONG\r\n");
    // The reply of an empty request can be skipped too.
    w.send(c, b"CLIENT REPLY SKIP\r\n\r\nPING\r\n");
    assert_eq!(w.take(c), "+PONG\r\n");
    w.send(c, b"CLIENT REPLY SKIP\r\n");
    w.send(c, b"*0\r\n");
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
    w.send(c, b"MULTI\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\n");
    w.take(c);
    assert_eq!(w.request(c, "EXEC"), "*2\r\n+OK\r\n+OK\r\n");
    assert_eq!(w.request(c, "PING"), "");
    assert_eq!(w.request(c, "PING"), "+PONG\r\n");
    // EXEC's reply has an element for each queued command; the mode changes after it.
    w.send(c, b"MULTI\r\nCLIENT REPLY OFF\r\nCLIENT REPLY SKIP\r\nPING\r\n");
    w.take(c);
    assert_eq!(w.request(c, "EXEC"), "*3\r\n+OK\r\n+OK\r\n+PONG\r\n");
    assert_eq!(w.request(c, "PING"), "");
    w.send(c, b"MULTI\r\nCLIENT REPLY ON\r\nPING\r\nEXEC\r\nECHO on\r\n");
    assert_eq!(w.take(c), "$2\r\non\r\n");
}

#[test]
fn unblock() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    assert_eq!(w.request(c, "CLIENT UNBLOCK 2"), ":0\r\n");
    assert_eq!(w.request(c, "CLIENT UNBLOCK 99"), ":0\r\n");
    w.request(d, "WAIT 1 0");
    assert_eq!(w.request(c, "CLIENT UNBLOCK 2"), ":1\r\n");
    assert_eq!(w.take(d), ":0\r\n");
    w.request(d, "WAIT 1 5000");
    assert_eq!(w.request(c, "CLIENT UNBLOCK 2 ERROR"), ":1\r\n");
    assert_eq!(w.take(d), "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
    w.advance_ms(5000);
    assert_eq!(w.take(d), "");
    w.request(c, "CLIENT PAUSE 100 WRITE");
    w.request(d, "SET a 1");
    assert_eq!(w.request(c, "CLIENT UNBLOCK 2 TIMEOUT"), ":0\r\n", "a pause is not its to end");
    assert_eq!(
        w.request(c, "CLIENT UNBLOCK x"),
        "-ERR value is not an integer or out of range\r\n"
    );
    let reason = "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n";
    assert_eq!(w.request(c, "CLIENT UNBLOCK 2 x"), reason);
}

#[test]
fn invalid_timeouts_are_refused() {
    let mut w = Driver::new("");
    let c = w.connect();
    for command in ["CLIENT PAUSE", "WAIT 1"] {
        let negative = "-ERR timeout is negative\r\n";
        let no_number = "-ERR timeout is not an integer or out of range\r\n";
        let too_long = "-ERR timeout is out of range\r\n";
        assert_eq!(w.request(c, &format!("{command} -1")), negative);
        assert_eq!(w.request(c, &format!("{command} x")), no_number);
        assert_eq!(w.request(c, &format!("{command} 9223372036854775807")), too_long);
    }
    let mode = "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n";
    assert_eq!(w.request(c, "CLIENT PAUSE 1 x"), mode);
    assert_eq!(w.request(c, "CLIENT PAUSE 9223372036854770000 WRITE"), "+OK\r\n");
    assert_eq!(w.request(c, "CLIENT UNPAUSE"), "+OK\r\n");
    assert_eq!(w.request(c, "WAIT 1 9223372036854770000"), "");
}

#[test]
fn a_pause_of_writes_allows_reads_and_expires_no_key() {
    let mut w = Driver::new("");
    let (c, d, e) = (w.connect(), w.connect(), w.connect());
    w.request(c, "SET gone 1 PX 10");
    w.request(d, "MULTI");
    w.request(d, "INCR n");
    w.request(e, "MULTI");
    w.request(e, "GET n");
    assert_eq!(w.request(c, "CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
    w.advance_ms(500);
    assert_eq!(w.request(c, "GET missing"), "$-1\r\n");
    assert_eq!(w.request(c, "DBSIZE"), ":1\r\n", "hidden, not removed");
    assert_eq!(w.request(d, "EXEC"), "");
    assert_eq!(w.request(e, "EXEC"), "*1\r\n$-1\r\n", "it writes nothing");
    let arity = "-ERR wrong number of arguments for 'set' command\r\n";
    assert_eq!(w.request(c, "SET x"), arity, "errors need not wait");
    w.send(e, b"SET a 1\r\nGET a\r\n");
    assert_eq!(w.take(e), "");
    assert_eq!(w.request(c, "CLIENT PAUSE 10 WRITE"), "+OK\r\n", "never shorter");
    w.advance_ms(499);
    assert_eq!(w.take(d), "");
    w.advance_ms(1);
    assert_eq!(w.take(d), "*1\r\n:1\r\n");
    assert_eq!(w.take(e), "+OK\r\n$1\r\n1\r\n");
    w.advance_ms(1000);
    assert_eq!(w.request(c, "DBSIZE"), ":2\r\n");
}

#[test]
fn a_pause_of_all_holds_everything_in_order() {
    let mut w = Driver::new("");
    let clients: Vec<_> = (0..4).map(|_| w.connect()).collect();
    w.request(clients[0], "CLIENT PAUSE 1000");
    for (at, &client) in clients.iter().enumerate() {
        assert_eq!(w.request(client, &format!("APPEND s {at}")), "");
    }
    let late = w.connect();
    assert_eq!(w.request(late, "CLIENT UNPAUSE"), "", "as in Redis, nothing gets through");
    w.advance_ms(1000);
    assert_eq!(w.take(late), "+OK\r\n");
    assert_eq!(w.request(late, "GET s"), "$4\r\n0123\r\n");
    // A pause within a transaction takes effect at its end.
    w.send(late, b"MULTI\r\nCLIENT PAUSE 1000 WRITE\r\nSET s 1\r\nEXEC\r\nSET s 2\r\n");
    assert!(w.take(late).ends_with("*2\r\n+OK\r\n+OK\r\n"));
    w.advance_ms(1000);
    assert_eq!(w.take(late), "+OK\r\n");
}

#[test]
fn http_requests_are_closed_without_a_reply() {
    for head in ["POST / HTTP/1.1", "Host: here", "host: here"] {
        let mut w = Driver::new("");
        let c = w.connect();
        w.send(c, format!("{head}\r\nSET a b\r\n").as_bytes());
        w.run();
        assert_eq!(w.take(c), "");
        assert_eq!(w.closed, [c], "{head}");
        let other = w.connect();
        assert_eq!(w.request(other, "EXISTS a"), ":0\r\n", "nothing behind it runs");
    }
}

#[test]
fn a_turn_ends_within_a_batch_that_takes_long() {
    let mut w = Driver::new("");
    let c = w.connect();
    w.tick_us = 100;
    w.queue(c, &b"INCR n\r\n".repeat(32));
    w.read_connections();
    w.turn();
    w.flush();
    let replied = w.take(c);
    assert!((8..32).contains(&replied.matches("\r\n").count()), "{replied}");
    w.run();
    let replied = replied + &w.take(c);
    let expected: String = (1..=32).map(|n| format!(":{n}\r\n")).collect();
    assert_eq!(replied, expected);
}

#[test]
fn a_missing_command_is_logged_once_and_a_typing_error_never() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    let error = "-ERR unknown command 'EVAL', with args beginning with: 'a' 'b' \r\n";
    assert_eq!(w.request(c, "EVAL a b"), error);
    assert_eq!(w.request(d, "EVAL a b"), error);
    assert_eq!(w.request(c, "CONFIG RESETSTAT"), "+OK\r\n");
    w.request(c, "eval a b");
    w.request(c, "EVALY a b");
    w.request(c, "CLIENT TRACKING ON");
    w.request(c, "CLIENT NOSUCH");
    w.request(c, "GET");
    let lines: Vec<&String> =
        w.log.iter().filter(|line| line.contains("Russet does not have")).collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the command 'EVAL' of Redis 7.2 yet: a client at 127.0.0.1:"));
    assert!(lines[0].contains("docs/compatibility.md"), "{lines:?}");
    assert!(lines[1].contains("the command 'CLIENT TRACKING' of Redis 7.2 yet"), "{lines:?}");
}
