//! Requests as bytes, which transcripts of complete requests cannot express.

use russet_driver::Driver;

/// Sends bytes in one piece on a new connection. Returns the replies.
fn send(w: &mut Driver, bytes: &[u8]) -> String {
    let c = w.connect();
    w.send(c, bytes);
    w.take(c)
}

#[test]
fn a_malformed_request_is_refused_after_any_request() {
    let mut w = Driver::new("");
    let refusal = "-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(send(&mut w, b"PING\r\nECHO \"a\r\nPING\r\n"), format!("+PONG\r\n{refusal}"));
    let merged = b"SET k v\r\nMGET \"k\r\n\" k\r\n";
    assert_eq!(send(&mut w, merged), format!("+OK\r\n{refusal}"));
    assert_eq!(w.closed.len(), 2);
}

#[test]
fn errors_quote_bytes_unchanged() {
    let mut w = Driver::new("");
    for (request, reply) in [
        (
            &b"nope \xe9\xff\r\n"[..],
            &b"unknown command 'nope', with args beginning with: '\xe9\xff' "[..],
        ),
        (
            b"*2\r\n$2\r\n\xff\0\r\n$3\r\na\0b\r\n",
            b"unknown command '\xff', with args beginning with: 'a' ",
        ),
        (b"*1\r\n$4\r\na\r\nb\r\n", b"unknown command 'a  b', with args beginning with: "),
        (b"CONFIG a\xff\r\n", b"unknown subcommand 'a\xff'. Try CONFIG HELP."),
        (b"EXPIRE a 1 \xe4\r\n", b"Unsupported option \xe4"),
        (b"HELLO 3 \xe4\r\n", b"Syntax error in HELLO option '\xe4'"),
        (b"CLIENT LIST TYPE \xe4\r\n", b"Unknown client type '\xe4'"),
        (b"CLIENT SETINFO \xe4 x\r\n", b"Unrecognized option '\xe4'"),
        (b"*1\r\n\xff", b"Protocol error: expected '$', got '\xff'"),
        (b"*1\r\n\r\n", b"Protocol error: expected '$', got ' '"),
    ] {
        let c = w.connect();
        w.send(c, request);
        let got = w.take_raw(c);
        assert_eq!(got, [b"-ERR ", reply, b"\r\n"].concat(), "{:?}", String::from_utf8_lossy(&got));
    }
}

#[test]
fn an_endless_pipeline_is_read_no_faster_than_it_is_served() {
    let mut w = Driver::new("save \"\"\nclient-query-buffer-limit 1mb\n");
    let (c, d) = (w.connect(), w.connect());
    let requests = b"*3\r\n$6\r\nAPPEND\r\n$3\r\nlog\r\n$1\r\nx\r\n".repeat(500);
    let mut sent = 0_usize;
    // The node has no turn meanwhile, so unlimited reads would consume all of it.
    for _ in 0..1000 {
        let Some(buffer) = w.node.read_buffer(c) else { break };
        buffer.extend_from_slice(&requests);
        w.node.received(w.now, c);
        sent += 500;
    }
    assert!((16..80).contains(&(sent / 500)), "{sent} requests were read ahead");
    // Reading resumes after serving, and a single long request is read completely.
    w.request(d, "PING");
    assert_eq!(w.take(c).matches("\r\n").count(), sent);
    let body = "y".repeat(900_000);
    let long = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$900000\r\n{body}\r\n").into_bytes();
    for piece in long.chunks(10_000) {
        let buffer = w.node.read_buffer(c).expect("the rest of a request is always read");
        buffer.extend_from_slice(piece);
        w.node.received(w.now, c);
        w.run();
    }
    assert_eq!(w.take(c), "+OK\r\n");
    assert!(!w.closed.contains(&c));
    assert_eq!(w.request(d, "STRLEN log"), format!(":{sent}\r\n"));
}

#[test]
fn endless_blank_lines_are_served_in_batches() {
    let mut w = Driver::new("save \"\"\n");
    let c = w.connect();
    w.send(c, &[&b"\r\n".repeat(100_000)[..], b"PING\r\n"].concat());
    assert_eq!(w.take(c), "+PONG\r\n");
}
