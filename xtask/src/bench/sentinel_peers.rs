//! Simulated servers for a Sentinel: masters with replicas, as far as a Sentinel asks, in one thread.
//!
//! All listen on one port of different addresses of 127.0.0.0/8: one socket accepts for all of them, and a
//! connection belongs to the server whose address it was made to. They reply to PING, INFO, ROLE, CLIENT and AUTH, and
//! deliver what is published to the subscribers of the same server. Their roles never change.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::sh::Result;

/// Replicas of each master.
pub const REPLICAS: usize = 2;

/// Lines of INFO that a Sentinel does not need: a server's reply has about 4 KB.
const OTHER_LINES: usize = 130;

/// How often the thread looks whether it should end.
const LOOK: Duration = Duration::from_millis(200);

/// The event data of the listening socket.
const LISTENER: u64 = u64::MAX;

/// The address of a server: `place` 0 is the master, the others are its replicas.
pub fn address_of(master: usize, place: usize) -> Ipv4Addr {
    let octet = |number: usize| u8::try_from(number).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, 10 + octet(place), octet(master / 250), 1 + octet(master % 250))
}

/// The server that has this address.
fn server_at(address: Ipv4Addr) -> (usize, usize) {
    let [_, place, high, low] = address.octets().map(usize::from);
    (high * 250 + low.saturating_sub(1), place.saturating_sub(10))
}

/// The thread of all servers. It ends when dropped.
pub struct Peers {
    port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peers {
    /// Starts masters with their replicas.
    pub fn start(masters: usize) -> Result<Peers> {
        allow_descriptors()?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|e| e.to_string())?;
        listener.set_nonblocking(true).map_err(|e| e.to_string())?;
        let port = listener.local_addr().map_err(|e| e.to_string())?.port();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| e.to_string())?;
        add(&epoll, &listener, LISTENER)?;
        let servers = masters * (1 + REPLICAS);
        let subscribers = vec![vec![]; servers];
        let mut world = World { port, listener, epoll, connections: vec![], subscribers };
        let stop = Arc::new(AtomicBool::new(false));
        let its = stop.clone();
        let thread = std::thread::spawn(move || {
            while !its.load(Ordering::Relaxed) {
                if let Err(error) = world.turn() {
                    eprintln!("  simulated servers: {error}");
                    return;
                }
            }
        });
        Ok(Peers { port, stop, thread: Some(thread) })
    }

    /// The port of all servers.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Peers {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // its panic has been printed
        }
    }
}

struct World {
    port: u16,
    listener: TcpListener,
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    /// Connections that are subscribed to anything, by server.
    subscribers: Vec<Vec<usize>>,
}

struct Connection {
    stream: TcpStream,
    master: usize,
    place: usize,
    received: Vec<u8>,
    is_subscribed: bool,
}

impl World {
    /// Handles what has arrived.
    fn turn(&mut self) -> Result {
        let mut events = Vec::with_capacity(256);
        let timeout = LOOK.try_into().map_err(|_| "timeout")?;
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.to_string()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                index => self.read(usize::try_from(index).map_err(|e| e.to_string())?),
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.to_string()),
            };
            let local = stream.local_addr().map_err(|e| e.to_string())?;
            let IpAddr::V4(address) = local.ip() else { continue };
            let (master, place) = server_at(address);
            if self.subscribers.len() <= server_index(master, place) {
                continue;
            }
            stream.set_nonblocking(true).map_err(|e| e.to_string())?;
            let free = self.connections.iter().position(Option::is_none);
            let index = free.unwrap_or(self.connections.len());
            add(&self.epoll, &stream, index as u64)?;
            let received = vec![];
            let connection = Connection { stream, master, place, received, is_subscribed: false };
            match free {
                Some(free) => self.connections[free] = Some(connection),
                None => self.connections.push(Some(connection)),
            }
        }
    }

    /// Reads from a connection and replies. A connection that ends or fails is closed.
    fn read(&mut self, index: usize) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        let mut bytes = [0; 16 * 1024];
        match connection.stream.read(&mut bytes) {
            Ok(0) => return self.close(index),
            Ok(count) => connection.received.extend_from_slice(&bytes[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => return self.close(index),
        }
        let mut reply = vec![];
        while let Some(command) = self.next_command(index) {
            self.execute(index, &command, &mut reply);
        }
        self.write(index, &reply);
    }

    fn next_command(&mut self, index: usize) -> Option<Vec<String>> {
        let connection = self.connections[index].as_mut()?;
        let (command, length) = parse(&connection.received)?;
        connection.received.drain(..length);
        Some(command)
    }

    fn execute(&mut self, index: usize, command: &[String], reply: &mut Vec<u8>) {
        let Some(connection) = &mut self.connections[index] else { return };
        let (master, place) = (connection.master, connection.place);
        let name = command.first().map(|name| name.to_ascii_uppercase()).unwrap_or_default();
        match (name.as_str(), &command[1..]) {
            ("PING", _) if connection.is_subscribed => bulks(reply, &["pong", ""]),
            ("PING", _) => reply.extend_from_slice(b"+PONG\r\n"),
            ("INFO", sections) => {
                let text = info(master, place, self.port, sections.is_empty());
                bulk(reply, &text);
            }
            ("ROLE", _) if place == 0 => {
                reply.extend_from_slice(b"*3\r\n$6\r\nmaster\r\n:1000\r\n*0\r\n")
            }
            ("SUBSCRIBE", [channel, ..]) => {
                connection.is_subscribed = true;
                self.subscribers[server_index(master, place)].push(index);
                reply.extend_from_slice(b"*3\r\n");
                bulk(reply, "subscribe");
                bulk(reply, channel);
                reply.extend_from_slice(b":1\r\n");
            }
            ("PUBLISH", [channel, text]) => {
                let count = self.publish(server_index(master, place), channel, text);
                reply.extend_from_slice(format!(":{count}\r\n").as_bytes());
            }
            ("CLIENT" | "AUTH", _) => reply.extend_from_slice(b"+OK\r\n"),
            _ => reply.extend_from_slice(format!("-ERR unknown command '{name}'\r\n").as_bytes()),
        }
    }

    fn publish(&mut self, server: usize, channel: &str, text: &str) -> usize {
        let mut message = vec![];
        bulks(&mut message, &["message", channel, text]);
        let subscribers = self.subscribers[server].clone();
        subscribers.iter().for_each(|subscriber| self.write(*subscriber, &message));
        subscribers.len()
    }

    /// A reply is small and the Sentinel reads: one that does not fit into the socket ends the connection.
    fn write(&mut self, index: usize, bytes: &[u8]) {
        let Some(Some(connection)) = self.connections.get_mut(index) else { return };
        if connection.stream.write_all(bytes).is_err() {
            self.close(index);
        }
    }

    fn close(&mut self, index: usize) {
        // Closing it removes it from the epoll.
        let Some(connection) = self.connections[index].take() else { return };
        let server = server_index(connection.master, connection.place);
        self.subscribers[server].retain(|subscriber| *subscriber != index);
    }
}

fn server_index(master: usize, place: usize) -> usize {
    master * (1 + REPLICAS) + place
}

fn add(epoll: &OwnedFd, source: impl AsFd, data: u64) -> Result {
    let data = epoll::EventData::new_u64(data);
    epoll::add(epoll, source, data, epoll::EventFlags::IN).map_err(|e| e.to_string())
}

/// As many descriptors as this process may have: two connections for each server.
fn allow_descriptors() -> Result {
    let limit = getrlimit(Resource::Nofile);
    let limit = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, limit).map_err(|e| format!("descriptors: {e}"))
}

/// The first complete request, and its length. Sentinels send arrays of bulk strings only.
fn parse(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let mut at = 0;
    let count = number_after(bytes, &mut at, b'*')?;
    let mut words = vec![];
    for _ in 0..count {
        let length = number_after(bytes, &mut at, b'$')?;
        let word = bytes.get(at..at + length)?;
        words.push(String::from_utf8_lossy(word).into_owned());
        at += length + 2;
    }
    (at <= bytes.len()).then_some((words, at))
}

fn number_after(bytes: &[u8], at: &mut usize, mark: u8) -> Option<usize> {
    let line = bytes.get(*at..)?.strip_prefix(&[mark])?;
    let length = line.iter().position(|byte| *byte == b'\r')?;
    *at += length + 3;
    std::str::from_utf8(&line[..length]).ok()?.parse().ok()
}

fn bulk(reply: &mut Vec<u8>, text: &str) {
    reply.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
}

fn bulks(reply: &mut Vec<u8>, texts: &[&str]) {
    reply.extend_from_slice(format!("*{}\r\n", texts.len()).as_bytes());
    texts.iter().for_each(|text| bulk(reply, text));
}

/// What a server says of itself, with or without sections that a Sentinel does not need.
fn info(master: usize, place: usize, port: u16, is_whole: bool) -> String {
    let id = server_index(master, place);
    let mut text = format!("# Server\r\nredis_version:7.0.15\r\nrun_id:{id:040x}\r\n");
    if is_whole {
        let lines =
            (0..OTHER_LINES).map(|line| format!("simulated_field_{line}:{}\r\n", line * 1234567));
        text.extend(lines);
    }
    text += "\r\n# Replication\r\n";
    if place == 0 {
        text += &format!("role:master\r\nconnected_slaves:{REPLICAS}\r\n");
        for replica in 1..=REPLICAS {
            let address = address_of(master, replica);
            let index = replica - 1;
            text += &format!(
                "slave{index}:ip={address},port={port},state=online,offset=1000,lag=0\r\n"
            );
        }
        text += &format!("master_replid:{master:040x}\r\nmaster_repl_offset:1000\r\n");
    } else {
        let address = address_of(master, 0);
        text += &format!(
            "role:slave\r\nmaster_host:{address}\r\nmaster_port:{port}\r\nmaster_link_status:up\r\n\
             master_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\nslave_repl_offset:1000\r\n\
             slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\nconnected_slaves:0\r\n\
             master_replid:{master:040x}\r\nmaster_repl_offset:1000\r\n"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_server_has_an_address() {
        for server in [(0, 0), (249, 1), (250, 2), (499, 0)] {
            assert_eq!(server_at(address_of(server.0, server.1)), server);
        }
    }

    #[test]
    fn a_request_is_complete_or_not() {
        let request = b"*2\r\n$4\r\nINFO\r\n$0\r\n\r\n";
        let words = vec!["INFO".to_owned(), String::new()];
        assert_eq!(parse(&[&request[..], b"*1"].concat()), Some((words, request.len())));
        for length in 0..request.len() {
            assert_eq!(parse(&request[..length]), None);
        }
    }
}
