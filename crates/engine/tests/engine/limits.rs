//! Limits of what a connection makes the node hold: its requests, its replies, its transaction.

use russet_driver::Driver;

#[test]
fn a_claimed_length_takes_no_memory() {
    let mut w = Driver::new("requirepass secret\n");
    for claim in ["*1000000000\r\n", "*2\r\n$400000000\r\n", "*11\r\n"] {
        let client = w.connect();
        w.send(client, claim.as_bytes());
        assert!(w.take(client).starts_with("-ERR Protocol error"), "{claim}");
        assert!(w.closed.contains(&client));
    }
    let c = w.connect();
    w.request(c, "AUTH secret");
    w.send(c, b"*1000000\r\n$3\r\nSET\r\n$400000000\r\nx");
    assert!(w.node.parts.clients.get(c).unwrap().memory_bytes() < 100_000);
}

#[test]
fn unread_output_closes_an_unauthenticated_connection() {
    let mut w = Driver::new("requirepass secret\n");
    let client = w.connect();
    w.set_read_limit(client, Some(0));
    for _ in 0..100 {
        w.send(client, &b"GET a\r\n".repeat(100));
    }
    assert_eq!(w.closed, [client]);
}

#[test]
fn unread_output_is_limited_by_class() {
    let mut w = Driver::new("client-output-buffer-limit normal 1mb 0 0\n");
    let (c, d) = (w.connect(), w.connect());
    w.request(d, &format!("SET a {}", "x".repeat(10_000)));
    w.set_read_limit(c, Some(0));
    for _ in 0..20 {
        w.send(c, &b"GET a\r\n".repeat(20));
    }
    assert_eq!(w.closed, [c]);
    assert_eq!(w.request(d, "STRLEN a"), ":10000\r\n");
}

#[test]
fn an_unauthenticated_client_cannot_accumulate_requests() {
    let mut w = Driver::new("requirepass secret\nenable-debug-command yes\n");
    let (c, client) = (w.connect(), w.connect());
    w.request(c, "AUTH secret");
    w.request(c, "DEBUG SLEEP 5");
    for _ in 0..80 {
        w.send(client, &[b'x'; 16 * 1024]);
    }
    let held = w.node.parts.clients.get(client).expect("not closed yet").memory_bytes();
    assert!(held < 600_000, "{held}");
    w.advance_ms(6000);
    assert!(w.take(client).contains("too big inline request"));
    assert_eq!(w.closed, [client]);
}

#[test]
fn a_request_longer_than_the_query_buffer_closes_its_connection() {
    let mut w = Driver::new("client-query-buffer-limit 1mb\n");
    let c = w.connect();
    w.send(c, b"*2\r\n$3\r\nGET\r\n$3000000\r\n");
    for _ in 0..80 {
        w.send(c, &[b'x'; 16 * 1024]);
    }
    assert_eq!(w.closed, [c]);
}

#[test]
fn queued_commands_count_for_the_query_buffer() {
    let mut w = Driver::new("client-query-buffer-limit 1mb\n");
    let c = w.connect();
    w.request(c, "MULTI");
    let before = w.node.parts.clients.get(c).unwrap().memory_bytes();
    w.send(c, &b"SET a 1\r\n".repeat(1000));
    assert!(w.node.parts.clients.get(c).unwrap().memory_bytes() > before + 50_000);
    for _ in 0..20 {
        w.send(c, &b"SET a 1\r\n".repeat(1000));
    }
    assert_eq!(w.closed, [c]);
    assert_eq!(w.node.core.stats.query_buffer_limit_disconnections, 1);
}

#[test]
fn watched_keys_are_counted_and_removed_with_their_client() {
    let mut w = Driver::new("");
    let c = w.connect();
    let before = w.node.parts.clients.get(c).unwrap().memory_bytes();
    for part in 0..20 {
        let keys: Vec<String> = (0..1000).map(|i| format!("key:{part}:{i}")).collect();
        w.request(c, &format!("WATCH {}", keys.join(" ")));
    }
    assert_eq!(w.node.data.watch.len(), 20_000);
    assert!(w.node.parts.clients.get(c).unwrap().memory_bytes() > before + 20_000 * 16);
    w.disconnect(c);
    assert!(w.node.data.watch.is_empty());
}
