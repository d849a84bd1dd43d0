//! Replicas and masters as tests play them.

use russet_engine::io::{Endpoints, Handle, Host, Input, Output};

use super::World;

/// A name of a history.
pub const ID: &str = "00112233445566778899aabbccddeeff00112233";

/// A host that knows no ticks.
pub struct NoTicks;

impl Host for NoTicks {
    fn ticks_us(&mut self) -> u64 {
        0
    }
}

/// Sends bytes of a client that does not read what it is sent.
pub fn send_unread(w: &mut World, client: Handle, bytes: &[u8]) {
    if let Some(buffer) = w.node.read_buffer(client) {
        buffer.extend_from_slice(bytes);
        w.node.received(w.now, client);
    }
    loop {
        match w.node.poll_output(w.now) {
            Output::Wait(Some(0)) => w.node.turn(w.now, &mut NoTicks),
            Output::Wait(_) => return,
            Output::Close(handle) => w.closed.push(handle),
            _ => {}
        }
    }
}

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
    let mut w = World::new("save \"\"\n");
    let c = w.connect();
    for key in keys {
        w.ask(c, &format!("SET {key} {key}"));
    }
    assert_eq!(w.ask(c, "SAVE"), "+OK\r\n");
    w.files["dump.rdb"].clone()
}

/// Our link to our master.
pub fn link(w: &World) -> Option<Handle> {
    w.node.repl.master.as_ref().and_then(|master| master.link)
}

/// A replica that has been told of its master and asks it to synchronise.
pub fn asks_master(conf: &str) -> (World, Handle) {
    let mut w = World::new(&format!("save \"\"\nreplicaof 127.0.0.1 7000\n{conf}"));
    let link = link(&w).expect("it connects");
    connected(&mut w, link);
    (w, link)
}

/// The link is there, and all goes well up to PSYNC.
pub fn connected(w: &mut World, link: Handle) {
    let ends = Endpoints::Tcp {
        peer: "127.0.0.1:7000".parse().unwrap(),
        local: "127.0.0.1:5".parse().unwrap(),
    };
    w.node.handle(w.now, Input::Connected { link, result: Ok(ends) });
    w.send(link, b"+PONG\r\n");
    w.send(link, b"+OK\r\n+OK\r\n+OK\r\n");
}

/// A replica that follows its master from offset 100 on.
pub fn replica(conf: &str, keys: &[&str]) -> (World, Handle) {
    let (mut w, link) = asks_master(conf);
    w.send(link, &payload(keys));
    assert!(w.node.repl.master.as_ref().unwrap().is_online());
    (w, link)
}

/// A whole full synchronisation with these keys.
pub fn payload(keys: &[&str]) -> Vec<u8> {
    let dump = dump(keys);
    let mut bytes = format!("+FULLRESYNC {ID} 100\r\n${}\r\n", dump.len()).into_bytes();
    bytes.extend_from_slice(&dump);
    bytes
}

/// A replica of ours that follows the stream.
pub fn attach(w: &mut World) -> Handle {
    let r = w.connect();
    w.ask(r, "REPLCONF capa eof capa psync2");
    w.ask(r, "PSYNC ? -1");
    w.advance_ms(6000);
    w.ask(r, "REPLCONF ACK 0");
    w.take(r);
    assert_eq!(w.node.repl.replicas(), [r]);
    r
}
