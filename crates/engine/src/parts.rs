//! The parts of a node that commands on keys have no business with: connections, replication, persistence and so on.
//!
//! Each part is a struct with a file or folder of its own, whose behaviour stands on itself: its methods take
//! [`Core`](crate::core::Core) and what else they touch as arguments, so that a signature says what a call may change.
//! What a part cannot do with its arguments it orders ([`Order`](crate::core::Order)).

use crate::busy::Busy;
use crate::clients::{Client, Clients};
use crate::core::Core;
use crate::pause::Pause;
use crate::persist::ending::Ending;
use crate::persist::loading::Loading;
use crate::persist::saves::Saves;
use crate::persist::snapshot::Snapshot;
use crate::pubsub::PubSub;
use crate::repl::following::Following;
use crate::repl::master::Master;
use crate::rng::Rng;
use crate::settings::Settings;

/// With `dynamic-hz` a round has no more clients to look after, as far as the greatest pace goes.
const CLIENTS_PER_ROUND: usize = 200;

/// The greatest pace of rounds, per second.
const HZ_MAX: u32 = 500;

/// Parts of the node other than data and journal.
#[derive(Debug)]
pub struct Parts {
    /// Connections.
    pub clients: Clients,
    /// Replicas of ours, and the stream that they follow.
    pub master: Master,
    /// The master that we follow.
    pub following: Following,
    /// Snapshots and the dump file.
    pub saves: Saves,
    /// Reading the dump file.
    pub loading: Loading,
    /// SHUTDOWN.
    pub ending: Ending,
    /// Channels and their subscribers.
    pub pubsub: PubSub,
    /// CLIENT PAUSE.
    pub pause: Pause,
    /// Activities during which not every command is admitted.
    pub busy: Busy,
    /// CONFIG SET on its way, and other requests that commands wait for.
    pub settings: Settings,
    /// DEBUG SET-ACTIVE-EXPIRE.
    pub active_expire: bool,
    /// DEBUG PAUSE-CRON.
    pub cron_paused: bool,
}

impl Parts {
    /// The parts of a node at the start of its life.
    pub fn new(rng: &mut Rng) -> Parts {
        Parts {
            clients: Clients::default(),
            master: Master::new(rng),
            following: Following::default(),
            saves: Saves::default(),
            loading: Loading::default(),
            ending: Ending::default(),
            pubsub: PubSub::default(),
            pause: Pause::default(),
            busy: Busy::default(),
            settings: Settings::default(),
            active_expire: true,
            cron_paused: false,
        }
    }

    /// Rounds of housekeeping a second: `hz`, or with `dynamic-hz` doubled as often as the clients make it worth.
    pub fn hz(&self, core: &Core) -> u32 {
        let mut hz = core.config.hz.clamp(1, HZ_MAX);
        while core.config.dynamic_hz
            && hz < HZ_MAX
            && self.clients.len() / hz as usize > CLIENTS_PER_ROUND
        {
            hz = (hz * 2).min(HZ_MAX);
        }
        hz
    }

    /// Bytes that buffers and copies take.
    pub fn used_memory(&self) -> usize {
        let backlog = self.master.stream.backlog.as_ref().map_or(0, |backlog| backlog.len());
        let clients: usize = self.clients.iter().map(Client::memory_bytes).sum();
        let snapshots: u64 = self.saves.snapshots.iter().map(Snapshot::ahead_bytes).sum();
        backlog + clients + snapshots as usize
    }
}
