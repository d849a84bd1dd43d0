//! A network of machines without keys: what they send each other takes less than a millisecond, a save some.
//!
//! Links deliver in order and lose nothing; a process that ends closes its links, and connections to it are refused at
//! once. Replicas have what their masters have.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use russet_cluster::nodes_file::NodesFile;
use russet_cluster::{Boot, Bug, Cluster, Data, Input, LinkId, NodeId, Now, Output, Settings, bus};

use crate::chance::Chance;
use crate::queue::Queue;

/// A message takes at least so long, microseconds, and at most three times that: it depends on the pair of nodes.
const DELAY_US: u64 = 250;

/// A save takes at least so long, microseconds, and at most twice that.
const SAVE_US: u64 = 2_000;

/// Processes start within this time, microseconds: their timers do not run in step.
const START_US: u64 = 100_000;

/// What was sent of each type, in the order of their numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages.
    pub messages: [u64; 11],
    /// Bytes.
    pub bytes: [u64; 11],
}

impl Traffic {
    /// What was sent since an earlier time.
    pub fn since(&self, earlier: &Traffic) -> Traffic {
        let less = |now: &[u64; 11], then: &[u64; 11]| std::array::from_fn(|i| now[i] - then[i]);
        Traffic {
            messages: less(&self.messages, &earlier.messages),
            bytes: less(&self.bytes, &earlier.bytes),
        }
    }

    /// All messages.
    pub fn all_messages(&self) -> u64 {
        self.messages.iter().sum()
    }

    /// All bytes.
    pub fn all_bytes(&self) -> u64 {
        self.bytes.iter().sum()
    }
}

/// Other things that happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Elections that began.
    pub elections: u64,
    /// Elections that were won.
    pub won: u64,
    /// Files that were written, and their bytes.
    pub saves: u64,
    /// Their bytes.
    pub saved_bytes: u64,
    /// Connections that were asked for.
    pub connects: u64,
    /// Nodes that found out by themselves that another is down, and told the others.
    pub verdicts: u64,
}

impl Events {
    /// What happened since an earlier time.
    pub fn since(&self, earlier: &Events) -> Events {
        Events {
            elections: self.elections - earlier.elections,
            won: self.won - earlier.won,
            saves: self.saves - earlier.saves,
            saved_bytes: self.saved_bytes - earlier.saved_bytes,
            connects: self.connects - earlier.connects,
            verdicts: self.verdicts - earlier.verdicts,
        }
    }
}

/// A process. Its address is made of its number, with the same ports everywhere.
struct Process {
    /// None: it has ended.
    cluster: Option<Cluster>,
    /// What is on its disk.
    file: Vec<u8>,
    /// The number of the process that it replicates.
    follows: Option<usize>,
    /// When it ended last.
    ended_us: u64,
    /// When its next tick is in the queue; those at other times are void.
    tick_us: u64,
    /// The other ends of its connections.
    peers: BTreeMap<LinkId, (usize, LinkId)>,
}

#[derive(Debug)]
enum Event {
    Start { at: usize },
    Tick { at: usize },
    Connect { from: usize, link: LinkId, to: usize },
    Refused { to: usize, link: LinkId },
    Bytes { to: usize, link: LinkId, bytes: Vec<u8> },
    Closed { to: usize, link: LinkId },
    Saved { at: usize, version: u64, text: Vec<u8> },
}

/// The network with its processes.
pub struct Network {
    processes: Vec<Process>,
    now_us: u64,
    settings: Settings,
    bug: Option<Bug>,
    queue: Queue<Event>,
    chance: Chance,
    /// What was sent so far.
    pub traffic: Traffic,
    /// What else happened so far.
    pub events: Events,
}

/// Returns the name of a process, or of its shard.
fn id_of(number: usize, kind: u8) -> NodeId {
    // Spread over all names, as random ones are; the number is at the end.
    let spread = (number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let text = format!("{spread:016x}{kind:02x}{number:022x}");
    NodeId::parse(text.as_bytes()).expect("40 hexadecimal digits")
}

/// Returns the number of the process with this name.
pub fn number_of(id: &NodeId) -> usize {
    usize::from_str_radix(&id.as_str()[32..], 16).expect("a name of this network")
}

/// Returns the address of a process.
pub fn address_of(number: usize) -> Ipv4Addr {
    let [_, _, high, low] = u32::try_from(number).expect("at most 16384 nodes").to_be_bytes();
    Ipv4Addr::new(10, 0, high, low)
}

fn number_at(host: &str) -> usize {
    let address: Ipv4Addr = host.parse().expect("an address of this network");
    let [_, _, high, low] = address.octets();
    usize::from(high) * 256 + usize::from(low)
}

impl Network {
    /// Creates a network of processes that know nobody.
    pub fn new(count: usize, settings: Settings, bug: Option<Bug>, seed: u64) -> Network {
        let mut network = Network {
            processes: Vec::new(),
            now_us: 1_000_000_000,
            settings,
            bug,
            queue: Queue::default(),
            chance: Chance::new(seed),
            traffic: Traffic::default(),
            events: Events::default(),
        };
        for number in 0..count {
            network.processes.push(Process {
                cluster: None,
                file: Vec::new(),
                follows: None,
                ended_us: 0,
                tick_us: 0,
                peers: BTreeMap::new(),
            });
            network.start(number);
        }
        network.run(START_US / 1_000);
        network
    }

    /// Returns the number of processes.
    pub fn count(&self) -> usize {
        self.processes.len()
    }

    /// Returns a machine, if it runs.
    pub fn cluster(&self, number: usize) -> Option<&Cluster> {
        self.processes[number].cluster.as_ref()
    }

    /// Returns the machines that run, with their numbers.
    pub fn living(&self) -> impl Iterator<Item = (usize, &Cluster)> {
        let all = self.processes.iter().enumerate();
        all.filter_map(|(number, process)| Some((number, process.cluster.as_ref()?)))
    }

    /// Milliseconds since an arbitrary time.
    pub fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    /// Starts a process, with what is on its disk.
    pub fn start(&mut self, number: usize) {
        let delay = self.chance.below(START_US);
        self.later(delay, Event::Start { at: number });
    }

    /// Ends a process: its connections are closed, and others are refused.
    pub fn end(&mut self, number: usize) {
        let process = &mut self.processes[number];
        process.cluster = None;
        process.ended_us = self.now_us;
        process.tick_us = 0;
        let peers = std::mem::take(&mut process.peers);
        for (to, link) in peers.into_values() {
            self.later(delay_us(number, to), Event::Closed { to, link });
        }
    }

    /// Gives an order to a machine that runs.
    pub fn order<T>(
        &mut self,
        number: usize,
        order: impl FnOnce(&mut Cluster, Now) -> T,
    ) -> Option<T> {
        let now = self.now_of(number);
        let result = order(self.processes[number].cluster.as_mut()?, now);
        self.drain(number);
        Some(result)
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_us + ms * 1_000;
        while self.queue.next_us().is_some_and(|at| at <= end) {
            let Some((at, event)) = self.queue.pop() else { break };
            self.now_us = at;
            self.event(event);
        }
        self.now_us = end;
    }

    fn now_of(&self, number: usize) -> Now {
        let silent_us = self.processes[number].follows.map(|master| {
            let master = &self.processes[master];
            if master.cluster.is_some() { 0 } else { self.now_us - master.ended_us }
        });
        let data = Data {
            offset: 1_000,
            is_connected: silent_us == Some(0),
            silent_ms: silent_us.map(|us| us / 1_000),
        };
        let mono_ms = self.now_ms();
        Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms.cast_signed(), data }
    }

    fn boot(&mut self, number: usize) {
        let file = NodesFile::parse(&self.processes[number].file).expect("what it has saved");
        let boot = Boot {
            seed: self.chance.bits(),
            new_id: id_of(number, 1),
            new_shard: id_of(number, 2),
            file,
            journal: Vec::new(),
            bug: self.bug,
        };
        let cluster = Cluster::new(self.settings.clone(), boot, self.now_of(number));
        self.processes[number].cluster = Some(cluster);
        self.drain(number);
    }

    fn later(&mut self, us: u64, event: Event) {
        self.queue.push(self.now_us + us, event);
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Start { at } => self.boot(at),
            Event::Tick { at } => {
                if self.processes[at].tick_us == self.now_us {
                    self.input(at, Input::Tick);
                }
            }
            Event::Connect { from, link, to } => self.connect(from, link, to),
            Event::Refused { to, link } => {
                let error = "Connection refused".to_owned();
                self.input(to, Input::NotConnected { link, error });
            }
            Event::Bytes { to, link, bytes } => {
                if self.processes[to].peers.contains_key(&link) {
                    self.input(to, Input::Message { link, bytes: &bytes });
                }
            }
            Event::Closed { to, link } => {
                if self.processes[to].peers.remove(&link).is_some() {
                    self.input(to, Input::Closed { link });
                }
            }
            Event::Saved { at, version, text } => {
                if self.processes[at].cluster.is_some() {
                    self.processes[at].file = text;
                    self.input(at, Input::Saved { version, result: Ok(()) });
                }
            }
        }
    }

    fn input(&mut self, number: usize, input: Input<'_>) {
        self.order(number, |cluster, now| cluster.handle(now, input));
    }

    fn connect(&mut self, from: usize, link: LinkId, to: usize) {
        if self.processes[from].cluster.is_none() {
            return;
        }
        let address = |number| Some(IpAddr::V4(address_of(number)));
        let Some(target) = &mut self.processes[to].cluster else {
            return self.later(delay_us(to, from), Event::Refused { to: from, link });
        };
        let inbound = target.next_link();
        self.processes[from].peers.insert(link, (to, inbound));
        self.processes[to].peers.insert(inbound, (from, link));
        let (local, peer) = (address(to), address(from));
        self.input(to, Input::Accepted { link: inbound, local, peer });
        self.input(from, Input::Connected { link, local: peer, peer: local });
    }

    fn drain(&mut self, number: usize) {
        let Some(cluster) = &mut self.processes[number].cluster else { return };
        let outputs: Vec<Output> = std::iter::from_fn(|| cluster.poll_output()).collect();
        let tick_us = (cluster.next_due() * 1_000).max(self.now_us);
        outputs.into_iter().for_each(|output| self.output(number, output));
        if self.processes[number].tick_us != tick_us {
            self.processes[number].tick_us = tick_us;
            self.later(tick_us - self.now_us, Event::Tick { at: number });
        }
    }

    fn output(&mut self, from: usize, output: Output) {
        match output {
            Output::Connect { link, host, .. } => {
                self.events.connects += 1;
                let to = number_at(&host);
                self.later(delay_us(from, to), Event::Connect { from, link, to });
            }
            Output::Send { link, bytes } => {
                let kind = bus::type_of(&bytes);
                self.traffic.messages[kind] += 1;
                self.traffic.bytes[kind] += bytes.len() as u64;
                if let Some(&(to, link)) = self.processes[from].peers.get(&link) {
                    self.later(delay_us(from, to), Event::Bytes { to, link, bytes });
                }
            }
            Output::Close { link } => {
                if let Some((to, link)) = self.processes[from].peers.remove(&link) {
                    self.later(delay_us(from, to), Event::Closed { to, link });
                }
            }
            Output::Save { version, text } => {
                self.events.saves += 1;
                self.events.saved_bytes += text.len() as u64;
                let delay = SAVE_US + self.chance.below(SAVE_US);
                self.later(delay, Event::Saved { at: from, version, text });
            }
            Output::Follow { host, .. } => self.processes[from].follows = Some(number_at(&host)),
            Output::Promote => self.processes[from].follows = None,
            Output::Log { text, .. } => self.note(&text),
            Output::DropKeys { .. }
            | Output::SaveJournal
            | Output::SlotsChanged
            | Output::Publish { .. }
            | Output::PauseWrites { .. }
            | Output::ResumeWrites => {}
        }
    }

    fn note(&mut self, line: &str) {
        let counts = &mut self.events;
        counts.elections += u64::from(line.starts_with("Starting a failover election"));
        counts.won += u64::from(line.starts_with("Failover election won"));
        counts.verdicts += u64::from(line.starts_with("Marking node"));
    }
}

/// How long what one node sends to another takes, microseconds.
fn delay_us(from: usize, to: usize) -> u64 {
    let mixed = (from as u64 * 65_536 + to as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    DELAY_US + (mixed >> 32) % (2 * DELAY_US)
}
