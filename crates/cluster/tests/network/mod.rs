//! A virtual network of machines without keys: messages take a millisecond, saves succeed at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use russet_cluster::nodes_file::NodesFile;
use russet_cluster::{Boot, Cluster, Data, Input, LinkId, NodeId, Now, Output, Settings};

/// How long a message takes, milliseconds.
const DELAY_MS: u64 = 1;

/// A node with its address: `10.0.0.N`, with the same ports everywhere.
pub struct Process {
    pub cluster: Cluster,
    /// What is on its disk.
    pub file: Vec<u8>,
    pub is_alive: bool,
    /// Position in the replication stream.
    pub offset: u64,
    /// What it was last told to be.
    pub follows: Option<String>,
    /// Lines of its log.
    pub log: Vec<String>,
    pub held: bool,
    /// When its master was last heard of.
    heard_ms: u64,
    /// The other ends of its connections.
    peers: BTreeMap<LinkId, (usize, LinkId)>,
}

enum Event {
    Connect { from: usize, link: LinkId, to: usize },
    Bytes { to: usize, link: LinkId, bytes: Vec<u8> },
    Closed { to: usize, link: LinkId },
    Saved { at: usize, version: u64, text: Vec<u8> },
}

pub struct Network {
    pub processes: Vec<Process>,
    pub now_ms: u64,
    settings: Settings,
    events: BTreeMap<u64, VecDeque<Event>>,
    /// Directions in which nothing gets through.
    pub cut: BTreeSet<(usize, usize)>,
    pub bytes_sent: u64,
    /// Saves fail.
    pub failing_disks: BTreeSet<usize>,
}

fn id_of(number: usize, kind: u8) -> NodeId {
    NodeId::parse(format!("{:02x}{number:038x}", kind).as_bytes()).unwrap()
}

impl Network {
    pub fn new(count: usize, settings: Settings) -> Network {
        let mut network = Network {
            processes: Vec::new(),
            now_ms: 1_000_000,
            settings,
            events: BTreeMap::new(),
            cut: BTreeSet::new(),
            bytes_sent: 0,
            failing_disks: BTreeSet::new(),
        };
        for number in 0..count {
            let cluster = network.boot(number, None);
            network.processes.push(Process {
                cluster,
                file: Vec::new(),
                is_alive: true,
                offset: 0,
                follows: None,
                log: Vec::new(),
                held: false,
                heard_ms: 0,
                peers: BTreeMap::new(),
            });
            network.drain(number);
        }
        network
    }

    fn boot(&self, number: usize, file: Option<NodesFile>) -> Cluster {
        let boot = Boot {
            seed: number as u64 + self.now_ms,
            new_id: id_of(number, 1),
            new_shard: id_of(number, 2),
            file,
            bug: None,
        };
        Cluster::new(self.settings.clone(), boot, self.now_of(None))
    }

    fn now_of(&self, process: Option<&Process>) -> Now {
        let data = process.map_or(Data::default(), |process| Data {
            offset: process.offset,
            is_connected: true,
            silent_ms: Some(self.now_ms.saturating_sub(process.heard_ms)),
        });
        Now { mono_ms: self.now_ms, wall_ms: 1_700_000_000_000 + self.now_ms as i64, data }
    }

    /// Gives an order to a node.
    pub fn order<T>(&mut self, number: usize, order: impl FnOnce(&mut Cluster, Now) -> T) -> T {
        let now = self.now_of(Some(&self.processes[number]));
        let result = order(&mut self.processes[number].cluster, now);
        self.drain(number);
        result
    }

    fn input(&mut self, number: usize, input: Input<'_>) {
        if self.processes[number].is_alive {
            self.order(number, |cluster, now| cluster.handle(now, input));
        }
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.events.entry(self.now_ms + ms).or_default().push_back(event);
    }

    fn drain(&mut self, number: usize) {
        while let Some(output) = self.processes[number].cluster.poll_output() {
            self.output(number, output);
        }
    }

    fn output(&mut self, from: usize, output: Output) {
        match output {
            Output::Connect { link, host, .. } => {
                let last = host.rsplit('.').next().and_then(|last| last.parse::<usize>().ok());
                let to = last.expect("an address of this network") - 1;
                self.later(DELAY_MS, Event::Connect { from, link, to });
            }
            Output::Send { link, bytes } => {
                self.bytes_sent += bytes.len() as u64;
                if let Some(&(to, link)) = self.processes[from].peers.get(&link)
                    && !self.cut.contains(&(from, to))
                {
                    self.later(DELAY_MS, Event::Bytes { to, link, bytes });
                }
            }
            Output::Close { link } => {
                if let Some((to, link)) = self.processes[from].peers.remove(&link) {
                    self.later(DELAY_MS, Event::Closed { to, link });
                }
            }
            Output::Save { version, text } => {
                self.later(DELAY_MS, Event::Saved { at: from, version, text });
            }
            Output::Follow { host, .. } => self.processes[from].follows = Some(host),
            Output::Promote => self.processes[from].follows = None,
            Output::PauseWrites { .. } => self.processes[from].held = true,
            Output::ResumeWrites => self.processes[from].held = false,
            Output::Log { text, .. } => self.processes[from].log.push(text),
            Output::DropKeys { .. } | Output::SlotsChanged | Output::Publish { .. } => {}
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Connect { from, link, to } => self.connect(from, link, to),
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
                let result = match self.failing_disks.contains(&at) {
                    true => Err("No space left on device".to_owned()),
                    false => Ok(()),
                };
                if result.is_ok() && self.processes[at].is_alive {
                    self.processes[at].file = text;
                }
                self.input(at, Input::Saved { version, result });
            }
        }
    }

    fn connect(&mut self, from: usize, link: LinkId, to: usize) {
        let address = |number: usize| Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number as u8 + 1)));
        let is_cut = self.cut.contains(&(from, to)) || self.cut.contains(&(to, from));
        if !self.processes[from].is_alive {
            return;
        }
        if is_cut {
            // The operating system tries for longer than the machine waits.
            return;
        }
        if !self.processes[to].is_alive {
            let error = "Connection refused".to_owned();
            return self.input(from, Input::NotConnected { link, error });
        }
        let inbound = self.processes[to].cluster.next_link();
        self.processes[from].peers.insert(link, (to, inbound));
        self.processes[to].peers.insert(inbound, (from, link));
        let (local, peer) = (address(to), address(from));
        self.input(to, Input::Accepted { link: inbound, local, peer });
        let (local, peer) = (address(from), address(to));
        self.input(from, Input::Connected { link, local, peer });
    }

    /// Lets time pass.
    pub fn run(&mut self, ms: u64) {
        let end = self.now_ms + ms;
        while self.now_ms < end {
            self.now_ms += 1;
            while let Some(events) = self.events.remove(&self.now_ms) {
                events.into_iter().for_each(|event| self.event(event));
            }
            for number in 0..self.processes.len() {
                let is_due = self.processes[number].cluster.next_due() <= self.now_ms;
                if is_due {
                    self.input(number, Input::Tick);
                }
                self.replicate(number);
            }
        }
    }

    /// Replicas have what their masters have, while those are there.
    fn replicate(&mut self, number: usize) {
        let Some(host) = &self.processes[number].follows else { return };
        let Some(master) = host.rsplit('.').next().and_then(|last| last.parse::<usize>().ok())
        else {
            return;
        };
        let is_up =
            self.processes[master - 1].is_alive && !self.cut.contains(&(master - 1, number));
        if is_up && self.processes[number].is_alive {
            self.processes[number].offset = self.processes[master - 1].offset;
            self.processes[number].heard_ms = self.now_ms;
        }
    }

    pub fn kill(&mut self, number: usize) {
        self.processes[number].is_alive = false;
        let peers = std::mem::take(&mut self.processes[number].peers);
        for (to, link) in peers.into_values() {
            self.later(DELAY_MS, Event::Closed { to, link });
        }
    }

    pub fn restart(&mut self, number: usize) {
        let file = NodesFile::parse(&self.processes[number].file).expect("what it has saved");
        self.processes[number].cluster = self.boot(number, file);
        self.processes[number].is_alive = true;
        self.drain(number);
    }

    /// Cuts a node off from all others, both ways.
    pub fn isolate(&mut self, number: usize) {
        for other in (0..self.processes.len()).filter(|other| *other != number) {
            self.cut.insert((number, other));
            self.cut.insert((other, number));
        }
    }

    pub fn heal(&mut self) {
        self.cut.clear();
    }

    pub fn cluster(&self, number: usize) -> &Cluster {
        &self.processes[number].cluster
    }

    /// Returns a cluster of masters with all slots, and replicas: the last `replicas` nodes, by turns.
    pub fn formed(masters: usize, replicas: usize, settings: Settings) -> Network {
        let mut network = Network::new(masters + replicas, settings);
        for number in 1..masters + replicas {
            let ip = format!("10.0.0.{}", number + 1);
            network.order(0, |cluster, now| cluster.meet(now, &ip, 6379, 16379));
        }
        network.run(3_000);
        for number in 0..masters {
            let each = 16384 / masters;
            let end = if number + 1 == masters { 16384 } else { (number + 1) * each };
            let slots: Vec<u16> = (number * each..end).map(|slot| slot as u16).collect();
            network.order(number, |cluster, now| cluster.add_slots(now, &slots)).unwrap();
            let epoch = number as u64 + 1;
            _ = network.order(number, |cluster, now| cluster.set_config_epoch(now, epoch));
        }
        network.run(3_000);
        for number in masters..masters + replicas {
            let master = network.cluster((number - masters) % masters).my_id();
            let order =
                |cluster: &mut Cluster, now| cluster.replicate(now, master.as_bytes(), false);
            network.order(number, order).unwrap();
        }
        network.run(10_000);
        network
    }
}
