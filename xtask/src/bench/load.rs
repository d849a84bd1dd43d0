//! The load generator: one thread, one epoll, raw sockets, requests formatted beforehand.
//!
//! It must cost less than the server it measures. So a batch is formatted once per connection and only its key digits change; and
//! because all values have one length, so have all replies, and counting replies is counting bytes. A reply that is not
//! the expected kind shows at the first byte of its batch and ends the run with its text.
//!
//! The loop is closed: a connection sends its next batch when all replies of the last have come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use crate::sh::Result;

/// Length of every key: `key:` and twelve digits.
const KEY_LEN: usize = 16;

/// Digits of a field, behind `f:`.
const FIELD_DIGITS: usize = 8;

/// How long nothing may come back before the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// What is sent.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// `GET key`, of a key that exists.
    Get,
    /// `SET key value`.
    Set,
    /// `SET key value EX 100000`.
    SetWithExpiry,
    /// `HGET key field`, of a field that exists.
    HGet {
        /// Fields of each hash.
        fields: u64,
    },
    /// `HSET key field value`.
    HSet {
        /// Fields of each hash.
        fields: u64,
    },
}

impl Kind {
    /// Fields of each hash; none if it is about strings.
    fn fields(self) -> Option<u64> {
        match self {
            Kind::HGet { fields } | Kind::HSet { fields } => Some(fields),
            Kind::Get | Kind::Set | Kind::SetWithExpiry => None,
        }
    }
}

/// Which keys; of hashes, which fields: those of the first hash, then those of the next.
#[derive(Debug, Clone, Copy)]
pub enum Keys {
    /// At random, of so many.
    Random(u64),
    /// Each number of a range once.
    Each {
        /// The first.
        from: u64,
        /// Behind the last.
        to: u64,
    },
}

/// A load.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// The command.
    pub kind: Kind,
    /// Its keys.
    pub keys: Keys,
    /// Length of values in bytes, also of those that are there.
    pub value_len: usize,
    /// Commands per batch.
    pub pipeline: usize,
    /// Connections.
    pub connections: usize,
}

/// A load that is being sent.
pub struct Generator {
    load: Load,
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    keys: KeySource,
    /// Commands answered.
    done: u64,
    /// Longest time between a batch and its last reply.
    batch_max: Duration,
    reply_len: usize,
    reply_head: u8,
}

struct Connection {
    stream: TcpStream,
    batch: Vec<u8>,
    /// Where the digits of the key, and of the field if there is one, start in each command of the batch.
    digits: Vec<(usize, Option<usize>)>,
    /// Commands of the batch that is out; fewer at the end of a range.
    commands: usize,
    /// Reply bytes still to come.
    awaited: usize,
    sent: Instant,
}

enum KeySource {
    Random { state: u64, count: u64 },
    Each { next: u64, to: u64 },
}

impl Generator {
    /// Connects to the server. Nothing is sent yet.
    pub fn new(address: SocketAddr, load: Load) -> Result<Generator> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let mut connections = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let connection = Connection::new(address, &load)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, connection.stream.as_fd(), data, epoll::EventFlags::IN)
                .map_err(|e| e.to_string())?;
            connections.push(connection);
        }
        let (reply_len, reply_head) = match load.kind {
            Kind::Get | Kind::HGet { .. } => {
                (format!("${}\r\n", load.value_len).len() + load.value_len + 2, b'$')
            }
            Kind::Set | Kind::SetWithExpiry => (b"+OK\r\n".len(), b'+'),
            Kind::HSet { .. } => (b":0\r\n".len(), b':'),
        };
        let keys = match load.keys {
            Keys::Random(count) => KeySource::Random { state: 0x9e37_79b9_7f4a_7c15, count },
            Keys::Each { from, to } => KeySource::Each { next: from, to },
        };
        let batch_max = Duration::ZERO;
        Ok(Generator { load, epoll, connections, keys, done: 0, batch_max, reply_len, reply_head })
    }

    /// Sends until `enough` says so, which is asked once per round of events; then waits for what is out. The
    /// number is that of commands answered so far.
    pub fn run_until(&mut self, mut enough: impl FnMut(u64) -> Result<bool>) -> Result {
        for index in 0..self.connections.len() {
            self.send(index)?;
        }
        let mut events: Vec<epoll::Event> = Vec::with_capacity(self.load.connections);
        let mut bytes = vec![0; 256 * 1024];
        let mut stopping = false;
        while self.connections.iter().any(|c| c.awaited > 0) {
            events.clear();
            let timeout = SILENCE_MAX.try_into().map_err(|_| "timeout")?;
            epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))
                .map_err(|e| e.to_string())?;
            if events.is_empty() {
                return Err(format!("the server has been silent for {SILENCE_MAX:?}"));
            }
            for event in &events {
                let index = usize::try_from(event.data.u64()).map_err(|e| e.to_string())?;
                if self.receive(index, &mut bytes)? && !stopping {
                    self.send(index)?;
                }
            }
            stopping = stopping || enough(self.done)?;
        }
        Ok(())
    }

    /// Sends each key of a range once.
    pub fn run_to_end(&mut self) -> Result {
        self.run_until(|_| Ok(false))
    }

    /// Longest time between a batch and its last reply.
    pub fn batch_max(&self) -> Duration {
        self.batch_max
    }

    fn send(&mut self, index: usize) -> Result {
        let connection = &mut self.connections[index];
        let mut commands = 0;
        let fields = self.load.kind.fields().unwrap_or(1);
        for &(key_at, field_at) in &connection.digits {
            let Some(number) = self.keys.next() else { break };
            write_digits(&mut connection.batch[key_at..key_at + 12], number / fields);
            if let Some(at) = field_at {
                write_digits(&mut connection.batch[at..at + FIELD_DIGITS], number % fields);
            }
            commands += 1;
        }
        if commands == 0 {
            return Ok(());
        }
        let length = connection.batch.len() / self.load.pipeline * commands;
        connection.commands = commands;
        connection.awaited = commands * self.reply_len;
        connection.sent = Instant::now();
        connection.stream.write_all(&connection.batch[..length]).map_err(|e| e.to_string())
    }

    /// Reads what has come. True if the batch is answered.
    fn receive(&mut self, index: usize, bytes: &mut [u8]) -> Result<bool> {
        let connection = &mut self.connections[index];
        let count = connection.stream.read(bytes).map_err(|e| e.to_string())?;
        let is_first = connection.awaited == connection.commands * self.reply_len;
        if count == 0 || count > connection.awaited || (is_first && bytes[0] != self.reply_head) {
            let text = String::from_utf8_lossy(&bytes[..count.min(200)]).into_owned();
            return Err(format!("unexpected reply or end: {text:?}"));
        }
        connection.awaited -= count;
        if connection.awaited > 0 {
            return Ok(false);
        }
        self.done += connection.commands as u64;
        self.batch_max = self.batch_max.max(connection.sent.elapsed());
        Ok(true)
    }
}

impl Connection {
    fn new(address: SocketAddr, load: &Load) -> Result<Connection> {
        let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        stream.set_write_timeout(Some(SILENCE_MAX)).map_err(|e| e.to_string())?;
        let command = command(load);
        let find = |text: &[u8]| command.windows(text.len()).position(|w| w == text);
        let key = find(b"key:").ok_or("a command has a key")? + b"key:".len();
        let field = find(b"f:").map(|at| at + b"f:".len());
        let places = |start: usize| (start + key, field.map(|at| start + at));
        let digits = (0..load.pipeline).map(|i| places(i * command.len())).collect();
        let batch = command.repeat(load.pipeline);
        Ok(Connection { stream, batch, digits, commands: 0, awaited: 0, sent: Instant::now() })
    }
}

impl KeySource {
    fn next(&mut self) -> Option<u64> {
        match self {
            KeySource::Random { state, count } => {
                *state ^= *state << 13;
                *state ^= *state >> 7;
                *state ^= *state << 17;
                // The upper half, scaled: even enough for a load, and no division.
                Some(((*state >> 32) * *count) >> 32)
            }
            KeySource::Each { next, to } => {
                let key = *next;
                *next += 1;
                (key < *to).then_some(key)
            }
        }
    }
}

fn command(load: &Load) -> Vec<u8> {
    let key = format!("key:{:0width$}", 0, width = KEY_LEN - 4);
    let field = format!("f:{:0FIELD_DIGITS$}", 0);
    let value = "v".repeat(load.value_len);
    let words: &[&str] = match load.kind {
        Kind::HGet { .. } => &["HGET", &key, &field],
        Kind::HSet { .. } => &["HSET", &key, &field, &value],
        Kind::Get => &["GET", &key],
        Kind::Set => &["SET", &key, &value],
        Kind::SetWithExpiry => &["SET", &key, &value, "EX", "100000"],
    };
    russet_e2e::client::encode(words)
}

/// Writes `number` with leading zeros.
fn write_digits(place: &mut [u8], mut number: u64) {
    // Numbers have eight digits at most here; what is before them stays zero.
    for digit in place.iter_mut().rev().take(8) {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
    }
}

/// Stores `count` keys, numbered from 0, with values of `value_len` bytes.
pub fn populate(address: SocketAddr, kind: Kind, from: u64, to: u64, value_len: usize) -> Result {
    let keys = Keys::Each { from, to };
    let load = Load { kind, keys, value_len, pipeline: 100, connections: 8 };
    Generator::new(address, load)?.run_to_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_written_in_place() {
        let mut place = *b"000000000000";
        write_digits(&mut place, 1_234_567);
        assert_eq!(&place, b"000001234567");
        write_digits(&mut place, 8);
        assert_eq!(&place, b"000000000008");
    }

    #[test]
    fn random_keys_stay_in_range() {
        let mut keys = KeySource::Random { state: 1, count: 10 };
        assert!((0..1000).all(|_| keys.next().is_some_and(|key| key < 10)));
    }
}
