//! The open loop: requests leave when they are due, not when the server has kept up, so a stall counts for
//! every request that it delays. One thread, which never waits: a sleep would be late.
//!
//! Beside it a closed loop (`load.rs`) can go on in the same thread. It is given one event at a time, so what
//! it adds to a latency is less than the time of one request, some microseconds.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::load::{Generator, Keys, Kind};
use super::report::{Metric, Report};
use super::request::{KeySource, Template};
use crate::sh::Result;

/// Length of values.
pub const VALUE_LEN: usize = 16;

/// Requests at a fixed rate.
#[derive(Debug, Clone, Copy)]
pub struct Stream {
    /// The command.
    pub kind: Kind,
    /// Keys that exist, from which they are chosen at random.
    pub keys: u64,
    /// Requests per second.
    pub rate: f64,
    /// Connections, which take turns.
    pub connections: usize,
}

/// Sends all streams while `going` says so, beside a closed loop if there is one. For each request of the first stream
/// the time from when it was due to its reply.
pub fn run(
    address: SocketAddr,
    streams: &[Stream],
    mut beside: Option<&mut Generator>,
    going: &dyn Fn() -> bool,
) -> Result<Vec<Duration>> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
    let mut connections = vec![];
    let mut senders = vec![];
    for (index, stream) in streams.iter().enumerate() {
        senders.push(Sender::new(
            stream,
            connections.len(),
            88_172_645_463_325_252 + index as u64,
        )?);
        for _ in 0..stream.connections {
            let data = epoll::EventData::new_u64(connections.len() as u64);
            let stream = connect(address).map_err(|e| format!("{address}: {e}"))?;
            epoll::add(&poll, stream.as_fd(), data, epoll::EventFlags::IN)
                .map_err(|e| e.to_string())?;
            connections.push(Connection {
                stream,
                due: VecDeque::new(),
                partial: 0,
                sender: index,
            });
        }
    }
    if let Some(generator) = &mut beside {
        generator.begin()?;
    }
    let mut events: Vec<epoll::Event> = Vec::with_capacity(connections.len());
    let mut going_on = true;
    while going_on || connections.iter().any(|c| !c.due.is_empty()) {
        going_on = going_on && going();
        if going_on {
            senders.iter_mut().try_for_each(|sender| sender.send_due(&mut connections))?;
        }
        events.clear();
        let at_once = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&poll, spare_capacity(&mut events), Some(&at_once))
            .map_err(|e| e.to_string())?;
        for event in &events {
            let index = usize::try_from(event.data.u64()).map_err(|e| e.to_string())?;
            let connection = &mut connections[index];
            connection.receive(&mut senders[connection.sender])?;
        }
        if let Some(generator) = &mut beside {
            generator.step()?;
        }
    }
    if let Some(generator) = &mut beside {
        generator.finish()?;
    }
    Ok(senders.swap_remove(0).latencies)
}

fn connect(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A stream that is being sent.
struct Sender {
    template: Template,
    request: Vec<u8>,
    keys: KeySource,
    /// When the next one is due, and how long after that the one behind it.
    due: Instant,
    gap: Duration,
    /// The first of its connections, how many they are, and how many requests have been sent.
    first: usize,
    count: usize,
    sent: usize,
    reply_len: usize,
    reply_head: u8,
    latencies: Vec<Duration>,
}

impl Sender {
    fn new(stream: &Stream, first: usize, seed: u64) -> Result<Sender> {
        let template = Template::new(stream.kind, VALUE_LEN)?;
        let (reply_len, reply_head) = stream.kind.reply(VALUE_LEN);
        Ok(Sender {
            request: template.repeat(1),
            template,
            keys: KeySource::new(Keys::Random(stream.keys), seed),
            due: Instant::now(),
            gap: Duration::from_secs_f64(1.0 / stream.rate.max(1.0)),
            first,
            count: stream.connections,
            sent: 0,
            reply_len,
            reply_head,
            latencies: vec![],
        })
    }

    /// Sends the next request if it is due; only one, so that replies are read between two.
    fn send_due(&mut self, connections: &mut [Connection]) -> Result {
        if self.due > Instant::now() {
            return Ok(());
        }
        let number = self.keys.next().ok_or("random keys have no end")?;
        self.template.fill(&mut self.request, number);
        let connection = &mut connections[self.first + self.sent % self.count];
        connection.stream.write_all(&self.request).map_err(|e| e.to_string())?;
        connection.due.push_back(self.due);
        self.sent += 1;
        self.due += self.gap;
        Ok(())
    }
}

struct Connection {
    stream: TcpStream,
    /// When each request that is out was due.
    due: VecDeque<Instant>,
    /// Bytes of a reply that has come in part.
    partial: usize,
    /// Whose connection it is.
    sender: usize,
}

impl Connection {
    fn receive(&mut self, sender: &mut Sender) -> Result {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes).map_err(|e| e.to_string())?;
        if count == 0 || (self.partial == 0 && bytes[0] != sender.reply_head) {
            let text = String::from_utf8_lossy(&bytes[..count]);
            return Err(format!("unexpected reply or end: {text:?}"));
        }
        let now = Instant::now();
        let all = self.partial + count;
        for _ in 0..all / sender.reply_len {
            let due = self.due.pop_front().ok_or("a reply that nobody asked for")?;
            sender.latencies.push(now - due);
        }
        self.partial = all % sender.reply_len;
        Ok(())
    }
}

/// What is shown of latencies: the share of requests that were not slower.
const SHARES: [(&str, f64); 4] =
    [("median", 0.5), ("99 %", 0.99), ("99.9 %", 0.999), ("longest", 1.0)];

/// Adds the figures of these latencies to the report, if there are any.
pub fn note(
    report: &mut Report,
    group: &'static str,
    case: &str,
    side: usize,
    latencies: &mut [Duration],
) {
    latencies.sort_unstable();
    for (name, share) in SHARES {
        let Some(latency) = at_share(latencies, share) else { return };
        report.add(Metric { group, name, unit: "µs" }, case, side, latency);
    }
}

/// The latency that this share of requests did not exceed, in microseconds. They are sorted.
pub fn at_share(latencies: &[Duration], share: f64) -> Option<f64> {
    let last = latencies.len().checked_sub(1)?;
    let index = ((last as f64) * share).ceil() as usize;
    latencies.get(index.min(last)).map(|latency| latency.as_secs_f64() * 1e6)
}
