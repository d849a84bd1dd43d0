//! Masters that violate the protocol: garbage, stalls, and closed connections at any point. The
//! replica keeps running, keeps its data and retries.
#![allow(clippy::disallowed_methods, reason = "end-to-end tests are about processes and sockets")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use russet_e2e::{Program, Server, wait_for, wait_until};

const REPLID: &str = "0123456789012345678901234567890123456789";

/// Plays a master on one connection: replies to the handshake, then sends `after_psync` and closes.
fn play(stream: TcpStream, after_psync: &[u8]) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut out = stream.try_clone()?;
    for line in BufReader::new(stream).lines() {
        let line = line?.to_ascii_uppercase();
        match line.as_str() {
            "PING" => out.write_all(b"+PONG\r\n")?,
            "REPLCONF" => out.write_all(b"+OK\r\n")?,
            "PSYNC" => return out.write_all(after_psync),
            _ => {} // lengths and arguments
        }
    }
    Ok(())
}

/// Returns the next connection, within the deadline.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("it is a socket");
    let stream = wait_for("the replica connects", || listener.accept().ok()).0;
    stream.set_nonblocking(false).expect("it is a socket");
    stream
}

/// Lets a replica with data follow such a master, which it must survive.
fn survives(what: &str, after_psync: &[u8]) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = Server::start(&Program::under_test());
    let mut client = server.client();
    client.ok("SET mine value");
    client.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    // It retries after a failure; two attempts are sufficient.
    for attempt in 0..2 {
        let stream = accept(&listener);
        let _ = play(stream, after_psync); // it may hang up on us
        assert_eq!(client.text("PING"), "PONG", "{what}, attempt {attempt}");
    }
    let up = server.info_field("replication", "master_link_status");
    assert_eq!(up, "down", "{what}");
    client.ok("REPLICAOF NO ONE");
    assert_eq!(client.text("GET mine"), "value", "{what}");
    client.ok("SET mine again");
}

#[test]
fn garbage_instead_of_a_reply() {
    survives("garbage", b"\x00\xff garbage\r\n");
    survives("an error", b"-ERR what do you want\r\n");
    survives("a replid too short", b"+FULLRESYNC abc 0\r\n");
}

#[test]
fn garbage_instead_of_a_snapshot() {
    let full = |rest: &[u8]| [format!("+FULLRESYNC {REPLID} 0\r\n").as_bytes(), rest].concat();
    survives("no length", &full(b"nonsense\r\n"));
    survives("an impossible length", &full(b"$99999999999999999999999\r\n"));
    survives("cut in the middle", &full(b"$1000\r\nREDIS0010"));
    if Program::under_test() == Program::Stock {
        return; // it empties itself before it loads, and exits when the snapshot is bad
    }
    survives("no snapshot", &full(b"$9\r\nno way at"));
    survives("a snapshot cut short", &full(b"$10\r\nREDIS0010\xfe"));
    let mark = "m".repeat(40);
    let stream = format!("$EOF:{mark}\r\nno snapshot{mark}");
    survives("a stream of nothing", &full(stream.as_bytes()));
}

#[test]
fn the_link_to_a_silent_master_times_out() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = Server::start(&Program::under_test());
    let mut client = server.client();
    client.ok("CONFIG SET repl-timeout 2");
    client.ok(&format!("REPLICAOF 127.0.0.1 {port}"));
    let _first = accept(&listener);
    let _second = accept(&listener); // it gives up and connects again
    wait_until("the reason is logged", || server.log().to_lowercase().contains("timeout"));
    assert_eq!(client.text("PING"), "PONG");
}
