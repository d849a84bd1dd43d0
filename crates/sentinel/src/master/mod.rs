//! A monitored master with its replicas and the other Sentinels that watch it.
//!
//! ```text
//!   watch.rs     connections, INFO, hello messages: what is known
//!   judge.rs     subjectively down, objectively down: what is believed
//!   elect.rs     votes and the leader of an epoch
//!   failover.rs  the phases of a failover
//!   choose.rs    the replica that is promoted
//!   reconf.rs    the other replicas follow it
//!   repair.rs    servers whose role is not what it should be
//!   switch.rs    another server becomes the master that is watched
//! ```

mod choose;
mod elect;
mod events;
mod failover;
mod judge;
mod reconf;
mod repair;
mod switch;
mod watch;

use std::collections::BTreeMap;

pub(crate) use elect::Vote;
pub(crate) use failover::{Failover, Kind as FailoverKind, Phase};

use crate::address::Address;
use crate::context::Context;
use crate::info::Role;
use crate::link::Access;
use crate::peers::Peers;
use crate::server::Server;
use crate::settings::{KnownReplica, KnownSentinel, MasterSettings};
use russet_journal::Journal;

/// Limit of the other Sentinels of a master.
const VOTERS_MAX: usize = 200;
/// Limit of the replicas of a master.
const REPLICAS_MAX: usize = 1000;

/// Another Sentinel, as a voter about this master.
#[derive(Debug)]
pub(crate) struct Voter {
    /// Since when it is subjectively down.
    pub down_since: Option<u64>,
    /// Whether it says that the master is down.
    pub says_down: bool,
    /// When it was last asked, and when it last replied.
    pub asked: Option<u64>,
    pub replied: u64,
    /// For whom it voted.
    pub leader: Option<String>,
    pub leader_epoch: u64,
    /// Its last hello message, and the epoch in it.
    pub last_hello: u64,
    pub hello_epoch: u64,
}

impl Voter {
    fn new(now: u64) -> Voter {
        Voter {
            down_since: None,
            says_down: false,
            asked: None,
            replied: now,
            leader: None,
            leader_epoch: 0,
            last_hello: now,
            hello_epoch: 0,
        }
    }
}

/// A master.
#[derive(Debug)]
pub(crate) struct Master {
    /// A number that is never used again.
    pub number: u32,
    pub settings: MasterSettings,
    /// The version of the state that has the present address and configuration epoch.
    config_version: u64,
    /// The server that is the master.
    pub server: Server,
    pub replicas: Vec<Server>,
    /// The other Sentinels by id.
    pub voters: BTreeMap<String, Voter>,
    /// Since when it is objectively down.
    pub odown_since: Option<u64>,
    /// Our last vote, if it was given since the start.
    pub vote: Option<Vote>,
    pub failover: Option<Failover>,
    /// Before this time no failover is started.
    pub not_before: u64,
    /// Whether the delay was logged.
    delay_logged: bool,
    /// When we stand for election, if nobody else does before.
    candidacy_at: Option<u64>,
    /// Whether the others are asked again soon: one of them finds the master down now.
    asks_soon: bool,
    /// Whether a hello message waits for the disk.
    hello_waits: bool,
    /// Elections in a row that nobody won.
    lost_elections: u32,
    /// When a Sentinel was last forgotten.
    forgotten_at: u64,
    /// Replication ids of the master, the latest first.
    pub lineages: Vec<String>,
    /// Whether it has told one of them since our start; otherwise they are known from the last run.
    pub has_told_lineage: bool,
    pub journal: Journal,
}

impl Master {
    /// Starts to monitor a master.
    pub fn new(cx: &mut Context, peers: &mut Peers, settings: MasterSettings) -> Master {
        let now = cx.ms();
        let (number, id) = (cx.next_number(), cx.next_number());
        let address = Address::new(&settings.host, settings.port);
        let mut master = Master {
            number,
            server: Server::new(id, address, Role::Master, now),
            settings,
            // What was read at the start must not be told before it is surely on disk, nor must a new id.
            config_version: cx.version_of_changes(),
            replicas: Vec::new(),
            voters: BTreeMap::new(),
            odown_since: None,
            vote: None,
            failover: None,
            not_before: 0,
            delay_logged: false,
            candidacy_at: None,
            asks_soon: false,
            hello_waits: false,
            lost_elections: 0,
            forgotten_at: now,
            lineages: Vec::new(),
            has_told_lineage: false,
            journal: Journal::default(),
        };
        let config_epoch = master.settings.config_epoch;
        for known in std::mem::take(&mut master.settings.known_lineages) {
            // A stock Sentinel that has used the file since then keeps comments as they were.
            if known.config_epoch == config_epoch {
                master.lineages.push(known.id);
            }
        }
        for KnownReplica { host, port } in std::mem::take(&mut master.settings.known_replicas) {
            master.add_replica(cx, Address::new(&host, port));
        }
        for KnownSentinel { host, port, id } in std::mem::take(&mut master.settings.known_sentinels)
        {
            if id != cx.my_id {
                let peer = peers.add(cx, &id, Address::new(&host, port));
                peer.home = Some(peer.address.clone());
                master.voters.insert(id, Voter::new(now));
            }
        }
        master
    }

    /// Returns the name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Adds a replica, unless its address is known. Returns whether it is new.
    fn add_replica(&mut self, cx: &mut Context, address: Address) -> bool {
        let mut known = std::iter::once(&self.server).chain(&self.replicas);
        let is_known = known.any(|server| server.address.is_same(&address));
        if is_known || self.replicas.len() >= REPLICAS_MAX {
            return false;
        }
        let id = cx.next_number();
        self.replicas.push(Server::new(id, address, Role::Replica, cx.ms()));
        true
    }

    /// Returns a server by number.
    pub fn server_mut(&mut self, id: u32) -> Option<&mut Server> {
        match self.server.id == id {
            true => Some(&mut self.server),
            false => self.replicas.iter_mut().find(|replica| replica.id == id),
        }
    }

    /// Returns a replica by number.
    pub fn replica(&self, id: u32) -> Option<&Server> {
        self.replicas.iter().find(|replica| replica.id == id)
    }

    /// Returns all servers.
    pub fn servers_mut(&mut self) -> impl Iterator<Item = &mut Server> {
        std::iter::once(&mut self.server).chain(&mut self.replicas)
    }

    /// Returns the address that clients are told: of the master, or of the promoted replica as soon as it is one.
    pub fn current_address(&self) -> &Address {
        let promoted = self.failover.as_ref().filter(|it| it.phase >= Phase::Reconfigure);
        let promoted = promoted.and_then(|it| it.promoted).and_then(|id| self.replica(id));
        promoted.map_or(&self.server.address, |replica| &replica.address)
    }

    /// Whether it takes a Sentinel for down.
    pub fn knows_down(&self, id: &str) -> bool {
        self.voters.get(id).is_some_and(|voter| voter.down_since.is_some())
    }

    /// Returns how many Sentinels may vote, with ourselves.
    pub fn voters_len(&self) -> usize {
        self.voters.len() + 1
    }

    /// Calls a function with how to talk to the servers.
    fn with_access<T>(&mut self, call: impl FnOnce(&mut Master, Access<'_>) -> T) -> T {
        let MasterSettings { auth_user, auth_pass, renamed, .. } = &self.settings;
        let (user, password, renamed) = (auth_user.clone(), auth_pass.clone(), renamed.clone());
        let renamed = |name: &str| renamed.get(name).map_or(name, String::as_str).to_owned();
        let access =
            Access { user: user.as_deref(), password: password.as_deref(), renamed: &renamed };
        call(self, access)
    }

    /// Closes the connections to all servers.
    pub fn close(&mut self, cx: &mut Context) {
        for server in self.servers_mut() {
            server.link.close(cx);
        }
    }

    /// Does what is due, and returns when something is due again.
    pub fn tick(&mut self, cx: &mut Context, peers: &mut Peers) -> u64 {
        self.watch(cx);
        if !cx.is_tilted {
            self.judge(cx, peers);
            self.start_failover_if_needed(cx);
            self.advance_failover(cx, peers);
            let at_once = self.asks_soon && self.odown_since.is_none();
            let asked_all = self.ask_others(cx, peers, at_once);
            self.asks_soon = at_once && !asked_all;
            self.forget_stale(cx, peers);
        }
        self.due(cx, peers)
    }
}
