//! WAIT and the acknowledgements of replicas.

use russet_driver::Driver;
use russet_driver::peers::attach;
use russet_engine::io::{Handle, Input};

/// Sends the same bytes from many clients in one round.
fn send_all(w: &mut Driver, clients: &[Handle], bytes: &[u8]) {
    for &client in clients {
        w.node.read_buffer(client).unwrap().extend_from_slice(bytes);
        w.node.received(w.now, client);
    }
    w.run();
}

#[test]
fn acknowledgements_are_requested_once_per_turn() {
    let mut w = Driver::new("save \"\"\n");
    let (r, other) = (attach(&mut w), w.connect());
    let clients: Vec<Handle> = (0..200).map(|_| w.connect()).collect();
    send_all(&mut w, &clients, b"SET a 1\r\nWAIT 1 0\r\n");
    let asked = w.take(r).matches("GETACK").count();
    assert!((1..=20).contains(&asked), "{asked} times");
    w.request(other, "SET b 1");
    w.take(other);
    send_all(&mut w, &[other], b"WAIT 2 0\r\n");
    let offset = w.node.parts.master.stream.offset();
    w.request(r, &format!("REPLCONF ACK {}", offset - 1000));
    w.request(r, &format!("REPLCONF ACK {offset}"));
    for client in clients {
        assert_eq!(w.take(client), "+OK\r\n:1\r\n");
    }
    assert_eq!(w.take(other), "", "it waits for two");
}

#[test]
fn a_replica_that_still_loads_its_payload_has_acknowledged_nothing() {
    let mut w = Driver::new("save \"\"\nrepl-diskless-sync no\n");
    let (c, r) = (w.connect(), w.connect());
    // Written before there is a stream, so its offset is that of the payload: 0.
    w.request(c, "SET a 1");
    w.request(r, "REPLCONF capa eof capa psync2");
    w.send(r, b"PSYNC ? -1\r\n");
    w.deliver_saves();
    assert!(w.request(c, "INFO replication").contains("state=online,offset=0"));
    assert_eq!(w.request(c, "WAIT 1 0"), "");
    w.request(r, "REPLCONF ACK 0");
    assert_eq!(w.take(c), ":1\r\n");
}

#[test]
fn a_replica_that_still_loads_its_payload_permits_no_writes() {
    let mut w = Driver::new("save \"\"\nrepl-diskless-sync no\nmin-replicas-to-write 1\n");
    let (c, r) = (w.connect(), w.connect());
    w.request(r, "REPLCONF capa eof capa psync2");
    w.send(r, b"PSYNC ? -1\r\n");
    w.deliver_saves();
    assert!(w.request(c, "SET a 1").starts_with("-NOREPLICAS"));
    w.request(r, "REPLCONF ACK 0");
    assert_eq!(w.request(c, "SET a 1"), "+OK\r\n");
}

#[test]
fn a_replica_that_resumes_permits_writes_at_once() {
    let mut w = Driver::new("save \"\"\nmin-replicas-to-write 1\n");
    let (c, r) = (attach(&mut w), w.connect());
    w.request(c, "REPLCONF ACK 0");
    let id = w.node.parts.master.stream.ids.id.clone();
    let next = w.node.parts.master.stream.offset() + 1;
    w.input(Input::Closed(c));
    w.request(r, "REPLCONF capa eof capa psync2");
    w.send(r, format!("PSYNC {id} {next}\r\n").as_bytes());
    assert!(w.take(r).starts_with("+CONTINUE"));
    let c = w.connect();
    assert_eq!(w.request(c, "SET a 1"), "+OK\r\n");
}
