//! What is known of the Sentinels of a world, from outside: their votes, leaders and configurations as they have told them.
//!
//! Nothing that a Sentinel believes is taken for true. Votes and configurations are read from the wire (`sentinel_wire.rs`), its
//! file from its disk, and its steps from its log; `sentinel_check.rs` compares.

use std::collections::{BTreeMap, BTreeSet};

use crate::disk::Disk;
use crate::losses::Acknowledged;
use crate::machine::{Beliefs, Machine};
use crate::net::ConnId;
use crate::node::{self, SentinelBoot};
use crate::plan::{Plan, node_of};
use crate::sentinel_lineages::lineages_in;
use crate::sentinel_plan::{SENTINEL_FILE, SentinelPlan};
use crate::sentinel_wire::Wire;
use crate::world::World;

/// The path of its file, as a Sentinel has it.
const PATH: &str = "/etc/sentinel.conf";

/// The file that servers write with CONFIG REWRITE.
const SERVER_FILE: &str = "redis.conf";

/// What was told about all of them.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// Candidates by voter, group and epoch.
    pub votes: BTreeMap<(String, usize, u64), String>,
    /// Leaders of an epoch.
    pub leaders: BTreeMap<(usize, u64), BTreeSet<String>>,
    /// The last leader of each group.
    pub last_leader: BTreeMap<usize, String>,
    /// The greatest configuration epoch that a Sentinel has told of a group, by group and its id.
    pub announced: BTreeMap<usize, BTreeMap<String, u64>>,
    /// Where the master is in a configuration.
    pub addresses: BTreeMap<(usize, u64), String>,
    /// Groups in which a user's order was carried out without a majority: then an epoch may have two configurations.
    pub forced_alone: BTreeSet<usize>,
    /// The group whose data a history has; none: that of the stranger.
    pub families: BTreeMap<String, Option<usize>>,
    /// Acknowledged writes by history.
    pub acknowledged: BTreeMap<String, Acknowledged>,
    /// Masters that a user has removed from a Sentinel, to monitor them again: group and process.
    pub monitored_again: BTreeSet<(usize, usize)>,
    /// What is known of the present life of each Sentinel, by process.
    pub lives: BTreeMap<usize, Life>,
    /// Bytes on their way between a Sentinel and an older peer that are no whole request or reply yet, by direction.
    pub held: BTreeMap<(ConnId, usize), Vec<u8>>,
    /// The file of each Sentinel, by process, as it was looked at last.
    pub files: BTreeMap<usize, StateFile>,
    /// Connections of Sentinels.
    pub wires: BTreeMap<ConnId, Wire>,
    /// Since when all has been well after the faults.
    pub well_since_us: Option<u64>,
    /// When it had been for long enough.
    pub settled_us: Option<u64>,
}

/// The present life of a Sentinel's process.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub id: String,
    /// The epoch that it has announced last.
    pub epoch: u64,
    /// What it has seen and done of each group.
    pub groups: BTreeMap<usize, Track>,
    /// When it read a valid reply to PING of each server, the first of those that came together, and one before them.
    pub pongs: BTreeMap<usize, [u64; 2]>,
    /// What each server's last INFO said, as it has read it.
    pub infos: BTreeMap<usize, Reported>,
    /// The histories of each group's master that its file had when it started.
    pub lineages: BTreeMap<usize, Vec<String>>,
    /// What it believed after its last call.
    pub beliefs: Beliefs,
}

/// What a Sentinel was told by a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reported {
    pub is_replica: bool,
    pub lineage: String,
    /// The history that this one continues; zeros if there is none.
    pub former_lineage: String,
    /// Of a replica; a master says nothing of its own.
    pub priority: Option<u32>,
}

/// A group, in the life of a Sentinel.
#[derive(Debug, Default)]
pub(crate) struct Track {
    /// The epoch of its failover, and when it began.
    pub trying: Option<(u64, u64)>,
    /// A user has ordered it.
    pub is_forced: bool,
    /// … with the master's help.
    pub is_coordinated: bool,
    /// How many faults there had been when the master was asked to help, if none lasted then.
    pub faults_at_begin: Option<u64>,
    /// It was elected in that epoch.
    pub is_elected: bool,
    /// It must not begin the next one before.
    pub not_before_us: u64,
    /// It was told which history its master has.
    pub knows_history: bool,
    /// It was told that of a former master, which may have been another one's by then.
    pub has_heard_former: bool,
    /// The greatest epoch of a configuration that it had.
    pub config_epoch: u64,
}

/// A state file, and what was found in it: the same bytes are not searched again.
#[derive(Debug, Default)]
pub(crate) struct StateFile {
    bytes: Vec<u8>,
    text: String,
    epochs: BTreeMap<(&'static str, usize), u64>,
    /// The id that was found last.
    id: String,
}

impl StateFile {
    /// Takes the present bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if self.bytes != bytes {
            let text = String::from_utf8_lossy(bytes).into_owned();
            *self = StateFile { bytes: bytes.to_vec(), text, ..StateFile::default() };
        }
    }

    /// The epoch of a statement about a group's master.
    pub fn epoch(&mut self, statement: &'static str, group: usize) -> u64 {
        let StateFile { text, epochs, .. } = self;
        let search = || epoch_in(text, &format!("sentinel {statement} m{group}"));
        *epochs.entry((statement, group)).or_insert_with(search)
    }

    /// Whether an id is anywhere in it.
    pub fn has(&mut self, id: &str) -> bool {
        if self.id != id || id.is_empty() {
            if !self.text.contains(id) {
                return false;
            }
            id.clone_into(&mut self.id);
        }
        true
    }
}

impl Life {
    /// It has read an INFO of a server.
    pub fn note_reported(&mut self, group: Option<usize>, server: usize, told: Reported) {
        if let Some(group) = group.filter(|_| !told.is_replica) {
            let name = SentinelPlan::name(group);
            let belief = self.beliefs.masters.iter().find(|belief| belief.name == name);
            let is_master = belief.is_some_and(|belief| node_of(&belief.host) == Some(server));
            // An old master does not tell it.
            let has_told = is_master && !told.lineage.is_empty();
            self.groups.entry(group).or_default().knows_history |= has_told;
        }
        // What it has said once counts until it says something else.
        let before = self.infos.get(&server).and_then(|told| told.priority);
        let priority = told.priority.or(before);
        self.infos.insert(server, Reported { priority, ..told });
    }
}

impl Reported {
    /// Reads an INFO. The first line of each field counts.
    pub fn read(text: &[u8]) -> Reported {
        let (mut role, mut lineage, mut former, mut priority) = (None, None, None, None);
        for line in text.split(|&byte| byte == b'\n') {
            let found = match line.first() {
                Some(b'r') => (&mut role, line.strip_prefix(b"role:")),
                Some(b'm') if line.starts_with(b"master_replid2") => {
                    (&mut former, line.strip_prefix(b"master_replid2:"))
                }
                Some(b'm') => (&mut lineage, line.strip_prefix(b"master_replid:")),
                Some(b's') => (&mut priority, line.strip_prefix(b"slave_priority:")),
                _ => continue,
            };
            if let (first @ None, Some(value)) = found {
                *first = Some(value.strip_suffix(b"\r").unwrap_or(value));
            }
        }
        let number = priority.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
        let id = |id: Option<&[u8]>| String::from_utf8_lossy(id.unwrap_or_default()).into_owned();
        Reported {
            is_replica: role == Some(b"slave"),
            lineage: id(lineage),
            former_lineage: id(former),
            priority: number,
        }
    }
}

/// An epoch as a state file has it.
pub(crate) fn epoch_in(text: &str, statement: &str) -> u64 {
    let value = text.lines().find_map(|line| line.strip_prefix(statement)?.strip_prefix(' '));
    value.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

/// Puts a Sentinel's first configuration on its disk.
pub(crate) fn write_first(disk: &mut Disk, plan: &Plan) {
    let Some(sentinels) = &plan.sentinels else { return };
    let text = sentinels.text(plan.password);
    let written = disk.create(SENTINEL_FILE).and_then(|file| {
        disk.write(file, text.as_bytes())?;
        disk.sync(file)?;
        disk.sync_folder_of(SENTINEL_FILE)
    });
    assert!(written.is_ok(), "a new disk works: {written:?}");
}

impl World {
    /// Starts the machine of a Sentinel from its file.
    pub(crate) fn sentinel_starts(
        &mut self,
        node: usize,
        seed: [u64; 4],
        now: russet_engine::io::Now,
    ) -> Option<Box<dyn Machine>> {
        let text = self.processes[node].disk.read(SENTINEL_FILE).unwrap_or_default();
        let journal = self.processes[node].disk.read(&format!("{SENTINEL_FILE}.journal"));
        let journal = &journal.unwrap_or_default();
        let (pid, bug) = (node as u32 + 100, self.sentinel_bug());
        let boot = SentinelBoot { text: &text, path: PATH, journal, seed, pid, bug };
        match node::start_sentinel(boot, now) {
            Ok(machine) => {
                let lineages = lineages_in(&String::from_utf8_lossy(&text));
                self.watch.lives.insert(node, Life { lineages, ..Life::default() });
                Some(machine)
            }
            Err(what) => {
                self.fail(format!("node{node} cannot read its own file: {what}"));
                None
            }
        }
    }

    /// The process of a Sentinel ends.
    pub(crate) fn sentinel_ends(&mut self, node: usize, beliefs: &Beliefs) {
        let is_amid = beliefs.masters.iter().any(|master| master.failover.is_some());
        self.coverage.restarts_in_failover += u64::from(is_amid);
        self.watch.lives.remove(&node);
        let conns = &self.conns;
        self.watch.wires.retain(|&conn, _| conns[conn].hosts[0] != node);
        self.watch.held.retain(|&(conn, _), _| conns[conn].hosts[0] != node);
    }

    /// A server among Sentinels starts: its file says what CONFIG REWRITE wrote last.
    pub(crate) fn read_configuration(&mut self, node: usize) {
        if self.plan.sentinels.is_none() || self.processes[node].is_sentinel {
            return;
        }
        let process = &mut self.processes[node];
        let first = self.plan.configs[node].replicaof.clone();
        let Some(text) = process.disk.read(SERVER_FILE) else {
            process.config.replicaof = first;
            return;
        };
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find_map(|line| line.strip_prefix("replicaof "));
        let host = line.and_then(|line| line.split(' ').next());
        process.config.replicaof = host.map(|host| russet_engine::config::words::MasterAddress {
            host: host.trim_matches('"').as_bytes().to_vec(),
            port: crate::plan::PORT,
        });
    }

    /// A history begins: whose data is it?
    pub(crate) fn note_family(&mut self, node: usize, id: &str, parent: Option<&str>) {
        let Some(plan) = &self.plan.sentinels else { return };
        let group = plan.group_of(node);
        // What the configured master has is the group's, whatever file it has loaded.
        let is_master =
            group.is_some_and(|group| node_of(&self.last_host(plan, group)) == Some(node));
        let watch = &mut self.watch;
        if is_master && let Some(parent) = parent {
            // It goes on from there, and says so, so others that have it have what the master had.
            watch.families.insert(parent.to_owned(), group);
        }
        let inherited = parent.filter(|_| !is_master);
        let inherited = inherited.and_then(|parent| watch.families.get(parent).copied());
        watch.families.entry(id.to_owned()).or_insert(inherited.unwrap_or(group));
    }

    /// A server was made the master of a group: its data is the group's from now on, also where others have it.
    pub(crate) fn note_master(&mut self, group: usize, node: usize) {
        let seen = &self.processes[node].seen;
        let present = seen.place.iter().map(|(id, _)| id);
        let ids: Vec<String> = present.chain([&seen.second.0]).cloned().collect();
        for id in ids.into_iter().filter(|id| !id.is_empty()) {
            self.watch.families.insert(id, Some(group));
        }
    }

    /// The server that an address names.
    pub(crate) fn server_at(&self, host: &str) -> Option<usize> {
        node_of(host).filter(|&node| node < self.plan.data_nodes())
    }
}
