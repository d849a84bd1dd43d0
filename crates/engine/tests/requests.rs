//! Requests as bytes: what transcripts, which speak in whole requests, cannot say.

mod support;

use support::World;

/// Sends bytes in one piece on a new connection; the replies.
fn say(w: &mut World, bytes: &[u8]) -> String {
    let c = w.connect();
    w.send(c, bytes);
    w.take(c)
}

#[test]
fn a_malformed_request_is_refused_whatever_stands_before_it() {
    let mut w = World::new("");
    let refusal = "-ERR Protocol error: unbalanced quotes in request\r\n";
    assert_eq!(say(&mut w, b"PING\r\nECHO \"a\r\nPING\r\n"), format!("+PONG\r\n{refusal}"));
    let merged = b"SET k v\r\nMGET \"k\r\n\" k\r\n";
    assert_eq!(say(&mut w, merged), format!("+OK\r\n{refusal}"));
    assert_eq!(w.closed.len(), 2);
}
