//! The machine: what a node of a cluster believes, decides and says.

mod arrivals;
mod claims;
mod commands;
mod debug;
mod election;
mod failure;
mod gossip;
mod journal;
mod links;
mod manual;
mod moves;
mod persist;
mod receive;
mod relocation;
mod role;
mod send;
mod standing;
mod timers;
mod view;
mod vote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub use commands::{CommandError, Reset};
pub use debug::Direction;
pub use manual::Takeover;
pub use moves::SlotStep;
pub use view::{LinkView, OpenSlot, SlotRange, Successor};

use crate::bus::NodeFlags;
use crate::injected::Bug;
use crate::io::{Input, Level, LinkId, Now, Output, Route};
use crate::node_id::NodeId;
use crate::nodes::{Node, NodeKey, Nodes};
use crate::nodes_file::NodesFile;
use crate::rng::Rng;
use crate::settings::Settings;
use crate::slots::SlotBitmap;

/// What a node starts with.
#[derive(Debug)]
pub struct Boot {
    /// Determines every random choice.
    pub seed: u64,
    /// The name of a node without a state file.
    pub new_id: NodeId,
    /// The shard of a node without a state file.
    pub new_shard: NodeId,
    /// The state file, if there is one.
    pub file: Option<NodesFile>,
    /// The file of the journal, as the last run has left it.
    pub journal: Vec<u8>,
    /// A bug to inject.
    pub bug: Option<Bug>,
}

/// A node of a cluster. See the crate's documentation.
#[derive(Debug)]
pub struct Cluster {
    now: Now,
    settings: Settings,
    rng: Rng,
    bug: Option<Bug>,
    nodes: Nodes,
    /// Slots that are moved away, with who takes them.
    migrating: BTreeMap<u16, NodeKey>,
    /// Slots that are moved here, with who has them.
    importing: BTreeMap<u16, NodeKey>,
    /// What is not certain of them.
    arrivals: arrivals::Arrivals,
    /// Slots that their owner does not claim any more.
    unclaimed: SlotBitmap,
    current_epoch: u64,
    last_vote_epoch: u64,
    /// The last epoch that this node got with the place of its master.
    won_epoch: u64,
    /// Whom the last vote was for, since the start.
    voted_for: Option<NodeId>,
    /// Forgotten nodes that are not accepted again, and until when.
    blacklist: BTreeMap<NodeId, u64>,
    /// Where the nodes are with which the first messages are being exchanged: ports of the bus and hashes of addresses.
    handshakes: BTreeSet<(u16, u64)>,
    links: links::Links,
    standing: standing::Standing,
    election: election::Election,
    /// The node that has the last slot of this replica's master, and when this replica goes there.
    leaving: Option<(NodeId, u64)>,
    /// Since when this node and another replicate each other.
    circle_ms: Option<u64>,
    manual: manual::Manual,
    /// The data of this replica is that of another shard, until it has been connected to its master.
    has_foreign_data: bool,
    saves: persist::Saves,
    timers: timers::Timers,
    /// Slots that a command is served for without another look.
    served: SlotBitmap,
    /// Reports of failures count from this time on: this node was stopped before.
    reports_count_ms: u64,
    stats: Stats,
    events: journal::Events,
    lost: debug::Lost,
    outputs: VecDeque<Output>,
}

/// Counts of messages by type, in the order of their numbers, and other statistics.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Messages sent.
    pub sent: [u64; 11],
    /// Messages received.
    pub received: [u64; 11],
    /// Links closed because of the limit of their buffer; counted by the driver.
    pub links_over_limit: u64,
    /// Links closed since the peer did not prove that it has the bus secret; counted by the driver.
    pub links_unproved: u64,
}

impl Cluster {
    /// Creates a node.
    pub fn new(settings: Settings, boot: Boot, now: Now) -> Cluster {
        let is_new = boot.file.is_none();
        let loaded = persist::load(&boot, now.mono_ms);
        let mut cluster = Cluster {
            now,
            rng: Rng::new(boot.seed),
            bug: boot.bug,
            nodes: loaded.nodes,
            migrating: loaded.migrating,
            importing: loaded.importing,
            arrivals: arrivals::Arrivals::default(),
            unclaimed: SlotBitmap::default(),
            current_epoch: loaded.current_epoch,
            last_vote_epoch: loaded.last_vote_epoch,
            won_epoch: loaded.won_epoch,
            voted_for: None,
            blacklist: BTreeMap::new(),
            handshakes: BTreeSet::new(),
            links: links::Links::default(),
            standing: standing::Standing::new(now.mono_ms),
            election: election::Election::default(),
            leaving: None,
            circle_ms: None,
            manual: manual::Manual::default(),
            has_foreign_data: false,
            saves: persist::Saves::default(),
            timers: timers::Timers::default(),
            served: SlotBitmap::default(),
            reports_count_ms: 0,
            stats: Stats::default(),
            events: journal::Events::read(&boot.journal),
            lost: debug::Lost::default(),
            outputs: VecDeque::new(),
            settings,
        };
        cluster.nodes.take_moved();
        cluster.announce_settings();
        cluster.saves.begin(&cluster.nodes, &cluster.migrating, cluster.current_epoch);
        if is_new {
            cluster.log(
                Level::Notice,
                format!("No cluster configuration found, I'm {}", cluster.my_id()),
            );
            cluster.save_soon();
        } else {
            cluster
                .log(Level::Notice, format!("Node configuration loaded, I'm {}", cluster.my_id()));
        }
        if cluster.nodes.me().is_replica() {
            cluster.follow_master();
        }
        cluster.finish();
        cluster
    }

    /// Handles an event.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.begin(now);
        match input {
            Input::Accepted { link, local, peer } => self.accepted(link, local, peer),
            Input::Connected { link, local, peer } => self.connected(link, local, peer),
            Input::NotConnected { link, error } => self.not_connected(link, &error),
            Input::Closed { link } => self.closed(link),
            Input::Message { link, bytes } => self.received(link, bytes),
            Input::Saved { version, result } => self.saved(version, result),
            Input::Tick => self.tick(),
        }
        self.finish();
    }

    /// Begins an event or a command: what has happened since the last one is that time has passed.
    fn begin(&mut self, now: Now) {
        let before = std::mem::replace(&mut self.now, now);
        self.notice_pause(before.mono_ms);
        self.note_data();
    }

    /// Ends an event or a command: what follows from it is done.
    fn finish(&mut self) {
        self.check_election();
        self.take_given_up();
        self.note_moved_slots();
        self.update_standing();
        self.confirm_no_successor();
        self.save_if_due();
        self.save_journal();
        self.refresh_served();
        self.nodes.settle();
    }

    /// Takes the next output.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Returns when [`Input::Tick`] is due, in milliseconds of the monotonic clock.
    pub fn next_due(&self) -> u64 {
        self.timers.next_due(self.now.mono_ms, &self.election, &self.manual, &self.standing)
    }

    /// Returns a number for a connection that the driver has accepted.
    pub fn next_link(&mut self) -> LinkId {
        self.links.next_id()
    }

    /// Returns the node's name.
    pub fn my_id(&self) -> NodeId {
        self.nodes.me().id
    }

    /// Returns the nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// Returns the settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Changes the settings.
    pub fn set(&mut self, now: Now, settings: Settings) {
        self.begin(now);
        self.settings = settings;
        self.announce_settings();
        self.finish();
    }

    /// Whether commands for a slot are served here without another look.
    #[inline]
    pub fn serves(&self, slot: u16) -> bool {
        self.served.contains(slot)
    }

    /// Whether the cluster is up in the view of this node.
    pub fn is_ok(&self) -> bool {
        self.standing.is_ok()
    }

    /// Whether this node is a replica.
    pub fn is_replica(&self) -> bool {
        self.nodes.me().is_replica()
    }

    /// Returns where commands for a slot are served, whether the cluster is up or not.
    pub fn route(&self, slot: u16) -> Route {
        let Some(key) = self.nodes.owner(slot) else { return Route::Unassigned };
        let owner = self.nodes[key].id;
        if key == self.nodes.my_key() {
            return match self.migrating.get(&slot) {
                _ if self.saves.is_taking_over() => Route::Unassigned,
                Some(to) if self.saves.own().migrating.contains(&slot) => {
                    Route::Migrating { to: self.nodes[*to].id }
                }
                _ => Route::Here,
            };
        }
        if self.importing.contains_key(&slot) {
            return Route::Importing { owner };
        }
        match self.nodes.me().master == Some(key) && self.is_replica() {
            true => Route::Replicated { owner },
            false => Route::Elsewhere { owner },
        }
    }

    fn refresh_served(&mut self) {
        let serves = self.is_ok() && self.nodes.me().is_master();
        // Slots that an operator gives are served at once; those that a vote gives, when that is on disk.
        let serves = serves && !self.saves.is_taking_over();
        let is_unchanged = match serves {
            true => self.served == *self.nodes.me().slots(),
            false => self.served.is_empty(),
        };
        if is_unchanged && self.migrating.is_empty() {
            return;
        }
        let mut served = match serves {
            true => self.nodes.me().slots().clone(),
            false => SlotBitmap::default(),
        };
        for slot in self.migrating.keys() {
            served.remove(*slot);
        }
        if served != self.served {
            self.served = served;
            self.outputs.push_back(Output::SlotsChanged);
        }
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }

    fn log(&mut self, level: Level, text: String) {
        self.outputs.push_back(Output::Log { level, text });
    }

    /// Whether this bug is injected.
    pub fn has_bug(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn now_ms(&self) -> u64 {
        self.now.mono_ms
    }

    /// Returns a node by name, if it has exchanged the first messages.
    fn find_known(&self, id: &NodeId) -> Option<NodeKey> {
        self.nodes.find(id).filter(|key| !self.nodes[*key].is(NodeFlags::HANDSHAKE))
    }

    fn node(&self, key: NodeKey) -> &Node {
        &self.nodes[key]
    }

    /// Removes a node, with its connections and all that refers to it.
    fn remove_node(&mut self, key: NodeKey) {
        let links = [self.nodes[key].link, self.nodes[key].inbound];
        links.into_iter().flatten().for_each(|link| self.close(link));
        self.migrating.retain(|_, to| *to != key);
        self.importing.retain(|_, from| *from != key);
        self.arrivals.forget_node(key);
        self.end_handshake(key);
        self.election.forget(key);
        self.manual.forget(key);
        self.nodes.remove(key);
        self.save_soon();
    }
}
