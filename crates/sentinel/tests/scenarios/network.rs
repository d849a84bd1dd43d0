//! Connections and messages: a millisecond each way, in order. What a cut holds up arrives when it is healed, as with TCP.

use std::collections::{BTreeMap, BTreeSet};

use russet_sentinel::LinkId;

/// How long everything travels.
const TRAVEL_MS: u64 = 1;

/// A connection of a Sentinel, by the start of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub sentinel: usize,
    pub life: u32,
    pub link: LinkId,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// A Sentinel connects to a port.
    Connect(Key, u16),
    /// The connection is open.
    Opened(Key, u16),
    /// It is closed by the other end, or could not be opened.
    Closed(Key, u16),
    /// A command of a Sentinel.
    Request(Key, u16, Vec<String>),
    /// A reply, or a message.
    Answer(Key, u16, Vec<u8>),
    /// The end of a save of this process and start, and whether it succeeded.
    Saved(usize, u32, u64, bool),
    /// A master that hands over has done so.
    HandedOver(u16, u16),
}

impl Event {
    /// Returns the Sentinel and the port that it travels between, and whether it goes to the port.
    pub fn route(&self) -> Option<(usize, u16, bool)> {
        match *self {
            Event::Connect(key, port) | Event::Request(key, port, _) => {
                Some((key.sentinel, port, true))
            }
            Event::Opened(key, port) | Event::Closed(key, port) | Event::Answer(key, port, _) => {
                Some((key.sentinel, port, false))
            }
            Event::Saved(..) | Event::HandedOver(..) => None,
        }
    }
}

/// A connection, as the other end has it.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub port: u16,
    pub is_subscribed: bool,
    pub is_authenticated: bool,
    /// Commands of a transaction.
    pub queued: Option<Vec<Vec<String>>>,
    /// The version of the state that its reply waits for, and the reply.
    pub waits: Option<(u64, Vec<u8>)>,
    /// Requests behind it.
    pub behind: Vec<Vec<String>>,
}

/// The network.
#[derive(Default)]
pub struct Network {
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub connections: BTreeMap<Key, Connection>,
    /// Names that cannot be reached, from and to.
    pub cuts: BTreeSet<(String, String)>,
    held: Vec<Event>,
}

impl Network {
    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time, self.sequence), event);
    }

    pub fn send(&mut self, now: u64, event: Event) {
        self.at(now + TRAVEL_MS, event);
    }

    /// Returns when the next event is due.
    pub fn due(&self) -> Option<u64> {
        self.queue.first_key_value().map(|((time, _), _)| *time)
    }

    pub fn take(&mut self) -> Option<Event> {
        self.queue.pop_first().map(|(_, event)| event)
    }

    pub fn hold(&mut self, event: Event) {
        self.held.push(event);
    }

    /// Lets go of what was held; what is still cut is held again.
    pub fn heal(&mut self, now: u64) {
        for event in std::mem::take(&mut self.held) {
            self.send(now, event);
        }
    }

    /// Returns the connections to a port.
    pub fn to(&self, port: u16) -> Vec<Key> {
        let leads_there = |(_, connection): &(&Key, &Connection)| connection.port == port;
        self.connections.iter().filter(leads_there).map(|(key, _)| *key).collect()
    }
}
