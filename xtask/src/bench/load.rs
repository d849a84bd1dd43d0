//! The load generator: one thread, one epoll, raw sockets, requests formatted beforehand.
//!
//! It must cost less than the server it measures. So a batch is formatted once per connection and only its
//! key digits change; and because all values have one length, so have all replies, and counting replies is
//! counting bytes. A reply that is not the expected kind shows at the first byte of its batch and ends the
//! run with its text.
//!
//! The loop is closed: a connection sends its next batch when all replies of the last have come.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::request::{KeySource, Template};
pub use super::request::{Keys, Kind};
use crate::sh::Result;

/// How long nothing may come back before the run is given up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

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
    template: Template,
    epoll: std::os::fd::OwnedFd,
    connections: Vec<Connection>,
    keys: KeySource,
    /// Where replies are read into.
    bytes: Vec<u8>,
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
    /// Commands of the batch that is out; fewer at the end of a range.
    commands: usize,
    /// Reply bytes still to come.
    awaited: usize,
    sent: Instant,
}

impl Generator {
    /// Connects to the server. Nothing is sent yet.
    pub fn new(address: SocketAddr, load: Load) -> Result<Generator> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        let template = Template::new(load.kind, load.value_len)?;
        let mut connections = Vec::with_capacity(load.connections);
        for index in 0..load.connections {
            let connection = Connection::new(address, &load, &template)?;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, connection.stream.as_fd(), data, epoll::EventFlags::IN)
                .map_err(|e| e.to_string())?;
            connections.push(connection);
        }
        let (reply_len, reply_head) = load.kind.reply(load.value_len);
        Ok(Generator {
            load,
            template,
            epoll,
            connections,
            keys: KeySource::new(load.keys, 0x9e37_79b9_7f4a_7c15),
            bytes: vec![0; 256 * 1024],
            done: 0,
            batch_max: Duration::ZERO,
            reply_len,
            reply_head,
        })
    }

    /// Sends the first batch of each connection.
    pub fn begin(&mut self) -> Result {
        (0..self.connections.len()).try_for_each(|index| self.send(index))
    }

    /// Takes one connection that has received something, if there is one, and goes on with it. So a caller that has
    /// something else to do is never kept from it for longer than a batch.
    pub fn step(&mut self) -> Result {
        let at_once = Duration::ZERO;
        self.receive_any(&mut Vec::with_capacity(1), at_once, true)
    }

    /// Waits for what is out.
    pub fn finish(&mut self) -> Result {
        let mut events = Vec::with_capacity(self.load.connections);
        while self.connections.iter().any(|c| c.awaited > 0) {
            self.receive_any(&mut events, SILENCE_MAX, false)?;
            self.expect_any(&events)?;
        }
        Ok(())
    }

    /// Sends until `enough` says so, which is asked once per round of events; then waits for what is out. The
    /// number is that of commands answered so far.
    pub fn run_until(&mut self, mut enough: impl FnMut(u64) -> Result<bool>) -> Result {
        self.begin()?;
        let mut events = Vec::with_capacity(self.load.connections);
        let mut stopping = false;
        while !stopping && self.connections.iter().any(|c| c.awaited > 0) {
            self.receive_any(&mut events, SILENCE_MAX, true)?;
            self.expect_any(&events)?;
            stopping = enough(self.done)?;
        }
        self.finish()
    }

    /// Reads from connections that have received something, as many as there is room for in `events`, and lets those
    /// that are answered go on.
    fn receive_any(
        &mut self,
        events: &mut Vec<epoll::Event>,
        timeout: Duration,
        go_on: bool,
    ) -> Result {
        events.clear();
        let timeout = timeout.try_into().map_err(|_| "timeout")?;
        epoll::wait(&self.epoll, spare_capacity(events), Some(&timeout))
            .map_err(|e| e.to_string())?;
        for event in &*events {
            let index = usize::try_from(event.data.u64()).map_err(|e| e.to_string())?;
            if self.receive(index)? && go_on {
                self.send(index)?;
            }
        }
        Ok(())
    }

    fn expect_any(&self, events: &[epoll::Event]) -> Result {
        if events.is_empty() {
            return Err(format!("the server has been silent for {SILENCE_MAX:?}"));
        }
        Ok(())
    }

    /// Commands answered so far.
    pub fn done(&self) -> u64 {
        self.done
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
        for copy in connection.batch.chunks_exact_mut(self.template.len()) {
            let Some(number) = self.keys.next() else { break };
            self.template.fill(copy, number);
            commands += 1;
        }
        if commands == 0 {
            return Ok(());
        }
        let length = self.template.len() * commands;
        connection.commands = commands;
        connection.awaited = commands * self.reply_len;
        connection.sent = Instant::now();
        connection.stream.write_all(&connection.batch[..length]).map_err(|e| e.to_string())
    }

    /// Reads what has come. True if the batch is answered.
    fn receive(&mut self, index: usize) -> Result<bool> {
        let (connection, bytes) = (&mut self.connections[index], &mut self.bytes);
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
    fn new(address: SocketAddr, load: &Load, template: &Template) -> Result<Connection> {
        let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        stream.set_write_timeout(Some(SILENCE_MAX)).map_err(|e| e.to_string())?;
        let batch = template.repeat(load.pipeline);
        Ok(Connection { stream, batch, commands: 0, awaited: 0, sent: Instant::now() })
    }
}

/// Stores `count` keys, numbered from 0, with values of `value_len` bytes.
pub fn populate(address: SocketAddr, kind: Kind, from: u64, to: u64, value_len: usize) -> Result {
    let keys = Keys::Each { from, to };
    let load = Load { kind, keys, value_len, pipeline: 100, connections: 8 };
    Generator::new(address, load)?.run_to_end()
}
