//! Cluster mode: carries the machine's connections, its state and its orders to the node and back.
//!
//! The machine ([`russet_cluster`]) decides everything about nodes and slots; this part has no opinion. What it owns is in
//! between:
//!
//! ```text
//!   links     a connection of the bus     ◀─▶ a connection of the node, split into messages
//!   saves     a version of nodes.conf     ◀─▶ a request to the driver
//!   waiting   replies that must not be sent before a version is on disk
//!   steps     moves of slots that replicas must have before they are carried out here
//!   hand-over a replica that is asked to take over before a shutdown
//!   redirect  a command and its keys       ─▶ served here, or where else
//! ```

mod hand_over;
mod links;
mod open_slots;
pub(crate) mod redirect;
pub(crate) mod slot_steps;
mod state;

use russet_cluster::{
    Announced, Boot, Cluster as Machine, Data, Input, Level as Severity, NodeId, Now, Output,
    Route, Settings, SlotBitmap,
};
use russet_protocol::slot::slot_of;

use crate::clients::subscriptions::Kind;
use crate::clients::{Clients, LinkOwner};
use crate::config::Config;
use crate::core::{ClusterOrder, Core, Order};
use crate::io::Level;
use crate::journal_file::JournalFile;
use crate::pubsub::PubSub;
use crate::repl::link::MasterLink;
use crate::timers::Timer;

/// The part.
#[derive(Default)]
pub struct Cluster {
    machine: Option<Box<Machine>>,
    path: String,
    links: links::Links,
    saves: state::Saves,
    journal_file: JournalFile,
    slot_orders: slot_steps::SlotOrders,
    /// The master that the machine wants to be followed.
    follows: Option<(String, u16)>,
    hand_over: Option<hand_over::HandOver>,
    /// Whether this process has been connected to a master: before, nobody knows how old its data is.
    has_synced: bool,
    /// Slots that were lost while data was loaded: their keys are deleted when it is.
    lost_while_loading: SlotBitmap,
    /// The slots that this node's shard had when that was last looked at.
    shard_slots: SlotBitmap,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("links", &self.links).finish_non_exhaustive()
    }
}

/// What the part acts on.
pub(crate) struct World<'a> {
    /// The shared state.
    pub core: &'a mut Core,
    /// The connections.
    pub clients: &'a mut Clients,
    /// The subscribers.
    pub pubsub: &'a mut PubSub,
    /// How far the node's data is.
    pub data: Data,
}

fn now(world: &World<'_>) -> Now {
    let now = world.core.now;
    Now { mono_ms: now.mono_ms(), wall_ms: now.wall_ms(), data: world.data }
}

/// The shortest timeout, milliseconds. Nodes look at each other ten times a second, so with less than this a node that
/// answers at once would be suspected, and a master would stop serving, in between.
const NODE_TIMEOUT_MIN_MS: u64 = 500;

/// Returns what an operator has set.
fn settings(config: &Config) -> Settings {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Settings {
        node_timeout_ms: config.cluster_node_timeout.max(NODE_TIMEOUT_MIN_MS),
        port: config.port,
        tls_port: 0,
        bus_port: config.bus_port(),
        announced: Announced {
            ip: text(&config.cluster_announce_ip),
            port: config.cluster_announce_port,
            tls_port: config.cluster_announce_tls_port,
            bus_port: config.cluster_announce_bus_port,
            hostname: text(&config.cluster_announce_hostname),
            human_nodename: text(&config.cluster_announce_human_nodename),
            client_ipv4: text(&config.cluster_announce_client_ipv4),
            client_ipv6: text(&config.cluster_announce_client_ipv6),
        },
        replica_validity_factor: config.cluster_replica_validity_factor.into(),
        replica_ping_ms: u64::from(config.repl_ping_replica_period) * 1000,
        migration_barrier: config.cluster_migration_barrier as usize,
        allow_replica_migration: config.cluster_allow_replica_migration,
        no_failover: config.cluster_replica_no_failover,
        require_full_coverage: config.cluster_require_full_coverage,
        blacklist_ttl_ms: config.cluster_blacklist_ttl.saturating_mul(1000),
        manual_failover_ms: config.cluster_manual_failover_timeout.into(),
        ping_interval_ms: match config.cluster_ping_interval {
            0 => Settings::default().ping_interval_ms,
            interval => interval,
        },
    }
}

/// Returns a new name of a node or shard.
pub(crate) fn new_id(core: &mut Core) -> NodeId {
    NodeId::parse(core.ids.hex40().as_bytes()).expect("40 lowercase hexadecimal digits")
}

impl Cluster {
    /// Joins the cluster.
    pub(crate) fn begin_at_start(&mut self, world: &mut World<'_>) {
        let Some(start) = world.core.boot.cluster.take() else { return };
        let boot = Boot {
            seed: world.core.rng.draw(),
            new_id: new_id(world.core),
            new_shard: new_id(world.core),
            file: start.file,
            journal: start.journal,
            #[cfg(feature = "injected")]
            bug: world.core.boot.cluster_bug,
            #[cfg(not(feature = "injected"))]
            bug: None,
        };
        self.path = start.path;
        self.set_secret(world);
        let settings = settings(&world.core.config);
        self.machine = Some(Box::new(Machine::new(settings, boot, now(world))));
        self.carry_out(world);
    }

    /// Notes slots that were lost while data was loaded: their keys are deleted when it is.
    pub(crate) fn lose_while_loading(&mut self, slots: &SlotBitmap) {
        self.lost_while_loading = self.lost_while_loading.union(slots);
    }

    /// Returns these slots.
    pub(crate) fn lost_while_loading(&self) -> &SlotBitmap {
        &self.lost_while_loading
    }

    /// Takes them, but not those that were got back.
    pub(crate) fn take_lost_while_loading(&mut self) -> Vec<u16> {
        let slots = std::mem::take(&mut self.lost_while_loading);
        let Some(machine) = self.machine() else { return Vec::new() };
        let nodes = machine.nodes();
        let is_mine = |slot: &u16| nodes.owner(*slot) == Some(nodes.my_key());
        slots.iter().filter(|slot| !machine.is_replica() && !is_mine(slot)).collect()
    }

    /// Returns the machine, in cluster mode.
    #[inline]
    pub fn machine(&self) -> Option<&Machine> {
        self.machine.as_deref()
    }

    /// Returns how far the node's data is, by what replication says.
    pub(crate) fn note_data(
        &mut self,
        offset: i64,
        link: Option<&MasterLink>,
        now_us: u64,
    ) -> Data {
        // The link to a former master says nothing of the new one.
        let follows = self.follows.as_ref();
        let link = link.filter(|link| follows.is_some_and(|it| link.is_to(&it.0, it.1)));
        let silent_us = link.map_or(0, |link| link.state(now_us).1);
        let is_connected = link.is_some_and(MasterLink::has_been_online);
        self.has_synced |= is_connected;
        Data {
            offset: u64::try_from(offset).unwrap_or(0),
            is_connected,
            silent_ms: self.has_synced.then_some(silent_us / 1000),
        }
    }

    /// Calls the machine, and carries out what it wants.
    pub(crate) fn call<T>(
        &mut self,
        world: &mut World<'_>,
        call: impl FnOnce(&mut Machine, Now) -> T,
    ) -> Option<T> {
        let now = now(world);
        let result = call(self.machine.as_deref_mut()?, now);
        self.carry_out(world);
        Some(result)
    }

    fn handle(&mut self, world: &mut World<'_>, input: Input<'_>) {
        self.call(world, |machine, now| machine.handle(now, input));
    }

    /// Handles that its timer is due.
    pub(crate) fn tick(&mut self, world: &mut World<'_>) {
        if let Some(machine) = &self.machine {
            self.journal_file.write_if_due(world.core, &self.path, || machine.journal_text());
        }
        self.handle(world, Input::Tick);
    }

    /// Takes changed settings.
    pub(crate) fn configure(&mut self, world: &mut World<'_>) {
        let settings = settings(&world.core.config);
        self.set_secret(world);
        self.call(world, |machine, now| machine.set(now, settings));
    }

    /// Carries out what the machine wants, and sets the timer.
    fn carry_out(&mut self, world: &mut World<'_>) {
        while let Some(output) = self.machine.as_deref_mut().and_then(Machine::poll_output) {
            self.output(world, output);
        }
        self.note_slots(world);
        self.note_replaced(world);
        if let Some(machine) = &self.machine {
            let due_us = machine.next_due().saturating_mul(1000).min(self.journal_file.due_us());
            world.core.timers.set(Timer::Cluster, due_us);
        }
    }

    /// Notes which slots this node's shard has: its master's, if it is a replica, which has the shard channels in them too.
    fn note_slots(&mut self, world: &mut World<'_>) {
        let Some(machine) = self.machine.as_deref() else { return };
        let nodes = machine.nodes();
        let me = nodes.me();
        let owner = me.master.filter(|_| me.is_replica()).unwrap_or(nodes.my_key());
        let slots = nodes[owner].slots();
        if *slots == self.shard_slots {
            return;
        }
        if let Some(stats) = &mut world.core.stats.slots {
            let (gained, lost) =
                (slots.difference(&self.shard_slots), self.shard_slots.difference(slots));
            gained.iter().chain(lost.iter()).for_each(|slot| stats.reset(slot));
        }
        if world.pubsub.names(Kind::Shard).len() > 0 {
            let stays = |channel: &[u8]| {
                let slot = slot_of(channel);
                slots.contains(slot) || matches!(machine.route(slot), Route::Importing { .. })
            };
            world.pubsub.end_shard_channels(world.core, world.clients, &stays);
        }
        self.shard_slots = slots.clone();
    }

    fn output(&mut self, world: &mut World<'_>, output: Output) {
        let World { core, clients, pubsub, .. } = world;
        let order = |core: &mut Core, order| core.order(Order::Cluster(order));
        match output {
            Output::Connect { link, host, port } => {
                let handle = clients.connect(core, LinkOwner::Bus, &host, port);
                self.links.add(link, handle);
            }
            Output::Send { link, bytes } => self.send(world, link, bytes),
            Output::Close { link } => {
                if let Some(handle) = self.links.remove(link) {
                    clients.drop_without_flush(core, handle);
                }
            }
            Output::Save { version, text } => self.save(core, version, text),
            Output::SaveJournal => self.journal_file.is_new(core.now.mono_us),
            Output::Follow { host, port } => {
                self.follows = Some((host.clone(), port));
                order(core, ClusterOrder::Follow { host, port });
            }
            Output::Promote => order(core, ClusterOrder::Promote),
            Output::DropKeys { slots } => order(core, ClusterOrder::DropKeys(slots)),
            Output::PauseWrites { ms } => order(core, ClusterOrder::PauseWrites(ms)),
            Output::ResumeWrites => order(core, ClusterOrder::ResumeWrites),
            // No client waits for a key yet.
            Output::SlotsChanged => {}
            Output::Publish { is_sharded, channel, message } => match is_sharded {
                true => _ = pubsub.publish_to_shard(core, clients, &channel, &message),
                false => _ = pubsub.publish(core, clients, &channel, &message),
            },
            Output::Log { level, text } => core.log(level_of(level), text),
        }
    }
}

fn level_of(level: Severity) -> Level {
    match level {
        Severity::Debug => Level::Debug,
        Severity::Verbose => Level::Verbose,
        Severity::Notice => Level::Notice,
        Severity::Warning => Level::Warning,
    }
}
