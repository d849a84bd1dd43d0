//! A virtual network of machines without keys. By default messages take a millisecond and saves succeed at once; every
//! delay and fault can be set.
//!
//! A connection delivers bytes in order. In a direction that is cut they wait, as TCP keeps them, until it is healed or
//! one end closes the connection; the other end hears of that when it sends something.

#![allow(dead_code, reason = "each test uses a part of it")]

pub mod checks;
mod rng;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use checks::Checks;
pub use rng::Rng;
use russet_cluster::nodes_file::NodesFile;
use russet_cluster::{Boot, Bug, Cluster, Data, Input, LinkId, NodeId, Now, Output, Settings};

/// How long a message takes unless something else is set, milliseconds.
const DELAY_MS: u64 = 1;

/// Bytes for a connection that the peer has given up are sent again after this time, until it can say so.
const RETRANSMIT_MS: u64 = 200;

/// A node with its address: `10.0.0.N`, with the same ports everywhere.
pub struct Process {
    pub cluster: Cluster,
    pub settings: Settings,
    /// What is on its disk.
    pub file: Vec<u8>,
    /// The file of its journal.
    pub journal: Vec<u8>,
    pub is_alive: bool,
    /// It is stopped: what happens to it waits.
    pub is_suspended: bool,
    /// Position in the replication stream.
    pub offset: u64,
    /// Its stream from its master stands still.
    pub is_stalled: bool,
    /// What it was last told to be.
    pub follows: Option<String>,
    /// Slots whose keys it was told to drop, as a master.
    pub dropped: Vec<u16>,
    /// Lines of its log.
    pub log: Vec<String>,
    pub held: bool,
    /// How far its wall clock is from the others'.
    pub wall_ahead_ms: i64,
    /// Its saves take so long, milliseconds.
    pub save_ms: u64,
    /// How often it was started.
    starts: u64,
    /// When its master was last heard of.
    heard_ms: Option<u64>,
    /// The other ends of its connections.
    peers: BTreeMap<LinkId, Peer>,
    waiting: VecDeque<Event>,
}

struct Peer {
    to: usize,
    link: LinkId,
    /// When the last bytes to it arrive.
    last_ms: u64,
    /// Bytes that do not get through.
    stuck: Vec<Vec<u8>>,
}

#[derive(Debug)]
enum Event {
    Connect { from: usize, link: LinkId, to: usize },
    Accepted { at: usize, link: LinkId, from: usize },
    Connected { at: usize, link: LinkId, to: usize },
    Refused { at: usize, link: LinkId },
    Bytes { to: usize, link: LinkId, from: usize, back: LinkId, bytes: Vec<u8> },
    Closed { to: usize, link: LinkId },
    Saved { at: usize, start: u64, version: u64, text: Vec<u8> },
}

impl Event {
    fn at(&self) -> usize {
        match *self {
            Event::Connect { from, .. } => from,
            Event::Accepted { at, .. } | Event::Connected { at, .. } => at,
            Event::Refused { at, .. } | Event::Saved { at, .. } => at,
            Event::Bytes { to, .. } | Event::Closed { to, .. } => to,
        }
    }
}

pub struct Network {
    pub processes: Vec<Process>,
    pub now_ms: u64,
    pub rng: Rng,
    bug: Option<Bug>,
    events: BTreeMap<(u64, u64), Event>,
    last_event: u64,
    /// Directions in which nothing gets through.
    pub cut: BTreeSet<(usize, usize)>,
    /// How long messages take in a direction at least, and a random time that is added.
    pub delays: BTreeMap<(usize, usize), (u64, u64)>,
    pub bytes_sent: u64,
    /// Saves fail.
    pub failing_disks: BTreeSet<usize>,
    pub checks: Checks,
    /// What everybody has logged.
    pub story: Vec<String>,
}

pub fn id_of(number: u64, kind: u8) -> NodeId {
    NodeId::parse(format!("{kind:02x}{number:038x}").as_bytes()).unwrap()
}

fn address(number: usize) -> Option<IpAddr> {
    Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8 + 1)))
}

fn number_of(host: &str) -> Option<usize> {
    host.rsplit('.').next()?.parse::<usize>().ok()?.checked_sub(1)
}

impl Network {
    pub fn new(count: usize, settings: Settings) -> Network {
        Network::with_bug(count, settings, 0, None)
    }

    /// Creates nodes that do not know each other.
    pub fn with_bug(count: usize, settings: Settings, seed: u64, bug: Option<Bug>) -> Network {
        let mut network = Network {
            processes: Vec::new(),
            now_ms: 1_000_000,
            rng: Rng::new(seed),
            bug,
            events: BTreeMap::new(),
            last_event: 0,
            cut: BTreeSet::new(),
            delays: BTreeMap::new(),
            bytes_sent: 0,
            failing_disks: BTreeSet::new(),
            checks: Checks::new(count),
            story: Vec::new(),
        };
        for number in 0..count {
            let cluster = network.boot(number, &settings, None);
            network.processes.push(Process {
                cluster,
                settings: settings.clone(),
                file: Vec::new(),
                journal: Vec::new(),
                is_alive: true,
                is_suspended: false,
                offset: 0,
                is_stalled: false,
                follows: None,
                dropped: Vec::new(),
                log: Vec::new(),
                held: false,
                wall_ahead_ms: 0,
                save_ms: DELAY_MS,
                starts: 0,
                heard_ms: None,
                peers: BTreeMap::new(),
                waiting: VecDeque::new(),
            });
            network.drain(number);
        }
        network
    }

    fn boot(&self, number: usize, settings: &Settings, file: Option<NodesFile>) -> Cluster {
        let journal = self.processes.get(number).map(|process| process.journal.clone());
        let boot = Boot {
            seed: number as u64 + self.now_ms,
            new_id: id_of(number as u64, 1),
            new_shard: id_of(number as u64, 2),
            file,
            journal: journal.unwrap_or_default(),
            bug: self.bug,
        };
        let now = Now { mono_ms: self.now_ms, wall_ms: self.wall_ms(0), data: Data::default() };
        Cluster::new(settings.clone(), boot, now)
    }

    fn wall_ms(&self, ahead: i64) -> i64 {
        1_700_000_000_000 + self.now_ms as i64 + ahead
    }

    fn now_of(&self, process: &Process) -> Now {
        let silent_ms = process.heard_ms.map(|heard| self.now_ms.saturating_sub(heard));
        let is_connected = silent_ms == Some(0);
        let data = Data { offset: process.offset, is_connected, silent_ms };
        Now { mono_ms: self.now_ms, wall_ms: self.wall_ms(process.wall_ahead_ms), data }
    }

    /// Gives an order to a node.
    pub fn order<T>(&mut self, number: usize, order: impl FnOnce(&mut Cluster, Now) -> T) -> T {
        self.replicate(number);
        let now = self.now_of(&self.processes[number]);
        let result = order(&mut self.processes[number].cluster, now);
        self.drain(number);
        result
    }

    fn input(&mut self, number: usize, input: Input<'_>) {
        if self.processes[number].is_alive {
            self.order(number, |cluster, now| cluster.handle(now, input));
        }
    }

    fn later(&mut self, at_ms: u64, event: Event) {
        self.last_event += 1;
        self.events.insert((at_ms, self.last_event), event);
    }

    fn delay(&mut self, from: usize, to: usize) -> u64 {
        match self.delays.get(&(from, to)) {
            Some(&(least, random)) => least + self.rng.below(random + 1),
            None => DELAY_MS,
        }
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.processes[number].cluster.poll_output() {
            self.checks.output(self.now_ms, number, &self.processes[number].cluster, &output);
            self.output(number, output);
        }
        let process = &self.processes[number];
        // A master that holds its clients' writes for a failover loses none of them.
        let is_running = process.is_alive && !process.is_suspended && !process.held;
        self.checks.state(self.now_ms, number, is_running.then_some(&process.cluster));
    }

    fn output(&mut self, from: usize, output: Output) {
        let process = &mut self.processes[from];
        match output {
            Output::Connect { link, host, .. } => {
                if let Some(to) = number_of(&host) {
                    let delay = self.delay(from, to);
                    self.later(self.now_ms + delay, Event::Connect { from, link, to });
                }
            }
            Output::Send { link, bytes } => self.send(from, link, bytes),
            Output::Close { link } => {
                if let Some(peer) = process.peers.remove(&link) {
                    self.hang_up(from, peer);
                }
            }
            Output::Save { version, text } => {
                let (start, at_ms) = (process.starts, self.now_ms + process.save_ms);
                self.later(at_ms, Event::Saved { at: from, start, version, text });
            }
            Output::Follow { host, .. } => process.follows = Some(host),
            Output::Promote => process.follows = None,
            Output::PauseWrites { .. } => process.held = true,
            Output::ResumeWrites => process.held = false,
            Output::Log { text, .. } => {
                self.story.push(format!("{} {from}: {text}", self.now_ms));
                process.log.push(text);
            }
            Output::DropKeys { slots } => {
                assert_eq!(process.follows, None, "a replica has the data of its master");
                process.dropped.extend(slots.iter());
            }
            Output::SaveJournal => process.journal = process.cluster.journal_text().into_bytes(),
            Output::SlotsChanged | Output::Publish { .. } => {}
        }
    }

    fn send(&mut self, from: usize, link: LinkId, bytes: Vec<u8>) {
        self.bytes_sent += bytes.len() as u64;
        let Some(peer) = self.processes[from].peers.get_mut(&link) else { return };
        let to = peer.to;
        if self.cut.contains(&(from, to)) || !peer.stuck.is_empty() {
            return peer.stuck.push(bytes);
        }
        let arrives = self.now_ms + self.delay(from, to);
        let Some(peer) = self.processes[from].peers.get_mut(&link) else { return };
        peer.last_ms = peer.last_ms.max(arrives);
        let (at_ms, target) = (peer.last_ms, peer.link);
        self.later(at_ms, Event::Bytes { to, link: target, from, back: link, bytes });
    }

    /// Tells the other end that this one has closed the connection, if that gets through.
    fn hang_up(&mut self, from: usize, peer: Peer) {
        if !self.cut.contains(&(from, peer.to)) {
            let at_ms = peer.last_ms.max(self.now_ms + self.delay(from, peer.to));
            self.later(at_ms, Event::Closed { to: peer.to, link: peer.link });
        }
    }

    fn event(&mut self, event: Event) {
        let at = event.at();
        let is_of_kernel = matches!(event, Event::Connect { .. });
        if self.processes[at].is_suspended && !is_of_kernel {
            return self.processes[at].waiting.push_back(event);
        }
        match event {
            Event::Connect { from, link, to } => self.connect(from, link, to),
            Event::Accepted { at, link, from } => {
                if self.processes[at].peers.contains_key(&link) {
                    let (local, peer) = (address(at), address(from));
                    self.input(at, Input::Accepted { link, local, peer });
                }
            }
            Event::Connected { at, link, to } => {
                if self.processes[at].peers.contains_key(&link) {
                    let (local, peer) = (address(at), address(to));
                    self.input(at, Input::Connected { link, local, peer });
                }
            }
            Event::Refused { at, link } => {
                let error = "Connection refused".to_owned();
                self.input(at, Input::NotConnected { link, error });
            }
            Event::Bytes { to, link, from, back, bytes } => {
                // A machine numbers its connections anew when it starts.
                let is_same = |peer: &Peer| peer.to == from && peer.link == back;
                if self.processes[to].peers.get(&link).is_some_and(is_same) {
                    let timeout_ms = self.processes[to].settings.node_timeout_ms;
                    self.checks.delivered(self.now_ms, from, to, timeout_ms);
                    self.input(to, Input::Message { link, bytes: &bytes });
                } else if self.cut.contains(&(to, from)) {
                    self.later(
                        self.now_ms + RETRANSMIT_MS,
                        Event::Bytes { to, link, from, back, bytes },
                    );
                } else {
                    // Connection reset by peer.
                    let at_ms = self.now_ms + self.delay(to, from);
                    self.later(at_ms, Event::Closed { to: from, link: back });
                }
            }
            Event::Closed { to, link } => {
                if self.processes[to].peers.remove(&link).is_some() {
                    self.input(to, Input::Closed { link });
                }
            }
            Event::Saved { at, start, version, text } => {
                if self.processes[at].is_alive && self.processes[at].starts == start {
                    self.saved(at, version, text);
                }
            }
        }
    }

    fn saved(&mut self, at: usize, version: u64, text: Vec<u8>) {
        let result = match self.failing_disks.contains(&at) {
            true => Err("No space left on device".to_owned()),
            false => Ok(()),
        };
        if result.is_ok() {
            self.checks.saved(at, &text);
            self.processes[at].file = text;
        }
        self.input(at, Input::Saved { version, result });
    }

    fn connect(&mut self, from: usize, link: LinkId, to: usize) {
        let is_cut = self.cut.contains(&(from, to)) || self.cut.contains(&(to, from));
        if !self.processes[from].is_alive || is_cut || to >= self.processes.len() {
            // The operating system tries for longer than the machine waits.
            return;
        }
        let at_ms = self.now_ms + self.delay(to, from);
        if !self.processes[to].is_alive {
            return self.later(at_ms, Event::Refused { at: from, link });
        }
        let inbound = self.processes[to].cluster.next_link();
        let (now_ms, stuck) = (self.now_ms, Vec::new());
        let peer = Peer { to, link: inbound, last_ms: at_ms, stuck: stuck.clone() };
        self.processes[from].peers.insert(link, peer);
        let peer = Peer { to: from, link, last_ms: at_ms, stuck };
        self.processes[to].peers.insert(inbound, peer);
        self.later(now_ms, Event::Accepted { at: to, link: inbound, from });
        self.later(at_ms, Event::Connected { at: from, link, to });
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end && self.checks.problem.is_none() {
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            let running =
                self.processes.iter().filter(|process| process.is_alive && !process.is_suspended);
            let ticks = running.map(|process| process.cluster.next_due());
            let next = ticks.chain(event).min().unwrap_or(end);
            self.now_ms = next.clamp(self.now_ms, end);
            while let Some(entry) = self.events.first_entry()
                && entry.key().0 <= self.now_ms
            {
                let event = entry.remove();
                self.event(event);
            }
            for number in 0..self.processes.len() {
                let process = &self.processes[number];
                let is_running = process.is_alive && !process.is_suspended;
                if is_running && process.cluster.next_due() <= self.now_ms {
                    self.input(number, Input::Tick);
                    let due = self.processes[number].cluster.next_due();
                    self.checks.ticked(self.now_ms, number, due);
                }
            }
        }
    }

    /// Replicas have what their masters have, while those are there.
    fn replicate(&mut self, number: usize) {
        let master = self.processes[number].follows.as_deref().and_then(number_of);
        let Some(master) = master.filter(|master| *master < self.processes.len()) else { return };
        let source = &self.processes[master];
        let is_cut = self.cut.contains(&(master, number)) || self.cut.contains(&(number, master));
        if source.is_alive && !source.is_suspended && !is_cut && master != number {
            let offset = source.offset;
            if !self.processes[number].is_stalled {
                self.processes[number].offset = offset;
            }
            self.processes[number].heard_ms = Some(self.now_ms);
        }
    }

    pub fn kill(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.is_alive = false;
        process.is_suspended = false;
        process.waiting.clear();
        process.starts += 1;
        process.held = false;
        process.heard_ms = None;
        for peer in std::mem::take(&mut process.peers).into_values() {
            self.hang_up(number, peer);
        }
        self.checks.state(self.now_ms, number, None);
        // What was being saved may be on disk, or not.
        let is_write = |event: &Event| matches!(event, Event::Saved { at, .. } if *at == number);
        let key = self.events.iter().find(|(_, event)| is_write(event)).map(|(key, _)| *key);
        if let Some(Event::Saved { text, .. }) = key.and_then(|key| self.events.remove(&key))
            && !self.failing_disks.contains(&number)
            && self.rng.below(2) == 0
        {
            self.processes[number].file = text;
        }
    }

    pub fn restart(&mut self, number: usize) {
        let file = NodesFile::parse(&self.processes[number].file).expect("what it has saved");
        self.checks.started(number, file.as_ref());
        let settings = self.processes[number].settings.clone();
        self.processes[number].cluster = self.boot(number, &settings, file);
        self.processes[number].follows = None;
        self.processes[number].is_alive = true;
        self.drain(number);
    }

    pub fn suspend(&mut self, number: usize) {
        self.processes[number].is_suspended = true;
        self.checks.state(self.now_ms, number, None);
    }

    /// Lets a process go on: with its timers first, or with what it was sent in the meantime.
    pub fn resume(&mut self, number: usize, is_tick_first: bool) {
        self.processes[number].is_suspended = false;
        if is_tick_first {
            self.input(number, Input::Tick);
        }
        for event in std::mem::take(&mut self.processes[number].waiting) {
            self.event(event);
        }
    }

    pub fn set_cut(&mut self, from: usize, to: usize, is_cut: bool) {
        if is_cut {
            self.cut.insert((from, to));
        } else if self.cut.remove(&(from, to)) {
            let peers = self.processes[from].peers.iter_mut().filter(|(_, peer)| peer.to == to);
            let stuck = peers.map(|(link, peer)| (*link, std::mem::take(&mut peer.stuck)));
            for (link, messages) in stuck.collect::<Vec<_>>() {
                messages.into_iter().for_each(|bytes| self.send(from, link, bytes));
            }
        }
    }

    /// Loses what has not got through in a direction.
    pub fn drop_stuck(&mut self, from: usize, to: usize) {
        let peers = self.processes[from].peers.values_mut().filter(|peer| peer.to == to);
        peers.for_each(|peer| peer.stuck.clear());
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&mut self, number: usize) {
        for other in (0..self.processes.len()).filter(|other| *other != number) {
            self.set_cut(number, other, true);
            self.set_cut(other, number, true);
        }
    }

    pub fn heal(&mut self) {
        for (from, to) in self.cut.clone() {
            self.set_cut(from, to, false);
        }
    }

    pub fn cluster(&self, number: usize) -> &Cluster {
        &self.processes[number].cluster
    }

    /// Returns the number of the process with a name.
    pub fn find(&self, id: NodeId) -> Option<usize> {
        self.processes.iter().position(|process| process.cluster.my_id() == id)
    }

    /// Returns a cluster of masters with all slots, and replicas: the last `replicas` nodes, by turns.
    pub fn formed(masters: usize, replicas: usize, settings: Settings) -> Network {
        let mut network = Network::new(masters + replicas, settings);
        network.form(masters);
        network
    }

    /// Forms a cluster of all processes.
    pub fn form(&mut self, masters: usize) {
        let count = self.processes.len();
        for number in 1..count {
            let ip = format!("10.0.0.{}", number + 1);
            self.order(0, |cluster, now| cluster.meet(now, &ip, 6379, 16379));
        }
        self.run(3_000);
        for number in 0..masters {
            let each = 16384 / masters;
            let end = if number + 1 == masters { 16384 } else { (number + 1) * each };
            let slots: Vec<u16> = (number * each..end).map(|slot| slot as u16).collect();
            self.order(number, |cluster, now| cluster.add_slots(now, &slots)).unwrap();
        }
        self.run(3_000);
        for number in masters..count {
            let master = self.cluster((number - masters) % masters).my_id();
            let order =
                |cluster: &mut Cluster, now| cluster.replicate(now, master.as_bytes(), false);
            self.order(number, order).unwrap();
        }
        self.run(10_000);
    }
}
