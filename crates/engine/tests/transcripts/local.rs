//! A node in this process, driven as its contract says, with time that goes by only when told.

use std::collections::BTreeMap;
use std::io::IoSlice;
use std::time::Duration;

use russet_engine::config::{Config, SetContext};
use russet_engine::io::{
    Endpoints, Handle, Host, Input, Now, Output, SnapshotEvent, SnapshotTarget,
};
use russet_engine::{Boot, Node};
use russet_protocol::Protocol;

use crate::resp;
use crate::run::{Server, Start};

/// Midnight of a day in November 2023, in microseconds.
const WALL_US: i64 = 1_700_000_000_000_000;

/// A command takes a microsecond.
struct Ticks(u64);

impl Host for Ticks {
    fn ticks_us(&mut self) -> u64 {
        self.0 += 1;
        self.0
    }
}

/// See the module.
#[derive(Default)]
pub struct Local {
    world: Option<World>,
    clients: BTreeMap<String, Handle>,
    replica: Option<Handle>,
    protocol: Protocol,
}

struct World {
    node: Node,
    now: Now,
    ticks: Ticks,
    received: BTreeMap<Handle, Vec<u8>>,
    closed: Vec<Handle>,
}

impl World {
    fn new() -> World {
        let now = Now { mono_us: 1_000_000, wall_us: WALL_US };
        let node = Node::new(Config::default(), Boot::default(), now);
        let mut world =
            World { node, now, ticks: Ticks(0), received: BTreeMap::new(), closed: Vec::new() };
        world.settle();
        world
    }

    fn connect(&mut self) -> Handle {
        let ends = Endpoints::Unix("/transcript".to_owned());
        self.node.accept(self.now, ends).expect("a local client is let in")
    }

    fn send(&mut self, handle: Handle, bytes: &[u8]) {
        // Piece by piece, as a socket would deliver it.
        for piece in bytes.chunks(16 * 1024) {
            let Some(buffer) = self.node.read_buffer(handle) else { return };
            buffer.extend_from_slice(piece);
            self.node.received(self.now, handle);
            self.settle();
        }
    }

    /// Turns until nothing is left to do at this time.
    fn settle(&mut self) {
        loop {
            match self.node.poll_output(self.now) {
                Output::Wait(Some(due)) if due <= self.now.mono_us => {
                    self.node.turn(self.now, &mut self.ticks);
                }
                Output::Wait(_) => break,
                output => self.answer(output),
            }
            self.collect();
        }
        self.collect();
    }

    /// What the world does: nothing fails, and what is saved is forgotten.
    fn answer(&mut self, output: Output) {
        match output {
            Output::SnapshotBegin { job, target: SnapshotTarget::Stream, .. } => {
                let event = SnapshotEvent::Bytes(b"SNAPSHOT".to_vec());
                self.node.handle(self.now, Input::Snapshot { job, event });
            }
            Output::SnapshotChunk { job, chunk } => {
                let event = SnapshotEvent::Consumed(chunk.len_bytes() as u64);
                self.node.handle(self.now, Input::Snapshot { job, event });
            }
            Output::SnapshotEnd { job } => {
                let event = SnapshotEvent::Done(8);
                self.node.handle(self.now, Input::Snapshot { job, event });
            }
            Output::Ask { ask, .. } => {
                self.node.handle(self.now, Input::Answer { ask, answer: Ok(()) });
            }
            Output::Close(handle) => self.closed.push(handle),
            _ => {}
        }
    }

    /// Takes what the outboxes hold.
    fn collect(&mut self) {
        let mut dirty = Vec::new();
        self.node.take_dirty(&mut dirty);
        for handle in dirty {
            let received = self.received.entry(handle).or_default();
            while let Some(outbox) = self.node.outbox(handle)
                && outbox.has_open_bytes()
            {
                let mut slices = [IoSlice::new(&[]); 8];
                let filled = outbox.open_slices(&mut slices);
                let before = received.len();
                slices[..filled].iter().for_each(|slice| received.extend_from_slice(slice));
                let len = received.len() - before;
                self.node.written(handle, len);
            }
        }
    }

    fn take(&mut self, handle: Handle) -> &mut Vec<u8> {
        self.received.entry(handle).or_default()
    }

    fn advance(&mut self, time: Duration) {
        let end = self.now.mono_us + time.as_micros() as u64;
        while self.now.mono_us < end {
            let next = match self.node.poll_output(self.now) {
                Output::Wait(Some(due)) => due.clamp(self.now.mono_us + 1, end),
                Output::Wait(None) => end,
                output => {
                    self.answer(output);
                    continue;
                }
            };
            let step = next - self.now.mono_us;
            self.now.mono_us = next;
            self.now.wall_us += step as i64;
            self.node.turn(self.now, &mut self.ticks);
            self.settle();
        }
    }
}

impl Local {
    fn world(&mut self) -> &mut World {
        self.world.get_or_insert_with(World::new)
    }

    fn client(&mut self, name: &str) -> Handle {
        if let Some(&handle) = self.clients.get(name) {
            return handle;
        }
        let protocol = self.protocol;
        let world = self.world();
        let handle = world.connect();
        world.node.clients.get_mut(handle).expect("just let in").protocol = protocol;
        self.clients.insert(name.to_owned(), handle);
        handle
    }

    /// A replica that wants everything, gets it, and follows.
    fn attach_replica(&mut self) {
        let world = self.world();
        let handle = world.connect();
        let say = |words: &[&str]| {
            let words: Vec<Vec<u8>> = words.iter().map(|w| w.as_bytes().to_vec()).collect();
            resp::request(&words)
        };
        world.send(handle, &say(&["REPLCONF", "capa", "eof", "capa", "psync2"]));
        world.send(handle, &say(&["PSYNC", "?", "-1"]));
        world.advance(Duration::from_secs(6));
        world.send(handle, &say(&["REPLCONF", "ACK", "0"]));
        let state = world.node.clients.get(handle).and_then(|client| client.replica());
        assert_eq!(state.map(|state| state.stage_name()), Some("online"));
        world.take(handle).clear();
        self.replica = Some(handle);
    }
}

impl Server for Local {
    fn start(&mut self, start: Start) {
        self.world = None;
        self.clients.clear();
        self.replica = None;
        self.protocol = if start.resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        if start.replica {
            self.attach_replica();
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        let context = SetContext { loading: false, is_local: true };
        let config = &mut self.world().node.config;
        config.set(&[(name.as_bytes(), value.as_bytes())], context).expect("a known directive");
    }

    fn advance(&mut self, time: Duration) -> bool {
        self.world().advance(time);
        true
    }

    fn send(&mut self, client: &str, bytes: &[u8], _requests: usize) {
        let handle = self.client(client);
        self.world().send(handle, bytes);
    }

    fn replies(&mut self, client: &str) -> Vec<String> {
        let handle = self.client(client);
        let world = self.world();
        let mut lines = Vec::new();
        let bytes = world.take(handle);
        while let Some((len, reply)) = resp::reply(bytes) {
            bytes.drain(..len);
            lines.extend(reply);
        }
        assert!(bytes.is_empty(), "half a reply: {:?}", String::from_utf8_lossy(bytes));
        if world.closed.contains(&handle) {
            lines.push("(closed)".to_owned());
            self.clients.remove(client);
        }
        lines
    }

    fn clients(&self) -> Vec<String> {
        self.clients.keys().cloned().collect()
    }

    fn effects(&mut self) -> Vec<String> {
        let Some(handle) = self.replica else { return Vec::new() };
        resp::effects(self.world().take(handle))
    }
}
