//! Pub/sub beyond commands and replies: closed connections, limits, replication, INFO and CLIENT.

use russet_driver::Driver;
use russet_driver::peers::{attach, command, replica};
use russet_engine::clients::subscriptions::Kind;

fn info(w: &mut Driver, client: russet_engine::io::Handle, field: &str) -> String {
    let text = w.request(client, "INFO everything");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.expect("a field of INFO").to_owned()
}

#[test]
fn a_closed_connection_has_no_subscriptions() {
    let mut w = Driver::new("");
    let (c, s, t) = (w.connect(), w.connect(), w.connect());
    w.request(s, "SUBSCRIBE a b");
    w.request(s, "PSUBSCRIBE a*");
    w.request(s, "SSUBSCRIBE a");
    w.request(t, "SUBSCRIBE a");
    let counts = |w: &mut Driver| {
        ["pubsub_channels", "pubsub_patterns", "pubsubshard_channels", "pubsub_clients"]
            .map(|field| info(w, c, field))
    };
    assert_eq!(counts(&mut w), ["2", "1", "1", "2"]);
    assert_eq!(w.request(c, "PUBLISH a x"), ":3\r\n");
    w.disconnect(s);
    assert_eq!(counts(&mut w), ["1", "0", "0", "1"]);
    assert_eq!(w.request(c, "PUBLISH a x"), ":1\r\n");
    assert_eq!(w.request(c, "CLIENT KILL TYPE pubsub"), ":1\r\n");
    assert_eq!(counts(&mut w), ["0", "0", "0", "0"]);
    assert_eq!(w.request(c, "PUBLISH a x"), ":0\r\n");
}

#[test]
fn a_message_to_the_publisher_counts_for_its_limit() {
    let mut w = Driver::new("client-output-buffer-limit pubsub 1kb 0 0\n");
    let c = w.connect();
    w.request(c, "HELLO 3");
    w.request(c, "SUBSCRIBE a");
    w.set_read_limit(c, Some(0));
    w.request(c, &format!("PUBLISH a {}", "x".repeat(20_000)));
    assert_eq!(w.closed, [c]);
    assert_eq!(w.node.parts.pubsub.clients(), 0);
}

#[test]
fn subscribers_have_their_own_limits() {
    let mut w = Driver::new("client-output-buffer-limit pubsub 64kb 0 0\n");
    let (c, slow, fast) = (w.connect(), w.connect(), w.connect());
    w.request(slow, "SUBSCRIBE a");
    w.request(fast, "SUBSCRIBE a");
    w.set_read_limit(slow, Some(0));
    let publish = format!("PUBLISH a {}", "x".repeat(4000));
    let sent =
        (1..100).find(|_| w.request(c, &publish) == ":1\r\n").expect("the slow one is closed");
    assert_eq!(sent, 18, "closed when more than 64 KiB wait, and counted until then");
    assert_eq!(w.closed, [slow]);
    assert!(w.log.iter().any(|line| line.contains("overcoming of output buffer limits")));
    assert_eq!(info(&mut w, c, "client_output_buffer_limit_disconnections"), "1");
    // Without subscriptions it is a normal client, which has no limit.
    w.request(fast, "UNSUBSCRIBE");
    w.set_read_limit(fast, Some(0));
    w.request(c, &format!("SET a {}", "x".repeat(4000)));
    for _ in 0..30 {
        w.request(fast, "GET a");
    }
    assert_eq!(w.closed, [slow]);
}

#[test]
fn a_subscriber_may_be_idle() {
    let mut w = Driver::new("timeout 10\n");
    let (idle, subscriber) = (w.connect(), w.connect());
    w.request(subscriber, "SUBSCRIBE a");
    w.advance_ms(15_000);
    assert_eq!(w.closed, [idle]);
    w.request(subscriber, "UNSUBSCRIBE");
    w.advance_ms(15_000);
    assert_eq!(w.closed, [idle, subscriber]);
}

#[test]
fn clients_are_shown_with_their_subscriptions() {
    let mut w = Driver::new("");
    let (c, s) = (w.connect(), w.connect());
    w.request(s, "SUBSCRIBE a b");
    w.request(s, "PSUBSCRIBE c");
    w.request(s, "SSUBSCRIBE d e f");
    let line = w.request(c, "CLIENT LIST TYPE pubsub");
    assert!(line.contains(" flags=P db=0 sub=2 psub=1 ssub=3 "), "{line}");
    assert!(line.contains(" cmd=ssubscribe "), "{line}");
    let subscriptions = &w.node.parts.clients.get(s).expect("connected").subscriptions;
    assert_eq!((subscriptions.of(Kind::Shard), subscriptions.reported(Kind::Pattern)), (3, 3));
    assert!(subscriptions.memory_bytes() > 6 * 50);
    w.request(s, "RESET");
    assert_eq!(w.request(c, "CLIENT LIST TYPE pubsub"), "$0\r\n\r\n");
    assert_eq!(w.node.parts.clients.get(s).expect("connected").subscriptions, Default::default());
}

#[test]
fn a_replica_delivers_the_messages_of_its_master() {
    let (mut w, link) = replica("", &[]);
    let (s, c) = (w.connect(), w.connect());
    w.request(s, "SUBSCRIBE a");
    w.request(s, "SSUBSCRIBE a");
    let below = attach(&mut w);
    let stream = [
        command(&["PUBLISH", "a", "one"]),
        command(&["MULTI"]),
        command(&["SPUBLISH", "a", "two"]),
        command(&["SET", "k", "v"]),
        command(&["EXEC"]),
    ]
    .concat();
    w.take(below);
    w.send(link, &stream);
    assert_eq!(
        w.take(s),
        "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$3\r\none\r\n\
         *3\r\n$8\r\nsmessage\r\n$1\r\na\r\n$3\r\ntwo\r\n"
    );
    assert_eq!(w.take(below).as_bytes(), stream);
    assert!(w.log.iter().all(|line| !line.contains("CRITICAL")));
    // Its own clients publish to its own subscribers; its replicas only receive the master's stream.
    assert_eq!(w.request(c, "PUBLISH a here"), ":1\r\n");
    assert_eq!(w.take(below), "");
}

#[test]
fn a_subscriber_that_becomes_a_replica_receives_only_the_stream() {
    let mut w = Driver::new("");
    let (c, r) = (w.connect(), w.connect());
    w.request(r, "HELLO 3");
    w.request(r, "SUBSCRIBE a");
    w.send(r, &command(&["REPLCONF", "capa", "eof", "capa", "psync2"]));
    w.take(r);
    w.send(r, &command(&["PSYNC", "?", "-1"]));
    w.advance_ms(6000);
    w.send(r, &command(&["REPLCONF", "ACK", "0"]));
    w.take(r);
    assert_eq!(w.request(c, "PUBLISH a x"), ":1\r\n");
    let stream = w.take(r);
    assert!(stream.ends_with("*3\r\n$7\r\nPUBLISH\r\n$1\r\na\r\n$1\r\nx\r\n"), "{stream}");
    assert!(!stream.contains("message"));
    assert!(w.closed.is_empty());
}

#[test]
fn messages_during_a_long_exec_follow_its_reply() {
    let mut w = Driver::new("");
    let c = w.connect();
    w.request(c, "HELLO 3");
    w.request(c, "SUBSCRIBE a");
    w.request(c, "MULTI");
    for _ in 0..2000 {
        w.request(c, "PUBLISH a x");
    }
    let reply = w.request(c, "EXEC");
    let expected = format!("*2000\r\n{}", ":1\r\n".repeat(2000));
    assert!(reply.starts_with(&expected));
    assert_eq!(reply[expected.len()..].matches(">3\r\n$7\r\nmessage").count(), 2000);
}
