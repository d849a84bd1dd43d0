//! Received messages.
//!
//! The bus is an open door to whoever can reach its port, so what a message may change depends on who sent it:
//!
//! | sender | what it may change |
//! |---|---|
//! | a node of the cluster, on a connection that is known to be its | everything that is its to say |
//! | a stranger with MEET | the table of handshakes, which is bounded |
//! | any other stranger | nothing; a PING is answered |
//! | somebody with our own name | nothing; it is not answered |
//! | somebody with a name that is not the connection's | nothing; the connection is closed |

use super::Cluster;
use crate::bus::{self, Header, Message, MessageFlags, NodeFlags, Ping, PingKind, SlotsUpdate};
use crate::injected::Bug;
use crate::io::{Level, LinkId, Output};
use crate::node_id::NodeId;
use crate::nodes::{Address, Node, NodeKey};

/// Higher epochs are not believed: one more must always be possible.
const EPOCH_MAX: u64 = 1 << 62;

/// How many handshakes there may be at once.
pub(super) const HANDSHAKES_MAX: usize = 1024;

impl Cluster {
    pub(super) fn received(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(known) = self.links.get(link) else { return };
        let bound = known.node;
        let received = match bus::decode(bytes) {
            Ok(received) => received,
            Err(error) => {
                self.log(Level::Verbose, format!("Passing over a message of the bus: {error}"));
                return;
            }
        };
        let kind = bus::type_of(bytes);
        if let Some(count) = self.stats.received.get_mut(kind) {
            *count += 1;
        }
        if self.is_lost(link, kind) {
            return;
        }
        let Some(header) = received.header else {
            return self.received_light(link, bound, received.message);
        };
        if header.sender == self.my_id() {
            return self.received_own_name(link, bound);
        }
        if header.current_epoch.max(header.config_epoch) > EPOCH_MAX {
            self.log(Level::Warning, format!("Node {} claims an impossible epoch", header.sender));
            return self.close(link);
        }
        let sender = match self.sender(link, bound, &header) {
            Ok(sender) => sender,
            Err(()) => return self.close(link),
        };
        if let Some(sender) = sender {
            self.bind_inbound(link, sender);
            // Whoever has slots with an epoch knows of that one, too.
            let node = &self.nodes[sender];
            if header.current_epoch < node.told_epoch.max(node.config_epoch) {
                return self.received_outdated(link, sender, &header, &received.message);
            }
            self.note_sender(sender, &header);
        }
        match (received.message, sender) {
            (Message::Ping(ping), sender) => self.received_ping(link, sender, &header, &ping),
            (_, None) => {}
            (Message::Fail(id), Some(sender)) => {
                if let Some(about) = self.find_known(&id) {
                    self.told_failed(sender, about);
                }
            }
            (Message::Publish(publish), Some(_)) => self.deliver(&publish),
            (Message::AuthRequest, Some(sender)) => self.consider_vote(sender, &header),
            (Message::AuthAck, Some(sender)) => self.count_vote(sender, header.current_epoch),
            (Message::Update(update), Some(_)) => self.told_slots(&update),
            (Message::MfStart, Some(sender)) => self.asked_to_pause(link, sender),
            (Message::Module, Some(_)) => {}
        }
    }

    /// A message that was sent before another one which has been read: the connections between two nodes overtake each other,
    /// most of all when one of the nodes was stopped. It shows that the sender is there, but what it says of itself and of others
    /// is not true any more, and a node that has another role or master by now would be given the old one back.
    fn received_outdated(
        &mut self,
        link: LinkId,
        sender: NodeKey,
        header: &Header,
        message: &Message<'_>,
    ) {
        self.nodes[sender].heard_ms = self.now.mono_ms;
        match message {
            Message::Ping(ping) if ping.kind != PingKind::Pong => {
                self.answer(link, Some(sender), header);
            }
            Message::Ping(ping) if self.nodes[sender].link == Some(link) => {
                self.has_answered(sender, link, &ping.gossip);
            }
            Message::Publish(publish) => self.deliver(publish),
            _ => {}
        }
    }

    /// A node with our name: we have met ourselves, or somebody has copied the state file. It is not answered, so that its
    /// handshake ends by itself; closing the connection would make it try again at once.
    fn received_own_name(&mut self, link: LinkId, bound: Option<NodeKey>) {
        let text = "A node with the name of this one has sent a message".to_owned();
        self.log(Level::Verbose, text);
        match bound.filter(|key| self.nodes[*key].is(NodeFlags::HANDSHAKE)) {
            Some(key) => self.remove_node(key),
            None if self.links.get(link).is_some_and(|link| !link.is_inbound) => self.close(link),
            None => {}
        }
    }

    /// A message without a header is of the node that the connection is known to belong to.
    fn received_light(&mut self, link: LinkId, bound: Option<NodeKey>, message: Message<'_>) {
        let sender = bound.filter(|key| !self.nodes[*key].is(NodeFlags::HANDSHAKE));
        let (Some(sender), Message::Publish(publish)) = (sender, message) else {
            return self.close(link);
        };
        self.nodes[sender].heard_ms = self.now.mono_ms;
        self.deliver(&publish);
    }

    fn deliver(&mut self, publish: &bus::Publish<'_>) {
        self.output(Output::Publish {
            is_sharded: publish.is_sharded,
            channel: publish.channel.to_vec(),
            message: publish.message.to_vec(),
        });
    }

    /// Returns the node that has sent a message, if it is one of the cluster. Fails if it cannot have sent it.
    fn sender(
        &mut self,
        link: LinkId,
        bound: Option<NodeKey>,
        header: &Header,
    ) -> Result<Option<NodeKey>, ()> {
        let Some(key) = bound.filter(|key| !self.nodes[*key].is(NodeFlags::HANDSHAKE)) else {
            return Ok(self.find_known(&header.sender));
        };
        if self.nodes[key].id == header.sender {
            return Ok(Some(key));
        }
        let is_inbound = self.links.get(link).is_some_and(|link| link.is_inbound);
        let label = self.nodes[key].label();
        let text =
            format!("PONG contains mismatching sender ID. About node {label}, {}", header.sender);
        self.log(Level::Notice, text);
        if !is_inbound {
            // Somebody else is there now.
            let node = &mut self.nodes[key];
            node.flags.set(NodeFlags::NO_ADDRESS, true);
            node.address = Address::default();
            self.save_soon();
        }
        Err(())
    }

    /// Notes what each message says of a node of the cluster.
    fn note_sender(&mut self, sender: NodeKey, header: &Header) {
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.save_soon();
        }
        let now = self.now.mono_ms;
        let node = &mut self.nodes[sender];
        node.heard_ms = now;
        node.told_epoch = header.current_epoch;
        node.offset = header.offset;
        let (extensions, light) = (NodeFlags::EXTENSIONS, NodeFlags::LIGHT_HEADERS);
        node.flags.set(light, header.flags.has(light));
        if header.message_flags.has(MessageFlags::EXTENSIONS) {
            node.flags.set(extensions, true);
        }
        if header.master.is_none() && header.config_epoch > node.config_epoch {
            node.config_epoch = header.config_epoch;
            self.save_soon();
        }
    }

    fn received_ping(
        &mut self,
        link: LinkId,
        sender: Option<NodeKey>,
        header: &Header,
        ping: &Ping<'_>,
    ) {
        if let Some(sender) = sender.filter(|_| header.master.is_none()) {
            self.correct(sender, link, header);
        }
        if ping.kind != PingKind::Pong {
            self.learn_own_ip(link, ping.kind);
            if sender.is_none() && ping.kind == PingKind::Meet {
                self.met(link, header, ping);
            }
            self.answer(link, sender, header);
        }
        let is_inbound = self.links.get(link).is_some_and(|link| link.is_inbound);
        let bound = self.links.get(link).and_then(|link| link.node);
        let mut sender = sender;
        if !is_inbound
            && let Some(key) = bound
            && self.nodes[key].is(NodeFlags::HANDSHAKE)
        {
            match sender {
                // It was known already, so this was to find out whether it is there.
                Some(known) => {
                    self.update_address(known, link, header);
                    return self.remove_node(key);
                }
                // It takes the name of another handshake, which this node has made up.
                None if self.nodes.find(&header.sender).is_some() => return self.remove_node(key),
                None if self.nodes[key].expected.is_some_and(|id| id != header.sender) => {
                    return self.remove_node(key);
                }
                None => {
                    self.complete_handshake(key, header);
                    sender = Some(key);
                    self.note_sender(key, header);
                }
            }
        }
        let Some(sender) = sender else { return };
        let node = &mut self.nodes[sender];
        node.flags.set(NodeFlags::NO_FAILOVER, header.flags.has(NodeFlags::NO_FAILOVER));
        node.flags.set(NodeFlags::MEET, false);
        if is_inbound && ping.kind == PingKind::Ping {
            self.update_address(sender, link, header);
        }
        if !is_inbound && ping.kind == PingKind::Pong {
            let asked_ms = self.has_answered(sender, link, &ping.gossip);
            if header.message_flags.has(MessageFlags::PAUSED) {
                self.told_paused_offset(link, sender, header.offset, asked_ms);
            }
        }
        let was_replica = self.nodes[sender].is_replica();
        self.update_role(sender, header);
        if self.nodes.me().master == Some(sender) {
            self.leave_chain();
        }
        if header.master.is_none() {
            if was_replica || *self.nodes[sender].slots() != header.slots {
                self.apply_claims(sender, header.config_epoch, &header.slots);
                self.note_unclaimed(sender, &header.slots);
                self.note_source(sender, &header.slots);
            } else {
                self.note_claimed(sender, header.config_epoch, &header.slots);
            }
            self.resolve_collision(sender, header.config_epoch, &header.slots);
        }
        self.read_gossip(sender, &ping.gossip);
        self.read_extensions(sender, &ping.extensions);
    }

    /// Learns our address from a peer that has reached us by it.
    fn learn_own_ip(&mut self, link: LinkId, kind: PingKind) {
        if !self.settings.announced.ip.is_empty() {
            return;
        }
        let known = self.nodes.me().address.ip.clone();
        let local = self.links.get(link).and_then(|link| link.local);
        let Some(local) = local.filter(|_| kind == PingKind::Meet || known.is_empty()) else {
            return;
        };
        let local = local.to_string();
        if local != known {
            self.log(Level::Notice, format!("IP address for this node updated to {local}"));
            self.nodes.me_mut().address.ip = local;
            self.save_soon();
        }
    }

    /// Begins a handshake with a stranger that asks for it.
    fn met(&mut self, link: LinkId, header: &Header, ping: &Ping<'_>) {
        let Some(address) = self.address_of(link, header) else { return };
        if let Some(key) = self.begin_handshake(address, None, false) {
            let has_extensions = header.message_flags.has(MessageFlags::EXTENSIONS);
            self.nodes[key].flags.set(NodeFlags::EXTENSIONS, has_extensions);
        }
        // Whoever asks for a handshake is believed to know nodes of the same cluster.
        self.meet_gossiped(&ping.gossip);
    }

    /// Begins a handshake with whoever is at an address. None if one is under way, or there are too many.
    ///
    /// `expected`: its name, if it is known.
    pub(super) fn begin_handshake(
        &mut self,
        address: Address,
        expected: Option<NodeId>,
        is_meet: bool,
    ) -> Option<NodeKey> {
        if self.handshakes.len() >= HANDSHAKES_MAX
            || self.has_handshake(&address.ip, address.bus_port)
        {
            return None;
        }
        let place = place_of(&address.ip, address.bus_port);
        let id = NodeId::parse(&self.rng.hex40())?;
        let mut node = Node::new(id, id, NodeFlags::HANDSHAKE, self.now_ms());
        node.flags.set(NodeFlags::MEET, is_meet);
        (node.address, node.expected) = (address, expected);
        let key = self.nodes.add(node)?;
        self.handshakes.insert(place);
        self.connect(key);
        Some(key)
    }

    /// Ends a handshake, if there is one: it has succeeded, or the node is removed.
    pub(super) fn end_handshake(&mut self, key: NodeKey) {
        let node = &self.nodes[key];
        if node.is(NodeFlags::HANDSHAKE) {
            self.handshakes.remove(&place_of(&node.address.ip, node.address.bus_port));
        }
    }

    /// Whether there is a handshake with whoever is at an address.
    pub(super) fn has_handshake(&self, ip: &str, bus_port: u16) -> bool {
        self.handshakes.contains(&place_of(ip, bus_port))
    }

    fn complete_handshake(&mut self, key: NodeKey, header: &Header) {
        self.end_handshake(key);
        self.nodes.rename(key, header.sender);
        // An operator has introduced it again; others need not forget it because of this node any more.
        self.blacklist.remove(&header.sender);
        let node = &mut self.nodes[key];
        node.expected = None;
        node.flags.set(NodeFlags::HANDSHAKE, false);
        node.flags.set(NodeFlags::MASTER, header.master.is_none());
        node.flags.set(NodeFlags::REPLICA, header.master.is_some());
        // As a stranger it may have been answered.
        node.assured_ms = self.now.mono_ms;
        // Until it says otherwise, it is a shard of its own.
        node.shard = header.sender;
        self.log(Level::Debug, format!("Handshake with node {} completed.", header.sender));
        self.timers.learned_ms = Some(self.now.mono_ms).filter(|_| !self.has_bug(Bug::StockRules));
        self.save_soon();
    }

    /// Where a sender is by what it announces and by its connection.
    fn address_of(&self, link: LinkId, header: &Header) -> Option<Address> {
        let peer = self.links.get(link)?.peer;
        let ip = header.ip.clone().or_else(|| Some(peer?.to_string()))?;
        let (port, tls_port) = (header.port, header.second_port);
        Some(Address { ip, port, tls_port, bus_port: header.bus_port })
    }

    fn update_address(&mut self, key: NodeKey, link: LinkId, header: &Header) {
        let Some(address) = self.address_of(link, header) else { return };
        let node = &self.nodes[key];
        if self.nodes[key].link == Some(link) || (node.address == address && node.is_known()) {
            return;
        }
        self.set_address(key, address);
    }

    /// Notes that a node is somewhere else.
    pub(super) fn set_address(&mut self, key: NodeKey, address: Address) {
        let is_moved = (&self.nodes[key].address.ip, self.nodes[key].address.port)
            != (&address.ip, address.port);
        let text = format!(
            "Address updated for node {}, now {}:{}",
            self.nodes[key].label(),
            address.ip,
            address.port
        );
        self.log(Level::Notice, text);
        let node = &mut self.nodes[key];
        node.address = address;
        node.tried_ms = 0;
        node.flags.set(NodeFlags::NO_ADDRESS, false);
        if let Some(link) = node.link {
            self.close(link);
        }
        if is_moved && self.nodes.me().master == Some(key) {
            self.follow_master();
        }
        self.save_soon();
    }

    /// Handles news of the slots of a node, which somebody sends to one that claims them.
    fn told_slots(&mut self, update: &SlotsUpdate) {
        let Some(key) = self.find_known(&update.node) else { return };
        let node = &self.nodes[key];
        let is_old = node.config_epoch > update.config_epoch;
        let is_known = node.claimed_epoch >= update.config_epoch;
        if key == self.nodes.my_key() || is_old || is_known || update.config_epoch > EPOCH_MAX {
            return;
        }
        if self.nodes[key].is_replica() {
            self.set_as_master(key);
        }
        self.nodes[key].config_epoch = update.config_epoch;
        self.save_soon();
        // That it has let others go is not its own word: who says so may have heard already to whom a slot is moved.
        self.apply_claims(key, update.config_epoch, &update.slots);
        self.note_unclaimed(key, &update.slots);
    }
}

/// Returns a number for an address. Two that have the same one wait for each other's handshake, no more.
fn place_of(ip: &str, bus_port: u16) -> (u16, u64) {
    // FNV-1a.
    let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    (bus_port, ip.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
}
