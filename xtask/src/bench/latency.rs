//! Latency at a fixed rate, from an open loop: requests leave when they are due, not when the server has kept up, so a stall
//! counts for every request that it delays.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use russet_e2e::Server;
use russet_e2e::client::encode;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;

use super::Plan;
use super::load::{Kind, populate};
use super::report::{Metric, Report};
use super::turns::while_saving;
use crate::sh::Result;

/// Keys that exist.
const KEYS: u64 = 3_000_000;

/// Requests per second: well below what either server can do, so that there is no queue but for stalls.
const RATE: u64 = 20_000;

const CONNECTIONS: usize = 50;

const REPLY: &[u8] = b"+OK\r\n";

/// What is shown of the latencies.
const SHARES: [(Metric, f64); 4] = [
    (metric("median"), 0.5),
    (metric("99 %"), 0.99),
    (metric("99.9 %"), 0.999),
    (metric("longest"), 1.0),
];

const fn metric(name: &'static str) -> Metric {
    Metric { group: "latency", name, unit: "µs" }
}

/// SET of random keys that exist, undisturbed and while a snapshot is written.
pub fn run(plan: &Plan, report: &mut Report) -> Result {
    let keys = plan.scaled(KEYS);
    let quiet_for = Duration::from_secs(if plan.quick { 1 } else { 5 });
    let mut servers = vec![];
    for side in &plan.sides {
        let server = side.start(&[])?;
        populate(server.address(), Kind::Set, 0, keys, 16)?;
        servers.push(server);
    }
    for round in 0..plan.rounds {
        eprintln!("  round {}", round + 1);
        for side in plan.order(round) {
            let server = &servers[side];
            let start = Instant::now();
            let latencies = open_loop(server, keys, &|| start.elapsed() < quiet_for)?;
            note(report, &format!("SET at {RATE}/s"), side, latencies);
            let latencies = while_saving(server, |saving| open_loop(server, keys, saving))?;
            note(report, &format!("SET at {RATE}/s, BGSAVE"), side, latencies);
        }
    }
    Ok(())
}

fn note(report: &mut Report, case: &str, side: usize, mut latencies: Vec<Duration>) {
    latencies.sort_unstable();
    let Some(last) = latencies.len().checked_sub(1) else { return };
    for (metric, share) in SHARES {
        let index = ((last as f64) * share).ceil() as usize;
        report.add(metric, case, side, latencies[index.min(last)].as_secs_f64() * 1e6);
    }
}

struct Connection {
    stream: TcpStream,
    /// When each request that is out was due.
    due: VecDeque<Instant>,
    /// Bytes of a reply that has come in part.
    partial: usize,
}

/// Sends at the rate while `going` says so; the time from when each request was due to its reply.
fn open_loop(server: &Server, keys: u64, going: &dyn Fn() -> bool) -> Result<Vec<Duration>> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for index in 0..CONNECTIONS {
        let stream = TcpStream::connect(server.address()).map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let data = epoll::EventData::new_u64(index as u64);
        epoll::add(&poll, stream.as_fd(), data, epoll::EventFlags::IN)
            .map_err(|e| e.to_string())?;
        connections.push(Connection { stream, due: VecDeque::new(), partial: 0 });
    }
    let gap = Duration::from_secs(1) / u32::try_from(RATE).map_err(|e| e.to_string())?;
    let (mut due, mut number, mut state) = (Instant::now(), 0_usize, 88_172_645_463_325_252_u64);
    let mut latencies = vec![];
    let mut events: Vec<epoll::Event> = Vec::with_capacity(CONNECTIONS);
    let mut going_on = true;
    while going_on || connections.iter().any(|c| !c.due.is_empty()) {
        going_on = going_on && going();
        while going_on && due <= Instant::now() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let key = format!("key:{:012}", state % keys);
            let connection = &mut connections[number % CONNECTIONS];
            let request = encode(&["SET", &key, "0123456789abcdef"]);
            connection.stream.write_all(&request).map_err(|e| e.to_string())?;
            connection.due.push_back(due);
            number += 1;
            due += gap;
        }
        events.clear();
        // No waiting: this core has nothing else to do, and a sleep would be late.
        let at_once = rustix::fs::Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(&poll, spare_capacity(&mut events), Some(&at_once))
            .map_err(|e| e.to_string())?;
        for event in &events {
            let index = usize::try_from(event.data.u64()).map_err(|e| e.to_string())?;
            receive(&mut connections[index], &mut latencies)?;
        }
    }
    Ok(latencies)
}

fn receive(connection: &mut Connection, latencies: &mut Vec<Duration>) -> Result {
    let mut bytes = [0; 4096];
    let count = connection.stream.read(&mut bytes).map_err(|e| e.to_string())?;
    if count == 0 || (connection.partial == 0 && bytes[0] != REPLY[0]) {
        return Err(format!("unexpected reply: {:?}", String::from_utf8_lossy(&bytes[..count])));
    }
    let now = Instant::now();
    let all = connection.partial + count;
    for _ in 0..all / REPLY.len() {
        let due = connection.due.pop_front().ok_or("a reply that nobody asked for")?;
        latencies.push(now - due);
    }
    connection.partial = all % REPLY.len();
    Ok(())
}
