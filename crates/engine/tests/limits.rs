//! Limits of what a connection makes the node hold: its requests, its replies, its transaction.

use russet_driver::Driver;
use russet_driver::peers::{command, replica};
use russet_ds::SharedBytes;
use russet_ds::counting::{CountingAllocator, take_largest};
use russet_ds::size::class_size;
use russet_engine::io::Handle;
use russet_protocol::ArgRange;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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

/// The most that the outbox of a client takes while the node runs, looked at after each round.
fn most_held(w: &mut Driver, client: Handle, requests: &[u8]) -> usize {
    w.queue(client, requests);
    let mut most = 0;
    loop {
        w.read_connections();
        w.turn();
        most = most.max(w.node.parts.clients.get(client).map_or(0, |c| c.memory_bytes()));
        w.flush();
        if !w.has_work() && !w.has_unread() {
            return most;
        }
    }
}

const MB: usize = 1 << 20;

#[test]
fn output_is_limited_within_a_command() {
    let mut w = Driver::new("client-output-buffer-limit normal 1mb 0 0\n");
    let (c, d) = (w.connect(), w.connect());
    w.request(d, &format!("SET v {}", "x".repeat(10_000)));
    w.set_read_limit(c, Some(0));
    let request = format!("MGET{}\r\n", " v".repeat(20_000));
    take_largest();
    w.send(c, request.as_bytes());
    let largest = take_largest();
    assert!(largest < 4 * MB, "a buffer of {largest} bytes was needed");
    assert_eq!(w.closed, [c]);
    assert_eq!(w.request(d, "STRLEN v"), ":10000\r\n");
}

#[test]
fn output_is_limited_within_a_transaction() {
    let mut w = Driver::new("client-output-buffer-limit normal 1mb 0 0\n");
    let (c, d) = (w.connect(), w.connect());
    w.request(d, &format!("SET v {}", "x".repeat(10_000)));
    w.set_read_limit(c, Some(0));
    w.tick_us = 1;
    let gets = "GET v\r\n".repeat(20_000);
    let request = format!("MULTI\r\nINCR n\r\n{gets}INCR n\r\nEXEC\r\n");
    let most = most_held(&mut w, c, request.as_bytes());
    assert!(most < 10 * MB, "{most} bytes were held");
    assert_eq!(w.closed, [c]);
    assert_eq!(w.request(d, "GET n"), "$1\r\n2\r\n", "a transaction runs as a whole");
}

#[test]
fn messages_held_during_a_transaction_are_limited() {
    let mut w =
        Driver::new("client-output-buffer-limit pubsub 1mb 0 0\nnotify-keyspace-events \"KEA\"\n");
    let c = w.connect();
    w.request(c, "HELLO 3");
    w.request(c, "PSUBSCRIBE *");
    w.set_read_limit(c, Some(0));
    w.tick_us = 1;
    let request = format!("MULTI\r\n{}EXEC\r\n", "INCR n\r\n".repeat(20_000));
    let most = most_held(&mut w, c, request.as_bytes());
    assert!(most < 8 * MB, "{most} bytes were held");
    assert_eq!(w.closed, [c]);
    let d = w.connect();
    assert_eq!(w.request(d, "GET n"), "$5\r\n20000\r\n");
}

#[test]
fn a_value_lent_to_a_reply_counts_once() {
    let mut w = Driver::new("client-output-buffer-limit normal 1mb 0 0\n");
    let (c, d) = (w.connect(), w.connect());
    w.send(d, &command(&["SET", "v", &"x".repeat(600_000)]));
    w.set_read_limit(c, Some(0));
    w.send(c, b"MGET v v v v\r\nGET v\r\nMULTI\r\nGET v\r\nEXEC\r\n");
    assert!(w.is_open(c), "one value of 600 kB waits");
    w.request(d, "COPY v u");
    w.request(d, "APPEND u y");
    w.send(c, b"GET u\r\n");
    assert_eq!(w.closed, [c], "two values of 600 kB wait");
    let e = w.connect();
    w.set_read_limit(e, Some(0));
    w.send(e, &b"GET v\r\n".repeat(20_000));
    assert_eq!(w.closed, [c, e], "each reply takes memory, even without its value");
}

#[test]
fn the_replies_to_a_masters_stream_take_no_memory() {
    let (mut w, link) = replica("", &[]);
    w.send(link, &command(&["SET", "v", &"x".repeat(10_000)]));
    let mut names = vec!["MGET"];
    names.resize(5_000, "v");
    take_largest();
    w.send(link, &command(&names));
    let largest = take_largest();
    assert!(largest < MB, "a buffer of {largest} bytes was needed");
    assert!(w.is_open(link));
}

#[test]
fn the_table_of_arguments_counts_for_the_query_buffer() {
    let mut w = Driver::new("client-query-buffer-limit 1mb\n");
    let c = w.connect();
    let before = w.node.parts.clients.get(c).unwrap().memory_bytes();
    let empty = b"$0\r\n\r\n";
    w.send(c, b"*2147483647\r\n");
    w.send(c, &empty.repeat(10_000));
    let held = w.node.parts.clients.get(c).unwrap().memory_bytes() - before;
    assert!(held >= 10_000 * size_of::<ArgRange>(), "{held}");
    assert!(w.is_open(c));
    let _ = take_largest();
    w.send(c, &empty.repeat(100_000));
    let largest = take_largest();
    assert!(largest <= 2 * MB, "a buffer of {largest} bytes was needed");
    assert_eq!(w.closed, [c]);
    assert_eq!(w.node.core.stats.query_buffer_limit_disconnections, 1);
}

#[test]
fn requests_with_long_and_short_tables_of_arguments_run_in_order() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    let names: Vec<String> = (0..3000).map(|n| format!("key:{n}")).collect();
    let set: Vec<&str> = names.iter().flat_map(|name| [name.as_str(), "1"]).collect();
    let mset = command(&[&["MSET"], &set[..]].concat());
    let del = command(&[vec!["DEL"], names.iter().map(String::as_str).collect()].concat());
    w.queue(d, b"ECHO before\r\n");
    w.queue(
        c,
        &[&mset[..], b"DBSIZE\r\n", &del, b"ECHO between\r\n", &mset, b"DBSIZE\r\n"].concat(),
    );
    w.run();
    assert_eq!(w.take(d), "$6\r\nbefore\r\n");
    assert_eq!(w.take(c), "+OK\r\n:3000\r\n:3000\r\n$7\r\nbetween\r\n+OK\r\n:3000\r\n");
}

/// Memory that takes long to free is freed by the driver's other thread.
#[test]
fn large_buffers_are_freed_elsewhere() {
    let big = "x".repeat(2 * MB);
    let set = command(&["SET", "v", &big]);

    let mut w = Driver::new("client-output-buffer-limit normal 4mb 0 0\n");
    let c = w.connect();
    let names: Vec<String> = (0..2000).map(|n| format!("{n:0>1000}")).collect();
    w.send(
        c,
        &command(&[&["DEL"], &names.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat()),
    );
    assert_eq!(w.garbage, 1, "a query buffer");
    w.garbage = 0;
    w.send(c, &command(&["HSET", "h", "field", &big]));
    assert_eq!(w.garbage, 1, "an argument that is copied");
    w.send(c, &set);

    w.set_read_limit(c, Some(0));
    w.send(c, b"GET v\r\n");
    let d = w.connect();
    w.request(d, "SET v small");
    w.garbage = 0;
    w.set_read_limit(c, None);
    assert_eq!(
        (w.take(c).len() > 2 * MB, w.garbage),
        (true, 1),
        "a value that only waited to be sent"
    );

    w.send(d, &set);
    w.garbage = 0;
    w.set_read_limit(c, Some(0));
    w.send(c, &b"GETRANGE v 0 -1\r\n".repeat(3));
    assert_eq!((w.is_open(c), w.garbage), (false, 1), "the output of a client over its limit");

    let c = w.connect();
    w.request(c, "MULTI");
    w.send(c, &b"GET v\r\n".repeat(20_000));
    w.garbage = 0;
    w.request(c, "DISCARD");
    assert_eq!(w.garbage, 1, "a transaction");

    w.send(c, b"*2147483647\r\n");
    w.send(c, &b"$0\r\n\r\n".repeat(100_000));
    w.garbage = 0;
    w.disconnect(c);
    assert_eq!(w.garbage, 1, "an incomplete request");
}

/// Bytes that show where they belong.
fn pattern(len: usize, seed: usize) -> String {
    (0..len).map(|at| char::from(b'a' + ((at * 7 + at / 1000 + seed) % 26) as u8)).collect()
}

#[test]
fn a_long_argument_is_read_into_the_buffer_that_becomes_the_value() {
    let mut w = Driver::new("");
    let (c, d) = (w.connect(), w.connect());
    let value = pattern(3 * MB, 0);
    w.set_read_bytes_max(Some(50_000));
    for (before, after) in [("", ""), ("MULTI\r\n", "EXEC\r\n")] {
        w.queue(c, before.as_bytes());
        w.queue(c, &command(&["SET", "v", &value]));
        w.queue(c, after.as_bytes());
        let _ = take_largest();
        w.run();
        let largest = take_largest();
        assert_eq!(largest, class_size(value.len() + SharedBytes::HEADROOM), "for the value alone");
        assert!(w.take(c).contains("+OK\r\n"));
        assert_eq!(w.garbage, 0, "no other large buffer was freed");
        let _ = take_largest();
        assert_eq!(w.request(d, "APPEND v tail"), format!(":{}\r\n", value.len() + 4));
        assert!(take_largest() < MB, "its size class has room");
        w.request(d, "DEL v");
        w.garbage = 0;
    }
    w.send(c, b"*3\r\n$3\r\nSET\r\n$1\r\nv\r\n$500000000\r\n");
    w.send(c, &value.as_bytes()[..MB]);
    let held = w.node.parts.clients.get(c).unwrap().memory_bytes();
    assert!((MB..MB + 200_000).contains(&held), "{held} bytes for those that have arrived");
    w.disconnect(c);
    assert_eq!(w.garbage, 1);
}

#[test]
fn requests_with_long_arguments_may_arrive_in_pieces_of_any_length() {
    let (a, b) = (pattern(300_000, 1), pattern(700_000, 2));
    let small = pattern(20, 3);
    let requests = [
        vec!["SET", "a", &a],
        vec!["APPEND", "a", "!"],
        vec!["SET", "b", &b, "PX", "100000"],
        vec!["MSET", "c", &a, "d", &b, "e", &small],
        vec!["SET", &a, "named"],
        vec!["APPEND", "new", &b],
        vec!["ECHO", &b],
        vec![&b, "x"],
        vec!["MULTI"],
        vec!["SETNX", "f", &a],
        vec!["SET", "f", &b, "XX", "GET"],
        vec!["APPEND", "f", &a],
        vec!["EXEC"],
        vec!["GETSET", "e", &a],
        vec!["CLIENT", "REPLY", "SKIP"],
        vec!["SET", "g", &b],
        vec!["HSET", "h", "field", &a, "other", &b],
    ];
    let bytes: Vec<u8> = requests.iter().flat_map(|words| command(words)).collect();
    let mut expected = None;
    for piece in [None, Some(100_003), Some(16_384), Some(5_001)] {
        let mut w = Driver::new("save \"\"\n");
        let c = w.connect();
        w.set_read_bytes_max(piece);
        w.send(c, &bytes);
        let replies = w.take(c);
        let digests = ["a", "b", "c", "d", "e", "f", "g", "new"].map(|key| {
            let text = w.request(c, &format!("GET {key}"));
            let (head, body) = text.split_once("\r\n").expect("a bulk string");
            (head.to_owned(), body.len(), body.get(..3).map(str::to_owned), body.to_owned())
        });
        assert!(digests[0].3.starts_with(&a) && digests[0].3.ends_with("!\r\n"), "{piece:?}");
        assert_eq!(digests[3].3.trim_end(), b, "{piece:?}");
        assert_eq!(digests[5].3.trim_end(), format!("{b}{a}"), "{piece:?}");
        let hash = w.request(c, "HGETALL h");
        let dump = (replies, digests, hash, w.node.data.db(0).len());
        match &expected {
            None => expected = Some(dump),
            Some(expected) => assert!(*expected == dump, "{piece:?}"),
        }
    }
}

#[test]
fn a_held_request_with_a_long_argument_runs_later() {
    let value = pattern(600_000, 4);
    for pause in ["CLIENT PAUSE 1000 ALL", "DEBUG SLEEP 1"] {
        let mut w = Driver::new("enable-debug-command yes\n");
        let (c, d) = (w.connect(), w.connect());
        w.set_read_bytes_max(Some(30_000));
        let set = command(&["SET", "v", &value]);
        w.send(c, &set[..400_000]);
        w.request(d, pause);
        w.send(c, &set[400_000..]);
        w.send(c, b"APPEND v !\r\n");
        assert_eq!(w.take(c), "");
        w.advance_ms(1500);
        assert_eq!(w.take(c), "+OK\r\n:600001\r\n");
        assert_eq!(w.request(c, "GET v"), format!("$600001\r\n{value}!\r\n"));
    }
}
