//! What must hold at any time, whatever happens. The checks know what leaves a machine and what is on its disk.

use std::collections::{BTreeMap, BTreeSet};

use russet_cluster::bus::{self, Header, Message};
use russet_cluster::nodes_file::NodesFile;
use russet_cluster::{Cluster, NodeId, Output, Route};

/// So often a machine may want to be called within a second: ten checks, and a look each 10 ms in a manual failover.
const TICKS_PER_SECOND_MAX: u32 = 130;

/// What is on a disk for sure.
#[derive(Default)]
struct Disk {
    id: Option<NodeId>,
    file: NodesFile,
}

pub struct Checks {
    /// The first thing that is wrong.
    pub problem: Option<String>,
    /// Slots that are watched; at most 64.
    pub watched: Vec<u16>,
    /// Watched slots that operators have taken from their owners, and so go to older epochs, too.
    pub loose: BTreeSet<u16>,
    /// Those of them that were about to be moved when a replica won: it does not know of the move.
    pub contested: BTreeSet<u16>,
    /// Two nodes may serve a slot: an operator has demanded it.
    pub may_both_serve: bool,
    /// A number of everything that was put out.
    pub hash: u64,
    votes: BTreeMap<(NodeId, u64), NodeId>,
    winners: BTreeMap<u64, NodeId>,
    disks: Vec<Disk>,
    /// The watched slots that each process serves, as bits.
    serving: Vec<u64>,
    /// Who has a slot in a process's view, and with which epoch it got it. A master that gets a newer one later may have
    /// lost the slot by then.
    owners: BTreeMap<(usize, u16), (NodeId, u64)>,
    ticks: BTreeMap<usize, (u64, u32)>,
    /// When a process last heard of another, and when a silence of the node timeout last ended.
    heard: BTreeMap<(usize, usize), (u64, Option<u64>)>,
}

/// A silence counts for this time after its end, milliseconds: reports of it are still on their way.
const SILENCE_COUNTS_MS: u64 = 15_000;

impl Checks {
    pub fn new(count: usize) -> Checks {
        Checks {
            problem: None,
            watched: (0..16).map(|index| index * 1024 + 7).collect(),
            loose: BTreeSet::new(),
            contested: BTreeSet::new(),
            may_both_serve: false,
            hash: 0,
            votes: BTreeMap::new(),
            winners: BTreeMap::new(),
            disks: (0..count).map(|_| Disk::default()).collect(),
            serving: vec![0; count],
            owners: BTreeMap::new(),
            ticks: BTreeMap::new(),
            heard: BTreeMap::new(),
        }
    }

    fn fail(&mut self, now_ms: u64, number: usize, text: String) {
        self.problem.get_or_insert(format!("{now_ms} node {number}: {text}"));
    }

    /// An operator has changed a slot, or all, in the view of a node.
    pub fn excuse(&mut self, number: usize, slot: Option<u16>) {
        self.owners.retain(|(node, watched), _| {
            *node != number || slot.is_some_and(|slot| slot != *watched)
        });
    }

    pub fn started(&mut self, number: usize, file: Option<&NodesFile>) {
        let file = file.cloned().unwrap_or_default();
        self.disks[number] = Disk { id: file.myself().map(|line| line.id), file };
        self.excuse(number, None);
    }

    pub fn saved(&mut self, number: usize, text: &[u8]) {
        let file = NodesFile::parse(text).expect("a file that can be read").expect("some nodes");
        self.disks[number] = Disk { id: file.myself().map(|line| line.id), file };
    }

    pub fn ticked(&mut self, now_ms: u64, number: usize, due: u64) {
        if due <= now_ms {
            self.fail(now_ms, number, format!("the next tick is due at {due}"));
        }
        let (second, count) = self.ticks.entry(number).or_default();
        if *second != now_ms / 1000 {
            (*second, *count) = (now_ms / 1000, 0);
        }
        *count += 1;
        if *count > TICKS_PER_SECOND_MAX {
            self.fail(now_ms, number, "too many ticks".to_owned());
        }
    }

    /// Checks what leaves a machine.
    pub fn output(&mut self, now_ms: u64, number: usize, cluster: &Cluster, output: &Output) {
        self.add_to_hash(format_args!("{now_ms} {number}"));
        match output {
            Output::Send { bytes, link } => {
                self.hash = bytes.iter().fold(self.hash, |hash, byte| {
                    (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
                });
                self.sent(now_ms, number, cluster, *link, bytes);
            }
            Output::Log { text, .. } => {
                self.add_to_hash(format_args!("{text}"));
                self.logged(now_ms, number, cluster, text);
            }
            other => self.add_to_hash(format_args!("{other:?}")),
        }
    }

    fn add_to_hash(&mut self, text: std::fmt::Arguments<'_>) {
        self.hash = text
            .to_string()
            .bytes()
            .fold(self.hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    }

    fn logged(&mut self, now_ms: u64, number: usize, cluster: &Cluster, text: &str) {
        if let Some(rest) = text.strip_prefix("Marking node ") {
            self.marked(now_ms, number, cluster, rest);
        }
        let epoch = text.strip_prefix("configEpoch set to ");
        let epoch = epoch.and_then(|rest| rest.strip_suffix(" after successful failover"));
        if let Some(epoch) = epoch.and_then(|epoch| epoch.parse().ok()) {
            let id = cluster.my_id();
            self.contested.extend(&self.loose);
            let winner = *self.winners.entry(epoch).or_insert(id);
            if winner != id {
                self.fail(now_ms, number, format!("{winner} has won epoch {epoch}, too"));
            }
        }
    }

    /// A process has received something from another.
    pub fn delivered(&mut self, now_ms: u64, from: usize, to: usize, timeout_ms: u64) {
        let (last_ms, silence_end_ms) = self.heard.entry((from, to)).or_insert((now_ms, None));
        if now_ms - *last_ms >= timeout_ms {
            *silence_end_ms = Some(now_ms);
        }
        *last_ms = now_ms;
    }

    /// A node that is marked as down was silent for a majority of the masters that its judge knows.
    fn marked(&mut self, now_ms: u64, number: usize, cluster: &Cluster, text: &str) {
        let number_of = |id: NodeId| self.disks.iter().position(|disk| disk.id == Some(id));
        let about = text.split(' ').next().and_then(|id| NodeId::parse(id.as_bytes()));
        let Some(about) = about.and_then(number_of) else { return };
        let timeout_ms = cluster.settings().node_timeout_ms;
        let is_silent = |voter: usize| match self.heard.get(&(about, voter)) {
            Some((last_ms, silence_end_ms)) => {
                now_ms - last_ms >= timeout_ms
                    || silence_end_ms.is_some_and(|end| now_ms - end < SILENCE_COUNTS_MS)
            }
            None => true,
        };
        let voters = cluster.nodes().iter().filter(|(_, node)| node.votes());
        let silent = voters.filter(|(_, node)| number_of(node.id).is_none_or(is_silent)).count();
        if silent < cluster.nodes().quorum() {
            self.fail(now_ms, number, format!("{silent} masters do not hear {about}, it is FAIL"));
        }
    }

    fn sent(
        &mut self,
        now_ms: u64,
        number: usize,
        cluster: &Cluster,
        link: russet_cluster::LinkId,
        bytes: &[u8],
    ) {
        let Ok(message) = bus::decode(bytes) else {
            return self.fail(now_ms, number, "what it sends cannot be decoded".to_owned());
        };
        let Some(header) = message.header else { return };
        if let Err(text) = self.is_on_disk(number, &header) {
            self.fail(now_ms, number, text);
        }
        match message.message {
            Message::AuthAck => {
                let views = cluster.link_views();
                let to = views.iter().find(|view| view.link == link).map(|view| view.node);
                let Some(to) = to else {
                    return self.fail(now_ms, number, "a vote for a stranger".to_owned());
                };
                let voted = self.disks[number].file.last_vote_epoch;
                if header.current_epoch > voted {
                    let text = format!("votes in {}, on disk is {voted}", header.current_epoch);
                    self.fail(now_ms, number, text);
                }
                let vote = (header.sender, header.current_epoch);
                let first = *self.votes.entry(vote).or_insert(to);
                if first != to {
                    let text = format!("votes in {} for {first} and {to}", header.current_epoch);
                    self.fail(now_ms, number, text);
                }
            }
            Message::Update(update) if update.node == header.sender => {
                let claim =
                    Header { config_epoch: update.config_epoch, slots: update.slots, ..header };
                if let Err(text) = self.is_on_disk(number, &claim) {
                    self.fail(now_ms, number, format!("in an UPDATE: {text}"));
                }
            }
            _ => {}
        }
    }

    /// What a node says of itself is not newer than what is on its disk.
    fn is_on_disk(&self, number: usize, header: &Header) -> Result<(), String> {
        let disk = &self.disks[number];
        let new = russet_cluster::nodes_file::NodeLine::new(header.sender);
        let line = disk.file.myself().unwrap_or(&new);
        let check = |is_good: bool, what: &str| match is_good {
            true => Ok(()),
            false => Err(format!("says what is not on disk: {what}")),
        };
        check(disk.id.is_none_or(|id| id == header.sender), "its name")?;
        check(header.current_epoch <= disk.file.current_epoch, "its current epoch")?;
        // A replica claims nothing: one that has stepped back may say so before that is on disk.
        if header.master.is_none() {
            check(line.master.is_none(), "its role")?;
            check(header.config_epoch <= line.config_epoch, "its config epoch")?;
            check(header.slots.difference(&line.slots).is_empty(), "its slots")?;
        }
        Ok(())
    }

    /// Checks the state of a machine after each event; none if it does not run.
    pub fn state(&mut self, now_ms: u64, number: usize, cluster: Option<&Cluster>) {
        let Some(cluster) = cluster else { return self.serving[number] = 0 };
        let watched = self.watched.clone();
        let bits = watched.iter().zip(0..).filter(|(slot, _)| cluster.serves(**slot));
        let bits = bits.filter(|(slot, _)| !self.contested.contains(slot));
        let mask: u64 = bits.map(|(_, bit)| 1 << bit).sum();
        self.serving[number] = mask;
        let others = self.serving.iter().enumerate();
        let both = others.filter(|(other, _)| *other != number).find(|(_, bits)| *bits & mask != 0);
        if let (Some((other, bits)), false) = (both, self.may_both_serve) {
            let slot = watched[(bits & mask).trailing_zeros() as usize];
            self.fail(now_ms, number, format!("serves slot {slot}, and so does {other}"));
        }
        for slot in watched {
            let nodes = cluster.nodes();
            let Some(owner) = nodes.owner(slot) else {
                self.owners.remove(&(number, slot));
                continue;
            };
            let (id, epoch) = (nodes[owner].id, nodes[owner].config_epoch);
            if id == cluster.my_id() && cluster.route(slot) == Route::Unassigned {
                // It is not on disk, and nobody knows.
                continue;
            }
            let known = self.owners.entry((number, slot)).or_insert((id, epoch));
            if known.0 == id {
                continue;
            }
            let (_, before) = std::mem::replace(known, (id, epoch));
            if before > epoch && !self.loose.contains(&slot) {
                let text = format!("slot {slot} goes from epoch {before} to {id} with {epoch}");
                self.fail(now_ms, number, text);
            }
        }
        self.sizes(now_ms, number, cluster);
    }

    fn sizes(&mut self, now_ms: u64, number: usize, cluster: &Cluster) {
        let (nodes, links) = (cluster.nodes().count(), cluster.link_views().len());
        if links > 2 * nodes {
            self.fail(now_ms, number, format!("{links} links for {nodes} nodes"));
        }
        let count = self.serving.len();
        if nodes > 3 * count {
            self.fail(now_ms, number, format!("{nodes} nodes of {count}"));
        }
    }
}
