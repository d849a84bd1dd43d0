//! A machine of a cluster between its driver and its peers, of which the fuzzer plays both, and what must hold of it.
//!
//! ```text
//!   peers 1 … 6     of the cluster: masters 1 and 2, replicas 3 of the machine, 4 and 5 of 1, 6 of 2
//!   peers 7 …       nobody knows them
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr};

use russet_cluster::bus::{self, Header, Message, MessageFlags, NodeFlags, PingKind};
use russet_cluster::nodes_file::{NodeLine, NodesFile};
use russet_cluster::{
    BUGS, Boot, Bug, Cluster, Data, Input, LinkId, NodeId, Now, Output, Route, Settings, SlotBitmap,
};

/// Slots of the cluster.
pub const SLOTS: u16 = 16_384;

/// Slots that are watched: every so many.
pub const WATCHED: u16 = 128;

/// Peers that the file of the machine has.
pub const KNOWN: usize = 7;

/// The machine, among the peers.
pub const ME: usize = 0;

/// The port of the bus of peer 0; others follow.
pub const BUS_PORT: u16 = 17_000;

/// `cluster-node-timeout`.
pub const TIMEOUT_MS: u64 = 1_000;

/// Handshakes that the machine may have at once.
const HANDSHAKES_MAX: usize = 1_024;

/// Connections of strangers that it may have at once.
const STRANGERS_MAX: usize = 1_024;

/// An epoch that no message may bring about: some more must always be possible.
const EPOCH_MAX: u64 = (1 << 62) + (1 << 20);

/// When so many nodes are known, further strangers do not answer: each step would take long.
const JOINED_MAX: usize = 40;

/// Messages of the past that can be sent again.
const PAST_MAX: usize = 64;

/// What a peer is, as it says itself.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The master of a replica.
    pub master: Option<usize>,
    /// The epoch of its slots.
    pub epoch: u64,
    /// Slots of a master.
    pub slots: SlotBitmap,
}

/// A connection, with the peer at its other end.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// Its number at the machine.
    pub link: LinkId,
    /// The peer, which is nobody special on a connection of a stranger.
    pub peer: usize,
    /// Whether the machine has opened it.
    pub is_outgoing: bool,
    /// Whether it is open.
    pub is_open: bool,
}

/// The machine, and what is known of it from outside.
pub struct Scene {
    /// The machine.
    pub cluster: Cluster,
    /// Time, and how far the data is.
    pub now: Now,
    /// Connections.
    pub lines: Vec<Line>,
    /// Peers.
    pub peers: Vec<Peer>,
    /// The newest epoch that a peer knows.
    pub epoch: u64,
    /// Messages that were sent to the machine.
    pub past: VecDeque<Vec<u8>>,
    /// Saves that are being written.
    pub saves: VecDeque<(u64, Vec<u8>)>,
    /// What peers were asked and have not answered: the connection, and whether it was for a vote, in which epoch.
    pub questions: VecDeque<(LinkId, Option<u64>)>,
    disk: Vec<u8>,
    file: NodesFile,
    starts: u64,
    resets: u64,
    /// Votes by the name of the voter and the epoch.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    /// Who has a slot in the machine's view, and with which epoch it got it.
    owners: BTreeMap<u16, (NodeId, u64)>,
    /// Slots that their owners have left out of a message, or that an operator has changed: they may go to an older epoch.
    loose: BTreeSet<u16>,
    epochs: (NodeId, u64, u64),
}

/// Returns the name of a peer.
pub fn id(peer: usize) -> NodeId {
    NodeId::parse(format!("{:040x}", (peer as u64 + 1) * 0x1111_1111).as_bytes()).expect("digits")
}

/// Returns the address of all peers.
pub fn address() -> IpAddr {
    Ipv4Addr::LOCALHOST.into()
}

/// Returns a third of the slots that are watched. Nobody has the others at first: with all of them most of the time would go
/// into reading and writing files.
pub fn third(number: usize) -> SlotBitmap {
    let mut slots = SlotBitmap::default();
    for slot in watched().skip(number % 3).step_by(3) {
        slots.insert(slot);
    }
    slots
}

/// The bug to plant, by the environment variable `RUSSET_FUZZ_BUG`, to see that it is found.
fn bug() -> Option<Bug> {
    let name = std::env::var("RUSSET_FUZZ_BUG").ok()?;
    let bug = BUGS.iter().find(|(known, _)| *known == name);
    Some(bug.unwrap_or_else(|| panic!("no bug is named {name}")).1)
}

/// Whether what happens is printed.
pub fn shows() -> bool {
    std::env::var_os("RUSSET_FUZZ_SHOW").is_some()
}

/// Returns the file of a node in a cluster of seven.
fn first_file(is_replica: bool) -> Vec<u8> {
    let mut file =
        NodesFile { nodes: Vec::new(), current_epoch: 3, last_vote_epoch: 0, won_epoch: 0 };
    for (number, peer) in peers(is_replica).iter().enumerate() {
        let mut line = NodeLine::new(id(number));
        line.ip = address().to_string();
        (line.port, line.bus_port) = (7_000 + number as u16, BUS_PORT + number as u16);
        line.master = peer.master.map(id);
        line.flags = if peer.master.is_some() { NodeFlags::REPLICA } else { NodeFlags::MASTER };
        line.flags.set(NodeFlags::MYSELF, number == ME);
        (line.config_epoch, line.slots) = (peer.epoch, peer.slots.clone());
        file.nodes.push(line);
    }
    let mut text = Vec::new();
    file.write(&mut text);
    text
}

/// Returns the peers at the start. If the machine is a replica, it has changed places with peer 3.
fn peers(is_replica: bool) -> Vec<Peer> {
    let master =
        |number: usize| Peer { master: None, epoch: number as u64 + 1, slots: third(number) };
    let replica = |of: usize| Peer { master: Some(of), epoch: 0, slots: SlotBitmap::default() };
    let (first, third) = if is_replica { (replica(3), master(0)) } else { (master(0), replica(0)) };
    vec![first, master(1), master(2), third, replica(1), replica(1), replica(2)]
}

impl Scene {
    /// Starts a node that knows nobody, a master or a replica.
    pub fn new(kind: u8) -> Scene {
        let is_new = kind % 4 == 0;
        let is_replica = kind % 4 == 3;
        let disk = if is_new { Vec::new() } else { first_file(is_replica) };
        let now = Now { mono_ms: 10_000, wall_ms: 1_764_000_000_000, data: Data::default() };
        let mut scene = Scene {
            cluster: boot(&disk, now, 0),
            now,
            lines: Vec::new(),
            peers: peers(is_replica),
            epoch: 3,
            past: VecDeque::new(),
            saves: VecDeque::new(),
            questions: VecDeque::new(),
            disk,
            file: NodesFile::default(),
            starts: 0,
            resets: 0,
            votes: BTreeMap::new(),
            owners: BTreeMap::new(),
            loose: BTreeSet::new(),
            epochs: (id(ME), 0, 0),
        };
        scene.read_disk();
        scene.settle();
        scene
    }

    fn read_disk(&mut self) {
        let file = NodesFile::parse(&self.disk).expect("what it has saved can be read");
        self.file = file.unwrap_or_default();
    }

    /// Kills the process and starts it again with what is on its disk. A save may have got there.
    pub fn restart(&mut self, is_saved: bool) {
        if let Some((_, text)) = self.saves.pop_front().filter(|_| is_saved) {
            self.disk = text;
            self.read_disk();
        }
        self.saves.clear();
        self.lines.clear();
        self.questions.clear();
        self.starts += 1;
        self.cluster = boot(&self.disk, self.now, self.starts);
        self.owners.clear();
        self.loose.clear();
        self.epochs = (self.cluster.my_id(), 0, 0);
        self.settle();
    }

    /// Hands an event to the machine.
    pub fn input(&mut self, input: Input<'_>) {
        self.cluster.handle(self.now, input);
        self.settle();
    }

    /// Lets time pass, with as many ticks as the machine wants.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono_ms.saturating_add(ms);
        while self.now.mono_ms < end {
            let next = self.cluster.next_due().clamp(self.now.mono_ms, end);
            self.now.wall_ms = self.now.wall_ms.saturating_add((next - self.now.mono_ms) as i64);
            self.now.mono_ms = next;
            self.cluster.handle(self.now, Input::Tick);
            self.take_outputs();
            assert!(self.cluster.next_due() > self.now.mono_ms, "it wants to tick for ever");
        }
        self.check();
    }

    /// Carries out a command of an operator, which may move slots to older epochs.
    pub fn order(&mut self, order: impl FnOnce(&mut Cluster, Now)) {
        order(&mut self.cluster, self.now);
        self.owners.clear();
        self.loose.extend(watched());
        self.settle();
    }

    /// Returns a name and a shard for a reset.
    pub fn new_names(&mut self) -> [NodeId; 2] {
        self.resets += 1;
        let name = |kind: &str| format!("{kind}{:036x}", self.resets);
        ["5e75", "5a9d"].map(|kind| NodeId::parse(name(kind).as_bytes()).expect("digits"))
    }

    /// Ends the oldest save.
    pub fn save(&mut self, is_ok: bool) {
        let Some((version, text)) = self.saves.pop_front() else { return };
        let result = match is_ok {
            true => {
                self.disk = text;
                self.read_disk();
                Ok(())
            }
            false => Err("No space left on device".to_owned()),
        };
        self.input(Input::Saved { version, result });
    }

    /// Returns an open connection with a peer; one is opened to the machine if there is none.
    pub fn line_of(&mut self, peer: usize, is_outgoing: bool) -> Option<LinkId> {
        let fits =
            |line: &&Line| line.peer == peer && line.is_outgoing == is_outgoing && line.is_open;
        if let Some(line) = self.lines.iter().rfind(fits) {
            return Some(line.link);
        }
        if is_outgoing {
            return None;
        }
        let link = self.cluster.next_link();
        self.lines.push(Line { link, peer, is_outgoing, is_open: true });
        self.input(Input::Accepted { link, local: Some(address()), peer: Some(address()) });
        self.lines.iter().any(|line| line.link == link).then_some(link)
    }

    /// Completes a connection that the machine wants to open.
    pub fn complete(&mut self, index: usize, is_ok: bool) {
        let wanted = self.lines.iter().filter(|line| !line.is_open).count();
        let mut waiting = self.lines.iter_mut().filter(|line| !line.is_open);
        let Some(line) = waiting.nth(index % wanted.max(1)) else { return };
        line.is_open = is_ok;
        let link = line.link;
        if is_ok {
            self.input(Input::Connected { link, local: Some(address()), peer: Some(address()) });
        } else {
            self.lines.retain(|line| line.link != link);
            self.input(Input::NotConnected { link, error: "Connection refused".to_owned() });
        }
    }

    /// Closes a connection from outside.
    pub fn hang_up(&mut self, index: usize) {
        if !self.lines.is_empty() {
            let line = self.lines.swap_remove(index % self.lines.len());
            self.input(Input::Closed { link: line.link });
        }
    }

    /// Sends a message to the machine.
    pub fn send(&mut self, link: LinkId, bytes: Vec<u8>) {
        if !self.lines.iter().any(|line| line.link == link && line.is_open) {
            return;
        }
        if let Ok(received) = bus::decode(&bytes)
            && let Some(header) = received.header
        {
            self.note_claims(&header);
            if shows() {
                eprintln!(
                    "   from {}: type {}, epochs {} and {}, master {:?}, slots {}",
                    header.sender,
                    bus::type_of(&bytes),
                    header.current_epoch,
                    header.config_epoch,
                    header.master,
                    header.slots.len()
                );
            }
        }
        if self.past.len() == PAST_MAX {
            self.past.pop_front();
        }
        self.past.push_back(bytes.clone());
        self.input(Input::Message { link, bytes: &bytes });
    }

    /// A slot that its owner does not claim any more goes to whoever does.
    fn note_claims(&mut self, header: &Header) {
        let nodes = self.cluster.nodes();
        let Some((key, _)) = self.cluster.find(header.sender.as_bytes()) else { return };
        for slot in watched().filter(|slot| nodes.owner(*slot) == Some(key)) {
            match header.master.is_none() && header.slots.contains(slot) {
                true => self.loose.remove(&slot),
                false => self.loose.insert(slot),
            };
        }
    }

    /// Returns what a peer says of itself.
    pub fn header(&self, peer: usize) -> Header {
        let state = self.peers.get(peer);
        let master = state.and_then(|state| state.master);
        let owner = master.map_or(state, |master| self.peers.get(master));
        let role = if master.is_some() { NodeFlags::REPLICA } else { NodeFlags::MASTER };
        let mut message_flags = MessageFlags::default();
        message_flags.set(MessageFlags::EXTENSIONS, peer % 2 == 0);
        Header {
            sender: id(peer),
            current_epoch: self.epoch,
            config_epoch: owner.map_or(0, |owner| owner.epoch),
            offset: 100,
            slots: owner.map_or_else(SlotBitmap::default, |owner| owner.slots.clone()),
            master: master.map(id),
            ip: None,
            port: 7_000 + peer as u16,
            second_port: 0,
            bus_port: BUS_PORT.wrapping_add(peer as u16),
            flags: role | NodeFlags::LIGHT_HEADERS,
            is_cluster_ok: true,
            message_flags,
        }
    }

    /// Answers what peers were asked, as they should: connections, saves, pings and requests for votes.
    pub fn help(&mut self, is_voting: bool) {
        for _ in 0..self.lines.len().min(16) {
            self.complete(0, true);
        }
        while !self.saves.is_empty() {
            self.save(true);
        }
        for _ in 0..self.questions.len().min(32) {
            let Some((link, vote)) = self.questions.pop_front() else { return };
            let Some(line) = self.lines.iter().find(|line| line.link == link) else { continue };
            let peer = line.peer;
            if peer >= KNOWN && self.cluster.nodes().count() > JOINED_MAX {
                continue;
            }
            let mut header = self.header(peer);
            let mut bytes = Vec::new();
            match vote {
                None => {
                    bus::write_ping(&mut bytes, &header, PingKind::Pong, &[], &Default::default());
                    self.send(link, bytes);
                }
                Some(epoch) if is_voting => {
                    self.epoch = self.epoch.max(epoch);
                    header.current_epoch = epoch;
                    bus::write_auth_ack(&mut bytes, &header);
                    if let Some(link) = self.line_of(peer, false) {
                        self.send(link, bytes);
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// Takes what the machine puts out, and checks it and the machine.
    fn settle(&mut self) {
        self.take_outputs();
        self.check();
    }

    fn take_outputs(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            match output {
                Output::Connect { link, port, .. } => {
                    let peer = usize::from(port.wrapping_sub(BUS_PORT));
                    self.lines.push(Line { link, peer, is_outgoing: true, is_open: false });
                }
                Output::Close { link } => self.lines.retain(|line| line.link != link),
                Output::Send { link, bytes } => self.sent(link, &bytes),
                Output::Save { version, text } => {
                    assert!(self.saves.is_empty(), "two saves at once");
                    self.saves.push_back((version, text));
                }
                Output::Log { text, .. } if shows() => eprintln!("{text}"),
                other if shows() => eprintln!("{other:?}"),
                _ => {}
            }
        }
    }

    fn sent(&mut self, link: LinkId, bytes: &[u8]) {
        let message = bus::decode(bytes).expect("what it sends can be decoded");
        assert_eq!(message.ignored, 0, "all of it");
        let line = self.lines.iter().find(|line| line.link == link);
        let peer = line.expect("it sends on connections that it has not closed").peer;
        let Some(header) = message.header else { return };
        self.check_own_words(&header);
        match message.message {
            Message::AuthAck => self.check_vote(link, &header),
            Message::AuthRequest => self.questions.push_back((link, Some(header.current_epoch))),
            Message::Ping(ping) if ping.kind != PingKind::Pong => {
                self.questions.push_back((link, None));
            }
            Message::Update(update) if update.node == header.sender => {
                let (config_epoch, slots) = (update.config_epoch, update.slots);
                self.check_own_words(&Header { config_epoch, slots, ..header });
            }
            _ => {}
        }
        if self.questions.len() > 256 {
            self.questions.pop_front();
        }
        if shows() {
            eprintln!("   to {peer}: type {}", bus::type_of(bytes));
        }
    }

    /// A vote is on disk, and the only one in its epoch.
    fn check_vote(&mut self, link: LinkId, header: &Header) {
        let views = self.cluster.link_views();
        let to = views.iter().find(|view| view.link == link).expect("no vote for a stranger").node;
        let (epoch, saved) = (header.current_epoch, self.file.last_vote_epoch);
        assert!(epoch <= saved, "a vote in epoch {epoch}, on disk is {saved}");
        let first = *self.votes.entry((header.sender, epoch)).or_insert(to);
        assert_eq!(first, to, "two votes in epoch {epoch}");
    }

    /// What the machine says of itself is not newer than what is on its disk.
    fn check_own_words(&self, header: &Header) {
        let new = NodeLine::new(header.sender);
        let line = self.file.myself().unwrap_or(&new);
        assert_eq!(line.id, header.sender, "a name that is not on disk");
        assert!(header.current_epoch <= self.file.current_epoch, "an epoch that is not on disk");
        if header.master.is_none() {
            assert!(line.master.is_none(), "a role that is not on disk");
            assert!(header.config_epoch <= line.config_epoch, "a config epoch that is not on disk");
            assert!(header.slots.difference(&line.slots).is_empty(), "slots that are not on disk");
        }
    }

    fn check(&mut self) {
        self.check_sizes();
        let cluster = &self.cluster;
        let (me, current, voted) =
            (cluster.my_id(), cluster.current_epoch(), cluster.last_vote_epoch());
        if self.epochs.0 == me {
            let (_, before, voted_before) = self.epochs;
            assert!(current >= before && voted >= voted_before, "its epochs go back");
        }
        assert!(current < EPOCH_MAX && voted <= current, "epochs {current} and {voted}");
        self.epochs = (me, current, voted);
        self.check_owners();
    }

    fn check_sizes(&self) {
        let nodes = self.cluster.nodes();
        let greeted = nodes.iter().filter(|(_, node)| node.is(NodeFlags::HANDSHAKE)).count();
        assert!(greeted <= HANDSHAKES_MAX, "{greeted} handshakes");
        let (lines, most) = (self.lines.len(), 2 * nodes.count() + STRANGERS_MAX);
        assert!(lines <= most, "{lines} connections");
        let known = self.cluster.link_views().len();
        assert!(known <= 2 * nodes.count(), "{known} connections for {} nodes", nodes.count());
    }

    /// A slot does not go to an older epoch than that with which its owner has got it, and is served only by its owner.
    fn check_owners(&mut self) {
        let nodes = self.cluster.nodes();
        for slot in watched() {
            let owner = nodes.owner(slot);
            let is_mine = owner == Some(nodes.my_key()) && nodes.me().is_master();
            assert!(is_mine || !self.cluster.serves(slot), "it serves slot {slot} of another");
            let Some(owner) = owner else {
                self.owners.remove(&slot);
                continue;
            };
            let new = (nodes[owner].id, nodes[owner].config_epoch);
            let is_undecided = is_mine && self.cluster.route(slot) == Route::Unassigned;
            match self.owners.get(&slot) {
                Some((id, _)) if *id == new.0 => {}
                _ if is_undecided => {}
                Some((id, epoch)) if *epoch > new.1 && !self.loose.contains(&slot) => {
                    panic!("slot {slot} goes from {id} with {epoch} to {} with {}", new.0, new.1);
                }
                _ => _ = self.owners.insert(slot, new),
            }
        }
    }
}

/// Returns the slots that are watched.
fn watched() -> impl Iterator<Item = u16> {
    (0..SLOTS).step_by(usize::from(WATCHED))
}

fn boot(disk: &[u8], now: Now, starts: u64) -> Cluster {
    let settings = Settings {
        node_timeout_ms: TIMEOUT_MS,
        port: 7_000,
        bus_port: BUS_PORT,
        require_full_coverage: false,
        ..Settings::default()
    };
    let file = NodesFile::parse(disk).expect("what it has saved can be read");
    let boot = Boot {
        seed: starts,
        new_id: id(ME),
        new_shard: id(ME),
        file,
        journal: Vec::new(),
        bug: bug(),
    };
    Cluster::new(settings, boot, now)
}
