//! What a node has on disk, and what must be there before others hear of it.
//!
//! A node that has said something and forgets it in a crash breaks what others build on: a second vote in an epoch elects
//! two masters. So what a node says *of itself* (its role, its slots, its epochs) is a copy that is replaced when the state
//! with it has been saved, and what must follow a change waits for that:
//!
//! ```text
//!   a vote is due        Save 7 ───────▶ disk ───────▶ Saved 7 ─▶ the vote leaves
//!   a claim is dropped       └ meanwhile changes go into Save 8     the header says what is in 7
//! ```
//!
//! What a node knows of others is not urgent: it would learn it again. In a large cluster there is always something new of
//! somebody, and the file has a line for each node, so such changes are saved together, after some time.
//!
//! When slots are moved one after the other, the disk decides how fast that is, so only two of the steps wait for it:
//!
//! | step | if it is forgotten in a crash |
//! |---|---|
//! | the source migrates | it would deny keys that are at the target already: **saved first** |
//! | the target imports | a slot of another node with keys here is one that is imported, so it is found at the start |
//! | the target has the slot | nobody would serve it: **saved first**, and then the source is told |
//! | the source and others give it up | the target's claim is newer, and they hear of it again |
//!
//! A save that fails is tried again. Until it succeeds the node goes on as it was: no vote, no new role, no new slot.

use std::collections::{BTreeMap, BTreeSet};

use super::{Boot, Cluster};
use crate::bus::NodeFlags;
use crate::io::{Level, Output};
use crate::node_id::NodeId;
use crate::nodes::{Address, Names, Node, NodeKey, Nodes};
use crate::nodes_file::{Aux, NodeLine, NodesFile};
use crate::slots::SlotBitmap;

/// A save that has failed is tried again after this time, milliseconds.
const RETRY_MS: u64 = 1_000;

/// What is not urgent is saved this long after the last save for each node, and not longer than that, milliseconds.
const INTERVAL_PER_NODE_MS: u64 = 1;
const INTERVAL_MAX_MS: u64 = 1_000;

/// What will have company soon is saved after this time, milliseconds.
const LATER_MS: u64 = 20;

/// What follows a save.
#[derive(Debug)]
pub(super) enum Then {
    /// A vote leaves.
    Vote {
        /// For whom.
        node: NodeId,
        /// In which epoch.
        epoch: u64,
    },
    /// All are told what this node is now.
    Tell,
    /// Votes are asked for.
    AskForVotes {
        /// In which epoch.
        epoch: u64,
    },
    /// All nodes are told that this one is a replica. By themselves they ask it only once in a while, and in large clusters
    /// rarely, if others do.
    TellRole,
    /// The node serves as a master.
    Promote(Promotion),
}

/// A place that a replica has won.
#[derive(Debug)]
pub(super) struct Promotion {
    /// With which epoch.
    pub epoch: u64,
    /// Whose place it was.
    pub former: NodeId,
    /// It is not taken later than this.
    pub until: Option<Until>,
    /// Slots that others have taken meanwhile. Their keys are dropped as a master drops them, so that replicas do the same.
    pub lost: SlotBitmap,
}

/// How long a place can be taken, by the monotonic clock in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// So long the former master holds its clients. Later on the place can be taken if that one is down.
    ClientsGoOn(u64),
    /// So long those who have voted take the former master for failing. Later on it may serve again, with their consent.
    VotesEnd(u64),
}

/// What a node says of itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    /// None at the start, before there is a file.
    pub id: Option<NodeId>,
    pub master: Option<NodeId>,
    pub current_epoch: u64,
    pub config_epoch: u64,
    pub slots: SlotBitmap,
    /// Slots that it moves away. Clients are sent after the keys only from then on: after a restart it would not know where
    /// they are.
    pub migrating: BTreeSet<u16>,
}

impl Own {
    fn of(nodes: &Nodes, migrating: &BTreeMap<u16, NodeKey>, current_epoch: u64) -> Own {
        let me = nodes.me();
        Own {
            id: Some(me.id),
            master: me.master.map(|master| nodes[master].id).filter(|_| me.is_replica()),
            current_epoch,
            config_epoch: me.config_epoch,
            slots: me.slots().clone(),
            migrating: migrating.keys().copied().collect(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Saves {
    /// The version of the last save.
    version: u64,
    /// Whether something has changed since.
    is_due: bool,
    /// Whether somebody waits for that.
    is_urgent: bool,
    /// What is not urgent is not saved before this time.
    next_ms: u64,
    /// Not before this time, after a failure.
    retry_ms: Option<u64>,
    /// What is being saved.
    in_flight: Option<Own>,
    /// What is on disk.
    own: Own,
    waiting: Vec<(u64, Then)>,
}

impl Saves {
    /// Begins with what is on disk.
    pub fn begin(&mut self, nodes: &Nodes, migrating: &BTreeMap<u16, NodeKey>, current_epoch: u64) {
        self.own = Own::of(nodes, migrating, current_epoch);
    }

    /// Returns the place that this node takes when that is on disk.
    pub fn promotion(&mut self) -> Option<&mut Promotion> {
        self.waiting.iter_mut().find_map(|(_, then)| match then {
            Then::Promote(promotion) => Some(promotion),
            _ => None,
        })
    }

    /// Does not take that place.
    pub fn forgo_place(&mut self) {
        self.waiting.retain(|(_, then)| !matches!(then, Then::Promote(_)));
    }

    /// What the node says of itself.
    pub fn own(&self) -> &Own {
        &self.own
    }

    /// The slots of the node that are on disk.
    pub fn owned(&self) -> &SlotBitmap {
        &self.own.slots
    }

    /// Whether the node has won the place of its master, and that is not on disk yet.
    pub fn is_taking_over(&self) -> bool {
        self.waiting.iter().any(|(_, then)| matches!(then, Then::Promote(_)))
    }

    /// The version that will hold everything, if that is not on disk yet.
    pub fn pending(&self) -> Option<u64> {
        match (self.is_due, &self.in_flight) {
            (true, _) => Some(self.version + 1),
            (false, Some(_)) => Some(self.version),
            (false, None) => None,
        }
    }
}

impl Cluster {
    /// Notes that something on disk is out of date.
    pub(super) fn save_soon(&mut self) {
        self.saves.is_due = true;
    }

    /// Notes that something on disk is out of date, but that there may be more to save soon.
    pub(super) fn save_later(&mut self) {
        if !self.saves.is_due {
            self.saves.next_ms = self.saves.next_ms.max(self.now_ms() + LATER_MS);
        }
        self.saves.is_due = true;
    }

    /// Saves at once what has changed, if anything.
    pub(super) fn hurry_save(&mut self) {
        self.saves.is_urgent = true;
    }

    /// Saves, and does something when that has succeeded.
    pub(super) fn save_then(&mut self, then: Then) {
        self.saves.is_due = true;
        self.saves.waiting.push((self.saves.version + 1, then));
    }

    /// Saves what has changed, unless a save is under way.
    pub(super) fn save_if_due(&mut self) {
        let (saves, now) = (&self.saves, self.now_ms());
        if !saves.is_due || saves.in_flight.is_some() || saves.retry_ms.is_some() {
            return;
        }
        if now < saves.next_ms && !self.is_save_urgent() {
            return;
        }
        self.forgo_late_place();
        let interval = self.nodes.count() as u64 * INTERVAL_PER_NODE_MS;
        let saves = &mut self.saves;
        saves.next_ms = now + interval.min(INTERVAL_MAX_MS);
        (saves.is_due, saves.is_urgent) = (false, false);
        saves.version += 1;
        saves.in_flight = Some(Own::of(&self.nodes, &self.migrating, self.current_epoch));
        let version = saves.version;
        let mut text = Vec::new();
        self.file().write(&mut text);
        self.output(Output::Save { version, text });
    }

    /// Whether something waits for a save: a vote, the reply to a command, or what this node says of itself. A slot that it
    /// still claims does not: whoever has it now has a newer claim.
    fn is_save_urgent(&self) -> bool {
        let (own, me) = (&self.saves.own, self.nodes.me());
        let master = me.master.map(|master| self.nodes[master].id).filter(|_| me.is_replica());
        self.saves.is_urgent
            || !self.saves.waiting.is_empty()
            || (own.master, own.config_epoch) != (master, me.config_epoch)
            || !me.slots().difference(&own.slots).is_empty()
    }

    pub(super) fn retry_save(&mut self) {
        let now = self.now_ms();
        self.saves.retry_ms.take_if(|due| now >= *due);
    }

    pub(super) fn saved(&mut self, version: u64, result: Result<(), String>) {
        let Some(own) = self.saves.in_flight.take_if(|_| self.saves.version == version) else {
            return;
        };
        if let Err(error) = result {
            let text = format!(
                "The cluster's state cannot be saved: {error}. No vote and no change leaves until it is"
            );
            self.log(Level::Warning, text);
            self.saves.is_due = true;
            self.saves.retry_ms = Some(self.now_ms() + RETRY_MS);
            // A vote that is late is of no use; the others wait for the next save.
            self.saves.waiting.retain(|(_, then)| !matches!(then, Then::Vote { .. }));
            self.saves.waiting.iter_mut().for_each(|(due, _)| *due = version + 1);
            return;
        }
        self.saves.own = own;
        let waiting = std::mem::take(&mut self.saves.waiting);
        let (ready, waiting) = waiting.into_iter().partition(|(due, _)| *due <= version);
        self.saves.waiting = waiting;
        for (_, then) in ready {
            match then {
                Then::Tell => self.tell(|_| true),
                Then::Vote { node, epoch } => self.vote(&node, epoch),
                Then::AskForVotes { epoch } => self.ask_for_votes(epoch),
                Then::TellRole => self.tell(|_| true),
                Then::Promote(promotion) => self.promoted(promotion),
            }
        }
    }

    /// Returns the version of the state that a reply waits for, if something is not on disk yet.
    pub fn unsaved_version(&self) -> Option<u64> {
        self.saves.pending()
    }

    /// Returns the state as a file. Slots that their owner does not claim any more are nobody's there, and the epoch of another
    /// master is the one that it has claimed its slots with, as far as this node knows, though it may have a newer one: after
    /// a restart this node would tell their new owner, who may have them with a smaller epoch, that they are the old one's.
    pub fn file(&self) -> NodesFile {
        let known = self.nodes.iter().filter(|(_, node)| !node.is(NodeFlags::HANDSHAKE));
        let line = |key| {
            let (line, node) = (self.line(key), &self.nodes[key]);
            let config_epoch = match node.is_master() && !node.is(NodeFlags::MYSELF) {
                true => line.config_epoch.min(node.claimed_epoch),
                false => line.config_epoch,
            };
            NodeLine { slots: line.slots.difference(&self.unclaimed), config_epoch, ..line }
        };
        NodesFile {
            nodes: known.map(|(key, _)| line(key)).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
            won_epoch: self.won_epoch,
        }
    }

    /// Returns a node as a line of the file and of CLUSTER NODES.
    pub(super) fn line(&self, key: NodeKey) -> NodeLine {
        let node = &self.nodes[key];
        let is_me = node.is(NodeFlags::MYSELF);
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let moved = |slots: &BTreeMap<u16, NodeKey>| {
            let slots = slots.iter().filter(|_| is_me);
            slots.map(|(slot, other)| (*slot, self.nodes[*other].id)).collect()
        };
        let config_epoch = match node.master.filter(|_| node.is_replica()) {
            Some(master) => self.nodes[master].config_epoch,
            None => node.config_epoch,
        };
        NodeLine {
            id: node.expected.unwrap_or(node.id),
            ip: node.address.ip.clone(),
            port: node.address.port,
            bus_port: node.address.bus_port,
            hostname: text(&node.names.hostname),
            aux: Aux {
                shard_id: Some(node.shard),
                nodename: text(&node.names.human),
                tcp_port: None,
                tls_port: Some(node.address.tls_port),
                client_ipv4: text(&node.names.client_ipv4),
                client_ipv6: text(&node.names.client_ipv6),
            },
            flags: node.flags,
            master: node.master.filter(|_| node.is_replica()).map(|master| self.nodes[master].id),
            ping_sent_ms: node.ping_sent_ms.map_or(0, |at| self.wall_ms_of(at)),
            pong_received_ms: node.pong_ms.map_or(0, |at| self.wall_ms_of(at)),
            config_epoch,
            is_connected: is_me || self.has_open_link(key),
            slots: node.slots().clone(),
            migrating: moved(&self.migrating),
            importing: moved(&self.importing),
        }
    }

    pub(super) fn has_open_link(&self, key: NodeKey) -> bool {
        let link = self.nodes[key].link.and_then(|link| self.links.get(link));
        link.is_some_and(|link| link.is_open)
    }
}

/// What a node knows at its start.
pub(super) struct Loaded {
    pub nodes: Nodes,
    pub migrating: BTreeMap<u16, NodeKey>,
    pub importing: BTreeMap<u16, NodeKey>,
    pub current_epoch: u64,
    pub last_vote_epoch: u64,
    pub won_epoch: u64,
}

/// Takes what the state file says.
pub(super) fn load(boot: &Boot, now_ms: u64) -> Loaded {
    let mine = boot.file.as_ref().and_then(NodesFile::myself);
    let Some((file, mine)) = boot.file.as_ref().zip(mine) else {
        let flags = NodeFlags::MYSELF | NodeFlags::MASTER;
        return Loaded {
            nodes: Nodes::new(Node::new(boot.new_id, boot.new_shard, flags, now_ms)),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            current_epoch: 0,
            last_vote_epoch: 0,
            won_epoch: 0,
        };
    };
    let mut nodes = Nodes::new(node_of(mine, now_ms));
    let others = file.nodes.iter().filter(|line| line.id != mine.id);
    for line in others {
        nodes.add(node_of(line, now_ms));
    }
    for line in &file.nodes {
        let Some(key) = nodes.find(&line.id) else { continue };
        let master = line.master.as_ref().filter(|_| nodes[key].is_replica());
        nodes[key].master = master.and_then(|id| nodes.find(id)).filter(|master| *master != key);
        // A replica's slots are its master's to claim.
        let slots = line.slots.iter().filter(|_| nodes[key].is_master());
        slots.collect::<Vec<u16>>().into_iter().for_each(|slot| nodes.assign(slot, Some(key)));
    }
    load_myself(&mut nodes);
    for key in nodes.keys() {
        if let Some(master) = nodes[key].master {
            nodes[master].flags.set(NodeFlags::MIGRATE_TO, true);
            let shard = nodes[master].shard;
            nodes[key].shard = shard;
        }
    }
    let highest = nodes.iter().map(|(_, node)| node.config_epoch).max().unwrap_or(0);
    let moved = |slots: &[(u16, NodeId)]| {
        slots.iter().filter_map(|(slot, id)| Some((*slot, nodes.find(id)?))).collect()
    };
    Loaded {
        migrating: moved(&mine.migrating),
        importing: moved(&mine.importing),
        current_epoch: file.current_epoch.max(highest),
        last_vote_epoch: file.last_vote_epoch,
        won_epoch: file.won_epoch,
        nodes,
    }
}

/// Keeps what a node can be itself: a replica of a known master, or a master.
fn load_myself(nodes: &mut Nodes) {
    let me = nodes.me_mut();
    let is_replica = me.is_replica() && me.master.is_some();
    let role = if is_replica { NodeFlags::REPLICA } else { NodeFlags::MASTER };
    me.flags = NodeFlags::MYSELF | role;
}

fn node_of(line: &NodeLine, now_ms: u64) -> Node {
    let mut node = Node::new(line.id, line.aux.shard_id.unwrap_or(line.id), line.flags, now_ms);
    let (port, tls_port) = line.client_ports(false);
    node.address = Address { ip: line.ip.clone(), port, tls_port, bus_port: line.bus_port };
    node.names = Names {
        hostname: line.hostname.clone().unwrap_or_default(),
        human: line.aux.nodename.clone().unwrap_or_default(),
        client_ipv4: line.aux.client_ipv4.clone().unwrap_or_default(),
        client_ipv6: line.aux.client_ipv6.clone().unwrap_or_default(),
    };
    // The line of a replica has that of its master.
    node.config_epoch = if node.is_replica() { 0 } else { line.config_epoch };
    node.claimed_epoch = node.config_epoch;
    if node.is(NodeFlags::FAIL) {
        node.failed_ms = now_ms;
    }
    node
}
