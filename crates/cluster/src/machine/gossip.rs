//! PING, PONG and MEET: what they are sent with, and what is believed of what they say of others.

use std::collections::BTreeSet;

use super::Cluster;
use crate::bus::{
    self, Extensions, Forgotten, GossipEntry, Header, MessageFlags, NodeFlags, PingKind,
};
use crate::io::{Level, LinkId};
use crate::node_id::NodeId;
use crate::nodes::{Address, Node, NodeKey};

/// At least so many nodes are talked of, if there are so many; in a large cluster a tenth of all.
///
/// Within two timeouts a node exchanges four messages with every other, so that a tenth of the nodes' messages that have
/// an entry of each node with a tenth's chance bring reports of a majority together within that time.
const GOSSIP_MIN: usize = 3;

/// A forgotten node is told of for so long at most, seconds.
const FORGOTTEN_SECS_MAX: u64 = 60 * 60 * 24 * 7;

impl Cluster {
    /// Returns what every message says of this node. What must be on disk first is as it is there.
    pub(super) fn header(&self) -> Header {
        let me = self.nodes.me();
        let announced = &self.settings.announced;
        let own = self.saves.own();
        let (config_epoch, slots) = match own.master {
            None => (own.config_epoch, own.slots.clone()),
            // A replica says what it knows of its master.
            Some(id) => match self.nodes.find(&id) {
                Some(key) => (self.nodes[key].config_epoch, self.nodes[key].slots().clone()),
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
        let names = crate::nodes::Names {
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

    /// Chooses what to say of others: some at random, and all that are suspected.
    fn choose_gossip(&mut self, to: Option<NodeKey>) -> Vec<NodeKey> {
        let wanted =
            (self.nodes.count() / 10).max(GOSSIP_MIN).min(self.nodes.count().saturating_sub(2));
        let mut chosen: Vec<NodeKey> = Vec::with_capacity(wanted);
        let places = self.nodes.places();
        let mut is_chosen = vec![false; usize::try_from(places).unwrap_or(0)];
        for _ in 0..wanted * 3 {
            if chosen.len() == wanted {
                break;
            }
            let place = self.rng.below(places);
            let Some((key, node)) = self.nodes.at_place(place) else { continue };
            let is_useful = node.is_known() && (node.link.is_some() || node.slot_count() > 0);
            let is_excluded =
                node.is(NodeFlags::MYSELF) || node.is(NodeFlags::PFAIL) || Some(key) == to;
            // It is one of the places.
            let is_chosen = &mut is_chosen[place as usize];
            if is_useful && !is_excluded && !std::mem::replace(is_chosen, true) {
                chosen.push(key);
            }
        }
        if self.nodes.suspected() > 0 {
            let suspected =
                self.nodes.iter().filter(|(_, node)| node.is_known() && node.is(NodeFlags::PFAIL));
            chosen.extend(suspected.map(|(key, _)| key));
        }
        chosen
    }

    fn gossip_entry(&self, key: NodeKey) -> GossipEntry<'_> {
        let node = &self.nodes[key];
        let secs = |mono: Option<u64>| {
            mono.map_or(0, |mono| u32::try_from(self.wall_ms_of(mono) / 1000).unwrap_or(u32::MAX))
        };
        GossipEntry {
            node: node.id,
            ping_sent_secs: secs(node.ping_sent_ms),
            pong_received_secs: secs(node.pong_ms),
            ip: Some(node.address.ip.as_str()).filter(|ip| !ip.is_empty()),
            port: node.address.port,
            second_port: node.address.tls_port,
            bus_port: node.address.bus_port,
            flags: node.flags,
        }
    }

    /// Tells a node that it is taken to be down. Stock servers pass over what is said of themselves.
    fn denial(&self, to: NodeKey) -> GossipEntry<'_> {
        let entry = self.gossip_entry(to);
        GossipEntry { flags: entry.flags | NodeFlags::FAIL, ..entry }
    }

    /// Returns the wall clock's time of an instant of the monotonic clock, as far as one can say.
    pub(super) fn wall_ms_of(&self, mono_ms: u64) -> u64 {
        let ago = self.now.mono_ms.saturating_sub(mono_ms);
        u64::try_from(self.now.wall_ms).unwrap_or(0).saturating_sub(ago)
    }

    fn extensions(&self) -> Extensions {
        let me = self.nodes.me();
        let text = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let forgotten = self.blacklist.iter().map(|(id, until)| Forgotten {
            node: *id,
            ttl_secs: until.saturating_sub(self.now.mono_ms) / 1000,
        });
        Extensions {
            hostname: text(&me.names.hostname),
            human_nodename: text(&me.names.human),
            forgotten: forgotten.collect(),
            shard: Some(me.shard),
            client_ipv4: text(&me.names.client_ipv4),
            client_ipv6: text(&me.names.client_ipv6),
        }
    }

    pub(super) fn read_extensions(&mut self, sender: NodeKey, extensions: &Extensions) {
        if *extensions == Extensions::default() {
            // The sender did not know yet that this node understands them, or does not know them itself.
            return;
        }
        let node = &mut self.nodes[sender];
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let names = crate::nodes::Names {
            hostname: text(&extensions.hostname),
            human: text(&extensions.human_nodename),
            client_ipv4: text(&extensions.client_ipv4),
            client_ipv6: text(&extensions.client_ipv6),
        };
        let mut is_new = node.names != names;
        node.names = names;
        // A replica is in its master's shard, whatever it says, as soon as its master is known.
        let master_shard = node.master.map(|master| self.nodes[master].shard);
        if let Some(shard) = master_shard.or(extensions.shard) {
            is_new |= self.set_shard(sender, shard);
        }
        if is_new {
            self.save_soon();
        }
        for forgotten in &extensions.forgotten {
            self.told_to_forget(sender, forgotten);
        }
    }

    /// Sets the shard of a node, and of its replicas. Returns whether it is new.
    pub(super) fn set_shard(&mut self, key: NodeKey, shard: NodeId) -> bool {
        let is_new = std::mem::replace(&mut self.nodes[key].shard, shard) != shard;
        if is_new && self.nodes[key].is_master() {
            let replicas: Vec<NodeKey> = self.nodes.replicas(key).map(|(key, _)| key).collect();
            replicas.into_iter().for_each(|replica| self.nodes[replica].shard = shard);
        }
        is_new
    }

    /// Forgets a node that another was told to forget.
    fn told_to_forget(&mut self, sender: NodeKey, forgotten: &Forgotten) {
        let Some(key) = self.find_known(&forgotten.node) else { return };
        let is_mine = key == self.nodes.my_key() || self.nodes.me().master == Some(key);
        let ttl_ms = forgotten.ttl_secs.min(FORGOTTEN_SECS_MAX) * 1000;
        let is_over = ttl_ms == 0 || self.blacklist.contains_key(&forgotten.node);
        if is_mine || key == sender || is_over {
            return;
        }
        self.blacklist.insert(forgotten.node, self.now.mono_ms + ttl_ms);
        let text = format!(
            "Forgetting node {} as {} was told to",
            forgotten.node,
            self.nodes[sender].label()
        );
        self.log(Level::Notice, text);
        self.remove_node(key);
    }

    /// Reads what a node of the cluster says of others.
    pub(super) fn read_gossip(&mut self, sender: NodeKey, entries: &[GossipEntry<'_>]) {
        for entry in entries {
            match self.nodes.find(&entry.node) {
                // See the essay in `standing`.
                Some(key) if key == self.nodes.my_key() || key == sender => {}
                // Its name is not real, so nobody can know it.
                Some(key) if self.nodes[key].is(NodeFlags::HANDSHAKE) => {}
                Some(key) => self.read_known(sender, key, entry),
                None => self.meet_entry(entry),
            }
        }
    }

    /// Meets nodes that a stranger talks of.
    pub(super) fn meet_gossiped(&mut self, entries: &[GossipEntry<'_>]) {
        for entry in entries {
            if self.nodes.find(&entry.node).is_none() {
                self.meet_entry(entry);
            }
        }
    }

    fn meet_entry(&mut self, entry: &GossipEntry<'_>) {
        let is_known =
            !entry.flags.has(NodeFlags::NO_ADDRESS) && !entry.flags.has(NodeFlags::HANDSHAKE);
        if is_known
            && !entry.ip.is_some_and(|ip| self.has_handshake(ip, entry.bus_port))
            && !self.blacklist.contains_key(&entry.node)
            && let Some(address) = address_of(entry)
        {
            self.begin_handshake(address, Some(entry.node), false);
        }
    }

    fn read_known(&mut self, sender: NodeKey, key: NodeKey, entry: &GossipEntry<'_>) {
        let is_failing = entry.flags.has(NodeFlags::FAIL) || entry.flags.has(NodeFlags::PFAIL);
        if self.nodes[sender].votes() {
            self.report(key, sender, is_failing);
        }
        if is_failing {
            return;
        }
        let node = &self.nodes[key];
        if node.ping_sent_ms.is_none() && node.reports.is_empty() {
            self.believe_pong(key, entry.pong_received_secs);
        }
        // What does not answer here may have moved to where another reaches it.
        let node = &self.nodes[key];
        if node.is_failing()
            && let Some(address) = address_of(entry)
            && node.address != address
        {
            self.set_address(key, address);
        }
    }

    /// Believes that a node has answered another, which saves asking it. The clocks of the two are compared, so an answer
    /// in the future is not believed.
    fn believe_pong(&mut self, key: NodeKey, wall_secs: u32) {
        let now_wall = u64::try_from(self.now.wall_ms).unwrap_or(0);
        let wall_ms = u64::from(wall_secs) * 1000;
        if wall_ms > now_wall + 500 {
            return;
        }
        let mono = self.now.mono_ms.saturating_sub(now_wall.saturating_sub(wall_ms));
        let node = &mut self.nodes[key];
        node.pong_ms = node.pong_ms.max(Some(mono));
    }

    /// Sends a message of a client to the subscribers at other nodes: of all, or of this shard.
    pub fn publish(
        &mut self,
        now: crate::io::Now,
        is_sharded: bool,
        channel: &[u8],
        message: &[u8],
    ) {
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
        let with_epochs = owners.iter().filter_map(|key| Some((*key, self.epoch_on_disk(*key)?)));
        let newest = with_epochs.max_by_key(|(_, epoch)| *epoch);
        let newest_epoch = newest.map(|(_, epoch)| epoch);
        self.nodes[sender].is_contested = newest_epoch == Some(header.config_epoch);
        let newer = newest.filter(|(_, epoch)| *epoch > header.config_epoch);
        let Some((owner, _)) = newer else { return };
        let Some(config_epoch) = self.epoch_on_disk(owner) else { return };
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

    /// Returns the epoch of a master's slots. This node's own claims leave only when they are on disk.
    fn epoch_on_disk(&self, key: NodeKey) -> Option<u64> {
        let own = self.saves.own();
        match key == self.nodes.my_key() {
            true => own.master.is_none().then_some(own.config_epoch),
            false => Some(self.nodes[key].config_epoch),
        }
    }
}

fn address_of(entry: &GossipEntry<'_>) -> Option<Address> {
    let ip = entry.ip.filter(|ip| !ip.is_empty())?.to_owned();
    let (port, tls_port, bus_port) = (entry.port, entry.second_port, entry.bus_port);
    (bus_port != 0).then_some(Address { ip, port, tls_port, bus_port })
}
