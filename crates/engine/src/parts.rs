//! The parts of a node other than data and journal: connections, replication, persistence and so on.
//!
//! Each part is a struct in a file or folder of its own. Its methods take [`Core`](crate::core::Core)
//! and everything else they touch as arguments, so that a signature shows what a call may change.
//! For anything else a part queues an [`Order`](crate::core::Order).

use crate::blocking::Blocking;
use crate::busy::Busy;
use crate::clients::{Client, Clients};
use crate::cluster::{Cluster, World};
use crate::core::Core;
use crate::journal::Journal;
use crate::migrate::Migrate;
use crate::monitors::Monitors;
use crate::pause::Pause;
use crate::persist::aof::files::Aof;
use crate::persist::loading::Loading;
use crate::persist::saves::Saves;
use crate::persist::shutdown::Shutdown;
use crate::persist::snapshot::Snapshot;
use crate::pubsub::PubSub;
use crate::repl::failover::{Failover, Roles};
use crate::repl::following::Following;
use crate::repl::master::Master;
use crate::sentinel::Sentinel;
use crate::settings::Settings;
use crate::slowlog::SlowLog;

/// With `dynamic-hz`, the clients per run of the cron above which its frequency is doubled.
const CLIENTS_PER_RUN: usize = 200;

/// Maximum frequency of the cron per second.
const HZ_MAX: u32 = 500;

/// The parts.
#[derive(Debug)]
pub struct Parts {
    /// Connections.
    pub clients: Clients,
    /// Replication as a master: the replicas and their stream.
    pub master: Master,
    /// Replication as a replica: the master and the link to it.
    pub following: Following,
    /// FAILOVER.
    pub failover: Failover,
    /// Snapshots and the dump file.
    pub saves: Saves,
    /// The append-only file.
    pub aof: Aof,
    /// Loading of the dump file.
    pub loading: Loading,
    /// SHUTDOWN.
    pub shutdown: Shutdown,
    /// The masters that are watched, in Sentinel mode.
    pub sentinel: Sentinel,
    /// The nodes and slots of the cluster, in cluster mode.
    pub cluster: Cluster,
    /// MIGRATE.
    pub migrate: Migrate,
    /// Channels and their subscribers.
    pub pubsub: PubSub,
    /// Clients in monitor mode.
    pub monitors: Monitors,
    /// Commands that took long.
    pub slowlog: SlowLog,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Clients that wait for keys.
    pub blocking: Blocking,
    /// Activities during which not every command is admitted.
    pub busy: Busy,
    /// A running CONFIG SET, and other requests that commands wait for.
    pub settings: Settings,
    /// Whether active expiry is enabled (DEBUG SET-ACTIVE-EXPIRE).
    pub active_expire: bool,
    /// Whether the cron is paused (DEBUG PAUSE-CRON).
    pub cron_paused: bool,
}

impl Parts {
    /// Creates the parts of a new node.
    pub fn new(core: &mut Core) -> Parts {
        Parts {
            clients: Clients::default(),
            master: Master::new(core),
            following: Following::default(),
            failover: Failover::default(),
            saves: Saves::default(),
            aof: Aof::default(),
            loading: Loading::default(),
            shutdown: Shutdown::default(),
            sentinel: Sentinel::default(),
            cluster: Cluster::default(),
            migrate: Migrate::default(),
            pubsub: PubSub::default(),
            monitors: Monitors::default(),
            slowlog: SlowLog::default(),
            pause: Pause::default(),
            blocking: Blocking::default(),
            busy: Busy::default(),
            settings: Settings::default(),
            active_expire: true,
            cron_paused: false,
        }
    }

    /// Calls the cluster part with what it acts on.
    pub(crate) fn with_cluster<T>(
        &mut self,
        core: &mut Core,
        call: impl FnOnce(&mut Cluster, &mut World<'_>) -> T,
    ) -> T {
        let offset = self.offset_of_data();
        let Parts { cluster, clients, pubsub, following, .. } = self;
        let data = cluster.note_data(offset, following.master(), core.now.mono_us);
        call(cluster, &mut World { core, clients, pubsub, data })
    }

    /// Returns how far the data is in the history of the node's master, or in its own: 0 if a replica has none, and while it loads
    /// the whole data. That is what other nodes of a cluster are told: they show no such replica to clients, and prefer any
    /// other one as a successor.
    pub fn offset_of_data(&self) -> i64 {
        match self.following.master() {
            Some(link) if !link.has_history() || link.is_loading() => 0,
            _ => self.master.stream.offset(),
        }
    }

    /// Returns FAILOVER and what it changes.
    pub(crate) fn failing_over<'a>(
        &'a mut self,
        journal: &'a mut Journal,
    ) -> (&'a mut Failover, Roles<'a>) {
        let Parts { clients, master, following, failover, pause, .. } = self;
        (failover, Roles { clients, journal, master, following, pause })
    }

    /// Returns the frequency of the cron per second: `hz`, which `dynamic-hz` doubles as often as
    /// the number of clients requires.
    pub fn hz(&self, core: &Core) -> u32 {
        let mut hz = core.config.hz.clamp(1, HZ_MAX);
        while core.config.dynamic_hz
            && hz < HZ_MAX
            && self.clients.len() / hz as usize > CLIENTS_PER_RUN
        {
            hz = (hz * 2).min(HZ_MAX);
        }
        hz
    }

    /// Returns the memory of the program itself, of buffers and of copies in bytes.
    pub fn used_memory(&self, core: &Core) -> usize {
        let startup = core.stats.startup_bytes.unwrap_or_default() as usize;
        let clients: usize = self.clients.iter().map(Client::own_memory_bytes).sum();
        let shared = core.shared.bytes() + self.clients.lent_bytes() + self.blocking.memory_bytes();
        let snapshots: u64 = self.saves.snapshots.iter().map(Snapshot::ahead_bytes).sum();
        startup + shared + clients + snapshots as usize
    }
}
