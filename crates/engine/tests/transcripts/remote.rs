//! A server over TCP, Russet or stock.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::resp;
use crate::run::{Server, Start};

/// Maximum wait; with a longer one the rest of the section is skipped.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Timeout of replies.
const PATIENCE: Duration = Duration::from_secs(10);

/// Timeout of replies, after which the client may be blocked.
const PATIENCE_BLOCKED: Duration = Duration::from_millis(50);

/// A remote server.
pub struct Remote {
    address: String,
    clients: BTreeMap<String, Link>,
    /// Number of pending replies of each client.
    awaited: BTreeMap<String, usize>,
    /// A replica's link, and the offset of the stream up to which it has been read.
    replica: Option<(Link, i64)>,
    control: Link,
    /// Changed directives, with their previous values.
    changed: Vec<(String, String)>,
    resp3: bool,
}

struct Link {
    socket: TcpStream,
    bytes: Vec<u8>,
}

impl Link {
    fn open(address: &str) -> Link {
        let socket = TcpStream::connect(address).expect("RUSSET_TRANSCRIPT_ADDR answers");
        socket.set_nodelay(true).expect("a socket");
        Link { socket, bytes: Vec::new() }
    }

    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("the server reads");
    }

    /// Reads once with a timeout. Returns false at a timeout or the end.
    fn read(&mut self, time: Duration) -> bool {
        let mut buffer = vec![0; 1 << 16];
        self.socket.set_read_timeout(Some(time)).expect("a socket");
        let len = self.socket.read(&mut buffer).unwrap_or(0);
        self.bytes.extend_from_slice(&buffer[..len]);
        len > 0
    }

    fn reply(&mut self) -> Option<Vec<String>> {
        self.reply_within(PATIENCE)
    }

    fn reply_within(&mut self, time: Duration) -> Option<Vec<String>> {
        loop {
            if let Some((len, lines)) = resp::reply(&self.bytes) {
                self.bytes.drain(..len);
                return Some(lines);
            }
            if !self.read(time) {
                return None;
            }
        }
    }

    fn request(&mut self, words: &[&str]) -> Vec<String> {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.send(&resp::request(&words));
        self.reply().expect("a reply")
    }
}

impl Link {
    /// Returns a reply as it is.
    fn text(&mut self, words: &[&str]) -> String {
        let words: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        self.send(&resp::request(&words));
        loop {
            if let Some((len, _)) = resp::reply(&self.bytes) {
                let bytes: Vec<u8> = self.bytes.drain(..len).collect();
                return String::from_utf8_lossy(&bytes).into_owned();
            }
            assert!(self.read(PATIENCE), "a reply");
        }
    }
}

impl Remote {
    /// Connects.
    pub fn new(address: &str) -> Remote {
        Remote {
            address: address.to_owned(),
            clients: BTreeMap::new(),
            awaited: BTreeMap::new(),
            replica: None,
            control: Link::open(address),
            changed: Vec::new(),
            resp3: false,
        }
    }

    /// Attaches a replica and reads up to the end mark of the payload.
    fn attach_replica(&mut self) {
        self.control.request(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]);
        let mut link = Link::open(&self.address);
        link.request(&["REPLCONF", "capa", "eof", "capa", "psync2"]);
        link.send(b"PSYNC ? -1\r\n");
        let (mark, offset): (String, i64) = loop {
            let text = String::from_utf8_lossy(&link.bytes).into_owned();
            if let Some((before, after)) = text.split_once("$EOF:")
                && let Some(mark) = after.get(..40)
            {
                let offset = before.split_ascii_whitespace().nth(2).expect("+FULLRESYNC id offset");
                break (mark.to_owned(), offset.parse().expect("a number"));
            }
            assert!(link.read(PATIENCE), "a full synchronization begins");
        };
        let head = link.bytes.windows(5).position(|w| w == b"$EOF:").expect("seen above") + 47;
        let end = loop {
            let payload = &link.bytes[head.min(link.bytes.len())..];
            if let Some(at) = payload.windows(40).position(|window| window == mark.as_bytes()) {
                break head + at + 40;
            }
            assert!(link.read(PATIENCE), "a full synchronization ends");
        };
        link.bytes.drain(..end);
        let offset = offset + link.bytes.len() as i64;
        self.replica = Some((link, offset));
    }
}

/// Whether a client is blocked.
fn is_blocked(control: &mut Link, link: &Link) -> bool {
    let address = link.socket.local_addr().expect("a socket");
    let list = control.text(&["CLIENT", "LIST"]);
    let line = list.lines().find(|line| line.contains(&format!(" addr={address} ")));
    let flags = line.and_then(|line| line.split(" flags=").nth(1)?.split(' ').next());
    flags.is_some_and(|flags| flags.contains('b'))
}

impl Drop for Remote {
    fn drop(&mut self) {
        for (name, value) in std::mem::take(&mut self.changed) {
            self.control.request(&["CONFIG", "SET", &name, &value]);
        }
    }
}

impl Server for Remote {
    fn start(&mut self, start: Start) {
        self.clients.clear();
        self.awaited.clear();
        self.replica = None;
        for (name, value) in std::mem::take(&mut self.changed) {
            self.control.request(&["CONFIG", "SET", &name, &value]);
        }
        self.control.request(&["FLUSHALL"]);
        self.resp3 = start.resp3;
        if start.replica {
            self.attach_replica();
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let old = self.control.request(&["CONFIG", "GET", name]);
        let old = old.last().expect("a known directive").trim().trim_matches('"').to_owned();
        self.changed.push((name.to_owned(), old));
        self.control.request(&["CONFIG", "SET", name, value]);
    }

    fn advance(&mut self, time: Duration) -> bool {
        if time <= WAIT_MAX {
            std::thread::sleep(time);
        }
        time <= WAIT_MAX
    }

    fn send(&mut self, client: &str, bytes: &[u8], requests: usize) {
        let (address, resp3) = (&self.address, self.resp3);
        let link = self.clients.entry(client.to_owned()).or_insert_with(|| {
            let mut link = Link::open(address);
            if resp3 {
                link.request(&["HELLO", "3"]);
            }
            link
        });
        link.send(bytes);
        *self.awaited.entry(client.to_owned()).or_default() += requests;
    }

    fn replies(&mut self, client: &str) -> Vec<String> {
        let awaited = self.awaited.remove(client).unwrap_or(0);
        let Some(link) = self.clients.get_mut(client) else { return Vec::new() };
        let mut lines = Vec::new();
        for at in 0..awaited {
            let reply = link.reply_within(PATIENCE_BLOCKED);
            if reply.is_none() && is_blocked(&mut self.control, link) {
                self.awaited.insert(client.to_owned(), awaited - at);
                break;
            }
            match reply.or_else(|| link.reply()) {
                Some(reply) => lines.extend(reply),
                None => lines.push("(closed)".to_owned()),
            }
        }
        lines
    }

    fn clients(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    fn effects(&mut self) -> Vec<String> {
        let Some((link, offset)) = &mut self.replica else { return Vec::new() };
        let role = self.control.request(&["ROLE"]);
        let target = role[2].trim_start_matches([' ', ':']).parse::<i64>().expect("an offset");
        let mut tries = 0;
        while *offset < target {
            let before = link.bytes.len();
            if !link.read(Duration::from_millis(20)) {
                // A stock master starts the stream at this acknowledgement, but ignores one that arrives
                // before it has handled the end of its child process.
                link.send(b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$1\r\n0\r\n");
                tries += 1;
                assert!(tries < 500, "the stream goes on");
            }
            *offset += (link.bytes.len() - before) as i64;
        }
        resp::effects(&mut link.bytes)
    }
}
