//! The open loop of clients of a cluster: requests leave when they are due, to the master that has the key, and go where
//! they are redirected. One thread; it waits for whichever is first, a reply or the time of the next request.
//!
//! A latency is from when a request was due to the reply that ends it, all redirections included.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use russet_e2e::Server;
use russet_e2e::client::encode;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::cluster_masters::{master_at, owners, slot_of};
use super::load::Keys;
use super::request::KeySource;
use crate::sh::Result;

/// Connections to each master.
const CONNECTIONS: usize = 8;

/// Redirections of one request, after which something is wrong.
const REDIRECTIONS_MAX: u32 = 100;

/// Length of values.
const VALUE_LEN: usize = 16;

/// How long a reply may take before the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What was measured.
#[derive(Debug, Default)]
pub struct Latencies {
    /// Of every request.
    pub all: Vec<Duration>,
    /// Replies that sent a request elsewhere.
    pub redirections: u64,
}

/// The name of a key.
pub fn key_name(number: u64) -> String {
    format!("key:{number:012}")
}

/// Stores so many keys.
pub fn populate(masters: &[Server], count: u64) -> Result {
    let owners = owners(masters)?;
    let mut clients: Vec<_> = masters.iter().map(Server::client).collect();
    let value = "v".repeat(VALUE_LEN);
    let mut batches = vec![(vec![], 0); masters.len()];
    for number in 0..count {
        let key = key_name(number);
        let owner = owners[slot_of(key.as_bytes())];
        let (bytes, commands) = &mut batches[owner];
        bytes.extend_from_slice(&encode(&["SET", &key, &value]));
        *commands += 1;
        if *commands == 500 {
            flush(&mut clients[owner], &mut batches[owner])?;
        }
    }
    clients.iter_mut().zip(&mut batches).try_for_each(|(client, batch)| flush(client, batch))
}

fn flush(client: &mut russet_e2e::Client, (bytes, commands): &mut (Vec<u8>, usize)) -> Result {
    client.send(bytes).map_err(|e| e.to_string())?;
    for _ in 0..std::mem::take(commands) {
        let reply = client.read_reply().map_err(|e| e.to_string())?;
        if reply.is_error() {
            return Err(reply.text());
        }
    }
    bytes.clear();
    Ok(())
}

/// A request that is out.
struct Request {
    key: String,
    is_write: bool,
    due: Instant,
    redirections: u32,
}

/// What a connection waits for, in order.
enum Awaited {
    /// The reply to ASKING.
    Asking,
    Reply(Request),
}

struct Connection {
    stream: TcpStream,
    master: usize,
    received: Vec<u8>,
    awaited: VecDeque<Awaited>,
}

/// Clients and what they know.
pub struct Clients {
    poll: OwnedFd,
    masters: Vec<SocketAddr>,
    /// Those of the first master come first.
    connections: Vec<Connection>,
    /// The master of each slot.
    owners: Vec<usize>,
    next: usize,
    latencies: Latencies,
}

impl Clients {
    /// Connects to all masters.
    pub fn new(masters: &[Server]) -> Result<Clients> {
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let mut connections = vec![];
        for (master, server) in masters.iter().enumerate() {
            for _ in 0..CONNECTIONS {
                let stream = TcpStream::connect(server.address()).map_err(|e| e.to_string())?;
                stream.set_nodelay(true).map_err(|e| e.to_string())?;
                let data = epoll::EventData::new_u64(connections.len() as u64);
                epoll::add(&poll, stream.as_fd(), data, epoll::EventFlags::IN)
                    .map_err(|e| e.to_string())?;
                let (received, awaited) = (vec![], VecDeque::new());
                connections.push(Connection { stream, master, received, awaited });
            }
        }
        Ok(Clients {
            poll,
            masters: masters.iter().map(Server::address).collect(),
            connections,
            owners: owners(masters)?,
            next: 0,
            latencies: Latencies::default(),
        })
    }

    /// Sends so many requests a second while `going` says so, each about one of `keys` keys that exist, half of them writes;
    /// then waits for what is out.
    pub fn run(mut self, keys: u64, rate: f64, going: &dyn Fn() -> bool) -> Result<Latencies> {
        let mut numbers = KeySource::new(Keys::Random(keys), 0x9e37_79b9_7f4a_7c15);
        let gap = Duration::from_secs_f64(1.0 / rate);
        let mut due = Instant::now();
        let mut is_write = false;
        let mut is_going = true;
        loop {
            is_going = is_going && going();
            if !is_going && self.connections.iter().all(|c| c.awaited.is_empty()) {
                return Ok(self.latencies);
            }
            while is_going && due <= Instant::now() {
                let number = numbers.next().ok_or("random keys have no end")?;
                is_write = !is_write;
                let request = Request { key: key_name(number), is_write, due, redirections: 0 };
                let master = self.owners[slot_of(request.key.as_bytes())];
                self.send(master, request, false)?;
                due += gap;
            }
            let wait = due.saturating_duration_since(Instant::now());
            self.receive(if is_going { wait } else { SILENCE_MAX })?;
        }
    }

    fn send(&mut self, master: usize, request: Request, is_asking: bool) -> Result {
        self.next += 1;
        let connection = &mut self.connections[master * CONNECTIONS + self.next % CONNECTIONS];
        let mut bytes = vec![];
        if is_asking {
            bytes.extend_from_slice(&encode(&["ASKING"]));
            connection.awaited.push_back(Awaited::Asking);
        }
        bytes.extend_from_slice(&match request.is_write {
            true => encode(&["SET", &request.key, &"v".repeat(VALUE_LEN)]),
            false => encode(&["GET", &request.key]),
        });
        connection.awaited.push_back(Awaited::Reply(request));
        connection.stream.write_all(&bytes).map_err(|e| e.to_string())
    }

    fn receive(&mut self, wait: Duration) -> Result {
        let mut events = Vec::with_capacity(self.connections.len());
        let timeout = wait.try_into().map_err(|_| "timeout")?;
        match epoll::wait(&self.poll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        if events.is_empty() && wait == SILENCE_MAX {
            return Err(self.silence());
        }
        for event in &events {
            let index = usize::try_from(event.data.u64()).map_err(|e| e.to_string())?;
            let connection = &mut self.connections[index];
            let mut bytes = [0; 16 * 1024];
            let count = connection.stream.read(&mut bytes).map_err(|e| e.to_string())?;
            if count == 0 {
                return Err(format!("{} has closed a connection", self.masters[connection.master]));
            }
            connection.received.extend_from_slice(&bytes[..count]);
            while let Some((line, length)) = first_reply(&self.connections[index].received) {
                let connection = &mut self.connections[index];
                connection.received.drain(..length);
                let master = connection.master;
                let awaited = connection.awaited.pop_front().ok_or("nobody asked for a reply")?;
                if let Awaited::Reply(request) = awaited {
                    self.take(master, request, &line)?;
                }
            }
        }
        Ok(())
    }

    /// Says who has not replied to what.
    fn silence(&self) -> String {
        let owing = self.connections.iter().find(|c| !c.awaited.is_empty());
        let about = owing.map(|connection| {
            let request = connection.awaited.iter().find_map(|awaited| match awaited {
                Awaited::Asking => None,
                Awaited::Reply(request) => {
                    Some((&request.key, request.is_write, request.redirections))
                }
            });
            format!(
                "{} owes {} replies, the first to {request:?}",
                self.masters[connection.master],
                connection.awaited.len()
            )
        });
        format!("{} for {SILENCE_MAX:?}", about.unwrap_or_default())
    }

    /// Takes the reply to a request, of which the first line counts.
    fn take(&mut self, master: usize, mut request: Request, line: &str) -> Result {
        let Some(error) = line.strip_prefix('-') else {
            if line == "$-1" {
                return Err(format!("{} is gone", request.key));
            }
            self.latencies.all.push(request.due.elapsed());
            return Ok(());
        };
        request.redirections += 1;
        self.latencies.redirections += 1;
        if request.redirections > REDIRECTIONS_MAX {
            return Err(format!("{}: {error}", request.key));
        }
        match error.split(' ').collect::<Vec<_>>()[..] {
            ["MOVED", _, address] => {
                let owner = self.named(address)?;
                self.owners[slot_of(request.key.as_bytes())] = owner;
                self.send(owner, request, false)
            }
            ["ASK", _, address] => {
                let target = self.named(address)?;
                self.send(target, request, true)
            }
            ["TRYAGAIN", ..] => self.send(master, request, false),
            _ => Err(format!("{}: {error}", request.key)),
        }
    }

    fn named(&self, address: &str) -> Result<usize> {
        master_at(&self.masters, address).ok_or_else(|| format!("{address} is unknown"))
    }
}

/// The first line of the first reply, and the length of the whole reply, if it is complete: a line or a bulk string.
fn first_reply(bytes: &[u8]) -> Option<(String, usize)> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let line = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = match line.strip_prefix('$').map(str::parse::<usize>) {
        Some(Ok(length)) => end + 2 + length + 2,
        _ => end + 2,
    };
    (bytes.len() >= length).then_some((line, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_complete_or_not() {
        let reply = |text: &str| first_reply(text.as_bytes()).map(|(_, length)| length);
        assert_eq!((reply("+OK\r\n-"), reply("+OK\r")), (Some(5), None));
        assert_eq!((reply("$2\r\nab\r\n"), reply("$2\r\nab\r")), (Some(8), None));
        assert_eq!(reply("$-1\r\n"), Some(5));
    }
}
