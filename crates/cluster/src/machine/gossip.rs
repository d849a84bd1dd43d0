//! What messages say of other nodes, and what is believed of it.

use super::Cluster;
use crate::bus::{Extensions, Forgotten, GossipEntry, NodeFlags};
use crate::io::Level;
use crate::node_id::NodeId;
use crate::nodes::{Address, NodeKey};

/// At least so many nodes are talked of, if there are so many; in a large cluster a tenth of all.
///
/// Within two timeouts a node exchanges four messages with every other, so that a tenth of the nodes' messages that have
/// an entry of each node with a tenth's chance bring reports of a majority together within that time.
const GOSSIP_MIN: usize = 3;

/// A forgotten node is told of for so long at most, seconds.
const FORGOTTEN_SECS_MAX: u64 = 60 * 60 * 24 * 7;

impl Cluster {
    /// Chooses what to say of others: some at random, and all that are suspected.
    pub(super) fn choose_gossip(&mut self, to: Option<NodeKey>) -> Vec<NodeKey> {
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

    pub(super) fn gossip_entry(&self, key: NodeKey) -> GossipEntry<'_> {
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
    pub(super) fn denial(&self, to: NodeKey) -> GossipEntry<'_> {
        let entry = self.gossip_entry(to);
        GossipEntry { flags: entry.flags | NodeFlags::FAIL, ..entry }
    }

    /// Returns the wall clock's time of an instant of the monotonic clock, as far as one can say.
    pub(super) fn wall_ms_of(&self, mono_ms: u64) -> u64 {
        let ago = self.now.mono_ms.saturating_sub(mono_ms);
        u64::try_from(self.now.wall_ms).unwrap_or(0).saturating_sub(ago)
    }

    pub(super) fn extensions(&self) -> Extensions {
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
        if is_new && shard == self.nodes.me().shard {
            // What it claims from now on, it claims as this node's successor.
            self.arrivals.forget_node(key);
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
}

fn address_of(entry: &GossipEntry<'_>) -> Option<Address> {
    let ip = entry.ip.filter(|ip| !ip.is_empty())?.to_owned();
    let (port, tls_port, bus_port) = (entry.port, entry.second_port, entry.bus_port);
    (bus_port != 0).then_some(Address { ip, port, tls_port, bus_port })
}
