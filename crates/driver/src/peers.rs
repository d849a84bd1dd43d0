//! Replicas and masters as peers of the node, played by scripts.

use russet_engine::io::{Endpoints, Handle};

use crate::Driver;

/// A replication id.
pub const ID: &str = "00112233445566778899aabbccddeeff00112233";

/// Encodes a request.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// Returns a dump file with these keys.
pub fn dump(keys: &[&str]) -> Vec<u8> {
    let mut driver = Driver::new("save \"\"\n");
    let c = driver.connect();
    for key in keys {
        driver.request(c, &format!("SET {key} {key}"));
    }
    assert_eq!(driver.request(c, "SAVE"), "+OK\r\n");
    driver.files["dump.rdb"].clone()
}

/// Returns the connection to the master.
pub fn link(driver: &Driver) -> Option<Handle> {
    driver.node.parts.following.master().and_then(|master| master.link)
}

/// Returns a replica that has sent PSYNC to its master.
pub fn syncing_replica(conf: &str) -> (Driver, Handle) {
    let mut driver = Driver::new(&format!("save \"\"\nreplicaof 127.0.0.1 7000\n{conf}"));
    let link = link(&driver).expect("a replica connects");
    connected(&mut driver, link);
    (driver, link)
}

/// Completes the connection to the master and the handshake up to PSYNC.
pub fn connected(driver: &mut Driver, link: Handle) {
    let ends =
        Endpoints::Tcp { peer: ([127, 0, 0, 1], 7000).into(), local: ([127, 0, 0, 1], 5).into() };
    driver.connected(link, ends);
    driver.send(link, b"+PONG\r\n");
    driver.send(link, b"+OK\r\n+OK\r\n+OK\r\n");
}

/// Returns a replica that is online at offset 100, with these keys.
pub fn replica(conf: &str, keys: &[&str]) -> (Driver, Handle) {
    let (mut driver, link) = syncing_replica(conf);
    driver.send(link, &payload(keys));
    assert!(driver.node.parts.following.master().unwrap().is_online());
    (driver, link)
}

/// Returns the reply and payload of a full synchronization with these keys.
pub fn payload(keys: &[&str]) -> Vec<u8> {
    let dump = dump(keys);
    let mut bytes = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", dump.len()).into_bytes();
    bytes.extend_from_slice(&dump);
    bytes
}

/// Attaches a replica to the node and brings it online.
pub fn attach(driver: &mut Driver) -> Handle {
    let r = driver.connect();
    driver.request(r, "REPLCONF capa eof capa psync2");
    driver.request(r, "PSYNC ? -1");
    driver.advance_ms(6000);
    driver.request(r, "REPLCONF ACK 0");
    driver.take(r);
    assert_eq!(driver.node.parts.master.replicas()[0].handle, r);
    r
}
