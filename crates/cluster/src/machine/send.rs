//! Sending: what this node says of itself, questions, answers, news to all, messages of clients, and corrections.

use std::collections::BTreeSet;

use super::Cluster;
use crate::bus::{self, Extensions, Header, MessageFlags, NodeFlags, PingKind};
use crate::io::{Level, LinkId, Now};
use crate::nodes::{Address, Names, Node, NodeKey};

impl Cluster {
    /// Returns what every message says of this node. What must be on disk first is as it is there.
    pub(super) fn header(&self) -> Header {
        let me = self.nodes.me();
        let announced = &self.settings.announced;
        let own = self.saves.own();
        let (config_epoch, slots) = match own.master {
            None => (own.config_epoch, own.slots.clone()),
            // A replica says what it would take of its master: voters look whether that is still so.
            Some(id) => match self.nodes.find(&id) {
                Some(key) => (self.nodes[key].config_epoch, self.heritage(key)),
                None => (own.config_epoch, Default::default()),
            },
        };
        let mut flags = NodeFlags::MYSELF | NodeFlags::LIGHT_HEADERS;
        flags |= if own.master.is_none() { NodeFlags::MASTER } else { NodeFlags::REPLICA };
        flags.set(NodeFlags::NO_FAILOVER, self.settings.no_failover);
        let mut message_flags = MessageFlags::default();
        message_flags.set(MessageFlags::PAUSED, self.manual.has_paused());
        Header {
            sender: own.id.unwrap_or(me.id),
            current_epoch: own.current_epoch,
            config_epoch,
            // An offset in the stream of another shard would count as more, or less, than it is.
            offset: self.offset_in_shard(self.now.data.offset),
            slots,
            master: own.master,
            ip: Some(announced.ip.clone()).filter(|ip| !ip.is_empty()),
            port: me.address.port,
            second_port: me.address.tls_port,
            bus_port: me.address.bus_port,
            flags,
            is_cluster_ok: self.is_ok(),
            message_flags,
        }
    }

    /// Takes what the settings say of this node.
    pub(super) fn announce_settings(&mut self) {
        let settings = &self.settings;
        let announced = &settings.announced;
        let or = |announced: u16, port: u16| if announced == 0 { port } else { announced };
        let me = self.nodes.me();
        let ip = match announced.ip.is_empty() {
            true => me.address.ip.clone(),
            false => announced.ip.clone(),
        };
        let address = Address {
            ip,
            port: or(announced.port, settings.port),
            tls_port: or(announced.tls_port, settings.tls_port),
            bus_port: or(announced.bus_port, settings.bus_port),
        };
        let names = Names {
            hostname: announced.hostname.clone(),
            human: announced.human_nodename.clone(),
            client_ipv4: announced.client_ipv4.clone(),
            client_ipv6: announced.client_ipv6.clone(),
        };
        let no_failover = settings.no_failover;
        let me = self.nodes.me_mut();
        let is_new = me.address != address || me.names != names;
        (me.address, me.names) = (address, names);
        me.flags.set(NodeFlags::NO_FAILOVER, no_failover);
        if is_new {
            self.save_soon();
        }
    }

    /// Asks a node, or tells it something, on our connection to it.
    pub(super) fn ping(&mut self, key: NodeKey, kind: PingKind) {
        if kind != PingKind::Pong {
            let now = self.now_ms();
            self.nodes[key].ping_sent_ms.get_or_insert(now);
        }
        if let Some(link) = self.nodes[key].link {
            let has_extensions = self.nodes[key].is(NodeFlags::EXTENSIONS);
            self.send_ping(link, Some(key), kind, has_extensions);
        }
    }

    /// Sends the first message on a connection.
    pub(super) fn send_first_ping(&mut self, link: LinkId, key: NodeKey) {
        let is_meet = self.nodes[key].is(NodeFlags::MEET);
        let kind = if is_meet { PingKind::Meet } else { PingKind::Ping };
        self.nodes[key].ping_sent_ms = Some(self.now.mono_ms);
        // Extensions are for those that understand them; a stock server says so in its answer.
        let has_extensions = self.nodes[key].is(NodeFlags::EXTENSIONS);
        self.send_ping(link, Some(key), kind, has_extensions);
    }

    /// Answers a PING or MEET.
    pub(super) fn answer(&mut self, link: LinkId, sender: Option<NodeKey>, header: &Header) {
        let has_extensions = header.message_flags.has(MessageFlags::EXTENSIONS)
            || sender.is_some_and(|key| self.nodes[key].is(NodeFlags::EXTENSIONS));
        self.send_ping(link, sender, PingKind::Pong, has_extensions);
    }

    /// Tells nodes about this one, without asking for an answer. Of others nothing is said, so it is short, and the same
    /// for all that understand extensions.
    pub(super) fn tell(&mut self, whom: impl Fn(&Node) -> bool) {
        let mut header = self.header();
        header.message_flags.set(MessageFlags::EXTENSIONS, true);
        let (mut plain, mut extended) = (Vec::new(), Vec::new());
        bus::write_ping(&mut plain, &header, PingKind::Pong, &[], &Extensions::default());
        bus::write_ping(&mut extended, &header, PingKind::Pong, &[], &self.extensions());
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let is_other = !node.is(NodeFlags::MYSELF) && !node.is(NodeFlags::HANDSHAKE);
            if let Some(link) = node.link.filter(|_| is_other && whom(node)) {
                let bytes = if node.is(NodeFlags::EXTENSIONS) { &extended } else { &plain };
                self.send(link, bytes.clone());
            }
        }
    }

    pub(super) fn send_ping(
        &mut self,
        link: LinkId,
        to: Option<NodeKey>,
        kind: PingKind,
        has_extensions: bool,
    ) {
        let now = self.now_ms();
        let Some(known) = self.links.get_mut(link).filter(|link| link.is_open) else { return };
        if kind != PingKind::Pong && !known.is_inbound {
            known.asked.asked(now);
        }
        let chosen = self.choose_gossip(to);
        let denied = to.filter(|to| self.denies(*to));
        if let Some(to) = to.filter(|_| kind == PingKind::Pong && denied.is_none()) {
            self.nodes[to].assured_ms = now;
        }
        let mut gossip: Vec<_> = chosen.into_iter().map(|key| self.gossip_entry(key)).collect();
        gossip.extend(denied.map(|to| self.denial(to)));
        let extensions = if has_extensions { self.extensions() } else { Extensions::default() };
        let mut header = self.header();
        // Also without any: the peer may send some.
        header.message_flags.set(MessageFlags::EXTENSIONS, true);
        let mut bytes = Vec::new();
        bus::write_ping(&mut bytes, &header, kind, &gossip, &extensions);
        self.send(link, bytes);
    }

    /// Sends a message to every node.
    pub(super) fn broadcast(&mut self, bytes: &[u8]) {
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            if node.is(NodeFlags::MYSELF) || node.is(NodeFlags::HANDSHAKE) {
                continue;
            }
            if let Some(link) = node.link {
                self.send(link, bytes.to_vec());
            }
        }
    }

    /// Sends a message of a client to the subscribers at other nodes: of all, or of this shard.
    pub fn publish(&mut self, now: Now, is_sharded: bool, channel: &[u8], message: &[u8]) {
        self.begin(now);
        let publish = bus::Publish { is_sharded, channel, message };
        let (mut full, mut light) = (Vec::new(), Vec::new());
        let header = self.header();
        let fits = bus::write_publish(&mut full, &header, &publish)
            && bus::write_publish_light(&mut light, &publish);
        for key in self.nodes.keys() {
            let node = &self.nodes[key];
            let is_other = !node.is(NodeFlags::MYSELF) && node.is_known();
            let is_receiver = !is_sharded || self.nodes.share_shard(key, self.nodes.my_key());
            if !fits || !is_other || !is_receiver {
                continue;
            }
            let bytes = if node.is(NodeFlags::LIGHT_HEADERS) { &light } else { &full };
            if let Some(link) = node.link {
                self.send(link, bytes.clone());
            }
        }
        self.finish();
    }

    /// Tells a node that claims slots of others who has them, on the connection that it has claimed them on: so it knows
    /// before it is answered.
    pub(super) fn correct(&mut self, sender: NodeKey, link: LinkId, header: &Header) {
        if self.has_bug(crate::injected::Bug::NoUpdate) {
            return;
        }
        let claimed = header.slots.difference(self.nodes[sender].slots());
        let claimed = claimed.difference(&self.unclaimed);
        let owners = claimed.iter().filter_map(|slot| self.nodes.owner(slot));
        let owners: BTreeSet<NodeKey> = owners.filter(|owner| *owner != sender).collect();
        let with_epochs = owners.iter().filter_map(|key| Some((*key, self.epoch_of_slots(*key)?)));
        let with_epochs: Vec<(NodeKey, u64)> = with_epochs.collect();
        let newest = with_epochs.iter().copied().max_by_key(|(_, epoch)| *epoch);
        // That it is corrected about some slots tells it nothing of the others.
        let is_contested = with_epochs.iter().any(|(_, epoch)| *epoch == header.config_epoch);
        self.nodes[sender].is_contested = is_contested;
        let newer = newest.filter(|(_, epoch)| *epoch > header.config_epoch);
        let Some((owner, _)) = newer else { return };
        let Some(config_epoch) = self.epoch_of_slots(owner) else { return };
        let node = &self.nodes[owner];
        let slots = match owner == self.nodes.my_key() {
            true => self.saves.owned().intersection(node.slots()),
            false => node.slots().difference(&self.unclaimed),
        };
        let update = bus::SlotsUpdate { node: node.id, config_epoch, slots };
        let text = format!(
            "Node {} has old slots configuration, sending an UPDATE message about {}",
            self.nodes[sender].id, node.id
        );
        self.log(Level::Verbose, text);
        let mut bytes = Vec::new();
        bus::write_update(&mut bytes, &self.header(), &update);
        self.send(link, bytes);
    }

    /// Returns the epoch with which a master has its slots. This node's own claims leave only when they are on disk, and of
    /// others it may know a newer epoch, but not what they have with it.
    fn epoch_of_slots(&self, key: NodeKey) -> Option<u64> {
        let own = self.saves.own();
        match key == self.nodes.my_key() {
            true => own.master.is_none().then_some(own.config_epoch),
            false => Some(self.nodes[key].claimed_epoch),
        }
    }
}
