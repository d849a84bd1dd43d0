//! The network: connections as two pipes of bytes, and links between hosts that delay, hold or cut them.
//!
//! ```text
//!   writer ──▶ flight: segments, each with its time of arrival ──▶ arrived: bytes not read yet ──▶ reader
//!              held while the link is blocked                      counts against the window
//! ```
//!
//! Within a pipe bytes keep their order; across connections nothing is promised. A writer may put in as much as the window
//! has room for, so writes are partial; a reader that does not read stops the writer.

use std::collections::VecDeque;

use russet_engine::io::{Handle, Service};

use crate::chance::Chance;
use crate::tap::Tap;

/// Index of a connection.
pub type ConnId = usize;

/// Who holds an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A node's process, of this incarnation; the handle once it has one.
    Node {
        /// Index.
        node: usize,
        /// Which life of its process.
        incarnation: u32,
        /// As the node calls it.
        handle: Option<Handle>,
    },
    /// A client.
    Client(usize),
    /// Somebody who asks nodes of a cluster.
    Agent(usize),
    /// Nobody any more.
    Nobody,
}

#[derive(Debug)]
enum Segment {
    Bytes(Vec<u8>),
    /// The writer closed, or the connection broke: nothing follows.
    End,
}

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    flight: VecDeque<(u64, Segment)>,
    in_flight: usize,
    arrived: Vec<u8>,
    read: usize,
    last_arrival_us: u64,
    window: usize,
    /// The writer found no room and wants to hear when there is.
    pub starved: bool,
    /// Nothing that is written leaves any more.
    pub dead: bool,
    /// All that will ever come has arrived.
    ended: bool,
    /// The connection breaks when so many more bytes have arrived.
    pub cut_after: Option<usize>,
    /// Bytes that have arrived, all told.
    pub delivered: u64,
}

/// What an arrival brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Nothing: the link holds it, or it is not due.
    Nothing,
    /// Bytes, or the end.
    Something,
    /// The armed cut was reached: the connection is to be reset.
    Cut,
}

impl Pipe {
    fn new(window: usize) -> Pipe {
        Pipe {
            flight: VecDeque::new(),
            in_flight: 0,
            arrived: Vec::new(),
            read: 0,
            last_arrival_us: 0,
            window,
            starved: false,
            dead: false,
            ended: false,
            cut_after: None,
            delivered: 0,
        }
    }

    /// How many bytes may be written now.
    pub fn room(&self) -> usize {
        self.window.saturating_sub(self.in_flight + self.unread())
    }

    /// Bytes that have arrived and were not read.
    pub fn unread(&self) -> usize {
        self.arrived.len() - self.read
    }

    /// Whether a reader finds something: bytes, or the end.
    pub fn is_readable(&self) -> bool {
        self.unread() > 0 || self.ended
    }

    /// Whether everything was read and nothing will come.
    pub fn is_over(&self) -> bool {
        self.ended && self.unread() == 0
    }

    /// Whether bytes are under way.
    pub fn has_flight(&self) -> bool {
        !self.flight.is_empty()
    }

    /// Puts bytes in; the time of their arrival.
    pub fn send(&mut self, now_us: u64, bytes: Vec<u8>, link: &Link, chance: &mut Chance) -> u64 {
        let on_the_wire_us = bytes.len() as u64 * 1000 / link.bytes_per_ms.max(1);
        let delay_us = link.draw_delay(chance);
        let at = (now_us + delay_us).max(self.last_arrival_us) + on_the_wire_us;
        self.last_arrival_us = at;
        self.in_flight += bytes.len();
        self.flight.push_back((at, Segment::Bytes(bytes)));
        at
    }

    /// Puts the end in, behind what is under way; the time of its arrival.
    pub fn close(&mut self, now_us: u64, link: &Link, chance: &mut Chance) -> u64 {
        let at = (now_us + link.draw_delay(chance)).max(self.last_arrival_us);
        self.last_arrival_us = at;
        self.dead = true;
        self.flight.push_back((at, Segment::End));
        at
    }

    /// Drops what is under way; the end arrives at `at`.
    pub fn break_off(&mut self, at: u64) {
        self.flight.clear();
        self.in_flight = 0;
        self.dead = true;
        self.last_arrival_us = at;
        self.flight.push_back((at, Segment::End));
    }

    /// Lets the first segment arrive if it is due.
    pub fn arrive(&mut self, now_us: u64) -> Arrival {
        if self.flight.front().is_none_or(|(at, _)| *at > now_us) {
            return Arrival::Nothing;
        }
        match self.flight.pop_front() {
            Some((_, Segment::Bytes(mut bytes))) => {
                self.in_flight -= bytes.len();
                let cut = self.cut_after.is_some_and(|rest| rest <= bytes.len());
                if let Some(rest) = &mut self.cut_after {
                    bytes.truncate(*rest);
                    *rest -= bytes.len();
                }
                self.delivered += bytes.len() as u64;
                if self.read == self.arrived.len() {
                    self.read = 0;
                    self.arrived = bytes;
                } else {
                    self.arrived.extend_from_slice(&bytes);
                }
                if cut { Arrival::Cut } else { Arrival::Something }
            }
            Some((_, Segment::End)) => {
                self.ended = true;
                Arrival::Something
            }
            None => Arrival::Nothing,
        }
    }

    /// Reads up to `max` bytes.
    pub fn take(&mut self, max: usize) -> &[u8] {
        let from = self.read;
        self.read = (from + max).min(self.arrived.len());
        &self.arrived[from..self.read]
    }
}

/// A connection: end 0 opened it, end 1 accepted it; pipe 0 leads from end 0 to end 1.
#[derive(Debug)]
pub struct Conn {
    /// Who holds the ends.
    pub owners: [Owner; 2],
    /// On which hosts.
    pub hosts: [usize; 2],
    /// What the far end serves.
    pub service: Service,
    /// The bytes.
    pub pipes: [Pipe; 2],
    /// What its bytes show, if it is a replication link.
    pub tap: Tap,
    /// The far end's kernel has taken the connection.
    pub established: bool,
}

impl Conn {
    /// A connection being opened.
    pub fn new(owner: Owner, hosts: [usize; 2], windows: [usize; 2], service: Service) -> Conn {
        Conn {
            owners: [owner, Owner::Nobody],
            hosts,
            service,
            pipes: windows.map(Pipe::new),
            tap: Tap::default(),
            established: false,
        }
    }

    /// The link that pipe `direction` runs over.
    pub fn link(&self, direction: usize) -> (usize, usize) {
        (self.hosts[direction], self.hosts[1 - direction])
    }
}

/// The way from one host to another.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// Least delay.
    pub delay_us: u64,
    /// What may come on top.
    pub jitter_us: u64,
    /// How fast bytes go in.
    pub bytes_per_ms: u64,
    /// Nothing arrives; what is under way waits.
    pub blocked: bool,
}

impl Link {
    fn draw_delay(&self, chance: &mut Chance) -> u64 {
        self.delay_us + chance.below(self.jitter_us + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_keep_their_order_and_a_cut_falls_on_its_byte() {
        let mut chance = Chance::new(5);
        let link = Link { delay_us: 10, jitter_us: 100, bytes_per_ms: 100, blocked: false };
        let mut pipe = Pipe::new(64);
        let mut sent = Vec::new();
        for part in 0..6_u8 {
            sent.extend([part; 5]);
            pipe.send(u64::from(part), vec![part; 5], &link, &mut chance);
        }
        assert_eq!(pipe.room(), 34);
        pipe.cut_after = Some(17);
        let mut got = Vec::new();
        let last = loop {
            match pipe.arrive(1_000_000) {
                Arrival::Something => got.extend_from_slice(pipe.take(3)),
                other => break other,
            }
        };
        got.extend_from_slice(pipe.take(usize::MAX >> 1));
        assert_eq!(last, Arrival::Cut);
        assert_eq!(got, sent[..17]);
        pipe.break_off(7);
        assert!(!pipe.is_over());
        assert_eq!(pipe.arrive(7), Arrival::Something);
        assert!(pipe.is_over());
    }
}
