//! Connections: two for each pair of nodes. A node asks on the one that it has opened, and answers on the other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Cluster;
use crate::bus::{self, NodeFlags};
use crate::injected::Bug;
use crate::io::{Level, LinkId, Output};
use crate::nodes::NodeKey;

/// How many connections of strangers there may be.
const STRANGERS_MAX: usize = 1024;

/// A node that does not answer is connected to no more often than this, milliseconds: with a hundred of them, trying at
/// each check would be most of what a node does. One that is back connects to this one.
const RETRY_MS: u64 = 1_000;

/// A connection that is not open after this time, milliseconds, or on which nothing is answered for so long, is not waited
/// for if the node has just opened one of its own.
const STALLED_MS: u64 = 250;

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Link {
    /// Since when there is one.
    pub created_ms: u64,
    /// The same by the wall clock, to be shown.
    pub created_wall_ms: i64,
    /// Whether it is open.
    pub is_open: bool,
    /// Whether the peer has opened it.
    pub is_inbound: bool,
    /// The node at its other end, if that is known.
    pub node: Option<NodeKey>,
    /// Our address.
    pub local: Option<IpAddr>,
    /// The peer's address.
    pub peer: Option<IpAddr>,
    /// What was asked on it.
    pub asked: Asked,
}

/// Questions on a connection, which are answered in their order. One at a time is timed: it has been answered when there
/// are as many answers as there were questions with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    questions: u64,
    answers: u64,
    /// The number of the timed question, and when it was asked.
    timed: Option<(u64, u64)>,
}

impl Asked {
    pub fn asked(&mut self, now_ms: u64) {
        self.questions += 1;
        self.timed.get_or_insert((self.questions, now_ms));
    }

    /// Returns the number of the last question.
    pub fn questions(&self) -> u64 {
        self.questions
    }

    /// Returns the number of questions that were answered.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// Counts an answer. Returns when the question was asked, if it is the timed one.
    pub fn answered(&mut self) -> Option<u64> {
        self.answers += 1;
        let answers = self.answers;
        self.timed.take_if(|(number, _)| *number <= answers).map(|(_, asked_ms)| asked_ms)
    }
}

#[derive(Debug, Default)]
pub(super) struct Links {
    links: BTreeMap<LinkId, Link>,
    /// Those whose other end is not known.
    strangers: BTreeSet<LinkId>,
    last_id: u64,
}

impl Links {
    pub fn next_id(&mut self) -> LinkId {
        self.last_id += 1;
        LinkId(self.last_id)
    }

    pub fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }
}

impl Cluster {
    pub(super) fn accepted(&mut self, id: LinkId, local: Option<IpAddr>, peer: Option<IpAddr>) {
        if self.links.strangers.len() >= STRANGERS_MAX {
            self.output(Output::Close { link: id });
            return;
        }
        let link = Link {
            created_ms: self.now_ms(),
            created_wall_ms: self.now.wall_ms,
            is_open: true,
            is_inbound: true,
            node: None,
            local,
            peer,
            asked: Asked::default(),
        };
        self.links.links.insert(id, link);
        self.links.strangers.insert(id);
    }

    /// Opens a connection to a node.
    pub(super) fn connect(&mut self, key: NodeKey) {
        let id = self.links.next_id();
        let link = Link {
            created_ms: self.now_ms(),
            created_wall_ms: self.now.wall_ms,
            is_open: false,
            is_inbound: false,
            node: Some(key),
            local: None,
            peer: None,
            asked: Asked::default(),
        };
        self.links.links.insert(id, link);
        let now = self.now_ms();
        let node = &mut self.nodes[key];
        (node.link, node.tried_ms) = (Some(id), now);
        let (host, port) = (node.address.ip.clone(), node.address.bus_port);
        self.output(Output::Connect { link: id, host, port });
    }

    pub(super) fn connected(&mut self, id: LinkId, local: Option<IpAddr>, peer: Option<IpAddr>) {
        let Some(link) = self.links.links.get_mut(&id) else { return };
        (link.is_open, link.local, link.peer) = (true, local, peer);
        let Some(key) = link.node else { return };
        // The first message asks. What the node owed before, it still owes.
        let owed_since = self.nodes[key].ping_sent_ms;
        self.send_first_ping(id, key);
        if owed_since.is_some() {
            self.nodes[key].ping_sent_ms = owed_since;
        }
    }

    pub(super) fn not_connected(&mut self, id: LinkId, error: &str) {
        let Some(link) = self.links.links.remove(&id) else { return };
        let Some(key) = link.node else { return };
        let owes_from_now = !self.has_bug(Bug::StockRules);
        let node = &mut self.nodes[key];
        node.link.take_if(|link| *link == id);
        // It owes an answer from when it was first asked for one.
        if owes_from_now {
            node.ping_sent_ms.get_or_insert(self.now.mono_ms);
        }
        let text = format!(
            "Unable to connect to Cluster Node [{}]:{} -> {error}",
            node.address.ip, node.address.bus_port
        );
        self.log(Level::Debug, text);
    }

    pub(super) fn closed(&mut self, id: LinkId) {
        self.unlink(id);
    }

    /// Closes a connection.
    pub(super) fn close(&mut self, id: LinkId) {
        if self.unlink(id) {
            self.output(Output::Close { link: id });
        }
    }

    fn unlink(&mut self, id: LinkId) -> bool {
        let Some(link) = self.links.links.remove(&id) else { return false };
        self.links.strangers.remove(&id);
        let owes_from_now = !self.has_bug(Bug::StockRules);
        if let Some(key) = link.node {
            let node = &mut self.nodes[key];
            if node.link == Some(id) {
                node.link = None;
                // Silence counts from here: a process that has ended closes its connections at once.
                if owes_from_now {
                    node.ping_sent_ms.get_or_insert(self.now.mono_ms);
                }
            }
            node.inbound.take_if(|inbound| *inbound == id);
        }
        true
    }

    /// Notes which node has opened a connection, by its first message.
    pub(super) fn bind_inbound(&mut self, id: LinkId, key: NodeKey) {
        let Some(link) = self.links.links.get_mut(&id) else { return };
        if !link.is_inbound || link.node.is_some() {
            return;
        }
        link.node = Some(key);
        self.links.strangers.remove(&id);
        if let Some(old) = self.nodes[key].inbound.replace(id) {
            // The peer has opened another one, so it has given this one up.
            self.links.links.remove(&old);
            self.output(Output::Close { link: old });
        }
        if !self.nodes[key].is_known() {
            return;
        }
        // It is there, so it can be asked.
        match self.nodes[key].link {
            None => self.connect(key),
            Some(own) if self.is_stalled(key, own) => {
                self.close(own);
                self.connect(key);
            }
            Some(_) => {}
        }
    }

    /// Whether our connection to a node has not been of use for a while. Where packets were lost, TCP tries again after
    /// pauses that grow to seconds; when the node has got through to this one, there is no need to wait for that.
    fn is_stalled(&self, key: NodeKey, own: LinkId) -> bool {
        let Some(link) = self.links.get(own).filter(|_| !self.has_bug(Bug::StockRules)) else {
            return false;
        };
        let is_old = self.now.mono_ms.saturating_sub(link.created_ms) > STALLED_MS;
        is_old && (!link.is_open || self.owes_answer(key, STALLED_MS))
    }

    /// Closes connections that are of no use: strangers that say nothing, and nodes that do not answer on an old one.
    pub(super) fn tend_links(&mut self) {
        let (now, timeout) = (self.now_ms(), self.settings.node_timeout_ms);
        let handshake_ms = timeout.max(1000);
        let is_idle = |id: &&LinkId| {
            let link = self.links.get(**id);
            link.is_some_and(|link| now.saturating_sub(link.created_ms) > handshake_ms)
        };
        let strangers: Vec<LinkId> = self.links.strangers.iter().filter(is_idle).copied().collect();
        strangers.into_iter().for_each(|id| self.close(id));
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            if node.is(NodeFlags::MYSELF) || node.is(NodeFlags::NO_ADDRESS) {
                continue;
            }
            if node.is(NodeFlags::HANDSHAKE) && now.saturating_sub(node.created_ms) > handshake_ms {
                self.remove_node(key);
                continue;
            }
            let Some(id) = node.link else {
                let is_late = now.saturating_sub(node.tried_ms) >= RETRY_MS;
                if !node.is_failing() || is_late || self.has_bug(Bug::StockRules) {
                    self.connect(key);
                }
                continue;
            };
            // The connection may be what is broken: half of the timeout is left for another one.
            let is_old = |link: &Link| now.saturating_sub(link.created_ms) > timeout;
            let is_useless = self.is_silent(key, timeout / 2) || self.owes_answer(key, timeout);
            if is_useless && self.links.get(id).is_some_and(is_old) {
                self.close(id);
            }
        }
    }

    /// Whether a node has owed an answer for longer than this, whatever else it has sent.
    fn owes_answer(&self, key: NodeKey, ms: u64) -> bool {
        let since = self.nodes[key].ping_sent_ms;
        since.is_some_and(|since| self.now.mono_ms.saturating_sub(since) > ms)
    }

    /// Whether a node has owed an answer for longer than this, and sent nothing else.
    pub(super) fn is_silent(&self, key: NodeKey, ms: u64) -> bool {
        let node = &self.nodes[key];
        let since = node.ping_sent_ms.map(|sent| sent.max(node.heard_ms));
        since.is_some_and(|since| self.now.mono_ms.saturating_sub(since) > ms)
    }

    /// Sends a message on a connection, if that is open.
    pub(super) fn send(&mut self, id: LinkId, bytes: Vec<u8>) {
        if self.links.get(id).is_some_and(|link| link.is_open) {
            if let Some(count) = self.stats.sent.get_mut(bus::type_of(&bytes)) {
                *count += 1;
            }
            self.output(Output::Send { link: id, bytes });
        }
    }
}
