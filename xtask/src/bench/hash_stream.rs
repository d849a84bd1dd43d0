//! Commands on one large hash, sent over one connection in batches, two of which are always out.
//!
//! One connection, so that the commands have an order: the hash may be renamed among them and is always written to under the
//! name that it has. Every reply is one line, so counting replies is counting lines.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::sh::Result;

/// Commands in a batch.
const BATCH: u64 = 100;

/// Fields of each HSET while the hash is built.
const FIELDS_PER_HSET: u64 = 10;

/// How long nothing may come back.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The hash has the first name between batches.
pub const NAMES: [&str; 2] = ["hash", "renamed"];

/// See the module.
pub struct HashStream {
    socket: TcpStream,
    /// When each batch was sent, and how many replies it still lacks.
    out: VecDeque<(Instant, u64)>,
    batch_max: Duration,
    /// State of the random numbers.
    state: u64,
    text: String,
    input: Vec<u8>,
    /// The last byte read was the end of a line.
    is_line_start: bool,
}

impl HashStream {
    /// Connects.
    pub fn new(address: SocketAddr) -> Result<HashStream> {
        let socket = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        socket.set_read_timeout(Some(SILENCE_MAX)).map_err(|e| e.to_string())?;
        Ok(HashStream {
            socket,
            out: VecDeque::new(),
            batch_max: Duration::ZERO,
            state: 0x9e37_79b9_7f4a_7c15,
            text: String::new(),
            input: vec![0; 64 * 1024],
            is_line_start: true,
        })
    }

    /// Longest time between a batch and its last reply.
    pub fn batch_max(&self) -> Duration {
        self.batch_max
    }

    /// Builds a hash of `fields` fields, with values of 16 bytes.
    pub fn build(&mut self, fields: u64) -> Result {
        let mut next = 0;
        while next < fields {
            let mut commands = 0;
            while commands < BATCH && next < fields {
                let end = fields.min(next + FIELDS_PER_HSET);
                let words = 2 + 2 * (end - next);
                let _ = write!(self.text, "*{words}\r\n$4\r\nHSET\r\n$4\r\nhash\r\n");
                (next..end).for_each(|field| self.pair(field, field));
                (next, commands) = (end, commands + 1);
            }
            self.send(commands)?;
        }
        self.settle()
    }

    /// Changes random fields, some of them new and some deleted, renaming the hash to and fro, until `enough` says so.
    pub fn change_until(&mut self, fields: u64, mut enough: impl FnMut() -> bool) -> Result {
        while !enough() {
            for half in [0, 1] {
                self.changes(NAMES[half], fields, BATCH / 2 - 1);
                self.words(&["RENAME", NAMES[half], NAMES[1 - half]]);
            }
            self.send(BATCH)?;
        }
        self.settle()
    }

    /// Changes without renaming, with one command among the first.
    pub fn change_with(
        &mut self,
        command: &[&str],
        fields: u64,
        mut enough: impl FnMut() -> bool,
    ) -> Result {
        self.changes(NAMES[0], fields, BATCH / 2);
        self.words(command);
        self.send(BATCH / 2 + 1)?;
        while !enough() {
            self.changes(NAMES[1], fields, BATCH);
            self.send(BATCH)?;
        }
        self.settle()
    }

    /// Sends one command and waits for everything that is out.
    pub fn run(&mut self, command: &[&str]) -> Result {
        self.words(command);
        self.send(1)?;
        self.settle()
    }

    /// Of eight commands five set a field, one of eleven of them new, two count, and one deletes.
    fn changes(&mut self, name: &str, fields: u64, commands: u64) {
        for at in 0..commands {
            let field = self.random(fields + fields / 10);
            let _ = match at % 8 {
                0..5 => {
                    let _ = write!(self.text, "*4\r\n$4\r\nHSET\r\n${}\r\n{name}\r\n", name.len());
                    let value = self.random(1 << 40);
                    self.pair(field, value);
                    Ok(())
                }
                5..7 => write!(
                    self.text,
                    "*4\r\n$7\r\nHINCRBY\r\n${}\r\n{name}\r\n$16\r\nnumber{field:010}\r\n$1\r\n1\r\n",
                    name.len()
                ),
                _ => write!(
                    self.text,
                    "*3\r\n$4\r\nHDEL\r\n${}\r\n{name}\r\n$16\r\nfield{field:011}\r\n",
                    name.len()
                ),
            };
        }
    }

    fn pair(&mut self, field: u64, value: u64) {
        let _ = write!(self.text, "$16\r\nfield{field:011}\r\n$16\r\n{value:016}\r\n");
    }

    fn words(&mut self, words: &[&str]) {
        let bytes = russet_e2e::client::encode(words);
        self.text.push_str(&String::from_utf8_lossy(&bytes));
    }

    fn random(&mut self, below: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % below
    }

    /// Sends what has been written, and waits until one batch at most is out beside it.
    fn send(&mut self, commands: u64) -> Result {
        self.out.push_back((Instant::now(), commands));
        self.socket.write_all(self.text.as_bytes()).map_err(|e| e.to_string())?;
        self.text.clear();
        while self.out.len() > 2 {
            self.receive()?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result {
        while !self.out.is_empty() {
            self.receive()?;
        }
        Ok(())
    }

    fn receive(&mut self) -> Result {
        let count = self.socket.read(&mut self.input).map_err(|e| e.to_string())?;
        if count == 0 {
            return Err("the server has closed the connection".into());
        }
        for at in 0..count {
            let byte = self.input[at];
            if self.is_line_start && byte == b'-' {
                let text = String::from_utf8_lossy(&self.input[at..count.min(at + 200)]);
                return Err(format!("an error reply: {text}"));
            }
            self.is_line_start = byte == b'\n';
            if self.is_line_start {
                self.replied()?;
            }
        }
        Ok(())
    }

    fn replied(&mut self) -> Result {
        let Some((sent, left)) = self.out.front_mut() else {
            return Err("a reply too many".into());
        };
        *left -= 1;
        if *left == 0 {
            self.batch_max = self.batch_max.max(sent.elapsed());
            self.out.pop_front();
        }
        Ok(())
    }
}
