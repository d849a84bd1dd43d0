//! MONITOR: which commands are shown, how, and when monitor mode ends.

use russet_driver::Driver;
use russet_driver::peers::{command, replica};
use russet_engine::io::{Endpoints, Handle};

/// Returns a node with a monitor and another client.
fn start(config: &str) -> (Driver, Handle, Handle) {
    let mut world = Driver::new(config);
    let (monitor, client) = (world.connect(), world.connect());
    assert_eq!(world.request(monitor, "MONITOR"), "+OK\r\n");
    (world, monitor, client)
}

/// Returns what a monitor was sent meanwhile, without the times.
fn lines(world: &mut Driver, monitor: Handle) -> Vec<String> {
    let text = world.take(monitor);
    text.lines().map(|line| line.split_once(' ').expect("a time").1.to_owned()).collect()
}

/// Returns the lines of requests of a client, without its address.
fn shown(world: &mut Driver, monitor: Handle, client: Handle, requests: &[&str]) -> Vec<String> {
    for request in requests {
        world.request(client, request);
    }
    let peer = format!(" {}]", world.node.parts.clients.get(client).expect("open").peer());
    lines(world, monitor).iter().map(|line| line.replace(&peer, "]")).collect()
}

#[test]
fn a_line_has_time_database_address_and_quoted_arguments() {
    let (mut w, monitor, client) = start("");
    w.send(client, b"*3\r\n$3\r\nset\r\n$6\r\na\"\\\n\x07\xff\r\n$1\r\n1\r\n");
    let peer = w.node.parts.clients.get(client).expect("open").peer();
    let time = w.now.wall_us;
    let (seconds, micros) = (time / 1_000_000, time % 1_000_000);
    let expected =
        format!("+{seconds}.{micros:06} [0 {peer}] \"set\" \"a\\\"\\\\\\n\\a\\xff\" \"1\"\r\n");
    assert_eq!(w.take(monitor), expected);
    let local = w.accept(Endpoints::Unix("/run/russet.sock".to_owned())).expect("accepted");
    w.request(local, "PING");
    assert_eq!(lines(&mut w, monitor), ["[0 unix:/run/russet.sock] \"PING\""]);
}

#[test]
fn commands_are_shown_as_they_are_executed() {
    let (mut w, monitor, client) = start("");
    let requests = [
        "SELECT 5",
        "GET",
        "nosuch",
        "INCR a x",
        "CONFIG GET port",
        "MULTI",
        "SET a 1",
        "select 3",
        "CONFIG GET port",
        "exec",
        "PING",
        "MULTI",
        "nosuch",
        "EXEC",
        "EXEC",
    ];
    let expected = [
        r#"[5] "SELECT" "5""#,
        r#"[5] "MULTI""#,
        r#"[5] "SET" "a" "1""#,
        r#"[3] "select" "3""#,
        r#"[3] "exec""#,
        r#"[3] "PING""#,
        r#"[3] "MULTI""#,
        r#"[3] "EXEC""#,
        r#"[3] "EXEC""#,
    ];
    assert_eq!(shown(&mut w, monitor, client, &requests), expected);
}

#[test]
fn a_command_that_waits_is_shown_once() {
    let (mut w, monitor, client) = start("");
    let waiting = w.connect();
    w.request(waiting, "BLPOP l 0");
    assert_eq!(lines(&mut w, monitor).len(), 1);
    assert_eq!(shown(&mut w, monitor, client, &["RPUSH l 1"]), [r#"[0] "RPUSH" "l" "1""#]);
    assert_eq!(w.take(waiting), "*2\r\n$1\r\nl\r\n$1\r\n1\r\n");
}

#[test]
fn secrets_are_not_shown() {
    let (mut w, monitor, client) = start("");
    let requests =
        ["AUTH default secret", "HELLO 2 AUTH default secret", "MIGRATE h 1 a 0 1 AUTH secret"];
    let expected = [
        r#"[0] "AUTH" "(redacted)" "(redacted)""#,
        r#"[0] "HELLO" "2" "AUTH" "(redacted)" "(redacted)""#,
        r#"[0] "MIGRATE" "h" "1" "a" "0" "1" "AUTH" "(redacted)""#,
    ];
    assert_eq!(shown(&mut w, monitor, client, &requests), expected);
}

#[test]
fn a_replica_shows_the_stream_of_its_master() {
    let (mut w, link) = replica("", &[]);
    let monitor = w.connect();
    w.request(monitor, "MONITOR");
    let words: [&[&str]; 5] =
        [&["SELECT", "2"], &["MULTI"], &["SET", "a", "1"], &["EXEC"], &["REPLCONF", "GETACK", "*"]];
    w.send(link, &words.iter().flat_map(|words| command(words)).collect::<Vec<u8>>());
    let expected = [
        r#"[2 127.0.0.1:7000] "SELECT" "2""#,
        r#"[2 127.0.0.1:7000] "MULTI""#,
        r#"[2 127.0.0.1:7000] "SET" "a" "1""#,
        r#"[2 127.0.0.1:7000] "EXEC""#,
    ];
    assert_eq!(lines(&mut w, monitor), expected);
}

#[test]
fn a_monitor_is_no_usual_client() {
    let (mut w, monitor, client) = start("timeout 10\n");
    let list = w.request(client, "CLIENT LIST");
    assert_eq!(list.matches(" flags=O ").count(), 1, "{list}");
    w.take(monitor);
    assert_eq!(w.request(monitor, "GET a"), "-ERR Replica can't interact with the keyspace\r\n");
    assert_eq!(w.request(monitor, "MONITOR"), "", "a second one has no reply");
    assert_eq!(w.request(monitor, "PSYNC ? -1"), "", "it cannot become a replica");
    let own = w.request(monitor, "PING");
    assert!(own.starts_with("+PONG\r\n+") && own.ends_with("\"PING\"\r\n"), "{own}");
    w.request(monitor, "CLIENT REPLY OFF");
    w.request(client, "PING");
    assert_eq!(w.take(monitor), "");
    assert!(w.request(monitor, "CLIENT REPLY ON").starts_with("+OK\r\n+"));
    w.advance_ms(60_000);
    assert_eq!(w.closed, [client], "monitors have no timeout");
}

#[test]
fn monitor_mode_ends_with_reset_and_with_the_connection() {
    let (mut w, monitor, client) = start("");
    assert_eq!(w.request(monitor, "RESET"), "+RESET\r\n");
    w.request(client, "PING");
    assert_eq!(w.take(monitor), "");
    assert!(!w.node.parts.monitors.is_on());
    w.request(monitor, "MONITOR");
    assert_eq!(w.request(client, "CLIENT KILL TYPE normal"), ":1\r\n");
    assert_eq!(w.closed, [monitor]);
    assert!(!w.node.parts.monitors.is_on());
    let deny = "*1\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n";
    w.request(client, "MULTI");
    w.request(client, "MONITOR");
    assert_eq!(w.request(client, "EXEC"), deny);
}

#[test]
fn a_monitor_that_does_not_read_is_closed_by_the_limit_of_normal_clients() {
    let (mut w, monitor, client) = start("client-output-buffer-limit normal 64kb 0 0\n");
    w.set_read_limit(monitor, Some(0));
    let long = format!("SET a {}", "x".repeat(10_000));
    (0..6).for_each(|_| drop(w.request(client, &long)));
    assert_eq!(w.closed, []);
    w.request(client, &long);
    assert_eq!(w.closed, [monitor]);
    assert!(!w.node.parts.monitors.is_on());
}
