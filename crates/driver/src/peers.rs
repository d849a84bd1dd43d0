//! Replicas and masters as tests play them: scripts of what the other side of a link sends.

use russet_engine::io::{Endpoints, Handle};

use crate::Driver;

/// A name of a history.
pub const ID: &str = "00112233445566778899aabbccddeeff00112233";

/// A request as clients send it.
pub fn command(words: &[&str]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
    }
    bytes
}

/// A dump file with these keys.
pub fn dump(keys: &[&str]) -> Vec<u8> {
    let mut driver = Driver::new("save \"\"\n");
    let c = driver.connect();
    for key in keys {
        driver.ask(c, &format!("SET {key} {key}"));
    }
    assert_eq!(driver.ask(c, "SAVE"), "+OK\r\n");
    driver.files["dump.rdb"].clone()
}

/// Our link to our master.
pub fn link(driver: &Driver) -> Option<Handle> {
    driver.node.parts.following.master().and_then(|master| master.link)
}

/// A replica that has been told of its master and asks it to synchronise.
pub fn asks_master(conf: &str) -> (Driver, Handle) {
    let mut driver = Driver::new(&format!("save \"\"\nreplicaof 127.0.0.1 7000\n{conf}"));
    let link = link(&driver).expect("it connects");
    connected(&mut driver, link);
    (driver, link)
}

/// The link is there, and all goes well up to PSYNC.
pub fn connected(driver: &mut Driver, link: Handle) {
    let ends =
        Endpoints::Tcp { peer: ([127, 0, 0, 1], 7000).into(), local: ([127, 0, 0, 1], 5).into() };
    driver.connected(link, ends);
    driver.send(link, b"+PONG\r\n");
    driver.send(link, b"+OK\r\n+OK\r\n+OK\r\n");
}

/// A replica that follows its master from offset 100 on.
pub fn replica(conf: &str, keys: &[&str]) -> (Driver, Handle) {
    let (mut driver, link) = asks_master(conf);
    driver.send(link, &payload(keys));
    assert!(driver.node.parts.following.master().unwrap().is_online());
    (driver, link)
}

/// A whole full synchronisation with these keys.
pub fn payload(keys: &[&str]) -> Vec<u8> {
    let dump = dump(keys);
    let mut bytes = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", dump.len()).into_bytes();
    bytes.extend_from_slice(&dump);
    bytes
}

/// A replica of ours that follows the stream.
pub fn attach(driver: &mut Driver) -> Handle {
    let r = driver.connect();
    driver.ask(r, "REPLCONF capa eof capa psync2");
    driver.ask(r, "PSYNC ? -1");
    driver.advance_ms(6000);
    driver.ask(r, "REPLCONF ACK 0");
    driver.take(r);
    assert_eq!(driver.node.parts.master.replicas()[0].handle, r);
    r
}
